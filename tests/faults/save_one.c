/*
 * save_one.c - one save, to be killed and failed at each of its system calls (tests/faults/test_save_faults.py).
 *
 *   save_one save PATH VALUE   saves tensors full of VALUE; after a failure tells it, computes on and saves once more.
 *                              Exits 0: saved; 3: the first try failed, the second did not; 1: both failed
 *   save_one check PATH        prints the VALUE of a file that is whole in every bit, else says what is wrong and exits 1
 *
 * TAPIR_SHORT=N in the environment makes the N-th write put fewer bytes than it was asked to, as a kernel may.
 */
#include "core/core.h"
#include "nn/files/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TENSORS = 24 };

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    static int  written;
    const char *text = getenv("TAPIR_SHORT");

    if (text && ++written == strtol(text, NULL, 10) && n > 1)
        n = n > 14 ? 7 : 1;
    return (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

/* Tells the trace where the save begins and ends. */
static void mark(const char *what)
{
    if (access(what, F_OK) == 0)
        puts(what);
}

static bool save(tp_ctx *ctx, const char *path, double value)
{
    tp_writer *w = tp_writer_open(ctx, path, "tensors");
    char       name[32];
    int        i;

    for (i = 0; i < TENSORS; i++) {
        tp_scope s = tp_scope_begin(ctx);

        snprintf(name, sizeof name, "layers.%d.weight", i);
        tp_writer_tensor(ctx, w, "model", name, tp_full(ctx, TP_F32, TP_SHAPE(10, 1 + 8 * i), value));
        tp_scope_end(ctx, s);
    }
    tp_writer_text(ctx, w, "config/model.json", "{}", 2);
    tp_writer_attr_real(ctx, w, NULL, "value", value);
    return tp_writer_close(ctx, w);
}

static int run_save(tp_ctx *ctx, const char *path, double value)
{
    bool first;

    mark("/tapir-save-begins");
    first = save(ctx, path, value);
    mark("/tapir-save-ends");
    if (first)
        return 0;
    fprintf(stderr, "%s\n", tp_error(ctx));
    tp_error_clear(ctx);
    if (tp_item(ctx, tp_full(ctx, TP_F32, TP_SCALAR, 3)) != 3)
        return 4;
    if (save(ctx, path, value))
        return 3;
    fprintf(stderr, "%s\n", tp_error(ctx));
    return 1;
}

static int run_check(tp_ctx *ctx, const char *path)
{
    tp_file *f = tp_file_open(ctx, path);
    double   value = 0;
    int64_t  i;

    if (tp_file_verify(ctx, f))
        value = strtod(tp_file_meta(f, "value"), NULL);
    for (i = 0; tp_ok(ctx) && i < tp_file_count(f); i++) {
        tp_tensor *x = tp_file_read(ctx, f, tp_file_at(f, i)->key, TP_F32);

        if (tp_ok(ctx) && tp_f32(ctx, x)[tp_numel(x) - 1] != (float)value)
            tp_fail(ctx, TP_EFORMAT, "%s: values of two saves", path);
        tp_release(x);
    }
    if (tp_ok(ctx) && tp_file_count(f) != TENSORS)
        tp_fail(ctx, TP_EFORMAT, "%s: %d tensors", path, (int)tp_file_count(f));
    if (tp_ok(ctx))
        printf("%g\n", value);
    tp_file_close(f);
    return tp_ctx_finish(ctx);
}

int main(int argc, char **argv)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    int     status = 2;

    if (argc == 4 && strcmp(argv[1], "save") == 0)
        status = run_save(ctx, argv[2], strtod(argv[3], NULL));
    else if (argc == 3 && strcmp(argv[1], "check") == 0)
        return run_check(ctx, argv[2]);
    tp_ctx_free(ctx);
    return status;
}
