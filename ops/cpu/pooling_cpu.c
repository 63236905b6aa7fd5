/*
 * pooling_cpu.c - the largest and the mean under a sliding window, a thread per plane.  16-bit gradients are gathered, so
 * that each is rounded once; the others are scattered.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/span.h"
#include "ops/cpu/sums.h"

#include "core/number.h"

#include <math.h>
#include <string.h>

typedef struct {
    const tpi_window *w;
    void             *out; /* y, or dx */
    int32_t          *place;
    const int32_t    *from; /* place, read */
    const void       *in;  /* x, or dy */
} pool_args;

/* Window p along an axis: begin, begin + step ... below end, inside of the plane; `all` counts its places with padding. */
typedef struct {
    int64_t begin, end, all;
} extent;

static extent window_at(const tpi_window *w, int axis, int64_t p)
{
    int64_t n = w->in[axis], d = w->dilation[axis], first, last;
    extent  e;

    if (w->adaptive) {
        e.begin = p * n / w->out[axis];
        e.end = tpi_ceil_div((p + 1) * n, w->out[axis]);
        e.all = e.end - e.begin;
        return e;
    }
    first = p * w->stride[axis] - w->pad[axis];
    last = first + (w->size[axis] - 1) * d + 1;
    e.all = tpi_min64(last, n + w->pad[axis]) - first;
    e.begin = first < 0 ? first + tpi_ceil_div(-first, d) * d : first;
    e.end = tpi_min64(last, n);
    return e;
}

/* The windows [*first, *last] that may hold place i of an axis. */
static void windows_of(const tpi_window *w, int axis, int64_t i, int64_t *first, int64_t *last)
{
    int64_t n = w->in[axis], out = w->out[axis], s = w->stride[axis], reach;

    if (w->adaptive) {
        *first = i * out / n;
        *last = tpi_ceil_div((i + 1) * out, n) - 1;
        return;
    }
    reach = i + w->pad[axis] - w->dilation[axis] * (w->size[axis] - 1);
    *first = reach <= 0 ? 0 : tpi_ceil_div(reach, s);
    *last = tpi_min64((i + w->pad[axis]) / s, out - 1);
}

static int64_t step_of(const tpi_window *w, int axis)
{
    return w->adaptive ? 1 : w->dilation[axis];
}

static double share(const tpi_window *w, extent r, extent c)
{
    return 1.0 / (double)(w->exclude_pad ? (r.end - r.begin) * (c.end - c.begin) : r.all * c.all);
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* t is a constant where these are called. */
TPI_FLAT int64_t largest(tp_dtype t, const tpi_window *w, const void *x, extent r, extent c)
{
    int64_t at = r.begin * w->in[1] + c.begin, down = step_of(w, 0), across = step_of(w, 1);
    double  best = -INFINITY;

    for (int64_t i = r.begin; i < r.end; i += down)
        for (int64_t j = c.begin; j < c.end; j += across) {
            double v = tpi_load(t, x, i * w->in[1] + j);
            bool   more = (v > best) | (v != v); /* no branch: it would be guessed wrong every other time */

            best = more ? v : best;
            at = more ? i * w->in[1] + j : at;
        }
    return at;
}

/* Windows begin..end of a row of f32, all inside of the plane, side by side in vectors; the sizes are constants where
 * this is called.  NaN wins, as in largest(). */
TPI_FLAT void max_side_by_side(const pool_args *a, const float *x, int64_t top, int64_t begin, int64_t end, int64_t o,
                               int64_t down, int64_t across, int64_t stride)
{
    int64_t  wide = a->w->in[1], pad = a->w->pad[1];
    float   *y = (float *)a->out + o;
    int32_t *place = a->place ? a->place + o : NULL;

    for (int64_t q = begin; q < end; q++) {
        int64_t at = top * wide + q * stride - pad;
        int32_t best_at = (int32_t)at;
        float   best = -INFINITY;

        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++) {
                float v = x[at + i * wide + j];
                bool  more = (v > best) | (v != v);

                best = more ? v : best;
                best_at = more ? (int32_t)(at + i * wide + j) : best_at;
            }
        y[q] = best;
        if (place != NULL)
            place[q] = best_at;
    }
}

