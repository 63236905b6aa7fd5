/* test_tape.c - recording and walking: what backward delivers, and where. */
#include "own_ops.h"

#include "core/internal.h"

#include <math.h>

/* ---- plain ------------------------------------------------------------------------------------------------------- */

static void simple_gradients(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *a = own_leaf(ctx, TP_F64, 3, 1), *b = own_leaf(ctx, TP_F64, 3, 4), *loss;

    (void)state;
    loss = own_sum(ctx, own_mul(ctx, a, b));
    assert_float_equal(tp_item(ctx, loss), 4 + 10 + 18, 0);
    assert_true(tp_needs_grad(loss));
    assert_false(tp_trainable(loss));
    assert_null(tp_grad(a));
    assert_true(tp_backward(ctx, loss));
    own_equal(ctx, tp_grad(a), OWN_VALUES(4, 5, 6));
    own_equal(ctx, tp_grad(b), OWN_VALUES(1, 2, 3));
    tp_scope_end(ctx, s);
    own_ok(ctx);
    assert_int_equal(tp_ctx_finish(ctx), 0);
}

/* A gradient is f32 for every leaf that is not f64. */
static void gradient_dtypes(void **state)
{
    static const struct {
        tp_dtype t, g;
    } cases[] = { { TP_F64, TP_F64 }, { TP_F32, TP_F32 }, { TP_BF16, TP_F32 }, { TP_F16, TP_F32 } };
    tp_ctx *ctx = own_ctx();

    (void)state;
    for (int i = 0; i < 4; i++) {
        tp_tensor *x = tp_ones(ctx, cases[i].t, TP_SHAPE(2)), *y;

        tp_set_trainable(ctx, x, true);
        y = own_same(ctx, x);
        assert_true(tp_backward_from(ctx, y, tp_ones(ctx, cases[i].t, TP_SHAPE(2))));
        assert_int_equal(tp_dtype_of(tp_grad(x)), cases[i].g);
        own_equal(ctx, tp_grad(x), OWN_VALUES(1, 1));
    }
    tp_ctx_free(ctx);
}

