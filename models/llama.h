/*
 * llama.h - Llama, Mistral, SmolLM, Qwen2: decoder-only transformers of RMSNorm, rotary positions, grouped-query
 * attention and SwiGLU, chosen by their configuration.  Modules and weights have the names of the Hugging Face
 * checkpoints.
 */
#ifndef TP_LLAMA_H
#define TP_LLAMA_H

#include "models/text/tokenizer.h"
#include "nn/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_llama tp_llama;

/* The fields of config.json, under their names there.  0 asks for the default. */
typedef struct tp_llama_config {
    char    model_type[24];          /* "llama" (the default), "mistral", "qwen2" */
    int64_t vocab_size;              /* needed */
    int64_t hidden_size;             /* needed */
    int64_t intermediate_size;       /* needed */
    int64_t num_hidden_layers;       /* needed */
    int64_t num_attention_heads;     /* needed */
    int64_t num_key_value_heads;     /* default: num_attention_heads */
    int64_t head_dim;                /* default: hidden_size / num_attention_heads */
    int64_t max_position_embeddings; /* default: 2048 */
    double  rms_norm_eps;            /* default: 1e-6 */
    double  rope_theta;              /* default: 10000 */
    char    rope_type[16];           /* "default", "linear", "llama3" */
    double  rope_factor, rope_low_freq_factor, rope_high_freq_factor, rope_original_max_position_embeddings;
    bool    tie_word_embeddings;
    bool    attention_bias; /* bias in q, k, v and o */
    bool    qkv_bias;       /* bias in q, k, v alone: qwen2 always, others never */
    bool    mlp_bias;
    int64_t sliding_window;    /* 0: none; mistral only */
    double  initializer_range; /* default: 0.02 */
} tp_llama_config;

/* A batch of token sequences, each padded on the right or packed.  All tensors belong to the scope in which the batch
 * was made. */
typedef struct tp_lm_batch {
    tp_tensor *ids;    /* i32 [B, S] */
    tp_tensor *target; /* i32 [B, S]: the token that the logits at this place should give; negative: none */
    tp_tensor *pos;    /* i32 [B, S]: rotary position; NULL: 0, 1, ... in each row */
    tp_tensor *range;  /* i32 [B, S, 2]: the keys that a place may see, first and one beyond; NULL: all up to itself */
    int64_t    tokens; /* without padding */
    int64_t    target_tokens; /* places with a target */
    int64_t    first_sample;  /* number of the first sample in it, from 0 in the order of the file; for messages */
    int64_t    samples;
    int64_t    line; /* of the file, of the first sample; for messages */
} tp_lm_batch;

/* A model of that shape with random weights (normal, initializer_range; norms 1), all trainable.  NULL after a failure.
 */
TP_API tp_llama *tp_llama_new(tp_ctx *ctx, const tp_llama_config *config, tp_dtype t);
/*
 * Loads a Hugging Face directory, a .gguf file or a Tapir model.h5, weights converted to t (f32 or bf16; f16, f64 work
 * too), its tokenizer with it when there is one.  Missing, extra and misshapen tensors are errors that name them.
 */
TP_API tp_llama *tp_llama_load(tp_ctx *ctx, const char *path, tp_dtype t);
TP_API void      tp_llama_free(tp_llama *model);
/* The whole model - weights, configuration, tokenizer - as a Tapir model file, which tp_llama_load opens.  Written beside
 * path and renamed: path is as it was after a failure. */
TP_API bool tp_llama_save(tp_ctx *ctx, tp_llama *model, const char *path);
/* All weights in a checkpoint (nn/state.h); configuration and tokenizer are saved with them, so that tp_llama_load opens
 * such a checkpoint too, but not loaded into a model that is there. */
TP_API bool tp_llama_state(tp_ctx *ctx, tp_llama *model, tp_state *st);
/*
 * tp_llama_config_read: reads the n bytes of a config.json, in the dialect of transformers 4 or 5, and puts defaults
 * where a field is not there.
 *
 *   name    what messages call the text
 *   fails   TP_EFORMAT for what is no JSON, another model_type, a missing or impossible field
 */
TP_API bool tp_llama_config_read(tp_ctx *ctx, const char *name, const char *json, size_t n, tp_llama_config *config);

/* The module at the top, for tp_attach, optimizers and parameters by name; it belongs to the model.  NULL for NULL. */
TP_API tp_module *tp_llama_root(tp_llama *model);
/* The configuration with its defaults filled in, valid as long as the model.  NULL for NULL. */
TP_API const tp_llama_config *tp_llama_config_of(const tp_llama *model);
/* The model's tokenizer, borrowed; NULL when it has none. */
TP_API tp_tokenizer *tp_llama_tokenizer(const tp_llama *model);
/* What its weights were converted to when it was made. */
TP_API tp_dtype tp_llama_dtype(const tp_llama *model);
/* Who the frozen weights are: 32 hexadecimal digits over the source tensors (see tp_file_identity); of a model without
 * a file, over its parameters. */
TP_API const char *tp_llama_identity(tp_ctx *ctx, tp_llama *model);
/* Keeps only each block's input and runs the block again in backward: a third more time, a fraction of the memory. */
TP_API void tp_llama_set_recompute(tp_llama *model, bool on);

/* Keys and values of the places seen so far, for generation.  Belongs to the caller. */
typedef struct tp_kv_cache tp_kv_cache;

/* Room for `batch` sequences of up to `length` places.  Fails with TP_EARG beyond max_position_embeddings. */
TP_API tp_kv_cache *tp_kv_cache_new(tp_ctx *ctx, tp_llama *model, int64_t batch, int64_t length);
TP_API void         tp_kv_cache_free(tp_kv_cache *cache);
/* Places filled so far. */
TP_API int64_t tp_kv_cache_length(const tp_kv_cache *cache);

/*
 * The last hidden states, normalised, [B, S, hidden_size], dtype of the model.
 *
 *   ids, pos, range  as in tp_lm_batch; with a cache, S new places behind those it holds, and range over the places
 *                    of the cache
 *   cache            NULL, or where the keys and values of these places go (recording must be off)
 */
TP_API tp_tensor *tp_llama_hidden(tp_ctx *ctx, tp_llama *model, tp_tensor *ids, tp_tensor *pos, tp_tensor *range,
                                  tp_kv_cache *cache);
/* h [..., hidden_size] -> logits [..., vocab_size]. */
TP_API tp_tensor *tp_llama_logits(tp_ctx *ctx, tp_llama *model, tp_tensor *h);
/* Sum of the cross-entropies of the batch's targets, f32 [], without whole logits. */
TP_API tp_tensor *tp_llama_loss_sum(tp_ctx *ctx, tp_llama *model, tp_lm_batch b);
/* The mean over the batch's targets; 0 when there is none. */
TP_API tp_tensor *tp_llama_loss(tp_ctx *ctx, tp_llama *model, tp_lm_batch b);

#ifdef __cplusplus
}
#endif
#endif
