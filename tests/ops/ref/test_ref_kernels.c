/*
 * test_ref_kernels.c - the oracle's kernels against numbers worked out by hand: elements, reductions, random numbers,
 * sorting.
 */
#include "core/philox.h"
#include "tests/ops/ref/ref_test.h"

/* Every pointer of the table and every mask is there. */
static void every_slot_is_filled(void **state)
{
    const tpi_can *can = tpi_backend_ref.can;
    uint16_t       mask[sizeof *can / sizeof(uint16_t)];
    uintptr_t      slot[sizeof(tpi_kernels) / sizeof(uintptr_t)];

    (void)state;
    memcpy(slot, kernels(), sizeof slot);
    memcpy(mask, can, sizeof mask);
    for (size_t i = 0; i < sizeof slot / sizeof *slot; i++)
        assert_true(slot[i] != 0);
    for (size_t i = 0; i < sizeof mask / sizeof *mask; i++)
        assert_true((mask[i] & TPI_CAN_FLOAT) == TPI_CAN_FLOAT);
    assert_string_equal(tpi_backend_ref.name, "ref");
    assert_true(tpi_backend_ref.usable());
}

static void copy_converts(void **state)
{
    float    x[6] = { 1.5f, -2.7f, NAN, 3e10f, -3e10f, 300 };
    int64_t  big[3] = { INT64_MAX, INT64_MIN, 16777217 };
    int32_t  i32[6];
    int64_t  i64[3];
    uint16_t h[6];
    uint8_t  u8[6];
    float    f[6];
    tpi_nd   six = line(6), three = line(3);
    tpi_nd   turn = { .ndim = 2, .dim = { 3, 2 }, .stride = { { 2, 1 }, { 1, 3 } } };

    (void)state;
    kernels()->copy(&run, &six, TP_I32, i32, TP_F32, x);
    EXPECT(TP_I32, i32, 0, 1, -2, 0, 2147483647, -2147483648.0, 300);
    kernels()->copy(&run, &six, TP_U8, u8, TP_F32, x);
    EXPECT(TP_U8, u8, 0, 1, 0, 0, 255, 0, 255);
    kernels()->copy(&run, &six, TP_BOOL, u8, TP_F32, x);
    EXPECT(TP_U8, u8, 0, 1, 1, 1, 1, 1, 1);
    kernels()->copy(&run, &six, TP_BF16, h, TP_F32, (float[]){ 1.00390625f, 1.01171875f, NAN, INFINITY, -0.5f, 3 });
    EXPECT(TP_BF16, h, 0, 1, 1.015625, NAN, INFINITY, -0.5, 3); /* halfway cases go to even */
    kernels()->copy(&run, &six, TP_F16, h, TP_F32, (float[]){ 65519, 65520, 5.9604645e-8f, 1e-9f, 1.0009765625f, -2 });
    EXPECT(TP_F16, h, 0, 65504, INFINITY, 5.9604644775390625e-8, 0, 1.0009765625, -2);
    kernels()->copy(&run, &three, TP_I32, i32, TP_I64, big);
    EXPECT(TP_I32, i32, 0, 2147483647, -2147483648.0, 16777217);
    kernels()->copy(&run, &three, TP_I64, i64, TP_I64, big);
    assert_memory_equal(i64, big, sizeof big);
    kernels()->copy(&run, &three, TP_F32, f, TP_I64, big);
    EXPECT(TP_F32, f, 0, 0x1p63, -0x1p63, 16777216);
    kernels()->copy(&run, &turn, TP_F32, f, TP_F32, (float[]){ 1, 2, 3, 4, 5, 6 });
    EXPECT(TP_F32, f, 0, 1, 4, 2, 5, 3, 6);
}

static void fill_takes_the_value_of_its_kind(void **state)
{
    float   f[2];
    int64_t i[2];
    uint8_t b[2];

    (void)state;
    kernels()->fill(&run, TP_F32, f, 2, 0.5, 7);
    EXPECT(TP_F32, f, 0, 0.5, 0.5);
    kernels()->fill(&run, TP_I64, i, 2, 0.5, INT64_MIN + 1);
    assert_true(i[0] == INT64_MIN + 1 && i[1] == i[0]);
    kernels()->fill(&run, TP_BOOL, b, 2, 0, 2);
    EXPECT(TP_BOOL, b, 0, 1, 1);
}

