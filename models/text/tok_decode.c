/* tok_decode.c - ids back to text: the tokens' texts pass through the steps of the decoder as a list. */
#include "models/text/tok.h"

#include <string.h>

/* Texts in one buffer: item i is all.p[end[i - 1]..end[i]). */
typedef struct list {
    tp_text all;
    size_t *end, n, cap;
} list;

static size_t begin_of(const list *l, size_t i)
{
    return i > 0 ? l->end[i - 1] : 0;
}

/* Closes the item whose text has just been appended. */
static tp_code close_item(list *l)
{
    if (!tpi_grow(NULL, &l->end, &l->cap, l->n + 1, sizeof *l->end))
        return TP_ENOMEM;
    l->end[l->n++] = l->all.n;
    return TP_OK;
}

static tp_code add(list *l, const char *s, size_t n)
{
    tp_code rc = tpi_text_add(&l->all, s, n);

    return rc == TP_OK ? close_item(l) : rc;
}

/* Bytes that are no UTF-8 become U+FFFD, one for each maximal part of a character, as Unicode recommends. */
static tp_code add_lossy(tp_text *out, const char *s, size_t n)
{
    size_t  i = 0;
    tp_code rc = TP_OK;

    while (i < n && rc == TP_OK) {
        size_t bad = 0, k = 1;

        if (tpi_utf8_valid(s + i, n - i, &bad))
            return tpi_text_add(out, s + i, n - i);
        rc = tpi_text_add(out, s + i, bad);
        i += bad;
        while (i + k < n && tpi_utf8_open(s + i, k + 1))
            k++;
        if (rc == TP_OK)
            rc = tpi_text_add(out, "\xef\xbf\xbd", 3);
        i += k;
    }
    return rc;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* A token with a character that stands for no byte is taken as it is. */
static tp_code unmap(const char *s, size_t n, tp_text *out)
{
    size_t start = out->n, i = 0;

    if (tpi_text_room(out, n) != TP_OK)
        return TP_ENOMEM;
    while (i < n) {
        int b = tpi_char_byte(tpi_utf8_next(s, &i));

        if (b < 0) {
            out->n = start;
            return tpi_text_add(out, s, n);
        }
        out->p[out->n++] = (char)b;
    }
    return TP_OK;
}

static tp_code byte_level(const list *in, list *out)
{
    tp_text raw = { 0 };
    tp_code rc = TP_OK;

    for (size_t i = 0; i < in->n && rc == TP_OK; i++)
        rc = unmap(in->all.p + begin_of(in, i), in->end[i] - begin_of(in, i), &raw);
    if (rc == TP_OK)
        rc = add_lossy(&out->all, raw.p, raw.n);
    tp_text_free(&raw);
    return rc == TP_OK ? close_item(out) : rc;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0x41>", -1 for other texts. */
static int byte_token(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[4]) < 0)
        return -1;
    if (s[3] == '+') /* the original's number parser takes a sign */
        return hex(s[4]);
    return hex(s[3]) < 0 ? -1 : hex(s[3]) * 16 + hex(s[4]);
}

/* A run of byte tokens that is no UTF-8 gives one U+FFFD a byte. */
static tp_code end_run(tp_text *run, list *out)
{
    tp_code rc = TP_OK;

    if (run->n > 0 && tpi_utf8_valid(run->p, run->n, NULL))
        rc = add(out, run->p, run->n);
    else
        for (size_t i = 0; i < run->n && rc == TP_OK; i++)
            rc = add(out, "\xef\xbf\xbd", 3);
    run->n = 0;
    return rc;
}

static tp_code byte_fallback(const list *in, list *out)
{
    tp_text run = { 0 };
    tp_code rc = TP_OK;

    for (size_t i = 0; i < in->n && rc == TP_OK; i++) {
        const char *s = in->all.p + begin_of(in, i);
        size_t      n = in->end[i] - begin_of(in, i);
        int         b = byte_token(s, n);

        if (b >= 0) {
            char c = (char)b;

            rc = tpi_text_add(&run, &c, 1);
            continue;
        }
        rc = end_run(&run, out);
        if (rc == TP_OK)
            rc = add(out, s, n);
    }
    if (rc == TP_OK)
        rc = end_run(&run, out);
    tp_text_free(&run);
    return rc;
}

