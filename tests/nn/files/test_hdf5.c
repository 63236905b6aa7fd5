/*
 * test_hdf5.c - Tapir's checkpoints: round trips, ties, texts and attributes, equal bytes, damage.
 */
#include "files_test.h"

#include "core/internal.h"

static const char config_text[] = "{\"model_type\": \"llama\"}\n";
static const char tokenizer_text[] = "{\"version\": \"1.0\"}";

/* Values 0 and 1 in a pattern, which every dtype holds. */
static tp_tensor *pattern(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    tp_tensor *x = tp_empty(ctx, TP_F64, ndim, dim), *y = tp_empty(ctx, t, ndim, dim);
    int64_t    i;

    for (i = 0; i < tp_numel(x); i++)
        tp_f64(ctx, x)[i] = i % 3 == 1;
    tp_copy_to(ctx, y, x);
    return y;
}

static const int64_t ones[8] = { 1, 2, 1, 3, 1, 2, 1, 2 };

/* A file with all dtypes, ranks 0 to 8, a size of 0, a strided view, a tie, texts and attributes. */
static bool write_model(tp_ctx *ctx, const char *path)
{
    tp_writer *w = tp_writer_open(ctx, path, "model");
    char       name[64];
    int        i;

    for (i = 0; i < TP_DTYPES; i++) {
        snprintf(name, sizeof name, "types.%s.weight", tp_dtype_name((tp_dtype)i));
        tp_writer_tensor(ctx, w, "model", name, pattern(ctx, (tp_dtype)i, TP_SHAPE(3, 5)));
    }
    for (i = 0; i <= 8; i++) {
        snprintf(name, sizeof name, "ranks.%d", i);
        tp_writer_tensor(ctx, w, "model", name, pattern(ctx, TP_BF16, i, ones));
    }
    tp_writer_tensor(ctx, w, "model", "none", tp_empty(ctx, TP_F32, TP_SHAPE(4, 0)));
    tp_writer_tensor(ctx, w, "model", "large", pattern(ctx, TP_F32, TP_SHAPE(64, 64)));
    tp_writer_tie(ctx, w, "model", "lm_head.weight", "large");
    tp_writer_tensor(ctx, w, "optimizer/state", "large.m", pattern(ctx, TP_F32, TP_SHAPE(4)));
    tp_writer_text(ctx, w, "config/model.json", config_text, strlen(config_text));
    tp_writer_text(ctx, w, "tokenizer/tokenizer.json", tokenizer_text, strlen(tokenizer_text));
    tp_writer_text(ctx, w, "config/empty.json", NULL, 0);
    tp_writer_attr_int(ctx, w, NULL, "step", 12345678901234567u);
    tp_writer_attr_real(ctx, w, NULL, "epoch", 0.1);
    tp_writer_attr_text(ctx, w, "optimizer", "type", "adamw");
    tp_writer_attr_text(ctx, w, "model/types.f32", "method", "none");
    return tp_writer_close(ctx, w);
}

