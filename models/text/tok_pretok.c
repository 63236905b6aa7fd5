/* tok_pretok.c - the steps of a pre-tokenizer: a text becomes pieces, and the pieces' text may change on the way. */
#include "models/text/tok.h"

#include <string.h>

/* ---- the alphabet of byte-level BPE ------------------------------------------------------------------------------ */

/* Printable bytes are themselves; the other 68 are U+0100 and up, in order. */
uint32_t tpi_byte_char(unsigned char b)
{
    if ((b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad))
        return b;
    if (b <= ' ')
        return 0x100u + b;
    return b == 0xad ? 0x143 : 0x100u + b - 0x7f + 33;
}

int tpi_char_byte(uint32_t c)
{
    if ((c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xff && c != 0xad))
        return (int)c;
    if (c >= 0x100 && c <= 0x120)
        return (int)c - 0x100;
    if (c >= 0x121 && c <= 0x142)
        return (int)c - 0x121 + 0x7f;
    return c == 0x143 ? 0xad : -1;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static tp_code make(tpi_tok_work *w, size_t at, size_t n, size_t lead, bool head)
{
    if (n == 0) /* empty pieces vanish */
        return TP_OK;
    if (!tpi_grow(NULL, &w->made, &w->cap_made, w->n_made + 1, sizeof *w->made))
        return TP_ENOMEM;
    w->made[w->n_made++] = (tpi_tok_piece){ at, n, lead, head };
    return TP_OK;
}

static tp_code split(const tpi_tok_step *s, tpi_tok_work *w, const char *text, const tpi_tok_piece *p)
{
    tp_code rc = tpi_tok_find_hits(s, w, text + p->at, p->n);

    if (rc != TP_OK)
        return rc;
    tpi_tok_join_hits(s->behaviour, w);
    for (size_t i = 0; i < w->n_hit && rc == TP_OK; i++) {
        size_t begin = w->hit[i].begin;

        rc = make(w, p->at + begin, w->hit[i].end - begin, p->lead > begin ? p->lead - begin : 0,
                  p->head && begin <= p->lead);
    }
    return rc;
}

static tp_code bytes(const char *text, size_t n, tp_text *out)
{
    if (tpi_text_room(out, 2 * n) != TP_OK)
        return TP_ENOMEM;
    for (size_t i = 0; i < n; i++)
        out->n += tpi_utf8_put(out->p + out->n, tpi_byte_char((unsigned char)text[i]));
    return TP_OK;
}

static bool begins_with(const char *text, size_t n, const char *s, size_t m)
{
    return n >= m && memcmp(text, s, m) == 0;
}

/* Spaces become the replacement, which also comes in front by the scheme. */
static tp_code metaspace(const tpi_tok_step *s, bool continued, const char *text, tpi_tok_piece *p, tp_text *out)
{
    bool    bare = !continued && p->n > 0 && text[0] != ' ' && !begins_with(text, p->n, s->text, s->n);
    tp_code rc = TP_OK;

    if (bare && (s->scheme == TPI_ALWAYS || (s->scheme == TPI_FIRST && p->head))) {
        rc = tpi_text_add(out, s->text, s->n);
        p->lead += s->n;
    }
    for (size_t i = 0, begin = 0; i <= p->n && rc == TP_OK; i++) {
        if (i < p->n && text[i] != ' ')
            continue;
        rc = tpi_text_add(out, text + begin, i - begin);
        if (rc == TP_OK && i < p->n)
            rc = tpi_text_add(out, s->text, s->n);
        begin = i + 1;
    }
    return rc;
}

/* Steps that change the text of each piece; they write into another buffer. */
static tp_code rewrite(const tpi_tok_step *s, tpi_tok_work *w, const char *text, tp_text *out)
{
    tp_code rc = TP_OK;

    out->n = 0;
    for (size_t i = 0; i < w->n_piece && rc == TP_OK; i++) {
        tpi_tok_piece p = w->piece[i];
        size_t        at = out->n;

        if (s->kind == TPI_STEP_BYTES) {
            rc = bytes(text + p.at, p.n, out);
        } else if (s->kind == TPI_STEP_METASPACE) {
            rc = metaspace(s, w->continued && i == 0, text + p.at, &p, out);
        } else { /* TPI_STEP_PREFIX */
            if (text[p.at] != ' ' && !(w->continued && i == 0)) {
                rc = tpi_text_add(out, " ", 1);
                p.lead++;
            }
            if (rc == TP_OK)
                rc = tpi_text_add(out, text + p.at, p.n);
        }
        if (rc == TP_OK)
            rc = make(w, at, out->n - at, p.lead, p.head);
    }
    return rc;
}

static void swap(tpi_tok_work *w)
{
    tpi_tok_piece *p = w->piece;
    size_t         cap = w->cap_piece;

    w->piece = w->made;
    w->cap_piece = w->cap_made;
    w->n_piece = w->n_made;
    w->made = p;
    w->cap_made = cap;
}

tp_code tpi_tok_pretokenize(const tpi_tok_steps *steps, tpi_tok_work *w, const char *text, const tpi_tok_piece *whole,
                            const char **out)
{
    tp_code rc;

    w->n_made = 0;
    rc = make(w, whole->at, whole->n, whole->lead, whole->head);
    swap(w);
    for (size_t i = 0; i < steps->n && rc == TP_OK; i++) {
        const tpi_tok_step *s = &steps->step[i];

        w->n_made = 0;
        if (s->kind == TPI_STEP_SPLIT || s->kind == TPI_STEP_CLASS) {
            for (size_t k = 0; k < w->n_piece && rc == TP_OK; k++)
                rc = split(s, w, text, &w->piece[k]);
        } else {
            tp_text *t = &w->text[text == w->text[0].p];

            rc = rewrite(s, w, text, t);
            text = t->p;
        }
        swap(w);
    }
    *out = text;
    return rc;
}
