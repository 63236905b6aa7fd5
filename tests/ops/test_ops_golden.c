/*
 * test_ops_golden.c - values and gradients of ops against PyTorch's in f64, the lines of tests/golden/ops.jsonl: in f64, and
 * with the same operands in f32, bf16 and f16.
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

/* f64: sums in another order, and functions within an ulp or two of the C library's.  Operands are multiples of 1/64 and
 * small, so that most are exact in 16 bits too: what is left is the result's rounding, and that of a gradient's operands. */
static double tolerance(tp_dtype t, const char *name)
{
    if (t == TP_BF16 && strcmp(name, "logsumexp") == 0) /* its gradient is e^(x - y) of a y that was rounded, as PyTorch's */
        return 2e-2;
    return t == TP_F64 ? 1e-12 : t == TP_F32 ? 1e-5 : t == TP_BF16 ? 1e-2 : 2e-3;
}

static tp_dtype dtype_named(const char *name)
{
    for (int t = 0; name != NULL && t < TP_DTYPES; t++)
        if (strcmp(tp_dtype_name((tp_dtype)t), name) == 0)
            return (tp_dtype)t;
    return TP_F64;
}

/* Numbers of a list; true and false count as 1 and 0. */
static int64_t numbers(const tpi_json *list, double *v)
{
    int64_t n = (int64_t)tpi_json_size(list);

    assert_in_range(n, 0, MOST);
    for (int64_t i = 0; i < n; i++) {
        const tpi_json *j = tpi_json_at(list, (size_t)i);

        v[i] = tpi_json_is(j) == TPI_JSON_BOOL ? tpi_json_true(j) : tpi_json_real(j);
    }
    return n;
}

/* The operand j; what is f64 in the file comes in t, or, where it has no gradient (statistics), in f32 beside 16 bits. */
static tp_tensor *tensor(tp_ctx *ctx, const tpi_json *j, tp_dtype t, bool trained)
{
    tp_dtype        own = dtype_named(tpi_json_string(tpi_json_get(j, "dtype"), NULL));
    const tpi_json *shape = tpi_json_get(j, "shape");
    int64_t         dim[TP_MAX_DIM];
    double          v[MOST];
    int             n = (int)tpi_json_size(shape);

    if (tpi_json_is(j) == TPI_JSON_NULL)
        return NULL;
    for (int i = 0; i < n; i++)
        dim[i] = tpi_json_integer(tpi_json_at(shape, (size_t)i));
    numbers(tpi_json_get(j, "data"), v);
    if (own == TP_F64)
        own = t == TP_F64 || trained ? t : TP_F32;
    return tp_cast(ctx, tp_from(ctx, TP_F64, n, dim, v), own);
}

/* max|x - want| / max(1, max|want|) */
static double distance(tp_ctx *ctx, const tp_tensor *x, const tpi_json *list)
{
    double  want[MOST], got[MOST], worst = 0, scale = 1;
    int64_t n = numbers(list, want);

    if (tp_numel(x) != n || !tp_copy_out(ctx, x, TP_F64, got, sizeof got))
        return INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);

        scale = fmax(scale, fabs(want[i]));
        worst = d > worst || d != d ? d : worst;
    }
    return worst / scale;
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
            worst = fmax(worst, distance(ctx, tp_grad(in[i]), tpi_json_at(grads, (size_t)i)));
    return worst;
}

static bool check_line(const char *backend, const char *line, int number, tp_dtype t)
{
    tp_ctx         *ctx = tp_ctx_new(strcmp(backend, "ref") == 0 ? TP_REF : TP_CPU, 0);
    tpi_json       *j = tpi_json_parse(ctx, "ops.jsonl", line, strlen(line));
    const tpi_json *inputs = tpi_json_get(j, "inputs"), *grads = tpi_json_get(j, "grads"),
                   *out = tpi_json_get(j, "output");
    const char     *name = tpi_json_string(tpi_json_get(j, "op"), NULL);
    tp_tensor      *in[OP_MAX_IN] = { NULL }, *y;
    int             n = (int)tpi_json_size(inputs);
    double          e = INFINITY;
    bool            good;

    tp_set_backend(ctx, backend);
    for (int i = 0; i < n; i++) {
        bool trained = tpi_json_is(tpi_json_at(grads, (size_t)i)) == TPI_JSON_ARRAY;

        in[i] = tensor(ctx, tpi_json_at(inputs, (size_t)i), t, trained);
        if (in[i] != NULL && trained)
            tp_set_trainable(ctx, in[i], true);
    }
    y = name ? golden_call(ctx, name, in, n, tpi_json_get(j, "args")) : NULL;
    if (y != NULL && (t != TP_F64 || tp_dtype_of(y) == dtype_named(tpi_json_string(tpi_json_get(out, "dtype"), NULL))))
        e = distance(ctx, y, tpi_json_get(out, "data"));
    if (tp_needs_grad(y))
        e = fmax(e, gradients(ctx, j, in, n, y));
    good = tp_ok(ctx) && e <= tolerance(t, name ? name : "");
    if (!good)
        print_error("%s, line %d, %s, %s: %g %s\n", backend, number, name ? name : "?", tp_dtype_name(t), e, tp_error(ctx));
    tpi_json_free(j);
    tp_ctx_free(ctx);
    return good;
}

static int check_file(const char *backend)
{
    const char *root = getenv("TAPIR_SOURCE");
    char        path[4096], *line = test_malloc(LINE);
    int         bad = 0, n = 0;
    FILE       *f;

    snprintf(path, sizeof path, "%s/tests/golden/ops.jsonl", root ? root : ".");
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, LINE, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        n++;
        for (tp_dtype t = TP_F32; t <= TP_F16; t++)
            bad += !check_line(backend, line, n, t);
    }
    fclose(f);
    test_free(line);
    assert_true(n > 100);
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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
