/* gru.c - a recurrent cell from two linear layers, unrolled over 16 steps, learns the adding problem (Hochreiter and
 * Schmidhuber 1997): of a sequence of numbers two are marked, one in each half; give their sum. */
#include <tapir.h>

#include <stdio.h>

enum { HIDDEN = 32, LENGTH = 16, BATCH = 64, STEPS = 400, TESTED = 1000 };

typedef struct {
    tp_module m;
    tp_linear ih, hh;
} gru_cell;

typedef struct {
    tp_module m;
    gru_cell  cell;
    tp_linear out;
} net;

static void net_init(tp_ctx *ctx, net *n)
{
    tp_module_init(ctx, &n->m, NULL, "Net", "");
    tp_module_init(ctx, &n->cell.m, &n->m, "GRUCell", "cell");
    tp_linear_init(ctx, &n->cell.ih, &n->cell.m, "ih", 2, 3 * HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &n->cell.hh, &n->cell.m, "hh", HIDDEN, 3 * HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &n->out, &n->m, "out", HIDDEN, 1, true, TP_F32);
}

/* One step: with xi = ih(x) and hi = hh(h), r = s(xi + hi), z = s(xi + hi), n = tanh(xi + r hi), each from its third of
 * the columns, h' = n + z (h - n).  The scope ends here; what backward needs stays. */
static tp_tensor *gru_step(tp_ctx *ctx, gru_cell *g, tp_tensor *xi, tp_tensor *h)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *a[3], *b[3], *r, *z, *n;

    tp_chunk(ctx, xi, -1, 3, a);
    tp_chunk(ctx, tp_linear_forward(ctx, &g->hh, h), -1, 3, b);
    r = tp_sigmoid(ctx, tp_add(ctx, a[0], b[0]));
    z = tp_sigmoid(ctx, tp_add(ctx, a[1], b[1]));
    n = tp_tanh(ctx, tp_add(ctx, a[2], tp_mul(ctx, r, b[2])));
    return tp_scope_return(ctx, s, tp_add(ctx, n, tp_mul(ctx, z, tp_sub(ctx, h, n))));
}

/* x [B, T, 2] -> [B], from the last state; what the numbers come to is computed for all steps at once. */
static tp_tensor *forward(tp_ctx *ctx, net *n, tp_tensor *x)
{
    tp_tensor *xi = tp_linear_forward(ctx, &n->cell.ih, x);
    tp_tensor *h = tp_zeros(ctx, TP_F32, TP_SHAPE(tp_dim(x, 0), HIDDEN));

    for (int64_t t = 0; t < tp_dim(x, 1); t++)
        h = gru_step(ctx, &n->cell, tp_select(ctx, xi, 1, t), h);
    return tp_squeeze(ctx, tp_linear_forward(ctx, &n->out, h), -1);
}

/* x [B, T, 2]: numbers in [0, 1) and marks, y [B]: the sum of the marked ones. */
static void make_batch(tp_ctx *ctx, int64_t size, tp_tensor **x, tp_tensor **y)
{
    tp_tensor *number = tp_rand(ctx, TP_F32, TP_SHAPE(size, LENGTH));
    tp_tensor *first = tp_randint(ctx, TP_I64, TP_SHAPE(size), 0, LENGTH / 2);
    tp_tensor *second = tp_randint(ctx, TP_I64, TP_SHAPE(size), LENGTH / 2, LENGTH);
    tp_tensor *mark = tp_add(ctx, tp_one_hot(ctx, first, LENGTH, TP_F32), tp_one_hot(ctx, second, LENGTH, TP_F32));

    *x = tp_stack(ctx, TP_IN(number, mark), -1);
    *y = tp_sum(ctx, tp_mul(ctx, number, mark), TP_AXES(-1), false);
}

/* The mean square error on samples that no step of the training sees: those of a step far behind it. */
static double measure(tp_ctx *ctx, net *n)
{
    tp_scope   s = tp_scope_begin(ctx);
    bool       was = tp_record(ctx, false);
    tp_tensor *x, *y;
    double     error;

    tp_set_step(ctx, 1000 * STEPS);
    make_batch(ctx, TESTED, &x, &y);
    error = tp_item(ctx, tp_mse(ctx, forward(ctx, n, x), y, NULL));
    tp_record(ctx, was);
    tp_scope_end(ctx, s);
    return error;
}

int main(void)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_schedule falling = { .decay = TP_COSINE, .steps = STEPS };
    net         n;
    tp_optim   *opt;

    tp_seed(ctx, 1);
    net_init(ctx, &n);
    opt = tp_adamw_new(ctx, &n.m, &(tp_adamw_opts){ .lr = 1e-2 });
    printf("untrained       error %.4f (always saying the mean: 0.1667)\n", measure(ctx, &n));
    for (int step = 0; step < STEPS && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x, *y, *loss;

        tp_set_step(ctx, (uint64_t)step);
        tp_optim_set_lr(opt, 1e-2 * tp_schedule_factor(&falling, step));
        make_batch(ctx, BATCH, &x, &y);
        loss = tp_mse(ctx, forward(ctx, &n, x), y, NULL);
        tp_backward(ctx, loss);
        tp_clip_norm(ctx, opt, 1);
        tp_optim_step(ctx, opt);
        if ((step + 1) % 100 == 0)
            printf("step %3d        loss  %.4f\n", step + 1, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    printf("on new numbers  error %.4f\n", measure(ctx, &n));
    tp_optim_free(opt);
    tp_module_free(&n.m);
    return tp_ctx_finish(ctx);
}
