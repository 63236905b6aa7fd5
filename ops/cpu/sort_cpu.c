/*
 * sort_cpu.c - sorting rows: places are sorted by (value, place), which makes any method stable; quicksort with the median
 * of three, insertion for short runs, heapsort where the splits go wrong.  No memory beyond the outputs.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"

#include "core/number.h"

typedef struct {
    tp_dtype    t;
    void       *y;
    int64_t    *place;
    const void *x;
    int64_t     n;
    bool        descending;
} sort_args;

/* ---- values as integers that compare alike ------------------------------------------------------------------------------- */

/* Sign and magnitude to two's complement: 0 and -0 are equal, NaN is greater than all. */
static int64_t key_of_bits(int64_t magnitude, bool negative, int64_t inf)
{
    return magnitude > inf ? INT64_MAX : negative ? -magnitude : magnitude;
}

static int64_t key_at(tp_dtype t, const void *x, int64_t i)
{
    uint64_t u;
    int64_t  k;

    if (t == TP_F32) {
        u = ((const uint32_t *)x)[i];
        k = key_of_bits((int64_t)(u & 0x7fffffffu), (u >> 31) != 0, 0x7f800000);
    } else if (t == TP_F64) {
        u = ((const uint64_t *)x)[i];
        k = key_of_bits((int64_t)(u & INT64_MAX), (u >> 63) != 0, 0x7ff0000000000000);
    } else if (t == TP_BF16 || t == TP_F16) {
        u = ((const uint16_t *)x)[i];
        k = key_of_bits((int64_t)(u & 0x7fffu), (u >> 15) != 0, t == TP_BF16 ? 0x7f80 : 0x7c00);
    } else {
        k = tpi_load_int(t, x, i);
    }
    return k;
}

/* A row being sorted */
typedef struct {
    tp_dtype    t;
    const void *x; /* the row's first element */
    int64_t    *p; /* places; NULL: the values themselves are moved, in y */
    void       *y;
    bool        descending;
} run;

/* Whether place a comes before place b; equal values by their places. */
static inline bool before(const run *r, int64_t a, int64_t b)
{
    int64_t ka = key_at(r->t, r->x, a), kb = key_at(r->t, r->x, b);

    return ka == kb ? a < b : r->descending ? ka > kb : ka < kb;
}

static inline void swap(int64_t *p, int64_t i, int64_t j)
{
    int64_t v = p[i];

    p[i] = p[j];
    p[j] = v;
}

static void move(int64_t size, void *y, int64_t yi, const void *x, int64_t xi)
{
    memcpy((char *)y + yi * size, (const char *)x + xi * size, (size_t)size);
}

/* For the heap, which sorts values too: positions i and j compared and exchanged. */
static bool position_before(const run *r, int64_t i, int64_t j)
{
    return r->p != NULL ? before(r, r->p[i], r->p[j]) : before(r, i, j);
}

static void exchange(const run *r, int64_t i, int64_t j)
{
    int64_t size = tpi_size_of(r->t);
    char    v[8];

    if (r->p != NULL) {
        swap(r->p, i, j);
        return;
    }
    move(size, v, 0, r->y, i);
    move(size, r->y, i, r->y, j);
    move(size, r->y, j, v, 0);
}

/* ---- three ways to sort [lo, hi) ------------------------------------------------------------------------------------------ */

static void insertion(const run *r, int64_t lo, int64_t hi)
{
    for (int64_t i = lo + 1; i < hi; i++) {
        int64_t v = r->p[i], j = i;

        for (; j > lo && before(r, v, r->p[j - 1]); j--)
            r->p[j] = r->p[j - 1];
        r->p[j] = v;
    }
}

static void sift(const run *r, int64_t lo, int64_t i, int64_t n)
{
    for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && position_before(r, lo + child, lo + child + 1))
            child++;
        if (!position_before(r, lo + i, lo + child))
            return;
        exchange(r, lo + i, lo + child);
        i = child;
    }
}

