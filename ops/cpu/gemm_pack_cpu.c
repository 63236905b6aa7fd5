/*
 * gemm_pack_cpu.c - products over packed panels: how 16-bit floats are multiplied on a CPU that cannot, and what is too
 * small or too oddly strided for oneDNN.
 *
 * B is packed by slabs, DEPTH of k by COLS columns, for all threads; A by blocks of rows for each; both become f32 on
 * the way.  A task is a block of rows by a part of the slab's columns, handed out dynamically; which thread does it
 * changes no bit.
 */
#include "ops/cpu/product.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"

#include <omp.h>

enum {
    STEPS = 256, /* of k at a time: a panel of B (16 or 32 KiB) stays in L1 */
    ROWS = 96,   /* of A a task: with STEPS 96 KiB in L2 */
    COLS = 512,  /* of B a slab, and of sums a task */
    DEPTH = 2048 /* of k a slab, a multiple of STEPS: 4 MiB in L3 */
};

typedef struct {
    const tpi_gemm *g;
    int             threads;
    int64_t         cols, depth;          /* of a slab */
    int64_t         rows;                 /* of a task */
    int64_t         row_tasks, col_tasks; /* of a slab */
    float          *slab;                 /* [cols / TPI_PANEL][depth][TPI_PANEL] */
    float          *own; /* of each thread: A [rows / TPI_PANEL][STEPS][TPI_PANEL], then sums [rows][cols] */
    int64_t         own_size;
    float          *sums; /* [row_tasks * rows][cols] when k is deeper than a slab: they wait for the next; else NULL */
    int64_t         next; /* task number, counted through all slabs */
} plan;

static plan plan_new(const tpi_gemm *g, int threads)
{
    plan    p = { .g = g, .threads = threads };
    int64_t blocks = tpi_ceil_div(g->m, ROWS);

    p.cols = tpi_min64(tpi_round_up(g->n, TPI_PANEL), COLS);
    p.depth = tpi_min64(g->k, DEPTH);
    if (threads > 1) /* the same number of blocks for each thread */
        blocks = tpi_round_up(blocks, threads);
    p.rows = tpi_round_up(tpi_ceil_div(g->m, blocks), TPI_PANEL);
    p.row_tasks = tpi_ceil_div(g->m, p.rows);
    p.col_tasks = p.row_tasks >= threads ? 1 : tpi_min64(tpi_ceil_div(2 * threads, p.row_tasks), p.cols / TPI_PANEL);
    p.own_size = p.rows * STEPS + (g->k > DEPTH ? 0 : p.rows * p.cols);
    return p;
}

static int64_t shared_sums(const plan *p)
{
    return p->g->k > DEPTH ? p->row_tasks * p->rows * p->cols : 0;
}

size_t CPU(pack_space)(const tpi_gemm *g, int threads)
{
    plan p = plan_new(g, threads);

    return (size_t)(p.cols * p.depth + p.own_size * threads + shared_sums(&p)) * sizeof(float);
}

/* Panels of the columns from `first` on, of k from `deep` on */
static void pack_slab(const plan *p, int64_t first, int64_t panels, int64_t deep, int thread)
{
    const tpi_gemm *g = p->g;
    int64_t         depth = tpi_min64(g->k - deep, p->depth);

    for (int64_t i = thread; i < panels; i += p->threads) {
        int64_t at = first + i * TPI_PANEL;

        CPU(panel_in)
        (g->bt, tpi_at(g->b, g->bt, at * g->b_col + deep * g->b_row), g->b_col, g->b_row,
         tpi_min64(g->n - at, TPI_PANEL), depth, p->slab + i * p->depth * TPI_PANEL);
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

/* What a task is: rows from `row` on, panels [p0, p1) of the slab that begins at column `first` and step `deep`. */
typedef struct {
    int64_t row, p0, p1, first, deep;
} task;

static void run_task(const plan *p, const task *t, float *own)
{
    const tpi_gemm *g = p->g;
    int64_t         rows = tpi_min64(g->m - t->row, p->rows), depth = tpi_min64(g->k - t->deep, p->depth),
            at = t->p0 * TPI_PANEL;
    float *a = own, *sums = p->sums != NULL ? p->sums + t->row * p->cols + at : own + p->rows * STEPS;

    for (int64_t l = 0; l < depth; l += STEPS) {
        int64_t steps = tpi_min64(depth - l, STEPS);

        for (int64_t i = 0; i < rows; i += TPI_PANEL)
            CPU(panel_in)
            (g->at, tpi_at(g->a, g->at, (t->row + i) * g->a_row + (t->deep + l) * g->a_col), g->a_row, g->a_col,
             tpi_min64(rows - i, TPI_PANEL), steps, a + i * STEPS);
        for (int64_t j = t->p0; j < t->p1; j++)
            for (int64_t i = 0; i < rows; i += TPI_PANEL)
                CPU(panel_mul)
                (tpi_min64(rows - i, TPI_PANEL), steps, a + i * STEPS, 1, TPI_PANEL,
                 p->slab + (j * p->depth + l) * TPI_PANEL, TPI_PANEL, sums + i * p->cols + j * TPI_PANEL - at, p->cols,
                 t->deep + l > 0);
    }
    if (t->deep + depth < g->k)
        return;
    at += t->first;
    for (int64_t i = 0; i < rows; i++)
        merge_row(g, (t->row + i) * g->c_row + at, tpi_min64(g->n - at, (t->p1 - t->p0) * TPI_PANEL),
                  sums + i * p->cols);
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

/* One thread's part of a slab, whose tasks are [begin, end).  Returns the task that it drew too early, for the next
 * slab. */
static int64_t work_slab(plan *p, int64_t first, int64_t deep, int64_t begin, int64_t drawn, int thread)
{
    int64_t panels = tpi_ceil_div(tpi_min64(p->g->n - first, p->cols), TPI_PANEL),
            end = begin + p->row_tasks * p->col_tasks;

    pack_slab(p, first, panels, deep, thread);
    wait_all(p);
    for (; drawn < end; drawn = take(p)) {
        int64_t row = (drawn - begin) / p->col_tasks, col = (drawn - begin) % p->col_tasks;
        task    t = { row * p->rows, panels * col / p->col_tasks, panels * (col + 1) / p->col_tasks, first, deep };

        if (t.p0 < t.p1)
            run_task(p, &t, p->own + thread * p->own_size);
    }
    wait_all(p);
    return drawn;
}

static void work(plan *p, int thread)
{
    int64_t begin = 0, drawn = take(p);

    for (int64_t first = 0; first < p->g->n; first += p->cols) {
        for (int64_t deep = 0; deep < p->g->k; deep += p->depth) {
            drawn = work_slab(p, first, deep, begin, drawn, thread);
            begin += p->row_tasks * p->col_tasks;
        }
    }
}

void CPU(pack_gemm)(const tpi_gemm *g, int threads, void *ws)
{
    plan p = plan_new(g, threads);

    p.slab = ws;
    p.own = p.slab + p.cols * p.depth;
    p.sums = shared_sums(&p) > 0 ? p.own + p.own_size * threads : NULL;
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
