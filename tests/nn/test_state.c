/* test_state.c - states: every dtype and shape comes back bit for bit, what does not fit is told at once, and nothing is
 * changed by a load that fails. */
#include "tests/nn/state_test.h"

#include "ops/ops.h"

#include <limits.h>

/* ---- tensors of every kind ----------------------------------------------------------------------------------------- */

enum { KINDS = TP_DTYPES * (TP_MAX_DIM + 3) };

typedef struct {
    tp_tensor *x[KINDS];
    char       name[KINDS][32];
    int        n;
} zoo;

static void add(zoo *z, tp_tensor *x, const char *what, int rank)
{
    snprintf(z->name[z->n], sizeof z->name[0], "%s.%s.r%d", what, tp_dtype_name(tp_dtype_of(x)), rank);
    z->x[z->n++] = x;
}

/* Ranks 0 to 8, one of no elements, and one that is a strided view. */
static void fill_zoo(tp_ctx *ctx, zoo *z, bool values)
{
    static const int64_t dim[TP_MAX_DIM] = { 2, 1, 3, 1, 2, 1, 2, 3 }, none[3] = { 2, 0, 3 };

    z->n = 0;
    for (int t = 0; t < TP_DTYPES; t++) {
        tp_tensor *wide = tp_zeros(ctx, (tp_dtype)t, TP_SHAPE(6, 5));

        for (int rank = 0; rank <= TP_MAX_DIM; rank++)
            add(z, tp_zeros(ctx, (tp_dtype)t, rank, dim), "whole", rank);
        add(z, tp_zeros(ctx, (tp_dtype)t, 3, none), "empty", 3);
        if (values) {
            scramble(ctx, wide, (unsigned)t);
            for (int i = z->n - 10; i < z->n; i++)
                scramble(ctx, z->x[i], (unsigned)i);
        }
        add(z, tp_transpose(ctx, tp_slice(ctx, wide, 0, 1, 6, 2), 0, 1), "strided", 2);
    }
    check_ok(ctx);
}

static void zoo_state(tp_ctx *ctx, void *user, tp_state *st)
{
    zoo *z = user;

    for (int i = 0; i < z->n; i++)
        tp_state_tensor(ctx, st, "own", z->name[i], z->x[i]);
}

static void test_every_kind(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope s = tp_scope_begin(ctx);
    zoo      a, b;

    (void)state;
    fill_zoo(ctx, &a, true);
    fill_zoo(ctx, &b, false);
    assert_true(tp_state_save(ctx, file("a.h5"), "tensors", zoo_state, &a));
    assert_true(tp_state_load(ctx, file("a.h5"), zoo_state, &b, NULL));
    check_ok(ctx);
    for (int i = 0; i < a.n; i++)
        assert_true(same_bits(ctx, tp_contiguous(ctx, a.x[i]), tp_contiguous(ctx, b.x[i])));
    /* Equal content, equal bytes: also of what was loaded. */
    assert_true(tp_state_save(ctx, file("b.h5"), "tensors", zoo_state, &b));
    check_equal_files(file("a.h5"), file("b.h5"));
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* ---- numbers and texts ----------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t     i[3];
    double      r[6];
    const char *text, *config;
    tp_tensor  *any;
} own;

static void own_state(tp_ctx *ctx, void *user, tp_state *st)
{
    own *o = user;

    tp_state_int(ctx, st, NULL, "first", &o->i[0]);
    tp_state_int(ctx, st, "own", "second", &o->i[1]);
    tp_state_int(ctx, st, "own/some.where", "third", &o->i[2]);
    for (int k = 0; k < 6; k++)
        tp_state_real(ctx, st, "own", (const char *[]){ "a", "b", "c", "d", "e", "f" }[k], &o->r[k]);
    tp_state_text(ctx, st, "own", "text", &o->text);
    tp_state_text(ctx, st, "config", "own.json", &o->config);
    tp_state_new(ctx, st, "own", "any", &o->any);
    tp_state_same_int(ctx, st, "own", "version", 3);
    tp_state_same_real(ctx, st, "own", "pi", 3.25);
    tp_state_same_text(ctx, st, "own", "kind", "tree");
}

