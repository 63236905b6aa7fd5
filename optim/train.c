/* train.c - the training loop. */
#include "optim/train.h"
#include "core/internal.h"

#include <math.h>
#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One step's sums over its batches. */
typedef struct {
    double  loss, count;
    int64_t tokens, batches, sample, line;
} sums;

static void not_finite(tp_ctx *ctx, const char *what, int64_t step, const sums *s)
{
    if (s->line > 0)
        tp_fail(ctx, TP_ENUM,
                "step %lld: %s is NaN or Inf (sample %lld, line %lld of the data); the weights are those of the step "
                "before",
                (long long)step, what, (long long)s->sample, (long long)s->line);
    else
        tp_fail(ctx, TP_ENUM, "step %lld: %s is NaN or Inf (sample %lld); the weights are those of the step before",
                (long long)step, what, (long long)s->sample);
}

/* Forward and backward of one batch; false at the end of the data or after a failure. */
static bool one_batch(tp_ctx *ctx, const tp_train_plan *plan, int64_t step, sums *s)
{
    tp_batch_info info = { 0, 0, 0, 0 };
    tp_scope      scope = tp_scope_begin(ctx);
    tp_tensor    *loss = plan->loss(ctx, plan->user, &info);
    double        value = loss ? tp_item(ctx, loss) : 0;
    bool          ok = loss != NULL;

    if (ok) {
        s->sample = s->batches == 0 ? info.sample : s->sample;
        s->line = s->batches == 0 ? info.line : s->line;
        s->batches++;
        if (!isfinite(value)) {
            s->sample = info.sample;
            s->line = info.line;
            not_finite(ctx, "the loss", step, s);
        } else if (!(info.count >= 0 && isfinite(info.count))) {
            tp_fail(ctx, TP_EARG, "train: the loss of step %lld has a count of %g, expected 0 or more", (long long)step,
                    info.count);
        } else if (info.count > 0) { /* a batch without targets changes nothing */
            tp_backward(ctx, loss);
        }
        s->loss += value;
        s->count += info.count;
        s->tokens += info.tokens;
    }
    tp_scope_end(ctx, scope);
    return ok && tp_ok(ctx);
}

static bool one_step(tp_ctx *ctx, const tp_train_plan *plan, int64_t step, tp_step_info *info)
{
    sums   s = { 0, 0, 0, 0, 0, 0 };
    double start = now();

    tp_set_step(ctx, (uint64_t)step);
    for (int64_t i = 0; i < (plan->accum > 0 ? plan->accum : 1); i++)
        if (!one_batch(ctx, plan, step, &s))
            break;
    if (!tp_ok(ctx) || s.batches == 0)
        return false;
    info->lr = plan->lr * tp_schedule_factor(&plan->schedule, step - 1);
    tp_optim_set_lr(plan->opt, info->lr);
    if (s.count > 0) {
        tp_optim_scale(plan->opt, 1 / s.count);
        info->grad_norm = tp_clip_norm(ctx, plan->opt, plan->clip);
        if (tp_ok(ctx) && !isfinite(info->grad_norm))
            not_finite(ctx, "the gradient", step, &s);
        tp_optim_step(ctx, plan->opt);
    }
    info->step = step;
    info->loss = s.count > 0 ? s.loss / s.count : 0;
    info->tokens = s.tokens;
    info->target_tokens = (int64_t)s.count;
    info->seconds = now() - start;
    return tp_ok(ctx);
}

/* ---- after a step ------------------------------------------------------------------------------------------------ */

/* A run on its way. */
typedef struct {
    const tp_train_plan *plan;
    tp_train_result     *r;
    tp_progress          at;
    double               start, lr; /* lr: the optimiser's own, before the plan's */
} run;

/* False when early stopping ends the run. */
static bool validation(tp_ctx *ctx, run *t)
{
    const tp_train_plan *plan = t->plan;
    bool                 was = tp_record(ctx, false), best;
    tp_scope             s = tp_scope_begin(ctx);
    double               loss;

    tp_module_set_training(plan->root, false);
    loss = plan->validate(ctx, plan->user);
    tp_module_set_training(plan->root, true);
    tp_scope_end(ctx, s);
    tp_record(ctx, was);
    if (!tp_ok(ctx))
        return false;
    best = t->at.best_step == 0 ? !isnan(loss) : loss < t->at.best_loss;
    if (best) {
        t->at.best_loss = loss;
        t->at.best_step = t->at.step;
    }
    t->at.worse = best ? 0 : t->at.worse + 1;
    t->at.validated = t->at.step;
    if (plan->on_validation != NULL)
        plan->on_validation(ctx, plan->user, t->at.step, loss, best);
    return tp_ok(ctx);
}

