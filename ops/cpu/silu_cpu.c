/*
 * silu_cpu.c - y = silu(g) u, the gate of SwiGLU, and its gradients.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

typedef struct {
    tp_dtype    t;
    void       *y, *dg, *du;
    const void *dy, *g, *u;
    int64_t     n;
} silu_args;

static void forward_f32(float *y, const float *g, const float *u, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = g[i] * tpi_vsigmoid(g[i]) * u[i];
}

static double sigmoid(double x)
{
    double e = exp(-fabs(x));

    return (x < 0 ? e : 1.0) / (1.0 + e);
}

static void forward_part(const void *args, int64_t begin, int64_t end)
{
    const silu_args *s = args;
    float            ybuf[TPI_CHUNK], gbuf[TPI_CHUNK], ubuf[TPI_CHUNK];
    int64_t          step = s->t == TP_F32 ? TPI_PIECE : TPI_CHUNK, last = tpi_min64(end * TPI_PIECE, s->n);

    for (int64_t i = begin * TPI_PIECE; i < last; i += step) {
        int64_t m = tpi_min64(step, last - i);

        if (s->t == TP_F64) {
            const double *g = (const double *)s->g + i, *u = (const double *)s->u + i;

            for (int64_t j = 0; j < m; j++)
                ((double *)s->y)[i + j] = g[j] * sigmoid(g[j]) * u[j];
        } else {
            float *y = tpi_out_f32(ybuf, s->t, s->y, i, 1);

            forward_f32(y, tpi_in_f32(gbuf, s->t, s->g, i, 1, m), tpi_in_f32(ubuf, s->t, s->u, i, 1, m), m);
            tpi_done_f32(y, s->t, s->y, i, 1, m);
        }
    }
}

tp_code CPU(silu_mul)(const tpi_run *r, tp_dtype t, void *y, const void *g, const void *u, int64_t n)
{
    silu_args s = { .t = t, .y = y, .g = g, .u = u, .n = n };

    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, forward_part, &s);
    return TP_OK;
}

/* With s = sigmoid(g):  dg = dy u s (1 + g (1 - s)),  du = dy g s.  1 - s from the exponential, not by subtraction. */
static void backward_f32(float *dg, float *du, const float *dy, const float *g, const float *u, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float x = g[i], d = dy[i], e = tpi_vexp(-fabsf(x)), q = 1.0f / (1.0f + e), eq = e * q;
        float s = x < 0.0f ? eq : q, rest = x < 0.0f ? q : eq, a = x * s, w = u[i];

        dg[i] = d * w * tpi_fma(a, rest, s);
        du[i] = d * a;
    }
}

static void backward_f64(const silu_args *s, int64_t first, int64_t n)
{
    const double *dy = s->dy, *g = s->g, *u = s->u;

    for (int64_t i = first; i < first + n; i++) {
        double a = sigmoid(g[i]), slope = a * (1 + g[i] * sigmoid(-g[i])), d = dy[i], w = u[i], x = g[i];

        ((double *)s->dg)[i] = d * w * slope;
        ((double *)s->du)[i] = d * x * a;
    }
}

static void backward_part(const void *args, int64_t begin, int64_t end)
{
    const silu_args *s = args;
    float            dgbuf[TPI_CHUNK], dubuf[TPI_CHUNK], dybuf[TPI_CHUNK], gbuf[TPI_CHUNK], ubuf[TPI_CHUNK];
    int64_t          step = s->t == TP_F32 ? TPI_PIECE : TPI_CHUNK, last = tpi_min64(end * TPI_PIECE, s->n);

    for (int64_t i = begin * TPI_PIECE; i < last; i += step) {
        int64_t m = tpi_min64(step, last - i);

        if (s->t == TP_F64) {
            backward_f64(s, i, m);
        } else {
            float *dg = tpi_out_f32(dgbuf, s->t, s->dg, i, 1), *du = tpi_out_f32(dubuf, s->t, s->du, i, 1);

            backward_f32(dg, du, tpi_in_f32(dybuf, s->t, s->dy, i, 1, m), tpi_in_f32(gbuf, s->t, s->g, i, 1, m),
                         tpi_in_f32(ubuf, s->t, s->u, i, 1, m), m);
            tpi_done_f32(dg, s->t, s->dg, i, 1, m);
            tpi_done_f32(du, s->t, s->du, i, 1, m);
        }
    }
}

tp_code CPU(silu_mul_grad)(const tpi_run *r, tp_dtype t, void *dg, void *du, const void *dy, const void *g, const void *u,
                           int64_t n)
{
    silu_args s = { .t = t, .dg = dg, .du = du, .dy = dy, .g = g, .u = u, .n = n };

    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, backward_part, &s);
    return TP_OK;
}
