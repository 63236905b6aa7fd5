/* tok_stream.c - decoding ids one by one: text is given out as soon as its characters are whole. */
#include "models/text/tok.h"

#include <string.h>

enum {
    PATIENCE = 8,      /* ids to wait for the rest of a character; none is longer than 4 bytes */
    LONGEST_WAIT = 256 /* ids to wait for any text at all */
};

/*
 * A decoder step may look at neighbours (a leading space is stripped from the first token only), so the ids given out last are
 * decoded again together with the new ones, and what their text is longer by is new.
 */
struct tp_decoder {
    const tp_tokenizer *tok;
    unsigned            flags;
    tp_ids              ids;  /* those given out last, then those that wait */
    int64_t             done; /* how many have been given out */
    tp_text             before, all, out;
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
    tp_text_free(&dec->before);
    tp_text_free(&dec->all);
    tp_text_free(&dec->out);
    tpi_free(dec);
}

static bool unfinished(const tp_text *t)
{
    return t->n >= 3 && memcmp(t->p + t->n - 3, "\xef\xbf\xbd", 3) == 0;
}

/* Gives out what `all` is longer by than `before`, and keeps the ids that waited as the ones given out last. */
static tp_code give(tp_decoder *d)
{
    size_t  same = d->before.n < d->all.n ? d->before.n : d->all.n;
    int64_t wait = d->ids.n - d->done;
    tp_code rc;

    /* A byte may have spoilt a run that was whole before; what is out is out, but characters are not cut. */
    while (same < d->all.n && ((unsigned char)d->all.p[same] & 0xc0) == 0x80)
        same++;
    rc = tpi_text_add(&d->out, d->all.p + same, d->all.n - same);
    if (wait > 0 && d->done > 0)
        memmove(d->ids.id, d->ids.id + d->done, (size_t)wait * sizeof *d->ids.id);
    d->ids.n = d->done = wait;
    return rc;
}

static tp_code step(tp_decoder *d, bool end)
{
    int64_t wait = d->ids.n - d->done;
    tp_code rc;

    d->before.n = d->all.n = 0;
    rc = tpi_detokenize(d->tok, d->ids.id, d->done, d->flags, &d->before);
    if (rc == TP_OK)
        rc = tpi_detokenize(d->tok, d->ids.id, d->ids.n, d->flags, &d->all);
    if (rc != TP_OK || (!end && d->all.n <= d->before.n && wait < LONGEST_WAIT) || (!end && unfinished(&d->all) && wait < PATIENCE))
        return rc;
    return give(d);
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
    dec->ids.n = dec->done = 0;
    return answer(ctx, dec, rc);
}
