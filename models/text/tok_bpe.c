/* tok_bpe.c - byte-pair encoding: from the characters of a word to its tokens. */
#include "models/text/tok.h"

#include <string.h>

static uint64_t key_of(int32_t a, int32_t b)
{
    return (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static void fill_quick(tpi_bpe *m)
{
    char buf[8];

    for (uint32_t c = 0; c < TPI_QUICK; c++)
        m->quick[c] = tpi_vocab_id(&m->vocab, buf, tpi_utf8_put(buf, c));
    for (unsigned b = 0; b < 256; b++) {
        (void)snprintf(buf, sizeof buf, "<0x%02X>", b);
        m->byte_id[b] = tpi_vocab_id(&m->vocab, buf, 6);
    }
}

/*
 * A whole book can be one word (SentencePiece has no pre-tokenizer).  It may be cut between two characters over which
 * no merge reaches: a merge of A and B reaches from the last character of A to the first of B, so those pairs are
 * bridges, and between two known characters that make no bridge nothing is ever merged.
 */
static tp_code build_bridges(tpi_bpe *m, const tpi_tok_pair *merge, size_t n)
{
    if (tpi_tok_pairs_init(&m->bridge, n) != TP_OK)
        return TP_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t      na = 0, nb = 0, end = 0;
        const char *a = tpi_vocab_text(&m->vocab, (int32_t)(merge[i].key >> 32), &na);
        const char *b = tpi_vocab_text(&m->vocab, (int32_t)(uint32_t)merge[i].key, &nb);
        size_t      last;
        int32_t     left, right;

        if (a == NULL || b == NULL || na == 0 || nb == 0)
            continue;
        last = tpi_utf8_before(a, na);
        (void)tpi_utf8_next(b, &end);
        left = tpi_vocab_id(&m->vocab, a + last, na - last);
        right = tpi_vocab_id(&m->vocab, b, end);
        if (left >= 0 && right >= 0)
            tpi_tok_pairs_put(&m->bridge, key_of(left, right), 0, 0);
    }
    return TP_OK;
}

tp_code tpi_bpe_finish(tpi_bpe *m, const tpi_tok_pair *merge, size_t n, bool long_words)
{
    m->result = tpi_alloc(NULL, n, sizeof *m->result);
    if (m->result == NULL || tpi_tok_pairs_init(&m->merges, n) != TP_OK)
        return TP_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        tpi_tok_pairs_put(&m->merges, merge[i].key, (uint32_t)i, merge[i].id);
        m->result[i] = merge[i].id;
    }
    fill_quick(m);
    return long_words && m->prefix == NULL && m->suffix == NULL ? build_bridges(m, merge, n) : TP_OK;
}

void tpi_bpe_free(tpi_bpe *m)
{
    tpi_vocab_free(&m->vocab);
    tpi_free(m->merges.slot);
    tpi_free(m->bridge.slot);
    tpi_free(m->result);
    tpi_free(m->prefix);
    tpi_free(m->suffix);
    *m = (tpi_bpe){ 0 };
}

/* ---- characters to symbols --------------------------------------------------------------------------------------- */

/* The token of one character; whether it stands first or last matters to models with a prefix or suffix.  -1: none. */
static int32_t symbol(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t at, size_t end, size_t n)
{
    size_t   i = at;
    uint32_t c = tpi_utf8_next(s, &i);
    tp_text *t = &w->affixed;

    if (m->prefix == NULL && m->suffix == NULL)
        return c < TPI_QUICK ? m->quick[c] : tpi_vocab_id(&m->vocab, s + at, end - at);
    t->n = 0;
    if (m->prefix != NULL && at > 0 && tpi_text_add(t, m->prefix, strlen(m->prefix)) != TP_OK)
        return -1;
    if (tpi_text_add(t, s + at, end - at) != TP_OK)
        return -1;
    if (m->suffix != NULL && end == n && tpi_text_add(t, m->suffix, strlen(m->suffix)) != TP_OK)
        return -1;
    return tpi_vocab_id(&m->vocab, t->p, t->n);
}

