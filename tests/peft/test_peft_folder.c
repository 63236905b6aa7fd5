/* test_peft_folder.c - adapters of HF PEFT: one that it has written, and folders that ask for what is not LoRA as it is here. */
#include "tests/peft/peft_files.h"

#include "core/json.h"
#include "models/llama.h"

/* ---- PEFT folders ----------------------------------------------------------------------------------------------------- */

static void test_peft_golden(void **state)
{
    const char *source = getenv("TAPIR_SOURCE");
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    char        path[2048];
    tp_llama   *model;
    tpi_json   *golden;
    tp_tensor  *logits;
    int32_t     ids[4];
    double      far = 0;

    (void)state;
    source = source ? source : ".";
    snprintf(path, sizeof path, "%s/tests/golden/tiny-llama", source);
    model = tp_llama_load(ctx, path, TP_F32);
    snprintf(path, sizeof path, "%s/tests/golden/peft-lora/golden.json", source);
    golden = tpi_json_load(ctx, path, 1 << 20);
    snprintf(path, sizeof path, "%s/tests/golden/peft-lora", source);
    assert_int_equal(tp_adapter_load(ctx, tp_llama_root(model), path, NULL), 4);
    check_ok(ctx);
    assert_int_equal(tp_module_count(tp_llama_root(model)).trainable, 2 * (3 * 128 + 3 * 136));
    tp_module_set_training(tp_llama_root(model), false);
    for (size_t i = 0; i < 4; i++)
        ids[i] = (int32_t)tpi_json_integer(tpi_json_at(tpi_json_get(golden, "ids"), i));
    logits = tp_llama_logits(ctx, model, tp_llama_hidden(ctx, model, tp_from(ctx, TP_I32, TP_SHAPE(1, 4), ids), NULL, NULL, NULL));
    check_ok(ctx);
    for (int64_t i = 0; i < 4 * 128; i++) {
        double want = tpi_json_real(tpi_json_at(tpi_json_at(tpi_json_get(golden, "logits"), (size_t)i / 128), (size_t)i % 128));
        double off = fabs(value_at(ctx, logits, i) - want);

        far = off > far ? off : far;
    }
    assert_true(far < 5e-5);
    tpi_json_free(golden);
    tp_llama_free(model);
    free_ctx(ctx);
}

/* A PEFT folder made by hand for q_proj of block 0. */
static const char *make_peft(tp_ctx *ctx, const char *json, const char *a, const char *b)
{
    const char *folder = in_scratch("peft"), *config = in_scratch("peft/adapter_config.json");
    tp_scope    s = tp_scope_begin(ctx);
    tp_writer  *w;

    mkdir(folder, 0700);
    w = tp_writer_open(ctx, in_scratch("peft/adapter_model.safetensors"), "safetensors");
    tp_writer_tensor(ctx, w, NULL, a, make_some(ctx, TP_BF16, TP_SHAPE(2, WIDE), 1));
    if (b != NULL)
        tp_writer_tensor(ctx, w, NULL, b, make_some(ctx, TP_BF16, TP_SHAPE(WIDE, 2), 2));
    assert_true(tp_writer_close(ctx, w));
    write_bytes(config, json, strlen(json));
    tp_scope_end(ctx, s);
    return folder;
}

#define PEFT_A "base_model.model.layers.0.q_proj.lora_A.weight"
#define PEFT_B "base_model.model.layers.0.q_proj.lora_B.weight"
#define PEFT "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 6, \"lora_dropout\": 0.5, \"target_modules\": [\"q_proj\"]"

