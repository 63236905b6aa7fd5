/*
 * vmath.h - exp, log and their relatives without calls and branches, so that gcc vectorises loops over them (a scalar libm
 * costs ten times more).  exp, expm1, log, erf are good to 1.5 ulp, what is built on them to 4 (GELU to 7 in its tail); NaN
 * stays NaN, infinities give the limits.  The polynomials are minimax fits of our own (Remez, 50 digits).
 */
#ifndef TPI_VMATH_H
#define TPI_VMATH_H

#include "core/number.h"

#include <float.h>
#include <math.h>

/* Inlined even without optimisation being sure: an op that is a constant must reach the switch inside. */
#define TPI_INLINE static inline __attribute__((always_inline))

/* Explicit, because nothing is contracted by itself (-ffp-contract=off), and so that vector code and remainder loops agree. */
TPI_INLINE float tpi_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* To the nearest integer, ties to even.  SSE2 has no instruction for it: there adding 2^23 rounds, as far as there are
 * fractions. */
TPI_INLINE float tpi_vround(float x)
{
#if defined(__x86_64__) && !defined(__SSE4_1__)
    float a = fabsf(x), y = copysignf((a + 8388608.0f) - 8388608.0f, x);

    return a < 8388608.0f ? y : x;
#else
    return rintf(x);
#endif
}

TPI_INLINE float tpi_vfloor(float x)
{
#if defined(__x86_64__) && !defined(__SSE4_1__)
    float y = tpi_vround(x), below = y - 1.0f;

    return y > x ? below : y;
#else
    return floorf(x);
#endif
}

/* 2^k, k in [-126, 127] */
TPI_INLINE float tpi_exp2i(int32_t k)
{
    return tpi_float((uint32_t)(k + 127) << 23);
}

/* (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2, and a little beyond */
TPI_INLINE float tpi_exp_poly(float r)
{
    float p = 1.99624527e-4f;

    p = tpi_fma(p, r, 1.39433106e-3f);
    p = tpi_fma(p, r, 8.33321949e-3f);
    p = tpi_fma(p, r, 4.16663257e-2f);
    p = tpi_fma(p, r, 1.66666669e-1f);
    return tpi_fma(p, r, 5.00000005e-1f);
}

/* x = n ln 2 + r.  Adding 1.5 2^23 rounds to an integer and leaves it in the low bits; ln 2 in two parts keeps r's bits. */
TPI_INLINE float tpi_exp_reduce(float x, int32_t *n)
{
    const float magic = 12582912.0f;
    float       t = tpi_fma(x, 1.44269504f, magic), k = t - magic;

    *n = (int32_t)(tpi_bits(t) - tpi_bits(magic));
    return tpi_fma(k, 2.12194440e-4f, tpi_fma(k, -0.693359375f, x));
}

/* e^(hi + lo), |lo| < 0.05: what is lost in rounding hi comes in apart.  Two factors, so that subnormal results and those
 * near overflow are right. */
TPI_INLINE float tpi_exp2part(float hi, float lo)
{
    float   x = hi < -104.0f ? -104.0f : hi, r, p;
    int32_t n;

    x = x > 89.0f ? 89.0f : x;
    r = tpi_exp_reduce(x, &n) + lo;
    p = tpi_fma(tpi_exp_poly(r), r * r, r) + 1.0f;
    return p * tpi_exp2i(n >> 1) * tpi_exp2i(n - (n >> 1));
}

TPI_INLINE float tpi_vexp(float x)
{
    return tpi_exp2part(x, 0.0f);
}

/* 2^n (e^r - 1) + (2^n - 1), in halves against overflow */
TPI_INLINE float tpi_vexpm1(float v)
{
    float   x = v < -20.0f ? -20.0f : v, r, s;
    int32_t n;

    x = x > 89.0f ? 89.0f : x;
    r = tpi_exp_reduce(x, &n);
    s = tpi_exp2i(n - 1);
    r = 2.0f * tpi_fma(s, tpi_fma(tpi_exp_poly(r), r * r, r), s - 0.5f);
    return v == 0.0f ? v : r;
}

