/*
 * test_cpu_memory.c - kernels of the CPU that mostly move memory: indices, random numbers, optimisers, searches, sorting;
 * and that the table of a back end has no hole.
 */
#include "kernel_test.h"

/* ---- random numbers ---------------------------------------------------------------------------------------------------- */

static const tpi_key key = { { 0x12345678u, 0x9abcdef0u }, { 7u, 0xfffffff9u } };

static void randoms(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t lengths[] = { 0, 1, 2, 3, 5, 31, 257, 1000, 70001 };
    const double  p[][2] = { { 0, 1 }, { -0.75, 3.1 }, { 0.3, 0.30001 } };

    for (int i = 0; i < COUNT(lengths) * TPI_RANDOMS * TP_DTYPES; i++) {
        int64_t    n = lengths[i / ((int)TPI_RANDOMS * (int)TP_DTYPES)];
        tpi_random kind = (tpi_random)(i / TP_DTYPES % TPI_RANDOMS);
        tp_dtype   t = (tp_dtype)(i % TP_DTYPES);

        for (int v = 0; v < COUNT(p); v++) {
            twin(0, 1, t, n);
            assert_int_equal(k->random(r, kind, t, pool[0], n, p[v][0], p[v][1], key), TP_OK);
            ref()->random(&one_thread, kind, t, pool[1], n, p[v][0], p[v][1], key);
            expect_same("random", t, pool[0], pool[1], n + GUARD);
        }
    }
}

static void dropouts(const tpi_kernels *k, const tpi_run *r)
{
    const double p[] = { 0, 0.1, 0.5, 1 };

    for (int i = 0; i < COUNT(sizes) * COUNT(float_types) * COUNT(p); i++) {
        int64_t  n = sizes[i / (COUNT(float_types) * COUNT(p))] * 70;
        tp_dtype t = float_types[i / COUNT(p) % COUNT(float_types)];

        if (n > 7)
            tpi_store(t, fill(2, t, n, 5), 5, NAN);
        twin(0, 1, t, n);
        assert_int_equal(k->dropout(r, t, pool[0], pool[2], n, p[i % COUNT(p)], key), TP_OK);
        ref()->dropout(&one_thread, t, pool[1], pool[2], n, p[i % COUNT(p)], key);
        expect_near("dropout", t, pool[0], pool[1], n + GUARD, tolerance(t), 0);
    }
}

static void test_random(void **state)
{
    (void)state;
    each_backend(randoms);
    each_backend(dropouts);
}

/* ---- indices ------------------------------------------------------------------------------------------------------------ */

static void *fill_ids(int operand, tp_dtype it, int64_t n, int64_t below)
{
    uint64_t s = 5;

    for (int64_t i = 0; i < n; i++)
        tpi_store_int(it, pool[operand], i, (int64_t)(next(&s) % (uint64_t)below));
    return pool[operand];
}

static void rows_by_number(const tpi_kernels *k, const tpi_run *r)
{
    const struct { int64_t rows, n, d; } list[] = {
        { 3, 0, 5 }, { 3, 4, 0 }, { 1, 7, 1 }, { 11, 40, 3 }, { 5, 33, 65 }, { 90, 60, 1100 },
    };

    for (int i = 0; i < COUNT(list) * TP_DTYPES * 2; i++) {
        int64_t  rows = list[i / (TP_DTYPES * 2)].rows, n = list[i / (TP_DTYPES * 2)].n, d = list[i / (TP_DTYPES * 2)].d;
        tp_dtype t = (tp_dtype)(i / 2 % TP_DTYPES), it = i % 2 ? TP_I64 : TP_I32, wt = tpi_ref_is_int(t) ? t : tpi_ref_wide(t);

        fill(2, t, rows * d, 4);
        fill_ids(3, it, n, rows);
        twin(0, 1, t, n * d);
        assert_int_equal(k->index_rows(r, t, pool[0], pool[2], it, pool[3], n, d), TP_OK);
        ref()->index_rows(&one_thread, t, pool[1], pool[2], it, pool[3], n, d);
        expect_same("index_rows", t, pool[0], pool[1], n * d + GUARD);
        if (t == TP_BOOL)
            continue;
        fill(2, t, n * d, 4);
        twin(0, 1, wt, rows * d);
        assert_int_equal(k->index_add(r, wt, pool[0], rows, t, pool[2], it, pool[3], n, d), TP_OK);
        ref()->index_add(&one_thread, wt, pool[1], rows, t, pool[2], it, pool[3], n, d);
        expect_same("index_add", wt, pool[0], pool[1], rows * d + GUARD);
        twin(0, 1, t, rows * d);
        k->index_add(r, t, pool[0], rows, t, pool[2], it, pool[3], n, d);
        ref()->index_add(&one_thread, t, pool[1], rows, t, pool[2], it, pool[3], n, d);
        expect_same("index_add", t, pool[0], pool[1], rows * d + GUARD);
    }
}

