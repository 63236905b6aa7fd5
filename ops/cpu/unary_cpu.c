/*
 * unary_cpu.c - functions of one variable.  Floats of 32 and 16 bits by the vector functions of vmath.h, double by libm.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

typedef struct {
    tpi_unary   op;
    double      p, q;
    tp_dtype    t;
    void       *y;
    const void *x;
    int64_t     ys, xs;
} unary_args;

/* ---- float ------------------------------------------------------------------------------------------------------------- */

/* The functions that vectorise.  op is a constant wherever this is called, so that one case is left. */
TPI_INLINE float formula(tpi_unary op, float x, float p, float q)
{
    float v;

    switch (op) {
    case TPI_NEG: return -x;
    case TPI_ABS: return fabsf(x);
    case TPI_SIGN: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? 0.0f : x;
    case TPI_FLOOR: return tpi_vfloor(x);
    case TPI_ROUND: return tpi_vround(x);
    case TPI_EXP: return tpi_vexp(x);
    case TPI_EXPM1: return tpi_vexpm1(x);
    case TPI_LOG: return tpi_vlog(x);
    case TPI_LOG1P: return tpi_vlog1p(x);
    case TPI_SQRT: return sqrtf(x);
    case TPI_RSQRT: return 1.0f / sqrtf(x);
    case TPI_SIN: tpi_vsincos((double)x, &v, &(float){ 0.0f }); return v;
    case TPI_COS: tpi_vsincos((double)x, &(float){ 0.0f }, &v); return v;
    case TPI_TANH: return tpi_vtanh(x);
    case TPI_SIGMOID: return tpi_vsigmoid(x);
    case TPI_ERF: return tpi_verf(x);
    case TPI_RELU: return x < 0.0f ? 0.0f : x;
    case TPI_LEAKY_RELU: return x > 0.0f ? x : p * x;
    case TPI_ELU: v = p * tpi_vexpm1(x); return x > 0.0f ? x : v;
    case TPI_GELU: return x * tpi_vcdf(x);
    case TPI_GELU_TANH: return x * tpi_gelu_gate(x, &v);
    case TPI_SILU: return x * tpi_vsigmoid(x);
    case TPI_SOFTPLUS: v = tpi_vlog1p(tpi_vexp(-fabsf(x))); return (x < 0.0f ? 0.0f : x) + v;
    case TPI_MISH: return x * tpi_tanh_softplus(x);
    case TPI_HARDSWISH: v = x < -3.0f ? 0.0f : x + 3.0f; return x * ((v > 6.0f ? 6.0f : v) / 6.0f);
    case TPI_RECIP: return 1.0f / x;
    case TPI_SQUARE: return x * x;
    case TPI_SCALE: return p * x;
    case TPI_SHIFT: return x + p;
    case TPI_CLAMP: v = x < p ? p : x; return v > q ? q : v;
    case TPI_POWS:
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
    return 0.0f;
}

TPI_INLINE void loop(tpi_unary op, float p, float q, float *y, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = formula(op, x[i], p, q);
}

/* The reduction of vmath.h holds to about 2^19; beyond, and for Inf, libm. */
static void loop_sin_cos(tpi_unary op, float *y, const float *x, int64_t n)
{
    int wide = 0;

#pragma omp simd reduction(| : wide)
    for (int64_t i = 0; i < n; i++)
        wide |= !(fabsf(x[i]) < 500000.0f);
    if (!wide && op == TPI_SIN)
        loop(TPI_SIN, 0.0f, 0.0f, y, x, n);
    else if (!wide)
        loop(TPI_COS, 0.0f, 0.0f, y, x, n);
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = op == TPI_SIN ? sinf(x[i]) : cosf(x[i]);
}

static void loop_pow(float p, float *y, const float *x, int64_t n)
{
    if (p == 3.0f) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * x[i] * x[i];
    } else if (p == 2.0f) {
        loop(TPI_SQUARE, p, 0.0f, y, x, n);
    } else {
        for (int64_t i = 0; i < n; i++)
            y[i] = powf(x[i], p);
    }
}