static void everything_comes_back(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_file *f;
    char     name[64];
    int      i;

    (void)state;
    assert_true(write_model(ctx, in_scratch("m.h5")));
    f = tp_file_open(ctx, in_scratch("m.h5"));
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_file_format_of(f), TP_HDF5);
    assert_string_equal(tp_file_kind(f), "model");
    assert_int_equal(tp_file_count(f), TP_DTYPES + 9 + 4);
    for (i = 0; i < TP_DTYPES; i++) {
        tp_tensor *x = pattern(ctx, (tp_dtype)i, TP_SHAPE(3, 5)), *y;

        snprintf(name, sizeof name, "types.%s.weight", tp_dtype_name((tp_dtype)i));
        y = tp_file_read(ctx, f, name, TP_DTYPES);
        assert_int_equal(tp_dtype_of(y), i);
        assert_true(tp_same_shape(x, y));
        assert_memory_equal(tp_values(ctx, x), tp_values(ctx, y), 15 * tp_dtype_size((tp_dtype)i));
    }
    for (i = 0; i <= 8; i++) {
        tp_tensor *x = pattern(ctx, TP_BF16, i, ones), *y;

        snprintf(name, sizeof name, "ranks.%d", i);
        y = tp_file_read(ctx, f, name, TP_DTYPES);
        assert_true(tp_same_shape(x, y));
        assert_memory_equal(tp_values(ctx, x), tp_values(ctx, y), (size_t)tp_numel(x) * 2);
    }
    assert_int_equal(tp_dim(tp_file_read(ctx, f, "none", TP_DTYPES), 1), 0);
    assert_true(tp_file_verify(ctx, f));
    tp_file_close(f);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void ties_texts_attributes(void **state)
{
    tp_ctx              *ctx = tp_ctx_new(TP_REF, 0);
    tp_file             *f = tp_file_open(ctx, in_scratch("m.h5"));
    const tp_file_entry *e;
    size_t               n;

    (void)state;
    e = tp_file_find(f, "lm_head.weight");
    assert_non_null(e);
    assert_string_equal(e->section, "model");
    assert_memory_equal(tp_values(ctx, tp_file_read(ctx, f, "large", TP_F32)),
                        tp_values(ctx, tp_file_read(ctx, f, "lm_head.weight", TP_F32)), 64 * 64 * 4);
    assert_null(tp_file_find(f, "large.m"));
    e = tp_file_find(f, "optimizer/state/large.m");
    assert_non_null(e);
    assert_string_equal(e->name, "large.m");
    assert_string_equal(e->section, "optimizer/state");
    assert_string_equal(tp_file_text(f, "config.json", &n), config_text);
    assert_int_equal(n, strlen(config_text));
    assert_string_equal(tp_file_text(f, "config/model.json", NULL), config_text);
    assert_string_equal(tp_file_text(f, "tokenizer.json", NULL), tokenizer_text);
    assert_string_equal(tp_file_text(f, "config/empty.json", &n), "");
    assert_int_equal(n, 0);
    assert_string_equal(tp_file_meta(f, "step"), "12345678901234567");
    assert_true(strtod(tp_file_meta(f, "epoch"), NULL) == 0.1);
    assert_string_equal(tp_file_meta(f, "optimizer@type"), "adamw");
    assert_string_equal(tp_file_meta(f, "model/types.f32@method"), "none");
    assert_string_equal(tp_file_meta(f, "tapir_format"), "tapir-checkpoint");
    assert_string_equal(tp_file_meta(f, "model/large@role"), "param");
    tp_file_close(f);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

/* A view with strides is written as its values. */
static void views_are_written_by_value(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_arange(ctx, TP_F32, 0, 12, 1), *v = tpi_view(ctx, x, TP_SHAPE(4, 3), (int64_t[]){ 1, 4 }, 0);
    tp_writer *w = tp_writer_open(ctx, in_scratch("v.h5"), "tensors");
    tp_file   *f;

    (void)state;
    tp_writer_tensor(ctx, w, "model", "v", v);
    assert_true(tp_writer_close(ctx, w));
    f = tp_file_open(ctx, in_scratch("v.h5"));
    v = tp_file_read(ctx, f, "v", TP_I64);
    assert_int_equal(tp_i64(ctx, v)[1], 4);
    assert_int_equal(tp_i64(ctx, v)[3], 1);
    tp_file_close(f);
    assert_true(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void equal_content_equal_bytes(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    size_t  n, m;
    char   *a, *b;

    (void)state;
    a = read_bytes(in_scratch("m.h5"), &n);
    sleep(1); /* a time stamp would differ now */
    assert_true(write_model(ctx, in_scratch("n.h5")));
    b = read_bytes(in_scratch("n.h5"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    tp_ctx_free(ctx);
}

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

static char  *good;
static size_t good_size;

/* What opens in spite of damage has the content of the good file. */
static void is_unchanged(tp_ctx *ctx, tp_file *f)
{
    assert_int_equal(tp_file_count(f), TP_DTYPES + 9 + 4);
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "large", TP_F32))[1] == 1);
    assert_string_equal(tp_file_text(f, "config.json", NULL), config_text);
    assert_string_equal(tp_file_meta(f, "step"), "12345678901234567");
}

static void damaged_files_are_errors(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    damage  d = { .ctx = ctx, .path = in_scratch("bad.h5"), .accepted = is_unchanged };
    long    before = peak_mib();

    (void)state;
    good = read_bytes(in_scratch("m.h5"), &good_size);
    damage_all(&d, good, good_size, good_size);
    assert_true(d.variants >= 200 && d.refused > d.variants / 2);
    assert_true(peak_mib() - before < 96);
    tp_ctx_free(ctx);
}

/* What is_unchanged is for the small file. */
static void is_small(tp_ctx *ctx, tp_file *f)
{
    assert_int_equal(tp_file_count(f), 2);
    assert_string_equal(tp_file_kind(f), "adapter");
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "a.lora_A", TP_F32))[1] == 1);
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "s", TP_F32))[0] == 0);
    assert_string_equal(tp_file_text(f, "config/adapter.json", NULL), "{}");
    assert_string_equal(tp_file_meta(f, "base_identity"), "0123");
    assert_string_equal(tp_file_meta(f, "adapter/a@blocks"), "64");
}

