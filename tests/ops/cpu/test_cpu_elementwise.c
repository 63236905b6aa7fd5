/*
 * test_cpu_elementwise.c - the CPU's elementwise kernels against the oracle: every op, dtype and instruction set, on lines of all
 * sizes, broadcasts, transposes and sizes that threads share.
 */
#include "kernel_test.h"

/* Operand 0 got, 1 want, 2.. inputs */
static void check_unary(const tpi_kernels *k, const tpi_run *r, tpi_unary op, tp_dtype t, const tpi_nd *nd)
{
    double  scale = op == TPI_LOG || op == TPI_SQRT ? 50 : 8, p = op == TPI_POWS ? 2.5 : -1.25, q = 3;
    int64_t n = extent(nd, 0);
    char    what[40];
    tp_code got, want;

    fill(2, t, extent(nd, 1), scale);
    if (!tpi_ref_is_int(t))
        add_specials(pool[2], t, extent(nd, 1));
    twin(0, 1, t, n);
    got = k->unary(r, op, p, q, nd, t, pool[0], pool[2]);
    want = ref()->unary(&one_thread, op, p, q, nd, t, pool[1], pool[2]);
    if (n > 0)
        assert_int_equal(got, want);
    snprintf(what, sizeof what, "unary %d", op);
    /* the oracle's tanh form of GELU loses its tail */
    expect_near(what, t, pool[0], pool[1], n + GUARD, tolerance(t),
                t == TP_F16 ? 1e-4 : t == TP_F64 && op == TPI_GELU_TANH ? 1 : 1e-8);
}

static void unaries(const tpi_kernels *k, const tpi_run *r)
{
    tpi_nd nd[WALKS];
    int    count = walks(nd);

    for (int op = 0; op < TPI_UNARIES; op++) {
        for (int w = 0; w < count; w++) {
            for (int t = 0; t < COUNT(float_types); t++)
                check_unary(k, r, (tpi_unary)op, float_types[t], &nd[w]);
            for (int t = 0; t < COUNT(int_types); t++)
                check_unary(k, r, (tpi_unary)op, int_types[t], &nd[w]);
            check_unary(k, r, (tpi_unary)op, TP_BOOL, &nd[w]);
        }
    }
}

static void test_unary(void **state)
{
    (void)state;
    each_backend(unaries);
}

/* y may be x */
static void in_place(const tpi_kernels *k, const tpi_run *r)
{
    tpi_nd nd = line(1000);

    for (int t = 0; t < COUNT(float_types); t++) {
        tp_dtype type = float_types[t];

        memcpy(pool[0], fill(2, type, 1000, 4), 1000 * sizeof(double));
        k->unary(r, TPI_TANH, 0, 0, &nd, type, pool[0], pool[0]);
        ref()->unary(&one_thread, TPI_TANH, 0, 0, &nd, type, pool[1], pool[2]);
        expect_near("tanh in place", type, pool[0], pool[1], 1000, tolerance(type), 1e-8);
        memcpy(pool[0], pool[2], 1000 * sizeof(double));
        k->binary(r, TPI_SUB, &nd, type, pool[0], fill(3, type, 1000, 4), pool[0]);
        ref()->binary(&one_thread, TPI_SUB, &nd, type, pool[1], pool[3], pool[2]);
        expect_near("a - b in place", type, pool[0], pool[1], 1000, tolerance(type), 1e-8);
    }
}

static void test_in_place(void **state)
{
    (void)state;
    each_backend(in_place);
}

static void unary_grads(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t lengths[] = { 0, 1, 33, 1000, 70001 };
    char          what[40];

    for (int op = 0; op < TPI_NOT; op++) {
        for (int i = 0; i < COUNT(lengths) * COUNT(float_types); i++) {
            int64_t  n = lengths[i / COUNT(float_types)];
            tp_dtype t = float_types[i % COUNT(float_types)];

            fill(2, t, n, 2);
            add_specials(fill(3, t, n, 6), t, n);
            twin(0, 1, t, n);
            k->unary_grad(r, (tpi_unary)op, -1.25, 3, t, pool[0], pool[2], pool[3], n);
            ref()->unary_grad(&one_thread, (tpi_unary)op, -1.25, 3, t, pool[1], pool[2], pool[3], n);
            snprintf(what, sizeof what, "gradient of unary %d", op);
            expect_near(what, t, pool[0], pool[1], n + GUARD, 4 * tolerance(t), t == TP_F16 ? 1e-3 : t == TP_F64 ? 1e-2 : 1);
        }
    }
}

static void test_unary_grad(void **state)
{
    (void)state;
    each_backend(unary_grads);
}

