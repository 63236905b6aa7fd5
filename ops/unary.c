/* unary.c - functions of one tensor by elements and their gradients: one kernel slot, one line of a table each. */
#include "ops/support.h"

typedef struct { double p, q; } unary_attr;

static tp_tensor *unary_forward(tp_ctx *ctx, tp_call *c);
static void       unary_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
static void       linear_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
static void       linear_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
static void       smooth_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
static void       flat_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);

static const tp_op unary_ops[TPI_UNARIES] = {
    [TPI_NEG] = { "neg", sizeof(unary_attr), 1, 0, unary_forward, linear_backward, linear_ops },
    [TPI_ABS] = { "abs", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SIGN] = { "sign", sizeof(unary_attr), 1, 0, unary_forward, flat_backward, flat_backward },
    [TPI_FLOOR] = { "floor", sizeof(unary_attr), 1, 0, unary_forward, flat_backward, flat_backward },
    [TPI_ROUND] = { "round", sizeof(unary_attr), 1, 0, unary_forward, flat_backward, flat_backward },
    [TPI_EXP] = { "exp", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_EXPM1] = { "expm1", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_LOG] = { "log", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_LOG1P] = { "log1p", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SQRT] = { "sqrt", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_RSQRT] = { "rsqrt", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SIN] = { "sin", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_COS] = { "cos", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_TANH] = { "tanh", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SIGMOID] = { "sigmoid", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_ERF] = { "erf", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_RELU] = { "relu", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_LEAKY_RELU] = { "leaky_relu", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_ELU] = { "elu", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_GELU] = { "gelu", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_GELU_TANH] = { "gelu_tanh", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_SILU] = { "silu", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_SOFTPLUS] = { "softplus", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_MISH] = { "mish", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_HARDSWISH] = { "hardswish", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_RECIP] = { "recip", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SQUARE] = { "square", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_SCALE] = { "scale", sizeof(unary_attr), 1, 0, unary_forward, linear_backward, linear_ops },
    [TPI_SHIFT] = { "shift", sizeof(unary_attr), 1, 0, unary_forward, linear_backward, linear_ops },
    [TPI_POWS] = { "pow_scalar", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, smooth_ops },
    [TPI_CLAMP] = { "clamp", sizeof(unary_attr), 1, 0, unary_forward, unary_backward, NULL },
    [TPI_NOT] = { "logical_not", sizeof(unary_attr), 1, 0, unary_forward, NULL, NULL },
};

/* Which of them compute integers too. */
static const uint16_t extra_dtypes[TPI_UNARIES] = {
    [TPI_NEG] = TPI_CAN_INT,   [TPI_ABS] = TPI_CAN_INT,   [TPI_SIGN] = TPI_CAN_INT,   [TPI_SCALE] = TPI_CAN_INT,
    [TPI_SHIFT] = TPI_CAN_INT, [TPI_CLAMP] = TPI_CAN_INT, [TPI_SQUARE] = TPI_CAN_INT, [TPI_RELU] = TPI_CAN_INT,
};

/* Those whose slope is computed from y; core/backend.h fixes the list. */
static bool reads_output(tpi_unary op)
{
    return op == TPI_EXP || op == TPI_TANH || op == TPI_SIGMOID || op == TPI_SQRT || op == TPI_RSQRT ||
           op == TPI_RECIP || op == TPI_RELU;
}

static tpi_unary which(const tp_call *c)
{
    return (tpi_unary)(c->op - unary_ops);
}

tp_tensor *tpi_unary_run(tp_ctx *ctx, tpi_unary op, double p, double q, tp_tensor *x)
{
    tp_tensor *y = x ? tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, x->dim) : NULL;
    tpi_run    r;
    tpi_nd     nd;

    if (y == NULL)
        return NULL;
    r = tpi_run_of(ctx);
    if (x->contiguous)
        tpi_nd_line(&nd, x->numel);
    else
        tpi_nd_init(&nd, x->ndim, x->dim, 2, (const tp_tensor *const[]){ y, x });
    return tpi_done(ctx, unary_ops[op].name, tpi_k(ctx)->unary(&r, op, p, q, &nd, (tp_dtype)x->dtype, y->data, x->data))
               ? y
               : NULL;
}

