/* test_adapter_refused.c - wrong adapter files: each refused with one clear line, and nothing changed. */
#include "tests/peft/peft_files.h"

static char last_message[1024];

static void keep_message(void *user, tp_level level, const char *text)
{
    (void)user;
    if (level == TP_WARNING)
        snprintf(last_message, sizeof last_message, "%s", text);
}

static void test_other_base(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    const char *there, *here;
    char        path[128];
    small       m, same;

    (void)state;
    snprintf(path, sizeof path, "%s", in_scratch("base.h5"));
    save_diablo(ctx, path);
    small_init(ctx, &same, TP_F32);
    there = tp_module_identity(ctx, &same.root);
    small_init(ctx, &m, TP_F32);
    tp_f32(ctx, m.norm.w)[0] = 1.25f; /* one number differs */
    here = tp_module_identity(ctx, &m.root);
    refused(ctx, &m, path, NULL, TP_EARG, there, here);
    refused(ctx, &m, path, &(tp_adapter_load_opts){ .frozen = true }, TP_EARG, "--any-base", path);
    tp_on_message(ctx, keep_message, NULL);
    assert_int_equal(tp_adapter_load(ctx, &m.root, path, &(tp_adapter_load_opts){ .any_base = true }), 4);
    check_ok(ctx);
    assert_non_null(strstr(last_message, there));
    assert_non_null(strstr(last_message, here));
    refused(ctx, &m, path, &(tp_adapter_load_opts){ .any_base = true }, TP_EARG, "layers.0.q_proj", "has an adapter of type diablo already");
    tp_module_free(&m.root);
    tp_module_free(&same.root);
    free_ctx(ctx);
}

