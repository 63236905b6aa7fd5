/*
 * loss_cpu.c - cross-entropy: a row is read once for its maximum and sum together, and once more for the gradient.
 */
#include "ops/cpu/cpu.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/span.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_dtype       t;
    void          *loss, *dx;
    const void    *x;
    const int32_t *target;
    int64_t        n;
    double         smoothing, gscale;
} args;

/* Of a row so far: the maximum, sum of e^(x - top), sum of x. */
typedef struct {
    double top, sum, total;
} moments;

static float top_of(const float *x, int64_t n)
{
    tpi_vf  v = tpi_vset(-INFINITY);
    float   lane[TPI_VL], top = -INFINITY;
    int64_t i = 0;

    for (; i + TPI_VL <= n; i += TPI_VL)
        v = tpi_vmax(tpi_vload(x + i), v);
    tpi_vstore(lane, v);
    for (int j = 0; j < TPI_VL; j++)
        top = lane[j] > top ? lane[j] : top;
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* v with what lies beyond n elements replaced; n > 0 */
static inline tpi_vf with_tail(const float *x, int64_t n, float beyond)
{
    float v[TPI_VL];

    for (int64_t i = 0; i < TPI_VL; i++)
        v[i] = i < n ? x[i] : beyond;
    return tpi_vload(v);
}

/* sum of e^(x - shift) and of x over a chunk */
static void sums_of(const float *x, int64_t n, float shift, moments *m)
{
    tpi_vf  e[2] = { { 0 }, { 0 } }, total = { 0 };
    int64_t i = 0;

    for (; i + 2 * TPI_VL <= n; i += 2 * TPI_VL) {
        tpi_vf a = tpi_vload(x + i), b = tpi_vload(x + i + TPI_VL);

        e[0] += tpi_vexpv(a - shift);
        e[1] += tpi_vexpv(b - shift);
        total += a + b;
    }
    for (; i < n; i += TPI_VL) {
        e[0] += tpi_vexpv(with_tail(x + i, n - i, -INFINITY) - shift);
        total += with_tail(x + i, n - i, 0);
    }
    m->sum += (double)tpi_vsum(e[0] + e[1]);
    m->total += (double)tpi_vsum(total);
}

/* -inf is no place to measure from: a chunk of nothing else adds 0, and NaN stays NaN. */
static double base_of(double top)
{
    return top == -INFINITY ? 0 : top;
}

static moments moments_f32(const args *a, int64_t at)
{
    moments m = { -INFINITY, 0, 0 };
    float   buf[TPI_CHUNK];

    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t      part = tpi_min64(a->n - j, TPI_CHUNK);
        const float *x = tpi_in_f32(buf, a->t, a->x, at + j, 1, part);
        double       top = (double)top_of(x, part);

        if (top > m.top) {
            m.sum *= exp(m.top - top);
            m.top = top;
        }
        sums_of(x, part, (float)base_of(m.top), &m);
    }
    return m;
}

/* dx = (e^(x - top) / sum - s / n) gscale, and the target apart */
static void grad_f32(const args *a, int64_t at, int64_t target, const moments *m)
{
    float  buf[TPI_CHUNK], out[TPI_CHUNK], shift = (float)m->top;
    tpi_vf scale = tpi_vset((float)(a->gscale / m->sum)),
           even = tpi_vset((float)(a->gscale * a->smoothing / (double)a->n));
    double p = exp(tpi_load(a->t, a->x, at + target) - m->top) / m->sum; /* before dx, which may be x, is written */

    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t      part = tpi_min64(a->n - j, TPI_CHUNK), i = 0;
        const float *x = tpi_in_f32(buf, a->t, a->x, at + j, 1, part);

        for (; i + TPI_VL <= part; i += TPI_VL)
            tpi_vstore(out + i, tpi_vexpv(tpi_vload(x + i) - shift) * scale - even);
        if (i < part) /* out is longer than a chunk's end: TPI_CHUNK is a multiple of TPI_VL */
            tpi_vstore(out + i, tpi_vexpv(with_tail(x + i, part - i, 0) - shift) * scale - even);
        CPU(store_f32)(a->t, a->dx, at + j, 1, part, out);
    }
    tpi_store(a->t, a->dx, at + target, (p - (1 - a->smoothing) - a->smoothing / (double)a->n) * a->gscale);
}

/* ---- f64, for gradient checks
 * ---------------------------------------------------------------------------------------- */

static moments moments_f64(const double *x, int64_t n)
{
    moments m = { -INFINITY, 0, 0 };

    for (int64_t j = 0; j < n; j++)
        m.top = x[j] > m.top ? x[j] : m.top;
    for (int64_t j = 0; j < n; j++) {
        m.sum += exp(x[j] - base_of(m.top));
        m.total += x[j];
    }
    return m;
}

static void grad_f64(const args *a, int64_t at, int64_t target, const moments *m)
{
    const double *x = (const double *)a->x + at;
    double       *dx = (double *)a->dx + at;

    for (int64_t j = 0; j < a->n; j++) {
        double want = (j == target ? 1 - a->smoothing : 0) + a->smoothing / (double)a->n;

        dx[j] = (exp(x[j] - m->top) / m->sum - want) * a->gscale;
    }
}

/* ---- rows
 * ------------------------------------------------------------------------------------------------------------ */

static void store_loss(const args *a, int64_t row, double loss)
{
    tpi_store(a->t == TP_F64 ? TP_F64 : TP_F32, a->loss, row, loss);
}

static void one_row(const args *a, int64_t row)
{
    int64_t at = row * a->n, target = a->target[row];
    moments m;
    double  lse, xt, loss;

    if (target < 0) {
        store_loss(a, row, 0);
        if (a->dx != NULL) /* 0 has the same bits in every dtype */
            memset(tpi_at_out(a->dx, a->t, at), 0, (size_t)(a->n * tpi_size_of(a->t)));
        return;
    }
    m = a->t == TP_F64 ? moments_f64((const double *)a->x + at, a->n) : moments_f32(a, at);
    lse = m.top == -INFINITY ? NAN : m.top + log(m.sum);
    xt = tpi_load(a->t, a->x, at + target);
    loss = (1 - a->smoothing) * (lse - xt);
    if (a->smoothing > 0) /* only where it counts: 0 times inf is NaN */
        loss += a->smoothing * (lse - m.total / (double)a->n);
    store_loss(a, row, loss);
    if (a->dx == NULL)
        return;
    if (m.top == -INFINITY)
        m.sum = NAN;
    if (a->t == TP_F64)
        grad_f64(a, at, target, &m);
    else
        grad_f32(a, at, target, &m);
}

static void rows_of(const void *p, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++)
        one_row(p, i);
}

tp_code CPU(cross_entropy)(const tpi_run *r, tp_dtype t, void *loss, void *dx, const void *x, const int32_t *target,
                           int64_t rows, int64_t n, double smoothing, double gscale)
{
    args a = { t, loss, dx, x, target, n, smoothing, gscale };

    for (int64_t i = 0; i < rows; i++)
        if (target[i] >= n)
            return TP_EARG;
    CPU(parallel)(r, rows, rows * n, rows_of, &a);
    return TP_OK;
}
