/*
 * pooling_ref.c - the largest and the mean under a sliding window, and their gradients.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* Window p along an axis, [begin, end) inside of the plane with a step; `all` counts its places with the padding. */
typedef struct {
    int64_t begin, end, step, all;
} span;

static span window(const tpi_window *w, int axis, int64_t p)
{
    int64_t n = w->in[axis], out = w->out[axis], first, last;
    span    s = { .step = 1 };

    if (w->adaptive) {
        s.begin = p * n / out;
        s.end = ((p + 1) * n + out - 1) / out;
        s.all = s.end - s.begin;
        return s;
    }
    first = p * w->stride[axis] - w->pad[axis];
    last = first + (w->size[axis] - 1) * w->dilation[axis] + 1;
    s.step = w->dilation[axis];
    s.all = (last < n + w->pad[axis] ? last : n + w->pad[axis]) - first;
    while (first < 0)
        first += s.step;
    s.begin = first;
    s.end = last < n ? last : n;
    return s;
}

static double count(const tpi_window *w, span r, span c)
{
    if (w->exclude_pad)
        return (double)((r.end - r.begin) * (c.end - c.begin));
    return (double)(r.all * c.all);
}

/* The place of the largest in the plane that begins at element `base`. */
static int64_t largest(const tpi_window *w, const void *x, int64_t base, span r, span c)
{
    int64_t at = r.begin * w->in[1] + c.begin;
    double  best = -INFINITY;

    for (int64_t i = r.begin; i < r.end; i += r.step)
        for (int64_t j = c.begin; j < c.end; j += c.step) {
            double v = tpi_load(w->t, x, base + i * w->in[1] + j);

            if (v > best || v != v) {
                best = v;
                at = i * w->in[1] + j;
            }
        }
    return at;
}

tp_code tpi_ref_max_pool(const tpi_run *r, const tpi_window *w, void *y, int32_t *place, const void *x)
{
    int64_t out = 0;

    (void)r;
    for (int64_t k = 0; k < w->n; k++)
        for (int64_t p = 0; p < w->out[0]; p++)
            for (int64_t q = 0; q < w->out[1]; q++, out++) {
                int64_t base = k * w->in[0] * w->in[1], at = largest(w, x, base, window(w, 0, p), window(w, 1, q));

                tpi_store(w->t, y, out, tpi_load(w->t, x, base + at));
                if (place != NULL)
                    place[out] = (int32_t)at;
            }
    return TP_OK;
}

tp_code tpi_ref_max_pool_grad(const tpi_run *r, const tpi_window *w, void *dx, const void *dy, const int32_t *place)
{
    int64_t n = w->in[0] * w->in[1], m = w->out[0] * w->out[1];

    (void)r;
    for (int64_t k = 0; k < w->n; k++)
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;

            for (int64_t o = k * m; o < (k + 1) * m; o++)
                sum += place[o] == i ? tpi_load(w->t, dy, o) : 0;
            tpi_store(w->t, dx, k * n + i, sum);
        }
    return TP_OK;
}

tp_code tpi_ref_avg_pool(const tpi_run *run, const tpi_window *w, void *y, const void *x)
{
    int64_t out = 0;

    (void)run;
    for (int64_t k = 0; k < w->n; k++)
        for (int64_t p = 0; p < w->out[0]; p++)
            for (int64_t q = 0; q < w->out[1]; q++, out++) {
                span   r = window(w, 0, p), c = window(w, 1, q);
                double sum = 0;

                for (int64_t i = r.begin; i < r.end; i++)
                    for (int64_t j = c.begin; j < c.end; j++)
                        sum += tpi_load(w->t, x, (k * w->in[0] + i) * w->in[1] + j);
                tpi_store(w->t, y, out, sum / count(w, r, c));
            }
    return TP_OK;
}

/* dx[i, j] = sum of dy / count over the windows that hold it */
static double one_dx(const tpi_window *w, const void *dy, int64_t k, int64_t i, int64_t j)
{
    double sum = 0;

    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++) {
            span r = window(w, 0, p), c = window(w, 1, q);

            if (i >= r.begin && i < r.end && j >= c.begin && j < c.end)
                sum += tpi_load(w->t, dy, (k * w->out[0] + p) * w->out[1] + q) / count(w, r, c);
        }
    return sum;
}

tp_code tpi_ref_avg_pool_grad(const tpi_run *r, const tpi_window *w, void *dx, const void *dy)
{
    int64_t at = 0;

    (void)r;
    for (int64_t k = 0; k < w->n; k++)
        for (int64_t i = 0; i < w->in[0]; i++)
            for (int64_t j = 0; j < w->in[1]; j++, at++)
                tpi_store(w->t, dx, at, one_dx(w, dy, k, i, j));
    return TP_OK;
}
