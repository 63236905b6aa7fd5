/* test_variants.c - DiaBlo and LoRA: shapes, dead parameters, forward against merged weights, gradients, dropout, the
 * start. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "peft/peft.h"

/* ---- DiaBlo: shapes ---------------------------------------------------------------------------------------------- */

/* in, out, N; N', bi, bo, pad_in, stored, live: as the official code has them. */
static const int64_t table[][9] = {
    { 4096, 4096, 64, 64, 64, 64, 0, 262144, 262144 },
    { 4096, 11008, 64, 64, 64, 172, 0, 704512, 704512 },
    { 11008, 4096, 64, 64, 172, 64, 0, 704512, 704512 },
    { 4096, 1024, 64, 64, 64, 16, 0, 65536, 65536 },
    { 896, 128, 64, 64, 14, 2, 0, 1792, 1792 },
    { 100, 64, 64, 64, 2, 1, 28, 128, 100 },
    { 64, 100, 64, 64, 1, 2, 0, 128, 100 },
    { 100, 100, 64, 50, 2, 2, 0, 200, 200 },
    { 10, 7, 4, 4, 3, 2, 2, 24, 19 },
    { 7, 10, 4, 4, 2, 3, 1, 24, 19 },
    { 768, 3072, 100, 100, 8, 31, 32, 24800, 23808 },
};
enum { ROWS = sizeof table / sizeof *table };

/* A layer whose weight is a view of one number, so that the largest rows of the table cost nothing. */
static void hollow_layer(tp_ctx *ctx, tp_linear *l, int64_t in, int64_t out)
{
    tp_scope s = tp_scope_begin(ctx);

    memset(l, 0, sizeof *l);
    tp_module_init(ctx, &l->m, NULL, "Linear", "");
    tp_param_set(ctx, &l->m, &l->w, "weight",
                 tp_broadcast_to(ctx, tp_ones(ctx, TP_F32, TP_SHAPE(1, 1)), TP_SHAPE(out, in)));
    tp_scope_end(ctx, s);
}

static void test_shapes(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        const int64_t *t = table[i];
        tp_linear      l;
        tp_adapter    *ad;
        tp_tensor     *a;

        hollow_layer(ctx, &l, t[0], t[1]);
        ad = tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = (int)t[2] });
        check_ok(ctx);
        a = *ad->m.param->slot;
        assert_string_equal(ad->m.param->name, "block_A");
        assert_int_equal(tp_dim(a, 0), t[3]);
        assert_int_equal(tp_dim(a, 1), t[4]);
        assert_int_equal(tp_dim(a, 2), t[5]);
        assert_int_equal(tp_dim(a, 0) * tp_dim(a, 1) - t[0], t[6]);
        assert_int_equal(tp_numel(a), t[7]);
        assert_int_equal(tp_numel(a) - ad->type->dead(ad), t[8]);
        assert_int_equal(tp_dtype_of(a), TP_F32);
        tp_module_free(&l.m);
    }
    free_ctx(ctx);
}

static void test_too_many_blocks(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    tp_linear l;

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 5, 3, false, TP_F32);
    assert_null(tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = 8 }));
    check_failed(ctx, TP_EARG, "8 blocks", "at most 5");
    assert_null(tp_adapter_attach(ctx, &l, &tp_diablo, NULL)); /* 64 */
    check_failed(ctx, TP_EARG, "64 blocks", "5 inputs and 3 outputs");
    assert_null(tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = -1 }));
    check_failed(ctx, TP_EARG, "blocks is -1", NULL);
    assert_non_null(tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = 5 }));
    tp_module_free(&l.m);
    tp_linear_init(ctx, &l, NULL, "", 0, 3, false, TP_F32);
    assert_null(tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = 2 }));
    check_failed(ctx, TP_EARG, "0 inputs", NULL);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* ---- DiaBlo: what it computes ------------------------------------------------------------------------------------ */

