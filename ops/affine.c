/* affine.c - the product of a linear layer, y = x w^T + b; contract in matmul.h. */
#include "ops/support.h"

#include <string.h>

/* A tensor with one axis as a matrix of one row. */
static tp_tensor *at_least_2d(tp_ctx *ctx, tp_tensor *x)
{
    if (x == NULL || x->ndim > 1)
        return x;
    return tpi_view(ctx, x, 2, (int64_t[]){ 1, x->dim[0] }, (int64_t[]){ x->dim[0], x->stride[0] }, 0);
}

/* The bias goes into y first and the product is added there: one rounding, and no pass of its own over y. */
static tp_tensor *affine_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = c->in[0], *w = c->in[1], *b = c->in[2], *y;
    int64_t    dim[TP_MAX_DIM];

    memcpy(dim, x->dim, sizeof dim);
    dim[x->ndim - 1] = w->dim[0];
    y = tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, dim);
    if (y == NULL || (b != NULL && !tpi_assign(ctx, c->op->name, y, b)))
        return NULL;
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    w = tpi_swapped(ctx, tpi_cast(ctx, w, (tp_dtype)x->dtype));
    return tpi_gemm_into(ctx, c->op->name, at_least_2d(ctx, y), at_least_2d(ctx, x), w, b != NULL) ? y : NULL;
}

/* db = sum of dy over the rows */
static void bias_grad(tp_ctx *ctx, tp_call *c, tp_tensor *dy, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_grad_into(ctx, c, 2, dx, &beta), *s;
    bool       on[TP_MAX_DIM] = { true };

    if (g == NULL || dy == NULL)
        return;
    s = tpi_sum_as(ctx, dy, on, false, tpi_wide((tp_dtype)dy->dtype));
    tpi_add_into(ctx, c->op->name, g, beta, s);
}

/* dx = dy w, dw = dy^T x */
static void affine_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *x = c->in[0], *w = c->in[1], *rows = tpi_as_rows(ctx, tpi_rows(ctx, dy[0]));

    if (tp_wants(c, 0)) {
        dx[0] = tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, x->dim);
        tpi_gemm_into(ctx, c->op->name, at_least_2d(ctx, dx[0]), at_least_2d(ctx, dy[0]),
                      tpi_cast(ctx, w, (tp_dtype)x->dtype), 0);
    }
    if (tp_wants(c, 1)) {
        double     beta;
        tp_tensor *g = tp_grad_into(ctx, c, 1, dx, &beta);

        if (g != NULL)
            tpi_gemm_into(ctx, c->op->name, g, tpi_swapped(ctx, rows), tpi_as_rows(ctx, tpi_rows(ctx, x)), beta);
    }
    if (tp_wants(c, 2))
        bias_grad(ctx, c, rows, dx);
}

/* x as a matrix, by recorded ops. */
static tp_tensor *matrix_ops(tp_ctx *ctx, tp_tensor *x)
{
    return tp_reshape(ctx, x, TP_SHAPE(tpi_span(x, 0, x->ndim - 1), x->dim[x->ndim - 1]));
}

static void affine_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *x = c->in[0], *w = c->in[1];
    tp_dtype   wide = tpi_wide((tp_dtype)x->dtype);

    if (tp_wants(c, 0))
        dx[0] = tp_matmul(ctx, dy[0], tp_cast(ctx, w, (tp_dtype)x->dtype));
    if (tp_wants(c, 1))
        dx[1] = tp_matmul(ctx, tp_transpose(ctx, matrix_ops(ctx, tp_cast(ctx, dy[0], wide)), 0, 1),
                          matrix_ops(ctx, tp_cast(ctx, x, wide)));
    if (tp_wants(c, 2))
        dx[2] = tpi_sum_to(ctx, tp_cast(ctx, dy[0], wide), c->in[2]);
}

static const tp_op affine_op = { "affine", 0, 1, 0, affine_forward, affine_backward, affine_ops };
static const tp_op matmul_nt_op = { "matmul_nt", 0, 1, 0, affine_forward, affine_backward, affine_ops };

static bool may_apply(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *w)
{
    if (!tp_ok(ctx) || !tpi_inputs(ctx, op, 2, (const tp_tensor *const[]){ x, w }) ||
        !tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)x->dtype) || !tpi_beside(ctx, op, x, w))
        return false;
    if (x->ndim > 0 && w->ndim == 2 && w->dim[1] == x->dim[x->ndim - 1])
        return true;
    tpi_fail_shapes(ctx, op, "expected x [.., in] and w [out, in]", x, w);
    return false;
}

tp_tensor *tp_affine(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b)
{
    if (!may_apply(ctx, "affine", x, w))
        return NULL;
    if (b != NULL) {
        if (!tpi_check(ctx, "affine", b, 2) || !tpi_beside(ctx, "affine", x, b))
            return NULL;
        if (b->ndim != 1 || b->dim[0] != w->dim[0])
            return tpi_fail_shapes(ctx, "affine", "expected w [out, in] and b [out]", w, b);
    }
    return tp_apply(ctx, &affine_op, NULL, TP_IN(x, w, b));
}

tp_tensor *tp_matmul_nt(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    if (!may_apply(ctx, "matmul_nt", x, w))
        return NULL;
    return tp_apply(ctx, &matmul_nt_op, NULL, TP_IN(x, w, NULL));
}
