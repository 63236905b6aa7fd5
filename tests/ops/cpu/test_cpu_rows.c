/*
 * test_cpu_rows.c - softmax, norms, rope, SiLU and reductions of the CPU against the oracle; NaN and Inf stay in their rows.
 */
#include "kernel_test.h"

static const struct { int64_t rows, n; } shapes[] = {
    { 0, 5 }, { 3, 0 }, { 3, 1 }, { 1, 7 }, { 5, 33 }, { 4, 1000 }, { 2, 2049 }, { 70, 601 }, { 300, 144 }, { 9, 4096 },
};

/* A NaN, an Inf, a masked row: only the rows that hold them may show it. */
static void spoil(void *p, tp_dtype t, int64_t rows, int64_t n)
{
    if (rows < 4 || n == 0)
        return;
    tpi_store(t, p, n + n / 2, NAN);
    tpi_store(t, p, 2 * n + n / 3, INFINITY);
    for (int64_t j = 0; j < n - 1; j++)
        tpi_store(t, p, 3 * n + j, -INFINITY);
}

/* Fails unless rows other than 1, 2, 3 are finite. */
static void expect_finite(const char *what, tp_dtype t, const void *p, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows * n; i++)
        if ((i / n == 0 || i / n > 3) && !isfinite(tpi_load(t, p, i)))
            fail_msg("%s, %s: row %lld is not finite", what, tp_dtype_name(t), (long long)(i / n));
}

static void check_softmax(const tpi_kernels *k, const tpi_run *r, bool log, tp_dtype t, int64_t rows, int64_t n)
{
    spoil(fill(2, t, rows * n, 6), t, rows, n);
    twin(0, 1, t, rows * n);
    assert_int_equal(k->softmax(r, log, t, pool[0], pool[2], rows, n), TP_OK);
    ref()->softmax(&one_thread, log, t, pool[1], pool[2], rows, n);
    expect_near("softmax", t, pool[0], pool[1], rows * n + GUARD, 2 * tolerance(t), log ? 1 : t == TP_F16 ? 1e-3 : 1e-30);
    expect_finite("softmax", t, pool[0], rows, n);

    fill(3, t, rows * n, 2);
    memcpy(pool[2], pool[1], (size_t)(rows * n) * tp_dtype_size(t));
    twin(0, 1, t, rows * n);
    assert_int_equal(k->softmax_grad(r, log, t, pool[0], pool[3], pool[2], rows, n), TP_OK);
    ref()->softmax_grad(&one_thread, log, t, pool[1], pool[3], pool[2], rows, n);
    expect_near("softmax_grad", t, pool[0], pool[1], rows * n + GUARD, 4 * tolerance(t), log ? 1 : 1e-2);
    expect_finite("softmax_grad", t, pool[0], rows, n);
}

static void softmaxes(const tpi_kernels *k, const tpi_run *r)
{
    for (int i = 0; i < COUNT(shapes); i++)
        for (int t = 0; t < COUNT(float_types) * 2; t++)
            check_softmax(k, r, t % 2 != 0, float_types[t / 2], shapes[i].rows, shapes[i].n);
}

static void test_softmax(void **state)
{
    (void)state;
    each_backend(softmaxes);
}

/* ---- norms -------------------------------------------------------------------------------------------------------------- */