/* log m 2^e = e ln 2 + f - f^2 / 2 + f^3 p(f), m in [sqrt(1/2), sqrt(2)), f = m - 1 */
TPI_INLINE float tpi_vlog(float x)
{
    const uint32_t low = 0x3f3504f3u; /* sqrt(1/2) */
    float          y = x < FLT_MIN ? x * 8388608.0f : x, bias = x < FLT_MIN ? 23.0f : 0.0f, p = 6.74663756e-2f, e, f, z;
    uint32_t       u = tpi_bits(y) - low;

    e = (float)((int32_t)u >> 23) - bias;
    f = tpi_float((u & 0x7fffffu) + low) - 1.0f;
    z = f * f;
    p = tpi_fma(p, f, -1.16756507e-1f);
    p = tpi_fma(p, f, 1.18881629e-1f);
    p = tpi_fma(p, f, -1.24055896e-1f);
    p = tpi_fma(p, f, 1.42195525e-1f);
    p = tpi_fma(p, f, -1.66679958e-1f);
    p = tpi_fma(p, f, 2.00021186e-1f);
    p = tpi_fma(p, f, -2.50000096e-1f);
    p = tpi_fma(p, f, 3.33333126e-1f);
    p = tpi_fma(e, -2.12194440e-4f, p * f * z);
    p = tpi_fma(e, 0.693359375f, f + tpi_fma(-0.5f, z, p));
    p = x == INFINITY ? x : p;
    return x > 0.0f ? p : x == 0.0f ? -INFINITY : NAN;
}

/* log u + c / u, u = 1 + x rounded and c what the rounding lost */
TPI_INLINE float tpi_vlog1p(float x)
{
    float u = 1.0f + x, c = x > 1.0f ? 1.0f - (u - x) : x - (u - 1.0f), y = tpi_vlog(u) + c / u;

    y = u > 0.0f && u < INFINITY ? y : tpi_vlog(u);
    return x == 0.0f ? x : y;
}

