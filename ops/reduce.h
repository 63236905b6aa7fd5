/*
 * reduce.h - sums, extremes and statistics over axes.
 *
 * axes[0..n_axes) names the axes, negative ones from the end, none twice; n_axes = 0 stands for all.  With keepdim a
 * reduced axis stays with size 1, else it goes.
 */
#ifndef TP_REDUCE_H
#define TP_REDUCE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TP_AXES(0, -1) stands for two arguments: a list of axes and its length.  TP_ALL_AXES is the list of all. */
#define TP_AXES(...) TP_LIST(int, __VA_ARGS__), TP_COUNT(int, __VA_ARGS__)
#define TP_ALL_AXES NULL, 0

/*
 * tp_sum, tp_mean: sum, mean over the axes.
 *
 *   x       any shape  float; tp_sum also int and bool
 *   returns x's shape without the axes, dtype of x; the sum of int and bool is i64.  An empty sum is 0, an empty mean
 * NaN
 *
 *   grad    dx
 *   keeps   nothing
 *   fails   TP_EARG for an axis that does not exist or is named twice
 */
TP_API tp_tensor *tp_sum(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);
TP_API tp_tensor *tp_mean(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_prod: product over the axes.
 *
 *   x       any shape  float int
 *   returns x's shape without the axes, dtype of x; an empty product is 1
 *
 *   grad    dx, also right where factors are 0; beside a NaN or Inf maybe NaN where PyTorch has a number
 *   keeps   x
 *   fails   as tp_sum
 */
TP_API tp_tensor *tp_prod(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_max, tp_min: the largest, the smallest element over the axes; NaN when there is one.
 *
 *   x       any shape  float int
 *   returns x's shape without the axes, dtype of x
 *
 *   grad    dx, shared evenly among equal extremes
 *   keeps   x, y
 *   fails   as tp_sum; TP_ESHAPE when there is nothing to choose from
 */
TP_API tp_tensor *tp_max(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);
TP_API tp_tensor *tp_min(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_argmax, tp_argmin: place of the first largest, smallest element along an axis; of NaN when there is one.
 *
 *   x       any shape  float int
 *   returns x's shape without the axis, i64
 *
 *   grad    none
 *   fails   as tp_max
 */
TP_API tp_tensor *tp_argmax(tp_ctx *ctx, tp_tensor *x, int axis, bool keepdim);
TP_API tp_tensor *tp_argmin(tp_ctx *ctx, tp_tensor *x, int axis, bool keepdim);

/*
 * tp_any, tp_all: whether some, whether every element is true; of nothing: false, true.
 *
 *   x       any shape  bool
 *   returns x's shape without the axes, bool
 *
 *   grad    none
 *   fails   as tp_sum
 */
TP_API tp_tensor *tp_any(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);
TP_API tp_tensor *tp_all(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_var, tp_std: variance sum (x - mean)^2 / (n - correction) over the axes, and its square root.
 *
 *   x          any shape  float
 *   correction 1 for the unbiased estimate, 0 for the plain mean of squares
 *   returns    x's shape without the axes, dtype of x; NaN for n <= correction
 *
 *   grad       dx; 0 where std is 0
 *   keeps      x and the mean; tp_std y too
 *   fails      as tp_sum
 */
TP_API tp_tensor *tp_var(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, int correction, bool keepdim);
TP_API tp_tensor *tp_std(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, int correction, bool keepdim);

/*
 * tp_logsumexp: log sum e^x over the axes, without overflow; -inf of nothing.
 *
 *   x       any shape  float
 *   returns x's shape without the axes, dtype of x
 *
 *   grad    dx; 0 where all x are -inf (PyTorch: NaN)
 *   keeps   x, y
 *   fails   as tp_sum
 */
TP_API tp_tensor *tp_logsumexp(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_norm: Euclidean norm sqrt(sum x^2) over the axes.
 *
 *   x       any shape  float
 *   returns x's shape without the axes, dtype of x
 *
 *   grad    dx; 0 where the norm is 0
 *   keeps   x, y
 *   fails   as tp_sum
 */
TP_API tp_tensor *tp_norm(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes, bool keepdim);

/*
 * tp_cumsum: y[i] = x[0] + ... + x[i] along an axis.
 *
 *   x       any shape  float int
 *   returns shape and dtype of x
 *
 *   grad    dx
 *   keeps   nothing
 *   fails   TP_EARG for an axis that does not exist
 */
TP_API tp_tensor *tp_cumsum(tp_ctx *ctx, tp_tensor *x, int axis);

#ifdef __cplusplus
}
#endif

#endif
