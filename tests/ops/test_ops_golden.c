/*
 * test_ops_golden.c - values and gradients of ops against PyTorch's, in every floating dtype: the lines of
 * tests/golden/ops.jsonl; and that every op of the table has some.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden_call.h"
#include "op_table.h"

enum { LINE = 1 << 20, MOST = 4096 };

/* Of max|a - b| / max(1, max|b|). */
static double tolerance(tp_dtype t)
{
    return t == TP_F64 ? 1e-12 : t == TP_F32 ? 1e-5 : t == TP_BF16 ? 1e-2 : t == TP_F16 ? 2e-3 : 0;
}

/* Ops whose results are random: their statistics are tested elsewhere. */
static const char *const random_ops[] = { "dropout", "uniform",   "rand",    "normal",
                                          "randn",   "bernoulli", "randint", "multinomial", NULL };

static tp_dtype dtype_named(const char *name)
{
    for (int t = 0; name != NULL && t < TP_DTYPES; t++)
        if (strcmp(tp_dtype_name((tp_dtype)t), name) == 0)
            return (tp_dtype)t;
    return TP_F64;
}

/* Numbers of a list; true and false count as 1 and 0, and what is not finite is a text. */
static int64_t numbers(const tpi_json *list, double *v)
{
    int64_t n = (int64_t)tpi_json_size(list);

    assert_in_range(n, 0, MOST);
    for (int64_t i = 0; i < n; i++) {
        const tpi_json *j = tpi_json_at(list, (size_t)i);

        v[i] = tpi_json_is(j) == TPI_JSON_BOOL ? tpi_json_true(j)
               : tpi_json_is(j) == TPI_JSON_TEXT ? strtod(tpi_json_string(j, NULL), NULL)
                                                 : tpi_json_real(j);
    }
    return n;
}

static tp_tensor *tensor(tp_ctx *ctx, const tpi_json *j)
{
    const tpi_json *shape = tpi_json_get(j, "shape");
    int64_t         dim[TP_MAX_DIM];
    double          v[MOST];
    int             n = (int)tpi_json_size(shape);

    if (tpi_json_is(j) == TPI_JSON_NULL)
        return NULL;
    for (int i = 0; i < n; i++)
        dim[i] = tpi_json_integer(tpi_json_at(shape, (size_t)i));
    numbers(tpi_json_get(j, "data"), v);
    return tp_cast(ctx, tp_from(ctx, TP_F64, n, dim, v), dtype_named(tpi_json_string(tpi_json_get(j, "dtype"), NULL)));
}

/* max|x - want| / max(1, max|want|) over what is finite; the rest must be the same. */
static double distance(tp_ctx *ctx, const tp_tensor *x, const tpi_json *list)
{
    double  want[MOST], got[MOST], worst = 0, scale = 1;
    int64_t n = numbers(list, want);

    if (tp_numel(x) != n || !tp_copy_out(ctx, x, TP_F64, got, sizeof got))
        return INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);

        if (want[i] == got[i] || (want[i] != want[i] && got[i] != got[i]))
            d = 0;
        scale = isfinite(want[i]) ? fmax(scale, fabs(want[i])) : scale;
        worst = d != d ? INFINITY : fmax(worst, d);
    }
    return worst / scale;
}

/* A leaf without a gradient has one of zeros. */
static double gradient_distance(tp_ctx *ctx, tp_tensor *x, const tpi_json *list)
{
    return distance(ctx, tp_grad(x) ? tp_grad(x) : tp_zeros_like(ctx, x), list);
}

static double gradients(tp_ctx *ctx, const tpi_json *j, tp_tensor *const *in, int n, tp_tensor *y)
{
    const tpi_json *grads = tpi_json_get(j, "grads");
    double          dy[MOST], worst = 0;
    int64_t         dim[TP_MAX_DIM];

    if (numbers(tpi_json_get(j, "dy"), dy) != tp_numel(y))
        return INFINITY;
    for (int i = 0; i < tp_ndim(y); i++)
        dim[i] = tp_dim(y, i);
    tp_backward_from(ctx, y, tp_cast(ctx, tp_from(ctx, TP_F64, tp_ndim(y), dim, dy), tp_dtype_of(y)));
    for (int i = 0; i < n; i++)
        if (tp_trainable(in[i]))
            worst = fmax(worst, gradient_distance(ctx, in[i], tpi_json_at(grads, (size_t)i)));
    return worst;
}

