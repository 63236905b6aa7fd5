/* llama.c - running the model: blocks, loss, the cache of keys and values. */
#include "models/llama_internal.h"
#include "ops/ops.h"

/* ---- one block --------------------------------------------------------------------------------------------------- */

/* [B, S, heads * d] as [B, S, heads, d]. */
static tp_tensor *heads(tp_ctx *ctx, tp_tensor *x, int64_t n, int64_t d)
{
    return tp_reshape(ctx, x, TP_SHAPE(tp_dim(x, 0), tp_dim(x, 1), n, d));
}

/* Appends the new keys or values to the cache and returns all that it holds then. */
static tp_tensor *remember(tp_ctx *ctx, tp_kv_cache *c, tp_tensor *store, tp_tensor *x)
{
    int64_t s = tp_dim(x, 1);

    if (!tp_copy_to(ctx, tp_narrow(ctx, store, 1, c->filled, s), x))
        return NULL;
    return tp_narrow(ctx, store, 1, 0, c->filled + s);
}

static tp_tensor *attend(tp_ctx *ctx, tpi_block *b, tp_tensor *x, tp_tensor *pos, tp_tensor *range)
{
    tpi_attention         *a = &b->attn;
    tp_kv_cache           *cache = b->model->cache;
    const tp_llama_config *c = &b->model->config;
    tp_rope_opts           rope = { .freq = b->model->freq, .pos = pos, .base = cache ? cache->filled : 0 };
    tp_attention_opts      how = { .causal = true, .range = range, .window = c->sliding_window };
    tp_tensor             *q = heads(ctx, tp_linear_forward(ctx, &a->q, x), c->num_attention_heads, c->head_dim);
    tp_tensor             *k = heads(ctx, tp_linear_forward(ctx, &a->k, x), c->num_key_value_heads, c->head_dim);
    tp_tensor             *v = heads(ctx, tp_linear_forward(ctx, &a->v, x), c->num_key_value_heads, c->head_dim);
    tp_tensor             *o;

    q = tp_rope(ctx, q, &rope);
    k = tp_rope(ctx, k, &rope);
    if (cache != NULL) {
        k = remember(ctx, cache, cache->k[b->index], k);
        v = remember(ctx, cache, cache->v[b->index], v);
    }
    o = tp_attention(ctx, q, k, v, &how);
    o = tp_reshape(ctx, o, TP_SHAPE(tp_dim(x, 0), tp_dim(x, 1), c->num_attention_heads * c->head_dim));
    return tp_linear_forward(ctx, &a->o, o);
}

static tp_tensor *feed_forward(tp_ctx *ctx, tpi_mlp *f, tp_tensor *x)
{
    tp_tensor *g = tp_linear_forward(ctx, &f->gate, x), *u = tp_linear_forward(ctx, &f->up, x);

    return tp_linear_forward(ctx, &f->down, tp_silu_mul(ctx, g, u));
}

/* in: the residual stream, positions, ranges.  A function of its block and its inputs alone, so that it can be run
 * again. */
