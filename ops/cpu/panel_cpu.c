/*
 * panel_cpu.c - the inner loops of products: sums in registers, transposes on the way in and out.
 */
#include "ops/cpu/panel.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/span.h"
#include "ops/cpu/widen.h"

/* ---- c = a b
 * --------------------------------------------------------------------------------------------------------- */

/* rows is a constant in every call, so that the sums are registers. */
TPI_FLAT void tile(const int rows, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b,
                   int64_t b_row, float *c, int64_t c_row, bool add)
{
    tpi_vf s[TPI_TILE][2] = { 0 };

#pragma GCC unroll 2
    for (int64_t l = 0; l < k; l++) {
        tpi_vf b0 = tpi_vload(b), b1 = tpi_vload(b + TPI_VL);

#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            tpi_vf v = tpi_vset(a[i * a_row]);

            s[i][0] = tpi_vfma(v, b0, s[i][0]);
            s[i][1] = tpi_vfma(v, b1, s[i][1]);
        }
        a += a_col;
        b += b_row;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        float *to = c + i * c_row;

        tpi_vstore(to, add ? tpi_vload(to) + s[i][0] : s[i][0]);
        tpi_vstore(to + TPI_VL, add ? tpi_vload(to + TPI_VL) + s[i][1] : s[i][1]);
    }
}

/* Out of line, so that the compiler's choice of registers for one height does not depend on the others. */
static void tile_full(int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row, float *c,
                      int64_t c_row, bool add)
{
    tile(TPI_TILE, k, a, a_row, a_col, b, b_row, c, c_row, add);
}

