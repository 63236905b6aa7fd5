/*
 * ref.h - the kernels of the back end `ref`: the contract of core/backend.h read aloud, one plain loop after the other.
 * The oracle of all other back ends: it computes in double (integers exactly, in int64_t) and rounds once, when a
 * result is stored.
 */
#ifndef TPI_REF_H
#define TPI_REF_H

#include "core/backend.h"
#include "core/number.h"

extern const tpi_backend tpi_backend_ref;

/* ---- what several files need ----------------------------------------------------------------------------------------- */

static inline bool tpi_ref_is_int(tp_dtype t)
{
    return t == TP_I64 || t == TP_I32 || t == TP_U8 || t == TP_BOOL;
}

/* The dtype of statistics, losses and gradients of trainables that belong to values of dtype t. */
static inline tp_dtype tpi_ref_wide(tp_dtype t)
{
    return t == TP_F64 ? TP_F64 : TP_F32;
}

static inline int64_t tpi_ref_numel(const tpi_nd *nd)
{
    int64_t n = 1;

    for (int d = 0; d < nd->ndim; d++)
        n *= nd->dim[d];
    return n;
}

/* Where element i of the walk, counted row-major, lies in an operand. */
static inline int64_t tpi_ref_at(const tpi_nd *nd, int operand, int64_t i)
{
    int64_t at = 0;

    for (int d = nd->ndim - 1; d >= 0; d--) {
        at += i % nd->dim[d] * nd->stride[operand][d];
        i /= nd->dim[d];
    }
    return at;
}

