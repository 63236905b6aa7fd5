/*
 * norm_cpu.c - layer norm and root-mean-square norm over rows.  Rows go to threads whole; the gradients of w and b go by
 * columns, so that their sums do not depend on the number of threads.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/sums.h"

typedef struct {
    tp_dtype    t, wt;
    void       *y, *h, *mean, *rstd;         /* forward */
    void       *dx, *dw, *db;                /* backward */
    const void *x, *res, *w, *b, *dy, *dh;
    const void *saved_mean, *saved_rstd;     /* backward: mean is NULL for the RMS norm */
    double      eps;
    int64_t     rows, n, width;              /* width: columns of an item of dw */
    bool        centred;
} norm_args;

/* Elements done at a time: a whole row where nothing has to be converted. */
static int64_t step_of(const norm_args *a)
{
    return a->t == TP_F32 && (a->wt == TP_F32 || (a->w == NULL && a->b == NULL)) ? a->n : TPI_CHUNK;
}

/* A statistic of row i, in the dtype that goes with t */
static void store_stat(const norm_args *a, void *p, int64_t i, double v)
{
    if (a->t == TP_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

static double load_stat(const norm_args *a, const void *p, int64_t i)
{
    return a->t == TP_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* ---- forward ------------------------------------------------------------------------------------------------------------ */

/* y = (x - m) s w + b; w and b may be NULL */
static void scale_chunk(float *y, const float *x, float m, float s, const float *w, const float *b, int64_t n)
{
    if (w == NULL && b == NULL) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - m) * s;
    } else if (b == NULL) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - m) * s * w[j];
    } else if (w == NULL) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = tpi_fma(x[j] - m, s, b[j]);
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = tpi_fma((x[j] - m) * s, w[j], b[j]);
    }
}

static const float *weights(float *buf, const norm_args *a, const void *w, int64_t j, int64_t n)
{
    return w == NULL ? NULL : tpi_in_f32(buf, a->wt, w, j, 1, n);
}

/* What the row's statistics are made of: sum of x, of (x - m)^2, or of x^2 */
static double row_sum(const norm_args *a, const void *x, int64_t at, tpi_term of, float m)
{
    float   buf[TPI_CHUNK];
    int64_t step = step_of(a);
    double  sum = 0.0;

    for (int64_t j = 0; j < a->n; j += step) {
        int64_t      k = tpi_min64(step, a->n - j);
        const float *v = tpi_in_f32(buf, a->t, x, at + j, 1, k);

        if (of == TPI_OF_X)
            sum += tpi_sum_of(TPI_OF_X, v, NULL, 0.0f, k);
        else if (of == TPI_OF_CENTRED)
            sum += tpi_sum_of(TPI_OF_CENTRED, v, NULL, m, k);
        else
            sum += tpi_sum_of(TPI_OF_SQUARE, v, NULL, 0.0f, k);
    }
    return sum;
}

static void scale_row(const norm_args *a, const void *x, int64_t at, float m, float s)
{
    float   xbuf[TPI_CHUNK], ybuf[TPI_CHUNK], wbuf[TPI_CHUNK], bbuf[TPI_CHUNK];
    int64_t step = step_of(a);

    for (int64_t j = 0; j < a->n; j += step) {
        int64_t      k = tpi_min64(step, a->n - j);
        const float *v = tpi_in_f32(xbuf, a->t, x, at + j, 1, k);
        float       *y = tpi_out_f32(ybuf, a->t, a->y, at + j, 1);

        scale_chunk(y, v, m, s, weights(wbuf, a, a->w, j, k), weights(bbuf, a, a->b, j, k), k);
        tpi_done_f32(y, a->t, a->y, at + j, 1, k);
    }
}

/* h = x + res, rounded: the norm sees what the residual stream holds */
static void add_row(const norm_args *a, int64_t at)
{
    float xbuf[TPI_CHUNK], rbuf[TPI_CHUNK];

    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t      k = tpi_min64(TPI_CHUNK, a->n - j);
        const float *x = tpi_in_f32(xbuf, a->t, a->x, at + j, 1, k), *r = tpi_in_f32(rbuf, a->t, a->res, at + j, 1, k);
        float       *h = tpi_out_f32(xbuf, a->t, a->h, at + j, 1);

#pragma omp simd
        for (int64_t i = 0; i < k; i++)
            h[i] = x[i] + r[i];
        tpi_done_f32(h, a->t, a->h, at + j, 1, k);
    }
}

