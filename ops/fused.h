/*
 * fused.h - several ops in one pass over memory.  tp_add_rmsnorm, tp_linear_cross_entropy and tp_block_diag_add stand
 * with their families.
 */
#ifndef TP_FUSED_H
#define TP_FUSED_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_silu_mul: y = silu(g) u = g u / (1 + e^-g), the gate of a SwiGLU.
 *
 *   g, u    equal shapes and dtypes  float
 *   returns shape and dtype of g
 *
 *   grad    dg, du
 *   keeps   g, u
 *   fails   TP_ESHAPE when the shapes differ
 */
TP_API tp_tensor *tp_silu_mul(tp_ctx *ctx, tp_tensor *g, tp_tensor *u);

#ifdef __cplusplus
}
#endif

#endif
