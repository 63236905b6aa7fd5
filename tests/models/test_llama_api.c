/* test_llama_api.c - models/llama.h: configurations, saving, identity, the cache: what they promise and what they refuse. */
#include "llama_api.h"

#include <ftw.h>
#include <sys/stat.h>

static char scratch[32];

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "tapir-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : 1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static int drop_scratch(void **state)
{
    (void)state;
    return nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void in_scratch(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", scratch, name);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static tp_llama *chat_model(tp_ctx *ctx)
{
    const char *source = getenv("TAPIR_SOURCE");
    char        path[2100];
    tp_llama   *model;

    snprintf(path, sizeof path, "%s/tests/golden/tiny-chat", source ? source : ".");
    model = tp_llama_load(ctx, path, TP_F32);
    assert_string_equal(tp_error(ctx), "");
    return model;
}

/* Logits [n, vocab] of some_ids, for free(). */
static float *logits_of(tp_ctx *ctx, tp_llama *model, int64_t n)
{
    int64_t  vocab = tp_llama_config_of(model)->vocab_size;
    size_t   size = (size_t)(n * vocab) * sizeof(float);
    float   *p = malloc(size);
    tp_scope s = tp_scope_begin(ctx);

    tp_copy_out(ctx, tp_llama_logits(ctx, model, tp_llama_hidden(ctx, model, some_ids(ctx, n, vocab), NULL, NULL, NULL)), TP_F32,
                p, size);
    tp_scope_end(ctx, s);
    assert_string_equal(tp_error(ctx), "");
    return p;
}

static bool is_tied(tp_llama *model)
{
    tp_param *head = tp_param_find(tp_llama_root(model), "lm_head.weight");
    tp_param *embed = tp_param_find(tp_llama_root(model), "model.embed_tokens.weight");

    assert_non_null(head);
    assert_non_null(embed);
    return tp_same_storage(*head->slot, *embed->slot);
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

#define SIZES "\"vocab_size\": 40, \"hidden_size\": 16, \"intermediate_size\": 24, \"num_hidden_layers\": 2"

static bool read_config(tp_ctx *ctx, const char *json, tp_llama_config *c)
{
    return tp_llama_config_read(ctx, "a.json", json, strlen(json), c);
}

static void test_config_read(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama_config c;

    (void)state;
    assert_true(read_config(ctx, "{" SIZES ", \"num_attention_heads\": 4}", &c));
    assert_string_equal(c.model_type, "llama");
    assert_string_equal(c.rope_type, "default");
    assert_int_equal(c.num_key_value_heads, 4);
    assert_int_equal(c.head_dim, 4);
    assert_int_equal(c.max_position_embeddings, 2048);
    assert_true(c.rms_norm_eps == 1e-6 && c.rope_theta == 10000 && c.initializer_range == 0.02);
    assert_false(c.tie_word_embeddings || c.attention_bias || c.qkv_bias || c.mlp_bias);
    assert_true(read_config(ctx, "{" SIZES ", \"num_attention_heads\": 4, \"model_type\": \"qwen2\"}", &c));
    assert_true(c.qkv_bias && !c.attention_bias);
    assert_true(read_config(ctx,
                            "{" SIZES ", \"num_attention_heads\": 8, \"model_type\": \"mistral\", \"sliding_window\": 5,"
                            " \"head_dim\": 6, \"rope_theta\": 5e5, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
                            &c));
    assert_int_equal(c.sliding_window, 5);
    assert_int_equal(c.head_dim, 6);
    assert_string_equal(c.rope_type, "linear");
    assert_true(c.rope_factor == 2 && c.rope_theta == 5e5);
    assert_true(read_config(ctx,
                            "{" SIZES ", \"num_attention_heads\": 4, \"rope_parameters\": {\"rope_theta\": 7, "
                            "\"rope_type\": \"llama3\", \"factor\": 32}}",
                            &c));
    assert_true(c.rope_theta == 7 && c.rope_factor == 32 && c.rope_original_max_position_embeddings == 8192);
    assert_string_equal(tp_error(ctx), "");
    tp_ctx_free(ctx);
}

static void test_config_refused(void **state)
{
    static const struct {
        const char *json, *says;
    } wrong[] = {
        { "{", "a.json" },
        { "{}", "vocab_size" },
        { "{" SIZES "}", "num_attention_heads" },
        { "{" SIZES ", \"num_attention_heads\": 0}", "num_attention_heads" },
        { "{" SIZES ", \"num_attention_heads\": \"4\"}", "num_attention_heads" },
        { "{" SIZES ", \"num_attention_heads\": 5}", "no multiple" },
        { "{" SIZES ", \"num_attention_heads\": 16}", "must be even" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"num_key_value_heads\": 3}", "a multiple" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"model_type\": \"gpt2\"}", "'gpt2'" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"hidden_act\": \"gelu\"}", "'gelu'" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"quantization_config\": {}}", "quantization_config" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"rope_scaling\": {\"rope_type\": \"yarn\"}}", "'yarn'" },
        { "{" SIZES ", \"num_attention_heads\": 4, \"model_type\": \"qwen2\", \"use_sliding_window\": true}", "sliding" },
    };
    tp_ctx         *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama_config c;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(read_config(ctx, wrong[i].json, &c));
        failed(ctx, TP_EFORMAT, wrong[i].says);
    }
    assert_false(tp_llama_config_read(ctx, "a.json", NULL, 0, &c));
    failed(ctx, TP_EARG, "llama_config_read");
    tp_ctx_free(ctx);
}

static void test_new(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama_config c = { .vocab_size = 8, .hidden_size = 8, .intermediate_size = 8, .num_hidden_layers = 1,
                          .num_attention_heads = 2 };
    tp_llama       *model = tp_llama_new(ctx, &c, TP_BF16);

    (void)state;
    assert_non_null(model);
    assert_int_equal(tp_llama_dtype(model), TP_BF16);
    assert_null(tp_llama_tokenizer(model));
    assert_int_equal(tp_llama_config_of(model)->num_key_value_heads, 2);
    assert_int_equal(tp_llama_config_of(model)->head_dim, 4);
    assert_int_equal(tp_llama_config_of(model)->max_position_embeddings, 2048);
    assert_string_equal(tp_llama_config_of(model)->model_type, "llama");
    assert_false(is_tied(model));
    /* two tables, four square projections of attention, three of the feed-forward, three norms */
    assert_int_equal(tp_module_count(tp_llama_root(model)).trainable, 2 * 64 + 4 * 64 + 3 * 64 + 3 * 8);
    tp_llama_free(model);

    assert_null(tp_llama_new(ctx, NULL, TP_F32));
    failed(ctx, TP_EARG, "no configuration");
    assert_null(tp_llama_new(ctx, &c, TP_I32));
    failed(ctx, TP_EDTYPE, "i32");
    c.qkv_bias = true;
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "qkv_bias");
    c.qkv_bias = false;
    c.sliding_window = 4;
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "sliding_window");
    c.sliding_window = 0;
    snprintf(c.rope_type, sizeof c.rope_type, "yarn");
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "'yarn'");
    c.rope_type[0] = '\0';
    snprintf(c.model_type, sizeof c.model_type, "gpt2");
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "'gpt2'");
    c.model_type[0] = '\0';
    c.num_attention_heads = 3;
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "no multiple");
    c.hidden_size = 0;
    assert_null(tp_llama_new(ctx, &c, TP_F32));
    failed(ctx, TP_EFORMAT, "hidden_size");
    assert_null(tp_llama_load(ctx, "no/such/model", TP_F32));
    failed(ctx, TP_EIO, "no/such/model");
    tp_llama_free(NULL);
    assert_null(tp_llama_root(NULL));
    assert_null(tp_llama_config_of(NULL));
    assert_null(tp_llama_tokenizer(NULL));
    tp_ctx_free(ctx);
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

