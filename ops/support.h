/*
 * support.h - what the op families share: checks of operands, walks, copies, sums back over broadcast axes.  Internal:
 * not installed.
 *
 * None of these records anything; they serve the forward and backward functions of ops.
 */
#ifndef TPI_SUPPORT_H
#define TPI_SUPPORT_H

#include "core/internal.h"
#include "ops/ops.h"

/* ---- checks: false, or NULL, after tp_fail ----------------------------------------------------------------------- */

/* n live tensors of ctx. */
bool  tpi_inputs(tp_ctx *ctx, const char *op, int n, const tp_tensor *const *x);
/* One live tensor of ctx of a floating dtype. */
bool  tpi_float_input(tp_ctx *ctx, const char *op, const tp_tensor *x);
/* Whether dtypes are equal. */
bool  tpi_same_dtype(tp_ctx *ctx, const char *op, const tp_tensor *a, const tp_tensor *b);
/* Whether w may stand beside x: x's dtype, or f32 beside 16 bits. */
bool  tpi_beside(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *w);
/* "op: want, got [2, 3] and [4]" */
void *tpi_fail_shapes(tp_ctx *ctx, const char *op, const char *want, const tp_tensor *a, const tp_tensor *b);
/* Shape that n tensors broadcast to. */
bool  tpi_broadcast_n(tp_ctx *ctx, const char *op, int n, const tp_tensor *const *x, int *ndim, int64_t *dim);
/* Marks the axes named (n_axes = 0: all). */
bool  tpi_axes(tp_ctx *ctx, const char *op, const tp_tensor *x, const int *axes, int n_axes, bool on[TP_MAX_DIM]);
/* Whether ids are i32 or i64, below n, and with `skip` any negative number, else at least 0; *count, if not NULL, gets
 * the number of those that are at least 0. */
bool  tpi_ids(tp_ctx *ctx, const char *op, tp_tensor *ids, int64_t n, bool skip, int64_t *count);

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* The dtype of sums, statistics and gradients of leaves that belong to t. */
tp_dtype    tpi_wide(tp_dtype t);
/* Product of the dimensions first <= i < last. */
int64_t     tpi_span(const tp_tensor *x, int first, int last);
/* The walk over n elements of contiguous operands. */
static inline void tpi_nd_line(tpi_nd *nd, int64_t n)
{
    nd->ndim = 1;
    nd->dim[0] = n;
    for (int i = 0; i < TPI_ND_MAX; i++)
        nd->stride[i][0] = 1;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* A number, as a tensor without axes. */
tp_tensor  *tpi_scalar(tp_ctx *ctx, tp_dtype t, double value);
/* A new contiguous tensor with x's values converted to t. */
tp_tensor  *tpi_copy(tp_ctx *ctx, tp_tensor *x, tp_dtype t);
/* dst = src, broadcast and converted; dst may be a view. */
bool        tpi_assign(tp_ctx *ctx, const char *op, tp_tensor *dst, const tp_tensor *src);
/* x = 0, contiguous. */
bool        tpi_zero(tp_ctx *ctx, const char *op, tp_tensor *x);
/* g = beta g + src, beta 0 or 1, g of src's shape, maybe a view, of a floating dtype of its own. */
bool        tpi_add_into(tp_ctx *ctx, const char *op, tp_tensor *g, double beta, tp_tensor *src);
/* Where a kernel that computes in f32 (f64 for f64) writes the gradient of input i, g = *beta g + ...: tp_grad_into's
 * place, or, where that has another dtype, a new tensor; dx[i] is set. */
tp_tensor  *tpi_wide_grad(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, double *beta);
/* dy summed over the axes along which an operand of like's shape was repeated; dy itself when there are none.  With
 * recording on (in backward_ops) by recorded ops. */
tp_tensor  *tpi_sum_to(tp_ctx *ctx, tp_tensor *dy, const tp_tensor *like);
/* Sum over axes into a new tensor of dtype yt. */
tp_tensor  *tpi_sum_as(tp_ctx *ctx, tp_tensor *x, const bool on[TP_MAX_DIM], bool keepdim, tp_dtype yt);
/* The same for any reducing kernel. */
tp_tensor *tpi_reduce_run(tp_ctx *ctx, const char *name, tpi_reduce op, tp_tensor *x, const bool on[TP_MAX_DIM],
                          bool keepdim, tp_dtype yt);
/* What a reduction of x gave, with or without its axes, repeated to x's shape: a view with strides of 0. */
tp_tensor  *tpi_spread(tp_ctx *ctx, tp_tensor *y, const tp_tensor *x, const bool on[TP_MAX_DIM]);
/* y = op(x) over contiguous or strided x, into a new tensor. */
tp_tensor  *tpi_unary_run(tp_ctx *ctx, tpi_unary op, double p, double q, tp_tensor *x);
/* x with all leading axes in one: [rows, n], a view of contiguous x. */
tp_tensor  *tpi_as_rows(tp_ctx *ctx, tp_tensor *x);

/* C = A B + beta C on the last two axes, leading axes of a and b broadcast to those of c, which has contiguous rows. */
bool        tpi_gemm_into(tp_ctx *ctx, const char *op, tp_tensor *c, tp_tensor *a, tp_tensor *b, double beta);
/* The last two axes swapped, a view. */
tp_tensor  *tpi_swapped(tp_ctx *ctx, tp_tensor *x);

/* Checks targets [..] beside rows [.., n] and options; *count gets the number of targets. */
bool tpi_loss_inputs(tp_ctx *ctx, const char *op, const tp_tensor *x, tp_tensor *target, int64_t classes,
                     const tp_loss_opts *o, int64_t *count);

/* What tp_block_diag_add does, but y's memory becomes the result's when nobody else holds it: y must not be read after.
 */
tp_tensor  *tpi_block_diag_onto(tp_ctx *ctx, tp_tensor *y, tp_tensor *x, tp_tensor *a);

#endif
