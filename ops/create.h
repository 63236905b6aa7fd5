/*
 * create.h - tensors made from a rule; tp_zeros, tp_full, tp_from, tp_arange and their like stand in core/core.h.
 */
#ifndef TP_CREATE_H
#define TP_CREATE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_eye: 1 on the main diagonal, 0 elsewhere.
 *
 *   returns [n, m], dtype t
 *   fails   TP_ESHAPE for a negative size
 */
TP_API tp_tensor *tp_eye(tp_ctx *ctx, tp_dtype t, int64_t n, int64_t m);

/*
 * tp_linspace: n numbers from start to stop, both included, equally far apart.
 *
 *   n       >= 0; 1 gives start
 *   returns [n], dtype t
 *   fails   TP_ESHAPE for a negative n
 */
TP_API tp_tensor *tp_linspace(tp_ctx *ctx, tp_dtype t, double start, double stop, int64_t n);

#ifdef __cplusplus
}
#endif

#endif
