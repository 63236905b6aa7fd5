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

/* False when early stopping ends the run. */
static bool validation(tp_ctx *ctx, const tp_train_plan *plan, int64_t step, int64_t *worse, tp_train_result *r)
{
    bool     was = tp_record(ctx, false), best;
    tp_scope s = tp_scope_begin(ctx);
    double   loss;

    tp_module_set_training(plan->root, false);
    loss = plan->validate(ctx, plan->user);
    tp_module_set_training(plan->root, true);
    tp_scope_end(ctx, s);
    tp_record(ctx, was);
    if (!tp_ok(ctx))
        return false;
    best = loss < r->best_loss || (isnan(r->best_loss) && !isnan(loss));
    if (best) {
        r->best_loss = loss;
        r->best_step = step;
    }
    *worse = best ? 0 : *worse + 1;
    if (plan->on_validation != NULL)
        plan->on_validation(ctx, plan->user, step, loss, best);
    r->stopped_early = plan->patience > 0 && *worse >= plan->patience;
    return tp_ok(ctx) && !r->stopped_early;
}

/* False when the run ends. */
static bool after_step(tp_ctx *ctx, const tp_train_plan *plan, const tp_step_info *info, int64_t *worse,
                       tp_train_result *r)
{
    bool due = plan->validate != NULL && plan->eval_every > 0 &&
               (info->step % plan->eval_every == 0 || info->step == plan->steps);

    if (plan->on_step != NULL && !plan->on_step(ctx, plan->user, info))
        return false;
    if (plan->stop != NULL && *plan->stop) {
        r->interrupted = true;
        return false;
    }
    return tp_ok(ctx) && (!due || validation(ctx, plan, info->step, worse, r));
}

static void run_steps(tp_ctx *ctx, const tp_train_plan *plan, tp_train_result *r)
{
    double  start = now();
    int64_t worse = 0;

    for (int64_t step = 1; tp_ok(ctx) && step <= plan->steps; step++) {
        tp_step_info info = { .steps = plan->steps };

        if (!one_step(ctx, plan, step, &info)) {
            r->out_of_data = tp_ok(ctx);
            return;
        }
        info.elapsed = now() - start;
        r->steps = step;
        r->last_loss = info.loss;
        if (!after_step(ctx, plan, &info, &worse, r))
            return;
    }
}

bool tp_train(tp_ctx *ctx, const tp_train_plan *plan, tp_train_result *result)
{
    tp_train_result r = { .best_loss = NAN };
    tp_train_plan   p;
    double          start = now(), lr;

    if (tp_ok(ctx) &&
        (plan == NULL || plan->root == NULL || plan->opt == NULL || plan->loss == NULL || plan->steps < 0))
        tp_fail(ctx, TP_EARG, "train: a plan needs root, opt, loss and steps");
    if (tp_ok(ctx)) {
        p = *plan;
        lr = tp_optim_lr(p.opt);
        p.lr = p.lr == 0 ? lr : p.lr < 0 ? 0 : p.lr;
        p.schedule.steps = p.schedule.steps > 0 ? p.schedule.steps : p.steps;
        tp_grad_clear(ctx, p.root);
        tp_module_set_training(p.root, true);
        run_steps(ctx, &p, &r);
        tp_optim_set_lr(p.opt, lr);
        tp_optim_scale(p.opt, 1);
        if (!tp_ok(ctx))
            tp_grad_clear(ctx, p.root);
    }
    r.seconds = now() - start;
    if (result != NULL)
        *result = r;
    return tp_ok(ctx);
}
