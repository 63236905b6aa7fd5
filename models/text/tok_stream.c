/* tok_stream.c - decoding ids one by one: text is given out as soon as its characters are whole. */
#include "models/text/tok.h"

#include <string.h>

enum { PATIENCE = 64 }; /* ids to wait for a text whose end is whole */

/*
 * A step of the decoder may look at neighbours (a leading space is stripped from the first token only), so a window of
 * ids is decoded as a whole, and what its text is longer by than what has been given out is new.  U+FFFD at its end may
 * become a character yet.  Where the text is whole, the window shrinks to the ids since the last such place.
 */
struct tp_decoder {
    const tp_tokenizer *tok;
    unsigned            flags;
    tp_ids              ids;
    int64_t             done; /* ids up to the last place where the text was whole */
    size_t              sent; /* bytes of the window's text that have been given out */
    int64_t             wait; /* ids since something was given out */
    tp_text             all, out;
};

tp_decoder *tp_decoder_new(tp_ctx *ctx, const tp_tokenizer *tok, unsigned flags)
{
    tp_decoder *dec;

    if (!tp_ok(ctx))
        return NULL;
    if (tok == NULL)
        return tp_fail(ctx, TP_EARG, "decoder_new: the tokenizer is NULL");
    dec = tpi_alloc(ctx, 1, sizeof *dec);
    if (dec == NULL)
        return NULL;
    dec->tok = tok;
    dec->flags = flags;
    return dec;
}

void tp_decoder_free(tp_decoder *dec)
{
    if (dec == NULL)
        return;
    tp_ids_free(&dec->ids);
    tp_text_free(&dec->all);
    tp_text_free(&dec->out);
    tpi_free(dec);
}

/* The text without the U+FFFD at its end. */
static size_t whole(const tp_text *t)
{
    size_t n = t->n;

    while (n >= 3 && memcmp(t->p + n - 3, "\xef\xbf\xbd", 3) == 0)
        n -= 3;
    return n;
}

static tp_code shrink(tp_decoder *d)
{
    int64_t rest = d->ids.n - d->done;
    tp_code rc;

    if (rest > 0 && d->done > 0)
        memmove(d->ids.id, d->ids.id + d->done, (size_t)rest * sizeof *d->ids.id);
    d->ids.n = d->done = rest;
    d->all.n = 0;
    rc = tpi_detokenize(d->tok, d->ids.id, d->ids.n, d->flags, &d->all);
    d->sent = d->all.n;
    return rc;
}

static tp_code step(tp_decoder *d, bool end)
{
    size_t  n;
    bool    patient;
    tp_code rc;

    d->all.n = 0;
    rc = tpi_detokenize(d->tok, d->ids.id, d->ids.n, d->flags, &d->all);
    if (rc != TP_OK)
        return rc;
    patient = !end && ++d->wait < PATIENCE;
    n = patient ? whole(&d->all) : d->all.n;
    if (n <= d->sent && patient)
        return TP_OK;
    /* A byte may have spoilt a run of bytes that was given out as characters; what is out is out, but none is cut. */
    while (d->sent < n && ((unsigned char)d->all.p[d->sent] & 0xc0) == 0x80)
        d->sent++;
    if (n > d->sent)
        rc = tpi_text_add(&d->out, d->all.p + d->sent, n - d->sent);
    d->sent = n;
    d->wait = 0;
    return rc == TP_OK && n == d->all.n ? shrink(d) : rc;
}

static const char *answer(tp_ctx *ctx, tp_decoder *d, tp_code rc)
{
    if (rc == TP_OK)
        return d->out.p;
    return tp_fail(ctx, rc, "decoder: %s", rc == TP_ENOMEM ? "out of memory" : "a pattern takes too many steps");
}

const char *tp_decoder_add(tp_ctx *ctx, tp_decoder *dec, int32_t id)
{
    tp_code rc;

    if (!tp_ok(ctx))
        return NULL;
    if (dec == NULL)
        return tp_fail(ctx, TP_EARG, "decoder_add: the decoder is NULL");
    dec->out.n = 0;
    rc = tpi_text_add(&dec->out, "", 0);
    if (rc == TP_OK && (dec->flags & TP_SKIP_SPECIAL) && tp_tokenizer_is_special(dec->tok, id))
        return answer(ctx, dec, rc);
    if (rc == TP_OK)
        rc = tpi_ids_add(&dec->ids, id);
    return answer(ctx, dec, rc == TP_OK ? step(dec, false) : rc);
}

const char *tp_decoder_end(tp_ctx *ctx, tp_decoder *dec)
{
    tp_code rc;

    if (!tp_ok(ctx))
        return NULL;
    if (dec == NULL)
        return tp_fail(ctx, TP_EARG, "decoder_end: the decoder is NULL");
    dec->out.n = 0;
    rc = tpi_text_add(&dec->out, "", 0);
    if (rc == TP_OK)
        rc = step(dec, true);
    dec->ids.n = dec->done = dec->wait = 0;
    dec->sent = 0;
    return answer(ctx, dec, rc);
}