/* f(x; p, q) = y, to 16 digits. */
static const struct { tpi_unary op; double p, q, x, y; } values[] = {
    { TPI_NEG, 0, 0, 2, -2 }, { TPI_ABS, 0, 0, -2, 2 }, { TPI_SIGN, 0, 0, -3, -1 }, { TPI_SIGN, 0, 0, 0, 0 },
    { TPI_FLOOR, 0, 0, -1.5, -2 }, { TPI_ROUND, 0, 0, 2.5, 2 }, { TPI_ROUND, 0, 0, 3.5, 4 },
    { TPI_EXP, 0, 0, 1, 2.718281828459045 }, { TPI_EXPM1, 0, 0, 1e-10, 1.00000000005e-10 },
    { TPI_LOG, 0, 0, 2, 0.6931471805599453 }, { TPI_LOG, 0, 0, 0, -INFINITY },
    { TPI_LOG1P, 0, 0, 1, 0.6931471805599453 }, { TPI_SQRT, 0, 0, 2, 1.4142135623730951 },
    { TPI_RSQRT, 0, 0, 4, 0.5 }, { TPI_SIN, 0, 0, 1, 0.8414709848078965 },
    { TPI_COS, 0, 0, 1, 0.5403023058681398 }, { TPI_TANH, 0, 0, 1, 0.7615941559557649 },
    { TPI_SIGMOID, 0, 0, 1, 0.7310585786300049 }, { TPI_SIGMOID, 0, 0, -1000, 0 },
    { TPI_ERF, 0, 0, 1, 0.8427007929497149 }, { TPI_RELU, 0, 0, -1, 0 }, { TPI_RELU, 0, 0, 2, 2 },
    { TPI_LEAKY_RELU, 0.1, 0, -2, -0.2 }, { TPI_ELU, 2, 0, -1, -1.2642411176571153 },
    { TPI_GELU, 0, 0, 1, 0.8413447460685429 }, { TPI_GELU, 0, 0, -10, -7.61985302416047e-23 },
    { TPI_GELU_TANH, 0, 0, 1, 0.8411919906082768 }, { TPI_SILU, 0, 0, 1, 0.7310585786300049 },
    { TPI_SOFTPLUS, 0, 0, 1, 1.3132616875182228 }, { TPI_SOFTPLUS, 0, 0, 1000, 1000 },
    { TPI_MISH, 0, 0, 1, 0.8650983882673103 }, { TPI_HARDSWISH, 0, 0, 1, 2.0 / 3 },
    { TPI_HARDSWISH, 0, 0, -4, 0 }, { TPI_HARDSWISH, 0, 0, 5, 5 }, { TPI_RECIP, 0, 0, 4, 0.25 },
    { TPI_SQUARE, 0, 0, -3, 9 }, { TPI_SCALE, 2.5, 0, 2, 5 }, { TPI_SHIFT, 2.5, 0, 2, 4.5 },
    { TPI_POWS, 3, 0, 2, 8 }, { TPI_CLAMP, -1, 1, 3, 1 }, { TPI_CLAMP, -1, 1, -3, -1 },
    { TPI_CLAMP, -1, 1, 0.25, 0.25 },
};

static void unary_follows_its_formula(void **state)
{
    tpi_nd one = line(1);
    double y, x = NAN;
    bool   seen[TPI_UNARIES] = { [TPI_NOT] = true };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        kernels()->unary(&run, values[i].op, values[i].p, values[i].q, &one, TP_F64, &y, &values[i].x);
        expect((int)i, TP_F64, &y, 1, &values[i].y, 4e-16);
        kernels()->unary(&run, values[i].op, values[i].p, values[i].q, &one, TP_F64, &y, &x);
        assert_true(y != y); /* NaN stays */
        seen[values[i].op] = true;
    }
    for (int op = 0; op < TPI_UNARIES; op++)
        assert_true(seen[op]);
}

