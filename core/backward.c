/* backward.c - walking the recorded calls backwards. */
#include "core/context.h"

#include <string.h>

enum { FEW = 24 };

/* ---- one call ---------------------------------------------------------------------------------------------------- */

static tp_tensor *operand(const tp_call *c, int i)
{
    return i < c->n_in ? c->in[i] : c->out[i - c->n_in];
}

static bool unchanged(tp_ctx *ctx, const tpi_rec *rec)
{
    const tp_call *c = &rec->c;
    int            n = c->n_in + c->n_out;

    for (int i = 0; i < n + c->n_saved; i++) {
        const tp_tensor *x = i < n ? operand(c, i) : c->saved[i - n];
        const char      *what = i < c->n_in ? "input" : i < n ? "output" : "saved tensor";

        if (x == NULL || (i < n && !tpi_keeps(rec, i)) || x->store == NULL || x->store->version == rec->version[i])
            continue;
        tp_fail(ctx, TP_EARG, "%s: the values of %s %d were changed since forward, and backward needs them; between the "
                "two write (tp_copy_to, tp_raw, tp_optim_step) into a copy only", c->op->name, what,
                i - (i < c->n_in ? 0 : i < n ? c->n_in : n));
        return false;
    }
    return true;
}

/* Takes the gradients that have arrived at the outputs. */
static bool take_dy(tp_ctx *ctx, tp_call *c, tp_tensor **dy)
{
    for (int i = 0; i < c->n_out && tp_ok(ctx); i++) {
        tp_tensor *y = c->out[i], *g = y && y->serial >= 0 ? y->grad : NULL;
        tpi_sink  *sink;

        if (g == NULL)
            continue;
        y->grad = NULL;
        if (!tpi_adopt(ctx, g))
            return false;
        dy[i] = tpi_run_hook(ctx, y, g);
        sink = tpi_find_sink(ctx, y);
        if (sink != NULL && sink->g == NULL)
            sink->g = tp_retain(dy[i]);
    }
    return tp_ok(ctx);
}

/* Hides values that forward did not keep and that happen to be there still, so that backward cannot come to rely on
 * them; returns what show_again needs. */
static void **hide_unkept(tp_ctx *ctx, const tpi_rec *rec, tp_tensor *const *dy, size_t *room)
{
    const tp_call *c = &rec->c;
    int            n = c->n_in + c->n_out;
    void         **was = tpi_pool_get(&ctx->pool, (size_t)n * 2 * sizeof *was, room);

    if (was == NULL)
        return tp_fail(ctx, TP_ENOMEM, "out of memory: backward of %s", c->op->name);
    for (int i = 0; i < n; i++) {
        tp_tensor *x = operand(c, i);
        bool       kept = x == NULL || x->store == NULL;

        for (int k = 0; k < n && !kept; k++)
            kept = (operand(c, k) == x && tpi_keeps(rec, k)) || (k < c->n_out && dy[k] == x);
        for (int k = 0; k < c->n_saved && !kept; k++)
            kept = c->saved[k] == x;
        was[2 * i] = kept ? NULL : x->store;
        was[2 * i + 1] = kept ? NULL : x->data;
        if (kept)
            continue;
        x->uses++; /* so that they cannot go meanwhile */
        x->store = NULL;
        x->data = NULL;
    }
    return was;
}

static void show_again(tp_ctx *ctx, const tpi_rec *rec, void **was, size_t room)
{
    for (int i = 0; was != NULL && i < rec->c.n_in + rec->c.n_out; i++) {
        tp_tensor *x = operand(&rec->c, i);

        if (was[2 * i] == NULL)
            continue;
        x->store = was[2 * i];
        x->data = was[2 * i + 1];
        tpi_hold(x);
        tp_release(x);
    }
    tpi_pool_put(&ctx->pool, was, room);
}

/* Whether the pass goes on below the call; a pass that is recorded needs an op that can. */
static bool goes_on(tp_ctx *ctx, const tpi_rec *rec)
{
    if (!ctx->graph)
        return unchanged(ctx, rec);
    if (rec->wants == 0)
        return false;
    if (rec->c.op->backward_ops == NULL)
        tp_fail(ctx, TP_EARG, "%s: this op has no second derivative (it gives no backward_ops)", rec->c.op->name);
    return tp_ok(ctx) && unchanged(ctx, rec);
}