static void elements_by_number(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t dim[][4] = {
        { 0, 2, 3, 4 }, { 2, 0, 3, 4 }, { 1, 1, 1, 1 }, { 3, 5, 9, 1 }, { 2, 9, 4, 7 }, { 3, 200, 30, 90 },
    };

    for (int i = 0; i < COUNT(dim) * TP_DTYPES * 2; i++) {
        const int64_t *d = dim[i / (TP_DTYPES * 2)];
        int64_t        a = d[0], n = d[1], m = d[2], b = d[3];
        tp_dtype       t = (tp_dtype)(i / 2 % TP_DTYPES), it = i % 2 ? TP_I64 : TP_I32;

        fill(2, t, a * m * b, 4);
        fill_ids(3, it, a * n * b, m);
        twin(0, 1, t, a * n * b);
        assert_int_equal(k->gather(r, t, pool[0], pool[2], it, pool[3], a, n, m, b), TP_OK);
        ref()->gather(&one_thread, t, pool[1], pool[2], it, pool[3], a, n, m, b);
        expect_same("gather", t, pool[0], pool[1], a * n * b + GUARD);
        if (t == TP_BOOL)
            continue;
        fill(2, t, a * n * b, 4);
        twin(0, 1, t, a * m * b);
        assert_int_equal(k->scatter_add(r, t, pool[0], pool[2], it, pool[3], a, n, m, b), TP_OK);
        ref()->scatter_add(&one_thread, t, pool[1], pool[2], it, pool[3], a, n, m, b);
        expect_same("scatter_add", t, pool[0], pool[1], a * m * b + GUARD);
    }
}

static void test_index(void **state)
{
    (void)state;
    each_backend(rows_by_number);
    each_backend(elements_by_number);
}

/* ---- optimisers --------------------------------------------------------------------------------------------------------- */

/* Three parameters, of which the middle one is empty; got in operands 0 to 3 (p, m, v, master), want in 4 to 7, gradient 8. */
static void check_optim(const tpi_kernels *k, const tpi_run *r, const tpi_hyper *h, tp_dtype t, bool master)
{
    const int64_t n[] = { 33, 0, 40007 };
    tp_dtype      wide = tpi_ref_wide(t);
    size_t        pt = tp_dtype_size(t), mt = tp_dtype_size(wide);
    tpi_step      got[3], want[3];
    int64_t       at = 0;

    for (int o = 0; o < 4; o++)
        twin(o, o + 4, o == 0 ? t : wide, 40040);
    for (int64_t i = 0; i < 40040; i++) { /* v is never negative */
        tpi_store(wide, pool[2], i, fabs(tpi_load(wide, pool[2], i)));
        tpi_store(wide, pool[6], i, fabs(tpi_load(wide, pool[6], i)));
    }
    fill(8, wide, 40040, 3);
    for (int c = 0; c < 3; at += n[c++]) {
        bool momentum = h->rule != TPI_SGD || h->beta1 != 0, second = h->rule == TPI_ADAM || h->rule == TPI_ADAMW;

        for (int w = 0; w < 2; w++) {
            char *p = (char *)pool[4 * w] + (size_t)at * pt, *m = (char *)pool[4 * w + 1] + (size_t)at * mt;
            char *v = (char *)pool[4 * w + 2] + (size_t)at * mt, *ma = (char *)pool[4 * w + 3] + (size_t)at * mt;

            (w ? want : got)[c] = (tpi_step){
                .n = n[c], .p = p, .t = t, .master = master ? ma : NULL, .g = (char *)pool[8] + (size_t)at * mt,
                .m = momentum ? m : NULL, .v = second ? v : NULL, .lr = 0.01 * (c + 1), .decay = 0.1 * c,
            };
        }
    }
    assert_int_equal(k->optim(r, h, got, 3), TP_OK);
    ref()->optim(&one_thread, h, want, 3);
    expect_near("p", t, pool[0], pool[4], 40040 + GUARD, tolerance(t), 0.3);
    for (int o = 1; o < 4; o++)
        expect_near("state", wide, pool[o], pool[o + 4], 40040 + GUARD, tolerance(wide), 1);
}

