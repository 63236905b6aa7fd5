/* layers.c - Embedding, RMSNorm, LayerNorm, Dropout. */
#include "nn/layers.h"
#include "core/internal.h"
#include "ops/ops.h"

#include <string.h>

void tp_embedding_init(tp_ctx *ctx, tp_embedding *e, tp_module *parent, const char *name, int64_t rows, int64_t d,
                       tp_dtype t)
{
    if (e == NULL)
        return;
    memset(e, 0, sizeof *e);
    tp_module_init(ctx, &e->m, parent, "Embedding", name);
    tp_init_normal(ctx, tp_param_new(ctx, &e->m, &e->w, "weight", t, TP_SHAPE(rows, d)), 0, 1);
}

tp_tensor *tp_embedding_forward(tp_ctx *ctx, tp_embedding *e, tp_tensor *ids)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || e == NULL)
        return tp_fail(ctx, TP_EARG, "embedding: no layer");
    before = tp_module_enter(ctx, &e->m);
    y = tp_embed(ctx, e->w, ids);
    tp_module_leave(ctx, before);
    return y;
}

void tp_rms_norm_init(tp_ctx *ctx, tp_rms_norm *n, tp_module *parent, const char *name, int64_t d, double eps,
                      tp_dtype t)
{
    if (n == NULL)
        return;
    memset(n, 0, sizeof *n);
    n->eps = eps;
    tp_module_init(ctx, &n->m, parent, "RMSNorm", name);
    tp_init_constant(ctx, tp_param_new(ctx, &n->m, &n->w, "weight", t, TP_SHAPE(d)), 1);
}

tp_tensor *tp_rms_norm_forward(tp_ctx *ctx, tp_rms_norm *n, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || n == NULL)
        return tp_fail(ctx, TP_EARG, "rms_norm: no layer");
    before = tp_module_enter(ctx, &n->m);
    y = tp_rmsnorm(ctx, x, n->w, n->eps);
    tp_module_leave(ctx, before);
    return y;
}

void tp_layer_norm_init(tp_ctx *ctx, tp_layer_norm *n, tp_module *parent, const char *name, int64_t d, double eps,
                        tp_dtype t)
{
    if (n == NULL)
        return;
    memset(n, 0, sizeof *n);
    n->eps = eps;
    tp_module_init(ctx, &n->m, parent, "LayerNorm", name);
    tp_init_constant(ctx, tp_param_new(ctx, &n->m, &n->w, "weight", t, TP_SHAPE(d)), 1);
    tp_param_new(ctx, &n->m, &n->b, "bias", t, TP_SHAPE(d));
}

tp_tensor *tp_layer_norm_forward(tp_ctx *ctx, tp_layer_norm *n, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || n == NULL)
        return tp_fail(ctx, TP_EARG, "layer_norm: no layer");
    before = tp_module_enter(ctx, &n->m);
    y = tp_layernorm(ctx, x, n->w, n->b, n->eps);
    tp_module_leave(ctx, before);
    return y;
}

void tp_dropout_init(tp_ctx *ctx, tp_dropout_layer *d, tp_module *parent, const char *name, double p)
{
    if (d == NULL)
        return;
    memset(d, 0, sizeof *d);
    tp_module_init(ctx, &d->m, parent, "Dropout", name);
    d->p = p;
    if (!(p >= 0 && p < 1))
        tp_fail(ctx, TP_EARG, "dropout: p is %g, expected 0 <= p < 1", p);
}

tp_tensor *tp_dropout_forward(tp_ctx *ctx, tp_dropout_layer *d, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || d == NULL)
        return tp_fail(ctx, TP_EARG, "dropout: no layer");
    before = tp_module_enter(ctx, &d->m);
    y = tp_dropout(ctx, x, d->p, d->m.training);
    tp_module_leave(ctx, before);
    return y;
}
