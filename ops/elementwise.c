/* elementwise.c - arithmetic of two tensors, comparisons, choosing, and their gradients. */
#include "ops/support.h"

#include <string.h>

/* Backward functions that call public ops alone stand for backward_ops too. */

/* ---- two operands, one kernel ------------------------------------------------------------------------------------ */

/* The walk and the new output of an op on a and b; the common case of equal contiguous shapes goes first. */
static tp_tensor *output_of(tp_ctx *ctx, tp_dtype t, tp_tensor *a, tp_tensor *b, tpi_nd *nd)
{
    int64_t    dim[TP_MAX_DIM];
    int        ndim;
    tp_tensor *y;

    if (a->contiguous && b->contiguous && tp_same_shape(a, b)) {
        tpi_nd_line(nd, a->numel);
        return tp_empty(ctx, t, a->ndim, a->dim);
    }
    if (!tpi_broadcast(a, b, &ndim, dim))
        return NULL;
    y = tp_empty(ctx, t, ndim, dim);
    if (y != NULL)
        tpi_nd_init(nd, ndim, dim, 3, (const tp_tensor *const[]){ y, a, b });
    return y;
}

static tp_tensor *binary_run(tp_ctx *ctx, tpi_binary op, const tp_call *c)
{
    tp_tensor *a = c->in[0], *b = c->in[1];
    tp_dtype   t = (tp_dtype)a->dtype;
    tpi_run    r = tpi_run_of(ctx);
    tpi_nd     nd;
    tp_tensor *y = output_of(ctx, t, a, b, &nd);

    if (y == NULL)
        return NULL;
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->binary(&r, op, &nd, t, y->data, a->data, b->data)) ? y : NULL;
}

static bool binary_check(tp_ctx *ctx, const char *name, uint16_t can, const tp_tensor *a, const tp_tensor *b)
{
    int64_t dim[TP_MAX_DIM];
    int     ndim;

    if (!tpi_check(ctx, name, a, 0) || !tpi_check(ctx, name, b, 1) || !tpi_same_dtype(ctx, name, a, b) ||
        !tpi_can_do(ctx, name, can, (tp_dtype)a->dtype))
        return false;
    if (tp_same_shape(a, b) || tpi_broadcast(a, b, &ndim, dim))
        return true;
    tpi_fail_shapes(ctx, name, "shapes must broadcast", a, b);
    return false;
}

static tp_tensor *binary(tp_ctx *ctx, const tp_op *op, tp_tensor *a, tp_tensor *b)
{
    if (!tp_ok(ctx) || !binary_check(ctx, op->name, TPI_CAN_FLOAT | TPI_CAN_INT, a, b))
        return NULL;
    return tp_apply(ctx, op, NULL, TP_IN(a, b));
}

/* ---- add, sub ---------------------------------------------------------------------------------------------------- */

static tp_tensor *add_forward(tp_ctx *ctx, tp_call *c)
{
    return binary_run(ctx, TPI_ADD, c);
}

static void add_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    for (int i = 0; i < 2; i++)
        if (tp_wants(c, i))
            dx[i] = tpi_sum_to(ctx, dy[0], c->in[i]);
}

static const tp_op add_op = { "add", 0, 1, 0, add_forward, add_backward, add_backward };

tp_tensor *tp_add(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &add_op, a, b);
}

static tp_tensor *sub_forward(tp_ctx *ctx, tp_call *c)
{
    return binary_run(ctx, TPI_SUB, c);
}

static void sub_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    if (tp_wants(c, 0))
        dx[0] = tpi_sum_to(ctx, dy[0], c->in[0]);
    if (tp_wants(c, 1))
        dx[1] = tp_neg(ctx, tpi_sum_to(ctx, dy[0], c->in[1]));
}

static const tp_op sub_op = { "sub", 0, 1, 0, sub_forward, sub_backward, sub_backward };

tp_tensor *tp_sub(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &sub_op, a, b);
}

/* ---- mul, div ---------------------------------------------------------------------------------------------------- */

static tp_tensor *mul_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    return binary_run(ctx, TPI_MUL, c);
}

static void mul_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    for (int i = 0; i < 2; i++)
        if (tp_wants(c, i))
            dx[i] = tpi_sum_to(ctx, tp_mul(ctx, dy[0], c->in[1 - i]), c->in[i]);
}

static const tp_op mul_op = { "mul", 0, 1, 0, mul_forward, mul_backward, mul_backward };

tp_tensor *tp_mul(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &mul_op, a, b);
}

static tp_tensor *div_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(1) | (tp_wants(c, 1) ? TP_KEEP_OUT(0) : 0);
    return binary_run(ctx, TPI_DIV, c);
}

/* With y = a / b: da = dy / b, db = -y dy / b. */
static void div_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *q = tp_div(ctx, dy[0], c->in[1]);

    if (tp_wants(c, 0))
        dx[0] = tpi_sum_to(ctx, q, c->in[0]);
    if (tp_wants(c, 1))
        dx[1] = tp_neg(ctx, tpi_sum_to(ctx, tp_mul(ctx, q, c->out[0]), c->in[1]));
}

