/*
 * linalg.h - factorisations of matrices and linear equations: LAPACK on the CPU.
 *
 * All take f64 and f32 and work on the last two axes, for every matrix of the axes before them.  NaN and Inf in a matrix
 * are TP_ENUM, so that nothing can run forever; so are matrices that have no such factor, by number among those of the
 * axes before.  Gradients are made of public ops, so there are second ones too.
 */
#ifndef TP_LINALG_H
#define TP_LINALG_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_qr: x = q r, q with orthonormal columns, r upper triangular; the diagonal of r may be negative, as LAPACK's.
 *
 *   x       [..., m, n]  f64 f32
 *   q, r    where [..., m, k] and [..., k, n] come, k = min(m, n); NULL after a failure.  Either may be NULL: not wanted
 *   returns whether it went well
 *
 *   grad    dx, where the first k columns of x are independent
 *   keeps   q, r
 *   fails   TP_ESHAPE for fewer than two axes, TP_ENUM for NaN or Inf in x
 */
TP_API bool       tp_qr(tp_ctx *ctx, tp_tensor *x, tp_tensor **q, tp_tensor **r);

/*
 * tp_svd: x = u diag(s) vt, u and vt^T with orthonormal columns, s >= 0 falling.
 *
 *   x       [..., m, n]  f64 f32
 *   u, s, vt  where [..., m, k], [..., k], [..., k, n] come, k = min(m, n); NULL after a failure.  Each may be NULL: not
 *           wanted
 *   returns whether it went well.  A column of u and the row of vt may change their sign together
 *
 *   grad    dx, where no two of s are equal and none is 0 (else Inf or NaN, where u or vt was used)
 *   keeps   u, s, vt
 *   fails   TP_ESHAPE for fewer than two axes, TP_ENUM for NaN or Inf in x
 */
TP_API bool       tp_svd(tp_ctx *ctx, tp_tensor *x, tp_tensor **u, tp_tensor **s, tp_tensor **vt);

/*
 * tp_cholesky: the lower triangular l with l l^T = x; of an x that is not symmetric, of (x + x^T) / 2.
 *
 *   x       [..., n, n]  f64 f32
 *   returns [..., n, n]
 *
 *   grad    dx, symmetric
 *   keeps   y
 *   fails   TP_ESHAPE when x is not square, TP_ENUM when it is not positive definite
 */
TP_API tp_tensor *tp_cholesky(tp_ctx *ctx, tp_tensor *x);

/*
 * tp_solve: the y with a y = b.  tp_inverse: that with a y = 1.
 *
 *   a       [..., n, n]  f64 f32
 *   b       [..., n, k], or [n]   dtype of a; the axes before broadcast
 *   returns [..., n, k], or [..., n]
 *
 *   grad    da, db
 *   keeps   a, y
 *   fails   TP_ESHAPE when a is not square or n differs, TP_ENUM when a is singular
 */
TP_API tp_tensor *tp_solve(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
TP_API tp_tensor *tp_inverse(tp_ctx *ctx, tp_tensor *a);

#ifdef __cplusplus
}
#endif

#endif
