/* test_scope.c - who owns tensors: scopes in and out of order, retain and release, contexts that end early. */
#include "own_ops.h"

#include "core/internal.h"

enum { BYTES = 4096 };

static tp_tensor *block(tp_ctx *ctx)
{
    return tp_ones(ctx, TP_F32, TP_SHAPE(BYTES / 4));
}

/* Blocks of BYTES held by tensors. */
static int blocks(tp_ctx *ctx)
{
    return (int)(tp_memory(ctx).now / BYTES);
}

static void nesting(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_scope   a = tp_scope_begin(ctx), b, c;
    tp_tensor *z;

    (void)state;
    block(ctx);
    b = tp_scope_begin(ctx);
    block(ctx);
    c = tp_scope_begin(ctx);
    block(ctx);
    z = block(ctx);
    assert_int_equal(blocks(ctx), 4);
    assert_ptr_equal(tp_scope_return(ctx, c, z), z);
    assert_int_equal(blocks(ctx), 3);
    assert_float_equal(tp_at(ctx, z, 1, (int64_t[]){ 7 }), 1, 0);
    tp_scope_end(ctx, b); /* z went to b */
    assert_int_equal(blocks(ctx), 1);
    assert_null(tp_detach(ctx, z));
    own_error(ctx, TP_EARG, "was released; keep it with tp_retain");
    tp_scope_end(ctx, a);
    assert_int_equal(tp_memory(ctx).now, 0);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void out_of_order(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_scope   a = tp_scope_begin(ctx), b, c, d;
    tp_tensor *x;

    (void)state;
    block(ctx);
    b = tp_scope_begin(ctx);
    block(ctx);
    c = tp_scope_begin(ctx);
    block(ctx);
    tp_scope_end(ctx, b); /* takes c with it */
    assert_int_equal(blocks(ctx), 1);
    d = tp_scope_begin(ctx); /* where b was */
    x = block(ctx);
    tp_scope_end(ctx, c); /* ended already: nothing happens */
    tp_scope_end(ctx, b);
    assert_int_equal(blocks(ctx), 2);
    x = tp_scope_return(ctx, b, x); /* the same: x stays where it is, once more */
    own_ok(ctx);
    assert_int_equal(blocks(ctx), 2);
    tp_scope_end(ctx, d);
    assert_int_equal(blocks(ctx), 1);
    tp_scope_end(ctx, a);
    tp_scope_end(ctx, a);
    tp_scope_end(ctx, (tp_scope){ 0, 0 });
    tp_scope_end(ctx, (tp_scope){ 77, 77 });
    tp_scope_end(NULL, a);
    assert_int_equal(tp_memory(ctx).now, 0);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void scope_return(void **state)
{
    tp_ctx    *ctx = own_ctx(), *other = own_ctx();
    tp_scope   s;
    tp_tensor *x = block(ctx), *y;

    (void)state;
    s = tp_scope_begin(ctx); /* something from outside may be handed out too */
    assert_ptr_equal(tp_scope_return(ctx, s, x), x);
    s = tp_scope_begin(ctx);
    assert_null(tp_scope_return(ctx, s, NULL));
    own_ok(ctx);
    s = tp_scope_begin(ctx);
    assert_null(tp_scope_return(ctx, s, block(other)));
    own_error(ctx, TP_EARG, "another context");
    s = tp_scope_begin(ctx);
    y = block(ctx);
    tp_fail(ctx, TP_EIO, "lost");
    assert_null(tp_scope_return(ctx, s, y));
    assert_int_equal(blocks(ctx), 1); /* scopes end on a failed context too */
    own_error(ctx, TP_EIO, "lost");
    assert_null(tp_scope_return(NULL, s, x));
    assert_float_equal(tp_at(ctx, x, 1, (int64_t[]){ 0 }), 1, 0);
    tp_ctx_free(other);
    tp_ctx_free(ctx);
}

static void retain_and_release(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *x = block(ctx), *v, *t;

    (void)state;
    assert_ptr_equal(tp_retain(x), x);
    tp_retain(x);
    tp_scope_end(ctx, s);
    assert_int_equal(blocks(ctx), 1);
    tp_release(x);
    s = tp_scope_begin(ctx);
    v = tp_detach(ctx, x); /* a view holds the values */
    tp_release(x);
    assert_int_equal(blocks(ctx), 1);
    assert_float_equal(tp_at(ctx, v, 1, (int64_t[]){ 1 }), 1, 0);
    tp_scope_end(ctx, s);
    assert_int_equal(blocks(ctx), 0);
    tp_release(x); /* twice */
    assert_null(tp_retain(x));
    tp_release(NULL);
    assert_null(tp_retain(NULL));

    /* the tape's own hold of a header cannot be given back by the user */
    t = own_leaf(ctx, TP_F32, 8, 1);
    s = tp_scope_begin(ctx);
    v = own_same(ctx, t);
    x = own_sum(ctx, own_add(ctx, v, v));
    tp_retain(x);
    tp_scope_end(ctx, s);
    for (int i = 0; i < 5; i++)
        tp_release(v);
    assert_true(tp_backward(ctx, x));
    assert_float_equal(tp_at(ctx, tp_grad(t), 1, (int64_t[]){ 7 }), 2, 0);
    tp_release(x);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static int released;

static void count_release(void *user, void *p)
{
    assert_ptr_equal(user, p);
    released++;
}

/* A context that ends takes everything with it: retained tensors, open scopes, the tape, borrowed memory. */
static void contexts_that_end_early(void **state)
{
    static float here[4] = { 1, 2, 3, 4 };
    tp_ctx      *ctx = own_ctx();
    tp_tensor   *x, *y;

    (void)state;
    released = 0;
    tp_scope_begin(ctx);
    x = tp_retain(own_leaf(ctx, TP_F32, 4, 1));
    y = tp_retain(tp_borrow(ctx, TP_F32, TP_SHAPE(4), here, count_release, here));
    tp_scope_begin(ctx);
    tp_retain(own_mul(ctx, x, y));
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, y)));
    tp_retain(tp_ones(ctx, TP_F32, TP_SHAPE(3 << 20)));
    assert_int_equal(released, 0);
    assert_int_equal(tp_ctx_finish(ctx), 0);
    assert_int_equal(released, 1);
    tp_ctx_free(NULL);
}