/* Another model altogether: layers that are not there, shapes that do not fit. */
static void test_other_shapes(void **state)
{
    const tp_adapter_load_opts any = { .any_base = true };
    tp_ctx                    *ctx = tp_ctx_new(TP_REF, 0);
    small                      m;
    tp_linear                  wide;

    (void)state;
    save_diablo(ctx, in_scratch("d.h5"));
    small_init(ctx, &m, TP_F32);
    tp_module_free(&m.up[1].m);
    refused(ctx, &m, in_scratch("d.h5"), &any, TP_EARG, "layers.1.up_proj.block_A", "does not have");
    tp_linear_init(ctx, &wide, &m.block[1], "up_proj", WIDE, 24, false, TP_F32);
    refused(ctx, &m, in_scratch("d.h5"), &any, TP_ESHAPE, "layers.1.up_proj.block_A is [4, 3, 5]", "needs [4, 3, 6]");
    tp_module_free(&wide.m);
    tp_linear_init(ctx, &wide, &m.block[1], "up_proj", 2, 2, false, TP_F32);
    refused(ctx, &m, in_scratch("d.h5"), &any, TP_EARG, "layers.1.up_proj: diablo: 4 blocks", NULL);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* An adapter file made by hand: one tensor of diablo on q_proj of each block, and this text. */
static const char *make_file(tp_ctx *ctx, const char *kind, const char *json, const char *name0, const char *name1)
{
    const char *path = in_scratch("made.h5");
    tp_scope    s = tp_scope_begin(ctx);
    tp_writer  *w = tp_writer_open(ctx, path, kind);

    if (name0 != NULL)
        tp_writer_tensor(ctx, w, "adapter", name0, tp_ones(ctx, TP_F32, TP_SHAPE(4, 3, 3)));
    if (name1 != NULL)
        tp_writer_tensor(ctx, w, "adapter", name1, tp_ones(ctx, TP_F32, TP_SHAPE(4, 3, 3)));
    tp_writer_tensor(ctx, w, "optimizer/state", "layers.0.q_proj.block_A", tp_ones(ctx, TP_F32, TP_SHAPE(1)));
    if (json != NULL)
        tp_writer_text(ctx, w, "config/adapter.json", json, strlen(json));
    assert_true(tp_writer_close(ctx, w));
    tp_scope_end(ctx, s);
    return path;
}

#define DIABLO4 "{\"method\": \"diablo\", \"options\": {\"blocks\": 4}"
#define Q0 "layers.0.q_proj.block_A"
#define Q1 "layers.1.q_proj.block_A"

static void test_made_files(void **state)
{
    static const struct {
        const char *json, *name0, *name1;
        tp_code     code;
        const char *part;
    } bad[] = {
        { NULL, Q0, NULL, TP_EFORMAT, "no config/adapter.json" },
        { "{", Q0, NULL, TP_EFORMAT, ":1:1" },
        { "{}", Q0, NULL, TP_EFORMAT, "type ''" },
        { "{\"method\": \"dora\"}", Q0, NULL, TP_EFORMAT, "type 'dora', which is not known" },
        { "{\"method\": 3}", Q0, NULL, TP_EFORMAT, "method" },
        { "{\"method\": \"diablo\", \"options\": 5}", Q0, NULL, TP_EFORMAT, "options" },
        { "{\"method\": \"diablo\", \"options\": {\"block\": 4}}", Q0, NULL, TP_EFORMAT, "no option 'block'" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": \"4\"}}", Q0, NULL, TP_EFORMAT, "blocks" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": 4.5}}", Q0, NULL, TP_EFORMAT, "blocks is 4.5" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": -4}}", Q0, NULL, TP_EFORMAT, "blocks is -4" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": 1e300}}", Q0, NULL, TP_EFORMAT, "blocks is 1e+300" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": 0}}", Q0, NULL, TP_EARG, "blocks" },
        { "{\"method\": \"diablo\", \"options\": {\"blocks\": 3}}", Q0, NULL, TP_ESHAPE, "is [4, 3, 3], the model needs [3, 4, 4]" },
        { DIABLO4 ", \"layers\": 7}", Q0, NULL, TP_EFORMAT, "layers" },
        { DIABLO4 ", \"layers\": {\"layers.0.q_proj\": {\"method\": \"lora\"}}}", Q0, NULL, TP_EFORMAT, "no parameter block_A" },
        { DIABLO4 "}", NULL, NULL, TP_EFORMAT, "no tensor of an adapter" },
        { DIABLO4 "}", "layers.0.q_proj.block_B", NULL, TP_EFORMAT, "layers.0.q_proj has no parameter block_B" },
        { DIABLO4 "}", Q0, "layers.7.q_proj.block_A", TP_EARG, "layers.7.q_proj.block_A, for a layer that this model does not have" },
        { DIABLO4 "}", Q0, "norm.block_A", TP_EARG, "norm.block_A" },
        { DIABLO4 "}", Q0, "block_A", TP_EARG, "block_A" },
        { "{\"method\": \"lora\", \"options\": {\"rank\": 2}}", Q0, NULL, TP_EFORMAT, "no parameter block_A in an adapter of type lora" },
        { "{\"method\": \"lora\", \"options\": {\"rank\": 1}}", "layers.1.q_proj.lora_A", NULL, TP_ESHAPE, "lora_A" },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    small   m;

    (void)state;
    small_init(ctx, &m, TP_F32);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *path = make_file(ctx, "adapter", bad[i].json, bad[i].name0, bad[i].name1);

        refused(ctx, &m, path, NULL, bad[i].code, bad[i].part, NULL);
    }
    refused(ctx, &m, make_file(ctx, "model", NULL, NULL, NULL), NULL, TP_EFORMAT, "this is no adapter", NULL);
    /* a checkpoint of a training run holds one among other things; without an identity it fits any base */
    assert_int_equal(tp_adapter_load(ctx, &m.root, make_file(ctx, "training", DIABLO4 "}", Q0, Q1), NULL), 2);
    check_ok(ctx);
    assert_true(value_at(ctx, *tp_param_find(&m.root, Q1)->slot, 35) == 1);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* A parameter of an adapter that the file does not have. */
static void test_missing_parameter(void **state)
{
    static const char json[] = "{\"method\": \"lora\", \"options\": {\"rank\": 2}}";
    tp_ctx           *ctx = tp_ctx_new(TP_REF, 0);
    small             m;
    tp_scope          s = tp_scope_begin(ctx);
    tp_writer        *w = tp_writer_open(ctx, in_scratch("half.h5"), "adapter");

    (void)state;
    small_init(ctx, &m, TP_F32);
    tp_writer_tensor(ctx, w, "adapter", "layers.0.q_proj.lora_A", tp_ones(ctx, TP_F32, TP_SHAPE(2, WIDE)));
    tp_writer_text(ctx, w, "config/adapter.json", json, strlen(json));
    assert_true(tp_writer_close(ctx, w));
    refused(ctx, &m, in_scratch("half.h5"), NULL, TP_EFORMAT, "there is no layers.0.q_proj.lora_B", NULL);
    refused(ctx, &m, in_scratch("nowhere.h5"), NULL, TP_EIO, "nowhere.h5", NULL);
    refused(ctx, &m, scratch, NULL, TP_EIO, scratch, NULL);
    assert_int_equal(tp_adapter_load(ctx, NULL, "x", NULL), 0);
    check_failed(ctx, TP_EARG, "no model", NULL);
    assert_int_equal(tp_adapter_load(ctx, &m.root, NULL, NULL), 0);
    check_failed(ctx, TP_EARG, "no path", NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* ---- damaged files ---------------------------------------------------------------------------------------------------- */

/* Refused, or all the same: a byte that fills a gap means nothing. */
static bool try_damaged(tp_ctx *ctx, small *m, const void *p, size_t n, tp_tensor *want)
{
    bool ok;

    write_bytes(in_scratch("bad.h5"), p, n);
    ok = tp_adapter_load(ctx, &m->root, in_scratch("bad.h5"), NULL) == 4;
    if (ok) {
        const tp_diablo_opts *o = m->q[0].adapters->opts;

        check_output(ctx, m, want);
        assert_true(o->blocks == 4 && o->dropout == 0);
        tp_adapters_detach(ctx, &m->root);
        return true;
    }
    if (tp_error_code(ctx) != TP_EFORMAT && tp_error_code(ctx) != TP_EIO)
        fail_msg("code %d: %s", tp_error_code(ctx), tp_error(ctx));
    tp_error_clear(ctx);
    assert_int_equal(tp_adapters_count(&m->root).layers, 0);
    return false;
}

static void test_damaged(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    size_t     n, flips = 0, accepted = 0;
    const char *every = getenv("TAPIR_TEST_EVERY");
    size_t     stride = every ? 1 : 7;
    small      m;
    tp_tensor *want;
    char      *good;

    (void)state;
    save_diablo(ctx, in_scratch("good.h5"));
    good = read_bytes(in_scratch("good.h5"), &n);
    small_init(ctx, &m, TP_F32);
    assert_int_equal(tp_adapter_load(ctx, &m.root, in_scratch("good.h5"), NULL), 4);
    want = output_of(ctx, &m);
    tp_adapters_detach(ctx, &m.root);
    for (size_t i = 0; i < n; i += 11 * stride)
        assert_false(try_damaged(ctx, &m, good, i, want));
    assert_false(try_damaged(ctx, &m, good, n - 1, want));
    for (size_t i = 0; i < n; i += stride, flips++) {
        char bit = (char)(1 << (i * 5 % 8));

        good[i] = (char)(good[i] ^ bit);
        accepted += try_damaged(ctx, &m, good, n, want);
        good[i] = (char)(good[i] ^ bit);
    }
    assert_true(flips >= 200 && accepted < flips / 2);
    free(good);
    tp_release(want);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_base), cmocka_unit_test(test_other_shapes), cmocka_unit_test(test_made_files),
        cmocka_unit_test(test_missing_parameter), cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
