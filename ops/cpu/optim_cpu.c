/*
 * optim_cpu.c - a step of an optimiser over all parameters in one parallel region; sum of squares; the search for NaN and Inf.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

#include "core/number.h"

/* ---- float ------------------------------------------------------------------------------------------------------------- */

/* A parameter's numbers, rounded once for all its elements */
typedef struct {
    tpi_rule rule;
    float    beta1, rest1, beta2, rest2, eps, scale; /* rest: 1 - beta; of SGD rest1 is 1 - dampening */
    float    lr, decay, keep;                        /* keep: 1 - lr decay */
    float    step, fix2;                             /* lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
    bool     momentum, nesterov, first;
} numbers;

static numbers numbers_of(const tpi_hyper *h, const tpi_step *s)
{
    bool    sgd = h->rule == TPI_SGD;
    numbers k = {
        .rule = h->rule, .beta1 = (float)h->beta1, .rest1 = (float)(1 - (sgd ? h->beta2 : h->beta1)), .beta2 = (float)h->beta2,
        .rest2 = (float)(1 - h->beta2), .eps = (float)h->eps, .scale = (float)h->grad_scale, .lr = (float)s->lr,
        .decay = (float)s->decay, .keep = (float)(1 - s->lr * s->decay), .momentum = h->beta1 != 0, .nesterov = h->nesterov,
        .first = h->step <= 1,
    };

    if (h->rule == TPI_ADAM || h->rule == TPI_ADAMW) {
        k.step = (float)(s->lr / (1 - pow(h->beta1, (double)h->step)));
        k.fix2 = (float)(1 / sqrt(1 - pow(h->beta2, (double)h->step)));
    }
    return k;
}

/* AdamW decays the parameter, Adam its gradient: one of keep and decay does nothing. */
static void adam_f32(const numbers *k, float *restrict p, const float *restrict g, float *restrict m, float *restrict v,
                     int64_t n)
{
    const float keep = k->rule == TPI_ADAMW ? k->keep : 1.0f, decay = k->rule == TPI_ADAM ? k->decay : 0.0f;
    const float beta1 = k->beta1, rest1 = k->rest1, beta2 = k->beta2, rest2 = k->rest2;
    const float eps = k->eps, scale = k->scale, step = k->step, fix2 = k->fix2;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float w = p[i] * keep, d = tpi_fma(decay, w, g[i] * scale), a = tpi_fma(beta1, m[i], rest1 * d);
        float b = tpi_fma(beta2, v[i], rest2 * d * d);

        m[i] = a;
        v[i] = b;
        p[i] = w - step * a / tpi_fma(sqrtf(b), fix2, eps);
    }
}

static void sgd_f32(const numbers *k, float *restrict p, const float *restrict g, float *restrict m, int64_t n)
{
    const float beta1 = k->first ? 0.0f : k->beta1, rest1 = k->first ? 1.0f : k->rest1, look = k->beta1;
    const float decay = k->decay, scale = k->scale, lr = k->lr;

    if (!k->momentum) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            p[i] -= lr * tpi_fma(decay, p[i], g[i] * scale);
        return;
    }
    for (int64_t i = 0; k->first && i < n; i++)
        m[i] = 0.0f; /* whatever it held */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float d = tpi_fma(decay, p[i], g[i] * scale), a = tpi_fma(beta1, m[i], rest1 * d);

        m[i] = a;
        p[i] -= lr * (k->nesterov ? tpi_fma(look, a, d) : a);
    }
}

static void lion_f32(const numbers *k, float *restrict p, const float *restrict g, float *restrict m, int64_t n)
{
    const float beta1 = k->beta1, rest1 = k->rest1, beta2 = k->beta2, rest2 = k->rest2;
    const float keep = k->keep, scale = k->scale, lr = k->lr;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * scale, c = tpi_fma(beta1, m[i], rest1 * d), up = c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c;

        p[i] = p[i] * keep - lr * up;
        m[i] = tpi_fma(beta2, m[i], rest2 * d);
    }
}

