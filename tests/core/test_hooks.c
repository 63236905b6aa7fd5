/* test_hooks.c - hooks, gradients set aside by tp_grad_of, failed passes, anomaly mode. */
#include "own_ops.h"

#include "core/internal.h"

#include <math.h>

/* ---- hooks ------------------------------------------------------------------------------------------------------- */

typedef struct {
    int        calls;
    double     first; /* the first element of what the hook saw last */
    double     factor;
    tp_tensor *result; /* instead of a product */
} witness;

static tp_tensor *watch(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    witness *w = user;

    w->calls++;
    w->first = own_get(ctx, own_rows(ctx, dx), 0);
    assert_false(tp_recording(ctx));
    return w->factor == 0 ? w->result : own_times(ctx, dx, NULL, w->factor);
}

static void hook_on_an_inner_tensor(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *h;
    witness    w = { .factor = 10 };
    tp_scope   s = tp_scope_begin(ctx);

    (void)state;
    h = own_mul(ctx, x, x);
    tp_hook(ctx, h, watch, &w);
    tp_backward(ctx, own_sum(ctx, own_add(ctx, own_add(ctx, h, h), h))); /* once, when all three are there */
    assert_int_equal(w.calls, 1);
    assert_float_equal(w.first, 3, 0);
    own_equal(ctx, tp_grad(x), OWN_VALUES(60, 120));
    tp_scope_end(ctx, s);

    tp_grad_drop(x); /* only to look */
    w = (witness){ 0 };
    h = own_mul(ctx, x, x);
    tp_hook(ctx, h, watch, &w);
    tp_backward(ctx, own_sum(ctx, h));
    assert_int_equal(w.calls, 1);
    own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* The hook of a leaf sees each pass's gradient alone, whatever has been added up before. */
static void hook_on_a_leaf(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1);
    witness    w = { .factor = 10 };

    (void)state;
    tp_hook(ctx, x, watch, &w);
    for (int i = 1; i <= 3; i++) {
        tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, own_into(ctx, x, x))));
        assert_int_equal(w.calls, i);
        assert_float_equal(w.first, 3, 0);
        own_equal(ctx, tp_grad(x), OWN_VALUES(30 * i, 120 * i));
    }
    tp_grad_used(x);
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(20, 40));
    tp_hook(ctx, x, NULL, NULL);
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(22, 44));
    assert_int_equal(w.calls, 4);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* What a hook returns does not become the leaf's own when the user has it too. */
static void hook_result_is_copied(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *h;
    witness    w = { .result = tp_full(ctx, TP_F64, TP_SHAPE(2), 5) };

    (void)state;
    tp_hook(ctx, x, watch, &w);
    for (int i = 1; i <= 2; i++)
        tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(10, 10));
    own_equal(ctx, w.result, OWN_VALUES(5, 5));
    tp_hook(ctx, x, NULL, NULL);
    tp_grad_drop(x);
    for (int i = 1; i <= 2; i++) {
        h = own_same(ctx, x);
        tp_hook(ctx, h, watch, &w);
        tp_backward(ctx, own_sum(ctx, h));
    }
    own_equal(ctx, tp_grad(x), OWN_VALUES(10, 10));
    own_equal(ctx, w.result, OWN_VALUES(5, 5));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static tp_tensor *failing_hook(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    (void)user;
    (void)dx;
    return tp_fail(ctx, TP_EARG, "the hook has had enough");
}

static tp_scope open_scope;

static tp_tensor *ending_hook(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    (void)user;
    tp_scope_end(ctx, open_scope);
    return dx;
}

static tp_tensor *clearing_hook(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    (void)user;
    tp_fail(ctx, TP_EIO, "something that does not matter");
    tp_error_clear(ctx);
    assert_false(tp_recording(ctx));
    return dx;
}

static tp_tensor *nested_hook(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    tp_tensor *x = user;

    tp_record(ctx, true);
    assert_true(tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, x))));
    own_mul(ctx, x, x); /* recorded and forgotten */
    tp_record(ctx, false);
    return dx;
}

