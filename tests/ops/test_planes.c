/*
 * test_planes.c - what pooling does at ties, infinities and NaN, and how batchnorm moves its running statistics.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/backend.h"
#include "ops/ops.h"

static void same(tp_ctx *ctx, const tp_tensor *x, int64_t n, const double *want)
{
    double v[64];

    assert_true(tp_copy_out(ctx, x, TP_F64, v, (size_t)n * sizeof *v));
    for (int64_t i = 0; i < n; i++)
        if (v[i] != want[i] && !(v[i] != v[i] && want[i] != want[i]))
            fail_msg("element %d is %g, expected %g", (int)i, v[i], want[i]);
}

/* The first of equals gets the gradient; NaN wins; a window of nothing but -inf gives -inf, and its first place dy. */
static void check_extremes(tp_ctx *ctx, tp_dtype t)
{
    const double in[] = { 1, 1, -INFINITY, -INFINITY, 1, 1, -INFINITY, -INFINITY, NAN, 5, 2, INFINITY, 3, INFINITY, 7, 7 };
    const double y[] = { 1, -INFINITY, NAN, INFINITY };
    const double dx[] = { 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0 };
    tp_tensor   *x = tp_cast(ctx, tp_from(ctx, TP_F64, TP_SHAPE(1, 1, 4, 4), in), t), *p;

    tp_set_trainable(ctx, x, true);
    p = tp_max_pool2d(ctx, x, &(tp_pool_opts){ .size = { 2 } });
    same(ctx, p, 4, y);
    tp_backward_from(ctx, p, tp_ones(ctx, t, TP_SHAPE(1, 1, 2, 2)));
    same(ctx, tp_grad(x), 16, dx);
    tp_grad_drop(x);
    p = tp_adaptive_max_pool2d(ctx, x, 2, 2);
    same(ctx, p, 4, y);
    tp_backward_from(ctx, p, tp_ones(ctx, t, TP_SHAPE(1, 1, 2, 2)));
    same(ctx, tp_grad(x), 16, dx);
}

/* A NaN stays in its window, in its image and in its group. */
static void check_nan_stays(tp_ctx *ctx)
{
    const double in[] = { 1, 2, 3, NAN, 5, 6, 8, 8 };
    tp_tensor   *x = tp_from(ctx, TP_F64, TP_SHAPE(2, 1, 2, 2), in), *y;

    same(ctx, tp_avg_pool2d(ctx, x, &(tp_pool_opts){ .size = { 1, 2 } }), 4, (const double[]){ 1.5, NAN, 5.5, 8 });
    y = tp_conv2d(ctx, x, tp_ones(ctx, TP_F64, TP_SHAPE(1, 1, 2, 2)), NULL, NULL);
    same(ctx, y, 2, (const double[]){ NAN, 27 });
    y = tp_sum(ctx, tp_groupnorm(ctx, x, NULL, NULL, 1, 1e-5), TP_AXES(1, 2, 3), false);
    assert_true(isnan(tp_at(ctx, y, 1, (const int64_t[]){ 0 })) && fabs(tp_at(ctx, y, 1, (const int64_t[]){ 1 })) < 1e-12);
}

/* Two batches of two values a channel: the running mean moves by a tenth, the variance is that of n - 1. */
static void check_statistics(tp_ctx *ctx)
{
    tp_tensor *x = tp_from(ctx, TP_F32, TP_SHAPE(2, 2), (const float[]){ 1, 10, 3, 14 });
    tp_tensor *mean = tp_zeros(ctx, TP_F32, TP_SHAPE(2)), *var = tp_ones(ctx, TP_F32, TP_SHAPE(2)), *y;
    const tp_batchnorm_opts half = { .momentum = 0.5 }, none = { .momentum = -1 }, all = { .momentum = 1, .eps = -1 };

    tp_batchnorm(ctx, x, NULL, NULL, mean, var, true, &half);
    same(ctx, mean, 2, (const double[]){ 1, 6 });
    same(ctx, var, 2, (const double[]){ 1.5, 4.5 });
    tp_batchnorm(ctx, x, NULL, NULL, mean, var, true, &none);
    tp_batchnorm(ctx, x, NULL, NULL, mean, var, false, NULL);
    tp_batchnorm(ctx, tp_zeros(ctx, TP_F32, TP_SHAPE(0, 2)), NULL, NULL, mean, var, true, NULL);
    same(ctx, mean, 2, (const double[]){ 1, 6 });
    same(ctx, var, 2, (const double[]){ 1.5, 4.5 });
    tp_batchnorm(ctx, x, NULL, NULL, mean, var, true, &all);
    same(ctx, mean, 2, (const double[]){ 2, 12 });
    same(ctx, var, 2, (const double[]){ 2, 8 });
    tp_copy_to(ctx, var, tp_ones(ctx, TP_F32, TP_SHAPE(2)));
    y = tp_batchnorm(ctx, x, NULL, NULL, mean, var, false, &all);
    same(ctx, y, 4, (const double[]){ -1, -2, 1, 2 });
}

/* A variance beside a large mean: what is left of x - mean is all there is. */
static void check_large_mean(tp_ctx *ctx)
{
    tp_tensor *x = tp_shift(ctx, tp_arange(ctx, TP_F32, 0, 4096, 1), 1e6), *y;
    double     top;

    y = tp_batchnorm(ctx, tp_reshape(ctx, x, TP_SHAPE(4, 1, 1024)), NULL, NULL, NULL, NULL, true, NULL);
    top = tp_item(ctx, tp_max(ctx, y, TP_ALL_AXES, false));
    assert_true(fabs(top - 2047.5 / sqrt((4096.0 * 4096 - 1) / 12)) < 1e-4);
}

static void test_all(void **state)
{
    (void)state;
    for (int i = 0; tpi_backends[i] != NULL; i++) {
        const tpi_backend *b = tpi_backends[i];
        tp_ctx            *ctx;

        if (b->device == TP_CUDA || (b->usable != NULL && !b->usable()))
            continue;
        ctx = tp_ctx_new(b->device, 0);
        tp_set_backend(ctx, b->name);
        check_extremes(ctx, TP_F32);
        check_extremes(ctx, TP_F64);
        check_extremes(ctx, TP_BF16);
        check_nan_stays(ctx);
        check_statistics(ctx);
        check_large_mean(ctx);
        assert_string_equal(tp_error(ctx), "");
        tp_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_all) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
