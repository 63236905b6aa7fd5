/*
 * test_ref_layers.c - the oracle's kernels against numbers worked out by hand: products, indexing, norms, attention,
 * optimisers.
 */
#include "tests/ops/ref/ref_test.h"

/* A gemm of plain row-major matrices, one in the batch. */
static tpi_gemm product(tp_dtype t, int64_t m, int64_t n, int64_t k, const void *a, const void *b, void *c)
{
    return (tpi_gemm){ .batch = { 1, 1 }, .m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .at = t, .bt = t, .ct = t,
                       .a_row = k, .a_col = 1, .b_row = n, .b_col = 1, .c_row = n };
}

static void gemm_with_transposes_and_beta(void **state)
{
    double   a[6] = { 1, 2, 3, 4, 5, 6 }, b[6] = { 1, 0, -1, 2, 3, 1 }, c[4] = { NAN, NAN, NAN, NAN };
    tpi_gemm g = product(TP_F64, 2, 2, 3, a, b, c);

    (void)state;
    assert_int_equal(kernels()->gemm_space(&run, &g), 0);
    kernels()->gemm(&run, &g); /* [1 2 3; 4 5 6] [1 0; -1 2; 3 1] */
    EXPECT(TP_F64, c, 0, 8, 7, 17, 16);
    g.beta = 2;
    kernels()->gemm(&run, &g);
    EXPECT(TP_F64, c, 0, 24, 21, 51, 48);
    g = product(TP_F64, 2, 2, 3, a, b, c); /* A^T's layout: [1 3 5; 2 4 6];  B^T's: [1 2; 0 3; -1 1] */
    g.a_row = 1;
    g.a_col = 2;
    g.b_row = 1;
    g.b_col = 3;
    kernels()->gemm(&run, &g);
    EXPECT(TP_F64, c, 0, -4, 16, -4, 22);
    g.k = 0;
    kernels()->gemm(&run, &g);
    EXPECT(TP_F64, c, 0, 0, 0, 0, 0);
}

static void gemm_of_a_batch_in_16_bits(void **state)
{
    uint16_t a[2] = { 0x3f80, 0x4000 }, b[3] = { 0x4040, 0x3f00, 0xbf80 }; /* 1 2 and 3 0.5 -1 in bf16 */
    float    c[6];
    tpi_gemm g = product(TP_BF16, 1, 1, 1, a, b, c);

    (void)state;
    g.ct = TP_F32;
    g.batch[0] = 2; /* outer product by batches: a walks with 0, b with 1 */
    g.batch[1] = 3;
    g.a_batch[0] = 1;
    g.b_batch[1] = 1;
    g.c_batch[0] = 3;
    g.c_batch[1] = 1;
    kernels()->gemm(&run, &g);
    EXPECT(TP_F32, c, 0, 3, 0.5, -1, 6, 1, -2);
}

static void softmax_of_rows(void **state)
{
    double x[9] = { 0, log(2), log(5), -INFINITY, -INFINITY, -INFINITY, 1000, 1000, -INFINITY }, y[9], dy[3] = { 1, 0, 2 };

    (void)state;
    kernels()->softmax(&run, false, TP_F64, y, x, 3, 3);
    EXPECT(TP_F64, y, 1e-15, 0.125, 0.25, 0.625, NAN, NAN, NAN, 0.5, 0.5, 0);
    kernels()->softmax_grad(&run, false, TP_F64, x, dy, y, 1, 3); /* sum dy y = 1.375 */
    EXPECT(TP_F64, x, 1e-15, 0.125 * -0.375, 0.25 * -1.375, 0.625 * 0.625);
    kernels()->softmax(&run, true, TP_F64, y, (double[]){ 0, log(2), log(5) }, 1, 3);
    EXPECT(TP_F64, y, 1e-15, log(0.125), log(0.25), log(0.625));
    kernels()->softmax_grad(&run, true, TP_F64, x, dy, y, 1, 3);
    EXPECT(TP_F64, x, 1e-15, 1 - 0.375, -0.75, 2 - 1.875);
}