static void run_f32(tpi_unary op, float p, float q, float *y, const float *x, int64_t n)
{
    switch (op) {
    case TPI_NEG: loop(TPI_NEG, p, q, y, x, n); break;
    case TPI_ABS: loop(TPI_ABS, p, q, y, x, n); break;
    case TPI_SIGN: loop(TPI_SIGN, p, q, y, x, n); break;
    case TPI_FLOOR: loop(TPI_FLOOR, p, q, y, x, n); break;
    case TPI_ROUND: loop(TPI_ROUND, p, q, y, x, n); break;
    case TPI_EXP: loop(TPI_EXP, p, q, y, x, n); break;
    case TPI_EXPM1: loop(TPI_EXPM1, p, q, y, x, n); break;
    case TPI_LOG: loop(TPI_LOG, p, q, y, x, n); break;
    case TPI_LOG1P: loop(TPI_LOG1P, p, q, y, x, n); break;
    case TPI_SQRT: loop(TPI_SQRT, p, q, y, x, n); break;
    case TPI_RSQRT: loop(TPI_RSQRT, p, q, y, x, n); break;
    case TPI_SIN:
    case TPI_COS: loop_sin_cos(op, y, x, n); break;
    case TPI_TANH: loop(TPI_TANH, p, q, y, x, n); break;
    case TPI_SIGMOID: loop(TPI_SIGMOID, p, q, y, x, n); break;
    case TPI_ERF: loop(TPI_ERF, p, q, y, x, n); break;
    case TPI_RELU: loop(TPI_RELU, p, q, y, x, n); break;
    case TPI_LEAKY_RELU: loop(TPI_LEAKY_RELU, p, q, y, x, n); break;
    case TPI_ELU: loop(TPI_ELU, p, q, y, x, n); break;
    case TPI_GELU: loop(TPI_GELU, p, q, y, x, n); break;
    case TPI_GELU_TANH: loop(TPI_GELU_TANH, p, q, y, x, n); break;
    case TPI_SILU: loop(TPI_SILU, p, q, y, x, n); break;
    case TPI_SOFTPLUS: loop(TPI_SOFTPLUS, p, q, y, x, n); break;
    case TPI_MISH: loop(TPI_MISH, p, q, y, x, n); break;
    case TPI_HARDSWISH: loop(TPI_HARDSWISH, p, q, y, x, n); break;
    case TPI_RECIP: loop(TPI_RECIP, p, q, y, x, n); break;
    case TPI_SQUARE: loop(TPI_SQUARE, p, q, y, x, n); break;
    case TPI_SCALE: loop(TPI_SCALE, p, q, y, x, n); break;
    case TPI_SHIFT: loop(TPI_SHIFT, p, q, y, x, n); break;
    case TPI_POWS: loop_pow(p, y, x, n); break;
    case TPI_CLAMP: loop(TPI_CLAMP, p, q, y, x, n); break;
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
}

static void span_f32(const void *args, const int64_t *at, int64_t n)
{
    const unary_args *u = args;
    float             ybuf[TPI_CHUNK], xbuf[TPI_CHUNK];

    if (u->t == TP_F32 && u->ys == 1 && u->xs == 1) {
        run_f32(u->op, (float)u->p, (float)u->q, (float *)u->y + at[0], (const float *)u->x + at[1], n);
        return;
    }
    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t      m = tpi_min64(TPI_CHUNK, n - i), ya = at[0] + i * u->ys;
        const float *x = tpi_in_f32(xbuf, u->t, u->x, at[1] + i * u->xs, u->xs, m);
        float       *y = tpi_out_f32(ybuf, u->t, u->y, ya, u->ys);

        run_f32(u->op, (float)u->p, (float)u->q, y, x, m);
        tpi_done_f32(y, u->t, u->y, ya, u->ys, m);
    }
}

/* ---- double ------------------------------------------------------------------------------------------------------------ */

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

/* sigmoid that neither overflows nor loses its tail */
static double sigmoid(double x)
{
    double e = exp(-fabs(x));

    return (x < 0 ? e : 1.0) / (1.0 + e);
}

static double softplus(double x)
{
    return (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));
}

static double clamp(double x, double low, double high)
{
    double v = x < low ? low : x;

    return v > high ? high : v;
}

