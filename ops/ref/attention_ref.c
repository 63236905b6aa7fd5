/*
 * attention_ref.c - attention row by row, and its gradient from the kept log-sum-exp.
 */
#include "core/internal.h"
#include "ops/ref/ref.h"

#include <math.h>

/* Where the vector of (batch b, position s, head h) begins; s3: strides of batch, position, head. */
static int64_t vec(const int64_t s3[3], int64_t b, int64_t s, int64_t h)
{
    return b * s3[0] + s * s3[1] + h * s3[2];
}

/* The key/value head that head h reads. */
static int64_t kv_head(const tpi_attn *a, int64_t h)
{
    return h / (a->heads / a->kv_heads);
}

/* Row (b, s) sees the keys low <= j < high. */
static void visible(const tpi_attn *a, int64_t b, int64_t s, int64_t *low, int64_t *high)
{
    int64_t last = a->causal ? s + a->sk - a->sq + 1 : a->sk;

    *low = a->range ? a->range[(b * a->sq + s) * 2] : 0;
    *high = a->range ? a->range[(b * a->sq + s) * 2 + 1] : a->sk;
    *low = *low < 0 ? 0 : *low;
    *high = *high > a->sk ? a->sk : *high;
    *high = *high > last ? last : *high;
}

/* sum_d x[xi + d] y[yi + d] */
static double dot(const tpi_attn *a, const void *x, int64_t xi, const void *y, int64_t yi)
{
    double sum = 0;

    for (int64_t d = 0; d < a->dim; d++)
        sum += tpi_load(a->t, x, xi + d) * tpi_load(a->t, y, yi + d);
    return sum;
}

/* scale q[b, s, h] . k[b, j, h] */
static double score(const tpi_attn *a, int64_t b, int64_t h, int64_t s, int64_t j)
{
    return a->scale * dot(a, a->q, vec(a->qs, b, s, h), a->k, vec(a->ks, b, j, kv_head(a, h)));
}

/* log sum_j e^score over what the row sees; -inf when that is nothing */
static double row_lse(const tpi_attn *a, int64_t b, int64_t h, int64_t s)
{
    int64_t low, high;
    double  m = -INFINITY, sum = 0;

    visible(a, b, s, &low, &high);
    for (int64_t j = low; j < high; j++)
        m = fmax(m, score(a, b, h, s, j));
    for (int64_t j = low; j < high; j++)
        sum += exp(score(a, b, h, s, j) - m);
    return high > low ? m + log(sum) : -INFINITY;
}

/* o[b, s, h] = sum_j e^(score - lse) v[b, j, h] */
static void row_out(const tpi_attn *a, int64_t b, int64_t h, int64_t s, double lse, double *row)
{
    int64_t low, high;

    visible(a, b, s, &low, &high);
    for (int64_t d = 0; d < a->dim; d++)
        row[d] = 0;
    for (int64_t j = low; j < high; j++) {
        double p = exp(score(a, b, h, s, j) - lse);

        for (int64_t d = 0; d < a->dim; d++)
            row[d] += p * tpi_load(a->t, a->v, vec(a->vs, b, j, kv_head(a, h)) + d);
    }
    for (int64_t d = 0; d < a->dim; d++)
        tpi_store(a->t, a->o, vec(a->os, b, s, h) + d, row[d]);
}

size_t tpi_ref_attention_space(const tpi_run *r, const tpi_attn *a)
{
    (void)r;
    (void)a;
    return 0;
}

tp_code tpi_ref_attention(const tpi_run *r, const tpi_attn *a)
{
    double *row = tpi_alloc(NULL, (size_t)a->dim, sizeof *row);

    (void)r;
    if (!row)
        return TP_ENOMEM;
    for (int64_t b = 0; b < a->batch; b++) {
        for (int64_t h = 0; h < a->heads; h++) {
            for (int64_t s = 0; s < a->sq; s++) {
                double lse = row_lse(a, b, h, s);

                row_out(a, b, h, s, lse, row);
                tpi_store(tpi_ref_wide(a->t), a->lse, (b * a->heads + h) * a->sq + s, lse);
            }
        }
    }
    tpi_free(row);
    return TP_OK;
}