/* The windows of a row that are done so, [*begin, *end): those of common sizes that no padding touches. */
static void max_inner(const pool_args *a, const float *x, extent r, int64_t o, int64_t *begin, int64_t *end)
{
    const tpi_window *w = a->w;
    int64_t           size = w->size[1], stride = w->stride[1];
    bool              whole = !w->adaptive && w->dilation[0] == 1 && w->dilation[1] == 1;

    *begin = *end = 0;
    if (!whole || r.end - r.begin != size || w->size[0] != size || size < 2 || size > 3 || stride > 2)
        return;
    *begin = tpi_min64(tpi_ceil_div(w->pad[1], stride), w->out[1]);
    *end = w->in[1] < size ? 0 : tpi_min64((w->in[1] - size + w->pad[1]) / stride + 1, w->out[1]);
    if (*end < *begin)
        *end = *begin;
    if (size == 2 && stride == 2)
        max_side_by_side(a, x, r.begin, *begin, *end, o, 2, 2, 2);
    else if (size == 3 && stride == 2)
        max_side_by_side(a, x, r.begin, *begin, *end, o, 3, 3, 2);
    else if (size == 2)
        max_side_by_side(a, x, r.begin, *begin, *end, o, 2, 2, 1);
    else
        max_side_by_side(a, x, r.begin, *begin, *end, o, 3, 3, 1);
}

TPI_FLAT void max_plane(tp_dtype t, const pool_args *a, int64_t k)
{
    const tpi_window *w = a->w;
    const void       *x = tpi_at(a->in, t, k * w->in[0] * w->in[1]);
    int64_t           o = k * w->out[0] * w->out[1];

    for (int64_t p = 0; p < w->out[0]; p++, o += w->out[1]) {
        extent  r = window_at(w, 0, p);
        int64_t begin = 0, end = 0, at;

        if (t == TP_F32)
            max_inner(a, x, r, o, &begin, &end);
        for (int64_t q = 0; q < w->out[1]; q++) {
            if (q == begin && end > begin)
                q = end;
            if (q == w->out[1])
                break;
            at = largest(t, w, x, r, window_at(w, 1, q));
            tpi_store(t, a->out, o + q, tpi_load(t, x, at));
            if (a->place != NULL)
                a->place[o + q] = (int32_t)at;
        }
    }
}

/* n elements side by side; wide windows by vectors */
TPI_FLAT double row_sum(tp_dtype t, const void *x, int64_t at, int64_t n)
{
    double sum = 0;

    if (t == TP_F32 && n >= 16)
        return tpi_sum_of(TPI_OF_X, (const float *)x + at, NULL, 0.0f, n);
    for (int64_t j = at; j < at + n; j++)
        sum += tpi_load(t, x, j);
    return sum;
}

TPI_FLAT void avg_plane(tp_dtype t, const pool_args *a, int64_t k)
{
    const tpi_window *w = a->w;
    const void       *x = tpi_at(a->in, t, k * w->in[0] * w->in[1]);
    int64_t           o = k * w->out[0] * w->out[1];

    for (int64_t p = 0; p < w->out[0]; p++) {
        extent r = window_at(w, 0, p);

        for (int64_t q = 0; q < w->out[1]; q++, o++) {
            extent c = window_at(w, 1, q);
            double sum = 0;

            if (c.end - c.begin == w->in[1]) /* rows without gaps */
                sum = row_sum(t, x, r.begin * w->in[1], (r.end - r.begin) * w->in[1]);
            for (int64_t i = r.begin; i < r.end && c.end - c.begin < w->in[1]; i++)
                sum += row_sum(t, x, i * w->in[1] + c.begin, c.end - c.begin);
            tpi_store(t, a->out, o, sum * share(w, r, c));
        }
    }
}

static void max_part(const void *args, int64_t begin, int64_t end)
{
    const pool_args *a = args;

    for (int64_t k = begin; k < end; k++) {
        if (a->w->t == TP_F32)
            max_plane(TP_F32, a, k);
        else if (a->w->t == TP_F64)
            max_plane(TP_F64, a, k);
        else
            max_plane(a->w->t, a, k);
    }
}

static void avg_part(const void *args, int64_t begin, int64_t end)
{
    const pool_args *a = args;

    for (int64_t k = begin; k < end; k++) {
        if (a->w->t == TP_F32)
            avg_plane(TP_F32, a, k);
        else if (a->w->t == TP_F64)
            avg_plane(TP_F64, a, k);
        else
            avg_plane(a->w->t, a, k);
    }
}

/* Elements looked at, for the number of threads. */
static int64_t work(const tpi_window *w)
{
    return w->n * (w->in[0] * w->in[1] + w->out[0] * w->out[1]);
}