static void test_numbers_and_texts(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope s = tp_scope_begin(ctx);
    own      a = { { 7, INT64_MIN, INT64_MAX }, { 0.1, -0.0, 5e-324, -INFINITY, NAN, 1e308 }, "a text", "{}", NULL };
    own      b = { { 0 }, { 0 }, NULL, NULL, NULL };

    (void)state;
    a.any = tp_arange(ctx, TP_I32, 0, 5, 1);
    assert_true(tp_state_save(ctx, file("a.h5"), "training", own_state, &a));
    assert_true(tp_state_load(ctx, file("a.h5"), own_state, &b, NULL));
    check_ok(ctx);
    assert_memory_equal(a.i, b.i, sizeof a.i);
    assert_memory_equal(a.r, b.r, sizeof(double) * 4);
    assert_true(isnan(b.r[4]) && b.r[5] == 1e308);
    assert_string_equal(b.text, "a text");
    assert_string_equal(b.config, "{}");
    assert_true(same_bits(ctx, a.any, b.any));
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* ---- what does not fit ------------------------------------------------------------------------------------------------ */

typedef struct {
    tp_tensor *x[4];
    int64_t    round;
    int        wrong;
} few;

static void few_state(tp_ctx *ctx, void *user, tp_state *st)
{
    static const char *const names[] = { "a", "b.c", "d", "e" };
    few                     *f = user;

    for (int i = 0; i < 4; i++)
        if (f->x[i] != NULL)
            tp_state_tensor(ctx, st, "own", names[i], f->x[i]);
    tp_state_int(ctx, st, "own", f->wrong ? "rounds" : "round", &f->round);
    tp_state_same_real(ctx, st, "own", "beta", f->wrong ? 0.5 : 0.25);
    tp_state_same_text(ctx, st, "own", "kind", f->wrong ? "shrub" : "tree");
}

static void note_message(void *user, tp_level level, const char *text)
{
    char *all = user;

    (void)level;
    snprintf(all + strlen(all), 20000 - strlen(all), "%s\n", text);
}

static const char *const misfits[] = { "\"own/a\" is [2, 3], expected [3, 2]", "\"own/b.c\" is F32, expected bf16",
                                       "\"own/d\" is missing", "\"own/e\" has no place here", "own@rounds is missing",
                                       "own@beta is 0.25, expected 0.5", "own@kind is tree, expected shrub" };

static void test_all_misfits_at_once(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope s = tp_scope_begin(ctx);
    char     told[20000] = "";
    few      a = { .round = 5 }, b = { .round = 9, .wrong = 1 };

    (void)state;
    a.x[0] = tp_full(ctx, TP_F32, TP_SHAPE(2, 3), 1);
    a.x[1] = tp_full(ctx, TP_F32, TP_SHAPE(2), 1.00390625);
    a.x[3] = tp_full(ctx, TP_I64, TP_SCALAR, 1);
    b.x[0] = tp_full(ctx, TP_F32, TP_SHAPE(3, 2), 2);
    b.x[1] = tp_full(ctx, TP_BF16, TP_SHAPE(2), 2);
    b.x[2] = tp_full(ctx, TP_F32, TP_SHAPE(2), 2);
    assert_true(tp_state_save(ctx, file("a.h5"), "tensors", few_state, &a));
    assert_false(tp_state_load(ctx, file("a.h5"), few_state, &b, NULL));
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++)
        assert_non_null(strstr(tp_error(ctx), misfits[i]));
    check_failed(ctx, TP_EFORMAT, "a.h5", NULL);
    assert_int_equal(b.round, 9);
    assert_true(tp_at(ctx, b.x[1], 1, (int64_t[]){ 0 }) == 2);
    /* What fits, when it is asked for; the rest is told. */
    tp_on_message(ctx, note_message, told);
    assert_true(tp_state_load(ctx, file("a.h5"), few_state, &b, &(tp_load_opts){ .fit = true, .convert = true }));
    check_ok(ctx);
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++)
        assert_true((strstr(told, misfits[i]) != NULL) == (i != 1));
    assert_true(tp_at(ctx, b.x[1], 1, (int64_t[]){ 1 }) == 1); /* 1.00390625 is between two bf16; the even one */
    assert_true(tp_at(ctx, b.x[0], 2, (int64_t[]){ 1, 1 }) == 2);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

