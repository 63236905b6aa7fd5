/* tokenizer.c - a tokenizer as a whole: its life, what it knows of itself, and the way of a text through it. */
#include "models/text/gguf_tokenizer.h"
#include "models/text/tok.h"

#include <string.h>

/* ---- workspaces -------------------------------------------------------------------------------------------------- */

tpi_tok_work *tpi_tok_work_take(const tp_tokenizer *tok)
{
    tpi_tok_work *w;

    (void)pthread_mutex_lock(&tok->idle->lock);
    w = tok->idle->first;
    if (w != NULL)
        tok->idle->first = w->next;
    (void)pthread_mutex_unlock(&tok->idle->lock);
    return w ? w : tpi_alloc(NULL, 1, sizeof *w);
}

void tpi_tok_work_give(const tp_tokenizer *tok, tpi_tok_work *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&tok->idle->lock);
    w->next = tok->idle->first;
    tok->idle->first = w;
    (void)pthread_mutex_unlock(&tok->idle->lock);
}

static void work_free(tpi_tok_work *w)
{
    tpi_matcher_free(w->matcher);
    for (int i = 0; i < 2; i++) {
        tp_text_free(&w->norm[i]);
        tp_text_free(&w->text[i]);
    }
    tp_text_free(&w->affixed);
    tpi_free(w->piece);
    tpi_free(w->made);
    tpi_free(w->hit);
    tpi_free(w->sym);
    tpi_free(w->prev);
    tpi_free(w->following);
    tpi_free(w->heap);
    tpi_tok_cache_free(&w->cache);
    tpi_free(w);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

tp_tokenizer *tpi_tokenizer_alloc(tp_ctx *ctx)
{
    tp_tokenizer *tok = tpi_alloc(ctx, 1, sizeof *tok);

    if (tok == NULL)
        return NULL;
    tok->bos = tok->eos = tok->pad = tok->unk = tok->bpe.unk = -1;
    tok->idle = tpi_alloc(ctx, 1, sizeof *tok->idle);
    if (tok->idle == NULL) {
        tpi_free(tok);
        return NULL;
    }
    (void)pthread_mutex_init(&tok->idle->lock, NULL);
    return tok;
}

void tpi_tok_steps_free(tpi_tok_steps *s)
{
    for (size_t i = 0; i < s->n; i++) {
        tpi_regex_free(s->step[i].regex);
        tpi_free(s->step[i].text);
    }
    tpi_free(s->step);
    *s = (tpi_tok_steps){ 0 };
}

void tp_tokenizer_free(tp_tokenizer *tok)
{
    if (tok == NULL)
        return;
    for (tpi_tok_work *w = tok->idle->first, *next; w != NULL; w = next) {
        next = w->next;
        work_free(w);
    }
    (void)pthread_mutex_destroy(&tok->idle->lock);
    tpi_free(tok->idle);
    tpi_bpe_free(&tok->bpe);
    for (size_t i = 0; i < tok->n_added; i++) {
        tpi_free(tok->added[i].text);
        tpi_free(tok->added[i].pattern);
    }
    tpi_free(tok->added);
    tpi_free(tok->added_of);
    tpi_free(tok->raw.order);
    tpi_free(tok->normalized.order);
    tpi_vocab_free(&tok->added_vocab);
    tpi_tok_steps_free(&tok->normalizer);
    tpi_tok_steps_free(&tok->pretok);
    tpi_tok_steps_free(&tok->decoder);
    tpi_free(tok->chat);
    tpi_free(tok->source);
    tpi_free(tok);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

int64_t tp_tokenizer_size(const tp_tokenizer *tok)
{
    return tok ? tok->n_ids : 0;
}

int32_t tp_tokenizer_id(const tp_tokenizer *tok, const char *text)
{
    size_t  n = text ? strlen(text) : 0;
    int32_t id;

    if (tok == NULL || text == NULL)
        return -1;
    id = tpi_vocab_id(&tok->added_vocab, text, n);
    return id >= 0 ? id : tpi_vocab_id(&tok->bpe.vocab, text, n);
}

const char *tp_tokenizer_token(const tp_tokenizer *tok, int32_t id)
{
    const tpi_tok_added *a = tok ? tpi_tok_added_of(tok, id) : NULL;
    size_t               n;

    if (tok == NULL)
        return NULL;
    return a ? a->text : tpi_vocab_text(&tok->bpe.vocab, id, &n);
}

bool tp_tokenizer_is_special(const tp_tokenizer *tok, int32_t id)
{
    const tpi_tok_added *a = tok ? tpi_tok_added_of(tok, id) : NULL;

    return a != NULL && a->special;
}

int32_t tp_tokenizer_bos(const tp_tokenizer *tok)
{
    return tok ? tok->bos : -1;
}

int32_t tp_tokenizer_eos(const tp_tokenizer *tok)
{
    return tok ? tok->eos : -1;
}

int32_t tp_tokenizer_pad(const tp_tokenizer *tok)
{
    return tok ? tok->pad : -1;
}

int32_t tp_tokenizer_unk(const tp_tokenizer *tok)
{
    return tok ? tok->unk : -1;
}

bool tp_tokenizer_adds_bos(const tp_tokenizer *tok)
{
    return tok != NULL && tok->bos >= 0 && tok->around.n_before > 0 && tok->around.before[0] == tok->bos;
}

const char *tp_tokenizer_template(const tp_tokenizer *tok)
{
    return tok ? tok->chat : NULL;
}

const char *tpi_tokenizer_to_json(const tp_tokenizer *tok, size_t *n)
{
    *n = tok ? tok->source_n : 0;
    return tok ? tok->source : NULL;
}

/* ---- tokenizing -------------------------------------------------------------------------------------------------- */

/* One text on its way: what the callbacks of the two cuts share. */
typedef struct way {
    const tp_tokenizer *tok;
    tpi_tok_work       *w;
    unsigned            flags;
    tp_ids             *ids;
    const char         *raw;  /* the user's text */
    const char         *text; /* the stretch between two raw tokens, normalised */
    size_t              lead; /* as in tpi_tok_piece, of that stretch */
    bool                head;
    bool                continued;
} way;

static tp_code take_token(void *user, const tpi_tok_added *a)
{
    return tpi_ids_add(((way *)user)->ids, a->id);
}

/* A stretch of normalised text without added tokens. */
static tp_code plain(void *user, size_t begin, size_t end)
{
    way          *v = user;
    tpi_tok_piece whole = { begin, end - begin, v->lead > begin ? v->lead - begin : 0, v->head && begin <= v->lead };
    const char   *text;
    tp_code       rc;

    v->w->continued = v->continued && begin == 0;
    rc = tpi_tok_pretokenize(&v->tok->pretok, v->w, v->text, &whole, &text);
    for (size_t i = 0; i < v->w->n_piece && rc == TP_OK; i++)
        rc = tpi_bpe_encode(&v->tok->bpe, v->w, text + v->w->piece[i].at, v->w->piece[i].n, v->ids);
    return rc;
}

/* A stretch of raw text: it is normalised, and cut at the tokens that are looked for in normalised text. */
static tp_code stretch(void *user, size_t begin, size_t end)
{
    way        *v = user;
    tpi_tok_cut cut = { v, v->flags, plain, take_token };
    size_t      n = 0;
    tp_code     rc;

    v->head = begin == 0 && !(v->flags & (TPI_TOK_INNER | TPI_TOK_CONTINUED));
    v->continued = v->w->continued = begin == 0 && (v->flags & TPI_TOK_CONTINUED);
    rc = tpi_tok_normalize(&v->tok->normalizer, v->w, v->raw + begin, end - begin, &v->text, &n, &v->lead, &v->head);
    return rc == TP_OK ? tpi_tok_added_cut(v->tok, &v->tok->normalized, v->text, n, &cut) : rc;
}

static tp_code add_all(tp_ids *ids, const int32_t *id, int n)
{
    tp_code rc = TP_OK;

    for (int i = 0; i < n && rc == TP_OK; i++)
        rc = tpi_ids_add(ids, id[i]);
    return rc;
}

tp_code tpi_tokenize(const tp_tokenizer *tok, const char *text, size_t n, unsigned flags, tp_ids *ids)
{
    way         v = { .tok = tok, .flags = flags, .ids = ids, .raw = text };
    tpi_tok_cut cut = { &v, flags, stretch, take_token };
    bool        around = flags & TP_ADD_SPECIAL;
    tp_code     rc = TP_OK;

    if (!tpi_utf8_valid(text, n, NULL))
        return TP_EARG;
    v.w = tpi_tok_work_take(tok);
    if (v.w == NULL)
        return TP_ENOMEM;
    if (around)
        rc = add_all(ids, tok->around.before, tok->around.n_before);
    if (rc == TP_OK)
        rc = tpi_tok_added_cut(tok, &tok->raw, text, n, &cut);
    if (rc == TP_OK && around)
        rc = add_all(ids, tok->around.after, tok->around.n_after);
    tpi_tok_work_give(tok, v.w);
    return rc;
}

bool tp_tokenize(tp_ctx *ctx, const tp_tokenizer *tok, const char *text, size_t n, unsigned flags, tp_ids *ids)
{
    size_t  bad;
    tp_code rc;

    if (!tp_ok(ctx))
        return false;
    if (tok == NULL || ids == NULL || (text == NULL && n > 0))
        return tp_fail(ctx, TP_EARG, "tokenize: the %s is NULL",
                       tok == NULL   ? "tokenizer"
                       : ids == NULL ? "list of ids"
                                     : "text");
    rc = tpi_tokenize(tok, text ? text : "", n, flags, ids);
    if (rc == TP_OK)
        return true;
    if (rc == TP_ENOMEM)
        return tp_fail(ctx, rc, "tokenize: out of memory");
    if (!tpi_utf8_valid(text, n, &bad))
        return tp_fail(ctx, rc, "tokenize: the text is not UTF-8 at byte %zu", bad);
    return tp_fail(ctx, rc, "tokenize: a pattern of the tokenizer takes too many steps on this text");
}

bool tp_detokenize(tp_ctx *ctx, const tp_tokenizer *tok, const int32_t *id, int64_t n, unsigned flags, tp_text *text)
{
    tp_code rc;

    if (!tp_ok(ctx))
        return false;
    if (tok == NULL || text == NULL || (id == NULL && n > 0))
        return tp_fail(ctx, TP_EARG, "detokenize: the %s is NULL",
                       tok == NULL    ? "tokenizer"
                       : text == NULL ? "text"
                                      : "list of ids");
    rc = tpi_detokenize(tok, id, n, flags, text);
    if (rc == TP_OK)
        return true;
    return tp_fail(ctx, rc, "detokenize: %s", rc == TP_ENOMEM ? "out of memory" : "a pattern takes too many steps");
}
