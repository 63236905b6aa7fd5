/* optim_state.c - states of optimisers, schedules and places in data. */
#include "nn/state_internal.h"
#include "optim/optim_internal.h"

#include <string.h>

static const char state_section[] = "optimizer/state";

static const char *rule_name(tpi_rule r)
{
    switch (r) {
    case TPI_ADAMW: return "adamw";
    case TPI_ADAM: return "adam";
    case TPI_SGD: return "sgd";
    case TPI_LION: return "lion";
    }
    return "";
}

/* ---- optimisers -------------------------------------------------------------------------------------------------- */

/* The tensor "NAME.what", if the rule has it. */
static bool moment(tp_state *st, const tpi_item *it, const char *what, tp_tensor *x)
{
    char *name = x ? tpi_format(st->ctx, "%s.%s", it->name, what) : NULL;
    bool  ok = name != NULL && tpi_state_put(st, state_section, name, x);

    tpi_free(name);
    return x == NULL || ok;
}

/* A gradient that waits for the next step: a run is saved in the midst of an accumulation. */
static bool pending(tp_state *st, tpi_item *it)
{
    tp_ctx    *ctx = st->ctx;
    tp_tensor *p = it->p;
    tp_scope   s;

    if (st->pass == TPI_SAVE)
        return p->grad == NULL || p->grad_used || tpi_state_put(st, "accum", it->name, p->grad);
    if (!tp_state_has(ctx, st, "accum", it->name)) {
        if (st->pass == TPI_LOAD)
            tp_grad_drop(p);
        return tp_ok(ctx);
    }
    s = tp_scope_begin(ctx);
    if (st->pass == TPI_LOAD) {
        tp_grad_drop(p);
        p->grad = tp_retain(tp_zeros(ctx, tp_dtype_of(p) == TP_F64 ? TP_F64 : TP_F32, p->ndim, p->dim));
        p->grad_used = false;
        tpi_state_put(st, "accum", it->name, p->grad);
    } else {
        tpi_state_put(st, "accum", it->name, tp_empty(ctx, tp_dtype_of(p) == TP_F64 ? TP_F64 : TP_F32, p->ndim, p->dim));
    }
    tp_scope_end(ctx, s);
    return tp_ok(ctx);
}

static bool item_state(tp_state *st, tpi_item *it)
{
    char *where = tpi_format(st->ctx, "%s/%s", state_section, it->name);
    bool  ok = where != NULL && tp_state_int(st->ctx, st, where, "steps", &it->steps);

    tpi_free(where);
    return ok && moment(st, it, "m", it->m) && moment(st, it, "v", it->v) && moment(st, it, "master", it->master) &&
           pending(st, it);
}

/* Parameters have been loaded too by now, and are what their masters are rounded to. */
static void masters_are_current(tp_ctx *ctx, void *user)
{
    tp_optim *opt = user;

    (void)ctx;
    for (size_t i = 0; i < opt->n; i++)
        opt->items[i].version = opt->items[i].p->store->version;
}

static bool hyper_state(tp_ctx *ctx, tp_optim *opt, tp_state *st)
{
    const tpi_hyper *h = &opt->hyper;

    return tp_state_same_text(ctx, st, "optimizer", "type", rule_name(h->rule)) &&
           tp_state_same_real(ctx, st, "optimizer", "beta1", h->beta1) &&
           tp_state_same_real(ctx, st, "optimizer", "beta2", h->beta2) &&
           tp_state_same_real(ctx, st, "optimizer", "eps", h->eps) &&
           tp_state_same_int(ctx, st, "optimizer", "nesterov", h->nesterov) &&
           tp_state_same_real(ctx, st, "optimizer", "weight_decay", opt->decay) &&
           tp_state_int(ctx, st, "optimizer", "step", &opt->steps) && tp_state_real(ctx, st, "optimizer", "lr", &opt->lr) &&
           tp_state_real(ctx, st, "optimizer", "scale", &opt->scale);
}

bool tp_optim_state(tp_ctx *ctx, tp_optim *opt, tp_state *st)
{
    if (!tpi_state_usable(ctx, st, "optim_state"))
        return false;
    if (opt == NULL || opt->ctx != ctx)
        return tp_fail(ctx, TP_EARG, "optim_state: no optimiser of this context") != NULL;
    if (!hyper_state(ctx, opt, st) || !tpi_state_claim(st, state_section, "") || !tpi_state_claim(st, "accum", ""))
        return false;
    for (size_t i = 0; i < opt->n; i++) {
        if (st->pass == TPI_SAVE && !tpi_renew_master(ctx, &opt->items[i]))
            return false;
        if (!item_state(st, &opt->items[i]))
            return false;
    }
    return tpi_state_later(st, masters_are_current, opt);
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

bool tp_schedule_state(tp_ctx *ctx, const tp_schedule *schedule, tp_state *st)
{
    static const char *const names[] = { "linear", "cosine", "constant" };
    tp_schedule              s = schedule ? *schedule : (tp_schedule){ .decay = TP_CONSTANT };
    bool                     own = s.fn != NULL;

    if (!tpi_state_usable(ctx, st, "schedule_state"))
        return false;
    return tp_state_same_text(ctx, st, "scheduler", "type", own ? "function" : names[s.decay]) &&
           tp_state_same_int(ctx, st, "scheduler", "steps", own ? 0 : s.steps) &&
           tp_state_same_int(ctx, st, "scheduler", "warmup", own ? 0 : s.warmup);
}

/* ---- places in data ---------------------------------------------------------------------------------------------- */

bool tp_loader_state(tp_ctx *ctx, tp_loader *loader, tp_state *st)
{
    tp_dataset      data;
    tp_loader_opts  opts;
    tp_loader_place place;

    if (!tpi_state_usable(ctx, st, "loader_state"))
        return false;
    if (loader == NULL)
        return tp_fail(ctx, TP_EARG, "loader_state: no loader") != NULL;
    tpi_loader_look(loader, &data, &opts);
    place = tp_loader_tell(loader);
    if (!tp_state_same_int(ctx, st, "data", "samples", data.length) ||
        !tp_state_same_int(ctx, st, "data", "batch_size", opts.batch) ||
        !tp_state_same_int(ctx, st, "data", "seed", (int64_t)opts.seed) ||
        !tp_state_same_int(ctx, st, "data", "shuffle", !opts.no_shuffle) ||
        !tp_state_same_int(ctx, st, "data", "drop_last", opts.drop_last) ||
        !tp_state_int(ctx, st, "data", "epoch", &place.epoch) || !tp_state_int(ctx, st, "data", "batch", &place.batch))
        return false;
    if (st->pass == TPI_LOAD)
        tp_loader_seek(ctx, loader, place);
    return tp_ok(ctx);
}
