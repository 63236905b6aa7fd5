/*
 * attend_cpu.c - the parts that forward and backward attention share.
 */
#include "ops/cpu/attend.h"

#include "ops/cpu/span.h"
#include "ops/cpu/widen.h"

void CPU(attend_seen)(const tpi_attn *a, int64_t b, int64_t s, int64_t n, int64_t to, tpi_seen *seen)
{
    for (int64_t i = 0; i < to; i++) {
        const int32_t *range = a->range != NULL && i < n ? a->range + (b * a->sq + s + i) * 2 : NULL;
        int64_t        low = range != NULL && range[0] > 0 ? range[0] : 0,
                high = range != NULL ? tpi_min64(range[1], a->sk) : a->sk;

        if (a->causal)
            high = tpi_min64(high, s + i + a->sk - a->sq + 1);
        if (i >= n || low >= high)
            low = high = 0;
        seen->low[i] = (int32_t)low;
        seen->high[i] = (int32_t)high;
    }
}

void CPU(attend_span)(const tpi_seen *seen, int64_t row, int64_t n, int64_t *low, int64_t *high)
{
    *low = INT32_MAX;
    *high = 0;
    for (int64_t i = row; i < row + n; i++) {
        if (seen->high[i] == 0)
            continue;
        *low = seen->low[i] < *low ? seen->low[i] : *low;
        *high = seen->high[i] > *high ? seen->high[i] : *high;
    }
    if (*high == 0)
        *low = 0;
}

bool CPU(attend_rows)(const tpi_attn *a, const void *x, int64_t at, int64_t step, int64_t n, int64_t wide, float scale,
                      float *out)
{
    tpi_vf  sum = { 0 };
    int32_t bad = 0;

    for (int64_t i = 0; i < n; i++) {
        float *row = out + i * wide;

        tpi_widen_row(a->t, x, at + i * step, a->dim, row);
        for (int64_t d = a->dim; d < wide; d++)
            row[d] = 0;
        for (int64_t d = 0; d < wide; d += TPI_VL) {
            tpi_vf v = tpi_vload(row + d);

            sum += v * 0.0f;
            tpi_vstore(row + d, v * scale);
        }
    }
    for (int i = 0; i < TPI_VL; i++)
        bad |= sum[i] != 0;
    return bad == 0;
}
