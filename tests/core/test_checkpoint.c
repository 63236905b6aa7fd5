/* test_checkpoint.c - recomputed blocks give what kept ones give, bit for bit, and hold less memory meanwhile. */
#include "own_ops.h"

#include "core/internal.h"
#include "ops/ops.h"

enum { N = 64 };

/* y = x where the random number is below 0.7, else 0. */
typedef struct { tpi_key key; } drop_attr;

static tp_tensor *drop_run(tp_ctx *ctx, const tp_call *c, tp_tensor *x)
{
    const drop_attr *a = c->attr;
    tp_tensor       *u = tp_empty(ctx, TP_F32, TP_SHAPE(tp_numel(x))), *y = tp_like(ctx, x);
    tpi_run          r = tpi_run_of(ctx);

    x = own_rows(ctx, x);
    assert_int_equal(tpi_k(ctx)->random(&r, TPI_UNIFORM, TP_F32, u->data, u->numel, 0, 1, a->key), TP_OK);
    for (int64_t i = 0; i < tp_numel(x); i++)
        own_set(ctx, y, i, own_get(ctx, u, i) < 0.7 ? own_get(ctx, x, i) : 0);
    return y;
}

static tp_tensor *drop_forward(tp_ctx *ctx, tp_call *c)
{
    return drop_run(ctx, c, c->in[0]);
}

static void drop_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = drop_run(ctx, c, dy[0]);
}

static const tp_op drop_op = { "drop", sizeof(drop_attr), 1, 0, drop_forward, drop_backward, NULL };

static tp_tensor *drop(tp_ctx *ctx, tp_tensor *x)
{
    return tp_apply(ctx, &drop_op, &(drop_attr){ tpi_next_key(ctx, 3) }, TP_IN(x));
}

/* A block with a residual, two captured leaves, a random op, and its input used three times. */
typedef struct {
    tp_tensor *w, *v; /* captured */
    tp_tensor *outer; /* an inner tensor of outside, or NULL */
    bool       nested;
    int        runs;
} block;

static tp_tensor *half(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    block *b = user;

    return drop(ctx, own_into(ctx, own_mul(ctx, in[0], in[0]), b->w));
}

static tp_tensor *run_block(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    block     *b = user;
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *h;

    b->runs++;
    h = b->nested ? tp_checkpoint(ctx, half, b, 1, in) : half(ctx, b, in);
    h = own_add(ctx, own_mul(ctx, drop(ctx, h), b->v), in[0]);
    if (b->outer != NULL)
        h = own_add(ctx, own_mul(ctx, h, b->outer), in[1]);
    return tp_scope_return(ctx, s, h);
}

typedef struct {
    float x[N], w[N], v[N], z[N], loss;
} result;

/* Three blocks one after the other; x is also used after them, so that order of addition matters. */
static result train(bool recompute, bool nested, bool frozen)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *leaf = tp_empty(ctx, TP_F32, TP_SHAPE(N)), *w, *v, *z, *h, *loss;
    result     r;
    block      b[3];

    for (int i = 0; i < N; i++)
        tp_f32(ctx, leaf)[i] = (float)((i * 37 % 64) - 30) / 31.0f;
    w = own_leaf(ctx, TP_F32, N, 0.01);
    v = own_leaf(ctx, TP_F32, N, 0.37);
    z = own_leaf(ctx, TP_F32, N, -0.4);
    tp_set_trainable(ctx, leaf, !frozen);
    tp_seed(ctx, 12);
    tp_set_step(ctx, 5);
    h = own_same(ctx, leaf);
    for (int i = 0; i < 3; i++) {
        tp_tensor *in[2] = { h, z };

        b[i] = (block){ w, v, i == 1 ? own_mul(ctx, z, z) : NULL, nested, 0 };
        h = recompute ? tp_checkpoint(ctx, run_block, &b[i], 2, in) : run_block(ctx, &b[i], in);
    }
    loss = own_sum(ctx, own_add(ctx, own_mul(ctx, h, z), own_mul(ctx, leaf, h)));
    r.loss = (float)tp_item(ctx, loss);
    assert_true(tp_backward(ctx, loss));
    for (int i = 0; i < 3; i++)
        assert_int_equal(b[i].runs, recompute ? 2 : 1);
    assert_int_equal(tp_grad(leaf) == NULL, frozen);
    memset(r.x, 0, sizeof r.x);
    assert_true(frozen || tp_copy_out(ctx, tp_grad(leaf), TP_F32, r.x, sizeof r.x));
    assert_true(tp_copy_out(ctx, tp_grad(w), TP_F32, r.w, sizeof r.w));
    assert_true(tp_copy_out(ctx, tp_grad(v), TP_F32, r.v, sizeof r.v));
    assert_true(tp_copy_out(ctx, tp_grad(z), TP_F32, r.z, sizeof r.z));
    own_ok(ctx);
    assert_int_equal(tp_ctx_finish(ctx), 0);
    return r;
}

