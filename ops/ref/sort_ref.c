/*
 * sort_ref.c - sorting by counting: an element's place is the number of elements that come before it.
 */
#include "ops/ref/ref.h"

/* Whether x[i] comes strictly before x[j].  NaN is greater than every number, and NaNs are equal. */
static bool before(tp_dtype t, const void *x, int64_t i, int64_t j, bool descending)
{
    double a, b;

    if (descending) {
        int64_t other = i;

        i = j;
        j = other;
    }
    if (tpi_ref_is_int(t))
        return tpi_load_int(t, x, i) < tpi_load_int(t, x, j);
    a = tpi_load(t, x, i);
    b = tpi_load(t, x, j);
    return a != a ? false : b != b ? true : a < b;
}

/* Equal elements keep their order. */
static int64_t rank_of(tp_dtype t, const void *x, int64_t at, int64_t n, int64_t i, bool descending)
{
    int64_t rank = 0;

    for (int64_t j = 0; j < n; j++)
        if (before(t, x, at + j, at + i, descending) || (j < i && !before(t, x, at + i, at + j, descending)))
            rank++;
    return rank;
}

tp_code tpi_ref_sort(const tpi_run *r, tp_dtype t, void *y, int64_t *place, const void *x, int64_t rows, int64_t n,
                     bool descending)
{
    size_t size = tp_dtype_size(t);

    (void)r;
    for (int64_t at = 0; at < rows * n; at += n) {
        for (int64_t i = 0; i < n; i++) {
            int64_t to = at + rank_of(t, x, at, n, i, descending);

            if (y)
                memcpy((char *)y + (size_t)to * size, (const char *)x + (size_t)(at + i) * size, size);
            if (place)
                place[to] = i;
        }
    }
    return TP_OK;
}
