/* test_tape_wrong.c - wrong uses of the tape, ops that are faulty or unusual. */
#include "own_ops.h"

/* ---- wrong uses -------------------------------------------------------------------------------------------------- */

static void backward_twice(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *h, *loss, *other;

    (void)state;
    h = own_mul(ctx, x, x);
    loss = own_sum(ctx, h);
    other = own_sum(ctx, own_mul(ctx, h, h));
    assert_true(tp_backward(ctx, loss));
    assert_false(tp_backward(ctx, loss));
    own_error(ctx, TP_EARG, "walked back from already");
    (void)other;
    tp_ctx_free(ctx);

    /* a second loss above a trunk that has been walked: an error, not half a gradient */
    ctx = own_ctx();
    x = own_leaf(ctx, TP_F64, 2, 1);
    h = own_mul(ctx, x, x);
    loss = own_sum(ctx, h);
    assert_true(tp_backward(ctx, loss));
    other = own_sum(ctx, own_mul(ctx, h, h));
    assert_false(tp_backward(ctx, other));
    own_error(ctx, TP_EARG, "walked back from already");

    /* nothing of that attempt stays */
    tp_grad_drop(x);
    assert_true(tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
    tp_ctx_free(ctx);
}

static void no_scalar_and_nothing_trainable(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 3, 1), *f = tp_ones(ctx, TP_F64, TP_SHAPE(3)), *y;

    (void)state;
    assert_false(tp_backward(ctx, own_mul(ctx, x, x)));
    own_error(ctx, TP_ESHAPE, "the loss must be one number, it is [3]");
    assert_false(tp_backward(ctx, own_sum(ctx, f)));
    own_error(ctx, TP_EARG, "nothing trainable");
    tp_record(ctx, false);
    assert_false(tp_recording(ctx));
    y = own_sum(ctx, x);
    assert_false(tp_record(ctx, true));
    assert_true(tp_recording(ctx));
    assert_false(tp_needs_grad(y));
    assert_false(tp_backward(ctx, y));
    own_error(ctx, TP_EARG, "recording off");
    assert_false(tp_backward(ctx, NULL));
    own_error(ctx, TP_EARG, "NULL");
    assert_false(tp_backward_from(ctx, own_mul(ctx, x, x), tp_ones(ctx, TP_F64, TP_SHAPE(2))));
    own_error(ctx, TP_ESHAPE, "[3]");
    assert_false(tp_backward_from(ctx, own_mul(ctx, x, x), tp_ones(ctx, TP_F32, TP_SHAPE(3))));
    own_error(ctx, TP_ESHAPE, "f32");
    tp_set_trainable(ctx, own_mul(ctx, x, x), true);
    own_error(ctx, TP_EARG, "only leaves");
    tp_set_trainable(ctx, tp_ones(ctx, TP_I32, TP_SHAPE(3)), true);
    own_error(ctx, TP_EDTYPE, "i32");
    tp_ctx_free(ctx);
}

static tp_tensor *careless_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], NULL, 2);
}

static void wrong_shape_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    (void)dy;
    dx[0] = tp_ones(ctx, TP_F64, TP_SHAPE(3));
}

static void wrong_dtype_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)dy;
    dx[0] = tp_ones(ctx, TP_I64, TP_SHAPE(tp_dim(c->in[0], 0)));
}

static void dead_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_scope s = tp_scope_begin(ctx);

    (void)c;
    dx[0] = own_times(ctx, dy[0], NULL, 1);
    tp_scope_end(ctx, s);
}

static tp_tensor *nothing_forward(tp_ctx *ctx, tp_call *c)
{
    (void)ctx;
    (void)c;
    return NULL;
}

static tp_tensor *dead_forward(tp_ctx *ctx, tp_call *c)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *y = own_times(ctx, c->in[0], NULL, 1);

    tp_scope_end(ctx, s);
    return y;
}

static tp_tensor *saving_forward(tp_ctx *ctx, tp_call *c)
{
    c->saved[c->n_saved] = own_times(ctx, c->in[0], NULL, 2);
    return own_times(ctx, c->in[0], NULL, 1);
}

static tp_tensor *second_forward(tp_ctx *ctx, tp_call *c)
{
    c->out[c->n_out] = own_times(ctx, c->in[0], NULL, 2);
    return own_times(ctx, c->in[0], NULL, 1);
}

