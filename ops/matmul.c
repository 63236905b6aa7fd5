/* matmul.c - products of matrices and their gradients, all by way of one strided slot of the back end. */
#include "ops/support.h"

#include <string.h>

/* ---- the slot ---------------------------------------------------------------------------------------------------- */

/* Strides of x's last two axes as tpi_gemm takes them; false when neither is 1 and a copy is due. */
static bool matrix(const tp_tensor *x, int64_t *row, int64_t *col)
{
    int64_t r = x->dim[x->ndim - 2], c = x->dim[x->ndim - 1], sr = x->stride[x->ndim - 2], sc = x->stride[x->ndim - 1];

    *row = sr;
    *col = sc;
    if (c <= 1 || sc == 1) {
        *col = 1;
        *row = r <= 1 ? (c > 1 ? c : 1) : sr;
        return *row >= c;
    }
    if (r <= 1 || sr == 1) {
        *row = 1;
        return sc >= r && sc >= 1;
    }
    return false;
}

/* The leading axes of three operands, those that lie together merged: operand 0 is c, then a, b. */
static void leading(tpi_nd *nd, const tp_tensor *const x[3])
{
    int lead = x[0]->ndim - 2;

    nd->ndim = 0;
    for (int d = 0; d < lead; d++) {
        int  last = nd->ndim - 1;
        bool joins = last >= 0;

        if (x[0]->dim[d] == 1)
            continue;
        for (int i = 0; i < 3; i++) {
            int     k = d - (x[0]->ndim - x[i]->ndim);
            int64_t s = k < 0 || x[i]->dim[k] == 1 ? 0 : x[i]->stride[k];

            nd->stride[i][last + 1] = s;
            joins = joins && nd->stride[i][last] == s * x[0]->dim[d];
        }
        nd->dim[last + 1] = x[0]->dim[d];
        if (joins) {
            nd->dim[last] *= x[0]->dim[d];
            for (int i = 0; i < 3; i++)
                nd->stride[i][last] = nd->stride[i][last + 1];
        } else {
            nd->ndim++;
        }
    }
}

/* Takes the innermost leading axis for rows of A when B does not move along it: one large product instead of many small
 * ones. */
static void fold_rows(tpi_gemm *g, tpi_nd *nd)
{
    int     last = nd->ndim - 1;
    int64_t a, c;

    if (last < 0 || nd->stride[2][last] != 0 || g->a_col != 1)
        return;
    c = nd->stride[0][last];
    a = nd->stride[1][last];
    if (c != g->m * g->c_row || (g->m == 1 ? a < g->k : a != g->m * g->a_row))
        return;
    if (g->m == 1)
        g->a_row = a;
    g->m *= nd->dim[last];
    nd->ndim--;
}

/* Runs g for every step of the leading axes beyond the last two, which the slot walks itself. */
static bool run_batches(tp_ctx *ctx, const char *op, tpi_gemm *g, const tpi_nd *nd)
{
    int64_t steps = 1,
            size[3] = { (int64_t)tp_dtype_size(g->ct), (int64_t)tp_dtype_size(g->at), (int64_t)tp_dtype_size(g->bt) };
    const tpi_kernels *k = tpi_k(ctx);
    char             *c = g->c;
    const char       *a = g->a, *b = g->b;
    int               inner = nd->ndim < 2 ? nd->ndim : 2, outer = nd->ndim - inner;
    tpi_run           r = tpi_run_of(ctx);
    bool              ok;

    for (int i = 0; i < 2; i++) {
        int d = outer + i - (2 - inner);

        g->batch[i] = i < 2 - inner ? 1 : nd->dim[d];
        g->c_batch[i] = i < 2 - inner ? 0 : nd->stride[0][d];
        g->a_batch[i] = i < 2 - inner ? 0 : nd->stride[1][d];
        g->b_batch[i] = i < 2 - inner ? 0 : nd->stride[2][d];
    }
    for (int d = 0; d < outer; d++)
        steps *= nd->dim[d];
    ok = tpi_run_begin(ctx, &r, k->gemm_space(&r, g));
    for (int64_t s = 0; s < steps && ok; s++) {
        int64_t at[3] = { 0, 0, 0 }, rest = s;

        for (int d = outer; d-- > 0; rest /= nd->dim[d])
            for (int i = 0; i < 3; i++)
                at[i] += rest % nd->dim[d] * nd->stride[i][d];
        g->c = c + at[0] * size[0];
        g->a = a + at[1] * size[1];
        g->b = b + at[2] * size[2];
        ok = tpi_done(ctx, op, k->gemm(&r, g));
    }
    tpi_run_end(ctx, &r);
    return ok;
}