TPI_INLINE float tpi_vsigmoid(float x)
{
    float e = tpi_vexp(-fabsf(x));

    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* e / (e + 2), e = e^2|x| - 1 */
TPI_INLINE float tpi_vtanh(float x)
{
    float a = fabsf(x), e;

    a = a > 10.0f ? 10.0f : a;
    e = tpi_vexpm1(2.0f * a);
    return copysignf(e / (e + 2.0f), x);
}

/* e^(z^2) erfc(z) = t p(t - 1/2), t = 1 / (1 + 0.7 z), for 0 <= z <= 10.5 */
TPI_INLINE float tpi_erfcx(float z)
{
    float t = 1.0f / tpi_fma(0.7f, z, 1.0f), s = t - 0.5f, p = -8.56763206e-2f;

    p = tpi_fma(p, s, 7.89879740e-4f);
    p = tpi_fma(p, s, 1.77503515e-1f);
    p = tpi_fma(p, s, -1.24185257e-1f);
    p = tpi_fma(p, s, -1.05530551e-1f);
    p = tpi_fma(p, s, 2.15929885e-1f);
    p = tpi_fma(p, s, -2.21332177e-2f);
    p = tpi_fma(p, s, -2.88433451e-1f);
    p = tpi_fma(p, s, 1.30198344e-1f);
    p = tpi_fma(p, s, 6.65601323e-1f);
    return t * tpi_fma(p, s, 6.67347293e-1f);
}

/* e^(-a^2 scale): a^2 as a head that is exact (12 bits squared) and a rest.  0 <= a <= 15. */
TPI_INLINE float tpi_exp_square(float a, float scale)
{
    float h = tpi_float(tpi_bits(a) & 0xfffff000u);

    return tpi_exp2part(-scale * (h * h), -scale * ((a - h) * (a + h)));
}

/* erf(a) / a - 1 for 0 <= a <= 1, by z = a^2 */
TPI_INLINE float tpi_erf_poly(float z)
{
    float p = -9.64152912e-6f;

    p = tpi_fma(p, z, 1.12569526e-4f);
    p = tpi_fma(p, z, -8.48282952e-4f);
    p = tpi_fma(p, z, 5.22094548e-3f);
    p = tpi_fma(p, z, -2.68654001e-2f);
    p = tpi_fma(p, z, 1.12837820e-1f);
    p = tpi_fma(p, z, -3.76126384e-1f);
    return tpi_fma(p, z, 1.28379167e-1f);
}

TPI_INLINE float tpi_verf(float x)
{
    float a = fabsf(x), tail;

    a = a > 4.0f ? 4.0f : a;
    tail = 1.0f - tpi_exp_square(a, 1.0f) * tpi_erfcx(a);
    return a < 1.0f ? tpi_fma(tpi_erf_poly(a * a), x, x) : copysignf(tail, x);
}

/* What GELU and its slope need: *tail = P(Z > |x|), returns e^(-x^2 / 2).  Near 0 by erf, which loses less there. */
TPI_INLINE float tpi_normal_tail(float x, float *tail)
{
    float a = fabsf(x), e, z;

    a = a > 15.0f ? 15.0f : a;
    z = 0.707106781f * a;
    e = tpi_exp_square(a, 0.5f);
    *tail = z < 0.6f ? 0.5f - 0.5f * tpi_fma(tpi_erf_poly(z * z), z, z) : 0.5f * e * tpi_erfcx(z);
    return e;
}

/* P(Z < x) */
TPI_INLINE float tpi_vcdf(float x)
{
    float tail;

    tpi_normal_tail(x, &tail);
    return x < 0.0f ? tail : 1.0f - tail;
}

/* (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 = sigmoid of twice that, and *rest one minus it.  The argument is made in double:
 * an exponent's error counts in full. */
TPI_INLINE float tpi_gelu_gate(float v, float *rest)
{
    double x = v > 20.0f ? 20.0f : v < -20.0f ? -20.0f : v, u = x * (1.5957691216057308 + 0.07135481627260025 * x * x);
    float  hi = (float)u, lo = (float)(u - (double)hi), e = tpi_exp2part(-fabsf(hi), hi < 0.0f ? lo : -lo), d = 1.0f / (1.0f + e);

    *rest = hi < 0.0f ? d : e * d;
    return hi < 0.0f ? e * d : d;
}

/* tanh(log(1 + e^x)), for Mish: with e = e^-|x| nothing overflows */
TPI_INLINE float tpi_tanh_softplus(float x)
{
    float e = tpi_vexp(-fabsf(x)), top = x < 0.0f ? e * (e + 2.0f) : tpi_fma(2.0f, e, 1.0f);

    return top / tpi_fma(2.0f, x < 0.0f ? 1.0f : e * e, top);
}

/* sin and cos of an angle given in double, |angle| < 2^19 or so: n pi/2 is taken off in two parts, the first product exact. */
TPI_INLINE void tpi_vsincos(double angle, float *sine, float *cosine)
{
    const double magic = 6755399441055744.0; /* 1.5 2^52 rounds, as above */
    double       n = (angle * 0.63661977236758134308 + magic) - magic;
    float        r = (float)((angle - n * 1.5707963267341256) - n * 6.0771005065061922e-11), z = r * r, s, c;
    int32_t      k = (int32_t)n;

    s = tpi_fma(tpi_fma(tpi_fma(2.71823739e-6f, z, -1.98393272e-4f), z, 8.33332936e-3f), z, -1.66666666e-1f);
    s = tpi_fma(s * z, r, r);
    c = tpi_fma(tpi_fma(2.47995118e-5f, z, -1.38888837e-3f), z, 4.16666666e-2f);
    c = tpi_fma(c, z * z, tpi_fma(-0.5f, z, 1.0f));
    *sine = tpi_float(tpi_bits(k & 1 ? c : s) ^ ((uint32_t)(k & 2) << 30));
    *cosine = tpi_float(tpi_bits(k & 1 ? s : c) ^ ((uint32_t)((k + 1) & 2) << 30));
}

#endif
