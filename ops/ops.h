/*
 * ops.h - everything that can be computed, a header per family.
 *
 * Rows of a contract: formula; operands with shapes and dtypes; returns; grad: which gradients there are; keeps: what a
 * recorded call holds until backward; fails: with which codes.  "float" stands for f64 f32 bf16 f16, "int" for i64 i32
 * u8.  Rules for all ops:
 *
 *   - Operands may be strided views; results are contiguous unless the contract says "view".
 *   - Sums, means and statistics of 16-bit values are computed in f32 and rounded once.
 *   - Operands of size zero are legal.
 *   - TP_EARG for a NULL tensor, TP_EDTYPE for a dtype that is not listed, TP_ESHAPE for shapes that do not fit: not
 * repeated below.
 */
#ifndef TP_OPS_H
#define TP_OPS_H

#include "core/core.h"

#include "ops/elementwise.h"
#include "ops/unary.h"
#include "ops/reduce.h"
#include "ops/layout.h"
#include "ops/create.h"
#include "ops/matmul.h"
#include "ops/block_diag.h"
#include "ops/conv.h"
#include "ops/pooling.h"
#include "ops/softmax.h"
#include "ops/loss.h"
#include "ops/index.h"
#include "ops/sort.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/attention.h"
#include "ops/dropout.h"
#include "ops/fused.h"

#endif
