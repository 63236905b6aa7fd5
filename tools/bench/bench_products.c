/*
 * bench_products.c - times of the CPU's products on the shapes of SmolLM2-135M: minimum over some runs, ms and GFLOP/s.
 *
 * usage: bench_products [THREADS [SECONDS a line [WHAT]]]      WHAT: gemm thin attention blocks loss
 */
#include "core/internal.h"
#include "core/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const tpi_backend tpi_backend_portable;
#if defined(__x86_64__)
extern const tpi_backend tpi_backend_avx2, tpi_backend_avx512;
#endif

static const tpi_kernels *k;
static int                threads = 2;
static double             seconds = 0.3;

/* With one thread the CPU's time: other programs disturb it less. */
static double now(void)
{
    struct timespec t;

    clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *array(tp_dtype t, int64_t n)
{
    void    *p = aligned_alloc(64, ((size_t)n * tp_dtype_size(t) + 63) & ~(size_t)63);
    uint32_t s = 12345;

    if (p == NULL)
        exit(1);
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        tpi_store(t, p, i, (double)(s >> 8) / 8388608.0 - 1);
    }
    return p;
}

static tpi_run run_new(size_t size)
{
    tpi_run r = { .threads = threads, .ws_size = size };

    r.ws = size > 0 ? array(TP_U8, (int64_t)size) : NULL;
    return r;
}

typedef tp_code (*body_fn)(const tpi_run *r, const void *args);

static void measure(const char *what, body_fn fn, const tpi_run *r, const void *args, double flops, double bytes)
{
    double best = 1e9, end = now() + seconds;
    int    runs = 0;

    while (runs < 3 || now() < end) {
        double  begin = now(), t;
        tp_code code = fn(r, args);

        t = now() - begin;
        if (code != TP_OK) {
            printf("%-44s fails with code %d\n", what, (int)code);
            return;
        }
        best = t < best ? t : best;
        runs++;
    }
    printf("%-44s %9.4f ms %8.1f GFLOP/s %7.1f GB/s\n", what, best * 1e3, flops / best * 1e-9, bytes / best * 1e-9);
    fflush(stdout);
}

/* ---- products -------------------------------------------------------------------------------------------------------- */

static tp_code gemm_body(const tpi_run *r, const void *args)
{
    return k->gemm(r, args);
}

/* kind 0: y = x w^T, 1: dx = dy w, 2: dw = dy^T x */
static void bench_gemm(tp_dtype t, tp_dtype ct, int kind, int64_t m, int64_t in, int64_t out)
{
    tpi_gemm g = { .batch = { 1, 1 }, .at = t, .bt = t, .ct = ct };
    char     text[80];
    tpi_run  r = { .threads = threads };

    g.m = kind == 2 ? out : m;
    g.n = kind == 0 ? out : in;
    g.k = kind == 0 ? in : kind == 1 ? out : m;
    g.a_row = kind == 2 ? 1 : g.k;
    g.a_col = kind == 2 ? g.m : 1;
    g.b_row = kind == 0 ? 1 : g.n;
    g.b_col = kind == 0 ? g.k : 1;
    g.c_row = g.n;
    g.a = array(t, g.m * g.k);
    g.b = array(t, g.k * g.n);
    g.c = array(ct, g.m * g.n);
    r = run_new(k->gemm_space(&r, &g));
    snprintf(text, sizeof text, "%s %s->%s %lld x %lld -> %lld", kind == 0 ? "y" : kind == 1 ? "dx" : "dw", tp_dtype_name(t),
             tp_dtype_name(ct), (long long)m, (long long)in, (long long)out);
    measure(text, gemm_body, &r, &g, 2.0 * (double)m * (double)in * (double)out, (double)(g.k * g.n) * (double)tp_dtype_size(t));
    free((void *)(uintptr_t)g.a);
    free((void *)(uintptr_t)g.b);
    free(g.c);
    free(r.ws);
}

static void bench_gemms(void)
{
    static const int64_t s[][2] = { { 576, 576 }, { 576, 192 }, { 576, 1536 }, { 1536, 576 } };

    for (size_t i = 0; i < sizeof s / sizeof s[0]; i++)
        for (int kind = 0; kind < 3; kind++) {
            bench_gemm(TP_F32, TP_F32, kind, 1024, s[i][0], s[i][1]);
            bench_gemm(TP_BF16, kind == 2 ? TP_F32 : TP_BF16, kind, 1024, s[i][0], s[i][1]);
        }
    for (int kind = 0; kind < 2; kind++) {
        bench_gemm(TP_F32, TP_F32, kind, 256, 576, 49152);
        bench_gemm(TP_BF16, TP_BF16, kind, 256, 576, 49152);
    }
    bench_gemm(TP_F64, TP_F64, 0, 256, 576, 576);
    bench_gemm(TP_F32, TP_F32, 0, 16, 16, 16);
    bench_gemm(TP_BF16, TP_BF16, 0, 16, 16, 16);
    bench_gemm(TP_F32, TP_F32, 0, 32, 64, 64);
    bench_gemm(TP_BF16, TP_BF16, 0, 32, 64, 64);
}

static void bench_thin(void)
{
    static const int64_t ms[] = { 1, 4, 12, 16, 32, 64, 128 };

    for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        bench_gemm(TP_F32, TP_F32, 0, ms[i], 576, 1536);
        bench_gemm(TP_BF16, TP_BF16, 0, ms[i], 576, 1536);
        bench_gemm(TP_F32, TP_F32, 0, ms[i], 576, 49152);
        bench_gemm(TP_BF16, TP_BF16, 0, ms[i], 576, 49152);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[3] : "";

    k = tpi_backend_portable.k;
#if defined(__x86_64__)
    if (tpi_backend_avx512.usable())
        k = tpi_backend_avx512.k;
    else if (tpi_backend_avx2.usable())
        k = tpi_backend_avx2.k;
#endif
    threads = argc > 1 ? atoi(argv[1]) : 2;
    seconds = argc > 2 ? atof(argv[2]) : 0.3;
    if (*what == '\0' || strcmp(what, "gemm") == 0)
        bench_gemms();
    if (*what == '\0' || strcmp(what, "thin") == 0)
        bench_thin();
    return 0;
}
