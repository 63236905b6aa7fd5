/* score.c - log probabilities of given continuations. */
#include "core/internal.h"
#include "models/generate.h"
#include "ops/ops.h"

#include <string.h>

enum { CHUNK = 256 };

/* The hidden states that predict the completion: places np - 1 ... np + nc - 2 of [1, np + nc - 1]. */
static tp_tensor *predictors(tp_ctx *ctx, tp_llama *model, const tp_ids *prompt, const tp_ids *completion)
{
    int64_t    n = prompt->n + completion->n - 1;
    tp_tensor *ids = tp_empty(ctx, TP_I32, TP_SHAPE(1, n)), *h;
    int32_t   *id = tp_i32(ctx, ids);

    if (id == NULL)
        return NULL;
    memcpy(id, prompt->id, (size_t)prompt->n * sizeof *id);
    memcpy(id + prompt->n, completion->id, (size_t)(completion->n - 1) * sizeof *id);
    h = tp_llama_hidden(ctx, model, ids, NULL, NULL, NULL);
    h = tp_narrow(ctx, h, 1, prompt->n - 1, completion->n);
    return tp_reshape(ctx, h, TP_SHAPE(completion->n, tp_llama_config_of(model)->hidden_size));
}

/* Adds up rows first ... first + n of the predictors. */
static void add_rows(tp_ctx *ctx, tp_llama *model, tp_tensor *h, const int32_t *id, int64_t first, int64_t n,
                     tp_lm_score_result *r)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *logits = tp_cast(ctx, tp_llama_logits(ctx, model, tp_narrow(ctx, h, 0, first, n)), TP_F32);
    tp_tensor *want = tp_from(ctx, TP_I32, TP_SHAPE(n, 1), id + first), *logp, *best;
    double     p[CHUNK];
    int64_t    top[CHUNK];

    logp = tp_gather(ctx, tp_log_softmax(ctx, logits, -1), 1, want);
    best = tp_argmax(ctx, logits, -1, false);
    if (tp_copy_out(ctx, logp, TP_F64, p, sizeof p) && tp_copy_out(ctx, best, TP_I64, top, sizeof top))
        for (int64_t i = 0; i < n; i++) {
            r->logprob += p[i];
            r->greedy &= top[i] == id[first + i];
        }
    tp_scope_end(ctx, s);
}

bool tp_lm_score(tp_ctx *ctx, tp_llama *model, const tp_ids *prompt, const tp_ids *completion,
                 tp_lm_score_result *result)
{
    tp_lm_score_result r = { 0, 0, true };
    tp_scope           s;
    tp_tensor         *h;
    bool               was;
    int64_t            room = model ? tp_llama_config_of(model)->max_position_embeddings : 0;

    if (!tp_ok(ctx) || model == NULL || prompt == NULL || completion == NULL || result == NULL)
        return tp_fail(ctx, TP_EARG, "lm_score: no model, no tokens or no place for the result") != NULL;
    if (prompt->n < 1 || prompt->n + completion->n > room)
        return tp_fail(ctx, TP_EARG, "lm_score: %lld + %lld tokens, expected at least 1 in front and at most %lld",
                       (long long)prompt->n, (long long)completion->n, (long long)room) != NULL;
    s = tp_scope_begin(ctx);
    was = tp_record(ctx, false);
    tp_module_set_training(tp_llama_root(model), false);
    r.tokens = completion->n;
    h = completion->n > 0 ? predictors(ctx, model, prompt, completion) : NULL;
    for (int64_t i = 0; i < completion->n && tp_ok(ctx); i += CHUNK)
        add_rows(ctx, model, h, completion->id, i, completion->n - i < CHUNK ? completion->n - i : CHUNK, &r);
    tp_module_set_training(tp_llama_root(model), true);
    tp_record(ctx, was);
    tp_scope_end(ctx, s);
    *result = r;
    return tp_ok(ctx);
}
