/* distillation.c - a large MLP learns the digits; a small one learns from what the large one says about pictures that nobody has
 * labelled (Hinton et al. 2015).  Beside it, the same small one learns from the few labels that there are.
 *
 *     cc distillation.c $(pkg-config --cflags --libs tapir) -o distillation
 *     ./distillation tools/data/digits.csv [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, CLASSES = 10, LARGE = 256, SMALL = 12, STEPS = 800 };

typedef struct {
    tp_module m;
    tp_linear in, out;
} mlp;

static void mlp_init(tp_ctx *ctx, mlp *net, int64_t hidden)
{
    tp_module_init(ctx, &net->m, NULL, "MLP", "");
    tp_linear_init(ctx, &net->in, &net->m, "in", PIXELS, hidden, true, TP_F32);
    tp_linear_init(ctx, &net->out, &net->m, "out", hidden, CLASSES, true, TP_F32);
}

static tp_tensor *mlp_forward(tp_ctx *ctx, mlp *net, tp_tensor *x)
{
    return tp_linear_forward(ctx, &net->out, tp_relu(ctx, tp_linear_forward(ctx, &net->in, x)));
}

static tp_samples *read_digits(tp_ctx *ctx, const char *path)
{
    tp_tensor *rows = tp_csv_read(ctx, path, NULL);
    tp_tensor *x = tp_scale(ctx, tp_narrow(ctx, rows, 1, 0, PIXELS), 1.0 / 16);

    return tp_samples_new(ctx, TP_IN(x, tp_cast(ctx, tp_select(ctx, rows, 1, PIXELS), TP_I64)));
}

/* How far the student is from the teacher, both softened by a temperature of 3: the teacher's part is not recorded. */
static tp_tensor *distance(tp_ctx *ctx, mlp *student, mlp *teacher, tp_tensor *x)
{
    bool       was = tp_record(ctx, false);
    tp_tensor *p = tp_softmax(ctx, tp_scale(ctx, mlp_forward(ctx, teacher, x), 1.0 / 3), -1);

    tp_record(ctx, was);
    return tp_scale(ctx, tp_kl_div(ctx, tp_log_softmax(ctx, tp_scale(ctx, mlp_forward(ctx, student, x), 1.0 / 3), -1), p, NULL),
                    9 * CLASSES); /* the mean is over classes too; gradients shrink with the square of the temperature */
}

/* Trains net on s, from labels, or from a teacher. */
static void train(tp_ctx *ctx, mlp *net, mlp *teacher, tp_samples *s, int steps)
{
    tp_loader *batches = tp_samples_loader(ctx, s, &(tp_loader_opts){ .batch = 64, .seed = 1 });
    tp_optim  *opt = tp_adamw_new(ctx, &net->m, &(tp_adamw_opts){ .lr = 3e-3, .weight_decay = 0.01 });

    for (int step = 0; step < steps && tp_ok(ctx); step++) {
        tp_scope   scope = tp_scope_begin(ctx);
        tp_tensor *b[2] = { NULL, NULL };

        tp_samples_next(ctx, batches, b);
        tp_backward(ctx, teacher ? distance(ctx, net, teacher, b[0])
                                 : tp_cross_entropy(ctx, mlp_forward(ctx, net, b[0]), b[1], NULL));
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, scope);
    }
    tp_optim_free(opt);
    tp_loader_free(batches);
}

static void report(tp_ctx *ctx, const char *who, mlp *net, tp_samples *s)
{
    tp_scope   scope = tp_scope_begin(ctx);
    tp_tensor *b[2] = { NULL, NULL };

    tp_samples_all(ctx, s, b);
    tp_tensor *right = tp_eq(ctx, tp_argmax(ctx, mlp_forward(ctx, net, b[0]), -1, false), b[1]);

    printf("%s: %lld numbers, right %.1f %%\n", who, (long long)tp_module_count(&net->m).all,
           100 * tp_item(ctx, tp_mean(ctx, tp_cast(ctx, right, TP_F32), TP_ALL_AXES, false)));
    tp_scope_end(ctx, scope);
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_samples *all = read_digits(ctx, argc > 1 ? argv[1] : "digits.csv"), *known, *test, *few, *more;
    mlp         teacher, student, pupil;

    tp_seed(ctx, 1);
    tp_samples_split(ctx, all, 0.8, 1, &known, &test);
    tp_samples_split(ctx, known, 0.1, 2, &few, &more); /* a tenth with labels, which is what the student could have had */
    mlp_init(ctx, &teacher, LARGE);
    mlp_init(ctx, &student, SMALL);
    mlp_init(ctx, &pupil, SMALL);
    train(ctx, &teacher, NULL, known, steps);
    train(ctx, &student, &teacher, more, steps);
    train(ctx, &pupil, NULL, few, steps);
    report(ctx, "teacher", &teacher, test);
    report(ctx, "student of the teacher", &student, test);
    report(ctx, "student of a few labels", &pupil, test);
    tp_samples_free(all);
    tp_samples_free(known);
    tp_samples_free(test);
    tp_samples_free(few);
    tp_samples_free(more);
    tp_module_free(&teacher.m);
    tp_module_free(&student.m);
    tp_module_free(&pupil.m);
    return tp_ctx_finish(ctx);
}
