/* gguf_from_tok.c - a tokenizer.json as the arrays that stand for it in a GGUF file: what tok_gguf.c reads, made. */
#include "models/text/gguf_tokenizer.h"
#include "models/text/tok.h"
#include "nn/files/filetable.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 };

typedef struct {
    tp_ctx          *ctx;
    tp_file         *f;
    tpi_json        *tree;
    const tpi_json  *model;
    tp_tokenizer    *tok;
    tpi_gguf_vocab  *v;
    tpi_gguf_string *tokens, *merges; /* of v; texts are the tree's until pack() */
    int32_t         *types;
    bool             pieces; /* SentencePiece */
} making;

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static bool is_byte(const char *s, size_t n)
{
    return n == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>';
}

static void put_token(making *m, int64_t id, const char *text, size_t n, int type)
{
    if (id < 0 || (size_t)id >= m->v->n)
        tp_fail(m->ctx, TP_EFORMAT, "%s: tokenizer.json: id %lld of \"%.60s\" is none", tp_file_path(m->f), (long long)id,
                text);
    else {
        m->tokens[id] = (tpi_gguf_string){ text, n };
        m->types[id] = type;
    }
}

static void put_vocabulary(making *m)
{
    const tpi_json *vocab = tpi_json_get(m->model, "vocab"), *id;
    const char     *key;
    void           *it = NULL;

    while (tp_ok(m->ctx) && tpi_json_next(vocab, &it, &key, &id))
        put_token(m, tpi_json_integer(id), key, strlen(key), m->pieces && is_byte(key, strlen(key)) ? BYTE : NORMAL);
}

static void put_added(making *m)
{
    const tpi_json *list = tpi_json_get(m->tree, "added_tokens");
    const char     *unk = tpi_json_string(tpi_json_get(m->model, "unk_token"), NULL);
    bool            shape = false;

    for (size_t i = 0; tp_ok(m->ctx) && i < tpi_json_size(list); i++) {
        const tpi_json *t = tpi_json_at(list, i);
        size_t          n = 0;
        const char     *text = tpi_json_string(tpi_json_get(t, "content"), &n);
        bool            special = tpi_json_true(tpi_json_get(t, "special"));
        int             type = m->pieces && unk && text && strcmp(unk, text) == 0 ? UNKNOWN : special ? CONTROL : USER;

        shape |= tpi_json_true(tpi_json_get(t, "lstrip")) || tpi_json_true(tpi_json_get(t, "rstrip")) ||
                 tpi_json_true(tpi_json_get(t, "single_word"));
        put_token(m, tpi_json_integer(tpi_json_get(t, "id")), text ? text : "", n, type);
    }
    if (shape)
        tp_message(m->ctx, TP_WARNING, "%s: added tokens that take white space with them, or single words, are plain in GGUF",
                   tp_file_path(m->f));
}

/* Readers want a token for each row of the embedding. */
static void put_rest(making *m)
{
    for (size_t i = 0; tp_ok(m->ctx) && i < m->v->n; i++)
        if (m->tokens[i].p == NULL) {
            char *text = tpi_file_own(m->f, tpi_format(m->ctx, "[PAD%zu]", i));

            if (text != NULL)
                put_token(m, (int64_t)i, text, strlen(text), UNUSED);
        }
}