static tp_tensor *unary_forward(tp_ctx *ctx, tp_call *c)
{
    const unary_attr *a = c->attr;
    tpi_unary         op = which(c);

    if (c->op->backward == unary_backward)
        c->keep = reads_output(op) ? TP_KEEP_OUT(0) : TP_KEEP_IN(0);
    return tpi_unary_run(ctx, op, a->p, a->q, c->in[0]);
}

static void unary_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const unary_attr *a = c->attr;
    tpi_unary         op = which(c);
    tp_tensor        *v = tpi_rows(ctx, reads_output(op) ? c->out[0] : c->in[0]), *g = tpi_rows(ctx, dy[0]),
              *d = tp_like(ctx, c->in[0]);
    tpi_run           r = tpi_run_of(ctx);

    if (v == NULL || g == NULL || d == NULL)
        return;
    tpi_done(ctx, c->op->name,
             tpi_k(ctx)->unary_grad(&r, op, a->p, a->q, (tp_dtype)d->dtype, d->data, g->data, v->data, d->numel));
    dx[0] = d;
}

/* Of those whose slope is a constant. */
static void linear_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const unary_attr *a = c->attr;
    tpi_unary         op = which(c);

    dx[0] = op == TPI_SHIFT ? dy[0] : tpi_unary_run(ctx, TPI_SCALE, op == TPI_NEG ? -1 : a->p, 0, dy[0]);
}

static void linear_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const unary_attr *a = c->attr;
    tpi_unary         op = which(c);

    dx[0] = op == TPI_SHIFT ? dy[0] : tp_scale(ctx, dy[0], op == TPI_NEG ? -1 : a->p);
}

/* dy times the slope, from what forward has kept: y or x. */
static void smooth_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const unary_attr *a = c->attr;
    tpi_unary         op = which(c);
    tp_tensor        *g = dy[0], *x = c->in[0], *y = c->out[0];

    dx[0] = op == TPI_EXP        ? tp_mul(ctx, g, y)
            : op == TPI_EXPM1    ? tp_mul(ctx, g, tp_exp(ctx, x))
            : op == TPI_LOG      ? tp_div(ctx, g, x)
            : op == TPI_LOG1P    ? tp_div(ctx, g, tp_shift(ctx, x, 1))
            : op == TPI_SQRT     ? tp_scale(ctx, tp_div(ctx, g, y), 0.5)
            : op == TPI_RSQRT    ? tp_scale(ctx, tp_mul(ctx, g, tp_mul(ctx, y, tp_square(ctx, y))), -0.5)
            : op == TPI_RECIP    ? tp_neg(ctx, tp_mul(ctx, g, tp_square(ctx, y)))
            : op == TPI_SQUARE   ? tp_scale(ctx, tp_mul(ctx, g, x), 2)
            : op == TPI_SIN      ? tp_mul(ctx, g, tp_cos(ctx, x))
            : op == TPI_COS      ? tp_neg(ctx, tp_mul(ctx, g, tp_sin(ctx, x)))
            : op == TPI_TANH     ? tp_sub(ctx, g, tp_mul(ctx, g, tp_square(ctx, y)))
            : op == TPI_SIGMOID  ? tp_mul(ctx, g, tp_sub(ctx, y, tp_square(ctx, y)))
            : op == TPI_SOFTPLUS ? tp_mul(ctx, g, tp_sigmoid(ctx, x))
            : op == TPI_ABS      ? tp_mul(ctx, g, tp_sign(ctx, x))
            : op == TPI_RELU     ? tp_mul(ctx, g, tp_sign(ctx, y))
            : a->p == 0          ? NULL
                                 : tp_scale(ctx, tp_mul(ctx, g, tp_pow_scalar(ctx, x, a->p - 1)), a->p);
}

/* Of those whose slope is 0: dx stays NULL, which counts as zero. */
static void flat_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    (void)c;
    (void)dy;
    (void)dx;
}