/* The official semantics, written out: pad the input, a block at a time, crop the output. */
static double diablo_by_hand(tp_ctx *ctx, const tp_tensor *x, int64_t row, const tp_tensor *a, int64_t out)
{
    int64_t in = tp_dim(x, 1), bi = tp_dim(a, 1), bo = tp_dim(a, 2), k = out / bo, j = out % bo;
    double  sum = 0;

    for (int64_t i = 0; i < bi; i++) {
        double v = k * bi + i < in ? value_at(ctx, x, row * in + k * bi + i) : 0;

        sum += v * value_at(ctx, a, (k * bi + i) * bo + j);
    }
    return sum;
}

static void check_diablo(tp_ctx *ctx, int64_t in, int64_t out, int blocks)
{
    tp_scope    s = tp_scope_begin(ctx);
    tp_linear   l;
    tp_tensor  *x = make_some(ctx, TP_F64, TP_SHAPE(3, in), 1), *y, *base, *merged;
    tp_adapter *ad;

    tp_linear_init(ctx, &l, NULL, "", in, out, true, TP_F64);
    base = tp_linear_forward(ctx, &l, x);
    ad = tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = blocks });
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), base)); /* A = 0 */
    fill_some(ctx, *ad->m.param->slot, 2, 1);
    y = tp_linear_forward(ctx, &l, x);
    check_ok(ctx);
    for (int64_t r = 0; r < 3; r++)
        for (int64_t o = 0; o < out; o++) {
            double want = value_at(ctx, base, r * out + o) + diablo_by_hand(ctx, x, r, *ad->m.param->slot, o);

            assert_true(fabs(value_at(ctx, y, r * out + o) - want) < 1e-12);
        }
    assert_int_equal(tp_merge(ctx, &l.m), 1);
    merged = tp_linear_forward(ctx, &l, x);
    assert_true(distance(ctx, merged, y) < 1e-13);
    tp_module_free(&l.m);
    tp_scope_end(ctx, s);
}

static void test_diablo_output(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx *ctx = device_ctx(test_devices[d]);

        if (ctx == NULL)
            continue;
        for (int i = 4; i < ROWS - 1; i++)
            check_diablo(ctx, table[i][0], table[i][1], (int)table[i][2]);
        check_diablo(ctx, 5, 3, 5);
        check_diablo(ctx, 3, 5, 5);
        check_diablo(ctx, 1, 1, 1);
        check_diablo(ctx, 13, 7, 1);
        check_diablo(ctx, 31, 97, 32);
        free_ctx(ctx);
    }
}

/* One block is a whole matrix: gradients and update are those of the full weight, transposed. */
static void test_one_block_is_full(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_linear  full, l;
    tp_tensor *x = make_some(ctx, TP_F64, TP_SHAPE(4, 5), 1), *a;

    (void)state;
    tp_linear_init(ctx, &full, NULL, "", 5, 3, true, TP_F64);
    tp_linear_init(ctx, &l, NULL, "", 5, 3, true, TP_F64);
    tp_copy_to(ctx, l.w, full.w);
    tp_copy_to(ctx, l.b, full.b);
    a = *tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = 1 })->m.param->slot;
    tp_backward(ctx, tp_mean(ctx, tp_square(ctx, tp_linear_forward(ctx, &full, x)), NULL, 0, false));
    tp_backward(ctx, tp_mean(ctx, tp_square(ctx, tp_linear_forward(ctx, &l, x)), NULL, 0, false));
    check_ok(ctx);
    for (int64_t i = 0; i < 5; i++)
        for (int64_t j = 0; j < 3; j++)
            assert_true(fabs(value_at(ctx, tp_grad(a), i * 3 + j) - value_at(ctx, tp_grad(full.w), j * 5 + i)) < 1e-14);
    tp_scope_end(ctx, s);
    tp_module_free(&full.m);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* Padded entries: stored, but no gradient ever reaches them. */
