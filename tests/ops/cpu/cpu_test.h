/*
 * cpu_test.h - what the tests of the CPU's kernels share: the instruction sets of this machine, arrays of any dtype,
 * comparison with ref.
 */
#ifndef CPU_TEST_H
#define CPU_TEST_H

#include "core/internal.h"
#include "core/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const tpi_backend tpi_backend_ref, tpi_backend_portable;
#if defined(__x86_64__)
extern const tpi_backend tpi_backend_avx2, tpi_backend_avx512;
#endif

/* The i-th set of kernels that runs here, NULL after the last. */
static inline const tpi_backend *usable_backend(int i)
{
#if defined(__x86_64__)
    const tpi_backend *all[] = { &tpi_backend_portable, &tpi_backend_avx2, &tpi_backend_avx512 };
#else
    const tpi_backend *all[] = { &tpi_backend_portable };
#endif

    for (size_t b = 0; b < sizeof all / sizeof all[0]; b++)
        if (all[b]->usable() && i-- == 0)
            return all[b];
    return NULL;
}

/* Numbers in [-1, 1), the same for the same seed. */
static inline double noise(uint32_t seed, int64_t i)
{
    uint64_t h = ((uint64_t)seed << 32 ^ (uint64_t)i) * 0x9e3779b97f4a7c15u;

    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 32;
    return (double)(h & 0xffffff) / 8388608.0 - 1;
}

/* An array in its own allocation, so that tools see a step beyond it.  Free it with free. */
static inline void *array(tp_dtype t, int64_t n, uint32_t seed)
{
    void *p = malloc((size_t)(n > 0 ? n : 1) * tp_dtype_size(t));

    assert_non_null(p);
    for (int64_t i = 0; i < n; i++)
        tpi_store(t, p, i, noise(seed, i));
    return p;
}

static inline void *copy_of(tp_dtype t, const void *x, int64_t n)
{
    void *p = array(t, n, 0);

    memcpy(p, x, (size_t)n * tp_dtype_size(t));
    return p;
}

/* What one rounding to t may differ by from another rounding of nearly the same number. */
static inline double step_of(tp_dtype t)
{
    return t == TP_F64 ? 1e-14 : t == TP_F32 ? 2.4e-7 : t == TP_BF16 ? 0.0079 : 0.00098;
}

/* got is want, up to a rounding and tol; NaN and infinities in the same places. */
static inline void expect_same(const char *what, tp_dtype t, const void *got, const void *want, int64_t n, double tol)
{
    for (int64_t i = 0; i < n; i++) {
        double g = tpi_load(t, got, i), w = tpi_load(t, want, i);

        if (g == w || (isnan(g) && isnan(w)) || fabs(g - w) <= tol + step_of(t) * fabs(w))
            continue;
        fail_msg("%s: element %lld of %lld (%s) is %.9g, not %.9g", what, (long long)i, (long long)n, tp_dtype_name(t),
                 g, w);
    }
}

/* A run with `size` bytes of workspace full of NaN. */
static inline tpi_run run_new(int threads, size_t size)
{
    tpi_run r = { .threads = threads, .ws_size = size };

    if (size > 0) {
        r.ws = aligned_alloc(64, (size + 63) & ~(size_t)63);
        assert_non_null(r.ws);
        memset(r.ws, 0xff, size);
    }
    return r;
}

#endif
