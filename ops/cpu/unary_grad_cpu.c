/*
 * unary_grad_cpu.c - derivatives of the functions of one variable.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

typedef struct {
    tpi_unary   op;
    double      p, q;
    tp_dtype    t;
    void       *dx;
    const void *dy, *v;
    int64_t     n;
} grad_args;

/* Where the slope is a hard 0 the gradient is 0, for dy Inf and NaN too. */
TPI_INLINE bool is_gate(tpi_unary op)
{
    return op == TPI_RELU || op == TPI_CLAMP || op == TPI_HARDSWISH || op == TPI_SIGN || op == TPI_FLOOR || op == TPI_ROUND;
}

/* ---- float ------------------------------------------------------------------------------------------------------------- */

/* 1 / sqrt(2 pi) */
static const float density = 0.39894228f;

TPI_INLINE float gelu_slope(float x)
{
    float tail, e = tpi_normal_tail(x, &tail);

    return tpi_fma(x * e, density, x < 0.0f ? tail : 1.0f - tail);
}

/* The gate s plus x s', s' = s (1 - s) u'; where x^2 would overflow s (1 - s) is 0 */
TPI_INLINE float gelu_tanh_slope(float x)
{
    float rest, s = tpi_gelu_gate(x, &rest), a = fabsf(x) > 20.0f ? 20.0f : x;

    return tpi_fma(x * s * rest, tpi_fma(0.21406445f, a * a, 1.5957691f), s);
}

TPI_INLINE float silu_slope(float x)
{
    float e = tpi_vexp(-fabsf(x)), d = 1.0f / (1.0f + e), s = x < 0.0f ? e * d : d, rest = x < 0.0f ? d : e * d;

    return tpi_fma(x * s, rest, s);
}

TPI_INLINE float mish_slope(float x)
{
    float th = tpi_tanh_softplus(x);

    return tpi_fma(x * (1.0f - th * th), tpi_vsigmoid(x), th);
}

/* f'(x), by y = f(x) where the contract hands that over: v is x or y. */
TPI_INLINE float slope(tpi_unary op, float v, float p)
{
    float s;

    switch (op) {
    case TPI_NEG: return -1.0f;
    case TPI_ABS: return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f;
    case TPI_EXP: return v;
    case TPI_EXPM1: return tpi_vexp(v);
    case TPI_LOG:
    case TPI_LOG1P: return 1.0f / (op == TPI_LOG ? v : 1.0f + v);
    case TPI_SQRT: return 0.5f / v;
    case TPI_RSQRT: return -0.5f * v * v * v;
    case TPI_TANH: return (1.0f - v) * (1.0f + v);
    case TPI_SIGMOID: return v * (1.0f - v);
    case TPI_ERF: s = fabsf(v) > 15.0f ? 15.0f : fabsf(v); return 1.12837917f * tpi_exp_square(s, 1.0f);
    case TPI_LEAKY_RELU: return v > 0.0f ? 1.0f : p;
    case TPI_ELU: s = p * tpi_vexp(v); return v > 0.0f ? 1.0f : s;
    case TPI_GELU: return gelu_slope(v);
    case TPI_GELU_TANH: return gelu_tanh_slope(v);
    case TPI_SILU: return silu_slope(v);
    case TPI_SOFTPLUS: return tpi_vsigmoid(v);
    case TPI_MISH: return mish_slope(v);
    case TPI_HARDSWISH: s = v / 3.0f + 0.5f; return v < 3.0f ? s : 1.0f;
    case TPI_RECIP: return -v * v;
    case TPI_SQUARE: return 2.0f * v;
    case TPI_SCALE: return p;
    case TPI_SHIFT: return 1.0f;
    case TPI_SIGN:
    case TPI_FLOOR:
    case TPI_ROUND:
    case TPI_RELU:
    case TPI_CLAMP:
    case TPI_SIN:
    case TPI_COS:
    case TPI_POWS:
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
    return 0.0f;
}

/* dy f'(v); gates select what the slope would multiply, which keeps the loop free of branches */
TPI_INLINE float gradient(tpi_unary op, float d, float v, float p, float q)
{
    if (op == TPI_RELU)
        return v <= 0.0f ? 0.0f : d;
    if (op == TPI_CLAMP)
        return (int)(v >= p) & (int)(v <= q) ? d : 0.0f;
    if (op == TPI_HARDSWISH)
        return v <= -3.0f ? 0.0f : d * slope(op, v, p);
    return is_gate(op) ? 0.0f : d * slope(op, v, p);
}

TPI_INLINE void loop(tpi_unary op, float p, float q, float *dx, const float *dy, const float *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = gradient(op, dy[i], v[i], p, q);
}

/* What has no vector code of its own: sin, cos, powers. */
static void loop_scalar(tpi_unary op, double p, float *dx, const float *dy, const float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float s = 0.0f;

        if (op == TPI_SIN)
            s = cosf(v[i]);
        else if (op == TPI_COS)
            s = -sinf(v[i]);
        else if (op == TPI_POWS && p != 0.0)
            s = (float)(p * pow((double)v[i], p - 1.0));
        dx[i] = dy[i] * s;
    }
}

