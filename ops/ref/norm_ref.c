/*
 * norm_ref.c - layer norm and root-mean-square norm over rows.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* w[j], or `otherwise` where there is no w */
static double weight(tp_dtype wt, const void *w, int64_t j, double otherwise)
{
    return w ? tpi_load(wt, w, j) : otherwise;
}

/* mean = sum x / n;  rstd = 1 / sqrt(sum (x - mean)^2 / n + eps);  y = (x - mean) rstd w + b */
tp_code tpi_ref_layernorm(const tpi_run *r, tp_dtype t, void *y, void *mean, void *rstd, const void *x, tp_dtype wt,
                          const void *w, const void *b, double eps, int64_t rows, int64_t n)
{
    (void)r;
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = i * n;
        double  m = 0, var = 0, s;

        for (int64_t j = 0; j < n; j++)
            m += tpi_load(t, x, at + j) / (double)n;
        for (int64_t j = 0; j < n; j++) {
            double d = tpi_load(t, x, at + j) - m;

            var += d * d / (double)n;
        }
        s = 1 / sqrt(var + eps);
        for (int64_t j = 0; j < n; j++)
            tpi_store(t, y, at + j, (tpi_load(t, x, at + j) - m) * s * weight(wt, w, j, 1) + weight(wt, b, j, 0));
        tpi_store(tpi_ref_wide(t), mean, i, m);
        tpi_store(tpi_ref_wide(t), rstd, i, s);
    }
    return TP_OK;
}

/* With u = (x - mean) rstd and g = dy w:  dx = rstd (g - mean(g) - u mean(g u)) */
static void layernorm_dx(tp_dtype t, void *dx, const void *dy, const void *x, tp_dtype wt, const void *w, double m,
                         double s, int64_t at, int64_t n)
{
    double g_mean = 0, gu_mean = 0;

    for (int64_t j = 0; j < n; j++) {
        double g = tpi_load(t, dy, at + j) * weight(wt, w, j, 1);

        g_mean += g / (double)n;
        gu_mean += g * (tpi_load(t, x, at + j) - m) * s / (double)n;
    }
    for (int64_t j = 0; j < n; j++) {
        double g = tpi_load(t, dy, at + j) * weight(wt, w, j, 1), u = (tpi_load(t, x, at + j) - m) * s;

        tpi_store(t, dx, at + j, s * (g - g_mean - u * gu_mean));
    }
}

/* dw[j] += sum over rows of dy u;  db[j] += sum over rows of dy */
tp_code tpi_ref_layernorm_grad(const tpi_run *r, tp_dtype t, void *dx, void *dw, void *db, const void *dy,
                               const void *x, tp_dtype wt, const void *w, const void *mean, const void *rstd,
                               int64_t rows, int64_t n)
{
    tp_dtype wide = tpi_ref_wide(t);

    (void)r;
    for (int64_t i = 0; dx && i < rows; i++)
        layernorm_dx(t, dx, dy, x, wt, w, tpi_load(wide, mean, i), tpi_load(wide, rstd, i), i * n, n);
    for (int64_t j = 0; j < n; j++) {
        double w_sum = 0, b_sum = 0;

        for (int64_t i = 0; i < rows; i++) {
            double g = tpi_load(t, dy, i * n + j), d = tpi_load(t, x, i * n + j) - tpi_load(wide, mean, i);

            w_sum += g * d * tpi_load(wide, rstd, i);
            b_sum += g;
        }
        if (dw)
            tpi_store(wide, dw, j, tpi_load(wide, dw, j) + w_sum);
        if (db)
            tpi_store(wide, db, j, tpi_load(wide, db, j) + b_sum);
    }
    return TP_OK;
}

/* h = x + res, rounded to t, so that the norm sees what the residual stream holds;
 * rstd = 1 / sqrt(sum h^2 / n + eps);  y = h rstd w */
tp_code tpi_ref_rmsnorm(const tpi_run *r, tp_dtype t, void *y, void *rstd, void *h, const void *x, const void *res,
                        tp_dtype wt, const void *w, double eps, int64_t rows, int64_t n)
{
    const void *v = res ? h : x;

    (void)r;
    for (int64_t i = 0; res && i < rows * n; i++)
        tpi_store(t, h, i, tpi_load(t, x, i) + tpi_load(t, res, i));
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = i * n;
        double  ms = 0, s;

        for (int64_t j = 0; j < n; j++)
            ms += tpi_load(t, v, at + j) * tpi_load(t, v, at + j) / (double)n;
        s = 1 / sqrt(ms + eps);
        for (int64_t j = 0; j < n; j++)
            tpi_store(t, y, at + j, tpi_load(t, v, at + j) * s * weight(wt, w, j, 1));
        tpi_store(tpi_ref_wide(t), rstd, i, s);
    }
    return TP_OK;
}

/* With u = x rstd and g = dy w:  dx = rstd (g - u mean(g u)) + dh */
static void rmsnorm_dx(tp_dtype t, void *dx, const void *dy, const void *dh, const void *x, tp_dtype wt, const void *w,
                       double s, int64_t at, int64_t n)
{
    double gu_mean = 0;

    for (int64_t j = 0; j < n; j++)
        gu_mean += tpi_load(t, dy, at + j) * weight(wt, w, j, 1) * tpi_load(t, x, at + j) * s / (double)n;
    for (int64_t j = 0; j < n; j++) {
        double g = tpi_load(t, dy, at + j) * weight(wt, w, j, 1), u = tpi_load(t, x, at + j) * s;

        tpi_store(t, dx, at + j, s * (g - u * gu_mean) + (dh ? tpi_load(t, dh, at + j) : 0));
    }
}

/* dw[j] += sum over rows of dy u */
tp_code tpi_ref_rmsnorm_grad(const tpi_run *r, tp_dtype t, void *dx, void *dw, const void *dy, const void *dh,
                             const void *x, tp_dtype wt, const void *w, const void *rstd, int64_t rows, int64_t n)
{
    tp_dtype wide = tpi_ref_wide(t);

    (void)r;
    for (int64_t i = 0; dx && i < rows; i++)
        rmsnorm_dx(t, dx, dy, dh, x, wt, w, tpi_load(wide, rstd, i), i * n, n);
    for (int64_t j = 0; dw && j < n; j++) {
        double sum = tpi_load(wide, dw, j);

        for (int64_t i = 0; i < rows; i++)
            sum += tpi_load(t, dy, i * n + j) * tpi_load(t, x, i * n + j) * tpi_load(wide, rstd, i);
        tpi_store(wide, dw, j, sum);
    }
    return TP_OK;
}
