/* test_cpu_blocks.c - DiaBlo's products of every instruction set against the oracle: dtypes, shapes with padding, NaN. */
#include "tests/ops/cpu/cpu_test.h"

typedef enum { Y, DA, DX } product;

typedef struct { tp_dtype t, at; } types;

static const types all_types[] = { { TP_F32, TP_F32 },   { TP_BF16, TP_F32 },  { TP_BF16, TP_BF16 }, { TP_F16, TP_F32 },
                                   { TP_F16, TP_F16 },   { TP_F64, TP_F64 },   { TP_F64, TP_F32 } };

/* in, out, blocks, bi, bo */
static const int64_t shapes[][5] = {
    { 576, 576, 64, 9, 9 },     { 576, 192, 64, 9, 3 },    { 576, 1536, 64, 9, 24 },   { 1536, 576, 64, 24, 9 },   { 256, 256, 4, 64, 64 },
    { 256, 688, 4, 64, 172 },   { 688, 256, 4, 172, 64 },  { 896, 128, 64, 14, 2 },    { 100, 64, 64, 2, 1 },      { 64, 100, 64, 1, 2 },
    { 100, 100, 50, 2, 2 },     { 10, 7, 4, 3, 2 },        { 7, 10, 4, 2, 3 },         { 5, 3, 5, 1, 1 },          { 768, 3072, 100, 8, 31 },
    { 37, 41, 1, 37, 41 },      { 300, 500, 1, 300, 500 }, { 290, 1, 1, 290, 1 },      { 1, 290, 1, 1, 290 },      { 500, 610, 2, 260, 310 },
    { 129, 131, 1, 129, 131 },  { 9, 500, 3, 9, 200 },     { 500, 9, 3, 200, 9 },      { 1, 1, 1, 1, 1 },          { 17, 33, 2, 9, 17 },
};

static tpi_blocks blocks_of(const int64_t *s, types t, int64_t rows)
{
    return (tpi_blocks){ .rows = rows, .in = s[0], .out = s[1], .blocks = s[2], .bi = s[3], .bo = s[4], .t = t.t, .at = t.at };
}

static void compute(const tpi_backend *k, product p, int threads, const tpi_blocks *b, void *out, const void *left, const void *right,
                    double beta)
{
    tpi_run r = { .threads = threads };

    if (p == Y)
        assert_int_equal(k->k->blocks(&r, b, out, left, right, beta != 0), TP_OK);
    else if (p == DX)
        assert_int_equal(k->k->blocks_dx(&r, b, out, left, right, beta != 0), TP_OK);
    else
        assert_int_equal(k->k->blocks_da(&r, b, out, left, right, beta), TP_OK);
}

/* Operands of a product: `left` has rows, `right` rows or blocks; n[0..3) elements of out, left, right. */
static tp_dtype operands(product p, const tpi_blocks *b, int64_t n[3])
{
    int64_t na = b->blocks * b->bi * b->bo, in = b->rows * b->in, out = b->rows * b->out;

    n[0] = p == Y ? out : p == DX ? in : na;
    n[1] = p == DX ? out : in;
    n[2] = p == DA ? out : na;
    return p != DA ? b->t : b->t == TP_F64 ? TP_F64 : TP_F32;
}

/* nan_row >= 0: that row of the left side is NaN. */
static void check(product p, const tpi_blocks *b, double beta, int64_t nan_row)
{
    int64_t  n[3], longest = p == Y ? b->bi : p == DX ? b->bo : b->rows;
    tp_dtype ot = operands(p, b, n);
    void    *left = array(b->t, n[1], 1), *right = array(p == DA ? b->t : b->at, n[2], 2), *out = array(ot, n[0], 3), *want, *got;
    char     text[200];

    for (int64_t i = 0; nan_row >= 0 && b->rows > 0 && i < n[1] / b->rows; i++)
        tpi_store(b->t, left, nan_row * (n[1] / b->rows) + i, NAN);
    for (int64_t i = 0; beta == 0 && i < n[0]; i++) /* is not to be read */
        tpi_store(ot, out, i, NAN);
    want = copy_of(ot, out, n[0]);
    compute(&tpi_backend_ref, p, 1, b, want, left, right, beta);
    for (int i = 0; usable_backend(i); i++) {
        for (int threads = 1; threads <= 3; threads += 2) {
            got = copy_of(ot, out, n[0]);
            compute(usable_backend(i), p, threads, b, got, left, right, beta);
            snprintf(text, sizeof text, "product %d %s %s, %lld rows, %lld to %lld by %lld of %lldx%lld, beta %g, %d threads", p,
                     usable_backend(i)->name, tp_dtype_name(b->at), (long long)b->rows, (long long)b->in, (long long)b->out,
                     (long long)b->blocks, (long long)b->bi, (long long)b->bo, beta, threads);
            expect_same(text, ot, got, want, n[0], (b->t == TP_F64 ? 4e-16 : 4e-7) * (8 + 4 * sqrt((double)longest)));
            free(got);
        }
    }
    free(left);
    free(right);
    free(out);
    free(want);
}

static void test_shapes(void **state)
{
    static const int64_t rows[] = { 0, 1, 5, 16, 67, 130 };

    (void)state;
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            tpi_blocks b = blocks_of(shapes[s], all_types[t], rows[(s + t) % 6]);

            for (product p = Y; p <= DX; p++) {
                check(p, &b, 0, -1);
                check(p, &b, p == DA ? 0.75 : 1, -1);
            }
        }
}

/* Every number of rows around the width of a vector and a tile */
static void test_rows(void **state)
{
    (void)state;
    for (int64_t rows = 0; rows < 70; rows++)
        for (size_t s = 9; s < 13; s++) {
            tpi_blocks b = blocks_of(shapes[s], all_types[rows % 7], rows);

            for (product p = Y; p <= DX; p++)
                check(p, &b, (double)(rows & 1), -1);
        }
}

static void test_nan_stays_in_its_row(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        tpi_blocks b = blocks_of(shapes[s], all_types[s % 7], 19);

        check(Y, &b, 1, 13);
        check(DX, &b, 0, 0);
    }
}

/* The same bits twice; dA, whose blocks are never shared, and rows for any number of threads. */
static void test_same_bits(void **state)
{
    (void)state;
    for (size_t s = 0; s < 8; s++)
        for (product p = Y; p <= DX; p++) {
            tpi_blocks b = blocks_of(shapes[s], (types){ TP_F32, TP_F32 }, 200);
            int64_t    n[3];
            tp_dtype   t = operands(p, &b, n);
            void      *left = array(t, n[1], 1), *right = array(t, n[2], 2), *one = array(t, n[0], 3), *other = copy_of(t, one, n[0]);

            for (int i = 0; usable_backend(i); i++) {
                compute(usable_backend(i), p, 2, &b, one, left, right, 0);
                compute(usable_backend(i), p, 2, &b, other, left, right, 0);
                assert_memory_equal(one, other, (size_t)n[0] * sizeof(float));
            }
            free(left);
            free(right);
            free(one);
            free(other);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_nan_stays_in_its_row),
        cmocka_unit_test(test_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
