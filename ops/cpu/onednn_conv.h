/*
 * onednn_conv.h - convolution by oneDNN: onednn_conv.c, compiled once.
 */
#ifndef TPI_ONEDNN_CONV_H
#define TPI_ONEDNN_CONV_H

#include "core/backend.h"

/* What a part has and where it writes: y, dx or dw (f32, dw = beta dw + ...). */
typedef struct tpi_conv_operands {
    const void *x, *w, *b, *dy;
    void       *out;
    double      beta;
} tpi_conv_operands;

/* Whether oneDNN computes this part faster than our products do: dtypes that it has fast code for here, and enough work
 * to pay for its own. */
bool    tpi_dnnl_conv_takes(const tpi_window *c);
/* Bytes of workspace that tpi_dnnl_conv wants. */
size_t  tpi_dnnl_conv_space(const tpi_run *r, const tpi_window *c, tpi_conv_part part);
/* TP_EDTYPE when oneDNN refuses it after all, TP_ENOMEM when memory is out. */
tp_code tpi_dnnl_conv(const tpi_run *r, const tpi_window *c, tpi_conv_part part, const tpi_conv_operands *o);

#endif
