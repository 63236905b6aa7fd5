/*
 * norm.h - normalisation over the last axis.
 */
#ifndef TP_NORM_H
#define TP_NORM_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_layernorm: mean 0 and variance 1 over the last axis, then scaled and shifted,
 *
 *       y[..., j] = w[j] (x[..., j] - mean(x)) / sqrt(var(x) + eps) + b[j]
 *
 *   x       [..., d]  float
 *   w, b    [d]       dtype of x, or f32 beside a 16-bit x; NULL stands for 1, for 0; equal dtypes
 *   eps     >= 0, in units of x^2
 *   returns [..., d]  dtype of x; statistics in f32 (f64 for f64)
 *
 *   grad    dx, dw, db
 *   keeps   x, w and two f32 per row
 *   fails   TP_ESHAPE when w or b is not [d]
 */
TP_API tp_tensor *tp_layernorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, double eps);

/*
 * tp_rmsnorm: root-mean-square normalisation over the last axis,
 *
 *       y[..., j] = w[j] x[..., j] / sqrt(mean_j(x[..., j]^2) + eps)
 *
 *   x       [..., d]  float
 *   w       [d]       dtype of x, or f32 beside a 16-bit x
 *   eps     >= 0, in units of x^2
 *   returns [..., d]  dtype of x; sums in f32 (f64 for f64)
 *
 *   grad    dx, dw
 *   keeps   x, w and one f32 per row
 *   fails   TP_ESHAPE when w is not [d]
 */
TP_API tp_tensor *tp_rmsnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, double eps);

/*
 * tp_add_rmsnorm: h = x + res and y = rmsnorm(h, w, eps) in one pass: the step from one part of a transformer block to
 * the next.
 *
 *   x, res  [..., d]  float, equal dtypes and shapes
 *   w, eps  as tp_rmsnorm
 *   h       gets the sum, [..., d]; must not be NULL
 *   returns y, [..., d]
 *
 *   grad    dx = dres, dw; from y and from h
 *   keeps   h, w and one f32 per row
 *   fails   TP_ESHAPE when x and res differ or w is not [d]
 */
TP_API tp_tensor *tp_add_rmsnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *res, tp_tensor *w, double eps, tp_tensor **h);

#ifdef __cplusplus
}
#endif

#endif
