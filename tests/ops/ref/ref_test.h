/*
 * ref_test.h - what the tests of the oracle share: its kernels, and arrays compared with numbers.
 */
#ifndef REF_TEST_H
#define REF_TEST_H

#include "ops/ref/ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const tpi_run run = { .threads = 1 };

static inline const tpi_kernels *kernels(void)
{
    return tpi_backend_ref.k;
}

/* A walk over n elements side by side in every operand. */
static inline tpi_nd line(int64_t n)
{
    return (tpi_nd){ .ndim = 1, .dim = { n }, .stride = { { 1 }, { 1 }, { 1 }, { 1 } } };
}

/* got[i] of dtype t is want[i], up to tol relative to 1 or more; NaN only where NaN is wanted. */
static inline void expect(int at, tp_dtype t, const void *got, int n, const double *want, double tol)
{
    for (int i = 0; i < n; i++) {
        double g = tpi_load(t, got, i), w = want[i];

        if (g == w || (g != g && w != w) || fabs(g - w) <= tol * fmax(1, fabs(w)))
            continue;
        fail_msg("line %d: element %d is %.17g, not %.17g", at, i, g, w);
    }
}

#define EXPECT(t, got, tol, ...) \
    expect(__LINE__, t, got, (int)(sizeof((double[]){ __VA_ARGS__ }) / sizeof(double)), (double[]){ __VA_ARGS__ }, tol)

#endif
