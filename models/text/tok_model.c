/* tok_model.c - the model of a tokenizer.json (vocabulary and merges), its added tokens and its post-processor. */
#include "models/text/tok.h"

#include <string.h>

static bool said(tp_ctx *ctx, const char *name, tp_code rc, const char *what)
{
    if (rc == TP_OK)
        return true;
    return tp_fail(ctx, rc, "%s: %s", name, rc == TP_ENOMEM ? "out of memory" : what) != NULL;
}

/* ---- vocabulary and merges --------------------------------------------------------------------------------------- */

static bool read_vocab(tp_ctx *ctx, const char *name, const tpi_json *model, tpi_vocab *v)
{
    const tpi_json *j = tpi_json_object(ctx, name, model, "vocab", true), *value;
    const char     *key;
    void           *it = NULL;
    bool            fresh;

    if (j == NULL)
        return false;
    while (tpi_json_next(j, &it, &key, &value)) {
        int64_t id = tpi_json_integer(value);

        if (tpi_json_is(value) != TPI_JSON_INT || id < 0 || id >= TPI_VOCAB_MAX)
            return tp_fail(ctx, TP_EFORMAT, "%s: the id of token '%.60s' is no integer below %d", name, key,
                           TPI_VOCAB_MAX) != NULL;
        if (!said(ctx, name, tpi_vocab_add(v, key, strlen(key), (int32_t)id, &fresh), "the vocabulary is too large"))
            return false;
    }
    return said(ctx, name, tpi_vocab_finish(v), "the vocabulary is wrong");
}

/* The two texts of "a b" or ["a", "b"]. */
static bool merge_texts(const tpi_json *j, const char *s[2], size_t n[2])
{
    const char *blank;

    if (tpi_json_is(j) == TPI_JSON_ARRAY) {
        for (size_t k = 0; k < 2; k++)
            s[k] = tpi_json_string(tpi_json_at(j, k), &n[k]);
        return tpi_json_size(j) == 2 && s[0] != NULL && s[1] != NULL;
    }
    s[0] = tpi_json_string(j, &n[1]);
    blank = s[0] ? strchr(s[0], ' ') : NULL;
    if (blank == NULL || strchr(blank + 1, ' ') != NULL)
        return false;
    s[1] = blank + 1;
    n[0] = (size_t)(blank - s[0]);
    n[1] -= n[0] + 1;
    return true;
}

/* A merge's result is the two texts together, without the prefix of the second. */
static tp_code merge_ids(tpi_bpe *m, const char *s[2], const size_t n[2], tp_text *both, tpi_tok_pair *out)
{
    size_t  prefix = m->prefix ? strlen(m->prefix) : 0;
    int32_t a = tpi_vocab_id(&m->vocab, s[0], n[0]), b = tpi_vocab_id(&m->vocab, s[1], n[1]);

    if (a < 0 || b < 0 || n[1] < prefix)
        return TP_EFORMAT;
    both->n = 0;
    if (tpi_text_add(both, s[0], n[0]) != TP_OK || tpi_text_add(both, s[1] + prefix, n[1] - prefix) != TP_OK)
        return TP_ENOMEM;
    *out = (tpi_tok_pair){ (uint64_t)(uint32_t)a << 32 | (uint32_t)b, 0, tpi_vocab_id(&m->vocab, both->p, both->n) };
    return out->id < 0 ? TP_EFORMAT : TP_OK;
}

static bool fill_merges(tp_ctx *ctx, const char *name, const tpi_json *list, tpi_bpe *m, tpi_tok_pair *merge, size_t *n)
{
    tp_text both = { 0 };
    bool    ok = true;

    for (size_t i = 0; i < tpi_json_size(list) && ok; i++) {
        const char *s[2] = { NULL, NULL };
        size_t      len[2] = { 0, 0 };

        if (i == 0 && tpi_json_is(tpi_json_at(list, i)) == TPI_JSON_TEXT &&
            strncmp(tpi_json_string(tpi_json_at(list, i), NULL), "#version", 8) == 0)
            continue; /* the first line of a merges.txt */
        if (!merge_texts(tpi_json_at(list, i), s, len)) {
            ok = tp_fail(ctx, TP_EFORMAT, "%s: merge %zu is no pair of texts", name, i) != NULL;
            break;
        }
        ok = said(ctx, name, merge_ids(m, s, len, &both, &merge[*n]),
                  "a merge uses a token that is not in the vocabulary");
        ++*n;
    }
    tp_text_free(&both);
    return ok;
}

