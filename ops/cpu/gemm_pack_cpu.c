/*
 * gemm_pack_cpu.c - products over packed panels: how 16-bit floats are multiplied on a CPU that cannot, and what is too small or too
 * oddly strided for oneDNN.
 *
 * B is packed by slabs of columns for all threads, A by blocks of rows for each; both become f32 on the way.  A task is a block of
 * rows by a part of the slab's columns, handed out dynamically; which thread does it changes no bit.
 */
#include "ops/cpu/product.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"

#include <omp.h>
#include <string.h>

enum {
    STEPS = 256,         /* of k at a time: a panel of B (16 or 32 KiB) stays in L1 */
    ROWS = 96,           /* of A a task: with STEPS 96 KiB in L2 */
    COLS = 512,          /* of B a slab, and of sums a task */
    SLAB = 2 * 1024 * 1024 /* floats of a slab: in L3 */
};

typedef struct {
    const tpi_gemm *g;
    int             threads;
    int64_t         cols;        /* of a slab */
    int64_t         rows;        /* of a task */
    int64_t         row_tasks, col_tasks; /* of a slab */
    float          *slab;        /* [cols / TPI_PANEL][k][TPI_PANEL] */
    float          *own;         /* of each thread: A [rows / TPI_PANEL][STEPS][TPI_PANEL], sums [rows][cols] */
    int64_t         own_size;
    int64_t         next;        /* task number, counted through all slabs */
} plan;

static plan plan_new(const tpi_gemm *g, int threads)
{
    plan    p = { .g = g, .threads = threads };
    int64_t blocks = tpi_ceil_div(g->m, ROWS);

    p.cols = tpi_min64(tpi_round_up(g->n, TPI_PANEL), COLS);
    while (p.cols > 4 * TPI_PANEL && p.cols * g->k > SLAB)
        p.cols = tpi_round_up(p.cols / 2, TPI_PANEL);
    if (threads > 1) /* the same number of blocks for each thread */
        blocks = tpi_round_up(blocks, threads);
    p.rows = tpi_round_up(tpi_ceil_div(g->m, blocks), TPI_PANEL);
    p.row_tasks = tpi_ceil_div(g->m, p.rows);
    p.col_tasks = p.row_tasks >= threads ? 1 : tpi_min64(tpi_ceil_div(2 * threads, p.row_tasks), p.cols / TPI_PANEL);
    p.own_size = p.rows * STEPS + p.rows * p.cols;
    return p;
}

size_t CPU(pack_space)(const tpi_gemm *g, int threads)
{
    plan p = plan_new(g, threads);

    return ((size_t)(p.cols * g->k) + (size_t)(p.own_size * threads)) * sizeof(float);
}

static void pack_slab(const plan *p, int64_t first, int64_t panels, int thread)
{
    const tpi_gemm *g = p->g;

    for (int64_t i = thread; i < panels; i += p->threads) {
        int64_t at = first + i * TPI_PANEL;

        CPU(panel_in)(g->bt, tpi_at(g->b, g->bt, at * g->b_col), g->b_col, g->b_row, tpi_min64(g->n - at, TPI_PANEL), g->k,
                      p->slab + i * g->k * TPI_PANEL);
    }
}

/* c = beta c + sums, one row */
static void merge_row(const tpi_gemm *g, int64_t at, int64_t n, float *sums)
{
    float old[TPI_CHUNK], beta = (float)g->beta;

    for (int64_t j = 0; g->beta != 0 && j < n; j += TPI_CHUNK) {
        int64_t      part = tpi_min64(n - j, TPI_CHUNK);
        const float *c = tpi_in_f32(old, g->ct, g->c, at + j, 1, part);

        for (int64_t i = 0; i < part; i++)
            sums[j + i] += beta * c[i];
    }
    CPU(store_f32)(g->ct, g->c, at, 1, n, sums);
}

/* Rows from `row` on times the panels [p0, p1) of the slab that begins at column `first`. */
static void run_task(const plan *p, int64_t first, int64_t row, int64_t p0, int64_t p1, float *own)
{
    const tpi_gemm *g = p->g;
    int64_t         rows = tpi_min64(g->m - row, p->rows), width = (p1 - p0) * TPI_PANEL;
    float          *a = own, *sums = own + p->rows * STEPS;

    for (int64_t l = 0; l < g->k; l += STEPS) {
        int64_t steps = tpi_min64(g->k - l, STEPS);

        for (int64_t i = 0; i < rows; i += TPI_PANEL)
            CPU(panel_in)(g->at, tpi_at(g->a, g->at, (row + i) * g->a_row + l * g->a_col), g->a_row, g->a_col,
                          tpi_min64(rows - i, TPI_PANEL), steps, a + i * STEPS);
        for (int64_t j = p0; j < p1; j++)
            for (int64_t i = 0; i < rows; i += TPI_PANEL)
                CPU(panel_mul)(tpi_min64(rows - i, TPI_PANEL), steps, a + i * STEPS, 1, TPI_PANEL,
                               p->slab + (j * g->k + l) * TPI_PANEL, TPI_PANEL, sums + i * width + (j - p0) * TPI_PANEL, width, l > 0);
    }
    first += p0 * TPI_PANEL;
    for (int64_t i = 0; i < rows; i++)
        merge_row(g, (row + i) * g->c_row + first, tpi_min64(g->n - first, width), sums + i * width);
}

static int64_t take(plan *p)
{
    int64_t t;

#pragma omp atomic capture
    t = p->next++;
    return t;
}

static void wait_all(const plan *p)
{
    if (p->threads > 1) {
#pragma omp barrier
    }
}

/* One thread's part of the whole.  A thread keeps the task that it drew too early for the next slab. */
static void work(plan *p, int thread)
{
    const tpi_gemm *g = p->g;
    float          *own = p->own + thread * p->own_size;
    int64_t         end = 0, t = take(p);

    for (int64_t first = 0; first < g->n; first += p->cols) {
        int64_t panels = tpi_ceil_div(tpi_min64(g->n - first, p->cols), TPI_PANEL), begin = end;

        end += p->row_tasks * p->col_tasks;
        pack_slab(p, first, panels, thread);
        wait_all(p);
        for (; t < end; t = take(p)) {
            int64_t row = (t - begin) / p->col_tasks, col = (t - begin) % p->col_tasks;
            int64_t p0 = panels * col / p->col_tasks, p1 = panels * (col + 1) / p->col_tasks;

            if (p0 < p1)
                run_task(p, first, row * p->rows, p0, p1, own);
        }
        wait_all(p);
    }
}

void CPU(pack_gemm)(const tpi_gemm *g, int threads, void *ws)
{
    plan p = plan_new(g, threads);

    p.slab = ws;
    p.own = p.slab + p.cols * g->k;
    if (threads <= 1) {
        work(&p, 0);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
#pragma omp single
        p.threads = omp_get_num_threads(); /* may be fewer */
        work(&p, omp_get_thread_num());
    }
}
