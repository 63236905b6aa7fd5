/* gradcheck.c - gradients against central differences. */
#include "core/context.h"
#include "core/philox.h"

#include <math.h>

/* Two passes, so that gradients are written and added to: an op that forgets the one or the other is found. */
enum { MAX_IN = 32, PASSES = 2 };

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

/* Random ops draw the same numbers in every run. */
static double run(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in)
{
    tp_scope s = tp_scope_begin(ctx);
    uint32_t draws = ctx->draws;
    bool     was = tp_record(ctx, false);
    double   v = weigh(ctx, fn(ctx, user, in));

    tp_record(ctx, was);
    ctx->draws = draws;
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

/* The place of x's element i, counted row-major. */
static double *place(tp_tensor *x, int64_t i)
{
    int64_t at = 0;

    for (int d = x->ndim; d-- > 0; i /= x->dim[d])
        at += i % x->dim[d] * x->stride[d];
    return (double *)(void *)x->data + at;
}

/* Differences for every element of in[k] against its gradient, which PASSES passes have added up. */
static double compare(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in, int k, double eps)
{
    tp_tensor *x = in[k], *g = x->grad;
    double     worst = 0, scale = 1, *got = tpi_alloc(ctx, (size_t)x->numel, sizeof *got);

    if (got == NULL || (g != NULL && !tp_copy_out(ctx, g, TP_F64, got, (size_t)x->numel * sizeof *got))) {
        tpi_free(got);
        return NAN;
    }
    for (int64_t i = 0; i < x->numel && tp_ok(ctx); i++) {
        double n = difference(ctx, fn, user, in, place(x, i), eps), d = fabs(got[i] / (double)PASSES - n);

        worst = d > worst || d != d ? d : worst;
        scale = fabs(n) > scale ? fabs(n) : scale;
    }
    tpi_free(got);
    return worst / scale;
}

/* One pass from the weighted sum of the result.  It is strict, so that an op that forgets to keep what its backward reads
 * is found where the values happen to be there still. */
static bool pass(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, tp_tensor *const *in)
{
    tp_scope   s = tp_scope_begin(ctx);
    uint32_t   draws = ctx->draws;
    bool       was = tp_record(ctx, true), strict = ctx->strict;
    tp_tensor *y = fn(ctx, user, in), *r;
    double    *v;

    tp_record(ctx, was);
    ctx->draws = draws;
    if (y != NULL && y->needs_grad) {
        r = tp_empty(ctx, TP_F64, y->ndim, y->dim);
        v = tp_f64(ctx, r);
        for (int64_t i = 0; v != NULL && i < y->numel; i++)
            v[i] = weight(i);
        ctx->strict = true;
        tp_backward_from(ctx, y, tpi_cast(ctx, r, (tp_dtype)y->dtype));
        ctx->strict = strict;
    }
    tp_scope_end(ctx, s);
    return tp_ok(ctx);
}

/* What an input was before it was checked. */
typedef struct {
    tp_tensor *x, *grad;
    bool       trainable, needs_grad, grad_used, void_grad;
} former;

static former make_leaf(tp_tensor *x)
{
    former was = { x, x->grad, x->trainable, x->needs_grad, x->grad_used, x->void_grad };

    x->grad = NULL;
    x->grad_used = x->void_grad = false;
    x->trainable = x->needs_grad = true;
    return was;
}

static void restore(const former *was)
{
    tp_grad_drop(was->x);
    was->x->grad = was->grad;
    was->x->trainable = was->trainable;
    was->x->needs_grad = was->needs_grad;
    was->x->grad_used = was->grad_used;
    was->x->void_grad = was->void_grad;
}

static bool arguments_fit(tp_ctx *ctx, tp_gradcheck_fn fn, int n_in, tp_tensor *const *in)
{
    if (!tp_ok(ctx))
        return false;
    if (fn == NULL || in == NULL || n_in < 0 || n_in > MAX_IN)
        tp_fail(ctx, TP_EARG, "gradcheck: no function, or %d inputs, expected a list of at most %d", n_in, MAX_IN);
    else if (ctx->backend->alloc != NULL)
        tp_fail(ctx, TP_EDEVICE, "gradcheck: the values are on a device, expected a context of the CPU");
    for (int i = 0; i < n_in && tp_ok(ctx); i++)
        if (in[i] != NULL)
            tpi_check(ctx, "gradcheck", in[i], i);
    return tp_ok(ctx);
}

double tp_gradcheck(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, int n_in, tp_tensor *const *in, double eps)
{
    former was[MAX_IN];
    double worst = 0;
    int    n = 0;
    bool   checked[MAX_IN] = { false };

    if (!arguments_fit(ctx, fn, n_in, in))
        return NAN;
    for (int i = 0; i < n_in; i++) {
        checked[i] = in[i] != NULL && in[i]->dtype == TP_F64 && in[i]->serial < 0;
        for (int k = 0; k < i; k++)
            checked[i] &= in[k] != in[i];
        if (checked[i])
            was[n++] = make_leaf(in[i]);
    }
    if (n == 0)
        tp_fail(ctx, TP_EARG, "gradcheck: none of %d inputs is an f64 leaf, so that nothing would be checked", n_in);
    for (int i = 0; i < PASSES && tp_ok(ctx); i++)
        pass(ctx, fn, user, in);
    for (int i = 0; i < n_in && tp_ok(ctx); i++)
        if (checked[i]) {
            double e = compare(ctx, fn, user, in, i, eps > 0 ? eps : 1e-6);

            worst = e > worst || e != e ? e : worst;
        }
    while (n > 0)
        restore(&was[--n]);
    return tp_ok(ctx) ? worst : NAN;
}
