/* custom_adapter_mlp.c - a PEFT variant of one's own on a network of one's own: an MLP that knows digits learns to read them
 * in negative, with its weights frozen, by a learned scale and shift of every output: y = base(x) s + t (as IA3 and BitFit).
 *
 *     cc custom_adapter_mlp.c $(pkg-config --cflags --libs tapir) -o custom_adapter_mlp
 *     ./custom_adapter_mlp tools/data/digits.csv [STEPS [adapter.h5]] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, HIDDEN = 128, CLASSES = 10, STEPS = 500 };

/* ---- the variant ------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_adapter base; /* first, always */
    tp_tensor *s, *t;
} scaled;

static void scaled_init(tp_ctx *ctx, tp_adapter *ad)
{
    scaled *p = (scaled *)ad;
    int64_t out = tp_dim(ad->linear->w, 0);

    tp_init_constant(ctx, tp_param_new(ctx, &ad->m, &p->s, "scale", TP_F32, TP_SHAPE(out)), 1);
    tp_param_new(ctx, &ad->m, &p->t, "shift", TP_F32, TP_SHAPE(out));
}

static tp_tensor *scaled_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    scaled *p = (scaled *)ad;

    return tp_add(ctx, tp_mul(ctx, tp_adapter_next(ctx, ad, x), p->s), p->t);
}

static const tp_adapter_type scaled_type = {
    .name = "scaled", .size = sizeof(scaled), .init = scaled_init, .forward = scaled_forward,
};

/* ---- the network ------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_module m;
    tp_linear in, out;
} mlp;

static tp_tensor *mlp_forward(tp_ctx *ctx, mlp *net, tp_tensor *x)
{
    return tp_linear_forward(ctx, &net->out, tp_relu(ctx, tp_linear_forward(ctx, &net->in, x)));
}

static void train(tp_ctx *ctx, mlp *net, tp_samples *s, double lr, int steps)
{
    tp_loader *batches = tp_samples_loader(ctx, s, &(tp_loader_opts){ .batch = 64, .seed = 1 });
    tp_optim  *opt = tp_adamw_new(ctx, &net->m, &(tp_adamw_opts){ .lr = lr });

    printf("training %lld numbers\n", (long long)tp_optim_size(opt));
    for (int step = 0; step < steps && tp_ok(ctx); step++) {
        tp_scope   scope = tp_scope_begin(ctx);
        tp_tensor *b[2] = { NULL, NULL };

        tp_samples_next(ctx, batches, b);
        tp_backward(ctx, tp_cross_entropy(ctx, mlp_forward(ctx, net, b[0]), b[1], NULL));
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, scope);
    }
    tp_optim_free(opt);
    tp_loader_free(batches);
}

static void report(tp_ctx *ctx, const char *what, mlp *net, tp_tensor *x, tp_tensor *y)
{
    tp_tensor *right = tp_eq(ctx, tp_argmax(ctx, mlp_forward(ctx, net, x), -1, false), y);

    printf("%s: right %.1f %%\n", what,
           100 * tp_item(ctx, tp_mean(ctx, tp_cast(ctx, right, TP_F32), TP_ALL_AXES, false)));
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    const char *path = argc > 3 ? argv[3] : "scaled.h5";
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_tensor  *rows = tp_csv_read(ctx, argc > 1 ? argv[1] : "digits.csv", NULL);
    tp_tensor  *x = tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16), *dark = tp_shift(ctx, tp_neg(ctx, x), 1);
    tp_tensor  *y = tp_cast(ctx, tp_select(ctx, rows, 1, PIXELS), TP_I64);
    tp_samples *positive = tp_samples_new(ctx, TP_IN(x, y)), *negative = tp_samples_new(ctx, TP_IN(dark, y));
    mlp         net;

    tp_seed(ctx, 1);
    tp_module_init(ctx, &net.m, NULL, "MLP", "");
    tp_linear_init(ctx, &net.in, &net.m, "in", PIXELS, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net.out, &net.m, "out", HIDDEN, CLASSES, true, TP_F32);
    train(ctx, &net, positive, 3e-3, steps);
    report(ctx, "digits", &net, x, y);
    report(ctx, "in negative", &net, dark, y);
    tp_attach(ctx, &net.m, "in|out", &scaled_type, NULL);
    train(ctx, &net, negative, 2e-2, steps);
    report(ctx, "in negative, adapted", &net, dark, y);
    tp_adapter_save(ctx, &net.m, path);
    tp_adapters_detach(ctx, &net.m);
    report(ctx, "digits, adapter off", &net, x, y);
    tp_adapter_load(ctx, &net.m, path,
                    &(tp_adapter_load_opts){ .types = (const tp_adapter_type *const[]){ &scaled_type, NULL } });
    report(ctx, "in negative, loaded again", &net, dark, y);
    tp_samples_free(positive);
    tp_samples_free(negative);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
