/* support.c - what the op families share: checks of operands, copies, sums back over broadcast axes. */
#include "ops/support.h"

#include <string.h>

enum { TEXT = 96 }; /* room for a shape in words */

/* ---- checks ------------------------------------------------------------------------------------------------------ */

bool tpi_inputs(tp_ctx *ctx, const char *op, int n, const tp_tensor *const *x)
{
    for (int i = 0; i < n; i++)
        if (!tpi_check(ctx, op, x[i], i))
            return false;
    return tp_ok(ctx);
}

bool tpi_float_input(tp_ctx *ctx, const char *op, const tp_tensor *x)
{
    return tpi_check(ctx, op, x, 0) && tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)x->dtype);
}

bool tpi_same_dtype(tp_ctx *ctx, const char *op, const tp_tensor *a, const tp_tensor *b)
{
    if (a->dtype == b->dtype)
        return true;
    tp_fail(ctx, TP_EDTYPE, "%s: operands are %s and %s, expected equal dtypes", op, tp_dtype_name((tp_dtype)a->dtype),
            tp_dtype_name((tp_dtype)b->dtype));
    return false;
}

bool tpi_beside(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *w)
{
    if (w->dtype == x->dtype || (w->dtype == TP_F32 && tp_dtype_size((tp_dtype)x->dtype) == 2))
        return true;
    tp_fail(ctx, TP_EDTYPE, "%s: x is %s, w is %s, expected equal dtypes or f32 beside a 16-bit x", op,
            tp_dtype_name((tp_dtype)x->dtype), tp_dtype_name((tp_dtype)w->dtype));
    return false;
}

void *tpi_fail_shapes(tp_ctx *ctx, const char *op, const char *want, const tp_tensor *a, const tp_tensor *b)
{
    char ta[TEXT], tb[TEXT];

    return tp_fail(ctx, TP_ESHAPE, "%s: %s, got %s and %s", op, want, tp_shape_text(a, ta, sizeof ta),
                   tp_shape_text(b, tb, sizeof tb));
}

bool tpi_broadcast_n(tp_ctx *ctx, const char *op, int n, const tp_tensor *const *x, int *ndim, int64_t *dim)
{
    *ndim = 0;
    for (int i = 0; i < n; i++)
        *ndim = x[i]->ndim > *ndim ? x[i]->ndim : *ndim;
    for (int d = 0; d < *ndim; d++)
        dim[d] = 1;
    for (int i = 0; i < n; i++) {
        int64_t *to = dim + (*ndim - x[i]->ndim);

        for (int d = 0; d < x[i]->ndim; d++) {
            if (x[i]->dim[d] == 1 || x[i]->dim[d] == to[d])
                continue;
            if (to[d] != 1) {
                tpi_fail_shapes(ctx, op, "shapes must broadcast", x[0], x[i]);
                return false;
            }
            to[d] = x[i]->dim[d];
        }
    }
    return true;
}

bool tpi_axes(tp_ctx *ctx, const char *op, const tp_tensor *x, const int *axes, int n_axes, bool on[TP_MAX_DIM])
{
    if (n_axes < 0 || (n_axes > 0 && axes == NULL)) {
        tp_fail(ctx, TP_EARG, "%s: a list of %d axes", op, n_axes);
        return false;
    }
    for (int i = 0; i < TP_MAX_DIM; i++)
        on[i] = n_axes == 0 && i < x->ndim;
    for (int i = 0; i < n_axes; i++) {
        int a = tpi_axis(ctx, op, x, axes[i]);

        if (a < 0)
            return false;
        if (on[a]) {
            tp_fail(ctx, TP_EARG, "%s: axis %d is named twice", op, axes[i]);
            return false;
        }
        on[a] = true;
    }
    return true;
}

/* The first id outside [low, n), or -1; counts those that are at least 0. */
static int64_t first_bad(tp_dtype t, const void *p, int64_t len, int64_t low, int64_t n, int64_t *count)
{
    int64_t valid = 0, bad = -1;

    for (int64_t i = 0; i < len && bad < 0; i++) {
        int64_t id = t == TP_I64 ? ((const int64_t *)p)[i] : ((const int32_t *)p)[i];

        valid += id >= 0;
        if (id < low || id >= n)
            bad = i;
    }
    *count = valid;
    return bad;
}

