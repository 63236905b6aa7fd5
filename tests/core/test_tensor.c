/* test_tensor.c - making tensors, looking at them, views, copies, walks. */
#include "own_ops.h"

#include "core/internal.h"
#include "core/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static void shapes(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_zeros(ctx, TP_F32, TP_SHAPE(2, 3, 4)), *s = tp_full(ctx, TP_F64, TP_SCALAR, 2.5),
              *e = tp_zeros(ctx, TP_BF16, TP_SHAPE(3, 0, 2));
    char       text[64], tiny[4];

    (void)state;
    assert_int_equal(tp_ndim(x), 3);
    assert_int_equal(tp_dim(x, 0), 2);
    assert_int_equal(tp_dim(x, -1), 4);
    assert_int_equal(tp_dim(x, 3), 0);
    assert_int_equal(tp_dim(x, -4), 0);
    assert_int_equal(tp_dim(x, INT32_MIN), 0);
    assert_int_equal(tp_stride(x, 0), 12);
    assert_int_equal(tp_stride(x, -1), 1);
    assert_int_equal(tp_stride(x, 5), 0);
    assert_int_equal(tp_numel(x), 24);
    assert_true(tp_is_contiguous(x));
    assert_string_equal(tp_shape_text(x, text, sizeof text), "[2, 3, 4]");
    assert_string_equal(tp_shape_text(x, tiny, sizeof tiny), "[2,");
    assert_string_equal(tp_shape_text(NULL, text, sizeof text), "NULL");
    assert_null(tp_shape_text(x, NULL, 0));

    assert_int_equal(tp_ndim(s), 0); /* one number */
    assert_int_equal(tp_numel(s), 1);
    assert_string_equal(tp_shape_text(s, text, sizeof text), "[]");
    assert_float_equal(tp_item(ctx, s), 2.5, 0);
    assert_float_equal(tp_at(ctx, s, 0, NULL), 2.5, 0);

    assert_int_equal(tp_numel(e), 0); /* none */
    assert_true(tp_is_contiguous(e));
    assert_non_null(tp_values(ctx, e));
    assert_true(tp_copy_out(ctx, e, TP_F32, NULL, 0));
    assert_true(tp_copy_to(ctx, tp_like(ctx, e), e));
    assert_true(tp_same_shape(tp_zeros_like(ctx, e), e));
    assert_false(tp_same_shape(x, e));
    assert_false(tp_same_shape(x, NULL));
    own_ok(ctx);

    tp_empty(ctx, TP_F32, TP_SHAPE(2, -1));
    own_error(ctx, TP_ESHAPE, "size -1 at place 1 of 2 dimensions");
    tp_empty(ctx, TP_F32, 9, (int64_t[]){ 1, 1, 1, 1, 1, 1, 1, 1, 1 });
    own_error(ctx, TP_ESHAPE, "9 dimensions, expected 0 to 8");
    tp_empty(ctx, TP_F32, -1, NULL);
    own_error(ctx, TP_ESHAPE, "-1 dimensions");
    tp_empty(ctx, TP_F32, 2, NULL);
    own_error(ctx, TP_ESHAPE, "2 dimensions without sizes");
    tp_empty(ctx, TP_F32, TP_SHAPE(INT64_MAX, 2));
    own_error(ctx, TP_ESHAPE, "at most 2^60");
    tp_empty(ctx, TP_F64, TP_SHAPE((int64_t)1 << 31, (int64_t)1 << 31));
    own_error(ctx, TP_ESHAPE, "at most 2^60");
    tp_empty(ctx, TP_F32, TP_SHAPE(0, INT64_MAX, INT64_MAX));
    own_error(ctx, TP_ESHAPE, "at most 2^60");
    tp_empty(ctx, TP_F64, TP_SHAPE((int64_t)1 << 60));
    own_error(ctx, TP_ENOMEM, "out of memory");
    tp_empty(ctx, (tp_dtype)99, TP_SHAPE(2));
    own_error(ctx, TP_EDTYPE, "no dtype 99");
    tp_ctx_free(ctx);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void filling(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    for (int t = 0; t < TP_DTYPES; t++) {
        own_equal(ctx, tp_zeros(ctx, (tp_dtype)t, TP_SHAPE(2)), OWN_VALUES(0, 0));
        own_equal(ctx, tp_ones(ctx, (tp_dtype)t, TP_SHAPE(2)), OWN_VALUES(1, 1));
        own_equal(ctx, tp_full(ctx, (tp_dtype)t, TP_SHAPE(1), 3), OWN_VALUES(t == TP_BOOL ? 1 : 3));
    }
    assert_int_equal(*(const unsigned char *)tp_values(ctx, tp_full(ctx, TP_BOOL, TP_SHAPE(1), 300)), 1);
    assert_int_equal(*(const unsigned char *)tp_values(ctx, tp_full(ctx, TP_BOOL, TP_SHAPE(1), 0.5)), 1);
    own_equal(ctx, tp_full(ctx, TP_I64, TP_SHAPE(1), -7.9), OWN_VALUES(-7));
    own_equal(ctx, tp_full(ctx, TP_I32, TP_SHAPE(1), (double)NAN), OWN_VALUES(0));
    assert_true(tp_i64(ctx, tp_full(ctx, TP_I64, TP_SHAPE(1), 1e30))[0] == INT64_MAX);
    own_equal(ctx, tp_from(ctx, TP_I32, TP_SHAPE(3), (int32_t[]){ 4, -5, 6 }), OWN_VALUES(4, -5, 6));
    own_ok(ctx);
    tp_from(ctx, TP_I32, TP_SHAPE(3), NULL);
    own_error(ctx, TP_EARG, "from: the pointer is NULL");
    assert_int_equal(tp_numel(tp_from(ctx, TP_I32, TP_SHAPE(0), NULL)), 0);
    tp_ctx_free(ctx);
}

