/*
 * conv.h - convolution of planes.
 */
#ifndef TP_CONV_H
#define TP_CONV_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pairs: down, across.  A second number of 0 is as the first one; a negative one is really 0. */
typedef struct {
    int64_t stride[2];   /* 0: 1 */
    int64_t pad[2];      /* zeros put on either side; 0: none */
    int64_t dilation[2]; /* distance of the taps; 0: 1 */
    int64_t groups;      /* 0: 1 */
} tp_conv_opts;

/*
 * tp_conv2d: convolution of planes as PyTorch has it (a cross-correlation), channels in groups,
 *
 *       y[i, o, p, q] = b[o] + sum over c, u, v of w[o, c, u, v] x[i, g C / G + c, p s0 + u d0 - p0, q s1 + v d1 - p1]
 *
 * for the group g = o / (O / G), with strides s, padding p, dilation d, and x = 0 outside of the plane
 *
 *   x       [N, C, H, W]       float
 *   w       [O, C / G, KH, KW] dtype of x, or f32 beside a 16-bit x, where it is rounded to x's
 *   b       [O] or NULL        dtypes as w
 *   opts    NULL: all defaults
 *   returns [N, O, P, Q]       dtype of x, P = (H + 2 p0 - d0 (KH - 1) - 1) / s0 + 1, Q alike; sums in f32 (f64 for f64)
 *
 *   grad    dx, dw, db
 *   keeps   x when w is trained, w when x needs a gradient
 *   fails   TP_ESHAPE when the shapes do not fit, G does not divide C and O, or the taps reach beyond the padded plane;
 *           TP_EARG for options out of range
 */
TP_API tp_tensor *tp_conv2d(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, const tp_conv_opts *opts);

#ifdef __cplusplus
}
#endif

#endif
