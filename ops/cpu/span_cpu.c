/*
 * span_cpu.c - the one place where most kernels meet OpenMP, and the walk over strided operands.
 */
#include "ops/cpu/span.h"

#include <omp.h>

void CPU(parallel)(const tpi_run *r, int64_t items, int64_t elements, tpi_part_fn fn, const void *args)
{
    if (items <= 0)
        return;
    /* No parallel region at all for small work: an empty one costs more than most small kernels. */
    if (r->threads <= 1 || elements < TPI_PARALLEL_MIN || items == 1) {
        fn(args, 0, items);
        return;
    }
    /* Always the same number of threads: libgomp ends and starts threads when it changes. */
#pragma omp parallel num_threads(r->threads)
    {
        int64_t t = omp_get_thread_num(), all = omp_get_num_threads(), share = items / all, rest = items % all;
        int64_t begin = t * share + tpi_min64(t, rest), end = begin + share + (t < rest);

        if (begin < end)
            fn(args, begin, end);
    }
}

typedef struct {
    const tpi_nd *nd;
    int           operands;
    int64_t       n, pieces; /* length of a row, pieces a row is cut into */
    tpi_span_fn   fn;
    const void   *args;
} walk_args;

/* The index of row number i, row-major over all dimensions but the innermost, and where it begins in each operand. */
static void find_row(const walk_args *w, int64_t i, int64_t *index, int64_t *at)
{
    const tpi_nd *nd = w->nd;

    for (int o = 0; o < w->operands; o++)
        at[o] = 0;
    for (int d = nd->ndim - 2; d >= 0; d--) {
        index[d] = i % nd->dim[d];
        i /= nd->dim[d];
        for (int o = 0; o < w->operands; o++)
            at[o] += index[d] * nd->stride[o][d];
    }
}

/* From a row to the next, as an odometer: no divisions. */
static void next_row(const walk_args *w, int64_t *index, int64_t *at)
{
    const tpi_nd *nd = w->nd;

    for (int d = nd->ndim - 2; d >= 0; d--) {
        for (int o = 0; o < w->operands; o++)
            at[o] += nd->stride[o][d];
        if (++index[d] < nd->dim[d])
            return;
        for (int o = 0; o < w->operands; o++)
            at[o] -= nd->stride[o][d] * nd->dim[d];
        index[d] = 0;
    }
}

/* Items are pieces of rows. */
static void walk_part(const void *args, int64_t begin, int64_t end)
{
    const walk_args *w = args;
    int64_t          index[TP_MAX_DIM], at[TPI_ND_MAX], here[TPI_ND_MAX], piece = begin % w->pieces;

    find_row(w, begin / w->pieces, index, at);
    for (int64_t i = begin; i < end; i++) {
        int64_t first = piece * TPI_PIECE;

        for (int o = 0; o < w->operands; o++)
            here[o] = at[o] + first * tpi_step_of(w->nd, o);
        w->fn(w->args, here, tpi_min64(TPI_PIECE, w->n - first));
        if (++piece == w->pieces) {
            piece = 0;
            next_row(w, index, at);
        }
    }
}

int64_t CPU(walk_items)(const tpi_nd *nd)
{
    int64_t all = tpi_numel(nd), n = nd->ndim == 0 ? 1 : nd->dim[nd->ndim - 1];

    return all == 0 ? 0 : all / n * tpi_ceil_div(n, TPI_PIECE);
}

void CPU(walk_some)(const tpi_nd *nd, int operands, int64_t begin, int64_t end, tpi_span_fn fn, const void *args)
{
    walk_args w = { .nd = nd, .operands = operands, .fn = fn, .args = args };

    if (begin >= end)
        return;
    w.n = nd->ndim == 0 ? 1 : nd->dim[nd->ndim - 1];
    w.pieces = tpi_ceil_div(w.n, TPI_PIECE);
    walk_part(&w, begin, end);
}

void CPU(walk)(const tpi_run *r, const tpi_nd *nd, int operands, tpi_span_fn fn, const void *args)
{
    walk_args w = { .nd = nd, .operands = operands, .fn = fn, .args = args };
    int64_t   all = tpi_numel(nd);

    if (all == 0)
        return;
    w.n = nd->ndim == 0 ? 1 : nd->dim[nd->ndim - 1];
    if (w.n == all && w.n <= TPI_PIECE) {
        fn(args, (const int64_t[TPI_ND_MAX]){ 0 }, w.n);
        return;
    }
    w.pieces = tpi_ceil_div(w.n, TPI_PIECE);
    CPU(parallel)(r, all / w.n * w.pieces, all, walk_part, &w);
}