/* Each single bit of a small file: refused, or without effect. */
static void every_bit(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    damage     d = { .ctx = ctx, .path = in_scratch("bad.h5"), .accepted = is_small };
    tp_writer *w = tp_writer_open(ctx, in_scratch("small.h5"), "adapter");
    size_t     n, i;
    char      *small;

    (void)state;
    tp_writer_tensor(ctx, w, "adapter", "a.lora_A", pattern(ctx, TP_F32, TP_SHAPE(2, 2)));
    tp_writer_tensor(ctx, w, "adapter", "s", pattern(ctx, TP_BF16, TP_SCALAR));
    tp_writer_attr_int(ctx, w, "adapter/a", "blocks", 64);
    tp_writer_text(ctx, w, "config/adapter.json", "{}", 2);
    tp_writer_attr_text(ctx, w, NULL, "base_identity", "0123");
    assert_true(tp_writer_close(ctx, w));
    small = read_bytes(in_scratch("small.h5"), &n);
    for (i = 0; i < 8 * n; i++) {
        small[i / 8] ^= (char)(1 << i % 8);
        try_variant(&d, small, n);
        small[i / 8] ^= (char)(1 << i % 8);
    }
    print_message("%ld of %ld flips refused\n", d.refused, d.variants);
    assert_true(d.refused > d.variants / 2);
    free(small);
    tp_ctx_free(ctx);
}

/* A group of very many: all links stay in its header. */
static void many_tensors(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(2));
    tp_writer *w = tp_writer_open(ctx, in_scratch("many.h5"), "tensors");
    tp_file   *f;
    char       name[32];
    int        i;

    (void)state;
    for (i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        tp_writer_tensor(ctx, w, "model", name, x);
    }
    assert_true(tp_writer_close(ctx, w));
    f = tp_file_open(ctx, in_scratch("many.h5"));
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_file_count(f), 5000);
    assert_true(tp_file_verify(ctx, f));
    tp_file_close(f);
    tp_ctx_free(ctx);
}

/* One bit in the values of one tensor: its name is told, the others are read. */
static void a_flipped_bit_names_its_tensor(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor  *x = pattern(ctx, TP_F32, TP_SHAPE(64, 64));
    const void *found = memmem(good, good_size, tp_values(ctx, x), 64 * 64 * 4);
    tp_file    *f;

    (void)state;
    assert_non_null(found);
    assert_int_equal(((const char *)found - good) % 64, 0); /* 16 KiB: aligned, to be mapped by others */
    good[(const char *)found - good + 1234] ^= 4;
    write_bytes(in_scratch("bad.h5"), good, good_size);
    f = tp_file_open(ctx, in_scratch("bad.h5"));
    assert_non_null(f);
    assert_non_null(tp_file_read(ctx, f, "none", TP_F32));
    assert_null(tp_file_read(ctx, f, "large", TP_F32));
    expect_error(ctx, TP_EFORMAT, "\"large\" is damaged");
    assert_false(tp_file_verify(ctx, f));
    expect_error(ctx, TP_EFORMAT, "is damaged");
    tp_file_close(f);
    write_bytes(in_scratch("bad.h5"), good, good_size - 1);
    expect_refused(ctx, in_scratch("bad.h5"), TP_EFORMAT, "cut or damaged");
    free(good);
    tp_ctx_free(ctx);
}

