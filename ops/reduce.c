/* reduce.c - sums, products, extremes and truth over axes, running sums, and their gradients. */
#include "ops/support.h"

#include <math.h>
#include <string.h>

typedef struct {
    bool on[TP_MAX_DIM];
    bool keepdim;
} reduce_attr;

/* ---- the kernel's two walks -------------------------------------------------------------------------------------- */

/* Appends a dimension to a walk over operands 0 and 1, or merges it with the last one. */
static void push(tpi_nd *nd, int64_t size, int64_t s0, int64_t s1)
{
    int last = nd->ndim - 1;

    if (size == 1)
        return;
    if (last >= 0 && nd->stride[0][last] == s0 * size && nd->stride[1][last] == s1 * size) {
        nd->dim[last] *= size;
    } else {
        last = nd->ndim++;
        nd->dim[last] = size;
    }
    nd->stride[0][last] = s0;
    nd->stride[1][last] = s1;
}

/* The result's shape; returns its number of axes. */
static int reduced_shape(const tp_tensor *x, const bool on[TP_MAX_DIM], bool keepdim, int64_t *dim)
{
    int n = 0;

    for (int i = 0; i < x->ndim; i++) {
        if (!on[i])
            dim[n++] = x->dim[i];
        else if (keepdim)
            dim[n++] = 1;
    }
    return n;
}

/* Elements that go into one result. */
static int64_t group_size(const tp_tensor *x, const bool on[TP_MAX_DIM])
{
    int64_t n = 1;

    for (int i = 0; i < x->ndim; i++)
        n *= on[i] ? x->dim[i] : 1;
    return n;
}

tp_tensor *tpi_reduce_run(tp_ctx *ctx, const char *name, tpi_reduce op, tp_tensor *x, const bool on[TP_MAX_DIM],
                          bool keepdim, tp_dtype yt)
{
    int64_t    dim[TP_MAX_DIM], stride = 1, ys[TP_MAX_DIM];
    tpi_nd     outer = { .ndim = 0 }, inner = { .ndim = 0 };
    tp_tensor *y = x ? tp_empty(ctx, yt, reduced_shape(x, on, keepdim, dim), dim) : NULL;
    tpi_run    r;

    if (y == NULL)
        return NULL;
    for (int i = x->ndim; i-- > 0;) {
        ys[i] = stride;
        stride *= on[i] ? 1 : x->dim[i];
    }
    for (int i = 0; i < x->ndim; i++) {
        if (on[i])
            push(&inner, x->dim[i], 0, x->stride[i]);
        else
            push(&outer, x->dim[i], ys[i], x->stride[i]);
    }
    r = tpi_run_of(ctx);
    return tpi_done(ctx, name, tpi_k(ctx)->reduce(&r, op, &outer, &inner, yt, y->data, (tp_dtype)x->dtype, x->data))
               ? y
               : NULL;
}

tp_tensor *tpi_sum_as(tp_ctx *ctx, tp_tensor *x, const bool on[TP_MAX_DIM], bool keepdim, tp_dtype yt)
{
    return tpi_reduce_run(ctx, "sum", TPI_SUM, x, on, keepdim, yt);
}

tp_tensor *tpi_spread(tp_ctx *ctx, tp_tensor *y, const tp_tensor *x, const bool on[TP_MAX_DIM])
{
    int64_t stride[TP_MAX_DIM] = { 0 };

    if (y == NULL)
        return NULL;
    for (int i = 0, k = 0; i < x->ndim; i++) {
        bool keepdim = y->ndim == x->ndim;

        if (!on[i])
            stride[i] = y->stride[k];
        k += keepdim || !on[i];
    }
    return tpi_view(ctx, y, x->ndim, x->dim, stride, 0);
}

