/*
 * test_ops_linalg.c - what einsum says to bad equations, and factorisations to matrices that have none; products of
 * factors give the matrix back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ops/ops.h"

static void expect(tp_ctx *ctx, const void *result, tp_code code, const char *words)
{
    if (result != NULL || tp_error_code(ctx) != code || strstr(tp_error(ctx), words) == NULL)
        fail_msg("expected code %d and '%s', got %d and '%s'", (int)code, words, (int)tp_error_code(ctx),
                 tp_error(ctx));
    tp_error_clear(ctx);
}

typedef struct {
    const char *text, *words;
    tp_code     code;
    bool        two;
} bad_equation;

static const bad_equation bad_equations[] = {
    { "ij,jk->iz", "names an axis that no operand has at character 8", TP_EARG, true },
    { "ij,jk->ii", "names an axis twice at character 8", TP_EARG, true },
    { "ij,j1->i", "expected a letter", TP_EARG, true },
    { "ij,jk-i", "expected \"->\" at character 6", TP_EARG, true },
    { "ij,jk->i->k", "the equation goes on at character 9", TP_EARG, true },
    { "ij,jk,kl", "a third operand at character 7", TP_EARG, true },
    { "ij", "has 1 operands, given 2", TP_EARG, true },
    { "ij,jk", "has 2 operands, given 1", TP_EARG, false },
    { "ijk", "3 letters for an operand [2, 3] at character 1", TP_EARG, false },
    { "i", "1 letters for an operand [2, 3] at character 1", TP_EARG, false },
    { "...i...", "a second \"...\" of one operand at character 5", TP_EARG, false },
    { "..ij", "expected a letter", TP_EARG, false },
    { "ii", "axes 0 and 1 of one letter are 2 and 3 long", TP_ESHAPE, false },
    { "ij,ij->", "axes of one letter are 2 and 3 long", TP_ESHAPE, true },
    { "abcdefghijk", "more axes than a tensor can have", TP_EARG, false },
};

static void equations(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *a = tp_ones(ctx, TP_F32, TP_SHAPE(2, 3)), *b = tp_ones(ctx, TP_F32, TP_SHAPE(3, 4));

    (void)state;
    for (size_t i = 0; i < sizeof bad_equations / sizeof *bad_equations; i++) {
        const bad_equation *e = &bad_equations[i];

        expect(ctx, tp_einsum(ctx, e->text, a, e->two ? b : NULL), e->code, e->words);
    }
    expect(ctx, tp_einsum(ctx, NULL, a, b), TP_EARG, "einsum: there is no equation");
    expect(ctx, tp_einsum(ctx, "i,j", a, tp_ones(ctx, TP_F64, TP_SHAPE(3))), TP_EDTYPE, "einsum:");
    tp_ctx_free(ctx);
}

static tp_tensor *matrix(tp_ctx *ctx, double a, double b, double c, double d)
{
    return tp_from(ctx, TP_F64, TP_SHAPE(2, 2), (double[]){ a, b, c, d });
}

static void no_factors(tp_device device)
{
    tp_ctx    *ctx = tp_ctx_new(device, 0);
    tp_tensor *one = tp_eye(ctx, TP_F64, 2, 2), *b = tp_ones(ctx, TP_F64, TP_SHAPE(2)), *q, *r, *x;
    tp_tensor *odd[] = { matrix(ctx, 1, NAN, 0, 1), matrix(ctx, INFINITY, 0, 0, 1) };

    expect(ctx, tp_cholesky(ctx, tp_stack(ctx, TP_IN(one, matrix(ctx, 1, 2, 2, 1)), 0)), TP_ENUM,
           "cholesky: matrix 1 is not positive definite: its leading minor of order 2 is not");
    expect(ctx, tp_solve(ctx, matrix(ctx, 1, 2, 2, 4), b), TP_ENUM, "solve: matrix 0 is singular: pivot 2 is 0");
    expect(ctx, tp_inverse(ctx, matrix(ctx, 0, 0, 0, 0)), TP_ENUM, "inverse: matrix 0 is singular: pivot 1 is 0");
    for (int i = 0; i < 2; i++) {
        x = odd[i];
        expect(ctx, tp_cholesky(ctx, x), TP_ENUM, "cholesky: the matrix has a NaN or Inf");
        expect(ctx, tp_solve(ctx, x, b), TP_ENUM, "solve: the matrix has a NaN or Inf");
        expect(ctx, tp_qr(ctx, x, &q, &r) ? x : NULL, TP_ENUM, "qr: the matrix has a NaN or Inf");
        assert_true(q == NULL && r == NULL);
        expect(ctx, tp_svd(ctx, x, NULL, &r, NULL) ? x : NULL, TP_ENUM, "svd: the matrix has a NaN or Inf");
    }
    expect(ctx, tp_cholesky(ctx, tp_ones(ctx, TP_BF16, TP_SHAPE(2, 2))), TP_EDTYPE, "expected one of: f32 f64");
    expect(ctx, tp_cholesky(ctx, tp_ones(ctx, TP_F64, TP_SHAPE(2, 3))), TP_ESHAPE, "cholesky: expected [.., n, n]");
    expect(ctx, tp_solve(ctx, one, tp_ones(ctx, TP_F64, TP_SHAPE(3))), TP_ESHAPE, "solve: expected a [.., n, n] and b");
    expect(ctx, tp_qr(ctx, b, &q, NULL) ? x : NULL, TP_ESHAPE, "qr: expected [.., m, n], got [2]");
    expect(ctx, tp_diagonal(ctx, one, 1, -1, 0), TP_EARG, "diagonal: axis -1 is named twice");
    tp_ctx_free(ctx);
}

/* The largest element of |a - b|. */
static double apart(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return tp_item(ctx, tp_max(ctx, tp_abs(ctx, tp_sub(ctx, a, b)), TP_ALL_AXES, false));
}

