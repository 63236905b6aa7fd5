/* test_cpu_gemm.c - matrix products of every instruction set against the oracle: dtypes, shapes, strides, batches, NaN.
 */
#include "tests/ops/cpu/cpu_test.h"

typedef struct {
    tp_dtype t, ct;
} types;

static const types all_types[] = { { TP_F32, TP_F32 },  { TP_F64, TP_F64 }, { TP_BF16, TP_BF16 },
                                   { TP_BF16, TP_F32 }, { TP_F16, TP_F16 }, { TP_F16, TP_F32 } };

static tpi_gemm shape(types t, int64_t m, int64_t n, int64_t k, bool ta, bool tb, double beta)
{
    tpi_gemm g = { .batch = { 1, 1 }, .m = m, .n = n, .k = k, .at = t.t, .bt = t.t, .ct = t.ct, .beta = beta };

    g.a_row = ta ? 1 : k;
    g.a_col = ta ? m : 1;
    g.b_row = tb ? 1 : n;
    g.b_col = tb ? k : 1;
    g.c_row = n;
    return g;
}

static double tolerance(const tpi_gemm *g)
{
    return (g->at == TP_F64 ? 4e-16 : 4e-7) * (8 + sqrt((double)g->k) * 4);
}

/* Elements that an operand spans. */
static int64_t span(const tpi_gemm *g, const int64_t batch[2], int64_t rows, int64_t row, int64_t cols, int64_t col)
{
    if (rows < 1 || cols < 1 || g->batch[0] < 1 || g->batch[1] < 1)
        return 0;
    return (g->batch[0] - 1) * batch[0] + (g->batch[1] - 1) * batch[1] + (rows - 1) * row + (cols - 1) * col + 1;
}

static void run_gemm(const tpi_backend *b, tpi_gemm g, void *c, int threads)
{
    tpi_run r = { .threads = threads };

    r = run_new(threads, b->k->gemm_space(&r, &g));
    g.c = c;
    assert_int_equal(b->k->gemm(&r, &g), TP_OK);
    free(r.ws);
}

/* Fills in a, b, c and compares with the oracle on 1 and 2 threads.  nan_row >= 0: that row of A is NaN. */
static void check(const char *what, tpi_gemm g, int64_t nan_row)
{
    int64_t na = span(&g, g.a_batch, g.m, g.a_row, g.k, g.a_col), nb = span(&g, g.b_batch, g.k, g.b_row, g.n, g.b_col);
    int64_t nc = span(&g, g.c_batch, g.m, g.c_row, g.n, 1);
    void   *a = array(g.at, na, 1), *b = array(g.bt, nb, 2), *c = array(g.ct, nc, 3), *want, *got;
    char    text[160];

    for (int64_t l = 0; nan_row >= 0 && l < g.k; l++)
        tpi_store(g.at, a, nan_row * g.a_row + l * g.a_col, NAN);
    for (int64_t i = 0; g.beta == 0 && i < nc; i++) /* is not to be read; gaps between rows are to stay */
        if (i % g.c_row < g.n)
            tpi_store(g.ct, c, i, NAN);
    g.a = a;
    g.b = b;
    want = copy_of(g.ct, c, nc);
    run_gemm(&tpi_backend_ref, g, want, 1);
    for (int i = 0; usable_backend(i); i++) {
        for (int threads = 1; threads <= 2; threads++) {
            got = copy_of(g.ct, c, nc);
            run_gemm(usable_backend(i), g, got, threads);
            snprintf(text, sizeof text, "%s %s %s %lldx%lldx%lld, beta %g, %d threads", what, usable_backend(i)->name,
                     tp_dtype_name(g.at), (long long)g.m, (long long)g.n, (long long)g.k, g.beta, threads);
            expect_same(text, g.ct, got, want, nc, tolerance(&g));
            free(got);
        }
    }
    free(a);
    free(b);
    free(c);
    free(want);
}

static void test_shapes(void **state)
{
    static const int64_t sizes[][3] = { { 0, 3, 3 },     { 3, 0, 3 },      { 3, 3, 0 },     { 1, 1, 1 },
                                        { 1, 7, 1 },     { 5, 1, 3 },      { 1, 64, 37 },   { 2, 9, 64 },
                                        { 12, 33, 65 },  { 13, 17, 19 },   { 31, 29, 37 },  { 64, 64, 64 },
                                        { 97, 101, 53 }, { 130, 70, 260 }, { 1, 1031, 47 }, { 200, 3, 5 },
                                        { 17, 530, 11 } };

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++)
            for (int flags = 0; flags < 8; flags++)
                check(
                    "shape",
                    shape(all_types[t], sizes[s][0], sizes[s][1], sizes[s][2], flags & 1, flags & 2, flags & 4 ? 1 : 0),
                    -1);
}

