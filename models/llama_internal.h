/* llama_internal.h - the inside of a tp_llama, shared by building, loading and running it. */
#ifndef TPI_LLAMA_H
#define TPI_LLAMA_H

#include "core/internal.h"
#include "models/llama.h"

typedef struct tpi_attention {
    tp_module m;
    tp_linear q, k, v, o;
} tpi_attention;

typedef struct tpi_mlp {
    tp_module m;
    tp_linear gate, up, down;
} tpi_mlp;

typedef struct tpi_block {
    tp_module     m;
    tp_llama     *model;
    int64_t       index;
    tpi_attention attn;
    tpi_mlp       mlp;
    tp_rms_norm   norm1, norm2; /* input_layernorm, post_attention_layernorm */
} tpi_block;

struct tp_llama {
    tp_module       root; /* nameless */
    tp_module       body; /* "model" */
    tp_module       list; /* "model.layers" */
    tp_embedding    embed;
    tpi_block      *block;
    tp_rms_norm     norm;
    tp_linear       head; /* "lm_head": its weight is embed's when tied */
    tp_ctx         *ctx;
    tp_llama_config config;
    tp_dtype        dtype;
    tp_tensor      *freq;   /* f32 [head_dim / 2] */
    tp_tensor      *divide; /* rope_freqs.weight, which freq has been divided by; NULL: none */
    tp_tokenizer   *tokenizer;
    char           *config_json; /* the text that came with the weights, for saving; NULL: made from config */
    bool            recompute;
    tp_kv_cache    *cache; /* while a pass with one runs */
};

struct tp_kv_cache {
    tp_llama   *model;
    tp_tensor **k, **v; /* a layer: [batch, length, kv heads, head_dim] */
    int64_t     batch, length, filled;
};

/* Builds the modules; weights from f, or random ones when f is NULL. */
bool  tpi_llama_build(tp_ctx *ctx, tp_llama *model, tp_file *f);
/* Fills in defaults and checks: NULL config fields that are needed, head counts that do not divide. */
bool  tpi_llama_config_complete(tp_ctx *ctx, const char *name, tp_llama_config *c);
/* freq of the configuration, with its scaling, divided by `divide` [head_dim / 2] when that is not NULL. */
bool  tpi_llama_freq(tp_ctx *ctx, tp_llama *model, tp_tensor *divide);
/* A config.json in both dialects; freed by the caller. */
char *tpi_llama_config_json(tp_ctx *ctx, const tp_llama *model, size_t *n);

#endif