/* Each input used twice, directly and through a view. */
static void inputs_used_twice(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 3), *v, *w;

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(6, 8));
    tp_grad_drop(x);
    assert_null(tp_grad(x));
    for (int i = 1; i <= 2; i++) { /* one tensor is the gradient of both inputs */
        tp_backward(ctx, own_sum(ctx, own_add(ctx, x, x)));
        own_equal(ctx, tp_grad(x), OWN_VALUES(2 * i, 2 * i));
    }
    tp_grad_drop(x);

    v = own_same(ctx, x);
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, v)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(6, 8));
    tp_grad_drop(x);

    v = own_same(ctx, x);
    w = own_same(ctx, v);
    tp_backward(ctx, own_sum(ctx, own_add(ctx, own_add(ctx, v, w), own_add(ctx, w, v))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(4, 4));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* dy goes on as it is to two inputs: neither must get the other's later contributions. */
static void shared_dy_is_not_written(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *y = own_leaf(ctx, TP_F64, 2, 5), *a, *b, *dy, *c;

    (void)state;
    a = own_same(ctx, x);
    b = own_same(ctx, y);
    c = own_add(ctx, own_add(ctx, a, b), own_mul(ctx, a, b));
    dy = tp_full(ctx, TP_F64, TP_SHAPE(2), 10);
    assert_true(tp_backward_from(ctx, c, dy));
    own_equal(ctx, tp_grad(x), OWN_VALUES(60, 70));
    own_equal(ctx, tp_grad(y), OWN_VALUES(20, 30));
    own_equal(ctx, dy, OWN_VALUES(10, 10));
    assert_false(tp_same_storage(dy, tp_grad(x)));
    assert_false(tp_same_storage(tp_grad(y), tp_grad(x)));

    /* a leaf walked back from directly does not take the user's tensor over */
    tp_grad_drop(x);
    assert_true(tp_backward_from(ctx, x, dy));
    assert_false(tp_same_storage(dy, tp_grad(x)));
    assert_true(tp_backward_from(ctx, x, dy));
    own_equal(ctx, tp_grad(x), OWN_VALUES(20, 20));
    own_equal(ctx, dy, OWN_VALUES(10, 10));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- several outputs, keep, saved -------------------------------------------------------------------------------- */

/* out = 2x, nothing, 3x; saved = 5x; backward gives 2 dy0 + 3 dy2, and proves what it still has. */
static tp_tensor *trident_forward(tp_ctx *ctx, tp_call *c)
{
    c->out[2] = own_times(ctx, c->in[0], NULL, 3);
    c->saved[1] = own_times(ctx, c->in[0], NULL, 5);
    c->keep = TP_KEEP_OUT(2);
    return own_times(ctx, c->in[0], NULL, 2);
}

static void trident_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *attr = c->attr;
    tp_tensor *a = dy[0] ? own_times(ctx, dy[0], NULL, 2) : tp_zeros_like(ctx, c->out[2]);

    assert_int_equal(*attr, 77);
    assert_null(dy[1]);
    assert_null(c->saved[0]);
    assert_float_equal(own_get(ctx, c->saved[1], 0) * 3, own_get(ctx, c->out[2], 0) * 5, 1e-9);
    dx[0] = dy[2] ? own_add(ctx, a, own_times(ctx, dy[2], NULL, 3)) : a;
}

static const tp_op trident = { "trident", sizeof(int), 3, 2, trident_forward, trident_backward, NULL };

static void several_outputs(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *out[3];
    int        attr = 77;
    tp_scope   s;

    (void)state;
    for (int which = 0; which < 3; which++) {
        tp_tensor *y;

        s = tp_scope_begin(ctx);
        assert_true(tp_apply_n(ctx, &trident, &attr, 1, &x, out));
        assert_null(out[1]);
        own_equal(ctx, out[0], OWN_VALUES(2, 4));
        own_equal(ctx, out[2], OWN_VALUES(3, 6));
        y = which == 0 ? out[0] : which == 1 ? out[2] : own_add(ctx, out[0], out[2]);
        assert_true(tp_backward(ctx, own_sum(ctx, y)));
        own_equal(ctx, tp_grad(x), 2,
                  which == 0   ? (double[]){ 2, 2 }
                  : which == 1 ? (double[]){ 3, 3 }
                               : (double[]){ 5, 5 });
        tp_grad_drop(x);
        tp_scope_end(ctx, s);
    }
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* What forward did not keep is not there in backward once its scope is gone; what it kept is. */
static int n_seen;

static tp_tensor *keeper_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(1) | TP_KEEP_IN(2);
    return own_times(ctx, c->in[0], NULL, 1);
}

static void keeper_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    n_seen = (c->in[0]->store != NULL) + 2 * (c->in[1]->store != NULL) + 4 * (c->in[2] == NULL) +
             8 * (c->out[0]->store != NULL);
    own_equal(ctx, c->in[1], OWN_VALUES(8, 9));
    assert_int_equal(tp_numel(c->in[0]), 2); /* its header is */
    dx[0] = dy[0];
}

static const tp_op keeper = { "keeper", 0, 1, 0, keeper_forward, keeper_backward, NULL };

static void keep_masks(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *y;
    tp_scope   s = tp_scope_begin(ctx);

    (void)state;
    y = tp_apply(ctx, &keeper, NULL, TP_IN(own_same(ctx, x), tp_arange(ctx, TP_F64, 8, 10, 1), NULL));
    y = own_sum(ctx, y);
    y = tp_scope_return(ctx, s, y);
    assert_true(tp_backward(ctx, y));
    own_ok(ctx);
    assert_int_equal(n_seen, 2 + 4);
    own_equal(ctx, tp_grad(x), OWN_VALUES(1, 1));
    tp_ctx_free(ctx);
}

/* An op that reads what it did not keep is told so. */
static tp_tensor *careless_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], NULL, 2);
}

static void careless_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)dy;
    if (tp_values(ctx, c->in[0]) != NULL)
        dx[0] = own_times(ctx, c->in[0], NULL, 2);
}

static const tp_op careless = { "careless", 0, 1, 0, careless_forward, careless_backward, NULL };