static void put_tokens(making *m)
{
    const tp_file_entry *embed = tp_file_find(m->f, "model.embed_tokens.weight");
    int64_t              rows = embed && embed->ndim == 2 ? embed->dim[0] : 0, n = tp_tokenizer_size(m->tok);

    m->v->n = (size_t)(rows > n && rows <= TPI_VOCAB_MAX ? rows : n);
    m->tokens = tpi_file_own(m->f, tpi_alloc(m->ctx, m->v->n, sizeof *m->tokens));
    m->types = tpi_file_own(m->f, tpi_alloc(m->ctx, m->v->n, sizeof *m->types));
    if (m->tokens == NULL || m->types == NULL)
        return;
    put_vocabulary(m);
    put_added(m);
    put_rest(m);
    m->v->tokens = m->tokens;
    m->v->token_type = m->types;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

/* "a b", from that or from ["a", "b"]; a blank inside would be taken for the one between. */
static void put_merge(making *m, const tpi_json *j, tpi_gguf_string *to)
{
    size_t      n = 0, a_n = 0, b_n = 0;
    const char *text = tpi_json_string(j, &n), *a = tpi_json_string(tpi_json_at(j, 0), &a_n);
    const char *b = tpi_json_string(tpi_json_at(j, 1), &b_n);

    if (text == NULL && a != NULL && b != NULL && a_n > 0 && memchr(a + 1, ' ', a_n - 1) == NULL) {
        text = tpi_file_own(m->f, tpi_format(m->ctx, "%s %s", a, b));
        n = a_n + 1 + b_n;
    }
    if (text == NULL)
        tp_fail(m->ctx, TP_EFORMAT, "%s: tokenizer.json: a merge that GGUF cannot say", tp_file_path(m->f));
    *to = (tpi_gguf_string){ text, n };
}

static void put_merges(making *m)
{
    const tpi_json *list = tpi_json_get(m->model, "merges");

    m->v->n_merges = tpi_json_size(list);
    m->v->merges = m->merges = tpi_file_own(m->f, tpi_alloc(m->ctx, m->v->n_merges, sizeof *m->merges));
    for (size_t i = 0; m->merges != NULL && tp_ok(m->ctx) && i < m->v->n_merges; i++)
        put_merge(m, tpi_json_at(list, i), &m->merges[i]);
}

/* SentencePiece's readers merge what has the best score: the merge that makes a piece first decides. */
static void put_scores(making *m)
{
    float *s = tpi_file_own(m->f, tpi_alloc(m->ctx, m->v->n, sizeof *s));
    char  *joined = NULL;
    size_t cap = 0;

    m->v->scores = s;
    for (size_t i = m->v->n_merges; s != NULL && tp_ok(m->ctx) && i-- > 0;) {
        const tpi_gguf_string *t = &m->merges[i];
        const char            *blank = memchr(t->p + 1, ' ', t->n - 1);
        size_t                 left = blank ? (size_t)(blank - t->p) : 0;
        int32_t                id;

        if (blank == NULL || !tpi_grow(m->ctx, &joined, &cap, t->n + 1, 1))
            continue;
        memcpy(joined, t->p, left);
        memcpy(joined + left, blank + 1, t->n - left - 1);
        id = tpi_vocab_id(&m->tok->bpe.vocab, joined, t->n - 1);
        if (id >= 0 && (size_t)id < m->v->n)
            s[id] = -(float)i - 1;
    }
    tpi_free(joined);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

/* What stands around a text: GGUF knows bos in front and eos behind. */
static void put_around(making *m)
{
    const tpi_tok_around *a = &m->tok->around;
    tpi_gguf_vocab       *v = m->v;

    v->bos = m->tok->bos;
    v->eos = m->tok->eos;
    v->pad = m->tok->pad;
    v->unk = m->pieces ? m->tok->unk : -1;
    v->add_bos = a->n_before > 0 && a->before[0] == m->tok->bos;
    v->add_eos = a->n_after > 0 && a->after[a->n_after - 1] == m->tok->eos;
    v->chat_template = tp_file_text(m->f, "chat_template", NULL);
}

/* All texts into one block that lives as long as the file. */
static void pack(making *m)
{
    tpi_gguf_string *list[] = { m->tokens, m->merges };
    size_t           n[] = { m->v->n, m->v->n_merges }, size = 0;
    char            *p;

    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < n[k]; i++)
            size += list[k][i].n + 1;
    p = tpi_file_own(m->f, tpi_alloc(m->ctx, size, 1));
    for (int k = 0; p != NULL && k < 2; k++)
        for (size_t i = 0; i < n[k]; i++) {
            memcpy(p, list[k][i].p, list[k][i].n);
            list[k][i].p = p;
            p += list[k][i].n + 1;
        }
}

/* Whether what will be read has the same ids, on a text of everything that tells tokenizers apart. */
static void check(making *m)
{
    static const char sample[] = "Hello, world!  It's 12345 o'clock;\n\n\tna\xc3\xafve caf\xc3\xa9 "
                                 "\xe4\xbd\xa0\xe5\xa5\xbd x=3.14 I'LL  \xf0\x9f\x98\x80 e\xcc\x81 2\xc2\xb2 <b>\r\n   end ";
    tp_tokenizer     *back = tpi_tokenizer_from_gguf_meta(m->ctx, tp_file_path(m->f), m->v);
    tp_ids            a = { 0 }, b = { 0 };

    if (back != NULL && tp_tokenize(m->ctx, m->tok, sample, sizeof sample - 1, TP_ADD_SPECIAL, &a) &&
        tp_tokenize(m->ctx, back, sample, sizeof sample - 1, TP_ADD_SPECIAL, &b) &&
        (a.n != b.n || memcmp(a.id, b.id, (size_t)a.n * sizeof *a.id) != 0))
        tp_message(m->ctx, TP_WARNING, "%s: GGUF cannot say all of this tokenizer: some texts will have other ids",
                   tp_file_path(m->f));
    tp_ids_free(&a);
    tp_ids_free(&b);
    tp_tokenizer_free(back);
}

static void make(making *m)
{
    int space = tpi_tok_pieces(m->tree);

    m->model = tpi_json_get(m->tree, "model");
    m->pieces = space >= 0;
    m->v->add_space_prefix = space;
    m->v->model = m->pieces ? "llama" : "gpt2";
    m->v->pre = m->pieces ? "default" : tpi_tok_pre_name(m->tree);
    if (m->v->pre == NULL) {
        tp_fail(m->ctx, TP_EARG,
                "%s: tokenizer.json splits texts in a way that has no name in GGUF; known are those of GPT-2, SmolLM, "
                "Llama 2, Llama 3 and Qwen2",
                tp_file_path(m->f));
        return;
    }
    put_tokens(m);
    put_merges(m);
    if (m->pieces)
        put_scores(m);
    put_around(m);
    if (tp_ok(m->ctx))
        pack(m);
    if (tp_ok(m->ctx))
        check(m);
}

const tpi_gguf_vocab *tpi_gguf_vocab_made(tp_ctx *ctx, tp_file *f)
{
    making      m = { .ctx = ctx, .f = f };
    size_t      n = 0;
    const char *text = f ? tp_file_text(f, "tokenizer.json", &n) : NULL;

    if (!tp_ok(ctx) || text == NULL)
        return NULL;
    m.tok = tpi_tokenizer_from_file(ctx, f);
    m.tree = m.tok ? tpi_json_parse(ctx, tp_file_path(f), text, n) : NULL;
    m.v = m.tree ? tpi_file_own(f, tpi_alloc(ctx, 1, sizeof *m.v)) : NULL;
    if (m.v != NULL)
        make(&m);
    tpi_json_free(m.tree);
    tp_tokenizer_free(m.tok);
    return tp_ok(ctx) ? m.v : NULL;
}