/* 16-bit parameters move in f32: in their master where they have one, else in a buffer. */
static void step_f32(const tpi_hyper *h, const tpi_step *s, int64_t first, int64_t n)
{
    const numbers k = numbers_of(h, s);
    float         buf[TPI_CHUNK];

    for (int64_t i = first; i < first + n; i += TPI_CHUNK) {
        int64_t      c = tpi_min64(TPI_CHUNK, first + n - i);
        float       *p = s->master != NULL ? (float *)s->master + i : tpi_out_f32(buf, s->t, s->p, i, 1);
        const float *g = (const float *)s->g + i;
        float       *m = s->m != NULL ? (float *)s->m + i : NULL, *v = s->v != NULL ? (float *)s->v + i : NULL;

        if (p == buf)
            CPU(load_f32)(buf, s->t, s->p, i, 1, c);
        if (h->rule == TPI_SGD)
            sgd_f32(&k, p, g, m, c);
        else if (h->rule == TPI_LION)
            lion_f32(&k, p, g, m, c);
        else
            adam_f32(&k, p, g, m, v, c);
        if (p == buf || s->master != NULL)
            CPU(store_f32)(s->t, s->p, i, 1, c, p);
    }
}

/* ---- double ------------------------------------------------------------------------------------------------------------ */

static double sgd_f64(const tpi_hyper *h, double lr, double p, double g, double *m)
{
    if (h->beta1 == 0)
        return p - lr * g;
    *m = h->step <= 1 ? g : h->beta1 * *m + (1 - h->beta2) * g;
    return p - lr * (h->nesterov ? g + h->beta1 * *m : *m);
}

static double lion_f64(const tpi_hyper *h, double lr, double p, double g, double *m)
{
    double c = h->beta1 * *m + (1 - h->beta1) * g;

    *m = h->beta2 * *m + (1 - h->beta2) * g;
    return p - lr * (c > 0 ? 1 : c < 0 ? -1 : c);
}

static void step_f64(const tpi_hyper *h, const tpi_step *s, int64_t first, int64_t n)
{
    double        fix1 = 1 - pow(h->beta1, (double)h->step), fix2 = 1 - pow(h->beta2, (double)h->step);
    double       *p = s->p, *m = s->m, *v = s->v;
    const double *grad = s->g;
    bool          decoupled = h->rule == TPI_ADAMW || h->rule == TPI_LION;

    for (int64_t i = first; i < first + n; i++) {
        double w = decoupled ? p[i] * (1 - s->lr * s->decay) : p[i], g = grad[i] * h->grad_scale + (decoupled ? 0 : s->decay * w);

        if (h->rule == TPI_SGD) {
            p[i] = sgd_f64(h, s->lr, w, g, m == NULL ? NULL : m + i);
        } else if (h->rule == TPI_LION) {
            p[i] = lion_f64(h, s->lr, w, g, m + i);
        } else {
            m[i] = h->beta1 * m[i] + (1 - h->beta1) * g;
            v[i] = h->beta2 * v[i] + (1 - h->beta2) * g * g;
            p[i] = w - s->lr * (m[i] / fix1) / (sqrt(v[i] / fix2) + h->eps);
        }
    }
}

/* ---- all parameters in a row -------------------------------------------------------------------------------------------- */

typedef struct {
    const tpi_hyper *h;
    const tpi_step  *s;
    int64_t          count;
} optim_args;

/* Items are pieces of TPI_PIECE elements, counted through all parameters. */
static void optim_part(const void *args, int64_t begin, int64_t end)
{
    const optim_args *o = args;
    int64_t           before = 0; /* items of the parameters that came before */

    for (int64_t c = 0; c < o->count && before < end; c++) {
        const tpi_step *s = &o->s[c];
        int64_t         items = tpi_ceil_div(s->n, TPI_PIECE), first = begin > before ? begin - before : 0;
        int64_t         last = tpi_min64(items, end - before);

        if (first < last && s->t == TP_F64)
            step_f64(o->h, s, first * TPI_PIECE, tpi_min64(s->n, last * TPI_PIECE) - first * TPI_PIECE);
        else if (first < last)
            step_f32(o->h, s, first * TPI_PIECE, tpi_min64(s->n, last * TPI_PIECE) - first * TPI_PIECE);
        before += items;
    }
}

tp_code CPU(optim)(const tpi_run *r, const tpi_hyper *h, const tpi_step *s, int64_t count)
{
    optim_args o = { h, s, count };
    int64_t    items = 0, elements = 0;

    for (int64_t c = 0; c < count; c++) {
        items += tpi_ceil_div(s[c].n, TPI_PIECE);
        elements += s[c].n;
    }
    CPU(parallel)(r, items, elements, optim_part, &o);
    return TP_OK;
}

/* ---- sum of squares ------------------------------------------------------------------------------------------------------- */

enum { PARTS = 256 }; /* of all elements in a row: fixed, so that the bits do not depend on the threads */

typedef struct {
    tp_dtype           t;
    const void *const *x;
    const int64_t     *n;
    int64_t            count, all;
    double            *part;
} sumsq_args;

