/*
 * gemm_cpu.c - C = A B + beta C: which way a product goes.
 *
 *   f64                                    own loop
 *   few rows, B transposed as weights are  thin: B is streamed
 *   f32, and 16 bits where the CPU does it oneDNN
 *   the rest                               packed: 16 bits become f32 on the way; small or oddly strided f32
 *
 * A batch of at least as many products as threads runs side by side, one thread each.
 */
#include "ops/cpu/cpu.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/product.h"
#include "ops/cpu/span.h"

#include <omp.h>

typedef enum { DOUBLE, THIN, ONEDNN, PACKED } way;

/* From here on oneDNN's own cost of 1 to 3 us is small; below that our own code on one thread is faster. */
static bool is_small(const tpi_gemm *g)
{
    return (double)g->m * (double)g->n * (double)g->k < 32.0 * 32 * 32;
}

static way choose(const tpi_gemm *g)
{
    if (g->at == TP_F64)
        return DOUBLE;
    if (CPU(thin_takes)(g))
        return THIN;
    return !is_small(g) && tpi_dnnl_takes(g) ? ONEDNN : PACKED;
}

/* Strides of extents of 1 are free: made such that the rest of the code sees a matrix. */
static tpi_gemm canonical(tpi_gemm g)
{
    if (g.m == 1)
        g.a_row = g.a_col == 1 ? g.k : 1;
    if (g.k == 1) {
        g.a_col = g.a_row == 1 ? g.m : 1;
        g.b_row = g.b_col == 1 ? g.n : 1;
    }
    if (g.n == 1)
        g.b_col = g.b_row == 1 ? g.k : 1;
    if (g.m == 1)
        g.c_row = g.n;
    return g;
}

static int threads_for(const tpi_gemm *g, int threads)
{
    return is_small(g) ? 1 : threads;
}

static size_t space_one(const tpi_gemm *g, int threads)
{
    switch (choose(g)) {
    case DOUBLE: return CPU(double_space)(g, threads);
    case THIN: return CPU(thin_space)(g);
    case ONEDNN: return tpi_dnnl_space(g);
    case PACKED: return CPU(pack_space)(g, threads_for(g, threads));
    }
    return 0;
}

static tp_code run_one(const tpi_gemm *g, int threads, void *ws)
{
    switch (choose(g)) {
    case DOUBLE: CPU(double_gemm)(g, threads, ws); break;
    case THIN: CPU(thin_gemm)(g, threads, ws); break;
    case ONEDNN: return tpi_dnnl_gemm(g, ws);
    case PACKED: CPU(pack_gemm)(g, threads_for(g, threads), ws); break;
    }
    return TP_OK;
}

static bool side_by_side(const tpi_gemm *g, int threads)
{
    return threads > 1 && g->batch[0] * g->batch[1] >= threads;
}

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static bool is_empty(const tpi_gemm *g)
{
    return g->m <= 0 || g->n <= 0 || g->batch[0] <= 0 || g->batch[1] <= 0;
}

size_t CPU(gemm_space)(const tpi_run *r, const tpi_gemm *given)
{
    tpi_gemm g = canonical(*given);

    if (is_empty(&g) || g.k <= 0)
        return 0;
    return side_by_side(&g, r->threads) ? aligned(space_one(&g, 1)) * (size_t)r->threads : space_one(&g, r->threads);
}

/* Product number z of the batch */
static tpi_gemm one_of(const tpi_gemm *g, int64_t z)
{
    int64_t  z0 = z / g->batch[1], z1 = z % g->batch[1];
    tpi_gemm one = *g;

    one.a = tpi_at(g->a, g->at, z0 * g->a_batch[0] + z1 * g->a_batch[1]);
    one.b = tpi_at(g->b, g->bt, z0 * g->b_batch[0] + z1 * g->b_batch[1]);
    one.c = tpi_at_out(g->c, g->ct, z0 * g->c_batch[0] + z1 * g->c_batch[1]);
    return one;
}

/* C = beta C, when nothing is summed */
static void scale(const tpi_gemm *g)
{
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++)
            tpi_store(g->ct, g->c, i * g->c_row + j,
                      g->beta == 0 ? 0 : g->beta * tpi_load(g->ct, g->c, i * g->c_row + j));
}

static tp_code run_side_by_side(const tpi_gemm *g, int threads, char *ws)
{
    size_t  size = aligned(space_one(g, 1));
    int64_t all = g->batch[0] * g->batch[1];
    int     worst = TP_OK;

#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(max : worst)
    for (int64_t z = 0; z < all; z++) {
        tpi_gemm one = one_of(g, z);
        tp_code  code = run_one(&one, 1, size ? ws + size * (size_t)omp_get_thread_num() : NULL);

        worst = (int)code > worst ? (int)code : worst;
    }
    return (tp_code)worst;
}

/* oneDNN takes the number of threads from OpenMP, which keeps it per thread. */
static int set_threads(int n)
{
    int before = omp_get_max_threads();

    if (before != n)
        omp_set_num_threads(n);
    return before;
}

tp_code CPU(gemm)(const tpi_run *r, const tpi_gemm *given)
{
    tpi_gemm g = canonical(*given);
    tp_code  code = TP_OK;
    int      before;

    if (is_empty(&g))
        return TP_OK;
    if (r->ws == NULL && CPU(gemm_space)(r, given) > 0)
        return TP_ENOMEM;
    before = set_threads(r->threads);
    if (g.k > 0 && side_by_side(&g, r->threads)) {
        code = run_side_by_side(&g, r->threads, r->ws);
    } else {
        for (int64_t z = 0; code == TP_OK && z < g.batch[0] * g.batch[1]; z++) {
            tpi_gemm one = one_of(&g, z);

            if (g.k > 0)
                code = run_one(&one, r->threads, r->ws);
            else
                scale(&one);
        }
    }
    set_threads(before);
    return code;
}