/* Slots that the op has not asked for: an error, not another's memory. */
static void more_than_the_op_says(void **state)
{
    static const tp_op none = { "faulty", 0, 0, 0, saving_forward, own_add_backward, NULL };
    static const tp_op one = { "faulty", 0, 0, 1, saving_forward, own_add_backward, NULL };
    static const tp_op out = { "faulty", 0, 0, 1, second_forward, own_add_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1);

    (void)state;
    assert_null(tp_apply(ctx, &none, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "faulty: forward set c->saved[0], but the op's n_saved says 0");
    assert_null(tp_apply(ctx, &one, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "faulty: forward set c->saved[1], but the op's n_saved says 1");
    assert_null(tp_apply(ctx, &out, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "faulty: forward set c->out[1], but the op's n_out says 1");
    tp_ctx_free(ctx);
}

static void faulty_ops(void **state)
{
    static const tp_op shape = { "faulty", 0, 1, 0, careless_forward, wrong_shape_backward, NULL };
    static const tp_op dtype = { "faulty", 0, 1, 0, careless_forward, wrong_dtype_backward, NULL };
    static const tp_op dead = { "faulty", 0, 1, 0, careless_forward, dead_backward, NULL };
    static const tp_op nothing = { "faulty", 0, 1, 0, nothing_forward, NULL, NULL };
    static const tp_op dead_out = { "faulty", 0, 1, 0, dead_forward, NULL, NULL };
    static const tp_op many = { "faulty", 0, 33, 0, careless_forward, NULL, NULL };
    static const tp_op hollow = { "faulty", 0, 1, 0, NULL, NULL, NULL };
    static const tp_op fixed = { "fixed", 0, 1, 0, careless_forward, NULL, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1);

    (void)state;
    assert_false(tp_backward_from(ctx, tp_apply(ctx, &shape, NULL, TP_IN(x)), tp_ones(ctx, TP_F64, TP_SHAPE(2))));
    own_error(ctx, TP_ESHAPE, "faulty: its backward gave a gradient f64 [3] for an input f64 [2]");
    assert_false(tp_backward_from(ctx, tp_apply(ctx, &dtype, NULL, TP_IN(x)), tp_ones(ctx, TP_F64, TP_SHAPE(2))));
    own_error(ctx, TP_ESHAPE, "i64");
    assert_false(tp_backward_from(ctx, tp_apply(ctx, &dead, NULL, TP_IN(x)), tp_ones(ctx, TP_F64, TP_SHAPE(2))));
    own_error(ctx, TP_EARG, "faulty: its backward gave a gradient that was released");
    assert_null(tp_apply(ctx, &nothing, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "faulty: forward returned no tensor");
    assert_null(tp_apply(ctx, &dead_out, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "faulty: what forward gave as output 0 was released");
    assert_null(tp_apply(ctx, &many, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "33 outputs");
    assert_null(tp_apply(ctx, &hollow, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "forward function");
    assert_null(tp_apply(ctx, NULL, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "no op");
    assert_null(tp_apply(ctx, &fixed, NULL, 2, NULL));
    own_error(ctx, TP_EARG, "inputs");
    /* an op without a backward cuts the tape */
    assert_false(tp_needs_grad(tp_apply(ctx, &fixed, NULL, TP_IN(x))));
    tp_ctx_free(ctx);
}

/* ---- outputs that are somebody else's ---------------------------------------------------------------------------- */

static tp_tensor *global;

static tp_tensor *global_forward(tp_ctx *ctx, tp_call *c)
{
    (void)ctx;
    (void)c;
    return global;
}

static tp_tensor *pair_forward(tp_ctx *ctx, tp_call *c)
{
    c->out[1] = own_times(ctx, c->in[0], NULL, 2);
    return c->out[1];
}

static void pair_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    dx[0] = own_times(ctx, own_add(ctx, dy[0], dy[1]), NULL, 2);
}

static void outputs_get_their_own_header(void **state)
{
    static const tp_op give_global = { "global", 0, 1, 0, global_forward, own_add_backward, NULL };
    static const tp_op pair = { "pair", 0, 2, 0, pair_forward, pair_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *y, *two[2];

    (void)state;
    y = own_same(ctx, x);
    assert_ptr_not_equal(x, y);
    assert_true(tp_same_storage(x, y));
    assert_true(tp_trainable(x) && !tp_trainable(y));
    global = tp_retain(tp_ones(ctx, TP_F64, TP_SHAPE(2)));
    y = tp_apply(ctx, &give_global, NULL, TP_IN(x));
    assert_ptr_not_equal(global, y);
    assert_false(tp_needs_grad(global));
    tp_set_trainable(ctx, global, true); /* it has stayed a leaf */
    own_ok(ctx);
    assert_true(tp_apply_n(ctx, &pair, NULL, 1, &x, two));
    assert_ptr_not_equal(two[0], two[1]);
    assert_true(tp_backward(ctx, own_sum(ctx, own_mul(ctx, two[0], two[1]))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(8, 16));
    tp_release(global);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* More inputs than masks have bits. */
static tp_tensor *total_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *y = tp_zeros_like(ctx, c->in[0]);

    for (int i = 0; i < c->n_in; i++)
        if (c->in[i] != NULL)
            own_set(ctx, y, 0, own_get(ctx, y, 0) + i * own_get(ctx, c->in[i], 0));
    return y;
}

static void total_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    for (int i = 0; i < c->n_in; i++)
        if (tp_wants(c, i))
            dx[i] = own_times(ctx, dy[0], NULL, i);
}

static void many_inputs(void **state)
{
    static const tp_op total = { "total", 0, 1, 0, total_forward, total_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *in[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        in[i] = i % 7 == 3 ? NULL : i % 2 ? own_leaf(ctx, TP_F64, 1, 1) : tp_ones(ctx, TP_F64, TP_SHAPE(1));
    assert_true(tp_backward(ctx, own_sum(ctx, tp_apply(ctx, &total, NULL, 100, in))));
    for (int i = 0; i < 100; i++) {
        if (i % 7 == 3 || i % 2 == 0)
            assert_null(tp_grad(in[i]));
        else
            own_equal(ctx, tp_grad(in[i]), OWN_VALUES(i));
    }
    own_ok(ctx);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backward_twice),
        cmocka_unit_test(no_scalar_and_nothing_trainable),
        cmocka_unit_test(more_than_the_op_says),
        cmocka_unit_test(faulty_ops),
        cmocka_unit_test(outputs_get_their_own_header),
        cmocka_unit_test(many_inputs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
