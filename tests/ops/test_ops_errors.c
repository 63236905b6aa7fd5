/*
 * test_ops_errors.c - what ops say to wrong operands; and that the table knows every public op.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op_table.h"

/* ---- every op, wrong operands ------------------------------------------------------------------------------------ */

/* Whether the message begins with the op's name: "tp_add" fails as "add: ...".  Losses made of other ops may name
 * those. */
static bool named(const op_case *c, const char *message)
{
    size_t n = strlen(c->name) - 3;

    return strncmp(message, c->name + 3, n) == 0 && message[n] == ':';
}

static void operands(tp_ctx *ctx, const op_case *c, tp_dtype t, tp_tensor **in)
{
    for (int i = 0; i < op_operands(c); i++)
        in[i] = op_operand(ctx, c, c->shapes[0], i, t, false);
}

/* NULL where an operand may be left out: biases, and the range of attention. */
static bool optional(const op_case *c, int i)
{
    return i > 0 && (strcmp(c->name, "tp_affine") == 0 || strcmp(c->name, "tp_layernorm") == 0 ||
                     strcmp(c->name, "tp_batchnorm") == 0 || strcmp(c->name, "tp_groupnorm") == 0 ||
                     (i == 2 && strcmp(c->name, "tp_conv2d") == 0) ||
                     c->operands[i] == 'g' || c->operands[i] == 'q');
}

static int check_null(const op_case *c, int i)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL };
    bool       good;

    operands(ctx, c, TP_F32, in);
    in[i] = NULL;
    good = op_call(ctx, c, in) == NULL && tp_error_code(ctx) == TP_EARG && named(c, tp_error(ctx));
    if (!good && !optional(c, i))
        print_error("%s with NULL for operand %d: '%s'\n", c->name, i, tp_error(ctx));
    good |= optional(c, i);
    tp_ctx_free(ctx);
    return !good;
}

/* Ops that only move values take any dtype. */
static bool moves(const op_case *c, int i)
{
    static const char *const names[] = { "tp_embed", "tp_index_select", "tp_gather", "tp_masked_fill", NULL };

    for (int k = 0; names[k] != NULL; k++)
        if (i == 0 && strcmp(c->name, names[k]) == 0)
            return true;
    return c->flags & OP_INTS && op_operands(c) == 1;
}

/* An operand of a dtype that no op but conversions and layouts takes there. */
static int check_dtype(const op_case *c, int i)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL };
    bool       good;

    operands(ctx, c, TP_F32, in);
    in[i] = tp_cast(ctx, in[i], c->operands[i] == 'b' ? TP_F32 : TP_BOOL);
    good = moves(c, i) || (op_call(ctx, c, in) == NULL && tp_error_code(ctx) == TP_EDTYPE);
    if (!good)
        print_error("%s with a wrong dtype for operand %d: '%s'\n", c->name, i, tp_error(ctx));
    tp_ctx_free(ctx);
    return !good;
}

/* On a context that has failed nothing happens, and the first error stays. */
static int check_failed(const op_case *c)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL };
    bool       good;

    operands(ctx, c, TP_F32, in);
    tp_fail(ctx, TP_EIO, "the first error");
    good = op_call(ctx, c, in) == NULL;
    memset(in, 0, sizeof in);
    good &= op_call(ctx, c, in) == NULL && op_call(NULL, c, in) == NULL &&
            strcmp(tp_error(ctx), "the first error") == 0;
    if (!good)
        print_error("%s on a failed context\n", c->name);
    tp_ctx_free(ctx);
    return !good;
}

static void test_table(void **state)
{
    int bad = 0;

    (void)state;
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++) {
            bad += check_failed(c);
            for (int i = 0; i < op_operands(c); i++) {
                bad += check_null(c, i);
                bad += check_dtype(c, i);
            }
        }
    assert_int_equal(bad, 0);
}

/* ---- the headers ------------------------------------------------------------------------------------------------- */

static bool in_table(const char *name, size_t n)
{
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++)
            if (strlen(c->name) == n && strncmp(c->name, name, n) == 0)
                return true;
    return false;
}

/* Declarations that begin "TP_API tp_tensor *tp_name(" or "TP_API bool       tp_name(". */
static int check_header(const char *path, int *seen)
{
    FILE *f = fopen(path, "r");
    char  line[512];
    int   bad = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        char *name = strncmp(line, "TP_API", 6) == 0 ? strstr(line, "tp_tensor *tp_") : NULL, *end;

        name = name ? name + strlen("tp_tensor *") : strncmp(line, "TP_API bool", 11) == 0 ? strstr(line, "tp_") : NULL;
        end = name ? strchr(name, '(') : NULL;
        if (end == NULL)
            continue;
        ++*seen;
        if (!in_table(name, (size_t)(end - name))) {
            print_error("%s: %.*s has no case in tests/ops\n", path, (int)(end - name), name);
            bad++;
        }
    }
    fclose(f);
    return bad;
}

