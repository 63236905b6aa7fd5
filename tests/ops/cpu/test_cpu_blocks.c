/* test_cpu_blocks.c - block-diagonal products and cross-entropy of every instruction set against the oracle. */
#include "tests/ops/cpu/cpu_test.h"

typedef struct {
    tp_dtype t, at;
} types;

static const types all_types[] = { { TP_F32, TP_F32 },   { TP_F64, TP_F64 }, { TP_BF16, TP_F32 },
                                   { TP_BF16, TP_BF16 }, { TP_F16, TP_F32 }, { TP_F16, TP_F16 } };

static const int64_t layers[][6] = {
    /* rows, in, out, blocks, bi, bo */
    { 0, 8, 8, 2, 4, 4 },         { 1, 1, 1, 1, 1, 1 },          { 1, 576, 192, 64, 9, 3 },  { 7, 576, 576, 64, 9, 9 },
    { 33, 576, 1536, 64, 9, 24 }, { 130, 1536, 576, 64, 24, 9 }, { 65, 64, 128, 2, 32, 64 }, { 70, 10, 21, 4, 3, 6 },
    { 5, 10, 9, 8, 2, 2 },        { 17, 6, 20, 3, 2, 5 },        { 19, 12, 7, 3, 4, 5 },     { 100, 80, 37, 1, 80, 37 },
};

static tpi_blocks shape(types t, const int64_t s[6])
{
    return (tpi_blocks){
        .rows = s[0], .in = s[1], .out = s[2], .blocks = s[3], .bi = s[4], .bo = s[5], .t = t.t, .at = t.at
    };
}

typedef struct {
    void *x, *dy, *a;
} operands;

static operands operands_new(const tpi_blocks *b)
{
    return (operands){ array(b->t, b->rows * b->in, 1), array(b->t, b->rows * b->out, 2),
                       array(b->at, b->blocks * b->bi * b->bo, 3) };
}

static void operands_free(operands *o)
{
    free(o->x);
    free(o->dy);
    free(o->a);
}

static void name(char text[160], const char *what, const tpi_backend *k, const tpi_blocks *b, int threads)
{
    snprintf(text, 160, "%s %s %s, a %s, %lld: %lld -> %lld, %lld blocks, %d threads", what, k->name,
             tp_dtype_name(b->t), tp_dtype_name(b->at), (long long)b->rows, (long long)b->in, (long long)b->out,
             (long long)b->blocks, threads);
}

/* y (which = 0) or dx (which = 1) with and without add, with and without a workspace */
static void check_product(const tpi_blocks *b, const operands *o, int which, bool add)
{
    int64_t n = b->rows * (which ? b->in : b->out);
    void   *first = array(b->t, n, 4), *want = copy_of(b->t, first, n);
    tpi_run one = { .threads = 1 };
    char    text[160];

    if (which)
        tpi_backend_ref.k->blocks_dx(&one, b, want, o->dy, o->a, add);
    else
        tpi_backend_ref.k->blocks(&one, b, want, o->x, o->a, add);
    for (int i = 0; usable_backend(i); i++) {
        const tpi_kernels *k = usable_backend(i)->k;

        for (int threads = 1; threads <= 3; threads++) {
            tpi_run r = { .threads = threads };
            void   *got = copy_of(b->t, first, n);

            r = run_new(threads, threads == 3 ? 0 : k->blocks_space(&r, b));
            assert_int_equal(
                which ? k->blocks_dx(&r, b, got, o->dy, o->a, add) : k->blocks(&r, b, got, o->x, o->a, add), TP_OK);
            name(text, which ? "dx" : "y", usable_backend(i), b, threads);
            expect_same(text, b->t, got, want, n, b->t == TP_F64 ? 1e-13 : 2e-5);
            free(got);
            free(r.ws);
        }
    }
    free(first);
    free(want);
}

static void check_da(const tpi_blocks *b, const operands *o, double beta)
{
    tp_dtype wide = b->t == TP_F64 ? TP_F64 : TP_F32;
    int64_t  n = b->blocks * b->bi * b->bo;
    void    *first = array(wide, n, 5), *want;
    tpi_run  one = { .threads = 1 };
    char     text[160];

    for (int64_t i = 0; beta == 0 && i < n; i++)
        tpi_store(wide, first, i, NAN);
    want = copy_of(wide, first, n);
    tpi_backend_ref.k->blocks_da(&one, b, want, o->x, o->dy, beta);
    for (int i = 0; usable_backend(i); i++) {
        const tpi_kernels *k = usable_backend(i)->k;

        for (int threads = 1; threads <= 3; threads++) {
            tpi_run r = { .threads = threads };
            void   *got = copy_of(wide, first, n);

            r = run_new(threads, threads == 3 ? 0 : k->blocks_space(&r, b));
            assert_int_equal(k->blocks_da(&r, b, got, o->x, o->dy, beta), TP_OK);
            name(text, "da", usable_backend(i), b, threads);
            expect_same(text, wide, got, want, n, b->t == TP_F64 ? 1e-13 : 2e-5);
            free(got);
            free(r.ws);
        }
    }
    free(first);
    free(want);
}

