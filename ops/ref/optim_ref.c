/*
 * optim_ref.c - one step of an optimiser over many parameters; sum of squares; the search for NaN and Inf.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* One element of a parameter on its way through a step. */
typedef struct {
    double p, g, m, v;
} element;

static void sgd(const tpi_hyper *h, const tpi_step *s, element *e)
{
    e->g += s->decay * e->p;
    if (h->beta1 != 0) {
        e->m = h->step <= 1 ? e->g : h->beta1 * e->m + (1 - h->beta2) * e->g;
        e->g = h->nesterov ? e->g + h->beta1 * e->m : e->m;
    }
    e->p -= s->lr * e->g;
}

/* p -= lr mhat / (sqrt(vhat) + eps) */
static void adam(const tpi_hyper *h, const tpi_step *s, element *e)
{
    double fix1 = 1 - pow(h->beta1, (double)h->step), fix2 = 1 - pow(h->beta2, (double)h->step);

    e->m = h->beta1 * e->m + (1 - h->beta1) * e->g;
    e->v = h->beta2 * e->v + (1 - h->beta2) * e->g * e->g;
    e->p -= s->lr * (e->m / fix1) / (sqrt(e->v / fix2) + h->eps);
}

static void lion(const tpi_hyper *h, const tpi_step *s, element *e)
{
    double c = h->beta1 * e->m + (1 - h->beta1) * e->g;

    e->p -= s->lr * (c != c ? c : (c > 0) - (c < 0));
    e->m = h->beta2 * e->m + (1 - h->beta2) * e->g;
}

static void advance(const tpi_hyper *h, const tpi_step *s, element *e)
{
    switch (h->rule) {
    case TPI_SGD: sgd(h, s, e); return;
    case TPI_ADAMW:
        e->p *= 1 - s->lr * s->decay;
        adam(h, s, e);
        return;
    case TPI_ADAM:
        e->g += s->decay * e->p;
        adam(h, s, e);
        return;
    case TPI_LION:
        e->p *= 1 - s->lr * s->decay;
        lion(h, s, e);
        return;
    }
}

/* Moments that a rule does without may be NULL. */
static void step_one(const tpi_hyper *h, const tpi_step *s, int64_t i)
{
    tp_dtype wide = tpi_ref_wide(s->t);
    element  e = { .g = tpi_load(wide, s->g, i) * h->grad_scale };

    e.p = s->master ? tpi_load(wide, s->master, i) : tpi_load(s->t, s->p, i);
    e.m = s->m ? tpi_load(wide, s->m, i) : 0;
    e.v = s->v ? tpi_load(wide, s->v, i) : 0;
    advance(h, s, &e);
    if (s->m)
        tpi_store(wide, s->m, i, e.m);
    if (s->v)
        tpi_store(wide, s->v, i, e.v);
    if (s->master) { /* the parameter is the master as it is kept, rounded again */
        tpi_store(wide, s->master, i, e.p);
        e.p = tpi_load(wide, s->master, i);
    }
    tpi_store(s->t, s->p, i, e.p);
}

tp_code tpi_ref_optim(const tpi_run *r, const tpi_hyper *h, const tpi_step *s, int64_t count)
{
    (void)r;
    for (int64_t c = 0; c < count; c++)
        for (int64_t i = 0; i < s[c].n; i++)
            step_one(h, &s[c], i);
    return TP_OK;
}

/* *sum = sum over all x of x^2 */
tp_code tpi_ref_sumsq(const tpi_run *r, tp_dtype t, const void *const *x, const int64_t *n, int64_t count, double *sum)
{
    (void)r;
    *sum = 0;
    for (int64_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < n[c]; i++) {
            double v = tpi_load(t, x[c], i);

            *sum += v * v;
        }
    }
    return TP_OK;
}

tp_code tpi_ref_nonfinite(const tpi_run *r, tp_dtype t, const void *x, int64_t n, bool *found)
{
    (void)r;
    *found = false;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(tpi_load(t, x, i)))
            *found = true;
    return TP_OK;
}
