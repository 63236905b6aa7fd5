/*
 * convert_cpu.c - chunks of any dtype to and from float, double, int64_t.
 */
#include "ops/cpu/convert.h"

#include "core/number.h"

#if defined(__F16C__) || defined(__AVX2__)
#include <immintrin.h>
#endif

/* ---- to float -------------------------------------------------------------------------------------------------------- */

static void from_bf16(float *restrict v, const uint16_t *restrict p, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = tpi_from_bf16(p[i]);
}

/* Without branches: shift into place and multiply by 2^112, which makes normal numbers of subnormals too. */
static inline float from_f16_flat(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t finite = tpi_bits(tpi_float(magnitude) * 5.192296858534828e33f);

    return tpi_float(sign | (magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite));
}

static void from_f16(float *restrict v, const uint16_t *restrict p, int64_t n)
{
    int64_t i = 0;

#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(v + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + i))));
#endif
#pragma omp simd
    for (int64_t j = i; j < n; j++)
        v[j] = from_f16_flat(p[j]);
}

static void load_f32_strided(float *v, tp_dtype t, const void *p, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (t == TP_F32)
            v[i] = ((const float *)p)[i * stride];
        else if (t == TP_I64)
            v[i] = (float)((const int64_t *)p)[i * stride];
        else
            v[i] = (float)tpi_load(t, p, i * stride);
    }
}

void CPU(load_f32)(float *v, tp_dtype t, const void *base, int64_t at, int64_t stride, int64_t n)
{
    const void *p = tpi_at(base, t, at);

    if (stride == 0 && n > 0) {
        load_f32_strided(v, t, p, 0, 1);
        for (int64_t i = 1; i < n; i++)
            v[i] = v[0];
    } else if (stride == 1 && t == TP_BF16) {
        from_bf16(v, p, n);
    } else if (stride == 1 && t == TP_F16) {
        from_f16(v, p, n);
    } else {
        load_f32_strided(v, t, p, stride, n);
    }
}

/* ---- from float ------------------------------------------------------------------------------------------------------ */

#if defined(__AVX2__)
/* Eight rounded to nearest even in the low halves.  By hand: what gcc makes of the plain loop takes three times as long. */
static inline __m256i round_bf16(__m256 v)
{
    __m256i u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16), odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));

    return _mm256_blendv_epi8(rounded, quiet, nan);
}
#endif

static void to_bf16(uint16_t *restrict p, const float *restrict v, int64_t n)
{
    int64_t begin = 0;

#if defined(__AVX2__)
    for (; begin + 16 <= n; begin += 16) {
        __m256i both = _mm256_packus_epi32(round_bf16(_mm256_loadu_ps(v + begin)), round_bf16(_mm256_loadu_ps(v + begin + 8)));

        _mm256_storeu_si256((void *)(p + begin), _mm256_permute4x64_epi64(both, 0xd8));
    }
#endif
#pragma omp simd
    for (int64_t i = begin; i < n; i++) {
        uint32_t u = tpi_bits(v[i]), rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (u >> 16) | 0x40u;

        p[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
    }
}

/* tpi_to_f16 with selections for branches */
static inline uint16_t to_f16_flat(float f)
{
    uint32_t u = tpi_bits(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    uint32_t normal = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13, small = tpi_bits(tpi_float(a) + 0.5f) - 0x3f000000u;
    uint32_t h = a < 0x38800000u ? small : normal;

    h = a >= 0x477ff000u ? 0x7c00u : h;
    h = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x3ffu) : h;
    return (uint16_t)(sign | h);
}

static void to_f16(uint16_t *restrict p, const float *restrict v, int64_t n)
{
    int64_t i = 0;

#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(p + i), _mm256_cvtps_ph(_mm256_loadu_ps(v + i), _MM_FROUND_TO_NEAREST_INT));
#endif
#pragma omp simd
    for (int64_t j = i; j < n; j++)
        p[j] = to_f16_flat(v[j]);
}

void CPU(store_f32)(tp_dtype t, void *base, int64_t at, int64_t stride, int64_t n, const float *v)
{
    void *p = tpi_at_out(base, t, at);

    if (stride == 1 && t == TP_BF16) {
        to_bf16(p, v, n);
    } else if (stride == 1 && t == TP_F16) {
        to_f16(p, v, n);
    } else if (t == TP_F32) {
        for (int64_t i = 0; i < n; i++)
            ((float *)p)[i * stride] = v[i];
    } else {
        for (int64_t i = 0; i < n; i++)
            tpi_store(t, p, i * stride, (double)v[i]);
    }
}

/* ---- double ---------------------------------------------------------------------------------------------------------- */

void CPU(load_f64)(double *v, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t == TP_F32) {
        for (int64_t i = 0; i < n; i++)
            v[i] = (double)((const float *)p)[at + i * stride];
    } else if (t == TP_F64) {
        for (int64_t i = 0; i < n; i++)
            v[i] = ((const double *)p)[at + i * stride];
    } else {
        for (int64_t i = 0; i < n; i++)
            v[i] = tpi_load(t, p, at + i * stride);
    }
}

void CPU(store_f64)(tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n, const double *v)
{
    if (t == TP_F64) {
        for (int64_t i = 0; i < n; i++)
            ((double *)p)[at + i * stride] = v[i];
    } else {
        for (int64_t i = 0; i < n; i++)
            tpi_store(t, p, at + i * stride, v[i]);
    }
}

/* ---- int64_t --------------------------------------------------------------------------------------------------------- */

void CPU(load_i64)(int64_t *v, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t == TP_I32) {
        for (int64_t i = 0; i < n; i++)
            v[i] = ((const int32_t *)p)[at + i * stride];
    } else if (t == TP_I64) {
        for (int64_t i = 0; i < n; i++)
            v[i] = ((const int64_t *)p)[at + i * stride];
    } else {
        for (int64_t i = 0; i < n; i++)
            v[i] = ((const uint8_t *)p)[at + i * stride];
    }
}

void CPU(store_i64)(tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n, const int64_t *v)
{
    for (int64_t i = 0; i < n; i++)
        tpi_store_int(t, p, at + i * stride, v[i]);
}
