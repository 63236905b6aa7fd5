/*
 * sums.h - sums of floats by vectors.  Blocks of TPI_SUM_BLOCK elements are summed in f32, in TPI_SUM_LANES chains;
 * the blocks in double.  The order depends on n alone.
 */
#ifndef TPI_SUMS_H
#define TPI_SUMS_H

#include "ops/cpu/vmath.h"

enum { TPI_SUM_BLOCK = 1024, TPI_SUM_LANES = 32 };

/* x; x^2; x y; (x - c)^2; e^(x - c); (x - c) y */
typedef enum { TPI_OF_X, TPI_OF_SQUARE, TPI_OF_PRODUCT, TPI_OF_CENTRED, TPI_OF_EXP, TPI_OF_CENTRED_PRODUCT } tpi_term;

TPI_INLINE float tpi_term_of(tpi_term of, const float *x, const float *y, float c, int64_t i)
{
    switch (of) {
    case TPI_OF_X: return x[i];
    case TPI_OF_SQUARE: return x[i] * x[i];
    case TPI_OF_PRODUCT: return x[i] * y[i];
    case TPI_OF_CENTRED: return (x[i] - c) * (x[i] - c);
    case TPI_OF_EXP: return tpi_vexp(x[i] - c);
    case TPI_OF_CENTRED_PRODUCT: return (x[i] - c) * y[i];
    }
    return 0.0f;
}

/* Neighbours go to chains of their own: one chain would wait for its additions, and several streams through a page keep the
 * prefetcher from following any of them. */
TPI_INLINE float tpi_block_sum(tpi_term of, const float *x, const float *y, float c, int64_t n)
{
    float   part[TPI_SUM_LANES] = { 0 }, sum = 0.0f;
    int64_t i = 0;

    for (; i + TPI_SUM_LANES <= n; i += TPI_SUM_LANES)
#pragma omp simd
        for (int j = 0; j < TPI_SUM_LANES; j++)
            part[j] += tpi_term_of(of, x, y, c, i + j);
    for (; i < n; i++)
        part[i % TPI_SUM_LANES] += tpi_term_of(of, x, y, c, i);
    for (int width = TPI_SUM_LANES / 2; width > 4; width /= 2)
#pragma omp simd
        for (int j = 0; j < width; j++)
            part[j] += part[j + width];
    for (int j = 0; j < 8; j++)
        sum += part[j];
    return sum;
}

/* of is a constant wherever this is called; y and c only where the term has them */
TPI_INLINE double tpi_sum_of(tpi_term of, const float *x, const float *y, float c, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i += TPI_SUM_BLOCK)
        sum += (double)tpi_block_sum(of, x + i, y == NULL ? NULL : y + i, c, n - i < TPI_SUM_BLOCK ? n - i : TPI_SUM_BLOCK);
    return sum;
}

/* Floats as integers in the same order, and back: clang takes no maximum of floats apart, for NaN's sake; of integers it does. */
TPI_INLINE int32_t tpi_order_of(uint32_t bits)
{
    return (int32_t)(bits ^ ((uint32_t)((int32_t)bits >> 31) >> 1));
}

TPI_INLINE float tpi_from_order(int32_t k)
{
    return tpi_float((uint32_t)k ^ ((uint32_t)(k >> 31) >> 1));
}

/* The largest of x, NaN if one is among them, -inf if there are none */
TPI_INLINE float tpi_max_of(const float *x, int64_t n)
{
    int32_t m = tpi_order_of(0xff800000u), nan = 0;

#pragma omp simd reduction(max : m) reduction(| : nan)
    for (int64_t i = 0; i < n; i++) {
        int32_t k = tpi_order_of(tpi_bits(x[i]));

        nan |= x[i] != x[i];
        m = k > m ? k : m;
    }
    return nan ? NAN : tpi_from_order(m);
}

TPI_INLINE float tpi_min_of(const float *x, int64_t n)
{
    int32_t m = tpi_order_of(0x7f800000u), nan = 0;

#pragma omp simd reduction(min : m) reduction(| : nan)
    for (int64_t i = 0; i < n; i++) {
        int32_t k = tpi_order_of(tpi_bits(x[i]));

        nan |= x[i] != x[i];
        m = k < m ? k : m;
    }
    return nan ? NAN : tpi_from_order(m);
}

#endif