/* Inside an op or a hook nobody can end a scope around it; see test_hooks and test_checkpoint.  Scopes left open inside
 * are closed. */
static tp_scope around;

static tp_tensor *ender_forward(tp_ctx *ctx, tp_call *c)
{
    tp_scope_end(ctx, around);
    return own_times(ctx, c->in[0], NULL, 1);
}

static tp_tensor *opener_forward(tp_ctx *ctx, tp_call *c)
{
    tp_scope_begin(ctx);
    block(ctx);
    tp_scope_begin(ctx);
    return own_times(ctx, c->in[0], NULL, 1);
}

static void opener_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    tp_scope_begin(ctx);
    dx[0] = own_times(ctx, dy[0], NULL, 2);
    tp_scope_begin(ctx);
}

static void scopes_inside_ops(void **state)
{
    static const tp_op ender = { "ender", 0, 1, 0, ender_forward, NULL, NULL };
    static const tp_op opener = { "opener", 0, 1, 0, opener_forward, opener_backward, NULL };
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 2, 1), *y;

    (void)state;
    around = tp_scope_begin(ctx);
    assert_null(tp_apply(ctx, &ender, NULL, TP_IN(x)));
    own_error(ctx, TP_EARG, "scope_end: an op");
    y = tp_apply(ctx, &opener, NULL, TP_IN(x));
    own_equal(ctx, y, OWN_VALUES(1, 2));
    assert_int_equal(blocks(ctx), 0);
    assert_true(tp_backward(ctx, own_sum(ctx, y)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(2, 2));
    tp_scope_end(ctx, around);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(scope_return),
        cmocka_unit_test(retain_and_release),
        cmocka_unit_test(contexts_that_end_early),
        cmocka_unit_test(scopes_inside_ops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
