/* backward.c - walking the recorded calls backwards, and where gradients go. */
#include "core/context.h"

#include <string.h>

/* ---- adding gradients up ---------------------------------------------------------------------------------------------------- */

/* Whether x's values are x's alone, so that they may be added to in place. */
static bool exclusive(const tp_tensor *x)
{
    return x->uses == 1 && x->store != NULL && x->store->holders == 1 && x->contiguous;
}

static bool add_in_place(tp_ctx *ctx, tp_tensor *x, tp_tensor *g)
{
    const tp_tensor *both[3] = { x, x, NULL };
    tpi_run          r = tpi_run_of(ctx);
    tpi_nd           nd;

    g = tpi_cast(ctx, g, (tp_dtype)x->dtype);
    if (g == NULL)
        return false;
    both[2] = g;
    tpi_nd_init(&nd, x->ndim, x->dim, 3, both);
    tpi_touch(x);
    return tpi_done(ctx, "add", tpi_k(ctx)->binary(&r, TPI_ADD, &nd, (tp_dtype)x->dtype, x->data, x->data, g->data));
}

/* A tensor of its own with g's values in dtype t, retained for the caller. */
static tp_tensor *own_copy(tp_ctx *ctx, tp_tensor *g, tp_dtype t)
{
    tp_tensor *c = tp_empty(ctx, t, g->ndim, g->dim);

    return c != NULL && tp_copy_to(ctx, c, g) ? tp_retain(c) : NULL;
}

/* *slot += g, where a first g is taken over as it is if it may be. */
static bool add_to(tp_ctx *ctx, tp_tensor **slot, tp_tensor *g, tp_dtype t, bool must_own)
{
    tp_tensor *sum;

    if (*slot == NULL) {
        bool take = (tp_dtype)g->dtype == t && (!must_own || (g->store->holders == 1 && g->uses == 1 && g->contiguous));

        *slot = take ? tp_retain(g) : own_copy(ctx, g, t);
        return *slot != NULL;
    }
    if (exclusive(*slot))
        return add_in_place(ctx, *slot, g);
    sum = own_copy(ctx, *slot, t);
    if (sum == NULL || !add_in_place(ctx, sum, g)) {
        tp_release(sum);
        return false;
    }
    tp_release(*slot);
    *slot = sum;
    return true;
}

static tp_dtype grad_dtype(const tp_tensor *x)
{
    if (x->own_grad || x->serial >= 0)
        return (tp_dtype)x->dtype;
    return x->dtype == TP_F64 ? TP_F64 : TP_F32;
}

static tpi_sink *find_sink(tp_ctx *ctx, const tp_tensor *x)
{
    for (int i = 0; i < ctx->n_sink; i++)
        if (ctx->sink[i].x == x)
            return &ctx->sink[i];
    return NULL;
}

/* Notes that this pass writes x's gradient; a used one makes room first. */
static bool touch_leaf(tp_ctx *ctx, tp_tensor *x)
{
    if (x->touched)
        return true;
    if (!tpi_grow(ctx, &ctx->touched, &ctx->cap_touched, ctx->n_touched + 1, sizeof *ctx->touched))
        return false;
    ctx->touched[ctx->n_touched++] = tp_retain(x);
    x->touched = true;
    return true;
}

static bool add_to_leaf(tp_ctx *ctx, tp_tensor *x, tp_tensor *g)
{
    if (!touch_leaf(ctx, x))
        return false;
    if (x->grad != NULL && x->grad_used) {
        x->grad_used = false;
        return tp_copy_to(ctx, x->grad, g);
    }
    return add_to(ctx, &x->grad, g, grad_dtype(x), true);
}

bool tpi_accumulate(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *g)
{
    tpi_sink *sink = find_sink(ctx, x);
    char      a[96], b[96];

    if (g->ndim != x->ndim || memcmp(g->dim, x->dim, (size_t)x->ndim * sizeof *x->dim) != 0) {
        tp_fail(ctx, TP_ESHAPE, "%s: its backward gave a gradient %s for an input %s", op, tp_shape_text(g, a, sizeof a),
                tp_shape_text(x, b, sizeof b));
        return false;
    }
    if (x->serial >= 0)
        return add_to(ctx, &x->grad, g, (tp_dtype)x->dtype, false);
    if (sink != NULL)
        return add_to(ctx, &sink->g, g, grad_dtype(x), false);
    if (ctx->sink != NULL && !x->own_grad) /* tp_grad_of leaves other leaves alone */
        return true;
    return add_to_leaf(ctx, x, g);
}

