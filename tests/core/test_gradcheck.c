/* test_gradcheck.c - the check of gradients finds what is wrong, and leaves things as they were. */
#include "own_ops.h"

#include "core/internal.h"

#include <math.h>

/* y = x^2, with faults to choose from. */
typedef enum { RIGHT, FACTOR, SIGN, MISSING, ONE_ELEMENT, NO_BETA, ALWAYS_BETA, NOT_A_NUMBER } fault;

static tp_tensor *square_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0);
    return own_times(ctx, c->in[0], c->in[0], 0);
}

static void square_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    fault      f = *(const fault *)c->attr;
    tp_tensor *d = own_times(ctx, own_times(ctx, dy[0], c->in[0], 0), NULL,
                             f == FACTOR ? 2.0001
                             : f == SIGN ? -2
                                         : 2),
              *g;
    double     beta;

    if (f == MISSING)
        return;
    if (f == ONE_ELEMENT)
        own_set(ctx, d, tp_numel(d) - 1, 0);
    if (f == NOT_A_NUMBER)
        own_set(ctx, d, 0, (double)NAN);
    if (f != NO_BETA && f != ALWAYS_BETA) {
        dx[0] = d;
        return;
    }
    g = tp_grad_into(ctx, c, 0, dx, &beta);
    for (int64_t i = 0; i < tp_numel(g); i++) {
        if (f == ALWAYS_BETA && beta == 0)
            own_set(ctx, g, i, 1); /* what undefined memory may hold */
        own_set(ctx, g, i, (f == NO_BETA ? 0 : own_get(ctx, g, i)) + own_get(ctx, d, i));
    }
}

static const tp_op square_op = { "square", sizeof(fault), 1, 0, square_forward, square_backward, NULL };

static tp_tensor *square(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    return tp_apply(ctx, &square_op, user, 1, in);
}

/* The same, but it keeps nothing, although backward reads its input. */
static tp_tensor *forgetful_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], c->in[0], 0);
}

static const tp_op forgetful_op = { "forgetful", sizeof(fault), 1, 0, forgetful_forward, square_backward, NULL };

static tp_tensor *forgetful(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    return tp_apply(ctx, &forgetful_op, user, 1, in);
}

static void finds_faults(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_arange(ctx, TP_F64, 0.5, 4, 0.7);

    (void)state;
    for (fault f = RIGHT; f <= NOT_A_NUMBER; f++) {
        double e = tp_gradcheck(ctx, square, &f, 1, &x, 0);

        own_ok(ctx);
        if (f == RIGHT)
            assert_true(e < 1e-8);
        else
            assert_false(e < 1e-6);
        if (f == FACTOR)
            assert_true(e > 1e-5 && e < 1e-4);
    }
    tp_ctx_free(ctx);
}

static tp_tensor *product(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    tp_tensor *frozen = user;

    return own_mul(ctx, own_mul(ctx, in[0], in[1]), own_add(ctx, in[0], frozen));
}

/* Strided inputs, one twice, one that is not checked, one missing. */
static void inputs_of_all_kinds(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *m = tp_arange(ctx, TP_F64, 0.1, 1.3, 0.1), *x = tpi_view(ctx, m, TP_SHAPE(4, 3), (int64_t[]){ 1, 4 }, 0),
              *y = tpi_view(ctx, tp_arange(ctx, TP_F64, -2, 4, 0.5), TP_SHAPE(4, 3), NULL, 0),
              *e = tpi_view(ctx, tp_zeros(ctx, TP_F64, TP_SHAPE(0)), TP_SHAPE(0, 3), NULL, 0);

    (void)state;
    assert_true(tp_gradcheck(ctx, product, y, 2, (tp_tensor *[]){ x, y }, 0) < 1e-7);
    assert_true(tp_gradcheck(ctx, product, y, 2, (tp_tensor *[]){ x, x }, 0) < 1e-7);
    assert_true(tp_gradcheck(ctx, product, y, 4, (tp_tensor *[]){ x, y, NULL, tp_ones(ctx, TP_I32, TP_SHAPE(1)) },
                             1e-5) < 1e-7);
    assert_true(tp_gradcheck(ctx, product, e, 2, (tp_tensor *[]){ e, e }, 0) == 0);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* Gradients, flags, recording and the values themselves are afterwards what they were. */
static void leaves_things_alone(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 3, 1), *y = tp_full(ctx, TP_F64, TP_SHAPE(3), 2), *g;

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, y)));
    tp_grad_used(x);
    g = tp_grad(x);
    assert_true(tp_gradcheck(ctx, product, y, 2, (tp_tensor *[]){ x, y }, 0) < 1e-7);
    assert_ptr_equal(tp_grad(x), g);
    own_equal(ctx, g, OWN_VALUES(2, 2, 2));
    assert_true(x->grad_used);
    assert_true(tp_trainable(x) && !tp_trainable(y) && !tp_needs_grad(y));
    assert_null(tp_grad(y));
    own_equal(ctx, x, OWN_VALUES(1, 2, 3));
    tp_record(ctx, false);
    assert_true(tp_gradcheck(ctx, product, y, 2, (tp_tensor *[]){ x, y }, 0) < 1e-7);
    assert_false(tp_recording(ctx));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static tp_tensor *breaks(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    (void)in;
    return tp_fail(ctx, TP_EARG, "fn: broken");
}

static tp_tensor *nothing(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)ctx;
    (void)user;
    (void)in;
    return NULL;
}

static void failures(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_ones(ctx, TP_F64, TP_SHAPE(3)), *single;
    fault      f = RIGHT;

    (void)state;
    assert_true(isnan(tp_gradcheck(ctx, breaks, NULL, 1, &x, 0)));
    own_error(ctx, TP_EARG, "fn: broken");
    assert_false(tp_trainable(x));
    assert_true(isnan(tp_gradcheck(ctx, nothing, NULL, 1, &x, 0)));
    own_error(ctx, TP_EARG, "NULL");
    assert_true(isnan(tp_gradcheck(ctx, NULL, NULL, 1, &x, 0)));
    own_error(ctx, TP_EARG, "gradcheck: no function");
    assert_true(isnan(tp_gradcheck(ctx, square, &f, 33, &x, 0)));
    own_error(ctx, TP_EARG, "33 inputs");
    assert_true(isnan(tp_gradcheck(ctx, forgetful, &f, 1, &x, 0)));
    own_error(ctx, TP_EARG, "c->keep");
    own_equal(ctx, x, OWN_VALUES(1, 1, 1));
    single = tp_ones(ctx, TP_F32, TP_SHAPE(3));
    assert_true(isnan(tp_gradcheck(ctx, square, &f, 1, &single, 0)));
    own_error(ctx, TP_EARG, "none of 1 inputs is an f64 leaf");
    assert_true(isnan(tp_gradcheck(NULL, square, &f, 1, &x, 0)));
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_faults),
        cmocka_unit_test(inputs_of_all_kinds),
        cmocka_unit_test(leaves_things_alone),
        cmocka_unit_test(failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
