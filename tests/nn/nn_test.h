/* nn_test.h - what the tests of nn, optim and peft share: contexts, expected errors, values that are the same
 * everywhere. */
#ifndef NN_TEST_H
#define NN_TEST_H

#include "core/internal.h"
#include "core/number.h"
#include "nn/nn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What a model of each dtype is tested on; a build without one of the devices passes over it. */
static const tp_device test_devices[] = { TP_REF, TP_CPU };

/* NULL: this build has no such device. */
static inline tp_ctx *device_ctx(tp_device d)
{
    tp_ctx *ctx = tp_ctx_new(d, 0);

    if (tp_error_code(ctx) != TP_EDEVICE)
        return ctx;
    tp_ctx_free(ctx);
    return NULL;
}

static inline void check_ok(tp_ctx *ctx)
{
    assert_string_equal(tp_error(ctx), "");
}

/* The last call has failed with this code and a message that has these parts (NULL: none); goes on as if nothing had
 * happened. */
static inline void check_failed(tp_ctx *ctx, tp_code code, const char *part, const char *other)
{
    if (tp_error_code(ctx) != code || (part && !strstr(tp_error(ctx), part)) ||
        (other && !strstr(tp_error(ctx), other)))
        fail_msg("expected code %d with '%s' and '%s', got %d: %s", code, part ? part : "", other ? other : "",
                 tp_error_code(ctx), tp_error(ctx));
    tp_error_clear(ctx);
}

static inline void free_ctx(tp_ctx *ctx)
{
    check_ok(ctx);
    tp_ctx_free(ctx);
}

/* In [-1, 1), the same for the same seed and place. */
static inline double some(uint64_t seed, int64_t i)
{
    uint64_t z = (seed * 1000003 + (uint64_t)i) * 0x9e3779b97f4a7c15u + 0x1234567;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) / 4503599627370496.0 - 1;
}

/* Fills a contiguous x with scale * some(seed, i), rounded to its dtype. */
static inline tp_tensor *fill_some(tp_ctx *ctx, tp_tensor *x, uint64_t seed, double scale)
{
    void *p = tp_raw(ctx, x);

    for (int64_t i = 0; p != NULL && i < tp_numel(x); i++)
        tpi_store(tp_dtype_of(x), p, i, scale * some(seed, i));
    return x;
}

static inline tp_tensor *make_some(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, uint64_t seed)
{
    return fill_some(ctx, tp_empty(ctx, t, ndim, dim), seed, 1);
}

static inline double value_at(tp_ctx *ctx, const tp_tensor *x, int64_t i)
{
    return tpi_load(tp_dtype_of(x), tp_values(ctx, x), i);
}

static inline bool same_bits(tp_ctx *ctx, const tp_tensor *a, const tp_tensor *b)
{
    return tp_same_shape(a, b) && tp_dtype_of(a) == tp_dtype_of(b) &&
           memcmp(tp_values(ctx, a), tp_values(ctx, b), (size_t)tp_numel(a) * tp_dtype_size(tp_dtype_of(a))) == 0;
}

/* A copy of x's values, which the caller releases. */
static inline tp_tensor *copy_of(tp_ctx *ctx, tp_tensor *x)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *y = tp_like(ctx, x);

    tp_copy_to(ctx, y, x);
    tp_retain(y);
    tp_scope_end(ctx, s);
    return y;
}

/* max |a - b| / max(1, max |b|) */
static inline double distance(tp_ctx *ctx, const tp_tensor *a, const tp_tensor *b)
{
    double d = 0, m = 1;

    assert_true(tp_same_shape(a, b));
    for (int64_t i = 0; i < tp_numel(a); i++) {
        double x = value_at(ctx, a, i), y = value_at(ctx, b, i);

        d = fabs(x - y) > d || isnan(x - y) ? fabs(x - y) : d;
        m = fabs(y) > m ? fabs(y) : m;
    }
    return d / m;
}

#endif