static void values_not_kept(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *y;
    tp_scope   s = tp_scope_begin(ctx);

    (void)state;
    y = tp_scope_return(ctx, s, own_sum(ctx, tp_apply(ctx, &careless, NULL, TP_IN(own_same(ctx, x)))));
    assert_false(tp_backward(ctx, y));
    own_error(ctx, TP_EARG, "released");
    tp_ctx_free(ctx);
}

/* Saves its input. */
static tp_tensor *saver_forward(tp_ctx *ctx, tp_call *c)
{
    c->saved[0] = c->in[0];
    return own_times(ctx, c->in[0], c->in[0], 0);
}

static const tp_op saver = { "saver", 0, 1, 1, saver_forward, careless_backward, NULL };

static void values_changed(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *loss;

    (void)state;
    loss = own_sum(ctx, own_mul(ctx, a, b));
    tp_copy_to(ctx, b, a);
    assert_false(tp_backward(ctx, loss));
    own_error(ctx, TP_EARG, "own_mul: the values of input 1 were changed");
    assert_null(tp_grad(a));

    loss = own_sum(ctx, own_mul(ctx, a, b));
    tp_f64(ctx, tp_detach(ctx, a))[0] = 4; /* through a view */
    assert_false(tp_backward(ctx, loss));
    own_error(ctx, TP_EARG, "own_mul: the values of input 0 were changed");

    loss = own_sum(ctx, tp_apply(ctx, &saver, NULL, TP_IN(a)));
    tp_copy_to(ctx, a, b);
    assert_false(tp_backward(ctx, loss));
    own_error(ctx, TP_EARG, "saver: the values of saved tensor 0 were changed");

    loss = own_sum(ctx, own_add(ctx, a, b)); /* keeps nothing: no harm */
    tp_copy_to(ctx, b, a);
    assert_true(tp_backward(ctx, loss));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- accumulation ------------------------------------------------------------------------------------------------ */

static void gradients_add_up(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *first, *mine;

    (void)state;
    for (int i = 1; i <= 3; i++) {
        tp_backward(ctx, own_sum(ctx, own_mul(ctx, a, b)));
        own_equal(ctx, tp_grad(a), OWN_VALUES(3 * i, 4 * i));
    }
    first = tp_grad(a);
    tp_grad_used(a); /* readable until the next backward, which overwrites it */
    own_equal(ctx, tp_grad(a), OWN_VALUES(9, 12));
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, a, b)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 4));
    own_equal(ctx, tp_grad(b), OWN_VALUES(4, 8));
    assert_ptr_equal(first, tp_grad(a));

    mine = tp_retain(tp_grad(a)); /* who holds a gradient keeps its values */
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, a, b)));
    own_equal(ctx, mine, OWN_VALUES(3, 4));
    own_equal(ctx, tp_grad(a), OWN_VALUES(6, 8));
    tp_release(mine);
    mine = tp_retain(tp_grad(a));
    tp_grad_used(a);
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, b)));
    own_equal(ctx, mine, OWN_VALUES(6, 8));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 4));
    tp_release(mine);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void straight_into_place(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *g;

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, b)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 4));
    g = tp_grad(a);
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, b))); /* beta 1 */
    own_equal(ctx, tp_grad(a), OWN_VALUES(6, 8));
    assert_ptr_equal(g, tp_grad(a));
    tp_grad_used(a);
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, b))); /* beta 0 */
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 4));
    tp_grad_drop(a);

    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, a))); /* the same leaf twice in one call, the first time and later */
    own_equal(ctx, tp_grad(a), OWN_VALUES(2, 4));
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, a)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(4, 8));
    tp_grad_used(a);
    tp_backward(ctx, own_sum(ctx, own_into(ctx, a, a)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(2, 4));
    tp_grad_drop(a);

    /* in place and handed over, in both orders */
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, own_into(ctx, a, a), a)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 12));
    tp_grad_drop(a);
    tp_backward(ctx, own_sum(ctx, own_into(ctx, own_mul(ctx, a, a), a)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 12));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static tp_tensor *global;

/* A backward that returns a tensor of somebody else's as the gradient: it must not become the leaf's own. */
static void borrowed_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    (void)c;
    (void)dy;
    dx[0] = global;
}