/* The replacement becomes a space, or nothing in the first token unless nothing was put in front of texts. */
static tp_code unspace(const tpi_tok_step *s, const char *text, size_t n, bool first, list *out)
{
    size_t  i = 0;
    tp_code rc = TP_OK;

    while (i < n && rc == TP_OK) {
        size_t at = i;

        (void)tpi_utf8_next(text, &i);
        if (i - at != s->n || memcmp(text + at, s->text, s->n) != 0)
            rc = tpi_text_add(&out->all, text + at, i - at);
        else if (!first || s->scheme == TPI_NEVER)
            rc = tpi_text_add(&out->all, " ", 1);
    }
    return rc == TP_OK ? close_item(out) : rc;
}

static tp_code strip(const tpi_tok_step *s, const char *text, size_t n, list *out)
{
    size_t begin = 0, end = n;

    for (uint32_t k = 0; k < s->left && n - begin >= s->n && memcmp(text + begin, s->text, s->n) == 0; k++)
        begin += s->n;
    for (uint32_t k = 0; k < s->right && end - begin >= s->n && memcmp(text + end - s->n, s->text, s->n) == 0; k++)
        end -= s->n;
    return add(out, text + begin, end - begin);
}

static tp_code each(const tpi_tok_step *s, tpi_tok_work *w, const list *in, list *out)
{
    tp_code rc = TP_OK;

    for (size_t i = 0; i < in->n && rc == TP_OK; i++) {
        const char *text = in->all.p + begin_of(in, i);
        size_t      n = in->end[i] - begin_of(in, i);

        if (s->kind == TPI_STEP_METASPACE) {
            rc = unspace(s, text, n, i == 0, out);
        } else if (s->kind == TPI_STEP_STRIP) {
            rc = strip(s, text, n, out);
        } else {
            rc = tpi_tok_replace(s, w, text, n, &out->all);
            if (rc == TP_OK)
                rc = close_item(out);
        }
    }
    return rc;
}

static tp_code apply(const tpi_tok_step *s, tpi_tok_work *w, const list *in, list *out)
{
    if (s->kind == TPI_STEP_BYTES)
        return byte_level(in, out);
    if (s->kind == TPI_STEP_BYTE_TOKENS)
        return byte_fallback(in, out);
    if (s->kind == TPI_STEP_FUSE)
        return add(out, in->all.p, in->all.n);
    return each(s, w, in, out);
}

/* ---- ids --------------------------------------------------------------------------------------------------------- */

/* An added token is written in its normalised form, from which the decoder goes back. */
static tp_code tokens(const tp_tokenizer *tok, const int32_t *id, int64_t n, unsigned flags, list *out)
{
    tp_code rc = TP_OK;

    for (int64_t i = 0; i < n && rc == TP_OK; i++) {
        const tpi_tok_added *a = tpi_tok_added_of(tok, id[i]);
        size_t               len = 0;
        const char          *s = a ? a->pattern : tpi_vocab_text(&tok->bpe.vocab, id[i], &len);

        if (s == NULL || ((flags & TP_SKIP_SPECIAL) && a != NULL && a->special))
            continue;
        if (out->n > 0 && !tok->decoder.there && (rc = tpi_text_add(&out->all, " ", 1)) != TP_OK)
            break;
        rc = add(out, s, a ? a->pattern_n : len);
    }
    return rc;
}

static void list_free(list *l)
{
    tp_text_free(&l->all);
    tpi_free(l->end);
}

tp_code tpi_detokenize(const tp_tokenizer *tok, const int32_t *id, int64_t n, unsigned flags, tp_text *text)
{
    list          l[2] = { { .n = 0 }, { .n = 0 } }, *in = &l[0], *out = &l[1];
    tpi_tok_work *w = tpi_tok_work_take(tok);
    tp_code       rc = w ? tpi_text_add(&in->all, "", 0) : TP_ENOMEM;

    if (rc == TP_OK)
        rc = tokens(tok, id, n, flags, in);
    for (size_t i = 0; i < tok->decoder.n && rc == TP_OK; i++) {
        list *was = in;

        out->n = out->all.n = 0;
        rc = apply(&tok->decoder.step[i], w, in, out);
        in = out;
        out = was;
    }
    if (rc == TP_OK) /* texts of a vocabulary are UTF-8, but a step may have cut them */
        rc = add_lossy(text, in->all.p, in->all.n);
    tpi_tok_work_give(tok, w);
    list_free(&l[0]);
    list_free(&l[1]);
    return rc == TP_OK ? tpi_text_add(text, "", 0) : rc;
}
