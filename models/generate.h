/*
 * generate.h - continuing texts, and how likely given continuations are.
 */
#ifndef TP_GENERATE_H
#define TP_GENERATE_H

#include "models/llama.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_generate_opts {
    int64_t max_new;      /* 128 */
    double  temperature;  /* 0: the likeliest token (the first of equals); else softmax(logits / temperature) is drawn
                             from */
    int64_t        top_k; /* > 0: only the k likeliest */
    double         top_p; /* in (0, 1): only the fewest likeliest whose probabilities reach p */
    const int32_t *stop;  /* ids that end a text (they are not part of it); NULL: the tokenizer's eos */
    int            n_stop;
    void          *user;
    /* Each new token as it comes; false ends that text.  May be NULL. */
    bool (*on_token)(void *user, int64_t row, int32_t id);
} tp_generate_opts;

/*
 * tp_generate: appends to out[i] the continuation of prompt[i], i < n, all at once with a cache of keys and values.
 * Random numbers come from the context's seed.
 *
 *   fails  TP_EARG for an empty prompt, or one that leaves no place below max_position_embeddings
 */
TP_API bool tp_generate(tp_ctx *ctx, tp_llama *model, int64_t n, const tp_ids *prompt, tp_ids *out,
                        const tp_generate_opts *opts);

typedef struct {
    double  logprob; /* sum over the completion's tokens of log p(token | all before), natural logarithm */
    int64_t tokens;
    bool    greedy; /* each of them was the likeliest */
} tp_lm_score_result;

/*
 * tp_lm_score: how likely the completion is behind the prompt.
 *
 *   fails  TP_EARG when the prompt is empty (nothing to predict the first token from) or both are too long for the
 * model
 */
TP_API bool tp_lm_score(tp_ctx *ctx, tp_llama *model, const tp_ids *prompt, const tp_ids *completion,
                        tp_lm_score_result *result);

#ifdef __cplusplus
}
#endif
#endif