/* Operands: 0, 1 y; 2 x; 3 w; 4 b; 5, 6 rstd; 7, 8 mean or h; 9 dy; 10 dh or res */
static void check_layernorm(const tpi_kernels *k, const tpi_run *r, tp_dtype t, tp_dtype wt, bool affine, int64_t rows, int64_t n)
{
    tp_dtype wide = tpi_ref_wide(t);
    void    *w = affine ? fill(3, wt, n, 2) : NULL, *b = affine ? fill(4, wt, n, 2) : NULL;

    spoil(fill(2, t, rows * n, 6), t, rows, n);
    twin(0, 1, t, rows * n);
    twin(5, 6, wide, rows);
    twin(7, 8, wide, rows);
    assert_int_equal(k->layernorm(r, t, pool[0], pool[7], pool[5], pool[2], wt, w, b, 1e-5, rows, n), TP_OK);
    ref()->layernorm(&one_thread, t, pool[1], pool[8], pool[6], pool[2], wt, w, b, 1e-5, rows, n);
    expect_near("layernorm", t, pool[0], pool[1], rows * n + GUARD, 4 * tolerance(t), 1);
    expect_near("mean", wide, pool[7], pool[8], rows + GUARD, tolerance(wide), 1);
    expect_near("rstd", wide, pool[5], pool[6], rows + GUARD, 2 * tolerance(wide), 1e-3);
    expect_finite("layernorm", t, pool[0], rows, n);

    fill(9, t, rows * n, 1);
    twin(0, 1, t, rows * n);
    twin(3 + 7, 11, wide, n);
    k->layernorm_grad(r, t, pool[0], NULL, NULL, pool[9], pool[2], wt, w, pool[8], pool[6], rows, n);
    ref()->layernorm_grad(&one_thread, t, pool[1], NULL, NULL, pool[9], pool[2], wt, w, pool[8], pool[6], rows, n);
    expect_near("layernorm dx", t, pool[0], pool[1], rows * n + GUARD, 8 * tolerance(t), 1);
    expect_finite("layernorm dx", t, pool[0], rows, n);
    fill(2, t, rows * n, 6);
    k->layernorm_grad(r, t, NULL, pool[10], NULL, pool[9], pool[2], wt, w, pool[8], fill(6, wide, rows, 1), rows, n);
    ref()->layernorm_grad(&one_thread, t, NULL, pool[11], NULL, pool[9], pool[2], wt, w, pool[8], pool[6], rows, n);
    expect_near("layernorm dw", wide, pool[10], pool[11], n + GUARD, 4 * tolerance(wide), 10);
    twin(10, 11, wide, n);
    k->layernorm_grad(r, t, NULL, NULL, pool[10], pool[9], pool[2], wt, w, pool[8], pool[6], rows, n);
    ref()->layernorm_grad(&one_thread, t, NULL, NULL, pool[11], pool[9], pool[2], wt, w, pool[8], pool[6], rows, n);
    expect_near("layernorm db", wide, pool[10], pool[11], n + GUARD, 4 * tolerance(wide), 10);
}

static void check_rmsnorm(const tpi_kernels *k, const tpi_run *r, tp_dtype t, tp_dtype wt, bool extra, int64_t rows, int64_t n)
{
    tp_dtype wide = tpi_ref_wide(t);
    void    *w = extra ? fill(3, wt, n, 2) : NULL, *res = extra ? fill(10, t, rows * n, 3) : NULL;

    spoil(fill(2, t, rows * n, 6), t, rows, n);
    twin(0, 1, t, rows * n);
    twin(5, 6, wide, rows);
    twin(7, 8, t, rows * n);
    assert_int_equal(k->rmsnorm(r, t, pool[0], pool[5], res ? pool[7] : NULL, pool[2], res, wt, w, 1e-5, rows, n), TP_OK);
    ref()->rmsnorm(&one_thread, t, pool[1], pool[6], res ? pool[8] : NULL, pool[2], res, wt, w, 1e-5, rows, n);
    expect_near("rmsnorm", t, pool[0], pool[1], rows * n + GUARD, 2 * tolerance(t), 1e-3);
    expect_near("h", t, pool[7], pool[8], rows * n + GUARD, tolerance(t), 0);
    expect_near("rstd", wide, pool[5], pool[6], rows + GUARD, tolerance(wide), 1e-3);
    expect_finite("rmsnorm", t, pool[0], rows, n);

    fill(9, t, rows * n, 1);
    twin(0, 1, t, rows * n);
    k->rmsnorm_grad(r, t, pool[0], NULL, pool[9], res, pool[2], wt, w, pool[6], rows, n);
    ref()->rmsnorm_grad(&one_thread, t, pool[1], NULL, pool[9], res, pool[2], wt, w, pool[6], rows, n);
    expect_near("rmsnorm dx", t, pool[0], pool[1], rows * n + GUARD, 8 * tolerance(t), 1);
    expect_finite("rmsnorm dx", t, pool[0], rows, n);
    fill(2, t, rows * n, 6);
    fill(6, wide, rows, 1);
    twin(10, 11, wide, n);
    k->rmsnorm_grad(r, t, NULL, pool[10], pool[9], NULL, pool[2], wt, w, pool[6], rows, n);
    ref()->rmsnorm_grad(&one_thread, t, NULL, pool[11], pool[9], NULL, pool[2], wt, w, pool[6], rows, n);
    expect_near("rmsnorm dw", wide, pool[10], pool[11], n + GUARD, 4 * tolerance(wide), 10);
}

