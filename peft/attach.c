/* attach.c - choosing layers by name, and what concerns all adapters of a model. */
#include "core/internal.h"
#include "nn/pattern.h"
#include "peft/peft_internal.h"

#include <string.h>

bool tpi_is_linear(const tp_module *m)
{
    return !m->adapter && strcmp(m->kind, "Linear") == 0;
}

tp_module *tpi_top(tp_module *m)
{
    while (m->parent != NULL)
        m = m->parent;
    return m;
}

/* ---- attaching --------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_ctx                *ctx;
    tpi_pattern           *pattern;
    const char            *text;
    const tp_adapter_type *type;
    const void            *opts;
    tp_adapter           **made;
    int                    n, n_made;
    tpi_names              names;
} attaching;

/* First all layers are looked at, so that a pattern that does not fit changes nothing. */
static void look_at(tp_module *m, void *user)
{
    attaching *a = user;

    if (!tpi_is_linear(m))
        return;
    tpi_names_add(&a->names, m->path, 1);
    a->n += tpi_pattern_matches(a->ctx, a->pattern, m->path);
}

static void attach_one(tp_module *m, void *user)
{
    attaching  *a = user;
    tp_adapter *ad;

    if (!tp_ok(a->ctx) || !tpi_is_linear(m) || !tpi_pattern_matches(a->ctx, a->pattern, m->path))
        return;
    ad = tp_adapter_attach(a->ctx, (tp_linear *)m, a->type, a->opts);
    if (ad == NULL)
        return;
    a->made[a->n_made++] = ad;
    ad->pattern = a->text;
}

static void freeze_base(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)name;
    if (!m->adapter)
        tp_set_trainable(user, *p->slot, false);
}

void tpi_freeze_base(tp_ctx *ctx, tp_module *root)
{
    tp_module_params(root, false, freeze_base, ctx);
}

/* All or none of them. */
static void attach_all(attaching *a, tp_module *root)
{
    a->made = tpi_alloc(a->ctx, (size_t)a->n, sizeof *a->made);
    a->text = a->made ? tpi_intern(a->ctx, a->text) : NULL;
    tp_module_walk(root, attach_one, a);
    if (tp_ok(a->ctx))
        tpi_freeze_base(a->ctx, root);
    while (!tp_ok(a->ctx) && a->n_made > 0)
        tp_module_free(&a->made[--a->n_made]->m);
    tpi_free(a->made);
}

int tp_attach(tp_ctx *ctx, tp_module *root, const char *pattern, const tp_adapter_type *type, const void *opts)
{
    attaching a = { .ctx = ctx, .text = pattern, .type = type, .opts = opts };

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL || type == NULL) {
        tp_fail(ctx, TP_EARG, "attach: no model or no type of adapter");
        return 0;
    }
    a.pattern = tpi_pattern_new(ctx, "targets", pattern);
    tp_module_walk(root, look_at, &a);
    if (tpi_pattern_check(ctx, a.pattern, a.names.text) && tp_module_identity(ctx, tpi_top(root)) != NULL)
        attach_all(&a, root);
    tpi_pattern_free(a.pattern);
    return tp_ok(ctx) ? a.n_made : 0;
}

/* ---- all adapters ------------------------------------------------------------------------------------------------ */

typedef struct {
    void (*fn)(tp_adapter *ad, void *user);
    void *user;
} adapter_walk;

static void walk_layer(tp_module *m, void *user)
{
    adapter_walk *w = user;

    if (!tpi_is_linear(m))
        return;
    for (tp_adapter *ad = ((tp_linear *)m)->adapters, *below; ad != NULL; ad = below) {
        below = ad->below;
        w->fn(ad, w->user);
    }
}

void tpi_adapters_walk(tp_module *root, void (*fn)(tp_adapter *ad, void *user), void *user)
{
    adapter_walk w = { fn, user };

    tp_module_walk(root, walk_layer, &w);
}

static void find_merged(tp_adapter *ad, void *user)
{
    if (ad->unmerged != NULL)
        tp_fail(user, TP_EARG, "adapters_activate: %s is merged into its layer; tp_unmerge first", ad->m.path);
}

static void activate(tp_adapter *ad, void *user)
{
    ad->active = *(bool *)user && ad->unmerged == NULL;
}

void tp_adapters_activate(tp_ctx *ctx, tp_module *root, bool on)
{
    if (!tp_ok(ctx))
        return;
    if (root == NULL)
        tp_fail(ctx, TP_EARG, "adapters_activate: no model");
    if (!on)
        tpi_adapters_walk(root, find_merged, ctx);
    if (tp_ok(ctx))
        tpi_adapters_walk(root, activate, &on);
}

static void detach(tp_adapter *ad, void *user)
{
    (void)user;
    tp_module_free(&ad->m);
}

void tp_adapters_detach(tp_ctx *ctx, tp_module *root)
{
    if (ctx != NULL)
        tpi_adapters_walk(root, detach, NULL);
}

static void count_adapter(tp_adapter *ad, void *user)
{
    tp_adapter_count *c = user;
    tp_count          n = tp_module_count(&ad->m);

    c->layers += ad == ad->linear->adapters;
    c->trainable += n.trainable;
    c->base -= n.all;
    c->dead += ad->type->dead ? ad->type->dead(ad) : 0;
}

tp_adapter_count tp_adapters_count(tp_module *root)
{
    tp_adapter_count c = { 0, 0, 0, 0 };

    c.base = tp_module_count(root).all;
    tpi_adapters_walk(root, count_adapter, &c);
    return c;
}
