/*
 * softmax_ref.c - softmax and its logarithm over rows.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* max_j x[j]; NaN is left out here: it comes back through the sum */
static double row_max(tp_dtype t, const void *x, int64_t at, int64_t n)
{
    double m = -INFINITY;

    for (int64_t j = 0; j < n; j++)
        m = fmax(m, tpi_load(t, x, at + j));
    return m;
}

/* y[j] = e^(x[j] - m) / s  or  x[j] - m - log s,  with m = max x, s = sum_j e^(x[j] - m) */
tp_code tpi_ref_softmax(const tpi_run *r, bool logarithm, tp_dtype t, void *y, const void *x, int64_t rows, int64_t n)
{
    (void)r;
    for (int64_t at = 0; at < rows * n; at += n) {
        double m = row_max(t, x, at, n), s = 0;

        for (int64_t j = 0; j < n; j++)
            s += exp(tpi_load(t, x, at + j) - m);
        for (int64_t j = 0; j < n; j++) {
            double d = tpi_load(t, x, at + j) - m;

            tpi_store(t, y, at + j, logarithm ? d - log(s) : exp(d) / s);
        }
    }
    return TP_OK;
}

/* dx[j] = y[j] (dy[j] - sum_i dy[i] y[i]);  of the logarithm: dx[j] = dy[j] - e^y[j] sum_i dy[i] */
tp_code tpi_ref_softmax_grad(const tpi_run *r, bool logarithm, tp_dtype t, void *dx, const void *dy, const void *y,
                             int64_t rows, int64_t n)
{
    (void)r;
    for (int64_t at = 0; at < rows * n; at += n) {
        double s = 0;

        for (int64_t j = 0; j < n; j++)
            s += tpi_load(t, dy, at + j) * (logarithm ? 1 : tpi_load(t, y, at + j));
        for (int64_t j = 0; j < n; j++) {
            double g = tpi_load(t, dy, at + j), v = tpi_load(t, y, at + j);

            tpi_store(t, dx, at + j, logarithm ? g - exp(v) * s : v * (g - s));
        }
    }
    return TP_OK;
}