static void call_backward(tp_ctx *ctx, tpi_rec *rec, tp_tensor **dy, tp_tensor **dx)
{
    tp_call *c = &rec->c;
    size_t   floor = ctx->floor, room = 0;
    void   **was;

    if (!goes_on(ctx, rec))
        return;
    was = (TPI_STRICT || ctx->strict) && !rec->keeps_all ? hide_unkept(ctx, rec, dy, &room) : NULL;
    ctx->floor = ctx->n_scopes;
    if (tp_ok(ctx))
        (ctx->graph ? c->op->backward_ops : c->op->backward)(ctx, c, dy, dx);
    ctx->floor = floor;
    if (was != NULL)
        show_again(ctx, rec, was, room);
    for (int i = 0; i < c->n_in && tp_ok(ctx); i++) {
        if (dx[i] == NULL || !tp_wants(c, i))
            dx[i] = NULL;
        else if (ctx->anomaly && tpi_find_nonfinite(ctx, dx[i]))
            tp_fail(ctx, TP_ENUM, "%s: the gradient of input %d has a NaN or Inf", c->op->name, i);
        else if (!ctx->graph && c->in[i]->serial < 0 && dx[i] == c->in[i]->grad) /* put in place by tp_grad_into */
            dx[i] = NULL;
    }
    /* only now: a leaf may take over a tensor that is two inputs' gradient */
    for (int i = 0; i < c->n_in && tp_ok(ctx); i++)
        if (dx[i] != NULL)
            tpi_accumulate(ctx, c->op->name, c->in[i], dx[i]);
}

/* Whether some output of the call has got a gradient. */
static bool reached(const tp_call *c)
{
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i] != NULL && c->out[i]->serial >= 0 && c->out[i]->grad != NULL)
            return true;
    return false;
}

static void step_back(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call    *c = &rec->c;
    size_t      n = (size_t)(c->n_in + c->n_out), room = 0;
    tp_tensor  *few[FEW], **dy = n > FEW ? tpi_pool_get(&ctx->pool, n * sizeof *dy, &room) : few;
    const char *path = ctx->path;
    tp_scope    s = tp_scope_begin(ctx);

    ctx->path = rec->path;
    if (dy == NULL) {
        tp_fail(ctx, TP_ENOMEM, "out of memory: backward of %s", c->op->name);
    } else if (tp_ok(ctx)) {
        memset(dy, 0, n * sizeof *dy);
        if (take_dy(ctx, c, dy))
            call_backward(ctx, rec, dy, dy + c->n_out);
    }
    ctx->path = path;
    if (room > 0)
        tpi_pool_put(&ctx->pool, dy, room);
    tp_scope_end(ctx, s);
}

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

/* After a failure, gradients that arrived at inner tensors nobody walked to must not stay for the next pass. */
static void clear_pending(const tp_call *c)
{
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        tp_tensor *x = operand(c, i), *g = x && x->serial >= 0 ? x->grad : NULL;

        if (g != NULL) {
            x->grad = NULL;
            tp_release(g);
        }
    }
}

/* Closes the gaps that walked calls have left, and moves the marks of open scopes along. */
static void close_gaps(tp_ctx *ctx, size_t base, size_t top)
{
    size_t k = ctx->n_scopes, n = base;

    while (k > 0 && ctx->scopes[k - 1].tape > base)
        k--;
    for (size_t i = base; i < top; i++) {
        for (; k < ctx->n_scopes && ctx->scopes[k].tape <= i; k++)
            ctx->scopes[k].tape = n;
        if (ctx->tape[i] == NULL)
            continue;
        if (!tp_ok(ctx))
            clear_pending(&ctx->tape[i]->c);
        ctx->tape[n++] = ctx->tape[i];
    }
    for (; k < ctx->n_scopes; k++)
        ctx->scopes[k].tape = n;
    ctx->n_tape = n;
}

