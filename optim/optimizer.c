/* optimizer.c - the list of what is trained, and the step over all of it in one kernel. */
#include "optim/optimizer.h"
#include "core/internal.h"
#include "nn/pattern.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_tensor  *p, *master, *m, *v;
    const char *name; /* interned */
    double      lr_factor, decay;
} item;

struct tp_optim {
    tp_ctx   *ctx;
    item     *items;
    size_t    n, cap;
    tpi_step *work; /* one step's arguments */
    tpi_hyper hyper;
    double    lr, decay;
    int64_t   steps, size;
    double    scale; /* of the next step's gradients */
    bool      bad;
};

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* What collecting needs to know. */
typedef struct {
    tp_optim       *opt;
    const tp_group *groups;
    tpi_pattern   **patterns;
    int             n_groups;
    bool            moments2; /* v as well as m */
    bool            moments1;
} collecting;

static double or_default(double v, double standard)
{
    return v == 0 ? standard : v < 0 ? 0 : v;
}

static tp_tensor *state_like(tp_ctx *ctx, tp_tensor *p, bool wanted)
{
    return wanted ? tp_retain(tp_zeros(ctx, tp_dtype_of(p) == TP_F64 ? TP_F64 : TP_F32, p->ndim, p->dim)) : NULL;
}

static tp_tensor *master_of(tp_ctx *ctx, tp_tensor *p)
{
    tp_tensor *x;

    if (tp_dtype_size(tp_dtype_of(p)) != 2)
        return NULL;
    x = tp_empty(ctx, TP_F32, p->ndim, p->dim);
    return tp_copy_to(ctx, x, p) ? tp_retain(x) : NULL;
}

static void collect(tp_module *m, tp_param *p, const char *name, void *user)
{
    collecting *c = user;
    tp_optim   *o = c->opt;
    tp_ctx     *ctx = o->ctx;
    tp_scope    s;
    item       *it;

    (void)m;
    if (!tp_ok(ctx) || !tp_trainable(*p->slot) || !tpi_grow(ctx, &o->items, &o->cap, o->n + 1, sizeof *o->items))
        return;
    it = &o->items[o->n++];
    memset(it, 0, sizeof *it);
    s = tp_scope_begin(ctx);
    it->p = tp_retain(*p->slot);
    it->name = tpi_intern(ctx, name);
    it->lr_factor = p->lr_factor;
    it->decay = p->no_decay ? 0 : o->decay;
    for (int i = 0; i < c->n_groups; i++)
        if (tpi_pattern_matches(ctx, c->patterns[i], name)) {
            it->lr_factor *= or_default(c->groups[i].lr_factor, 1);
            it->decay = or_default(c->groups[i].weight_decay, it->decay);
            break;
        }
    it->m = state_like(ctx, it->p, c->moments1);
    it->v = state_like(ctx, it->p, c->moments2);
    it->master = master_of(ctx, it->p);
    o->size += tp_numel(it->p);
    tp_scope_end(ctx, s);
}

static bool gather(tp_optim *o, tp_module *root, const tp_group *groups, int n_groups, bool moments1, bool moments2)
{
    tp_ctx    *ctx = o->ctx;
    collecting c = { o, groups, NULL, n_groups, moments2, moments1 };

    c.patterns = tpi_alloc(ctx, (size_t)(n_groups > 0 ? n_groups : 1), sizeof *c.patterns);
    for (int i = 0; c.patterns != NULL && i < n_groups; i++)
        c.patterns[i] = tpi_pattern_new(ctx, "group", groups[i].pattern);
    if (tp_ok(ctx))
        tp_module_params(root, true, collect, &c);
    for (int i = 0; c.patterns != NULL && i < n_groups; i++) {
        tpi_pattern_check(ctx, c.patterns[i], NULL);
        tpi_pattern_free(c.patterns[i]);
    }
    tpi_free(c.patterns);
    if (tp_ok(ctx) && o->n == 0)
        tp_fail(ctx, TP_EARG, "optimiser: nothing below '%s' is trainable", root->path[0] ? root->path : root->kind);
    o->work = tp_ok(ctx) ? tpi_alloc(ctx, o->n, sizeof *o->work) : NULL;
    return tp_ok(ctx);
}