static void cross_entropy_of_rows(void **state)
{
    double  x[6] = { 0, log(2), log(5), 0, log(2), log(5) }, loss[2], dx[6];
    float   f[3] = { 0, -INFINITY, 0 }, f_loss;
    int32_t target[2] = { 1, -100 }, zero = 0;

    (void)state;
    kernels()->cross_entropy(&run, TP_F64, loss, dx, x, target, 2, 3, 0, 2);
    EXPECT(TP_F64, loss, 1e-15, log(4), 0);
    EXPECT(TP_F64, dx, 1e-15, 0.25, -1.5, 1.25, 0, 0, 0);
    kernels()->cross_entropy(&run, TP_F64, loss, x, x, target, 1, 3, 0.3, 1); /* in place */
    EXPECT(TP_F64, loss, 1e-15, 0.7 * log(4) + 0.1 * (log(8) + log(4) + log(1.6)));
    EXPECT(TP_F64, x, 1e-15, 0.125 - 0.1, 0.25 - 0.8, 0.625 - 0.1);
    kernels()->cross_entropy(&run, TP_F32, &f_loss, NULL, f, &zero, 1, 3, 0, 1); /* a masked logit costs nothing */
    EXPECT(TP_F32, &f_loss, 1e-7, log(2));
}

static void rows_by_number(void **state)
{
    float    w[6] = { 1, 2, 3, 4, 5, 6 }, y[6];
    uint16_t h[4] = { 0x3f80, 0x4000, 0x4040, 0x4080 }; /* 1 2 3 4 in bf16 */
    int32_t  ids[3] = { 2, 0, 2 };
    int64_t  long_ids[2] = { 1, 1 };

    (void)state;
    kernels()->index_rows(&run, TP_F32, y, w, TP_I32, ids, 3, 2);
    EXPECT(TP_F32, y, 0, 5, 6, 1, 2, 5, 6);
    kernels()->index_add(&run, TP_F32, w, 3, TP_BF16, h, TP_I64, long_ids, 2, 2);
    EXPECT(TP_F32, w, 0, 1, 2, 7, 10, 5, 6);
    assert_int_equal(kernels()->index_add(&run, TP_F32, w, 2, TP_F32, y, TP_I32, ids, 3, 2), TP_EARG);
}

static void elements_by_number(void **state)
{
    float   x[6] = { 1, 2, 3, 4, 5, 6 }, y[4]; /* [1, 3, 2], ids [1, 2, 2] */
    int64_t ids[4] = { 2, 0, 2, 1 };

    (void)state;
    kernels()->gather(&run, TP_F32, y, x, TP_I64, ids, 1, 2, 3, 2);
    EXPECT(TP_F32, y, 0, 5, 2, 5, 4);
    kernels()->scatter_add(&run, TP_F32, x, y, TP_I64, ids, 1, 2, 3, 2);
    EXPECT(TP_F32, x, 0, 1, 4, 3, 8, 15, 6);
}

static void layernorm_of_a_row(void **state)
{
    double x[2] = { 1, 5 }, w[2] = { 2, 3 }, b[2] = { 10, 20 }, y[2], mean, rstd, dx[2], dw[2] = { 1, 1 }, db[2] = { 0, 0 };

    (void)state;
    kernels()->layernorm(&run, TP_F64, y, &mean, &rstd, x, TP_F64, w, b, 5, 1, 2); /* variance 4, with eps 9 */
    EXPECT(TP_F64, y, 1e-15, 10 - 4.0 / 3, 22);
    EXPECT(TP_F64, &mean, 0, 3);
    EXPECT(TP_F64, &rstd, 1e-16, 1.0 / 3);
    kernels()->layernorm(&run, TP_F64, y, &mean, &rstd, x, TP_F64, NULL, NULL, 5, 1, 2);
    EXPECT(TP_F64, y, 1e-15, -2.0 / 3, 2.0 / 3);
    kernels()->layernorm_grad(&run, TP_F64, dx, dw, db, (double[]){ 1, 0 }, x, TP_F64, w, &mean, &rstd, 1, 2);
    EXPECT(TP_F64, dx, 1e-15, (2 - 1 - 4.0 / 9) / 3, (-1 + 4.0 / 9) / 3); /* g = 2 0, mean(g) 1, mean(g u) -2/3 */
    EXPECT(TP_F64, dw, 1e-15, 1 - 2.0 / 3, 1);
    EXPECT(TP_F64, db, 0, 1, 0);
}

