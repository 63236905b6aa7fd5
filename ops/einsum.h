/*
 * einsum.h - sums over products of one or two tensors, written as an equation; diagonals.
 */
#ifndef TP_EINSUM_H
#define TP_EINSUM_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_einsum: in the equation `text` a letter names an axis; axes of one letter are walked together, and what the result
 * does not name is summed
 * over,
 *
 *       "ij,jk->ik"  a b            "bhqd,bhkd->bhqk"  scores of attention     "ij->ji"   transposed
 *       "ii->i"      the diagonal   "ii"               the trace               "i,j->ij"  outer product
 *
 * "..." stands for the axes that have no letter, which broadcast as numpy's; where the result does not have it they are
 * summed over.  Without "->" the result has "..." and then each letter that occurs once, capitals first.  Blanks do not
 * count.  An axis of size 1 is repeated beside a longer one of the same letter.
 *
 *   a       axes as the equation says  float
 *   b       dtype of a; NULL when the equation has one operand
 *   returns the axes behind "->", dtype of a; a or a view of it where nothing is to be computed
 *
 *   grad    da, db
 *   keeps   as the products and sums that it is made of: at most one tp_matmul
 *   fails   TP_EARG, with the place in the equation, where that cannot be read, names an axis of the result twice or
 *           one that is nowhere, or has more or fewer axes than an operand; TP_ESHAPE when sizes of one letter differ
 */
TP_API tp_tensor *tp_einsum(tp_ctx *ctx, const char *text, tp_tensor *a, tp_tensor *b);

/*
 * tp_diagonal: the elements whose places along two axes differ by offset,
 *
 *       y[..., i] = x[..., i, ..., i + offset, ...]
 *
 *   x       [..., n, ..., m, ...] any dtype; n at axis row, m at axis column
 *   offset  above 0 for a diagonal above the main one
 *   returns the other axes and then the diagonal, maybe of size 0; a view
 *
 *   grad    dx
 *   keeps   nothing
 *   fails   TP_EARG for an axis that does not exist or is named twice
 */
TP_API tp_tensor *tp_diagonal(tp_ctx *ctx, tp_tensor *x, int row, int column, int64_t offset);

#ifdef __cplusplus
}
#endif

#endif