static void forward_f32(const norm_args *a, int64_t row)
{
    int64_t     at = row * a->n;
    const void *x = a->res != NULL ? a->h : a->x;
    double      m = 0.0, s, count = a->n > 0 ? (double)a->n : 1.0;

    if (a->res != NULL)
        add_row(a, at);
    if (a->centred) {
        m = row_sum(a, x, at, TPI_OF_X, 0.0f) / count;
        s = row_sum(a, x, at, TPI_OF_CENTRED, (float)m);
        store_stat(a, a->mean, row, m);
    } else {
        s = row_sum(a, x, at, TPI_OF_SQUARE, 0.0f);
    }
    s = 1.0 / sqrt(s / count + a->eps);
    store_stat(a, a->rstd, row, s);
    scale_row(a, x, at, (float)m, (float)s);
}

static void forward_f64(const norm_args *a, int64_t row)
{
    const double *x = (const double *)a->x + row * a->n, *w = a->w, *b = a->b, *res = a->res;
    double       *y = (double *)a->y + row * a->n, *h = a->h, m = 0, s = 0;

    if (res != NULL) {
        h += row * a->n;
        for (int64_t j = 0; j < a->n; j++)
            h[j] = x[j] + res[row * a->n + j];
        x = h;
    }
    for (int64_t j = 0; a->centred && j < a->n; j++)
        m += x[j] / (double)a->n;
    for (int64_t j = 0; j < a->n; j++)
        s += (x[j] - m) * (x[j] - m) / (double)a->n;
    s = 1 / sqrt(s + a->eps);
    for (int64_t j = 0; j < a->n; j++)
        y[j] = (x[j] - m) * s * (w != NULL ? w[j] : 1) + (b != NULL ? b[j] : 0);
    if (a->centred)
        store_stat(a, a->mean, row, m);
    store_stat(a, a->rstd, row, s);
}

static void forward_part(const void *args, int64_t begin, int64_t end)
{
    const norm_args *a = args;

    for (int64_t row = begin; row < end; row++) {
        if (a->t == TP_F64)
            forward_f64(a, row);
        else
            forward_f32(a, row);
    }
}

tp_code CPU(layernorm)(const tpi_run *r, tp_dtype t, void *y, void *mean, void *rstd, const void *x, tp_dtype wt, const void *w,
                       const void *b, double eps, int64_t rows, int64_t n)
{
    norm_args a = {
        .t = t, .wt = wt, .y = y, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b, .eps = eps, .rows = rows, .n = n,
        .centred = true,
    };

    CPU(parallel)(r, rows, rows * n, forward_part, &a);
    return TP_OK;
}

tp_code CPU(rmsnorm)(const tpi_run *r, tp_dtype t, void *y, void *rstd, void *h, const void *x, const void *res, tp_dtype wt,
                     const void *w, double eps, int64_t rows, int64_t n)
{
    norm_args a = {
        .t = t, .wt = wt, .y = y, .h = h, .rstd = rstd, .x = x, .res = res, .w = w, .eps = eps, .rows = rows, .n = n,
    };

    CPU(parallel)(r, rows, rows * n, forward_part, &a);
    return TP_OK;
}

/* ---- dx ------------------------------------------------------------------------------------------------------------------ */

/* g = dy w; dy itself where there is no w */
static const float *weighted(float *buf, const float *dy, const float *w, int64_t n)
{
    if (w == NULL)
        return dy;
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        buf[j] = dy[j] * w[j];
    return buf;
}

/* dx = s (g - g_mean) - (x - m) c + dh, with c = s^3 mean(g (x - m)) */
static void dx_chunk(float *dx, const float *g, const float *x, const float *dh, float m, float s, float g_mean, float c,
                     int64_t n)
{
    if (dh == NULL) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            dx[j] = s * (g[j] - g_mean) - (x[j] - m) * c;
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            dx[j] = s * (g[j] - g_mean) - (x[j] - m) * c + dh[j];
    }
}

