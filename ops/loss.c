/* loss.c - cross-entropy of logits, and losses put together from other ops. */
#include "ops/support.h"

#include <float.h>

static const tp_loss_opts defaults = { 0, false };

static bool good_opts(tp_ctx *ctx, const char *op, const tp_loss_opts *o)
{
    if (o->smoothing >= 0 && o->smoothing <= 1)
        return true;
    tp_fail(ctx, TP_EARG, "%s: label smoothing %g, expected 0 to 1", op, o->smoothing);
    return false;
}

bool tpi_loss_inputs(tp_ctx *ctx, const char *op, const tp_tensor *x, tp_tensor *target, int64_t classes,
                     const tp_loss_opts *o, int64_t *count)
{
    bool fits = x->ndim == target->ndim + 1;

    for (int i = 0; fits && i < target->ndim; i++)
        fits = x->dim[i] == target->dim[i];
    if (!fits) {
        tpi_fail_shapes(ctx, op, "expected a target for every row", x, target);
        return false;
    }
    return good_opts(ctx, op, o) && tpi_ids(ctx, op, target, classes, true, count);
}

/* ---- cross_entropy ----------------------------------------------------------------------------------------------- */

typedef struct {
    double smoothing, scale; /* scale: 1, or 1 over the number of targets */
} entropy_attr;

/* The kernel wants i32 in a row. */
static tp_tensor *targets(tp_ctx *ctx, tp_tensor *t)
{
    return tpi_rows(ctx, tpi_cast(ctx, t, TP_I32));
}

static tp_tensor *entropy_rows(tp_ctx *ctx, const tp_call *c, void *dx, double gscale)
{
    const entropy_attr *a = c->attr;
    tp_tensor          *x = tpi_rows(ctx, c->in[0]), *t = targets(ctx, c->in[1]), *loss;
    tpi_run             r = tpi_run_of(ctx);
    int64_t             rows = c->in[1]->numel, n = c->in[0]->dim[c->in[0]->ndim - 1];

    loss = x ? tp_empty(ctx, tpi_wide((tp_dtype)x->dtype), TP_SHAPE(rows)) : NULL;
    if (loss == NULL || t == NULL)
        return NULL;
    return tpi_done(ctx, c->op->name,
                    tpi_k(ctx)->cross_entropy(&r, (tp_dtype)x->dtype, loss->data, dx, x->data, (const int32_t *)t->data,
                                              rows, n, a->smoothing, gscale))
               ? loss
               : NULL;
}

static tp_tensor *cross_entropy_forward(tp_ctx *ctx, tp_call *c)
{
    const entropy_attr *a = c->attr;

    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1);
    return tp_scale(ctx, tp_sum(ctx, entropy_rows(ctx, c, NULL, 0), TP_ALL_AXES, false), a->scale);
}

static void cross_entropy_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const entropy_attr *a = c->attr;
    tp_tensor          *d = tp_like(ctx, c->in[0]);

    if (d != NULL && entropy_rows(ctx, c, d->data, tp_item(ctx, dy[0]) * a->scale) != NULL)
        dx[0] = d;
}

static const tp_op cross_entropy_op = { "cross_entropy",       sizeof(entropy_attr),  1, 0,
                                        cross_entropy_forward, cross_entropy_backward, NULL };

static double share(const tp_loss_opts *o, int64_t count)
{
    return o->sum ? 1 : count > 0 ? 1 / (double)count : 0;
}

tp_tensor *tp_cross_entropy(tp_ctx *ctx, tp_tensor *logits, tp_tensor *target, const tp_loss_opts *opts)
{
    const tp_loss_opts *o = opts ? opts : &defaults;
    entropy_attr        a = { o->smoothing, 1 };
    int64_t             count;

    if (!tp_ok(ctx) || !tpi_float_input(ctx, "cross_entropy", logits) || !tpi_check(ctx, "cross_entropy", target, 1) ||
        !tpi_loss_inputs(ctx, "cross_entropy", logits, target, tp_dim(logits, -1), o, &count))
        return NULL;
    a.scale = share(o, count);
    return tp_apply(ctx, &cross_entropy_op, &a, TP_IN(logits, target));
}

/* ---- nll --------------------------------------------------------------------------------------------------------- */

static tp_tensor *widened(tp_ctx *ctx, tp_tensor *x)
{
    return x ? tp_cast(ctx, x, tpi_wide((tp_dtype)x->dtype)) : NULL;
}

