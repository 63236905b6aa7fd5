/*
 * test_trusted.c - HDF5 files of any kind through libhdf5 (tests/golden/golden_h5.py makes them).
 */
#include "tests/nn/files/files_test.h"

static const char *golden(const char *name)
{
    static char path[512];
    const char *root = getenv("TAPIR_SOURCE");

    snprintf(path, sizeof path, "%s/tests/golden/h5/%s", root ? root : ".", name);
    return path;
}

static void what_h5py_wrote(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_file   *f = tp_file_open_trusted(ctx, golden("foreign.h5"));
    tp_tensor *x;
    int        i;

    (void)state;
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_file_count(f), 6);
    assert_string_equal(tp_file_kind(f), "tensors");
    x = tp_file_read(ctx, f, "packed", TP_DTYPES);
    assert_int_equal(tp_ndim(x), 2);
    for (i = 0; i < 600; i++)
        assert_true(tp_f32(ctx, x)[i] == (float)i);
    x = tp_file_read(ctx, f, "double", TP_F32);
    for (i = 0; i < 5; i++)
        assert_true(tp_f32(ctx, x)[i] == (float)i / 4);
    assert_true(tp_f32(ctx, tp_file_read(ctx, f, "half", TP_F32))[2] == 2);
    assert_int_equal(tp_dtype_of(tp_file_read(ctx, f, "flags", TP_DTYPES)), TP_BOOL);
    assert_true(tp_item(ctx, tp_file_read(ctx, f, "scalar", TP_F32)) == 7.25);
    assert_string_equal(tp_file_find(f, "images/train")->dtype, "I16");
    assert_int_equal(tp_file_find(f, "images/train")->dim[1], 3);
    assert_string_equal(tp_file_meta(f, "images@title"), "of variable length");
    assert_string_equal(tp_file_meta(f, "packed@scale"), "0.5");
    assert_string_equal(tp_file_meta(f, "count"), "3");
    assert_non_null(tp_file_meta(f, "complex (passed over)"));
    assert_true(tp_file_verify(ctx, f));
    assert_non_null(tp_file_identity(ctx, f));
    assert_null(tp_file_read(ctx, f, "images/train", TP_DTYPES));
    expect_error(ctx, TP_EDTYPE, "stored as I16");
    tp_file_close(f);
    tp_ctx_free(ctx);
}

/* Checkpoints of Tapir's are HDF5 files too: what libhdf5 finds in them is what Tapir does. */
static void what_tapir_wrote(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_writer *w = tp_writer_open(ctx, in_scratch("t.h5"), "tensors");
    int64_t    dim[TP_MAX_DIM] = { 2, 1, 2, 1, 2, 1, 2, 1 };
    char       name[32], key[48];
    tp_file   *f, *g;
    int        t;

    (void)state;
    for (t = 0; t < TP_DTYPES; t++) {
        snprintf(name, sizeof name, "dtype.t%d", t);
        tp_writer_tensor(ctx, w, "model", name, tp_full(ctx, (tp_dtype)t, t, dim, 1));
    }
    tp_writer_tensor(ctx, w, "model", "rank.eight", tp_ones(ctx, TP_F32, 8, dim));
    tp_writer_tensor(ctx, w, "model", "none", tp_ones(ctx, TP_F32, TP_SHAPE(0, 3)));
    tp_writer_tensor(ctx, w, "model", "large", tp_ones(ctx, TP_BF16, TP_SHAPE(64, 65)));
    tp_writer_tie(ctx, w, "model", "tied", "large");
    tp_writer_attr_real(ctx, w, "optimizer", "lr", 0.25);
    tp_writer_text(ctx, w, "config/model.json", "{}", 2);
    assert_true(tp_writer_close(ctx, w));
    f = tp_file_open(ctx, in_scratch("t.h5"));
    g = tp_file_open_trusted(ctx, in_scratch("t.h5"));
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_file_count(g), tp_file_count(f) - 1 + 1); /* one of two names; the text */
    for (t = 0; t < TP_DTYPES; t++) {
        tp_tensor *x, *y;

        snprintf(name, sizeof name, "dtype.t%d", t);
        snprintf(key, sizeof key, "model/dtype/t%d", t);
        x = tp_file_read(ctx, f, name, TP_DTYPES);
        y = tp_file_read(ctx, g, key, TP_DTYPES);
        assert_string_equal(tp_error(ctx), "");
        assert_int_equal(tp_dtype_of(x), tp_dtype_of(y));
        assert_int_equal(tp_numel(x), tp_numel(y));
        assert_memory_equal(tp_values(ctx, x), tp_values(ctx, y), (size_t)tp_numel(x) * tp_dtype_size(tp_dtype_of(x)));
    }
    assert_int_equal(tp_file_find(g, "model/rank/eight")->ndim, 8);
    assert_int_equal(tp_file_find(g, "model/none")->dim[1], 3);
    assert_string_equal(tp_file_meta(g, "optimizer@lr"), "0.25");
    assert_string_equal(tp_file_meta(g, "tapir_kind"), "tensors");
    tp_file_close(g);
    tp_file_close(f);
    tp_ctx_free(ctx);
}

static void refusals(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    expect_refused(ctx, golden("foreign.h5"), TP_EFORMAT, "no Tapir checkpoint");
    assert_null(tp_file_open_trusted(ctx, in_scratch("none.h5")));
    expect_error(ctx, TP_EIO, "none.h5");
    write_bytes(in_scratch("x.h5"), "no HDF5 at all", 14);
    assert_null(tp_file_open_trusted(ctx, in_scratch("x.h5")));
    expect_error(ctx, TP_EFORMAT, "x.h5: cannot open it: HDF5 says: ");
    assert_null(tp_file_open_trusted(ctx, NULL));
    expect_error(ctx, TP_EARG, "a path is needed");
    assert_null(tp_file_open_trusted(ctx, "."));
    expect_error(ctx, TP_EIO, "");
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_h5py_wrote),
        cmocka_unit_test(what_tapir_wrote),
        cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
