/*
 * gguf_hf.c - a GGUF file seen as the Hugging Face checkpoint that it was made from: names, order of rows, config.json.
 */
#include "core/json.h"
#include "nn/files/filetable.h"
#include "nn/files/gguf.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------------------------------------------------- */

typedef struct rename_rule {
    const char *gguf, *hf;
    int         permuted; /* 1: by the heads of q, 2: of k */
} rename_rule;

/* "blk.{i}." becomes "model.layers.{i}."; ".weight" or ".bias" follows. */
static const rename_rule in_layer[] = {
    { "attn_norm", "input_layernorm", 0 }, { "ffn_norm", "post_attention_layernorm", 0 },
    { "attn_q", "self_attn.q_proj", 1 },   { "attn_k", "self_attn.k_proj", 2 },
    { "attn_v", "self_attn.v_proj", 0 },   { "attn_output", "self_attn.o_proj", 0 },
    { "ffn_gate", "mlp.gate_proj", 0 },    { "ffn_up", "mlp.up_proj", 0 },
    { "ffn_down", "mlp.down_proj", 0 },
};
static const rename_rule outside[] = {
    { "token_embd.weight", "model.embed_tokens.weight", 0 },
    { "output_norm.weight", "model.norm.weight", 0 },
    { "output.weight", "lm_head.weight", 0 },
};

static bool is_llama(const tpi_gguf *g)
{
    return strcmp(g->arch, "llama") == 0;
}

static bool is_known(const tpi_gguf *g)
{
    return is_llama(g) || strcmp(g->arch, "qwen2") == 0;
}

/* "<arch>.key" of a number. */
static bool arch_int(tp_file *f, const char *key, int64_t *v)
{
    char name[TPI_MAX_NAME];

    snprintf(name, sizeof name, "%.200s.%s", f->gguf->arch, key);
    return tpi_gguf_int(f->gguf, name, v);
}

static bool arch_real(tp_file *f, const char *key, double *v)
{
    char name[TPI_MAX_NAME];

    snprintf(name, sizeof name, "%.200s.%s", f->gguf->arch, key);
    return tpi_gguf_real(f->gguf, name, v);
}

/* The heads by which the rows of q (1) or k (2) are permuted: of architecture llama only. */
static int64_t heads_of(tp_file *f, int which)
{
    int64_t heads = 0;

    if (!which || !is_llama(f->gguf))
        return 0;
    if (which == 2 && arch_int(f, "attention.head_count_kv", &heads))
        return heads;
    return arch_int(f, "attention.head_count", &heads) ? heads : 0;
}

/* name after "blk.{digits}.", *layer its digits; NULL when it does not begin so. */
static const char *after_layer(const char *name, const char **layer, int *digits)
{
    const char *p = name + 4;

    if (strncmp(name, "blk.", 4) != 0)
        return NULL;
    *layer = p;
    while (*p >= '0' && *p <= '9')
        p++;
    *digits = (int)(p - *layer);
    return *digits > 0 && *digits < 10 && *p == '.' ? p + 1 : NULL;
}

const char *tpi_gguf_hf_name(tp_file *f, const char *name, int64_t *heads)
{
    const char *layer, *rest;
    int         digits = 0;
    size_t      i;

    *heads = 0;
    if (!is_known(f->gguf))
        return name;
    for (i = 0; i < sizeof outside / sizeof outside[0]; i++)
        if (strcmp(name, outside[i].gguf) == 0)
            return outside[i].hf;
    rest = after_layer(name, &layer, &digits);
    for (i = 0; rest && i < sizeof in_layer / sizeof in_layer[0]; i++) {
        size_t n = strlen(in_layer[i].gguf);

        if (strncmp(rest, in_layer[i].gguf, n) != 0 ||
            (strcmp(rest + n, ".weight") != 0 && strcmp(rest + n, ".bias") != 0))
            continue;
        *heads = heads_of(f, in_layer[i].permuted);
        if (in_layer[i].permuted && is_llama(f->gguf) && *heads <= 0) {
            tpi_file_bad(f, "%s.attention.head_count is missing or differs between layers", f->gguf->arch);
            return NULL;
        }
        return tpi_file_own(f, tpi_format(f->ctx, "model.layers.%.*s.%s%s", digits, layer, in_layer[i].hf, rest + n));
    }
    return name;
}

/* What follows "model.layers.{digits}." in name; NULL when it does not begin so. */
static const char *after_hf_layer(const char *name, const char **layer, int *digits)
{
    const char *p = name + 13;

    if (strncmp(name, "model.layers.", 13) != 0)
        return NULL;
    *layer = p;
    while (*p >= '0' && *p <= '9')
        p++;
    *digits = (int)(p - *layer);
    return *digits > 0 && *digits < 10 && *p == '.' ? p + 1 : NULL;
}

