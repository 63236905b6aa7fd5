/* test_layers.c - the layers against their formulas, and the initialisers. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void test_linear(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_linear  l;
    tp_tensor *x = make_some(ctx, TP_F64, TP_SHAPE(2, 3, 5), 1), *y;

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 5, 4, true, TP_F64);
    y = tp_linear_forward(ctx, &l, x);
    assert_int_equal(tp_ndim(y), 3);
    for (int64_t r = 0; r < 6; r++)
        for (int64_t j = 0; j < 4; j++) {
            double sum = value_at(ctx, l.b, j);

            for (int64_t i = 0; i < 5; i++)
                sum += value_at(ctx, x, r * 5 + i) * value_at(ctx, l.w, j * 5 + i);
            assert_true(fabs(sum - value_at(ctx, y, r * 4 + j)) < 1e-14);
        }
    assert_true(same_bits(ctx, y, tp_linear_base(ctx, &l, x)));
    assert_null(tp_linear_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    assert_null(tp_linear_forward(ctx, &l, NULL));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    assert_null(tp_linear_base(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

static void test_norms(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope      s = tp_scope_begin(ctx);
    tp_rms_norm   r;
    tp_layer_norm l;
    tp_tensor    *x = make_some(ctx, TP_F64, TP_SHAPE(1, 7), 1), *y, *z;
    double        sq = 0, mean = 0, var = 0;

    (void)state;
    tp_rms_norm_init(ctx, &r, NULL, "", 7, 1e-3, TP_F64);
    tp_layer_norm_init(ctx, &l, NULL, "", 7, 1e-3, TP_F64);
    fill_some(ctx, r.w, 2, 1);
    fill_some(ctx, l.b, 3, 1);
    y = tp_rms_norm_forward(ctx, &r, x);
    z = tp_layer_norm_forward(ctx, &l, x);
    for (int64_t i = 0; i < 7; i++) {
        sq += value_at(ctx, x, i) * value_at(ctx, x, i) / 7;
        mean += value_at(ctx, x, i) / 7;
    }
    for (int64_t i = 0; i < 7; i++)
        var += (value_at(ctx, x, i) - mean) * (value_at(ctx, x, i) - mean) / 7;
    for (int64_t i = 0; i < 7; i++) {
        assert_true(fabs(value_at(ctx, y, i) - value_at(ctx, x, i) / sqrt(sq + 1e-3) * value_at(ctx, r.w, i)) < 1e-14);
        assert_true(fabs(value_at(ctx, z, i) - (value_at(ctx, x, i) - mean) / sqrt(var + 1e-3) -
                         value_at(ctx, l.b, i)) < 1e-14);
    }
    assert_null(tp_rms_norm_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    assert_null(tp_layer_norm_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&r.m);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

static void test_embedding(void **state)
{
    tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope     s = tp_scope_begin(ctx);
    tp_embedding e;
    tp_tensor   *y;

    (void)state;
    tp_embedding_init(ctx, &e, NULL, "", 6, 3, TP_F32);
    y = tp_embedding_forward(ctx, &e, tp_from(ctx, TP_I32, TP_SHAPE(1, 2), (int32_t[]){ 5, 0 }));
    assert_int_equal(tp_ndim(y), 3);
    for (int64_t i = 0; i < 3; i++) {
        assert_true(value_at(ctx, y, i) == value_at(ctx, e.w, 15 + i));
        assert_true(value_at(ctx, y, 3 + i) == value_at(ctx, e.w, i));
    }
    assert_null(tp_embedding_forward(ctx, NULL, y));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&e.m);
    free_ctx(ctx);
}

static void test_dropout(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope         s = tp_scope_begin(ctx);
    tp_dropout_layer d;
    tp_tensor       *x = tp_ones(ctx, TP_F32, TP_SHAPE(1000)), *y;
    int              zero = 0;

    (void)state;
    tp_dropout_init(ctx, &d, NULL, "", 0.25);
    y = tp_dropout_forward(ctx, &d, x);
    for (int64_t i = 0; i < 1000; i++) {
        zero += value_at(ctx, y, i) == 0;
        assert_true(value_at(ctx, y, i) == 0 || fabs(value_at(ctx, y, i) - 4.0 / 3) < 1e-6);
    }
    assert_in_range(zero, 180, 320);
    tp_module_set_training(&d.m, false);
    assert_ptr_equal(tp_dropout_forward(ctx, &d, x), x);
    assert_null(tp_dropout_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&d.m);
    tp_dropout_init(ctx, &d, NULL, "", 1);
    check_failed(ctx, TP_EARG, "p is 1", NULL);
    tp_dropout_init(ctx, &d, NULL, "", NAN);
    check_failed(ctx, TP_EARG, "p is", NULL);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* ---- initialisers ------------------------------------------------------------------------------------------------ */

typedef struct {
    double low, high, mean, deviation;
} statistics;

static statistics look(tp_ctx *ctx, const tp_tensor *x)
{
    statistics s = { INFINITY, -INFINITY, 0, 0 };
    double     n = (double)tp_numel(x);

    check_ok(ctx);
    for (int64_t i = 0; i < tp_numel(x); i++) {
        double v = value_at(ctx, x, i);

        s.low = v < s.low ? v : s.low;
        s.high = v > s.high ? v : s.high;
        s.mean += v / n;
        s.deviation += v * v / n;
    }
    s.deviation = sqrt(s.deviation - s.mean * s.mean);
    return s;
}