static void dx_f32(const norm_args *a, int64_t row)
{
    float   xbuf[TPI_CHUNK], ybuf[TPI_CHUNK], wbuf[TPI_CHUNK], gbuf[TPI_CHUNK];
    int64_t at = row * a->n;
    double  m = a->centred ? load_stat(a, a->saved_mean, row) : 0.0, s = load_stat(a, a->saved_rstd, row), sum = 0.0, dot = 0.0;

    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t      k = tpi_min64(TPI_CHUNK, a->n - j);
        const float *x = tpi_in_f32(xbuf, a->t, a->x, at + j, 1, k), *w = weights(wbuf, a, a->w, j, k);
        const float *g = weighted(gbuf, tpi_in_f32(ybuf, a->t, a->dy, at + j, 1, k), w, k);

        if (a->centred)
            sum += tpi_sum_of(TPI_OF_X, g, NULL, 0.0f, k);
        dot += tpi_sum_of(TPI_OF_CENTRED_PRODUCT, x, g, (float)m, k);
    }
    sum /= (double)a->n;
    dot *= s * s * s / (double)a->n;
    for (int64_t j = 0; j < a->n; j += TPI_CHUNK) {
        int64_t      k = tpi_min64(TPI_CHUNK, a->n - j);
        const float *x = tpi_in_f32(xbuf, a->t, a->x, at + j, 1, k), *w = weights(wbuf, a, a->w, j, k);
        const float *g = weighted(gbuf, tpi_in_f32(ybuf, a->t, a->dy, at + j, 1, k), w, k);
        const float *dh = a->dh == NULL ? NULL : tpi_in_f32(wbuf, a->t, a->dh, at + j, 1, k); /* w is used up */
        float       *dx = tpi_out_f32(ybuf, a->t, a->dx, at + j, 1);

        dx_chunk(dx, g, x, dh, (float)m, (float)s, (float)sum, (float)dot, k);
        tpi_done_f32(dx, a->t, a->dx, at + j, 1, k);
    }
}

static void dx_f64(const norm_args *a, int64_t row)
{
    const double *x = (const double *)a->x + row * a->n, *dy = (const double *)a->dy + row * a->n, *w = a->w, *dh = a->dh;
    double       *dx = (double *)a->dx + row * a->n, sum = 0, dot = 0;
    double        m = a->centred ? load_stat(a, a->saved_mean, row) : 0, s = load_stat(a, a->saved_rstd, row);

    for (int64_t j = 0; j < a->n; j++) {
        double g = dy[j] * (w != NULL ? w[j] : 1);

        sum += g / (double)a->n;
        dot += g * (x[j] - m) * s / (double)a->n;
    }
    sum = a->centred ? sum : 0;
    for (int64_t j = 0; j < a->n; j++) {
        double g = dy[j] * (w != NULL ? w[j] : 1);

        dx[j] = s * (g - sum - (x[j] - m) * s * dot) + (dh != NULL ? dh[row * a->n + j] : 0);
    }
}

static void dx_part(const void *args, int64_t begin, int64_t end)
{
    const norm_args *a = args;

    for (int64_t row = begin; row < end; row++) {
        if (a->t == TP_F64)
            dx_f64(a, row);
        else
            dx_f32(a, row);
    }
}

/* ---- dw and db ----------------------------------------------------------------------------------------------------------- */

enum { ROWS = 32 }; /* summed in f32 before double takes over */

