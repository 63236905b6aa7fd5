/*
 * index.h - rows and elements by number.  Every id must lie in [0, size of its axis): TP_EARG, naming the first that
 * does not.
 */
#ifndef TP_INDEX_H
#define TP_INDEX_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_embed: y[..., :] = w[ids[...], :].
 *
 *   w       [V, d]       any dtype
 *   ids     [...]        i32 i64
 *   returns [..., d]     dtype of w
 *
 *   grad    dw, in f32 (f64 for f64) straight into the leaf's gradient
 *   keeps   ids
 *   fails   TP_EARG for an id outside [0, V)
 */
TP_API tp_tensor *tp_embed(tp_ctx *ctx, tp_tensor *w, tp_tensor *ids);

/*
 * tp_index_select: slices ids[0], ids[1], ... of an axis.
 *
 *   x       any shape and dtype
 *   ids     [n]          i32 i64
 *   returns x's shape with n in place of the axis
 *
 *   grad    dx
 *   keeps   ids
 *   fails   TP_EARG for an id or axis that does not exist
 */
TP_API tp_tensor *tp_index_select(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids);

/*
 * tp_gather: y[..., i, ...] = x[..., ids[..., i, ...], ...] along an axis.
 *
 *   x       any shape and dtype
 *   ids     x's shape but for the axis   i32 i64
 *   returns shape of ids, dtype of x
 *
 *   grad    dx
 *   keeps   ids
 *   fails   TP_EARG for an id or axis that does not exist
 */
TP_API tp_tensor *tp_gather(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids);

/*
 * tp_scatter_add: x, with src[..., i, ...] added at [..., ids[..., i, ...], ...] along an axis, in the order of i.
 *
 *   x       any shape                    float int
 *   ids     x's shape but for the axis   i32 i64
 *   src     shape of ids                 dtype of x
 *   returns shape and dtype of x
 *
 *   grad    dx, dsrc
 *   keeps   ids
 *   fails   TP_EARG for an id or axis that does not exist
 */
TP_API tp_tensor *tp_scatter_add(tp_ctx *ctx, tp_tensor *x, int axis, tp_tensor *ids, tp_tensor *src);

/*
 * tp_one_hot: y[..., j] = 1 for j = ids[...], else 0.
 *
 *   ids     [...]        i32 i64
 *   n       > 0
 *   returns [..., n]     dtype t
 *
 *   grad    none
 *   fails   TP_EARG for an id outside [0, n)
 */
TP_API tp_tensor *tp_one_hot(tp_ctx *ctx, tp_tensor *ids, int64_t n, tp_dtype t);

#ifdef __cplusplus
}
#endif

#endif
