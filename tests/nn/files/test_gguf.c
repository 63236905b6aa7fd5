/*
 * test_gguf.c - GGUF: all quantised types against the gguf package's own numbers, names, config.json, the vocabulary,
 * every check of the reader, damage.
 */
#include "files_test.h"

#include "nn/files/filetable.h"
#include "nn/files/gguf.h"

static const char *golden(const char *name)
{
    static char path[2][512];
    static int  next;
    const char *root = getenv("TAPIR_SOURCE");

    next = !next;
    snprintf(path[next], sizeof path[next], "%s/tests/golden/gguf/%s", root ? root : ".", name);
    return path[next];
}

/* ---- against the gguf package ------------------------------------------------------------------------------------------ */

static void all_types_equal_the_package(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f = tp_file_open(ctx, golden("types.gguf")), *g = tp_file_open(ctx, golden("types.safetensors"));
    int64_t  i;

    (void)state;
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_file_count(f), tp_file_count(g));
    for (i = 0; i < tp_file_count(g); i++) {
        const char *name = tp_file_at(g, i)->name;
        tp_tensor  *x = tp_file_read(ctx, f, name, TP_F32), *y = tp_file_read(ctx, g, name, TP_F32), *h, *z;

        assert_true(tp_same_shape(x, y));
        if (memcmp(tp_values(ctx, x), tp_values(ctx, y), (size_t)tp_numel(x) * 4) != 0)
            fail_msg("%s differs", name);
        h = tp_file_read(ctx, f, name, TP_BF16);
        z = tp_empty(ctx, TP_BF16, tp_ndim(y), (int64_t[]){ tp_dim(y, 0), tp_dim(y, 1) });
        tp_copy_to(ctx, z, y);
        assert_memory_equal(tp_values(ctx, h), tp_values(ctx, z), (size_t)tp_numel(x) * 2);
    }
    assert_string_equal(tp_file_find(f, "t.q4_k")->dtype, "Q4_K");
    assert_int_equal(tp_dtype_of(tp_file_read(ctx, f, "t.q4_k", TP_DTYPES)), TP_F32);
    assert_int_equal(tp_dtype_of(tp_file_read(ctx, f, "t.bf16", TP_DTYPES)), TP_BF16);
    assert_non_null(tp_file_find(f, "rope_freqs.weight"));
    tp_file_close(f);
    tp_file_close(g);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in %s", part, text);
}