static void counting_up(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    own_equal(ctx, tp_arange(ctx, TP_F32, 0, 3, 1), OWN_VALUES(0, 1, 2));
    own_equal(ctx, tp_arange(ctx, TP_I64, 5, -1, -2), OWN_VALUES(5, 3, 1));
    own_equal(ctx, tp_arange(ctx, TP_I32, 5, -1, -3), OWN_VALUES(5, 2));
    own_equal(ctx, tp_arange(ctx, TP_F64, 0, 0, 1), 0, NULL);
    own_equal(ctx, tp_arange(ctx, TP_F64, 3, 0, 1), 0, NULL);
    own_equal(ctx, tp_arange(ctx, TP_F64, 1, 1.3, 0.1), OWN_VALUES(1, 1.1, 1.2)); /* numpy reaches 1.3 here */
    own_equal(ctx, tp_arange(ctx, TP_F64, -1, -1.3, -0.1), OWN_VALUES(-1, -1.1, -1.2));
    assert_int_equal(tp_numel(tp_arange(ctx, TP_F64, 0, 1, 0.1)), 10);
    own_equal(ctx, tp_arange(ctx, TP_U8, 254, 258, 1),
              OWN_VALUES(254, 255, 255, 255)); /* saturates, as conversions do */
    own_ok(ctx);
    for (int i = 0; i < 5; i++) {
        double step = i == 0   ? 0
                      : i == 1 ? (double)NAN
                               : 1,
               stop = i == 2   ? (double)INFINITY
                      : i == 3 ? (double)NAN
                               : 1;

        tp_arange(ctx, i == 4 ? (tp_dtype)50 : TP_F32, 0, stop, step);
        own_error(ctx, TP_EARG, "arange");
    }
    tp_arange(ctx, TP_F32, 0, 1e14, 1);
    own_error(ctx, TP_ENOMEM, "out of memory");
    tp_ctx_free(ctx);
}