static void optims(const tpi_kernels *k, const tpi_run *r)
{
    const tpi_hyper list[] = {
        { .rule = TPI_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1, .grad_scale = 1 },
        { .rule = TPI_ADAMW, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .step = 17, .grad_scale = 0.25 },
        { .rule = TPI_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 3, .grad_scale = 1 },
        { .rule = TPI_LION, .beta1 = 0.9, .beta2 = 0.99, .step = 2, .grad_scale = 1 },
        { .rule = TPI_SGD, .step = 2, .grad_scale = 0.5 },
        { .rule = TPI_SGD, .beta1 = 0.9, .beta2 = 0.1, .step = 1, .grad_scale = 1 },
        { .rule = TPI_SGD, .beta1 = 0.9, .beta2 = 0.1, .step = 2, .grad_scale = 1, .nesterov = true },
    };

    for (int i = 0; i < COUNT(list) * COUNT(float_types); i++) {
        tp_dtype t = float_types[i % COUNT(float_types)];

        check_optim(k, r, &list[i / COUNT(float_types)], t, false);
        if (t == TP_BF16 || t == TP_F16)
            check_optim(k, r, &list[i / COUNT(float_types)], t, true);
    }
}

static void test_optim(void **state)
{
    (void)state;
    each_backend(optims);
}

/* ---- sums of squares, NaN and Inf --------------------------------------------------------------------------------------- */

static void sums_of_squares(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t n[] = { 33, 0, 70001, 1, 1000 };
    const void   *x[5];

    for (int t = 0; t < COUNT(float_types); t++) {
        double got, want, again;

        for (int c = 0; c < 5; c++)
            x[c] = fill(c, float_types[t], n[c], c == 1 ? 1 : 200);
        assert_int_equal(k->sumsq(r, float_types[t], x, n, 5, &got), TP_OK);
        ref()->sumsq(&one_thread, float_types[t], x, n, 5, &want);
        k->sumsq(&one_thread, float_types[t], x, n, 5, &again);
        assert_true(fabs(got - want) <= 1e-12 * want);
        assert_true(got == again);
        k->sumsq(r, float_types[t], x, n, 0, &got);
        assert_true(got == 0);
    }
}

static void searches(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t lengths[] = { 0, 1, 7, 33, 1000, 70001 };

    for (int i = 0; i < COUNT(lengths) * COUNT(float_types); i++) {
        int64_t  n = lengths[i / COUNT(float_types)];
        tp_dtype t = float_types[i % COUNT(float_types)];
        bool     found = true;

        fill(2, t, n + 1, 60000);
        tpi_store(t, pool[2], n, NAN); /* beyond the end */
        assert_int_equal(k->nonfinite(r, t, pool[2], n, &found), TP_OK);
        assert_false(found);
        for (int64_t at = n - 1; at >= 0; at = at > 0 ? at / 3 : -1) {
            fill(2, t, n, 60000);
            tpi_store(t, pool[2], at, at % 2 ? NAN : -INFINITY);
            k->nonfinite(r, t, pool[2], n, &found);
            assert_true(found);
        }
    }
}

