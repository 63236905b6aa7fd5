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

/* ---- products
 * -------------------------------------------------------------------------------------------------------- */

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
    snprintf(text, sizeof text, "%s %s->%s %lld x %lld -> %lld",
             kind == 0   ? "y"
             : kind == 1 ? "dx"
                         : "dw",
             tp_dtype_name(t), tp_dtype_name(ct), (long long)m, (long long)in, (long long)out);
    measure(text, gemm_body, &r, &g, 2.0 * (double)m * (double)in * (double)out,
            (double)(g.k * g.n) * (double)tp_dtype_size(t));
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

/* ---- blocks
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    tpi_blocks b;
    void      *y, *x, *a;
    int        which; /* 0 y, 1 dx, 2 da */
} blocks_args;

static tp_code blocks_body(const tpi_run *r, const void *args)
{
    const blocks_args *p = args;

    if (p->which == 0)
        return k->blocks(r, &p->b, p->y, p->x, p->a, true);
    return p->which == 1 ? k->blocks_dx(r, &p->b, p->x, p->y, p->a, true) : k->blocks_da(r, &p->b, p->a, p->x, p->y, 1);
}

static void bench_blocks(tp_dtype t, int64_t rows, int64_t in, int64_t out, int64_t blocks)
{
    static const char *const name[] = { "blocks y", "blocks dx", "blocks da" };
    blocks_args              p = { .b = { rows, in, out, blocks, in / blocks, out / blocks, t, TP_F32 } };
    tpi_run                  r = { .threads = threads };
    double                   bytes = (double)(rows * (in + 2 * out)) * (double)tp_dtype_size(t);
    char                     text[80];

    p.y = array(t, rows * out);
    p.x = array(t, rows * in);
    p.a = array(TP_F32, in * out / blocks);
    r = run_new(k->blocks_space(&r, &p.b));
    for (p.which = 0; p.which < 3; p.which++) {
        snprintf(text, sizeof text, "%s %s %lld x %lld -> %lld, %lld", name[p.which], tp_dtype_name(t), (long long)rows,
                 (long long)in, (long long)out, (long long)blocks);
        measure(text, blocks_body, &r, &p, 2.0 * (double)(rows * in * out / blocks), bytes);
    }
    free(p.y);
    free(p.x);
    free(p.a);
    free(r.ws);
}

static void bench_all_blocks(void)
{
    static const int64_t s[][3] = {
        { 576, 576, 64 }, { 576, 192, 64 }, { 576, 1536, 64 }, { 1536, 576, 64 }, { 4096, 4096, 64 }
    };

    for (size_t i = 0; i < sizeof s / sizeof s[0]; i++) {
        bench_blocks(TP_F32, 1024, s[i][0], s[i][1], s[i][2]);
        bench_blocks(TP_BF16, 1024, s[i][0], s[i][1], s[i][2]);
    }
    bench_blocks(TP_BF16, 1, 576, 1536, 64);
}

/* ---- attention
 * ------------------------------------------------------------------------------------------------------- */

static tp_code attention_body(const tpi_run *r, const void *args)
{
    return k->attention(r, args);
}

static tp_code attention_grad_body(const tpi_run *r, const void *args)
{
    return k->attention_grad(r, args);
}

static void strides(int64_t s3[3], int64_t seq, int64_t heads, int64_t dim)
{
    s3[2] = dim;
    s3[1] = heads * dim;
    s3[0] = seq * heads * dim;
}