static void norms(const tpi_kernels *k, const tpi_run *r)
{
    for (int i = 0; i < COUNT(shapes); i++) {
        for (int t = 0; t < COUNT(float_types); t++) {
            tp_dtype type = float_types[t];

            for (int v = 0; v < 4; v++) {
                tp_dtype wt = v % 2 ? type : tpi_ref_wide(type);

                check_layernorm(k, r, type, wt, v > 1, shapes[i].rows, shapes[i].n);
                check_rmsnorm(k, r, type, wt, v > 1, shapes[i].rows, shapes[i].n);
            }
        }
    }
}

/* The sums over rows that make dw and db, too */
static void norms_keep_their_bits(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t rows = 301, n = 215;

    for (int t = 0; t < COUNT(float_types); t++) {
        tp_dtype type = float_types[t], wide = tpi_ref_wide(type);

        fill(2, type, rows * n, 3);
        fill(3, type, rows * n, 1);
        fill(4, wide, rows, 1);
        fill(5, wide, n, 1);
        for (int got = 0; got < 2; got++) {
            const tpi_run *run = got ? r : &one_thread;

            memset(pool[6 + got], 0, sizeof pool[0]);
            memset(pool[8 + got], 0, sizeof pool[0]);
            k->layernorm_grad(run, type, pool[got], pool[6 + got], pool[8 + got], pool[3], pool[2], wide, pool[5], pool[4],
                              pool[4], rows, n);
        }
        assert_memory_equal(pool[0], pool[1], (size_t)(rows * n) * tp_dtype_size(type));
        assert_memory_equal(pool[6], pool[7], (size_t)n * tp_dtype_size(wide));
        assert_memory_equal(pool[8], pool[9], (size_t)n * tp_dtype_size(wide));
    }
}

static void test_norms(void **state)
{
    (void)state;
    each_backend(norms);
    each_backend(norms_keep_their_bits);
}

/* ---- rope and SiLU -------------------------------------------------------------------------------------------------------- */

static void check_rope(const tpi_kernels *k, const tpi_run *r, tp_dtype t, const int64_t dim[4], int variant)
{
    int64_t  h = dim[2], d = dim[3], s = dim[1];
    int64_t  ys[3] = { h * s * d, d, s * d }, xs[3] = { s * (h * d + 8), h * d + 8, d }, n = dim[0] * xs[0];
    float    freq[256];
    int32_t *pos = (int32_t *)(void *)pool[3];

    for (int64_t j = 0; j < d / 2; j++)
        freq[j] = (float)pow(10000, -2.0 * (double)j / (double)d);
    for (int64_t i = 0; i < dim[0] * s; i++)
        pos[i] = (int32_t)(i * 7919 % 100003) * (variant == 3 && i % 2 ? 1000 : 1);
    fill(2, t, n, 3);
    twin(0, 1, t, n);
    assert_int_equal(k->rope(r, t, pool[0], ys, pool[2], xs, dim, variant > 1 ? pos : NULL, 5, freq, 1.25, variant == 1), TP_OK);
    ref()->rope(&one_thread, t, pool[1], ys, pool[2], xs, dim, variant > 1 ? pos : NULL, 5, freq, 1.25, variant == 1);
    expect_near("rope", t, pool[0], pool[1], n + GUARD, tolerance(t), 3);
}

static void ropes(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t dim[][4] = {
        { 0, 3, 2, 8 }, { 1, 1, 1, 2 }, { 2, 5, 3, 14 }, { 2, 33, 3, 64 }, { 1, 40, 9, 128 }, { 1, 3, 2, 272 },
    };

    for (int i = 0; i < COUNT(dim); i++)
        for (int t = 0; t < COUNT(float_types) * 4; t++)
            check_rope(k, r, float_types[t / 4], dim[i], t % 4);
}

