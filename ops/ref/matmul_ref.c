/*
 * matmul_ref.c - batched matrix product through strides.
 */
#include "ops/ref/ref.h"

size_t tpi_ref_gemm_space(const tpi_run *r, const tpi_gemm *g)
{
    (void)r;
    (void)g;
    return 0;
}

/* C = A B + beta C for one matrix of the batch, whose operands begin at elements a, b, c; with beta 0 the old C is not
 * read, for it may hold NaN. */
static void multiply(const tpi_gemm *g, int64_t a, int64_t b, int64_t c)
{
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            int64_t ci = c + i * g->c_row + j;
            double  sum = g->beta == 0 ? 0 : g->beta * tpi_load(g->ct, g->c, ci);

            for (int64_t l = 0; l < g->k; l++) {
                int64_t ai = a + i * g->a_row + l * g->a_col, bi = b + l * g->b_row + j * g->b_col;

                sum += tpi_load(g->at, g->a, ai) * tpi_load(g->bt, g->b, bi);
            }
            tpi_store(g->ct, g->c, ci, sum);
        }
    }
}

tp_code tpi_ref_gemm(const tpi_run *r, const tpi_gemm *g)
{
    (void)r;
    for (int64_t z0 = 0; z0 < g->batch[0]; z0++)
        for (int64_t z1 = 0; z1 < g->batch[1]; z1++)
            multiply(g, z0 * g->a_batch[0] + z1 * g->a_batch[1], z0 * g->b_batch[0] + z1 * g->b_batch[1],
                     z0 * g->c_batch[0] + z1 * g->c_batch[1]);
    return TP_OK;
}
