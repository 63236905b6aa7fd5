/* fused.c - the gate of a SwiGLU in one pass. */
#include "ops/support.h"

static tp_tensor *silu_mul_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *g = tpi_rows(ctx, c->in[0]), *u = tpi_rows(ctx, c->in[1]), *y = g ? tp_like(ctx, g) : NULL;
    tpi_run    r = tpi_run_of(ctx);

    if (y == NULL || u == NULL)
        return NULL;
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1);
    return tpi_done(ctx, "silu_mul", tpi_k(ctx)->silu_mul(&r, (tp_dtype)y->dtype, y->data, g->data, u->data, y->numel))
               ? y
               : NULL;
}

static void silu_mul_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *g = tpi_rows(ctx, c->in[0]), *u = tpi_rows(ctx, c->in[1]), *d = tpi_rows(ctx, dy[0]);
    tp_tensor *dg = tp_like(ctx, d), *du = tp_like(ctx, d);
    tpi_run    r = tpi_run_of(ctx);

    if (g == NULL || u == NULL || dg == NULL || du == NULL)
        return;
    if (!tpi_done(
            ctx, "silu_mul",
            tpi_k(ctx)->silu_mul_grad(&r, (tp_dtype)d->dtype, dg->data, du->data, d->data, g->data, u->data, d->numel)))
        return;
    dx[0] = dg;
    dx[1] = du;
}

static const tp_op silu_mul_op = { "silu_mul", 0, 1, 0, silu_mul_forward, silu_mul_backward, NULL };

tp_tensor *tp_silu_mul(tp_ctx *ctx, tp_tensor *g, tp_tensor *u)
{
    if (!tp_ok(ctx) || !tpi_inputs(ctx, "silu_mul", 2, (const tp_tensor *const[]){ g, u }) ||
        !tpi_same_dtype(ctx, "silu_mul", g, u) || !tpi_can_do(ctx, "silu_mul", TPI_CAN_FLOAT, (tp_dtype)g->dtype))
        return NULL;
    if (!tp_same_shape(g, u))
        return tpi_fail_shapes(ctx, "silu_mul", "shapes must be equal", g, u);
    return tp_apply(ctx, &silu_mul_op, NULL, TP_IN(g, u));
}
