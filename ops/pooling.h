/*
 * pooling.h - the largest or the mean under a window that slides over planes.
 */
#ifndef TP_POOLING_H
#define TP_POOLING_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pairs: down, across.  A second number of 0 is as the first one; a negative one is really 0. */
typedef struct {
    int64_t size[2];     /* of the window; needed */
    int64_t stride[2];   /* 0: as size */
    int64_t pad[2];      /* places on either side, at most half of size; 0: none */
    int64_t dilation[2]; /* distance of the places looked at; 0: 1; tp_max_pool2d only */
    bool    ceil;        /* a last window may begin inside of the plane and end outside */
    bool    exclude_pad; /* the mean counts only what lies inside of the plane */
} tp_pool_opts;

/*
 * tp_max_pool2d: y[.., p, q] = the largest under the window at (p s0 - p0, q s1 - p1); padding is never the largest.
 *
 *   x       [N, C, H, W]  float
 *   opts    with a size
 *   returns [N, C, P, Q]  dtype of x, P = (H + 2 p0 - d0 (k0 - 1) - 1) / s0 + 1, Q alike.  NaN wins
 *
 *   grad    dx: all of dy goes to the first of equals
 *   keeps   one i32 per result
 *   fails   TP_ESHAPE when no window fits, TP_EARG without a size or for options out of range
 */
TP_API tp_tensor *tp_max_pool2d(tp_ctx *ctx, tp_tensor *x, const tp_pool_opts *opts);

/*
 * tp_avg_pool2d: the mean under each window; padding counts as zeros (see exclude_pad), what ceil adds beyond it does not
 * count.
 *
 *   x       [N, C, H, W]  float
 *   opts    with a size, without a dilation
 *   returns [N, C, P, Q]  as tp_max_pool2d; sums in f32 (f64 for f64)
 *
 *   grad    dx
 *   keeps   nothing
 *   fails   as tp_max_pool2d
 */
TP_API tp_tensor *tp_avg_pool2d(tp_ctx *ctx, tp_tensor *x, const tp_pool_opts *opts);

/*
 * tp_adaptive_avg_pool2d, tp_adaptive_max_pool2d: the mean, the largest under out_h x out_w windows that cover each plane:
 * rows floor(p H / out_h) up to, not with, ceil((p + 1) H / out_h), columns alike.
 *
 *   x            [N, C, H, W]          float
 *   out_h, out_w > 0
 *   returns      [N, C, out_h, out_w]  dtype of x; ties and NaN as tp_max_pool2d
 *
 *   grad         dx
 *   keeps        nothing; the largest: one i32 per result
 *   fails        TP_ESHAPE for planes without elements, TP_EARG for sizes below 1
 */
TP_API tp_tensor *tp_adaptive_avg_pool2d(tp_ctx *ctx, tp_tensor *x, int64_t out_h, int64_t out_w);
TP_API tp_tensor *tp_adaptive_max_pool2d(tp_ctx *ctx, tp_tensor *x, int64_t out_h, int64_t out_w);

#ifdef __cplusplus
}
#endif

#endif