static void test_dead_gradients(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope    s = tp_scope_begin(ctx);
    tp_linear   l;
    tp_adapter *ad;
    tp_tensor  *g;
    int64_t     zero = 0;

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 10, 7, false, TP_F32);
    ad = tp_adapter_attach(ctx, &l, &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    fill_some(ctx, *ad->m.param->slot, 3, 1);
    tp_backward(ctx, tp_sum(ctx, tp_square(ctx, tp_linear_forward(ctx, &l, make_some(ctx, TP_F32, TP_SHAPE(6, 10), 4))),
                            NULL, 0, false));
    g = tp_grad(*ad->m.param->slot);
    for (int64_t i = 0; i < tp_numel(g); i++)
        zero += value_at(ctx, g, i) == 0;
    assert_int_equal(zero, 5);
    assert_int_equal(ad->type->dead(ad), 5);
    tp_scope_end(ctx, s);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* ---- LoRA -------------------------------------------------------------------------------------------------------- */

static void test_lora(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_linear  l;
    tp_tensor *x = make_some(ctx, TP_F64, TP_SHAPE(3, 6), 1), *base, *y, *a, *b;
    double     low = 0;

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 6, 4, true, TP_F64);
    base = tp_linear_forward(ctx, &l, x);
    tp_adapter_attach(ctx, &l, &tp_lora, &(tp_lora_opts){ .rank = 2, .alpha = 3 });
    a = *tp_param_find(&l.m, "lora_A")->slot;
    b = *tp_param_find(&l.m, "lora_B")->slot;
    assert_true(tp_dim(a, 0) == 2 && tp_dim(a, 1) == 6 && tp_dim(b, 0) == 4 && tp_dim(b, 1) == 2);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), base)); /* B = 0 */
    for (int64_t i = 0; i < 12; i++)
        low = fabs(value_at(ctx, a, i)) > low ? fabs(value_at(ctx, a, i)) : low;
    assert_true(low > 0 && low <= 1 / sqrt(6));
    fill_some(ctx, b, 2, 1);
    y = tp_linear_forward(ctx, &l, x);
    for (int64_t r = 0; r < 3; r++)
        for (int64_t o = 0; o < 4; o++) {
            double sum = 0;

            for (int64_t k = 0; k < 2; k++)
                for (int64_t i = 0; i < 6; i++)
                    sum += 1.5 * value_at(ctx, b, o * 2 + k) * value_at(ctx, a, k * 6 + i) *
                           value_at(ctx, x, r * 6 + i);
            assert_true(fabs(value_at(ctx, y, r * 4 + o) - value_at(ctx, base, r * 4 + o) - sum) < 1e-13);
        }
    assert_int_equal(tp_merge(ctx, &l.m), 1);
    assert_true(distance(ctx, tp_linear_forward(ctx, &l, x), y) < 1e-13);
    assert_null(l.adapters->type->dead);
    tp_scope_end(ctx, s);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* ---- what both share, in every dtype of a base ------------------------------------------------------------------- */

static tp_adapter *attach_some(tp_ctx *ctx, tp_linear *l, const tp_adapter_type *type, double dropout)
{
    if (type == &tp_diablo)
        return tp_adapter_attach(ctx, l, type, &(tp_diablo_opts){ .blocks = 3, .dropout = dropout });
    return tp_adapter_attach(ctx, l, type, &(tp_lora_opts){ .rank = 2, .alpha = 4, .dropout = dropout });
}

static void fill_adapter(tp_ctx *ctx, tp_adapter *ad, double scale)
{
    for (tp_param *p = ad->m.param; p != NULL; p = p->next)
        fill_some(ctx, *p->slot, strlen(p->name) + (uint64_t)p->name[strlen(p->name) - 1], scale);
}

