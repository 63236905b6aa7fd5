/* test_adapter_file.c - adapters written and read: every bit back. */
#include "tests/peft/peft_files.h"

#include "core/json.h"
#include "models/llama.h"
#include "optim/optimizer.h"

/* ---- there and back ---------------------------------------------------------------------------------------------- */

static const tp_adapter_type *const mine[] = { &gate_type, NULL };

/* Saves, loads onto another model of the same weights, compares outputs, and saves again: the same bytes. */
static void check_round_trip(tp_ctx *ctx, small *m, int layers)
{
    const tp_adapter_load_opts o = { .types = mine };
    const char                *first = in_scratch("first.h5"), *second = in_scratch("second.h5");
    size_t                     n1, n2;
    char                      *a, *b;
    tp_tensor                 *y = output_of(ctx, m);
    small                      other;

    assert_true(tp_adapter_save(ctx, &m->root, first));
    check_ok(ctx);
    small_init(ctx, &other, tp_dtype_of(m->norm.w));
    assert_int_equal(tp_adapter_load(ctx, &other.root, first, &o), layers);
    check_ok(ctx);
    check_output(ctx, &other, y);
    assert_int_equal(tp_module_count(&other.root).trainable, tp_module_count(&m->root).trainable);
    assert_true(tp_adapter_save(ctx, &other.root, second));
    a = read_bytes(first, &n1);
    b = read_bytes(second, &n2);
    assert_int_equal(n1, n2);
    assert_memory_equal(a, b, n1);
    free(a);
    free(b);
    tp_release(y);
    tp_module_free(&other.root);
}