static void test_beta(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
        check("beta", shape(all_types[t], 40, 50, 60, false, true, 0.5), -1);
        check("beta", shape(all_types[t], 3, 50, 60, false, true, -2), -1);
        check("beta", shape(all_types[t], 4, 4, 0, false, true, 0.5), -1);
    }
}

/* Rows longer than their contents, in every operand. */
static void test_strides(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
        for (int flags = 0; flags < 4; flags++) {
            tpi_gemm g = shape(all_types[t], 37, 43, 41, flags & 1, flags & 2, 1);

            g.a_row += flags & 1 ? 0 : 5;
            g.a_col += flags & 1 ? 5 : 0;
            g.b_row += flags & 2 ? 0 : 3;
            g.b_col += flags & 2 ? 3 : 0;
            g.c_row += 7;
            check("strides", g, -1);
            g.beta = 0;
            check("strides", g, -1);
        }
    }
}

/* An extent of 1 leaves its stride free; a stride of 0 repeats. */
static void test_free_strides(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
        tpi_gemm g = shape(all_types[t], 1, 90, 50, false, true, 0);

        g.a_row = 12345;
        g.a_col = 3;
        check("one row, strided", g, -1);
        g = shape(all_types[t], 60, 1, 50, false, false, 0);
        g.b_row = 4;
        g.b_col = 999;
        check("one column, strided", g, -1);
        g = shape(all_types[t], 40, 45, 1, false, false, 1);
        g.a_row = 6;
        g.a_col = 77;
        g.b_row = 0;
        check("outer product", g, -1);
        g = shape(all_types[t], 40, 45, 33, false, false, 0);
        g.b_row = 0;
        check("repeated row", g, -1);
    }
}

static void test_batch(void **state)
{
    static const int64_t batches[][2] = { { 0, 3 }, { 1, 1 }, { 2, 1 }, { 3, 4 }, { 1, 7 } };

    (void)state;
    for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
        for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
            for (int flags = 0; flags < 4; flags++) {
                tpi_gemm g = shape(all_types[t], 34, 35, 36, flags & 1, flags & 2, flags & 1);

                memcpy(g.batch, batches[b], sizeof g.batch);
                g.a_batch[1] = g.m * g.k;
                g.a_batch[0] = g.batch[1] * g.m * g.k + 3;
                g.b_batch[1] = flags & 2 ? 0 : g.k * g.n; /* shared */
                g.b_batch[0] = g.batch[1] * g.b_batch[1];
                g.c_batch[1] = g.m * g.n;
                g.c_batch[0] = g.batch[1] * g.m * g.n;
                check("batch", g, -1);
            }
        }
    }
}

/* NaN in one row of A stays in that row of C, for K no multiple of 32 too. */
static void test_nan_rows(void **state)
{
    static const int64_t ks[] = { 1, 31, 32, 33, 65, 576 };

    (void)state;
    for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++)
        for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++)
            for (int flags = 0; flags < 4; flags++) {
                check("NaN", shape(all_types[t], 67, 49, ks[k], flags & 1, flags & 2, 0), 13);
                check("NaN", shape(all_types[t], 5, 49, ks[k], flags & 1, flags & 2, 0), 4);
            }
}

/* Large enough for several slabs, blocks of rows and steps of k. */
static void test_large(void **state)
{
    (void)state;
    for (size_t t = 2; t < 4; t++) {
        check("large", shape(all_types[t], 111, 700, 300, false, true, 0), 100);
        check("large", shape(all_types[t], 20, 1101, 300, true, false, 1), -1);
        check("deep", shape(all_types[t], 19, 530, 2300, false, false, 1), 7);
    }
}

static void test_deterministic(void **state)
{
    tpi_gemm g = shape(all_types[2], 150, 700, 300, false, true, 0);
    void    *a = array(TP_BF16, g.m * g.k, 1), *b = array(TP_BF16, g.k * g.n, 2);
    void    *first = array(TP_BF16, g.m * g.n, 3), *second = array(TP_BF16, g.m * g.n, 4);

    (void)state;
    g.a = a;
    g.b = b;
    for (int i = 0; usable_backend(i); i++) {
        run_gemm(usable_backend(i), g, first, 1);
        for (int threads = 1; threads <= 5; threads++) {
            run_gemm(usable_backend(i), g, second, threads);
            assert_memory_equal(first, second, (size_t)(g.m * g.n) * 2);
        }
    }
    free(a);
    free(b);
    free(first);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_beta),          cmocka_unit_test(test_strides),
        cmocka_unit_test(test_batch),  cmocka_unit_test(test_nan_rows),      cmocka_unit_test(test_free_strides),
        cmocka_unit_test(test_large),  cmocka_unit_test(test_deterministic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