static void keys_become_config_json(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_file    *f = tp_file_open(ctx, golden("types.gguf"));
    const char *config = tp_file_text(f, "config.json", NULL);

    (void)state;
    assert_non_null(config);
    has(config, "\"model_type\": \"llama\"");
    has(config, "\"num_attention_heads\": 2");
    has(config, "\"num_key_value_heads\": 1");
    has(config, "\"head_dim\": 4");
    has(config, "\"vocab_size\": 6");
    has(config, "\"rope_theta\": 500000");
    has(config, "\"rope_type\": \"linear\"");
    has(config, "\"factor\": 2.5");
    has(config, "\"tie_word_embeddings\": true");
    has(config, "\"attention_bias\": true");
    assert_string_equal(tp_file_meta(f, "test.numbers"), "[1, -2, 3]");
    assert_string_equal(tp_file_meta(f, "test.u64"), "9223372036854775808");
    assert_string_equal(tp_file_meta(f, "llama.attention.layer_norm_rms_epsilon"), "1e-05");
    assert_string_equal(tp_file_text(f, "chat_template", NULL), "{{ messages }}");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

static void the_vocabulary_is_arrays(void **state)
{
    tp_ctx               *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f = tp_file_open(ctx, golden("types.gguf")), *g = tp_file_open(ctx, golden("types.safetensors"));
    const tpi_gguf_vocab *v = tpi_gguf_vocab_of(ctx, f);

    (void)state;
    assert_non_null(v);
    assert_string_equal(v->model, "gpt2");
    assert_string_equal(v->pre, "smollm");
    assert_int_equal(v->n, 6);
    assert_int_equal(v->tokens[5].n, 2);
    assert_memory_equal(v->tokens[4].p, "ab", 2);
    assert_int_equal(v->n_merges, 1);
    assert_memory_equal(v->merges[0].p, "a b", 3);
    assert_int_equal(v->token_type[5], 4);
    assert_true(v->scores[2] == -2.5f);
    assert_int_equal(v->bos, 0);
    assert_int_equal(v->eos, 1);
    assert_int_equal(v->pad, -1);
    assert_int_equal(v->add_bos, 1);
    assert_int_equal(v->add_eos, -1);
    assert_ptr_equal(v, tpi_gguf_vocab_of(ctx, f));
    assert_null(tpi_gguf_vocab_of(ctx, g));
    assert_true(tp_ok(ctx));
    tp_file_close(f);
    tp_file_close(g);
    tp_ctx_free(ctx);
}

/* ---- files made by hand ------------------------------------------------------------------------------------------------ */

typedef struct maker {
    char   bytes[16384];
    size_t n;
} maker;

static void put(maker *m, const void *p, size_t n)
{
    assert_true(m->n + n <= sizeof m->bytes);
    memcpy(m->bytes + m->n, p, n);
    m->n += n;
}

static void put32(maker *m, uint32_t v)
{
    put(m, &v, 4);
}

static void put64(maker *m, uint64_t v)
{
    put(m, &v, 8);
}

static void put_string(maker *m, const char *s)
{
    put64(m, strlen(s));
    put(m, s, strlen(s));
}

static void begin(maker *m, uint64_t tensors, uint64_t pairs)
{
    m->n = 0;
    put(m, "GGUF", 4);
    put32(m, 3);
    put64(m, tensors);
    put64(m, pairs);
}

static void put_text(maker *m, const char *key, const char *value)
{
    put_string(m, key);
    put32(m, TPI_GGUF_STRING);
    put_string(m, value);
}

static void put_u32(maker *m, const char *key, uint32_t v)
{
    put_string(m, key);
    put32(m, TPI_GGUF_U32);
    put32(m, v);
}

/* A tensor of two dimensions, innermost first. */
static void put_info(maker *m, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset)
{
    put_string(m, name);
    put32(m, 2);
    put64(m, cols);
    put64(m, rows);
    put32(m, type);
    put64(m, offset);
}

static void align(maker *m)
{
    while (m->n % 32)
        put(m, "", 1);
}

static const char *save(const maker *m)
{
    const char *path = in_scratch("t.gguf");

    write_bytes(path, m->bytes, m->n);
    return path;
}

static void one_text(maker *m)
{
    begin(m, 0, 1);
    put_text(m, "general.architecture", "llama");
}

static void heads_that_are_wrong(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    maker    m;
    uint64_t lies[] = { UINT64_MAX, (uint64_t)1 << 32, 1000001, 3 };
    size_t   i;

    (void)state;
    one_text(&m);
    m.bytes[0] = 'g';
    expect_refused(ctx, save(&m), TP_EFORMAT, "does not begin with");
    for (i = 0; i < 3; i++) {
        static const uint32_t    versions[] = { 1, 4, 0x03000000 };
        static const char *const says[] = { "version 1", "version 4", "big-endian" };

        one_text(&m);
        memcpy(m.bytes + 4, &versions[i], 4);
        expect_refused(ctx, save(&m), TP_EFORMAT, says[i]);
    }
    for (i = 0; i < 3; i++) {
        one_text(&m);
        memcpy(m.bytes + 8, &lies[i], 8);
        expect_refused(ctx, save(&m), TP_EFORMAT, "than the file can hold");
        one_text(&m);
        memcpy(m.bytes + 16, &lies[i], 8);
        expect_refused(ctx, save(&m), TP_EFORMAT, "than the file can hold");
    }
    one_text(&m);
    memcpy(m.bytes + 16, &lies[3], 8);
    expect_refused(ctx, save(&m), TP_EFORMAT, "the head ends");
    begin(&m, 0, 0);
    expect_refused(ctx, save(&m), TP_EFORMAT, "general.architecture");
    m.n = 0;
    expect_refused(ctx, save(&m), TP_EFORMAT, "head ends at byte 0");
    tp_ctx_free(ctx);
}

/* A pair whose value is made of these numbers. */
static void expect_bad_pair(tp_ctx *ctx, uint32_t type, uint32_t elem, uint64_t count, const char *says)
{
    maker m;

    begin(&m, 0, 2);
    put_text(&m, "general.architecture", "llama");
    put_string(&m, "k");
    put32(&m, type);
    if (type == TPI_GGUF_ARRAY)
        put32(&m, elem);
    put64(&m, count);
    put64(&m, count);
    expect_refused(ctx, save(&m), TP_EFORMAT, says);
}

static void pairs_that_are_wrong(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    maker   m;

    (void)state;
    expect_bad_pair(ctx, 13, 0, 0, "value type 13");
    expect_bad_pair(ctx, UINT32_MAX, 0, 0, "value type");
    expect_bad_pair(ctx, TPI_GGUF_ARRAY, TPI_GGUF_ARRAY, 1, "array of arrays");
    expect_bad_pair(ctx, TPI_GGUF_ARRAY, TPI_GGUF_U8, UINT64_MAX, "more than the rest");
    expect_bad_pair(ctx, TPI_GGUF_ARRAY, TPI_GGUF_U64, (uint64_t)1 << 61, "more than the rest");
    expect_bad_pair(ctx, TPI_GGUF_ARRAY, TPI_GGUF_STRING, 2, "more than the rest");
    expect_bad_pair(ctx, TPI_GGUF_STRING, 0, UINT64_MAX, "a string of");
    expect_bad_pair(ctx, TPI_GGUF_STRING, 0, 9, "head ends");
    expect_bad_pair(ctx, TPI_GGUF_BOOL, 0, 2, "neither 0 nor 1");
    begin(&m, 0, 2);
    put_text(&m, "general.architecture", "llama");
    put_text(&m, "general.architecture", "llama");
    expect_refused(ctx, save(&m), TP_EFORMAT, "key general.architecture occurs twice");
    begin(&m, 0, 1);
    put_text(&m, "", "llama");
    expect_refused(ctx, save(&m), TP_EFORMAT, "a key that is empty");
    begin(&m, 0, 1);
    put_text(&m, "a\nb", "llama");
    expect_refused(ctx, save(&m), TP_EFORMAT, "a key that is empty");
    begin(&m, 0, 1);
    put_u32(&m, "general.architecture", 1);
    expect_refused(ctx, save(&m), TP_EFORMAT, "no text at key");
    tp_ctx_free(ctx);
}

/* A file of one tensor, with the alignment given as a key when it is not 32. */
static const char *with_tensor(maker *m, uint32_t alignment, const char *name, uint64_t cols, uint64_t rows,
                               uint32_t type, uint64_t offset, size_t data)
{
    size_t i;

    begin(m, 1, alignment == 32 ? 1 : 2);
    put_text(m, "general.architecture", "other");
    if (alignment != 32)
        put_u32(m, "general.alignment", alignment);
    put_info(m, name, cols, rows, type, offset);
    align(m);
    for (i = 0; i < data; i++)
        put(m, "x", 1);
    return save(m);
}

static void tensors_that_are_wrong(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    maker   m;
    size_t  i;

    (void)state;
    assert_true(sizeof m > 0);
    expect_refused(ctx, with_tensor(&m, 32, "a", 0, 1, 0, 0, 8), TP_EFORMAT, "dimension 0 is 0");
    expect_refused(ctx, with_tensor(&m, 32, "a", UINT64_MAX, 1, 0, 0, 8), TP_EFORMAT, "dimension 0 is");
    expect_refused(ctx, with_tensor(&m, 32, "a", (uint64_t)1 << 40, (uint64_t)1 << 40, 0, 0, 8), TP_EFORMAT,
                   "too large");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, (uint64_t)1 << 32, 0, 0, 8), TP_EFORMAT, "beyond the end");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 10, 0, 8), TP_EFORMAT, "(Q2_K)");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 28, 0, 8), TP_EFORMAT, "(F64)");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 4000000000u, 0, 8), TP_EFORMAT, "unknown to Tapir");
    expect_refused(ctx, with_tensor(&m, 32, "a", 16, 2, 8, 0, 34), TP_EFORMAT, "block of 32");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 0, 32, 40), TP_EFORMAT, "lies at 32");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 0, UINT64_MAX, 8), TP_EFORMAT, "lies at");
    expect_refused(ctx, with_tensor(&m, 32, "a", 2, 1, 0, 0, 7), TP_EFORMAT, "the values need 8");
    expect_refused(ctx, with_tensor(&m, 32, "", 2, 1, 0, 0, 8), TP_EFORMAT, "a tensor's name");
    for (i = 0; i < 5; i++) {
        static const uint32_t bad[] = { 0, 4, 48, 1u << 21, UINT32_MAX };

        expect_refused(ctx, with_tensor(&m, bad[i], "a", 2, 1, 0, 0, 8), TP_EFORMAT, "general.alignment");
    }
    begin(&m, 1, 1);
    put_text(&m, "general.architecture", "other");
    put_string(&m, "a");
    put32(&m, 5);
    expect_refused(ctx, save(&m), TP_EFORMAT, "5 dimensions");
    begin(&m, 2, 1);
    put_text(&m, "general.architecture", "other");
    put_info(&m, "a", 8, 1, 0, 0);
    put_info(&m, "a", 8, 1, 0, 32);
    align(&m);
    m.n += 64;
    expect_refused(ctx, save(&m), TP_EFORMAT, "\"a\" occurs twice");
    tp_ctx_free(ctx);
}