static tp_tensor *unary(tp_ctx *ctx, tpi_unary op, double p, double q, tp_tensor *x)
{
    const tp_op *o = &unary_ops[op];
    uint16_t     can = op == TPI_NOT ? TPI_BIT(TP_BOOL) : (uint16_t)(TPI_CAN_FLOAT | extra_dtypes[op]);

    if (!tp_ok(ctx) || !tpi_check(ctx, o->name, x, 0) || !tpi_can_do(ctx, o->name, can, (tp_dtype)x->dtype))
        return NULL;
    return tp_apply(ctx, o, &(unary_attr){ p, q }, TP_IN(x));
}

tp_tensor *tp_neg(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_NEG, 0, 0, x);
}

tp_tensor *tp_abs(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_ABS, 0, 0, x);
}

tp_tensor *tp_sign(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SIGN, 0, 0, x);
}

tp_tensor *tp_square(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SQUARE, 0, 0, x);
}

tp_tensor *tp_floor(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_FLOOR, 0, 0, x);
}

tp_tensor *tp_round(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_ROUND, 0, 0, x);
}

tp_tensor *tp_exp(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_EXP, 0, 0, x);
}

tp_tensor *tp_expm1(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_EXPM1, 0, 0, x);
}

tp_tensor *tp_log(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_LOG, 0, 0, x);
}

tp_tensor *tp_log1p(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_LOG1P, 0, 0, x);
}

tp_tensor *tp_sqrt(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SQRT, 0, 0, x);
}

tp_tensor *tp_rsqrt(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_RSQRT, 0, 0, x);
}

tp_tensor *tp_recip(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_RECIP, 0, 0, x);
}

tp_tensor *tp_sin(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SIN, 0, 0, x);
}

tp_tensor *tp_cos(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_COS, 0, 0, x);
}

tp_tensor *tp_tanh(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_TANH, 0, 0, x);
}

tp_tensor *tp_sigmoid(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SIGMOID, 0, 0, x);
}

tp_tensor *tp_erf(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_ERF, 0, 0, x);
}

tp_tensor *tp_relu(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_RELU, 0, 0, x);
}

tp_tensor *tp_gelu(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_GELU, 0, 0, x);
}

tp_tensor *tp_gelu_tanh(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_GELU_TANH, 0, 0, x);
}

tp_tensor *tp_silu(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SILU, 0, 0, x);
}

tp_tensor *tp_softplus(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_SOFTPLUS, 0, 0, x);
}

tp_tensor *tp_mish(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_MISH, 0, 0, x);
}

tp_tensor *tp_hardswish(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_HARDSWISH, 0, 0, x);
}

tp_tensor *tp_logical_not(tp_ctx *ctx, tp_tensor *x)
{
    return unary(ctx, TPI_NOT, 0, 0, x);
}

tp_tensor *tp_scale(tp_ctx *ctx, tp_tensor *x, double p)
{
    return unary(ctx, TPI_SCALE, p, 0, x);
}

tp_tensor *tp_shift(tp_ctx *ctx, tp_tensor *x, double p)
{
    return unary(ctx, TPI_SHIFT, p, 0, x);
}

tp_tensor *tp_pow_scalar(tp_ctx *ctx, tp_tensor *x, double p)
{
    return unary(ctx, TPI_POWS, p, 0, x);
}

tp_tensor *tp_leaky_relu(tp_ctx *ctx, tp_tensor *x, double slope)
{
    return unary(ctx, TPI_LEAKY_RELU, slope, 0, x);
}

tp_tensor *tp_elu(tp_ctx *ctx, tp_tensor *x, double alpha)
{
    return unary(ctx, TPI_ELU, alpha, 0, x);
}

tp_tensor *tp_clamp(tp_ctx *ctx, tp_tensor *x, double low, double high)
{
    if (!(low <= high))
        return tp_fail(ctx, TP_EARG, "clamp: low is %g, high is %g, expected low <= high", low, high);
    return unary(ctx, TPI_CLAMP, low, high, x);
}
