/*
 * sets_cpu.c - normalisation over sets of rows: batchnorm, groupnorm.  Statistics are taken chunk by chunk, each chunk's
 * own mean and squares merged into those before it (Chan, Golub, LeVeque 1979): x is read once.  What follows is y = (x -
 * m) p + b and dx = dy p + (x - m) q + r, with a small table of numbers per channel (batch) or per row (groups).
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/span.h"
#include "ops/cpu/sums.h"

#include "core/number.h"

#include <math.h>
#include <string.h>

typedef struct {
    const tpi_sets *g;
    void           *out, *mean, *var;
    const void     *x, *dy;
    const double   *m, *p, *q, *r; /* tables; b is r in forward */
    double         *sum, *dot;     /* of each row: of dy, of dy (x - m) */
} set_args;

static tp_dtype wide_of(const tpi_sets *g)
{
    return g->t == TP_F64 ? TP_F64 : TP_F32;
}

static int64_t sets(const tpi_sets *g)
{
    return g->groups == 0 ? g->c : g->n * g->groups;
}

/* Rows of a set: first, first + step, ... */
static int64_t rows_of(const tpi_sets *g, int64_t k, int64_t *first, int64_t *step)
{
    *first = g->groups == 0 ? k : k * (g->c / g->groups);
    *step = g->groups == 0 ? g->c : 1;
    return g->groups == 0 ? g->n : g->c / g->groups;
}

/* Entries of a table, and that of row q. */
static int64_t entries(const tpi_sets *g)
{
    return g->groups == 0 ? g->c : g->n * g->c;
}

static int64_t entry(const tpi_sets *g, int64_t q)
{
    return g->groups == 0 ? q % g->c : q;
}

static int64_t set_of(const tpi_sets *g, int64_t q)
{
    return g->groups == 0 ? q % g->c : q / (g->c / g->groups);
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

typedef struct {
    double n, mean, squares; /* squares: of the differences to the mean */
} moments;

static void merge(moments *a, double n, double mean, double squares)
{
    double d = mean - a->mean, all = a->n + n;

    a->squares += squares + d * d * (a->n * n / all);
    a->mean += d * (n / all);
    a->n = all;
}

static void take_f32(moments *a, const float *x, int64_t n)
{
    double mean = tpi_sum_of(TPI_OF_X, x, NULL, 0.0f, n) / (double)n;
    double rest = mean - (double)(float)mean; /* the squares are taken around a float */

    merge(a, (double)n, mean, tpi_sum_of(TPI_OF_CENTRED, x, NULL, (float)mean, n) - rest * rest * (double)n);
}

static void take_f64(moments *a, const double *x, int64_t n)
{
    double sum = 0, squares = 0, mean;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    mean = sum / (double)n;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    merge(a, (double)n, mean, squares);
}

/* Elements from `at` on, `stride` apart. */
static void take(moments *a, const tpi_sets *g, const void *x, int64_t at, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t k = tpi_min64(TPI_CHUNK, n - i);
        float   f[TPI_CHUNK];
        double  d[TPI_CHUNK];

        if (g->t == TP_F64)
            take_f64(a, tpi_in_f64(d, g->t, x, at + i * stride, stride, k), k);
        else
            take_f32(a, tpi_in_f32(f, g->t, x, at + i * stride, stride, k), k);
    }
}

/* One number of each of many rows at a time where rows are single elements, and a whole group where its rows adjoin. */
static void stats_part(const void *args, int64_t begin, int64_t end)
{
    const set_args *a = args;
    const tpi_sets *g = a->g;

    for (int64_t k = begin; k < end; k++) {
        moments m = { 0, 0, 0 };
        int64_t first, step, rows = rows_of(g, k, &first, &step);

        if (step == 1)
            take(&m, g, a->x, first * g->s, 1, rows * g->s);
        else if (g->s == 1)
            take(&m, g, a->x, first, step, rows);
        else
            for (int64_t i = 0; i < rows; i++)
                take(&m, g, a->x, (first + i * step) * g->s, 1, g->s);
        tpi_store(wide_of(g), a->mean, k, m.mean);
        tpi_store(wide_of(g), a->var, k, m.n > 0 ? m.squares / m.n : 0);
    }
}

