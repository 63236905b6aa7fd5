/*
 * blocks_grad_cpu.c - dA = beta dA + x^T dy of DiaBlo's blocks.  Blocks go to threads whole, so that no sum depends on their number; all
 * blocks of a thread see some rows before the next rows are read.
 */
#include "ops/cpu/blocks.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"

/* ROWS: read at a time; HIGH, of a strip of dA: its sums, TPI_PANEL wide, are kept until all rows are read */
enum { ROWS = 64, HIGH = 64 };

typedef struct {
    tpi_blocks  b;
    void       *da;
    const void *x, *dy;
    double      beta;
    int64_t     high, wide; /* strips of a block: rows, columns of dA in pieces of HIGH and TPI_PANEL */
} da_args;

/* A strip: live rows and columns i .. i + ni, j .. j + nj of block k */
typedef struct {
    int64_t k, i, j, ni, nj;
} strip;

static strip strip_of(const da_args *d, int64_t item)
{
    const tpi_blocks *b = &d->b;
    strip             s = { .k = item / (d->high * d->wide), .i = item / d->wide % d->high * HIGH, .j = item % d->wide * TPI_PANEL };

    s.ni = tpi_live(s.k * b->bi + s.i, tpi_min64(HIGH, b->bi - s.i), b->in);
    s.nj = tpi_live(s.k * b->bo + s.j, tpi_min64(TPI_PANEL, b->bo - s.j), b->out);
    return s;
}

/* sums += x^T dy over some rows */
static void add_rows(const da_args *d, const strip *s, int64_t row, int64_t rows, float *sums)
{
    const tpi_blocks *b = &d->b;
    float             x[ROWS * HIGH], dy[ROWS * TPI_PANEL];

    for (int64_t r = 0; r < rows; r++)
        CPU(load_f32)(x + r * HIGH, b->t, d->x, (row + r) * b->in + s->k * b->bi + s->i, 1, s->ni);
    CPU(panel_in)(b->t, tpi_at(d->dy, b->t, row * b->out + s->k * b->bo + s->j), 1, b->out, s->nj, rows, dy);
    CPU(panel_mul)(s->ni, rows, x, 1, HIGH, dy, TPI_PANEL, sums, TPI_PANEL, row > 0);
}

/* Everything of the strip, dead entries as 0 */
static void write_strip(const da_args *d, const strip *s, const float *sums)
{
    const tpi_blocks *b = &d->b;
    int64_t           rows = tpi_min64(HIGH, b->bi - s->i), cols = tpi_min64(TPI_PANEL, b->bo - s->j);
    float             beta = (float)d->beta;

    for (int64_t i = 0; i < rows; i++) {
        float *da = (float *)d->da + (s->k * b->bi + s->i + i) * b->bo + s->j;

        for (int64_t j = 0; j < cols; j++) {
            float sum = b->rows > 0 && i < s->ni && j < s->nj ? sums[i * TPI_PANEL + j] : 0;

            da[j] = beta == 0 || i >= s->ni || j >= s->nj ? sum : beta * da[j] + sum;
        }
    }
}

static void strips(const void *args, int64_t begin, int64_t end)
{
    const da_args *d = args;

    for (int64_t item = begin; item < end; item++) {
        strip s = strip_of(d, item);
        float c[HIGH * TPI_PANEL];

        for (int64_t row = 0; s.ni > 0 && s.nj > 0 && row < d->b.rows; row += ROWS)
            add_rows(d, &s, row, tpi_min64(ROWS, d->b.rows - row), c);
        write_strip(d, &s, c);
    }
}

/* ---- f64 -------------------------------------------------------------------------------------------------------------------- */

/* Rows i of all dA: item = k bi + i */
static void double_strips(const void *args, int64_t begin, int64_t end)
{
    const da_args    *d = args;
    const tpi_blocks *b = &d->b;

    for (int64_t item = begin; item < end; item++) {
        const double *x = d->x, *dy = (const double *)d->dy + item / b->bi * b->bo;
        double       *da = (double *)d->da + item * b->bo;
        int64_t       n = item < b->in ? tpi_live(item / b->bi * b->bo, b->bo, b->out) : 0;

        for (int64_t j = 0; j < b->bo; j++)
            da[j] = d->beta == 0 || j >= n ? 0 : d->beta * da[j];
        for (int64_t r = 0; n > 0 && r < b->rows; r++)
            for (int64_t j = 0; j < n; j++)
                da[j] += x[r * b->in + item] * dy[r * b->out + j];
    }
}

tp_code CPU(blocks_da)(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta)
{
    da_args d = { .b = *b, .da = da, .x = x, .dy = dy, .beta = beta };
    int64_t work = b->rows * b->blocks * b->bi * b->bo;

    d.high = tpi_ceil_div(b->bi, HIGH);
    d.wide = tpi_ceil_div(b->bo, TPI_PANEL);
    if (b->t == TP_F64)
        CPU(parallel)(r, b->blocks * b->bi, work, double_strips, &d);
    else
        CPU(parallel)(r, b->blocks * d.high * d.wide, work, strips, &d);
    return TP_OK;
}
