/*
 * gguf_vocab.c - key/values of a GGUF file by name, and its vocabulary as arrays.
 */
#include "nn/files/filetable.h"
#include "nn/files/gguf.h"

#include <stdlib.h>
#include <string.h>

/* ---- key/values by name ---------------------------------------------------------------------------------------------- */

const tpi_gguf_pair *tpi_gguf_find(const tpi_gguf *g, const char *key)
{
    size_t i;

    for (i = 0; i < g->pairs; i++)
        if (strcmp(g->pair[i].key, key) == 0)
            return &g->pair[i];
    return NULL;
}

tpi_gguf_string tpi_gguf_next(const tpi_gguf *g, size_t *at)
{
    uint64_t        n;
    tpi_gguf_string s;

    memcpy(&n, g->blob + *at, 8);
    s = (tpi_gguf_string){ g->blob + *at + 8, (size_t)n };
    *at += 8 + s.n;
    return s;
}

/* Integer number i of p; false when it is none, or beyond 63 bits. */
static bool int_at(const tpi_gguf *g, const tpi_gguf_pair *p, uint64_t i, int64_t *v)
{
    const char *q = g->blob + p->at;
    int8_t      i8;
    int16_t     i16;
    int32_t     i32;

    *v = 0; /* unsigned ones fill the low bytes */
    switch (p->type) {
    case TPI_GGUF_BOOL:
    case TPI_GGUF_U8: memcpy(v, q + i, 1); return true;
    case TPI_GGUF_U16: memcpy(v, q + 2 * i, 2); return true;
    case TPI_GGUF_U32: memcpy(v, q + 4 * i, 4); return true;
    case TPI_GGUF_U64: memcpy(v, q + 8 * i, 8); return *v >= 0;
    case TPI_GGUF_I8: memcpy(&i8, q + i, 1); *v = i8; return true;
    case TPI_GGUF_I16: memcpy(&i16, q + 2 * i, 2); *v = i16; return true;
    case TPI_GGUF_I32: memcpy(&i32, q + 4 * i, 4); *v = i32; return true;
    case TPI_GGUF_I64: memcpy(v, q + 8 * i, 8); return true;
    default: return false;
    }
}

bool tpi_gguf_int(const tpi_gguf *g, const char *key, int64_t *v)
{
    const tpi_gguf_pair *p = tpi_gguf_find(g, key);
    int64_t              first, other;
    uint64_t             i;

    if (!p || p->count == 0 || !int_at(g, p, 0, &first))
        return false;
    for (i = 1; i < p->count; i++)
        if (!int_at(g, p, i, &other) || other != first)
            return false;
    *v = first;
    return true;
}

bool tpi_gguf_real(const tpi_gguf *g, const char *key, double *v)
{
    const tpi_gguf_pair *p = tpi_gguf_find(g, key);
    float                f;
    int64_t              i;

    if (!p || p->array)
        return false;
    if (p->type == TPI_GGUF_F64) {
        memcpy(v, g->blob + p->at, 8);
        return true;
    }
    if (p->type == TPI_GGUF_F32) {
        memcpy(&f, g->blob + p->at, 4);
        *v = tpi_gguf_short(f);
        return true;
    }
    if (!int_at(g, p, 0, &i))
        return false;
    *v = (double)i;
    return true;
}

const char *tpi_gguf_text(tp_file *f, const char *key)
{
    const tpi_gguf_pair *p = tpi_gguf_find(f->gguf, key);
    tpi_gguf_string      s;
    size_t               at;

    if (!p || p->array || p->type != TPI_GGUF_STRING)
        return NULL;
    at = p->at;
    s = tpi_gguf_next(f->gguf, &at);
    return tpi_file_keep(f, s.p, s.n);
}

/* ---- the vocabulary -------------------------------------------------------------------------------------------------- */

enum { MAX_TOKENS = 4 << 20, MAX_MERGES = 16 << 20 };

