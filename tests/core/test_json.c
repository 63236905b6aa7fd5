/* test_json.c - JSON is read strictly, and written so that it reads back to the same. */
#include "core/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tpi_json *parse(tp_ctx *ctx, const char *text)
{
    return tpi_json_parse(ctx, "t", text, strlen(text));
}

static void refused(const char *text, const char *why)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    assert_null(parse(ctx, text));
    assert_int_equal(tp_error_code(ctx), TP_EFORMAT);
    if (strstr(tp_error(ctx), why) == NULL)
        fail_msg("%s: the error is '%s', expected '%s' in it", text, tp_error(ctx), why);
    tp_ctx_free(ctx);
}

static void test_refuses(void **state)
{
    (void)state;
    refused("{\"a\": 1, \"a\": 2}", "t:1:");
    refused("{\"a\": 1e400}", "t:1:");
    refused("\"\\u0000\"", "t:1:");
    refused("\"\xff\"", "t:1:");
    refused("\"\xed\xa0\x80\"", "t:1:");
    refused("\"\\ud800\"", "t:1:");
    refused("[1, 2", "t:1:");
    refused("[1] 2", "t:1:");
    refused("", "t:1:");
    refused("{\n\n  \"a\": nope}", "t:3:");
    refused("[1, 2,]", "t:1:");
    refused("{'a': 1}", "t:1:");
    refused("[01]", "t:1:");
    refused("[NaN]", "t:1:");
}

