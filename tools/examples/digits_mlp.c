/* digits_mlp.c - an MLP that reads handwritten digits: a csv file, a fifth of it held out, batches, a schedule.
 *
 *     cc digits_mlp.c $(pkg-config --cflags --libs tapir) -o digits_mlp
 *     ./digits_mlp tools/data/digits.csv [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, HIDDEN = 128, CLASSES = 10, STEPS = 700 };

typedef struct {
    tp_module m; /* first, always */
    tp_linear in, out;
} mlp;

static void mlp_init(tp_ctx *ctx, mlp *net)
{
    tp_module_init(ctx, &net->m, NULL, "MLP", "");
    tp_linear_init(ctx, &net->in, &net->m, "in", PIXELS, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->out, &net->m, "out", HIDDEN, CLASSES, true, TP_F32);
}

static tp_tensor *mlp_forward(tp_ctx *ctx, mlp *net, tp_tensor *x)
{
    return tp_linear_forward(ctx, &net->out, tp_relu(ctx, tp_linear_forward(ctx, &net->in, x)));
}

/* A row of the file is 64 pixels from 0 to 16 and the digit. */
static tp_samples *read_digits(tp_ctx *ctx, const char *path)
{
    tp_tensor *rows = tp_csv_read(ctx, path, NULL);
    tp_tensor *x = tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16);

    return tp_samples_new(ctx, TP_IN(x, tp_cast(ctx, tp_select(ctx, rows, 1, PIXELS), TP_I64)));
}

/* The share of the samples that are told right, in percent. */
static double accuracy(tp_ctx *ctx, mlp *net, tp_samples *s)
{
    tp_scope   scope = tp_scope_begin(ctx);
    bool       was = tp_record(ctx, false);
    tp_tensor *b[2] = { NULL, NULL };

    tp_samples_all(ctx, s, b);
    tp_tensor *right = tp_eq(ctx, tp_argmax(ctx, mlp_forward(ctx, net, b[0]), -1, false), b[1]);
    double     share = tp_item(ctx, tp_mean(ctx, tp_cast(ctx, right, TP_F32), TP_ALL_AXES, false));

    tp_record(ctx, was);
    tp_scope_end(ctx, scope);
    return 100 * share;
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_samples *all = read_digits(ctx, argc > 1 ? argv[1] : "digits.csv"), *train, *test;
    tp_schedule fall = { .decay = TP_COSINE, .steps = steps };
    mlp         net;

    tp_seed(ctx, 1);
    mlp_init(ctx, &net);
    tp_samples_split(ctx, all, 0.8, 1, &train, &test);
    tp_loader *batches = tp_samples_loader(ctx, train, &(tp_loader_opts){ .batch = 64, .seed = 1 });
    tp_optim  *opt = tp_adamw_new(ctx, &net.m, &(tp_adamw_opts){ .lr = 4e-3, .weight_decay = 0.01 });

    for (int step = 0; step < steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *b[2];

        tp_samples_next(ctx, batches, b);
        tp_tensor *loss = tp_cross_entropy(ctx, mlp_forward(ctx, &net, b[0]), b[1], NULL);
        tp_backward(ctx, loss);
        tp_optim_set_lr(opt, 4e-3 * tp_schedule_factor(&fall, step));
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