static void hooks_that_misbehave(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F64, 2, 1), *z = own_leaf(ctx, TP_F64, 2, 5), *h;
    witness    w = { .result = tp_ones(ctx, TP_F64, TP_SHAPE(3)) };

    (void)state;
    for (int leaf = 0; leaf < 2; leaf++) {
        tp_tensor *at;

        h = own_mul(ctx, x, x);
        at = leaf ? x : h;
        tp_hook(ctx, at, failing_hook, NULL);
        assert_false(tp_backward(ctx, own_sum(ctx, h)));
        own_error(ctx, TP_EARG, "had enough");
        tp_grad_drop(x);

        h = own_mul(ctx, x, x);
        at = leaf ? x : h;
        tp_hook(ctx, at, watch, &w);
        assert_false(tp_backward(ctx, own_sum(ctx, h)));
        own_error(ctx, TP_ESHAPE, "hook: it returned f64 [3] for a gradient f64 [2]");
        tp_grad_drop(x);

        open_scope = tp_scope_begin(ctx);
        h = own_mul(ctx, x, x);
        at = leaf ? x : h;
        tp_hook(ctx, at, ending_hook, NULL);
        assert_false(tp_backward(ctx, own_sum(ctx, h)));
        own_error(ctx, TP_EARG, "scope_end: ");
        tp_scope_end(ctx, open_scope);
        tp_grad_drop(x);

        h = own_mul(ctx, x, x);
        at = leaf ? x : h;
        tp_hook(ctx, at, clearing_hook, NULL);
        assert_true(tp_backward(ctx, own_sum(ctx, h)));
        own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
        tp_grad_drop(x);

        h = own_mul(ctx, x, x);
        at = leaf ? x : h;
        tp_hook(ctx, at, nested_hook, z);
        assert_true(tp_backward(ctx, own_sum(ctx, h)));
        own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
        own_equal(ctx, tp_grad(z), OWN_VALUES(10, 12));
        tp_grad_drop(x);
        tp_grad_drop(z);
        tp_hook(ctx, x, NULL, NULL);
    }
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- tp_grad_of -------------------------------------------------------------------------------------------------- */

static void grad_of_leaves_grad_alone(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *c = own_leaf(ctx, TP_F64, 2, 1), *h,
              *loss, *out[5];

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, a, b)));
    h = own_mul(ctx, a, b);
    loss = own_sum(ctx, own_into(ctx, h, own_into(ctx, a, a)));
    assert_true(tp_grad_of(ctx, loss, 5, (tp_tensor *[]){ a, h, c, loss, a }, out));
    own_equal(ctx, out[0], OWN_VALUES(9, 48)); /* of a^3 b */
    own_equal(ctx, out[1], OWN_VALUES(1, 4));
    assert_null(out[2]);
    own_equal(ctx, out[3], OWN_VALUES(1));
    own_equal(ctx, out[4], OWN_VALUES(9, 48));
    own_equal(ctx, tp_grad(a), OWN_VALUES(3, 4));
    own_equal(ctx, tp_grad(b), OWN_VALUES(1, 2));
    assert_null(tp_grad(h));
    assert_null(h->grad);
    assert_null(tp_grad(c));
    assert_false(tp_same_storage(out[0], out[4]));

    tp_backward(ctx, own_sum(ctx, own_mul(ctx, a, b))); /* and nothing disturbs the next pass */
    own_equal(ctx, tp_grad(a), OWN_VALUES(6, 8));
    own_ok(ctx);

    assert_false(tp_grad_of(ctx, loss, 1, &a, out));
    own_error(ctx, TP_EARG, "walked back from already");
    assert_null(out[0]);
    assert_false(tp_grad_of(ctx, own_mul(ctx, a, a), 1, &a, out));
    own_error(ctx, TP_ESHAPE, "grad_of: the loss must be one number");
    assert_false(tp_grad_of(ctx, own_sum(ctx, a), 0, &a, out));
    own_error(ctx, TP_EARG, "grad_of");
    assert_false(tp_grad_of(ctx, own_sum(ctx, a), 1, (tp_tensor *[]){ NULL }, out));
    own_error(ctx, TP_EARG, "grad_of: input 0 is NULL");
    tp_ctx_free(ctx);
}

static void grad_of_with_hooks(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *h, *out[2];
    witness    w = { .factor = 10 }, v = { .factor = 3 };

    (void)state;
    tp_hook(ctx, a, watch, &w);
    h = own_mul(ctx, a, a);
    tp_hook(ctx, h, watch, &v);
    assert_true(tp_grad_of(ctx, own_sum(ctx, h), 2, (tp_tensor *[]){ a, h }, out));
    own_equal(ctx, out[0], OWN_VALUES(60, 120));
    own_equal(ctx, out[1], OWN_VALUES(3, 3));
    assert_int_equal(w.calls, 1);
    assert_null(tp_grad(a));
    tp_ctx_free(ctx);
}