static void check_all(const tpi_blocks *b, const operands *o)
{
    for (int add = 0; add < 2; add++) {
        check_product(b, o, 0, add);
        check_product(b, o, 1, add);
    }
    check_da(b, o, 0);
    check_da(b, o, 1);
}

static void test_blocks(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof layers / sizeof layers[0]; s++) {
        for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
            tpi_blocks b = shape(all_types[t], layers[s]);
            operands   o = operands_new(&b);

            check_all(&b, &o);
            operands_free(&o);
        }
    }
}

/* NaN in one element of x and dy: it stays in its row and block. */
static void test_blocks_nan(void **state)
{
    (void)state;
    for (size_t s = 2; s < sizeof layers / sizeof layers[0]; s++) {
        tpi_blocks b = shape(all_types[s % 2 ? 0 : 2], layers[s]);
        operands   o = operands_new(&b);

        tpi_store(b.t, o.x, b.rows / 2 * b.in + b.in / 2, NAN);
        tpi_store(b.t, o.dy, b.rows / 2 * b.out + b.out - 1, NAN);
        check_all(&b, &o);
        operands_free(&o);
    }
}

/* ---- cross-entropy
 * --------------------------------------------------------------------------------------------------- */

/* Logits of some range, with a few infinities where odd is set. */
static void *logits(tp_dtype t, int64_t rows, int64_t n, double range, bool odd)
{
    void *x = array(t, rows * n, 7);

    for (int64_t i = 0; i < rows * n; i++)
        tpi_store(t, x, i, tpi_load(t, x, i) * range);
    for (int64_t i = 0; odd && i < n; i++) {
        tpi_store(t, x, i, -INFINITY);                                     /* row 0: all */
        tpi_store(t, x, n + i, i % 3 ? -INFINITY : tpi_load(t, x, n + i)); /* row 1: some */
        if (i == n / 2)
            tpi_store(t, x, 2 * n + i, NAN);
    }
    return x;
}

static void check_loss(tp_dtype t, int64_t rows, int64_t n, double range, double smoothing, bool odd)
{
    tp_dtype wide = t == TP_F64 ? TP_F64 : TP_F32;
    void    *x = logits(t, rows, n, range, odd), *loss = array(wide, rows, 0), *dx = array(t, rows * n, 0);
    void    *got_loss = array(wide, rows, 1), *got = array(t, rows * n, 1);
    int32_t *target = malloc((size_t)(rows + 1) * sizeof *target);
    tpi_run  one = { .threads = 1 };
    char     text[160];

    assert_non_null(target);
    for (int64_t i = 0; i < rows; i++)
        target[i] = i % 5 == 4 ? -100 : (int32_t)(i * 7919 % n);
    tpi_backend_ref.k->cross_entropy(&one, t, loss, dx, x, target, rows, n, smoothing, 0.125);
    for (int i = 0; usable_backend(i); i++) {
        for (int way = 0; way < 3; way++) { /* loss alone, with dx, with dx in x */
            tpi_run r = { .threads = 1 + way };
            void   *from = copy_of(t, x, rows * n);

            snprintf(text, sizeof text, "loss %s %s %lld x %lld, smoothing %g, way %d", usable_backend(i)->name,
                     tp_dtype_name(t), (long long)rows, (long long)n, smoothing, way);
            assert_int_equal(usable_backend(i)->k->cross_entropy(&r, t, got_loss,
                                                                 way == 0   ? NULL
                                                                 : way == 1 ? got
                                                                            : from,
                                                                 from, target, rows, n, smoothing, 0.125),
                             TP_OK);
            expect_same(text, wide, got_loss, loss, rows, t == TP_F64 ? 1e-13 : 4e-6);
            if (way > 0)
                expect_same(text, t, way == 1 ? got : from, dx, rows * n, t == TP_F64 ? 1e-15 : 1e-7);
            free(from);
        }
    }
    free(x);
    free(loss);
    free(dx);
    free(got_loss);
    free(got);
    free(target);
}

static void test_loss(void **state)
{
    static const tp_dtype ts[] = { TP_F32, TP_F64, TP_BF16, TP_F16 };
    static const int64_t  ns[] = { 1, 2, 7, 64, 511, 513, 1031 };

    (void)state;
    for (size_t t = 0; t < sizeof ts / sizeof ts[0]; t++) {
        check_loss(ts[t], 0, 5, 1, 0, false);
        for (size_t n = 0; n < sizeof ns / sizeof ns[0]; n++) {
            check_loss(ts[t], 11, ns[n], 8, 0, false);
            check_loss(ts[t], 11, ns[n], 90, 0.1, false);
            check_loss(ts[t], 4, ns[n], 3, 0, true);
        }
        check_loss(ts[t], 70, 1024, 12, 0, false);
    }
}

static void test_loss_target(void **state)
{
    float   x[6] = { 0 }, loss[2];
    int32_t target[2] = { 1, 3 };
    tpi_run r = { .threads = 1 };

    (void)state;
    for (int i = 0; usable_backend(i); i++)
        assert_int_equal(usable_backend(i)->k->cross_entropy(&r, TP_F32, loss, NULL, x, target, 2, 3, 0, 1), TP_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_blocks_nan),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_target),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
