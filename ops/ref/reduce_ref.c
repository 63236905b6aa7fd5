/*
 * reduce_ref.c - sums, products, extremes and their places over any dimensions; running sums.
 */
#include "ops/ref/ref.h"

/* One step of a fold over floats; NaN, once met, stays. */
static double float_step(tpi_reduce op, double acc, double v)
{
    switch (op) {
    case TPI_SUM: return acc + v;
    case TPI_PROD: return acc * v;
    case TPI_SUMSQ: return acc + v * v;
    case TPI_MAX: return acc != acc ? acc : v != v || v > acc ? v : acc;
    case TPI_MIN: return acc != acc ? acc : v != v || v < acc ? v : acc;
    case TPI_ANY: return acc != 0 || v != 0;
    case TPI_ALL: return acc != 0 && v != 0;
    case TPI_ARGMAX:
    case TPI_ARGMIN:
    case TPI_REDUCES: break;
    }
    return 0;
}

static int64_t int_step(tpi_reduce op, int64_t acc, int64_t v)
{
    switch (op) {
    case TPI_SUM: return tpi_ref_iadd(acc, v);
    case TPI_PROD: return tpi_ref_imul(acc, v);
    case TPI_SUMSQ: return tpi_ref_iadd(acc, tpi_ref_imul(v, v));
    case TPI_MAX: return v > acc ? v : acc;
    case TPI_MIN: return v < acc ? v : acc;
    case TPI_ANY: return acc || v;
    case TPI_ALL: return acc && v;
    case TPI_ARGMAX:
    case TPI_ARGMIN:
    case TPI_REDUCES: break;
    }
    return 0;
}

/* What the fold starts with: 1 for products and `all`, the first element for extremes, else 0. */
static double float_fold(tpi_reduce op, const tpi_nd *inner, tp_dtype t, const void *x, int64_t base)
{
    int64_t n = tpi_ref_numel(inner);
    double  acc = op == TPI_PROD || op == TPI_ALL;

    if (op == TPI_MAX || op == TPI_MIN)
        acc = tpi_load(t, x, base);
    for (int64_t i = 0; i < n; i++)
        acc = float_step(op, acc, tpi_load(t, x, base + tpi_ref_at(inner, 1, i)));
    return acc;
}

static int64_t int_fold(tpi_reduce op, const tpi_nd *inner, tp_dtype t, const void *x, int64_t base)
{
    int64_t n = tpi_ref_numel(inner), acc = op == TPI_PROD || op == TPI_ALL;

    if (op == TPI_MAX || op == TPI_MIN)
        acc = tpi_load_int(t, x, base);
    for (int64_t i = 0; i < n; i++)
        acc = int_step(op, acc, tpi_load_int(t, x, base + tpi_ref_at(inner, 1, i)));
    return acc;
}

/* Whether element i beats element best, which stands before it: only strictly, so that the first of equals wins, and
 * the first NaN over all. */
static bool beats(tpi_reduce op, tp_dtype t, const void *x, int64_t i, int64_t best)
{
    double a, b;

    if (tpi_ref_is_int(t)) {
        int64_t v = tpi_load_int(t, x, i), w = tpi_load_int(t, x, best);

        return op == TPI_ARGMAX ? v > w : v < w;
    }
    a = tpi_load(t, x, i);
    b = tpi_load(t, x, best);
    if (b != b)
        return false;
    return a != a || (op == TPI_ARGMAX ? a > b : a < b);
}

static int64_t place(tpi_reduce op, const tpi_nd *inner, tp_dtype t, const void *x, int64_t base)
{
    int64_t n = tpi_ref_numel(inner), best = 0;

    for (int64_t i = 1; i < n; i++)
        if (beats(op, t, x, base + tpi_ref_at(inner, 1, i), base + tpi_ref_at(inner, 1, best)))
            best = i;
    return best;
}

/* y[o] = op over i of x[o + i] */
tp_code tpi_ref_reduce(const tpi_run *r, tpi_reduce op, const tpi_nd *outer, const tpi_nd *inner, tp_dtype yt, void *y,
                       tp_dtype t, const void *x)
{
    int64_t n = tpi_ref_numel(outer);
    bool    needs_one = op == TPI_MAX || op == TPI_MIN || op == TPI_ARGMAX || op == TPI_ARGMIN;

    (void)r;
    if (n > 0 && needs_one && tpi_ref_numel(inner) == 0)
        return TP_ESHAPE;
    for (int64_t o = 0; o < n; o++) {
        int64_t yi = tpi_ref_at(outer, 0, o), base = tpi_ref_at(outer, 1, o);

        if (op == TPI_ARGMAX || op == TPI_ARGMIN)
            tpi_store_int(yt, y, yi, place(op, inner, t, x, base));
        else if (tpi_ref_is_int(t))
            tpi_store_int(yt, y, yi, int_fold(op, inner, t, x, base));
        else
            tpi_store(yt, y, yi, float_fold(op, inner, t, x, base));
    }
    return TP_OK;
}

/* One line of a running sum: n elements from x[at] on, step apart; floats are summed in double, rounded when stored. */
static void run_sum(tp_dtype t, void *y, const void *x, int64_t at, int64_t n, int64_t step)
{
    double  sum = 0;
    int64_t isum = 0;

    for (int64_t i = 0; i < n; i++, at += step) {
        if (tpi_ref_is_int(t)) {
            isum = tpi_ref_iadd(isum, tpi_load_int(t, x, at));
            tpi_store_int(t, y, at, isum);
        } else {
            sum += tpi_load(t, x, at);
            tpi_store(t, y, at, sum);
        }
    }
}

/* y[a, i, b] = sum over j <= i (reverse: j >= i) of x[a, j, b] */
tp_code tpi_ref_cumsum(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t a, int64_t n, int64_t b,
                       bool reverse)
{
    (void)r;
    if (n == 0)
        return TP_OK;
    for (int64_t ai = 0; ai < a; ai++) {
        for (int64_t bi = 0; bi < b; bi++) {
            int64_t first = ai * n * b + bi, last = first + (n - 1) * b;

            run_sum(t, y, x, reverse ? last : first, n, reverse ? -b : b);
        }
    }
    return TP_OK;
}