static bool read_merges(tp_ctx *ctx, const char *name, const tpi_json *model, tpi_bpe *m, bool long_words)
{
    const tpi_json *list = tpi_json_array(ctx, name, model, "merges", true);
    tpi_tok_pair   *merge;
    size_t          n = 0;
    bool            ok;

    if (list == NULL)
        return false;
    if (tpi_json_size(list) > TPI_MERGES_MAX)
        return tp_fail(ctx, TP_EFORMAT, "%s: has %zu merges, at most %d are taken", name, tpi_json_size(list),
                       TPI_MERGES_MAX) != NULL;
    merge = tpi_alloc(ctx, tpi_json_size(list), sizeof *merge);
    if (merge == NULL)
        return false;
    ok = fill_merges(ctx, name, list, m, merge, &n) &&
         said(ctx, name, tpi_bpe_finish(m, merge, n, long_words), "the merges are wrong");
    tpi_free(merge);
    return ok;
}

/* An empty prefix or suffix is none. */
static char *affix(tp_ctx *ctx, const char *name, const tpi_json *model, const char *key)
{
    const char *s = tpi_json_text(ctx, name, model, key, "");

    return s[0] != '\0' ? tpi_strdup(ctx, s) : NULL;
}

static bool read_unk(tp_ctx *ctx, const char *name, const tpi_json *model, tpi_bpe *m)
{
    const char *s = tpi_json_text(ctx, name, model, "unk_token", NULL);

    m->unk = s ? tpi_vocab_id(&m->vocab, s, strlen(s)) : -1;
    if (s != NULL && m->unk < 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: the unk_token '%.60s' is not in the vocabulary", name, s) != NULL;
    return tp_ok(ctx);
}

bool tpi_tok_read_model(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const tpi_json *model = tpi_json_object(ctx, name, j, "model", true);
    const char     *type = tpi_json_text(ctx, name, model, "type", "BPE");
    tpi_bpe        *m = &tok->bpe;
    bool            long_words = tok->pretok.n == 0;

    if (model == NULL || !tp_ok(ctx))
        return false;
    if (strcmp(type, "BPE") != 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: the model is %.60s, only BPE is supported", name, type) != NULL;
    if (tpi_json_double(ctx, name, model, "dropout", 0) > 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: the model drops merges at random, which is not supported", name) != NULL;
    if (tok->pretok.n == 1) /* Metaspace that does not split */
        long_words = tok->pretok.step[0].kind == TPI_STEP_METASPACE;
    m->prefix = affix(ctx, name, model, "continuing_subword_prefix");
    m->suffix = affix(ctx, name, model, "end_of_word_suffix");
    m->fuse_unk = tpi_json_bool(ctx, name, model, "fuse_unk", false);
    m->byte_fallback = tpi_json_bool(ctx, name, model, "byte_fallback", false);
    m->ignore_merges = tpi_json_bool(ctx, name, model, "ignore_merges", false);
    if (!tp_ok(ctx) || !read_vocab(ctx, name, model, &m->vocab) || !read_unk(ctx, name, model, m))
        return false;
    tok->unk = m->unk;
    return read_merges(ctx, name, model, m, long_words);
}

/* ---- added tokens ------------------------------------------------------------------------------------------------ */

static bool add_token(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok, int64_t *next)
{
    const char   *s;
    tpi_tok_added a = { .special = tpi_json_bool(ctx, name, j, "special", false) };
    bool          fresh;

    s = tpi_json_string(tpi_json_get(j, "content"), &a.n);
    if (s == NULL)
        return tp_fail(ctx, TP_EFORMAT, "%s: an added token has no content", name) != NULL;
    if (a.n == 0 || tpi_vocab_id(&tok->added_vocab, s, a.n) >= 0)
        return true;
    a.single_word = tpi_json_bool(ctx, name, j, "single_word", false);
    a.lstrip = tpi_json_bool(ctx, name, j, "lstrip", false);
    a.rstrip = tpi_json_bool(ctx, name, j, "rstrip", false);
    a.normalized = tpi_json_bool(ctx, name, j, "normalized", !a.special);
    a.id = tpi_vocab_id(&tok->bpe.vocab, s, a.n);
    if (a.id < 0)
        a.id = (int32_t)(*next)++;
    if (!said(ctx, name, tpi_vocab_add(&tok->added_vocab, s, a.n, a.id, &fresh), "there are too many tokens") ||
        !tpi_grow(ctx, &tok->added, &tok->cap_added, tok->n_added + 1, sizeof *tok->added))
        return false;
    a.text = tpi_strndup(ctx, s, a.n);
    tok->added[tok->n_added++] = a;
    return a.text != NULL && tp_ok(ctx);
}

/* A token that the model has keeps the model's id; others are numbered from the size of the vocabulary, whatever the
 * file says: that is what the original does, and files that it wrote agree. */
bool tpi_tok_read_added(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const tpi_json *list = tpi_json_array(ctx, name, j, "added_tokens", false);
    int64_t         next = (int64_t)tok->bpe.vocab.n;

    for (size_t i = 0; i < tpi_json_size(list) && tp_ok(ctx); i++)
        if (!add_token(ctx, name, tpi_json_at(list, i), tok, &next))
            return false;
    if (!tp_ok(ctx) || !said(ctx, name, tpi_vocab_finish(&tok->added_vocab), "the added tokens are wrong"))
        return false;
    tok->n_ids = tok->bpe.vocab.n_ids > tok->added_vocab.n_ids ? tok->bpe.vocab.n_ids : tok->added_vocab.n_ids;
    return said(ctx, name, tpi_tok_added_finish(tok), "the added tokens are wrong");
}

/* ---- post-processors --------------------------------------------------------------------------------------------- */

static bool put_around(tp_ctx *ctx, const char *name, tp_tokenizer *tok, bool after, int64_t id)
{
    tpi_tok_around *a = &tok->around;
    int            *n = after ? &a->n_after : &a->n_before;

    if (id < 0 || id >= tok->n_ids)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor adds the id %lld, which no token has", name,
                       (long long)id) != NULL;
    if (*n == TPI_AROUND_MAX)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor adds more than %d tokens", name, TPI_AROUND_MAX) != NULL;
    (after ? a->after : a->before)[(*n)++] = (int32_t)id;
    return true;
}

/* The piece {"SpecialToken": {"id": "<s>"}} stands for the ids of special_tokens["<s>"]. */
static bool put_special(tp_ctx *ctx, const char *name, const tpi_json *j, const tpi_json *piece, tp_tokenizer *tok,
                        bool after)
{
    const char     *id = tpi_json_string(tpi_json_get(piece, "id"), NULL);
    const tpi_json *ids = id ? tpi_json_get(tpi_json_get(tpi_json_get(j, "special_tokens"), id), "ids") : NULL;
    bool            ok = tpi_json_is(ids) == TPI_JSON_ARRAY;

    if (!ok)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor has no ids for the special token '%.60s'", name,
                       id ? id : "") != NULL;
    for (size_t i = 0; i < tpi_json_size(ids) && ok; i++)
        ok = tpi_json_is(tpi_json_at(ids, i)) == TPI_JSON_INT &&
             put_around(ctx, name, tok, after, tpi_json_integer(tpi_json_at(ids, i)));
    return ok;
}

static bool read_template(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const tpi_json *single = tpi_json_array(ctx, name, j, "single", true);
    int             texts = 0;

    for (size_t i = 0; i < tpi_json_size(single); i++) {
        const tpi_json *piece = tpi_json_at(single, i), *special = tpi_json_get(piece, "SpecialToken");
        const char     *id = tpi_json_string(tpi_json_get(tpi_json_get(piece, "Sequence"), "id"), NULL);

        if (special != NULL && !put_special(ctx, name, j, special, tok, texts > 0))
            return false;
        if (special == NULL && (id == NULL || strcmp(id, "A") != 0))
            return tp_fail(ctx, TP_EFORMAT, "%s: post_processor has a piece that is no sequence A", name) != NULL;
        texts += special == NULL;
    }
    if (single != NULL && texts != 1)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor has the text %d times, expected once", name, texts) != NULL;
    return single != NULL;
}

/* BertProcessing and RobertaProcessing: cls, text, sep, each written ["<s>", id]. */
static bool read_pair(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const tpi_json *cls = tpi_json_at(tpi_json_get(j, "cls"), 1), *sep = tpi_json_at(tpi_json_get(j, "sep"), 1);

    if (tpi_json_is(cls) != TPI_JSON_INT || tpi_json_is(sep) != TPI_JSON_INT)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor has no ids for cls and sep", name) != NULL;
    return put_around(ctx, name, tok, false, tpi_json_integer(cls)) &&
           put_around(ctx, name, tok, true, tpi_json_integer(sep));
}

/* ByteLevel only moves offsets. */
static bool read_one_post(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const char *type = tpi_json_text(ctx, name, j, "type", "");

    if (!tp_ok(ctx) || strcmp(type, "ByteLevel") == 0)
        return tp_ok(ctx);
    if (tok->has_around)
        return tp_fail(ctx, TP_EFORMAT, "%s: post_processor adds tokens twice", name) != NULL;
    tok->has_around = true;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(ctx, name, j, tok);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_pair(ctx, name, j, tok);
    return tp_fail(ctx, TP_EFORMAT, "%s: post_processor: the type %.60s is not supported", name, type) != NULL;
}

bool tpi_tok_read_post(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const tpi_json *post = tpi_json_object(ctx, name, j, "post_processor", false);
    const tpi_json *list = post ? tpi_json_get(post, "processors") : NULL;
    bool            ok = tp_ok(ctx);

    if (post == NULL || !ok)
        return ok;
    if (tpi_json_is(list) != TPI_JSON_ARRAY)
        return read_one_post(ctx, name, post, tok);
    for (size_t i = 0; i < tpi_json_size(list) && ok; i++)
        ok = read_one_post(ctx, name, tpi_json_at(list, i), tok);
    return ok;
}
