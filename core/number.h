/*
 * number.h - 16-bit floats and typed loads and stores.  Internal.  Conversions round to nearest even; NaN stays NaN.
 */
#ifndef TPI_NUMBER_H
#define TPI_NUMBER_H

#include "core/core.h"

#include <string.h>

static inline uint32_t tpi_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float tpi_float(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float tpi_from_bf16(uint16_t h)
{
    return tpi_float((uint32_t)h << 16);
}

static inline uint16_t tpi_to_bf16(float f)
{
    uint32_t u = tpi_bits(f);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline float tpi_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = (h >> 10) & 0x1fu, man = h & 0x3ffu;

    if (exp == 31u)
        return tpi_float(sign | 0x7f800000u | (man << 13));
    if (exp == 0u) /* subnormal: man 2^-24 */
        return tpi_float(sign | tpi_bits((float)man * 5.9604644775390625e-8f));
    return tpi_float(sign | ((exp + 112u) << 23) | (man << 13));
}

static inline uint16_t tpi_to_f16(float f)
{
    uint32_t u = tpi_bits(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) /* subnormal: let the adder round */
        return (uint16_t)(sign | (tpi_bits(tpi_float(a) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13));
}

/* Element i of an array as a double, and back; integers beyond 2^53 lose bits here: kernels for them use int64_t. */
static inline double tpi_load(tp_dtype t, const void *p, int64_t i)
{
    switch (t) {
    case TP_F32: return ((const float *)p)[i];
    case TP_F64: return ((const double *)p)[i];
    case TP_BF16: return tpi_from_bf16(((const uint16_t *)p)[i]);
    case TP_F16: return tpi_from_f16(((const uint16_t *)p)[i]);
    case TP_I64: return (double)((const int64_t *)p)[i];
    case TP_I32: return ((const int32_t *)p)[i];
    case TP_U8: return ((const uint8_t *)p)[i];
    case TP_BOOL: return ((const uint8_t *)p)[i];
    case TP_DTYPES: break;
    }
    return 0;
}

/* A double as an integer in [low, high], toward zero; NaN gives 0. */
static inline int64_t tpi_clip(double v, double low, double high, int64_t ilow, int64_t ihigh)
{
    if (v != v)
        return 0;
    return v <= low ? ilow : v >= high ? ihigh : (int64_t)v;
}

static inline void tpi_store(tp_dtype t, void *p, int64_t i, double v)
{
    switch (t) {
    case TP_F32: ((float *)p)[i] = (float)v; return;
    case TP_F64: ((double *)p)[i] = v; return;
    case TP_BF16: ((uint16_t *)p)[i] = tpi_to_bf16((float)v); return;
    case TP_F16: ((uint16_t *)p)[i] = tpi_to_f16((float)v); return;
    case TP_I64:
        ((int64_t *)p)[i] = tpi_clip(v, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);
        return;
    case TP_I32: ((int32_t *)p)[i] = (int32_t)tpi_clip(v, -2147483648.0, 2147483647.0, INT32_MIN, INT32_MAX); return;
    case TP_U8: ((uint8_t *)p)[i] = (uint8_t)tpi_clip(v, 0, 255, 0, 255); return;
    case TP_BOOL: ((uint8_t *)p)[i] = v != 0; return;
    case TP_DTYPES: return;
    }
}

static inline int64_t tpi_load_int(tp_dtype t, const void *p, int64_t i)
{
    return t == TP_I64 ? ((const int64_t *)p)[i] : t == TP_I32 ? ((const int32_t *)p)[i] : ((const uint8_t *)p)[i];
}

/* Wraps around, as integers of that width do. */
static inline void tpi_store_int(tp_dtype t, void *p, int64_t i, int64_t v)
{
    if (t == TP_I64)
        ((int64_t *)p)[i] = v;
    else if (t == TP_I32)
        ((int32_t *)p)[i] = (int32_t)(uint32_t)(uint64_t)v;
    else
        ((uint8_t *)p)[i] = (uint8_t)(uint64_t)v;
}

#endif