static void check_merge(tp_ctx *ctx, const tp_adapter_type *type, tp_dtype t, double bound)
{
    tp_scope    s = tp_scope_begin(ctx);
    tp_linear   l;
    tp_tensor  *x = make_some(ctx, t, TP_SHAPE(5, 11), 1), *w, *base, *y, *merged, *header;
    tp_adapter *ad;

    tp_linear_init(ctx, &l, NULL, "", 11, 8, true, t);
    w = copy_of(ctx, l.w);
    header = l.w;
    base = tp_linear_forward(ctx, &l, x);
    ad = attach_some(ctx, &l, type, 0);
    assert_int_equal(tp_dtype_of(*ad->m.param->slot), t == TP_F64 ? TP_F64 : TP_F32);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), base));
    fill_adapter(ctx, ad, 0.5);
    y = tp_linear_forward(ctx, &l, x);
    assert_int_equal(tp_dtype_of(y), t);
    assert_int_equal(tp_merge(ctx, &l.m), 1);
    assert_false(ad->active);
    merged = tp_linear_forward(ctx, &l, x);
    check_ok(ctx);
    if (distance(ctx, merged, y) >= bound)
        fail_msg("%s in %s: merged differs by %g", type->name, tp_dtype_name(t), distance(ctx, merged, y));
    assert_true(distance(ctx, merged, base) > 0.01);
    assert_int_equal(tp_merge(ctx, &l.m), 0); /* nothing active is left */
    assert_int_equal(tp_unmerge(ctx, &l.m), 1);
    assert_ptr_equal(l.w, header);
    assert_true(same_bits(ctx, l.w, w));
    assert_true(ad->active);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), y));
    assert_int_equal(tp_unmerge(ctx, &l.m), 0);
    tp_release(w);
    tp_module_free(&l.m);
    tp_scope_end(ctx, s);
}

static void test_merge_dtypes(void **state)
{
    static const struct {
        tp_dtype t;
        double   bound;
    } kinds[] = { { TP_F64, 1e-13 }, { TP_F32, 1e-6 }, { TP_BF16, 0.03 }, { TP_F16, 0.004 } };

    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx *ctx = device_ctx(test_devices[d]);

        for (int i = 0; ctx != NULL && i < 4; i++) {
            check_merge(ctx, &tp_diablo, kinds[i].t, kinds[i].bound);
            check_merge(ctx, &tp_lora, kinds[i].t, kinds[i].bound);
        }
        if (ctx != NULL)
            free_ctx(ctx);
    }
}

/* Dropout is on the adapter's input only: with A = 0 nothing is random. */
static void check_dropout(tp_ctx *ctx, const tp_adapter_type *type)
{
    tp_scope    s = tp_scope_begin(ctx);
    tp_linear   l;
    tp_tensor  *x = make_some(ctx, TP_F32, TP_SHAPE(4, 11), 1), *base, *plain, *y, *z;
    tp_adapter *ad;

    tp_linear_init(ctx, &l, NULL, "", 11, 8, true, TP_F32);
    base = tp_linear_forward(ctx, &l, x);
    ad = attach_some(ctx, &l, type, 0.5);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), base));
    fill_adapter(ctx, ad, 0.5);
    tp_set_step(ctx, 5);
    y = tp_linear_forward(ctx, &l, x);
    tp_set_step(ctx, 5);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), y));
    tp_set_step(ctx, 6);
    assert_false(same_bits(ctx, tp_linear_forward(ctx, &l, x), y));
    tp_module_set_training(&l.m, false);
    plain = tp_linear_forward(ctx, &l, x);
    assert_true(same_bits(ctx, tp_linear_forward(ctx, &l, x), plain));
    assert_false(same_bits(ctx, plain, y));
    ad->active = false; /* y - base is the branch on drop(x), which is linear: on a 0 input nothing is left */
    z = tp_linear_forward(ctx, &l, x);
    assert_true(same_bits(ctx, z, base));
    ad->active = true;
    tp_module_set_training(&l.m, true);
    z = tp_sub(ctx, tp_linear_forward(ctx, &l, tp_zeros_like(ctx, x)), tp_broadcast_to(ctx, l.b, TP_SHAPE(4, 8)));
    for (int64_t i = 0; i < 32; i++)
        assert_true(value_at(ctx, z, i) == 0);
    check_ok(ctx);
    tp_module_free(&l.m);
    tp_scope_end(ctx, s);
}