static void recomputed_is_kept(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        result kept = train(false, false, frozen), once = train(true, false, frozen),
               nested = train(true, true, frozen);

        assert_memory_equal(&kept, &once, sizeof kept);
        assert_memory_equal(&kept, &nested, sizeof kept);
    }
}

/* ---- half precision: leaves handed in have gradients of f32 all the same ----------------------------------------- */

static tp_tensor *square_and_more(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    return tp_add(ctx, tp_mul(ctx, in[0], in[0]), tp_mul(ctx, in[0], in[1]));
}

static void half_precision(void **state)
{
    float    got[2][2][N];
    tp_dtype t[2] = { TP_BF16, TP_F16 };

    (void)state;
    for (int k = 0; k < 2; k++) {
        for (int recompute = 0; recompute < 2; recompute++) {
            tp_ctx    *ctx = own_ctx();
            tp_tensor *in[2], *y;

            for (int i = 0; i < 2; i++) {
                in[i] = tp_empty(ctx, t[k], TP_SHAPE(N));
                tp_copy_to(ctx, in[i], tp_arange(ctx, TP_F64, 0.01 + i, 0.63 * (double)N + i, 0.63));
                tp_set_trainable(ctx, in[i], true);
            }
            y = recompute ? tp_checkpoint(ctx, square_and_more, NULL, 2, in) : square_and_more(ctx, NULL, in);
            assert_true(tp_backward(ctx, tp_sum(ctx, tp_mul(ctx, y, in[0]), NULL, 0, false)));
            for (int i = 0; i < 2; i++) {
                assert_int_equal(tp_dtype_of(tp_grad(in[i])), TP_F32);
                assert_true(tp_copy_out(ctx, tp_grad(in[i]), TP_F32, got[recompute][i], sizeof got[0][0]));
            }
            own_ok(ctx);
            tp_ctx_free(ctx);
        }
        assert_memory_equal(got[0], got[1], sizeof got[0]);
    }
}

static tp_tensor *thirds(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    return own_add(ctx, own_same(ctx, in[0]), own_same(ctx, in[0]));
}

static tp_tensor *pass_on(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)ctx;
    (void)user;
    return in[0];
}

static tp_tensor *captured(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)ctx;
    (void)in;
    return user;
}