static void run_f32(const grad_args *g, float *dx, const float *dy, const float *v, int64_t n)
{
    float p = (float)g->p, q = (float)g->q;

    switch (g->op) {
    case TPI_NEG: loop(TPI_NEG, p, q, dx, dy, v, n); break;
    case TPI_ABS: loop(TPI_ABS, p, q, dx, dy, v, n); break;
    case TPI_SIGN:
    case TPI_FLOOR:
    case TPI_ROUND: loop(TPI_SIGN, p, q, dx, dy, v, n); break;
    case TPI_EXP: loop(TPI_EXP, p, q, dx, dy, v, n); break;
    case TPI_EXPM1: loop(TPI_EXPM1, p, q, dx, dy, v, n); break;
    case TPI_LOG: loop(TPI_LOG, p, q, dx, dy, v, n); break;
    case TPI_LOG1P: loop(TPI_LOG1P, p, q, dx, dy, v, n); break;
    case TPI_SQRT: loop(TPI_SQRT, p, q, dx, dy, v, n); break;
    case TPI_RSQRT: loop(TPI_RSQRT, p, q, dx, dy, v, n); break;
    case TPI_TANH: loop(TPI_TANH, p, q, dx, dy, v, n); break;
    case TPI_SIGMOID: loop(TPI_SIGMOID, p, q, dx, dy, v, n); break;
    case TPI_ERF: loop(TPI_ERF, p, q, dx, dy, v, n); break;
    case TPI_RELU: loop(TPI_RELU, p, q, dx, dy, v, n); break;
    case TPI_LEAKY_RELU: loop(TPI_LEAKY_RELU, p, q, dx, dy, v, n); break;
    case TPI_ELU: loop(TPI_ELU, p, q, dx, dy, v, n); break;
    case TPI_GELU: loop(TPI_GELU, p, q, dx, dy, v, n); break;
    case TPI_GELU_TANH: loop(TPI_GELU_TANH, p, q, dx, dy, v, n); break;
    case TPI_SILU: loop(TPI_SILU, p, q, dx, dy, v, n); break;
    case TPI_SOFTPLUS: loop(TPI_SOFTPLUS, p, q, dx, dy, v, n); break;
    case TPI_MISH: loop(TPI_MISH, p, q, dx, dy, v, n); break;
    case TPI_HARDSWISH: loop(TPI_HARDSWISH, p, q, dx, dy, v, n); break;
    case TPI_RECIP: loop(TPI_RECIP, p, q, dx, dy, v, n); break;
    case TPI_SQUARE: loop(TPI_SQUARE, p, q, dx, dy, v, n); break;
    case TPI_SCALE: loop(TPI_SCALE, p, q, dx, dy, v, n); break;
    case TPI_SHIFT: loop(TPI_SHIFT, p, q, dx, dy, v, n); break;
    case TPI_CLAMP: loop(TPI_CLAMP, p, q, dx, dy, v, n); break;
    case TPI_SIN:
    case TPI_COS:
    case TPI_POWS: loop_scalar(g->op, g->p, dx, dy, v, n); break;
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
}

static void part_f32(const void *args, int64_t begin, int64_t end)
{
    const grad_args *g = args;
    float            dxbuf[TPI_CHUNK], dybuf[TPI_CHUNK], vbuf[TPI_CHUNK];
    int64_t          step = g->t == TP_F32 ? TPI_PIECE : TPI_CHUNK, last = tpi_min64(end * TPI_PIECE, g->n);

    for (int64_t i = begin * TPI_PIECE; i < last; i += step) {
        int64_t      m = tpi_min64(step, last - i);
        const float *dy = tpi_in_f32(dybuf, g->t, g->dy, i, 1, m), *v = tpi_in_f32(vbuf, g->t, g->v, i, 1, m);
        float       *dx = tpi_out_f32(dxbuf, g->t, g->dx, i, 1);

        run_f32(g, dx, dy, v, m);
        tpi_done_f32(dx, g->t, g->dx, i, 1, m);
    }
}

/* ---- double ------------------------------------------------------------------------------------------------------------ */

static double sigmoid(double x)
{
    double e = exp(-fabs(x));

    return (x < 0 ? e : 1.0) / (1.0 + e);
}

static double gelu_slope_f64(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
}

static double gelu_tanh_slope_f64(double x)
{
    double u = x * (1.5957691216057308 + 0.07135481627260025 * x * x), s = sigmoid(u);

    return s + x * s * sigmoid(-u) * (1.5957691216057308 + 0.21406444881780075 * x * x);
}

static double mish_slope_f64(double x)
{
    double th = tanh((x < 0 ? 0 : x) + log1p(exp(-fabs(x))));

    return th + x * (1 - th * th) * sigmoid(x);
}

static double slope_f64(tpi_unary op, double v, double p, double q)
{
    switch (op) {
    case TPI_NEG: return -1;
    case TPI_ABS: return (v > 0) - (v < 0);
    case TPI_EXP: return v;
    case TPI_EXPM1: return exp(v);
    case TPI_LOG: return 1 / v;
    case TPI_LOG1P: return 1 / (1 + v);
    case TPI_SQRT: return 0.5 / v;
    case TPI_RSQRT: return -0.5 * v * v * v;
    case TPI_SIN: return cos(v);
    case TPI_COS: return -sin(v);
    case TPI_TANH: return (1 - v) * (1 + v);
    case TPI_SIGMOID: return v * (1 - v);
    case TPI_ERF: return M_2_SQRTPI * exp(-v * v);
    case TPI_RELU: return v <= 0 ? 0 : 1;
    case TPI_LEAKY_RELU: return v > 0 ? 1 : p;
    case TPI_ELU: return v > 0 ? 1 : p * exp(v);
    case TPI_GELU: return gelu_slope_f64(v);
    case TPI_GELU_TANH: return gelu_tanh_slope_f64(v);
    case TPI_SILU: return sigmoid(v) * (1 + v * sigmoid(-v));
    case TPI_SOFTPLUS: return sigmoid(v);
    case TPI_MISH: return mish_slope_f64(v);
    case TPI_HARDSWISH: return v <= -3 ? 0 : v < 3 ? v / 3 + 0.5 : 1;
    case TPI_RECIP: return -v * v;
    case TPI_SQUARE: return 2 * v;
    case TPI_SCALE: return p;
    case TPI_SHIFT: return 1;
    case TPI_POWS: return p == 0 ? 0 : p * pow(v, p - 1);
    case TPI_CLAMP: return v >= p && v <= q;
    case TPI_SIGN:
    case TPI_FLOOR:
    case TPI_ROUND:
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
    return 0;
}

static void part_f64(const void *args, int64_t begin, int64_t end)
{
    const grad_args *g = args;
    int64_t          last = tpi_min64(end * TPI_PIECE, g->n);
    double          *dx = g->dx;
    const double    *dy = g->dy, *v = g->v;

    for (int64_t i = begin * TPI_PIECE; i < last; i++) {
        double s = slope_f64(g->op, v[i], g->p, g->q);

        dx[i] = is_gate(g->op) && s == 0 ? 0 : dy[i] * s;
    }
}

tp_code CPU(unary_grad)(const tpi_run *r, tpi_unary op, double p, double q, tp_dtype t, void *dx, const void *dy, const void *v,
                        int64_t n)
{
    grad_args g = { op, p, q, t, dx, dy, v, n };

    if (op == TPI_NOT)
        return TP_EDTYPE;
    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, t == TP_F64 ? part_f64 : part_f32, &g);
    return TP_OK;
}