/* Whether the call has written some input's gradient into g already: one leaf may be several inputs. */
static bool placed(const tp_call *c, tp_tensor *const *dx, const tp_tensor *g)
{
    for (int i = 0; i < c->n_in; i++)
        if (dx[i] == g)
            return true;
    return false;
}

tp_tensor *tp_grad_into(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, double *beta)
{
    tp_tensor *x = tp_wants(c, i) ? c->in[i] : NULL;
    bool       leaf = x != NULL && x->serial < 0 && ctx->sink == NULL;

    *beta = 0;
    if (!tp_ok(ctx) || x == NULL)
        return NULL;
    if (!leaf) {
        dx[i] = tp_empty(ctx, grad_dtype(x), x->ndim, x->dim);
        return dx[i];
    }
    if (!touch_leaf(ctx, x))
        return NULL;
    if (x->grad == NULL) {
        x->grad = tp_retain(tp_empty(ctx, grad_dtype(x), x->ndim, x->dim));
    } else if (placed(c, dx, x->grad)) {
        *beta = 1;
    } else if (exclusive(x->grad)) {
        *beta = x->grad_used ? 0 : 1;
    } else if (!x->grad_used) { /* somebody else holds the old values */
        tp_tensor *own = own_copy(ctx, x->grad, grad_dtype(x));

        tp_release(x->grad);
        x->grad = own;
        *beta = 1;
    } else {
        tp_release(x->grad);
        x->grad = tp_retain(tp_empty(ctx, grad_dtype(x), x->ndim, x->dim));
    }
    x->grad_used = false;
    tpi_touch(x->grad);
    dx[i] = x->grad;
    return x->grad;
}

/* ---- one call --------------------------------------------------------------------------------------------------------------- */

static bool unchanged(tp_ctx *ctx, const tpi_rec *rec)
{
    const tp_call *c = &rec->c;

    for (int i = 0; i < c->n_in + c->n_out; i++) {
        bool             is_in = i < c->n_in;
        int              k = is_in ? i : i - c->n_in;
        bool             kept = k < 32 && (c->keep & (is_in ? TP_KEEP_IN(k) : TP_KEEP_OUT(k))) != 0;
        const tp_tensor *x = is_in ? c->in[k] : c->out[k];

        if (kept && x != NULL && x->store != NULL && x->store->version != rec->version[i]) {
            tp_fail(ctx, TP_EARG, "%s: the values of %s %d were changed since forward", c->op->name, is_in ? "input" : "output", k);
            return false;
        }
    }
    return true;
}

static tp_tensor *run_hook(tp_ctx *ctx, tp_tensor *x, tp_tensor *g)
{
    tp_tensor *h = x->hook != NULL && g != NULL ? x->hook(ctx, x->hook_user, g) : NULL;

    return h ? h : g;
}

/* Takes the gradients that have arrived at the outputs; false when there is none. */
static bool take_dy(tp_ctx *ctx, tp_call *c, tp_tensor **dy)
{
    bool any = false;

    for (int i = 0; i < c->n_out; i++) {
        tp_tensor *y = c->out[i];
        tpi_sink  *sink = y ? find_sink(ctx, y) : NULL;

        dy[i] = NULL;
        if (y == NULL || y->serial < 0 || y->grad == NULL)
            continue;
        dy[i] = y->grad;
        y->grad = NULL;
        y->walked = true;
        if (!tpi_adopt(ctx, dy[i]))
            return false;
        dy[i] = run_hook(ctx, y, dy[i]);
        if (sink != NULL)
            sink->g = tp_retain(dy[i]);
        any = true;
    }
    return any;
}

