/*
 * rope_cpu.c - rotary position embedding, the rotate-half kind.  Cosines and sines of a row's angles are made once and serve all
 * its heads.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

enum { PAIRS = 128 }; /* pairs of a head done at a time */

typedef struct {
    tp_dtype       t;
    void          *y;
    const void    *x;
    const int64_t *ys, *xs, *dim;
    const int32_t *pos;
    int64_t        base;
    const float   *freq;
    double         mult;
    bool           inverse;
} rope_args;

/* mult cos and mult sin of at freq[j].  The vector code reduces angles up to half a million; libm knows the others. */
static void make_table(const rope_args *a, double at, const float *freq, float *c, float *s, int64_t n)
{
    float mult = (float)a->mult, sign = a->inverse ? -mult : mult;
    int   wide = 0;

#pragma omp simd reduction(| : wide)
    for (int64_t j = 0; j < n; j++) {
        double angle = at * (double)freq[j];
        float  sine, cosine;

        wide |= !(fabs(angle) < 500000.0);
        tpi_vsincos(angle, &sine, &cosine);
        c[j] = mult * cosine;
        s[j] = sign * sine;
    }
    for (int64_t j = 0; wide && j < n; j++) {
        c[j] = (float)(a->mult * cos(at * (double)freq[j]));
        s[j] = (float)((a->inverse ? -a->mult : a->mult) * sin(at * (double)freq[j]));
    }
}

/* (y1, y2) = (x1 c - x2 s, x2 c + x1 s) */
static void rotate(float *y1, float *y2, const float *x1, const float *x2, const float *c, const float *s, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float u = x1[j], v = x2[j];

        y1[j] = u * c[j] - v * s[j];
        y2[j] = v * c[j] + u * s[j];
    }
}

static void rotate_head(const rope_args *a, int64_t yi, int64_t xi, int64_t half, const float *c, const float *s, int64_t n)
{
    float        buf1[PAIRS], buf2[PAIRS];
    const float *x1 = tpi_in_f32(buf1, a->t, a->x, xi, 1, n), *x2 = tpi_in_f32(buf2, a->t, a->x, xi + half, 1, n);
    float       *y1 = tpi_out_f32(buf1, a->t, a->y, yi, 1), *y2 = tpi_out_f32(buf2, a->t, a->y, yi + half, 1);

    rotate(y1, y2, x1, x2, c, s, n);
    tpi_done_f32(y1, a->t, a->y, yi, 1, n);
    tpi_done_f32(y2, a->t, a->y, yi + half, 1, n);
}

static void row_f64(const rope_args *a, double at, double *y, const double *x)
{
    int64_t half = a->dim[3] / 2;

    for (int64_t j = 0; j < half; j++) {
        double angle = at * (double)a->freq[j], c = a->mult * cos(angle), s = (a->inverse ? -a->mult : a->mult) * sin(angle);

        for (int64_t h = 0; h < a->dim[2]; h++) {
            const double *from = x + h * a->xs[2] + j;
            double       *to = y + h * a->ys[2] + j, u = from[0], v = from[half];

            to[0] = u * c - v * s;
            to[half] = v * c + u * s;
        }
    }
}

/* Items are positions of the batch. */
static void rope_part(const void *args, int64_t begin, int64_t end)
{
    const rope_args *a = args;
    int64_t          half = a->dim[3] / 2;
    float            c[PAIRS], s[PAIRS];

    for (int64_t i = begin; i < end; i++) {
        int64_t batch = i / a->dim[1], row = i % a->dim[1];
        int64_t ya = batch * a->ys[0] + row * a->ys[1], xa = batch * a->xs[0] + row * a->xs[1];
        double  at = a->pos != NULL ? (double)a->pos[i] : (double)(a->base + row);

        if (a->t == TP_F64) {
            row_f64(a, at, (double *)a->y + ya, (const double *)a->x + xa);
            continue;
        }
        for (int64_t j = 0; j < half; j += PAIRS) {
            int64_t n = tpi_min64(PAIRS, half - j);

            make_table(a, at, a->freq + j, c, s, n);
            for (int64_t h = 0; h < a->dim[2]; h++)
                rotate_head(a, ya + h * a->ys[2] + j, xa + h * a->xs[2] + j, half, c, s, n);
        }
    }
}

tp_code CPU(rope)(const tpi_run *r, tp_dtype t, void *y, const int64_t *ys, const void *x, const int64_t *xs,
                  const int64_t dim[4], const int32_t *pos, int64_t base, const float *freq, double mult, bool inverse)
{
    rope_args a = { t, y, x, ys, xs, dim, pos, base, freq, mult, inverse };

    CPU(parallel)(r, dim[0] * dim[1], dim[0] * dim[1] * dim[2] * dim[3], rope_part, &a);
    return TP_OK;
}