static void rmsnorm_of_a_row(void **state)
{
    double   x[2] = { 0, 3 }, res[2] = { 1, 4 }, w[2] = { 10, 1 }, y[2], rstd, dx[2], dw[2] = { 0, 1 };
    uint16_t h[1] = { 0x3f80 }, more[1] = { 0x3b80 }, z[1]; /* 1 and 2^-8: the sum is halfway, and rounds to 1 */
    float    f;

    (void)state;
    kernels()->rmsnorm(&run, TP_F64, y, &rstd, x, x, res, TP_F64, w, 0, 1, 2); /* h = 1 7, over x */
    EXPECT(TP_F64, x, 0, 1, 7);
    EXPECT(TP_F64, y, 1e-15, 2, 7.0 / 5);
    EXPECT(TP_F64, &rstd, 1e-16, 0.2);
    kernels()->rmsnorm_grad(&run, TP_F64, dx, dw, (double[]){ 1, 0 }, (double[]){ 100, 200 }, x, TP_F64, w, &rstd, 1, 2);
    EXPECT(TP_F64, dx, 1e-15, 100 + 0.2 * (10 - 0.2), 200 - 0.2 * 1.4); /* g = 10 0, mean(g u) = 1 */
    EXPECT(TP_F64, dw, 1e-15, 0.2, 1);
    kernels()->rmsnorm(&run, TP_BF16, z, &f, h, h, more, TP_F32, NULL, 0, 1, 1);
    EXPECT(TP_BF16, h, 0, 1);
    EXPECT(TP_F32, &f, 0, 1);
}

static void rope_turns_pairs(void **state)
{
    float   freq[1] = { 1.5707963267948966f };            /* a quarter turn a position */
    double  x[4] = { 1, 2, 3, 4 }, y[4], z[4];            /* [1, 2, 1, 2] */
    int64_t dim[4] = { 1, 2, 1, 2 }, s[3] = { 4, 2, 2 }, swapped[3] = { 4, -2, 2 };
    int32_t pos[2] = { 1, 0 };

    (void)state;
    kernels()->rope(&run, TP_F64, y, s, x, s, dim, NULL, 0, freq, 1, false);
    EXPECT(TP_F64, y, 1e-6, 1, 2, -4, 3);
    kernels()->rope(&run, TP_F64, y, s, x, s, dim, NULL, 1, freq, 2, false);
    EXPECT(TP_F64, y, 1e-6, -4, 2, -6, -8);
    kernels()->rope(&run, TP_F64, z, s, y, s, dim, NULL, 1, freq, 0.5, true);
    EXPECT(TP_F64, z, 1e-12, 1, 2, 3, 4);
    kernels()->rope(&run, TP_F64, y, s, x + 2, swapped, dim, pos, 0, freq, 1, false);
    EXPECT(TP_F64, y, 1e-6, -4, 3, 1, 2);
}

/* Two queries and three keys of one head, one number each: q is 0, so that every key weighs the same. */
static void attention_sees_its_keys(void **state)
{
    double   q[2] = { 0, 0 }, kv[3] = { 3, 6, 12 }, o[2], lse[2];
    int32_t  range[4] = { -5, 1, 2, 2 };
    tpi_attn a = { .batch = 1, .heads = 1, .kv_heads = 1, .sq = 2, .sk = 3, .dim = 1, .t = TP_F64, .q = q,
                   .k = kv, .v = kv, .o = o, .lse = (void *)lse, .scale = 1,
                   .qs = { 2, 1, 1 }, .ks = { 3, 1, 1 }, .vs = { 3, 1, 1 }, .os = { 2, 1, 1 } };

    (void)state;
    kernels()->attention(&run, &a);
    EXPECT(TP_F64, o, 1e-15, 7, 7);
    EXPECT(TP_F64, lse, 1e-15, log(3), log(3));
    a.causal = true; /* row 0 stands at key 1 */
    kernels()->attention(&run, &a);
    EXPECT(TP_F64, o, 1e-15, 4.5, 7);
    a.range = range;
    kernels()->attention(&run, &a);
    EXPECT(TP_F64, o, 1e-15, 3, 0);
    EXPECT(TP_F64, lse, 1e-15, 0, -INFINITY);
    a.sq = 2;
    a.sk = 1; /* more queries than keys: the first sees nothing */
    a.range = NULL;
    kernels()->attention(&run, &a);
    EXPECT(TP_F64, o, 1e-15, 0, 3);
}

/* Four heads on two key heads; e^(scale q k) is 1 or 3. */
static void attention_shares_key_heads(void **state)
{
    double   q[4] = { 0, 1, 0, 1 }, k[4] = { 0, 0, log(3) / 2, log(3) / 2 }, v[4] = { 4, 8, 0, 16 }, o[4], lse[4];
    tpi_attn a = { .batch = 1, .heads = 4, .kv_heads = 2, .sq = 1, .sk = 2, .dim = 1, .t = TP_F64, .q = q,
                   .k = k, .v = v, .o = o, .lse = (void *)lse, .scale = 2,
                   .qs = { 4, 4, 1 }, .ks = { 4, 2, 1 }, .vs = { 4, 2, 1 }, .os = { 4, 4, 1 } };

    (void)state;
    kernels()->attention(&run, &a);
    EXPECT(TP_F64, o, 1e-15, 2, 1, 12, 14);
    EXPECT(TP_F64, lse, 1e-15, log(2), log(4), log(2), log(4));
}

