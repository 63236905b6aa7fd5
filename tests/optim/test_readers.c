/* test_readers.c - csv, idx, JSON lines and token files: what they give, what they say of a file that is wrong, and
 * hundreds of damaged ones, which must end in one clear line or in a tensor, never in a crash. */
#include "tests/nn/nn_test.h"

#include "optim/readers.h"

#include <stdio.h>
#include <unistd.h>

enum { DAMAGES = 400 };

static char path[64];

static void write_file(const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *s)
{
    write_file(s, strlen(s));
}

static int make_path(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof path, "readers-XXXXXX");
    fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int drop_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* The last call has failed with "path" + what follows it. */
static void refused(tp_ctx *ctx, const void *result, tp_code code, const char *rest)
{
    char want[400];

    snprintf(want, sizeof want, "%s%s", path, rest);
    assert_null(result);
    check_failed(ctx, code, want, NULL);
}

static const void *thing(bool good)
{
    return good ? path : NULL;
}

/* ---- csv --------------------------------------------------------------------------------------------------------- */

static void csv(void **state)
{
    static const double want[] = { 1, -25, 3, 0.5, 4, 1e-3 };
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x;

    (void)state;
    write_text("\xef\xbb\xbf" "a,b,c\r\n\r\n 1 ,-2.5e1,\"3\"\r\n  \r\n.5,+4,1e-3");
    x = tp_csv_read(ctx, path, &(tp_csv_opts){ .skip = 1, .dtype = TP_F64 });
    check_ok(ctx);
    assert_int_equal(tp_ndim(x), 2);
    assert_int_equal(tp_dim(x, 0), 2);
    assert_int_equal(tp_dim(x, 1), 3);
    for (int i = 0; i < 6; i++)
        assert_true(tp_f64(ctx, x)[i] == want[i]);
    write_text("1;nan;;-Inf\n");
    x = tp_csv_read(ctx, path, &(tp_csv_opts){ .separator = ';', .missing = true });
    assert_true(isnan(tp_f32(ctx, x)[1]) && isnan(tp_f32(ctx, x)[2]) && tp_f32(ctx, x)[3] == -INFINITY);
    write_text("9223372036854775807\t-1\n3.0\t4\n");
    x = tp_csv_read(ctx, path, &(tp_csv_opts){ .separator = '\t', .dtype = TP_I64 });
    assert_true(tp_i64(ctx, x)[0] == INT64_MAX && tp_i64(ctx, x)[2] == 3);
    write_text("255 0\n");
    x = tp_csv_read(ctx, path, &(tp_csv_opts){ .separator = ' ', .dtype = TP_U8 });
    assert_int_equal(*(const uint8_t *)tp_values(ctx, x), 255);
    free_ctx(ctx);
}

static void csv_wrong(void **state)
{
    static const struct { const char *text; tp_dtype t; const char *says;
    } cases[] = {
        { "1,2\n3,x4\n", TP_F32, ":2:3: 'x4' is no number" },
        { "1,2\n3\n", TP_F32, ":2:2: 1 cells, expected 2 as in the first row" },
        { "1,2\n\n3,4,5\n", TP_F32, ":3:6: 3 cells, expected 2" },
        { "1,,2\n", TP_F32, ":1:3: '' is empty" },
        { "1,\n", TP_F32, ":1:3: '' is empty" },
        { "", TP_F32, ":1:1: no row of numbers" },
        { "\n \n", TP_F32, ":3:1: no row of numbers" },
        { "1,256\n", TP_U8, ":1:3: '256' does not fit u8" },
        { "1,2.5\n", TP_I32, ":1:3: '2.5' does not fit i32" },
        { "1,nan\n", TP_I32, ":1:3: 'nan' does not fit i32" },
        { "99999999999999999999\n", TP_I64, ":1:1: '99999999999999999999' does not fit i64" },
        { "1e39\n", TP_F32, ":1:1: '1e39' does not fit f32" },
        { "1e400\n", TP_F64, ":1:1: '1e400' does not fit f64" },
        { "70000\n", TP_F16, ":1:1: '70000' does not fit f16" },
        { "2\n", TP_BOOL, ":1:1: '2' does not fit bool" },
        { "0x10\n", TP_F32, ":1:1: '0x10' is no number" },
        { "1 2\n", TP_F32, ":1:1: '1 2' is no number" },
        { "1.5.2\n", TP_F32, ":1:1: '1.5.2' is no number" },
        { "\"1,2\n", TP_F32, ":1:1: '\"1,2' is no number" },
        { "infinit\n", TP_F32, ":1:1: 'infinit' is no number" },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(cases[i].text);
        refused(ctx, tp_csv_read(ctx, path, &(tp_csv_opts){ .dtype = cases[i].t }), TP_EFORMAT, cases[i].says);
    }
    write_file("1\0\n", 3);
    refused(ctx, tp_csv_read(ctx, path, NULL), TP_EFORMAT, ":1:1: '1' is no number");
    assert_null(tp_csv_read(ctx, "no/such.csv", NULL));
    check_failed(ctx, TP_EIO, "no/such.csv: cannot be opened", NULL);
    assert_null(tp_csv_read(ctx, NULL, NULL));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    assert_null(tp_csv_read(ctx, path, &(tp_csv_opts){ .skip = -1 }));
    check_failed(ctx, TP_EARG, "csv: dtype 0, skip -1", NULL);
    free_ctx(ctx);
}