static void test_depth(void **state)
{
    char text[300];

    (void)state;
    for (int depth = TPI_JSON_DEPTH; depth <= TPI_JSON_DEPTH + 1; depth++) {
        tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
        tpi_json *j;

        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        j = parse(ctx, text);
        assert_int_equal(j != NULL, depth <= TPI_JSON_DEPTH);
        if (j == NULL)
            assert_non_null(strstr(tp_error(ctx), "t:1:65: nested deeper than 64"));
        tpi_json_free(j);
        tp_ctx_free(ctx);
    }
    refused("\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            "t:1:"); /* brackets in a text do not count */
}

static void test_numbers(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    tpi_json *j = parse(
        ctx, "{\"i\": 9007199254740993, \"r\": 0.1, \"big\": 1000000000000000019884624838656, \"n\": null, \"m\": -7,"
             "\"s\": \"1000000000000000019884624838656\", \"l\": [-18446744073709551616, 9223372036854775807]}");

    (void)state;
    assert_non_null(j);
    assert_int_equal(tpi_json_int(ctx, "t", j, "i", 0, 0, INT64_MAX), 9007199254740993);
    assert_true(tpi_json_double(ctx, "t", j, "r", 0) == 0.1);
    assert_true(tpi_json_double(ctx, "t", j, "big", 0) == 1000000000000000019884624838656.0);
    assert_string_equal(tpi_json_text(ctx, "t", j, "s", ""), "1000000000000000019884624838656");
    assert_int_equal(tpi_json_integer(tpi_json_at(tpi_json_get(j, "l"), 1)), INT64_MAX);
    assert_int_equal(tpi_json_is(tpi_json_at(tpi_json_get(j, "l"), 0)), TPI_JSON_REAL);
    assert_int_equal(tpi_json_int(ctx, "t", j, "n", 5, 0, 9), 5);
    assert_int_equal(tpi_json_int(ctx, "t", j, "missing", 6, 0, 9), 6);
    assert_true(tp_ok(ctx));
    assert_int_equal(tpi_json_int(ctx, "t", j, "big", 5, 0, 9), 5);
    assert_string_equal(tp_error(ctx), "t: big is a number, expected an integer");
    tp_error_clear(ctx);
    (void)tpi_json_int(ctx, "t", j, "m", 5, 0, 9);
    assert_string_equal(tp_error(ctx), "t: m is -7, expected 0 to 9");
    tp_error_clear(ctx);
    assert_null(tpi_json_object(ctx, "t", j, "missing", true));
    assert_string_equal(tp_error(ctx), "t: missing is missing, expected an object");
    tpi_json_free(j);
    tp_ctx_free(ctx);
}

static void test_write_reads_back(void **state)
{
    static const double value[] = { 0.1, 1.0 / 3, 1e-320, 1.7976931348623157e308, -0.0, 123456789.125 };
    tp_ctx             *ctx = tp_ctx_new(TP_REF, 0);
    tpi_json           *j = tpi_json_new_object(ctx), *list = tpi_json_new_array(ctx), *back;
    size_t              n = 0;
    char               *text;

    (void)state;
    for (size_t i = 0; i < sizeof value / sizeof value[0]; i++)
        assert_true(tpi_json_add(ctx, list, tpi_json_new_double(ctx, value[i])));
    assert_true(tpi_json_set_text(ctx, j, "z", "quote \" slash \\ \xc3\xa9"));
    assert_true(tpi_json_set_int(ctx, j, "a", INT64_MIN));
    assert_true(tpi_json_set_bool(ctx, j, "m", true));
    assert_true(tpi_json_set(ctx, j, "l", list));
    text = tpi_json_dump(ctx, j, 0, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(text, "{\"z\":", 5); /* in the order in which they were set */
    back = tpi_json_parse(ctx, "t", text, n);
    assert_non_null(back);
    assert_string_equal(tpi_json_text(ctx, "t", back, "z", ""), "quote \" slash \\ \xc3\xa9");
    assert_int_equal(tpi_json_int(ctx, "t", back, "a", 0, INT64_MIN, 0), INT64_MIN);
    assert_true(tpi_json_bool(ctx, "t", back, "m", false));
    for (size_t i = 0; i < sizeof value / sizeof value[0]; i++) {
        double v = tpi_json_real(tpi_json_at(tpi_json_get(back, "l"), i));

        assert_memory_equal(&v, &value[i], sizeof v);
    }
    assert_false(tpi_json_set(ctx, j, "bad", tpi_json_new_text(ctx, "\xff", 1)));
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    tpi_free(text);
    tpi_json_free(back);
    tpi_json_free(j);
    tp_ctx_free(ctx);
}

static void test_walk(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    tpi_json       *j = parse(ctx, "{\"c\": 1, \"a\": [true, null], \"b\": \"x\"}");
    const char     *key;
    const tpi_json *value;
    void           *it = NULL;
    char            order[8] = "";

    (void)state;
    while (tpi_json_next(j, &it, &key, &value))
        strncat(order, key, 1);
    assert_string_equal(order, "cab");
    assert_int_equal(tpi_json_size(j), 3);
    assert_int_equal(tpi_json_size(tpi_json_get(j, "a")), 2);
    assert_true(tpi_json_true(tpi_json_at(tpi_json_get(j, "a"), 0)));
    assert_int_equal(tpi_json_is(tpi_json_at(tpi_json_get(j, "a"), 1)), TPI_JSON_NULL);
    assert_null(tpi_json_at(tpi_json_get(j, "a"), 2));
    assert_null(tpi_json_get(tpi_json_get(j, "b"), "c"));
    assert_true(isnan(tpi_json_real(tpi_json_get(j, "b"))));
    assert_null(tpi_json_get(NULL, "x"));
    tpi_json_free(j);
    tpi_json_free(NULL);
    tp_ctx_free(ctx);
}

/* Every allocation fails in turn: an error, never a crash. */
static void test_no_memory(void **state)
{
    bool done = false;

    (void)state;
    for (long i = 0; !done; i++) {
        tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
        tpi_json *j;
        char     *text = NULL;

        tpi_fail_alloc(i, false);
        j = parse(ctx, "{\"a\": [1, 2.5, \"text\", {\"b\": true}], \"c\": 1000000000000000019884624838656}");
        if (j != NULL)
            text = tpi_json_dump(ctx, j, 2, NULL);
        tpi_fail_alloc(-1, false);
        done = text != NULL;
        if (!done)
            assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
        tpi_free(text);
        tpi_json_free(j);
        tp_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_refuses), cmocka_unit_test(test_depth),
                                        cmocka_unit_test(test_numbers), cmocka_unit_test(test_write_reads_back),
                                        cmocka_unit_test(test_walk),    cmocka_unit_test(test_no_memory) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
