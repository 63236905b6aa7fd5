/*
 * gemm_double_cpu.c - products in f64, for gradient checks: blocked, packed, vectorised by the compiler, no more.
 */
#include "ops/cpu/product.h"

#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"

#include <omp.h>

enum { STEPS = 256, WIDE = 16, HIGH = 4 }; /* HIGH x WIDE sums at a time */

/* Of each thread: WIDE columns of B, [STEPS][WIDE] */
size_t CPU(double_space)(const tpi_gemm *g, int threads)
{
    (void)g;
    return (size_t)threads * STEPS * WIDE * sizeof(double);
}

/* sums += a b, a [HIGH][steps] by strides, b [steps][WIDE]; rows beyond `rows` repeat the last */
static void tile(const double *a, int64_t a_row, int64_t a_col, int64_t rows, int64_t steps, const double *restrict b,
                 double sums[HIGH][WIDE])
{
    const double *a0 = a, *a1 = a + (rows > 1 ? a_row : 0), *a2 = rows > 2 ? a + 2 * a_row : a1,
                 *a3 = rows > 3 ? a + 3 * a_row : a2;
    double s[HIGH][WIDE] = { { 0 } };

    for (int64_t l = 0; l < steps; l++) {
        double v0 = a0[l * a_col], v1 = a1[l * a_col], v2 = a2[l * a_col], v3 = a3[l * a_col];

#pragma omp simd
        for (int j = 0; j < WIDE; j++) {
            s[0][j] += v0 * b[l * WIDE + j];
            s[1][j] += v1 * b[l * WIDE + j];
            s[2][j] += v2 * b[l * WIDE + j];
            s[3][j] += v3 * b[l * WIDE + j];
        }
    }
    for (int i = 0; i < HIGH; i++)
        for (int j = 0; j < WIDE; j++)
            sums[i][j] += s[i][j];
}

static void pack(const tpi_gemm *g, int64_t col, int64_t l, int64_t steps, double *b)
{
    const double *from = (const double *)g->b + l * g->b_row + col * g->b_col;
    int64_t       wide = tpi_min64(g->n - col, WIDE);

    for (int64_t i = 0; i < steps; i++)
        for (int64_t j = 0; j < WIDE; j++)
            b[i * WIDE + j] = j < wide ? from[i * g->b_row + j * g->b_col] : 0;
}

/* Columns [col, col + WIDE) of C */
static void columns(const tpi_gemm *g, int64_t col, double *b)
{
    int64_t wide = tpi_min64(g->n - col, WIDE);
    double *c = (double *)g->c + col;

    for (int64_t l = 0; l < g->k; l += STEPS) {
        int64_t steps = tpi_min64(g->k - l, STEPS);
        double  beta = l > 0 ? 1 : g->beta;

        pack(g, col, l, steps, b);
        for (int64_t i = 0; i < g->m; i += HIGH) {
            int64_t rows = tpi_min64(g->m - i, HIGH);
            double  s[HIGH][WIDE] = { { 0 } };

            tile((const double *)g->a + i * g->a_row + l * g->a_col, g->a_row, g->a_col, rows, steps, b, s);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t j = 0; j < wide; j++)
                    c[(i + r) * g->c_row + j] = s[r][j] + (beta != 0 ? beta * c[(i + r) * g->c_row + j] : 0);
        }
    }
}

void CPU(double_gemm)(const tpi_gemm *g, int threads, void *ws)
{
    double *b = ws;

    if (threads <= 1 || g->m * g->n * g->k < TPI_PARALLEL_MIN) {
        for (int64_t j = 0; j < g->n; j += WIDE)
            columns(g, j, b);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t j = 0; j < g->n; j += WIDE)
        columns(g, j, b + omp_get_thread_num() * STEPS * WIDE);
}