tp_tensor *tp_nll(tp_ctx *ctx, tp_tensor *logp, tp_tensor *target, const tp_loss_opts *opts)
{
    const tp_loss_opts *o = opts ? opts : &defaults;
    int64_t             count;
    double              scale;
    tp_tensor          *picked, *skip;

    if (!tp_ok(ctx) || !tpi_float_input(ctx, "nll", logp) || !tpi_check(ctx, "nll", target, 1) ||
        !tpi_loss_inputs(ctx, "nll", logp, target, tp_dim(logp, -1), o, &count))
        return NULL;
    scale = share(o, count);
    if (count == 0) /* class 0 need not exist then */
        return tp_scale(ctx, tp_sum(ctx, widened(ctx, tp_narrow(ctx, logp, -1, 0, 0)), TP_ALL_AXES, false), scale);
    skip = tp_lt(ctx, target, tpi_scalar(ctx, (tp_dtype)target->dtype, 0));
    picked = tp_gather(ctx, logp, -1, tp_unsqueeze(ctx, tp_relu(ctx, target), -1));
    picked = tp_masked_fill(ctx, tp_squeeze(ctx, picked, -1), skip, 0);
    return tp_scale(ctx, tp_sum(ctx, widened(ctx, picked), TP_ALL_AXES, false), -scale);
}

/* ---- of differences ---------------------------------------------------------------------------------------------- */

static bool pair(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *t)
{
    int64_t dim[TP_MAX_DIM];
    int     ndim;

    if (!tp_ok(ctx) || !tpi_inputs(ctx, op, 2, (const tp_tensor *const[]){ x, t }) || !tpi_same_dtype(ctx, op, x, t) ||
        !tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)x->dtype))
        return false;
    if (tpi_broadcast(x, t, &ndim, dim))
        return true;
    tpi_fail_shapes(ctx, op, "shapes must broadcast", x, t);
    return false;
}

/* Mean or sum of all elements, of nothing 0. */
static tp_tensor *reduced(tp_ctx *ctx, tp_tensor *y, const tp_loss_opts *opts)
{
    bool sum = opts != NULL && opts->sum;

    return sum || tp_numel(y) == 0 ? tp_sum(ctx, y, TP_ALL_AXES, false) : tp_mean(ctx, y, TP_ALL_AXES, false);
}

static tp_tensor *difference(tp_ctx *ctx, tp_tensor *x, tp_tensor *t)
{
    return tp_sub(ctx, widened(ctx, x), widened(ctx, t));
}

tp_tensor *tp_mse(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts)
{
    return pair(ctx, "mse", x, t) ? reduced(ctx, tp_square(ctx, difference(ctx, x, t)), opts) : NULL;
}

tp_tensor *tp_l1(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts)
{
    return pair(ctx, "l1", x, t) ? reduced(ctx, tp_abs(ctx, difference(ctx, x, t)), opts) : NULL;
}

/* With c = d limited to [-delta, delta]: c (d - c/2), which is d^2/2 inside and delta (|d| - delta/2) outside. */
tp_tensor *tp_huber(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, double delta, const tp_loss_opts *opts)
{
    tp_tensor *d, *c;

    if (!pair(ctx, "huber", x, t))
        return NULL;
    if (!(delta > 0))
        return tp_fail(ctx, TP_EARG, "huber: delta is %g, expected more than 0", delta);
    d = difference(ctx, x, t);
    c = tp_clamp(ctx, d, -delta, delta);
    return reduced(ctx, tp_mul(ctx, c, tp_sub(ctx, d, tp_scale(ctx, c, 0.5))), opts);
}

/* log(1 + e^x) - t x, which is finite wherever x is */
tp_tensor *tp_bce_with_logits(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts)
{
    if (!pair(ctx, "bce_with_logits", x, t))
        return NULL;
    x = widened(ctx, x);
    return reduced(ctx, tp_sub(ctx, tp_softplus(ctx, x), tp_mul(ctx, widened(ctx, t), x)), opts);
}

/* The smallest normal number in place of a p of 0 keeps its logarithm finite; times p it is 0. */
tp_tensor *tp_kl_div(tp_ctx *ctx, tp_tensor *logq, tp_tensor *p, const tp_loss_opts *opts)
{
    tp_tensor *logp;

    if (!pair(ctx, "kl_div", logq, p))
        return NULL;
    p = widened(ctx, p);
    logp = tp_log(ctx, tp_clamp(ctx, p, (double)FLT_MIN, DBL_MAX));
    return reduced(ctx, tp_mul(ctx, p, tp_sub(ctx, logp, widened(ctx, logq))), opts);
}
