/*
 * cpu.h - the CPU's kernels, contracts in core/backend.h.  Each name stands for one function per instruction set (isa.h).
 */
#ifndef TPI_CPU_H
#define TPI_CPU_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

extern const tpi_backend CPU(backend);

tp_code CPU(copy)(const tpi_run *r, const tpi_nd *nd, tp_dtype yt, void *y, tp_dtype xt, const void *x);
tp_code CPU(fill)(const tpi_run *r, tp_dtype t, void *y, int64_t n, double value, int64_t i);
tp_code CPU(unary)(const tpi_run *r, tpi_unary op, double p, double q, const tpi_nd *nd, tp_dtype t, void *y,
                   const void *x);
tp_code CPU(unary_grad)(const tpi_run *r, tpi_unary op, double p, double q, tp_dtype t, void *dx, const void *dy,
                        const void *v, int64_t n);
tp_code CPU(binary)(const tpi_run *r, tpi_binary op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                    const void *b);
tp_code CPU(compare)(const tpi_run *r, tpi_compare op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                     const void *b);
tp_code CPU(where)(const tpi_run *r, const tpi_nd *nd, tp_dtype t, void *y, const void *c, const void *a,
                   const void *b);
tp_code CPU(reduce)(const tpi_run *r, tpi_reduce op, const tpi_nd *outer, const tpi_nd *inner, tp_dtype yt, void *y,
                    tp_dtype t, const void *x);
tp_code CPU(cumsum)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t a, int64_t n, int64_t b,
                    bool reverse);

tp_code CPU(random)(const tpi_run *r, tpi_random kind, tp_dtype t, void *y, int64_t n, double p, double q,
                    tpi_key key);
tp_code CPU(dropout)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t n, double p, tpi_key key);

size_t  CPU(gemm_space)(const tpi_run *r, const tpi_gemm *g);
tp_code CPU(gemm)(const tpi_run *r, const tpi_gemm *g);

tp_code CPU(softmax)(const tpi_run *r, bool log, tp_dtype t, void *y, const void *x, int64_t rows, int64_t n);
tp_code CPU(softmax_grad)(const tpi_run *r, bool log, tp_dtype t, void *dx, const void *dy, const void *y,
                          int64_t rows, int64_t n);
tp_code CPU(cross_entropy)(const tpi_run *r, tp_dtype t, void *loss, void *dx, const void *x, const int32_t *target,
                           int64_t rows, int64_t n, double smoothing, double gscale);

tp_code CPU(index_rows)(const tpi_run *r, tp_dtype t, void *y, const void *w, tp_dtype it, const void *ids,
                        int64_t n, int64_t d);
tp_code CPU(index_add)(const tpi_run *r, tp_dtype wt, void *w, int64_t wrows, tp_dtype xt, const void *x,
                       tp_dtype it, const void *ids, int64_t n, int64_t d);
tp_code CPU(gather)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a,
                    int64_t n, int64_t m, int64_t b);
tp_code CPU(scatter_add)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids,
                         int64_t a, int64_t n, int64_t m, int64_t b);

tp_code CPU(layernorm)(const tpi_run *r, tp_dtype t, void *y, void *mean, void *rstd, const void *x, tp_dtype wt,
                       const void *w, const void *b, double eps, int64_t rows, int64_t n);
tp_code CPU(layernorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, void *db, const void *dy,
                            const void *x, tp_dtype wt, const void *w, const void *mean, const void *rstd,
                            int64_t rows, int64_t n);
tp_code CPU(rmsnorm)(const tpi_run *r, tp_dtype t, void *y, void *rstd, void *h, const void *x, const void *res,
                     tp_dtype wt, const void *w, double eps, int64_t rows, int64_t n);
tp_code CPU(rmsnorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, const void *dy, const void *dh,
                          const void *x, tp_dtype wt, const void *w, const void *rstd, int64_t rows, int64_t n);

size_t  CPU(conv_space)(const tpi_run *r, const tpi_window *c, tpi_conv_part part);
tp_code CPU(conv)(const tpi_run *r, const tpi_window *c, void *y, const void *x, const void *w, const void *b);
tp_code CPU(conv_dx)(const tpi_run *r, const tpi_window *c, void *dx, const void *dy, const void *w);
tp_code CPU(conv_dw)(const tpi_run *r, const tpi_window *c, void *dw, const void *dy, const void *x, double beta);
tp_code CPU(max_pool)(const tpi_run *r, const tpi_window *p, void *y, int32_t *place, const void *x);
tp_code CPU(max_pool_grad)(const tpi_run *r, const tpi_window *p, void *dx, const void *dy, const int32_t *place);
tp_code CPU(avg_pool)(const tpi_run *r, const tpi_window *p, void *y, const void *x);
tp_code CPU(avg_pool_grad)(const tpi_run *r, const tpi_window *p, void *dx, const void *dy);

tp_code CPU(set_stats)(const tpi_run *r, const tpi_sets *g, void *mean, void *var, const void *x);
tp_code CPU(set_norm)(const tpi_run *r, const tpi_sets *g, void *y, const void *x, const void *mean, const void *var,
                      const void *w, const void *b);
tp_code CPU(set_norm_grad)(const tpi_run *r, const tpi_sets *g, void *dx, void *dw, void *db, const void *dy,
                           const void *x, const void *mean, const void *var, const void *w, bool fixed);

tp_code CPU(rope)(const tpi_run *r, tp_dtype t, void *y, const int64_t *ys, const void *x, const int64_t *xs,
                  const int64_t dim[4], const int32_t *pos, int64_t base, const float *freq, double mult,
                  bool inverse);
size_t  CPU(attention_space)(const tpi_run *r, const tpi_attn *a);
size_t  CPU(attention_grad_space)(const tpi_run *r, const tpi_attn *a);
tp_code CPU(attention)(const tpi_run *r, const tpi_attn *a);
tp_code CPU(attention_grad)(const tpi_run *r, const tpi_attn *a);

size_t  CPU(blocks_space)(const tpi_run *r, const tpi_blocks *b);
tp_code CPU(blocks)(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add);
tp_code CPU(blocks_da)(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta);
tp_code CPU(blocks_dx)(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add);

tp_code CPU(silu_mul)(const tpi_run *r, tp_dtype t, void *y, const void *g, const void *u, int64_t n);
tp_code CPU(silu_mul_grad)(const tpi_run *r, tp_dtype t, void *dg, void *du, const void *dy, const void *g,
                           const void *u, int64_t n);

tp_code CPU(optim)(const tpi_run *r, const tpi_hyper *h, const tpi_step *s, int64_t count);
tp_code CPU(sumsq)(const tpi_run *r, tp_dtype t, const void *const *x, const int64_t *n, int64_t count, double *sum);
tp_code CPU(nonfinite)(const tpi_run *r, tp_dtype t, const void *x, int64_t n, bool *found);
tp_code CPU(sort)(const tpi_run *r, tp_dtype t, void *y, int64_t *place, const void *x, int64_t rows, int64_t n,
                  bool descending);

#endif