static void check_saved(tp_ctx *ctx, tp_llama *model, const char *path, bool tied)
{
    size_t    size = (size_t)(PLACES * tp_llama_config_of(model)->vocab_size) * sizeof(float);
    tp_llama *again, *third;
    float    *was, *is;
    char      identity[40];

    assert_true(tp_llama_save(ctx, model, path));
    again = tp_llama_load(ctx, path, TP_F32);
    assert_string_equal(tp_error(ctx), "");
    was = logits_of(ctx, model, PLACES);
    is = logits_of(ctx, again, PLACES);
    assert_memory_equal(was, is, size);
    assert_int_equal(is_tied(model), tied);
    assert_int_equal(is_tied(again), tied);
    assert_int_equal(tp_llama_tokenizer(again) != NULL, tp_llama_tokenizer(model) != NULL);
    snprintf(identity, sizeof identity, "%s", tp_llama_identity(ctx, again));
    assert_int_equal(strlen(identity), 32);
    assert_string_equal(tp_llama_identity(ctx, again), identity);
    third = tp_llama_load(ctx, path, TP_BF16); /* who the weights are does not depend on what they are converted to */
    assert_string_equal(tp_llama_identity(ctx, third), identity);
    tp_llama_free(third);
    free(was);
    free(is);
    tp_llama_free(again);
}