bool tpi_gemm_into(tp_ctx *ctx, const char *op, tp_tensor *c, tp_tensor *a, tp_tensor *b, double beta)
{
    tpi_gemm g = { .beta = beta };
    tpi_nd   nd;

    if (c == NULL || a == NULL || b == NULL)
        return false;
    g.m = c->dim[c->ndim - 2];
    g.n = c->dim[c->ndim - 1];
    g.k = a->dim[a->ndim - 1];
    if (c->numel == 0)
        return true;
    if (g.k == 0)
        return beta != 0 || tpi_zero(ctx, op, c);
    if (!matrix(a, &g.a_row, &g.a_col)) {
        a = tpi_copy(ctx, a, (tp_dtype)a->dtype);
        if (a == NULL || !matrix(a, &g.a_row, &g.a_col))
            return false;
    }
    if (!matrix(b, &g.b_row, &g.b_col)) {
        b = tpi_copy(ctx, b, (tp_dtype)b->dtype);
        if (b == NULL || !matrix(b, &g.b_row, &g.b_col))
            return false;
    }
    g.c_row = g.n;
    g.at = (tp_dtype)a->dtype;
    g.bt = (tp_dtype)b->dtype;
    g.ct = (tp_dtype)c->dtype;
    g.a = a->data;
    g.b = b->data;
    g.c = c->data;
    leading(&nd, (const tp_tensor *const[]){ c, a, b });
    fold_rows(&g, &nd);
    return run_batches(ctx, op, &g, &nd);
}

/* ---- matmul ------------------------------------------------------------------------------------------------------ */

/* Shape of a b: the leading axes broadcast.  False when they do not. */
static bool product_shape(const tp_tensor *a, const tp_tensor *b, int *ndim, int64_t *dim)
{
    int n = a->ndim > b->ndim ? a->ndim : b->ndim;

    *ndim = n;
    for (int i = 3; i <= n; i++) {
        int64_t da = i <= a->ndim ? a->dim[a->ndim - i] : 1, db = i <= b->ndim ? b->dim[b->ndim - i] : 1;

        if (da != db && da != 1 && db != 1)
            return false;
        dim[n - i] = da == 1 ? db : da;
    }
    dim[n - 2] = a->dim[a->ndim - 2];
    dim[n - 1] = b->dim[b->ndim - 1];
    return true;
}

static tp_tensor *product(tp_ctx *ctx, tp_tensor *a, tp_tensor *b, tp_dtype t)
{
    int64_t    dim[TP_MAX_DIM];
    int        ndim;
    tp_tensor *y;

    if (a == NULL || b == NULL || !product_shape(a, b, &ndim, dim))
        return NULL;
    y = tp_empty(ctx, t, ndim, dim);
    return tpi_gemm_into(ctx, "matmul", y, a, b, 0) ? y : NULL;
}

static tp_tensor *matmul_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    return product(ctx, c->in[0], c->in[1], (tp_dtype)c->in[0]->dtype);
}