static tp_code push(tpi_tok_work *w, int32_t id)
{
    if (!tpi_grow(NULL, &w->sym, &w->cap_sym, w->n_sym + 1, sizeof *w->sym))
        return TP_ENOMEM;
    w->sym[w->n_sym++] = id;
    return TP_OK;
}

static bool has_bytes(const tpi_bpe *m, const char *s, size_t n)
{
    if (!m->byte_fallback)
        return false;
    for (size_t i = 0; i < n; i++)
        if (m->byte_id[(unsigned char)s[i]] < 0)
            return false;
    return true;
}

/* An unknown character waits until the next known one, so that neighbours can be fused; bytes overtake it, as in the
 * original. */
static tp_code symbols(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t n)
{
    bool    unknown = false;
    size_t  i = 0;
    tp_code rc = TP_OK;

    w->n_sym = 0;
    while (i < n && rc == TP_OK) {
        size_t  at = i;
        int32_t id;

        (void)tpi_utf8_next(s, &i);
        id = symbol(m, w, s, at, i, n);
        if (id >= 0) {
            if (unknown)
                rc = push(w, m->unk);
            unknown = false;
            rc = rc == TP_OK ? push(w, id) : rc;
        } else if (has_bytes(m, s + at, i - at)) {
            for (; at < i && rc == TP_OK; at++)
                rc = push(w, m->byte_id[(unsigned char)s[at]]);
        } else if (m->unk >= 0) {
            if (unknown && !m->fuse_unk)
                rc = push(w, m->unk);
            unknown = true;
        }
    }
    return unknown && rc == TP_OK ? push(w, m->unk) : rc;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static tp_code append(tp_ids *ids, const int32_t *id, size_t n)
{
    if (tpi_ids_room(ids, n) != TP_OK)
        return TP_ENOMEM;
    memcpy(ids->id + ids->n, id, n * sizeof *id);
    ids->n += (int64_t)n;
    return TP_OK;
}

static tp_code encode_word(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t n, tp_ids *ids)
{
    const int32_t *id;
    size_t         n_ids;
    tp_code        rc;

    if (tpi_tok_cache_get(&w->cache, s, n, &id, &n_ids))
        return append(ids, id, n_ids);
    rc = symbols(m, w, s, n);
    if (rc == TP_OK && w->n_sym > 1)
        rc = tpi_bpe_merge(m, w);
    if (rc != TP_OK || w->n_sym == 0)
        return rc;
    tpi_tok_cache_put(&w->cache, s, n, w->sym, w->n_sym);
    return append(ids, w->sym, w->n_sym);
}

/* Cuts a word where no merge can reach; see build_bridges. */
static tp_code encode_cut(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t n, tp_ids *ids)
{
    size_t  begin = 0, i = 0;
    int32_t before = -1;
    tp_code rc = TP_OK;

    while (i < n && rc == TP_OK) {
        size_t  at = i;
        int32_t id;

        (void)tpi_utf8_next(s, &i);
        id = symbol(m, w, s, at, i, n);
        if (id >= 0 && before >= 0 && tpi_tok_pairs_get(&m->bridge, key_of(before, id)) == NULL) {
            rc = encode_word(m, w, s + begin, at - begin, ids);
            begin = at;
        }
        before = id;
    }
    return rc == TP_OK ? encode_word(m, w, s + begin, n - begin, ids) : rc;
}

tp_code tpi_bpe_encode(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t n, tp_ids *ids)
{
    if (n == 0)
        return TP_OK;
    if (m->ignore_merges) {
        int32_t id = tpi_vocab_id(&m->vocab, s, n);

        if (id >= 0)
            return tpi_ids_add(ids, id);
    }
    return m->bridge.slot ? encode_cut(m, w, s, n, ids) : encode_word(m, w, s, n, ids);
}