static void test_save(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama   *model = chat_model(ctx);
    char        path[64];
    struct stat file[2];

    (void)state;
    in_scratch(path, sizeof path, "chat.h5");
    assert_non_null(tp_llama_tokenizer(model));
    check_saved(ctx, model, path, true);
    tp_llama_free(model);
    for (int tied = 0; tied < 2; tied++) {
        in_scratch(path, sizeof path, tied ? "tied.h5" : "two.h5");
        model = small_model(ctx, tied, 5);
        check_saved(ctx, model, path, tied);
        assert_int_equal(stat(path, &file[tied]), 0);
        tp_llama_free(model);
    }
    assert_true(file[1].st_size + (off_t)(VOCAB * 16 * sizeof(float)) <= file[0].st_size); /* the table stands there once */
    model = small_model(ctx, false, 5);
    in_scratch(path, sizeof path, "no-folder/model.h5");
    assert_false(tp_llama_save(ctx, model, path));
    failed(ctx, TP_EIO, "no-folder");
    assert_false(tp_llama_save(ctx, model, NULL));
    failed(ctx, TP_EARG, "llama_save");
    assert_false(tp_llama_save(ctx, NULL, path));
    failed(ctx, TP_EARG, "llama_save");
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

static void llama_and_more(tp_ctx *ctx, void *user, tp_state *st)
{
    static double lr = 0.5;

    tp_llama_state(ctx, user, st);
    tp_state_real(ctx, st, "optimizer", "lr", &lr);
    tp_state_tensor(ctx, st, "optimizer/state", "model.norm.weight.m",
                    *tp_param_find(tp_llama_root(user), "model.norm.weight")->slot);
}

/* A model in a checkpoint: loaded into one that is there, and opened as a model. */
static void test_state(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama *model = chat_model(ctx), *again;
    float    *was = logits_of(ctx, model, PLACES), *is;
    char      path[64];

    (void)state;
    in_scratch(path, sizeof path, "step.h5");
    assert_true(tp_state_save(ctx, path, "training", llama_and_more, model));
    tp_init_constant(ctx, *tp_param_find(tp_llama_root(model), "model.norm.weight")->slot, 0.5);
    assert_true(tp_state_load(ctx, path, llama_and_more, model, NULL));
    for (int i = 0; i < 2; i++) {
        again = i == 0 ? model : tp_llama_load(ctx, path, TP_F32);
        assert_string_equal(tp_error(ctx), "");
        is = logits_of(ctx, again, PLACES);
        assert_memory_equal(was, is, (size_t)(PLACES * tp_llama_config_of(again)->vocab_size) * sizeof(float));
        assert_non_null(tp_llama_tokenizer(again));
        free(is);
        tp_llama_free(again);
    }
    free(was);
    tp_ctx_free(ctx);
}

/* Every field of a configuration comes back from the file. */
static void test_save_config(void **state)
{
    tp_llama_config shape[3] = { small_shape(false), small_shape(true), small_shape(false) };
    tp_ctx         *ctx = tp_ctx_new(TP_CPU, 0);
    char            path[64];

    (void)state;
    snprintf(shape[0].model_type, sizeof shape[0].model_type, "qwen2");
    snprintf(shape[0].rope_type, sizeof shape[0].rope_type, "llama3");
    shape[0].rope_factor = 8;
    snprintf(shape[1].model_type, sizeof shape[1].model_type, "mistral");
    snprintf(shape[1].rope_type, sizeof shape[1].rope_type, "linear");
    shape[1].sliding_window = 3;
    shape[2].attention_bias = shape[2].mlp_bias = true;
    shape[2].rope_theta = 123.5;
    for (int i = 0; i < 3; i++) {
        tp_llama *model = tp_llama_new(ctx, &shape[i], TP_F32), *again;

        assert_string_equal(tp_error(ctx), "");
        snprintf(path, sizeof path, "%s/config-%d.h5", scratch, i);
        check_saved(ctx, model, path, shape[i].tie_word_embeddings);
        again = tp_llama_load(ctx, path, TP_F32);
        assert_memory_equal(tp_llama_config_of(again), tp_llama_config_of(model), sizeof *shape);
        tp_llama_free(again);
        tp_llama_free(model);
    }
    tp_ctx_free(ctx);
}

static void test_identity(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama *a = small_model(ctx, true, 1), *b = small_model(ctx, true, 1), *c = small_model(ctx, true, 2);

    (void)state;
    assert_string_equal(tp_llama_identity(ctx, a), tp_llama_identity(ctx, b));
    assert_string_not_equal(tp_llama_identity(ctx, a), tp_llama_identity(ctx, c));
    assert_null(tp_llama_identity(ctx, NULL));
    failed(ctx, TP_EARG, "llama_identity");
    tp_llama_free(a);
    tp_llama_free(b);
    tp_llama_free(c);
    tp_ctx_free(ctx);
}

/* The key/values of a saved model, by number and by key. */
static void test_meta(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama   *model = small_model(ctx, true, 1);
    const char *key, *value;
    char        path[64];
    tp_file    *f;
    int64_t     n;

    (void)state;
    in_scratch(path, sizeof path, "meta.h5");
    assert_true(tp_llama_save(ctx, model, path));
    tp_llama_free(model);
    f = tp_file_open(ctx, path);
    n = tp_file_meta_count(f);
    assert_true(n > 0);
    for (int64_t i = 0; i < n; i++) {
        assert_true(tp_file_meta_at(f, i, &key, &value));
        assert_string_equal(tp_file_meta(f, key), value);
    }
    assert_false(tp_file_meta_at(f, n, &key, &value));
    assert_false(tp_file_meta_at(f, -1, &key, &value));
    tp_file_close(f);
    assert_string_equal(tp_error(ctx), "");
    tp_ctx_free(ctx);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

/* Logits with a cache filled in two steps are those of one pass without. */
static void test_cache(void **state)
{
    tp_ctx      *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama    *model = small_model(ctx, true, 3);
    tp_kv_cache *cache = tp_kv_cache_new(ctx, model, 1, PLACES);
    tp_tensor   *ids = some_ids(ctx, PLACES, VOCAB), *h;
    float       *want = logits_of(ctx, model, PLACES), got[VOCAB];
    bool         was = tp_record(ctx, false);

    (void)state;
    assert_int_equal(tp_kv_cache_length(cache), 0);
    tp_llama_hidden(ctx, model, tp_contiguous(ctx, tp_narrow(ctx, ids, 1, 0, 5)), NULL, NULL, cache);
    assert_int_equal(tp_kv_cache_length(cache), 5);
    h = tp_llama_hidden(ctx, model, tp_contiguous(ctx, tp_narrow(ctx, ids, 1, 5, PLACES - 5)), NULL, NULL, cache);
    assert_int_equal(tp_kv_cache_length(cache), PLACES);
    h = tp_contiguous(ctx, tp_narrow(ctx, h, 1, PLACES - 6, 1));
    assert_true(tp_copy_out(ctx, tp_llama_logits(ctx, model, h), TP_F32, got, sizeof got));
    for (int i = 0; i < VOCAB; i++)
        assert_true(fabsf(got[i] - want[(PLACES - 1) * VOCAB + i]) < 1e-4f);
    assert_null(tp_llama_hidden(ctx, model, some_ids(ctx, 1, VOCAB), NULL, NULL, cache));
    failed(ctx, TP_EARG, "cache");
    assert_int_equal(tp_kv_cache_length(cache), PLACES);
    tp_record(ctx, was);
    free(want);
    tp_kv_cache_free(cache);
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

static void test_cache_refused(void **state)
{
    tp_ctx      *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama    *model = small_model(ctx, true, 3), *other = small_model(ctx, true, 3);
    tp_kv_cache *cache;
    tp_tensor   *ids = some_ids(ctx, 2, VOCAB);
    bool         was;

    (void)state;
    assert_null(tp_kv_cache_new(ctx, model, 1, PLACES + 1));
    failed(ctx, TP_EARG, "positions");
    assert_null(tp_kv_cache_new(ctx, model, 0, 1));
    failed(ctx, TP_EARG, "kv_cache_new");
    assert_null(tp_kv_cache_new(ctx, NULL, 1, 1));
    failed(ctx, TP_EARG, "kv_cache_new");
    cache = tp_kv_cache_new(ctx, model, 2, 4);
    assert_null(tp_llama_hidden(ctx, model, tp_zeros(ctx, TP_I32, TP_SHAPE(2, 2)), NULL, NULL, cache));
    failed(ctx, TP_EARG, "recording");
    was = tp_record(ctx, false);
    assert_null(tp_llama_hidden(ctx, model, ids, NULL, NULL, cache)); /* one row for two sequences */
    failed(ctx, TP_EARG, "cache");
    assert_null(tp_llama_hidden(ctx, other, tp_zeros(ctx, TP_I32, TP_SHAPE(2, 2)), NULL, NULL, cache));
    failed(ctx, TP_EARG, "cache");
    tp_record(ctx, was);
    assert_int_equal(tp_kv_cache_length(cache), 0);
    assert_int_equal(tp_kv_cache_length(NULL), 0);
    tp_kv_cache_free(cache);
    tp_kv_cache_free(NULL);
    tp_llama_free(model);
    tp_llama_free(other);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_read),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_save),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_save_config),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_refused),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