static bool validation_is_due(const run *t)
{
    const tp_train_plan *p = t->plan;

    return p->validate != NULL && p->eval_every > 0 && t->at.step > t->at.validated &&
           (t->at.step % p->eval_every == 0 || t->at.step == p->steps);
}

static bool save(tp_ctx *ctx, const run *t)
{
    const tp_train_plan *p = t->plan;
    bool                 due = p->save_every > 0 && t->at.step % p->save_every == 0;

    if (p->save == NULL || !(due || t->r->interrupted || t->r->paused))
        return true;
    tp_optim_set_lr(p->opt, t->lr); /* what a later run begins with; each step sets its own */
    return p->save(ctx, p->user, &t->at);
}

/* What follows a step, also one that was done before the run was stopped: false when the run ends.  A signal does not
 * wait for a validation: it is made up for when the run goes on. */
static bool follow(tp_ctx *ctx, run *t)
{
    const tp_train_plan *p = t->plan;

    t->r->interrupted = p->stop != NULL && *p->stop;
    if (!t->r->interrupted && validation_is_due(t) && !validation(ctx, t))
        return false;
    t->r->stopped_early = p->patience > 0 && t->at.worse >= p->patience;
    t->r->paused = !t->r->stopped_early && p->stop_after > 0 && t->at.step >= p->stop_after && t->at.step < p->steps;
    return !t->r->stopped_early && !t->r->interrupted && !t->r->paused;
}

static bool after_step(tp_ctx *ctx, run *t, const tp_step_info *info)
{
    const tp_train_plan *p = t->plan;
    bool                 more;

    if (p->on_step != NULL && !p->on_step(ctx, p->user, info))
        return false;
    more = tp_ok(ctx) && follow(ctx, t);
    return tp_ok(ctx) && save(ctx, t) && tp_ok(ctx) && more;
}

static void run_steps(tp_ctx *ctx, run *t)
{
    const tp_train_plan *plan = t->plan;

    if (t->at.step > 0 && !follow(ctx, t))
        return;
    while (tp_ok(ctx) && t->at.step < plan->steps) {
        tp_step_info info = { .steps = plan->steps };

        if (!one_step(ctx, plan, t->at.step + 1, &info)) {
            t->r->out_of_data = tp_ok(ctx);
            return;
        }
        info.elapsed = now() - t->start;
        t->at.step = info.step;
        t->at.last_loss = info.loss;
        t->at.tokens += info.tokens;
        if (!after_step(ctx, t, &info))
            return;
    }
}

static void train(tp_ctx *ctx, const tp_train_plan *plan, run *t)
{
    tp_train_plan p = *plan;

    t->lr = tp_optim_lr(p.opt);
    p.lr = p.lr == 0 ? t->lr : p.lr < 0 ? 0 : p.lr;
    p.schedule.steps = p.schedule.steps > 0 ? p.schedule.steps : p.steps;
    t->plan = &p;
    t->at = p.progress ? *p.progress : (tp_progress){ 0 };
    tp_grad_clear(ctx, p.root);
    tp_module_set_training(p.root, true);
    run_steps(ctx, t);
    tp_optim_set_lr(p.opt, t->lr);
    tp_optim_scale(p.opt, 1);
    if (!tp_ok(ctx))
        tp_grad_clear(ctx, p.root);
    if (p.progress != NULL)
        *p.progress = t->at;
}

bool tp_train(tp_ctx *ctx, const tp_train_plan *plan, tp_train_result *result)
{
    tp_train_result r = { .best_loss = NAN };
    run             t = { .r = &r, .start = now() };

    if (tp_ok(ctx) &&
        (plan == NULL || plan->root == NULL || plan->opt == NULL || plan->loss == NULL || plan->steps < 0))
        tp_fail(ctx, TP_EARG, "train: a plan needs root, opt, loss and steps");
    if (tp_ok(ctx))
        train(ctx, plan, &t);
    r.steps = t.at.step;
    r.last_loss = t.at.last_loss;
    r.best_loss = t.at.best_step > 0 ? t.at.best_loss : NAN;
    r.best_step = t.at.best_step;
    r.seconds = now() - t.start;
    if (result != NULL)
        *result = r;
    return tp_ok(ctx);
}