static void unary_of_integers_and_bools(void **state)
{
    tpi_nd  three = line(3);
    int64_t x[3] = { -3, 0, ((int64_t)1 << 62) + 1 }, y[3];
    uint8_t u[3] = { 0, 1, 200 }, v[3];

    (void)state;
    kernels()->unary(&run, TPI_SHIFT, 1, 0, &three, TP_I64, y, x);
    assert_true(y[2] == x[2] + 1); /* no double in between */
    kernels()->unary(&run, TPI_CLAMP, -1, INFINITY, &three, TP_I64, y, x);
    assert_true(y[0] == -1 && y[1] == 0 && y[2] == x[2]);
    kernels()->unary(&run, TPI_ABS, 0, 0, &three, TP_I64, y, x);
    assert_true(y[0] == 3 && y[2] == x[2]);
    kernels()->unary(&run, TPI_SIGN, 0, 0, &three, TP_I64, y, x);
    EXPECT(TP_I64, y, 0, -1, 0, 1);
    kernels()->unary(&run, TPI_RELU, 0, 0, &three, TP_I64, y, x);
    assert_true(y[0] == 0 && y[2] == x[2]);
    kernels()->unary(&run, TPI_NEG, 0, 0, &three, TP_U8, v, u);
    EXPECT(TP_U8, v, 0, 0, 255, 56);
    kernels()->unary(&run, TPI_SQUARE, 0, 0, &three, TP_U8, v, u);
    EXPECT(TP_U8, v, 0, 0, 1, 40000 % 256);
    kernels()->unary(&run, TPI_SCALE, 2, 0, &three, TP_U8, v, u);
    EXPECT(TP_U8, v, 0, 0, 2, 144);
    kernels()->unary(&run, TPI_NOT, 0, 0, &(tpi_nd){ .ndim = 1, .dim = { 2 }, .stride = { { 1 }, { 1 } } }, TP_BOOL, v, u);
    EXPECT(TP_BOOL, v, 0, 1, 0);
    assert_int_equal(kernels()->unary(&run, TPI_EXP, 0, 0, &three, TP_I64, y, x), TP_EDTYPE);
}

static void binary_of_floats_broadcasts(void **state)
{
    tpi_nd outer = { .ndim = 2, .dim = { 2, 3 }, .stride = { { 3, 1 }, { 1, 0 }, { 0, 1 } } };
    tpi_nd two = line(2), none = line(0);
    double y[6], a[2] = { 6, -1 }, b[3] = { 2, 4, -3 }, nan_left[2] = { NAN, 1 }, nan_right[2] = { 1, NAN };

    (void)state;
    kernels()->binary(&run, TPI_ADD, &outer, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 0, 8, 10, 3, 1, 3, -4);
    kernels()->binary(&run, TPI_SUB, &outer, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 0, 4, 2, 9, -3, -5, 2);
    kernels()->binary(&run, TPI_MUL, &outer, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 0, 12, 24, -18, -2, -4, 3);
    kernels()->binary(&run, TPI_DIV, &outer, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 1e-15, 3, 1.5, -2, -0.5, -0.25, 1.0 / 3);
    kernels()->binary(&run, TPI_POW, &outer, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 1e-15, 36, 1296, 1.0 / 216, 1, 1, -1);
    kernels()->binary(&run, TPI_MAXIMUM, &two, TP_F64, y, nan_left, nan_right);
    EXPECT(TP_F64, y, 0, NAN, NAN);
    kernels()->binary(&run, TPI_MINIMUM, &two, TP_F64, y, a, b);
    EXPECT(TP_F64, y, 0, 2, -1);
    assert_int_equal(kernels()->binary(&run, TPI_ADD, &none, TP_F64, NULL, NULL, NULL), TP_OK);
}

static void binary_of_integers_wraps(void **state)
{
    tpi_nd  four = line(4);
    int64_t a[4] = { INT64_MIN, 7, -7, 5 }, b[4] = { -1, -2, 2, 0 }, y[4];
    uint8_t u[4] = { 200, 3, 0, 2 }, v[4] = { 100, 5, 1, 9 }, w[4];

    (void)state;
    kernels()->binary(&run, TPI_DIV, &four, TP_I64, y, a, b);
    assert_true(y[0] == INT64_MIN && y[1] == -3 && y[2] == -3 && y[3] == 0);
    kernels()->binary(&run, TPI_POW, &four, TP_I64, y, a, b);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 49 && y[3] == 1);
    kernels()->binary(&run, TPI_ADD, &four, TP_I64, y, a, b);
    assert_true(y[0] == INT64_MAX && y[3] == 5);
    kernels()->binary(&run, TPI_ADD, &four, TP_U8, w, u, v);
    EXPECT(TP_U8, w, 0, 44, 8, 1, 11);
    kernels()->binary(&run, TPI_SUB, &four, TP_U8, w, u, v);
    EXPECT(TP_U8, w, 0, 100, 254, 255, 249);
    kernels()->binary(&run, TPI_MAXIMUM, &four, TP_U8, w, u, v);
    EXPECT(TP_U8, w, 0, 200, 5, 1, 9);
}

