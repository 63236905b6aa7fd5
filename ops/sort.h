/*
 * sort.h - order along an axis.  Stable; NaN counts as larger than everything.
 */
#ifndef TP_SORT_H
#define TP_SORT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_sort: x in order along an axis.
 *
 *   x       any shape  float int
 *   places  if not NULL, gets the places that the values had in x: shape of x, i64
 *   returns shape and dtype of x; a view when the axis is not the last one
 *
 *   grad    dx
 *   keeps   the places
 *   fails   TP_EARG for an axis that does not exist
 */
TP_API tp_tensor *tp_sort(tp_ctx *ctx, tp_tensor *x, int axis, bool descending, tp_tensor **places);

/*
 * tp_argsort: the places alone.
 *
 *   x       any shape  float int
 *   returns shape of x, i64
 *
 *   grad    none
 *   fails   TP_EARG for an axis that does not exist
 */
TP_API tp_tensor *tp_argsort(tp_ctx *ctx, tp_tensor *x, int axis, bool descending);

/*
 * tp_topk: the k largest elements along an axis, in descending order.
 *
 *   x       any shape  float int
 *   k       0 to the axis' size
 *   places  if not NULL, gets their places: shape of the result, i64
 *   returns x's shape with k in place of the axis, dtype of x; a view
 *
 *   grad    dx
 *   keeps   the places
 *   fails   TP_EARG for an axis that does not exist or k outside its bounds
 */
TP_API tp_tensor *tp_topk(tp_ctx *ctx, tp_tensor *x, int axis, int64_t k, tp_tensor **places);

#ifdef __cplusplus
}
#endif

#endif