static void silus(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t lengths[] = { 0, 1, 3, 33, 1000, 70001 };

    for (int i = 0; i < COUNT(lengths) * COUNT(float_types); i++) {
        int64_t  n = lengths[i / COUNT(float_types)];
        tp_dtype t = float_types[i % COUNT(float_types)];

        add_specials(fill(2, t, n, 12), t, n);
        fill(3, t, n, 3);
        fill(4, t, n, 3);
        twin(0, 1, t, n);
        assert_int_equal(k->silu_mul(r, t, pool[0], pool[2], pool[3], n), TP_OK);
        ref()->silu_mul(&one_thread, t, pool[1], pool[2], pool[3], n);
        expect_near("silu_mul", t, pool[0], pool[1], n + GUARD, tolerance(t), t == TP_F16 ? 1e-3 : 1e-30);
        twin(0, 1, t, n);
        twin(5, 6, t, n);
        assert_int_equal(k->silu_mul_grad(r, t, pool[0], pool[5], pool[4], pool[2], pool[3], n), TP_OK);
        ref()->silu_mul_grad(&one_thread, t, pool[1], pool[6], pool[4], pool[2], pool[3], n);
        expect_near("silu_mul dg", t, pool[0], pool[1], n + GUARD, 2 * tolerance(t), 1);
        expect_near("silu_mul du", t, pool[5], pool[6], n + GUARD, 2 * tolerance(t), 1e-2);
    }
}

static void test_rope_and_silu(void **state)
{
    (void)state;
    each_backend(ropes);
    each_backend(silus);
}

/* ---- reductions ------------------------------------------------------------------------------------------------------------ */

typedef struct { tpi_nd outer, inner; } reduction;

/* Rows, columns, a middle dimension, all of it, nothing, outputs with steps, a few long ones, and many short ones */
static const reduction reductions[] = {
    { { .ndim = 1, .dim = { 5 }, .stride = { { 1 }, { 33 } } }, { .ndim = 1, .dim = { 33 }, .stride = { { 0 }, { 1 } } } },
    { { .ndim = 1, .dim = { 33 }, .stride = { { 1 }, { 1 } } }, { .ndim = 1, .dim = { 5 }, .stride = { { 0 }, { 33 } } } },
    { { .ndim = 1, .dim = { 601 }, .stride = { { 2 }, { 1 } } }, { .ndim = 1, .dim = { 150 }, .stride = { { 0 }, { 601 } } } },
    { { .ndim = 2, .dim = { 3, 40 }, .stride = { { 40, 1 }, { 840, 1 } } },
      { .ndim = 1, .dim = { 21 }, .stride = { { 0 }, { 40 } } } },
    { { .ndim = 1, .dim = { 21 }, .stride = { { 1 }, { 40 } } },
      { .ndim = 2, .dim = { 3, 40 }, .stride = { { 0 }, { 840, 1 } } } },
    { { .ndim = 0 }, { .ndim = 1, .dim = { 1000 }, .stride = { { 0 }, { 1 } } } },
    { { .ndim = 0 }, { .ndim = 0 } },
    { { .ndim = 1, .dim = { 7 }, .stride = { { 1 }, { 1 } } }, { .ndim = 1, .dim = { 0 }, .stride = { { 0 }, { 7 } } } },
    { { .ndim = 1, .dim = { 0 }, .stride = { { 1 }, { 7 } } }, { .ndim = 1, .dim = { 7 }, .stride = { { 0 }, { 1 } } } },
    { { .ndim = 0 }, { .ndim = 1, .dim = { 70001 }, .stride = { { 0 }, { 1 } } } },
    { { .ndim = 1, .dim = { 2 }, .stride = { { 1 }, { 1 } } }, { .ndim = 1, .dim = { 65001 }, .stride = { { 0 }, { 2 } } } },
    { { .ndim = 1, .dim = { 2 }, .stride = { { 1 }, { 65000 } } },
      { .ndim = 2, .dim = { 260, 250 }, .stride = { { 0 }, { 1, 260 } } } },
    { { .ndim = 1, .dim = { 9000 }, .stride = { { 1 }, { 7 } } }, { .ndim = 1, .dim = { 7 }, .stride = { { 0 }, { 1 } } } },
    { { .ndim = 1, .dim = { 30 }, .stride = { { 1 }, { 1 } } },
      { .ndim = 2, .dim = { 30, 40 }, .stride = { { 0 }, { 1200, 30 } } } },
};

