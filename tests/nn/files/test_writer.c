/*
 * test_writer.c - tp_writer: names that make no path, wrong use, failed contexts, and files that appear whole or not at all.
 */
#include "files_test.h"

#include <dirent.h>
#include <signal.h>

static int make_old_file(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_writer *w;

    if (make_scratch(state) != 0)
        return 1;
    w = tp_writer_open(ctx, in_scratch("m.h5"), "model");
    tp_writer_tensor(ctx, w, "model", "large", tp_ones(ctx, TP_F32, TP_SHAPE(64, 64)));
    tp_writer_text(ctx, w, "config/model.json", "{}", 2);
    tp_writer_close(ctx, w);
    return tp_ctx_finish(ctx);
}

/* ---- names and misuse ------------------------------------------------------------------------------------------------ */

/* Writing the tensor (and a first one, "a.b") fails with that message, and leaves nothing behind. */
static void expect_bad_name(tp_ctx *ctx, const char *section, const char *name, const char *says)
{
    tp_writer *w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(2));

    assert_true(tp_writer_tensor(ctx, w, "model", "a.b", x));
    assert_false(tp_writer_tensor(ctx, w, section, name, x));
    assert_false(tp_writer_close(ctx, w));
    expect_error(ctx, TP_EARG, says);
    assert_int_not_equal(access(in_scratch("bad.h5"), F_OK), 0);
}

static void names_that_make_no_path(void **state)
{
    static const char *const bad[] = { "", ".", "..", "a..b", ".a", "a.", "a/b", "a\nb", "\x7f", "a\xff" };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    char    longest[600];
    size_t  i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_bad_name(ctx, "model", bad[i], "make no path");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    expect_bad_name(ctx, "model", longest, "make no path");
    expect_bad_name(ctx, "", "x", "make no path");
    expect_bad_name(ctx, "a/b", "x", "make no path");
    expect_bad_name(ctx, "config", "x", "make no path");
    expect_bad_name(ctx, NULL, "x", "make no path");
    expect_bad_name(ctx, "model", "a.b", "is there already");
    expect_bad_name(ctx, "model", "a.b.c", "a group and a tensor");
    expect_bad_name(ctx, "model", "a", "is there already");
    tp_ctx_free(ctx);
}

static void wrong_use(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    char      *big = malloc(70001);
    tp_writer *w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");

    (void)state;
    assert_false(tp_writer_tensor(ctx, w, "model", "x", NULL));
    assert_false(tp_ok(ctx));
    tp_error_clear(ctx);
    tp_writer_abort(w);
    w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");
    assert_false(tp_writer_tie(ctx, w, "model", "b", "a"));
    expect_error(ctx, TP_EARG, "no tensor");
    tp_writer_abort(w);
    w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");
    assert_false(tp_writer_text(ctx, w, "../x", "", 0));
    expect_error(ctx, TP_EARG, "config/model.json");
    tp_writer_abort(w);
    assert_non_null(big);
    memset(big, 'a', 70000);
    big[70000] = '\0';
    w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");
    assert_false(tp_writer_attr_text(ctx, w, NULL, "long", big));
    expect_error(ctx, TP_EARG, "longer than");
    tp_writer_abort(w);
    assert_false(tp_writer_close(ctx, NULL));
    expect_error(ctx, TP_EARG, "a writer");
    tp_writer_abort(NULL);
    tp_file_close(NULL);
    assert_null(tp_file_read(ctx, NULL, "x", TP_F32));
    expect_error(ctx, TP_EARG, "an open file");
    assert_null(tp_file_at(NULL, 0));
    assert_null(tp_file_text(NULL, "x", NULL));
    free(big);
    tp_ctx_free(ctx);
}

/* After a failure everything does nothing, and the writer is cleaned up. */
static void failed_contexts(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(2));
    tp_file   *f = tp_file_open(ctx, in_scratch("m.h5"));
    tp_writer *w = tp_writer_open(ctx, in_scratch("bad.h5"), "model");

    (void)state;
    assert_non_null(f);
    tp_fail(ctx, TP_EARG, "first");
    assert_false(tp_writer_tensor(ctx, w, "model", "x", x));
    assert_false(tp_writer_tie(ctx, w, "model", "y", "x"));
    assert_false(tp_writer_text(ctx, w, "config/a", "", 0));
    assert_false(tp_writer_attr_text(ctx, w, NULL, "a", "b"));
    assert_false(tp_writer_close(ctx, w));
    assert_null(tp_writer_open(ctx, in_scratch("bad.h5"), "model"));
    assert_null(tp_file_open(ctx, in_scratch("m.h5")));
    assert_null(tp_file_read(ctx, f, "large", TP_F32));
    assert_null(tp_file_text(f, "config.json", NULL));
    assert_null(tp_file_identity(ctx, f));
    assert_false(tp_file_verify(ctx, f));
    assert_string_equal(tp_error(ctx), "first");
    tp_file_close(f);
    assert_int_not_equal(access(in_scratch("bad.h5"), F_OK), 0);
    tp_ctx_free(ctx);
}

/* ---- files that appear whole ------------------------------------------------------------------------------------------- */

static int files_in_scratch(void)
{
    DIR *d = opendir(scratch_folder);
    int  n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void the_old_file_stays(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    size_t     n, m;
    char      *before = read_bytes(in_scratch("m.h5"), &n), *after;
    int        files = files_in_scratch();
    tp_writer *w = tp_writer_open(ctx, in_scratch("m.h5"), "model"),
              *other = tp_writer_open(ctx, in_scratch("m.h5"), "model");

    (void)state;
    assert_non_null(w);
    assert_non_null(other); /* two at a time do not meet */
    tp_writer_tensor(ctx, w, "model", "x", tp_ones(ctx, TP_F32, TP_SHAPE(1000)));
    after = read_bytes(in_scratch("m.h5"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    tp_writer_abort(w);
    tp_writer_abort(other);
    assert_int_equal(files_in_scratch(), files);
    free(after);
    after = read_bytes(in_scratch("m.h5"), &m);
    assert_int_equal(n, m);
    free(after);
    free(before);
    tp_ctx_free(ctx);
}

/* A disk that is full: a limit on the size of files stands in for it. */
static void a_full_disk(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_writer    *w = tp_writer_open(ctx, in_scratch("full.h5"), "model");
    tp_tensor    *x = tp_ones(ctx, TP_F32, TP_SHAPE(100000));
    int           files = files_in_scratch() - 1;
    struct rlimit old, small;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 100000;
    setrlimit(RLIMIT_FSIZE, &small);
    tp_writer_tensor(ctx, w, "model", "x", x);
    tp_writer_text(ctx, w, "config/a.json", "a", 1);
    assert_false(tp_writer_close(ctx, w));
    setrlimit(RLIMIT_FSIZE, &old);
    expect_error(ctx, TP_EIO, "File too large");
    assert_int_equal(files_in_scratch(), files);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_make_no_path),
        cmocka_unit_test(wrong_use),
        cmocka_unit_test(failed_contexts),
        cmocka_unit_test(the_old_file_stays),
        cmocka_unit_test(a_full_disk),
    };

    return cmocka_run_group_tests(tests, make_old_file, drop_scratch);
}
