/*
 * norm.h - normalisation: over the last axis, over groups of channels, over a batch.
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

typedef struct {
    double momentum; /* share of the new statistics in the running ones; 0: 0.1; negative: really 0 */
    double eps;      /* in units of x^2; 0: 1e-5; negative: really 0 */
} tp_batchnorm_opts;

/*
 * tp_batchnorm: each channel with mean 0 and variance 1 over the batch and its places, then scaled and shifted,
 *
 *       y[i, c, ...] = w[c] (x[i, c, ...] - mean[c]) / sqrt(var[c] + eps) + b[c]
 *
 *   x         [N, C, ...]  float
 *   w, b      [C]          dtype of x, or f32 beside a 16-bit x; NULL stands for 1, for 0; equal dtypes
 *   mean, var [C]          running statistics, f32 (f64 for f64); both or neither.  Needed when not training, which uses
 *                          them; training uses those of x and moves these in place: mean += momentum (that of x - mean),
 *                          var alike with the unbiased variance.  When tp_checkpoint runs a function again they stay
 *   opts      NULL: all defaults
 *   returns   [N, C, ...]  dtype of x; statistics in f32 (f64 for f64)
 *
 *   grad      dx, dw, db; none of the running statistics
 *   keeps     x, w, and the statistics: when not training the running ones, which must not change until backward
 *   fails     TP_ESHAPE when w, b, mean or var is not [C], or training finds one value a channel; TP_EARG when the
 *             statistics are missing
 */
TP_API tp_tensor *tp_batchnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, tp_tensor *mean, tp_tensor *var,
                               bool training, const tp_batchnorm_opts *opts);

/*
 * tp_groupnorm: the channels of an image in groups, each group with mean 0 and variance 1, then every channel scaled and
 * shifted; with as many groups as channels it is called instance norm,
 *
 *       y[i, c, ...] = w[c] (x[i, c, ...] - mean[i, g]) / sqrt(var[i, g] + eps) + b[c],   g = c / (C / groups)
 *
 *   x       [N, C, ...]  float
 *   w, b    [C]          as tp_batchnorm
 *   groups  a divisor of C
 *   eps     >= 0, in units of x^2
 *   returns [N, C, ...]  dtype of x; statistics in f32 (f64 for f64)
 *
 *   grad    dx, dw, db
 *   keeps   x, w and two f32 per image and group
 *   fails   TP_ESHAPE when w or b is not [C] or groups does not divide C
 */
TP_API tp_tensor *tp_groupnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, int64_t groups, double eps);

#ifdef __cplusplus
}
#endif

#endif