bool tpi_gguf_name_of(const char *hf, char name[64], int *permuted)
{
    const char *layer, *rest;
    int         digits = 0;
    size_t      i;

    *permuted = 0;
    for (i = 0; i < sizeof outside / sizeof outside[0]; i++)
        if (strcmp(hf, outside[i].hf) == 0)
            return snprintf(name, 64, "%s", outside[i].gguf) > 0;
    if (strcmp(hf, "rope_freqs.weight") == 0)
        return snprintf(name, 64, "%s", hf) > 0;
    rest = after_hf_layer(hf, &layer, &digits);
    for (i = 0; rest && i < sizeof in_layer / sizeof in_layer[0]; i++) {
        size_t n = strlen(in_layer[i].hf);

        if (strncmp(rest, in_layer[i].hf, n) != 0 ||
            (strcmp(rest + n, ".weight") != 0 && strcmp(rest + n, ".bias") != 0))
            continue;
        *permuted = in_layer[i].permuted;
        return snprintf(name, 64, "blk.%.*s.%s%s", digits, layer, in_layer[i].gguf, rest + n) < 64;
    }
    return false;
}

/* ---- rows of q and k ------------------------------------------------------------------------------------------------- */

bool tpi_gguf_unpermute(tp_ctx *ctx, void *rows, int64_t n, size_t row_bytes, int64_t heads)
{
    int64_t d = n / heads, h, b;
    char   *one = tpi_alloc(ctx, (size_t)d, row_bytes), *p = rows;

    if (!one)
        return false;
    for (h = 0; h < heads; h++, p += (size_t)d * row_bytes) {
        memcpy(one, p, (size_t)d * row_bytes);
        for (b = 0; b < d / 2; b++) {
            memcpy(p + (size_t)b * row_bytes, one + (size_t)(2 * b) * row_bytes, row_bytes);
            memcpy(p + (size_t)(b + d / 2) * row_bytes, one + (size_t)(2 * b + 1) * row_bytes, row_bytes);
        }
    }
    tpi_free(one);
    return true;
}

/* ---- config.json ----------------------------------------------------------------------------------------------------- */

double tpi_gguf_short(float v)
{
    char buf[32];
    int  digits;

    for (digits = 1; digits < 9; digits++) {
        snprintf(buf, sizeof buf, "%.*g", digits, (double)v);
        if (strtof(buf, NULL) == v)
            return strtod(buf, NULL); /* 1e-05, where v as a double is 9.99999974737875e-06 */
    }
    return (double)v;
}

static bool has_tensor(const tp_file *f, const char *name)
{
    size_t i;

    for (i = 0; i < f->entries; i++)
        if (strcmp(f->entry[i].seen.name, name) == 0)
            return true;
    return false;
}

/* A number that the file has becomes a member of that name. */
static bool put_int(tp_file *f, tpi_json *j, const char *key, const char *name)
{
    int64_t v;

    return !arch_int(f, key, &v) || tpi_json_set_int(f->ctx, j, name, v);
}

static bool put_real(tp_file *f, tpi_json *j, const char *key, const char *name)
{
    double v;

    return !arch_real(f, key, &v) || tpi_json_set_double(f->ctx, j, name, v);
}

static bool put_sizes(tp_file *f, tpi_json *j)
{
    int64_t head_dim = 0, hidden = 0, heads = 0, rotated = 0, vocab = 0;
    size_t  i;

    for (i = 0; i < f->entries; i++)
        if (strcmp(f->entry[i].seen.name, "model.embed_tokens.weight") == 0)
            vocab = f->entry[i].seen.dim[0];
    arch_int(f, "embedding_length", &hidden);
    arch_int(f, "attention.head_count", &heads);
    if (!arch_int(f, "attention.key_length", &head_dim))
        head_dim = heads > 0 ? hidden / heads : 0;
    if (!put_int(f, j, "embedding_length", "hidden_size") ||
        !put_int(f, j, "feed_forward_length", "intermediate_size") ||
        !put_int(f, j, "block_count", "num_hidden_layers") ||
        !put_int(f, j, "attention.head_count", "num_attention_heads") ||
        !put_int(f, j, "attention.head_count", "num_key_value_heads") ||
        !put_int(f, j, "attention.head_count_kv", "num_key_value_heads") ||
        !tpi_json_set_int(f->ctx, j, "head_dim", head_dim) ||
        !put_int(f, j, "context_length", "max_position_embeddings"))
        return false;
    if (arch_int(f, "rope.dimension_count", &rotated) && head_dim > 0 && rotated != head_dim &&
        !tpi_json_set_double(f->ctx, j, "partial_rotary_factor", (double)rotated / (double)head_dim))
        return false;
    return vocab <= 0 || tpi_json_set_int(f->ctx, j, "vocab_size", vocab);
}

