/*
 * layout.h - the same values in another shape or order, pieces and joins.  "view" means that the result shares x's
 * storage and costs no copy. All take any dtype, keep nothing for backward, and have gradients wherever the dtype has.
 */
#ifndef TP_LAYOUT_H
#define TP_LAYOUT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_reshape: x with other dimensions, row-major order kept.  One size may be -1: what is left over.
 *
 *   x       any shape
 *   returns the shape given: a view when x's strides allow, else a copy
 *
 *   grad    dx
 *   fails   TP_ESHAPE when the number of elements differs or two sizes are -1
 */
TP_API tp_tensor *tp_reshape(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim);

/*
 * tp_view: the same, but never a copy.
 *
 *   x       any shape
 *   returns the shape given, a view
 *
 *   grad    dx
 *   fails   as tp_reshape; TP_ESHAPE when x's strides do not allow it
 */
TP_API tp_tensor *tp_view(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim);

/*
 * tp_flatten: axes first..last in one.  tp_squeeze: an axis of size 1 goes.  tp_unsqueeze: a new axis of size 1 stands
 * at place `axis` of the result.
 *
 *   x       any shape; tp_flatten makes [1] of a tensor without axes
 *   returns a view (tp_flatten: a copy when x's strides ask for it)
 *
 *   grad    dx
 *   fails   TP_EARG for an axis that does not exist, TP_ESHAPE when the axis to squeeze is not of size 1
 */
TP_API tp_tensor *tp_flatten(tp_ctx *ctx, tp_tensor *x, int first, int last);
TP_API tp_tensor *tp_squeeze(tp_ctx *ctx, tp_tensor *x, int axis);
TP_API tp_tensor *tp_unsqueeze(tp_ctx *ctx, tp_tensor *x, int axis);

/*
 * tp_permute: axis i of the result is axis axes[i] of x.  tp_transpose: axes a and b change places.
 *
 *   x       any shape
 *   returns a view
 *
 *   grad    dx
 *   fails   TP_EARG when the axes are no permutation
 */
TP_API tp_tensor *tp_permute(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes);
TP_API tp_tensor *tp_transpose(tp_ctx *ctx, tp_tensor *x, int a, int b);

/*
 * tp_broadcast_to: x repeated to a shape as numpy would; a size of -1 stands for x's own.  tp_expand is its other name.
 *
 *   x       any shape that broadcasts to the one given
 *   returns a view with strides of 0
 *
 *   grad    dx, summed over the repeated axes
 */
TP_API tp_tensor *tp_broadcast_to(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim);
TP_API tp_tensor *tp_expand(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim);

/*
 * tp_slice: elements start, start + step, ... below stop of an axis.  start and stop count from the end when negative
 * and are clipped to the axis, as Python does; TP_END stands for the end. tp_narrow: length elements from start on.
 * tp_select: element index of an axis, which goes.
 *
 *   x       any shape
 *   step    > 0
 *   returns a view
 *
 *   grad    dx
 *   fails   TP_EARG for an axis that does not exist, step < 1, start + length or index outside the axis
 */
#define TP_END INT64_MAX
TP_API tp_tensor *tp_slice(tp_ctx *ctx, tp_tensor *x, int axis, int64_t start, int64_t stop, int64_t step);
TP_API tp_tensor *tp_narrow(tp_ctx *ctx, tp_tensor *x, int axis, int64_t start, int64_t length);
TP_API tp_tensor *tp_select(tp_ctx *ctx, tp_tensor *x, int axis, int64_t index);

/*
 * tp_split: x cut along an axis into n pieces of the given sizes.  tp_chunk: into n pieces of size ceil(size / n), the
 * last ones smaller or empty.
 *
 *   x       any shape
 *   y       room for n tensors; all NULL after a failure
 *   returns whether it went well; y[0..n) are views
 *
 *   grad    dx
 *   fails   TP_ESHAPE when the sizes do not add up to the axis, TP_EARG for n < 1 or an axis that does not exist
 */
TP_API bool       tp_split(tp_ctx *ctx, tp_tensor *x, int axis, int n, const int64_t *size, tp_tensor **y);
TP_API bool       tp_chunk(tp_ctx *ctx, tp_tensor *x, int axis, int n, tp_tensor **y);

/*
 * tp_concat: tensors one behind the other along an axis.  tp_stack: along a new axis.  TP_IN(a, b, c) makes the
 * arguments n and x.
 *
 *   x[i]    equal dtypes; equal shapes (tp_concat: but for the axis)
 *   returns a new tensor
 *
 *   grad    dx[i]
 *   fails   TP_EARG for n < 1 or an axis that does not exist
 */
TP_API tp_tensor *tp_concat(tp_ctx *ctx, int n, tp_tensor *const *x, int axis);
TP_API tp_tensor *tp_stack(tp_ctx *ctx, int n, tp_tensor *const *x, int axis);

/*
 * tp_pad: before[i] copies of value in front of axis i, after[i] behind it.
 *
 *   x       any shape
 *   before, after  a number >= 0 for every axis of x
 *   returns a new tensor
 *
 *   grad    dx
 *   fails   TP_EARG for a negative number
 */
TP_API tp_tensor *tp_pad(tp_ctx *ctx, tp_tensor *x, const int64_t *before, const int64_t *after, double value);

/*
 * tp_flip: axes in reverse order (n_axes = 0: all).  tp_roll: y[(i + shift) mod n] = x[i] along an axis.
 *
 *   x       any shape
 *   returns a new tensor
 *
 *   grad    dx
 *   fails   TP_EARG for an axis that does not exist or is named twice
 */
TP_API tp_tensor *tp_flip(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes);
TP_API tp_tensor *tp_roll(tp_ctx *ctx, tp_tensor *x, int axis, int64_t shift);

/*
 * tp_repeat: x laid count[i] times behind itself along axis i; n may exceed x's number of axes, which then get axes of
 * size 1 in front.
 *
 *   x       any shape
 *   count   n numbers >= 0
 *   returns a new tensor
 *
 *   grad    dx
 *   fails   TP_EARG for n below x's number of axes or a negative count
 */
TP_API tp_tensor *tp_repeat(tp_ctx *ctx, tp_tensor *x, int n, const int64_t *count);

/*
 * tp_contiguous: x with row-major strides: itself if it has them, else a copy.
 *
 *   x       any shape
 *   returns shape of x
 *
 *   grad    dx
 */
TP_API tp_tensor *tp_contiguous(tp_ctx *ctx, tp_tensor *x);

/*
 * tp_tril, tp_triu: 0 above, below the given diagonal of the last two axes; diagonal 0 is the main one, positive ones
 * lie above it.
 *
 *   x       [..., n, m]
 *   returns a new tensor
 *
 *   grad    dx
 *   fails   TP_ESHAPE for fewer than two axes
 */
TP_API tp_tensor *tp_tril(tp_ctx *ctx, tp_tensor *x, int64_t diagonal);
TP_API tp_tensor *tp_triu(tp_ctx *ctx, tp_tensor *x, int64_t diagonal);

#ifdef __cplusplus
}
#endif

#endif
