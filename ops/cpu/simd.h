/*
 * simd.h - vectors of TPI_VL floats in the compiler's own types, and what plain C cannot say about them: fused
 * multiply-add (nothing is contracted by itself, -ffp-contract=off) and the transpose of a square.
 */
#ifndef TPI_SIMD_H
#define TPI_SIMD_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

#if defined(__FMA__)
#include <immintrin.h>
#endif

/* TPI_VL lanes; TPI_TILE rows of two vectors are the sums that a product keeps in registers; panels are TPI_PANEL lanes
 * wide. */
#if defined(__AVX512F__)
enum { TPI_VL = 16, TPI_TILE = 12, TPI_PANEL = 32 };
#elif defined(__AVX__)
enum { TPI_VL = 8, TPI_TILE = 6, TPI_PANEL = 16 };
#else
enum { TPI_VL = 4, TPI_TILE = 4, TPI_PANEL = 8 };
#endif

#define TPI_FLAT static inline __attribute__((always_inline))

typedef float   tpi_vf __attribute__((vector_size(TPI_VL * 4)));
typedef int32_t tpi_vi __attribute__((vector_size(TPI_VL * 4)));
/* The same anywhere in memory. */
typedef float   tpi_vfu __attribute__((vector_size(TPI_VL * 4), aligned(4), may_alias));
typedef int32_t tpi_viu __attribute__((vector_size(TPI_VL * 4), aligned(4), may_alias));

TPI_FLAT tpi_vf tpi_vload(const float *p)
{
    return *(const tpi_vfu *)p;
}

TPI_FLAT void tpi_vstore(float *p, tpi_vf v)
{
    *(tpi_vfu *)p = v;
}

TPI_FLAT tpi_vi tpi_viload(const int32_t *p)
{
    return *(const tpi_viu *)p;
}

TPI_FLAT tpi_vf tpi_vset(float x)
{
    return x - (tpi_vf){ 0 };
}

/* Lanes of a where the mask is all ones, of b where it is 0. */
TPI_FLAT tpi_vf tpi_vsel(tpi_vi mask, tpi_vf a, tpi_vf b)
{
    return (tpi_vf)(((tpi_vi)a & mask) | ((tpi_vi)b & ~mask));
}

/* a > b ? a : b, so b when one is NaN */
TPI_FLAT tpi_vf tpi_vmax(tpi_vf a, tpi_vf b)
{
#if defined(__AVX512F__)
    return (tpi_vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__FMA__)
    return (tpi_vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return tpi_vsel(a > b, a, b);
#endif
}

TPI_FLAT tpi_vf tpi_vfma(tpi_vf a, tpi_vf b, tpi_vf c)
{
#if defined(__AVX512F__)
    return (tpi_vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (tpi_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Sum of the lanes, by halves. */
TPI_FLAT float tpi_vsum(tpi_vf v)
{
    float s[TPI_VL];

    tpi_vstore(s, v);
    for (int h = TPI_VL / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++)
            s[i] += s[i + h];
    return s[0];
}

/* e^x for x <= 88, as vmath.h does it but for whole vectors; from -88 down it is 0.  NaN stays NaN. */
TPI_FLAT tpi_vf tpi_vexpv(tpi_vf x)
{
    const float magic = 12583039.0f; /* 1.5 2^23 + 127: rounds, and leaves the exponent's bits lowest */
    tpi_vf      t, k, r, p;

    x = tpi_vmax(tpi_vset(-88.0f), x); /* in this order NaN goes through */
    t = tpi_vfma(x, tpi_vset(1.44269504f), tpi_vset(magic));
    k = t - magic;
    r = tpi_vfma(k, tpi_vset(2.12194440e-4f), tpi_vfma(k, tpi_vset(-0.693359375f), x));
    p = tpi_vset(1.99624527e-4f);
    p = tpi_vfma(p, r, tpi_vset(1.39433106e-3f));
    p = tpi_vfma(p, r, tpi_vset(8.33321949e-3f));
    p = tpi_vfma(p, r, tpi_vset(4.16663257e-2f));
    p = tpi_vfma(p, r, tpi_vset(1.66666669e-1f));
    p = tpi_vfma(p, r, tpi_vset(5.00000005e-1f));
    p = tpi_vfma(p, r * r, r) + 1.0f;
    return p * (tpi_vf)((tpi_vi)t << 23); /* what else stands in t is shifted out; a product, so that NaN stays */
}

/* ---- the transpose of TPI_VL vectors
 * --------------------------------------------------------------------------------- */

/* lo, hi: pairs of a and b from the lower and upper half of each 128-bit lane, by elements (32) or by twos (64). */
#if defined(__AVX512F__)
TPI_FLAT tpi_vf tpi_lo32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}

TPI_FLAT tpi_vf tpi_hi32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}

TPI_FLAT tpi_vf tpi_lo64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
}

TPI_FLAT tpi_vf tpi_hi64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}

/* 128-bit lanes of four vectors transposed: v[i] lane j becomes v[j] lane i, the four lying `step` apart. */
TPI_FLAT void tpi_lanes(tpi_vf *v, int step)
{
    tpi_vf a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
    tpi_vf ac = __builtin_shufflevector(a, c, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    tpi_vf bd = __builtin_shufflevector(b, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    tpi_vf ca = __builtin_shufflevector(a, c, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    tpi_vf db = __builtin_shufflevector(b, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);

    v[0] = __builtin_shufflevector(ac, bd, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    v[step] = __builtin_shufflevector(ac, bd, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    v[2 * step] = __builtin_shufflevector(ca, db, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    v[3 * step] = __builtin_shufflevector(ca, db, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}
#elif defined(__AVX__)
TPI_FLAT tpi_vf tpi_lo32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
}

TPI_FLAT tpi_vf tpi_hi32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
}

TPI_FLAT tpi_vf tpi_lo64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
}

TPI_FLAT tpi_vf tpi_hi64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
}

TPI_FLAT void tpi_lanes(tpi_vf *v, int step)
{
    tpi_vf a = v[0], b = v[step];

    v[0] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    v[step] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}
#else
TPI_FLAT tpi_vf tpi_lo32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}

TPI_FLAT tpi_vf tpi_hi32(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}

TPI_FLAT tpi_vf tpi_lo64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 0, 1, 4, 5);
}

TPI_FLAT tpi_vf tpi_hi64(tpi_vf a, tpi_vf b)
{
    return __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

TPI_FLAT void tpi_lanes(tpi_vf *v, int step)
{
    (void)v;
    (void)step;
}
#endif

/* v[i][j] becomes v[j][i]: 4 x 4 inside the 128-bit lanes, then the lanes. */
TPI_FLAT void tpi_transpose(tpi_vf v[TPI_VL])
{
#pragma GCC unroll 4
    for (int g = 0; g < TPI_VL; g += 4) {
        tpi_vf ab0 = tpi_lo32(v[g], v[g + 1]), ab1 = tpi_hi32(v[g], v[g + 1]);
        tpi_vf cd0 = tpi_lo32(v[g + 2], v[g + 3]), cd1 = tpi_hi32(v[g + 2], v[g + 3]);

        v[g] = tpi_lo64(ab0, cd0);
        v[g + 1] = tpi_hi64(ab0, cd0);
        v[g + 2] = tpi_lo64(ab1, cd1);
        v[g + 3] = tpi_hi64(ab1, cd1);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        tpi_lanes(v + i, 4);
}

#endif
