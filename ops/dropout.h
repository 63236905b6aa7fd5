/*
 * dropout.h - dropout and random tensors.  The numbers come from the context's seed, its step and the count of draws in
 * that step (tp_seed, tp_set_step), and are the same for every back end and number of threads.
 */
#ifndef TP_DROPOUT_H
#define TP_DROPOUT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_dropout: each element is 0 with probability p, else x / (1 - p).
 *
 *   x       any shape  float
 *   p       in [0, 1]
 *   train   false: x itself is returned; so it is for p = 0
 *   returns shape and dtype of x
 *
 *   grad    dx, with the same mask
 *   keeps   nothing: the mask is drawn again
 *   fails   TP_EARG for p outside [0, 1]
 */
TP_API tp_tensor *tp_dropout(tp_ctx *ctx, tp_tensor *x, double p, bool train);

/*
 * tp_uniform: numbers in [low, high).  tp_rand: in [0, 1).  tp_normal: with a mean and a standard deviation.  tp_randn:
 * 0 and 1. tp_bernoulli: 1 with probability p, else 0.
 *
 *   t       float
 *   returns a new tensor
 *   fails   TP_EARG for low > high, std < 0, p outside [0, 1]
 */
TP_API tp_tensor *tp_uniform(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double low, double high);
TP_API tp_tensor *tp_rand(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
TP_API tp_tensor *tp_normal(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double mean, double std);
TP_API tp_tensor *tp_randn(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
TP_API tp_tensor *tp_bernoulli(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double p);

/*
 * tp_randint: whole numbers in [low, high), equally likely.
 *
 *   t       any dtype
 *   low, high  low < high <= low + 2^24
 *   returns a new tensor
 *   fails   TP_EARG for bounds out of order or too far apart
 */
TP_API tp_tensor *tp_randint(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, int64_t low, int64_t high);

/*
 * tp_multinomial: k draws from the classes of each row, with probabilities p / sum(p).
 *
 *   p       [..., n]  float, >= 0
 *   k       >= 0; at most n without replacement
 *   replace whether a class may be drawn again
 *   returns [..., k]  i64
 *
 *   grad    none
 *   fails   TP_EARG for k out of bounds, TP_ESHAPE for n = 0 or a p without axes
 */
TP_API tp_tensor *tp_multinomial(tp_ctx *ctx, tp_tensor *p, int64_t k, bool replace);

#ifdef __cplusplus
}
#endif

#endif
