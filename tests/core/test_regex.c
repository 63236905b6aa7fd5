/* test_regex.c - regular expressions with Unicode, limits on patterns and searches, many threads on one expression. */
#include "core/readfile.h"
#include "core/regex.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_find(const char *pattern, const char *text, size_t from, long begin, long end)
{
    tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
    tpi_regex   *re = tpi_regex_new(ctx, "t", pattern, strlen(pattern));
    tpi_matcher *m = tpi_matcher_new(ctx);
    size_t       b = 0, e = 0;
    bool         found;

    if (re == NULL)
        fail_msg("%s", tp_error(ctx));
    assert_int_equal(tpi_regex_find(re, m, text, strlen(text), from, &found, &b, &e), TP_OK);
    assert_int_equal(found, begin >= 0);
    if (found) {
        assert_int_equal(b, begin);
        assert_int_equal(e, end);
    }
    tpi_matcher_free(m);
    tpi_regex_free(re);
    tp_ctx_free(ctx);
}

static void test_find(void **state)
{
    (void)state;
    expect_find("b+", "abbbc", 0, 1, 4);
    expect_find("b+", "abbbc", 2, 2, 4);
    expect_find("x", "abc", 0, -1, 0);
    expect_find("\\p{L}+", "12\xd0\xbf\xd1\x80\xd0\xb8 x", 0, 2, 8);
    expect_find("(?i:'LL)", "we'll", 0, 2, 5);
    expect_find("(?<=a)b", "ab", 1, 1, 2); /* what stands before `from` is seen */
    expect_find("\\s+(?!\\S)", "a   b", 0, 1, 3);
    expect_find("", "abc", 3, 3, 3);
    expect_find("a.c", "a\nc", 0, -1, 0);
}

static void test_whole(void **state)
{
    static const char pattern[] = "(q|k|v|up|down)_proj";
    tp_ctx           *ctx = tp_ctx_new(TP_REF, 0);
    tpi_regex        *re = tpi_regex_new(ctx, "targets", pattern, strlen(pattern));

    (void)state;
    assert_true(tpi_regex_whole(ctx, "targets", re, "q_proj", 6));
    assert_false(tpi_regex_whole(ctx, "targets", re, "qq_proj", 7));
    assert_false(tpi_regex_whole(ctx, "targets", re, "q_proj.x", 8));
    assert_true(tp_ok(ctx));
    tpi_regex_free(re);
    tp_ctx_free(ctx);
}

static void refused(const char *pattern, size_t n, const char *why)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    assert_null(tpi_regex_new(ctx, "targets", pattern, n));
    assert_int_equal(tp_error_code(ctx), TP_EFORMAT);
    if (strstr(tp_error(ctx), why) == NULL)
        fail_msg("the error is '%s', expected '%s' in it", tp_error(ctx), why);
    tp_ctx_free(ctx);
}

static void test_refuses(void **state)
{
    char *large = malloc(TPI_REGEX_MAX + 1), *deep = malloc(2000);

    (void)state;
    refused("a(b", 3, "targets: is no valid regular expression");
    refused("[a", 2, "targets: is no valid regular expression");
    refused("\xff", 1, "targets: is no valid regular expression");
    refused("\\p{Nope}", 8, "targets: is no valid regular expression");
    memset(large, 'a', TPI_REGEX_MAX + 1);
    refused(large, TPI_REGEX_MAX + 1, "65537 bytes");
    memset(deep, '(', 1000);
    memset(deep + 1000, ')', 1000);
    refused(deep, 2000, "targets: is no valid regular expression");
    free(large);
    free(deep);
}

/* A search that would take for ever is stopped and said so. */
static void test_limit(void **state)
{
    static const char pattern[] = "(a+)+$";
    tp_ctx           *ctx = tp_ctx_new(TP_REF, 0);
    tpi_regex        *re = tpi_regex_new(ctx, "t", pattern, strlen(pattern));
    tpi_matcher      *m = tpi_matcher_new(ctx);
    char              text[64];
    size_t            b, e;
    bool              found;

    (void)state;
    memset(text, 'a', 60);
    memcpy(text + 60, "b", 2);
    assert_int_equal(tpi_regex_find(re, m, text, 61, 0, &found, &b, &e), TP_EARG);
    assert_false(found);
    assert_false(tpi_regex_whole(ctx, "t", re, text, 61));
    tpi_matcher_free(m);
    tpi_regex_free(re);
    tp_ctx_free(ctx);
}

static void *search(void *user)
{
    tpi_matcher *m = tpi_matcher_new(NULL);
    size_t       b = 0, e = 0;
    bool         found, ok = true;

    for (int i = 0; i < 2000 && ok; i++)
        ok = tpi_regex_find(user, m, "   12345 xyz", 12, 0, &found, &b, &e) == TP_OK && found && b == 3 && e == 8;
    tpi_matcher_free(m);
    return ok ? user : NULL;
}

static void test_threads(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tpi_regex *re = tpi_regex_new(ctx, "t", "\\p{N}+", 6);
    pthread_t  t[4];
    void      *result;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, search, re), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &result), 0);
        assert_ptr_equal(result, re);
    }
    tpi_regex_free(re);
    tp_ctx_free(ctx);
}

static void test_no_memory(void **state)
{
    bool done = false;

    (void)state;
    for (long i = 0; !done; i++) {
        tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
        tpi_regex   *re;
        tpi_matcher *m = NULL;

        tpi_fail_alloc(i, false);
        re = tpi_regex_new(ctx, "t", "a(b|c)+[^\\p{L}]", 15);
        if (re != NULL)
            m = tpi_matcher_new(ctx);
        tpi_fail_alloc(-1, false);
        done = m != NULL && i > 20;
        if (m == NULL)
            assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
        tpi_matcher_free(m);
        tpi_regex_free(re);
        tp_ctx_free(ctx);
    }
}

static void test_files(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    char    name[] = "test_regex_XXXXXX";
    int     fd = mkstemp(name);
    FILE   *f = fdopen(fd, "w");
    size_t  n = 0;
    char   *text;

    (void)state;
    fputs("hello", f);
    fclose(f);
    text = tpi_read_file(ctx, name, 5, &n);
    assert_non_null(text);
    assert_int_equal(n, 5);
    assert_string_equal(text, "hello");
    tpi_free(text);
    assert_true(tpi_is_file(name));
    assert_false(tpi_is_folder(name));
    assert_null(tpi_read_file(ctx, name, 4, &n));
    assert_non_null(strstr(tp_error(ctx), "has 5 bytes, at most 4"));
    tp_error_clear(ctx);
    assert_null(tpi_read_file(ctx, ".", 4, &n));
    assert_int_equal(tp_error_code(ctx), TP_EIO);
    tp_error_clear(ctx);
    remove(name);
    assert_null(tpi_read_file(ctx, name, 4, &n));
    assert_non_null(strstr(tp_error(ctx), name));
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_find),    cmocka_unit_test(test_whole),
                                        cmocka_unit_test(test_refuses), cmocka_unit_test(test_limit),
                                        cmocka_unit_test(test_threads), cmocka_unit_test(test_no_memory),
                                        cmocka_unit_test(test_files) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
