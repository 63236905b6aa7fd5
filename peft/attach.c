/* attach.c - choosing layers by name, and what concerns all adapters of a model. */
#include "core/internal.h"
#include "nn/pattern.h"
#include "ops/ops.h"
#include "peft/peft_internal.h"

#include <string.h>

bool tpi_is_linear(const tp_module *m)
{
    return strcmp(m->kind, "Linear") == 0;
}

/* ---- attaching --------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_ctx                *ctx;
    tpi_pattern           *pattern;
    const char            *text;
    const tp_adapter_type *type;
    const void            *opts;
    int                    n;
    char                   names[600]; /* the last parts of the layers' paths, for the error */
} attaching;

static void note_name(attaching *a, const char *path)
{
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    char        padded[80];
    size_t      n = strlen(a->names);

    snprintf(padded, sizeof padded, " %s", name);
    if (strlen(name) < 64 && strstr(a->names, padded) == NULL && n + strlen(padded) < sizeof a->names)
        snprintf(a->names + n, sizeof a->names - n, "%s", padded);
}

/* First all layers are looked at, so that a pattern that does not fit changes nothing. */
static void look_at(tp_module *m, void *user)
{
    attaching *a = user;

    if (!tpi_is_linear(m))
        return;
    note_name(a, m->path);
    a->n += tpi_pattern_matches(a->ctx, a->pattern, m->path);
}

static void attach_one(tp_module *m, void *user)
{
    attaching  *a = user;
    tp_adapter *ad;

    if (!tp_ok(a->ctx) || !tpi_is_linear(m) || !tpi_pattern_matches(a->ctx, a->pattern, m->path))
        return;
    ad = tp_adapter_attach(a->ctx, (tp_linear *)m, a->type, a->opts);
    if (ad != NULL)
        ad->pattern = tpi_intern(a->ctx, a->text);
}

static void freeze_base(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)name;
    if (m->parent == NULL || !tpi_is_linear(m->parent)) /* an adapter is a layer's child */
        tp_set_trainable(user, *p->slot, false);
}

void tpi_freeze_base(tp_ctx *ctx, tp_module *root)
{
    tp_module_params(root, false, freeze_base, ctx);
}

int tp_attach(tp_ctx *ctx, tp_module *root, const char *pattern, const tp_adapter_type *type, const void *opts)
{
    attaching a = { ctx, NULL, pattern, type, opts, 0, "" };

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL || type == NULL) {
        tp_fail(ctx, TP_EARG, "attach: no model or no type of adapter");
        return 0;
    }
    a.pattern = tpi_pattern_new(ctx, "targets", pattern);
    tp_module_identity(ctx, root);
    tp_module_walk(root, look_at, &a);
    if (tpi_pattern_check(ctx, a.pattern, a.names)) {
        tpi_freeze_base(ctx, root);
        tp_module_walk(root, attach_one, &a);
    }
    tpi_pattern_free(a.pattern);
    return tp_ok(ctx) ? a.n : 0;
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

static void activate(tp_adapter *ad, void *user)
{
    ad->active = *(bool *)user && ad->unmerged == NULL;
}

void tp_adapters_activate(tp_ctx *ctx, tp_module *root, bool on)
{
    if (tp_ok(ctx))
        tpi_adapters_walk(root, activate, &on);
}

static void detach(tp_adapter *ad, void *user)
{
    (void)user;
    ad->linear->adapters = ad->below;
    tp_release(ad->unmerged);
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

    c->layers++;
    c->trainable += tp_module_count(&ad->m).trainable;
    c->base -= tp_module_count(&ad->m).all;
    c->dead += ad->type->dead ? ad->type->dead(ad) : 0;
}

tp_adapter_count tp_adapters_count(tp_module *root)
{
    tp_adapter_count c = { 0, 0, 0, 0 };

    if (root == NULL)
        return c;
    c.base = tp_module_count(root).all;
    tpi_adapters_walk(root, count_adapter, &c);
    return c;
}
