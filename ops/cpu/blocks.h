/*
 * blocks.h - DiaBlo's product seen as one thing for y = x A and dx = dy A^T: a block of columns goes in, a block comes out.
 */
#ifndef TPI_BLOCKS_H
#define TPI_BLOCKS_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

/* out[r, k no + j] (+)= sum_l in[r, k ni + l] m[k mb + l ml + j mj];  columns from in_cols and out_cols on do not exist. */
typedef struct {
    int64_t     rows, blocks, ni, no, in_cols, out_cols, mb, ml, mj;
    tp_dtype    t, mt;
    const void *in, *m;
    void       *out;
    bool        add;
} tpi_block_map;

/* How many of n columns from `first` on exist, when there are `all` */
static inline int64_t tpi_live(int64_t first, int64_t n, int64_t all)
{
    return first >= all ? 0 : first + n > all ? all - first : n;
}

#endif
