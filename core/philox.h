/*
 * philox.h - the counter-based generator Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * 2011) and the two ways in which its words become numbers.  Internal; every backend uses these, so all draw the same.
 */
#ifndef TPI_PHILOX_H
#define TPI_PHILOX_H

#include "core/backend.h"

#include <math.h>

/* The four words of block i of a key's stream. */
static inline void tpi_philox(tpi_key key, uint64_t i, uint32_t w[4])
{
    uint32_t k0 = key.k[0], k1 = key.k[1];

    w[0] = (uint32_t)i;
    w[1] = (uint32_t)(i >> 32);
    w[2] = key.c[0];
    w[3] = key.c[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * w[0], b = (uint64_t)0xcd9e8d57u * w[2];
        uint32_t w1 = w[1], w3 = w[3];

        w[0] = (uint32_t)(b >> 32) ^ w1 ^ k0;
        w[1] = (uint32_t)b;
        w[2] = (uint32_t)(a >> 32) ^ w3 ^ k1;
        w[3] = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
}

/* Uniform in [0, 1), a multiple of 2^-24: exact in f32. */
static inline float tpi_uniform(uint32_t w)
{
    return (float)(w >> 8) * 5.9604644775390625e-8f;
}

/* Two independent normal numbers from two words (Box and Muller), in double so that every backend rounds alike. */
static inline void tpi_normal2(uint32_t a, uint32_t b, double z[2])
{
    double u = ((double)a + 1.0) * 2.3283064365386963e-10, r = sqrt(-2.0 * log(u)),
           t = (double)b * (6.283185307179586 * 2.3283064365386963e-10);

    z[0] = r * cos(t);
    z[1] = r * sin(t);
}

#endif