static void check_grad(tp_ctx *ctx, const tp_call *c, int i, tp_tensor *dx)
{
    tpi_run    r = tpi_run_of(ctx);
    bool       found = false;
    tp_tensor *g = tpi_rows(ctx, dx);

    if (g != NULL && tpi_k(ctx)->nonfinite(&r, (tp_dtype)g->dtype, g->data, g->numel, &found) == TP_OK && found)
        tp_fail(ctx, TP_ENUM, "%s: the gradient of input %d has a NaN or Inf", c->op->name, i);
}

/* What tp_grad_into has put in place is done with first: later a leaf may take over some dx that is another input's too. */
static void call_backward(tp_ctx *ctx, tpi_rec *rec, tp_tensor **dy, tp_tensor **dx)
{
    tp_call *c = &rec->c;

    if (!unchanged(ctx, rec))
        return;
    c->op->backward(ctx, c, dy, dx);
    for (int i = 0; i < c->n_in && tp_ok(ctx); i++) {
        if (dx[i] == NULL || !tp_wants(c, i))
            dx[i] = NULL;
        else if (ctx->anomaly)
            check_grad(ctx, c, i, dx[i]);
        if (dx[i] != NULL && c->in[i]->serial < 0 && dx[i] == c->in[i]->grad)
            dx[i] = NULL;
    }
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

/* Returns whether the call is done with and can go. */
static bool step_back(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call    *c = &rec->c;
    tp_tensor  *few[24], **dy = few;
    const char *path = ctx->path;
    size_t      room = 0;
    tp_scope    s;

    if (!reached(c))
        return false;
    s = tp_scope_begin(ctx);
    if (c->n_in + c->n_out > 24)
        dy = tpi_pool_get(&ctx->pool, (size_t)(c->n_in + c->n_out) * sizeof *dy, &room);
    if (dy == NULL) {
        tp_fail(ctx, TP_ENOMEM, "out of memory: backward of %s", c->op->name);
    } else {
        memset(dy, 0, (size_t)(c->n_in + c->n_out) * sizeof *dy);
        ctx->path = rec->path;
        if (take_dy(ctx, c, dy))
            call_backward(ctx, rec, dy, dy + c->n_out);
        ctx->path = path;
    }
    if (room > 0)
        tpi_pool_put(&ctx->pool, dy, room);
    tp_scope_end(ctx, s);
    return true;
}

/* ---- a pass ----------------------------------------------------------------------------------------------------------------- */

/* Gradients that arrived at inner tensors nobody walked to must not stay for the next pass. */
static void clear_pending(tpi_rec *rec)
{
    for (int i = 0; i < rec->c.n_in; i++) {
        tp_tensor *x = rec->c.in[i];

        if (x != NULL && x->serial >= 0 && x->grad != NULL) {
            tp_tensor *g = x->grad;

            x->grad = NULL;
            tp_release(g);
        }
    }
}

bool tpi_walk(tp_ctx *ctx, size_t base, tp_tensor *y, tp_tensor *dy)
{
    bool   was = tp_record(ctx, false);
    size_t top = ctx->n_tape, n = base;

    ctx->depth++;
    if (tpi_accumulate(ctx, "backward", y, dy))
        for (size_t i = top; i-- > base && tp_ok(ctx);)
            if (ctx->tape[i]->serial <= y->serial && step_back(ctx, ctx->tape[i])) {
                if (!tp_ok(ctx))
                    clear_pending(ctx->tape[i]);
                tpi_rec_drop(ctx, ctx->tape[i]);
                ctx->tape[i] = NULL;
            }
    for (size_t i = base; i < top; i++) {
        if (ctx->tape[i] == NULL)
            continue;
        if (!tp_ok(ctx))
            clear_pending(ctx->tape[i]);
        ctx->tape[n++] = ctx->tape[i];
    }
    ctx->n_tape = n;
    ctx->depth--;
    tp_record(ctx, was);
    return tp_ok(ctx);
}

/* Ends a pass: hooks of leaves run, or, after a failure, what was written becomes void. */
static void end_pass(tp_ctx *ctx)
{
    for (size_t i = 0; i < ctx->n_touched; i++) {
        tp_tensor *x = ctx->touched[i], *g;

        x->touched = false;
        x->void_grad |= !tp_ok(ctx);
        g = tp_ok(ctx) ? run_hook(ctx, x, x->grad) : x->grad;
        if (g != x->grad && g != NULL)
            tp_copy_to(ctx, x->grad, g);
        tp_release(x);
    }
    ctx->n_touched = 0;
}

static bool may_walk(tp_ctx *ctx, const char *what, tp_tensor *y)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, what, y, 0))
        return false;
    if (y->walked)
        tp_fail(ctx, TP_EARG, "%s: this tensor has been walked back from already; compute it anew", what);
    else if (!y->needs_grad)
        tp_fail(ctx, TP_EARG, "%s: nothing trainable is below this tensor, or it was computed with recording off", what);
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
    tpi_walk(ctx, 0, y, dy);
    if (ctx->depth == 0)
        end_pass(ctx);
    return tp_ok(ctx);
}