tp_code CPU(set_stats)(const tpi_run *r, const tpi_sets *g, void *mean, void *var, const void *x)
{
    set_args a = { .g = g, .mean = mean, .var = var, .x = x };

    CPU(parallel)(r, sets(g), g->n * g->c * g->s, stats_part, &a);
    return TP_OK;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void norm_f32(float *y, const float *x, float m, float p, float b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - m) * p + b;
}

static void norm_f64(double *y, const double *x, double m, double p, double b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - m) * p + b;
}

/* Rows of several elements: a number of each table for all of them. */
static void norm_row(const set_args *a, int64_t q)
{
    const tpi_sets *g = a->g;
    int64_t         e = entry(g, q);

    for (int64_t i = q * g->s; i < (q + 1) * g->s; i += TPI_CHUNK) {
        int64_t n = tpi_min64(TPI_CHUNK, (q + 1) * g->s - i);

        if (g->t == TP_F64) {
            norm_f64((double *)a->out + i, (const double *)a->x + i, a->m[e], a->p[e], a->r[e], n);
        } else {
            float in[TPI_CHUNK], buf[TPI_CHUNK], *y = tpi_out_f32(buf, g->t, a->out, i, 1);

            norm_f32(y, tpi_in_f32(in, g->t, a->x, i, 1, n), (float)a->m[e], (float)a->p[e], (float)a->r[e], n);
            tpi_done_f32(y, g->t, a->out, i, 1, n);
        }
    }
}

/* Rows of one element: images as vectors along the tables. */
static void norm_flat(const set_args *a, int64_t image)
{
    const tpi_sets *g = a->g;

    for (int64_t j = 0; j < g->c; j += TPI_CHUNK) {
        int64_t       n = tpi_min64(TPI_CHUNK, g->c - j), at = image * g->c + j, e = g->groups == 0 ? j : at;
        double        in[TPI_CHUNK], buf[TPI_CHUNK], *y = tpi_out_f64(buf, g->t, a->out, at, 1);
        const double *x = tpi_in_f64(in, g->t, a->x, at, 1, n), *m = a->m + e, *p = a->p + e, *b = a->r + e;

#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m[i]) * p[i] + b[i];
        tpi_done_f64(y, g->t, a->out, at, 1, n);
    }
}

static void norm_part(const void *args, int64_t begin, int64_t end)
{
    const set_args *a = args;

    for (int64_t i = begin; i < end; i++) {
        if (a->g->s == 1)
            norm_flat(a, i);
        else
            norm_row(a, i);
    }
}

