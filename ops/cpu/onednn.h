/*
 * onednn.h - the products that Tapir needs of oneDNN; onednn.c, onednn_conv.c and onednn_desc.h are all that includes
 * dnnl.h.  Compiled once, not per instruction set: oneDNN chooses its own code.
 */
#ifndef TPI_ONEDNN_H
#define TPI_ONEDNN_H

#include "core/backend.h"

/* Whether products of dtype t (f32 bf16 f16) run through a matmul primitive in fast code on this machine.  f32 always
 * runs, then through sgemm. */
bool tpi_dnnl_has(tp_dtype t);
/* Whether oneDNN takes this product: dtypes, and strides that are those of a matrix.  The batch is ignored here and
 * below. */
bool tpi_dnnl_takes(const tpi_gemm *g);
/* Bytes of scratch that tpi_dnnl_gemm wants for this product, 64-byte aligned.  Inside an OpenMP parallel region both
 * work for the calling thread alone. */
size_t tpi_dnnl_space(const tpi_gemm *g);
/* One product; k > 0.  TP_EDTYPE when oneDNN refuses it after all, TP_ENOMEM when it is out of memory. */
tp_code tpi_dnnl_gemm(const tpi_gemm *g, void *scratch);
/* "2.6.3" */
const char *tpi_dnnl_version(void);

#endif
