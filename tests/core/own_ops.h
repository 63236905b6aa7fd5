/* own_ops.h - ops made for the tests of core with nothing but core.h, as a user would: plain loops over f32 or f64. */
#ifndef OWN_OPS_H
#define OWN_OPS_H

#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* ---- reading and writing single elements of contiguous tensors; after a failure nothing happens ------------------ */

static inline double own_get(tp_ctx *ctx, const tp_tensor *x, int64_t i)
{
    const void *p = tp_values(ctx, x);

    if (p == NULL)
        return 0;
    return tp_dtype_of(x) == TP_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static inline void own_set(tp_ctx *ctx, tp_tensor *x, int64_t i, double v)
{
    void *p = tp_raw(ctx, x);

    if (p != NULL && tp_dtype_of(x) == TP_F64)
        ((double *)p)[i] = v;
    else if (p != NULL)
        ((float *)p)[i] = (float)v;
}

/* x with its elements in order. */
static inline tp_tensor *own_rows(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *y;

    if (tp_is_contiguous(x))
        return x;
    y = tp_like(ctx, x);
    return tp_copy_to(ctx, y, x) ? y : NULL;
}

/* a b, or a c where b is NULL, into a new tensor. */
static inline tp_tensor *own_times(tp_ctx *ctx, tp_tensor *a, tp_tensor *b, double c)
{
    tp_tensor *y = tp_like(ctx, a);

    a = own_rows(ctx, a);
    b = b ? own_rows(ctx, b) : NULL;
    for (int64_t i = 0; y != NULL && a != NULL && i < tp_numel(y); i++)
        own_set(ctx, y, i, own_get(ctx, a, i) * (b ? own_get(ctx, b, i) : c));
    return y;
}

/* ---- y = a b ----------------------------------------------------------------------------------------------------- */

static tp_tensor *own_mul_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    return own_times(ctx, c->in[0], c->in[1], 0);
}

static void own_mul_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    for (int i = 0; i < 2; i++)
        if (tp_wants(c, i))
            dx[i] = own_times(ctx, dy[0], c->in[1 - i], 0);
}

static const tp_op own_mul_op = { "own_mul", 0, 1, 0, own_mul_forward, own_mul_backward, NULL };

static inline tp_tensor *own_mul(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return tp_apply(ctx, &own_mul_op, NULL, TP_IN(a, b));
}

/* ---- the same, its gradients written straight into place --------------------------------------------------------- */

static void own_into_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    for (int i = 0; i < 2; i++) {
        double     beta;
        tp_tensor *g = tp_grad_into(ctx, c, i, dx, &beta), *d = own_rows(ctx, dy[0]), *o = c->in[1 - i];

        for (int64_t k = 0; g != NULL && k < tp_numel(g); k++)
            own_set(ctx, g, k, (beta != 0 ? own_get(ctx, g, k) : 0) + own_get(ctx, d, k) * own_get(ctx, o, k));
    }
}

static const tp_op own_into_op = { "own_into", 0, 1, 0, own_mul_forward, own_into_backward, NULL };

static inline tp_tensor *own_into(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return tp_apply(ctx, &own_into_op, NULL, TP_IN(a, b));
}

/* ---- y = a + b: both gradients are dy itself --------------------------------------------------------------------- */

static tp_tensor *own_add_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *y = tp_like(ctx, c->in[0]), *a = own_rows(ctx, c->in[0]), *b = own_rows(ctx, c->in[1]);

    for (int64_t i = 0; y != NULL && i < tp_numel(y); i++)
        own_set(ctx, y, i, own_get(ctx, a, i) + own_get(ctx, b, i));
    return y;
}

static void own_add_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    for (int i = 0; i < c->n_in; i++)
        dx[i] = dy[0];
}

static const tp_op own_add_op = { "own_add", 0, 1, 0, own_add_forward, own_add_backward, NULL };

static inline tp_tensor *own_add(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return tp_apply(ctx, &own_add_op, NULL, TP_IN(a, b));
}

/* ---- y = sum of x ------------------------------------------------------------------------------------------------ */

static tp_tensor *own_sum_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = own_rows(ctx, c->in[0]), *y = tp_empty(ctx, tp_dtype_of(c->in[0]), TP_SCALAR);
    double     sum = 0;

    for (int64_t i = 0; x != NULL && i < tp_numel(x); i++)
        sum += own_get(ctx, x, i);
    if (y != NULL)
        own_set(ctx, y, 0, sum);
    return y;
}

static void own_sum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = own_times(
        ctx,
        tp_ones(ctx, tp_dtype_of(c->in[0]), tp_ndim(c->in[0]), (int64_t[]){ tp_dim(c->in[0], 0), tp_dim(c->in[0], 1) }),
        NULL, tp_item(ctx, dy[0]));
}

static const tp_op own_sum_op = { "own_sum", 0, 1, 0, own_sum_forward, own_sum_backward, NULL };

/* At most two dimensions. */
static inline tp_tensor *own_sum(tp_ctx *ctx, tp_tensor *x)
{
    return tp_apply(ctx, &own_sum_op, NULL, TP_IN(x));
}

/* ---- y = x itself ------------------------------------------------------------------------------------------------ */

static tp_tensor *own_same_forward(tp_ctx *ctx, tp_call *c)
{
    (void)ctx;
    return c->in[0];
}

static const tp_op own_same_op = { "own_same", 0, 1, 0, own_same_forward, own_add_backward, NULL };

static inline tp_tensor *own_same(tp_ctx *ctx, tp_tensor *x)
{
    return tp_apply(ctx, &own_same_op, NULL, TP_IN(x));
}

/* ---- what tests need --------------------------------------------------------------------------------------------- */

static inline tp_ctx *own_ctx(void)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    assert_true(tp_ok(ctx));
    return ctx;
}

/* A leaf with the values start, start + 1, ... */
static inline tp_tensor *own_leaf(tp_ctx *ctx, tp_dtype t, int64_t n, double start)
{
    tp_tensor *x = tp_arange(ctx, t, start, start + (double)n, 1);

    tp_set_trainable(ctx, x, true);
    return x;
}

/* Fails the test with the library's message if there is one. */
static inline void own_ok(tp_ctx *ctx)
{
    assert_string_equal(tp_error(ctx), "");
    assert_true(tp_ok(ctx));
}

/* An error with this code whose message holds `text`; it is cleared. */
static inline void own_error(tp_ctx *ctx, tp_code code, const char *text)
{
    assert_false(tp_ok(ctx));
    if (strstr(tp_error(ctx), text) == NULL)
        assert_string_equal(tp_error(ctx), text);
    assert_int_equal(tp_error_code(ctx), code);
    tp_error_clear(ctx);
    own_ok(ctx);
}

/* x holds the n values. */
static inline void own_equal(tp_ctx *ctx, const tp_tensor *x, int64_t n, const double *want)
{
    double got[64];

    assert_non_null(x);
    assert_int_equal(tp_numel(x), n);
    assert_true(n <= 64 && tp_copy_out(ctx, x, TP_F64, got, sizeof got));
    for (int64_t i = 0; i < n; i++)
        assert_float_equal(got[i], want[i], 1e-6);
}

#define OWN_VALUES(...) (int64_t)(sizeof((double[]){ __VA_ARGS__ }) / sizeof(double)), ((double[]){ __VA_ARGS__ })

#endif
