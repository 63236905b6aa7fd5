/*
 * loss.h - what training makes small.  All give one number in f32 (f64 for f64 operands).
 */
#ifndef TP_LOSS_H
#define TP_LOSS_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroes, or NULL in place of the struct, give the defaults. */
typedef struct {
    double smoothing; /* label smoothing in [0, 1]: the target's share goes down by it, all classes share it evenly */
    bool   sum;       /* sum instead of mean */
} tp_loss_opts;

/*
 * tp_cross_entropy: -log softmax(logits)[target], mean over the rows that have a target.
 *
 *   logits  [..., V]      float
 *   target  [...]         i32 i64, below V; a negative one makes its row count for nothing
 *   returns []            0 when no row has a target
 *
 *   grad    d logits
 *   keeps   logits, target
 *   fails   TP_EARG for a target of V or more, or smoothing outside [0, 1]
 */
TP_API tp_tensor *tp_cross_entropy(tp_ctx *ctx, tp_tensor *logits, tp_tensor *target, const tp_loss_opts *opts);

/*
 * tp_nll: -logp[target], mean over the rows that have a target; logp as tp_log_softmax makes it.
 *
 *   logp    [..., V]      float
 *   target  [...]         i32 i64, below V; negative: the row does not count
 *   opts    sum
 *   returns []            0 when no row has a target
 *
 *   grad    d logp
 *   keeps   target and the mask of rows
 *   fails   TP_EARG for a target of V or more
 */
TP_API tp_tensor *tp_nll(tp_ctx *ctx, tp_tensor *logp, tp_tensor *target, const tp_loss_opts *opts);

/*
 * tp_linear_cross_entropy: sum of the cross-entropies of the rows x w^T, without ever holding all logits: they are made
 * for 256 rows at a time, and rows without a target are left out.  The logits of a chunk are rounded to x's dtype.
 *
 *   x       [..., d]      float
 *   w       [V, d]        dtype of x
 *   target  [...]         i32 i64, below V; negative: the row does not count
 *   opts    smoothing
 *   count   if not NULL, gets the number of targets: [], dtype of the result, no gradient
 *   returns []            the sum; divide by count for the mean
 *
 *   grad    dx, dw
 *   keeps   dx of the sum when x needs a gradient; dw of the sum, in f32, when w does
 *   fails   TP_EARG for a target of V or more, or smoothing outside [0, 1]
 */
TP_API tp_tensor *tp_linear_cross_entropy(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *target,
                                          const tp_loss_opts *opts, tp_tensor **count);

/*
 * tp_mse (x - t)^2, tp_l1 |x - t|, tp_huber (0.5 (x - t)^2 up to delta, linear beyond), mean over all elements.
 *
 *   x, t    shapes that broadcast, equal dtypes  float; [n, 1] beside [n] makes n x n differences of them: tp_squeeze
 *   delta   > 0
 *   opts    sum
 *   returns []
 *
 *   grad    dx, dt
 *   keeps   a tensor or two of x's size
 *   fails   TP_EARG for delta <= 0
 */
TP_API tp_tensor *tp_mse(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts);
TP_API tp_tensor *tp_l1(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts);
TP_API tp_tensor *tp_huber(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, double delta, const tp_loss_opts *opts);

/*
 * tp_bce_with_logits: -(t log s(x) + (1 - t) log(1 - s(x))) with s the sigmoid, mean over all elements.
 *
 *   x, t    shapes that broadcast, equal dtypes, t in [0, 1]  float
 *   opts    sum
 *   returns []
 *
 *   grad    dx, dt
 *   keeps   x, t
 */
TP_API tp_tensor *tp_bce_with_logits(tp_ctx *ctx, tp_tensor *x, tp_tensor *t, const tp_loss_opts *opts);

/*
 * tp_kl_div: p (log p - logq), mean over all elements; 0 where p is.
 *
 *   logq, p shapes that broadcast, equal dtypes, p >= 0  float
 *   opts    sum
 *   returns []
 *
 *   grad    d logq, dp
 *   keeps   a few tensors of p's size
 */
TP_API tp_tensor *tp_kl_div(tp_ctx *ctx, tp_tensor *logq, tp_tensor *p, const tp_loss_opts *opts);

#ifdef __cplusplus
}
#endif

#endif
