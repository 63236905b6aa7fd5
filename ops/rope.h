/*
 * rope.h - rotary position embedding.
 */
#ifndef TP_ROPE_H
#define TP_ROPE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    tp_tensor *freq; /* f32 [d / 2]: angle per position of each pair; needed */
    tp_tensor *pos;  /* i32 [B, S]: positions; NULL: base + s */
    int64_t    base; /* position of s = 0 when pos is NULL */
    double     mult; /* factor on cosine and sine; 0: 1 */
} tp_rope_opts;

/*
 * tp_rope: turns the pairs (j, j + d/2) of every head by an angle that grows with the position, with t = pos[b, s]
 * freq[j],
 *
 *       y[j]       = x[j] cos t - x[j + d/2] sin t
 *       y[j + d/2] = x[j + d/2] cos t + x[j] sin t
 *
 *   x       [B, S, H, d], d even   float
 *   returns [B, S, H, d]           dtype of x; angles in f64
 *
 *   grad    dx
 *   keeps   freq, pos
 *   fails   TP_ESHAPE when x has not four axes, d is odd, or freq or pos do not fit; TP_EARG without freq
 */
TP_API tp_tensor *tp_rope(tp_ctx *ctx, tp_tensor *x, const tp_rope_opts *opts);

#ifdef __cplusplus
}
#endif

#endif