static void check_uniform(statistics s, double bound)
{
    assert_true(s.low >= -bound && s.high <= bound && s.low < -0.99 * bound && s.high > 0.99 * bound);
    assert_true(fabs(s.deviation - bound / sqrt(3)) < 0.03 * bound);
}

static void test_initialisers(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *x = tp_empty(ctx, TP_F32, TP_SHAPE(50, 10, 20)), *y = tp_empty(ctx, TP_F32, TP_SHAPE(50, 10, 20)), *i;
    statistics n;

    (void)state;
    assert_ptr_equal(tp_init_constant(ctx, x, 2.5), x);
    n = look(ctx, x);
    assert_true(n.low == 2.5 && n.high == 2.5);
    n = look(ctx, tp_init_normal(ctx, x, 3, 2));
    assert_true(fabs(n.mean - 3) < 0.1 && fabs(n.deviation - 2) < 0.1);
    check_uniform(look(ctx, tp_init_uniform(ctx, x, -0.5, 0.5)), 0.5);
    check_uniform(look(ctx, tp_init_kaiming(ctx, x, sqrt(5))), 1 / sqrt(200));
    check_uniform(look(ctx, tp_init_xavier(ctx, x, 2)), 2 * sqrt(6.0 / 250));
    tp_seed(ctx, 7);
    tp_set_step(ctx, 0);
    tp_init_normal(ctx, x, 0, 1);
    tp_init_normal(ctx, y, 0, 1);
    assert_false(same_bits(ctx, x, y)); /* each has a stream of its own */
    tp_set_step(ctx, 0);
    tp_init_normal(ctx, y, 0, 1);
    assert_true(same_bits(ctx, x, y));
    i = tp_init_constant(ctx, tp_empty(ctx, TP_I64, TP_SHAPE(2)), 1e300); /* out of range: the largest */
    assert_true(tp_i64(ctx, i)[1] == INT64_MAX);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

static void test_bad_initialisers(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *x = tp_empty(ctx, TP_F32, TP_SHAPE(2, 3)), *i = tp_empty(ctx, TP_I32, TP_SHAPE(2));

    (void)state;
    assert_null(tp_init_normal(ctx, x, 0, -1));
    check_failed(ctx, TP_EARG, "deviation", NULL);
    assert_null(tp_init_normal(ctx, x, NAN, 1));
    check_failed(ctx, TP_EARG, "deviation", NULL);
    assert_null(tp_init_uniform(ctx, x, 1, 0));
    check_failed(ctx, TP_EARG, "low <= high", NULL);
    assert_null(tp_init_uniform(ctx, x, -INFINITY, 0));
    check_failed(ctx, TP_EARG, "low <= high", NULL);
    assert_null(tp_init_uniform(ctx, tp_transpose(ctx, x, 0, 1), 0, 1));
    check_failed(ctx, TP_EARG, "strided", NULL);
    assert_null(tp_init_constant(ctx, tp_transpose(ctx, x, 0, 1), 0));
    check_failed(ctx, TP_EARG, "strided", NULL);
    assert_null(tp_init_uniform(ctx, i, 0, 1));
    check_failed(ctx, TP_EDTYPE, "i32", NULL);
    assert_null(tp_init_kaiming(ctx, NULL, 0));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    assert_null(tp_init_constant(ctx, NULL, 0));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* max |v v^T - gain^2 I| over the rows of a matrix */
static double off_orthogonal(tp_ctx *ctx, tp_tensor *v, double gain)
{
    int64_t    n = tp_dim(v, 0);
    tp_tensor *p = tp_matmul_nt(ctx, v, v);
    double     worst = 0;

    check_ok(ctx);
    for (int64_t i = 0; i < n * n; i++)
        worst = fmax(worst, fabs(value_at(ctx, p, i) - (i / n == i % n ? gain * gain : 0)));
    return worst;
}

static void test_orthogonal(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_empty(ctx, TP_F64, TP_SHAPE(5, 2, 4)), *y = tp_empty(ctx, TP_F64, TP_SHAPE(30, 30)), *z;

    (void)state;
    assert_ptr_equal(tp_init_orthogonal(ctx, x, 2), x);
    assert_true(off_orthogonal(ctx, tp_reshape(ctx, x, TP_SHAPE(5, 8)), 2) < 1e-14);
    tp_init_orthogonal(ctx, y, 1);
    assert_true(off_orthogonal(ctx, y, 1) < 1e-14);
    z = tp_empty(ctx, TP_F32, TP_SHAPE(7, 3)); /* more rows than columns: these are orthonormal */
    tp_set_trainable(ctx, z, true);
    tp_init_orthogonal(ctx, z, 1);
    assert_true(off_orthogonal(ctx, tp_reshape(ctx, tp_transpose(ctx, z, 0, 1), TP_SHAPE(3, 7)), 1) < 1e-6);
    assert_true(tp_trainable(z));
    assert_null(tp_init_orthogonal(ctx, tp_empty(ctx, TP_F64, TP_SHAPE(4)), 1));
    check_failed(ctx, TP_EARG, "two axes", NULL);
    assert_null(tp_init_orthogonal(ctx, NULL, 1));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_norms),        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_dropout), cmocka_unit_test(test_initialisers), cmocka_unit_test(test_bad_initialisers),
        cmocka_unit_test(test_orthogonal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
