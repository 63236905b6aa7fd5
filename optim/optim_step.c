/* optim_step.c - stepping over all parameters in one kernel; norms and clipping. */
#include "optim/optim_internal.h"

#include <math.h>

/* The gradient that the next step takes: one that has arrived since the last. */
static tp_tensor *fresh_grad(const tpi_item *it)
{
    return it->p->grad != NULL && !it->p->grad_used ? it->p->grad : NULL;
}

static bool usable(tp_ctx *ctx, const char *what, const tp_optim *opt)
{
    if (!tp_ok(ctx) || opt == NULL || opt->ctx != ctx)
        return tp_fail(ctx, TP_EARG, "%s: no optimiser of this context", what) != NULL;
    for (size_t i = 0; i < opt->n; i++)
        if (opt->items[i].p->void_grad)
            return tp_fail(ctx, TP_EARG,
                           "%s: the gradient of %s is void, its backward failed; drop it with tp_grad_clear", what,
                           opt->items[i].name) != NULL;
    return true;
}

/* ---- stepping ---------------------------------------------------------------------------------------------------- */

static void *values(tp_tensor *x)
{
    return x ? x->data : NULL;
}

bool tpi_renew_master(tp_ctx *ctx, tpi_item *it)
{
    return it->master == NULL || it->version == it->p->store->version || tp_copy_to(ctx, it->master, it->p);
}

/* One kernel call for all parameters that have had `done` steps before. */
static bool step_those(tp_ctx *ctx, tp_optim *opt, int64_t done)
{
    tpi_run r = tpi_run_of(ctx);
    int64_t n = 0;

    for (size_t i = 0; i < opt->n; i++) {
        tpi_item  *it = &opt->items[i];
        tp_tensor *g = fresh_grad(it);

        if (g == NULL || it->steps != done)
            continue;
        if (!tpi_renew_master(ctx, it))
            return false;
        opt->work[n++] = (tpi_step){ .n = it->p->numel,
                                     .p = it->p->data,
                                     .t = tp_dtype_of(it->p),
                                     .master = values(it->master),
                                     .g = g->data,
                                     .m = values(it->m),
                                     .v = values(it->v),
                                     .lr = opt->lr * it->lr_factor,
                                     .decay = it->decay };
        tpi_touch(it->p);
        tp_grad_used(it->p);
        it->version = it->p->store->version;
        it->steps++;
    }
    opt->hyper.step = done + 1;
    opt->hyper.grad_scale = opt->scale;
    return tpi_done(ctx, "optim_step", tpi_k(ctx)->optim(&r, &opt->hyper, opt->work, n));
}

/* The most steps that a parameter with a new gradient has had, below `limit`; -1: there is none. */
static int64_t next_count(const tp_optim *opt, int64_t limit)
{
    int64_t most = -1;

    for (size_t i = 0; i < opt->n; i++)
        if (opt->items[i].steps < limit && opt->items[i].steps > most && fresh_grad(&opt->items[i]) != NULL)
            most = opt->items[i].steps;
    return most;
}

bool tp_optim_step(tp_ctx *ctx, tp_optim *opt)
{
    int64_t done = INT64_MAX;

    if (!usable(ctx, "optim_step", opt))
        return false;
    if (next_count(opt, INT64_MAX) < 0)
        return tp_fail(ctx, TP_EARG,
                       "optim_step: none of %zu parameters has a new gradient (the first is %s); call tp_backward, on a "
                       "loss that depends on them, before each step",
                       opt->n, opt->items[0].name) != NULL;
    while ((done = next_count(opt, done)) >= 0)
        if (!step_those(ctx, opt, done))
            return false;
    opt->steps++;
    opt->scale = 1;
    return true;
}

void tp_optim_set_lr(tp_optim *opt, double lr)
{
    if (opt != NULL && lr >= 0)
        opt->lr = lr;
}

double tp_optim_lr(const tp_optim *opt)
{
    return opt ? opt->lr : NAN;
}

int64_t tp_optim_steps(const tp_optim *opt)
{
    return opt ? opt->steps : 0;
}

int64_t tp_optim_size(const tp_optim *opt)
{
    return opt ? opt->size : 0;
}

void tp_optim_scale(tp_optim *opt, double s)
{
    if (opt != NULL)
        opt->scale = s;
}

/* ---- norms and clipping ------------------------------------------------------------------------------------------ */

static bool sum_of_type(tp_ctx *ctx, tp_optim *opt, tp_dtype t, double *sum)
{
    tpi_run r = tpi_run_of(ctx);
    int64_t count = 0;
    double  part = 0;

    for (size_t i = 0; i < opt->n; i++) {
        tp_tensor *g = fresh_grad(&opt->items[i]);

        if (g == NULL || tp_dtype_of(g) != t)
            continue;
        opt->grad[count] = g->data;
        opt->numel[count++] = g->numel;
    }
    if (count > 0 && !tpi_done(ctx, "grad_norm", tpi_k(ctx)->sumsq(&r, t, opt->grad, opt->numel, count, &part)))
        return false;
    *sum += part;
    return true;
}

double tp_grad_norm(tp_ctx *ctx, tp_optim *opt)
{
    double sum = 0;

    if (!usable(ctx, "grad_norm", opt) || !sum_of_type(ctx, opt, TP_F32, &sum) || !sum_of_type(ctx, opt, TP_F64, &sum))
        return NAN;
    return sqrt(sum) * fabs(opt->scale);
}

double tp_clip_norm(tp_ctx *ctx, tp_optim *opt, double max)
{
    double norm = tp_grad_norm(ctx, opt);

    if (max > 0 && norm > 0) {
        double s = max / (norm + 1e-6);

        opt->scale *= s < 1 ? s : 1;
    }
    return norm;
}

bool tp_clip_value(tp_ctx *ctx, tp_optim *opt, double max)
{
    double limit;

    if (!usable(ctx, "clip_value", opt))
        return false;
    if (!(max > 0))
        return tp_fail(ctx, TP_EARG, "clip_value: a limit of %g, expected more than 0", max) != NULL;
    limit = opt->scale != 0 ? max / fabs(opt->scale) : INFINITY;
    for (size_t i = 0; i < opt->n && tp_ok(ctx); i++) {
        tp_tensor *g = fresh_grad(&opt->items[i]);
        tpi_run    r = tpi_run_of(ctx);
        tpi_nd     nd = { 1, { g ? g->numel : 0 }, { { 1 }, { 1 } } };

        if (g == NULL)
            continue;
        tpi_touch(g);
        tpi_done(ctx, "clip_value",
                 tpi_k(ctx)->unary(&r, TPI_CLAMP, -limit, limit, &nd, tp_dtype_of(g), g->data, g->data));
    }
    return tp_ok(ctx);
}
