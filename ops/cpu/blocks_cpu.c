/*
 * blocks_cpu.c - products with blocks on a matrix's diagonal.
 *
 * Blocks may be as narrow as 9 columns, no multiple of any vector: so the vectors run over rows.  A tile of rows of x
 * becomes panels (one column a line), blocks multiply them, and what comes out is transposed back: x and y are touched
 * once.  For da vectors run over a block's outputs, and those past its end are dropped.
 */
#include "ops/cpu/cpu.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/span.h"

#include <omp.h>
#include <string.h>

enum {
    GROUP_LINES = 512,    /* of panels in and out of a group of blocks: 32 KiB, on AVX-512 64 */
    CHUNK = 64,           /* rows that a task takes, and that da sums before it adds */
    SMALL = 32 * 1024,    /* floats of A that stay in L2: then all groups see a tile of rows before the next is read */
    DA_FLOATS = 32 * 1024 /* of the copies of x and dy for a group in da */
};

/* One direction: y = x times blocks [n][ni, no]; forward as stored, backward with A transposed. */
typedef struct {
    int64_t      rows, blocks, ni, no, x_cols, y_cols, a_in, a_out; /* strides of A by input and output */
    tp_dtype     t;
    const void  *x;
    const float *a;
    void        *y;
    bool         add;
    int64_t      group;  /* blocks at a time */
    float       *panels; /* of each thread: group * (ni + no) lines */
    int64_t      chunk;
} product;

static int64_t group_of(int64_t blocks, int64_t ni, int64_t no)
{
    int64_t g = GROUP_LINES / (ni + no);

    if (g >= 8)
        g = g / 8 * 8; /* columns of a group then begin at a multiple of a vector */
    return g < 1 ? 1 : tpi_min64(g, blocks);
}

/* Columns of width `cols` that blocks [k0, k1) of n columns each have. */
static int64_t cols_of(int64_t cols, int64_t k0, int64_t k1, int64_t n)
{
    int64_t left = tpi_min64(k1 * n, cols) - k0 * n;

    return left < 0 ? 0 : left;
}

/* Rows [row, row + lanes) of the blocks [k0, k1) */
static void multiply_tile(const product *p, int64_t row, int64_t lanes, int64_t k0, int64_t k1, float *in)
{
    float  *out = in + p->group * p->ni * TPI_PANEL;
    int64_t n_in = cols_of(p->x_cols, k0, k1, p->ni), n_out = cols_of(p->y_cols, k0, k1, p->no);

    CPU(panel_in)(p->t, tpi_at(p->x, p->t, row * p->x_cols + k0 * p->ni), p->x_cols, 1, lanes, n_in, in);
    for (int64_t k = k0; k < k1; k++)
        CPU(panel_mul)
        (cols_of(p->y_cols, k, k + 1, p->no), cols_of(p->x_cols, k, k + 1, p->ni), p->a + k * p->ni * p->no, p->a_out,
         p->a_in, in + (k - k0) * p->ni * TPI_PANEL, TPI_PANEL, out + (k - k0) * p->no * TPI_PANEL, TPI_PANEL, false);
    CPU(panel_out)(p->t, tpi_at_out(p->y, p->t, row * p->y_cols + k0 * p->no), p->y_cols, lanes, n_out, out, p->add);
}

static void multiply_task(const product *p, int64_t task, int64_t groups, float *panels)
{
    int64_t first = task / groups * p->chunk, end = tpi_min64(first + p->chunk, p->rows), k0 = task % groups * p->group;
    int64_t k1 = tpi_min64(k0 + p->group, p->blocks), covered = p->blocks * p->no;

    for (int64_t row = first; row < end; row += TPI_PANEL)
        multiply_tile(p, row, tpi_min64(end - row, TPI_PANEL), k0, k1, panels);
    for (int64_t row = first; k1 == p->blocks && !p->add && covered < p->y_cols && row < end; row++)
        memset(tpi_at_out(p->y, p->t, row * p->y_cols + covered), 0,
               (size_t)((p->y_cols - covered) * tpi_size_of(p->t)));
}

static void multiply(product *p, int threads)
{
    int64_t groups = tpi_ceil_div(p->blocks, p->group), tasks, size = p->group * (p->ni + p->no) * TPI_PANEL;

    p->chunk = p->blocks * p->ni * p->no <= SMALL
                   ? TPI_PANEL
                   : tpi_round_up(tpi_min64(tpi_ceil_div(p->rows, threads), CHUNK), TPI_PANEL);
    tasks = tpi_ceil_div(p->rows, p->chunk) * groups;
    if (p->rows * (p->x_cols + p->y_cols) < TPI_PARALLEL_MIN) {
        for (int64_t t = 0; t < tasks; t++)
            multiply_task(p, t, groups, p->panels);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tasks; t++)
        multiply_task(p, t, groups, p->panels + omp_get_thread_num() * size);
}

