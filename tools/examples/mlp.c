/* mlp.c - a network that is no transformer, on data of its own: two interleaved spirals told apart by an MLP.
 *
 *     cc mlp.c $(pkg-config --cflags --libs tapir) -lm -o mlp
 *     ./mlp [STEPS] */
#include <tapir.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 400, HIDDEN = 32, STEPS = 600 };

typedef struct {
    tp_module m; /* first, always */
    tp_linear in, middle, out;
} mlp;

static void mlp_init(tp_ctx *ctx, mlp *net)
{
    tp_module_init(ctx, &net->m, NULL, "MLP", "");
    tp_linear_init(ctx, &net->in, &net->m, "in", 2, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->middle, &net->m, "middle", HIDDEN, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->out, &net->m, "out", HIDDEN, 2, true, TP_F32);
}

static tp_tensor *mlp_forward(tp_ctx *ctx, mlp *net, tp_tensor *x)
{
    tp_tensor *h = tp_relu(ctx, tp_linear_forward(ctx, &net->in, x));

    h = tp_relu(ctx, tp_linear_forward(ctx, &net->middle, h));
    return tp_linear_forward(ctx, &net->out, h);
}

int main(int argc, char **argv)
{
    int            steps = argc > 1 ? (int)strtol(argv[1], NULL, 10) : STEPS;
    static float   xy[POINTS][2];
    static int32_t side[POINTS];
    tp_ctx        *ctx = tp_ctx_new(TP_CPU, 0);
    mlp            net;

    for (int i = 0; i < POINTS; i++) {
        double r = (i / 2 + 5) / (POINTS / 2.0), t = 5 * r + (i % 2 ? 3.14159265 : 0);

        xy[i][0] = (float)(r * cos(t));
        xy[i][1] = (float)(r * sin(t));
        side[i] = i % 2;
    }
    tp_seed(ctx, 1);
    mlp_init(ctx, &net);
    tp_optim *opt = tp_adamw_new(ctx, &net.m, &(tp_adamw_opts){ .lr = 1e-2 });

    for (int step = 1; step <= steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x = tp_from(ctx, TP_F32, TP_SHAPE(POINTS, 2), xy), *want = tp_from(ctx, TP_I32, TP_SHAPE(POINTS), side);
        tp_tensor *y = mlp_forward(ctx, &net, x), *loss = tp_cross_entropy(ctx, y, want, NULL);
        tp_tensor *right = tp_eq(ctx, tp_argmax(ctx, y, -1, false), tp_cast(ctx, want, TP_I64));

        if (step % 100 == 0)
            printf("step %d  loss %.4f  right %.1f %%\n", step, tp_item(ctx, loss),
                   100 * tp_item(ctx, tp_mean(ctx, tp_cast(ctx, right, TP_F32), NULL, 0, false)));
        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, s);
    }
    tp_optim_free(opt);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
