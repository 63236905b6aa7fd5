/* sort.c - order along an axis; the gradient goes back to where the values came from. */
#include "ops/support.h"

typedef struct { bool descending; } sort_attr;

/* out[0]: values, out[1]: places; both along the last axis */
static tp_tensor *sort_forward(tp_ctx *ctx, tp_call *c)
{
    const sort_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[0]), *y = x ? tp_like(ctx, x) : NULL,
              *place = x ? tp_empty(ctx, TP_I64, x->ndim, x->dim) : NULL;
    tpi_run          r = tpi_run_of(ctx);

    if (y == NULL || place == NULL)
        return NULL;
    c->out[1] = place;
    c->saved[0] = place;
    return tpi_done(ctx, "sort",
                    tpi_k(ctx)->sort(&r, (tp_dtype)x->dtype, y->data, (int64_t *)(void *)place->data, x->data,
                                     tpi_span(x, 0, x->ndim - 1), x->dim[x->ndim - 1], a->descending))
               ? y
               : NULL;
}

static void sort_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *zero = dy[0] ? tp_zeros(ctx, (tp_dtype)dy[0]->dtype, dy[0]->ndim, dy[0]->dim) : NULL;

    if (zero != NULL)
        dx[0] = tp_scatter_add(ctx, zero, -1, c->saved[0], dy[0]);
}

static const tp_op sort_op = { "sort", sizeof(sort_attr), 2, 1, sort_forward, sort_backward, NULL };

/* Sorts along the axis; both results are views when it is not the last one. */
static tp_tensor *sorted(tp_ctx *ctx, const char *op, tp_tensor *x, int *axis, bool descending, tp_tensor **places)
{
    tp_tensor *out[2] = { NULL, NULL };

    *places = NULL;
    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0) ||
        !tpi_can_do(ctx, op, TPI_CAN_FLOAT | TPI_CAN_INT, (tp_dtype)x->dtype))
        return NULL;
    *axis = tpi_axis(ctx, op, x, *axis);
    if (*axis < 0)
        return NULL;
    if (*axis != x->ndim - 1)
        x = tp_transpose(ctx, x, *axis, -1);
    if (!tp_apply_n(ctx, &sort_op, &(sort_attr){ descending }, TP_IN(x), out))
        return NULL;
    if (*axis == x->ndim - 1) {
        *places = out[1];
        return out[0];
    }
    *places = tp_transpose(ctx, out[1], *axis, -1);
    return tp_transpose(ctx, out[0], *axis, -1);
}

tp_tensor *tp_sort(tp_ctx *ctx, tp_tensor *x, int axis, bool descending, tp_tensor **places)
{
    tp_tensor *p, *y = sorted(ctx, "sort", x, &axis, descending, &p);

    if (places != NULL)
        *places = p;
    return y;
}

tp_tensor *tp_argsort(tp_ctx *ctx, tp_tensor *x, int axis, bool descending)
{
    tp_tensor *p;

    sorted(ctx, "argsort", x, &axis, descending, &p);
    return tp_ok(ctx) ? p : NULL;
}

tp_tensor *tp_topk(tp_ctx *ctx, tp_tensor *x, int axis, int64_t k, tp_tensor **places)
{
    tp_tensor *p, *y = sorted(ctx, "topk", x, &axis, true, &p);

    if (places != NULL)
        *places = NULL;
    if (y == NULL)
        return NULL;
    if (k < 0 || k > y->dim[axis])
        return tp_fail(ctx, TP_EARG, "topk: k is %lld, expected 0 to %lld", (long long)k, (long long)y->dim[axis]);
    if (places != NULL)
        *places = tp_narrow(ctx, p, axis, 0, k);
    return tp_narrow(ctx, y, axis, 0, k);
}
