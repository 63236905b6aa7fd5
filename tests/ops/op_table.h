/* op_table.h - one table of all ops with samples of operands; it drives the tests of gradients, back ends and errors.
 */
#ifndef TESTS_OP_TABLE_H
#define TESTS_OP_TABLE_H

#include "ops/ops.h"

/* OP_LARGE: too many elements for central differences; its gradients are compared with those of ref. */
enum { OP_GRAD = 1, OP_INTS = 2, OP_BOOLS = 4, OP_LARGE = 8, OP_MAX_IN = 6 };

/*
 * A letter per operand says what values it gets; those in capitals below are of the dtype under test:
 *   R any number       P positive      U in (0, 1)       D all different, away from 0       Z like D, some zeros
 *   M any number, f32 beside a 16-bit dtype, else of that dtype
 *   i ids (i64), j ids (i32), both below limit;   t targets (i32, some negative, below limit);   b bool;
 *   f frequencies (f32);   q positions (i32);   g ranges of keys (i32)
 */
typedef struct op_case {
    const char        *name; /* of the public function */
    const char        *operands;
    const char *const *shapes; /* "2x3 3": one word per operand, "." for no axes; ended by NULL */
    unsigned           flags;
    int64_t            limit;
    tp_tensor *(*f1)(tp_ctx *ctx, tp_tensor *a); /* one of these four is set */
    tp_tensor *(*f2)(tp_ctx *ctx, tp_tensor *a, tp_tensor *b);
    tp_tensor *(*f3)(tp_ctx *ctx, tp_tensor *a, tp_tensor *b, tp_tensor *c);
    tp_tensor *(*fn)(tp_ctx *ctx, tp_tensor *const *in);
} op_case;

/* Tables ended by a case without a name; the list ended by NULL. */
extern const op_case *const op_tables[];
extern const op_case        op_cases_elementwise[], op_cases_shape[], op_cases_nn[], op_cases_index[], op_cases_nets[];

/* Shapes for ops that take any. */
extern const char *const op_shapes_one[], *const op_shapes_two[], *const op_shapes_matrix[];

int        op_operands(const op_case *c);
tp_tensor *op_call(tp_ctx *ctx, const op_case *c, tp_tensor *const *in);

/* Operand i for a shape line, values of dtype t where the letter leaves it open; strided: a view with gaps and swapped
 * axes. */
tp_tensor *op_operand(tp_ctx *ctx, const op_case *c, const char *shapes, int i, tp_dtype t, bool strided);
/* Whether operand i is of the dtype under test. */
bool       op_is_open(const op_case *c, int i);

#endif
