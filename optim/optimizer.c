/* optimizer.c - the list of what is trained, with its state. */
#include "optim/optim_internal.h"
#include "nn/pattern.h"

#include <math.h>
#include <string.h>

/* What collecting needs to know. */
typedef struct {
    tp_optim       *opt;
    tp_module      *root; /* of the whole tree */
    const tp_group *groups;
    tpi_pattern   **patterns;
    int             n_groups;
    tpi_names       names;
} collecting;

static double or_default(double v, double standard)
{
    return v == 0 ? standard : v < 0 ? 0 : v;
}

/* ---- one parameter ----------------------------------------------------------------------------------------------- */

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

/* The same tensor again is a tied weight; another view of its values would be stepped apart from it. */
static bool is_new(const collecting *c, const tp_tensor *x, const char *name)
{
    const tp_optim *o = c->opt;

    for (size_t i = 0; i < o->n; i++) {
        if (o->items[i].p == x)
            return false;
        if (o->items[i].p->store == x->store)
            return tp_fail(o->ctx, TP_EARG,
                           "optimiser: %s and %s are different views of the same values; give both modules one tensor",
                           o->items[i].name, name) != NULL;
    }
    return x->contiguous ||
           tp_fail(o->ctx, TP_EARG, "optimiser: %s is a strided view, expected a tensor of its own", name) != NULL;
}

/* Every group notes what it matches; the first counts. */
static void choose_group(collecting *c, tpi_item *it, const char *name)
{
    bool chosen = false;

    tpi_names_add(&c->names, name, 2);
    for (int i = 0; i < c->n_groups; i++) {
        if (!tpi_pattern_matches(c->opt->ctx, c->patterns[i], name) || chosen)
            continue;
        it->lr_factor *= or_default(c->groups[i].lr_factor, 1);
        it->decay = or_default(c->groups[i].weight_decay, it->decay);
        chosen = true;
    }
}