#if defined(__AVX512F__)
static void tile_high(int64_t m, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                      float *c, int64_t c_row, bool add)
{
    switch (m) {
    case 11: tile(11, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 10: tile(10, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 9: tile(9, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 8: tile(8, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 7: tile(7, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 6: tile(6, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    }
}
#endif

static void tile_rest(int64_t m, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                      float *c, int64_t c_row, bool add)
{
    switch (m) {
#if defined(__AVX__)
    case 5: tile(5, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
#endif
    case 4: tile(4, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 3: tile(3, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 2: tile(2, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
    case 1: tile(1, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
#if defined(__AVX512F__)
    default: tile_high(m, k, a, a_row, a_col, b, b_row, c, c_row, add); break;
#endif
    }
}

void CPU(panel_mul)(int64_t m, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                    float *c, int64_t c_row, bool add)
{
    for (; m >= TPI_TILE; m -= TPI_TILE) {
        tile_full(k, a, a_row, a_col, b, b_row, c, c_row, add);
        a += TPI_TILE * a_row;
        c += TPI_TILE * c_row;
    }
    if (m > 0)
        tile_rest(m, k, a, a_row, a_col, b, b_row, c, c_row, add);
}

/* ---- in
 * -------------------------------------------------------------------------------------------------------------- */

/* Up to TPI_VL rows, n columns each a step of one, into lanes `out`, TPI_PANEL apart. */
TPI_FLAT void rows_in(tp_dtype t, const void *p, int64_t row, int64_t rows, int64_t n, float *out)
{
    for (int64_t l = 0; l < n; l += TPI_VL) {
        tpi_vf  v[TPI_VL];
        int64_t left = n - l;

        for (int64_t i = 0; i < TPI_VL; i++)
            v[i] = i >= rows        ? (tpi_vf){ 0 }
                   : left >= TPI_VL ? tpi_widen(t, p, i * row + l)
                                    : tpi_widen_part(t, p, i * row + l, left);
        tpi_transpose(v);
        for (int64_t i = 0; i < TPI_VL && i < left; i++)
            tpi_vstore(out + (l + i) * TPI_PANEL, v[i]);
    }
}

/* The same for a full square of rows: no tests inside. */
TPI_FLAT int64_t squares_in(tp_dtype t, const void *p, int64_t row, int64_t n, float *out)
{
    int64_t l = 0;

    for (; l + TPI_VL <= n; l += TPI_VL) {
        tpi_vf v[TPI_VL];

#pragma GCC unroll 16
        for (int i = 0; i < TPI_VL; i++)
            v[i] = tpi_widen(t, p, i * row + l);
        tpi_transpose(v);
#pragma GCC unroll 16
        for (int i = 0; i < TPI_VL; i++)
            tpi_vstore(out + (l + i) * TPI_PANEL, v[i]);
    }
    return l;
}

TPI_FLAT void half_panel_in(tp_dtype t, const void *p, int64_t row, int64_t rows, int64_t n, float *out)
{
    int64_t l = rows >= TPI_VL ? squares_in(t, p, row, n, out) : 0;

    rows_in(t, (const char *)p + l * (t == TP_F32 ? 4 : 2), row, rows, n - l, out + l * TPI_PANEL);
}

static void transposed_in(tp_dtype t, const void *p, int64_t row, int64_t rows, int64_t n, float *out)
{
    for (int h = 0; h < TPI_PANEL; h += TPI_VL) {
        const void *from = tpi_at(p, t, h < rows ? h * row : 0);

        if (t == TP_F32)
            half_panel_in(TP_F32, from, row, rows - h, n, out + h);
        else if (t == TP_BF16)
            half_panel_in(TP_BF16, from, row, rows - h, n, out + h);
        else
            half_panel_in(TP_F16, from, row, rows - h, n, out + h);
    }
}

void CPU(panel_in)(tp_dtype t, const void *p, int64_t lane, int64_t step, int64_t lanes, int64_t n, float *out)
{
    if (step == 1 && lane != 1) {
        transposed_in(t, p, lane, lanes, n, out);
        return;
    }
    for (int64_t l = 0; l < n; l++) {
        if (t == TP_F32 && lane == 1 && lanes == TPI_PANEL) {
            tpi_vstore(out + l * TPI_PANEL, tpi_vload((const float *)p + l * step));
            tpi_vstore(out + l * TPI_PANEL + TPI_VL, tpi_vload((const float *)p + l * step + TPI_VL));
            continue;
        }
        CPU(load_f32)(out + l * TPI_PANEL, t, p, l * step, lane, lanes);
        for (int64_t i = lanes; i < TPI_PANEL; i++)
            out[l * TPI_PANEL + i] = 0;
    }
}

/* ---- out
 * ------------------------------------------------------------------------------------------------------------- */

/* n < TPI_VL elements at y: v, or y + v */
static void store_part(tp_dtype t, void *y, int64_t n, tpi_vf v, bool add)
{
    float f[TPI_VL];

    if (add)
        v += tpi_widen_part(t, y, 0, n);
    tpi_vstore(f, v);
    CPU(store_f32)(t, y, 0, 1, n, f);
}

TPI_FLAT void squares_out(tp_dtype t, void *y, int64_t row, int64_t rows, int64_t n, const float *in, bool add)
{
    for (int64_t l = 0; l < n; l += TPI_VL) {
        tpi_vf  v[TPI_VL];
        int64_t left = n - l;

#pragma GCC unroll 16
        for (int64_t i = 0; i < TPI_VL; i++)
            v[i] = tpi_vload(in + (i < left ? l + i : l) * TPI_PANEL);
        tpi_transpose(v);
        for (int64_t i = 0; i < rows; i++) {
            if (left < TPI_VL)
                store_part(t, tpi_at_out(y, t, i * row + l), left, v[i], add);
            else
                tpi_narrow(t, y, i * row + l, add ? v[i] + tpi_widen(t, y, i * row + l) : v[i]);
        }
    }
}

void CPU(panel_out)(tp_dtype t, void *y, int64_t row, int64_t lanes, int64_t n, const float *in, bool add)
{
    for (int64_t h = 0; h < lanes; h += TPI_VL) {
        int64_t rows = tpi_min64(lanes - h, TPI_VL);
        void   *to = tpi_at_out(y, t, h * row);

        if (t == TP_F32)
            squares_out(TP_F32, to, row, rows, n, in + h, add);
        else if (t == TP_BF16)
            squares_out(TP_BF16, to, row, rows, n, in + h, add);
        else
            squares_out(TP_F16, to, row, rows, n, in + h, add);
    }
}