static void check_binary(const tpi_kernels *k, const tpi_run *r, tpi_binary op, tp_dtype t, const tpi_nd *nd)
{
    int64_t n = extent(nd, 0);
    char    what[40];

    fill(2, t, extent(nd, 1), 5);
    fill(3, t, extent(nd, 2), 5);
    if (!tpi_ref_is_int(t)) {
        add_specials(pool[2], t, extent(nd, 1));
        tpi_store(t, pool[3], extent(nd, 2) / 2, NAN);
        tpi_store(t, pool[3], extent(nd, 2) / 3, 0);
    }
    twin(0, 1, t, n);
    assert_int_equal(k->binary(r, op, nd, t, pool[0], pool[2], pool[3]), TP_OK);
    ref()->binary(&one_thread, op, nd, t, pool[1], pool[2], pool[3]);
    snprintf(what, sizeof what, "binary %d", op);
    expect_near(what, t, pool[0], pool[1], n + GUARD, tolerance(t), t == TP_F16 ? 1e-4 : 1e-30);
}

static void check_compare(const tpi_kernels *k, const tpi_run *r, tpi_compare op, tp_dtype t, const tpi_nd *nd)
{
    int64_t n = extent(nd, 0);

    fill(2, t, extent(nd, 1), 2);
    fill(3, t, extent(nd, 2), 2);
    memcpy(pool[3], pool[2], (size_t)(extent(nd, 2) < extent(nd, 1) ? extent(nd, 2) : extent(nd, 1)) / 2 * tp_dtype_size(t));
    if (!tpi_ref_is_int(t))
        add_specials(pool[2], t, extent(nd, 1));
    twin(0, 1, TP_BOOL, n);
    assert_int_equal(k->compare(r, op, nd, t, pool[0], pool[2], pool[3]),
                     ref()->compare(&one_thread, op, nd, t, pool[1], pool[2], pool[3]));
    expect_same("compare", TP_BOOL, pool[0], pool[1], n + GUARD);
}

static void check_where(const tpi_kernels *k, const tpi_run *r, tp_dtype t, const tpi_nd *nd)
{
    int64_t n = extent(nd, 0);

    fill(2, TP_BOOL, extent(nd, 1), 1);
    fill(3, t, extent(nd, 2), 5);
    fill(4, t, extent(nd, 3), 5);
    twin(0, 1, t, n);
    assert_int_equal(k->where(r, nd, t, pool[0], pool[2], pool[3], pool[4]), TP_OK);
    ref()->where(&one_thread, nd, t, pool[1], pool[2], pool[3], pool[4]);
    expect_same("where", t, pool[0], pool[1], n + GUARD);
}

static void binaries(const tpi_kernels *k, const tpi_run *r)
{
    tpi_nd nd[WALKS];
    int    count = walks(nd);

    for (int w = 0; w < count; w++) {
        for (int t = 0; t < TP_DTYPES; t++) {
            for (int op = 0; t != TP_BOOL && op < TPI_BINARIES; op++)
                check_binary(k, r, (tpi_binary)op, (tp_dtype)t, &nd[w]);
            for (int op = 0; op < TPI_COMPARES; op++)
                check_compare(k, r, (tpi_compare)op, (tp_dtype)t, &nd[w]);
            check_where(k, r, (tp_dtype)t, &nd[w]);
        }
    }
}

static void test_binary(void **state)
{
    (void)state;
    each_backend(binaries);
}

static void copies(const tpi_kernels *k, const tpi_run *r)
{
    tpi_nd nd[WALKS];
    int    count = walks(nd);

    for (int w = 0; w < count; w++) {
        for (int pair = 0; pair < TP_DTYPES * TP_DTYPES; pair++) {
            tp_dtype yt = (tp_dtype)(pair / TP_DTYPES), xt = (tp_dtype)(pair % TP_DTYPES);

            fill(2, xt, extent(&nd[w], 1), 300);
            if (!tpi_ref_is_int(xt))
                add_specials(pool[2], xt, extent(&nd[w], 1));
            twin(0, 1, yt, extent(&nd[w], 0));
            assert_int_equal(k->copy(r, &nd[w], yt, pool[0], xt, pool[2]), TP_OK);
            ref()->copy(&one_thread, &nd[w], yt, pool[1], xt, pool[2]);
            expect_near("copy", yt, pool[0], pool[1], extent(&nd[w], 0) + GUARD, 0, 0);
        }
    }
}

static void test_copy(void **state)
{
    (void)state;
    each_backend(copies);
}

/* Every f16 and every bf16 to f32 and back: the same bits, NaN apart. */
static void halves(const tpi_kernels *k, const tpi_run *r)
{
    tpi_nd nd = line(65536);

    for (int t = 0; t < 2; t++) {
        tp_dtype type = t ? TP_BF16 : TP_F16;

        for (int i = 0; i < 65536; i++)
            ((uint16_t *)(void *)pool[2])[i] = (uint16_t)i;
        k->copy(r, &nd, TP_F32, pool[0], type, pool[2]);
        for (int i = 0; i < 65536; i++)
            ((float *)(void *)pool[1])[i] = (float)tpi_load(type, pool[2], i);
        expect_near("16 bits to f32", TP_F32, pool[0], pool[1], 65536, 0, 0);
        k->copy(r, &nd, type, pool[3], TP_F32, pool[0]);
        for (int i = 0; i < 65536; i++)
            if (((uint16_t *)(void *)pool[3])[i] != i && tpi_load(type, pool[2], i) == tpi_load(type, pool[2], i))
                fail_msg("%s: bits %x came back as %x", tp_dtype_name(type), i, ((uint16_t *)(void *)pool[3])[i]);
    }
}

