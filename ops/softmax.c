/* softmax.c - softmax and its logarithm, and their gradients from the result alone. */
#include "ops/support.h"

static tp_tensor *run(tp_ctx *ctx, tp_call *c, bool log)
{
    tp_tensor *x = tpi_rows(ctx, c->in[0]), *y = x ? tp_like(ctx, x) : NULL;
    tpi_run    r = tpi_run_of(ctx);
    int64_t    n;

    if (y == NULL)
        return NULL;
    n = x->dim[x->ndim - 1];
    c->keep = TP_KEEP_OUT(0);
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->softmax(&r, log, (tp_dtype)x->dtype, y->data, x->data,
                                                          tpi_span(x, 0, x->ndim - 1), n)) ? y : NULL;
}

static void run_grad(tp_ctx *ctx, tp_call *c, bool log, tp_tensor *dy, tp_tensor **dx)
{
    tp_tensor *y = c->out[0], *g = tpi_rows(ctx, dy), *d = tp_like(ctx, y);
    tpi_run    r = tpi_run_of(ctx);

    if (g == NULL || d == NULL)
        return;
    if (tpi_done(ctx, c->op->name, tpi_k(ctx)->softmax_grad(&r, log, (tp_dtype)y->dtype, d->data, g->data, y->data,
                                                            tpi_span(y, 0, y->ndim - 1), y->dim[y->ndim - 1])))
        dx[0] = d;
}

static tp_tensor *softmax_forward(tp_ctx *ctx, tp_call *c)
{
    return run(ctx, c, false);
}

static void softmax_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    run_grad(ctx, c, false, dy[0], dx);
}

static tp_tensor *log_softmax_forward(tp_ctx *ctx, tp_call *c)
{
    return run(ctx, c, true);
}

static void log_softmax_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    run_grad(ctx, c, true, dy[0], dx);
}

static const tp_op softmax_op = { "softmax", 0, 1, 0, softmax_forward, softmax_backward, NULL };
static const tp_op log_softmax_op = { "log_softmax", 0, 1, 0, log_softmax_forward, log_softmax_backward, NULL };

static tp_tensor *along(tp_ctx *ctx, const tp_op *op, tp_tensor *x, int axis)
{
    if (!tp_ok(ctx) || !tpi_float_input(ctx, op->name, x))
        return NULL;
    axis = tpi_axis(ctx, op->name, x, axis);
    if (axis < 0)
        return NULL;
    if (axis == x->ndim - 1)
        return tp_apply(ctx, op, NULL, TP_IN(x));
    return tp_transpose(ctx, tp_apply(ctx, op, NULL, TP_IN(tp_transpose(ctx, x, axis, -1))), axis, -1);
}

tp_tensor *tp_softmax(tp_ctx *ctx, tp_tensor *x, int axis)
{
    return along(ctx, &softmax_op, x, axis);
}

tp_tensor *tp_log_softmax(tp_ctx *ctx, tp_tensor *x, int axis)
{
    return along(ctx, &log_softmax_op, x, axis);
}
