/*
 * blocks_cpu.c - DiaBlo's product y = x A and its dx = dy A^T.  Rows lie in the lanes of vectors, for blocks may be 3 columns wide
 * and no vector fits that: a few columns of TPI_PANEL rows are transposed, multiplied by one block after the other, transposed back.
 */
#include "ops/cpu/blocks.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/panel.h"
#include "ops/cpu/span.h"

/* COLS: columns of a group of blocks; SIDE: of a piece of a block larger than that, done for TALL panels of rows at a time */
enum { COLS = 256, SIDE = 128, TALL = 4, DOUBLES = 64 };

/* ---- f32 and what is computed in it ---------------------------------------------------------------------------------------- */

/* Element (l, j) of a block, or of a piece of one, lies at p[l * ml + j * mj]. */
typedef struct {
    const float *p;
    int64_t      ml, mj;
} piece;

static bool is_whole(const tpi_block_map *b)
{
    return b->ni <= COLS && b->no <= COLS && b->ni * b->no <= SIDE * SIDE;
}

/* ni x no of block k from (l, j) on: in place where that is f32 and small, else gathered into buf, so that no stride makes its
 * lines collide in a cache. */
static piece piece_of(const tpi_block_map *b, int64_t k, int64_t l, int64_t j, int64_t ni, int64_t no, float *buf)
{
    int64_t at = k * b->mb + l * b->ml + j * b->mj;
    bool    by_l = b->mj == 1;
    int64_t rows = by_l ? ni : no, cols = by_l ? no : ni, row = by_l ? b->ml : b->mj;

    if (b->mt == TP_F32 && is_whole(b))
        return (piece){ (const float *)b->m + at, b->ml, b->mj };
    for (int64_t i = 0; i < rows; i++)
        CPU(load_f32)(buf + i * cols, b->mt, b->m, at + i * row, 1, cols);
    return by_l ? (piece){ buf, cols, 1 } : (piece){ buf, 1, cols };
}

/* n columns of `lanes` rows, from and to the lanes of a panel */
static void columns_in(const tpi_block_map *b, int64_t row, int64_t lanes, int64_t col, int64_t n, float *x)
{
    CPU(panel_in)(b->t, tpi_at(b->in, b->t, row * b->in_cols + col), b->in_cols, 1, lanes, n, x);
}

static void columns_out(const tpi_block_map *b, int64_t row, int64_t lanes, int64_t col, int64_t n, const float *y)
{
    CPU(panel_out)(b->t, tpi_at_out(b->out, b->t, row * b->out_cols + col), b->out_cols, lanes, n, y, b->add);
}

/* Blocks in a group: a multiple of TPI_VL, so that transposes come in full squares, or what fits. */
static int64_t group_of(const tpi_block_map *b)
{
    int64_t n = COLS / (b->ni > b->no ? b->ni : b->no);

    return n > TPI_VL ? n / TPI_VL * TPI_VL : n;
}

static void small_blocks(const void *args, int64_t begin, int64_t end)
{
    const tpi_block_map *b = args;
    int64_t              group = group_of(b);
    float                x[COLS * TPI_PANEL], y[COLS * TPI_PANEL], buf[SIDE * SIDE];

    for (int64_t p = begin; p < end; p++) {
        int64_t row = p * TPI_PANEL, lanes = tpi_min64(TPI_PANEL, b->rows - row);

        for (int64_t g = 0; g < b->blocks; g += group) {
            int64_t n = tpi_min64(group, b->blocks - g);

            columns_in(b, row, lanes, g * b->ni, tpi_live(g * b->ni, n * b->ni, b->in_cols), x);
            for (int64_t k = g; k < g + n; k++) {
                int64_t ni = tpi_live(k * b->ni, b->ni, b->in_cols), no = tpi_live(k * b->no, b->no, b->out_cols);
                piece   m = piece_of(b, k, 0, 0, ni, no, buf);

                CPU(panel_mul)(no, ni, m.p, m.mj, m.ml, x + (k - g) * b->ni * TPI_PANEL, TPI_PANEL, y + (k - g) * b->no * TPI_PANEL,
                               TPI_PANEL, false);
            }
            columns_out(b, row, lanes, g * b->no, tpi_live(g * b->no, n * b->no, b->out_cols), y);
        }
    }
}

