/* grad.c - where gradients go: adding them up, the gradients of leaves, hooks. */
#include "core/context.h"

#include <string.h>

/* ---- adding up --------------------------------------------------------------------------------------------------- */

bool tpi_exclusive(const tp_tensor *x)
{
    return x->uses == 1 && x->store != NULL && x->store->holders == 1 && x->contiguous;
}

static bool add_in_place(tp_ctx *ctx, tp_tensor *x, tp_tensor *g)
{
    tpi_run r = tpi_run_of(ctx);
    tpi_nd  nd;

    g = tpi_cast(ctx, g, (tp_dtype)x->dtype);
    if (g == NULL)
        return false;
    tpi_nd_init(&nd, x->ndim, x->dim, 3, (const tp_tensor *const[]){ x, x, g });
    tpi_touch(x);
    return tpi_done(ctx, "add", tpi_k(ctx)->binary(&r, TPI_ADD, &nd, (tp_dtype)x->dtype, x->data, x->data, g->data));
}

tp_tensor *tpi_own_copy(tp_ctx *ctx, tp_tensor *g, tp_dtype t)
{
    tp_tensor *c = tp_empty(ctx, t, g->ndim, g->dim);

    return c != NULL && tp_copy_to(ctx, c, g) ? tpi_disown(ctx, c) : NULL;
}

/* Whether g was made for this call's backward and nobody but the scope has it: only such a one may become somebody's
 * own. */
static bool fresh(const tp_ctx *ctx, const tp_tensor *g)
{
    size_t from = ctx->n_scopes ? ctx->scopes[ctx->n_scopes - 1].live : 0;

    for (size_t i = ctx->n_live; i-- > from;)
        if (ctx->live[i] == g)
            return tpi_exclusive(g);
    return false;
}

/* *slot += g, where a first g is taken over as it is if it may be.  What is shared is never written to. */
static bool add_to(tp_ctx *ctx, tp_tensor **slot, tp_tensor *g, tp_dtype t, bool must_own)
{
    tp_tensor *sum;

    if (*slot == NULL) {
        bool take = (tp_dtype)g->dtype == t && (!must_own || fresh(ctx, g));

        *slot = take ? tp_retain(g) : tpi_own_copy(ctx, g, t);
        return *slot != NULL;
    }
    if (tpi_exclusive(*slot))
        return add_in_place(ctx, *slot, g);
    sum = tpi_own_copy(ctx, *slot, t);
    if (sum == NULL || !add_in_place(ctx, sum, g)) {
        tp_release(sum);
        return false;
    }
    tp_release(*slot);
    *slot = sum;
    return true;
}

/* ---- leaves and inner tensors ------------------------------------------------------------------------------------ */

static tp_dtype grad_dtype(const tp_tensor *x)
{
    if (x->serial >= 0)
        return (tp_dtype)x->dtype;
    return x->dtype == TP_F64 ? TP_F64 : TP_F32;
}

tpi_sink *tpi_find_sink(tp_ctx *ctx, const tp_tensor *x)
{
    for (int i = 0; i < ctx->n_sink; i++)
        if (ctx->sink[i].x == x)
            return &ctx->sink[i];
    return NULL;
}

/* Somebody else has x's gradient too: that one stays as it is, x gets its own. */
static bool part(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *g = x->grad;

    if (!x->grad_used) {
        x->grad = tpi_own_copy(ctx, g, grad_dtype(x));
        if (x->grad == NULL) {
            x->grad = g;
            return false;
        }
    } else {
        x->grad = NULL;
        x->grad_used = false;
    }
    tp_release(g);
    return true;
}

/* Notes that this pass writes x's gradient.  Then x->grad is NULL, or x's alone and to be added to (overwritten if
 * grad_used). */
