/* module_state.c - states of modules, and of the random numbers. */
#include "core/internal.h"
#include "nn/state_internal.h"

#include <string.h>

typedef struct {
    tp_state *st;
    bool      trained_only, base_trained;
} visit;

static bool is_trained(const tp_module *m, const tp_param *p)
{
    return m->adapter || p->buffer || tp_trainable(*p->slot) || !tp_dtype_is_float(tp_dtype_of(*p->slot));
}

static void visit_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    visit      *v = user;
    const char *section = m->adapter ? "adapter" : "model";

    if (!tp_ok(v->st->ctx) || (v->trained_only && !is_trained(m, p)))
        return;
    if (p->buffer)
        tpi_state_put_buffer(v->st, section, name, *p->slot);
    else
        tpi_state_put(v->st, section, name, *p->slot);
}

static void find_trained(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)name;
    ((visit *)user)->base_trained |= !m->adapter && tp_trainable(*p->slot);
}

static bool module_state(tp_ctx *ctx, tp_module *m, tp_state *st, visit *v)
{
    if (!tpi_state_usable(ctx, st, "module_state"))
        return false;
    if (m == NULL)
        return tp_fail(ctx, TP_EARG, "module_state: no module") != NULL;
    v->st = st;
    if ((!m->adapter && !tpi_state_claim(st, "model", m->path)) || !tpi_state_claim(st, "adapter", m->path))
        return false;
    tp_module_params(m, false, visit_param, v);
    return tp_ok(ctx);
}

bool tp_module_state(tp_ctx *ctx, tp_module *m, tp_state *st)
{
    visit v = { 0 };

    return module_state(ctx, m, st, &v);
}

bool tp_module_trained_state(tp_ctx *ctx, tp_module *m, tp_state *st)
{
    visit       v = { .trained_only = true };
    tp_module  *top = m;
    const char *identity;

    if (!module_state(ctx, m, st, &v))
        return false;
    while (top->parent != NULL)
        top = top->parent;
    tp_module_params(top, false, find_trained, &v);
    if (v.base_trained)
        return true;
    identity = tp_module_identity(ctx, top);
    return identity != NULL && tp_state_same_text(ctx, st, NULL, "base_identity", identity);
}

bool tp_random_state(tp_ctx *ctx, tp_state *st)
{
    static const char *const key[] = { "seed", "step", "draws" };
    int64_t                  v[3];

    if (!tpi_state_usable(ctx, st, "random_state"))
        return false;
    tpi_random_get(ctx, v);
    for (int i = 0; i < 3; i++)
        if (!tp_state_int(ctx, st, "rng", key[i], &v[i]))
            return false;
    if (st->pass == TPI_LOAD)
        tpi_random_set(ctx, v);
    return true;
}

static void module_alone(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_module_state(ctx, user, st);
}

bool tp_module_save(tp_ctx *ctx, tp_module *m, const char *path)
{
    return tp_state_save(ctx, path, "model", module_alone, m);
}

bool tp_module_load(tp_ctx *ctx, tp_module *m, const char *path, const tp_load_opts *opts)
{
    return tp_state_load(ctx, path, module_alone, m, opts);
}
