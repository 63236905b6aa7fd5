/* gradcheck.c - gradients against central differences. */
#include "core/context.h"
#include "core/philox.h"

#include <math.h>

/* A fixed weight for element i of the result, in (-1, 1) and away from 0. */
static double weight(int64_t i)
{
    uint32_t w[4];
    double   u;

    tpi_philox((tpi_key){ { 7, 11 }, { 0, 0 } }, (uint64_t)i, w);
    u = tpi_uniform(w[0]);
    return u < 0.5 ? -1 + u : u;
}

/* sum(y * r) in double, on the host. */
static double weigh(tp_ctx *ctx, const tp_tensor *y)
{
    int64_t n = tp_numel(y);
    double *v = tpi_alloc(ctx, (size_t)n, sizeof *v), sum = 0;

    if (v != NULL && tp_copy_out(ctx, y, TP_F64, v, (size_t)n * sizeof *v))
        for (int64_t i = 0; i < n; i++)
            sum += v[i] * weight(i);
    tpi_free(v);
    return sum;
}

static double run(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in)
{
    tp_scope s = tp_scope_begin(ctx);
    uint32_t draws = ctx->draws;
    double   v = weigh(ctx, fn(ctx, user, in));

    ctx->draws = draws; /* random ops draw the same numbers each time */
    tp_scope_end(ctx, s);
    return v;
}

static double difference(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in, double *x, double eps)
{
    double was = *x, up, down;

    *x = was + eps;
    up = run(ctx, fn, user, in);
    *x = was - eps;
    down = run(ctx, fn, user, in);
    *x = was;
    return (up - down) / (2 * eps);
}

/* Walks x's elements by its strides: the place of element i in its storage. */
static double *place(tp_tensor *x, int64_t i)
{
    int64_t at = 0;

    for (int d = x->ndim; d-- > 0; i /= x->dim[d])
        at += i % x->dim[d] * x->stride[d];
    return (double *)(void *)x->data + at;
}

static double compare(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in, int k, const tp_tensor *g, double eps)
{
    tp_tensor *x = in[k];
    double     worst = 0, scale = 1, *got = tpi_alloc(ctx, (size_t)x->numel, sizeof *got);

    if (got == NULL || (g != NULL && !tp_copy_out(ctx, g, TP_F64, got, (size_t)x->numel * sizeof *got))) {
        tpi_free(got);
        return NAN;
    }
    for (int64_t i = 0; i < x->numel && tp_ok(ctx); i++) {
        double n = difference(ctx, fn, user, in, place(x, i), eps), d = fabs(got[i] - n);

        worst = d > worst || d != d ? d : worst;
        scale = fabs(n) > scale ? fabs(n) : scale;
    }
    tpi_free(got);
    return worst / scale;
}

/* The gradients of all inputs in one pass; g[i] is NULL where there is none. */
static bool gradients(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, int n_in, tp_tensor *const *in, tp_tensor **g)
{
    uint32_t   draws = ctx->draws;
    tp_tensor *y = fn(ctx, user, in), *r;
    double    *v;

    ctx->draws = draws;
    if (y == NULL || !y->needs_grad)
        return tp_ok(ctx);
    r = tp_empty(ctx, TP_F64, y->ndim, y->dim);
    v = tp_f64(ctx, r);
    for (int64_t i = 0; v != NULL && i < y->numel; i++)
        v[i] = weight(i);
    if (y->dtype != TP_F64)
        r = tpi_cast(ctx, r, (tp_dtype)y->dtype);
    if (r == NULL || !tp_backward_from(ctx, y, r))
        return false;
    for (int i = 0; i < n_in; i++)
        g[i] = in[i] ? in[i]->grad : NULL;
    return true;
}

double tp_gradcheck(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, int n_in, tp_tensor *const *in, double eps)
{
    tp_tensor *g[32] = { NULL };
    bool       trained[32] = { false };
    double     worst = 0;
    tp_scope   s;

    if (!tp_ok(ctx))
        return NAN;
    if (fn == NULL || in == NULL || n_in < 0 || n_in > 32) {
        tp_fail(ctx, TP_EARG, "gradcheck: no function, no inputs, or more than 32");
        return NAN;
    }
    s = tp_scope_begin(ctx);
    for (int i = 0; i < n_in; i++) {
        trained[i] = in[i] != NULL && in[i]->dtype == TP_F64 && in[i]->serial < 0;
        if (trained[i]) {
            tp_grad_drop(in[i]);
            tp_set_trainable(ctx, in[i], true);
        }
    }
    if (!gradients(ctx, fn, user, n_in, in, g))
        worst = NAN;
    for (int i = 0; i < n_in && tp_ok(ctx); i++)
        if (trained[i]) {
            double e = compare(ctx, fn, user, in, i, g[i], eps > 0 ? eps : 1e-6);

            worst = e > worst || e != e ? e : worst;
        }
    for (int i = 0; i < n_in; i++)
        if (trained[i]) {
            tp_grad_drop(in[i]);
            in[i]->trainable = in[i]->needs_grad = false;
        }
    tp_scope_end(ctx, s);
    return tp_ok(ctx) ? worst : NAN;
}
