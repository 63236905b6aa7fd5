/*
 * attend.h - what forward and backward attention share: who sees what, and blocks of keys and rows as f32.
 */
#ifndef TPI_ATTEND_H
#define TPI_ATTEND_H

#include "ops/cpu/panel.h"

/* A row sees the keys low <= j < high; rows that see nothing have low = high = 0. */
typedef struct {
    int32_t *low, *high;
} tpi_seen;

/* Rows [s, s + n) of sequence b, then empty rows up to `to`. */
void CPU(attend_seen)(const tpi_attn *a, int64_t b, int64_t s, int64_t n, int64_t to, tpi_seen *seen);
/* The keys that at least one of the n rows from `row` on sees: [low, high), both 0 if there are none. */
void CPU(attend_span)(const tpi_seen *seen, int64_t row, int64_t n, int64_t *low, int64_t *high);

/* n vectors of `dim` elements, `step` apart, as rows of f32 `wide` apart, zeros behind them, times scale.  Returns
 * whether all are finite: 0 times NaN must not get from one row to another. */
bool CPU(attend_rows)(const tpi_attn *a, const void *x, int64_t at, int64_t step, int64_t n, int64_t wide, float scale,
                      float *out);

/* f64, and decoding: a few rows over many keys. */
tp_code CPU(attend_f64)(const tpi_run *r, const tpi_attn *a);
tp_code CPU(attend_grad_f64)(const tpi_run *r, const tpi_attn *a);
bool    CPU(decode_takes)(const tpi_attn *a);
size_t  CPU(decode_space)(const tpi_run *r, const tpi_attn *a);
void    CPU(decode)(const tpi_run *r, const tpi_attn *a, float *ws);

/* Where the vector of batch b, position s, head h begins. */
static inline int64_t tpi_vec(const int64_t s3[3], int64_t b, int64_t s, int64_t h)
{
    return b * s3[0] + s * s3[1] + h * s3[2];
}

#endif