bool tpi_ids(tp_ctx *ctx, const char *op, tp_tensor *ids, int64_t n, bool skip, int64_t *count)
{
    const tp_dtype t = (tp_dtype)ids->dtype;
    tp_tensor     *flat;
    const void    *p;
    int64_t        valid, bad;

    if (!tpi_can_do(ctx, op, TPI_BIT(TP_I32) | TPI_BIT(TP_I64), t))
        return false;
    flat = tpi_rows(ctx, ids);
    p = flat ? tp_values(ctx, flat) : NULL;
    if (p == NULL)
        return false;
    bad = first_bad(t, p, ids->numel, skip ? INT64_MIN : 0, n, &valid);
    if (count != NULL)
        *count = valid;
    if (bad >= 0)
        tp_fail(ctx, TP_EARG, "%s: number %lld at place %lld, expected %s %lld", op,
                (long long)(t == TP_I64 ? ((const int64_t *)p)[bad] : ((const int32_t *)p)[bad]), (long long)bad,
                skip ? "one below" : "0 up to, not with,", (long long)n);
    return bad < 0;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

tp_dtype tpi_wide(tp_dtype t)
{
    return t == TP_F64 ? TP_F64 : TP_F32;
}

int64_t tpi_span(const tp_tensor *x, int first, int last)
{
    int64_t n = 1;

    for (int i = first; i < last; i++)
        n *= x->dim[i];
    return n;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

tp_tensor *tpi_scalar(tp_ctx *ctx, tp_dtype t, double value)
{
    return tp_full(ctx, t, TP_SCALAR, value);
}

bool tpi_assign(tp_ctx *ctx, const char *op, tp_tensor *dst, const tp_tensor *src)
{
    tpi_run r;
    tpi_nd  nd;

    if (dst == NULL || src == NULL)
        return false;
    r = tpi_run_of(ctx);
    tpi_nd_init(&nd, dst->ndim, dst->dim, 2, (const tp_tensor *const[]){ dst, src });
    return tpi_done(ctx, op,
                    tpi_k(ctx)->copy(&r, &nd, (tp_dtype)dst->dtype, dst->data, (tp_dtype)src->dtype, src->data));
}

tp_tensor *tpi_copy(tp_ctx *ctx, tp_tensor *x, tp_dtype t)
{
    tp_tensor *y = x ? tp_empty(ctx, t, x->ndim, x->dim) : NULL;

    return tpi_assign(ctx, "copy", y, x) ? y : NULL;
}

bool tpi_zero(tp_ctx *ctx, const char *op, tp_tensor *x)
{
    tpi_run r;

    if (x == NULL)
        return false;
    r = tpi_run_of(ctx);
    return tpi_done(ctx, op, tpi_k(ctx)->fill(&r, (tp_dtype)x->dtype, x->data, x->numel, 0, 0));
}

bool tpi_add_into(tp_ctx *ctx, const char *op, tp_tensor *g, double beta, tp_tensor *src)
{
    tp_tensor *x;
    tpi_run    r;
    tpi_nd     nd;

    if (g == NULL || src == NULL)
        return false;
    if (beta == 0)
        return tpi_assign(ctx, op, g, src);
    x = tpi_cast(ctx, src, (tp_dtype)g->dtype);
    if (x == NULL)
        return false;
    r = tpi_run_of(ctx);
    tpi_nd_init(&nd, g->ndim, g->dim, 3, (const tp_tensor *const[]){ g, g, x });
    return tpi_done(ctx, op, tpi_k(ctx)->binary(&r, TPI_ADD, &nd, (tp_dtype)g->dtype, g->data, g->data, x->data));
}

tp_tensor *tpi_wide_grad(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, double *beta)
{
    tp_tensor *g = tp_grad_into(ctx, c, i, dx, beta);

    if (g == NULL || tp_dtype_size((tp_dtype)g->dtype) > 2)
        return g;
    dx[i] = tp_empty(ctx, TP_F32, g->ndim, g->dim);
    return dx[i];
}

/* By public ops, which are recorded. */
static tp_tensor *sum_axes(tp_ctx *ctx, tp_tensor *dy, const bool on[TP_MAX_DIM], const tp_tensor *like)
{
    int axes[TP_MAX_DIM], n = 0;

    for (int i = 0; i < dy->ndim; i++)
        if (on[i])
            axes[n++] = i;
    return tp_reshape(ctx, n > 0 ? tp_sum(ctx, dy, axes, n, true) : dy, like->ndim, like->dim);
}

tp_tensor *tpi_sum_to(tp_ctx *ctx, tp_tensor *dy, const tp_tensor *like)
{
    bool       on[TP_MAX_DIM] = { false }, any = false;
    int        extra;
    tp_tensor *s;

    if (dy == NULL || (dy->ndim == like->ndim && tp_same_shape(dy, like)))
        return dy;
    extra = dy->ndim - like->ndim;
    for (int i = 0; i < dy->ndim; i++) {
        on[i] = i < extra || (like->dim[i - extra] == 1 && dy->dim[i] != 1);
        any |= on[i];
    }
    if (tp_recording(ctx))
        return sum_axes(ctx, dy, on, like);
    s = any ? tpi_sum_as(ctx, dy, on, true, (tp_dtype)dy->dtype) : dy;
    return s ? tpi_view(ctx, s, like->ndim, like->dim, s->stride + extra, 0) : NULL;
}

tp_tensor *tpi_as_rows(tp_ctx *ctx, tp_tensor *x)
{
    int64_t n, rows;

    if (x == NULL)
        return NULL;
    n = x->ndim > 0 ? x->dim[x->ndim - 1] : 1;
    rows = tpi_span(x, 0, x->ndim - 1);
    return tpi_view(ctx, x, 2, (int64_t[]){ rows, n }, (int64_t[]){ n, 1 }, 0);
}

tp_tensor *tpi_swapped(tp_ctx *ctx, tp_tensor *x)
{
    int64_t dim[TP_MAX_DIM], stride[TP_MAX_DIM];
    int     n;

    if (x == NULL)
        return NULL;
    n = x->ndim;
    memcpy(dim, x->dim, sizeof dim);
    memcpy(stride, x->stride, sizeof stride);
    dim[n - 1] = x->dim[n - 2];
    dim[n - 2] = x->dim[n - 1];
    stride[n - 1] = x->stride[n - 2];
    stride[n - 2] = x->stride[n - 1];
    return tpi_view(ctx, x, n, dim, stride, 0);
}
