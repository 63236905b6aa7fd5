/* block_diag.c - products with a block-diagonal matrix, alone and added to something, and their gradients. */
#include "ops/support.h"

#include <string.h>

/* in[0]: x, in[1]: a, in[2]: what the product is added to, or NULL */
typedef struct { int64_t out; } block_attr;

static tpi_blocks sizes(const tp_call *c)
{
    const block_attr *at = c->attr;
    const tp_tensor  *x = c->in[0], *a = c->in[1];

    return (tpi_blocks){ .rows = tpi_span(x, 0, x->ndim - 1),
                         .in = x->dim[x->ndim - 1],
                         .out = at->out,
                         .blocks = a->dim[0],
                         .bi = a->dim[1],
                         .bo = a->dim[2],
                         .t = (tp_dtype)x->dtype,
                         .at = (tp_dtype)a->dtype };
}

static tp_tensor *product_into(tp_ctx *ctx, tp_call *c, tp_tensor *y, bool add)
{
    tp_tensor *x = tpi_rows(ctx, c->in[0]), *a = tpi_rows(ctx, c->in[1]);
    tpi_blocks b = sizes(c);
    tpi_run    r = tpi_run_of(ctx);
    bool       ok;

    if (x == NULL || a == NULL || y == NULL)
        return NULL;
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    ok = tpi_run_begin(ctx, &r, tpi_k(ctx)->blocks_space(&r, &b)) &&
         tpi_done(ctx, c->op->name, tpi_k(ctx)->blocks(&r, &b, y->data, x->data, a->data, add));
    tpi_run_end(ctx, &r);
    return ok ? y : NULL;
}

static tp_tensor *block_diag_forward(tp_ctx *ctx, tp_call *c)
{
    const block_attr *at = c->attr;
    tp_tensor        *x = c->in[0];
    int64_t           dim[TP_MAX_DIM];

    memcpy(dim, x->dim, sizeof dim);
    dim[x->ndim - 1] = at->out;
    return product_into(ctx, c, tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, dim), false);
}

static tp_tensor *block_diag_add_forward(tp_ctx *ctx, tp_call *c)
{
    return product_into(ctx, c, tpi_copy(ctx, c->in[2], (tp_dtype)c->in[2]->dtype), true);
}

/* Writes into y itself when nobody but the caller's scope holds it: no record has kept its values, so none can miss
 * them. */
static tp_tensor *block_diag_onto_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *y = c->in[2];

    if (y->uses != 1 || y->store->holders != 1 || !y->contiguous || y->serial < 0)
        return block_diag_add_forward(ctx, c);
    tpi_touch(y);
    return product_into(ctx, c, tpi_view(ctx, y, y->ndim, y->dim, NULL, 0), true);
}

static void block_diag_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *g = tpi_rows(ctx, dy[0]);
    tpi_blocks b = sizes(c);
    tpi_run    r = tpi_run_of(ctx);

    if (g == NULL || !tpi_run_begin(ctx, &r, tpi_k(ctx)->blocks_space(&r, &b)))
        return;
    if (tp_wants(c, 0)) {
        tp_tensor *a = tpi_rows(ctx, c->in[1]), *d = tp_empty(ctx, b.t, c->in[0]->ndim, c->in[0]->dim);

        if (a != NULL && d != NULL &&
            tpi_done(ctx, c->op->name, tpi_k(ctx)->blocks_dx(&r, &b, d->data, g->data, a->data, false)))
            dx[0] = d;
    }
    if (tp_wants(c, 1)) {
        double     beta;
        tp_tensor *x = tpi_rows(ctx, c->in[0]), *da = tpi_wide_grad(ctx, c, 1, dx, &beta);

        if (x != NULL && da != NULL)
            tpi_done(ctx, c->op->name, tpi_k(ctx)->blocks_da(&r, &b, da->data, x->data, g->data, beta));
    }
    tpi_run_end(ctx, &r);
    if (tp_wants(c, 2))
        dx[2] = dy[0];
}

static const tp_op block_diag_op = { "block_diag", sizeof(block_attr), 1, 0, block_diag_forward, block_diag_backward, NULL };
static const tp_op block_diag_add_op = { "block_diag_add",       sizeof(block_attr), 1, 0,
                                         block_diag_add_forward, block_diag_backward, NULL };
static const tp_op block_diag_onto_op = { "block_diag_add",        sizeof(block_attr), 1, 0,
                                          block_diag_onto_forward, block_diag_backward, NULL };

static bool covered(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *a, int64_t out)
{
    int64_t in = x->ndim > 0 ? x->dim[x->ndim - 1] : -1, wide, high;
    char    tx[96], ta[96];

    if (in >= 0 && out >= 0 && a->ndim == 3 && !__builtin_mul_overflow(a->dim[0], a->dim[1], &wide) &&
        !__builtin_mul_overflow(a->dim[0], a->dim[2], &high) && wide >= in && high >= out)
        return true;
    tp_fail(ctx, TP_ESHAPE,
            "%s: expected x [.., in] and a [N, bi, bo] with N bi >= in, N bo >= out, got %s, %s and out %lld", op,
            tp_shape_text(x, tx, sizeof tx), tp_shape_text(a, ta, sizeof ta), (long long)out);
    return false;
}

static bool may_apply(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *a)
{
    return tp_ok(ctx) && tpi_inputs(ctx, op, 2, (const tp_tensor *const[]){ x, a }) &&
           tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)x->dtype) && tpi_beside(ctx, op, x, a);
}

tp_tensor *tp_block_diag(tp_ctx *ctx, tp_tensor *x, tp_tensor *a, int64_t out)
{
    if (!may_apply(ctx, "block_diag", x, a) || !covered(ctx, "block_diag", x, a, out))
        return NULL;
    return tp_apply(ctx, &block_diag_op, &(block_attr){ out }, TP_IN(x, a, NULL));
}

static tp_tensor *add_to(tp_ctx *ctx, const tp_op *op, tp_tensor *y, tp_tensor *x, tp_tensor *a)
{
    bool fits;

    if (!may_apply(ctx, op->name, x, a) || !tpi_check(ctx, op->name, y, 2) || !tpi_same_dtype(ctx, op->name, x, y))
        return NULL;
    fits = y->ndim == x->ndim && y->ndim > 0;
    for (int i = 0; fits && i < x->ndim - 1; i++)
        fits = y->dim[i] == x->dim[i];
    if (!fits)
        return tpi_fail_shapes(ctx, op->name, "expected x [.., in] and y [.., out]", x, y);
    if (!covered(ctx, op->name, x, a, y->dim[y->ndim - 1]))
        return NULL;
    return tp_apply(ctx, op, &(block_attr){ y->dim[y->ndim - 1] }, TP_IN(x, a, y));
}

tp_tensor *tp_block_diag_add(tp_ctx *ctx, tp_tensor *y, tp_tensor *x, tp_tensor *a)
{
    return add_to(ctx, &block_diag_add_op, y, x, a);
}

tp_tensor *tpi_block_diag_onto(tp_ctx *ctx, tp_tensor *y, tp_tensor *x, tp_tensor *a)
{
    return add_to(ctx, &block_diag_onto_op, y, x, a);
}
