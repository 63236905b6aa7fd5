/*
 * index_ref.c - rows and elements picked by number, and the additions that are their gradients.
 */
#include "ops/ref/ref.h"

static void copy_elements(tp_dtype t, void *y, int64_t yi, const void *x, int64_t xi, int64_t n)
{
    size_t size = tp_dtype_size(t);

    memcpy((char *)y + (size_t)yi * size, (const char *)x + (size_t)xi * size, (size_t)n * size);
}

/* y[i, :] = w[ids[i], :] */
tp_code tpi_ref_index_rows(const tpi_run *r, tp_dtype t, void *y, const void *w, tp_dtype it, const void *ids,
                           int64_t n, int64_t d)
{
    (void)r;
    for (int64_t i = 0; d > 0 && i < n; i++)
        copy_elements(t, y, i * d, w, tpi_load_int(it, ids, i) * d, d);
    return TP_OK;
}

/* w[ids[i], :] += x[i, :] */
tp_code tpi_ref_index_add(const tpi_run *r, tp_dtype wt, void *w, int64_t wrows, tp_dtype xt, const void *x,
                          tp_dtype it, const void *ids, int64_t n, int64_t d)
{
    (void)r;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = tpi_load_int(it, ids, i);

        if (row < 0 || row >= wrows)
            return TP_EARG;
        for (int64_t j = 0; j < d; j++)
            tpi_ref_add(wt, w, row * d + j, xt, x, i * d + j);
    }
    return TP_OK;
}

/* y[a, i, b] = x[a, ids[a, i, b], b] */
tp_code tpi_ref_gather(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a,
                       int64_t n, int64_t m, int64_t b)
{
    (void)r;
    for (int64_t at = 0; at < a * n * b; at++) {
        int64_t ai = at / (n * b), bi = at % b;

        copy_elements(t, y, at, x, (ai * m + tpi_load_int(it, ids, at)) * b + bi, 1);
    }
    return TP_OK;
}

/* y[a, ids[a, i, b], b] += x[a, i, b] */
tp_code tpi_ref_scatter_add(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids,
                            int64_t a, int64_t n, int64_t m, int64_t b)
{
    (void)r;
    for (int64_t at = 0; at < a * n * b; at++) {
        int64_t ai = at / (n * b), bi = at % b;

        tpi_ref_add(t, y, (ai * m + tpi_load_int(it, ids, at)) * b + bi, t, x, at);
    }
    return TP_OK;
}