static void collect(tp_module *m, tp_param *p, const char *name, void *user)
{
    collecting *c = user;
    tp_optim   *o = c->opt;
    tp_ctx     *ctx = o->ctx;
    tpi_rule    rule = o->hyper.rule;
    tp_scope    s;
    tpi_item   *it;

    if (!tp_ok(ctx) || !tp_trainable(*p->slot) || p->buffer || !is_new(c, *p->slot, name) ||
        !tpi_grow(ctx, &o->items, &o->cap, o->n + 1, sizeof *o->items))
        return;
    it = &o->items[o->n++];
    *it = (tpi_item){ .p = tp_retain(*p->slot), .name = tpi_intern(ctx, name), .lr_factor = p->lr_factor };
    it->decay = p->no_decay ? 0 : o->decay;
    if (!m->adapter) /* the base will be another */
        c->root->identity = NULL;
    choose_group(c, it, name);
    s = tp_scope_begin(ctx);
    it->m = state_like(ctx, it->p, rule != TPI_SGD || o->hyper.beta1 > 0);
    it->v = state_like(ctx, it->p, rule == TPI_ADAMW || rule == TPI_ADAM);
    it->master = master_of(ctx, it->p);
    it->version = it->p->store->version;
    o->size += tp_numel(it->p);
    tp_scope_end(ctx, s);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static bool good_groups(tp_ctx *ctx, const tp_group *groups, int n)
{
    if (n < 0 || (n > 0 && groups == NULL))
        return tp_fail(ctx, TP_EARG, "optimiser: %d groups, expected an array of them", n) != NULL;
    for (int i = 0; i < n; i++)
        if (!(groups[i].lr_factor < 1e6) || !(groups[i].weight_decay < 1e6))
            return tp_fail(ctx, TP_EARG,
                           "optimiser: group %d has lr_factor %g, weight_decay %g; expected less than 1e6", i,
                           groups[i].lr_factor, groups[i].weight_decay) != NULL;
    return true;
}

static bool gather(tp_optim *o, tp_module *root, const tp_group *groups, int n_groups)
{
    tp_ctx    *ctx = o->ctx;
    collecting c = { o, root, groups, NULL, n_groups, { "" } };

    while (c.root->parent != NULL)
        c.root = c.root->parent;
    c.patterns = tpi_alloc(ctx, (size_t)n_groups, sizeof *c.patterns);
    for (int i = 0; c.patterns != NULL && i < n_groups; i++)
        c.patterns[i] = tpi_pattern_new(ctx, "group", groups[i].pattern);
    if (tp_ok(ctx))
        tp_module_params(root, false, collect, &c);
    if (tp_ok(ctx) && o->n == 0)
        tp_fail(ctx, TP_EARG, "optimiser: nothing below '%s' is trainable", root->path[0] ? root->path : root->kind);
    for (int i = 0; c.patterns != NULL && i < n_groups; i++) {
        tpi_pattern_check(ctx, c.patterns[i], c.names.text);
        tpi_pattern_free(c.patterns[i]);
    }
    tpi_free(c.patterns);
    o->work = tp_ok(ctx) ? tpi_alloc(ctx, o->n, sizeof *o->work) : NULL;
    o->grad = tp_ok(ctx) ? tpi_alloc(ctx, o->n, sizeof *o->grad) : NULL;
    o->numel = tp_ok(ctx) ? tpi_alloc(ctx, o->n, sizeof *o->numel) : NULL;
    return tp_ok(ctx);
}

static bool in_range(tp_ctx *ctx, const char *what, double v, double below)
{
    return (v >= 0 && v < below) ||
           tp_fail(ctx, TP_EARG, "optimiser: %s is %g, expected 0 <= %s < %g", what, v, what, below) != NULL;
}

static tp_optim *optim_new(tp_ctx *ctx, tp_module *root, tpi_hyper h, double lr, double decay, const tp_group *groups,
                           int n_groups)
{
    bool      sgd = h.rule == TPI_SGD;
    tp_optim *o;

    if (!tp_ok(ctx) || root == NULL)
        return tp_fail(ctx, TP_EARG, "optimiser: no module");
    if (!in_range(ctx, "lr", lr, 1e6) || !in_range(ctx, "weight_decay", decay, 1e6) ||
        !in_range(ctx, "eps", h.eps, 1e6) || !in_range(ctx, sgd ? "momentum" : "beta1", h.beta1, 1) ||
        !in_range(ctx, sgd ? "dampening" : "beta2", h.beta2, sgd ? 1e6 : 1) || !good_groups(ctx, groups, n_groups))
        return NULL;
    if (h.nesterov && (h.beta1 == 0 || h.beta2 != 0))
        return tp_fail(ctx, TP_EARG, "optimiser: nesterov needs a momentum and no dampening, got %g and %g", h.beta1,
                       h.beta2);
    o = tpi_alloc(ctx, 1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->ctx = ctx;
    o->hyper = h;
    o->lr = lr;
    o->decay = decay;
    o->scale = 1;
    if (gather(o, root, groups, n_groups))
        return o;
    tp_optim_free(o);
    return NULL;
}

/* ---- rules ------------------------------------------------------------------------------------------------------- */

static tp_optim *adam_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts, tpi_rule rule)
{
    tp_adamw_opts o = opts ? *opts : (tp_adamw_opts){ 0 };
    tpi_hyper     h = { .rule = rule };

    h.beta1 = or_default(o.beta1, 0.9);
    h.beta2 = or_default(o.beta2, 0.999);
    h.eps = or_default(o.eps, 1e-8);
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
    tpi_hyper   h = { .rule = TPI_SGD, .nesterov = o.nesterov };

    h.beta1 = or_default(o.momentum, 0);
    h.beta2 = or_default(o.dampening, 0);
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
    tpi_free(opt->grad);
    tpi_free(opt->numel);
    tpi_free(opt);
}
