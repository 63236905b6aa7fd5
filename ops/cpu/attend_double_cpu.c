/*
 * attend_double_cpu.c - attention in f64, for gradient checks: row by row, correct and parallel, no more.
 */
#include "ops/cpu/attend.h"

#include "core/internal.h"
#include "ops/cpu/span.h"

#include <math.h>
#include <omp.h>

/* The vectors of one row: q, o, dout, dq of (b, s, h); key j of its key head g. */
typedef struct {
    const tpi_attn *a;
    int64_t         b, s, h, g;
    int32_t         low, high;
    double         *lse;
} row;

static row row_at(const tpi_attn *a, int64_t b, int64_t s, int64_t h)
{
    row      r = { .a = a, .b = b, .s = s, .h = h, .g = h / (a->heads / a->kv_heads) };
    tpi_seen seen = { &r.low, &r.high };

    CPU(attend_seen)(a, b, s, 1, 1, &seen);
    r.lse = (double *)(void *)a->lse + (b * a->heads + h) * a->sq + s;
    return r;
}

static const double *key(const row *r, const void *x, const int64_t s3[3], int64_t j)
{
    return (const double *)x + tpi_vec(s3, r->b, j, r->g);
}

static double dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

static void add(double *y, double f, const double *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += f * x[i];
}

static double score(const row *r, int64_t j)
{
    const tpi_attn *a = r->a;

    return a->scale * dot((const double *)a->q + tpi_vec(a->qs, r->b, r->s, r->h), key(r, a->k, a->ks, j), a->dim);
}

/* s: sk numbers of scratch */
static void forward_row(const row *r, double *s)
{
    const tpi_attn *a = r->a;
    double         *o = (double *)a->o + tpi_vec(a->os, r->b, r->s, r->h), top = -INFINITY, sum = 0;

    for (int64_t d = 0; d < a->dim; d++)
        o[d] = 0;
    for (int64_t j = r->low; j < r->high; j++) {
        s[j] = score(r, j);
        top = s[j] > top ? s[j] : top;
    }
    for (int64_t j = r->low; j < r->high; j++)
        sum += s[j] = exp(s[j] - top);
    for (int64_t j = r->low; j < r->high; j++)
        add(o, s[j] / sum, key(r, a->v, a->vs, j), a->dim);
    *r->lse = r->low < r->high ? top + log(sum) : -INFINITY;
}

tp_code CPU(attend_f64)(const tpi_run *r, const tpi_attn *a)
{
    size_t  size = (size_t)(a->sk > 0 ? a->sk : 1);
    double *s = tpi_alloc(NULL, size * (size_t)r->threads, sizeof *s);

    if (s == NULL)
        return TP_ENOMEM;
#pragma omp parallel for num_threads(r->threads) \
    schedule(dynamic) if (a->batch * a->heads * a->sq * a->sk >= TPI_PARALLEL_MIN / 8)
    for (int64_t i = 0; i < a->batch * a->heads * a->sq; i++) {
        row one = row_at(a, i / (a->heads * a->sq), i % a->sq, i / a->sq % a->heads);

        forward_row(&one, s + size * (size_t)omp_get_thread_num());
    }
    tpi_free(s);
    return TP_OK;
}

/* dq of a row, and what it adds to dk and dv of the keys it sees */
static void backward_row(const row *r)
{
    const tpi_attn *a = r->a;
    const double   *q = (const double *)a->q + tpi_vec(a->qs, r->b, r->s, r->h);
    const double   *dout = (const double *)a->dout + tpi_vec(a->dos, r->b, r->s, r->h);
    const double   *o = (const double *)a->o + tpi_vec(a->os, r->b, r->s, r->h);
    double         *dq = (double *)a->dq + tpi_vec(a->dqs, r->b, r->s, r->h), mean = dot(dout, o, a->dim);

    for (int64_t d = 0; d < a->dim; d++)
        dq[d] = 0;
    for (int64_t j = r->low; j < r->high; j++) {
        double p = exp(score(r, j) - *r->lse), ds = a->scale * p * (dot(dout, key(r, a->v, a->vs, j), a->dim) - mean);

        add(dq, ds, key(r, a->k, a->ks, j), a->dim);
        add((double *)a->dk + tpi_vec(a->dks, r->b, j, r->g), ds, q, a->dim);
        add((double *)a->dv + tpi_vec(a->dvs, r->b, j, r->g), p, dout, a->dim);
    }
}

static void backward_head(const tpi_attn *a, int64_t b, int64_t g)
{
    int64_t group = a->heads / a->kv_heads;

    for (int64_t j = 0; j < a->sk; j++) {
        for (int64_t d = 0; d < a->dim; d++) {
            ((double *)a->dk)[tpi_vec(a->dks, b, j, g) + d] = 0;
            ((double *)a->dv)[tpi_vec(a->dvs, b, j, g) + d] = 0;
        }
    }
    for (int64_t h = g * group; h < (g + 1) * group; h++) {
        for (int64_t s = 0; s < a->sq; s++) {
            row one = row_at(a, b, s, h);

            backward_row(&one);
        }
    }
}

tp_code CPU(attend_grad_f64)(const tpi_run *r, const tpi_attn *a)
{
#pragma omp parallel for num_threads(r->threads) \
    schedule(dynamic) if (a->batch * a->heads * a->sq * a->sk >= TPI_PARALLEL_MIN / 8)
    for (int64_t i = 0; i < a->batch * a->kv_heads; i++)
        backward_head(a, i / a->kv_heads, i % a->kv_heads);
    return TP_OK;
}