/* The gradient of input i is a b, summed over the leading axes along which the input was repeated. */
static void product_grad(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, tp_tensor *a, tp_tensor *b)
{
    tp_tensor *x = c->in[i];
    int64_t    dim[TP_MAX_DIM];
    int        ndim;
    double     beta;

    if (a == NULL || b == NULL || !product_shape(a, b, &ndim, dim))
        return;
    if (ndim == x->ndim && memcmp(dim, x->dim, (size_t)ndim * sizeof *dim) == 0) {
        tp_tensor *g = tp_grad_into(ctx, c, i, dx, &beta);

        tpi_gemm_into(ctx, "matmul", g, a, b, beta);
    } else {
        dx[i] = tpi_sum_to(ctx, product(ctx, a, b, tpi_wide((tp_dtype)a->dtype)), x);
    }
}

/* da = dy b^T, db = a^T dy */
static void matmul_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *a = c->in[0], *b = c->in[1];

    if (tp_wants(c, 0))
        product_grad(ctx, c, 0, dx, dy[0], tpi_swapped(ctx, b));
    if (!tp_wants(c, 1))
        return;
    if (b->ndim == 2) { /* all leading axes are rows of one product */
        tp_tensor *rows = tpi_as_rows(ctx, tpi_rows(ctx, a));

        product_grad(ctx, c, 1, dx, tpi_swapped(ctx, rows), tpi_as_rows(ctx, tpi_rows(ctx, dy[0])));
    } else {
        product_grad(ctx, c, 1, dx, tpi_swapped(ctx, a), dy[0]);
    }
}

static void matmul_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *a = c->in[0], *b = c->in[1];

    if (tp_wants(c, 0))
        dx[0] = tpi_sum_to(ctx, tp_matmul(ctx, dy[0], tp_transpose(ctx, b, -1, -2)), a);
    if (tp_wants(c, 1))
        dx[1] = tpi_sum_to(ctx, tp_matmul(ctx, tp_transpose(ctx, a, -1, -2), dy[0]), b);
}

static const tp_op matmul_op = { "matmul", 0, 1, 0, matmul_forward, matmul_backward, matmul_ops };

static bool may_multiply(tp_ctx *ctx, const char *op, tp_tensor *a, tp_tensor *b)
{
    return tp_ok(ctx) && tpi_inputs(ctx, op, 2, (const tp_tensor *const[]){ a, b }) && tpi_same_dtype(ctx, op, a, b) &&
           tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)a->dtype);
}

tp_tensor *tp_matmul(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    int64_t    dim[TP_MAX_DIM];
    int        ndim;
    tp_tensor *x = a, *w = b, *y;

    if (!may_multiply(ctx, "matmul", a, b))
        return NULL;
    if (a->ndim == 0 || b->ndim == 0 || a->dim[a->ndim - 1] != b->dim[b->ndim > 1 ? b->ndim - 2 : 0])
        return tpi_fail_shapes(ctx, "matmul", "expected [.., m, k] and [.., k, n]", a, b);
    if (a->ndim == 1)
        x = tp_unsqueeze(ctx, a, 0);
    if (b->ndim == 1)
        w = tp_unsqueeze(ctx, b, 1);
    if (x == NULL || w == NULL)
        return NULL;
    if (!product_shape(x, w, &ndim, dim))
        return tpi_fail_shapes(ctx, "matmul", "leading axes must broadcast", a, b);
    y = tp_apply(ctx, &matmul_op, NULL, TP_IN(x, w));
    if (a->ndim == 1)
        y = tp_squeeze(ctx, y, -2);
    return b->ndim == 1 ? tp_squeeze(ctx, y, -1) : y;
}

tp_tensor *tp_outer(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    if (!may_multiply(ctx, "outer", a, b))
        return NULL;
    if (a->ndim != 1 || b->ndim != 1)
        return tpi_fail_shapes(ctx, "outer", "expected [m] and [n]", a, b);
    return tp_mul(ctx, tp_unsqueeze(ctx, a, 1), b);
}

tp_tensor *tp_dot(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    if (!may_multiply(ctx, "dot", a, b))
        return NULL;
    if (a->ndim != 1 || b->ndim != 1 || a->numel != b->numel)
        return tpi_fail_shapes(ctx, "dot", "expected [n] and [n]", a, b);
    return tp_matmul(ctx, a, b);
}