/* rope_scaling as transformers 4 writes it.  Llama 3's own scaling is the tensor rope_freqs.weight, not a key. */
static bool put_rope(tp_file *f, tpi_json *j)
{
    char        key[TPI_MAX_NAME];
    const char *type;
    double      base = 10000;
    tpi_json   *s;

    arch_real(f, "rope.freq_base", &base);
    snprintf(key, sizeof key, "%.200s.rope.scaling.type", f->gguf->arch);
    type = tpi_gguf_text(f, key);
    if (!tpi_json_set_double(f->ctx, j, "rope_theta", base))
        return false;
    if (!type || strcmp(type, "none") == 0)
        return tpi_json_set(f->ctx, j, "rope_scaling", tpi_json_new_null(f->ctx));
    s = tpi_json_new_object(f->ctx);
    if (!s || !tpi_json_set_text(f->ctx, s, "rope_type", type) || !tpi_json_set_text(f->ctx, s, "type", type) ||
        !put_real(f, s, "rope.scaling.factor", "factor") ||
        !put_int(f, s, "rope.scaling.original_context_length", "original_max_position_embeddings") ||
        !put_real(f, s, "rope.scaling.attn_factor", "attention_factor")) {
        tpi_json_free(s);
        return false;
    }
    return tpi_json_set(f->ctx, j, "rope_scaling", s);
}

static bool put_token(tp_file *f, tpi_json *j, const char *key, const char *name)
{
    int64_t v;

    return !tpi_gguf_int(f->gguf, key, &v) || tpi_json_set_int(f->ctx, j, name, v);
}

static bool put_rest(tp_file *f, tpi_json *j)
{
    tp_ctx *ctx = f->ctx;

    return tpi_json_set_text(ctx, j, "hidden_act", "silu") &&
           put_real(f, j, "attention.layer_norm_rms_epsilon", "rms_norm_eps") &&
           tpi_json_set_bool(ctx, j, "tie_word_embeddings", !has_tensor(f, "lm_head.weight")) &&
           tpi_json_set_bool(ctx, j, "attention_bias", has_tensor(f, "model.layers.0.self_attn.q_proj.bias")) &&
           tpi_json_set_bool(ctx, j, "mlp_bias", has_tensor(f, "model.layers.0.mlp.gate_proj.bias")) &&
           put_int(f, j, "attention.sliding_window", "sliding_window") &&
           put_token(f, j, "tokenizer.ggml.bos_token_id", "bos_token_id") &&
           put_token(f, j, "tokenizer.ggml.eos_token_id", "eos_token_id") &&
           put_token(f, j, "tokenizer.ggml.padding_token_id", "pad_token_id");
}

/* Mistral is architecture llama in GGUF; only its window tells them apart. */
static bool put_config(tp_file *f, tpi_json *j)
{
    int64_t     window;
    bool        llama = is_llama(f->gguf), mistral = llama && arch_int(f, "attention.sliding_window", &window);
    tpi_json   *list = tpi_json_new_array(f->ctx);
    const char *class = mistral ? "MistralForCausalLM" : llama ? "LlamaForCausalLM" : "Qwen2ForCausalLM";

    if (!tpi_json_add(f->ctx, list, tpi_json_new_text(f->ctx, class, strlen(class)))) {
        tpi_json_free(list);
        return false;
    }
    return tpi_json_set(f->ctx, j, "architectures", list) &&
           tpi_json_set_text(f->ctx, j, "model_type", mistral ? "mistral" : llama ? "llama" : "qwen2") &&
           put_sizes(f, j) && put_rope(f, j) && put_rest(f, j);
}

bool tpi_gguf_add_texts(tp_file *f)
{
    const char *identity = tpi_gguf_text(f, TPI_GGUF_IDENTITY);
    const char *template = tpi_gguf_text(f, "tokenizer.chat_template");
    tpi_json   *j;
    char       *text = NULL;
    size_t      n = 0;

    tpi_file_take_identity(f, identity);
    if (template && !tpi_file_add_value(f, "chat_template", template, strlen(template)))
        return false;
    if (!is_known(f->gguf))
        return tp_ok(f->ctx);
    j = tpi_json_new_object(f->ctx);
    if (j && put_config(f, j))
        text = tpi_file_own(f, tpi_json_dump(f->ctx, j, 2, &n));
    tpi_json_free(j);
    return text && tpi_file_add_value(f, "config.json", text, n);
}
