/* test_pooling.c - pooling of planes on the CPU against ref, bit for bit: windows side by side in a row, at its edges, NaN,
 * infinities, ties. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"

enum { PLANES = 6, HIGH = 11 };

static void fill(tp_ctx *ctx, tp_tensor *x, uint64_t seed)
{
    float *p = tp_f32(ctx, x);

    for (int64_t i = 0; i < tp_numel(x); i++)
        p[i] = i % 41 == 7 ? NAN : i % 13 == 3 ? -INFINITY : (float)((int)(some(seed, i) * 6)) / 2;
}

static bool all_equal(tp_ctx *ctx, tp_ctx *ref, const tp_tensor *a, const tp_tensor *b)
{
    const float *p = tp_values(ctx, a), *q = tp_values(ref, b);
    bool         same = p != NULL && q != NULL && tp_same_shape(a, b);

    for (int64_t i = 0; same && i < tp_numel(a); i++)
        same = p[i] == q[i] || (p[i] != p[i] && q[i] != q[i]);
    return same;
}

/* Forward and, by the places that it keeps, backward. */
static void compare(tp_ctx *ctx, tp_ctx *ref, int64_t wide, const tp_pool_opts *o)
{
    tp_ctx    *at[2] = { ctx, ref };
    tp_tensor *y[2], *dx[2];
    tp_scope   s[2];

    for (int i = 0; i < 2; i++) {
        tp_tensor *x, *dy;

        s[i] = tp_scope_begin(at[i]);
        x = tp_empty(at[i], TP_F32, TP_SHAPE(2, PLANES / 2, HIGH, wide));
        fill(at[i], x, (uint64_t)wide);
        tp_set_trainable(at[i], x, true);
        y[i] = tp_max_pool2d(at[i], x, o);
        dy = tp_arange(at[i], TP_F32, 0, (double)tp_numel(y[i]), 1);
        tp_backward_from(at[i], y[i], tp_reshape(at[i], dy, tp_ndim(y[i]), y[i]->dim));
        dx[i] = tp_grad(x);
        check_ok(at[i]);
    }
    if (!all_equal(ctx, ref, y[0], y[1]) || !all_equal(ctx, ref, dx[0], dx[1]))
        fail_msg("width %d, size %d, stride %d, pad %d", (int)wide, (int)o->size[0], (int)o->stride[0], (int)o->pad[0]);
    for (int i = 0; i < 2; i++)
        tp_scope_end(at[i], s[i]);
}

static void largest(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0), *ref = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (int64_t wide = 3; wide <= 40; wide += wide < 12 ? 1 : 7)
        for (int64_t size = 2; size <= 4; size++)
            for (int64_t stride = 1; stride <= 3; stride++)
                for (int k = 0; k < 6; k++) {
                    tp_pool_opts o = { .size = { size }, .stride = { stride }, .pad = { k % 2 }, .ceil = k == 2 };

                    o.dilation[0] = k == 4 ? 2 : 0;
                    if ((size - 1) * (k == 4 ? 2 : 1) + 1 <= wide)
                        compare(ctx, ref, wide, &o);
                }
    free_ctx(ctx);
    free_ctx(ref);
}

/* The mean over whole planes, whose rows lie side by side. */
static void mean_of_planes(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);

    (void)state;
    for (int64_t wide = 1; wide < 30; wide += 4) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x = make_some(ctx, TP_F32, TP_SHAPE(2, 3, 9, wide), 5), *y = tp_adaptive_avg_pool2d(ctx, x, 1, 1);
        tp_tensor *z = tp_adaptive_avg_pool2d(ctx, x, 3, 1);

        for (int64_t k = 0; k < 6; k++) {
            double sum = 0, top = 0;

            for (int64_t i = 0; i < 9 * wide; i++) {
                sum += value_at(ctx, x, k * 9 * wide + i);
                top += i < 3 * wide ? value_at(ctx, x, k * 9 * wide + i) : 0;
            }
            assert_true(fabs(value_at(ctx, y, k) - sum / (double)(9 * wide)) < 1e-6);
            assert_true(fabs(value_at(ctx, z, 3 * k) - top / (double)(3 * wide)) < 1e-6);
        }
        tp_scope_end(ctx, s);
    }
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest),
        cmocka_unit_test(mean_of_planes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
