/*
 * block_diag.h - products with a block-diagonal matrix: DiaBlo's adapter.
 */
#ifndef TP_BLOCK_DIAG_H
#define TP_BLOCK_DIAG_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_block_diag: block k takes columns k bi ... of x to columns k bo ... of y,
 *
 *       y[..., k bo + j] = sum_i x[..., k bi + i] a[k, i, j]
 *
 * Columns of x beyond `in` count as 0, columns of y beyond `out` do not exist: the last blocks may stick out, and what
 * sticks out is dead.
 *
 *   x       [..., in]        float
 *   a       [N, bi, bo]      dtype of x, or f32 beside a 16-bit x; N bi >= in, N bo >= out
 *   out     columns of y, >= 0
 *   returns [..., out]       dtype of x
 *
 *   grad    dx, da; da in f32 (f64 for f64) straight into the leaf's gradient, dead entries 0
 *   keeps   a when x needs a gradient, x when a does
 *   fails   TP_ESHAPE when the blocks do not cover x and y
 */
TP_API tp_tensor *tp_block_diag(tp_ctx *ctx, tp_tensor *x, tp_tensor *a, int64_t out);

/*
 * tp_block_diag_add: z = y + tp_block_diag(x, a) in one pass.
 *
 *   y       [..., out]       dtype of x, leading axes of x
 *   x, a    as above
 *   returns [..., out]       dtype of x
 *
 *   grad    dy, dx, da
 *   keeps   as above
 *   fails   as above
 */
TP_API tp_tensor *tp_block_diag_add(tp_ctx *ctx, tp_tensor *y, tp_tensor *x, tp_tensor *a);

#ifdef __cplusplus
}
#endif

#endif
