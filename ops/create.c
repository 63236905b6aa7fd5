/* create.c - tensors made from a rule. */
#include "ops/support.h"

tp_tensor *tp_eye(tp_ctx *ctx, tp_dtype t, int64_t n, int64_t m)
{
    tp_tensor *row;

    if (!tp_ok(ctx))
        return NULL;
    if (n < 0 || m < 0)
        return tp_fail(ctx, TP_ESHAPE, "eye: [%lld, %lld]", (long long)n, (long long)m);
    row = tp_reshape(ctx, tp_arange(ctx, TP_I64, 0, (double)n, 1), TP_SHAPE(n, 1));
    return tp_cast(ctx, tp_eq(ctx, row, tp_arange(ctx, TP_I64, 0, (double)m, 1)), t);
}

/* Counted from the nearer end, so that both ends are exact. */
tp_tensor *tp_linspace(tp_ctx *ctx, tp_dtype t, double start, double stop, int64_t n)
{
    double    *v, step = n > 1 ? (stop - start) / (double)(n - 1) : 0;
    tp_tensor *x;

    if (!tp_ok(ctx))
        return NULL;
    if (n < 0)
        return tp_fail(ctx, TP_ESHAPE, "linspace: %lld numbers", (long long)n);
    v = tpi_alloc(ctx, (size_t)n, sizeof *v);
    for (int64_t i = 0; v != NULL && i < n; i++)
        v[i] = i < (n + 1) / 2 ? start + (double)i * step : stop - (double)(n - 1 - i) * step;
    x = v ? tp_from(ctx, TP_F64, TP_SHAPE(n), v) : NULL;
    tpi_free(v);
    return tp_cast(ctx, x, t);
}
