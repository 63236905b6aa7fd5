/* linear_regression.c - the smallest training program: y = 3 a - 2 b + 0.5 and noise, found again by gradient descent.
 * It is C11 and C++17 at once:
 *
 *     cc  linear_regression.c $(pkg-config --cflags --libs tapir) -o linear_regression
 *     c++ -x c++ -std=c++17 linear_regression.c $(pkg-config --cflags --libs tapir) -o linear_regression
 *     ./linear_regression [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 200 };

/* The line that made the points, with noise of 0.1. */
static tp_tensor *truth(tp_ctx *ctx, tp_tensor *x)
{
    const float w[] = { 3, -2 }, b = 0.5f;
    tp_tensor  *y = tp_affine(ctx, x, tp_from(ctx, TP_F32, TP_SHAPE(1, 2), w), tp_from(ctx, TP_F32, TP_SHAPE(1), &b));

    return tp_add(ctx, y, tp_normal(ctx, TP_F32, TP_SHAPE(POINTS, 1), 0, 0.1));
}

int main(int argc, char **argv)
{
    static tp_sgd_opts how; /* zeroes: the defaults */
    int        steps = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200;
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    tp_linear  line;

    tp_seed(ctx, 1);
    tp_tensor *x = tp_randn(ctx, TP_F32, TP_SHAPE(POINTS, 2)), *y = truth(ctx, x);

    tp_linear_init(ctx, &line, NULL, "", 2, 1, true, TP_F32);
    how.lr = 0.1;
    how.momentum = 0.5;
    tp_optim *opt = tp_sgd_new(ctx, &line.m, &how);

    for (int step = 1; step <= steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *loss = tp_mse(ctx, tp_linear_forward(ctx, &line, x), y, NULL);

        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        if (step % 50 == 0)
            printf("step %3d  loss %.4f\n", step, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    tp_print(ctx, line.w, stdout);
    tp_print(ctx, line.b, stdout);
    tp_optim_free(opt);
    tp_module_free(&line.m);
    return tp_ctx_finish(ctx);
}