static const tp_op div_op = { "div", 0, 1, 0, div_forward, div_backward, div_backward };

tp_tensor *tp_div(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &div_op, a, b);
}

/* ---- pow --------------------------------------------------------------------------------------------------------- */

static tp_tensor *pow_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1) | (tp_wants(c, 1) ? TP_KEEP_OUT(0) : 0);
    return binary_run(ctx, TPI_POW, c);
}

/* da = dy b a^(b-1), 0 where b = 0;  db = dy y log a, 0 where y does not depend on b nearby: a = 0 and b >= 0. */
static void pow_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *a = c->in[0], *b = c->in[1], *zero = tpi_scalar(ctx, (tp_dtype)a->dtype, 0);

    if (tp_wants(c, 0)) {
        tp_tensor *slope = tp_mul(ctx, b, tp_pow(ctx, a, tp_shift(ctx, b, -1)));

        slope = tp_where(ctx, tp_eq(ctx, b, zero), zero, slope);
        dx[0] = tpi_sum_to(ctx, tp_mul(ctx, dy[0], slope), a);
    }
    if (tp_wants(c, 1)) {
        tp_tensor *flat = tp_logical_and(ctx, tp_eq(ctx, a, zero), tp_ge(ctx, b, zero));
        tp_tensor *slope = tp_where(ctx, flat, zero, tp_mul(ctx, c->out[0], tp_log(ctx, a)));

        dx[1] = tpi_sum_to(ctx, tp_mul(ctx, dy[0], slope), b);
    }
}

static const tp_op pow_op = { "pow", 0, 1, 0, pow_forward, pow_backward, pow_backward };

tp_tensor *tp_pow(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &pow_op, a, b);
}

/* ---- maximum, minimum -------------------------------------------------------------------------------------------- */

static tp_tensor *maximum_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1);
    return binary_run(ctx, TPI_MAXIMUM, c);
}

static tp_tensor *minimum_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1);
    return binary_run(ctx, TPI_MINIMUM, c);
}

/* `lost[i]` says where operand i was not taken. */
static void extreme_backward(tp_ctx *ctx, tp_call *c, tp_tensor *dy, tp_tensor *const lost[2], tp_tensor **dx)
{
    tp_tensor *zero = tpi_scalar(ctx, (tp_dtype)dy->dtype, 0);
    tp_tensor *share = tp_where(ctx, tp_eq(ctx, c->in[0], c->in[1]), tp_scale(ctx, dy, 0.5), dy);

    for (int i = 0; i < 2; i++)
        if (tp_wants(c, i))
            dx[i] = tpi_sum_to(ctx, tp_where(ctx, lost[i], zero, share), c->in[i]);
}

static void maximum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *a = c->in[0], *b = c->in[1];

    extreme_backward(ctx, c, dy[0], (tp_tensor *[]){ tp_lt(ctx, a, b), tp_gt(ctx, a, b) }, dx);
}

static void minimum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *a = c->in[0], *b = c->in[1];

    extreme_backward(ctx, c, dy[0], (tp_tensor *[]){ tp_gt(ctx, a, b), tp_lt(ctx, a, b) }, dx);
}

static const tp_op maximum_op = { "maximum", 0, 1, 0, maximum_forward, maximum_backward, maximum_backward };
static const tp_op minimum_op = { "minimum", 0, 1, 0, minimum_forward, minimum_backward, minimum_backward };

tp_tensor *tp_maximum(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &maximum_op, a, b);
}

tp_tensor *tp_minimum(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return binary(ctx, &minimum_op, a, b);
}

/* ---- comparisons ------------------------------------------------------------------------------------------------- */

static tp_tensor *compare_forward(tp_ctx *ctx, tp_call *c);

static const tp_op compare_ops[TPI_COMPARES] = {
    [TPI_EQ] = { "eq", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_NE] = { "ne", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_LT] = { "lt", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_LE] = { "le", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_GT] = { "gt", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_GE] = { "ge", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_AND] = { "logical_and", 0, 1, 0, compare_forward, NULL, NULL },
    [TPI_OR] = { "logical_or", 0, 1, 0, compare_forward, NULL, NULL },
};

static tp_tensor *compare_forward(tp_ctx *ctx, tp_call *c)
{
    tpi_compare op = (tpi_compare)(c->op - compare_ops);
    tp_tensor  *a = c->in[0], *b = c->in[1], *y;
    tpi_run     r = tpi_run_of(ctx);
    tpi_nd      nd;

    y = output_of(ctx, TP_BOOL, a, b, &nd);
    if (y == NULL)
        return NULL;
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->compare(&r, op, &nd, (tp_dtype)a->dtype, y->data, a->data, b->data))
               ? y
               : NULL;
}

static tp_tensor *compare(tp_ctx *ctx, tpi_compare op, tp_tensor *a, tp_tensor *b)
{
    uint16_t can = op == TPI_AND || op == TPI_OR ? TPI_BIT(TP_BOOL) : TPI_CAN_ALL;

    if (!tp_ok(ctx) || !binary_check(ctx, compare_ops[op].name, can, a, b))
        return NULL;
    return tp_apply(ctx, &compare_ops[op], NULL, TP_IN(a, b));
}