tp_code CPU(set_norm)(const tpi_run *r, const tpi_sets *g, void *y, const void *x, const void *mean, const void *var,
                      const void *w, const void *b)
{
    int64_t  n = entries(g);
    void    *own;
    double  *t = tpi_scratch(&(tpi_run){ .ws = NULL }, (size_t)n * 3 * sizeof(double), &own);
    set_args a = { .g = g, .out = y, .x = x, .m = t, .p = t + n, .r = t + 2 * n };

    if (t == NULL)
        return TP_ENOMEM;
    for (int64_t e = 0; e < n; e++) {
        int64_t k = set_of(g, e), ch = e % g->c;

        t[e] = tpi_load(wide_of(g), mean, k);
        t[n + e] = (w ? tpi_load(g->wt, w, ch) : 1) / sqrt(tpi_load(wide_of(g), var, k) + g->eps);
        t[2 * n + e] = b ? tpi_load(g->wt, b, ch) : 0;
    }
    CPU(parallel)(r, g->s == 1 ? g->n : g->n * g->c, g->n * g->c * g->s, norm_part, &a);
    tpi_free(own);
    return TP_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

static void sums_f64(const double *dy, const double *x, double m, int64_t n, double *sum, double *dot)
{
    double s = 0, d = 0;

#pragma omp simd reduction(+ : s, d)
    for (int64_t i = 0; i < n; i++) {
        s += dy[i];
        d += dy[i] * (x[i] - m);
    }
    *sum += s;
    *dot += d;
}

/* sum dy and sum dy (x - m) of the rows [begin, end); those of rows of one element come from elsewhere. */
static void sums_part(const void *args, int64_t begin, int64_t end)
{
    const set_args *a = args;
    const tpi_sets *g = a->g;

    for (int64_t q = begin; q < end; q++) {
        double m = a->m[entry(g, q)], sum = 0, dot = 0;

        for (int64_t i = q * g->s; i < (q + 1) * g->s; i += TPI_CHUNK) {
            int64_t n = tpi_min64(TPI_CHUNK, (q + 1) * g->s - i);
            float   dbuf[TPI_CHUNK], xbuf[TPI_CHUNK];

            if (g->t == TP_F64) {
                sums_f64((const double *)a->dy + i, (const double *)a->x + i, m, n, &sum, &dot);
            } else {
                const float *dy = tpi_in_f32(dbuf, g->t, a->dy, i, 1, n), *x = tpi_in_f32(xbuf, g->t, a->x, i, 1, n);

                sum += tpi_sum_of(TPI_OF_X, dy, NULL, 0.0f, n);
                dot += tpi_sum_of(TPI_OF_CENTRED_PRODUCT, x, dy, (float)m, n);
            }
        }
        a->sum[q] = sum;
        a->dot[q] = dot;
    }
}

/* Rows of one element, sets over the batch: columns [begin, end) of all images are added up at once. */
static void columns_part(const void *args, int64_t begin, int64_t end)
{
    const set_args *a = args;
    const tpi_sets *g = a->g;

    for (int64_t i = 0; i < g->n; i++)
        for (int64_t j = begin; j < end; j += TPI_CHUNK) {
            int64_t       n = tpi_min64(TPI_CHUNK, end - j), at = i * g->c + j;
            double        dbuf[TPI_CHUNK], xbuf[TPI_CHUNK], *sum = a->sum + j, *dot = a->dot + j;
            const double *dy = tpi_in_f64(dbuf, g->t, a->dy, at, 1, n), *x = tpi_in_f64(xbuf, g->t, a->x, at, 1, n);
            const double *m = a->m + j;

#pragma omp simd
            for (int64_t l = 0; l < n; l++) {
                sum[l] += dy[l];
                dot[l] += dy[l] * (x[l] - m[l]);
            }
        }
}

static void grad_f32(float *dx, const float *dy, const float *x, const float t[4], int64_t n)
{
    float m = t[0], p = t[1], q = t[2], r = t[3];

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * p + ((x[i] - m) * q + r);
}

static void grad_f64(double *dx, const double *dy, const double *x, const double t[4], int64_t n)
{
    double m = t[0], p = t[1], q = t[2], r = t[3];

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * p + ((x[i] - m) * q + r);
}

static void grad_row(const set_args *a, int64_t row)
{
    const tpi_sets *g = a->g;
    int64_t         e = entry(g, row);
    double          t[4] = { a->m[e], a->p[e], a->q[e], a->r[e] };
    float           f[4] = { (float)t[0], (float)t[1], (float)t[2], (float)t[3] };

    for (int64_t i = row * g->s; i < (row + 1) * g->s; i += TPI_CHUNK) {
        int64_t n = tpi_min64(TPI_CHUNK, (row + 1) * g->s - i);

        if (g->t == TP_F64) {
            grad_f64((double *)a->out + i, (const double *)a->dy + i, (const double *)a->x + i, t, n);
        } else {
            float dbuf[TPI_CHUNK], xbuf[TPI_CHUNK], buf[TPI_CHUNK], *dx = tpi_out_f32(buf, g->t, a->out, i, 1);

            grad_f32(dx, tpi_in_f32(dbuf, g->t, a->dy, i, 1, n), tpi_in_f32(xbuf, g->t, a->x, i, 1, n), f, n);
            tpi_done_f32(dx, g->t, a->out, i, 1, n);
        }
    }
}

static void grad_flat(const set_args *a, int64_t image)
{
    const tpi_sets *g = a->g;

    for (int64_t j = 0; j < g->c; j += TPI_CHUNK) {
        int64_t       n = tpi_min64(TPI_CHUNK, g->c - j), at = image * g->c + j, e = g->groups == 0 ? j : at;
        double        dbuf[TPI_CHUNK], xbuf[TPI_CHUNK], buf[TPI_CHUNK], *dx = tpi_out_f64(buf, g->t, a->out, at, 1);
        const double *dy = tpi_in_f64(dbuf, g->t, a->dy, at, 1, n), *x = tpi_in_f64(xbuf, g->t, a->x, at, 1, n);
        const double *m = a->m + e, *p = a->p + e, *q = a->q + e, *r = a->r + e;

#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = dy[i] * p[i] + ((x[i] - m[i]) * q[i] + r[i]);
        tpi_done_f64(dx, g->t, a->out, at, 1, n);
    }
}

static void grad_part(const void *args, int64_t begin, int64_t end)
{
    const set_args *a = args;

    for (int64_t i = begin; i < end; i++) {
        if (a->g->s == 1)
            grad_flat(a, i);
        else
            grad_row(a, i);
    }
}

/* Whether sums lie by channel, added up over the images already. */
static bool by_columns(const tpi_sets *g)
{
    return g->groups == 0 && g->s == 1;
}

/* dw[c] += sum dy (x - m) rstd, db[c] += sum dy */
static void channel_grads(const set_args *a, void *dw, void *db)
{
    const tpi_sets *g = a->g;
    tp_dtype        wide = wide_of(g);

    for (int64_t ch = 0; ch < g->c; ch++) {
        double sw = 0, sb = 0;

        for (int64_t i = 0; i < (by_columns(g) ? 1 : g->n); i++) {
            int64_t q = i * g->c + ch;

            sb += a->sum[q];
            sw += a->dot[q] / sqrt(tpi_load(wide, a->var, set_of(g, q)) + g->eps);
        }
        if (dw != NULL)
            tpi_store(wide, dw, ch, tpi_load(wide, dw, ch) + sw);
        if (db != NULL)
            tpi_store(wide, db, ch, tpi_load(wide, db, ch) + sb);
    }
}

/*
 * With z = (x - m) rstd and h = dy w:  dx = rstd (h - avg h - z avg(h z)), so p = rstd w, q = -rstd^2 avg(h z), r = -rstd
 * avg h.  Fills the tables' parts p, q, r of set k.
 */
static void coefficients(const set_args *a, double *t, int64_t k, const void *w, bool fixed)
{
    const tpi_sets *g = a->g;
    int64_t         n = entries(g), first, step, rows = rows_of(g, k, &first, &step);
    double          rstd = 1 / sqrt(tpi_load(wide_of(g), a->var, k) + g->eps), h = 0, hz = 0, count = (double)(rows * g->s);

    for (int64_t i = 0; !fixed && i < (by_columns(g) ? 1 : rows); i++) {
        int64_t row = first + i * step;
        double  scale = w ? tpi_load(g->wt, w, row % g->c) : 1;

        h += scale * a->sum[row] / count;
        hz += scale * a->dot[row] * rstd / count;
    }
    for (int64_t i = 0; i < (g->groups == 0 ? 1 : rows); i++) {
        int64_t e = entry(g, first + i);

        t[n + e] = rstd * (w ? tpi_load(g->wt, w, e % g->c) : 1);
        t[2 * n + e] = -rstd * rstd * hz;
        t[3 * n + e] = -rstd * h;
    }
}

/* Sums of rows, or of columns where rows are single elements. */
static void sum_up(const tpi_run *r, const set_args *a)
{
    const tpi_sets *g = a->g;

    if (by_columns(g))
        CPU(parallel)(r, g->c, g->n * g->c, columns_part, a);
    else
        CPU(parallel)(r, g->n * g->c, g->n * g->c * g->s, sums_part, a);
}

tp_code CPU(set_norm_grad)(const tpi_run *r, const tpi_sets *g, void *dx, void *dw, void *db, const void *dy,
                           const void *x, const void *mean, const void *var, const void *w, bool fixed)
{
    int64_t  n = entries(g), rows = by_columns(g) ? g->c : g->n * g->c;
    void    *own;
    double  *t = tpi_scratch(&(tpi_run){ .ws = NULL }, (size_t)(n * 4 + rows * 2) * sizeof(double), &own);
    set_args a = { .g = g, .out = dx, .x = x, .dy = dy, .m = t, .p = t + n, .q = t + 2 * n, .r = t + 3 * n };

    if (t == NULL)
        return TP_ENOMEM;
    a.sum = t + 4 * n;
    a.dot = a.sum + rows;
    a.var = (void *)(uintptr_t)var; /* read */
    memset(a.sum, 0, (size_t)rows * 2 * sizeof(double));
    for (int64_t e = 0; e < n; e++)
        t[e] = tpi_load(wide_of(g), mean, set_of(g, e));
    if (!fixed || dw != NULL || db != NULL)
        sum_up(r, &a);
    channel_grads(&a, dw, db);
    for (int64_t k = 0; dx != NULL && k < sets(g); k++)
        coefficients(&a, t, k, w, fixed);
    if (dx != NULL)
        CPU(parallel)(r, g->s == 1 ? g->n : g->n * g->c, g->n * g->c * g->s, grad_part, &a);
    tpi_free(own);
    return TP_OK;
}
