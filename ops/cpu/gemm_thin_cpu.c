/*
 * gemm_thin_cpu.c - a few rows times the transpose of a stored matrix, as in generation: bound by reading B, so B is
 * read once, in its own dtype, and never packed.
 */
#include "ops/cpu/product.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"
#include "ops/cpu/widen.h"

#include <omp.h>

enum { MOST_ROWS = 12, GROUP = 3, WIDE = 4 }; /* GROUP x WIDE sums in registers */

bool CPU(thin_takes)(const tpi_gemm *g)
{
    return g->b_row == 1 && g->m <= MOST_ROWS && g->n >= 8 && g->bt != TP_F64;
}

size_t CPU(thin_space)(const tpi_gemm *g)
{
    return (size_t)(g->m * g->k) * sizeof(float);
}

/* sums[i][j] = a[i] . b[j], a [rows][k] f32, b `wide` rows of dtype t, b_col apart.  rows, wide and t are constants in
 * every call. */
TPI_FLAT void dots(const int rows, const int wide, tp_dtype t, int64_t k, const float *a, const void *b, int64_t b_col,
                   float sums[GROUP][WIDE])
{
    tpi_vf  s[GROUP][WIDE] = { 0 };
    int64_t l = 0;

    for (; l + TPI_VL <= k; l += TPI_VL) {
#pragma GCC unroll 4
        for (int j = 0; j < wide; j++) {
            tpi_vf v = tpi_widen(t, b, j * b_col + l);

            /* the same place in the next rows: short streams end before the hardware has seen them */
            if (wide == WIDE)
                __builtin_prefetch(tpi_at(b, t, (j + WIDE) * b_col + l));
#pragma GCC unroll 3
            for (int i = 0; i < rows; i++)
                s[i][j] = tpi_vfma(tpi_vload(a + i * k + l), v, s[i][j]);
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
#pragma GCC unroll 3
        for (int i = 0; i < rows; i++) {
            float sum = tpi_vsum(s[i][j]);

            for (int64_t r = l; r < k; r++)
                sum += a[i * k + r] * tpi_widen_one(t, b, j * b_col + r);
            sums[i][j] = sum;
        }
    }
}

TPI_FLAT void some_dots(int rows, tp_dtype t, int64_t k, const float *a, const void *b, int64_t b_col, int wide,
                        float sums[GROUP][WIDE])
{
    if (wide == WIDE) {
        if (rows == 1)
            dots(1, WIDE, t, k, a, b, b_col, sums);
        else if (rows == 2)
            dots(2, WIDE, t, k, a, b, b_col, sums);
        else
            dots(3, WIDE, t, k, a, b, b_col, sums);
        return;
    }
    for (int j = 0; j < wide; j++) {
        for (int i = 0; i < rows; i++) {
            float one[GROUP][WIDE];

            dots(1, 1, t, k, a + i * k, tpi_at(b, t, j * b_col), b_col, one);
            sums[i][j] = one[0][0];
        }
    }
}

static void store(const tpi_gemm *g, int64_t row, int64_t col, int rows, int wide, float sums[GROUP][WIDE])
{
    for (int i = 0; i < rows; i++) {
        int64_t at = (row + i) * g->c_row + col;
        float   old[WIDE];

        if (g->beta != 0) {
            CPU(load_f32)(old, g->ct, g->c, at, 1, wide);
            for (int j = 0; j < wide; j++)
                sums[i][j] += (float)g->beta * old[j];
        }
        CPU(store_f32)(g->ct, g->c, at, 1, wide, sums[i]);
    }
}

TPI_FLAT void columns_as(tp_dtype t, const tpi_gemm *g, const float *a, int64_t begin, int64_t end)
{
    for (int64_t j = begin; j < end; j += WIDE) {
        int wide = (int)tpi_min64(end - j, WIDE);

        for (int64_t i = 0; i < g->m; i += GROUP) {
            int   rows = (int)tpi_min64(g->m - i, GROUP);
            float sums[GROUP][WIDE];

            some_dots(rows, t, g->k, a + i * g->k, tpi_at(g->b, t, j * g->b_col), g->b_col, wide, sums);
            store(g, i, j, rows, wide, sums);
        }
    }
}

static void columns(const tpi_gemm *g, const float *a, int64_t begin, int64_t end)
{
    if (g->bt == TP_F32)
        columns_as(TP_F32, g, a, begin, end);
    else if (g->bt == TP_BF16)
        columns_as(TP_BF16, g, a, begin, end);
    else
        columns_as(TP_F16, g, a, begin, end);
}

void CPU(thin_gemm)(const tpi_gemm *g, int threads, void *ws)
{
    float  *a = ws;
    int64_t groups = tpi_ceil_div(g->n, WIDE);

    for (int64_t i = 0; i < g->m; i++)
        CPU(load_f32)(a + i * g->k, g->at, g->a, i * g->a_row, g->a_col, g->k);
    if (threads <= 1 || g->n * g->k < TPI_PARALLEL_MIN) {
        columns(g, a, 0, g->n);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        int64_t t = omp_get_thread_num(), all = omp_get_num_threads();

        columns(g, a, groups * t / all * WIDE, tpi_min64(groups * (t + 1) / all * WIDE, g->n));
    }
}