static void compare_and_where(void **state)
{
    tpi_nd   three = line(3);
    float    a[3] = { 1, 2, NAN }, b[3] = { 2, 2, NAN };
    int64_t  i[3] = { INT64_MAX, 1, 2 }, j[3] = { INT64_MAX - 1, 1, 3 };
    uint8_t  y[3], p[3] = { 0, 1, 1 }, q[3] = { 1, 1, 0 };
    uint16_t h[3];

    (void)state;
    kernels()->compare(&run, TPI_EQ, &three, TP_F32, y, a, b);
    EXPECT(TP_BOOL, y, 0, 0, 1, 0);
    kernels()->compare(&run, TPI_NE, &three, TP_F32, y, a, b);
    EXPECT(TP_BOOL, y, 0, 1, 0, 1);
    kernels()->compare(&run, TPI_LT, &three, TP_F32, y, a, b);
    EXPECT(TP_BOOL, y, 0, 1, 0, 0);
    kernels()->compare(&run, TPI_LE, &three, TP_F32, y, a, b);
    EXPECT(TP_BOOL, y, 0, 1, 1, 0);
    kernels()->compare(&run, TPI_GT, &three, TP_I64, y, i, j);
    EXPECT(TP_BOOL, y, 0, 1, 0, 0);
    kernels()->compare(&run, TPI_GE, &three, TP_I64, y, i, j);
    EXPECT(TP_BOOL, y, 0, 1, 1, 0);
    kernels()->compare(&run, TPI_AND, &three, TP_BOOL, y, p, q);
    EXPECT(TP_BOOL, y, 0, 0, 1, 0);
    kernels()->compare(&run, TPI_OR, &three, TP_BOOL, y, p, q);
    EXPECT(TP_BOOL, y, 0, 1, 1, 1);
    kernels()->where(&run, &three, TP_F32, a, p, (float[]){ 1, 2, 3 }, (float[]){ 4, 5, 6 });
    EXPECT(TP_F32, a, 0, 4, 2, 3);
    kernels()->where(&run, &three, TP_BF16, h, q, (uint16_t[]){ 1, 2, 3 }, (uint16_t[]){ 4, 5, 6 });
    assert_true(h[0] == 1 && h[1] == 2 && h[2] == 6);
}

/* Reduces the columns (axis 0) of a [2, 3] matrix. */
static void columns(tpi_reduce op, tp_dtype yt, void *y, tp_dtype t, const void *x)
{
    tpi_nd outer = { .ndim = 1, .dim = { 3 }, .stride = { { 1 }, { 1 } } };
    tpi_nd inner = { .ndim = 1, .dim = { 2 }, .stride = { { 0 }, { 3 } } };

    assert_int_equal(kernels()->reduce(&run, op, &outer, &inner, yt, y, t, x), TP_OK);
}