/* Sampled bits in the values of five tensors: each names its own, the other four are read. */
static void flips_in_data_name_the_tensor(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_writer *w = tp_writer_open(ctx, in_scratch("five.h5"), "model");
    char      *whole, name[16], told[32];
    const char *at[5];
    uint32_t   seed = 7;
    size_t     n, i, k;

    (void)state;
    for (i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "t%zu", i);
        tp_writer_tensor(ctx, w, "model", name, tp_full(ctx, TP_F32, TP_SHAPE(1000), (double)i + 1));
    }
    assert_true(tp_writer_close(ctx, w));
    whole = read_bytes(in_scratch("five.h5"), &n);
    for (i = 0; i < 5; i++)
        at[i] = memmem(whole, n, tp_f32(ctx, tp_full(ctx, TP_F32, TP_SHAPE(1000), (double)i + 1)), 4000);
    for (i = 0; i < 200; i++) {
        char   *bit = whole + (at[i % 5] - whole) + next_random(&seed) % 4000;
        char    mask = (char)(1 << next_random(&seed) % 8);
        tp_file *f;

        *bit ^= mask;
        write_bytes(in_scratch("bad.h5"), whole, n);
        *bit ^= mask;
        f = tp_file_open(ctx, in_scratch("bad.h5"));
        for (k = 0; k < 5; k++) {
            snprintf(name, sizeof name, "t%zu", k);
            snprintf(told, sizeof told, "\"t%zu\" is damaged", k);
            if (k != i % 5)
                assert_non_null(tp_file_read(ctx, f, name, TP_F32));
            else if (!tp_file_read(ctx, f, name, TP_F32))
                expect_error(ctx, TP_EFORMAT, told);
            else
                fail_msg("a flip in %s was not seen", name);
        }
        tp_file_close(f);
    }
    free(whole);
    tp_ctx_free(ctx);
}

/* What a later Tapir might write, or an interrupted one. */
static void other_versions(void **state)
{
    static const struct {
        const char *key, *text, *says;
        uint64_t    number;
    } cases[] = {
        { "tapir_format_major", NULL, "a checkpoint of major version 2; this Tapir reads 1", 2 },
        { "tapir_format_major", NULL, "a checkpoint of major version 0", 0 },
        { "tapir_requires", "sparse-rows", "needs \"sparse-rows\", which this Tapir does not know", 0 },
        { "tapir_format", "other", "no Tapir checkpoint", 0 },
        { "tapir_kind", "recipe", "unknown tapir_kind \"recipe\"", 0 },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    size_t  i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tp_writer *w = tp_writer_open(ctx, in_scratch("v.h5"), "model");

        tp_writer_tensor(ctx, w, "model", "a", tp_ones(ctx, TP_F32, TP_SHAPE(2)));
        if (cases[i].text)
            tp_writer_attr_text(ctx, w, NULL, cases[i].key, cases[i].text);
        else
            tp_writer_attr_int(ctx, w, NULL, cases[i].key, cases[i].number);
        assert_false(tp_writer_close(ctx, w)); /* it does not read back */
        expect_error(ctx, TP_EIO, cases[i].says);
    }
    tp_ctx_free(ctx);
}

static void other_files(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    char    text[64] = "\x89HDF\r\n\x1a\n";

    (void)state;
    write_bytes(in_scratch("x.h5"), text, 8);
    expect_refused(ctx, in_scratch("x.h5"), TP_EFORMAT, "too short");
    write_bytes(in_scratch("x.h5"), text, 64);
    expect_refused(ctx, in_scratch("x.h5"), TP_EFORMAT, "not of version 3");
    memset(text, 'a', sizeof text);
    write_bytes(in_scratch("x.h5"), text, 64);
    expect_refused(ctx, in_scratch("x.h5"), TP_EFORMAT, "no HDF5 file");
    write_bytes(in_scratch("x.bin"), text, 64);
    expect_refused(ctx, in_scratch("x.bin"), TP_EFORMAT, "neither a safetensors file");
    tp_ctx_free(ctx);
}