/* Two blocks of 2 x 2 for 3 inputs and 3 outputs: the last row and column of the second block are dead. */
static void blocks_end_with_the_matrix(void **state)
{
    tpi_blocks b = { .rows = 1, .in = 3, .out = 3, .blocks = 2, .bi = 2, .bo = 2, .t = TP_F32, .at = TP_F32 };
    float      a[8] = { 1, 2, 3, 4, 5, NAN, NAN, NAN }, x[3] = { 1, 10, 100 }, y[3] = { 1000, 1000, 1000 };
    float      da[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

    (void)state;
    kernels()->blocks(&run, &b, y, x, a, true);
    EXPECT(TP_F32, y, 0, 1031, 1042, 1500);
    kernels()->blocks(&run, &b, y, x, a, false);
    EXPECT(TP_F32, y, 0, 31, 42, 500);
    kernels()->blocks_da(&run, &b, da, x, (float[]){ 1, 2, 3 }, 1);
    EXPECT(TP_F32, da, 0, 2, 3, 11, 21, 301, 0, 0, 0);
    kernels()->blocks_dx(&run, &b, x, (float[]){ 1, 2, 3 }, a, false);
    EXPECT(TP_F32, x, 0, 5, 11, 15);
    kernels()->blocks_dx(&run, &b, x, (float[]){ 1, 2, 3 }, a, true);
    EXPECT(TP_F32, x, 0, 10, 22, 30);
}

static void silu_mul_of_a_number(void **state)
{
    double g = 1, u = 3, y, dg, du, s = 0.7310585786300049;

    (void)state;
    kernels()->silu_mul(&run, TP_F64, &y, &g, &u, 1);
    EXPECT(TP_F64, &y, 1e-15, 3 * s);
    kernels()->silu_mul_grad(&run, TP_F64, &dg, &du, (double[]){ 2 }, &g, &u, 1);
    EXPECT(TP_F64, &dg, 1e-15, 6 * s * (2 - s));
    EXPECT(TP_F64, &du, 1e-15, 2 * s);
}

/* One step of a rule from p = 2, m = 1, v = 4 with gradient 3; lr 0.1, decay 0.5. */
static void step(tpi_hyper h, double *p, double *m, double *v)
{
    double   g = 3;
    tpi_step s = { .n = 1, .p = p, .t = TP_F64, .g = &g, .m = m, .v = v, .lr = 0.1, .decay = 0.5 };

    *p = 2;
    *m = 1;
    *v = 4;
    assert_int_equal(kernels()->optim(&run, &h, &s, 1), TP_OK);
}

static void optimisers_take_a_step(void **state)
{
    double p, m, v;

    (void)state;
    step((tpi_hyper){ .rule = TPI_SGD, .grad_scale = 2, .step = 2 }, &p, &m, &v); /* g = 6 + 1 */
    EXPECT(TP_F64, &p, 1e-15, 1.3);
    step((tpi_hyper){ .rule = TPI_SGD, .beta1 = 0.5, .beta2 = 0.25, .grad_scale = 1, .step = 2 }, &p, &m, &v); /* g 4, m 3.5 */
    EXPECT(TP_F64, &p, 1e-15, 1.65);
    EXPECT(TP_F64, &m, 1e-15, 3.5);
    step((tpi_hyper){ .rule = TPI_SGD, .beta1 = 0.5, .nesterov = true, .grad_scale = 1, .step = 1 }, &p, &m, &v); /* m 4, g 6 */
    EXPECT(TP_F64, &p, 1e-15, 1.4);
    /* ADAMW: m = 2, v = 5.25, their corrections 0.75 and 0.4375: mhat = 8/3, vhat = 12 */
    step((tpi_hyper){ .rule = TPI_ADAMW, .beta1 = 0.5, .beta2 = 0.75, .eps = 0.5, .grad_scale = 1, .step = 2 }, &p, &m, &v);
    EXPECT(TP_F64, &p, 1e-15, 2 * 0.95 - 0.1 * (2 / 0.75) / (sqrt(5.25 / 0.4375) + 0.5));
    EXPECT(TP_F64, &m, 1e-15, 2);
    EXPECT(TP_F64, &v, 1e-15, 5.25);
    /* ADAM: the decay goes into g = 4, m = 2.5, v = 7 */
    step((tpi_hyper){ .rule = TPI_ADAM, .beta1 = 0.5, .beta2 = 0.75, .grad_scale = 1, .step = 2 }, &p, &m, &v);
    EXPECT(TP_F64, &p, 1e-15, 2 - 0.1 * (2.5 / 0.75) / sqrt(7 / 0.4375));
    step((tpi_hyper){ .rule = TPI_LION, .beta1 = 0.5, .beta2 = 0.75, .grad_scale = 1, .step = 2 }, &p, &m, &v);
    EXPECT(TP_F64, &p, 1e-15, 1.8);
    EXPECT(TP_F64, &m, 1e-15, 1.5);
}

/* Steps far below bf16's resolution add up in the master. */
static void master_keeps_small_steps(void **state)
{
    uint16_t  p = 0x3f80;
    float     master = 1, g = 1;
    tpi_step  s = { .n = 1, .p = &p, .t = TP_BF16, .master = &master, .g = &g, .lr = 0x1p-10 };
    tpi_hyper h = { .rule = TPI_SGD, .grad_scale = 1, .step = 1 };

    (void)state;
    for (int i = 0; i < 16; i++)
        kernels()->optim(&run, &h, &s, 1);
    assert_true(master == 1 - 0x1p-6f && tpi_from_bf16(p) == 1 - 0x1p-6f);
}

/* What a kernel gives in a narrow dtype is what it gives in f64 for the same numbers, rounded: attention and its gradient,
 * with one more rounding where lse goes through f32. */
static void narrow_dtypes_round_once(void **state)
{
    const tp_dtype types[3] = { TP_F32, TP_BF16, TP_F16 };
    double         x[24], wide[2][24];
    float          narrow[2][24], in[24], lse[6];
    double         wide_lse[6];
    tpi_attn       a = { .batch = 1, .heads = 2, .kv_heads = 2, .sq = 3, .sk = 3, .dim = 4, .scale = 0.5, .causal = true,
                         .qs = { 24, 8, 4 }, .ks = { 24, 8, 4 }, .vs = { 24, 8, 4 }, .os = { 24, 8, 4 }, .dos = { 24, 8, 4 },
                         .dqs = { 24, 8, 4 }, .dks = { 24, 8, 4 }, .dvs = { 24, 8, 4 } };

    (void)state;
    for (int i = 0; i < 3; i++) {
        tpi_nd n = line(24);
        double other[2][24], rounded[24], eps = types[i] == TP_F32 ? 1e-6 : types[i] == TP_F16 ? 0x1p-10 : 0x1p-7;

        kernels()->random(&run, TPI_NORMAL, types[i], in, 24, 0, 1, (tpi_key){ { 1, 2 }, { 3, 4 } });
        kernels()->copy(&run, &n, TP_F64, x, types[i], in);
        a.t = types[i];
        a.q = a.k = a.v = a.dout = in;
        a.o = a.dq = narrow[0];
        a.lse = lse;
        a.dk = a.dv = narrow[1];
        kernels()->attention(&run, &a);
        kernels()->copy(&run, &n, TP_F64, other[0], types[i], narrow[0]);
        kernels()->attention_grad(&run, &a);
        kernels()->copy(&run, &n, TP_F64, other[1], types[i], narrow[1]);
        a.t = TP_F64;
        a.q = a.k = a.v = a.dout = x;
        a.o = a.dq = wide[0];
        a.lse = (void *)wide_lse;
        a.dk = a.dv = wide[1];
        kernels()->attention(&run, &a);
        kernels()->copy(&run, &n, types[i], narrow[0], TP_F64, wide[0]);
        kernels()->copy(&run, &n, TP_F64, rounded, types[i], narrow[0]);
        expect(__LINE__, TP_F64, other[0], 24, rounded, 0);
        kernels()->attention_grad(&run, &a);
        expect(__LINE__, TP_F64, other[1], 24, wide[1], eps);
        expect(__LINE__, TP_F32, lse, 6, wide_lse, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_with_transposes_and_beta),
        cmocka_unit_test(gemm_of_a_batch_in_16_bits),
        cmocka_unit_test(softmax_of_rows),
        cmocka_unit_test(cross_entropy_of_rows),
        cmocka_unit_test(rows_by_number),
        cmocka_unit_test(elements_by_number),
        cmocka_unit_test(layernorm_of_a_row),
        cmocka_unit_test(rmsnorm_of_a_row),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(attention_sees_its_keys),
        cmocka_unit_test(attention_shares_key_heads),
        cmocka_unit_test(narrow_dtypes_round_once),
        cmocka_unit_test(blocks_end_with_the_matrix),
        cmocka_unit_test(silu_mul_of_a_number),
        cmocka_unit_test(optimisers_take_a_step),
        cmocka_unit_test(master_keeps_small_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
