/* autoencoder.c - 64 pixels through a waist of 8 numbers and back: what a digit is, without being told.
 *
 *     cc autoencoder.c $(pkg-config --cflags --libs tapir) -o autoencoder
 *     ./autoencoder tools/data/digits.csv [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, HIDDEN = 64, WAIST = 8, STEPS = 800 };

typedef struct {
    tp_module m;
    tp_linear in, waist, back, out;
} autoencoder;

static void autoencoder_init(tp_ctx *ctx, autoencoder *net)
{
    tp_module_init(ctx, &net->m, NULL, "Autoencoder", "");
    tp_linear_init(ctx, &net->in, &net->m, "in", PIXELS, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->waist, &net->m, "waist", HIDDEN, WAIST, true, TP_F32);
    tp_linear_init(ctx, &net->back, &net->m, "back", WAIST, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->out, &net->m, "out", HIDDEN, PIXELS, true, TP_F32);
}

static tp_tensor *autoencoder_forward(tp_ctx *ctx, autoencoder *net, tp_tensor *x)
{
    tp_tensor *code = tp_linear_forward(ctx, &net->waist, tp_relu(ctx, tp_linear_forward(ctx, &net->in, x)));

    x = tp_relu(ctx, tp_linear_forward(ctx, &net->back, code));
    return tp_sigmoid(ctx, tp_linear_forward(ctx, &net->out, x));
}

/* Two digits and what came back, in shades of grey. */
static void show(tp_ctx *ctx, tp_tensor *x, tp_tensor *y)
{
    static const char shades[] = " .:-=+*#%@";
    float             p[4][PIXELS];

    tp_copy_out(ctx, tp_narrow(ctx, x, 0, 0, 2), TP_F32, p[0], sizeof p / 2);
    tp_copy_out(ctx, tp_narrow(ctx, y, 0, 0, 2), TP_F32, p[2], sizeof p / 2);
    for (int row = 0; row < 8 && tp_ok(ctx); row++)
        for (int picture = 0; picture < 4; picture++)
            for (int column = 0; column <= 8; column++)
                putchar(column < 8 ? shades[(int)(p[picture][8 * row + column] * 9.99f)] : picture < 3 ? '|' : '\n');
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_tensor  *rows = tp_csv_read(ctx, argc > 1 ? argv[1] : "digits.csv", NULL);
    tp_samples *digits = tp_samples_new(ctx, TP_IN(tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16)));
    tp_loader  *batches = tp_samples_loader(ctx, digits, &(tp_loader_opts){ .batch = 64, .seed = 1 });
    autoencoder net;

    tp_seed(ctx, 1);
    autoencoder_init(ctx, &net);
    tp_module_print(ctx, &net.m, stdout);
    tp_optim *opt = tp_adam_new(ctx, &net.m, &(tp_adamw_opts){ .lr = 3e-3 });

    for (int step = 1; step <= steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x;

        tp_samples_next(ctx, batches, &x);
        tp_tensor *y = autoencoder_forward(ctx, &net, x), *loss = tp_mse(ctx, y, x, NULL);

        if (step % 200 == 0)
            printf("step %3d  loss %.4f  variance of the pixels %.4f\n", step, tp_item(ctx, loss),
                   tp_item(ctx, tp_mean(ctx, tp_var(ctx, x, TP_AXES(0), 0, false), TP_ALL_AXES, false)));
        if (step == steps)
            show(ctx, x, y);
        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, s);
    }
    tp_optim_free(opt);
    tp_loader_free(batches);
    tp_samples_free(digits);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