static void test_peft_folder(void **state)
{
    tp_ctx             *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope            s = tp_scope_begin(ctx);
    const tp_lora_opts *o;
    tp_tensor          *b;
    small               m;

    (void)state;
    small_init(ctx, &m, TP_F32);
    assert_int_equal(tp_adapter_load(ctx, &m.root, make_peft(ctx, PEFT "}", PEFT_A, PEFT_B), NULL), 1);
    check_ok(ctx);
    o = m.q[0].adapters->opts;
    assert_true(o->rank == 2 && o->alpha == 6 && o->dropout == 0.5);
    b = *tp_param_find(&m.root, "layers.0.q_proj.lora_B")->slot; /* stored as bf16, kept as f32 */
    assert_int_equal(tp_dtype_of(b), TP_F32);
    assert_true(distance(ctx, b, make_some(ctx, TP_BF16, TP_SHAPE(WIDE, 2), 2)) == 0);
    tp_adapters_detach(ctx, &m.root);
    assert_int_equal(tp_adapter_load(ctx, &m.root,
                                     make_peft(ctx, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 0}", PEFT_A, PEFT_B), NULL), 1);
    assert_true(((const tp_lora_opts *)m.q[0].adapters->opts)->alpha == 0); /* zero is zero, not the default */
    tp_scope_end(ctx, s);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_peft_refused(void **state)
{
    static const struct {
        const char *json, *a, *b;
        tp_code     code;
        const char *part;
    } bad[] = {
        { "{\"peft_type\": \"LOHA\"}", PEFT_A, PEFT_B, TP_EFORMAT, "peft_type 'LOHA', expected LORA" },
        { "{}", PEFT_A, PEFT_B, TP_EFORMAT, "peft_type ''" },
        { "[]", PEFT_A, PEFT_B, TP_EFORMAT, "peft" },
        { PEFT ", \"use_dora\": true}", PEFT_A, PEFT_B, TP_EFORMAT, "use_dora is set" },
        { PEFT ", \"use_rslora\": true}", PEFT_A, PEFT_B, TP_EFORMAT, "use_rslora is set" },
        { PEFT ", \"fan_in_fan_out\": true}", PEFT_A, PEFT_B, TP_EFORMAT, "fan_in_fan_out is set" },
        { PEFT ", \"alpha_pattern\": {\"q_proj\": 2}}", PEFT_A, PEFT_B, TP_EFORMAT, "alpha_pattern is set" },
        { PEFT ", \"modules_to_save\": [\"lm_head\"]}", PEFT_A, PEFT_B, TP_EFORMAT, "modules_to_save is set" },
        { PEFT ", \"some_day\": {\"x\": 1}}", PEFT_A, PEFT_B, TP_EFORMAT, "some_day is set" },
        { PEFT ", \"bias\": \"all\"}", PEFT_A, PEFT_B, TP_EFORMAT, "bias is 'all'" },
        { PEFT ", \"init_lora_weights\": \"pissa\"}", PEFT_A, PEFT_B, TP_EFORMAT, "init_lora_weights is 'pissa'" },
        { PEFT "}", PEFT_A, NULL, TP_EFORMAT, "there is no base_model.model.layers.0.q_proj.lora_B.weight" },
        { PEFT "}", PEFT_A, "layers.0.q_proj.lora_B", TP_EFORMAT, "not of the form base_model.model." },
        { PEFT "}", PEFT_A, "base_model.model.layers.9.q_proj.lora_B.weight", TP_EARG, "layers.9.q_proj.lora_B" },
        { "{\"peft_type\": \"LORA\", \"r\": 3}", PEFT_A, PEFT_B, TP_ESHAPE, "lora_A is [2, 12], the model needs [3, 12]" },
        { "{\"peft_type\": \"LORA\", \"r\": 2.5}", PEFT_A, PEFT_B, TP_EFORMAT, "rank is 2.5" },
        { "{\"peft_type\": \"LORA\", \"r\": \"2\"}", PEFT_A, PEFT_B, TP_EFORMAT, "r is" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_dropout\": 1}", PEFT_A, PEFT_B, TP_EARG, "dropout is 1" },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    small   m;

    (void)state;
    small_init(ctx, &m, TP_F32);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(ctx, &m, make_peft(ctx, bad[i].json, bad[i].a, bad[i].b), NULL, bad[i].code, bad[i].part, NULL);
    unlink(in_scratch("peft/adapter_config.json"));
    refused(ctx, &m, in_scratch("peft"), NULL, TP_EFORMAT, "no adapter_config.json", NULL);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peft_golden), cmocka_unit_test(test_peft_folder), cmocka_unit_test(test_peft_refused),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