static tp_optim *optim_new(tp_ctx *ctx, tp_module *root, tpi_hyper h, double lr, double decay, const tp_group *groups,
                           int n_groups)
{
    tp_optim *o;
    bool      fits = lr >= 0 && lr < 1e6 && decay >= 0 && decay < 1e6 && h.beta1 >= 0 && h.beta1 < 1 && h.beta2 >= 0 &&
                h.beta2 <= 1;

    if (!tp_ok(ctx) || root == NULL)
        return tp_fail(ctx, TP_EARG, "optimiser: no module");
    if (!fits || (n_groups > 0 && groups == NULL))
        return tp_fail(ctx, TP_EARG, "optimiser: lr %g, decay %g, betas %g %g: out of range", lr, decay, h.beta1,
                       h.beta2);
    o = tpi_alloc(ctx, 1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->ctx = ctx;
    o->hyper = h;
    o->lr = lr;
    o->decay = decay;
    o->scale = 1;
    if (gather(o, root, groups, n_groups, h.rule != TPI_SGD || h.beta1 > 0, h.rule == TPI_ADAMW || h.rule == TPI_ADAM))
        return o;
    tp_optim_free(o);
    return NULL;
}

static tp_optim *adam_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts, tpi_rule rule)
{
    tp_adamw_opts o = opts ? *opts : (tp_adamw_opts){ 0 };
    tpi_hyper     h = { .rule = rule,
                        .beta1 = or_default(o.beta1, 0.9),
                        .beta2 = or_default(o.beta2, 0.999),
                        .eps = or_default(o.eps, 1e-8) };

    return optim_new(ctx, root, h, or_default(o.lr, 1e-3), or_default(o.weight_decay, 0), o.groups, o.n_groups);
}

tp_optim *tp_adamw_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts)
{
    return adam_new(ctx, root, opts, TPI_ADAMW);
}

tp_optim *tp_adam_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts)
{
    return adam_new(ctx, root, opts, TPI_ADAM);
}

tp_optim *tp_sgd_new(tp_ctx *ctx, tp_module *root, const tp_sgd_opts *opts)
{
    tp_sgd_opts o = opts ? *opts : (tp_sgd_opts){ 0 };
    tpi_hyper   h = {
          .rule = TPI_SGD, .beta1 = or_default(o.momentum, 0), .beta2 = or_default(o.dampening, 0), .nesterov = o.nesterov
    };

    return optim_new(ctx, root, h, or_default(o.lr, 1e-2), or_default(o.weight_decay, 0), o.groups, o.n_groups);
}

tp_optim *tp_lion_new(tp_ctx *ctx, tp_module *root, const tp_lion_opts *opts)
{
    tp_lion_opts o = opts ? *opts : (tp_lion_opts){ 0 };
    tpi_hyper    h = { .rule = TPI_LION, .beta1 = or_default(o.beta1, 0.9), .beta2 = or_default(o.beta2, 0.99) };

    return optim_new(ctx, root, h, or_default(o.lr, 1e-4), or_default(o.weight_decay, 0), o.groups, o.n_groups);
}

void tp_optim_free(tp_optim *opt)
{
    if (opt == NULL)
        return;
    for (size_t i = 0; i < opt->n; i++) {
        tp_release(opt->items[i].p);
        tp_release(opt->items[i].master);
        tp_release(opt->items[i].m);
        tp_release(opt->items[i].v);
    }
    tpi_free(opt->items);
    tpi_free(opt->work);
    tpi_free(opt);
}

/* ---- stepping ---------------------------------------------------------------------------------------------------- */

/* The gradient that the next step takes: one that has arrived since the last. */
static tp_tensor *fresh_grad(const item *it)
{
    return it->p->grad != NULL && !it->p->grad_used ? it->p->grad : NULL;
}

static bool usable(tp_ctx *ctx, const tp_optim *opt)
{
    for (size_t i = 0; i < opt->n; i++) {
        const item *it = &opt->items[i];

        if (it->p->void_grad && it->p->grad != NULL)
            return tp_fail(ctx, TP_EARG,
                           "optim_step: the gradient of %s is void, its backward failed; drop it with tp_grad_clear",
                           it->name) != NULL;
    }
    return true;
}

