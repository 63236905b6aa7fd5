/*
 * gguf_keys.c - key/values of GGUF, written.
 */
#include "nn/files/filetable.h"
#include "nn/files/gguf_keys.h"

#include <string.h>

bool tpi_gguf_put_bytes(tpi_gguf_out *o, const void *p, size_t n)
{
    if (!tpi_grow(o->ctx, &o->p, &o->cap, o->n + n, 1))
        return false;
    if (n > 0)
        memcpy(o->p + o->n, p, n);
    o->n += n;
    return true;
}

bool tpi_gguf_put_string(tpi_gguf_out *o, const char *s, size_t n)
{
    uint64_t size = n;

    return tpi_gguf_put_bytes(o, &size, 8) && tpi_gguf_put_bytes(o, s, n);
}

/* A key and the type of the value that follows. */
static bool put_key(tpi_gguf_out *o, const char *key, uint32_t type)
{
    o->pairs++;
    return tpi_gguf_put_string(o, key, strlen(key)) && tpi_gguf_put_bytes(o, &type, 4);
}

static bool put_array(tpi_gguf_out *o, const char *key, uint32_t type, size_t n)
{
    uint64_t count = n;

    return put_key(o, key, TPI_GGUF_ARRAY) && tpi_gguf_put_bytes(o, &type, 4) && tpi_gguf_put_bytes(o, &count, 8);
}

bool tpi_gguf_put_u32(tpi_gguf_out *o, const char *key, uint32_t v)
{
    return put_key(o, key, TPI_GGUF_U32) && tpi_gguf_put_bytes(o, &v, 4);
}

bool tpi_gguf_put_text(tpi_gguf_out *o, const char *key, const char *text)
{
    return put_key(o, key, TPI_GGUF_STRING) && tpi_gguf_put_string(o, text, strlen(text));
}

static bool put_bool(tpi_gguf_out *o, const char *key, bool v)
{
    return put_key(o, key, TPI_GGUF_BOOL) && tpi_gguf_put_bytes(o, &(uint8_t){ v }, 1);
}

/* ---- the model --------------------------------------------------------------------------------------------------------- */

/* "<arch>.key" */
static const char *arch_key(const tpi_gguf_config *g, const char *key, char buf[100])
{
    snprintf(buf, 100, "%s.%s", g->arch, key);
    return buf;
}

static bool arch_int(tpi_gguf_out *o, const tpi_gguf_config *g, const char *key, int64_t v)
{
    char name[100];

    if (v < 0 || v > UINT32_MAX)
        return tp_fail(o->ctx, TP_EARG, "gguf: %s is %lld, more than GGUF's keys hold", key, (long long)v) != NULL;
    return tpi_gguf_put_u32(o, arch_key(g, key, name), (uint32_t)v);
}

static bool arch_real(tpi_gguf_out *o, const tpi_gguf_config *g, const char *key, double v)
{
    char name[100];

    return put_key(o, arch_key(g, key, name), TPI_GGUF_F32) && tpi_gguf_put_bytes(o, &(float){ (float)v }, 4);
}

static bool put_scaling(tpi_gguf_out *o, const tpi_gguf_config *g)
{
    char name[100];

    if (!g->scaling)
        return true;
    return tpi_gguf_put_text(o, arch_key(g, "rope.scaling.type", name), g->scaling) &&
           arch_real(o, g, "rope.scaling.factor", g->factor) &&
           (g->original <= 0 || arch_int(o, g, "rope.scaling.original_context_length", (int64_t)g->original)) &&
           (g->attn_factor <= 0 || arch_real(o, g, "rope.scaling.attn_factor", g->attn_factor));
}

bool tpi_gguf_put_config(tpi_gguf_out *o, const tpi_gguf_config *g)
{
    return tpi_gguf_put_text(o, "general.architecture", g->arch) && arch_int(o, g, "vocab_size", g->vocab) &&
           arch_int(o, g, "context_length", g->context) && arch_int(o, g, "embedding_length", g->embedding) &&
           arch_int(o, g, "block_count", g->blocks) && arch_int(o, g, "feed_forward_length", g->feed_forward) &&
           arch_int(o, g, "attention.head_count", g->heads) && arch_int(o, g, "attention.head_count_kv", g->kv_heads) &&
           arch_int(o, g, "attention.key_length", g->head_dim) &&
           arch_int(o, g, "attention.value_length", g->head_dim) &&
           arch_real(o, g, "attention.layer_norm_rms_epsilon", g->eps) &&
           arch_int(o, g, "rope.dimension_count", g->rotated) && arch_real(o, g, "rope.freq_base", g->theta) &&
           (g->window <= 0 || arch_int(o, g, "attention.sliding_window", g->window)) && put_scaling(o, g);
}