static double formula_f64(tpi_unary op, double x, double p, double q)
{
    switch (op) {
    case TPI_NEG: return -x;
    case TPI_ABS: return fabs(x);
    case TPI_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
    case TPI_FLOOR: return floor(x);
    case TPI_ROUND: return rint(x);
    case TPI_EXP: return exp(x);
    case TPI_EXPM1: return expm1(x);
    case TPI_LOG: return log(x);
    case TPI_LOG1P: return log1p(x);
    case TPI_SQRT: return sqrt(x);
    case TPI_RSQRT: return 1 / sqrt(x);
    case TPI_SIN: return sin(x);
    case TPI_COS: return cos(x);
    case TPI_TANH: return tanh(x);
    case TPI_SIGMOID: return sigmoid(x);
    case TPI_ERF: return erf(x);
    case TPI_RELU: return x < 0 ? 0 : x;
    case TPI_LEAKY_RELU: return x > 0 ? x : p * x;
    case TPI_ELU: return x > 0 ? x : p * expm1(x);
    case TPI_GELU: return x * normal_cdf(x);
    case TPI_GELU_TANH: return x * sigmoid(x * (1.5957691216057308 + 0.07135481627260025 * x * x));
    case TPI_SILU: return x * sigmoid(x);
    case TPI_SOFTPLUS: return softplus(x);
    case TPI_MISH: return x * tanh(softplus(x));
    case TPI_HARDSWISH: return x * (clamp(x + 3, 0, 6) / 6);
    case TPI_RECIP: return 1 / x;
    case TPI_SQUARE: return x * x;
    case TPI_SCALE: return p * x;
    case TPI_SHIFT: return x + p;
    case TPI_POWS: return pow(x, p);
    case TPI_CLAMP: return clamp(x, p, q);
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
    return 0;
}

static void span_f64(const void *args, const int64_t *at, int64_t n)
{
    const unary_args *u = args;
    double           *y = (double *)u->y + at[0];
    const double     *x = (const double *)u->x + at[1];

    for (int64_t i = 0; i < n; i++)
        y[i * u->ys] = formula_f64(u->op, x[i * u->xs], u->p, u->q);
}

/* ---- integers and bool ------------------------------------------------------------------------------------------------- */

/* A factor or bound for integers: toward zero, saturating. */
static int64_t whole(double v)
{
    return tpi_clip(v, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);
}

/* Unsigned arithmetic, so that wrapping around is defined. */
static int64_t formula_i64(tpi_unary op, int64_t x, int64_t p, int64_t q)
{
    uint64_t u = (uint64_t)x;

    if (op == TPI_NEG || (op == TPI_ABS && x < 0))
        return (int64_t)(0 - u);
    if (op == TPI_SIGN)
        return (x > 0) - (x < 0);
    if (op == TPI_RELU)
        return x < 0 ? 0 : x;
    if (op == TPI_SQUARE)
        return (int64_t)(u * u);
    if (op == TPI_SCALE)
        return (int64_t)(u * (uint64_t)p);
    if (op == TPI_SHIFT)
        return (int64_t)(u + (uint64_t)p);
    if (op == TPI_CLAMP) {
        x = x < p ? p : x;
        return x > q ? q : x;
    }
    return op == TPI_NOT ? x == 0 : x;
}

static void span_i64(const void *args, const int64_t *at, int64_t n)
{
    const unary_args *u = args;
    int64_t           p = whole(u->p), q = whole(u->q);

    for (int64_t i = 0; i < n; i++) {
        int64_t x = tpi_load_int(u->t, u->x, at[1] + i * u->xs);

        tpi_store_int(u->t, u->y, at[0] + i * u->ys, formula_i64(u->op, x, p, q));
    }
}

static bool integers_have(tpi_unary op)
{
    return op == TPI_NEG || op == TPI_ABS || op == TPI_SIGN || op == TPI_SCALE || op == TPI_SHIFT || op == TPI_CLAMP ||
           op == TPI_SQUARE || op == TPI_RELU;
}

tp_code CPU(unary)(const tpi_run *r, tpi_unary op, double p, double q, const tpi_nd *nd, tp_dtype t, void *y, const void *x)
{
    unary_args u = { op, p, q, t, y, x, tpi_step_of(nd, 0), tpi_step_of(nd, 1) };

    if ((t == TP_BOOL) != (op == TPI_NOT) || (tpi_is_int(t) && t != TP_BOOL && !integers_have(op)))
        return TP_EDTYPE;
    CPU(walk)(r, nd, 2, tpi_is_f32ish(t) ? span_f32 : t == TP_F64 ? span_f64 : span_i64, &u);
    return TP_OK;
}
