/*
 * widen.h - vectors of 16-bit floats as f32.  t is a constant where these are called.
 */
#ifndef TPI_WIDEN_H
#define TPI_WIDEN_H

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/simd.h"

#include <string.h>

typedef uint16_t tpi_vhu __attribute__((vector_size(TPI_VL * 2), aligned(2), may_alias));

/* By intrinsics, for gcc 12 makes five instructions of the conversion. */
TPI_FLAT tpi_vf tpi_widen_bf16(const uint16_t *p)
{
#if defined(__AVX512F__)
    return (tpi_vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16);
#elif defined(__AVX2__)
    return (tpi_vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16);
#else
    return (tpi_vf)(__builtin_convertvector(*(const tpi_vhu *)p, tpi_vi) << 16);
#endif
}

/* TPI_VL elements of p from i on */
TPI_FLAT tpi_vf tpi_widen(tp_dtype t, const void *p, int64_t i)
{
    if (t == TP_F32)
        return tpi_vload((const float *)p + i);
    if (t == TP_BF16)
        return tpi_widen_bf16((const uint16_t *)p + i);
#if defined(__AVX512F__)
    return (tpi_vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)((const uint16_t *)p + i)));
#elif defined(__F16C__)
    return (tpi_vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)((const uint16_t *)p + i)));
#else
    float v[TPI_VL];

    CPU(load_f32)(v, TP_F16, p, i, 1, TPI_VL);
    return tpi_vload(v);
#endif
}

/* n < TPI_VL elements, then zeros; no more is read */
TPI_FLAT tpi_vf tpi_widen_part(tp_dtype t, const void *p, int64_t i, int64_t n)
{
    uint8_t part[TPI_VL * 4] = { 0 };
    size_t  size = t == TP_F32 ? 4 : 2;

    memcpy(part, (const char *)p + (size_t)i * size, (size_t)n * size);
    return tpi_widen(t, part, 0);
}

/* v to TPI_VL elements of p from i on, rounded to nearest even; NaN stays NaN */
TPI_FLAT void tpi_narrow(tp_dtype t, void *p, int64_t i, tpi_vf v)
{
    typedef uint32_t bits __attribute__((vector_size(TPI_VL * 4)));

    if (t == TP_F32) {
        tpi_vstore((float *)p + i, v);
    } else if (t == TP_BF16) {
        bits u = (bits)v, rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (bits)(v != v);

        *(tpi_vhu *)((uint16_t *)p + i) = __builtin_convertvector((rounded & ~nan) | (((u >> 16) | 0x40u) & nan),
                                                                  tpi_vhu);
    } else {
        float f[TPI_VL];

        tpi_vstore(f, v);
        CPU(store_f32)(TP_F16, p, i, 1, TPI_VL, f);
    }
}

/* n elements side by side */
static inline void tpi_widen_row(tp_dtype t, const void *p, int64_t at, int64_t n, float *out)
{
    if (t == TP_F32)
        memcpy(out, (const float *)p + at, (size_t)n * sizeof(float));
    else
        CPU(load_f32)(out, t, p, at, 1, n);
}

TPI_FLAT float tpi_widen_one(tp_dtype t, const void *p, int64_t i)
{
    return t == TP_F32    ? ((const float *)p)[i]
           : t == TP_BF16 ? tpi_from_bf16(((const uint16_t *)p)[i])
                          : tpi_from_f16(((const uint16_t *)p)[i]);
}

#endif
