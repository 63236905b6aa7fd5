/*
 * sets_ref.c - normalisation over sets of rows: batchnorm (a set per channel), groupnorm (a set per image and group).
 */
#include "ops/ref/ref.h"

#include <math.h>

/* The rows of a set: first, first + step, ...; row q belongs to channel q % c. */
typedef struct {
    int64_t first, step, rows;
} set;

static set set_of(const tpi_sets *g, int64_t k)
{
    if (g->groups == 0)
        return (set){ k, g->c, g->n };
    return (set){ k * (g->c / g->groups), 1, g->c / g->groups };
}

static int64_t sets(const tpi_sets *g)
{
    return g->groups == 0 ? g->c : g->n * g->groups;
}

/* Element e of the set, e < rows s. */
static int64_t element(const tpi_sets *g, set s, int64_t e)
{
    return (s.first + e / g->s * s.step) * g->s + e % g->s;
}

static int64_t channel(const tpi_sets *g, int64_t at)
{
    return at / g->s % g->c;
}

tp_code tpi_ref_set_stats(const tpi_run *r, const tpi_sets *g, void *mean, void *var, const void *x)
{
    tp_dtype wide = tpi_ref_wide(g->t);

    (void)r;
    for (int64_t k = 0; k < sets(g); k++) {
        set     s = set_of(g, k);
        int64_t n = s.rows * g->s;
        double  m = 0, v = 0;

        for (int64_t e = 0; e < n; e++)
            m += tpi_load(g->t, x, element(g, s, e)) / (double)n;
        for (int64_t e = 0; e < n; e++) {
            double d = tpi_load(g->t, x, element(g, s, e)) - m;

            v += d * d / (double)n;
        }
        tpi_store(wide, mean, k, m);
        tpi_store(wide, var, k, v);
    }
    return TP_OK;
}

tp_code tpi_ref_set_norm(const tpi_run *r, const tpi_sets *g, void *y, const void *x, const void *mean, const void *var,
                         const void *w, const void *b)
{
    tp_dtype wide = tpi_ref_wide(g->t);

    (void)r;
    for (int64_t k = 0; k < sets(g); k++) {
        set    s = set_of(g, k);
        double m = tpi_load(wide, mean, k), rstd = 1 / sqrt(tpi_load(wide, var, k) + g->eps);

        for (int64_t e = 0; e < s.rows * g->s; e++) {
            int64_t at = element(g, s, e), ch = channel(g, at);
            double  v = (tpi_load(g->t, x, at) - m) * rstd * (w ? tpi_load(g->wt, w, ch) : 1);

            tpi_store(g->t, y, at, v + (b ? tpi_load(g->wt, b, ch) : 0));
        }
    }
    return TP_OK;
}

/* With z = (x - mean) rstd and h = dy w:  dx = rstd (h - avg h - z avg(h z)), averages over the set, 0 where it is fixed */
static void set_dx(const tpi_sets *g, set s, void *dx, const void *dy, const void *x, double m, double rstd,
                   const void *w, bool fixed)
{
    int64_t n = s.rows * g->s;
    double  h1 = 0, hz = 0;

    for (int64_t e = 0; e < n && !fixed; e++) {
        int64_t at = element(g, s, e);
        double  h = tpi_load(g->t, dy, at) * (w ? tpi_load(g->wt, w, channel(g, at)) : 1);

        h1 += h / (double)n;
        hz += h * (tpi_load(g->t, x, at) - m) * rstd / (double)n;
    }
    for (int64_t e = 0; e < n; e++) {
        int64_t at = element(g, s, e);
        double  h = tpi_load(g->t, dy, at) * (w ? tpi_load(g->wt, w, channel(g, at)) : 1);

        tpi_store(g->t, dx, at, rstd * (h - h1 - (fixed ? 0 : (tpi_load(g->t, x, at) - m) * rstd * hz)));
    }
}

/* dw[c] += sum dy z, db[c] += sum dy */
static void channel_grads(const tpi_sets *g, int64_t ch, void *dw, void *db, const void *dy, const void *x,
                          const void *mean, const void *var)
{
    tp_dtype wide = tpi_ref_wide(g->t);
    double   sw = 0, sb = 0;

    for (int64_t i = 0; i < g->n; i++) {
        int64_t k = g->groups == 0 ? ch : i * g->groups + ch / (g->c / g->groups), at = (i * g->c + ch) * g->s;
        double  m = tpi_load(wide, mean, k), rstd = 1 / sqrt(tpi_load(wide, var, k) + g->eps);

        for (int64_t j = 0; j < g->s; j++) {
            double d = tpi_load(g->t, dy, at + j);

            sb += d;
            sw += d * (tpi_load(g->t, x, at + j) - m) * rstd;
        }
    }
    if (dw != NULL)
        tpi_store(wide, dw, ch, tpi_load(wide, dw, ch) + sw);
    if (db != NULL)
        tpi_store(wide, db, ch, tpi_load(wide, db, ch) + sb);
}

tp_code tpi_ref_set_norm_grad(const tpi_run *r, const tpi_sets *g, void *dx, void *dw, void *db, const void *dy,
                              const void *x, const void *mean, const void *var, const void *w, bool fixed)
{
    tp_dtype wide = tpi_ref_wide(g->t);

    (void)r;
    for (int64_t k = 0; dx != NULL && k < sets(g); k++)
        set_dx(g, set_of(g, k), dx, dy, x, tpi_load(wide, mean, k), 1 / sqrt(tpi_load(wide, var, k) + g->eps), w, fixed);
    for (int64_t ch = 0; (dw != NULL || db != NULL) && ch < g->c; ch++)
        channel_grads(g, ch, dw, db, dy, x, mean, var);
    return TP_OK;
}