static void results_that_are_inputs(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 2, 1), *y;

    (void)state;
    y = tp_checkpoint(ctx, pass_on, NULL, 1, &x);
    assert_ptr_not_equal(x, y);
    assert_true(tp_backward(ctx, own_sum(ctx, own_mul(ctx, y, y))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(2, 4));
    y = tp_checkpoint(ctx, captured, x, 0, NULL);
    assert_true(tp_backward(ctx, own_sum(ctx, own_mul(ctx, y, x))));
    own_equal(ctx, tp_grad(x), OWN_VALUES(4, 8));
    y = tp_checkpoint(ctx, thirds, NULL, 1, &x);
    assert_true(tp_backward(ctx, own_sum(ctx, y)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(6, 10));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- through a recomputed block: gradients set aside, hooks, anomalies -------------------------------------------- */

static int hooked;

static tp_tensor *count_hook(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    (void)user;
    hooked++;
    return own_times(ctx, dx, NULL, 10);
}

static tp_tensor *with_hook(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    tp_tensor *h = own_mul(ctx, in[0], user);

    tp_hook(ctx, h, count_hook, NULL);
    return own_mul(ctx, h, in[0]);
}

static void other_ways_through(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 2, 1), *w = own_leaf(ctx, TP_F32, 2, 3), *h, *y, *out[3];

    (void)state;
    tp_backward(ctx, own_sum(ctx, own_mul(ctx, x, w)));
    h = own_mul(ctx, x, x);
    y = tp_checkpoint(ctx, with_hook, w, 1, &h); /* h^2 w, the gradient of h w times 10 */
    assert_true(tp_grad_of(ctx, own_sum(ctx, y), 3, (tp_tensor *[]){ x, w, h }, out));
    own_equal(ctx, out[1], OWN_VALUES(10, 160));
    own_equal(ctx, out[2], OWN_VALUES(33, 176));
    own_equal(ctx, out[0], OWN_VALUES(66, 704));
    own_equal(ctx, tp_grad(x), OWN_VALUES(3, 4)); /* untouched */
    own_equal(ctx, tp_grad(w), OWN_VALUES(1, 2));
    assert_int_equal(hooked, 1);

    tp_anomaly(ctx, true);
    y = tp_checkpoint(ctx, with_hook, tp_detach(ctx, w), 1, &x);
    assert_true(tp_backward(ctx, own_sum(ctx, y)));
    own_equal(ctx, tp_grad(x), OWN_VALUES(36, 92));
    assert_int_equal(hooked, 2);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- what is not recorded ---------------------------------------------------------------------------------------- */

static void nothing_to_train(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(2)), *y, *t = own_leaf(ctx, TP_F32, 2, 1);

    (void)state;
    y = tp_checkpoint(ctx, thirds, NULL, 1, &x);
    assert_false(tp_needs_grad(y));
    own_equal(ctx, y, OWN_VALUES(2, 2));
    tp_record(ctx, false);
    y = tp_checkpoint(ctx, thirds, NULL, 1, &t);
    assert_false(tp_needs_grad(y));
    y = tp_checkpoint(ctx, captured, t, 1, &t);
    assert_false(tp_needs_grad(y));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static int fuse;

static tp_tensor *fails_in_time(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    if (fuse-- == 0)
        return tp_fail(ctx, TP_EARG, "block: no more");
    return own_mul(ctx, in[0], in[0]);
}

static tp_tensor *gives_nothing(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)ctx;
    (void)user;
    (void)in;
    return NULL;
}

static tp_scope around;

static tp_tensor *ends_a_scope(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    tp_scope_end(ctx, around);
    return own_mul(ctx, in[0], in[0]);
}

static void failures(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 2, 1), *y, *bad = (tp_tensor *)NULL;

    (void)state;
    fuse = 0;
    assert_null(tp_checkpoint(ctx, fails_in_time, NULL, 1, &x));
    own_error(ctx, TP_EARG, "block: no more");
    fuse = 1;
    y = tp_checkpoint(ctx, fails_in_time, NULL, 1, &x);
    own_ok(ctx);
    assert_false(tp_backward(ctx, own_sum(ctx, y)));
    own_error(ctx, TP_EARG, "block: no more");
    assert_true(tp_recording(ctx));
    assert_null(tp_checkpoint(ctx, gives_nothing, NULL, 1, &x));
    own_error(ctx, TP_EARG, "checkpoint: the function returned no tensor");
    assert_null(tp_checkpoint(ctx, gives_nothing, NULL, 1, &bad));
    own_error(ctx, TP_EARG, "checkpoint: the function returned no tensor");
    assert_null(tp_checkpoint(ctx, NULL, NULL, 1, &x));
    own_error(ctx, TP_EARG, "no function");
    assert_null(tp_checkpoint(ctx, thirds, NULL, 33, &x));
    own_error(ctx, TP_EARG, "33 inputs");
    around = tp_scope_begin(ctx);
    assert_null(tp_checkpoint(ctx, ends_a_scope, NULL, 1, &x));
    own_error(ctx, TP_EARG, "scope_end");
    tp_scope_end(ctx, around);

    fuse = 9; /* a parameter that an optimiser has changed meanwhile would give another block */
    y = tp_checkpoint(ctx, fails_in_time, NULL, 1, &x);
    tp_f32(ctx, x)[0] = 5;
    assert_false(tp_backward(ctx, own_sum(ctx, y)));
    own_error(ctx, TP_EARG, "checkpoint: the values of input 0 were changed");
    tp_ctx_free(ctx);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static tp_tensor *heavy(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    tp_tensor *h = in[0];

    for (int i = 0; i < 8; i++)
        h = own_mul(ctx, h, user);
    return h;
}

/* Bytes held after a forward of ten blocks, and the most that a backward takes on top. */
static size_t held(bool recompute, size_t *peak)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = own_leaf(ctx, TP_F32, 4096, 1), *w = tp_ones(ctx, TP_F32, TP_SHAPE(4096)), *h = own_same(ctx, x);
    size_t     now;

    tp_set_trainable(ctx, w, true);
    for (int i = 0; i < 10; i++) {
        tp_scope s = tp_scope_begin(ctx);

        h = tp_scope_return(ctx, s, recompute ? tp_checkpoint(ctx, heavy, w, 1, &h) : heavy(ctx, w, &h));
    }
    h = own_sum(ctx, h);
    now = tp_memory(ctx).now;
    assert_true(tp_backward(ctx, h));
    *peak = tp_memory(ctx).peak;
    tp_ctx_free(ctx);
    return now;
}

static void memory_falls(void **state)
{
    size_t kept_peak, peak, kept = held(false, &kept_peak), little = held(true, &peak);

    (void)state;
    assert_true(kept > 80 * 16384);
    assert_true(little < 15 * 16384);
    assert_true(peak < 40 * 16384 && kept_peak > 80 * 16384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputed_is_kept),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(results_that_are_inputs),
        cmocka_unit_test(other_ways_through),
        cmocka_unit_test(nothing_to_train),
        cmocka_unit_test(failures),
        cmocka_unit_test(memory_falls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
