/*
 * softmax_cpu.c - softmax and its logarithm over rows.  A NaN, or +Inf, makes its row NaN, as does a row of -Inf alone.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/sums.h"

typedef struct {
    bool        log;
    tp_dtype    t;
    void       *out;     /* y, or dx */
    const void *in, *dy; /* x, or y and dy */
    int64_t     n;
} softmax_args;

/* ---- forward ------------------------------------------------------------------------------------------------------------ */

/* y = e^(x - m), returns the sum */
static double exp_row(float *restrict y, const float *restrict x, float m, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i += TPI_SUM_BLOCK) {
        int64_t end = tpi_min64(n, i + TPI_SUM_BLOCK);
        float   s = 0.0f;

#pragma omp simd reduction(+ : s)
        for (int64_t j = i; j < end; j++) {
            float e = tpi_vexp(x[j] - m);

            y[j] = e;
            s += e;
        }
        sum += (double)s;
    }
    return sum;
}

static void row_f32(bool log, float *y, const float *x, int64_t n)
{
    float  m = tpi_max_of(x, n), scale;
    double sum;

    if (log) {
        double lse = (double)m + log1p(tpi_sum_of(TPI_OF_EXP, x, NULL, m, n) - 1.0);
        float  rest = (float)(lse - (double)m);

#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m) - rest;
        return;
    }
    sum = exp_row(y, x, m, n);
    scale = (float)(1.0 / sum);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] *= scale;
}

/* x = e^(x - m) scale, or x - m - shift */
static void finish(bool log, float *x, float m, float shift, int64_t n)
{
    if (log) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            x[i] = (x[i] - m) - shift;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            x[i] = tpi_vexp(x[i] - m) * shift;
    }
}

/* 16 bits: exponentials are made twice, which is cheaper than keeping them in memory and rounds once. */
static void row_16(const softmax_args *a, int64_t at)
{
    float  x[TPI_CHUNK], m = -INFINITY, v, shift;
    double sum = 0.0;

    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t k = tpi_min64(TPI_CHUNK, a->n - j);

        CPU(load_f32)(x, a->t, a->in, at + j, 1, k);
        v = tpi_max_of(x, k);
        m = v != v || v > m ? v : m;
    }
    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t k = tpi_min64(TPI_CHUNK, a->n - j);

        CPU(load_f32)(x, a->t, a->in, at + j, 1, k);
        sum += tpi_sum_of(TPI_OF_EXP, x, NULL, m, k);
    }
    shift = (float)(a->log ? log(sum) : 1.0 / sum);
    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t k = tpi_min64(TPI_CHUNK, a->n - j);

        CPU(load_f32)(x, a->t, a->in, at + j, 1, k);
        finish(a->log, x, m, shift, k);
        CPU(store_f32)(a->t, a->out, at + j, 1, k, x);
    }
}

static void row_f64(bool logarithm, double *y, const double *x, int64_t n)
{
    double m = -INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++)
        m = fmax(m, x[i]);
    for (int64_t i = 0; i < n; i++) {
        y[i] = logarithm ? x[i] - m : exp(x[i] - m);
        sum += logarithm ? exp(y[i]) : y[i];
    }
    sum = logarithm ? log(sum) : sum;
    for (int64_t i = 0; i < n; i++)
        y[i] = logarithm ? y[i] - sum : y[i] / sum;
}

static void softmax_part(const void *args, int64_t begin, int64_t end)
{
    const softmax_args *a = args;

    for (int64_t at = begin * a->n; at < end * a->n; at += a->n) {
        if (a->t == TP_F32)
            row_f32(a->log, (float *)a->out + at, (const float *)a->in + at, a->n);
        else if (a->t == TP_F64)
            row_f64(a->log, (double *)a->out + at, (const double *)a->in + at, a->n);
        else
            row_16(a, at);
    }
}

tp_code CPU(softmax)(const tpi_run *r, bool log, tp_dtype t, void *y, const void *x, int64_t rows, int64_t n)
{
    softmax_args a = { .log = log, .t = t, .out = y, .in = x, .n = n };

    if (n > 0)
        CPU(parallel)(r, rows, rows * n, softmax_part, &a);
    return TP_OK;
}

/* ---- backward ----------------------------------------------------------------------------------------------------------- */

/* dx = y (dy - s), s = sum dy y;  of the logarithm dx = dy - e^y s, s = sum dy */
static void grad_chunk(bool log, float *dx, const float *dy, const float *y, float s, int64_t n)
{
    if (log) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = dy[i] - tpi_vexp(y[i]) * s;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = y[i] * (dy[i] - s);
    }
}

static void grad_row_f32(const softmax_args *a, int64_t at)
{
    float   ybuf[TPI_CHUNK], dybuf[TPI_CHUNK], dxbuf[TPI_CHUNK];
    int64_t step = a->t == TP_F32 ? a->n : TPI_CHUNK;
    double  s = 0.0;

    for (int64_t j = 0; j < a->n; j += step) {
        int64_t      k = tpi_min64(step, a->n - j);
        const float *dy = tpi_in_f32(dybuf, a->t, a->dy, at + j, 1, k);

        if (a->log)
            s += tpi_sum_of(TPI_OF_X, dy, NULL, 0.0f, k);
        else
            s += tpi_sum_of(TPI_OF_PRODUCT, dy, tpi_in_f32(ybuf, a->t, a->in, at + j, 1, k), 0.0f, k);
    }
    for (int64_t j = 0; j < a->n; j += step) {
        int64_t      k = tpi_min64(step, a->n - j);
        const float *dy = tpi_in_f32(dybuf, a->t, a->dy, at + j, 1, k), *y = tpi_in_f32(ybuf, a->t, a->in, at + j, 1, k);
        float       *dx = tpi_out_f32(dxbuf, a->t, a->out, at + j, 1);

        grad_chunk(a->log, dx, dy, y, (float)s, k);
        tpi_done_f32(dx, a->t, a->out, at + j, 1, k);
    }
}

static void grad_row_f64(bool log, double *dx, const double *dy, const double *y, int64_t n)
{
    double s = 0;

    for (int64_t i = 0; i < n; i++)
        s += log ? dy[i] : dy[i] * y[i];
    for (int64_t i = 0; i < n; i++)
        dx[i] = log ? dy[i] - exp(y[i]) * s : y[i] * (dy[i] - s);
}

static void grad_part(const void *args, int64_t begin, int64_t end)
{
    const softmax_args *a = args;

    for (int64_t at = begin * a->n; at < end * a->n; at += a->n) {
        if (a->t == TP_F64)
            grad_row_f64(a->log, (double *)a->out + at, (const double *)a->dy + at, (const double *)a->in + at, a->n);
        else
            grad_row_f32(a, at);
    }
}

tp_code CPU(softmax_grad)(const tpi_run *r, bool log, tp_dtype t, void *dx, const void *dy, const void *y, int64_t rows,
                          int64_t n)
{
    softmax_args a = { .log = log, .t = t, .out = dx, .in = y, .dy = dy, .n = n };

    if (n > 0)
        CPU(parallel)(r, rows, rows * n, grad_part, &a);
    return TP_OK;
}