/* ---- the vocabulary ---------------------------------------------------------------------------------------------------- */

static bool put_strings(tpi_gguf_out *o, const char *key, const tpi_gguf_string *s, size_t n)
{
    size_t i;

    if (!put_array(o, key, TPI_GGUF_STRING, n))
        return false;
    for (i = 0; i < n; i++)
        if (!tpi_gguf_put_string(o, s[i].p, s[i].n))
            return false;
    return true;
}

static bool put_id(tpi_gguf_out *o, const char *key, int64_t id)
{
    return id < 0 || tpi_gguf_put_u32(o, key, (uint32_t)id);
}

static bool put_flag(tpi_gguf_out *o, const char *key, int flag)
{
    return flag < 0 || put_bool(o, key, flag > 0);
}

bool tpi_gguf_put_vocab(tpi_gguf_out *o, const tpi_gguf_vocab *v)
{
    bool ok = tpi_gguf_put_text(o, "tokenizer.ggml.model", v->model) &&
              (!v->pre[0] || tpi_gguf_put_text(o, "tokenizer.ggml.pre", v->pre)) &&
              put_strings(o, "tokenizer.ggml.tokens", v->tokens, v->n);

    if (v->scores)
        ok = ok && put_array(o, "tokenizer.ggml.scores", TPI_GGUF_F32, v->n) &&
             tpi_gguf_put_bytes(o, v->scores, 4 * v->n);
    if (v->token_type)
        ok = ok && put_array(o, "tokenizer.ggml.token_type", TPI_GGUF_I32, v->n) &&
             tpi_gguf_put_bytes(o, v->token_type, 4 * v->n);
    if (v->n_merges > 0)
        ok = ok && put_strings(o, "tokenizer.ggml.merges", v->merges, v->n_merges);
    return ok && put_id(o, "tokenizer.ggml.bos_token_id", v->bos) && put_id(o, "tokenizer.ggml.eos_token_id", v->eos) &&
           put_id(o, "tokenizer.ggml.padding_token_id", v->pad) &&
           put_id(o, "tokenizer.ggml.unknown_token_id", v->unk) &&
           put_flag(o, "tokenizer.ggml.add_bos_token", v->add_bos) &&
           put_flag(o, "tokenizer.ggml.add_eos_token", v->add_eos) &&
           put_flag(o, "tokenizer.ggml.add_space_prefix", v->add_space_prefix) &&
           (!v->chat_template || tpi_gguf_put_text(o, "tokenizer.chat_template", v->chat_template));
}

/* ---- copies ------------------------------------------------------------------------------------------------------------ */

static bool is_about_storage(const char *key)
{
    static const char *const keys[] = { "general.file_type", "general.quantization_version", "general.alignment",
                                        TPI_GGUF_IDENTITY };
    size_t                   i;

    for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return strncmp(key, "split.", 6) == 0;
}

/* Bytes of the values of p. */
static size_t size_of(const tpi_gguf *g, const tpi_gguf_pair *p)
{
    static const uint8_t size[TPI_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    size_t               at = p->at;
    uint64_t             i;

    if (p->type != TPI_GGUF_STRING)
        return (size_t)p->count * size[p->type];
    for (i = 0; i < p->count; i++)
        (void)tpi_gguf_next(g, &at);
    return at - p->at;
}

bool tpi_gguf_put_copied(tpi_gguf_out *o, const tpi_gguf *g)
{
    size_t i;

    for (i = 0; i < g->pairs; i++) {
        const tpi_gguf_pair *p = &g->pair[i];

        if (is_about_storage(p->key))
            continue;
        if (!(p->array ? put_array(o, p->key, p->type, (size_t)p->count) : put_key(o, p->key, p->type)) ||
            !tpi_gguf_put_bytes(o, g->blob + p->at, size_of(g, p)))
            return false;
    }
    return true;
}
