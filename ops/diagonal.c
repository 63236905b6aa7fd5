/* diagonal.c - diagonals of two axes, as views; contract in einsum.h. */
#include "ops/support.h"

typedef struct {
    int     row, column;
    int64_t offset;
} diagonal_attr;

/* Elements of the diagonal. */
static int64_t length(const tp_tensor *x, const diagonal_attr *a)
{
    int64_t n = x->dim[a->row], m = x->dim[a->column];

    if (a->offset >= 0)
        m = a->offset < m ? m - a->offset : 0;
    else
        n = -a->offset < n ? n + a->offset : 0;
    return n < m ? n : m;
}

static tp_tensor *diagonal_of(tp_ctx *ctx, tp_tensor *x, const diagonal_attr *a)
{
    int64_t dim[TP_MAX_DIM], stride[TP_MAX_DIM], n, at;
    int     k = 0;

    if (x == NULL)
        return NULL;
    n = length(x, a);
    for (int i = 0; i < x->ndim; i++)
        if (i != a->row && i != a->column) {
            dim[k] = x->dim[i];
            stride[k++] = x->stride[i];
        }
    dim[k] = n;
    stride[k] = x->stride[a->row] + x->stride[a->column];
    at = a->offset >= 0 ? a->offset * x->stride[a->column] : -a->offset * x->stride[a->row];
    return tpi_view(ctx, x, x->ndim - 1, dim, stride, n > 0 && x->numel > 0 ? at : 0);
}

static tp_tensor *diagonal_forward(tp_ctx *ctx, tp_call *c)
{
    return diagonal_of(ctx, c->in[0], c->attr);
}

static void diagonal_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_grad_into(ctx, c, 0, dx, &beta);

    if (g != NULL && (beta != 0 || tpi_zero(ctx, c->op->name, g)))
        tpi_add_into(ctx, c->op->name, diagonal_of(ctx, g, c->attr), beta, dy[0]);
}

/* dy times an identity matrix, zeros around it, the two axes back in their places. */
static void diagonal_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const diagonal_attr *a = c->attr;
    tp_tensor           *x = c->in[0], *g;
    int64_t              n = length(x, a), before[TP_MAX_DIM] = { 0 }, after[TP_MAX_DIM] = { 0 };
    int                  axis[TP_MAX_DIM], last = x->ndim - 1, k = 0;

    before[last - 1] = a->offset < 0 && n > 0 ? -a->offset : 0;
    before[last] = a->offset > 0 && n > 0 ? a->offset : 0;
    after[last - 1] = x->dim[a->row] - n - before[last - 1];
    after[last] = x->dim[a->column] - n - before[last];
    g = tp_mul(ctx, tp_unsqueeze(ctx, dy[0], -1), tp_eye(ctx, (tp_dtype)x->dtype, n, n));
    g = tp_pad(ctx, g, before, after, 0);
    for (int i = 0; i <= last; i++)
        axis[i] = i == a->row ? last - 1 : i == a->column ? last : k++;
    dx[0] = tp_permute(ctx, g, axis, x->ndim);
}

static const tp_op diagonal_op = {
    "diagonal", sizeof(diagonal_attr), 1, 0, diagonal_forward, diagonal_backward, diagonal_ops
};

tp_tensor *tp_diagonal(tp_ctx *ctx, tp_tensor *x, int row, int column, int64_t offset)
{
    diagonal_attr a = { .offset = offset };

    if (!tp_ok(ctx) || !tpi_check(ctx, "diagonal", x, 0))
        return NULL;
    a.row = tpi_axis(ctx, "diagonal", x, row);
    a.column = a.row < 0 ? -1 : tpi_axis(ctx, "diagonal", x, column);
    if (a.column < 0)
        return NULL;
    if (a.row == a.column)
        return tp_fail(ctx, TP_EARG, "diagonal: axis %d is named twice", column);
    if (offset == INT64_MIN)
        a.offset = -INT64_MAX;
    return tp_apply(ctx, &diagonal_op, &a, TP_IN(x));
}
