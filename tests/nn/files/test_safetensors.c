/*
 * test_safetensors.c - safetensors files and Hugging Face directories: every check of the reader, damage, the writer.
 */
#include "files_test.h"

#include <sys/stat.h>

/* A file of this header and `data` bytes 0, 1, 2, ... */
static const char *make(const char *header, size_t data)
{
    const char *path = in_scratch("t.safetensors");
    uint64_t    n = strlen(header);
    char        bytes[8192];
    size_t      i;

    assert_true(8 + n + data <= sizeof bytes);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    for (i = 0; i < data; i++)
        bytes[8 + n + i] = (char)i;
    write_bytes(path, bytes, 8 + n + data);
    return path;
}

typedef struct bad_case {
    const char *header;
    size_t      data;
    const char *says;
} bad_case;

static const bad_case bad_headers[] = {
    /* 2: JSON */
    { "", 0, "does not begin with '{'" },
    { " {}", 0, "does not begin with '{'" },
    { "[]", 0, "does not begin with '{'" },
    { "{", 0, "expected a string" },
    { "{\"__metadata__\":{} ", 0, "comma or the closing" },
    { "{}\n", 0, "after the end" },
    { "{} x", 0, "after the end" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},}", 4, "expected a string" },
    { "{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "not UTF-8" },
    { "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "bad escape" },
    { "{\"\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "bad escape" },
    { "{\"\\x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "bad escape" },
    /* 3: duplicates */
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
      "offsets\":[1,2]}}",
      2, "twice" },
    { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "twice" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice" },
    { "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, "twice" },
    /* 4: metadata */
    { "{\"__metadata__\":{\"a\":1}}", 0, "expected a string" },
    { "{\"__metadata__\":[]}", 0, "expected an object" },
    /* 5: entries */
    { "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype \"F33\"" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "expected dtype, shape and data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "unknown" },
    { "{\"a\":3}", 4, "expected an object" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "two offsets" },
    /* 6: shapes */
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "non-negative" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "non-negative" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, "non-negative" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e0],\"data_offsets\":[0,4]}}", 4, "non-negative" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}}", 4, "63 bits" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[281474976710656],\"data_offsets\":[0,4]}}", 4, "2^48" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "too large" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "too large" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, "2^48" },
    { "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "block" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "dimensions" },
    /* 7: places */
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "before it begins" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "need 4" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "beyond the end" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "begins at 4" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "end at 4, the values at 5" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"
      "offsets\":[0,4]}}",
      4, "begins at 0" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
      "offsets\":[5,6]}}",
      6, "begins at 5" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[9223372036854775803,9223372036854775807]}}", 4,
      "beyond the end" },
    /* 9: names */
    { "{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "name of tensor 0" },
    { "{\"a\\nb\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "name of tensor 0" },
    { "{\"a\\u0085b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "name of tensor 0" },
};

static void each_check_has_its_file(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    size_t  i;

    (void)state;
    for (i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++)
        expect_refused(ctx, make(bad_headers[i].header, bad_headers[i].data), TP_EFORMAT, bad_headers[i].says);
    tp_ctx_free(ctx);
}

static void header_sizes_that_lie(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    const char *path = in_scratch("t.safetensors");
    uint64_t    sizes[] = { 3, 100000001, (uint64_t)1 << 32, UINT64_MAX, UINT64_MAX - 7, INT64_MAX };
    char        bytes[16] = "........{}";
    size_t      i;

    (void)state;
    write_bytes(path, bytes, 7);
    expect_refused(ctx, path, TP_EFORMAT, "7 bytes");
    write_bytes(path, bytes, 0);
    expect_refused(ctx, path, TP_EFORMAT, "0 bytes");
    for (i = 0; i < 6; i++) {
        memcpy(bytes, &sizes[i], 8);
        write_bytes(path, bytes, 10);
        expect_refused(ctx, path, TP_EFORMAT, "header of");
    }
    tp_ctx_free(ctx);
}

/* What is legal though odd: no tensors, rank 0, sizes of 0 that share a place, trailing spaces, escapes. */
static void odd_files_are_read(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f;

    (void)state;
    f = tp_file_open(ctx, make("{}   ", 0));
    assert_int_equal(tp_file_count(f), 0);
    assert_string_equal(tp_file_kind(f), "tensors");
    tp_file_close(f);
    f = tp_file_open(ctx, make("{ \"s\" : {\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]},"
                               "\"z\\u00e9\\ud83d\\ude00\":{\"data_offsets\":[4,4],\"shape\":[0,3],\"dtype\":\"F64\"},"
                               "\"y/x\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[4,5]},"
                               "\"__metadata__\":{\"format\":\"pt\",\"a\":\"\\t\"}}", 5));
    assert_true(tp_ok(ctx));
    assert_int_equal(tp_file_count(f), 3);
    assert_string_equal(tp_file_meta(f, "format"), "pt");
    assert_string_equal(tp_file_meta(f, "a"), "\t");
    assert_int_equal(tp_i32(ctx, tp_file_read(ctx, f, "s", TP_DTYPES))[0], 0x03020100);
    assert_int_equal(tp_numel(tp_file_read(ctx, f, "z\xc3\xa9\xf0\x9f\x98\x80", TP_DTYPES)), 0);
    assert_null(tp_file_read(ctx, f, "y/x", TP_DTYPES));
    expect_error(ctx, TP_EDTYPE, "I8");
    assert_null(tp_file_read(ctx, f, "nothing", TP_DTYPES));
    expect_error(ctx, TP_EARG, "no tensor \"nothing\"");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

static void bools_are_0_or_1(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f = tp_file_open(ctx, make("{\"b\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3));

    (void)state;
    assert_null(tp_file_read(ctx, f, "b", TP_BOOL));
    expect_error(ctx, TP_EFORMAT, "neither 0 nor 1");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

/* ---- the writer ------------------------------------------------------------------------------------------------------ */

/* A tensor of every dtype with values that all of them hold. */
static tp_tensor *numbers(tp_ctx *ctx, tp_dtype t)
{
    double     v[6] = { 0, 1, 1, 0, 1, 0 };
    tp_tensor *x = tp_empty(ctx, t, TP_SHAPE(2, 3)), *y = tp_from(ctx, TP_F64, TP_SHAPE(2, 3), v);

    tp_copy_to(ctx, x, y);
    return x;
}

static void written_files_read_back(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_writer *w = tp_writer_open(ctx, in_scratch("out.safetensors"), "safetensors");
    tp_file   *f;
    int        t;

    (void)state;
    for (t = 0; t < TP_DTYPES; t++)
        tp_writer_tensor(ctx, w, "", tp_dtype_name((tp_dtype)t), numbers(ctx, (tp_dtype)t));
    tp_writer_tensor(ctx, w, "", "scalar", tp_full(ctx, TP_F32, TP_SCALAR, 2.5));
    tp_writer_tensor(ctx, w, "", "empty", tp_empty(ctx, TP_BF16, TP_SHAPE(3, 0)));
    tp_writer_attr_text(ctx, w, NULL, "format", "pt");
    assert_true(tp_writer_close(ctx, w));
    f = tp_file_open(ctx, in_scratch("out.safetensors"));
    assert_int_equal(tp_file_count(f), TP_DTYPES + 2);
    for (t = 0; t < TP_DTYPES; t++) {
        tp_tensor *x = tp_file_read(ctx, f, tp_dtype_name((tp_dtype)t), TP_DTYPES), *y = numbers(ctx, (tp_dtype)t);

        assert_int_equal(tp_dtype_of(x), t);
        assert_memory_equal(tp_values(ctx, x), tp_values(ctx, y), 6 * tp_dtype_size((tp_dtype)t));
    }
    assert_true(tp_item(ctx, tp_file_read(ctx, f, "scalar", TP_F64)) == 2.5);
    assert_string_equal(tp_file_meta(f, "format"), "pt");
    tp_file_close(f);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void wrong_use_of_the_writer(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(1));
    tp_writer *w;

    (void)state;
    assert_null(tp_writer_open(ctx, in_scratch("no/such/file"), "safetensors"));
    expect_error(ctx, TP_EIO, "no/such/file");
    assert_null(tp_writer_open(ctx, scratch_folder, "safetensors"));
    expect_error(ctx, TP_EIO, "not the name of a file");
    assert_null(tp_writer_open(ctx, in_scratch("x"), "pickle"));
    expect_error(ctx, TP_EARG, "kind");
    w = tp_writer_open(ctx, in_scratch("twice"), "safetensors");
    assert_true(tp_writer_tensor(ctx, w, "", "a", x));
    assert_false(tp_writer_tensor(ctx, w, "", "a", x));
    expect_error(ctx, TP_EARG, "there already");
    assert_false(tp_writer_close(ctx, w)); /* it has failed, whatever was cleared */
    expect_error(ctx, TP_EARG, "has not failed");
    assert_int_not_equal(access(in_scratch("twice"), F_OK), 0);
    tp_ctx_free(ctx);
}

/* ---- directories ----------------------------------------------------------------------------------------------------- */

static void put_text(const char *name, const char *text)
{
    write_bytes(in_scratch(name), text, strlen(text));
}

static void put_shard(tp_ctx *ctx, const char *file, const char *tensor, double value)
{
    tp_writer *w = tp_writer_open(ctx, in_scratch(file), "safetensors");

    tp_writer_tensor(ctx, w, "", tensor, tp_full(ctx, TP_F32, TP_SHAPE(2), value));
    tp_writer_attr_text(ctx, w, NULL, "format", "pt");
    assert_true(tp_writer_close(ctx, w));
}

static const char good_index[] =
    "{\"metadata\":{\"total_size\":16,\"x\":[1,{\"y\":[null,true,-1.5e3]}]},\"weight_map\":{"
    "\"a\":\"s-1.safetensors\",\"b\":\"s-2.safetensors\"}}\n";

static void make_folder(tp_ctx *ctx)
{
    assert_int_equal(mkdir(in_scratch("hf"), 0777), 0);
    put_shard(ctx, "hf/s-1.safetensors", "a", 1);
    put_shard(ctx, "hf/s-2.safetensors", "b", 2);
    put_text("hf/model.safetensors.index.json", good_index);
    put_text("hf/config.json", "{\"model_type\":\"llama\"}");
    put_text("hf/tokenizer_config.json",
             "{\"chat_template\":[{\"name\":\"tool\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}");
}

static void shards_make_one_file(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_file    *f;
    char        identity[40];
    size_t      n;
    const char *text;

    (void)state;
    make_folder(ctx);
    f = tp_file_open(ctx, in_scratch("hf/"));
    assert_true(tp_ok(ctx));
    assert_int_equal(tp_file_format_of(f), TP_HUGGINGFACE);
    assert_string_equal(tp_file_kind(f), "model");
    assert_int_equal(tp_file_count(f), 2);
    assert_true(tp_at(ctx, tp_file_read(ctx, f, "b", TP_F64), 1, (int64_t[]){ 1 }) == 2);
    assert_string_equal(tp_file_text(f, "chat_template", NULL), "D");
    text = tp_file_text(f, "config.json", &n);
    assert_string_equal(text, "{\"model_type\":\"llama\"}");
    assert_int_equal(n, strlen(text));
    assert_null(tp_file_text(f, "tokenizer.json", NULL));
    assert_int_equal(tp_file_meta_count(f), 1);
    snprintf(identity, sizeof identity, "%s", tp_file_identity(ctx, f));
    tp_file_close(f);
    /* The same tensors in one file have the same identity. */
    unlink(in_scratch("hf/model.safetensors.index.json"));
    f = NULL;
    {
        tp_writer *w = tp_writer_open(ctx, in_scratch("hf/model.safetensors"), "safetensors");

        tp_writer_tensor(ctx, w, "", "b", tp_full(ctx, TP_F32, TP_SHAPE(2), 2));
        tp_writer_tensor(ctx, w, "", "a", tp_full(ctx, TP_F32, TP_SHAPE(2), 1));
        assert_true(tp_writer_close(ctx, w));
    }
    f = tp_file_open(ctx, in_scratch("hf"));
    assert_string_equal(tp_file_identity(ctx, f), identity);
    tp_file_close(f);
    unlink(in_scratch("hf/model.safetensors"));
    put_text("hf/model.safetensors.index.json", good_index);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void each_index_check_has_its_file(void **state)
{
    static const char *const bad[][2] = {
        { "{\"weight_map\":{\"a\":\"../hf/s-1.safetensors\"}}", "same directory" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "same directory" },
        { "{\"weight_map\":{\"a\":\".s-1.safetensors\"}}", "same directory" },
        { "{\"weight_map\":{\"a\":\"s-1.bin\"}}", "same directory" },
        { "{\"weight_map\":{\"a\":\"\"}}", "same directory" },
        { "{\"weight_map\":{\"a\":\"s-1.safetensors\"}}", NULL },
        { "{\"weight_map\":{\"a\":\"s-1.safetensors\",\"c\":\"s-2.safetensors\"}}", "not in s-2" },
        { "{\"weight_map\":{\"a\":\"s-2.safetensors\",\"b\":\"s-1.safetensors\"}}", "is not in" },
        { "{\"weight_map\":{\"a\":\"s-1.safetensors\",\"b\":\"s-2.safetensors\",\"c\":\"s-2.safetensors\"}}",
          "\"c\" is not in" },
        { "{\"weight_map\":{\"a\":\"s-1.safetensors\",\"a\":\"s-1.safetensors\"}}", "twice" },
        { "{\"weight_map\":{},\"weight_map\":{}}", "twice" },
        { "{\"weight_map\":{\"a\":1}}", "expected a string" },
        { "{\"metadata\":{}}", "no weight_map" },
        { "{\"metadata\":[[}", "expected" },
        { "[]", "expected an object" },
        { "{\"weight_map\":{\"b\":\"s-2.safetensors\"}} x", "after the end" },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    size_t  i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text("hf/model.safetensors.index.json", bad[i][0]);
        if (bad[i][1])
            expect_refused(ctx, in_scratch("hf"), TP_EFORMAT, bad[i][1]);
    }
    put_text("hf/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"s-3.safetensors\"}}");
    expect_refused(ctx, in_scratch("hf"), TP_EIO, "s-3.safetensors");
    unlink(in_scratch("hf/model.safetensors.index.json"));
    expect_refused(ctx, in_scratch("hf"), TP_EIO, "neither model.safetensors nor");
    expect_refused(ctx, in_scratch("none"), TP_EIO, "none: cannot open");
    expect_refused(ctx, "/dev/null", TP_EIO, "not a regular file");
    tp_ctx_free(ctx);
}

static void a_changed_file_is_noticed(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f;

    (void)state;
    put_text("hf/model.safetensors.index.json", good_index);
    f = tp_file_open(ctx, in_scratch("hf"));
    put_text("hf/s-1.safetensors", "shorter"); /* shards rest between reads */
    assert_null(tp_file_read(ctx, f, "a", TP_F32));
    expect_error(ctx, TP_EIO, "has changed");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

static void damaged_files_are_errors(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    damage  d = { .ctx = ctx, .path = in_scratch("bad.safetensors") };
    size_t  n;
    char   *good = read_bytes(in_scratch("out.safetensors"), &n);
    long    before = peak_mib();

    (void)state;
    damage_all(&d, good, n, n);
    assert_true(d.variants >= 200 && d.refused > d.variants / 2);
    assert_true(peak_mib() - before < 64);
    free(good);
    tp_ctx_free(ctx);
}

/* Nesting, long strings, many entries: within time and memory. */
static void hostile_headers(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    char   *big = malloc(3000009);
    size_t  i, n = 3000000;
    uint64_t size = n;

    (void)state;
    assert_non_null(big);
    memcpy(big, &size, 8);
    memset(big + 8, '[', n);
    memcpy(big + 8, "{\"a\":", 5);
    write_bytes(in_scratch("t.safetensors"), big, n + 8);
    expect_refused(ctx, in_scratch("t.safetensors"), TP_EFORMAT, "expected an object");
    memset(big + 8, 'x', n);
    memcpy(big + 8, "{\"", 2);
    write_bytes(in_scratch("t.safetensors"), big, n + 8);
    expect_refused(ctx, in_scratch("t.safetensors"), TP_EFORMAT, "without its end");
    memcpy(big + 8 + n - 4, "\":{}", 4);
    write_bytes(in_scratch("t.safetensors"), big, n + 8);
    expect_refused(ctx, in_scratch("t.safetensors"), TP_EFORMAT, "longer than");
    for (i = 0; i + 6 <= n; i += 6)
        memcpy(big + 8 + i, "\\u0041", 6);
    memcpy(big + 8, "{\"    ", 6);
    write_bytes(in_scratch("t.safetensors"), big, n + 8);
    expect_refused(ctx, in_scratch("t.safetensors"), TP_EFORMAT, "without its end");
    free(big);
    tp_ctx_free(ctx);
}

/* Very many tensors of nothing ask for more memory than the file is worth. */
static void many_empty_tensors(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    const char *path = in_scratch("many.safetensors");
    FILE       *f = fopen(path, "wb");
    long        before = peak_mib();
    uint64_t    size = 0;
    int         i;

    (void)state;
    assert_non_null(f);
    fwrite(&size, 8, 1, f);
    for (i = 0; i < 200000; i++)
        size += (uint64_t)fprintf(f, "%c\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{', i);
    size += (uint64_t)fprintf(f, "}");
    rewind(f);
    fwrite(&size, 8, 1, f);
    fclose(f);
    expect_refused(ctx, path, TP_EFORMAT, "not plausible");
    assert_true(peak_mib() - before < 2 * (long)(size >> 20) + 64);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_check_has_its_file),  cmocka_unit_test(header_sizes_that_lie),
        cmocka_unit_test(odd_files_are_read),       cmocka_unit_test(bools_are_0_or_1),
        cmocka_unit_test(written_files_read_back),  cmocka_unit_test(wrong_use_of_the_writer),
        cmocka_unit_test(shards_make_one_file),     cmocka_unit_test(each_index_check_has_its_file),
        cmocka_unit_test(a_changed_file_is_noticed), cmocka_unit_test(damaged_files_are_errors),
        cmocka_unit_test(hostile_headers),           cmocka_unit_test(many_empty_tensors),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