/* Factors of random matrices, of one of rank 1 and of zeros: products, orthonormal columns, order. */
static void products(tp_device device)
{
    static const int64_t size[][2] = { { 40, 40 }, { 70, 20 }, { 20, 70 }, { 1, 9 } };
    tp_ctx              *ctx = tp_ctx_new(device, 0);

    for (int i = 0; i < 6; i++) {
        int64_t    m = size[i % 4][0], n = size[i % 4][1], k = m < n ? m : n;
        tp_tensor *x = i == 4   ? tp_ones(ctx, TP_F64, TP_SHAPE(m, n))
                       : i == 5 ? tp_zeros(ctx, TP_F64, TP_SHAPE(m, n))
                                : tp_randn(ctx, TP_F64, TP_SHAPE(m, n));
        tp_tensor *one = tp_eye(ctx, TP_F64, k, k), *q, *r, *u, *s, *vt, *us;

        assert_true(tp_qr(ctx, x, &q, &r));
        assert_true(tp_svd(ctx, x, &u, &s, &vt));
        us = tp_mul(ctx, u, s);
        assert_true(apart(ctx, tp_matmul(ctx, q, r), x) < 1e-12);
        assert_true(apart(ctx, tp_triu(ctx, r, 0), r) == 0);
        assert_true(apart(ctx, tp_einsum(ctx, "ia,ib->ab", q, q), one) < 1e-12);
        assert_true(apart(ctx, tp_matmul(ctx, us, vt), x) < 1e-12);
        assert_true(apart(ctx, tp_einsum(ctx, "ia,ib->ab", u, u), one) < 1e-12);
        for (int64_t j = 1; j < k; j++)
            assert_true(tp_at(ctx, s, TP_SHAPE(j)) <= tp_at(ctx, s, TP_SHAPE(j - 1)) && tp_at(ctx, s, TP_SHAPE(j)) >= 0);
    }
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void factorisations(void **state)
{
    (void)state;
    no_factors(TP_REF);
    no_factors(TP_CPU);
    products(TP_REF);
    products(TP_CPU);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(equations), cmocka_unit_test(factorisations) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