static void check_reduce(const tpi_kernels *k, const tpi_run *r, tpi_reduce op, tp_dtype yt, tp_dtype t, const reduction *d)
{
    int64_t last = extent(&d->inner, 1) + extent(&d->outer, 1), n = extent(&d->outer, 0), inner = tpi_ref_numel(&d->inner);
    double  tol = tolerance(yt) * (op == TPI_PROD ? 4 : 1);
    double  low = (op == TPI_SUM ? sqrt((double)inner) : 1e-20) + (yt == TP_F16 ? 1e-2 : 0);
    char    what[40];

    fill(2, t, last, op == TPI_PROD ? 1.7 : 2);
    for (int64_t i = 0; (op == TPI_ARGMAX || op == TPI_ARGMIN || op == TPI_MAX) && !tpi_ref_is_int(t) && i < last; i += 217)
        tpi_store(t, pool[2], i, i % 3 ? NAN : -INFINITY);
    twin(0, 1, yt, n);
    assert_int_equal(k->reduce(r, op, &d->outer, &d->inner, yt, pool[0], t, pool[2]),
                     ref()->reduce(&one_thread, op, &d->outer, &d->inner, yt, pool[1], t, pool[2]));
    snprintf(what, sizeof what, "reduction %d, op %d", (int)(d - reductions), op);
    expect_near(what, yt, pool[0], pool[1], n + GUARD, tol, low);
}

static void reduces(const tpi_kernels *k, const tpi_run *r)
{
    for (int i = 0; i < COUNT(reductions); i++) {
        for (int op = 0; op < TPI_REDUCES; op++) {
            bool place = op == TPI_ARGMAX || op == TPI_ARGMIN;

            for (int t = 0; t < TP_DTYPES; t++) {
                tp_dtype type = (tp_dtype)t;

                if ((op == TPI_ANY || op == TPI_ALL) != (type == TP_BOOL))
                    continue;
                check_reduce(k, r, (tpi_reduce)op, place ? TP_I64 : type, type, &reductions[i]);
                if (op == TPI_SUM && !tpi_ref_is_int(type))
                    check_reduce(k, r, TPI_SUM, tpi_ref_wide(type), type, &reductions[i]);
                if (op == TPI_SUM && tpi_ref_is_int(type))
                    check_reduce(k, r, TPI_SUM, TP_I64, type, &reductions[i]);
            }
        }
    }
}

/* A sum has the same bits on any number of threads. */
static void sums_keep_their_bits(const tpi_kernels *k, const tpi_run *r)
{
    for (int i = 0; i < COUNT(reductions); i++) {
        const reduction *d = &reductions[i];
        int64_t          n = extent(&d->outer, 0);

        fill(2, TP_F32, extent(&d->inner, 1) + extent(&d->outer, 1), 2);
        twin(0, 1, TP_F32, n);
        k->reduce(r, TPI_SUM, &d->outer, &d->inner, TP_F32, pool[0], TP_F32, pool[2]);
        k->reduce(&one_thread, TPI_SUM, &d->outer, &d->inner, TP_F32, pool[1], TP_F32, pool[2]);
        assert_memory_equal(pool[0], pool[1], (size_t)n * 4);
    }
}

static void cumsums(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t dim[][3] = {
        { 1, 0, 3 }, { 0, 4, 1 }, { 1, 1, 1 }, { 3, 33, 1 }, { 2, 7, 5 }, { 2, 40, 700 }, { 300, 200, 1 },
    };

    for (int i = 0; i < COUNT(dim) * TP_BOOL * 2; i++) {
        const int64_t *d = dim[i / (TP_BOOL * 2)];
        tp_dtype       t = (tp_dtype)(i / 2 % TP_BOOL);
        int64_t        n = d[0] * d[1] * d[2];

        fill(2, t, n, 2);
        twin(0, 1, t, n);
        assert_int_equal(k->cumsum(r, t, pool[0], pool[2], d[0], d[1], d[2], i % 2), TP_OK);
        ref()->cumsum(&one_thread, t, pool[1], pool[2], d[0], d[1], d[2], i % 2);
        expect_near("cumsum", t, pool[0], pool[1], n + GUARD, tolerance(t), 1);
    }
}

static void test_reduce(void **state)
{
    (void)state;
    each_backend(reduces);
    each_backend(sums_keep_their_bits);
    each_backend(cumsums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_rope_and_silu),
        cmocka_unit_test(test_reduce),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