/* f32 whose rounding to 16 bits is a tie, or a step beside one */
static void roundings(const tpi_kernels *k, const tpi_run *r)
{
    enum { N = 65536 };
    tpi_nd   nd = line(N);
    uint32_t s[] = { 0x00000fffu, 0x00001000u, 0x00001001u, 0x00007fffu, 0x00008000u, 0x00008001u, 0, 0x00003000u };

    for (int i = 0; i < N; i++)
        ((float *)(void *)pool[2])[i] = tpi_float((uint32_t)i << 16 | s[i % 8] | (uint32_t)(i % 3) << 13);
    for (int t = 0; t < 2; t++) {
        tp_dtype type = t ? TP_BF16 : TP_F16;

        k->copy(r, &nd, type, pool[0], TP_F32, pool[2]);
        for (int i = 0; i < N; i++)
            tpi_store(type, pool[1], i, (double)((float *)(void *)pool[2])[i]);
        expect_near("f32 to 16 bits", type, pool[0], pool[1], N, 0, 0);
    }
}

static void test_halves(void **state)
{
    (void)state;
    each_backend(halves);
    each_backend(roundings);
}

static void fills(const tpi_kernels *k, const tpi_run *r)
{
    const int64_t lengths[] = { 0, 1, 33, 70001 };

    for (int t = 0; t < TP_DTYPES; t++) {
        for (int i = 0; i < COUNT(lengths) * 2; i++) {
            int64_t n = lengths[i / 2];

            twin(0, 1, (tp_dtype)t, n);
            k->fill(r, (tp_dtype)t, pool[0], n, i % 2 ? -1.7 : 0, i % 2 ? 250 : 0);
            ref()->fill(&one_thread, (tp_dtype)t, pool[1], n, i % 2 ? -1.7 : 0, i % 2 ? 250 : 0);
            expect_same("fill", (tp_dtype)t, pool[0], pool[1], n + GUARD);
        }
    }
}

static void test_fill(void **state)
{
    (void)state;
    each_backend(fills);
}

/* f32 within units in the last place of the oracle, over ranges where the functions live */
static void check_ulps(const tpi_kernels *k, const tpi_run *r, tpi_unary op, double low, double high, double ulps)
{
    enum { N = 50000 };
    tpi_nd  nd = line(N);
    double *x = pool[3], *want = pool[4];
    float  *xf = (float *)(void *)pool[2], *got = (float *)(void *)pool[0];

    for (int i = 0; i < N; i++) {
        xf[i] = (float)(low + (high - low) * i / (N - 1));
        x[i] = (double)xf[i];
    }
    k->unary(r, op, 1, 0, &nd, TP_F32, got, xf);
    ref()->unary(&one_thread, op, 1, 0, &nd, TP_F64, want, x);
    for (int i = 0; i < N; i++) {
        float  w = (float)want[i];
        double unit = (double)(nextafterf(fabsf(w), INFINITY) - fabsf(w));

        if (w != (float)got[i] && !(fabs((double)got[i] - want[i]) <= ulps * unit))
            fail_msg("unary %d of %.9g is %.9g, not %.9g", op, x[i], (double)got[i], want[i]);
    }
}

static void ulps(const tpi_kernels *k, const tpi_run *r)
{
    const struct { tpi_unary op; double low, high, ulps; } list[] = {
        { TPI_EXP, -104, 89, 1.1 }, { TPI_EXPM1, -20, 89, 1.6 }, { TPI_EXPM1, -1, 1, 1.6 }, { TPI_LOG, 1e-39, 10, 1 },
        { TPI_LOG, 0.9, 1.1, 1 }, { TPI_LOG1P, -0.9, 5, 2 }, { TPI_LOG1P, -1e-3, 1e-3, 2 }, { TPI_TANH, -9, 9, 2.6 },
        { TPI_SIGMOID, -80, 80, 2.6 }, { TPI_ERF, -4, 4, 1.6 }, { TPI_GELU, -8, 8, 7 }, { TPI_GELU_TANH, -3, 5, 4 },
        { TPI_SILU, -20, 20, 3.2 }, { TPI_SOFTPLUS, -50, 50, 2.5 }, { TPI_MISH, -30, 30, 4.2 }, { TPI_SIN, -300, 300, 2.5 },
        { TPI_COS, -300, 300, 2.5 }, { TPI_RSQRT, 1e-6, 9, 1.6 }, { TPI_ELU, -10, 3, 1.6 },
    };

    for (int i = 0; i < COUNT(list); i++)
        check_ulps(k, r, list[i].op, list[i].low, list[i].high, list[i].ulps);
}

static void test_ulps(void **state)
{
    (void)state;
    each_backend(ulps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary), cmocka_unit_test(test_in_place), cmocka_unit_test(test_unary_grad),
        cmocka_unit_test(test_binary), cmocka_unit_test(test_copy), cmocka_unit_test(test_halves),
        cmocka_unit_test(test_fill), cmocka_unit_test(test_ulps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