tp_code CPU(max_pool)(const tpi_run *r, const tpi_window *w, void *y, int32_t *place, const void *x)
{
    pool_args a = { .w = w, .out = y, .place = place, .in = x };

    CPU(parallel)(r, w->n, work(w), max_part, &a);
    return TP_OK;
}

tp_code CPU(avg_pool)(const tpi_run *r, const tpi_window *w, void *y, const void *x)
{
    pool_args a = { .w = w, .out = y, .in = x };

    CPU(parallel)(r, w->n, work(w), avg_part, &a);
    return TP_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

TPI_FLAT void max_scatter(tp_dtype t, const pool_args *a, int64_t k)
{
    int64_t n = a->w->in[0] * a->w->in[1], m = a->w->out[0] * a->w->out[1];
    void   *dx = tpi_at_out(a->out, t, k * n);

    memset(dx, 0, (size_t)(n * tpi_size_of(t)));
    for (int64_t o = k * m; o < (k + 1) * m; o++)
        tpi_store(t, dx, a->from[o], tpi_load(t, dx, a->from[o]) + tpi_load(t, a->in, o));
}

TPI_FLAT void avg_scatter(tp_dtype t, const pool_args *a, int64_t k)
{
    const tpi_window *w = a->w;
    int64_t           n = w->in[0] * w->in[1], o = k * w->out[0] * w->out[1];
    void             *dx = tpi_at_out(a->out, t, k * n);

    memset(dx, 0, (size_t)(n * tpi_size_of(t)));
    for (int64_t p = 0; p < w->out[0]; p++) {
        extent r = window_at(w, 0, p);

        for (int64_t q = 0; q < w->out[1]; q++, o++) {
            extent c = window_at(w, 1, q);
            double g = tpi_load(t, a->in, o) * share(w, r, c);

            for (int64_t i = r.begin; i < r.end; i++)
                for (int64_t j = c.begin; j < c.end; j++)
                    tpi_store(t, dx, i * w->in[1] + j, tpi_load(t, dx, i * w->in[1] + j) + g);
        }
    }
}

/* What the windows that hold place (i, j) of plane k give to it. */
static double gathered(const pool_args *a, int64_t k, int64_t i, int64_t j)
{
    const tpi_window *w = a->w;
    int64_t           p0, p1, q0, q1;
    double            sum = 0;

    windows_of(w, 0, i, &p0, &p1);
    windows_of(w, 1, j, &q0, &q1);
    for (int64_t p = p0; p <= p1; p++)
        for (int64_t q = q0; q <= q1; q++) {
            int64_t o = (k * w->out[0] + p) * w->out[1] + q;

            if (a->from == NULL)
                sum += tpi_load(w->t, a->in, o) * share(w, window_at(w, 0, p), window_at(w, 1, q));
            else if (a->from[o] == i * w->in[1] + j)
                sum += tpi_load(w->t, a->in, o);
        }
    return sum;
}

static void gather_plane(const pool_args *a, int64_t k)
{
    int64_t at = k * a->w->in[0] * a->w->in[1];

    for (int64_t i = 0; i < a->w->in[0]; i++)
        for (int64_t j = 0; j < a->w->in[1]; j++, at++)
            tpi_store(a->w->t, a->out, at, gathered(a, k, i, j));
}

static void max_grad_part(const void *args, int64_t begin, int64_t end)
{
    const pool_args *a = args;

    for (int64_t k = begin; k < end; k++) {
        if (a->w->t == TP_F32)
            max_scatter(TP_F32, a, k);
        else if (a->w->t == TP_F64)
            max_scatter(TP_F64, a, k);
        else
            gather_plane(a, k);
    }
}

static void avg_grad_part(const void *args, int64_t begin, int64_t end)
{
    const pool_args *a = args;

    for (int64_t k = begin; k < end; k++) {
        if (a->w->t == TP_F32)
            avg_scatter(TP_F32, a, k);
        else if (a->w->t == TP_F64)
            avg_scatter(TP_F64, a, k);
        else
            gather_plane(a, k);
    }
}

tp_code CPU(max_pool_grad)(const tpi_run *r, const tpi_window *w, void *dx, const void *dy, const int32_t *place)
{
    pool_args a = { .w = w, .out = dx, .from = place, .in = dy };

    CPU(parallel)(r, w->n, work(w), max_grad_part, &a);
    return TP_OK;
}

tp_code CPU(avg_pool_grad)(const tpi_run *r, const tpi_window *w, void *dx, const void *dy)
{
    pool_args a = { .w = w, .out = dx, .in = dy };

    CPU(parallel)(r, w->n, work(w), avg_grad_part, &a);
    return TP_OK;
}
