/* linear.c - y = x w^T + b, or what the layer's chain of adapters makes of it. */
#include "core/internal.h"
#include "nn/layers.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

void tp_linear_init(tp_ctx *ctx, tp_linear *l, tp_module *parent, const char *name, int64_t in, int64_t out, bool bias,
                    tp_dtype t)
{
    double bound = 1 / sqrt(in > 0 ? (double)in : 1);

    if (l == NULL)
        return;
    memset(l, 0, sizeof *l);
    tp_module_init(ctx, &l->m, parent, "Linear", name);
    tp_init_uniform(ctx, tp_param_new(ctx, &l->m, &l->w, "weight", t, TP_SHAPE(out, in)), -bound, bound);
    if (bias)
        tp_init_uniform(ctx, tp_param_new(ctx, &l->m, &l->b, "bias", t, TP_SHAPE(out)), -bound, bound);
}

tp_tensor *tp_linear_base(tp_ctx *ctx, tp_linear *l, tp_tensor *x)
{
    if (!tp_ok(ctx) || l == NULL)
        return tp_fail(ctx, TP_EARG, "linear: no layer");
    return tp_affine(ctx, x, l->w, l->b);
}

/* The first active adapter from ad on, or the layer. */
static tp_tensor *run_chain(tp_ctx *ctx, tp_linear *l, tp_adapter *ad, tp_tensor *x)
{
    while (ad != NULL && !ad->active)
        ad = ad->below;
    return ad ? ad->type->forward(ctx, ad, x) : tp_linear_base(ctx, l, x);
}

tp_tensor *tp_linear_forward(tp_ctx *ctx, tp_linear *l, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || l == NULL)
        return tp_fail(ctx, TP_EARG, "linear: no layer");
    before = tp_module_enter(ctx, &l->m);
    y = run_chain(ctx, l, l->adapters, x);
    tp_module_leave(ctx, before);
    return y;
}

tp_tensor *tp_adapter_next(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    if (!tp_ok(ctx) || ad == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_next: no adapter");
    return run_chain(ctx, ad->linear, ad->below, x);
}

/* ---- attaching --------------------------------------------------------------------------------------------------- */

/* Replaces zeros by defaults, negative numbers by 0, and checks ranges. */
static bool complete_option(tp_ctx *ctx, const tp_adapter_type *type, const tp_option *o, void *opts)
{
    char  *field = (char *)opts + o->offset;
    double v, given;
    int    i;

    if (o->kind == TP_OPT_REAL) {
        memcpy(&given, field, sizeof given);
    } else {
        memcpy(&i, field, sizeof i);
        given = i;
    }
    v = given == 0 ? o->standard : given < 0 ? 0 : given;
    if (!(v >= o->low && v <= o->high))
        return tp_fail(ctx, TP_EARG, "%s: %s is %g, expected %g to %g", type->name, o->name, given, o->low, o->high) !=
               NULL;
    i = (int)v;
    if (o->kind == TP_OPT_REAL)
        memcpy(field, &v, sizeof v);
    else
        memcpy(field, &i, sizeof i);
    return true;
}

static bool complete_opts(tp_ctx *ctx, const tp_adapter_type *type, void *own)
{
    for (const tp_option *o = type->options; o != NULL && o->name != NULL; o++)
        if (!complete_option(ctx, type, o, own))
            return false;
    return true;
}

/* Takes the adapter out of its layer's chain. */
static void adapter_freed(tp_module *m)
{
    tp_adapter *ad = (tp_adapter *)m;

    for (tp_adapter **at = &ad->linear->adapters; *at != NULL; at = &(*at)->below)
        if (*at == ad) {
            *at = ad->below;
            break;
        }
    tp_release(ad->unmerged);
    ad->unmerged = NULL;
}

/* The options lie behind the struct, so that they go with it. */
static tp_adapter *adapter_new(tp_ctx *ctx, tp_linear *linear, const tp_adapter_type *type, const void *opts)
{
    size_t      room = (type->size + 15) & ~(size_t)15;
    tp_adapter *ad = tp_module_new(ctx, room + type->opts_size, &linear->m, type->name, "");

    if (ad == NULL)
        return NULL;
    ad->m.adapter = true;
    ad->m.on_free = adapter_freed;
    ad->opts = (char *)ad + room;
    if (opts != NULL)
        memcpy((char *)ad + room, opts, type->opts_size);
    ad->type = type;
    ad->linear = linear;
    ad->below = linear->adapters;
    ad->active = true;
    if (complete_opts(ctx, type, (char *)ad + room))
        type->init(ctx, ad);
    if (tp_ok(ctx))
        return ad;
    tp_module_free(&ad->m);
    return NULL;
}

tp_adapter *tp_adapter_attach(tp_ctx *ctx, tp_linear *linear, const tp_adapter_type *type, const void *opts)
{
    const char *before;
    tp_adapter *ad;
    tp_scope    s;

    if (!tp_ok(ctx) || linear == NULL || linear->w == NULL || type == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_attach: no layer or no type");
    if (type->name == NULL || type->size < sizeof *ad || type->init == NULL || type->forward == NULL)
        return tp_fail(ctx, TP_EARG,
                       "adapter_attach: a type needs a name, init, forward, and a struct that begins with tp_adapter");
    before = tp_module_enter(ctx, &linear->m);
    s = tp_scope_begin(ctx);
    ad = adapter_new(ctx, linear, type, opts);
    tp_scope_end(ctx, s);
    if (ad != NULL)
        linear->adapters = ad;
    tp_module_leave(ctx, before);
    return ad;
}
