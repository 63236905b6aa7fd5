/* digits_cnn.c - a small convolutional network that reads handwritten digits, from a row of layers.
 *
 *     cc digits_cnn.c $(pkg-config --cflags --libs tapir) -o digits_cnn
 *     ./digits_cnn tools/data/digits.csv [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, STEPS = 400 };

static tp_tensor *pool(tp_ctx *ctx, tp_tensor *x)
{
    return tp_max_pool2d(ctx, x, &(tp_pool_opts){ .size = { 2 } });
}

static tp_tensor *flatten(tp_ctx *ctx, tp_tensor *x)
{
    return tp_flatten(ctx, x, 1, -1);
}

static void cnn_init(tp_ctx *ctx, tp_sequential *net)
{
    tp_conv_opts same = { .pad = { 1 } };

    tp_sequential_init(ctx, net, NULL, "");
    tp_sequential_conv2d(ctx, net, 1, 16, 3, 3, false, TP_F32, &same);
    tp_sequential_batch_norm(ctx, net, 16, TP_F32, NULL);
    tp_sequential_apply(ctx, net, tp_relu);
    tp_sequential_apply(ctx, net, pool); /* 8 x 8 -> 4 x 4 */
    tp_sequential_conv2d(ctx, net, 16, 32, 3, 3, false, TP_F32, &same);
    tp_sequential_batch_norm(ctx, net, 32, TP_F32, NULL);
    tp_sequential_apply(ctx, net, tp_relu);
    tp_sequential_apply(ctx, net, flatten);
    tp_sequential_dropout(ctx, net, 0.3);
    tp_sequential_linear(ctx, net, 32 * PIXELS / 4, CLASSES, true, TP_F32);
}

static tp_samples *read_digits(tp_ctx *ctx, const char *path)
{
    tp_tensor *rows = tp_csv_read(ctx, path, NULL), *y = tp_cast(ctx, tp_select(ctx, rows, 1, PIXELS), TP_I64);
    tp_tensor *x = tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16);

    return tp_samples_new(ctx, TP_IN(tp_reshape(ctx, x, TP_SHAPE(-1, 1, SIDE, SIDE)), y));
}

static double accuracy(tp_ctx *ctx, tp_sequential *net, tp_samples *s)
{
    tp_scope   scope = tp_scope_begin(ctx);
    tp_tensor *b[2] = { NULL, NULL };
    bool       was = tp_record(ctx, false);

    tp_module_set_training(&net->m, false); /* running statistics, no dropout */
    tp_samples_all(ctx, s, b);
    tp_tensor *right = tp_eq(ctx, tp_argmax(ctx, tp_sequential_forward(ctx, net, b[0]), -1, false), b[1]);
    double     share = tp_item(ctx, tp_mean(ctx, tp_cast(ctx, right, TP_F32), TP_ALL_AXES, false));

    tp_module_set_training(&net->m, true);
    tp_record(ctx, was);
    tp_scope_end(ctx, scope);
    return 100 * share;
}

int main(int argc, char **argv)
{
    int           steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx       *ctx = tp_ctx_new(TP_CPU, 0);
    tp_samples   *all = read_digits(ctx, argc > 1 ? argv[1] : "digits.csv"), *train, *test;
    tp_schedule   fall = { .decay = TP_COSINE, .steps = steps };
    tp_sequential net;

    tp_seed(ctx, 1);
    cnn_init(ctx, &net);
    tp_samples_split(ctx, all, 0.8, 1, &train, &test);
    tp_loader *batches = tp_samples_loader(ctx, train, &(tp_loader_opts){ .batch = 64, .seed = 1 });
    tp_optim  *opt = tp_adamw_new(ctx, &net.m, &(tp_adamw_opts){ .weight_decay = 0.01 });

    for (int step = 0; step < steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *b[2] = { NULL, NULL };

        tp_set_step(ctx, (uint64_t)step); /* random numbers depend on seed and step alone */
        tp_samples_next(ctx, batches, b);
        tp_tensor *loss = tp_cross_entropy(ctx, tp_sequential_forward(ctx, &net, b[0]), b[1], NULL);
        tp_backward(ctx, loss);
        tp_optim_set_lr(opt, 5e-3 * tp_schedule_factor(&fall, step));
        tp_optim_step(ctx, opt);
        if (step % 100 == 0)
            printf("step %3d  loss %.4f\n", step, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    printf("right: %.1f %% of %lld digits held out\n", accuracy(ctx, &net, test), (long long)tp_samples_length(test));
    tp_optim_free(opt);
    tp_loader_free(batches);
    tp_samples_free(train);
    tp_samples_free(test);
    tp_samples_free(all);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