/* Applies a reducing op after its checks. */
static tp_tensor *reduce(tp_ctx *ctx, const tp_op *op, uint16_t can, tp_tensor *x, const int *axes, int n_axes,
                         bool keepdim)
{
    reduce_attr a = { .keepdim = keepdim };

    if (!tp_ok(ctx) || !tpi_check(ctx, op->name, x, 0) || !tpi_can_do(ctx, op->name, can, (tp_dtype)x->dtype) ||
        !tpi_axes(ctx, op->name, x, axes, n_axes, a.on))
        return NULL;
    return tp_apply(ctx, op, &a, TP_IN(x));
}

/* ---- sum, mean --------------------------------------------------------------------------------------------------- */

static tp_tensor *sum_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;
    tp_dtype           t = (tp_dtype)c->in[0]->dtype;

    return tpi_reduce_run(ctx, "sum", TPI_SUM, c->in[0], a->on, a->keepdim, tp_dtype_is_float(t) ? t : TP_I64);
}

/* A view of dy would do, but the tape may add to a gradient in place, and here one number stands for many. */
static void sum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const reduce_attr *a = c->attr;

    dx[0] = tpi_copy(ctx, tpi_spread(ctx, dy[0], c->in[0], a->on), (tp_dtype)dy[0]->dtype);
}

/* y, reduced from x, repeated to x's shape by recorded ops. */
static tp_tensor *spread_ops(tp_ctx *ctx, tp_tensor *y, const tp_tensor *x, const reduce_attr *a)
{
    int64_t dim[TP_MAX_DIM];

    for (int i = 0; i < x->ndim; i++)
        dim[i] = a->on[i] ? 1 : x->dim[i];
    return tp_broadcast_to(ctx, tp_reshape(ctx, y, x->ndim, dim), x->ndim, x->dim);
}

static void sum_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = spread_ops(ctx, dy[0], c->in[0], c->attr);
}

static const tp_op sum_op = { "sum", sizeof(reduce_attr), 1, 0, sum_forward, sum_backward, sum_ops };

tp_tensor *tp_sum(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return reduce(ctx, &sum_op, TPI_CAN_ALL, x, axes, n_axes, keepdim);
}

static tp_tensor *mean_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;
    tp_dtype           t = (tp_dtype)c->in[0]->dtype;
    tp_tensor         *s = tpi_reduce_run(ctx, "mean", TPI_SUM, c->in[0], a->on, a->keepdim, tpi_wide(t));

    return tpi_cast(ctx, tpi_unary_run(ctx, TPI_SCALE, 1 / (double)group_size(c->in[0], a->on), 0, s), t);
}

static void mean_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const reduce_attr *a = c->attr;
    tp_tensor         *g = tpi_unary_run(ctx, TPI_SCALE, 1 / (double)group_size(c->in[0], a->on), 0, dy[0]);

    dx[0] = tpi_copy(ctx, tpi_spread(ctx, g, c->in[0], a->on), (tp_dtype)dy[0]->dtype);
}

static void mean_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const reduce_attr *a = c->attr;

    dx[0] = spread_ops(ctx, tp_scale(ctx, dy[0], 1 / (double)group_size(c->in[0], a->on)), c->in[0], a);
}

static const tp_op mean_op = { "mean", sizeof(reduce_attr), 1, 0, mean_forward, mean_backward, mean_ops };

tp_tensor *tp_mean(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return reduce(ctx, &mean_op, TPI_CAN_FLOAT, x, axes, n_axes, keepdim);
}

/* ---- prod -------------------------------------------------------------------------------------------------------- */

static tp_tensor *prod_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;

    c->keep = TP_KEEP_IN(0);
    return tpi_reduce_run(ctx, "prod", TPI_PROD, c->in[0], a->on, a->keepdim, (tp_dtype)c->in[0]->dtype);
}

/* The slope at an element is the product of the others: with p the product of the factors that are not 0, p / x when
 * none is 0; where just one is, p there and 0 elsewhere; else 0. */
