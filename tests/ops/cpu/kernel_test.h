/*
 * kernel_test.h - what the tests of the CPU's kernels share: back ends of this machine, data, and comparison with the oracle.
 */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include "ops/ref/ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { POOL = 1 << 17, OPERANDS = 12, GUARD = 64 };

/* Operands: any dtype, POOL elements each. */
static double pool[OPERANDS][POOL];

static const tp_dtype float_types[] = { TP_F32, TP_F64, TP_BF16, TP_F16 };
static const tp_dtype int_types[] = { TP_I64, TP_I32, TP_U8 };
static const int64_t  sizes[] = { 0, 1, 2, 3, 7, 31, 33, 64, 257, 1000 };

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

typedef void (*check_fn)(const tpi_kernels *k, const tpi_run *r);

/* fn with every set of kernels that this machine runs, on one thread and on three. */
static inline void each_backend(check_fn fn)
{
    for (int i = 0; tpi_backends[i] != NULL; i++) {
        if (tpi_backends[i]->device != TP_CPU || !tpi_backends[i]->usable())
            continue;
        fn(tpi_backends[i]->k, &(tpi_run){ .threads = 1 });
        fn(tpi_backends[i]->k, &(tpi_run){ .threads = 3 });
    }
}

static inline const tpi_kernels *ref(void)
{
    return tpi_backend_ref.k;
}

static const tpi_run one_thread = { .threads = 1 };

/* A step of a small generator: tests need the same numbers every time. */
static inline uint64_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

/* Numbers in [-scale, scale]; integers from -9 to 9 (u8 and bool without a sign). */
static inline void *fill(int operand, tp_dtype t, int64_t n, double scale)
{
    uint64_t s = (uint64_t)operand * 977u + 3u;

    for (int64_t i = 0; i < n; i++) {
        double u = (double)next(&s) / 2147483648.0;

        if (t == TP_BOOL)
            tpi_store_int(t, pool[operand], i, u > 0.5);
        else if (tpi_ref_is_int(t))
            tpi_store_int(t, pool[operand], i, (int64_t)(u * 19) - (t == TP_U8 ? 0 : 9));
        else
            tpi_store(t, pool[operand], i, (2 * u - 1) * scale);
    }
    return pool[operand];
}

/* NaN, infinities, zeros, tiny and huge numbers in front of what is there */
static inline void add_specials(void *p, tp_dtype t, int64_t n)
{
    const double v[] = { NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 1.0, -1.0, 0.5, 30000.0, -88.5, 88.5 };

    for (int64_t i = 0; i < COUNT(v) && i < n; i++)
        tpi_store(t, p, i, v[i]);
}

/* Relative error allowed: one unit of 16-bit floats, a few of f32. */
static inline double tolerance(tp_dtype t)
{
    return t == TP_F32 ? 1e-6 : t == TP_F64 ? 1e-13 : t == TP_BF16 ? 0.0079 : t == TP_F16 ? 0.00098 : 0;
}

/* got[i] is want[i] up to tol times max(low, |want|).  Numbers too large for f16 may be infinite in one of them. */
static inline void expect_near(const char *what, tp_dtype t, const void *got, const void *want, int64_t n, double tol, double low)
{
    for (int64_t i = 0; i < n; i++) {
        double g = tpi_load(t, got, i), w = tpi_load(t, want, i);

        if (g == w || (g != g && w != w) || fabs(g - w) <= tol * fmax(low, fabs(w)))
            continue;
        if (t == TP_F16 && fabs(fmin(fabs(g), 65520.0) - fmin(fabs(w), 65520.0)) <= 32)
            continue;
        fail_msg("%s, %s: element %lld is %.9g, not %.9g", what, tp_dtype_name(t), (long long)i, g, w);
    }
}

static inline void expect_same(const char *what, tp_dtype t, const void *got, const void *want, int64_t n)
{
    if (memcmp(got, want, (size_t)n * tp_dtype_size(t)) != 0)
        expect_near(what, t, got, want, n, 0, 0);
}

/* Two outputs with equal content, so that writing outside is seen as well. */
static inline void twin(int a, int b, tp_dtype t, int64_t n)
{
    fill(a, t, n + GUARD, 1.0);
    memcpy(pool[b], pool[a], (size_t)(n + GUARD) * tp_dtype_size(t));
}

static inline tpi_nd line(int64_t n)
{
    return (tpi_nd){ .ndim = 1, .dim = { n }, .stride = { { 1 }, { 1 }, { 1 }, { 1 } } };
}

/* Walks of four operands: lines of all sizes, one element, broadcasts, transposes, steps, and sizes that threads share. */
static inline int walks(tpi_nd *nd)
{
    int count = 0;

    for (int i = 0; i < COUNT(sizes); i++)
        nd[count++] = line(sizes[i]);
    nd[count++] = (tpi_nd){ .ndim = 0 };
    nd[count++] = (tpi_nd){ .ndim = 2, .dim = { 7, 33 }, .stride = { { 33, 1 }, { 0, 1 }, { 1, 0 }, { 0, 0 } } };
    nd[count++] = (tpi_nd){ .ndim = 2, .dim = { 7, 600 }, .stride = { { 600, 1 }, { 600, 1 }, { 1, 0 }, { 0, 1 } } };
    nd[count++] = (tpi_nd){ .ndim = 2, .dim = { 37, 45 }, .stride = { { 45, 1 }, { 1, 37 }, { 45, 1 }, { 1, 37 } } };
    nd[count++] = (tpi_nd){ .ndim = 3, .dim = { 3, 37, 45 },
                            .stride = { { 1700, 45, 1 }, { 1700, 1, 37 }, { 0, 45, 1 }, { 45, 0, 1 } } };
    nd[count++] = (tpi_nd){ .ndim = 3, .dim = { 3, 5, 11 },
                            .stride = { { 150, 22, 2 }, { 55, 11, 1 }, { 200, 33, 3 }, { 1, 3, 15 } } };
    nd[count++] = (tpi_nd){ .ndim = 2, .dim = { 3, 20001 }, .stride = { { 20001, 1 }, { 0, 1 }, { 20001, 1 }, { 1, 0 } } };
    nd[count++] = (tpi_nd){ .ndim = 2, .dim = { 900, 40 }, .stride = { { 40, 1 }, { 1, 900 }, { 0, 1 }, { 40, 1 } } };
    nd[count++] = line(70001);
    return count;
}

enum { WALKS = 24 };

/* Elements from an operand's first to its last */
static inline int64_t extent(const tpi_nd *nd, int operand)
{
    int64_t last = 0;

    for (int d = 0; d < nd->ndim; d++) {
        if (nd->dim[d] == 0)
            return 0;
        last += (nd->dim[d] - 1) * nd->stride[operand][d];
    }
    return last + 1;
}

#endif