/* ---- da
 * -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const tpi_blocks *b;
    const void       *x, *dy;
    float            *da;
    float             beta;
    int64_t           group, wide; /* wide: a block's outputs, rounded up to panels */
    int64_t           x_ld, dy_ld, size;
} da_args;

static da_args da_plan(const tpi_blocks *b, int threads)
{
    da_args p = { .b = b, .wide = tpi_round_up(b->bo, TPI_PANEL) };
    int64_t most = DA_FLOATS / (CHUNK * (b->bi + b->bo) + b->bi * p.wide);

    p.group = tpi_min64(most < 1 ? 1 : most, tpi_ceil_div(b->blocks, 2 * threads));
    p.x_ld = p.group * b->bi;
    p.dy_ld = p.group * b->bo + p.wide;
    p.size = CHUNK * (p.x_ld + p.dy_ld) + p.group * b->bi * p.wide;
    return p;
}

/* n columns from `col` on of some rows, as f32, `ld` apart */
static void copy_rows(const da_args *p, const void *from, int64_t cols, int64_t row, int64_t rows, int64_t col,
                      int64_t n, int64_t ld, float *to)
{
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = (row + i) * cols + col;

        if (p->b->t == TP_F32)
            memcpy(to + i * ld, (const float *)from + at, (size_t)n * sizeof(float));
        else
            CPU(load_f32)(to + i * ld, p->b->t, from, at, 1, n);
    }
}

/* sums [k1 - k0][bi][wide] += x^T dy over some rows */
static void da_rows(const da_args *p, int64_t row, int64_t rows, int64_t k0, int64_t k1, float *scratch, float *sums)
{
    const tpi_blocks *b = p->b;
    float            *x = scratch, *dy = x + CHUNK * p->x_ld;

    copy_rows(p, p->x, b->in, row, rows, k0 * b->bi, cols_of(b->in, k0, k1, b->bi), p->x_ld, x);
    copy_rows(p, p->dy, b->out, row, rows, k0 * b->bo, cols_of(b->out, k0, k1, b->bo), p->dy_ld, dy);
    for (int64_t k = 0; k < k1 - k0; k++)
        for (int64_t j = 0; j < p->wide; j += TPI_PANEL)
            CPU(panel_mul)
            (cols_of(b->in, k0 + k, k0 + k + 1, b->bi), rows, x + k * b->bi, 1, p->x_ld, dy + k * b->bo + j, p->dy_ld,
             sums + k * b->bi * p->wide + j, p->wide, true);
}

/* da = beta da + sums; entries without a column get 0 */
static void da_store(const da_args *p, int64_t k, const float *sums)
{
    const tpi_blocks *b = p->b;
    int64_t           ni = cols_of(b->in, k, k + 1, b->bi), no = cols_of(b->out, k, k + 1, b->bo);

    for (int64_t i = 0; i < b->bi; i++) {
        float *da = p->da + (k * b->bi + i) * b->bo;

        for (int64_t j = 0; j < b->bo; j++) {
            float old = p->beta != 0 && i < ni && j < no ? p->beta * da[j] : 0;

            da[j] = i < ni && j < no ? old + sums[i * p->wide + j] : 0;
        }
    }
}

static void da_group(const da_args *p, int64_t k0, float *scratch)
{
    const tpi_blocks *b = p->b;
    int64_t           k1 = tpi_min64(k0 + p->group, b->blocks);
    float            *sums = scratch + CHUNK * (p->x_ld + p->dy_ld);

    memset(scratch, 0, (size_t)p->size * sizeof *scratch);
    for (int64_t row = 0; row < b->rows; row += CHUNK)
        da_rows(p, row, tpi_min64(b->rows - row, CHUNK), k0, k1, scratch, sums);
    for (int64_t k = k0; k < k1; k++)
        da_store(p, k, sums + (k - k0) * b->bi * p->wide);
}

/* ---- f64, for gradient checks
 * ---------------------------------------------------------------------------------------- */

static void multiply_f64(const product *p, const double *a, int threads)
{
    const double *x = p->x;
    double       *y = p->y;

#pragma omp parallel for num_threads(threads) if (p->rows * p->y_cols >= TPI_PARALLEL_MIN)
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t c = 0; c < p->y_cols; c++) {
            int64_t k = c / p->no, n = k < p->blocks ? cols_of(p->x_cols, k, k + 1, p->ni) : 0;
            double  sum = p->add ? y[r * p->y_cols + c] : 0;

            for (int64_t i = 0; i < n; i++)
                sum += x[r * p->x_cols + k * p->ni + i] * a[k * p->ni * p->no + i * p->a_in + c % p->no * p->a_out];
            y[r * p->y_cols + c] = sum;
        }
    }
}

