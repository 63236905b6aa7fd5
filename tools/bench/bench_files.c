/*
 * bench_files.c - seconds to save a model or an adapter as a Tapir checkpoint, and to load one; bench_files.py runs it.
 *
 * build: cc -O2 -I. tools/bench/bench_files.c -o bench_files $(pkg-config --cflags --libs tapir)
 * usage: bench_files save FILE MIB N | load FILE | touch MIB        save: N matrices of bf16 that have MIB in all
 */
#include "tapir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST = 1024 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* Different values in every matrix, so that no file system folds them. */
static tp_tensor *matrix(tp_ctx *ctx, int64_t rows, uint32_t seed)
{
    tp_tensor *x = tp_empty(ctx, TP_BF16, TP_SHAPE(rows, 1024));
    uint16_t  *p = tp_raw(ctx, x);

    for (int64_t i = 0; p != NULL && i < rows * 1024; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint16_t)(0x3c00 + (seed >> 22));
    }
    return x;
}

static void save(tp_ctx *ctx, const char *path, int64_t mib, int n)
{
    static tp_tensor *x[MOST];
    char              name[80];
    tp_writer        *w;
    double            start, used;

    for (int i = 0; i < n; i++)
        x[i] = matrix(ctx, mib * 512 / n, (uint32_t)i);
    used = cpu();
    start = now();
    w = tp_writer_open(ctx, path, "model");
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj.weight", i);
        tp_writer_tensor(ctx, w, "model", name, x[i]);
    }
    tp_writer_close(ctx, w);
    printf("%.6f %.6f\n", now() - start, cpu() - used);
}

/* Everything into tensors that stay, as a model is loaded; every hash is compared. */
static void load(tp_ctx *ctx, const char *path)
{
    double   start, used;
    tp_file *f;

    used = cpu();
    start = now();
    f = tp_file_open(ctx, path);

    for (int64_t i = 0; i < tp_file_count(f); i++)
        tp_file_read(ctx, f, tp_file_at(f, i)->key, TP_DTYPES);
    tp_file_close(f);
    printf("%.6f %.6f\n", now() - start, cpu() - used);
}

/* Memory that a virtual machine has given back to its host costs up to thirty times as much to touch: who is measured
 * after this finds memory that is there. */
static void touch(tp_ctx *ctx, int64_t mib)
{
    char *p = tp_raw(ctx, tp_empty(ctx, TP_U8, TP_SHAPE(mib << 20)));

    for (int64_t i = 0; p != NULL && i < mib << 20; i += 4096)
        p[i] = 1;
}

int main(int argc, char **argv)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);

    if (argc == 5 && strcmp(argv[1], "save") == 0 && strtol(argv[4], NULL, 10) <= MOST)
        save(ctx, argv[2], strtoll(argv[3], NULL, 10), (int)strtol(argv[4], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "load") == 0)
        load(ctx, argv[2]);
    else if (argc == 3 && strcmp(argv[1], "touch") == 0)
        touch(ctx, strtoll(argv[2], NULL, 10));
    else
        fprintf(stderr, "usage: bench_files save FILE MIB N | load FILE | touch MIB\n");
    return tp_ctx_finish(ctx);
}