static void *values(tp_tensor *x)
{
    return x ? x->data : NULL;
}

bool tp_optim_step(tp_ctx *ctx, tp_optim *opt)
{
    tpi_run r;
    int64_t n = 0;

    if (!tp_ok(ctx) || opt == NULL)
        return tp_fail(ctx, TP_EARG, "optim_step: no optimiser") != NULL;
    if (!usable(ctx, opt))
        return false;
    for (size_t i = 0; i < opt->n; i++) {
        item      *it = &opt->items[i];
        tp_tensor *g = fresh_grad(it);

        if (g == NULL)
            continue;
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
    }
    opt->hyper.step = ++opt->steps;
    opt->hyper.grad_scale = opt->scale;
    opt->scale = 1;
    r = tpi_run_of(ctx);
    return tpi_done(ctx, "optim_step", tpi_k(ctx)->optim(&r, &opt->hyper, opt->work, n));
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

static bool sum_of_type(tp_ctx *ctx, tp_optim *opt, tp_dtype t, const void **p, int64_t *n, double *sum)
{
    tpi_run r = tpi_run_of(ctx);
    int64_t count = 0;
    double  part = 0;

    for (size_t i = 0; i < opt->n; i++) {
        tp_tensor *g = fresh_grad(&opt->items[i]);

        if (g == NULL || tp_dtype_of(g) != t)
            continue;
        p[count] = g->data;
        n[count++] = g->numel;
    }
    if (count > 0 && !tpi_done(ctx, "grad_norm", tpi_k(ctx)->sumsq(&r, t, p, n, count, &part)))
        return false;
    *sum += part;
    return true;
}

double tp_grad_norm(tp_ctx *ctx, tp_optim *opt)
{
    const void **p;
    int64_t     *n;
    double       sum = 0;

    if (!tp_ok(ctx) || opt == NULL) {
        tp_fail(ctx, TP_EARG, "grad_norm: no optimiser");
        return NAN;
    }
    p = tpi_alloc(ctx, opt->n, sizeof *p);
    n = tpi_alloc(ctx, opt->n, sizeof *n);
    if (p != NULL && n != NULL && sum_of_type(ctx, opt, TP_F32, p, n, &sum))
        sum_of_type(ctx, opt, TP_F64, p, n, &sum);
    tpi_free(p);
    tpi_free(n);
    return tp_ok(ctx) ? sqrt(sum) * fabs(opt->scale) : NAN;
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
    if (!tp_ok(ctx) || opt == NULL || !(max > 0))
        return tp_fail(ctx, TP_EARG, "clip_value: no optimiser, or a limit of %g, expected more than 0", max) != NULL;
    for (size_t i = 0; i < opt->n && tp_ok(ctx); i++) {
        tp_tensor *g = fresh_grad(&opt->items[i]);
        tpi_run    r = tpi_run_of(ctx);
        tpi_nd     nd = { 1, { g ? g->numel : 0 }, { { 1 }, { 1 } } };

        if (g != NULL)
            tpi_done(ctx, "clip_value",
                     tpi_k(ctx)->unary(&r, TPI_CLAMP, -max, max, &nd, tp_dtype_of(g), g->data, g->data));
    }
    return tp_ok(ctx);
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

double tp_schedule_factor(const tp_schedule *schedule, int64_t step)
{
    double done, left;

    if (schedule == NULL)
        return 1;
    if (schedule->fn != NULL)
        return schedule->fn(schedule->user, step);
    if (step < schedule->warmup)
        return (double)(step + 1) / (double)schedule->warmup;
    left = (double)(schedule->steps - schedule->warmup);
    done = left > 0 ? (double)(step - schedule->warmup) / left : 0;
    done = done > 1 ? 1 : done;
    switch (schedule->decay) {
    case TP_LINEAR: return 1 - done;
    case TP_COSINE: return 0.5 * (1 + cos(3.14159265358979323846 * done));
    case TP_CONSTANT: return 1;
    }
    return 1;
}
