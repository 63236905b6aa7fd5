/* statistics.c - variance, log-sum-exp and norm over axes, with their gradients; computed in f32 or wider and rounded
 * once. */
#include "ops/support.h"

#include <math.h>

typedef struct {
    bool on[TP_MAX_DIM];
    bool keepdim;
    int  correction;
} stat_attr;

static int64_t group_size(const tp_tensor *x, const bool on[TP_MAX_DIM])
{
    int64_t n = 1;

    for (int i = 0; i < x->ndim; i++)
        n *= on[i] ? x->dim[i] : 1;
    return n;
}

static tp_tensor *wide(tp_ctx *ctx, tp_tensor *x)
{
    return x ? tpi_cast(ctx, x, tpi_wide((tp_dtype)x->dtype)) : NULL;
}

static tp_tensor *total(tp_ctx *ctx, const char *name, tpi_reduce op, tp_tensor *x, const bool on[TP_MAX_DIM])
{
    return x ? tpi_reduce_run(ctx, name, op, x, on, true, (tp_dtype)x->dtype) : NULL;
}

/* y, whose reduced axes are still there with size 1, as the op returns it. */
static tp_tensor *finish(tp_ctx *ctx, tp_tensor *y, const tp_tensor *x, const stat_attr *a)
{
    int64_t dim[TP_MAX_DIM];
    int     n = 0;

    if (y == NULL)
        return NULL;
    for (int i = 0; i < y->ndim; i++)
        if (a->keepdim || !a->on[i])
            dim[n++] = y->dim[i];
    y = tpi_cast(ctx, y, (tp_dtype)x->dtype);
    return y ? tpi_view(ctx, y, n, dim, NULL, 0) : NULL;
}

static tp_tensor *apply(tp_ctx *ctx, const tp_op *op, tp_tensor *x, const int *axes, int n_axes, int correction,
                        bool keepdim)
{
    stat_attr a = { .keepdim = keepdim, .correction = correction };

    if (!tp_ok(ctx) || !tpi_float_input(ctx, op->name, x) || !tpi_axes(ctx, op->name, x, axes, n_axes, a.on))
        return NULL;
    return tp_apply(ctx, op, &a, TP_IN(x));
}

/* ---- var, std ---------------------------------------------------------------------------------------------------- */

/* What the sum of squares is divided by: NaN where the estimate does not exist. */
static double freedom(const tp_tensor *x, const stat_attr *a)
{
    double n = (double)(group_size(x, a->on) - a->correction);

    return n > 0 ? n : NAN;
}

static tp_tensor *variance(tp_ctx *ctx, tp_call *c)
{
    const stat_attr *a = c->attr;
    tp_tensor       *x = wide(ctx, c->in[0]), *mean = total(ctx, c->op->name, TPI_SUM, x, a->on);

    c->keep = TP_KEEP_IN(0);
    c->saved[0] = mean = tp_scale(ctx, mean, 1 / (double)group_size(c->in[0], a->on));
    return tp_scale(ctx, total(ctx, c->op->name, TPI_SUMSQ, tp_sub(ctx, x, mean), a->on), 1 / freedom(c->in[0], a));
}

static tp_tensor *var_forward(tp_ctx *ctx, tp_call *c)
{
    return finish(ctx, variance(ctx, c), c->in[0], c->attr);
}

static tp_tensor *std_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *y = tp_sqrt(ctx, variance(ctx, c));

    c->saved[1] = y;
    return finish(ctx, y, c->in[0], c->attr);
}

/* (x - mean) scale dy, in x's dtype */
static tp_tensor *deviation(tp_ctx *ctx, const tp_call *c, tp_tensor *dy, double scale)
{
    const stat_attr *a = c->attr;
    tp_tensor       *x = c->in[0], *d = tp_scale(ctx, tp_sub(ctx, wide(ctx, x), c->saved[0]), scale);

    return tpi_cast(ctx, tp_mul(ctx, d, tpi_spread(ctx, dy, x, a->on)), (tp_dtype)x->dtype);
}

static void var_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = deviation(ctx, c, wide(ctx, dy[0]), 2 / freedom(c->in[0], c->attr));
}