/* Two tensors of q: without heads, and with heads that do not divide its rows. */
static void permuted_rows_need_heads(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    maker   m;

    (void)state;
    begin(&m, 1, 1);
    put_text(&m, "general.architecture", "llama");
    put_info(&m, "blk.0.attn_q.weight", 2, 6, 0, 0);
    align(&m);
    m.n += 48;
    expect_refused(ctx, save(&m), TP_EFORMAT, "head_count is missing");
    begin(&m, 1, 2);
    put_text(&m, "general.architecture", "llama");
    put_u32(&m, "llama.attention.head_count", 2);
    put_info(&m, "blk.0.attn_q.weight", 2, 6, 0, 0);
    align(&m);
    m.n += 48;
    expect_refused(ctx, save(&m), TP_EFORMAT, "not a multiple of twice its 2 heads");
    tp_ctx_free(ctx);
}

/* qwen2 keeps its rows, other architectures keep their names; version 2 is read like 3; alignment 64 moves the values.
 */
static void other_architectures(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    float    v[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    maker    m;
    tp_file *f;

    (void)state;
    begin(&m, 1, 3);
    m.bytes[4] = 2;
    put_text(&m, "general.architecture", "qwen2");
    put_u32(&m, "qwen2.attention.head_count", 1);
    put_u32(&m, "general.alignment", 64);
    put_info(&m, "blk.7.attn_q.weight", 2, 4, 0, 0);
    while (m.n % 64)
        put(&m, "", 1);
    put(&m, v, sizeof v);
    f = tp_file_open(ctx, save(&m));
    assert_string_equal(tp_error(ctx), "");
    assert_memory_equal(tp_values(ctx, tp_file_read(ctx, f, "model.layers.7.self_attn.q_proj.weight", TP_F32)), v,
                        sizeof v);
    has(tp_file_text(f, "config.json", NULL), "Qwen2ForCausalLM");
    tp_file_close(f);
    f = tp_file_open(ctx, with_tensor(&m, 32, "blk.0.attn_q.weight", 2, 1, 0, 0, 8));
    assert_non_null(tp_file_find(f, "blk.0.attn_q.weight"));
    assert_null(tp_file_text(f, "config.json", NULL));
    assert_null(tpi_gguf_vocab_of(ctx, f));
    expect_error(ctx, TP_EFORMAT, "no vocabulary");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

static void vocabularies_that_are_wrong(void **state)
{
    static const char *const says[] = { "tokenizer.ggml.scores is no array of 2", "bos_token_id is none of the 2" };
    tp_ctx                  *ctx = tp_ctx_new(TP_REF, 0);
    maker                    m;
    int                      i;

    (void)state;
    for (i = 0; i < 2; i++) {
        tp_file *f;

        begin(&m, 0, 4);
        put_text(&m, "general.architecture", "llama");
        put_text(&m, "tokenizer.ggml.model", "llama");
        put_string(&m, "tokenizer.ggml.tokens");
        put32(&m, TPI_GGUF_ARRAY);
        put32(&m, TPI_GGUF_STRING);
        put64(&m, 2);
        put_string(&m, "a");
        put_string(&m, "b");
        if (i == 0)
            put_u32(&m, "tokenizer.ggml.scores", 1);
        else
            put_u32(&m, "tokenizer.ggml.bos_token_id", 2);
        f = tp_file_open(ctx, save(&m));
        assert_non_null(f);
        assert_null(tpi_gguf_vocab_of(ctx, f));
        expect_error(ctx, TP_EFORMAT, says[i]);
        tp_file_close(f);
    }
    tp_ctx_free(ctx);
}

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

static void ask_vocab(tp_ctx *ctx, tp_file *f)
{
    tpi_gguf_vocab_of(ctx, f);
}

static void damaged_files_are_errors(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    damage  d = { .ctx = ctx, .path = in_scratch("bad.gguf"), .accepted = ask_vocab };
    size_t  n;
    char   *good = read_bytes(golden("types.gguf"), &n);
    long    before = peak_mib();

    (void)state;
    damage_all(&d, good, n, 2200);
    assert_true(d.variants >= 200 && d.refused > d.variants / 2);
    assert_true(peak_mib() - before < 64);
    free(good);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_equal_the_package), cmocka_unit_test(keys_become_config_json),
        cmocka_unit_test(the_vocabulary_is_arrays),    cmocka_unit_test(heads_that_are_wrong),
        cmocka_unit_test(pairs_that_are_wrong),        cmocka_unit_test(tensors_that_are_wrong),
        cmocka_unit_test(permuted_rows_need_heads),    cmocka_unit_test(other_architectures),
        cmocka_unit_test(vocabularies_that_are_wrong), cmocka_unit_test(damaged_files_are_errors),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