static void test_headers(void **state)
{
    const char    *root = getenv("TAPIR_SOURCE");
    char           path[4096];
    DIR           *d;
    struct dirent *e;
    int            bad = 0, seen = 0;

    (void)state;
    if (root == NULL)
        skip();
    snprintf(path, sizeof path, "%s/ops", root);
    d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);

        if (n < 3 || strcmp(e->d_name + n - 2, ".h") != 0)
            continue;
        snprintf(path, sizeof path, "%s/ops/%s", root, e->d_name);
        bad += check_header(path, &seen);
    }
    closedir(d);
    assert_int_equal(bad, 0);
    assert_true(seen > 100);
}

/* ---- single mistakes --------------------------------------------------------------------------------------------- */

static tp_tensor *ones(tp_ctx *ctx, int64_t a, int64_t b)
{
    return tp_ones(ctx, TP_F32, TP_SHAPE(a, b));
}

/* A call that has just been made must have failed with that code and words; the context goes on. */
static void expect(tp_ctx *ctx, const void *result, tp_code code, const char *words)
{
    if (result != NULL || tp_error_code(ctx) != code || strstr(tp_error(ctx), words) == NULL)
        fail_msg("expected code %d and '%s', got %d and '%s'", (int)code, words, (int)tp_error_code(ctx),
                 tp_error(ctx));
    tp_error_clear(ctx);
}

static void test_shapes(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = ones(ctx, 2, 3), *y = ones(ctx, 4, 5), *id = tp_full(ctx, TP_I64, TP_SHAPE(2), 9), *out[2];

    (void)state;
    expect(ctx, tp_add(ctx, x, y), TP_ESHAPE, "add: shapes must broadcast, got [2, 3] and [4, 5]");
    expect(ctx, tp_matmul(ctx, x, y), TP_ESHAPE, "got [2, 3] and [4, 5]");
    expect(ctx, tp_matmul_nt(ctx, x, y), TP_ESHAPE,
           "matmul_nt: expected x [.., in] and w [out, in], got [2, 3] and [4, 5]");
    expect(ctx, tp_reshape(ctx, x, TP_SHAPE(4, -1)), TP_ESHAPE, "reshape: the 6 elements of [2, 3]");
    expect(ctx, tp_reshape(ctx, x, TP_SHAPE(-1, -1)), TP_ESHAPE, "at most one -1");
    expect(ctx, tp_squeeze(ctx, x, 0), TP_ESHAPE, "squeeze: axis 0 of [2, 3]");
    expect(ctx, tp_broadcast_to(ctx, x, TP_SHAPE(2, 4)), TP_ESHAPE, "broadcast_to: [2, 3]");
    expect(ctx, tp_concat(ctx, TP_IN(x, y), 0), TP_ESHAPE, "concat:");
    expect(ctx, tp_masked_fill(ctx, x, tp_ones(ctx, TP_BOOL, TP_SHAPE(4, 2, 3)), 0), TP_ESHAPE, "masked_fill:");
    expect(ctx, tp_split(ctx, x, 1, 2, (const int64_t[]){ 1, 1 }, out) ? x : NULL, TP_ESHAPE,
           "split: sizes add up to 2");
    expect(ctx, tp_cross_entropy(ctx, x, id, NULL), TP_EARG,
           "cross_entropy: number 9 at place 0, expected one below 3");
    expect(ctx, tp_rmsnorm(ctx, x, y, 0), TP_ESHAPE, "rmsnorm:");
    expect(ctx, tp_block_diag(ctx, x, ones(ctx, 1, 1), 3), TP_ESHAPE,
           "block_diag: expected x [.., in] and a [N, bi, bo]");
    expect(ctx, tp_max(ctx, ones(ctx, 2, 0), TP_AXES(1), false), TP_ESHAPE, "max: nothing to choose from in [2, 0]");
    tp_ctx_free(ctx);
}

static void test_arguments(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = ones(ctx, 2, 3), *id = tp_full(ctx, TP_I64, TP_SHAPE(2), 9), *half = tp_cast(ctx, x, TP_BF16);

    (void)state;
    expect(ctx, tp_add(ctx, x, half), TP_EDTYPE, "add: operands are f32 and bf16");
    expect(ctx, tp_exp(ctx, id), TP_EDTYPE, "exp: dtype i64, expected one of: f32 f64 bf16 f16");
    expect(ctx, tp_sum(ctx, x, TP_AXES(2), false), TP_EARG, "sum: axis 2 of a tensor with 2 dimensions");
    expect(ctx, tp_sum(ctx, x, TP_AXES(1, -1), false), TP_EARG, "sum: axis -1 is named twice");
    expect(ctx, tp_permute(ctx, x, TP_AXES(0, 0)), TP_EARG, "permute: axis 0 is named twice");
    expect(ctx, tp_slice(ctx, x, 0, 0, 2, 0), TP_EARG, "slice: step 0");
    expect(ctx, tp_narrow(ctx, x, 1, 2, 2), TP_EARG, "narrow: 2 elements from 2 on of axis 1 of size 3");
    expect(ctx, tp_select(ctx, x, 1, 3), TP_EARG, "select: index 3 of axis 1 of size 3");
    expect(ctx, tp_embed(ctx, x, id), TP_EARG, "embed: number 9 at place 0, expected 0 up to, not with, 2");
    expect(ctx, tp_clamp(ctx, x, 1, 0), TP_EARG, "clamp: low is 1, high is 0");
    expect(ctx, tp_dropout(ctx, x, 1.5, true), TP_EARG, "dropout: probability 1.5");
    expect(ctx, tp_rope(ctx, x, NULL), TP_EARG, "rope: no table of frequencies");
    expect(ctx, tp_topk(ctx, x, -1, 4, NULL), TP_EARG, "topk: k is 4, expected 0 to 3");
    expect(ctx, tp_randint(ctx, TP_I64, TP_SHAPE(2), 3, 3), TP_EARG, "randint:");
    tp_ctx_free(ctx);
}

