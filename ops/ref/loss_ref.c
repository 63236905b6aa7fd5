/*
 * loss_ref.c - cross-entropy of rows of logits, with the gradient on demand.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* log sum_j e^x[j] */
static double log_sum_exp(tp_dtype t, const void *x, int64_t at, int64_t n)
{
    double m = -INFINITY, s = 0;

    for (int64_t j = 0; j < n; j++)
        m = fmax(m, tpi_load(t, x, at + j));
    for (int64_t j = 0; j < n; j++)
        s += exp(tpi_load(t, x, at + j) - m);
    return m + log(s);
}

/* (1 - s) (lse - x[target]) + s mean_j (lse - x[j]); the mean only where it counts: 0 times inf is NaN */
static double row_loss(tp_dtype t, const void *x, int64_t at, int64_t n, int64_t target, double lse, double s)
{
    double loss = (1 - s) * (lse - tpi_load(t, x, at + target));

    for (int64_t j = 0; s > 0 && j < n; j++)
        loss += s / (double)n * (lse - tpi_load(t, x, at + j));
    return loss;
}

/* dx[j] = (e^(x[j] - lse) - (1 - s) [j = target] - s / n) gscale */
static void row_grad(tp_dtype t, void *dx, const void *x, int64_t at, int64_t n, int64_t target, double lse, double s,
                     double gscale)
{
    for (int64_t j = 0; j < n; j++) {
        double p = exp(tpi_load(t, x, at + j) - lse), want = (j == target ? 1 - s : 0) + s / (double)n;

        tpi_store(t, dx, at + j, (p - want) * gscale);
    }
}

tp_code tpi_ref_cross_entropy(const tpi_run *r, tp_dtype t, void *loss, void *dx, const void *x, const int32_t *target,
                              int64_t rows, int64_t n, double smoothing, double gscale)
{
    (void)r;
    for (int64_t i = 0; i < rows; i++) {
        double lse = 0;

        if (target[i] >= n)
            return TP_EARG;
        if (target[i] < 0) {
            tpi_store(tpi_ref_wide(t), loss, i, 0);
            for (int64_t j = 0; dx && j < n; j++)
                tpi_store(t, dx, i * n + j, 0);
            continue;
        }
        lse = log_sum_exp(t, x, i * n, n);
        tpi_store(tpi_ref_wide(t), loss, i, row_loss(t, x, i * n, n, target[i], lse, smoothing));
        if (dx) /* last, for it may be x itself */
            row_grad(t, dx, x, i * n, n, target[i], lse, smoothing, gscale);
    }
    return TP_OK;
}
