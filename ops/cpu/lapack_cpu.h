/*
 * lapack_cpu.h - factorisations through LAPACK; lapack_cpu.c is the only file that includes lapacke.h.  Compiled once,
 * not per instruction set: the BLAS below chooses its own code.
 */
#ifndef TPI_LAPACK_CPU_H
#define TPI_LAPACK_CPU_H

#include "core/backend.h"

/* The slots `factor_space` and `factor` of core/backend.h. */
size_t  tpi_lapack_space(const tpi_run *r, const tpi_factor *f);
tp_code tpi_lapack_factor(const tpi_run *r, tpi_factor *f);

#endif
