/*
 * isa.h - names of the CPU's kernels.  The files of this folder are compiled once per instruction set with -DTPI_ISA=portable,
 * avx2, avx512; CPU(rmsnorm) is tpi_rmsnorm_avx2 in the second of them.  (The one place where names are pasted: the
 * alternative is three copies of every kernel, or ifuncs that no test can force.)
 */
#ifndef TPI_ISA_H
#define TPI_ISA_H

#define TPI_PASTE2(a, b) a##_##b
#define TPI_PASTE(a, b) TPI_PASTE2(a, b)
#define CPU(name) TPI_PASTE(tpi_##name, TPI_ISA)
#define TPI_TEXT2(a) #a
#define TPI_TEXT(a) TPI_TEXT2(a)

#endif
