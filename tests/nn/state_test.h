/* state_test.h - a scratch folder, bytes of files, and values of any bits, for the tests of states. */
#ifndef STATE_TEST_H
#define STATE_TEST_H

#include "tests/nn/nn_net.h"

#include <unistd.h>

static char folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "tapir-test-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static inline const char *file(const char *name)
{
    static char buf[4][160];
    static int  next;

    next = (next + 1) % 4;
    snprintf(buf[next], sizeof buf[next], "%s/%s", folder, name);
    return buf[next];
}

static inline int drop_folder(void **state)
{
    (void)state;
    for (const char *const *n = (const char *const[]){ "a.h5", "b.h5", "c.h5", "a.safetensors", NULL }; *n != NULL; n++)
        unlink(file(*n));
    return rmdir(folder);
}

static inline char *bytes_of(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *p = malloc(1 << 22);

    assert_non_null(f);
    *n = fread(p, 1, 1 << 22, f);
    fclose(f);
    return p;
}

static inline void check_equal_files(const char *a, const char *b)
{
    size_t n, m;
    char  *x = bytes_of(a, &n), *y = bytes_of(b, &m);

    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* Any bits, of bool 0 and 1. */
static inline void scramble(tp_ctx *ctx, tp_tensor *x, unsigned seed)
{
    unsigned char *p = x->numel > 0 ? tp_raw(ctx, x) : NULL;
    size_t         n = (size_t)x->numel * tp_dtype_size(tp_dtype_of(x));

    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (unsigned char)(tp_dtype_of(x) == TP_BOOL ? seed >> 31 : seed >> 24);
    }
}

#endif
