/*
 * blocks_ref.c - DiaBlo's product with the blocks on a matrix's diagonal, its gradients, and silu(g) u.  Columns beyond
 * `in` and `out` do not exist: the loops leave out what would fall there.
 */
#include "ops/ref/ref.h"

#include <math.h>

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

size_t tpi_ref_blocks_space(const tpi_run *r, const tpi_blocks *b)
{
    (void)r;
    (void)b;
    return 0;
}

/* y[r, c] = sum_i x[r, k bi + i] A[k, i, j],  c = k bo + j */
tp_code tpi_ref_blocks(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add)
{
    (void)r;
    for (int64_t row = 0; row < b->rows; row++) {
        for (int64_t c = 0; c < b->out; c++) {
            int64_t k = c / b->bo, j = c % b->bo, n = k < b->blocks ? smaller(b->bi, b->in - k * b->bi) : 0;
            double  sum = add ? tpi_load(b->t, y, row * b->out + c) : 0;

            for (int64_t i = 0; i < n; i++)
                sum += tpi_load(b->t, x, row * b->in + k * b->bi + i) * tpi_load(b->at, a, (k * b->bi + i) * b->bo + j);
            tpi_store(b->t, y, row * b->out + c, sum);
        }
    }
    return TP_OK;
}

/* dA[k, i, j] = beta dA[k, i, j] + sum_r x[r, k bi + i] dy[r, k bo + j];  0 where x or dy has no such column */
tp_code tpi_ref_blocks_da(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta)
{
    tp_dtype wide = tpi_ref_wide(b->t);

    (void)r;
    for (int64_t at = 0; at < b->blocks * b->bi * b->bo; at++) {
        int64_t from = at / b->bo, to = at / (b->bi * b->bo) * b->bo + at % b->bo; /* columns of x and dy */
        bool    dead = from >= b->in || to >= b->out;
        double  sum = beta == 0 || dead ? 0 : beta * tpi_load(wide, da, at);

        for (int64_t row = 0; !dead && row < b->rows; row++)
            sum += tpi_load(b->t, x, row * b->in + from) * tpi_load(b->t, dy, row * b->out + to);
        tpi_store(wide, da, at, sum);
    }
    return TP_OK;
}

/* dx[r, c] = sum_j dy[r, k bo + j] A[k, i, j],  c = k bi + i */
tp_code tpi_ref_blocks_dx(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add)
{
    (void)r;
    for (int64_t row = 0; row < b->rows; row++) {
        for (int64_t c = 0; c < b->in; c++) {
            int64_t k = c / b->bi, n = k < b->blocks ? smaller(b->bo, b->out - k * b->bo) : 0;
            double  sum = add ? tpi_load(b->t, dx, row * b->in + c) : 0;

            for (int64_t j = 0; j < n; j++)
                sum += tpi_load(b->t, dy, row * b->out + k * b->bo + j) * tpi_load(b->at, a, c * b->bo + j);
            tpi_store(b->t, dx, row * b->in + c, sum);
        }
    }
    return TP_OK;
}

/* y = g sigmoid(g) u */
tp_code tpi_ref_silu_mul(const tpi_run *r, tp_dtype t, void *y, const void *g, const void *u, int64_t n)
{
    (void)r;
    for (int64_t i = 0; i < n; i++) {
        double v = tpi_load(t, g, i);

        tpi_store(t, y, i, v / (1 + exp(-v)) * tpi_load(t, u, i));
    }
    return TP_OK;
}

/* With s = sigmoid(g):  dg = dy u s (1 + g (1 - s)),  du = dy g s */
tp_code tpi_ref_silu_mul_grad(const tpi_run *r, tp_dtype t, void *dg, void *du, const void *dy, const void *g,
                              const void *u, int64_t n)
{
    (void)r;
    for (int64_t i = 0; i < n; i++) {
        double v = tpi_load(t, g, i), s = 1 / (1 + exp(-v)), d = tpi_load(t, dy, i), w = tpi_load(t, u, i);

        tpi_store(t, dg, i, d * w * s * (1 + v * (1 - s)));
        tpi_store(t, du, i, d * v * s);
    }
    return TP_OK;
}
