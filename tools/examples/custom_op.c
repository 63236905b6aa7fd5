/* custom_op.c - an op of one's own: squared ReLU, y = max(x, 0)^2, dx = 2 max(x, 0) dy (So et al. 2021, "Primer").
 *
 * Made of library ops, so it runs on every back end; it needs to keep only r = max(x, 0). */
#include <tapir.h>

#include <stdio.h>

static tp_tensor *relu2_forward(tp_ctx *ctx, tp_call *c)
{
    c->saved[0] = tp_relu(ctx, c->in[0]);
    return tp_mul(ctx, c->saved[0], c->saved[0]);
}

static void relu2_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tp_scale(ctx, tp_mul(ctx, dy[0], c->saved[0]), 2);
}

static const tp_op relu2 = { .name = "relu2", .n_saved = 1, .forward = relu2_forward, .backward = relu2_backward };

static tp_tensor *my_relu2(tp_ctx *ctx, tp_tensor *x)
{
    return tp_apply(ctx, &relu2, NULL, TP_IN(x));
}

static tp_tensor *to_check(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    return my_relu2(ctx, in[0]);
}

int main(void)
{
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    tp_tensor *x = tp_from(ctx, TP_F64, TP_SHAPE(4), (double[]){ -1, 0.5, 1, 2 });

    printf("largest error of the gradient: %.1e\n", tp_gradcheck(ctx, to_check, NULL, TP_IN(x), 0));
    tp_set_trainable(ctx, x, true);
    tp_backward(ctx, tp_sum(ctx, my_relu2(ctx, x), NULL, 0, false));
    tp_print(ctx, tp_grad(x), stdout);
    return tp_ctx_finish(ctx);
}