static void std_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *y = c->saved[1], *g = wide(ctx, dy[0]), *zero = tpi_scalar(ctx, (tp_dtype)y->dtype, 0);

    g = tp_reshape(ctx, g, y->ndim, y->dim);
    g = tp_where(ctx, tp_eq(ctx, y, zero), zero, tp_div(ctx, g, y));
    dx[0] = deviation(ctx, c, g, 1 / freedom(c->in[0], c->attr));
}

static const tp_op var_op = { "var", sizeof(stat_attr), 1, 1, var_forward, var_backward, NULL };
static const tp_op std_op = { "std", sizeof(stat_attr), 1, 2, std_forward, std_backward, NULL };

tp_tensor *tp_var(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, int correction, bool keepdim)
{
    return apply(ctx, &var_op, x, axes, n_axes, correction, keepdim);
}

tp_tensor *tp_std(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, int correction, bool keepdim)
{
    return apply(ctx, &std_op, x, axes, n_axes, correction, keepdim);
}

/* ---- logsumexp --------------------------------------------------------------------------------------------------- */

/* x where it is finite, else 0: infinite extremes must not meet themselves in a difference. */
static tp_tensor *finite_or_zero(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *zero = x ? tpi_scalar(ctx, (tp_dtype)x->dtype, 0) : NULL,
              *inf = x ? tpi_scalar(ctx, (tp_dtype)x->dtype, INFINITY) : NULL;

    return tp_where(ctx, tp_eq(ctx, tp_abs(ctx, x), inf), zero, x);
}

/* With m the maximum: y = m + log sum e^(x - m). */
static tp_tensor *logsumexp_forward(tp_ctx *ctx, tp_call *c)
{
    const stat_attr *a = c->attr;
    tp_tensor       *x = wide(ctx, c->in[0]), *m, *s;

    c->keep = TP_KEEP_IN(0) | TP_KEEP_OUT(0);
    if (group_size(c->in[0], a->on) == 0)
        return finish(ctx, tp_log(ctx, total(ctx, "logsumexp", TPI_SUM, x, a->on)), c->in[0], a);
    m = finite_or_zero(ctx, total(ctx, "logsumexp", TPI_MAX, x, a->on));
    s = total(ctx, "logsumexp", TPI_SUM, tp_exp(ctx, tp_sub(ctx, x, m)), a->on);
    return finish(ctx, tp_add(ctx, m, tp_log(ctx, s)), c->in[0], a);
}

static void logsumexp_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const stat_attr *a = c->attr;
    tp_tensor       *x = c->in[0], *zero = tpi_scalar(ctx, (tp_dtype)x->dtype, 0), *y = c->out[0], *p;

    y = tp_where(ctx, tp_eq(ctx, y, tpi_scalar(ctx, (tp_dtype)x->dtype, -INFINITY)), zero, y); /* all masked: 0 */
    p = tp_exp(ctx, tp_sub(ctx, x, tpi_spread(ctx, y, x, a->on)));
    dx[0] = tp_mul(ctx, p, tpi_spread(ctx, dy[0], x, a->on));
}

static const tp_op logsumexp_op = { "logsumexp", sizeof(stat_attr), 1, 0, logsumexp_forward, logsumexp_backward, NULL };

tp_tensor *tp_logsumexp(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return apply(ctx, &logsumexp_op, x, axes, n_axes, 0, keepdim);
}

/* ---- norm -------------------------------------------------------------------------------------------------------- */

static tp_tensor *norm_forward(tp_ctx *ctx, tp_call *c)
{
    const stat_attr *a = c->attr;

    c->keep = TP_KEEP_IN(0) | TP_KEEP_OUT(0);
    return finish(ctx, tp_sqrt(ctx, total(ctx, "norm", TPI_SUMSQ, wide(ctx, c->in[0]), a->on)), c->in[0], a);
}

/* dx = dy x / y */
static void norm_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const stat_attr *a = c->attr;
    tp_tensor       *x = c->in[0], *y = c->out[0], *zero = tpi_scalar(ctx, (tp_dtype)x->dtype, 0), *g;

    g = tp_where(ctx, tp_eq(ctx, y, zero), zero, tp_div(ctx, dy[0], y));
    dx[0] = tp_mul(ctx, x, tpi_spread(ctx, g, x, a->on));
}

static const tp_op norm_op = { "norm", sizeof(stat_attr), 1, 0, norm_forward, norm_backward, NULL };

tp_tensor *tp_norm(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return apply(ctx, &norm_op, x, axes, n_axes, 0, keepdim);
}