static void reduce_columns(void **state)
{
    float   x[6] = { 1, 5, NAN, 3, 5, 2 }, y[3];
    int32_t i[6] = { INT32_MAX, 1, -2, 1, 4, 3 };
    uint8_t b[6] = { 0, 1, 1, 0, 0, 1 }, c[3];
    int64_t at[3];

    (void)state;
    columns(TPI_SUM, TP_F32, y, TP_F32, x);
    EXPECT(TP_F32, y, 0, 4, 10, NAN);
    columns(TPI_SUMSQ, TP_F32, y, TP_F32, x);
    EXPECT(TP_F32, y, 0, 10, 50, NAN);
    columns(TPI_PROD, TP_F32, y, TP_F32, x);
    EXPECT(TP_F32, y, 0, 3, 25, NAN);
    columns(TPI_MAX, TP_F32, y, TP_F32, x);
    EXPECT(TP_F32, y, 0, 3, 5, NAN);
    columns(TPI_MIN, TP_F32, y, TP_F32, x);
    EXPECT(TP_F32, y, 0, 1, 5, NAN);
    columns(TPI_ARGMAX, TP_I64, at, TP_F32, x);
    EXPECT(TP_I64, at, 0, 1, 0, 0);
    columns(TPI_ARGMIN, TP_I64, at, TP_F32, x);
    EXPECT(TP_I64, at, 0, 0, 0, 0);
    columns(TPI_SUM, TP_I64, at, TP_I32, i);
    EXPECT(TP_I64, at, 0, 2147483648.0, 5, 1);
    columns(TPI_PROD, TP_I64, at, TP_I32, i);
    EXPECT(TP_I64, at, 0, 2147483647, 4, -6);
    columns(TPI_ARGMAX, TP_I64, at, TP_I32, i);
    EXPECT(TP_I64, at, 0, 0, 1, 1);
    columns(TPI_ANY, TP_BOOL, c, TP_BOOL, b);
    EXPECT(TP_BOOL, c, 0, 0, 1, 1);
    columns(TPI_ALL, TP_BOOL, c, TP_BOOL, b);
    EXPECT(TP_BOOL, c, 0, 0, 0, 1);
}

static void reduce_nothing(void **state)
{
    tpi_nd outer = { .ndim = 0 }, inner = line(0);
    float  y;

    (void)state;
    kernels()->reduce(&run, TPI_SUM, &outer, &inner, TP_F32, &y, TP_F32, NULL);
    assert_true(y == 0);
    kernels()->reduce(&run, TPI_PROD, &outer, &inner, TP_F32, &y, TP_F32, NULL);
    assert_true(y == 1);
}

static void cumsum_both_ways(void **state)
{
    float   x[6] = { 1, 2, 3, 4, 5, 6 }, y[6]; /* [1, 3, 2] */
    int32_t i[3] = { 1, 2, 3 }, j[3];

    (void)state;
    kernels()->cumsum(&run, TP_F32, y, x, 1, 3, 2, false);
    EXPECT(TP_F32, y, 0, 1, 2, 4, 6, 9, 12);
    kernels()->cumsum(&run, TP_F32, y, x, 1, 3, 2, true);
    EXPECT(TP_F32, y, 0, 9, 12, 8, 10, 5, 6);
    kernels()->cumsum(&run, TP_I32, j, i, 1, 3, 1, false);
    EXPECT(TP_I32, j, 0, 1, 3, 6);
}

/* Known answers of Philox-4x32-10, published with it. */
static void random_numbers_are_philox(void **state)
{
    tpi_key  ones = { { 0xffffffffu, 0xffffffffu }, { 0xffffffffu, 0xffffffffu } }, zero = { { 0, 0 }, { 0, 0 } };
    uint32_t w[4];
    double   u[6], z[4];

    (void)state;
    tpi_philox(zero, 0, w);
    assert_true(w[0] == 0x6627e8d5u && w[1] == 0xe169c58du && w[2] == 0xbc57ac4cu && w[3] == 0x9b00dbd8u);
    kernels()->random(&run, TPI_UNIFORM, TP_F64, u, 6, 0, 1, zero);
    EXPECT(TP_F64, u, 0, 0x6627e8 / 0x1p24, 0xe169c5 / 0x1p24, 0xbc57ac / 0x1p24, 0x9b00db / 0x1p24);
    kernels()->random(&run, TPI_NORMAL, TP_F64, z, 4, 5, 2, zero);
    EXPECT(TP_F64, z, 1e-12, 5 + 2 * sqrt(-2 * log((0x6627e8d5u + 1.0) / 0x1p32)) * cos(6.283185307179586 * 0xe169c58du / 0x1p32),
           5 + 2 * sqrt(-2 * log((0x6627e8d5u + 1.0) / 0x1p32)) * sin(6.283185307179586 * 0xe169c58du / 0x1p32));
    kernels()->random(&run, TPI_BERNOULLI, TP_F64, z, 4, 0.65, 0, zero);
    EXPECT(TP_F64, z, 0, 1, 0, 0, 1);
    tpi_philox(ones, UINT64_MAX, w);
    assert_true(w[0] == 0x408f276du && w[1] == 0x41c83b0eu && w[2] == 0xa20bc7c6u && w[3] == 0x6d5451fdu);
}