TPI_INLINE double squares_f32(const float *x, int64_t n)
{
    double  a = 0.0, b = 0.0;
    int64_t h = n / 2;

#pragma omp simd reduction(+ : a, b)
    for (int64_t i = 0; i < h; i++) {
        a += (double)x[i] * (double)x[i];
        b += (double)x[h + i] * (double)x[h + i];
    }
    return n % 2 ? a + b + (double)x[n - 1] * (double)x[n - 1] : a + b;
}

static double squares(tp_dtype t, const void *x, int64_t first, int64_t n)
{
    float  buf[TPI_CHUNK];
    double sum = 0.0;

    for (int64_t i = first; i < first + n; i += TPI_CHUNK) {
        int64_t m = tpi_min64(TPI_CHUNK, first + n - i);

        if (t == TP_F64)
            for (int64_t j = i; j < i + m; j++)
                sum += ((const double *)x)[j] * ((const double *)x)[j];
        else
            sum += squares_f32(tpi_in_f32(buf, t, x, i, 1, m), m);
    }
    return sum;
}

static void sumsq_part(const void *args, int64_t begin, int64_t end)
{
    const sumsq_args *s = args;

    for (int64_t i = begin; i < end; i++) {
        int64_t first = s->all / PARTS * i + s->all % PARTS * i / PARTS, before = 0;
        int64_t last = s->all / PARTS * (i + 1) + s->all % PARTS * (i + 1) / PARTS;

        s->part[i] = 0.0;
        for (int64_t c = 0; c < s->count && before < last; c++) {
            int64_t from = first > before ? first - before : 0, to = tpi_min64(s->n[c], last - before);

            if (from < to)
                s->part[i] += squares(s->t, s->x[c], from, to - from);
            before += s->n[c];
        }
    }
}

tp_code CPU(sumsq)(const tpi_run *r, tp_dtype t, const void *const *x, const int64_t *n, int64_t count, double *sum)
{
    double     part[PARTS];
    sumsq_args s = { .t = t, .x = x, .n = n, .count = count, .part = part };

    for (int64_t c = 0; c < count; c++)
        s.all += n[c];
    CPU(parallel)(r, PARTS, s.all, sumsq_part, &s);
    *sum = 0.0;
    for (int i = 0; i < PARTS; i++)
        *sum += part[i];
    return TP_OK;
}

/* ---- NaN and Inf ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_dtype    t;
    const void *x;
    int64_t     n;
    bool       *found; /* one a slice */
} search_args;

/* An exponent of ones: NaN or Inf */
static bool nonfinite_in(tp_dtype t, const void *x, int64_t first, int64_t last)
{
    uint64_t any = 0;

    if (t == TP_F32) {
#pragma omp simd reduction(| : any)
        for (int64_t i = first; i < last; i++)
            any |= (((const uint32_t *)x)[i] & 0x7f800000u) == 0x7f800000u;
    } else if (t == TP_F64) {
#pragma omp simd reduction(| : any)
        for (int64_t i = first; i < last; i++)
            any |= (((const uint64_t *)x)[i] & 0x7ff0000000000000u) == 0x7ff0000000000000u;
    } else {
        uint16_t mask = t == TP_BF16 ? 0x7f80u : 0x7c00u;

#pragma omp simd reduction(| : any)
        for (int64_t i = first; i < last; i++)
            any |= (((const uint16_t *)x)[i] & mask) == mask;
    }
    return any != 0;
}

static void search_part(const void *args, int64_t begin, int64_t end)
{
    const search_args *s = args;

    for (int64_t i = begin; i < end; i++) {
        int64_t last = s->n / TPI_SLICES * (i + 1) + s->n % TPI_SLICES * (i + 1) / TPI_SLICES;

        s->found[i] = false;
        for (int64_t j = s->n / TPI_SLICES * i + s->n % TPI_SLICES * i / TPI_SLICES; j < last && !s->found[i]; j += TPI_PIECE)
            s->found[i] = nonfinite_in(s->t, s->x, j, tpi_min64(last, j + TPI_PIECE));
    }
}

tp_code CPU(nonfinite)(const tpi_run *r, tp_dtype t, const void *x, int64_t n, bool *found)
{
    bool        slice[TPI_SLICES];
    search_args s = { t, x, n, slice };

    *found = false;
    if (n < TPI_PARALLEL_MIN) {
        *found = nonfinite_in(t, x, 0, n);
        return TP_OK;
    }
    CPU(parallel)(r, TPI_SLICES, n, search_part, &s);
    for (int i = 0; i < TPI_SLICES; i++)
        *found = *found || slice[i];
    return TP_OK;
}