static void foreign_gradients_are_copied(void **state)
{
    static const tp_op op = { "borrower", 0, 1, 0, own_sum_forward, borrowed_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1);

    (void)state;
    global = tp_retain(tp_full(ctx, TP_F64, TP_SHAPE(2), 7));
    tp_release(global); /* the scope alone holds it */
    for (int i = 0; i < 2; i++)
        assert_true(tp_backward(ctx, tp_apply(ctx, &op, NULL, TP_IN(x))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(14, 14));
    own_equal(ctx, global, OWN_VALUES(7, 7));
    tp_ctx_free(ctx);
}

/* ---- frozen meanwhile -------------------------------------------------------------------------------------------- */

static void trainable_changes_between(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = tp_full(ctx, TP_F64, TP_SHAPE(2), 5), *loss;

    (void)state;
    loss = own_sum(ctx, own_mul(ctx, a, b));
    tp_set_trainable(ctx, b, true); /* too late for this call */
    assert_true(tp_backward(ctx, loss));
    assert_null(tp_grad(b));
    own_equal(ctx, tp_grad(a), OWN_VALUES(5, 5));
    loss = own_sum(ctx, own_mul(ctx, a, b));
    tp_set_trainable(ctx, a, false); /* in time to be spared */
    assert_true(tp_backward(ctx, loss));
    own_equal(ctx, tp_grad(a), OWN_VALUES(5, 5));
    own_equal(ctx, tp_grad(b), OWN_VALUES(1, 2));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- pruning ----------------------------------------------------------------------------------------------------- */

static void calls_nobody_needs_go(void **state)
{
    tp_ctx       *ctx = own_ctx();
    tp_tensor    *x = own_leaf(ctx, TP_F64, 1000, 1), *y;
    size_t        before = tp_memory(ctx).now;
    tp_scope      s = tp_scope_begin(ctx), inner;

    (void)state;
    y = own_mul(ctx, own_mul(ctx, x, x), x);
    assert_true(tp_memory(ctx).now >= before + 16000);
    tp_scope_end(ctx, s);
    assert_int_equal(tp_memory(ctx).now, before);

    /* the same in a scope in which a backward has walked calls of the scope around it */
    s = tp_scope_begin(ctx);
    y = x;
    for (int i = 0; i < 5; i++)
        y = own_mul(ctx, y, x);
    y = own_sum(ctx, y);
    inner = tp_scope_begin(ctx);
    assert_true(tp_backward(ctx, y));
    before = tp_memory(ctx).now;
    own_mul(ctx, own_mul(ctx, x, x), x);
    tp_scope_end(ctx, inner);
    assert_true(tp_memory(ctx).now <= before);
    tp_scope_end(ctx, s);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void clearing_an_error_drops_the_inner_tape(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *outer, *inner;
    tp_scope   s;

    (void)state;
    outer = own_mul(ctx, x, x);
    s = tp_scope_begin(ctx);
    inner = own_mul(ctx, outer, outer);
    tp_record(ctx, false);
    tp_fail(ctx, TP_EIO, "disk full");
    assert_null(own_mul(ctx, outer, outer));
    assert_true(isnan(tp_item(ctx, own_sum(ctx, x))));
    tp_error_clear(ctx);
    assert_true(tp_recording(ctx));
    own_equal(ctx, inner, OWN_VALUES(1, 16)); /* scopes stay */
    assert_false(tp_backward(ctx, own_sum(ctx, inner)));
    own_error(ctx, TP_EARG, "walked back from already");
    tp_scope_end(ctx, s);
    assert_true(tp_backward(ctx, own_sum(ctx, outer)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_gradients),
        cmocka_unit_test(gradient_dtypes),
        cmocka_unit_test(inputs_used_twice),
        cmocka_unit_test(shared_dy_is_not_written),
        cmocka_unit_test(several_outputs),
        cmocka_unit_test(keep_masks),
        cmocka_unit_test(values_not_kept),
        cmocka_unit_test(values_changed),
        cmocka_unit_test(gradients_add_up),
        cmocka_unit_test(straight_into_place),
        cmocka_unit_test(foreign_gradients_are_copied),
        cmocka_unit_test(trainable_changes_between),
        cmocka_unit_test(calls_nobody_needs_go),
        cmocka_unit_test(clearing_an_error_drops_the_inner_tape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
