/* peft_files.h - a scratch folder, and loading that must fail, for the tests of adapter files. */
#ifndef PEFT_FILES_H
#define PEFT_FILES_H

#include "tests/peft/peft_test.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a scratch folder ------------------------------------------------------------------------------------------------ */

static char scratch[32];

static inline int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "tapir-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : 1;
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline int drop_scratch(void **state)
{
    (void)state;
    return nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* "scratch/name", in turn in one of four buffers. */
static inline const char *in_scratch(const char *name)
{
    static char buf[4][128];
    static int  next;

    next = (next + 1) % 4;
    snprintf(buf[next], sizeof buf[next], "%s/%s", scratch, name);
    return buf[next];
}

static inline char *read_bytes(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *p;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    p = malloc(*n + 1);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

static inline void write_bytes(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- what the tests do with files --------------------------------------------------------------------------------------- */

/* Loading fails so, in one line, and the model is as it was. */
static inline void refused(tp_ctx *ctx, small *m, const char *path, const tp_adapter_load_opts *o, tp_code code, const char *part,
                    const char *other)
{
    tp_count         before = tp_module_count(&m->root);
    tp_adapter_count adapters = tp_adapters_count(&m->root);

    assert_int_equal(tp_adapter_load(ctx, &m->root, path, o), 0);
    assert_null(strchr(tp_error(ctx), '\n'));
    check_failed(ctx, code, part, other);
    assert_int_equal(tp_adapters_count(&m->root).layers, adapters.layers);
    assert_int_equal(tp_module_count(&m->root).all, before.all);
    assert_int_equal(tp_module_count(&m->root).trainable, before.trainable);
}

static inline void check_output(tp_ctx *ctx, small *m, tp_tensor *want)
{
    tp_tensor *y = output_of(ctx, m);

    assert_true(same_bits(ctx, y, want));
    tp_release(y);
}

/* (q|up)_proj of a small f32 model with four blocks each. */
static inline void save_diablo(tp_ctx *ctx, const char *path)
{
    small m;

    small_init(ctx, &m, TP_F32);
    tp_attach(ctx, &m.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 });
    fill_adapters(&m.root, 1);
    assert_true(tp_adapter_save(ctx, &m.root, path));
    check_ok(ctx);
    tp_module_free(&m.root);
}

#endif
