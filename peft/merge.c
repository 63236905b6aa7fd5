/* merge.c - folding adapters into the weights, and taking them out again. */
#include "core/internal.h"
#include "ops/ops.h"
#include "peft/peft_internal.h"

typedef struct {
    tp_adapter *ad;
    tp_tensor  *before; /* the layer's weight at that time */
} merged;

typedef struct {
    tp_ctx *ctx;
    merged *done; /* by this call */
    int     n, room;
} merging;

/* Puts x in the place of the layer's weight; the parameter keeps its slot. */
static void put_weight(tp_linear *l, tp_tensor *x)
{
    tp_retain(x);
    tp_release(l->w);
    l->w = x;
}

/* The layer's own weight, whatever has been merged into it. */
static tp_tensor *own_weight(const tp_linear *l)
{
    for (const tp_adapter *ad = l->adapters; ad != NULL; ad = ad->below)
        if (ad->unmerged != NULL)
            return ad->unmerged;
    return l->w;
}

static void look_at(tp_adapter *ad, void *user)
{
    merging *g = user;

    g->room += ad->active;
    if (ad->active && ad->type->delta == NULL)
        tp_fail(g->ctx, TP_EARG, "%s: merge: an adapter of type %s cannot be merged", ad->m.path, ad->type->name);
}

static tp_tensor *merged_weight(tp_ctx *ctx, tp_adapter *ad)
{
    tp_tensor *w = ad->linear->w, *delta;
    tp_dtype   wide = tp_dtype_of(w) == TP_F64 ? TP_F64 : TP_F32;
    char       a[96], b[96];

    delta = ad->type->delta(ctx, ad);
    if (delta == NULL)
        return tp_fail(ctx, TP_EARG, "%s: merge: the type %s gave no delta", ad->m.path, ad->type->name);
    if (!tp_same_shape(delta, w))
        return tp_fail(ctx, TP_ESHAPE, "%s: merge: the delta of %s is %s, the weight %s", ad->m.path, ad->type->name,
                       tp_shape_text(delta, a, sizeof a), tp_shape_text(w, b, sizeof b));
    return tp_cast(ctx, tp_add(ctx, tp_cast(ctx, w, wide), tp_cast(ctx, delta, wide)), tp_dtype_of(w));
}

static void merge_one(tp_adapter *ad, void *user)
{
    merging   *g = user;
    tp_tensor *w;
    tp_scope   s;
    bool       was;

    if (!tp_ok(g->ctx) || !ad->active)
        return;
    s = tp_scope_begin(g->ctx);
    was = tp_record(g->ctx, false);
    w = merged_weight(g->ctx, ad);
    tp_record(g->ctx, was);
    if (w != NULL) {
        g->done[g->n++] = (merged){ ad, tp_retain(ad->linear->w) };
        ad->unmerged = tp_retain(own_weight(ad->linear));
        put_weight(ad->linear, w);
        ad->active = false;
    }
    tp_scope_end(g->ctx, s);
}

static void take_out(tp_adapter *ad)
{
    tp_release(ad->unmerged);
    ad->unmerged = NULL;
    ad->active = true;
}

int tp_merge(tp_ctx *ctx, tp_module *root)
{
    merging g = { ctx, NULL, 0, 0 };

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL)
        tp_fail(ctx, TP_EARG, "merge: no model");
    tpi_adapters_walk(root, look_at, &g);
    g.done = tp_ok(ctx) ? tpi_alloc(ctx, (size_t)g.room, sizeof *g.done) : NULL;
    tpi_adapters_walk(root, merge_one, &g);
    for (int i = g.n; i-- > 0;) {
        if (!tp_ok(ctx)) { /* all or none */
            put_weight(g.done[i].ad->linear, g.done[i].before);
            take_out(g.done[i].ad);
        }
        tp_release(g.done[i].before);
    }
    tpi_free(g.done);
    return tp_ok(ctx) ? g.n : 0;
}

static void unmerge_one(tp_adapter *ad, void *user)
{
    if (ad->unmerged == NULL)
        return;
    put_weight(ad->linear, ad->unmerged);
    take_out(ad);
    ++*(int *)user;
}

int tp_unmerge(tp_ctx *ctx, tp_module *root)
{
    int n = 0;

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL)
        tp_fail(ctx, TP_EARG, "unmerge: no model");
    tpi_adapters_walk(root, unmerge_one, &n);
    return n;
}
