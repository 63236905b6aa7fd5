/*
 * elementwise.h - arithmetic of two tensors, comparisons, choosing.  Shapes broadcast as numpy's: aligned at the last
 * axis, a size of 1 or a missing axis repeats.  A gradient is summed over the axes along which its operand was
 * repeated.
 */
#ifndef TP_ELEMENTWISE_H
#define TP_ELEMENTWISE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_add, tp_sub, tp_mul, tp_div: y = a + b, a - b, a b, a / b by elements.
 *
 *   a, b    any shapes that broadcast, equal dtypes  float int
 *   returns the broadcast shape, dtype of a; integers wrap around, their division goes toward zero and by zero gives 0
 *
 *   grad    da, db
 *   keeps   add and sub nothing; mul the other operand of each one that needs a gradient; div b, and y when b needs a
 * gradient fails   TP_ESHAPE when the shapes do not broadcast, TP_EDTYPE when the dtypes differ
 */
TP_API tp_tensor *tp_add(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_sub(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_mul(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_div(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_pow: y = a ^ b by elements.
 *
 *   a, b    any shapes that broadcast, equal dtypes  float int
 *   returns the broadcast shape, dtype of a
 *
 *   grad    da = b a^(b-1), 0 where b is 0;  db = y log a, 0 where a is 0 and b >= 0
 *   keeps   a, b; y when b needs a gradient
 *   fails   as tp_add
 */
TP_API tp_tensor *tp_pow(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_maximum, tp_minimum: the larger, the smaller of a and b; NaN when one of them is.
 *
 *   a, b    any shapes that broadcast, equal dtypes  float int
 *   returns the broadcast shape, dtype of a
 *
 *   grad    da, db: to the one that was taken, half to each where they are equal
 *   keeps   a, b
 *   fails   as tp_add
 */
TP_API tp_tensor *tp_maximum(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_minimum(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_eq, tp_ne, tp_lt, tp_le, tp_gt, tp_ge: whether a = b, a != b, a < b, a <= b, a > b, a >= b; with NaN all are false
 * but tp_ne.
 *
 *   a, b    any shapes that broadcast, equal dtypes  float int bool
 *   returns the broadcast shape, bool
 *
 *   grad    none
 *   fails   as tp_add
 */
TP_API tp_tensor *tp_eq(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_ne(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_lt(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_le(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_gt(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_ge(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_logical_and, tp_logical_or: of truth values.
 *
 *   a, b    any shapes that broadcast  bool
 *   returns the broadcast shape, bool
 *
 *   grad    none
 *   fails   as tp_add
 */
TP_API tp_tensor *tp_logical_and(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_logical_or(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);

/*
 * tp_where: y = c ? a : b by elements.  What is not taken has no influence, NaN included.
 *
 *   c       bool
 *   a, b    equal dtypes, any; the three shapes broadcast
 *   returns the broadcast shape, dtype of a
 *
 *   grad    da, db
 *   keeps   c
 *   fails   as tp_add
 */
TP_API tp_tensor *tp_where(tp_ctx *ctx, tp_tensor *c, tp_tensor *a, tp_tensor *b);

/*
 * tp_masked_fill: y = mask ? value : x by elements.
 *
 *   x       any shape and dtype
 *   mask    bool, broadcasts to x's shape
 *   value   converted to x's dtype
 *   returns shape and dtype of x
 *
 *   grad    dx
 *   keeps   mask
 *   fails   TP_ESHAPE when mask does not broadcast to x's shape
 */
TP_API tp_tensor *tp_masked_fill(tp_ctx *ctx, tp_tensor *x, tp_tensor *mask, double value);

/*
 * tp_cast: x converted.  To integers toward zero, saturating, NaN to 0; to bool x != 0; to a narrower float to nearest
 * even.
 *
 *   x       any shape and dtype
 *   returns shape of x, dtype t; x itself when it has that dtype already
 *
 *   grad    dx, between floats; none to or from other dtypes
 *   keeps   nothing
 */
TP_API tp_tensor *tp_cast(tp_ctx *ctx, tp_tensor *x, tp_dtype t);

#ifdef __cplusplus
}
#endif

#endif