static bool touch_leaf(tp_ctx *ctx, tp_tensor *x)
{
    tpi_touched *t;

    if (x->touched)
        return true;
    if (!tpi_grow(ctx, &ctx->touched, &ctx->cap_touched, ctx->n_touched + 1, sizeof *ctx->touched))
        return false;
    t = &ctx->touched[ctx->n_touched++];
    *t = (tpi_touched){ .x = x };
    tpi_hold(x);
    x->touched = true;
    if (x->hook != NULL) {
        t->before = x->grad;
        t->used = x->grad_used;
        x->grad = NULL;
        x->grad_used = false;
        return true;
    }
    return x->grad == NULL || tpi_exclusive(x->grad) || part(ctx, x);
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

/* Whether g can be a gradient of x at all. */
static bool gradient_fits(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *g)
{
    char a[96], b[96];

    if (!tpi_alive(g) || g->ctx != ctx || g->store == NULL)
        tp_fail(ctx, TP_EARG, "%s: its backward gave a gradient that was released, or of another context", op);
    else if (!tp_same_shape(g, x) || !tp_dtype_is_float((tp_dtype)g->dtype))
        tp_fail(ctx, TP_ESHAPE, "%s: its backward gave a gradient %s %s for an input %s %s", op,
                tp_dtype_name((tp_dtype)g->dtype), tp_shape_text(g, a, sizeof a), tp_dtype_name((tp_dtype)x->dtype),
                tp_shape_text(x, b, sizeof b));
    else if (x->walked)
        tp_fail(ctx, TP_EARG, "%s: one of its inputs has been walked back from already; compute it anew", op);
    return tp_ok(ctx);
}

bool tpi_accumulate(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *g)
{
    tpi_sink *sink;

    if (!gradient_fits(ctx, op, x, g))
        return false;
    if (x->serial < 0 && ctx->sink == NULL)
        return add_to_leaf(ctx, x, g);
    sink = x->serial < 0 ? tpi_find_sink(ctx, x) : NULL;
    if (x->serial < 0 && sink == NULL)
        return true; /* tp_grad_of leaves other leaves alone */
    if (ctx->graph)
        return tpi_graph_add(ctx, sink ? &sink->g : &x->grad, g, grad_dtype(x));
    return add_to(ctx, sink ? &sink->g : &x->grad, g, grad_dtype(x), false);
}

tp_tensor *tp_grad_into(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, double *beta)
{
    tp_tensor *x = tp_wants(c, i) ? c->in[i] : NULL;

    if (beta != NULL)
        *beta = 0;
    if (!tp_ok(ctx) || x == NULL || dx == NULL || beta == NULL)
        return NULL;
    if (x->serial >= 0 || ctx->sink != NULL) {
        dx[i] = tp_empty(ctx, grad_dtype(x), x->ndim, x->dim);
        return dx[i];
    }
    if (!touch_leaf(ctx, x))
        return NULL;
    if (x->grad == NULL)
        x->grad = tpi_disown(ctx, tp_empty(ctx, grad_dtype(x), x->ndim, x->dim));
    else
        *beta = x->grad_used ? 0 : 1;
    x->grad_used = false;
    tpi_touch(x->grad);
    dx[i] = x->grad;
    return x->grad;
}

/* ---- hooks and the end of a pass --------------------------------------------------------------------------------- */

tp_tensor *tpi_run_hook(tp_ctx *ctx, tp_tensor *x, tp_tensor *g)
{
    size_t     floor = ctx->floor;
    bool       was;
    tp_tensor *h;
    char       a[96], b[96];

    if (x->hook == NULL || g == NULL || !tp_ok(ctx))
        return g;
    ctx->floor = ctx->n_scopes;
    was = tp_record(ctx, false);
    h = x->hook(ctx, x->hook_user, g);
    tp_record(ctx, was);
    ctx->floor = floor;
    if (!tp_ok(ctx) || h == NULL || h == g || !tpi_check(ctx, "hook", h, 0))
        return g;
    if (ctx->graph) {
        tp_fail(ctx, TP_EARG, "hook: it replaced a gradient that is recorded (tp_grad_graph); there it can only look");
        return g;
    }
    if (tp_same_shape(h, g) && h->dtype == g->dtype)
        return h;
    tp_fail(ctx, TP_ESHAPE, "hook: it returned %s %s for a gradient %s %s", tp_dtype_name((tp_dtype)h->dtype),
            tp_shape_text(h, a, sizeof a), tp_dtype_name((tp_dtype)g->dtype), tp_shape_text(g, b, sizeof b));
    return g;
}

/* The hook of a leaf, then what earlier passes have left. */
static void settle(tp_ctx *ctx, tp_tensor *x, tp_tensor *before, bool used)
{
    tp_tensor *g = x->grad, *h = tpi_run_hook(ctx, x, g);

    if (h != g && tp_ok(ctx)) {
        x->grad = tpi_own_copy(ctx, h, grad_dtype(x));
        tp_release(g);
    }
    if (before != NULL && !used && x->grad != NULL && tp_ok(ctx))
        add_to(ctx, &x->grad, before, grad_dtype(x), true);
    if (before != NULL && x->grad == NULL)
        x->grad = tp_retain(before);
    tp_release(before);
}

void tpi_end_pass(tp_ctx *ctx)
{
    tp_scope s;

    if (ctx->n_touched == 0)
        return;
    s = tp_scope_begin(ctx);
    ctx->depth++; /* a hook that runs a backward of its own adds to this list */
    for (size_t i = 0; i < ctx->n_touched; i++) {
        tpi_touched t = ctx->touched[i];

        t.x->touched = false;
        settle(ctx, t.x, t.before, t.used);
        t.x->void_grad |= !tp_ok(ctx);
        tpi_unhold(t.x);
    }
    ctx->depth--;
    ctx->n_touched = 0;
    tp_scope_end(ctx, s);
}

void tp_hook(tp_ctx *ctx, tp_tensor *x, tp_hook_fn fn, void *user)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "hook", x, 0))
        return;
    x->hook = fn;
    x->hook_user = user;
}

/* ---- what the user asks of leaves -------------------------------------------------------------------------------- */

void tp_set_trainable(tp_ctx *ctx, tp_tensor *x, bool on)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "set_trainable", x, 0))
        return;
    if (x->serial >= 0)
        tp_fail(ctx, TP_EARG, "set_trainable: only leaves can be trained; this tensor was computed (see tp_detach)");
    else if (on && !tp_dtype_is_float((tp_dtype)x->dtype))
        tp_fail(ctx, TP_EDTYPE, "set_trainable: %s has no gradient, expected a floating dtype",
                tp_dtype_name((tp_dtype)x->dtype));
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
    tp_tensor *g;

    if (!tpi_alive(x) || x->serial >= 0)
        return;
    g = x->grad;
    x->grad = NULL;
    x->grad_used = x->void_grad = false;
    tp_release(g);
}

void tp_grad_used(tp_tensor *x)
{
    if (tp_grad(x) != NULL)
        x->grad_used = true;
}

tp_tensor *tp_detach(tp_ctx *ctx, tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "detach", x, 0))
        return NULL;
    return tpi_view(ctx, x, x->ndim, x->dim, x->stride, 0);
}
