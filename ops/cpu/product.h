/*
 * product.h - the ways to a matrix product on the CPU that are our own; gemm_cpu.c chooses.  The batch in tpi_gemm is
 * ignored here.
 */
#ifndef TPI_PRODUCT_H
#define TPI_PRODUCT_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

/* Operands packed into panels, converted to f32 on the way: any strides, f32 bf16 f16. */
size_t CPU(pack_space)(const tpi_gemm *g, int threads);
void   CPU(pack_gemm)(const tpi_gemm *g, int threads, void *ws);

/* Few rows: B is streamed once, as it lies.  b_row must be 1. */
bool   CPU(thin_takes)(const tpi_gemm *g);
size_t CPU(thin_space)(const tpi_gemm *g);
void   CPU(thin_gemm)(const tpi_gemm *g, int threads, void *ws);

/* f64 */
size_t CPU(double_space)(const tpi_gemm *g, int threads);
void   CPU(double_gemm)(const tpi_gemm *g, int threads, void *ws);

#endif