/* Integers wrap around: unsigned arithmetic, so that it is defined. */
static inline int64_t tpi_ref_iadd(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static inline int64_t tpi_ref_imul(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

/* y[i] += x[j] of dtypes yt and xt: one rounding an addition. */
static inline void tpi_ref_add(tp_dtype yt, void *y, int64_t i, tp_dtype xt, const void *x, int64_t j)
{
    if (tpi_ref_is_int(yt))
        tpi_store_int(yt, y, i, tpi_ref_iadd(tpi_load_int(yt, y, i), tpi_load_int(xt, x, j)));
    else
        tpi_store(yt, y, i, tpi_load(yt, y, i) + tpi_load(xt, x, j));
}

/* ---- kernels: contracts in core/backend.h ---------------------------------------------------------------------------- */

tp_code tpi_ref_copy(const tpi_run *r, const tpi_nd *nd, tp_dtype yt, void *y, tp_dtype xt, const void *x);
tp_code tpi_ref_fill(const tpi_run *r, tp_dtype t, void *y, int64_t n, double value, int64_t i);
tp_code tpi_ref_unary(const tpi_run *r, tpi_unary op, double p, double q, const tpi_nd *nd, tp_dtype t, void *y,
                      const void *x);
tp_code tpi_ref_unary_grad(const tpi_run *r, tpi_unary op, double p, double q, tp_dtype t, void *dx, const void *dy,
                           const void *v, int64_t n);
tp_code tpi_ref_binary(const tpi_run *r, tpi_binary op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                       const void *b);
tp_code tpi_ref_compare(const tpi_run *r, tpi_compare op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                        const void *b);
tp_code tpi_ref_where(const tpi_run *r, const tpi_nd *nd, tp_dtype t, void *y, const void *c, const void *a,
                      const void *b);
tp_code tpi_ref_reduce(const tpi_run *r, tpi_reduce op, const tpi_nd *outer, const tpi_nd *inner, tp_dtype yt, void *y,
                       tp_dtype t, const void *x);
tp_code tpi_ref_cumsum(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t a, int64_t n, int64_t b,
                       bool reverse);

tp_code tpi_ref_random(const tpi_run *r, tpi_random kind, tp_dtype t, void *y, int64_t n, double p, double q,
                       tpi_key key);
tp_code tpi_ref_dropout(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t n, double p, tpi_key key);

size_t  tpi_ref_gemm_space(const tpi_run *r, const tpi_gemm *g);
tp_code tpi_ref_gemm(const tpi_run *r, const tpi_gemm *g);

tp_code tpi_ref_softmax(const tpi_run *r, bool log, tp_dtype t, void *y, const void *x, int64_t rows, int64_t n);
tp_code tpi_ref_softmax_grad(const tpi_run *r, bool log, tp_dtype t, void *dx, const void *dy, const void *y,
                             int64_t rows, int64_t n);
tp_code tpi_ref_cross_entropy(const tpi_run *r, tp_dtype t, void *loss, void *dx, const void *x, const int32_t *target,
                              int64_t rows, int64_t n, double smoothing, double gscale);

tp_code tpi_ref_index_rows(const tpi_run *r, tp_dtype t, void *y, const void *w, tp_dtype it, const void *ids,
                           int64_t n, int64_t d);
tp_code tpi_ref_index_add(const tpi_run *r, tp_dtype wt, void *w, int64_t wrows, tp_dtype xt, const void *x,
                          tp_dtype it, const void *ids, int64_t n, int64_t d);
tp_code tpi_ref_gather(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a,
                       int64_t n, int64_t m, int64_t b);
tp_code tpi_ref_scatter_add(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids,
                            int64_t a, int64_t n, int64_t m, int64_t b);

tp_code tpi_ref_layernorm(const tpi_run *r, tp_dtype t, void *y, void *mean, void *rstd, const void *x, tp_dtype wt,
                          const void *w, const void *b, double eps, int64_t rows, int64_t n);
tp_code tpi_ref_layernorm_grad(const tpi_run *r, tp_dtype t, void *dx, void *dw, void *db, const void *dy,
                               const void *x, tp_dtype wt, const void *w, const void *mean, const void *rstd,
                               int64_t rows, int64_t n);
tp_code tpi_ref_rmsnorm(const tpi_run *r, tp_dtype t, void *y, void *rstd, void *h, const void *x, const void *res,
                        tp_dtype wt, const void *w, double eps, int64_t rows, int64_t n);
tp_code tpi_ref_rmsnorm_grad(const tpi_run *r, tp_dtype t, void *dx, void *dw, const void *dy, const void *dh,
                             const void *x, tp_dtype wt, const void *w, const void *rstd, int64_t rows, int64_t n);

size_t  tpi_ref_conv_space(const tpi_run *r, const tpi_window *c, tpi_conv_part part);
tp_code tpi_ref_conv(const tpi_run *r, const tpi_window *c, void *y, const void *x, const void *w, const void *b);
tp_code tpi_ref_conv_dx(const tpi_run *r, const tpi_window *c, void *dx, const void *dy, const void *w);
tp_code tpi_ref_conv_dw(const tpi_run *r, const tpi_window *c, void *dw, const void *dy, const void *x, double beta);
tp_code tpi_ref_max_pool(const tpi_run *r, const tpi_window *p, void *y, int32_t *place, const void *x);
tp_code tpi_ref_max_pool_grad(const tpi_run *r, const tpi_window *p, void *dx, const void *dy, const int32_t *place);
tp_code tpi_ref_avg_pool(const tpi_run *r, const tpi_window *p, void *y, const void *x);
tp_code tpi_ref_avg_pool_grad(const tpi_run *r, const tpi_window *p, void *dx, const void *dy);

tp_code tpi_ref_set_stats(const tpi_run *r, const tpi_sets *g, void *mean, void *var, const void *x);
tp_code tpi_ref_set_norm(const tpi_run *r, const tpi_sets *g, void *y, const void *x, const void *mean, const void *var,
                         const void *w, const void *b);
tp_code tpi_ref_set_norm_grad(const tpi_run *r, const tpi_sets *g, void *dx, void *dw, void *db, const void *dy,
                              const void *x, const void *mean, const void *var, const void *w, bool fixed);

tp_code tpi_ref_rope(const tpi_run *r, tp_dtype t, void *y, const int64_t *ys, const void *x, const int64_t *xs,
                     const int64_t dim[4], const int32_t *pos, int64_t base, const float *freq, double mult,
                     bool inverse);
size_t  tpi_ref_attention_space(const tpi_run *r, const tpi_attn *a);
tp_code tpi_ref_attention(const tpi_run *r, const tpi_attn *a);
tp_code tpi_ref_attention_grad(const tpi_run *r, const tpi_attn *a);

size_t  tpi_ref_blocks_space(const tpi_run *r, const tpi_blocks *b);
tp_code tpi_ref_blocks(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add);
tp_code tpi_ref_blocks_da(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta);
tp_code tpi_ref_blocks_dx(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add);

tp_code tpi_ref_silu_mul(const tpi_run *r, tp_dtype t, void *y, const void *g, const void *u, int64_t n);
tp_code tpi_ref_silu_mul_grad(const tpi_run *r, tp_dtype t, void *dg, void *du, const void *dy, const void *g,
                              const void *u, int64_t n);

tp_code tpi_ref_optim(const tpi_run *r, const tpi_hyper *h, const tpi_step *s, int64_t count);
tp_code tpi_ref_sumsq(const tpi_run *r, tp_dtype t, const void *const *x, const int64_t *n, int64_t count, double *sum);
tp_code tpi_ref_nonfinite(const tpi_run *r, tp_dtype t, const void *x, int64_t n, bool *found);
tp_code tpi_ref_sort(const tpi_run *r, tp_dtype t, void *y, int64_t *place, const void *x, int64_t rows, int64_t n,
                     bool descending);

#endif