/* Columns j .. j + no of block k, for TALL panels of rows from `row` on */
static void some_columns(const tpi_block_map *b, int64_t row, int64_t rows, int64_t k, int64_t j, int64_t no)
{
    int64_t all = tpi_live(k * b->ni, b->ni, b->in_cols);
    float   x[SIDE * TPI_PANEL], y[TALL][SIDE * TPI_PANEL], buf[SIDE * SIDE];

    for (int64_t l = 0; l < all || l == 0; l += SIDE) {
        int64_t ni = tpi_min64(SIDE, all - l);
        piece   m = piece_of(b, k, l, j, ni, no, buf);

        for (int64_t i = 0; i * TPI_PANEL < rows; i++) {
            columns_in(b, row + i * TPI_PANEL, tpi_min64(TPI_PANEL, rows - i * TPI_PANEL), k * b->ni + l, ni, x);
            CPU(panel_mul)(no, ni, m.p, m.mj, m.ml, x, TPI_PANEL, y[i], TPI_PANEL, l > 0);
        }
    }
    for (int64_t i = 0; i * TPI_PANEL < rows; i++)
        columns_out(b, row + i * TPI_PANEL, tpi_min64(TPI_PANEL, rows - i * TPI_PANEL), k * b->no + j, no, y[i]);
}

static void large_blocks(const void *args, int64_t begin, int64_t end)
{
    const tpi_block_map *b = args;

    for (int64_t p = begin; p < end; p++) {
        int64_t row = p * TALL * TPI_PANEL, rows = tpi_min64(TALL * TPI_PANEL, b->rows - row);

        for (int64_t k = 0; k < b->blocks; k++) {
            int64_t all = tpi_live(k * b->no, b->no, b->out_cols);

            for (int64_t j = 0; j < all; j += SIDE)
                some_columns(b, row, rows, k, j, tpi_min64(SIDE, all - j));
        }
    }
}

/* ---- f64 -------------------------------------------------------------------------------------------------------------------- */

static double weight(const tpi_block_map *b, int64_t i)
{
    return b->mt == TP_F64 ? ((const double *)b->m)[i] : (double)((const float *)b->m)[i];
}

/* Columns j .. j + no of block k in one row */
static void double_columns(const tpi_block_map *b, int64_t row, int64_t k, int64_t j, int64_t no)
{
    const double *x = (const double *)b->in + row * b->in_cols + k * b->ni;
    double       *y = (double *)b->out + row * b->out_cols + k * b->no + j, sum[DOUBLES] = { 0 };
    int64_t       ni = tpi_live(k * b->ni, b->ni, b->in_cols);

    for (int64_t l = 0; l < ni; l++)
        for (int64_t i = 0; i < no; i++)
            sum[i] += x[l] * weight(b, k * b->mb + l * b->ml + (j + i) * b->mj);
    for (int64_t i = 0; i < no; i++)
        y[i] = b->add ? y[i] + sum[i] : sum[i];
}

static void double_rows(const void *args, int64_t begin, int64_t end)
{
    const tpi_block_map *b = args;

    for (int64_t row = begin; row < end; row++)
        for (int64_t k = 0; k < b->blocks; k++) {
            int64_t all = tpi_live(k * b->no, b->no, b->out_cols);

            for (int64_t j = 0; j < all; j += DOUBLES)
                double_columns(b, row, k, j, tpi_min64(DOUBLES, all - j));
        }
}

/* ---- both ------------------------------------------------------------------------------------------------------------------- */

static tp_code map(const tpi_run *r, const tpi_block_map *b)
{
    int64_t work = b->rows * b->blocks * b->ni * b->no;

    if (b->t == TP_F64)
        CPU(parallel)(r, b->rows, work, double_rows, b);
    else if (is_whole(b))
        CPU(parallel)(r, tpi_ceil_div(b->rows, TPI_PANEL), work, small_blocks, b);
    else
        CPU(parallel)(r, tpi_ceil_div(b->rows, TALL * TPI_PANEL), work, large_blocks, b);
    return TP_OK;
}

tp_code CPU(blocks)(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add)
{
    return map(r, &(tpi_block_map){ .rows = b->rows, .blocks = b->blocks, .ni = b->bi, .no = b->bo, .in_cols = b->in,
                                    .out_cols = b->out, .mb = b->bi * b->bo, .ml = b->bo, .mj = 1, .t = b->t, .mt = b->at,
                                    .in = x, .m = a, .out = y, .add = add });
}

tp_code CPU(blocks_dx)(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add)
{
    return map(r, &(tpi_block_map){ .rows = b->rows, .blocks = b->blocks, .ni = b->bo, .no = b->bi, .in_cols = b->out,
                                    .out_cols = b->in, .mb = b->bi * b->bo, .ml = 1, .mj = b->bo, .t = b->t, .mt = b->at,
                                    .in = dy, .m = a, .out = dx, .add = add });
}