static void test_misfits_beyond_the_error(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope s = tp_scope_begin(ctx);
    char     told[20000] = "", name[80];
    zoo      a, b;
    int      lines = 0;

    (void)state;
    fill_zoo(ctx, &a, false);
    b = a;
    for (int i = 0; i < a.n; i++)
        snprintf(b.name[i], sizeof b.name[i], "other.%d", i);
    assert_true(tp_state_save(ctx, file("a.h5"), "tensors", zoo_state, &a));
    tp_on_message(ctx, note_message, told);
    assert_false(tp_state_load(ctx, file("a.h5"), zoo_state, &b, NULL));
    snprintf(name, sizeof name, "%d things", 2 * a.n);
    check_failed(ctx, TP_EFORMAT, name, "\"own/other.0\" is missing");
    for (const char *p = told; *p != '\0'; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 2 * a.n);
    assert_non_null(strstr(told, "other.87\" is missing"));
    assert_non_null(strstr(told, "\"own/empty.bool.r3\" has no place here"));
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* A flipped bit of the values: found before anything is changed when that is asked for. */
static void test_damage(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope s = tp_scope_begin(ctx);
    few      a = { .round = 5 }, b = { .round = 9 };
    size_t   n;
    char    *p;
    FILE    *f;
    int      hit = 0;

    (void)state;
    a.x[0] = tp_full(ctx, TP_F32, TP_SHAPE(2000), 1);
    a.x[3] = tp_full(ctx, TP_F64, TP_SHAPE(500), 1.5);
    b.x[0] = tp_full(ctx, TP_F32, TP_SHAPE(2000), 2);
    b.x[3] = tp_full(ctx, TP_F64, TP_SHAPE(500), 2);
    assert_true(tp_state_save(ctx, file("a.h5"), "tensors", few_state, &a));
    p = bytes_of(file("a.h5"), &n);
    for (size_t i = 0; i + 8 < n && !hit; i += 8)
        if (memcmp(p + i, &(double){ 1.5 }, 8) == 0 && memcmp(p + i, p + i + 8, 8) == 0) {
            p[i] ^= 4;
            hit = 1;
        }
    assert_true(hit);
    f = fopen(file("b.h5"), "wb");
    fwrite(p, 1, n, f);
    fclose(f);
    free(p);
    assert_false(tp_state_load(ctx, file("b.h5"), few_state, &b, &(tp_load_opts){ .verify = true }));
    check_failed(ctx, TP_EFORMAT, "b.h5", "own/e");
    assert_true(b.round == 9 && tp_at(ctx, b.x[0], 1, (int64_t[]){ 0 }) == 2);
    assert_false(tp_state_load(ctx, file("b.h5"), few_state, &b, NULL));
    check_failed(ctx, TP_EFORMAT, "b.h5", "own/e");
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* A tensor of 2^50 elements on one value. */
static void very_large(tp_ctx *ctx, void *user, tp_state *st)
{
    int64_t n = (int64_t)1 << 50;

    ++*(int *)user;
    tp_state_tensor(ctx, st, "own", "x", tp_expand(ctx, tp_zeros(ctx, TP_F64, TP_SHAPE(1)), 1, &n));
}

/* No file system has room for it: nothing is written, what was there stays, and the context can be used again. */
static void test_no_room(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);
    few     a = { .round = 5 };
    int     calls = 0;

    (void)state;
    a.x[0] = tp_full(ctx, TP_F32, TP_SHAPE(20), 1);
    a.x[3] = tp_full(ctx, TP_F64, TP_SHAPE(5), 1.5);
    assert_true(tp_state_save(ctx, file("a.h5"), "tensors", few_state, &a));
    assert_false(tp_state_save(ctx, file("a.h5"), "tensors", very_large, &calls));
    check_failed(ctx, TP_EIO, "a.h5", "it needs 9007199254740992 bytes, the file system has ");
    assert_int_equal(calls, 1);
    assert_true(tp_state_load(ctx, file("a.h5"), few_state, &a, NULL));
    free_ctx(ctx);
}

static void bad_names(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_tensor *x = tp_zeros(ctx, TP_F32, TP_SHAPE(2));

    (void)user;
    assert_true(tp_state_saving(st));
    assert_true(tp_state_has(ctx, st, "own", "x"));
    assert_false(tp_state_tensor(ctx, st, "own", "a/b", x));
    check_failed(ctx, TP_EARG, "a/b", NULL);
    assert_false(tp_state_tensor(ctx, st, "own", "x", NULL));
    check_failed(ctx, TP_EARG, "state_tensor", NULL);
    tp_state_tensor(ctx, st, "config", "x", x);
}

static void test_wrong_use(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);
    few     f = { .round = 1 };

    (void)state;
    assert_false(tp_state_save(ctx, file("c.h5"), "tensors", bad_names, NULL));
    check_failed(ctx, TP_EARG, "config", NULL);
    assert_int_not_equal(access(file("c.h5"), F_OK), 0);
    assert_false(tp_state_save(ctx, file("c.h5"), "safetensors", few_state, &f));
    check_failed(ctx, TP_EARG, "state_save", NULL);
    assert_false(tp_state_load(ctx, file("none.h5"), few_state, &f, NULL));
    check_failed(ctx, TP_EIO, "none.h5", NULL);
    assert_false(tp_state_tensor(ctx, NULL, "own", "x", NULL));
    check_failed(ctx, TP_EARG, "no state", NULL);
    assert_false(tp_state_saving(NULL));
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_numbers_and_texts),
        cmocka_unit_test(test_all_misfits_at_once),
        cmocka_unit_test(test_misfits_beyond_the_error),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_wrong_use),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