bool tpi_walk(tp_ctx *ctx, size_t base, tp_tensor *y, tp_tensor *dy)
{
    bool    was = tp_record(ctx, false), graph = ctx->graph;
    size_t  top = ctx->n_tape, outer_top = ctx->walk_top;
    int64_t outer_first = ctx->walk_first;

    ctx->graph = false; /* of a pass around this one */
    ctx->depth++;
    ctx->walk_top = top;
    ctx->walk_first = ctx->serial;
    if (tpi_accumulate(ctx, "backward", y, dy))
        for (size_t i = top; i-- > base && tp_ok(ctx);) {
            tpi_rec *rec = ctx->tape[i];

            if (rec->serial > y->serial || !reached(&rec->c))
                continue;
            step_back(ctx, rec);
            if (!tp_ok(ctx))
                clear_pending(&rec->c);
            ctx->tape[i] = NULL;
            tpi_rec_drop(ctx, rec);
        }
    tpi_tape_cut(ctx, top); /* what hooks and backward functions recorded */
    close_gaps(ctx, base, top);
    ctx->walk_top = outer_top;
    ctx->walk_first = outer_first;
    ctx->depth--;
    ctx->graph = graph;
    tp_record(ctx, was);
    return tp_ok(ctx);
}

/* One call of a pass that is recorded: it stays on the tape, and its backward computes only what is asked for. */
static void graph_step(tp_ctx *ctx, tpi_rec *rec)
{
    uint64_t wants = rec->wants;

    rec->wants = tpi_graph_wants(rec);
    step_back(ctx, rec);
    rec->wants = wants;
}

/* The recorded pass: like tpi_walk over the whole tape, but every call stays, and what it computes is recorded behind
 * them. */
static bool walk_graph(tp_ctx *ctx, tp_tensor *y, tp_tensor *dy)
{
    bool   was = tp_record(ctx, true);
    size_t top = ctx->n_tape;

    ctx->depth++;
    ctx->graph = true;
    ctx->walk_top = top;
    ctx->walk_first = ctx->serial;
    tpi_graph_mark(ctx, top, true);
    if (tpi_accumulate(ctx, "backward", y, dy))
        for (size_t i = top; i-- > 0 && tp_ok(ctx);)
            if (ctx->tape[i]->serial <= y->serial && reached(&ctx->tape[i]->c))
                graph_step(ctx, ctx->tape[i]);
    tpi_graph_mark(ctx, top, false);
    for (size_t i = 0; i < ctx->n_tape && !tp_ok(ctx); i++)
        clear_pending(&ctx->tape[i]->c);
    ctx->walk_top = 0;
    ctx->walk_first = 0;
    ctx->graph = false;
    ctx->depth--;
    tp_record(ctx, was);
    return tp_ok(ctx);
}

/* ---- for the user ------------------------------------------------------------------------------------------------ */

static bool may_walk(tp_ctx *ctx, const char *what, const tp_tensor *y)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, what, y, 0))
        return false;
    if (y->walked)
        tp_fail(ctx, TP_EARG, "%s: this tensor has been walked back from already; compute it anew", what);
    else if (!y->needs_grad && y->cut != NULL)
        tp_fail(ctx, TP_EARG, "%s: nothing trainable is below this tensor: it was computed by way of %s, which has no "
                "backward; give that op one, or leave it out of the loss", what, y->cut);
    else if (!y->needs_grad)
        tp_fail(ctx, TP_EARG, "%s: nothing trainable is below this tensor, or it was computed with recording off",
                what);
    else if (ctx->walk_top > 0 && y->serial >= 0 && y->serial < ctx->walk_first)
        tp_fail(ctx, TP_EARG, "%s: a hook or an op's backward can only walk back from what it has computed itself",
                what);
    return tp_ok(ctx);
}

bool tp_backward_from(tp_ctx *ctx, tp_tensor *y, tp_tensor *dy)
{
    char a[96], b[96];

    if (!may_walk(ctx, "backward", y) || !tpi_check(ctx, "backward", dy, 1))
        return false;
    if (!tp_same_shape(y, dy) || y->dtype != dy->dtype) {
        tp_fail(ctx, TP_ESHAPE, "backward: the tensor is %s %s, its gradient %s %s", tp_dtype_name((tp_dtype)y->dtype),
                tp_shape_text(y, a, sizeof a), tp_dtype_name((tp_dtype)dy->dtype), tp_shape_text(dy, b, sizeof b));
        return false;
    }
    tp_retain(dy); /* so that it does not become a leaf's own */
    tpi_walk(ctx, ctx->walk_top, y, dy);
    tp_release(dy);
    if (ctx->depth == 0)
        tpi_end_pass(ctx);
    return tp_ok(ctx);
}