tp_tensor *tp_eq(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_EQ, a, b);
}

tp_tensor *tp_ne(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_NE, a, b);
}

tp_tensor *tp_lt(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_LT, a, b);
}

tp_tensor *tp_le(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_LE, a, b);
}

tp_tensor *tp_gt(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_GT, a, b);
}

tp_tensor *tp_ge(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_GE, a, b);
}

tp_tensor *tp_logical_and(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_AND, a, b);
}

tp_tensor *tp_logical_or(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return compare(ctx, TPI_OR, a, b);
}

/* ---- where, masked_fill ------------------------------------------------------------------------------------------ */

static tp_tensor *where_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *m = c->in[0], *a = c->in[1], *b = c->in[2], *y;
    int64_t    dim[TP_MAX_DIM];
    int        ndim;
    tpi_run    r = tpi_run_of(ctx);
    tpi_nd     nd;

    if (!tpi_broadcast_n(ctx, "where", 3, (const tp_tensor *const *)c->in, &ndim, dim))
        return NULL;
    y = tp_empty(ctx, (tp_dtype)a->dtype, ndim, dim);
    if (y == NULL)
        return NULL;
    tpi_nd_init(&nd, ndim, dim, 4, (const tp_tensor *const[]){ y, m, a, b });
    c->keep = TP_KEEP_IN(0);
    return tpi_done(ctx, "where", tpi_k(ctx)->where(&r, &nd, (tp_dtype)a->dtype, y->data, m->data, a->data, b->data))
               ? y
               : NULL;
}

static void where_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *m = c->in[0], *zero = tpi_scalar(ctx, (tp_dtype)dy[0]->dtype, 0);

    if (tp_wants(c, 1))
        dx[1] = tpi_sum_to(ctx, tp_where(ctx, m, dy[0], zero), c->in[1]);
    if (tp_wants(c, 2))
        dx[2] = tpi_sum_to(ctx, tp_where(ctx, m, zero, dy[0]), c->in[2]);
}

static const tp_op where_op = { "where", 0, 1, 0, where_forward, where_backward, where_backward };

tp_tensor *tp_where(tp_ctx *ctx, tp_tensor *c, tp_tensor *a, tp_tensor *b)
{
    const tp_tensor *in[] = { c, a, b };
    int64_t          dim[TP_MAX_DIM];
    int              ndim;

    if (!tp_ok(ctx) || !tpi_inputs(ctx, "where", 3, in) ||
        !tpi_can_do(ctx, "where", TPI_BIT(TP_BOOL), (tp_dtype)c->dtype) || !tpi_same_dtype(ctx, "where", a, b) ||
        !tpi_broadcast_n(ctx, "where", 3, in, &ndim, dim))
        return NULL;
    return tp_apply(ctx, &where_op, NULL, TP_IN(c, a, b));
}

tp_tensor *tp_masked_fill(tp_ctx *ctx, tp_tensor *x, tp_tensor *mask, double value)
{
    const tp_tensor *in[] = { x, mask };
    int64_t          dim[TP_MAX_DIM];
    int              ndim;

    if (!tp_ok(ctx) || !tpi_inputs(ctx, "masked_fill", 2, in) ||
        !tpi_can_do(ctx, "masked_fill", TPI_BIT(TP_BOOL), (tp_dtype)mask->dtype) ||
        !tpi_broadcast_n(ctx, "masked_fill", 2, in, &ndim, dim))
        return NULL;
    if (ndim != x->ndim || memcmp(dim, x->dim, (size_t)ndim * sizeof *dim) != 0)
        return tpi_fail_shapes(ctx, "masked_fill", "the mask must broadcast to x's shape", x, mask);
    return tp_where(ctx, mask, tpi_scalar(ctx, (tp_dtype)x->dtype, value), x);
}

/* ---- cast -------------------------------------------------------------------------------------------------------- */

static tp_tensor *cast_forward(tp_ctx *ctx, tp_call *c)
{
    const tp_dtype *t = c->attr;

    return tpi_copy(ctx, c->in[0], *t);
}

static void cast_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tpi_copy(ctx, dy[0], (tp_dtype)c->in[0]->dtype);
}

static void cast_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tp_cast(ctx, dy[0], (tp_dtype)c->in[0]->dtype);
}

static const tp_op cast_op = { "cast", sizeof(tp_dtype), 1, 0, cast_forward, cast_backward, cast_ops };
static const tp_op convert_op = {
    "cast", sizeof(tp_dtype), 1, 0, cast_forward, NULL, NULL
}; /* floats to integers have no slope */

tp_tensor *tp_cast(tp_ctx *ctx, tp_tensor *x, tp_dtype t)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "cast", x, 0))
        return NULL;
    if (x->dtype == t)
        return x;
    return tp_apply(ctx, tp_dtype_is_float(t) ? &cast_op : &convert_op, &t, TP_IN(x));
}
