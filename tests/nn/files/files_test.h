/*
 * files_test.h - what the tests of file readers share: a scratch folder, files made of bytes, damage by the hundred.
 */
#ifndef TPI_FILES_TEST_H
#define TPI_FILES_TEST_H

#include "core/core.h"
#include "nn/files/files.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* Under ASan: what is freed goes soon, and no request may be absurd. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:max_allocation_size_mb=512:allocator_may_return_null=1";
}

static char scratch_folder[64];

static inline int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch_folder, sizeof scratch_folder, "tapir-test-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : 1;
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
    return nftw(scratch_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* "scratch/name" in a ring of buffers. */
static inline const char *in_scratch(const char *name)
{
    static char buf[8][192];
    static int  next;

    next = (next + 1) % 8;
    snprintf(buf[next], sizeof buf[next], "%s/%s", scratch_folder, name);
    return buf[next];
}

static inline void write_bytes(const char *path, const void *p, size_t n)
{
    FILE *f;

    unlink(path); /* a file that is cut and written again is flushed to the disk by some file systems */
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
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
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

/* The error is of that code, one line, and says `part`; it is cleared. */
static inline void expect_error(tp_ctx *ctx, tp_code code, const char *part)
{
    if (tp_error_code(ctx) != code || !strstr(tp_error(ctx), part) || strchr(tp_error(ctx), '\n'))
        fail_msg("expected code %d and \"%s\", got code %d: %s", (int)code, part, (int)tp_error_code(ctx),
                 tp_error(ctx));
    tp_error_clear(ctx);
}

/* Opening fails so. */
static inline void expect_refused(tp_ctx *ctx, const char *path, tp_code code, const char *part)
{
    assert_null(tp_file_open(ctx, path));
    expect_error(ctx, code, part);
}

/* Reads everything that a file has, as f32. */
static inline void read_all(tp_ctx *ctx, tp_file *f)
{
    static const char *const texts[] = { "config.json", "tokenizer.json", "chat_template", "config/adapter.json" };
    int64_t i;
    size_t  k;

    for (i = 0; tp_ok(ctx) && i < tp_file_count(f); i++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_file_read(ctx, f, tp_file_at(f, i)->key, TP_F32);
        tp_scope_end(ctx, s);
    }
    for (k = 0; k < sizeof texts / sizeof texts[0]; k++)
        tp_file_text(f, texts[k], NULL);
    tp_file_identity(ctx, f);
}

/* What the test of one format checks when a damaged file opens nevertheless; may be NULL. */
typedef void (*accepted_fn)(tp_ctx *ctx, tp_file *f);

typedef struct damage {
    tp_ctx     *ctx;
    const char *path;
    accepted_fn accepted;
    long        variants, refused;
} damage;

/* Opens a variant and reads all of it: a failure is one of file or format. */
static inline void try_variant(damage *d, const void *p, size_t n)
{
    tp_file *f;

    write_bytes(d->path, p, n);
    f = tp_file_open(d->ctx, d->path);
    if (f) {
        read_all(d->ctx, f);
        if (tp_ok(d->ctx) && d->accepted)
            d->accepted(d->ctx, f);
    }
    tp_file_close(f);
    d->variants++;
    if (tp_ok(d->ctx))
        return;
    d->refused++;
    if (tp_error_code(d->ctx) != TP_EFORMAT && tp_error_code(d->ctx) != TP_EIO && tp_error_code(d->ctx) != TP_EDTYPE)
        fail_msg("variant %ld: code %d: %s", d->variants, (int)tp_error_code(d->ctx), tp_error(d->ctx));
    assert_null(strchr(tp_error(d->ctx), '\n'));
    tp_error_clear(d->ctx);
}

static inline uint32_t next_random(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/*
 * Cuts at every length (at most 600 of them), a flipped bit in every byte of the head (the first `head` bytes, at most
 * 2000), and sizes that lie: 1, 2, 4 and 8 bytes of ones and other large numbers at many places of the head.
 */
static inline void damage_all(damage *d, const char *good, size_t n, size_t head)
{
    static const uint64_t lies[] = { UINT64_MAX, INT64_MAX, (uint64_t)1 << 40, (uint64_t)1 << 31, 0xffffff, 0 };
    char    *bad = malloc(n + 1);
    uint32_t seed = 1;
    size_t   i, k, step = n / 600 + 1, stride = head / 2000 + 1;

    assert_non_null(bad);
    for (i = 0; i < n; i += step)
        try_variant(d, good, i);
    for (i = 0; i < head; i += stride) {
        memcpy(bad, good, n);
        bad[i] = (char)(bad[i] ^ (1 << next_random(&seed) % 8));
        try_variant(d, bad, n);
    }
    for (i = 0; i + 8 <= head; i += head / 150 + 1)
        for (k = 0; k < sizeof lies / sizeof lies[0]; k++) {
            memcpy(bad, good, n);
            memcpy(bad + i, &lies[k], k % 2 ? 8 : 4);
            try_variant(d, bad, n);
        }
    memcpy(bad, good, n);
    bad[n] = 'x';
    try_variant(d, bad, n + 1);
    free(bad);
}

/* The most memory that the process has had, in MiB. */
static inline long peak_mib(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss / 1024;
}

#endif
