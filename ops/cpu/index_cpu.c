/*
 * index_cpu.c - rows and elements picked by number, and the additions that are their gradients.  Threads share out columns or
 * lines, never sources: each destination is added to in the order of the indices, by one thread.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"

#include "core/number.h"

typedef struct {
    tp_dtype    yt, xt, it;
    void       *y;
    const void *x, *ids;
    int64_t     n, d;    /* indices, elements of a row */
    int64_t     m, b;    /* of gather: elements along the axis of the larger operand, and after it */
    int64_t     width;   /* columns of an item */
} index_args;

/* y[i] += x[i]: one rounding an addition */
static void add_run(tp_dtype yt, void *y, int64_t yi, tp_dtype xt, const void *x, int64_t xi, int64_t n)
{
    float buf[TPI_CHUNK], sum[TPI_CHUNK];

    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t m = tpi_min64(TPI_CHUNK, n - i);

        if (tpi_is_int(yt)) {
            for (int64_t j = i; j < i + m; j++)
                tpi_store_int(yt, y, yi + j,
                              (int64_t)((uint64_t)tpi_load_int(yt, y, yi + j) + (uint64_t)tpi_load_int(xt, x, xi + j)));
        } else if (yt == TP_F64 || xt == TP_F64) {
            for (int64_t j = i; j < i + m; j++)
                tpi_store(yt, y, yi + j, tpi_load(yt, y, yi + j) + tpi_load(xt, x, xi + j));
        } else {
            const float *v = tpi_in_f32(buf, xt, x, xi + i, 1, m), *old = tpi_in_f32(sum, yt, y, yi + i, 1, m);
            float       *to = tpi_out_f32(sum, yt, y, yi + i, 1);

#pragma omp simd
            for (int64_t j = 0; j < m; j++)
                to[j] = old[j] + v[j];
            tpi_done_f32(to, yt, y, yi + i, 1, m);
        }
    }
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static void index_rows_part(const void *args, int64_t begin, int64_t end)
{
    const index_args *a = args;

    for (int64_t i = begin; i < end; i++)
        memcpy(tpi_at_out(a->y, a->yt, i * a->d), tpi_at(a->x, a->yt, tpi_load_int(a->it, a->ids, i) * a->d),
               (size_t)(a->d * tpi_size_of(a->yt)));
}

tp_code CPU(index_rows)(const tpi_run *r, tp_dtype t, void *y, const void *w, tp_dtype it, const void *ids, int64_t n, int64_t d)
{
    index_args a = { .yt = t, .it = it, .y = y, .x = w, .ids = ids, .d = d };

    if (d > 0)
        CPU(parallel)(r, n, n * d, index_rows_part, &a);
    return TP_OK;
}

static void index_add_part(const void *args, int64_t begin, int64_t end)
{
    const index_args *a = args;
    int64_t           first = begin * a->width, n = tpi_min64(end * a->width, a->d) - first;

    for (int64_t i = 0; i < a->n; i++)
        add_run(a->yt, a->y, tpi_load_int(a->it, a->ids, i) * a->d + first, a->xt, a->x, i * a->d + first, n);
}

tp_code CPU(index_add)(const tpi_run *r, tp_dtype wt, void *w, int64_t wrows, tp_dtype xt, const void *x, tp_dtype it,
                       const void *ids, int64_t n, int64_t d)
{
    /* items of whole cache lines: two threads never write the same one where rows begin at one */
    index_args a = { .yt = wt, .xt = xt, .it = it, .y = w, .x = x, .ids = ids, .n = n, .d = d, .width = 32 };

    for (int64_t i = 0; i < n; i++) {
        int64_t row = tpi_load_int(it, ids, i);

        if (row < 0 || row >= wrows)
            return TP_EARG;
    }
    CPU(parallel)(r, tpi_ceil_div(d, a.width), n * d, index_add_part, &a);
    return TP_OK;
}

/* ---- elements along an axis ----------------------------------------------------------------------------------------------- */

static void move_element(int64_t size, void *y, int64_t yi, const void *x, int64_t xi)
{
    if (size == 4)
        ((uint32_t *)y)[yi] = ((const uint32_t *)x)[xi];
    else if (size == 2)
        ((uint16_t *)y)[yi] = ((const uint16_t *)x)[xi];
    else if (size == 8)
        ((uint64_t *)y)[yi] = ((const uint64_t *)x)[xi];
    else
        ((uint8_t *)y)[yi] = ((const uint8_t *)x)[xi];
}

/* Items are rows of b elements of y. */
static void gather_part(const void *args, int64_t begin, int64_t end)
{
    const index_args *g = args;
    int64_t           size = tpi_size_of(g->yt);

    for (int64_t i = begin; i < end; i++) {
        int64_t block = i / g->n * g->m * g->b;

        for (int64_t j = 0; j < g->b; j++)
            move_element(size, g->y, i * g->b + j, g->x, block + tpi_load_int(g->it, g->ids, i * g->b + j) * g->b + j);
    }
}

tp_code CPU(gather)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a,
                    int64_t n, int64_t m, int64_t b)
{
    index_args g = { .yt = t, .it = it, .y = y, .x = x, .ids = ids, .n = n, .m = m, .b = b };

    if (b > 0)
        CPU(parallel)(r, a * n, a * n * b, gather_part, &g);
    return TP_OK;
}

/* Items are blocks [.., b] of the first axis cut into `width` columns. */
static void scatter_part(const void *args, int64_t begin, int64_t end)
{
    const index_args *s = args;
    int64_t           cuts = tpi_ceil_div(s->b, s->width);

    for (int64_t i = begin; i < end; i++) {
        int64_t block = i / cuts, first = i % cuts * s->width, last = tpi_min64(s->b, first + s->width);

        for (int64_t k = 0; k < s->n; k++) {
            for (int64_t j = first; j < last; j++) {
                int64_t from = (block * s->n + k) * s->b + j;

                add_run(s->yt, s->y, (block * s->m + tpi_load_int(s->it, s->ids, from)) * s->b + j, s->yt, s->x, from, 1);
            }
        }
    }
}

tp_code CPU(scatter_add)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a, int64_t n,
                         int64_t m, int64_t b)
{
    index_args s = { .yt = t, .it = it, .y = y, .x = x, .ids = ids, .n = n, .m = m, .b = b, .width = 32 };

    CPU(parallel)(r, a * tpi_ceil_div(b, s.width), a * n * b, scatter_part, &s);
    return TP_OK;
}
