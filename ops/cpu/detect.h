/*
 * detect.h - which instruction sets this machine and its operating system have.  detect.c is compiled once, for any machine.
 */
#ifndef TPI_DETECT_H
#define TPI_DETECT_H

#include <stdbool.h>
#include <stddef.h>

/* What the kernels of ops/cpu are compiled with: AVX2, FMA, F16C, BMI2; and AVX-512 F BW DQ VL besides. */
bool tpi_cpu_has_avx2(void);
bool tpi_cpu_has_avx512(void);
/* Names of the features that matter for speed, "avx2 fma f16c ...", "" where none is known; cut to size bytes with the NUL. */
void tpi_cpu_features(char *buf, size_t size);

#endif