/*
 * The gradient.  With P = e^(score - lse), dP[j] = do . v[j] and D = sum_j P[j] dP[j]:
 *
 *       dscore[j] = P[j] (dP[j] - D)
 *       dq    = scale sum_j dscore[j] k[j]
 *       dk[j] = scale sum over rows of dscore[j] q
 *       dv[j] = sum over rows of P[j] do
 */
static double prob(const tpi_attn *a, int64_t b, int64_t h, int64_t s, int64_t j)
{
    return exp(score(a, b, h, s, j) - tpi_load(tpi_ref_wide(a->t), a->lse, (b * a->heads + h) * a->sq + s));
}

static double dprob(const tpi_attn *a, int64_t b, int64_t h, int64_t s, int64_t j)
{
    return dot(a, a->dout, vec(a->dos, b, s, h), a->v, vec(a->vs, b, j, kv_head(a, h)));
}

/* dq[b, s, h]; returns D, which dk needs too */
static double row_dq(const tpi_attn *a, int64_t b, int64_t h, int64_t s, double *row)
{
    int64_t low, high;
    double  mean = 0;

    visible(a, b, s, &low, &high);
    for (int64_t j = low; j < high; j++)
        mean += prob(a, b, h, s, j) * dprob(a, b, h, s, j);
    for (int64_t d = 0; d < a->dim; d++)
        row[d] = 0;
    for (int64_t j = low; j < high; j++) {
        double ds = prob(a, b, h, s, j) * (dprob(a, b, h, s, j) - mean);

        for (int64_t d = 0; d < a->dim; d++)
            row[d] += a->scale * ds * tpi_load(a->t, a->k, vec(a->ks, b, j, kv_head(a, h)) + d);
    }
    for (int64_t d = 0; d < a->dim; d++)
        tpi_store(a->t, a->dq, vec(a->dqs, b, s, h) + d, row[d]);
    return mean;
}

/* Adds what row (b, h, s) gives to dk and dv of key j. */
static void add_row(const tpi_attn *a, int64_t b, int64_t h, int64_t s, int64_t j, double mean, double *dk, double *dv)
{
    double p = prob(a, b, h, s, j), ds = p * (dprob(a, b, h, s, j) - mean);

    for (int64_t d = 0; d < a->dim; d++) {
        dk[d] += a->scale * ds * tpi_load(a->t, a->q, vec(a->qs, b, s, h) + d);
        dv[d] += p * tpi_load(a->t, a->dout, vec(a->dos, b, s, h) + d);
    }
}

/* dk and dv of key j: from all rows that see it, in every head that reads head g of the keys; mean [B, H, Sq] */
static void key_grad(const tpi_attn *a, int64_t b, int64_t g, int64_t j, const double *mean, double *dk, double *dv)
{
    for (int64_t d = 0; d < a->dim; d++)
        dk[d] = dv[d] = 0;
    for (int64_t h = 0; h < a->heads; h++) {
        for (int64_t s = 0; kv_head(a, h) == g && s < a->sq; s++) {
            int64_t low, high;

            visible(a, b, s, &low, &high);
            if (low <= j && j < high)
                add_row(a, b, h, s, j, mean[(b * a->heads + h) * a->sq + s], dk, dv);
        }
    }
    for (int64_t d = 0; d < a->dim; d++) {
        tpi_store(a->t, a->dk, vec(a->dks, b, j, g) + d, dk[d]);
        tpi_store(a->t, a->dv, vec(a->dvs, b, j, g) + d, dv[d]);
    }
}

tp_code tpi_ref_attention_grad(const tpi_run *r, const tpi_attn *a)
{
    size_t  rows = (size_t)(a->batch * a->heads * a->sq), dim = (size_t)a->dim;
    double *mean = tpi_alloc(NULL, rows + 2 * dim, sizeof *mean), *dk, *dv;

    (void)r;
    if (!mean)
        return TP_ENOMEM;
    dk = mean + rows;
    dv = dk + dim;
    for (int64_t b = 0; b < a->batch; b++) {
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t s = 0; s < a->sq; s++)
                mean[(b * a->heads + h) * a->sq + s] = row_dq(a, b, h, s, dk);
        for (int64_t g = 0; g < a->kv_heads; g++)
            for (int64_t j = 0; j < a->sk; j++)
                key_grad(a, b, g, j, mean, dk, dv);
    }
    tpi_free(mean);
    return TP_OK;
}