/* What a stranger writes with h5py alone (tests/golden/golden_h5.py) is read: hashes are optional. */
static void a_file_by_h5py(void **state)
{
    const char *root = getenv("TAPIR_SOURCE");
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    char        path[512];
    tp_file    *f;

    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/h5/by_h5py.h5", root ? root : ".");
    f = tp_file_open(ctx, path);
    assert_string_equal(tp_error(ctx), "");
    assert_string_equal(tp_file_kind(f), "adapter");
    assert_int_equal(tp_file_count(f), 4);
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "layers.0.q_proj.lora_A", TP_DTYPES))[5] == 5);
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "layers.0.q_proj.lora_B", TP_F32))[3] == 3);
    assert_int_equal(tp_dtype_of(tp_file_read(ctx, f, "flags", TP_DTYPES)), TP_BOOL);
    assert_int_equal(tp_i64(ctx, tp_file_read(ctx, f, "ids", TP_DTYPES))[2], 2);
    assert_string_equal(tp_file_text(f, "config/adapter.json", NULL), "{\"method\": \"lora\"}");
    assert_string_equal(tp_file_meta(f, "adapter/layers.0.q_proj@blocks"), "64");
    assert_string_equal(tp_file_meta(f, "adapter/layers.0.q_proj@offset"), "-3");
    assert_string_equal(tp_file_meta(f, "adapter/layers.0.q_proj@scale"), "0.5");
    assert_true(tp_file_verify(ctx, f));
    tp_file_close(f);
    tp_ctx_free(ctx);
}

/* Links and attributes in heaps (tests/golden/golden_h5.py). */
static void is_dense(tp_ctx *ctx, tp_file *f)
{
    char key[64];
    int  i;

    assert_int_equal(tp_file_count(f), 300);
    assert_string_equal(tp_file_meta(f, "number19"), "361");
    assert_string_equal(tp_file_meta(f, "model/many@real19"), "4.75");
    for (i = 0; i < 298; i++) {
        tp_scope s = tp_scope_begin(ctx);

        snprintf(key, sizeof key, "many.a_name_that_is_not_so_short_%d", i);
        assert_true(tp_f32(ctx, tp_file_read(ctx, f, key, TP_DTYPES))[3] == (float)(3 + i % 2));
        tp_scope_end(ctx, s);
    }
}

static void members_in_heaps(void **state)
{
    static const char *const names[] = { "dense", "ordered" };
    const char              *root = getenv("TAPIR_SOURCE");
    tp_ctx                  *ctx = tp_ctx_new(TP_REF, 0);
    char                     path[512];
    tp_file                 *f;
    size_t                   i, k, n;

    (void)state;
    for (i = 0; i < 2; i++) {
        damage   d = { .ctx = ctx, .path = in_scratch("bad.h5"), .accepted = is_dense };
        uint32_t seed = 1;
        char    *p;

        snprintf(path, sizeof path, "%s/tests/golden/h5/%s.h5", root ? root : ".", names[i]);
        f = tp_file_open(ctx, path);
        assert_string_equal(tp_error(ctx), "");
        is_dense(ctx, f);
        tp_file_close(f);
        p = read_bytes(path, &n);
        for (k = 0; k < n; k += n / 1500 + 1) {
            char was = p[k];

            p[k] = (char)(was ^ 1 << next_random(&seed) % 8);
            try_variant(&d, p, n);
            p[k] = was;
        }
        print_message("%s: %ld of %ld flips refused\n", names[i], d.refused, d.variants);
        assert_true(d.refused > d.variants / 3);
        free(p);
    }
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(ties_texts_attributes),
        cmocka_unit_test(views_are_written_by_value),
        cmocka_unit_test(equal_content_equal_bytes),
        cmocka_unit_test(damaged_files_are_errors),
        cmocka_unit_test(a_flipped_bit_names_its_tensor),
        cmocka_unit_test(flips_in_data_name_the_tensor),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(other_files),
        cmocka_unit_test(every_bit),
        cmocka_unit_test(many_tensors),
        cmocka_unit_test(a_file_by_h5py),
        cmocka_unit_test(members_in_heaps),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
