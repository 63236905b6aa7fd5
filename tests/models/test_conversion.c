/* test_conversion.c - tp_convert: what it promises to a program, and every allocation of it failed in turn. */
#include "llama_api.h"

#include "core/internal.h"

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[32], chat[2100];

static int make_scratch(void **state)
{
    const char *source = getenv("TAPIR_SOURCE");

    (void)state;
    snprintf(chat, sizeof chat, "%s/tests/golden/tiny-chat", source ? source : ".");
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

static const char *in_scratch(const char *name)
{
    static char buf[4][128];
    static int  next;

    next = (next + 1) % 4;
    snprintf(buf[next], sizeof buf[next], "%s/%s", scratch, name);
    return buf[next];
}

/* Files in the scratch folder that are not of that name. */
static int others;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    others += kind == FTW_F || (kind == FTW_DP && where->level > 0);
    (void)path;
    return 0;
}

static int count_files(void)
{
    others = 0;
    nftw(scratch, count_one, 8, FTW_DEPTH | FTW_PHYS);
    return others;
}

static void test_arguments(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    assert_false(tp_convert(ctx, NULL, "x", NULL));
    failed(ctx, TP_EARG, "two paths");
    assert_false(tp_convert(ctx, chat, "", NULL));
    failed(ctx, TP_EARG, "two paths");
    assert_false(tp_convert(ctx, chat, in_scratch("x.h5"), &(tp_convert_opts){ .dtype = "f8" }));
    failed(ctx, TP_EARG, "f8");
    assert_false(tp_convert(ctx, chat, in_scratch("x.h5"), &(tp_convert_opts){ .dtype = "q8_0" }));
    failed(ctx, TP_EARG, "GGUF");
    assert_int_equal(count_files(), 0);
    tp_ctx_free(ctx);
}

/* ---- changing tensors -------------------------------------------------------------------------------------------- */

static tp_tensor *third_of_norms(tp_ctx *ctx, void *user, const char *name, tp_tensor *x)
{
    size_t n = strlen(name);

    ++*(int *)user;
    if (n < 11 || strcmp(name + n - 11, "norm.weight") != 0)
        return NULL;
    return tp_scale(ctx, tpi_cast(ctx, x, TP_F64), 1.0 / 3);
}

static tp_tensor *wrong_dtype(tp_ctx *ctx, void *user, const char *name, tp_tensor *x)
{
    (void)ctx;
    (void)user;
    (void)name;
    return x;
}

static void test_change(void **state)
{
    static const char *const names[] = { "x.h5", "x.gguf", "x" };
    tp_ctx                  *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (int i = 0; i < 3; i++) {
        tp_rounding r;
        int         calls = 0;
        tp_file    *f, *g;
        tp_tensor  *a, *b;

        assert_true(tp_convert(ctx, chat, in_scratch(names[i]),
                               &(tp_convert_opts){ .change = third_of_norms, .user = &calls, .rounding = &r }));
        assert_int_equal(calls, 20);
        assert_int_equal(r.tensors, 5);
        assert_int_equal(r.values, 5 * 48);
        assert_true(r.max > 0 && r.max <= r.largest * 0x1p-24 && r.rms > 0 && r.rms <= r.max * 1.0001);
        assert_true(r.typical > 0 && r.typical <= r.largest * 1.0001);
        f = tp_file_open(ctx, in_scratch(names[i]));
        g = tp_file_open(ctx, chat);
        assert_string_not_equal(tp_file_identity(ctx, f), tp_file_identity(ctx, g));
        a = tp_file_read(ctx, f, "model.norm.weight", TP_F32);
        b = tp_file_read(ctx, g, "model.norm.weight", TP_F32);
        for (int k = 0; k < 48; k++)
            assert_true(tp_f32(ctx, a)[k] == (float)((double)tp_f32(ctx, b)[k] / 3));
        tp_file_close(f);
        tp_file_close(g);
        assert_false(tp_convert(ctx, chat, in_scratch(names[i]), &(tp_convert_opts){ .overwrite = true, .change = wrong_dtype }));
        failed(ctx, TP_EARG, "no f64");
    }
    tp_ctx_free(ctx);
}

/* ---- out of memory ----------------------------------------------------------------------------------------------- */

/* Some of the allocations, and all behind each; 1 tries them all. */
static void sweep(const char *in, const char *out, long step)
{
    char from[2100], to[128];
    long i = 0, n;

    snprintf(from, sizeof from, "%s", in);
    snprintf(to, sizeof to, "%s/%s", scratch, out);
    do {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        int     before;

        nftw(to, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        before = count_files();
        tpi_fail_alloc(i, true);
        tp_convert(ctx, from, to, NULL);
        n = tpi_count_alloc();
        tpi_fail_alloc(-1, false);
        if ((i < n) == tp_ok(ctx))
            fail_msg("%s: allocation %ld of %ld failed, and the error is \"%s\"", out, i, n, tp_error(ctx));
        if (i < n)
            assert_int_equal(count_files(), before);
        tp_ctx_free(ctx);
        i += step;
    } while (i - step < n);
}

static void test_memory(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    assert_true(tp_convert(ctx, chat, in_scratch("in.gguf"), NULL));
    assert_true(tp_convert(ctx, chat, in_scratch("in.h5"), NULL));
    tp_ctx_free(ctx);
    sweep(in_scratch("in.h5"), "out", 13);
    sweep(in_scratch("in.gguf"), "out", 41);
    sweep(chat, "out.h5", 13);
    sweep(chat, "out.gguf", 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arguments, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_change, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_memory, make_scratch, drop_scratch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
