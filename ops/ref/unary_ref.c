/*
 * unary_ref.c - functions of one variable and their derivatives: a table of formulas each, in the order of the enum.
 */
#include "ops/ref/ref.h"

#include <math.h>

static const double sqrt_half = 0.70710678118654752440;  /* 1 / sqrt(2) */
static const double sqrt_2_pi = 0.79788456080286535588;  /* sqrt(2 / pi) */
static const double gelu_cube = 0.044715;                /* of the tanh form of GELU */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* log(1 + e^x), without overflow */
static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* P(Z < x), Z normal; erfc keeps the digits of the lower tail */
static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * sqrt_half);
}

/* the inner tanh of GELU's tanh form */
static double gelu_inner(double x)
{
    return tanh(sqrt_2_pi * (x + gelu_cube * x * x * x));
}

/* NaN stays: neither comparison holds */
static double clamp(double x, double low, double high)
{
    double y = x < low ? low : x;

    return y > high ? high : y;
}

/* y = f(x); NaN stays NaN in every line */
static double formula(tpi_unary op, double x, double p, double q)
{
    switch (op) {
    case TPI_NEG: return -x;
    case TPI_ABS: return fabs(x);
    case TPI_SIGN: return x != x ? x : (x > 0) - (x < 0);
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
    case TPI_GELU_TANH: return 0.5 * x * (1 + gelu_inner(x));
    case TPI_SILU: return x * sigmoid(x);
    case TPI_SOFTPLUS: return softplus(x);
    case TPI_MISH: return x * tanh(softplus(x));
    case TPI_HARDSWISH: return x * clamp(x + 3, 0, 6) / 6;
    case TPI_RECIP: return 1 / x;
    case TPI_SQUARE: return x * x;
    case TPI_SCALE: return p * x;
    case TPI_SHIFT: return x + p;
    case TPI_POWS: return pow(x, p);
    case TPI_CLAMP: return clamp(x, p, q);
    case TPI_NOT: return x == 0;
    case TPI_UNARIES: break;
    }
    return 0;
}

static double gelu_slope(double x)
{
    return normal_cdf(x) + x * 0.5 * sqrt_2_pi * exp(-0.5 * x * x); /* cdf + x density */
}

static double gelu_tanh_slope(double x)
{
    double th = gelu_inner(x);

    return 0.5 * (1 + th) + 0.5 * x * (1 - th * th) * sqrt_2_pi * (1 + 3 * gelu_cube * x * x);
}

static double silu_slope(double x)
{
    double s = sigmoid(x);

    return s + x * s * (1 - s);
}

static double mish_slope(double x)
{
    double th = tanh(softplus(x));

    return th + x * (1 - th * th) * sigmoid(x);
}

/* f'(x), written with y = f(x) where the contract hands that over: v is x or y */
static double slope(tpi_unary op, double v, double p, double q)
{
    switch (op) {
    case TPI_NEG: return -1;
    case TPI_ABS: return (v > 0) - (v < 0);
    case TPI_SIGN:
    case TPI_FLOOR:
    case TPI_ROUND: return 0;
    case TPI_EXP: return v; /* y */
    case TPI_EXPM1: return exp(v);
    case TPI_LOG: return 1 / v;
    case TPI_LOG1P: return 1 / (1 + v);
    case TPI_SQRT: return 0.5 / v;           /* y */
    case TPI_RSQRT: return -0.5 * v * v * v; /* y */
    case TPI_SIN: return cos(v);
    case TPI_COS: return -sin(v);
    case TPI_TANH: return 1 - v * v;     /* y */
    case TPI_SIGMOID: return v * (1 - v); /* y */
    case TPI_ERF: return M_2_SQRTPI * exp(-v * v);
    case TPI_RELU: return v <= 0 ? 0 : 1; /* y */
    case TPI_LEAKY_RELU: return v > 0 ? 1 : p;
    case TPI_ELU: return v > 0 ? 1 : p * exp(v);
    case TPI_GELU: return gelu_slope(v);
    case TPI_GELU_TANH: return gelu_tanh_slope(v);
    case TPI_SILU: return silu_slope(v);
    case TPI_SOFTPLUS: return sigmoid(v);
    case TPI_MISH: return mish_slope(v);
    case TPI_HARDSWISH: return v <= -3 ? 0 : v < 3 ? v / 3 + 0.5 : 1;
    case TPI_RECIP: return -v * v; /* y */
    case TPI_SQUARE: return 2 * v;
    case TPI_SCALE: return p;
    case TPI_SHIFT: return 1;
    case TPI_POWS: return p == 0 ? 0 : p * pow(v, p - 1);
    case TPI_CLAMP: return v >= p && v <= q;
    case TPI_NOT:
    case TPI_UNARIES: break;
    }
    return 0;
}

/* A factor or bound for integers: toward zero, saturating. */
static int64_t whole(double v)
{
    return tpi_clip(v, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);
}

/* y = f(x) exactly; false for functions that integers do not have */
static bool int_formula(tpi_unary op, int64_t x, double p, double q, int64_t *y)
{
    if (op == TPI_NEG)
        *y = tpi_ref_imul(x, -1);
    else if (op == TPI_ABS)
        *y = x < 0 ? tpi_ref_imul(x, -1) : x;
    else if (op == TPI_SIGN)
        *y = (x > 0) - (x < 0);
    else if (op == TPI_RELU)
        *y = x < 0 ? 0 : x;
    else if (op == TPI_SQUARE)
        *y = tpi_ref_imul(x, x);
    else if (op == TPI_SCALE)
        *y = tpi_ref_imul(x, whole(p));
    else if (op == TPI_SHIFT)
        *y = tpi_ref_iadd(x, whole(p));
    else if (op == TPI_CLAMP) {
        *y = x < whole(p) ? whole(p) : x;
        *y = *y > whole(q) ? whole(q) : *y;
    } else
        return false;
    return true;
}

/* y[i] = f(x[i]; p, q) */
tp_code tpi_ref_unary(const tpi_run *r, tpi_unary op, double p, double q, const tpi_nd *nd, tp_dtype t, void *y,
                      const void *x)
{
    int64_t n = tpi_ref_numel(nd);

    (void)r;
    if ((t == TP_BOOL) != (op == TPI_NOT))
        return TP_EDTYPE;
    for (int64_t i = 0; i < n; i++) {
        int64_t yi = tpi_ref_at(nd, 0, i), xi = tpi_ref_at(nd, 1, i), v;

        if (t == TP_BOOL || !tpi_ref_is_int(t)) {
            tpi_store(t, y, yi, formula(op, tpi_load(t, x, xi), p, q));
        } else {
            if (!int_formula(op, tpi_load_int(t, x, xi), p, q, &v))
                return TP_EDTYPE;
            tpi_store_int(t, y, yi, v);
        }
    }
    return TP_OK;
}

/* dx[i] = dy[i] f'(v[i]); where the slope is a hard 0 it stays 0 for dy Inf and NaN too */
tp_code tpi_ref_unary_grad(const tpi_run *r, tpi_unary op, double p, double q, tp_dtype t, void *dx, const void *dy,
                           const void *v, int64_t n)
{
    bool flat = op == TPI_SIGN || op == TPI_FLOOR || op == TPI_ROUND;
    bool gate = flat || op == TPI_RELU || op == TPI_CLAMP || op == TPI_HARDSWISH;

    (void)r;
    for (int64_t i = 0; i < n; i++) {
        double s = slope(op, tpi_load(t, v, i), p, q);

        tpi_store(t, dx, i, gate && s == 0 ? 0 : tpi_load(t, dy, i) * s);
    }
    return TP_OK;
}
