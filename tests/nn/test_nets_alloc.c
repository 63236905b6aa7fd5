/* test_nets_alloc.c - memory runs out in networks of one's own: every allocation of a program that builds containers and
 * layers, trains them and keeps them in a file fails in turn, once and for good. */
#include "tests/core/every_alloc.h"

#include "nn/nets.h"
#include "nn/state.h"
#include "ops/ops.h"
#include "optim/optimizer.h"

static const char *const kept = "nets-alloc.h5";

typedef struct {
    tp_module              root;
    tp_sequential          seq;
    tp_module_list         list;
    tp_mlp                 mlp;
    tp_multihead_attention att;
    tp_group_norm          norm;
    tp_linear             *last;
} nets;

static tp_tensor *to_rows(tp_ctx *ctx, tp_tensor *x)
{
    return tp_flatten(ctx, x, 1, -1);
}

static tp_tensor *halve(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    (void)m;
    return tp_scale(ctx, x, 0.5);
}

static void build(tp_ctx *ctx, nets *n)
{
    static const int64_t sizes[] = { 8, 6, 8 };

    memset(n, 0, sizeof *n);
    tp_module_init(ctx, &n->root, NULL, "Nets", "");
    tp_sequential_init(ctx, &n->seq, &n->root, "seq");
    tp_sequential_conv2d(ctx, &n->seq, 1, 2, 3, 3, true, TP_F32, NULL);
    tp_sequential_batch_norm(ctx, &n->seq, 2, TP_F32, NULL);
    tp_sequential_apply(ctx, &n->seq, tp_relu);
    tp_sequential_apply(ctx, &n->seq, to_rows);
    tp_sequential_linear(ctx, &n->seq, 8, 8, true, TP_F32);
    tp_sequential_layer_norm(ctx, &n->seq, 8, 1e-5, TP_F32);
    tp_sequential_dropout(ctx, &n->seq, 0.1);
    tp_sequential_add(ctx, &n->seq, sizeof(tp_module), "Halve", halve);
    tp_mlp_init(ctx, &n->mlp, &n->root, "mlp", 3, sizes, TP_F32, &(tp_mlp_opts){ .dropout = 0.1 });
    tp_multihead_attention_init(ctx, &n->att, &n->root, "att", 8, 2, TP_F32, NULL);
    tp_group_norm_init(ctx, &n->norm, &n->root, "norm", 2, 4, 1e-5, TP_F32);
    tp_module_list_init(ctx, &n->list, &n->root, "list");
    for (int i = 0; i < 2; i++) {
        tp_linear *l = tp_module_list_add(ctx, &n->list, sizeof *l, "Linear");

        if (l != NULL)
            tp_param_new(ctx, &l->m, &l->w, "weight", TP_F32, TP_SHAPE(8, 8));
        n->last = l;
    }
}

static tp_tensor *loss_of(tp_ctx *ctx, nets *n, tp_tensor *x)
{
    tp_tensor *y = tp_mlp_forward(ctx, &n->mlp, tp_sequential_forward(ctx, &n->seq, x));

    y = tp_multihead_attention_forward(ctx, &n->att, tp_reshape(ctx, y, TP_SHAPE(1, 4, 8)), NULL, NULL);
    y = tp_group_norm_forward(ctx, &n->norm, y);
    y = tp_add(ctx, y, tp_matmul(ctx, y, n->last ? n->last->w : NULL));
    return tp_mean(ctx, tp_square(ctx, tp_shift(ctx, y, 0.5)), TP_ALL_AXES, false);
}

/* Whatever fails, everything is freed; nothing is looked at but by the last line. */
static int program(double *result)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    nets      n, other;
    tp_optim *opt;

    tp_set_threads(ctx, 1);
    tp_seed(ctx, 3);
    build(ctx, &n);
    opt = tp_adamw_new(ctx, &n.root, NULL);
    for (uint64_t step = 0; step < 2 && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x = tp_init_normal(ctx, tp_empty(ctx, TP_F32, TP_SHAPE(4, 1, 4, 4)), 0, 1), *loss;

        tp_set_step(ctx, step);
        loss = loss_of(ctx, &n, x);
        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        *result = tp_item(ctx, loss);
        tp_scope_end(ctx, s);
    }
    tp_module_save(ctx, &n.root, kept);
    build(ctx, &other);
    tp_module_load(ctx, &other.root, kept, NULL);
    tp_optim_free(opt);
    tp_module_free(&other.root);
    tp_module_free(&n.root);
    return tp_ctx_finish(ctx);
}

static void each_allocation(void **state)
{
    (void)state;
    fail_each(program);
    unlink(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