/* A one of y's shape and dtype, for a loss. */
static tp_tensor *seed_of(tp_ctx *ctx, const char *what, tp_tensor *y)
{
    char a[96];

    if (!may_walk(ctx, what, y))
        return NULL;
    if (y->numel != 1)
        return tp_fail(ctx, TP_ESHAPE, "%s: the loss must be one number, it is %s", what,
                       tp_shape_text(y, a, sizeof a));
    return tp_ones(ctx, (tp_dtype)y->dtype, y->ndim, y->dim);
}

bool tp_backward(tp_ctx *ctx, tp_tensor *loss)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *one = seed_of(ctx, "backward", loss);
    bool       ok = one != NULL && tp_backward_from(ctx, loss, one);

    tp_scope_end(ctx, s);
    return ok;
}

/* ---- gradients set aside ----------------------------------------------------------------------------------------- */

/* What a sink has got, to be handed to the user: through the hook of a leaf, and nobody else's memory (what is recorded
 * stays what it is). */
static tp_tensor *from_sink(tp_ctx *ctx, const tpi_sink *sink, bool graph)
{
    tp_tensor *g = sink->g, *h;

    if (g == NULL || !tp_ok(ctx))
        return NULL;
    ctx->graph = graph;
    h = sink->x->serial < 0 ? tpi_run_hook(ctx, sink->x, g) : g;
    ctx->graph = false;
    if (graph)
        return tp_ok(ctx) ? tp_retain(g) : NULL;
    if (!tp_ok(ctx))
        return NULL;
    return h == g && tpi_exclusive(g) ? tp_retain(g) : tpi_own_copy(ctx, h, (tp_dtype)h->dtype);
}

/* One pass with sinks for x[0..n), recorded or not; out[] gets what belongs to the caller. */
static bool walk_into(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tpi_sink *sink, tp_tensor **out, bool graph)
{
    tpi_sink  *outer = ctx->sink;
    int        n_outer = ctx->n_sink;
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *one = seed_of(ctx, graph ? "grad_graph" : "grad_of", y);

    for (int i = 0; i < n; i++)
        sink[i].x = x[i];
    ctx->sink = sink;
    ctx->n_sink = n;
    if (one != NULL)
        graph ? walk_graph(ctx, y, one) : tpi_walk(ctx, ctx->walk_top, y, one);
    ctx->sink = outer;
    ctx->n_sink = n_outer;
    tp_scope_end(ctx, s);
    s = tp_scope_begin(ctx);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i && sink[i].g == NULL; k++) /* named twice */
            sink[i].g = x[k] == x[i] ? tp_retain(sink[k].g) : NULL;
        out[i] = from_sink(ctx, &sink[i], graph);
    }
    for (int i = 0; i < n; i++)
        tp_release(sink[i].g);
    tp_scope_end(ctx, s);
    return tp_ok(ctx);
}

static bool grad_of(tp_ctx *ctx, const char *what, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out, bool graph)
{
    tpi_sink *sink;
    bool      ok = true;

    for (int i = 0; out != NULL && i < n; i++)
        out[i] = NULL;
    if (!tp_ok(ctx) || n <= 0 || x == NULL || out == NULL)
        return tp_fail(ctx, TP_EARG, "%s: no tensors to take the gradient by", what) != NULL;
    for (int i = 0; i < n && ok; i++)
        ok = tpi_check(ctx, what, x[i], i);
    sink = ok && may_walk(ctx, what, y) ? tpi_alloc(ctx, (size_t)n, sizeof *sink) : NULL;
    if (sink == NULL)
        return false;
    ok = walk_into(ctx, y, n, x, sink, out, graph);
    for (int i = 0; i < n; i++) {
        if (ok && out[i] != NULL)
            ok = tpi_adopt(ctx, out[i]);
        else
            tp_release(out[i]);
    }
    for (int i = 0; i < n && !ok; i++)
        out[i] = NULL;
    tpi_free(sink);
    if (ctx->depth == 0)
        tpi_end_pass(ctx);
    return ok;
}

bool tp_grad_of(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out)
{
    return grad_of(ctx, "grad_of", y, n, x, out, false);
}

bool tp_grad_graph(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out)
{
    for (int i = 0; out != NULL && i < n; i++)
        out[i] = NULL;
    if (tp_ok(ctx) && ctx->depth > 0)
        tp_fail(ctx, TP_EARG, "grad_graph: it cannot run inside a hook or a backward function");
    return tp_ok(ctx) && grad_of(ctx, "grad_graph", y, n, x, out, true);
}