static void uniform_stays_below_its_end(void **state)
{
    enum { N = 4096 };
    tpi_key  key = { { 1, 2 }, { 3, 4 } };
    uint16_t h[N];
    double   least = 1, most = 0;

    (void)state;
    kernels()->random(&run, TPI_UNIFORM, TP_BF16, h, N, 0, 1, key);
    for (int i = 0; i < N; i++) {
        least = fmin(least, tpi_from_bf16(h[i]));
        most = fmax(most, tpi_from_bf16(h[i]));
    }
    assert_true(least >= 0 && least < 0.01 && most == 0.99609375);
}

static void dropout_scales_what_it_keeps(void **state)
{
    float   x[4] = { 1, 2, 3, NAN }, y[4];
    tpi_key zero = { { 0, 0 }, { 0, 0 } }; /* u = 0.399 0.881 0.736 0.606 */

    (void)state;
    kernels()->dropout(&run, TP_F32, y, x, 4, 0.5, zero);
    EXPECT(TP_F32, y, 0, 0, 4, 6, NAN);
    kernels()->dropout(&run, TP_F32, x, x, 4, 0.75, zero);
    EXPECT(TP_F32, x, 0, 0, 8, 0, 0);
}

static void sums_of_squares_and_nonfinite(void **state)
{
    float       a[2] = { 3, 4 }, b[1] = { 12 };
    const void *x[2] = { a, b };
    uint16_t    h[2] = { 0x3f80, 0xff80 }; /* 1, -inf in bf16 */
    double      sum;
    bool        found;

    (void)state;
    kernels()->sumsq(&run, TP_F32, x, (int64_t[]){ 2, 1 }, 2, &sum);
    assert_true(sum == 169);
    kernels()->nonfinite(&run, TP_F32, a, 2, &found);
    assert_false(found);
    kernels()->nonfinite(&run, TP_BF16, h, 2, &found);
    assert_true(found);
    kernels()->nonfinite(&run, TP_BF16, h, 1, &found);
    assert_false(found);
}

static void sort_is_stable(void **state)
{
    float   x[5] = { 2, NAN, 1, 2, -INFINITY }, y[5];
    int64_t at[5], i[4] = { INT64_MAX, INT64_MAX - 1, 0, 0 }, j[4];

    (void)state;
    kernels()->sort(&run, TP_F32, y, at, x, 1, 5, false);
    EXPECT(TP_F32, y, 0, -INFINITY, 1, 2, 2, NAN);
    EXPECT(TP_I64, at, 0, 4, 2, 0, 3, 1);
    kernels()->sort(&run, TP_F32, y, at, x, 1, 5, true);
    EXPECT(TP_F32, y, 0, NAN, 2, 2, 1, -INFINITY);
    EXPECT(TP_I64, at, 0, 1, 0, 3, 2, 4);
    kernels()->sort(&run, TP_I64, j, NULL, i, 2, 2, false);
    assert_true(j[0] == INT64_MAX - 1 && j[1] == INT64_MAX);
    kernels()->sort(&run, TP_I64, NULL, j, i, 2, 2, false);
    EXPECT(TP_I64, j, 0, 1, 0, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_is_filled),
        cmocka_unit_test(copy_converts),
        cmocka_unit_test(fill_takes_the_value_of_its_kind),
        cmocka_unit_test(unary_follows_its_formula),
        cmocka_unit_test(unary_of_integers_and_bools),
        cmocka_unit_test(binary_of_floats_broadcasts),
        cmocka_unit_test(binary_of_integers_wraps),
        cmocka_unit_test(compare_and_where),
        cmocka_unit_test(reduce_columns),
        cmocka_unit_test(reduce_nothing),
        cmocka_unit_test(cumsum_both_ways),
        cmocka_unit_test(random_numbers_are_philox),
        cmocka_unit_test(uniform_stays_below_its_end),
        cmocka_unit_test(dropout_scales_what_it_keeps),
        cmocka_unit_test(sums_of_squares_and_nonfinite),
        cmocka_unit_test(sort_is_stable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