/* Sums over the rows [first, last) of columns [j, j + k): dy (x - m) s into dw, dy into db */
static void sum_rows(const norm_args *a, int64_t j, int64_t k, int64_t first, int64_t last, float *restrict dw,
                     float *restrict db)
{
    float xbuf[TPI_CHUNK], ybuf[TPI_CHUNK];

    for (int64_t i = 0; i < k; i++)
        dw[i] = db[i] = 0.0f;
    for (int64_t row = first; row < last; row++) {
        const float *x = tpi_in_f32(xbuf, a->t, a->x, row * a->n + j, 1, k);
        const float *dy = tpi_in_f32(ybuf, a->t, a->dy, row * a->n + j, 1, k);
        float        m = a->centred ? ((const float *)a->saved_mean)[row] : 0.0f, s = ((const float *)a->saved_rstd)[row];

#pragma omp simd
        for (int64_t i = 0; i < k; i++) {
            dw[i] = tpi_fma(dy[i], (x[i] - m) * s, dw[i]);
            db[i] += dy[i];
        }
    }
}

static void dw_f32(const norm_args *a, int64_t j, int64_t k)
{
    float  w[TPI_CHUNK], b[TPI_CHUNK];
    double wsum[TPI_CHUNK], bsum[TPI_CHUNK];

    for (int64_t i = 0; i < k; i++)
        wsum[i] = bsum[i] = 0.0;
    for (int64_t row = 0; row < a->rows; row += ROWS) {
        sum_rows(a, j, k, row, tpi_min64(a->rows, row + ROWS), w, b);
        for (int64_t i = 0; i < k; i++) {
            wsum[i] += (double)w[i];
            bsum[i] += (double)b[i];
        }
    }
    for (int64_t i = 0; i < k; i++) {
        if (a->dw != NULL)
            ((float *)a->dw)[j + i] = (float)((double)((float *)a->dw)[j + i] + wsum[i]);
        if (a->db != NULL)
            ((float *)a->db)[j + i] = (float)((double)((float *)a->db)[j + i] + bsum[i]);
    }
}

static void dw_f64(const norm_args *a, int64_t j, int64_t k)
{
    const double *x = a->x, *dy = a->dy;

    for (int64_t row = 0; row < a->rows; row++) {
        double m = a->centred ? load_stat(a, a->saved_mean, row) : 0, s = load_stat(a, a->saved_rstd, row);

        for (int64_t i = j; i < j + k; i++) {
            if (a->dw != NULL)
                ((double *)a->dw)[i] += dy[row * a->n + i] * (x[row * a->n + i] - m) * s;
            if (a->db != NULL)
                ((double *)a->db)[i] += dy[row * a->n + i];
        }
    }
}

static void dw_part(const void *args, int64_t begin, int64_t end)
{
    const norm_args *a = args;

    for (int64_t i = begin; i < end; i++) {
        int64_t j = i * a->width, k = tpi_min64(a->width, a->n - j);

        if (a->t == TP_F64)
            dw_f64(a, j, k);
        else
            dw_f32(a, j, k);
    }
}

static void backward(const tpi_run *r, norm_args *a)
{
    if (a->dx != NULL)
        CPU(parallel)(r, a->rows, a->rows * a->n, dx_part, a);
    /* a column's sum does not depend on the width of its item */
    a->width = tpi_min64(TPI_CHUNK, (tpi_ceil_div(a->n, 2 * r->threads) + 31) / 32 * 32);
    if (a->n > 0 && (a->dw != NULL || a->db != NULL))
        CPU(parallel)(r, tpi_ceil_div(a->n, a->width), a->rows * a->n, dw_part, a);
}

tp_code CPU(layernorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, void *db, const void *dy, const void *x,
                            tp_dtype wt, const void *w, const void *mean, const void *rstd, int64_t rows, int64_t n)
{
    norm_args a = {
        .t = t, .wt = wt, .dx = dx, .dw = dw, .db = db, .x = x, .w = w, .dy = dy, .saved_mean = mean, .saved_rstd = rstd,
        .rows = rows, .n = n, .centred = true,
    };

    backward(r, &a);
    return TP_OK;
}

tp_code CPU(rmsnorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, const void *dy, const void *dh, const void *x,
                          tp_dtype wt, const void *w, const void *rstd, int64_t rows, int64_t n)
{
    norm_args a = {
        .t = t, .wt = wt, .dx = dx, .dw = dw, .x = x, .w = w, .dy = dy, .dh = dh, .saved_rstd = rstd, .rows = rows, .n = n,
    };

    backward(r, &a);
    return TP_OK;
}
