/*
 * attention.h - scaled dot-product attention.
 */
#ifndef TP_ATTENTION_H
#define TP_ATTENTION_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    bool       causal; /* row s sees the keys up to s + Sk - Sq */
    double     scale;  /* 0: 1 / sqrt(D) */
    int64_t window; /* > 0: row s sees only the last `window` keys up to s + Sk - Sq, and none behind it; 0: no limit */
    tp_tensor *range; /* i32 [B, Sq, 2]: row (b, s) sees only keys from range[b, s, 0] up to, not with, range[b, s, 1];
                         NULL: all */
} tp_attention_opts;

/*
 * tp_attention: o = softmax(scale q k^T) v for every head, over the keys that a row may see; no S x S matrix is made.
 * Each key head serves H / Hk query heads.
 *
 *   q       [B, Sq, H, D]    float
 *   k, v    [B, Sk, Hk, D]   dtype of q; H a multiple of Hk
 *   opts    NULL: all defaults
 *   returns [B, Sq, H, D]    dtype of q; softmax in f32 (f64 for f64).  A row that sees no key gives 0
 *
 *   grad    dq, dk, dv
 *   keeps   q, k, v, the result, the range, and one f32 per row and head
 *   fails   TP_ESHAPE when the shapes do not fit, TP_EARG for a negative window
 */
TP_API tp_tensor *tp_attention(tp_ctx *ctx, tp_tensor *q, tp_tensor *k, tp_tensor *v, const tp_attention_opts *opts);

#ifdef __cplusplus
}
#endif

#endif