static void test_round_trips(void **state)
{
    static const tp_dtype dtypes[] = { TP_F32, TP_BF16, TP_F64 };
    tp_ctx               *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (int i = 0; i < 3; i++) {
        small m;

        small_init(ctx, &m, dtypes[i]);
        tp_attach(ctx, &m.root, "(q|down)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5, .dropout = 0.25 });
        tp_module_set_training(&m.root, false);
        fill_adapters(&m.root, 1);
        tp_module_set_training(&m.root, false);
        assert_int_equal(tp_adapter_save(ctx, &m.root, in_scratch("x.h5")), true);
        tp_adapters_detach(ctx, &m.root);
        assert_int_equal(tp_adapter_load(ctx, &m.root, in_scratch("x.h5"), NULL), 4);
        assert_true(((const tp_diablo_opts *)m.q[0].adapters->opts)->dropout == 0.25);
        assert_int_equal(((const tp_diablo_opts *)m.q[0].adapters->opts)->blocks, 5);
        assert_string_equal(m.q[0].adapters->pattern, "(q|down)_proj");
        tp_adapters_detach(ctx, &m.root);
        tp_attach(ctx, &m.root, "q_proj|down_proj", &tp_lora, &(tp_lora_opts){ .rank = 3, .alpha = -1 });
        fill_adapters(&m.root, 2);
        check_round_trip(ctx, &m, 4);
        tp_module_free(&m.root);
    }
    free_ctx(ctx);
}

/* Options differ from layer to layer, and so do types; one is a user's, with a module of its own and a switch that is
 * off. */
static void test_mixed(void **state)
{
    tp_ctx                    *ctx = tp_ctx_new(TP_REF, 0);
    const tp_adapter_load_opts o = { .types = mine };
    small                      m, other;
    const gate_opts           *g;

    (void)state;
    small_init(ctx, &m, TP_F32);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    tp_attach(ctx, &m.root, "layers.1.up_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    tp_attach(ctx, &m.root, "layers.0.up_proj", &tp_lora, &(tp_lora_opts){ .rank = 2, .alpha = 0.1 });
    tp_attach(ctx, &m.root, "layers.0.down_proj", &gate_type, &(gate_opts){ .wide = 2, .scale = -1, .sharp = -1 });
    fill_adapters(&m.root, 3);
    check_round_trip(ctx, &m, 5);
    small_init(ctx, &other, TP_F32);
    assert_int_equal(tp_adapter_load(ctx, &other.root, in_scratch("first.h5"), &o), 5);
    g = other.down[0].adapters->opts;
    assert_true(g->wide == 2 && g->scale == 0 && g->sharp == 0);
    assert_true(((const tp_lora_opts *)other.up[0].adapters->opts)->alpha == 0.1);
    assert_int_equal(((const tp_diablo_opts *)other.up[1].adapters->opts)->blocks, 3);
    assert_string_equal(other.q[1].adapters->pattern, "q_proj|layers.0.up_proj|layers.0.down_proj|layers.1.up_proj");
    tp_module_free(&other.root);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* The schema: paths, attributes, texts, as any reader of HDF5 sees them. */
static void test_schema(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    small       m;
    tp_file    *f;
    tpi_json   *j;
    size_t      n = 0;
    const char *text;

    (void)state;
    small_init(ctx, &m, TP_F32);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5 });
    assert_true(tp_adapter_save(ctx, &m.root, in_scratch("s.h5")));
    f = tp_file_open(ctx, in_scratch("s.h5"));
    assert_string_equal(tp_file_kind(f), "adapter");
    assert_int_equal(tp_file_count(f), 2);
    assert_string_equal(tp_file_at(f, 0)->name, "layers.0.q_proj.block_A");
    assert_string_equal(tp_file_at(f, 0)->section, "adapter");
    assert_string_equal(tp_file_at(f, 0)->dtype, "F32");
    assert_string_equal(tp_file_meta(f, "adapter/layers.1.q_proj@method"), "diablo");
    assert_string_equal(tp_file_meta(f, "adapter/layers.1.q_proj@blocks"), "5");
    assert_string_equal(tp_file_meta(f, "adapter/layers.1.q_proj@in_features"), "12");
    assert_string_equal(tp_file_meta(f, "base_identity"), m.root.identity);
    text = tp_file_text(f, "config/adapter.json", &n);
    j = tpi_json_parse(ctx, "x", text, n);
    assert_string_equal(tpi_json_string(tpi_json_get(j, "method"), NULL), "diablo");
    assert_string_equal(tpi_json_string(tpi_json_get(j, "targets"), NULL), "q_proj");
    assert_string_equal(tpi_json_string(tpi_json_get(j, "base_identity"), NULL), m.root.identity);
    assert_int_equal(tpi_json_integer(tpi_json_get(tpi_json_get(j, "options"), "blocks")), 5);
    assert_null(tpi_json_get(j, "layers"));
    tpi_json_free(j);
    tp_file_close(f);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* A layer that is the whole model, and a part of a model instead of its root. */
static void test_other_roots(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_linear  l;
    tp_tensor *was;
    small      m;

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 4, 4, false, TP_F32);
    tp_adapter_attach(ctx, &l, &tp_lora, &(tp_lora_opts){ .rank = 2 });
    fill_adapters(&l.m, 1);
    was = copy_of(ctx, *tp_param_find(&l.m, "lora_B")->slot);
    assert_true(tp_adapter_save(ctx, &l.m, in_scratch("one.h5")));
    tp_adapters_detach(ctx, &l.m);
    assert_int_equal(tp_adapter_load(ctx, &l.m, in_scratch("one.h5"), NULL), 1);
    check_ok(ctx);
    assert_true(same_bits(ctx, *tp_param_find(&l.m, "lora_B")->slot, was));
    tp_release(was);
    tp_module_free(&l.m);

    small_init(ctx, &m, TP_F32);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5 });
    assert_true(tp_adapter_save(ctx, &m.block[1], in_scratch("part.h5")));
    tp_adapters_detach(ctx, &m.root);
    assert_int_equal(tp_adapter_load(ctx, &m.block[0], in_scratch("part.h5"), NULL), 1);
    check_ok(ctx);
    assert_non_null(m.q[1].adapters);
    assert_null(m.q[0].adapters);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_save_merged_and_frozen(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    small      m, other;
    tp_tensor *y;

    (void)state;
    small_init(ctx, &m, TP_F32);
    for (int i = 0; i < BLOCKS; i++)
        tp_adapter_attach(ctx, &m.q[i], &tp_diablo, &(tp_diablo_opts){ .blocks = 5 });
    fill_adapters(&m.root, 1);
    y = output_of(ctx, &m);
    tp_merge(ctx, &m.root); /* the base's identity is asked for now only */
    assert_true(tp_adapter_save(ctx, &m.root, in_scratch("m.h5")));
    small_init(ctx, &other, TP_F32);
    assert_int_equal(tp_adapter_load(ctx, &other.root, in_scratch("m.h5"), &(tp_adapter_load_opts){ .frozen = true }),
                     2);
    check_ok(ctx);
    assert_int_equal(tp_module_count(&other.root).trainable, 0);
    check_output(ctx, &other, y);
    tp_release(y);
    tp_module_free(&other.root);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* A model made here, its file, and an adapter: whoever opens the two files later gets what was saved. */
static void check_with_model(tp_ctx *ctx, bool tied)
{
    tp_llama_config c = { .vocab_size = 20, .hidden_size = 16, .intermediate_size = 24, .num_hidden_layers = 1,
                          .num_attention_heads = 2, .initializer_range = 0.2, .tie_word_embeddings = tied };
    tp_scope        s = tp_scope_begin(ctx);
    tp_tensor      *ids = tp_from(ctx, TP_I32, TP_SHAPE(1, 3), (int32_t[]){ 3, 1, 19 }), *want, *got;
    tp_llama       *model = tp_llama_new(ctx, &c, TP_BF16);
    char            first[33];

    tp_record(ctx, false);
    snprintf(first, sizeof first, "%s", tp_llama_identity(ctx, model));
    tp_optim_free(tp_adamw_new(ctx, tp_llama_root(model), NULL));
    fill_some(ctx, *tp_param_find(tp_llama_root(model), "model.norm.weight")->slot, 1, 1); /* as if it were trained */
    assert_string_not_equal(tp_llama_identity(ctx, model), first);
    tp_attach(ctx, tp_llama_root(model), "(q|down)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    fill_adapters(tp_llama_root(model), 1);
    assert_true(tp_adapter_save(ctx, tp_llama_root(model), in_scratch("adapter.h5")));
    want = tp_llama_hidden(ctx, model, ids, NULL, NULL, NULL);
    tp_adapters_detach(ctx, tp_llama_root(model));
    assert_true(tp_llama_save(ctx, model, in_scratch("model.h5")));
    tp_llama_free(model);
    model = tp_llama_load(ctx, in_scratch("model.h5"), TP_BF16);
    assert_int_equal(tp_adapter_load(ctx, tp_llama_root(model), in_scratch("adapter.h5"), NULL), 2);
    got = tp_llama_hidden(ctx, model, ids, NULL, NULL, NULL);
    check_ok(ctx);
    assert_true(same_bits(ctx, got, want));
    tp_llama_free(model);
    tp_record(ctx, true);
    tp_scope_end(ctx, s);
}

static void test_with_model(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    check_with_model(ctx, false);
    check_with_model(ctx, true);
    free_ctx(ctx);
}

static void test_save_refused(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    size_t  n1, n2;
    char   *before, *after;
    small   m;

    (void)state;
    save_diablo(ctx, in_scratch("kept.h5"));
    before = read_bytes(in_scratch("kept.h5"), &n1);
    small_init(ctx, &m, TP_F32);
    assert_false(tp_adapter_save(ctx, &m.root, in_scratch("kept.h5")));
    check_failed(ctx, TP_EARG, "no adapters", NULL);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    assert_false(tp_adapter_save(ctx, &m.root, in_scratch("no/where.h5")));
    check_failed(ctx, TP_EIO, "no/where.h5", NULL);
    assert_false(tp_adapter_save(ctx, &m.root, NULL));
    check_failed(ctx, TP_EARG, "no path", NULL);
    assert_false(tp_adapter_save(ctx, NULL, "x"));
    check_failed(ctx, TP_EARG, "no model", NULL);
    tp_attach(ctx, &m.root, "q_proj", &tp_lora, NULL);
    assert_false(tp_adapter_save(ctx, &m.root, in_scratch("kept.h5")));
    check_failed(ctx, TP_EARG, "layers.0.q_proj has several adapters", NULL);
    after = read_bytes(in_scratch("kept.h5"), &n2); /* as it was after a failure */
    assert_int_equal(n1, n2);
    assert_memory_equal(before, after, n1);
    free(before);
    free(after);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* ---- in a checkpoint --------------------------------------------------------------------------------------------- */

static void adapters_of(tp_ctx *ctx, void *user, tp_state *st)
{
    int64_t step = 3;

    tp_state_int(ctx, st, NULL, "step", &step);
    tp_adapters_state(ctx, user, st);
}

/* A part of a checkpoint, which tp_adapter_load reads too; type, options and base must be the same. */
static void test_state(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    small   m, other;

    (void)state;
    small_init(ctx, &m, TP_F32);
    small_init(ctx, &other, TP_F32);
    tp_attach(ctx, &m.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    fill_adapters(&m.root, 5);
    assert_true(tp_state_save(ctx, in_scratch("step.h5"), "training", adapters_of, &m.root));
    tp_attach(ctx, &other.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    assert_true(tp_state_load(ctx, in_scratch("step.h5"), adapters_of, &other.root, NULL));
    check_ok(ctx);
    assert_true(same_bits(ctx, *other.q[1].adapters->m.param->slot, *m.q[1].adapters->m.param->slot));
    tp_adapters_detach(ctx, &other.root);
    assert_int_equal(tp_adapter_load(ctx, &other.root, in_scratch("step.h5"), NULL), 4);
    assert_true(same_bits(ctx, *other.up[0].adapters->m.param->slot, *m.up[0].adapters->m.param->slot));
    tp_adapters_detach(ctx, &other.root);
    tp_attach(ctx, &other.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4, .dropout = 0.5 });
    assert_false(tp_state_load(ctx, in_scratch("step.h5"), adapters_of, &other.root, NULL));
    check_failed(ctx, TP_EFORMAT, "layers.0.q_proj@dropout is 0, expected 0.5", "layers.1.up_proj@dropout");
    tp_adapters_detach(ctx, &other.root);
    tp_attach(ctx, &other.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    assert_false(tp_state_load(ctx, in_scratch("step.h5"), adapters_of, &other.root, NULL));
    check_failed(ctx, TP_EFORMAT, "\"layers.0.up_proj.block_A\" has no place here", NULL);
    tp_adapters_detach(ctx, &other.root);
    fill_some(ctx, other.norm.w, 1, 1);
    other.root.identity = NULL;
    tp_attach(ctx, &other.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    assert_false(tp_state_load(ctx, in_scratch("step.h5"), adapters_of, &other.root, NULL));
    check_failed(ctx, TP_EFORMAT, "base_identity is", NULL);
    tp_module_free(&other.root);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_other_roots),
        cmocka_unit_test(test_save_merged_and_frozen),
        cmocka_unit_test(test_with_model),
        cmocka_unit_test(test_save_refused),
        cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
