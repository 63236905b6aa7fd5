/* init.c - first values of parameters. */
#include "core/internal.h"
#include "core/number.h"
#include "nn/module.h"

#include <math.h>

enum { PURPOSE_INIT = 4 }; /* 1 to 3 are those of ops and models */

/* Fills x from a random stream of its own. */
static tp_tensor *draw(tp_ctx *ctx, tp_tensor *x, tpi_random kind, double p, double q)
{
    tpi_run r;
    tp_code code;

    if (!tp_ok(ctx) || !tpi_check(ctx, "init", x, 0))
        return NULL;
    if (!x->contiguous)
        return tp_fail(ctx, TP_EARG, "init: the tensor is a strided view");
    if (!(kind == TPI_UNIFORM ? p <= q && isfinite(q - p) : isfinite(p) && q >= 0 && isfinite(q)))
        return tp_fail(ctx, TP_EARG, "init: %g, %g: expected low <= high, or a mean and a deviation >= 0", p, q);
    if (!tp_dtype_is_float((tp_dtype)x->dtype))
        return tp_fail(ctx, TP_EDTYPE, "init: dtype %s, expected a floating one", tp_dtype_name((tp_dtype)x->dtype));
    if (!tpi_can_do(ctx, "init", tpi_can_of(ctx)->random, (tp_dtype)x->dtype))
        return NULL;
    r = tpi_run_of(ctx);
    tpi_touch(x);
    code = tpi_k(ctx)->random(&r, kind, (tp_dtype)x->dtype, x->data, x->numel, p, q, tpi_next_key(ctx, PURPOSE_INIT));
    return tpi_done(ctx, "init", code) ? x : NULL;
}

tp_tensor *tp_init_constant(tp_ctx *ctx, tp_tensor *x, double value)
{
    tpi_run r;
    int64_t whole = tpi_clip(value, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);

    if (!tp_ok(ctx) || !tpi_check(ctx, "init", x, 0))
        return NULL;
    if (!x->contiguous)
        return tp_fail(ctx, TP_EARG, "init: the tensor is a strided view");
    r = tpi_run_of(ctx);
    tpi_touch(x);
    return tpi_done(ctx, "init", tpi_k(ctx)->fill(&r, (tp_dtype)x->dtype, x->data, x->numel, value, whole)) ? x : NULL;
}

tp_tensor *tp_init_normal(tp_ctx *ctx, tp_tensor *x, double mean, double std)
{
    return draw(ctx, x, TPI_NORMAL, mean, std);
}

tp_tensor *tp_init_uniform(tp_ctx *ctx, tp_tensor *x, double low, double high)
{
    return draw(ctx, x, TPI_UNIFORM, low, high);
}

static double fan_in(const tp_tensor *x)
{
    double n = (double)tp_numel(x) / (double)(tp_dim(x, 0) > 0 ? tp_dim(x, 0) : 1);

    return n > 0 ? n : 1;
}

tp_tensor *tp_init_kaiming(tp_ctx *ctx, tp_tensor *x, double a)
{
    double b = sqrt(6.0 / ((1 + a * a) * fan_in(x)));

    return draw(ctx, x, TPI_UNIFORM, -b, b);
}

tp_tensor *tp_init_xavier(tp_ctx *ctx, tp_tensor *x, double gain)
{
    double out = (double)tp_dim(x, 0), b = gain * sqrt(6.0 / (fan_in(x) + (out > 0 ? out : 1)));

    return draw(ctx, x, TPI_UNIFORM, -b, b);
}
