/*
 * gguf_keys.h - the key/values of a GGUF file, written: from a config.json and a vocabulary, or copied.  Internal.
 */
#ifndef TPI_GGUF_KEYS_H
#define TPI_GGUF_KEYS_H

#include "nn/files/gguf.h"

/* The head of a file as it grows. */
typedef struct tpi_gguf_out {
    tp_ctx *ctx;
    char   *p;
    size_t  n, cap;
    size_t  pairs;
} tpi_gguf_out;

/* What a config.json says, in GGUF's terms. */
typedef struct tpi_gguf_config {
    const char *arch; /* "llama" (Mistral too) or "qwen2" */
    int64_t     context, embedding, blocks, feed_forward, heads, kv_heads, head_dim, rotated, vocab;
    int64_t     window; /* 0: none */
    double      eps, theta;
    const char *scaling; /* "linear", "yarn"; NULL: none, or llama3's, which is a tensor */
    double      factor, original, attn_factor; /* 0: not said */
    const float *factors; /* llama3: by which each frequency is divided; lives as long as the file */
    int64_t     n_factors;
    bool        tied;
} tpi_gguf_config;

/* What Llama 3 divides the frequency f by; setting: factor, low_freq_factor, high_freq_factor, the original length. */
double tpi_llama3_factor(const double setting[4], double f);

bool tpi_gguf_config_read(tp_file *f, tpi_gguf_config *g);

bool tpi_gguf_put_bytes(tpi_gguf_out *o, const void *p, size_t n);
bool tpi_gguf_put_string(tpi_gguf_out *o, const char *s, size_t n);
bool tpi_gguf_put_u32(tpi_gguf_out *o, const char *key, uint32_t v);
bool tpi_gguf_put_text(tpi_gguf_out *o, const char *key, const char *text);
bool tpi_gguf_put_config(tpi_gguf_out *o, const tpi_gguf_config *g);
bool tpi_gguf_put_vocab(tpi_gguf_out *o, const tpi_gguf_vocab *v);
/* All of another file but those that say how its tensors are stored. */
bool tpi_gguf_put_copied(tpi_gguf_out *o, const tpi_gguf *g);

#endif