static void looking(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_arange(ctx, TP_F32, 0, 6, 1), *v = tpi_view(ctx, x, TP_SHAPE(2, 2), (int64_t[]){ 1, 3 }, 1);
    double     out[4];
    uint32_t   version = x->store->version;

    (void)state;
    own_equal(ctx, v, OWN_VALUES(1, 4, 2, 5));
    assert_float_equal(tp_at(ctx, v, 2, (int64_t[]){ -1, 0 }), 2, 0);
    assert_float_equal(*(const float *)tp_values(ctx, v), 1, 0);
    assert_int_equal(x->store->version, version);
    tp_f32(ctx, v)[0] = 9;
    tp_raw(ctx, v);
    assert_int_equal(x->store->version, version + 2);
    assert_float_equal(tp_at(ctx, x, 1, (int64_t[]){ 1 }), 9, 0);
    own_ok(ctx);
    assert_null(tp_f64(ctx, x));
    own_error(ctx, TP_EDTYPE, "the tensor is f32, asked for as f64");
    assert_null(tp_i32(ctx, x));
    own_error(ctx, TP_EDTYPE, "i32");
    assert_null(tp_i64(ctx, x));
    own_error(ctx, TP_EDTYPE, "i64");
    assert_true(isnan(tp_item(ctx, v)));
    own_error(ctx, TP_ESHAPE, "item: one number was asked of a tensor [2, 2]");
    assert_true(isnan(tp_at(ctx, v, 1, (int64_t[]){ 0 })));
    own_error(ctx, TP_EARG, "at: 1 indices");
    assert_true(isnan(tp_at(ctx, v, 2, (int64_t[]){ 0, 2 })));
    own_error(ctx, TP_EARG, "index 2 at axis 1 of size 2");
    assert_true(isnan(tp_at(ctx, v, 2, (int64_t[]){ -3, 1 })));
    own_error(ctx, TP_EARG, "index -3");
    assert_false(tp_copy_out(ctx, v, TP_F64, out, sizeof out - 1));
    own_error(ctx, TP_EARG, "room for 31 bytes, 32 needed");
    assert_false(tp_copy_out(ctx, v, TP_F64, NULL, 100));
    own_error(ctx, TP_EARG, "room for 0 bytes");
    assert_false(tp_copy_out(ctx, v, (tp_dtype)-1, out, sizeof out));
    own_error(ctx, TP_EDTYPE, "dtype");
    tp_ctx_free(ctx);
}