/* A one of y's shape and dtype, for a loss. */
static tp_tensor *seed_of(tp_ctx *ctx, const char *what, tp_tensor *y)
{
    char a[96];

    if (!may_walk(ctx, what, y))
        return NULL;
    if (y->numel != 1)
        return tp_fail(ctx, TP_ESHAPE, "%s: the loss must be one number, it is %s", what, tp_shape_text(y, a, sizeof a));
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

bool tp_grad_of(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out)
{
    tp_tensor *one;

    for (int i = 0; out != NULL && i < n; i++)
        out[i] = NULL;
    if (!tp_ok(ctx) || n <= 0 || x == NULL || out == NULL)
        return tp_fail(ctx, TP_EARG, "grad_of: no tensors to take the gradient by") != NULL;
    one = seed_of(ctx, "grad_of", y);
    if (one == NULL)
        return false;
    ctx->sink = tpi_alloc(ctx, (size_t)n, sizeof *ctx->sink);
    if (ctx->sink == NULL)
        return false;
    ctx->n_sink = n;
    for (int i = 0; i < n; i++)
        ctx->sink[i].x = x[i];
    tpi_walk(ctx, 0, y, one);
    for (int i = 0; i < n; i++)
        if (ctx->sink[i].g != NULL && tpi_adopt(ctx, ctx->sink[i].g))
            out[i] = ctx->sink[i].g;
    tpi_free(ctx->sink);
    ctx->sink = NULL;
    ctx->n_sink = 0;
    end_pass(ctx);
    return tp_ok(ctx);
}

/* ---- leaves ----------------------------------------------------------------------------------------------------------------- */

void tp_set_trainable(tp_ctx *ctx, tp_tensor *x, bool on)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "set_trainable", x, 0))
        return;
    if (x->serial >= 0)
        tp_fail(ctx, TP_EARG, "set_trainable: only leaves can be trained; this tensor was computed (see tp_detach)");
    else if (on && !tp_dtype_is_float((tp_dtype)x->dtype))
        tp_fail(ctx, TP_EDTYPE, "set_trainable: %s has no gradient, expected a floating dtype", tp_dtype_name((tp_dtype)x->dtype));
    else
        x->trainable = x->needs_grad = on;
}

bool tp_trainable(const tp_tensor *x)
{
    return x != NULL && x->trainable;
}

bool tp_needs_grad(const tp_tensor *x)
{
    return x != NULL && x->needs_grad;
}

tp_tensor *tp_grad(const tp_tensor *x)
{
    return x != NULL && x->serial < 0 ? x->grad : NULL;
}

void tp_grad_drop(tp_tensor *x)
{
    tp_tensor *g = x != NULL && x->serial < 0 ? x->grad : NULL;

    if (x == NULL || x->serial >= 0)
        return;
    x->grad = NULL;
    x->grad_used = x->void_grad = false;
    tp_release(g);
}

void tp_grad_used(tp_tensor *x)
{
    if (x != NULL && x->grad != NULL)
        x->grad_used = true;
}

void tp_hook(tp_ctx *ctx, tp_tensor *x, tp_hook_fn fn, void *user)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "hook", x, 0))
        return;
    x->hook = fn;
    x->hook_user = user;
}

tp_tensor *tp_detach(tp_ctx *ctx, tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "detach", x, 0))
        return NULL;
    return tpi_view(ctx, x, x->ndim, x->dim, x->stride, 0);
}
