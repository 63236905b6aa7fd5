/* index.c - rows and elements by number, and their gradients. */
#include "ops/support.h"

#include <string.h>

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* y[i, :] = x[ids[i], :] with x seen as [rows, d] */
static tp_tensor *take_rows(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *ids, int64_t d, int ndim,
                            const int64_t *dim)
{
    tp_tensor *rows = tpi_rows(ctx, x), *at = tpi_rows(ctx, ids), *y;
    tpi_run    r;

    if (rows == NULL || at == NULL)
        return NULL;
    y = tp_empty(ctx, (tp_dtype)x->dtype, ndim, dim);
    if (y == NULL)
        return NULL;
    r = tpi_run_of(ctx);
    return tpi_done(ctx, op,
                    tpi_k(ctx)->index_rows(&r, (tp_dtype)x->dtype, y->data, rows->data, (tp_dtype)at->dtype, at->data,
                                           at->numel, d))
               ? y
               : NULL;
}

/* g[ids[i], :] += dy[i, :], into place; g is cleared first unless something is in it already. */
static void give_rows(tp_ctx *ctx, tp_call *c, tp_tensor *ids, int axis, tp_tensor *dy, tp_tensor **dx)
{
    int64_t    rows = tpi_span(c->in[0], 0, axis + 1), d = tpi_span(c->in[0], axis + 1, c->in[0]->ndim);
    double     beta;
    tp_tensor *g = tp_grad_into(ctx, c, 0, dx, &beta), *from = tpi_rows(ctx, dy), *at = tpi_rows(ctx, ids);
    tpi_run    r = tpi_run_of(ctx);

    if (g == NULL || from == NULL || at == NULL || (beta == 0 && !tpi_zero(ctx, c->op->name, g)))
        return;
    tpi_done(ctx, c->op->name,
             tpi_k(ctx)->index_add(&r, (tp_dtype)g->dtype, g->data, rows, (tp_dtype)from->dtype, from->data,
                                   (tp_dtype)at->dtype, at->data, at->numel, d));
}

static tp_tensor *embed_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *w = c->in[0], *ids = c->in[1];
    int64_t    dim[TP_MAX_DIM + 1];

    memcpy(dim, ids->dim, sizeof ids->dim);
    dim[ids->ndim] = w->dim[1];
    c->keep = TP_KEEP_IN(1);
    return take_rows(ctx, "embed", w, ids, w->dim[1], ids->ndim + 1, dim);
}

static void embed_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    give_rows(ctx, c, c->in[1], 0, dy[0], dx);
}

static const tp_op embed_op = { "embed", 0, 1, 0, embed_forward, embed_backward, NULL };

tp_tensor *tp_embed(tp_ctx *ctx, tp_tensor *w, tp_tensor *ids)
{
    if (!tp_ok(ctx) || !tpi_inputs(ctx, "embed", 2, (const tp_tensor *const[]){ w, ids }))
        return NULL;
    if (w->ndim != 2 || ids->ndim == TP_MAX_DIM)
        return tpi_fail_shapes(ctx, "embed", "expected w [V, d] and ids [..]", w, ids);
    return tpi_ids(ctx, "embed", ids, w->dim[0], false, NULL) ? tp_apply(ctx, &embed_op, NULL, TP_IN(w, ids)) : NULL;
}

/* Numbers of the rows of [a m, b] that are slices ids of the middle of [a, m, b]: [a, n]. */
static tp_tensor *row_numbers(tp_ctx *ctx, tp_tensor *ids, int64_t a, int64_t m)
{
    tp_tensor *first;

    if (a == 1)
        return ids;
    first = tp_scale(ctx, tp_arange(ctx, TP_I64, 0, (double)a, 1), (double)m);
    return tp_add(ctx, tp_reshape(ctx, first, TP_SHAPE(a, 1)), tpi_cast(ctx, ids, TP_I64));
}

static tp_tensor *index_select_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;
    tp_tensor *x = c->in[0], *rows = row_numbers(ctx, c->in[1], tpi_span(x, 0, *axis), x->dim[*axis]);
    int64_t    dim[TP_MAX_DIM];

    memcpy(dim, x->dim, sizeof dim);
    dim[*axis] = c->in[1]->numel;
    c->saved[0] = rows;
    return take_rows(ctx, "index_select", x, rows, tpi_span(x, *axis + 1, x->ndim), x->ndim, dim);
}

static void index_select_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;

    give_rows(ctx, c, c->saved[0], *axis, dy[0], dx);
}

static const tp_op index_select_op = { "index_select", sizeof(int), 1, 1, index_select_forward, index_select_backward, NULL };

tp_tensor *tp_index_select(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids)
{
    if (!tp_ok(ctx) || !tpi_inputs(ctx, "index_select", 2, (const tp_tensor *const[]){ x, ids }))
        return NULL;
    axis = tpi_axis(ctx, "index_select", x, axis);
    if (axis < 0)
        return NULL;
    if (ids->ndim != 1)
        return tpi_fail_shapes(ctx, "index_select", "expected ids [n]", x, ids);
    return tpi_ids(ctx, "index_select", ids, x->dim[axis], false, NULL)
               ? tp_apply(ctx, &index_select_op, &axis, TP_IN(x, ids))
               : NULL;
}