static void sharing(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_ones(ctx, TP_F32, TP_SHAPE(4)), *v = tp_detach(ctx, x);

    (void)state;
    assert_true(tp_same_storage(x, v));
    assert_false(tp_same_storage(x, tp_like(ctx, x)));
    assert_false(tp_same_storage(x, NULL));
    tp_ctx_free(ctx);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

/* Views of one storage that overlap: as if the source had been read first. */
static void overlapping_copies(void **state)
{
    static const int64_t dims[] = { 4, 4 };
    tp_ctx *ctx = own_ctx();

    (void)state;
    for (int step = -3; step <= 3; step++) {
        tp_tensor *x = tp_arange(ctx, TP_I32, 0, 10, 1),
                  *src = tpi_view(ctx, x, 1, (int64_t[]){ 6 }, (int64_t[]){ 1 }, 3 + (step > 0 ? 0 : -step - 3)),
                  *dst = tpi_view(ctx, x, 1, (int64_t[]){ 6 }, (int64_t[]){ 1 }, src->data == x->data ? 3 : 0);
        double     want[6];

        assert_true(tp_copy_out(ctx, src, TP_F64, want, sizeof want));
        assert_true(tp_copy_to(ctx, dst, src));
        own_equal(ctx, dst, 6, want);
    }
    {
        tp_tensor *x = tp_arange(ctx, TP_F32, 0, 16, 1), *t = tpi_view(ctx, x, 2, dims, (int64_t[]){ 1, 4 }, 0),
                  *m = tpi_view(ctx, x, 2, dims, NULL, 0);

        assert_true(tp_copy_to(ctx, m, t)); /* a matrix transposed in place */
        own_equal(ctx, x, OWN_VALUES(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        assert_true(tp_copy_to(ctx, m, m));
        assert_false(tp_copy_to(ctx, tpi_view(ctx, x, 2, dims, (int64_t[]){ 0, 1 }, 0), m));
        own_error(ctx, TP_EARG, "repeated view");
        assert_false(tp_copy_to(ctx, m, x));
        own_error(ctx, TP_ESHAPE, "copy_to: [16] into [4, 4]");
    }
    tp_ctx_free(ctx);
}

static void conversions(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_from(ctx, TP_F64, TP_SHAPE(6), (double[]){ -1.5, 0, 0.4, 300, NAN, 1e300 });
    int32_t    i[6];
    uint8_t    u[6];
    float      f[6];

    (void)state;
    assert_true(tp_copy_out(ctx, x, TP_I32, i, sizeof i));
    assert_memory_equal(i, ((int32_t[]){ -1, 0, 0, 300, 0, INT32_MAX }), sizeof i);
    assert_true(tp_copy_out(ctx, x, TP_U8, u, sizeof u));
    assert_memory_equal(u, ((uint8_t[]){ 0, 0, 0, 255, 0, 255 }), sizeof u);
    assert_true(tp_copy_out(ctx, x, TP_BOOL, u, sizeof u));
    assert_memory_equal(u, ((uint8_t[]){ 1, 0, 1, 1, 1, 1 }), sizeof u);
    assert_true(tp_copy_out(ctx, x, TP_F32, f, sizeof f));
    assert_true(f[0] == -1.5f && isnan(f[4]) && isinf(f[5]));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* 16-bit floats against arithmetic: every value there and back, and roundings to nearest even. */
static void half_floats(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float  b = tpi_from_bf16((uint16_t)h), f = tpi_from_f16((uint16_t)h);
        int    exp = (int)(h >> 10 & 31), man = (int)(h & 1023);
        double want = exp == 31  ? (man ? (double)NAN : (double)INFINITY)
                      : exp == 0 ? ldexp(man, -24)
                                 : ldexp(1024 + man, exp - 25);

        want = h & 0x8000 ? -want : want;
        assert_true(isnan(want) ? isnan(f) : (double)f == want);
        assert_true(isnan(f) ? isnan(tpi_from_f16(tpi_to_f16(f))) : tpi_to_f16(f) == h);
        assert_true(isnan(b) ? isnan(tpi_from_bf16(tpi_to_bf16(b))) : tpi_to_bf16(b) == h);
        if (!isfinite(f) || (h & 0x7fff) >= 0x7bff)
            continue;
        /* half-way to the next one goes to the even one, a little more goes there */
        double next = (double)tpi_from_f16((uint16_t)(h + 1)), middle = (f + next) / 2;

        assert_int_equal(tpi_to_f16((float)middle), h & 1 ? h + 1 : h);
        assert_int_equal(tpi_to_f16(nextafterf((float)middle, (float)next)), h + 1);
        assert_int_equal(tpi_to_f16(nextafterf((float)middle, f)), h);
    }
    assert_int_equal(tpi_to_f16(65519.0f), 0x7bff);
    assert_int_equal(tpi_to_f16(65520.0f), 0x7c00);
    assert_int_equal(tpi_to_bf16(FLT_MAX), 0x7f80);
    assert_true(isnan(tpi_from_bf16(tpi_to_bf16(tpi_float(0x7f800001))))); /* a NaN that lives in the bits cut off */
    assert_true(isnan(tpi_from_f16(tpi_to_f16(tpi_float(0x7f800001)))));
}

/* ---- borrowed memory --------------------------------------------------------------------------------------------- */

static int released;

static void on_release(void *user, void *p)
{
    assert_ptr_equal(user, &released);
    assert_non_null(p);
    released++;
}

static void borrowing(void **state)
{
    tp_ctx    *ctx = own_ctx();
    float      here[6] = { 1, 2, 3, 4, 5, 6 };
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *x, *v;
    size_t     before = tp_memory(ctx).now;

    (void)state;
    released = 0;
    x = tp_borrow(ctx, TP_F32, TP_SHAPE(2, 3), here, on_release, &released);
    assert_int_equal(tp_memory(ctx).now, before);
    assert_ptr_equal(tp_values(ctx, x), here);
    v = tp_retain(tpi_view(ctx, x, TP_SHAPE(3, 2), (int64_t[]){ 1, 3 }, 0));
    tp_f32(ctx, v)[0] = 10;
    tp_scope_end(ctx, s);
    assert_int_equal(released, 0); /* a view of it is still there */
    own_equal(ctx, v, OWN_VALUES(10, 4, 2, 5, 3, 6));
    tp_release(v);
    assert_int_equal(released, 1);
    assert_float_equal(here[0], 10, 0);

    /* refused: handed back at once, so that nobody has to look */
    assert_null(tp_borrow(ctx, TP_F32, TP_SHAPE(-2), here, on_release, &released));
    assert_int_equal(released, 2);
    assert_null(tp_borrow(ctx, TP_F32, TP_SHAPE(2), here, on_release, &released)); /* on a failed context too */
    assert_int_equal(released, 3);
    own_error(ctx, TP_ESHAPE, "size -2");
    assert_null(tp_borrow(NULL, TP_F32, TP_SHAPE(2), here, on_release, &released));
    assert_int_equal(released, 4);
    assert_null(tp_borrow(ctx, TP_F32, TP_SHAPE(2), NULL, on_release, &released));
    assert_int_equal(released, 4);
    own_error(ctx, TP_EARG, "borrow: the pointer is NULL");
    assert_non_null(tp_borrow(ctx, TP_F32, TP_SHAPE(6), here, NULL, NULL));
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- walks ------------------------------------------------------------------------------------------------------- */

/* What a walk visits, against indexing each operand by broadcasting rules. */
static void check_walk(int ndim, const int64_t *dim, int n, const tp_tensor *const *x, int want_ndim)
{
    tpi_nd  nd;
    int64_t total = 1, inner = 1;

    tpi_nd_init(&nd, ndim, dim, n, x);
    assert_int_equal(nd.ndim, want_ndim);
    for (int i = 0; i < ndim; i++)
        total *= dim[i];
    for (int i = 0; i < nd.ndim; i++)
        inner *= nd.dim[i];
    assert_int_equal(total, inner);
    for (int64_t e = 0; e < total; e++)
        for (int k = 0; k < n; k++) {
            int64_t at = 0, want = 0, rest = e;

            for (int d = nd.ndim; d-- > 0; rest /= nd.dim[d])
                at += rest % nd.dim[d] * nd.stride[k][d];
            rest = e;
            for (int d = ndim; d-- > 0; rest /= dim[d]) {
                int j = d - (ndim - x[k]->ndim);

                if (j >= 0 && x[k]->dim[j] > 1)
                    want += rest % dim[d] * x[k]->stride[j];
            }
            assert_int_equal(at, want);
        }
}

static void walks(void **state)
{
    tp_ctx          *ctx = own_ctx();
    tp_tensor       *a = tp_zeros(ctx, TP_F32, TP_SHAPE(2, 3, 4)), *row = tp_zeros(ctx, TP_F32, TP_SHAPE(4)),
              *col = tp_zeros(ctx, TP_F32, TP_SHAPE(2, 1, 1)), *mid = tp_zeros(ctx, TP_F32, TP_SHAPE(3, 1)),
              *one = tp_zeros(ctx, TP_F32, TP_SCALAR),
              *t = tpi_view(ctx, a, TP_SHAPE(4, 3, 2), (int64_t[]){ 1, 4, 12 }, 0),
              *ones = tp_zeros(ctx, TP_F32, TP_SHAPE(1, 2, 1, 3, 1, 4, 1, 1)),
              *none = tp_zeros(ctx, TP_F32, TP_SHAPE(2, 0, 4)),
              *gap = tpi_view(ctx, tp_zeros(ctx, TP_F32, TP_SHAPE(2, 3, 8)), TP_SHAPE(2, 3, 4), (int64_t[]){ 24, 8, 1 },
                              2);
    const int64_t   *dim = a->dim, *eight = ones->dim;
    const tp_tensor *same[] = { a, a, a }, *rows[] = { a, row }, *cols[] = { a, col }, *mids[] = { a, mid, col, row },
                    *scalars[] = { a, one }, *turned[] = { tp_zeros(ctx, TP_F32, TP_SHAPE(4, 3, 2)), t },
                    *gaps[] = { a, gap }, *two[] = { gap, gap }, *empty[] = { none, col };

    (void)state;
    check_walk(3, dim, 3, same, 1);
    check_walk(3, dim, 2, rows, 2);
    check_walk(3, dim, 2, cols, 2);
    check_walk(3, dim, 4, mids, 3);
    check_walk(3, dim, 2, scalars, 1);
    check_walk(3, turned[0]->dim, 2, turned, 3);
    check_walk(3, dim, 2, gaps, 2);
    check_walk(3, dim, 2, two, 2);
    check_walk(3, none->dim, 2, empty, 2);
    check_walk(0, NULL, 1, (const tp_tensor *const[]){ one }, 1);
    check_walk(8, eight, 2, (const tp_tensor *const[]){ ones, tp_zeros(ctx, TP_F32, TP_SHAPE(2, 1, 3, 1, 4, 1, 1)) },
               1);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void broadcasting(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *a = tp_zeros(ctx, TP_F32, TP_SHAPE(2, 1, 4)), *b = tp_zeros(ctx, TP_F32, TP_SHAPE(3, 1)),
              *c = tp_zeros(ctx, TP_F32, TP_SHAPE(5, 4)), *e = tp_zeros(ctx, TP_F32, TP_SHAPE(0, 4)),
              *s = tp_zeros(ctx, TP_F32, TP_SCALAR);
    int64_t    dim[TP_MAX_DIM];
    int        n;

    (void)state;
    assert_true(tpi_broadcast(a, b, &n, dim) && n == 3);
    assert_memory_equal(dim, ((int64_t[]){ 2, 3, 4 }), 3 * sizeof *dim);
    assert_false(tpi_broadcast(c, tp_zeros(ctx, TP_F32, TP_SHAPE(2, 4)), &n, dim));
    assert_true(tpi_broadcast(e, a, &n, dim) && n == 3 && dim[1] == 0);
    assert_false(tpi_broadcast(e, c, &n, dim));
    assert_true(tpi_broadcast(s, s, &n, dim) && n == 0);
    assert_int_equal(tpi_axis(ctx, "op", a, -1), 2);
    assert_int_equal(tpi_axis(ctx, "op", a, 3), -1);
    own_error(ctx, TP_EARG, "op: axis 3 of a tensor with 3 dimensions");
    tp_ctx_free(ctx);
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static void expect_print(tp_ctx *ctx, const tp_tensor *x, const char *want)
{
    char  text[4096] = "";
    FILE *f = tmpfile();

    assert_non_null(f);
    tp_print(ctx, x, f);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
}

static void printing(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    expect_print(ctx, tp_from(ctx, TP_F32, TP_SHAPE(2, 2), (float[]){ 1, 2.5f, -3, 1e-9f }),
                 "tensor f32 [2, 2]\n[[ 1.0e+00  2.5e+00]\n [-3.0e+00  1.0e-09]]\n");
    expect_print(ctx, tp_full(ctx, TP_I64, TP_SCALAR, 7), "tensor i64 []\n7\n");
    expect_print(ctx, tp_zeros(ctx, TP_F32, TP_SHAPE(0)), "tensor f32 [0]\n[]\n");
    expect_print(ctx, tp_ones(ctx, TP_BOOL, TP_SHAPE(2)), "tensor bool [2]\n[ True  True]\n");
    expect_print(ctx, tp_arange(ctx, TP_I32, 0, 2000, 1), "tensor i32 [2000]\n[   0    1    2 ... 1997 1998 1999]\n");
    own_ok(ctx);
    tp_print(ctx, tp_ones(ctx, TP_F32, TP_SHAPE(1)), NULL);
    own_error(ctx, TP_EARG, "no file");
    tp_ctx_free(ctx);
}

/* ---- single elements, other contexts ----------------------------------------------------------------------------- */

static void set_elements(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *x = tp_zeros(ctx, TP_I32, TP_SHAPE(2, 3)), *v = tpi_view(ctx, x, TP_SHAPE(3, 2), (int64_t[]){ 1, 3 }, 0);

    (void)state;
    assert_true(tp_set_at(ctx, v, TP_SHAPE(-1, 0), 7.9)); /* toward zero */
    assert_float_equal(tp_at(ctx, x, TP_SHAPE(0, 2)), 7, 0);
    assert_false(tp_set_at(ctx, x, TP_SHAPE(2, 0), 1));
    own_error(ctx, TP_EARG, "set_at: index 2 at axis 0 of size 2");
    assert_false(tp_set_at(ctx, x, TP_SHAPE(0), 1));
    own_error(ctx, TP_EARG, "set_at: 1 indices into a tensor with 2 dimensions");
    tp_ctx_free(ctx);
}

static void copies_from_others(void **state)
{
    tp_ctx    *ctx = own_ctx(), *other = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = tp_arange(other, TP_BF16, 0, 6, 1), *v = tpi_view(other, x, TP_SHAPE(3, 2), (int64_t[]){ 1, 3 }, 0), *y;

    (void)state;
    y = tp_copy_from(ctx, other, v);
    assert_true(tp_dtype_of(y) == TP_BF16 && tp_same_shape(y, v) && tp_is_contiguous(y));
    assert_float_equal(tp_at(ctx, y, TP_SHAPE(2, 1)), 5, 0);
    assert_null(tp_copy_from(ctx, other, y)); /* belongs to ctx */
    own_error(ctx, TP_EARG, "copy_from: copy_from: input 0");
    tp_error_clear(other);
    assert_null(tp_copy_from(ctx, NULL, v));
    own_error(ctx, TP_EARG, "copy_from: there is no other context");
    tp_ctx_free(other);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_elements),
        cmocka_unit_test(copies_from_others),
        cmocka_unit_test(shapes),
        cmocka_unit_test(filling),
        cmocka_unit_test(counting_up),
        cmocka_unit_test(looking),
        cmocka_unit_test(sharing),
        cmocka_unit_test(overlapping_copies),
        cmocka_unit_test(conversions),
        cmocka_unit_test(half_floats),
        cmocka_unit_test(borrowing),
        cmocka_unit_test(walks),
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(printing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