/* The array of strings at key; NULL and *n = 0 when there is none, or with a failure when it is longer than max. */
static const tpi_gguf_string *strings(tp_file *f, const char *key, size_t max, size_t *n)
{
    const tpi_gguf_pair *p = tpi_gguf_find(f->gguf, key);
    tpi_gguf_string     *s;
    size_t               at, i;

    *n = 0;
    if (!p || !p->array || p->type != TPI_GGUF_STRING || p->count == 0)
        return NULL;
    if (p->count > max) {
        tpi_file_bad(f, "%s has %llu entries, more than the %lld that are read", key, (unsigned long long)p->count,
                     (long long)max);
        return NULL;
    }
    s = tpi_file_own(f, tpi_alloc(f->ctx, (size_t)p->count, sizeof *s));
    if (!s)
        return NULL;
    *n = (size_t)p->count;
    at = p->at;
    for (i = 0; i < *n; i++)
        s[i] = tpi_gguf_next(f->gguf, &at);
    return s;
}

/* An array of n 4-byte numbers, copied because nothing is aligned in the blob.  False when it is there and wrong. */
static bool numbers(tp_file *f, const char *key, bool real, size_t n, const void **out)
{
    const tpi_gguf_pair *p = tpi_gguf_find(f->gguf, key);
    void                *copy;

    if (!p)
        return true;
    if (!p->array || p->count != n ||
        (real ? p->type != TPI_GGUF_F32 : p->type != TPI_GGUF_I32 && p->type != TPI_GGUF_U32))
        return tpi_file_bad(f, "%s is no array of %lld %s, one for each token", key, (long long)n,
                            real ? "f32" : "i32");
    copy = tpi_file_own(f, tpi_alloc(f->ctx, n, 4));
    if (!copy)
        return false;
    memcpy(copy, f->gguf->blob + p->at, 4 * n);
    *out = copy;
    return true;
}

static bool token_id(tp_file *f, const char *key, size_t n, int64_t *id)
{
    *id = -1;
    if (!tpi_gguf_find(f->gguf, key))
        return true;
    if (!tpi_gguf_int(f->gguf, key, id) || *id >= (int64_t)n || *id < -1)
        return tpi_file_bad(f, "%s is none of the %lld tokens", key, (long long)n);
    return true;
}

static int flag(const tp_file *f, const char *key)
{
    int64_t v;

    return tpi_gguf_int(f->gguf, key, &v) ? v != 0 : -1;
}

static bool fill_vocab(tp_file *f, tpi_gguf_vocab *v)
{
    v->model = tpi_gguf_text(f, "tokenizer.ggml.model");
    v->pre = tpi_gguf_text(f, "tokenizer.ggml.pre");
    v->chat_template = tpi_gguf_text(f, "tokenizer.chat_template");
    v->tokens = strings(f, "tokenizer.ggml.tokens", MAX_TOKENS, &v->n);
    v->merges = strings(f, "tokenizer.ggml.merges", MAX_MERGES, &v->n_merges);
    v->add_bos = flag(f, "tokenizer.ggml.add_bos_token");
    v->add_eos = flag(f, "tokenizer.ggml.add_eos_token");
    v->add_space_prefix = flag(f, "tokenizer.ggml.add_space_prefix");
    if (!tp_ok(f->ctx))
        return false;
    if (!v->model || !v->tokens)
        return tpi_file_bad(f,
                            "there is no vocabulary: expected the keys tokenizer.ggml.model and tokenizer.ggml.tokens");
    if (!v->pre)
        v->pre = "";
    return numbers(f, "tokenizer.ggml.token_type", false, v->n, (const void **)&v->token_type) &&
           numbers(f, "tokenizer.ggml.scores", true, v->n, (const void **)&v->scores) &&
           token_id(f, "tokenizer.ggml.bos_token_id", v->n, &v->bos) &&
           token_id(f, "tokenizer.ggml.eos_token_id", v->n, &v->eos) &&
           token_id(f, "tokenizer.ggml.padding_token_id", v->n, &v->pad) &&
           token_id(f, "tokenizer.ggml.unknown_token_id", v->n, &v->unk);
}

const tpi_gguf_vocab *tpi_gguf_vocab_of(tp_ctx *ctx, tp_file *f)
{
    tpi_gguf_vocab *v;

    if (!tp_ok(ctx) || !f || !f->gguf)
        return NULL;
    if (f->gguf->vocab)
        return f->gguf->vocab;
    v = tpi_file_own(f, tpi_alloc(ctx, 1, sizeof *v));
    if (v && fill_vocab(f, v))
        f->gguf->vocab = v;
    return f->gguf->vocab;
}