/* What is handed out is nobody else's memory, not even that of an op that passes its dy on. */
static void grad_of_gives_own_memory(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 1), *out[2];

    (void)state;
    assert_true(tp_grad_of(ctx, own_sum(ctx, own_add(ctx, a, b)), 2, (tp_tensor *[]){ a, b }, out));
    assert_false(tp_same_storage(out[0], out[1]));
    tp_f64(ctx, out[0])[0] = 9;
    own_equal(ctx, out[1], OWN_VALUES(1, 1));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- failed passes ----------------------------------------------------------------------------------------------- */

static void failing_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    (void)dy;
    (void)dx;
    tp_fail(ctx, TP_EARG, "bomb: gone off");
}

static tp_tensor *bomb_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], NULL, 1);
}

static const tp_op bomb = { "bomb", 0, 1, 0, bomb_forward, failing_backward, NULL };

/* Half of a pass has been delivered when it fails: leaves are marked, inner tensors cleared, the tape can go on. */
static void a_failed_backward(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *c = own_leaf(ctx, TP_F64, 2, 1), *h,
              *k;

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, c, c)));
    h = own_mul(ctx, a, a);                    /* stays on the tape with a gradient that has arrived */
    k = tp_apply(ctx, &bomb, NULL, TP_IN(own_mul(ctx, b, b)));
    assert_false(tp_backward(ctx, own_sum(ctx, own_mul(ctx, own_mul(ctx, h, b), k))));
    assert_true(b->void_grad);
    assert_false(a->void_grad || c->void_grad); /* not reached */
    assert_null(h->grad);
    own_error(ctx, TP_EARG, "bomb: gone off");

    tp_grad_drop(b);
    assert_false(b->void_grad);
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, own_mul(ctx, a, a), b)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(6, 16));
    own_equal(ctx, tp_grad(b), OWN_VALUES(1, 4));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* The same in a scope of its own: what was recorded around it can be walked afterwards, with no gradient left over from
 * before. */
static void a_failed_backward_in_a_scope(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = own_leaf(ctx, TP_F64, 2, 1), *b = own_leaf(ctx, TP_F64, 2, 3), *h = own_mul(ctx, a, a), *k;
    tp_scope   s = tp_scope_begin(ctx);

    (void)state;
    k = tp_apply(ctx, &bomb, NULL, TP_IN(own_mul(ctx, b, b)));
    assert_false(tp_backward(ctx, own_sum(ctx, own_mul(ctx, h, k))));
    own_error(ctx, TP_EARG, "bomb");
    tp_scope_end(ctx, s);
    assert_true(tp_backward(ctx, own_sum(ctx, h)));
    own_equal(ctx, tp_grad(a), OWN_VALUES(2, 4));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- anomaly mode ------------------------------------------------------------------------------------------------ */

static tp_tensor *nan_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], NULL, *(const double *)c->attr);
}

static void nan_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    dx[0] = own_times(ctx, dy[0], NULL, (double)INFINITY);
}

static void anomalies(void **state)
{
    static const tp_op op = { "dubious", sizeof(double), 1, 0, nan_forward, nan_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 2, 1), *y;

    (void)state;
    y = tp_apply(ctx, &op, &(double){ (double)NAN }, TP_IN(x)); /* not looked for: nothing is said */
    assert_true(tp_backward(ctx, own_sum(ctx, y)));
    tp_anomaly(ctx, true);
    assert_null(tp_apply(ctx, &op, &(double){ (double)NAN }, TP_IN(x)));
    own_error(ctx, TP_ENUM, "dubious: output 0 has a NaN or Inf");
    tpi_set_path(ctx, tpi_intern(ctx, "model.layers.3.mlp"));
    y = tp_apply(ctx, &op, &(double){ 1.0 }, TP_IN(x));
    tpi_set_path(ctx, NULL);
    assert_false(tp_backward(ctx, own_sum(ctx, y)));
    own_error(ctx, TP_ENUM, "model.layers.3.mlp: dubious: the gradient of input 0 has a NaN or Inf");
    tp_anomaly(ctx, false);
    assert_true(tp_backward(ctx, own_sum(ctx, tp_apply(ctx, &op, &(double){ (double)NAN }, TP_IN(x)))));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hook_on_an_inner_tensor),
        cmocka_unit_test(hook_on_a_leaf),
        cmocka_unit_test(hook_result_is_copied),
        cmocka_unit_test(hooks_that_misbehave),
        cmocka_unit_test(grad_of_leaves_grad_alone),
        cmocka_unit_test(grad_of_with_hooks),
        cmocka_unit_test(grad_of_gives_own_memory),
        cmocka_unit_test(a_failed_backward),
        cmocka_unit_test(a_failed_backward_in_a_scope),
        cmocka_unit_test(anomalies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