static tp_tensor *block_forward(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    tpi_block  *b = user;
    const char *before = tp_module_enter(ctx, &b->m);
    tp_scope    s = tp_scope_begin(ctx);
    tp_tensor  *h, *x, *y;

    x = tp_rms_norm_forward(ctx, &b->norm1, in[0]);
    y = attend(ctx, b, x, in[1], in[2]);
    x = tp_add_rmsnorm(ctx, y, in[0], b->norm2.w, b->norm2.eps, &h);
    y = tp_add(ctx, h, feed_forward(ctx, &b->mlp, x));
    y = tp_scope_return(ctx, s, y);
    tp_module_leave(ctx, before);
    return y;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static tp_tensor *check_ids(tp_ctx *ctx, tp_llama *model, tp_tensor *ids, tp_kv_cache *cache)
{
    char a[96];

    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama: no model");
    if (!tpi_check(ctx, "llama", ids, 0))
        return NULL;
    if (tp_ndim(ids) != 2)
        return tp_fail(ctx, TP_ESHAPE, "llama: ids is %s, expected [batch, places]", tp_shape_text(ids, a, sizeof a));
    if (cache != NULL &&
        (cache->model != model || cache->batch != tp_dim(ids, 0) || cache->filled + tp_dim(ids, 1) > cache->length))
        return tp_fail(ctx, TP_EARG, "llama: ids %s behind %lld places of a cache for %lld sequences of %lld",
                       tp_shape_text(ids, a, sizeof a), (long long)cache->filled, (long long)cache->batch,
                       (long long)cache->length);
    if (cache != NULL && tp_recording(ctx))
        return tp_fail(ctx, TP_EARG, "llama: a cache needs recording switched off (tp_record)");
    return ids;
}

tp_tensor *tp_llama_hidden(tp_ctx *ctx, tp_llama *model, tp_tensor *ids, tp_tensor *pos, tp_tensor *range,
                           tp_kv_cache *cache)
{
    tp_scope   s;
    tp_tensor *h;

    if (check_ids(ctx, model, ids, cache) == NULL)
        return NULL;
    s = tp_scope_begin(ctx);
    model->cache = cache;
    h = tp_embedding_forward(ctx, &model->embed, ids);
    for (int64_t i = 0; i < model->config.num_hidden_layers && tp_ok(ctx); i++) {
        tp_tensor *in[3] = { h, pos, range };

        h = model->recompute ? tp_checkpoint(ctx, block_forward, &model->block[i], 3, in)
                             : block_forward(ctx, &model->block[i], in);
    }
    h = tp_rms_norm_forward(ctx, &model->norm, h);
    model->cache = NULL;
    if (cache != NULL && tp_ok(ctx))
        cache->filled += tp_dim(ids, 1);
    return tp_scope_return(ctx, s, h);
}

tp_tensor *tp_llama_logits(tp_ctx *ctx, tp_llama *model, tp_tensor *h)
{
    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama_logits: no model");
    return tp_linear_forward(ctx, &model->head, h);
}

static tp_tensor *loss_of(tp_ctx *ctx, tp_llama *model, tp_lm_batch b, bool mean)
{
    tp_scope   s;
    tp_tensor *h, *loss, *count = NULL;

    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama_loss: no model");
    s = tp_scope_begin(ctx);
    h = tp_llama_hidden(ctx, model, b.ids, b.pos, b.range, NULL);
    if (model->head.adapters != NULL) { /* an adapter on the head needs its whole output */
        tp_tensor *logits = tp_llama_logits(ctx, model, h);

        loss = tp_cross_entropy(ctx, logits, b.target, &(tp_loss_opts){ .sum = !mean });
    } else {
        const char *before = tp_module_enter(ctx, &model->head.m);

        loss = tp_linear_cross_entropy(ctx, h, model->head.w, b.target, NULL, &count);
        if (mean)
            loss = tp_div(ctx, loss, tp_clamp(ctx, count, 1, 1e30));
        tp_module_leave(ctx, before);
    }
    return tp_scope_return(ctx, s, loss);
}

tp_tensor *tp_llama_loss_sum(tp_ctx *ctx, tp_llama *model, tp_lm_batch b)
{
    return loss_of(ctx, model, b, false);
}

tp_tensor *tp_llama_loss(tp_ctx *ctx, tp_llama *model, tp_lm_batch b)
{
    return loss_of(ctx, model, b, true);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

tp_kv_cache *tp_kv_cache_new(tp_ctx *ctx, tp_llama *model, int64_t batch, int64_t length)
{
    const tp_llama_config *c;
    tp_kv_cache           *cache;
    tp_scope               s;

    if (!tp_ok(ctx) || model == NULL || batch < 1 || length < 1)
        return tp_fail(ctx, TP_EARG, "kv_cache_new: no model, or %lld sequences of %lld places", (long long)batch,
                       (long long)length);
    c = &model->config;
    if (length > c->max_position_embeddings)
        return tp_fail(ctx, TP_EARG, "kv_cache_new: %lld places, the model has %lld positions", (long long)length,
                       (long long)c->max_position_embeddings);
    cache = tpi_alloc(ctx, 1, sizeof *cache);
    if (cache == NULL)
        return NULL;
    *cache = (tp_kv_cache){ model, NULL, NULL, batch, length, 0 };
    s = tp_scope_begin(ctx);
    cache->k = tpi_alloc(ctx, (size_t)c->num_hidden_layers, sizeof *cache->k);
    cache->v = tpi_alloc(ctx, (size_t)c->num_hidden_layers, sizeof *cache->v);
    for (int64_t i = 0; i < c->num_hidden_layers && tp_ok(ctx); i++) {
        cache->k[i] = tp_retain(
            tp_empty(ctx, model->dtype, TP_SHAPE(batch, length, c->num_key_value_heads, c->head_dim)));
        cache->v[i] = tp_retain(
            tp_empty(ctx, model->dtype, TP_SHAPE(batch, length, c->num_key_value_heads, c->head_dim)));
    }
    tp_scope_end(ctx, s);
    if (tp_ok(ctx))
        return cache;
    tp_kv_cache_free(cache);
    return NULL;
}

void tp_kv_cache_free(tp_kv_cache *cache)
{
    if (cache == NULL)
        return;
    for (int64_t i = 0; i < cache->model->config.num_hidden_layers; i++) {
        tp_release(cache->k ? cache->k[i] : NULL);
        tp_release(cache->v ? cache->v[i] : NULL);
    }
    tpi_free(cache->k);
    tpi_free(cache->v);
    tpi_free(cache);
}

int64_t tp_kv_cache_length(const tp_kv_cache *cache)
{
    return cache ? cache->filled : 0;
}