static void da_f64(const tpi_blocks *b, double *da, const double *x, const double *dy, double beta, int threads)
{
#pragma omp parallel for num_threads(threads) if (b->rows * b->out >= TPI_PARALLEL_MIN)
    for (int64_t from = 0; from < b->blocks * b->bi; from++) {
        for (int64_t j = 0; j < b->bo; j++) {
            int64_t to = from / b->bi * b->bo + j;
            bool    dead = from >= b->in || to >= b->out;
            double  sum = beta == 0 || dead ? 0 : beta * da[from * b->bo + j];

            for (int64_t r = 0; !dead && r < b->rows; r++)
                sum += x[r * b->in + from] * dy[r * b->out + to];
            da[from * b->bo + j] = sum;
        }
    }
}

/* ---- the slots
 * ------------------------------------------------------------------------------------------------------- */

/* A of 16 bits is converted first. */
static size_t a_floats(const tpi_blocks *b)
{
    return b->at == TP_BF16 || b->at == TP_F16 ? (size_t)(b->blocks * b->bi * b->bo) : 0;
}

size_t CPU(blocks_space)(const tpi_run *r, const tpi_blocks *b)
{
    int64_t panels = group_of(b->blocks, b->bi, b->bo) * (b->bi + b->bo) * TPI_PANEL, da = da_plan(b, r->threads).size;

    if (b->t == TP_F64 || b->blocks <= 0)
        return 0;
    return (a_floats(b) + (size_t)((panels > da ? panels : da) * r->threads)) * sizeof(float);
}

static tp_code run(const tpi_run *r, const tpi_blocks *b, product *p, const void *a)
{
    void  *own;
    float *ws;

    if (b->t == TP_F64) {
        multiply_f64(p, a, r->threads);
        return TP_OK;
    }
    ws = tpi_scratch(r, CPU(blocks_space)(r, b), &own);
    if (ws == NULL)
        return TP_ENOMEM;
    p->a = a;
    p->panels = ws + a_floats(b);
    p->group = group_of(b->blocks, p->ni, p->no);
    if (a_floats(b) > 0) {
        CPU(load_f32)(ws, b->at, a, 0, 1, (int64_t)a_floats(b));
        p->a = ws;
    }
    multiply(p, r->threads);
    tpi_free(own);
    return TP_OK;
}

tp_code CPU(blocks)(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add)
{
    product p = { .rows = b->rows,
                  .blocks = b->blocks,
                  .ni = b->bi,
                  .no = b->bo,
                  .x_cols = b->in,
                  .y_cols = b->out,
                  .a_in = b->bo,
                  .a_out = 1,
                  .t = b->t,
                  .x = x,
                  .y = y,
                  .add = add };

    return b->rows > 0 && b->out > 0 ? run(r, b, &p, a) : TP_OK;
}

tp_code CPU(blocks_dx)(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add)
{
    product p = { .rows = b->rows,
                  .blocks = b->blocks,
                  .ni = b->bo,
                  .no = b->bi,
                  .x_cols = b->out,
                  .y_cols = b->in,
                  .a_in = 1,
                  .a_out = b->bo,
                  .t = b->t,
                  .x = dy,
                  .y = dx,
                  .add = add };

    return b->rows > 0 && b->in > 0 ? run(r, b, &p, a) : TP_OK;
}

tp_code CPU(blocks_da)(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta)
{
    da_args p;
    void   *own;
    float  *ws;

    if (b->blocks <= 0 || b->bi <= 0 || b->bo <= 0)
        return TP_OK;
    if (b->t == TP_F64) {
        da_f64(b, da, x, dy, beta, r->threads);
        return TP_OK;
    }
    p = da_plan(b, r->threads);
    p.x = x;
    p.dy = dy;
    p.da = da;
    p.beta = (float)beta;
    ws = tpi_scratch(r, CPU(blocks_space)(r, b), &own);
    if (ws == NULL)
        return TP_ENOMEM;
#pragma omp parallel for num_threads(r->threads) schedule(dynamic) if (b->rows * (b->in + b->out) >= TPI_PARALLEL_MIN)
    for (int64_t k = 0; k < b->blocks; k += p.group)
        da_group(&p, k, ws + omp_get_thread_num() * p.size);
    tpi_free(own);
    return TP_OK;
}
