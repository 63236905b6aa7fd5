/*
 * unary.h - functions of one tensor by elements, activations among them.
 */
#ifndef TP_UNARY_H
#define TP_UNARY_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_neg -x, tp_abs |x|, tp_sign (-1, 0 or 1; NaN of NaN), tp_square x^2.
 *
 *   x       any shape  float, i64 i32 u8
 *   returns shape and dtype of x
 *
 *   grad    dx; |x| has slope 0 at 0, sign has slope 0
 *   keeps   neg and sign nothing, else x
 */
TP_API tp_tensor *tp_neg(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_abs(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_sign(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_square(tp_ctx *ctx, tp_tensor *x);

/*
 * tp_scale p x, tp_shift x + p, tp_clamp x limited to [low, high], tp_pow_scalar x ^ p (floats only).
 *
 *   x       any shape  float, i64 i32 u8
 *   p       for integers converted toward zero
 *   returns shape and dtype of x
 *
 *   grad    dx; clamp has slope 1 at its borders and 0 outside
 *           x ^ p is C's pow for every p: 0.5 too makes +0 of -0 and +Inf of -Inf, where sqrt would not
 *   keeps   scale and shift nothing, else x
 *   fails   TP_EARG when low > high
 */
TP_API tp_tensor *tp_scale(tp_ctx *ctx, tp_tensor *x, double p);
TP_API tp_tensor *tp_shift(tp_ctx *ctx, tp_tensor *x, double p);
TP_API tp_tensor *tp_clamp(tp_ctx *ctx, tp_tensor *x, double low, double high);
TP_API tp_tensor *tp_pow_scalar(tp_ctx *ctx, tp_tensor *x, double p);

/*
 * tp_floor, tp_round: to the next integer below; to the nearest one, halves to the even one.
 *
 *   x       any shape  float
 *   returns shape and dtype of x
 *
 *   grad    dx = 0
 *   keeps   nothing
 */
TP_API tp_tensor *tp_floor(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_round(tp_ctx *ctx, tp_tensor *x);

/*
 * Elementary functions: tp_exp e^x, tp_expm1 e^x - 1, tp_log, tp_log1p log(1 + x), tp_sqrt, tp_rsqrt 1/sqrt(x),
 * tp_recip 1/x, tp_sin, tp_cos, tp_tanh, tp_sigmoid 1/(1 + e^-x), tp_erf.
 *
 *   x       any shape  float
 *   returns shape and dtype of x; NaN outside the domain
 *
 *   grad    dx
 *   keeps   y for exp, sqrt, rsqrt, recip, tanh, sigmoid; else x
 */
TP_API tp_tensor *tp_exp(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_expm1(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_log(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_log1p(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_sqrt(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_rsqrt(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_recip(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_sin(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_cos(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_tanh(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_sigmoid(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_erf(tp_ctx *ctx, tp_tensor *x);

/*
 * Activations, with s the sigmoid and F the normal distribution function:
 *
 *       relu        max(x, 0), slope 0 at 0; integers too
 *       leaky_relu  x above 0, else slope x
 *       elu         x above 0, else alpha (e^x - 1)
 *       gelu        x F(x);  gelu_tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 *       silu        x s(x)
 *       softplus    log(1 + e^x), without overflow
 *       mish        x tanh(softplus(x))
 *       hardswish   x min(max(x + 3, 0), 6) / 6
 *
 *   x       any shape  float
 *   returns shape and dtype of x
 *
 *   grad    dx
 *   keeps   y for relu, else x
 */
TP_API tp_tensor *tp_relu(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_leaky_relu(tp_ctx *ctx, tp_tensor *x, double slope);
TP_API tp_tensor *tp_elu(tp_ctx *ctx, tp_tensor *x, double alpha);
TP_API tp_tensor *tp_gelu(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_gelu_tanh(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_silu(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_softplus(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_mish(tp_ctx *ctx, tp_tensor *x);
TP_API tp_tensor *tp_hardswish(tp_ctx *ctx, tp_tensor *x);

/*
 * tp_logical_not: whether x is false.
 *
 *   x       any shape  bool
 *   returns shape of x, bool
 *
 *   grad    none
 */
TP_API tp_tensor *tp_logical_not(tp_ctx *ctx, tp_tensor *x);

#ifdef __cplusplus
}
#endif

#endif
