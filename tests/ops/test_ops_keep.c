/*
 * test_ops_keep.c - what recorded calls hold until backward, where gradients of leaves go, and memory that is used
 * again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/internal.h"
#include "ops/support.h"

enum { N = 256 };

static tp_tensor *matrix(tp_ctx *ctx, tp_dtype t, int64_t rows, int64_t n)
{
    return tp_uniform(ctx, t, TP_SHAPE(rows, n), -1, 1);
}

static tp_tensor *trainable(tp_ctx *ctx, tp_tensor *x)
{
    tp_set_trainable(ctx, x, true);
    return x;
}

/* ---- keeps ------------------------------------------------------------------------------------------------------- */

typedef tp_tensor *(*layer)(tp_ctx *ctx, tp_tensor *x, tp_tensor *w);

static tp_tensor *product(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_matmul_nt(ctx, x, w);
}

static tp_tensor *times(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_mul(ctx, x, w);
}

static tp_tensor *plus(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_add(ctx, x, w);
}

static tp_tensor *onto_blocks(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_block_diag(ctx, x, tp_reshape(ctx, w, TP_SHAPE(N, N / 16, 16)), N);
}

/* Bytes that fn's call keeps beyond its result; x is computed, so that nobody else holds it. */
static size_t kept(layer fn, bool train_w)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *leaf = trainable(ctx, matrix(ctx, TP_F32, N, N)), *w = matrix(ctx, TP_F32, N, N);
    size_t     before, after;
    tp_scope   s;

    tp_set_trainable(ctx, w, train_w);
    before = tp_memory(ctx).now;
    s = tp_scope_begin(ctx);
    tp_scope_return(ctx, s, fn(ctx, tp_shift(ctx, leaf, 1), w));
    after = tp_memory(ctx).now;
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
    return after - before - N * N * sizeof(float);
}

static void test_keeps(void **state)
{
    size_t x = N * N * sizeof(float), small = 4096; /* records themselves */

    (void)state;
    assert_in_range(kept(product, false), 0, small);
    assert_in_range(kept(product, true), x, x + small);
    assert_in_range(kept(times, false), 0, small);
    assert_in_range(kept(times, true), x, x + small);
    assert_in_range(kept(plus, true), 0, small);
    assert_in_range(kept(onto_blocks, false), 0, small);
    assert_in_range(kept(onto_blocks, true), x, x + small);
}

/* 4096 rows of 1024 logits would be 16 MiB; a chunk of 256 is 1 MiB. */
static void test_head_is_chunked(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = trainable(ctx, matrix(ctx, TP_F32, 4096, 2)), *w = matrix(ctx, TP_F32, 1024, 2);
    tp_tensor *target = tp_randint(ctx, TP_I32, TP_SHAPE(4096), 0, 1024), *count;
    size_t     before = tp_memory(ctx).now;

    (void)state;
    assert_true(tp_backward(ctx, tp_linear_cross_entropy(ctx, x, w, target, NULL, &count)));
    assert_in_range(tp_memory(ctx).peak - before, 0, 2 << 20);
    assert_true(tp_item(ctx, count) == 4096);
    tp_ctx_free(ctx);
}

/* ---- gradients of leaves ----------------------------------------------------------------------------------------- */

static double largest_difference(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return tp_item(ctx, tp_max(ctx, tp_abs(ctx, tp_sub(ctx, a, b)), TP_ALL_AXES, false));
}

/* Two passes add up in the same memory, in f32 whatever the leaf is. */
static void two_passes(layer fn, tp_dtype t, tp_dtype wt)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = matrix(ctx, t, N, N), *w = trainable(ctx, matrix(ctx, wt, N, N)), *once;

    assert_true(tp_backward(ctx, tp_sum(ctx, fn(ctx, x, w), TP_ALL_AXES, false)));
    assert_int_equal(tp_dtype_of(tp_grad(w)), TP_F32);
    once = tp_scale(ctx, tp_grad(w), 2);
    assert_true(tp_backward(ctx, tp_sum(ctx, fn(ctx, x, w), TP_ALL_AXES, false)));
    assert_true(largest_difference(ctx, tp_grad(w), once) < 1e-4);
    tp_ctx_free(ctx);
}

