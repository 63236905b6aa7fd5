/*
 * test_ops_grad.c - every differentiable op of the table against central differences in f64: on plain and strided
 * operands, with every operand used twice and through a view, and with one tensor as two operands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "op_table.h"

/* With steps of 1e-6 the difference quotient of a smooth function is right to about 1e-9; the issue asks for 1e-6. */
static const double tolerance = 1e-6;

typedef enum { PLAIN, STRIDED, TWICE, SAME, MODES } mode;
static const char *const mode_names[MODES] = { "plain", "strided", "twice", "same" };

typedef struct { const op_case *c; } plain_user;

static tp_tensor *apply_once(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    return op_call(ctx, ((plain_user *)user)->c, in);
}

/* op(h) + op(v) / 2 with h computed from the operand and v a view of h: the gradient of h comes by two ways, and both
 * tempt the tape to add where others still look. */
static tp_tensor *apply_twice(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    const op_case *c = ((plain_user *)user)->c;
    tp_tensor     *h[OP_MAX_IN] = { NULL }, *v[OP_MAX_IN] = { NULL };

    for (int i = 0; i < op_operands(c); i++) {
        h[i] = v[i] = in[i];
        if (op_is_open(c, i)) {
            int64_t dim[TP_MAX_DIM];

            h[i] = tp_shift(ctx, in[i], 0);
            for (int d = 0; d < tp_ndim(in[i]); d++)
                dim[d] = tp_dim(in[i], d);
            v[i] = tp_reshape(ctx, h[i], tp_ndim(in[i]), dim);
        }
    }
    return tp_add(ctx, op_call(ctx, c, h), tp_scale(ctx, op_call(ctx, c, v), 0.5));
}

/* The first operand in the place of every other one of its letter and shape. */
static tp_tensor *apply_same(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    const op_case *c = ((plain_user *)user)->c;
    tp_tensor     *h[OP_MAX_IN] = { NULL };

    for (int i = 0; i < op_operands(c); i++)
        h[i] = c->operands[i] == c->operands[0] && tp_same_shape(in[i], in[0]) ? in[0] : in[i];
    return op_call(ctx, c, h);
}

static const tp_gradcheck_fn functions[MODES] = { apply_once, apply_once, apply_twice, apply_same };

/* Equal operands are a kink of some ops, and nothing to test where only one letter is of its kind. */
static bool skips(const op_case *c, mode m)
{
    return m == SAME && (op_operands(c) < 2 || strcmp(c->operands, "DD") == 0 || strcmp(c->operands, "DU") == 0);
}

static bool check(const char *backend, const op_case *c, const char *shapes, mode m)
{
    tp_ctx    *ctx = tp_ctx_new(strcmp(backend, "ref") == 0 ? TP_REF : TP_CPU, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL };
    plain_user user = { c };
    double     e;
    bool       good;

    tp_set_backend(ctx, backend);
    for (int i = 0; i < op_operands(c); i++)
        in[i] = op_operand(ctx, c, shapes, i, TP_F64, m == STRIDED);
    e = tp_gradcheck(ctx, functions[m], &user, op_operands(c), in, 1e-6);
    good = e < tolerance;
    if (!good)
        print_error("%s %s (%s), %s, %s: %g %s\n", backend, c->name, c->operands, shapes, mode_names[m], e,
                    tp_error(ctx));
    tp_ctx_free(ctx);
    return good;
}

static int check_all(const char *backend)
{
    int bad = 0;

    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++)
            for (int s = 0; (c->flags & (OP_GRAD | OP_LARGE)) == OP_GRAD && c->shapes[s] != NULL; s++)
                for (mode m = PLAIN; m < MODES; m++)
                    if (!skips(c, m))
                        bad += !check(backend, c, c->shapes[s], m);
    return bad;
}

static void test_ref(void **state)
{
    (void)state;
    assert_int_equal(check_all("ref"), 0);
}

/* The back end that this machine uses by itself. */
static void test_cpu(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    const char *name = tp_backend_name(ctx);

    (void)state;
    if (!tp_ok(ctx)) {
        tp_ctx_free(ctx);
        skip();
    }
    assert_int_equal(check_all(name), 0);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ref), cmocka_unit_test(test_cpu) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
