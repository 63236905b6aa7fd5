/* test_print.c - printed tensors against what numpy prints (tests/golden/golden_print.py). */
#include "core/json.h"
#include "core/number.h"
#include "ops/ops.h"
#include "tests/nn/nn_test.h"

enum { MOST = 1 << 16 };

static tp_dtype dtype_named(const char *name)
{
    for (int t = 0; t < TP_DTYPES; t++)
        if (strcmp(tp_dtype_name((tp_dtype)t), name) == 0)
            return (tp_dtype)t;
    fail_msg("no dtype %s", name);
    return TP_F32;
}

static tp_tensor *tensor_of(tp_ctx *ctx, const tpi_json *row)
{
    const tpi_json *shape = tpi_json_get(row, "shape");
    tp_dtype        t = dtype_named(tpi_json_string(tpi_json_get(row, "dtype"), NULL));
    char           *at = (char *)(uintptr_t)tpi_json_string(tpi_json_get(row, "values"), NULL);
    int             ndim = (int)tpi_json_size(shape);
    int64_t         dim[TP_MAX_DIM];
    tp_tensor      *x;

    for (int i = 0; i < ndim; i++)
        dim[i] = (int64_t)tpi_json_real(tpi_json_at(shape, (size_t)i));
    x = tp_zeros(ctx, t, ndim, dim);
    for (int64_t i = 0; i < tp_numel(x); i++) {
        if (tp_dtype_is_float(t))
            tpi_store(t, tp_raw(ctx, x), i, t == TP_F64 ? strtod(at, &at) : (double)strtof(at, &at));
        else
            tpi_store_int(t, tp_raw(ctx, x), i, strtoll(at, &at, 10));
    }
    check_ok(ctx);
    return x;
}

static void check_row(tp_ctx *ctx, const tpi_json *row)
{
    static char text[MOST], want[MOST];
    char        shape[96];
    tp_scope    s = tp_scope_begin(ctx);
    tp_tensor  *x = tensor_of(ctx, row);
    FILE       *f = tmpfile();

    assert_non_null(f);
    tp_print(ctx, x, f);
    check_ok(ctx);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    snprintf(want, sizeof want, "tensor %s %s\n%s\n", tp_dtype_name(tp_dtype_of(x)),
             tp_shape_text(x, shape, sizeof shape), tpi_json_string(tpi_json_get(row, "text"), NULL));
    assert_string_equal(text, want);
    tp_scope_end(ctx, s);
}

static void as_numpy(void **state)
{
    const char *source = getenv("TAPIR_SOURCE");
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    char        path[2048];
    tpi_json   *j;

    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/print.json", source ? source : ".");
    j = tpi_json_load(ctx, path, 1 << 20);
    check_ok(ctx);
    assert_true(tpi_json_size(j) > 200);
    for (size_t i = 0; i < tpi_json_size(j); i++)
        check_row(ctx, tpi_json_at(j, i));
    tpi_json_free(j);
    free_ctx(ctx);
}

/* What is printed is what is seen, whatever the strides. */
static void views(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope    s = tp_scope_begin(ctx);
    tp_tensor  *x = tp_reshape(ctx, tp_arange(ctx, TP_F32, 0, 6, 1), TP_SHAPE(2, 3));
    const char *want = "tensor f32 [3, 2]\n[[0. 3.]\n [1. 4.]\n [2. 5.]]\n";
    char        text[256];
    FILE       *f = tmpfile();

    (void)state;
    assert_non_null(f);
    tp_print(ctx, tp_transpose(ctx, x, 0, 1), f);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_numpy),
        cmocka_unit_test(views),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