static void test_planes(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(2, 4, 5, 6)), *c = ones(ctx, 4, 1);
    tp_tensor *w = tp_ones(ctx, TP_F32, TP_SHAPE(4, 2, 3, 3)), *three = tp_ones(ctx, TP_F32, TP_SHAPE(3));
    tp_tensor *four = tp_ones(ctx, TP_F32, TP_SHAPE(4));

    (void)state;
    expect(ctx, tp_conv2d(ctx, x, w, NULL, NULL), TP_ESHAPE, "conv2d: expected x [N, C, H, W] and w [O, C / 1, KH, KW]");
    expect(ctx, tp_conv2d(ctx, x, w, NULL, &(tp_conv_opts){ .groups = 3 }), TP_ESHAPE, "in 3 groups, got [2, 4, 5, 6]");
    expect(ctx, tp_conv2d(ctx, x, w, NULL, &(tp_conv_opts){ .groups = -1 }), TP_EARG, "conv2d: -1 groups");
    expect(ctx, tp_conv2d(ctx, x, c, NULL, NULL), TP_ESHAPE, "got [2, 4, 5, 6] and [4, 1]");
    expect(ctx, tp_conv2d(ctx, x, w, three, &(tp_conv_opts){ .groups = 2 }), TP_ESHAPE,
           "b [O], got [4, 2, 3, 3] and [3]");
    expect(ctx, tp_conv2d(ctx, x, w, four, &(tp_conv_opts){ .groups = 2, .dilation = { 3 } }), TP_ESHAPE,
           "conv2d: a window of 3 x 3 (dilation 3 x 3) on a plane of 5 x 6 with padding 0 x 0 does not fit");
    expect(ctx, tp_conv2d(ctx, x, w, four, &(tp_conv_opts){ .groups = 2, .stride = { -1 } }), TP_EARG, "a stride of 0");
    expect(ctx, tp_max_pool2d(ctx, x, NULL), TP_EARG, "max_pool2d: a window of 0 x 0, expected a size");
    expect(ctx, tp_max_pool2d(ctx, x, &(tp_pool_opts){ .size = { 3 }, .pad = { 2 } }), TP_EARG, "padding of 2");
    expect(ctx, tp_avg_pool2d(ctx, x, &(tp_pool_opts){ .size = { 2 }, .dilation = { 2 } }), TP_EARG, "avg_pool2d: a dilation");
    expect(ctx, tp_avg_pool2d(ctx, c, &(tp_pool_opts){ .size = { 2 } }), TP_ESHAPE, "avg_pool2d: x is [4, 1]");
    expect(ctx, tp_adaptive_avg_pool2d(ctx, x, 0, 1), TP_EARG, "adaptive_avg_pool2d: 0 x 1 windows");
    expect(ctx, tp_groupnorm(ctx, x, NULL, NULL, 3, 1e-5), TP_ESHAPE, "groupnorm: 3 groups");
    expect(ctx, tp_groupnorm(ctx, x, three, NULL, 2, 1e-5), TP_ESHAPE, "one number a channel, got [2, 4, 5, 6] and [3]");
    expect(ctx, tp_batchnorm(ctx, x, NULL, NULL, NULL, NULL, false, NULL), TP_EARG, "batchnorm: no running statistics");
    expect(ctx, tp_batchnorm(ctx, x, NULL, NULL, four, NULL, true, NULL), TP_EARG, "batchnorm: input 4");
    expect(ctx, tp_batchnorm(ctx, x, NULL, NULL, four, tp_cast(ctx, four, TP_F64), true, NULL), TP_EDTYPE, "of dtype f64");
    expect(ctx, tp_batchnorm(ctx, x, NULL, NULL, NULL, NULL, true, &(tp_batchnorm_opts){ .momentum = 2 }), TP_EARG,
           "momentum 2");
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_headers),
                                        cmocka_unit_test(test_shapes), cmocka_unit_test(test_arguments),
                                        cmocka_unit_test(test_planes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