static void bench_attention(tp_dtype t, int64_t batch, int64_t sq, int64_t sk, int64_t heads, int64_t kv_heads,
                            int64_t dim)
{
    tpi_attn a = { .batch = batch,
                   .heads = heads,
                   .kv_heads = kv_heads,
                   .sq = sq,
                   .sk = sk,
                   .dim = dim,
                   .t = t,
                   .causal = true,
                   .scale = 0.125 };
    int64_t  nq = batch * sq * heads * dim, nk = batch * sk * kv_heads * dim;
    double   pairs = (double)(batch * heads) * (double)sq * ((double)sk - (double)(sq - 1) / 2),
           bytes = 2.0 * (double)nk * (double)tp_dtype_size(t);
    tpi_run r = { .threads = threads };
    char    text[80];

    strides(a.qs, sq, heads, dim);
    strides(a.ks, sk, kv_heads, dim);
    memcpy(a.os, a.qs, sizeof a.os);
    memcpy(a.dos, a.qs, sizeof a.os);
    memcpy(a.dqs, a.qs, sizeof a.os);
    memcpy(a.vs, a.ks, sizeof a.os);
    memcpy(a.dks, a.ks, sizeof a.os);
    memcpy(a.dvs, a.ks, sizeof a.os);
    a.q = array(t, nq);
    a.k = array(t, nk);
    a.v = array(t, nk);
    a.o = array(t, nq);
    a.lse = array(TP_F32, batch * heads * sq);
    a.dout = array(t, nq);
    a.dq = array(t, nq);
    a.dk = array(t, nk);
    a.dv = array(t, nk);
    r = run_new(k->attention_space(&r, &a));
    snprintf(text, sizeof text, "attention %s %lld x %lld,%lld %lld/%lld x %lld", tp_dtype_name(t), (long long)batch,
             (long long)sq, (long long)sk, (long long)heads, (long long)kv_heads, (long long)dim);
    measure(text, attention_body, &r, &a, 4 * pairs * (double)dim, bytes);
    free(r.ws);
    r = run_new(k->attention_grad_space(&r, &a));
    if (sq > 1)
        measure("          backward", attention_grad_body, &r, &a, 10 * pairs * (double)dim, bytes);
    free(r.ws);
}

static void bench_attentions(void)
{
    static const tp_dtype ts[] = { TP_F32, TP_BF16 };

    for (int i = 0; i < 2; i++) {
        bench_attention(ts[i], 4, 256, 256, 9, 3, 64);
        bench_attention(ts[i], 1, 2048, 2048, 9, 3, 64);
        bench_attention(ts[i], 16, 64, 64, 9, 3, 64);
        bench_attention(ts[i], 4, 256, 256, 6, 6, 48);
        bench_attention(ts[i], 1, 1, 128, 9, 3, 64);
        bench_attention(ts[i], 1, 1, 2048, 9, 3, 64);
        bench_attention(ts[i], 16, 1, 512, 9, 3, 64);
    }
}

/* ---- loss
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    tp_dtype t;
    float   *loss;
    void    *x, *dx;
    int32_t *target;
} loss_args;

static tp_code loss_body(const tpi_run *r, const void *args)
{
    const loss_args *p = args;

    return k->cross_entropy(r, p->t, p->loss, p->dx, p->x, p->target, 256, 49152, 0, 1);
}

static void bench_loss(tp_dtype t)
{
    int64_t   n = 256 * 49152;
    loss_args p = { t, array(TP_F32, 256), array(t, n), array(t, n), array(TP_I32, 256) };
    tpi_run   r = { .threads = threads };

    for (int i = 0; i < 256; i++)
        p.target[i] = i * 100;
    measure(t == TP_F32 ? "loss f32 256 x 49152" : "loss bf16 256 x 49152", loss_body, &r, &p, 0,
            (double)n * 2 * (double)tp_dtype_size(t));
    free(p.loss);
    free(p.x);
    free(p.dx);
    free(p.target);
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
    threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    seconds = argc > 2 ? strtod(argv[2], NULL) : 0.3;
    if (*what == '\0' || strcmp(what, "gemm") == 0)
        bench_gemms();
    if (*what == '\0' || strcmp(what, "thin") == 0)
        bench_thin();
    if (*what == '\0' || strcmp(what, "blocks") == 0)
        bench_all_blocks();
    if (*what == '\0' || strcmp(what, "attention") == 0)
        bench_attentions();
    if (*what == '\0' || strcmp(what, "loss") == 0) {
        bench_loss(TP_F32);
        bench_loss(TP_BF16);
    }
    return 0;
}
