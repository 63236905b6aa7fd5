/*
 * fuzz.h - what the fuzzers share: bytes as a file of a chosen name, and what must hold whatever they are.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "core/internal.h"
#include "nn/files/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A folder of this process with a link of that name to a file in memory, which is made once. */
static int  fuzz_fd = -1;
static char fuzz_folder[64], fuzz_path[128];

static inline void fuzz_remove(void)
{
    unlink(fuzz_path);
    rmdir(fuzz_folder);
}

static inline const char *fuzz_file(const char *name, const uint8_t *p, size_t n)
{
    char link[64];

    if (fuzz_fd < 0) {
        const char *tmp = getenv("TMPDIR");

        fuzz_fd = memfd_create("fuzz", 0);
        snprintf(fuzz_folder, sizeof fuzz_folder, "%.40s/fuzz-XXXXXX", tmp ? tmp : ".");
        snprintf(link, sizeof link, "/proc/self/fd/%d", fuzz_fd);
        if (fuzz_fd < 0 || !mkdtemp(fuzz_folder))
            exit(1);
        snprintf(fuzz_path, sizeof fuzz_path, "%s/%s", fuzz_folder, name);
        if (symlink(link, fuzz_path) != 0)
            exit(1);
        atexit(fuzz_remove);
    }
    if (ftruncate(fuzz_fd, 0) != 0 || pwrite(fuzz_fd, p, n, 0) != (ssize_t)n)
        exit(1);
    return fuzz_path;
}

static clock_t fuzz_began;

/* One context for all inputs, asked for once for each. */
static inline tp_ctx *fuzz_ctx(void)
{
    static tp_ctx *ctx;

    if (!ctx)
        ctx = tp_ctx_new(TP_REF, 0);
    fuzz_began = clock();
    return ctx;
}

/* A failure has one line, and only a code that a wrong file may have; then the context is as new.  No input may take 20 s of
 * processor time (libFuzzer's own limit is by the wall, where others may be in the way). */
static inline void fuzz_done(tp_ctx *ctx)
{
    tp_code code = tp_error_code(ctx);

    if (!tp_ok(ctx) && (!tp_error(ctx)[0] || strchr(tp_error(ctx), '\n') ||
                        (code != TP_EFORMAT && code != TP_EIO && code != TP_EDTYPE && code != TP_EARG &&
                         code != TP_ENOMEM && code != TP_ESHAPE)))
        __builtin_trap();
    if ((clock() - fuzz_began) / CLOCKS_PER_SEC >= 20)
        __builtin_trap();
    tp_error_clear(ctx);
}

/* Opens a file of tensors and reads all that it has. */
static inline int fuzz_tensors(const char *name, const uint8_t *p, size_t n)
{
    static const char *const texts[] = { "config.json", "tokenizer.json", "chat_template", "config/adapter.json" };
    tp_ctx                  *ctx = fuzz_ctx();
    tp_file                 *f = tp_file_open(ctx, fuzz_file(name, p, n));
    const char              *key, *value;
    size_t                   size, k;
    int64_t                  i;

    if (!f && tp_ok(ctx))
        __builtin_trap();
    for (i = 0; tp_file_meta_at(f, i, &key, &value); i++)
        if (strlen(key) > (size_t)1 << 30 || !value)
            __builtin_trap();
    for (k = 0; tp_ok(ctx) && k < sizeof texts / sizeof texts[0]; k++) {
        const char *text = tp_file_text(f, texts[k], &size);

        if (text && text[size] != '\0')
            __builtin_trap();
        fuzz_done(ctx);
    }
    for (i = 0; i < tp_file_count(f) && i < 64; i++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_file_read(ctx, f, tp_file_at(f, i)->key, i % 2 ? TP_F32 : TP_DTYPES);
        tp_scope_end(ctx, s);
        fuzz_done(ctx);
    }
    tp_file_verify(ctx, f);
    tp_file_identity(ctx, f);
    tp_file_close(f);
    fuzz_done(ctx);
    return 0;
}

#endif