/* Losses of 16-bit operands are f32 here. */
static bool dtype_fits(tp_dtype got, tp_dtype want)
{
    return got == want || (got == TP_F32 && (want == TP_BF16 || want == TP_F16));
}

/* What the least exact float of the line allows. */
static double allowed(const tpi_json *inputs, tp_dtype out)
{
    double most = tolerance(out);

    for (size_t i = 0; i < tpi_json_size(inputs); i++)
        if (tpi_json_is(tpi_json_at(inputs, i)) == TPI_JSON_OBJECT)
            most = fmax(most, tolerance(dtype_named(
                                  tpi_json_string(tpi_json_get(tpi_json_at(inputs, i), "dtype"), NULL))));
    return most;
}

static bool check_line(const char *backend, const char *line, int number)
{
    tp_ctx         *ctx = tp_ctx_new(strcmp(backend, "ref") == 0 ? TP_REF : TP_CPU, 0);
    tpi_json       *j = tpi_json_parse(ctx, "ops.jsonl", line, strlen(line));
    const tpi_json *inputs = tpi_json_get(j, "inputs"), *grads = tpi_json_get(j, "grads"),
                   *out = tpi_json_get(j, "output");
    const char     *name = tpi_json_string(tpi_json_get(j, "op"), NULL);
    tp_tensor      *in[OP_MAX_IN] = { NULL }, *y;
    int             n = (int)tpi_json_size(inputs);
    tp_dtype        want = dtype_named(tpi_json_string(tpi_json_get(out, "dtype"), NULL));
    double          e = INFINITY;
    bool            good;

    tp_set_backend(ctx, backend);
    for (int i = 0; i < n; i++) {
        in[i] = tensor(ctx, tpi_json_at(inputs, (size_t)i));
        if (in[i] != NULL && tpi_json_is(tpi_json_at(grads, (size_t)i)) == TPI_JSON_ARRAY)
            tp_set_trainable(ctx, in[i], true);
    }
    y = name ? golden_call(ctx, name, in, n, tpi_json_get(j, "args")) : NULL;
    if (y != NULL && dtype_fits(tp_dtype_of(y), want))
        e = distance(ctx, y, tpi_json_get(out, "data"));
    if (tp_needs_grad(y))
        e = fmax(e, gradients(ctx, j, in, n, y));
    good = tp_ok(ctx) && e <= allowed(inputs, want);
    if (!good)
        print_error("%s, line %d, %s (%s): %g %s\n", backend, number, name ? name : "?", tp_dtype_name(want), e,
                    tp_error(ctx));
    tpi_json_free(j);
    tp_ctx_free(ctx);
    return good;
}

static FILE *open_lines(void)
{
    const char *root = getenv("TAPIR_SOURCE");
    char        path[4096];
    FILE       *f;

    snprintf(path, sizeof path, "%s/tests/golden/ops.jsonl", root ? root : ".");
    f = fopen(path, "r");
    assert_non_null(f);
    return f;
}

static int check_file(const char *backend)
{
    char *line = test_malloc(LINE);
    int   bad = 0, n = 0;
    FILE *f = open_lines();

    while (fgets(line, LINE, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        bad += !check_line(backend, line, ++n);
    }
    fclose(f);
    test_free(line);
    assert_true(n > 900);
    return bad;
}

static void test_golden(void **state)
{
    int bad = 0;

    (void)state;
    for (int i = 0; tpi_backends[i] != NULL; i++)
        if (tpi_backends[i]->usable == NULL || tpi_backends[i]->usable())
            bad += check_file(tpi_backends[i]->name);
    assert_int_equal(bad, 0);
}

/* Whether some line begins with {"op": "name". */
static bool has_line(const char *name)
{
    char *line = test_malloc(LINE), begin[128];
    bool  found = false;
    FILE *f = open_lines();

    snprintf(begin, sizeof begin, "{\"op\": \"%s\"", name);
    while (!found && fgets(line, LINE, f) != NULL)
        found = strncmp(line, begin, strlen(begin)) == 0;
    fclose(f);
    test_free(line);
    return found;
}

static void test_every_op_has_lines(void **state)
{
    int bad = 0;

    (void)state;
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++) {
            bool random = false;

            for (int i = 0; random_ops[i] != NULL && !random; i++)
                random = strcmp(random_ops[i], c->name + 3) == 0;
            if (!random && (c == op_tables[t] || strcmp(c[-1].name, c->name) != 0) && !has_line(c->name + 3)) {
                print_error("%s has no line in tests/golden/ops.jsonl\n", c->name);
                bad++;
            }
        }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_every_op_has_lines) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
