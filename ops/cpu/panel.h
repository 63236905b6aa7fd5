/*
 * panel.h - the building block of all products here: panels of TPI_PANEL lanes, and a matrix times a panel.
 *
 * A panel holds, for each of n steps of the summed index, TPI_PANEL floats side by side: float p[n][TPI_PANEL].
 */
#ifndef TPI_PANEL_H
#define TPI_PANEL_H

#include "ops/cpu/simd.h"

/* c[m, TPI_PANEL] = a b, or += with add.  a[i, l] lies at a[i * a_row + l * a_col], row l of b at b + l * b_row.  Each
 * row of c is summed on its own, l upwards. */
void CPU(panel_mul)(int64_t m, int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                    float *c, int64_t c_row, bool add);

/* out[l][i] = p[i * lane + l * step] for i < lanes, 0 beyond: elements of dtype t (f32 bf16 f16) gathered into a panel.
 * lanes is at most TPI_PANEL; nothing outside the operand is read. */
void CPU(panel_in)(tp_dtype t, const void *p, int64_t lane, int64_t step, int64_t lanes, int64_t n, float *out);

/* y[i * row + l] = in[l][i] for i < lanes, l < n, or += with add: the way back, one rounding. */
void CPU(panel_out)(tp_dtype t, void *y, int64_t row, int64_t lanes, int64_t n, const float *in, bool add);

static inline int64_t tpi_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

#endif
