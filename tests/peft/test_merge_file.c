/* test_merge_file.c - adapters merged into weights one by one: the same as merging into a model. */
#include "tests/peft/peft_files.h"

#include <math.h>

static const tp_adapter_type *const mine[] = { &gate_type, NULL };

static void put_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    if (!m->adapter)
        tp_writer_tensor(m->ctx, user, "model", name, *p->slot);
}

/* The model without its adapters as a file. */
static tp_file *base_file(tp_ctx *ctx, small *m, const char *path)
{
    tp_writer *w = tp_writer_open(ctx, path, "model");

    tp_module_params(&m->root, false, put_one, w);
    assert_true(tp_writer_close(ctx, w));
    return tp_file_open(ctx, path);
}

/* Every weight of the base, merged from the file, rounded once, is that of tp_merge but for the order of roundings. */
static void compare(tp_ctx *ctx, small *m, tp_adapter_file *a, tp_file *base, int want)
{
    tp_dtype t = tp_dtype_of(m->q[0].w);
    double   most = t == TP_BF16 ? 4e-3 : t == TP_F32 ? 1e-7 : 0;
    int      got = 0;

    assert_int_equal(tp_merge(ctx, &m->root), want);
    for (int64_t i = 0; i < tp_file_count(base); i++) {
        const char *name = tp_file_at(base, i)->name;
        tp_scope    s = tp_scope_begin(ctx);
        tp_tensor  *w = tp_file_read(ctx, base, name, TP_DTYPES), *y = tp_adapter_merged(ctx, a, name, w);
        tp_tensor  *x = *tp_param_find(&m->root, name)->slot;

        check_ok(ctx);
        if (y != NULL) {
            got++;
            assert_int_equal(tp_dtype_of(y), TP_F64);
            for (int64_t k = 0; k < tp_numel(y); k++) {
                double u = ((const double *)tp_values(ctx, y))[k], v;

                assert_true(tp_copy_out(ctx, tp_narrow(ctx, tp_reshape(ctx, x, 1, &(int64_t){ tp_numel(x) }), 0, k, 1), TP_F64,
                                        &v, sizeof v));
                assert_true(fabs(u - v) <= most * (fabs(u) + 1e-3));
            }
        }
        tp_scope_end(ctx, s);
    }
    assert_int_equal(got, want);
}

static void check_merge(tp_dtype t, const tp_adapter_type *type, const void *opts)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    small            m;
    tp_file         *base;
    tp_adapter_file *a;

    small_init(ctx, &m, t);
    base = base_file(ctx, &m, in_scratch("base.h5"));
    tp_attach(ctx, &m.root, "(q|down)_proj", type, opts);
    fill_adapters(&m.root, 3);
    assert_true(tp_adapter_save(ctx, &m.root, in_scratch("a.h5")));
    a = tp_adapter_open(ctx, in_scratch("a.h5"), NULL);
    check_ok(ctx);
    assert_int_equal(tp_adapter_layers(a), 4);
    assert_true(tp_adapter_fits(ctx, a, base));
    compare(ctx, &m, a, base, 4);
    tp_adapter_close(a);
    tp_file_close(base);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_merged(void **state)
{
    static const tp_dtype dtypes[] = { TP_F32, TP_BF16, TP_F64 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        check_merge(dtypes[i], &tp_diablo, &(tp_diablo_opts){ .blocks = 5 });
        check_merge(dtypes[i], &tp_lora, &(tp_lora_opts){ .rank = 3, .alpha = 7 });
    }
}

/* Another base, a layer that is not there, a type that cannot be merged, NULL. */
static void test_refused(void **state)
{
    tp_ctx                    *ctx = tp_ctx_new(TP_REF, 0);
    const tp_adapter_load_opts any = { .any_base = true }, types = { .types = mine };
    small                      m;
    tp_file                   *base;
    tp_adapter_file           *a;

    (void)state;
    save_diablo(ctx, in_scratch("a.h5"));
    small_init(ctx, &m, TP_F32);
    fill_some(ctx, m.norm.w, 9, 1);
    base = base_file(ctx, &m, in_scratch("base.h5"));
    a = tp_adapter_open(ctx, in_scratch("a.h5"), NULL);
    assert_false(tp_adapter_fits(ctx, a, base));
    check_failed(ctx, TP_EARG, "--any-base", "a.h5");
    tp_adapter_close(a);
    a = tp_adapter_open(ctx, in_scratch("a.h5"), &any);
    assert_true(tp_adapter_fits(ctx, a, base));
    tp_adapter_close(a);
    a = tp_adapter_open(ctx, in_scratch("none.h5"), NULL);
    assert_null(a);
    check_failed(ctx, TP_EIO, "none.h5", "");
    assert_null(tp_adapter_open(ctx, NULL, NULL));
    check_failed(ctx, TP_EARG, "adapter_open", "");
    assert_false(tp_adapter_fits(ctx, NULL, base));
    check_failed(ctx, TP_EARG, "adapter_fits", "");
    assert_null(tp_adapter_merged(ctx, NULL, "x", NULL));
    check_failed(ctx, TP_EARG, "adapter_merged", "");
    assert_int_equal(tp_adapter_layers(NULL), 0);
    tp_adapter_close(NULL);
    tp_attach(ctx, &m.root, "q_proj", &gate_type, NULL);
    assert_true(tp_adapter_save(ctx, &m.root, in_scratch("gate.h5")));
    a = tp_adapter_open(ctx, in_scratch("gate.h5"), &types);
    assert_true(tp_adapter_fits(ctx, a, base));
    assert_null(tp_adapter_merged(ctx, a, "layers.0.q_proj.weight", m.q[0].w));
    check_failed(ctx, TP_EARG, "gate", "cannot be merged");
    tp_adapter_close(a);
    tp_file_close(base);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_merged), cmocka_unit_test(test_refused) };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