/* ---- elements ---------------------------------------------------------------------------------------------------- */

static tp_tensor *gathered(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *ids, int axis)
{
    tp_tensor *from = tpi_rows(ctx, x), *at = tpi_rows(ctx, ids), *y;
    tpi_run    r = tpi_run_of(ctx);

    y = from ? tp_empty(ctx, (tp_dtype)from->dtype, ids->ndim, ids->dim) : NULL;
    if (y == NULL || at == NULL)
        return NULL;
    return tpi_done(ctx, op,
                    tpi_k(ctx)->gather(&r, (tp_dtype)y->dtype, y->data, from->data, (tp_dtype)at->dtype, at->data,
                                       tpi_span(from, 0, axis), ids->dim[axis], from->dim[axis],
                                       tpi_span(from, axis + 1, from->ndim)))
               ? y
               : NULL;
}

/* y += src where ids point, y contiguous */
static bool scatter(tp_ctx *ctx, const char *op, tp_tensor *y, tp_tensor *ids, tp_tensor *src, int axis)
{
    tp_tensor *from = tpi_rows(ctx, src), *at = tpi_rows(ctx, ids);
    tpi_run    r = tpi_run_of(ctx);

    if (y == NULL || from == NULL || at == NULL)
        return false;
    return tpi_done(ctx, op,
                    tpi_k(ctx)->scatter_add(&r, (tp_dtype)y->dtype, y->data, from->data, (tp_dtype)at->dtype, at->data,
                                            tpi_span(y, 0, axis), ids->dim[axis], y->dim[axis],
                                            tpi_span(y, axis + 1, y->ndim)));
}

static tp_tensor *gather_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;

    c->keep = TP_KEEP_IN(1);
    return gathered(ctx, "gather", c->in[0], c->in[1], *axis);
}

static void gather_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;
    tp_tensor *g = tp_zeros(ctx, (tp_dtype)dy[0]->dtype, c->in[0]->ndim, c->in[0]->dim);

    if (scatter(ctx, "gather", g, c->in[1], dy[0], *axis))
        dx[0] = g;
}

static const tp_op gather_op = { "gather", sizeof(int), 1, 0, gather_forward, gather_backward, NULL };

static tp_tensor *scatter_add_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;
    tp_tensor *y = tpi_copy(ctx, c->in[0], (tp_dtype)c->in[0]->dtype);

    c->keep = TP_KEEP_IN(1);
    return scatter(ctx, "scatter_add", y, c->in[1], c->in[2], *axis) ? y : NULL;
}

static void scatter_add_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;

    if (tp_wants(c, 0))
        dx[0] = dy[0];
    if (tp_wants(c, 2))
        dx[2] = gathered(ctx, "scatter_add", dy[0], c->in[1], *axis);
}

static const tp_op scatter_add_op = { "scatter_add", sizeof(int), 1, 0, scatter_add_forward, scatter_add_backward, NULL };

/* ids must have x's shape but for the axis. */
static bool may_gather(tp_ctx *ctx, const char *op, tp_tensor *x, int *axis, tp_tensor *ids)
{
    bool fits;

    if (!tp_ok(ctx) || !tpi_inputs(ctx, op, 2, (const tp_tensor *const[]){ x, ids }))
        return false;
    *axis = tpi_axis(ctx, op, x, *axis);
    if (*axis < 0)
        return false;
    fits = ids->ndim == x->ndim;
    for (int i = 0; i < x->ndim && fits; i++)
        fits = i == *axis || ids->dim[i] == x->dim[i];
    if (!fits)
        tpi_fail_shapes(ctx, op, "expected ids of x's shape but for the axis", x, ids);
    return fits && tpi_ids(ctx, op, ids, x->dim[*axis], false, NULL);
}

tp_tensor *tp_gather(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids)
{
    return may_gather(ctx, "gather", x, &axis, ids) ? tp_apply(ctx, &gather_op, &axis, TP_IN(x, ids)) : NULL;
}

tp_tensor *tp_scatter_add(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids, tp_tensor *src)
{
    if (!may_gather(ctx, "scatter_add", x, &axis, ids) || !tpi_check(ctx, "scatter_add", src, 2) ||
        !tpi_same_dtype(ctx, "scatter_add", x, src) ||
        !tpi_can_do(ctx, "scatter_add", TPI_CAN_FLOAT | TPI_CAN_INT, (tp_dtype)x->dtype))
        return NULL;
    if (!tp_same_shape(ids, src))
        return tpi_fail_shapes(ctx, "scatter_add", "expected src of ids' shape", ids, src);
    return tp_apply(ctx, &scatter_add_op, &axis, TP_IN(x, ids, src));
}

tp_tensor *tp_one_hot(tp_ctx *ctx, tp_tensor *ids, int64_t n, tp_dtype t)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "one_hot", ids, 0))
        return NULL;
    if (n < 1)
        return tp_fail(ctx, TP_EARG, "one_hot: %lld classes, expected at least 1", (long long)n);
    if (!tpi_ids(ctx, "one_hot", ids, n, false, NULL))
        return NULL;
    return tp_cast(ctx, tp_eq(ctx, tp_unsqueeze(ctx, ids, -1), tp_arange(ctx, (tp_dtype)ids->dtype, 0, (double)n, 1)),
                   t);
}