static void prod_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const reduce_attr *a = c->attr;
    tp_tensor         *x = c->in[0], *zero = tpi_scalar(ctx, (tp_dtype)x->dtype, 0),
              *one = tpi_scalar(ctx, (tp_dtype)x->dtype, 1);
    tp_tensor *is_zero = tp_eq(ctx, x, zero), *safe = tp_where(ctx, is_zero, one, x), *p, *zeros, *none, *single,
              *slope;

    if (safe == NULL)
        return;
    p = tpi_reduce_run(ctx, "prod", TPI_PROD, safe, a->on, true, (tp_dtype)x->dtype);
    zeros = tpi_reduce_run(ctx, "prod", TPI_SUM, tp_cast(ctx, is_zero, TP_I64), a->on, true, TP_I64);
    none = tp_eq(ctx, zeros, tpi_scalar(ctx, TP_I64, 0));
    single = tp_eq(ctx, zeros, tpi_scalar(ctx, TP_I64, 1));
    slope = tp_where(ctx, is_zero, tp_where(ctx, single, p, zero), tp_where(ctx, none, tp_div(ctx, p, safe), zero));
    dx[0] = tp_mul(ctx, tpi_spread(ctx, dy[0], x, a->on), slope);
}

static const tp_op prod_op = { "prod", sizeof(reduce_attr), 1, 0, prod_forward, prod_backward, NULL };

tp_tensor *tp_prod(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return reduce(ctx, &prod_op, TPI_CAN_FLOAT | TPI_CAN_INT, x, axes, n_axes, keepdim);
}

/* ---- max, min ---------------------------------------------------------------------------------------------------- */

static tp_tensor *extreme_forward(tp_ctx *ctx, tp_call *c, tpi_reduce op)
{
    const reduce_attr *a = c->attr;

    c->keep = TP_KEEP_IN(0) | TP_KEEP_OUT(0);
    return tpi_reduce_run(ctx, c->op->name, op, c->in[0], a->on, a->keepdim, (tp_dtype)c->in[0]->dtype);
}

static tp_tensor *max_forward(tp_ctx *ctx, tp_call *c)
{
    return extreme_forward(ctx, c, TPI_MAX);
}

static tp_tensor *min_forward(tp_ctx *ctx, tp_call *c)
{
    return extreme_forward(ctx, c, TPI_MIN);
}

static void extreme_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const reduce_attr *a = c->attr;
    tp_tensor         *x = c->in[0], *hit = tp_eq(ctx, x, tpi_spread(ctx, c->out[0], x, a->on)), *count, *share;

    if (hit == NULL)
        return;
    hit = tpi_cast(ctx, hit, (tp_dtype)x->dtype);
    count = tpi_reduce_run(ctx, c->op->name, TPI_SUM, hit, a->on, true, (tp_dtype)x->dtype);
    share = tp_div(ctx, tpi_spread(ctx, dy[0], x, a->on), count);
    dx[0] = tp_mul(ctx, hit, share);
}

static const tp_op max_op = { "max", sizeof(reduce_attr), 1, 0, max_forward, extreme_backward, NULL };
static const tp_op min_op = { "min", sizeof(reduce_attr), 1, 0, min_forward, extreme_backward, NULL };

/* An extreme of nothing does not exist; with no result asked for that is no error. */
static bool something(tp_ctx *ctx, const char *op, const tp_tensor *x, const bool on[TP_MAX_DIM])
{
    int64_t results = 1;
    char    text[96];

    for (int i = 0; i < x->ndim; i++)
        results *= on[i] ? 1 : x->dim[i];
    if (group_size(x, on) > 0 || results == 0)
        return true;
    tp_fail(ctx, TP_ESHAPE, "%s: nothing to choose from in %s", op, tp_shape_text(x, text, sizeof text));
    return false;
}

static tp_tensor *extreme(tp_ctx *ctx, const tp_op *op, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    bool on[TP_MAX_DIM];

    if (!tp_ok(ctx) || !tpi_check(ctx, op->name, x, 0) || !tpi_axes(ctx, op->name, x, axes, n_axes, on) ||
        !something(ctx, op->name, x, on))
        return NULL;
    return reduce(ctx, op, TPI_CAN_FLOAT | TPI_CAN_INT, x, axes, n_axes, keepdim);
}

tp_tensor *tp_max(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return extreme(ctx, &max_op, x, axes, n_axes, keepdim);
}

