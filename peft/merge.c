/* merge.c - folding adapters into the weights, and taking them out again. */
#include "core/internal.h"
#include "ops/ops.h"
#include "peft/peft_internal.h"

typedef struct {
    tp_ctx *ctx;
    int     n;
} merging;

/* Puts x in the place of the layer's weight; the parameter keeps its slot. */
static void put_weight(tp_linear *l, tp_tensor *x)
{
    tp_retain(x);
    tp_release(l->w);
    l->w = x;
}

static void merge_one(tp_adapter *ad, void *user)
{
    merging   *g = user;
    tp_ctx    *ctx = g->ctx;
    tp_linear *l = ad->linear;
    tp_tensor *w;
    tp_scope   s;
    bool       was;

    if (!tp_ok(ctx) || !ad->active)
        return;
    if (ad->type->delta == NULL) {
        tp_fail(ctx, TP_EARG, "%s: merge: an adapter of type %s cannot be merged", l->m.path, ad->type->name);
        return;
    }
    s = tp_scope_begin(ctx);
    was = tp_record(ctx, false);
    w = tp_cast(ctx, tp_add(ctx, tp_cast(ctx, l->w, TP_F32), ad->type->delta(ctx, ad)), tp_dtype_of(l->w));
    tp_record(ctx, was);
    if (w != NULL) {
        ad->unmerged = tp_retain(l->w);
        put_weight(l, w);
        ad->active = false;
        g->n++;
    }
    tp_scope_end(ctx, s);
}

int tp_merge(tp_ctx *ctx, tp_module *root)
{
    merging g = { ctx, 0 };

    if (!tp_ok(ctx))
        return 0;
    tpi_adapters_walk(root, merge_one, &g);
    return tp_ok(ctx) ? g.n : 0;
}

/* The adapter merged last holds the weight as it was just before it, so the chain is undone from its other end. */
static void unmerge_one(tp_adapter *ad, void *user)
{
    merging *g = user;

    if (ad->unmerged == NULL)
        return;
    for (tp_adapter *b = ad->below; b != NULL; b = b->below)
        if (b->unmerged != NULL)
            unmerge_one(b, user);
    put_weight(ad->linear, ad->unmerged);
    tp_release(ad->unmerged);
    ad->unmerged = NULL;
    ad->active = true;
    g->n++;
}

int tp_unmerge(tp_ctx *ctx, tp_module *root)
{
    merging g = { ctx, 0 };

    if (!tp_ok(ctx))
        return 0;
    tpi_adapters_walk(root, unmerge_one, &g);
    return g.n;
}