static void heap(const run *r, int64_t lo, int64_t hi)
{
    int64_t n = hi - lo;

    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift(r, lo, i, n);
    for (int64_t end = n - 1; end > 0; end--) {
        exchange(r, lo, lo + end);
        sift(r, lo, 0, end);
    }
}

/* Hoare's split around the median of three: returns j with all of [lo, j] before all of [j + 1, hi). */
static int64_t split(const run *r, int64_t lo, int64_t hi)
{
    int64_t *p = r->p, mid = lo + (hi - lo) / 2, pivot, i = lo - 1, j = hi;

    if (before(r, p[mid], p[lo]))
        swap(p, mid, lo);
    if (before(r, p[hi - 1], p[lo]))
        swap(p, hi - 1, lo);
    if (before(r, p[hi - 1], p[mid]))
        swap(p, hi - 1, mid);
    pivot = p[mid];
    for (;;) {
        do
            i++;
        while (before(r, p[i], pivot));
        do
            j--;
        while (before(r, pivot, p[j]));
        if (i >= j)
            return j;
        swap(p, i, j);
    }
}

/* The shorter side by recursion, so that the stack stays small; depth counts the splits that are left. */
static void quick(const run *r, int64_t lo, int64_t hi, int depth)
{
    while (hi - lo > 24) {
        int64_t j;

        if (depth-- == 0) {
            heap(r, lo, hi);
            return;
        }
        j = split(r, lo, hi) + 1;
        if (j - lo < hi - j) {
            quick(r, lo, j, depth);
            lo = j;
        } else {
            quick(r, j, hi, depth);
            hi = j;
        }
    }
    insertion(r, lo, hi);
}

static int depth_for(int64_t n)
{
    int depth = 2;

    for (; n > 1; n /= 2)
        depth += 2;
    return depth;
}

/* ---- rows ----------------------------------------------------------------------------------------------------------------- */

/* Values alone: equal ones that differ in their bits, 0 and -0 or NaNs, are put back in the order in which they came. */
static void sort_values(const sort_args *a, int64_t at)
{
    int64_t     size = tpi_size_of(a->t), zeros = 0, nans = 0;
    const void *x = tpi_at(a->x, a->t, at);
    void       *y = tpi_at_out(a->y, a->t, at);
    run         r = { a->t, y, NULL, y, a->descending };

    memcpy(y, x, (size_t)(a->n * size));
    heap(&r, 0, a->n);
    if (tpi_is_int(a->t))
        return;
    while (zeros < a->n && key_at(a->t, y, zeros) != 0)
        zeros++;
    while (nans < a->n && key_at(a->t, y, nans) != INT64_MAX)
        nans++;
    for (int64_t i = 0; i < a->n; i++) {
        int64_t k = key_at(a->t, x, i);

        if (k == 0)
            move(size, y, zeros++, x, i);
        else if (k == INT64_MAX)
            move(size, y, nans++, x, i);
    }
}

static void sort_places(const sort_args *a, int64_t *place, int64_t at)
{
    int64_t size = tpi_size_of(a->t);
    run     r = { a->t, tpi_at(a->x, a->t, at), place, NULL, a->descending };

    for (int64_t i = 0; i < a->n; i++)
        place[i] = i;
    quick(&r, 0, a->n, depth_for(a->n));
    for (int64_t i = 0; a->y != NULL && i < a->n; i++)
        move(size, a->y, at + i, a->x, at + place[i]);
}

static void sort_part(const void *args, int64_t begin, int64_t end)
{
    const sort_args *a = args;

    for (int64_t row = begin; row < end; row++) {
        if (a->place != NULL)
            sort_places(a, a->place + row * a->n, row * a->n);
        else if (a->y != NULL)
            sort_values(a, row * a->n);
    }
}

tp_code CPU(sort)(const tpi_run *r, tp_dtype t, void *y, int64_t *place, const void *x, int64_t rows, int64_t n, bool descending)
{
    sort_args a = { t, y, place, x, n, descending };

    if (n > 0)
        CPU(parallel)(r, rows, rows * n * 16, sort_part, &a); /* an element costs a logarithm of comparisons */
    return TP_OK;
}
