/* train_state.c - the state of a whole training: how far it has come, and everything that it goes on with. */
#include "core/internal.h"
#include "nn/state_internal.h"
#include "optim/train.h"

bool tp_progress_state(tp_ctx *ctx, tp_progress *p, tp_state *st)
{
    if (!tpi_state_usable(ctx, st, "progress_state"))
        return false;
    if (p == NULL)
        return tp_fail(ctx, TP_EARG, "progress_state: no progress") != NULL;
    return tp_state_int(ctx, st, NULL, "step", &p->step) &&
           tp_state_int(ctx, st, NULL, "tokens_seen", &p->tokens) &&
           tp_state_real(ctx, st, "metrics", "last_loss", &p->last_loss) &&
           tp_state_int(ctx, st, "metrics", "validated", &p->validated) &&
           tp_state_int(ctx, st, "metrics", "best_step", &p->best_step) &&
           tp_state_real(ctx, st, "metrics", "best_loss", &p->best_loss) &&
           tp_state_int(ctx, st, "metrics", "worse", &p->worse);
}

bool tp_training_state(tp_ctx *ctx, const tp_training *t, tp_state *st)
{
    if (!tpi_state_usable(ctx, st, "training_state"))
        return false;
    if (t == NULL)
        return tp_fail(ctx, TP_EARG, "training_state: no training") != NULL;
    if ((t->progress != NULL && !tp_progress_state(ctx, t->progress, st)) ||
        (t->root != NULL && !tp_module_trained_state(ctx, t->root, st)) ||
        (t->opt != NULL && !tp_optim_state(ctx, t->opt, st)) ||
        (t->schedule != NULL && !tp_schedule_state(ctx, t->schedule, st)) ||
        (t->loader != NULL && !tp_loader_state(ctx, t->loader, st)) || !tp_random_state(ctx, st))
        return false;
    if (t->more != NULL)
        t->more(ctx, t->user, st);
    return tp_ok(ctx);
}

static void training_alone(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_training_state(ctx, user, st);
}

bool tp_training_save(tp_ctx *ctx, const tp_training *t, const char *path)
{
    tp_training copy = t ? *t : (tp_training){ 0 };

    return tp_state_save(ctx, path, "training", training_alone, &copy);
}

bool tp_training_load(tp_ctx *ctx, const tp_training *t, const char *path, const tp_load_opts *opts)
{
    tp_training copy = t ? *t : (tp_training){ 0 };

    return tp_state_load(ctx, path, training_alone, &copy, opts);
}