/* ---- idx --------------------------------------------------------------------------------------------------------- */

static void idx(void **state)
{
    static const unsigned char bytes[] = { 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255 };
    static const unsigned char shorts[] = { 0, 0, 11, 1, 0, 0, 0, 2, 0xff, 0xfe, 1, 0 };
    static const unsigned char tiny[] = { 0, 0, 9, 1, 0, 0, 0, 2, 0x80, 0x7f };
    static const unsigned char words[] = { 0, 0, 12, 1, 0, 0, 0, 1, 0x80, 0, 0, 1 };
    static const unsigned char floats[] = { 0, 0, 13, 1, 0, 0, 0, 1, 0x3f, 0x80, 0, 0 };
    static const unsigned char doubles[] = { 0, 0, 14, 1, 0, 0, 0, 1, 0xc0, 0, 0, 0, 0, 0, 0, 0 };
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x;

    (void)state;
    write_file(bytes, sizeof bytes);
    x = tp_idx_read(ctx, path);
    check_ok(ctx);
    assert_true(tp_dtype_of(x) == TP_U8 && tp_ndim(x) == 2 && tp_dim(x, 0) == 2 && tp_dim(x, 1) == 3);
    assert_int_equal(((const uint8_t *)tp_values(ctx, x))[5], 255);
    write_file(shorts, sizeof shorts);
    x = tp_idx_read(ctx, path);
    assert_true(tp_i32(ctx, x)[0] == -2 && tp_i32(ctx, x)[1] == 256);
    write_file(tiny, sizeof tiny);
    x = tp_idx_read(ctx, path);
    assert_true(tp_i32(ctx, x)[0] == -128 && tp_i32(ctx, x)[1] == 127);
    write_file(words, sizeof words);
    assert_true(tp_i32(ctx, tp_idx_read(ctx, path))[0] == INT32_MIN + 1);
    write_file(floats, sizeof floats);
    assert_true(tp_f32(ctx, tp_idx_read(ctx, path))[0] == 1);
    write_file(doubles, sizeof doubles);
    assert_true(tp_f64(ctx, tp_idx_read(ctx, path))[0] == -2);

    write_file(bytes, 3);
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 0: no idx file");
    write_file(bytes, 10);
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 10: the file ends before its 2 sizes");
    write_file(bytes, 17);
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 12: 5 bytes of values, expected 6");
    write_file("\0\0\x08\x09", 4);
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 3: 9 dimensions, expected 1 to 8");
    write_file("\0\0\x08\x01\0\0\0\0", 8);
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 4: a size of 0");
    write_file("\0\0\x0e\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16); /* 2^96 values of nothing */
    refused(ctx, tp_idx_read(ctx, path), TP_EFORMAT, ": byte 8: a size of 4294967295");
    free_ctx(ctx);
}

/* ---- JSON lines -------------------------------------------------------------------------------------------------- */

static const tp_field fields[] = { { "x", TP_F32, 2, { 2, 2 } }, { "label", TP_I64, 0, { 0 } } };

static void jsonl(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *out[2];

    (void)state;
    write_text("{\"x\": [[1, 2.5], [3, -4e2]], \"label\": 7, \"more\": {}}\r\n\n{\"label\": true, \"x\": [[0, 0], [0, 1]]}");
    assert_true(tp_jsonl_read(ctx, path, 2, fields, out));
    check_ok(ctx);
    assert_true(tp_ndim(out[0]) == 3 && tp_dim(out[0], 0) == 2 && tp_ndim(out[1]) == 1);
    assert_true(tp_f32(ctx, out[0])[3] == -400 && tp_f32(ctx, out[0])[7] == 1);
    assert_true(tp_i64(ctx, out[1])[0] == 7 && tp_i64(ctx, out[1])[1] == 1);
    free_ctx(ctx);
}

static void jsonl_wrong(void **state)
{
    static const char *const cases[][2] = {
        { "{\"x\": [[1, 2], [3, 4]], \"label\": 7}\n[]\n", ":2:1: the line is an array, expected an object" },
        { "{\"label\": 7}\n", ":1:1: in the field \"x\", a value is missing" },
        { "{\"x\": [[1, 2]], \"label\": 7}\n", ":1:1: in the field \"x\", an array of 1 stands where a list of 2" },
        { "{\"x\": [[1, 2], 3], \"label\": 7}\n", ":1:1: in the field \"x\", an integer of 0 stands where a list of 2" },
        { "{\"x\": [[1, 2], [3, \"4\"]], \"label\": 7}\n", ":1:1: in the field \"x\", a text stands where a number" },
        { "{\"x\": [[1, 2], [3, 1e60]], \"label\": 7}\n", ":1:1: in the field \"x\", a value does not fit f32" },
        { "{\"x\": [[1, 2], [3, 4]], \"label\": 7.5}\n", ":1:1: in the field \"label\", a value does not fit i64" },
        { "{\"x\": [[1, 2], [3, 4]], \"label\": 7", ":1:" },
        { "{\"x\": [[1, 2], [3, 4]], \"x\": 1}", ":1:" },
        { "\n\n", ":3:1: no line holds an object" },
    };
    const tp_field nameless = { NULL, TP_F32, 0, { 0 } }, flat = { "x", TP_F32, 1, { 0 } };
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor     *out[2];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(cases[i][0]);
        refused(ctx, thing(tp_jsonl_read(ctx, path, 2, fields, out)), TP_EFORMAT, cases[i][1]);
        assert_true(out[0] == NULL && out[1] == NULL);
    }
    assert_false(tp_jsonl_read(ctx, path, 0, fields, out));
    check_failed(ctx, TP_EARG, "jsonl: 0 fields", NULL);
    assert_false(tp_jsonl_read(ctx, path, 1, &nameless, out));
    check_failed(ctx, TP_EARG, "jsonl: field 0 has no name", NULL);
    assert_false(tp_jsonl_read(ctx, path, 1, &flat, out));
    check_failed(ctx, TP_ESHAPE, "jsonl: the field x has no shape", NULL);
    free_ctx(ctx);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static void tokens(void **state)
{
    static const unsigned char ids[] = { 1, 0, 0xff, 0xff, 2, 1, 0, 0 };
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x;

    (void)state;
    write_file(ids, sizeof ids);
    x = tp_tokens_read(ctx, path, 2, 0);
    assert_true(tp_numel(x) == 4 && tp_i32(ctx, x)[1] == 65535 && tp_i32(ctx, x)[2] == 258);
    x = tp_tokens_read(ctx, path, 1, 256);
    assert_true(tp_numel(x) == 8 && tp_i32(ctx, x)[3] == 255);
    refused(ctx, tp_tokens_read(ctx, path, 2, 300), TP_EFORMAT, ": byte 2: id 65535 of token 1, expected one below 300");
    refused(ctx, tp_tokens_read(ctx, path, 4, 0), TP_EFORMAT,
            ": byte 0: id 4294901761 of token 0, expected one below 2147483648");
    write_file(ids, 7);
    refused(ctx, tp_tokens_read(ctx, path, 2, 0), TP_EFORMAT, ": byte 7: the file ends there");
    write_file(ids, 0);
    refused(ctx, tp_tokens_read(ctx, path, 4, 0), TP_EFORMAT, ": byte 0: the file ends there");
    assert_null(tp_tokens_read(ctx, path, 3, 0));
    check_failed(ctx, TP_EARG, "tokens: 3 bytes an id", NULL);
    free_ctx(ctx);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static const void *read_csv(tp_ctx *ctx)
{
    return tp_csv_read(ctx, path, &(tp_csv_opts){ .skip = 1 });
}

static const void *read_idx(tp_ctx *ctx)
{
    return tp_idx_read(ctx, path);
}

static const void *read_jsonl(tp_ctx *ctx)
{
    tp_tensor *out[2];

    return thing(tp_jsonl_read(ctx, path, 2, fields, out));
}

static const void *read_tokens(tp_ctx *ctx)
{
    return tp_tokens_read(ctx, path, 2, 256);
}

/* Cuts, flips, repeats and overwrites, all drawn from seed; returns the new length. */
static size_t damage(unsigned char *p, size_t n, uint64_t seed)
{
    uint64_t z = seed * 0x9e3779b97f4a7c15u + 12345;

    for (uint64_t k = 0; k <= seed % 3; k++) {
        size_t at;

        z = (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9u;
        at = n ? (size_t)(z >> 33) % n : 0;
        if (n == 0 || z % 5 == 0)
            n = at;
        else if (z % 5 == 1)
            p[at] = (unsigned char)(z >> 8);
        else if (z % 5 == 2)
            p[at] ^= (unsigned char)(1u << (z >> 8) % 8);
        else if (z % 5 == 3)
            memmove(p + at / 2, p + at, n - at);
        else
            memset(p + at, (int)(z >> 8 & 255), n - at < 4 ? n - at : 4);
    }
    return n;
}

static void damaged(const void *good, size_t n, const void *(*read)(tp_ctx *ctx))
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    unsigned char copy[400];
    int           refusals = 0;

    assert_true(n <= sizeof copy);
    write_file(good, n);
    assert_non_null(read(ctx));
    for (uint64_t seed = 0; seed < DAMAGES; seed++) {
        tp_scope    s = tp_scope_begin(ctx);
        const void *got;

        memcpy(copy, good, n);
        write_file(copy, damage(copy, n, seed));
        got = read(ctx);
        assert_true((got != NULL) == tp_ok(ctx));
        if (got == NULL) {
            assert_int_equal(tp_error_code(ctx), TP_EFORMAT);
            assert_int_equal(strncmp(tp_error(ctx), path, strlen(path)), 0);
            refusals++;
        }
        tp_error_clear(ctx);
        tp_scope_end(ctx, s);
    }
    assert_true(refusals > DAMAGES / 8);
    free_ctx(ctx);
}

static void damages(void **state)
{
    static const char table[] = "a,b\n1,2\n3,\"4.5\"\n-6e3,7\n8,9\n";
    static const char lines[] = "{\"x\": [[1, 2.5], [3, -4e2]], \"label\": 7}\n{\"label\": 8, \"x\": [[0, 0], [0, 1]]}\n";
    static const unsigned char images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8 };
    unsigned char ids[64] = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof ids; i += 2)
        ids[i] = (unsigned char)i;
    damaged(table, sizeof table - 1, read_csv);
    damaged(lines, sizeof lines - 1, read_jsonl);
    damaged(images, sizeof images, read_idx);
    damaged(ids, sizeof ids, read_tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv),         cmocka_unit_test(csv_wrong), cmocka_unit_test(idx),     cmocka_unit_test(jsonl),
        cmocka_unit_test(jsonl_wrong), cmocka_unit_test(tokens),    cmocka_unit_test(damages),
    };

    return cmocka_run_group_tests(tests, make_path, drop_path);
}
