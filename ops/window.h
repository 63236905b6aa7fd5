/*
 * window.h - what convolution and pooling share: options in pairs, and how far a window slides.  Internal: not installed.
 */
#ifndef TPI_WINDOW_H
#define TPI_WINDOW_H

#include "core/internal.h"

/* Fills stride, pad, dilation and out of w from options, in and size being set: a first number of 0 stands for 1 (of pad:
 * 0), a second one for the first, a negative one for 0.  ceil: a last window may begin inside and end outside.  False
 * after tp_fail. */
bool tpi_window_slide(tp_ctx *ctx, const char *op, tpi_window *w, const int64_t stride[2], const int64_t pad[2],
                      const int64_t dilation[2], bool ceil);
/* A pair of options: 0 in the first place is `standard`, 0 in the second is the first, negative is 0. */
void tpi_pair(int64_t to[2], const int64_t given[2], int64_t standard);

#endif
