/*
 * span.h - work split between threads, and strided walks split into spans: runs of elements along the innermost dimension.
 */
#ifndef TPI_SPAN_H
#define TPI_SPAN_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

enum {
    TPI_CHUNK = 512,           /* elements converted at a time: several buffers of them fit in L1 */
    TPI_PIECE = 8192,          /* the longest span that a walk hands out; a multiple of TPI_CHUNK */
    TPI_PARALLEL_MIN = 32768,  /* elements from which waking other threads pays */
    TPI_SLICES = 64            /* parts of a long sum: fixed, so that its bits do not depend on the number of threads */
};

/* Works on the items [begin, end). */
typedef void (*tpi_part_fn)(const void *args, int64_t begin, int64_t end);

/* fn over [0, items), one contiguous part a thread; on the calling thread alone when there are fewer than TPI_PARALLEL_MIN
 * elements. */
void CPU(parallel)(const tpi_run *r, int64_t items, int64_t elements, tpi_part_fn fn, const void *args);

/* Works on n elements; operand o's first is at[o], the others follow at the innermost stride. */
typedef void (*tpi_span_fn)(const void *args, const int64_t *at, int64_t n);

/* fn over all elements of the walk. */
void CPU(walk)(const tpi_run *r, const tpi_nd *nd, int operands, tpi_span_fn fn, const void *args);

/* A walk cut into items: pieces of at most TPI_PIECE elements of a row.  fn over the items [begin, end), on the calling
 * thread. */
int64_t CPU(walk_items)(const tpi_nd *nd);
void    CPU(walk_some)(const tpi_nd *nd, int operands, int64_t begin, int64_t end, tpi_span_fn fn, const void *args);

static inline int64_t tpi_numel(const tpi_nd *nd)
{
    int64_t n = 1;

    for (int d = 0; d < nd->ndim; d++)
        n *= nd->dim[d];
    return n;
}

/* The innermost stride of an operand; of a single element any will do, and 1 is the fastest. */
static inline int64_t tpi_step_of(const tpi_nd *nd, int operand)
{
    return nd->ndim == 0 || nd->dim[nd->ndim - 1] == 1 ? 1 : nd->stride[operand][nd->ndim - 1];
}

static inline int64_t tpi_min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t tpi_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
