/*
 * onednn.h - the few oneDNN calls that Tapir needs; onednn.c is the only file that includes dnnl.h.  Compiled once, not per
 * instruction set: oneDNN chooses its own code.
 */
#ifndef TPI_ONEDNN_H
#define TPI_ONEDNN_H

#include "core/backend.h"

/* C = A B + beta C in f32, row-major with strides as in tpi_gemm (one of the two inner strides is 1).  Inside an OpenMP parallel
 * region it runs on the calling thread alone. */
tp_code tpi_dnnl_sgemm(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                       int64_t b_col, float *c, int64_t c_row, float beta);
/* The same for 16-bit floats (t bf16 or f16) with c of dtype ct (t or f32), through a matmul primitive.  TP_EDTYPE when this CPU
 * or oneDNN version does not do it: ask tpi_dnnl_has first. */
tp_code tpi_dnnl_matmul(tp_dtype t, tp_dtype ct, int64_t m, int64_t n, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                        const void *b, int64_t b_row, int64_t b_col, void *c, int64_t c_row, float beta);
/* Whether products of dtype t run in fast code (not "ref:any") on this machine. */
bool    tpi_dnnl_has(tp_dtype t);
/* "2.6.3" */
const char *tpi_dnnl_version(void);

#endif
