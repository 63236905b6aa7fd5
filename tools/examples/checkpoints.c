/* checkpoints.c - a training program of one's own with checkpoints in two calls: one function names all that it goes on
 * with, tensors and numbers of its own among them.  With a second argument it learns from a file that h5py wrote
 * (read_with_h5py.py --write data.h5).
 *
 *     cc checkpoints.c $(pkg-config --cflags --libs tapir) -lm -o checkpoints && ./checkpoints [STEPS [data.h5]] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, IN = 5, STEPS = 40, BATCH = 16 };

typedef struct {
    tp_module  m; /* first, always */
    tp_linear  in, out;
    tp_optim  *opt;
    tp_tensor *mean; /* of the inputs seen so far: not trained, and yet a part of what the program knows */
    int64_t    seen, step;
} learner;

static void init(tp_ctx *ctx, learner *l)
{
    memset(l, 0, sizeof *l);
    tp_seed(ctx, 1);
    tp_module_init(ctx, &l->m, NULL, "Learner", "");
    tp_linear_init(ctx, &l->in, &l->m, "in", IN, 16, true, TP_F32);
    tp_linear_init(ctx, &l->out, &l->m, "out", 16, 1, true, TP_F32);
    l->opt = tp_adamw_new(ctx, &l->m, &(tp_adamw_opts){ .lr = 1e-2 });
    l->mean = tp_retain(tp_zeros(ctx, TP_F32, TP_SHAPE(IN)));
}

static void done(learner *l)
{
    tp_release(l->mean);
    tp_optim_free(l->opt);
    tp_module_free(&l->m);
}

/* What a checkpoint holds.  It serves for saving, for seeing whether a file fits, and for loading. */
static void everything(tp_ctx *ctx, void *user, tp_state *st)
{
    learner *l = user;

    tp_module_state(ctx, &l->m, st);
    tp_optim_state(ctx, l->opt, st);
    tp_random_state(ctx, st);
    tp_state_tensor(ctx, st, "own", "mean", l->mean);
    tp_state_int(ctx, st, "own", "seen", &l->seen);
    tp_state_int(ctx, st, NULL, "step", &l->step);
    tp_state_same_int(ctx, st, "own", "batch", BATCH); /* a run with another batch would be another run */
}

static void train(tp_ctx *ctx, learner *l, tp_tensor *x, tp_tensor *y, int64_t steps)
{
    int64_t batches = tp_dim(x, 0) / BATCH;

    for (; l->step < steps && tp_ok(ctx); l->step++) {
        tp_scope   s = tp_scope_begin(ctx);
        int64_t    first = l->step % batches * BATCH;
        tp_tensor *rows = tp_narrow(ctx, x, 0, first, BATCH), *want = tp_narrow(ctx, y, 0, first, BATCH);
        tp_tensor *h, *loss;

        tp_set_step(ctx, (uint64_t)l->step);
        h = tp_dropout(ctx, tp_tanh(ctx, tp_linear_forward(ctx, &l->in, rows)), 0.1, true);
        loss = tp_mean(ctx, tp_square(ctx, tp_sub(ctx, tp_linear_forward(ctx, &l->out, h), want)), NULL, 0, false);
        tp_backward(ctx, loss);
        tp_optim_step(ctx, l->opt);
        l->seen += BATCH;
        tp_copy_to(ctx, l->mean, tp_mean(ctx, rows, (int[]){ 0 }, 1, false));
        if ((l->step + 1) % 10 == 0)
            printf("step %2d  loss %.4f\n", (int)l->step + 1, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
}

int main(int argc, char **argv)
{
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    int64_t    steps = argc > 1 ? strtol(argv[1], NULL, 10) : STEPS;
    tp_file   *file = argc > 2 ? tp_file_open(ctx, argv[2]) : NULL;
    tp_tensor *x, *y;
    learner    whole, stopped;

    if (file != NULL) { /* names are those of h5py, with points for the slashes behind the first */
        x = tp_file_read(ctx, file, "data/x", TP_F32);
        y = tp_file_read(ctx, file, "data/y", TP_F32);
    } else {
        x = tp_init_normal(ctx, tp_empty(ctx, TP_F32, TP_SHAPE(ROWS, IN)), 0, 1);
        y = tp_sum(ctx, x, (int[]){ 1 }, 1, true);
    }
    init(ctx, &whole);
    train(ctx, &whole, x, y, steps);

    init(ctx, &stopped);
    train(ctx, &stopped, x, y, steps / 2);
    tp_state_save(ctx, "checkpoint.h5", "training", everything, &stopped);
    done(&stopped);

    init(ctx, &stopped); /* another day */
    tp_state_load(ctx, "checkpoint.h5", everything, &stopped, NULL);
    printf("resumed after step %d, %d rows seen\n", (int)stopped.step, (int)stopped.seen);
    train(ctx, &stopped, x, y, steps);

    if (tp_ok(ctx))
        printf("the same bits as never stopped: %s\n",
               memcmp(tp_values(ctx, whole.in.w), tp_values(ctx, stopped.in.w), 16 * IN * sizeof(float)) == 0 ? "yes" : "no");
    done(&whole);
    done(&stopped);
    tp_file_close(file);
    return tp_ctx_finish(ctx);
}
