/*
 * matmul.h - products of matrices.  Transposed and strided operands cost no copy as long as one of their last two
 * strides is 1.
 */
#ifndef TP_MATMUL_H
#define TP_MATMUL_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_matmul: y = a b with numpy's rules,
 *
 *       y[..., i, j] = sum_k a[..., i, k] b[..., k, j]
 *
 *   a       [..., m, k] or [k]   float
 *   b       [..., k, n] or [k]   dtype of a
 *   returns [..., m, n]          the leading axes broadcast; the axis of an operand with one axis goes
 *
 *   grad    da, db
 *   keeps   the other operand of each one that needs a gradient
 *   fails   TP_ESHAPE when the k differ, the leading axes do not broadcast, or an operand has no axis
 */
TP_API tp_tensor *tp_matmul(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_affine: y = x w^T + b, the product of a linear layer (whose type is tp_linear),
 *
 *       y[..., j] = b[j] + sum_i x[..., i] w[j, i]
 *
 *   x       [..., in]    float
 *   w       [out, in]    dtype of x; f32 beside a 16-bit x, whose dtype it then takes for the product
 *   b       [out]        dtype of x, or f32 beside a 16-bit x; NULL for none
 *   returns [..., out]   dtype of x
 *
 *   grad    dx, dw, db; dw and db in f32 (f64 for f64) straight into the leaf's gradient
 *   keeps   w when x needs a gradient, x when w does
 *   fails   TP_ESHAPE when w is not [out, in] or b not [out]
 */
TP_API tp_tensor *tp_affine(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b);

/* tp_matmul_nt: y = x w^T, which is tp_affine(ctx, x, w, NULL). */
TP_API tp_tensor *tp_matmul_nt(tp_ctx *ctx, tp_tensor *x, tp_tensor *w);

/*
 * tp_outer: y[i, j] = a[i] b[j].  tp_dot: y = sum_i a[i] b[i].
 *
 *   a       [m]      float
 *   b       [n]      dtype of a; tp_dot: n = m
 *   returns [m, n];  tp_dot: []
 *
 *   grad    da, db
 *   keeps   the other operand of each one that needs a gradient
 *   fails   TP_ESHAPE when a or b has not one axis
 */
TP_API tp_tensor *tp_outer(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_dot(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

#ifdef __cplusplus
}
#endif

#endif