/* Mean over many masks is the branch without dropout: kept values are scaled by 1 / (1 - p). */
static void test_dropout(void **state)
{
    enum { MASKS = 4000 };
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope    s = tp_scope_begin(ctx);
    tp_linear   l;
    tp_tensor  *x = make_some(ctx, TP_F32, TP_SHAPE(1, 11), 1), *plain;
    tp_adapter *ad;
    double      mean[8] = { 0 };

    (void)state;
    check_dropout(ctx, &tp_diablo);
    check_dropout(ctx, &tp_lora);
    tp_linear_init(ctx, &l, NULL, "", 11, 8, false, TP_F32);
    ad = attach_some(ctx, &l, &tp_diablo, 0.25);
    fill_adapter(ctx, ad, 0.5);
    tp_record(ctx, false);
    for (int i = 0; i < MASKS; i++) {
        tp_scope   inner = tp_scope_begin(ctx);
        tp_tensor *y = tp_linear_forward(ctx, &l, x);

        for (int64_t j = 0; j < 8; j++)
            mean[j] += value_at(ctx, y, j) / (double)MASKS;
        tp_scope_end(ctx, inner);
    }
    tp_module_set_training(&l.m, false);
    plain = tp_linear_forward(ctx, &l, x);
    for (int64_t j = 0; j < 8; j++)
        assert_true(fabs(mean[j] - value_at(ctx, plain, j)) < 0.03);
    tp_module_free(&l.m);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* ---- gradients of both through a chain, against differences ------------------------------------------------------ */

typedef struct {
    tp_linear  *l;
    tp_tensor **slot[3];
} chain;

static tp_tensor *run_chain(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    chain     *c = user;
    tp_tensor *was[3], *y;

    for (int i = 0; i < 3; i++) {
        was[i] = *c->slot[i];
        *c->slot[i] = in[1 + i];
    }
    y = tp_linear_forward(ctx, c->l, in[0]);
    for (int i = 0; i < 3; i++)
        *c->slot[i] = was[i];
    return y;
}

/* DiaBlo below LoRA, and above it. */
static void check_gradients(const tp_adapter_type *lower, const tp_adapter_type *upper)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope   s = tp_scope_begin(ctx);
    tp_linear  l;
    chain      c = { .l = &l };
    tp_tensor *in[4] = { make_some(ctx, TP_F64, TP_SHAPE(2, 11), 9) };

    tp_linear_init(ctx, &l, NULL, "", 11, 8, true, TP_F64);
    fill_adapter(ctx, attach_some(ctx, &l, lower, 0), 0.5);
    fill_adapter(ctx, attach_some(ctx, &l, upper, 0), 0.5);
    c.slot[0] = tp_param_find(&l.m, "block_A")->slot;
    c.slot[1] = tp_param_find(&l.m, "lora_A")->slot;
    c.slot[2] = tp_param_find(&l.m, "lora_B")->slot;
    for (int i = 0; i < 3; i++)
        in[1 + i] = *c.slot[i];
    assert_true(tp_gradcheck(ctx, run_chain, &c, 4, in, 0) < 1e-7);
    check_ok(ctx);
    tp_module_free(&l.m);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

static void test_chain_gradients(void **state)
{
    (void)state;
    check_gradients(&tp_diablo, &tp_lora);
    check_gradients(&tp_lora, &tp_diablo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),          cmocka_unit_test(test_too_many_blocks),
        cmocka_unit_test(test_diablo_output),   cmocka_unit_test(test_one_block_is_full),
        cmocka_unit_test(test_dead_gradients),  cmocka_unit_test(test_lora),
        cmocka_unit_test(test_merge_dtypes),    cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_chain_gradients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
