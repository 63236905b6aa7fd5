/*
 * test_files_alloc.c - every allocation of the readers and writers failed in turn: an error, nothing leaked, no
 * half-written file.
 */
#include "files_test.h"

#include "core/internal.h"
#include "nn/files/filetable.h"
#include "nn/files/gguf.h"

static char golden_gguf[512], golden_dense[512], golden_foreign[512];

static bool write_file(tp_ctx *ctx, const char *path, const char *kind)
{
    tp_writer *w = tp_writer_open(ctx, path, kind);
    tp_tensor *x = tp_ones(ctx, TP_BF16, TP_SHAPE(3, 2));

    tp_writer_tensor(ctx, w, "model", "a.weight", x);
    tp_writer_tensor(ctx, w, "model", "b.c.weight", x);
    if (strcmp(kind, "safetensors") != 0) {
        tp_writer_tie(ctx, w, "model", "d", "a.weight");
        tp_writer_text(ctx, w, "config/model.json", "{}", 2);
    }
    tp_writer_attr_text(ctx, w, NULL, "format", "pt");
    return tp_writer_close(ctx, w);
}

static void read_file(tp_ctx *ctx, const char *path)
{
    tp_file *f = tp_file_open(ctx, path);

    if (f) {
        read_all(ctx, f);
        tpi_gguf_vocab_of(ctx, f);
        tp_file_verify(ctx, f);
    }
    tp_file_close(f);
}

static void save_h5(tp_ctx *ctx)
{
    write_file(ctx, in_scratch("a.h5"), "model");
}

static void save_safetensors(tp_ctx *ctx)
{
    write_file(ctx, in_scratch("a.safetensors"), "safetensors");
}

static void load_h5(tp_ctx *ctx)
{
    read_file(ctx, in_scratch("good.h5"));
}

static void load_folder(tp_ctx *ctx)
{
    read_file(ctx, scratch_folder);
}

static void load_gguf(tp_ctx *ctx)
{
    read_file(ctx, golden_gguf);
}

/* Links and attributes in heaps. */
static void load_dense(tp_ctx *ctx)
{
    read_file(ctx, golden_dense);
}

/* Only our own allocations: libhdf5 has others. */
static void load_trusted(tp_ctx *ctx)
{
    tp_file *f = tp_file_open_trusted(ctx, golden_foreign);

    tp_file_verify(ctx, f);
    tp_file_close(f);
}

/* Runs fn with allocation 0, 1, 2, ... failing (or all from there on), until it has no more.  One that fails alone may
 * do no harm: the pool tries again. */
static void sweep(const char *name, void (*fn)(tp_ctx *ctx), bool always)
{
    long i = -1, n;

    do {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

        assert_true(tp_ok(ctx));
        tpi_fail_alloc(++i, always);
        fn(ctx);
        n = tpi_count_alloc();
        tpi_fail_alloc(-1, false);
        if (always && (i < n) == tp_ok(ctx))
            fail_msg("%s: allocation %ld of %ld failed, and the error is \"%s\"", name, i, n, tp_error(ctx));
        assert_null(strchr(tp_error(ctx), '\n'));
        if (!tp_ok(ctx)) {
            assert_int_not_equal(access(in_scratch("a.h5"), F_OK), 0);
            assert_int_not_equal(access(in_scratch("a.safetensors"), F_OK), 0);
        }
        unlink(in_scratch("a.h5"));
        unlink(in_scratch("a.safetensors"));
        tp_ctx_free(ctx);
    } while (i < n);
    print_message("%s: %ld allocations\n", name, i);
}

typedef struct one_sweep {
    const char *name;
    void      (*fn)(tp_ctx *ctx);
} one_sweep;

static void every_allocation(void **state)
{
    static const one_sweep sweeps[] = { { "save .h5", save_h5 },
                                        { "save .safetensors", save_safetensors },
                                        { "load .h5", load_h5 },
                                        { "load a directory", load_folder },
                                        { "load .gguf", load_gguf },
                                        { "load .h5 with heaps", load_dense },
                                        { "load a trusted .h5", load_trusted } };
    int         i;
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    const char *root = getenv("TAPIR_SOURCE"), *config = "{\"chat_template\":\"T\"}";

    (void)state;
    snprintf(golden_gguf, sizeof golden_gguf, "%s/tests/golden/gguf/types.gguf", root ? root : ".");
    snprintf(golden_dense, sizeof golden_dense, "%s/tests/fuzz/corpus/hdf5/dense.h5", root ? root : ".");
    snprintf(golden_foreign, sizeof golden_foreign, "%s/tests/golden/h5/foreign.h5", root ? root : ".");
    assert_true(write_file(ctx, in_scratch("good.h5"), "model"));
    assert_true(write_file(ctx, in_scratch("model.safetensors"), "safetensors"));
    write_bytes(in_scratch("tokenizer_config.json"), config, strlen(config));
    write_bytes(in_scratch("config.json"), "{}", 2);
    tp_ctx_free(ctx);
    for (i = 0; i < 7; i++) {
        sweep(sweeps[i].name, sweeps[i].fn, false);
        sweep(sweeps[i].name, sweeps[i].fn, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation) };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
