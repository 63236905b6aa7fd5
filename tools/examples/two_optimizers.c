/* two_optimizers.c - one network, two optimisers: the body by AdamW, the head by SGD at a rate of its own, gradients of four
 * batches added up before each step, clipped by value.
 *
 *     cc two_optimizers.c $(pkg-config --cflags --libs tapir) -o two_optimizers
 *     ./two_optimizers tools/data/digits.csv [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, HIDDEN = 96, CLASSES = 10, ACCUMULATE = 4, STEPS = 200 };

typedef struct {
    tp_module m, body; /* a module without a struct of its own groups what an optimiser trains */
    tp_linear in, middle, head;
} network;

static void network_init(tp_ctx *ctx, network *net)
{
    tp_module_init(ctx, &net->m, NULL, "Network", "");
    tp_module_init(ctx, &net->body, &net->m, "Body", "body");
    tp_linear_init(ctx, &net->in, &net->body, "in", PIXELS, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->middle, &net->body, "middle", HIDDEN, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->head, &net->m, "head", HIDDEN, CLASSES, true, TP_F32);
}

static tp_tensor *network_forward(tp_ctx *ctx, network *net, tp_tensor *x)
{
    x = tp_gelu(ctx, tp_linear_forward(ctx, &net->in, x));
    return tp_linear_forward(ctx, &net->head, tp_gelu(ctx, tp_linear_forward(ctx, &net->middle, x)));
}

/* The sum of the losses of one batch, back-propagated; adds its samples to *count. */
static double one_batch(tp_ctx *ctx, network *net, tp_loader *batches, int64_t *count)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *b[2] = { NULL, NULL };

    tp_samples_next(ctx, batches, b);
    tp_tensor *loss = tp_cross_entropy(ctx, network_forward(ctx, net, b[0]), b[1], &(tp_loss_opts){ .sum = true });
    double     sum = tp_item(ctx, loss);

    tp_backward(ctx, loss);
    *count += tp_dim(b[1], 0);
    tp_scope_end(ctx, s);
    return sum;
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_tensor  *rows = tp_csv_read(ctx, argc > 1 ? argv[1] : "digits.csv", NULL);
    tp_tensor  *x = tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16);
    tp_samples *digits = tp_samples_new(ctx, TP_IN(x, tp_cast(ctx, tp_select(ctx, rows, 1, PIXELS), TP_I32)));
    tp_loader  *batches = tp_samples_loader(ctx, digits, &(tp_loader_opts){ .batch = 16, .seed = 1, .threads = 2 });
    network     net;

    tp_seed(ctx, 1);
    network_init(ctx, &net);
    tp_group  biases = { .pattern = "bias", .weight_decay = -1 };
    tp_optim *body = tp_adamw_new(ctx, &net.body, &(tp_adamw_opts){ .lr = 2e-3, .weight_decay = 0.1, .groups = &biases,
                                                                    .n_groups = 1 });
    tp_optim *head = tp_sgd_new(ctx, &net.head.m, &(tp_sgd_opts){ .lr = 0.1, .momentum = 0.9, .nesterov = true });

    for (int step = 1; step <= steps && tp_ok(ctx); step++) {
        int64_t count = 0;
        double  sum = 0;

        for (int k = 0; k < ACCUMULATE; k++)
            sum += one_batch(ctx, &net, batches, &count);
        tp_optim_scale(body, 1.0 / (double)count); /* sums were added up: one division makes the mean */
        tp_optim_scale(head, 1.0 / (double)count);
        tp_clip_value(ctx, body, 0.1);
        tp_clip_value(ctx, head, 0.1);
        tp_optim_step(ctx, body);
        tp_optim_step(ctx, head);
        if (step % 50 == 0)
            printf("step %3d  loss %.4f\n", step, sum / (double)count);
    }
    tp_optim_free(body);
    tp_optim_free(head);
    tp_loader_free(batches);
    tp_samples_free(digits);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