static void test_search(void **state)
{
    (void)state;
    each_backend(sums_of_squares);
    each_backend(searches);
}

/* ---- sorting ------------------------------------------------------------------------------------------------------------- */

static void check_sort(const tpi_kernels *k, const tpi_run *r, tp_dtype t, int64_t rows, int64_t n, bool descending)
{
    int64_t *got = (int64_t *)(void *)pool[3], *want = (int64_t *)(void *)pool[4];

    fill(2, t, rows * n, 3);
    for (int64_t i = 0; !tpi_ref_is_int(t) && i < rows * n; i += 3)
        tpi_store(t, pool[2], i, i % 4 == 0 ? tpi_load(t, pool[2], i / 2) : i % 7 == 0 ? NAN : i % 2 ? -0.0 : 0.0);
    twin(0, 1, t, rows * n);
    twin(3, 4, TP_I64, rows * n);
    assert_int_equal(k->sort(r, t, pool[0], got, pool[2], rows, n, descending), TP_OK);
    ref()->sort(&one_thread, t, pool[1], want, pool[2], rows, n, descending);
    expect_same("sort", t, pool[0], pool[1], rows * n + GUARD);
    expect_same("places", TP_I64, got, want, rows * n + GUARD);
    twin(0, 5, t, rows * n);
    k->sort(r, t, pool[0], NULL, pool[2], rows, n, descending);
    if (rows * n > 0)
        assert_memory_equal(pool[0], pool[1], (size_t)(rows * n) * tp_dtype_size(t));
    memset(got, 0, (size_t)(rows * n) * 8);
    k->sort(r, t, NULL, got, pool[2], rows, n, descending);
    expect_same("places alone", TP_I64, got, want, rows * n);
}

static void sorts(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t dim[][2] = { { 0, 3 }, { 3, 0 }, { 2, 1 }, { 3, 2 }, { 5, 33 }, { 2, 1000 }, { 200, 20 } };

    for (int i = 0; i < COUNT(dim) * TP_DTYPES * 2; i++)
        check_sort(k, r, (tp_dtype)(i / 2 % TP_DTYPES), dim[i / (TP_DTYPES * 2)][0], dim[i / (TP_DTYPES * 2)][1], i % 2);
}

/* Orders that are hard for quicksort: sorted, reversed, all equal, organ pipe */
static void hard_orders(const tpi_kernels *k, const tpi_run *r)
{
    enum { N = 5000 };
    float   *x = (float *)(void *)pool[2], *y = (float *)(void *)pool[0];
    int64_t *place = (int64_t *)(void *)pool[3];

    for (int order = 0; order < 4; order++) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(order == 0 ? i : order == 1 ? -i : order == 2 ? 1 : i < N / 2 ? i : N - i);
        assert_int_equal(k->sort(r, TP_F32, y, place, x, 1, N, false), TP_OK);
        for (int i = 1; i < N; i++)
            assert_true(y[i - 1] < y[i] || (!(y[i - 1] > y[i]) && place[i - 1] < place[i]));
    }
}

static void test_sort(void **state)
{
    (void)state;
    each_backend(sorts);
    each_backend(hard_orders);
}

/* ---- the table ----------------------------------------------------------------------------------------------------------- */

/* Every field of tpi_kernels is a pointer to a function: none may be NULL. */
static void no_hole(const tpi_kernels *k, const tpi_run *r)
{
    void (*slot[sizeof *k / sizeof(void (*)(void))])(void);

    (void)r;
    memcpy(slot, k, sizeof slot);
    for (int i = 0; i < COUNT(slot); i++)
        assert_non_null(slot[i]);
}

static void test_table(void **state)
{
    (void)state;
    each_backend(no_hole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_index), cmocka_unit_test(test_optim),
        cmocka_unit_test(test_search), cmocka_unit_test(test_sort),  cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
