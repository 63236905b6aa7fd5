/*
 * test_alloc_model.c - memory runs out at every single place of a finetuning: modules, adapters of two kinds,
 * recomputation, dropout, clipping, AdamW, validation.
 */
#include "every_alloc.h"
#include "tapir.h"

enum { IN = 6, HIDDEN = 8, OUT = 5, ROWS = 4, STEPS = 2 };

typedef struct {
    tp_module        m;
    tp_linear        up, down;
    tp_rms_norm      norm;
    tp_dropout_layer drop;
} network;

static network *network_new(tp_ctx *ctx)
{
    network *n = tp_module_new(ctx, sizeof *n, NULL, "Network", "");

    if (n == NULL)
        return NULL;
    tp_linear_init(ctx, &n->up, &n->m, "up", IN, HIDDEN, true, TP_F32);
    tp_rms_norm_init(ctx, &n->norm, &n->m, "norm", HIDDEN, 1e-6, TP_F32);
    tp_dropout_init(ctx, &n->drop, &n->m, "drop", 0.2);
    tp_linear_init(ctx, &n->down, &n->m, "down", HIDDEN, OUT, false, TP_F32);
    return n;
}

static tp_tensor *inside(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    network *n = user;

    return tp_dropout_forward(ctx, &n->drop,
                              tp_silu(ctx, tp_rms_norm_forward(ctx, &n->norm, tp_linear_forward(ctx, &n->up, in[0]))));
}

static tp_tensor *loss_of(tp_ctx *ctx, network *n, bool recompute)
{
    tp_tensor *x = tp_normal(ctx, TP_F32, TP_SHAPE(ROWS, IN), 0, 1),
              *target = tp_randint(ctx, TP_I32, TP_SHAPE(ROWS), 0, OUT), *h;

    h = recompute ? tp_checkpoint(ctx, inside, n, 1, &x) : inside(ctx, n, &x);
    return tp_cross_entropy(ctx, tp_linear_forward(ctx, &n->down, h), target, NULL);
}

static void train(tp_ctx *ctx, network *n, tp_optim *opt, double *result)
{
    for (int step = 0; step < STEPS && tp_ok(ctx); step++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_set_step(ctx, (uint64_t)step);
        tp_backward(ctx, loss_of(ctx, n, true));
        tp_backward(ctx, loss_of(ctx, n, false));
        tp_clip_norm(ctx, opt, 0.5);
        tp_optim_step(ctx, opt);
        tp_record(ctx, false);
        tp_module_set_training(&n->m, false);
        *result = tp_item(ctx, loss_of(ctx, n, false));
        tp_module_set_training(&n->m, true);
        tp_record(ctx, true);
        tp_scope_end(ctx, s);
    }
}

static int program(double *result)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    network  *n;
    tp_optim *opt;

    tp_seed(ctx, 5);
    n = network_new(ctx);
    if (n != NULL) {
        tp_attach(ctx, &n->m, "up", &tp_diablo, &(tp_diablo_opts){ .blocks = 3, .dropout = 0.1 });
        tp_attach(ctx, &n->m, "up|down", &tp_lora, &(tp_lora_opts){ .rank = 2 });
        opt = tp_adamw_new(ctx, &n->m, &(tp_adamw_opts){ .lr = 0.1 });
        train(ctx, n, opt, result);
        tp_optim_free(opt);
        tp_merge(ctx, &n->m);
        tp_unmerge(ctx, &n->m);
        tp_module_free(&n->m);
    }
    return tp_ctx_finish(ctx);
}

static void every_allocation_fails(void **state)
{
    (void)state;
    fail_each(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