static tp_tensor *looked_up(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_mul(ctx, x, tp_embed(ctx, w, tp_arange(ctx, TP_I32, N - 1, -1, -1)));
}

static tp_tensor *normalised(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_rmsnorm(ctx, x, tp_select(ctx, w, 0, 3), 1e-5);
}

static tp_tensor *as_head(tp_ctx *ctx, tp_tensor *x, tp_tensor *w)
{
    return tp_linear_cross_entropy(ctx, x, w, tp_arange(ctx, TP_I64, -2, N - 2, 1), NULL, NULL);
}

static void test_passes_add_up(void **state)
{
    (void)state;
    two_passes(product, TP_F32, TP_F32);
    two_passes(product, TP_BF16, TP_BF16);
    two_passes(product, TP_BF16, TP_F32);
    two_passes(onto_blocks, TP_BF16, TP_F32);
    two_passes(looked_up, TP_BF16, TP_BF16);
    two_passes(normalised, TP_BF16, TP_F32);
    two_passes(as_head, TP_F32, TP_F32);
    two_passes(as_head, TP_BF16, TP_BF16);
}

/* ---- block_diag onto --------------------------------------------------------------------------------------------- */

static void test_onto(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = trainable(ctx, matrix(ctx, TP_F32, 5, 8)), *w = matrix(ctx, TP_F32, 6, 8), *y, *z, *want, *dx;
    tp_tensor *a = trainable(ctx, tp_uniform(ctx, TP_F32, TP_SHAPE(2, 4, 3), -1, 1)), *da;
    void      *memory;

    (void)state;
    want = tp_block_diag_add(ctx, tp_matmul_nt(ctx, x, w), x, a);
    assert_true(tp_backward(ctx, tp_sum(ctx, tp_square(ctx, want), TP_ALL_AXES, false)));
    dx = tp_scale(ctx, tp_grad(x), 1);
    da = tp_scale(ctx, tp_grad(a), 1);
    tp_grad_drop(x);
    tp_grad_drop(a);
    y = tp_matmul_nt(ctx, x, w);
    memory = y->data;
    z = tpi_block_diag_onto(ctx, y, x, a);
    assert_ptr_equal(z->data, memory); /* nobody else held y */
    assert_true(largest_difference(ctx, z, want) == 0);
    assert_true(tp_backward(ctx, tp_sum(ctx, tp_square(ctx, z), TP_ALL_AXES, false)));
    assert_true(largest_difference(ctx, tp_grad(x), dx) == 0 && largest_difference(ctx, tp_grad(a), da) == 0);
    tp_ctx_free(ctx);
}

/* Where a record or somebody else holds y, its values stay. */
static void test_onto_spares(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = trainable(ctx, matrix(ctx, TP_F32, 5, 8)), *a = matrix(ctx, TP_F32, 8, 1), *y = tp_exp(ctx, x), *z,
              *was;

    (void)state;
    a = tp_reshape(ctx, a, TP_SHAPE(8, 1, 1));
    was = tp_scale(ctx, y, 1);
    z = tpi_block_diag_onto(ctx, y, x, a); /* exp keeps its result */
    assert_true(z->data != y->data && largest_difference(ctx, y, was) == 0);
    z = tpi_block_diag_onto(ctx, tp_reshape(ctx, was, TP_SHAPE(5, 8)), x, a);
    assert_true(tp_ok(ctx) && !tp_same_storage(z, was));
    z = tpi_block_diag_onto(ctx, x, x, a); /* a leaf is never written to */
    assert_true(tp_ok(ctx) && !tp_same_storage(z, x));
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_keeps),       cmocka_unit_test(test_head_is_chunked),
                                        cmocka_unit_test(test_passes_add_up), cmocka_unit_test(test_onto),
                                        cmocka_unit_test(test_onto_spares) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