tp_tensor *tp_min(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return extreme(ctx, &min_op, x, axes, n_axes, keepdim);
}

/* ---- argmax, argmin, any, all ------------------------------------------------------------------------------------ */

static tp_tensor *argmax_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;

    return tpi_reduce_run(ctx, "argmax", TPI_ARGMAX, c->in[0], a->on, a->keepdim, TP_I64);
}

static tp_tensor *argmin_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;

    return tpi_reduce_run(ctx, "argmin", TPI_ARGMIN, c->in[0], a->on, a->keepdim, TP_I64);
}

static tp_tensor *any_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;

    return tpi_reduce_run(ctx, "any", TPI_ANY, c->in[0], a->on, a->keepdim, TP_BOOL);
}

static tp_tensor *all_forward(tp_ctx *ctx, tp_call *c)
{
    const reduce_attr *a = c->attr;

    return tpi_reduce_run(ctx, "all", TPI_ALL, c->in[0], a->on, a->keepdim, TP_BOOL);
}

static const tp_op argmax_op = { "argmax", sizeof(reduce_attr), 1, 0, argmax_forward, NULL, NULL };
static const tp_op argmin_op = { "argmin", sizeof(reduce_attr), 1, 0, argmin_forward, NULL, NULL };
static const tp_op any_op = { "any", sizeof(reduce_attr), 1, 0, any_forward, NULL, NULL };
static const tp_op all_op = { "all", sizeof(reduce_attr), 1, 0, all_forward, NULL, NULL };

tp_tensor *tp_argmax(tp_ctx *ctx, tp_tensor *x, int axis, bool keepdim)
{
    return extreme(ctx, &argmax_op, x, &axis, 1, keepdim);
}

tp_tensor *tp_argmin(tp_ctx *ctx, tp_tensor *x, int axis, bool keepdim)
{
    return extreme(ctx, &argmin_op, x, &axis, 1, keepdim);
}

tp_tensor *tp_any(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return reduce(ctx, &any_op, TPI_BIT(TP_BOOL), x, axes, n_axes, keepdim);
}

tp_tensor *tp_all(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim)
{
    return reduce(ctx, &all_op, TPI_BIT(TP_BOOL), x, axes, n_axes, keepdim);
}

/* ---- cumsum ------------------------------------------------------------------------------------------------------ */

static tp_tensor *running(tp_ctx *ctx, tp_tensor *x, int axis, bool reverse)
{
    tp_tensor *rows = tpi_rows(ctx, x), *y = rows ? tp_like(ctx, rows) : NULL;
    tpi_run    r;

    if (y == NULL)
        return NULL;
    r = tpi_run_of(ctx);
    return tpi_done(ctx, "cumsum",
                    tpi_k(ctx)->cumsum(&r, (tp_dtype)y->dtype, y->data, rows->data, tpi_span(x, 0, axis), x->dim[axis],
                                       tpi_span(x, axis + 1, x->ndim), reverse))
               ? y
               : NULL;
}

static tp_tensor *cumsum_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;

    return running(ctx, c->in[0], *axis, false);
}

static void cumsum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;

    dx[0] = running(ctx, dy[0], *axis, true);
}

static void cumsum_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;

    dx[0] = tp_flip(ctx, tp_cumsum(ctx, tp_flip(ctx, dy[0], axis, 1), *axis), axis, 1);
}

static const tp_op cumsum_op = { "cumsum", sizeof(int), 1, 0, cumsum_forward, cumsum_backward, cumsum_ops };

tp_tensor *tp_cumsum(tp_ctx *ctx, tp_tensor *x, int axis)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "cumsum", x, 0) ||
        !tpi_can_do(ctx, "cumsum", TPI_CAN_FLOAT | TPI_CAN_INT, (tp_dtype)x->dtype))
        return NULL;
    axis = tpi_axis(ctx, "cumsum", x, axis);
    return axis < 0 ? NULL : tp_apply(ctx, &cumsum_op, &axis, TP_IN(x));
}
