/* op_cases_elementwise.c - samples for arithmetic, functions by elements, comparisons, choosing. */
#include "op_table.h"

static const char *const pick[] = { "2x3 2x3 2x3", "3x1 1x4 .", ". 5 5", "0x3 1x3 3", "7x1x2 2 3x1", NULL };
static const char *const masked[] = { "2x3 2x3", "5x1x3 3", "0x3 1", "4x3 .", NULL };
static const char *const same[] = { "2x3 2x3", ". .", "0x3 0x3", "7x1x5 7x1x5", NULL };

static tp_tensor *scale(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_scale(ctx, in[0], 3);
}

static tp_tensor *shift(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_shift(ctx, in[0], 2);
}

static tp_tensor *clamp(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_clamp(ctx, in[0], -1, 1);
}

static tp_tensor *pow_scalar(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_pow_scalar(ctx, in[0], 2.5);
}

static tp_tensor *leaky_relu(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_leaky_relu(ctx, in[0], 0.1);
}

static tp_tensor *elu(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_elu(ctx, in[0], 0.7);
}

static tp_tensor *masked_fill(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_masked_fill(ctx, in[0], in[1], -4);
}

static tp_tensor *to_f32(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cast(ctx, in[0], TP_F32);
}

/* Of f64 this is the identity; the gradient of a conversion is tested through to_f32 by the back ends. */
static tp_tensor *to_f64(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cast(ctx, in[0], TP_F64);
}

static tp_tensor *to_i32(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cast(ctx, in[0], TP_I32);
}

const op_case op_cases_elementwise[] = {
    { "tp_add", "RR", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_add },
    { "tp_sub", "RR", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_sub },
    { "tp_mul", "RR", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_mul },
    { "tp_div", "RP", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_div },
    { "tp_pow", "PR", op_shapes_two, OP_GRAD, .f2 = tp_pow },
    { "tp_maximum", "DD", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_maximum },
    { "tp_minimum", "DD", op_shapes_two, OP_GRAD | OP_INTS, .f2 = tp_minimum },
    { "tp_eq", "RR", op_shapes_two, OP_INTS, .f2 = tp_eq },
    { "tp_ne", "RR", op_shapes_two, OP_INTS, .f2 = tp_ne },
    { "tp_lt", "RR", op_shapes_two, OP_INTS, .f2 = tp_lt },
    { "tp_le", "RR", op_shapes_two, OP_INTS, .f2 = tp_le },
    { "tp_gt", "RR", op_shapes_two, OP_INTS, .f2 = tp_gt },
    { "tp_ge", "RR", op_shapes_two, OP_INTS, .f2 = tp_ge },
    { "tp_logical_and", "bb", op_shapes_two, 0, .f2 = tp_logical_and },
    { "tp_logical_or", "bb", op_shapes_two, 0, .f2 = tp_logical_or },
    { "tp_logical_not", "b", op_shapes_one, 0, .f1 = tp_logical_not },
    { "tp_where", "bRR", pick, OP_GRAD | OP_INTS, .f3 = tp_where },
    { "tp_masked_fill", "Rb", masked, OP_GRAD, .fn = masked_fill },
    { "tp_cast", "R", op_shapes_one, OP_INTS, .fn = to_f32 },
    { "tp_cast", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = to_f64 },
    { "tp_cast", "R", op_shapes_one, OP_INTS, .fn = to_i32 },
    { "tp_silu_mul", "RR", same, OP_GRAD, .f2 = tp_silu_mul },

    { "tp_neg", "R", op_shapes_one, OP_GRAD | OP_INTS, .f1 = tp_neg },
    { "tp_abs", "D", op_shapes_one, OP_GRAD | OP_INTS, .f1 = tp_abs },
    { "tp_sign", "D", op_shapes_one, OP_GRAD | OP_INTS, .f1 = tp_sign },
    { "tp_square", "R", op_shapes_one, OP_GRAD | OP_INTS, .f1 = tp_square },
    { "tp_scale", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = scale },
    { "tp_shift", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = shift },
    { "tp_clamp", "D", op_shapes_one, OP_GRAD | OP_INTS, .fn = clamp },
    { "tp_pow_scalar", "P", op_shapes_one, OP_GRAD, .fn = pow_scalar },
    { "tp_floor", "D", op_shapes_one, OP_GRAD, .f1 = tp_floor },
    { "tp_round", "D", op_shapes_one, OP_GRAD, .f1 = tp_round },
    { "tp_exp", "R", op_shapes_one, OP_GRAD, .f1 = tp_exp },
    { "tp_expm1", "R", op_shapes_one, OP_GRAD, .f1 = tp_expm1 },
    { "tp_log", "P", op_shapes_one, OP_GRAD, .f1 = tp_log },
    { "tp_log1p", "P", op_shapes_one, OP_GRAD, .f1 = tp_log1p },
    { "tp_sqrt", "P", op_shapes_one, OP_GRAD, .f1 = tp_sqrt },
    { "tp_rsqrt", "P", op_shapes_one, OP_GRAD, .f1 = tp_rsqrt },
    { "tp_recip", "P", op_shapes_one, OP_GRAD, .f1 = tp_recip },
    { "tp_sin", "R", op_shapes_one, OP_GRAD, .f1 = tp_sin },
    { "tp_cos", "R", op_shapes_one, OP_GRAD, .f1 = tp_cos },
    { "tp_tanh", "R", op_shapes_one, OP_GRAD, .f1 = tp_tanh },
    { "tp_sigmoid", "R", op_shapes_one, OP_GRAD, .f1 = tp_sigmoid },
    { "tp_erf", "R", op_shapes_one, OP_GRAD, .f1 = tp_erf },
    { "tp_relu", "D", op_shapes_one, OP_GRAD | OP_INTS, .f1 = tp_relu },
    { "tp_leaky_relu", "D", op_shapes_one, OP_GRAD, .fn = leaky_relu },
    { "tp_elu", "D", op_shapes_one, OP_GRAD, .fn = elu },
    { "tp_gelu", "R", op_shapes_one, OP_GRAD, .f1 = tp_gelu },
    { "tp_gelu_tanh", "R", op_shapes_one, OP_GRAD, .f1 = tp_gelu_tanh },
    { "tp_silu", "R", op_shapes_one, OP_GRAD, .f1 = tp_silu },
    { "tp_softplus", "R", op_shapes_one, OP_GRAD, .f1 = tp_softplus },
    { "tp_mish", "R", op_shapes_one, OP_GRAD, .f1 = tp_mish },
    { "tp_hardswish", "R", op_shapes_one, OP_GRAD, .f1 = tp_hardswish },
    { .name = NULL },
};
