/* tok_scores.c - merges of a SentencePiece vocabulary, which has none: every way to make a piece of two, best score
 * first. */
#include "models/text/tok.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_MAX = 1024
}; /* bytes; longer pieces are not made of others, or a hostile file would take quadratic time */

typedef struct join {
    float    score;
    uint32_t left, right; /* characters */
    uint32_t token, cut;  /* the piece, and after how many bytes it is cut */
    int32_t  a, b;
} join;

typedef struct joins {
    join  *p;
    size_t n, cap;
} joins;

/* Falling scores; of equals longer left parts first, then longer right ones, then the order of the vocabulary. */
static int compare(const void *x, const void *y)
{
    const join *p = x, *q = y;

    if (p->score != q->score)
        return p->score > q->score ? -1 : 1;
    if (p->left != q->left)
        return p->left > q->left ? -1 : 1;
    if (p->right != q->right)
        return p->right > q->right ? -1 : 1;
    if (p->token != q->token)
        return p->token < q->token ? -1 : 1;
    return p->a != q->a ? (p->a < q->a ? -1 : 1) : (p->b > q->b) - (p->b < q->b);
}

static bool joins_of(tp_ctx *ctx, const tpi_vocab *pieces, const tpi_gguf_string *s, uint32_t token, float score,
                     joins *l)
{
    uint32_t chars = 0, left = 0;

    for (size_t i = 0; i < s->n; chars++)
        (void)tpi_utf8_next(s->p, &i);
    for (size_t i = 0; i < s->n;) {
        int32_t a, b;

        (void)tpi_utf8_next(s->p, &i);
        left++;
        if (i >= s->n)
            break;
        a = tpi_vocab_id(pieces, s->p, i);
        b = a < 0 ? -1 : tpi_vocab_id(pieces, s->p + i, s->n - i);
        if (b < 0)
            continue;
        if (l->n >= TPI_MERGES_MAX)
            return tp_fail(ctx, TP_EFORMAT, "the vocabulary gives more than %d merges", TPI_MERGES_MAX) != NULL;
        if (!tpi_grow(ctx, &l->p, &l->cap, l->n + 1, sizeof *l->p))
            return false;
        l->p[l->n++] = (join){ score, left, chars - left, token, (uint32_t)i, a, b };
    }
    return true;
}

/* Normal pieces and the users' own; control tokens and bytes are never merged. */
static bool collect(tp_ctx *ctx, const tpi_gguf_vocab *v, tpi_vocab *pieces, joins *l)
{
    bool ok = true, fresh;

    for (size_t i = 0; i < v->n && ok; i++) {
        int type = v->token_type ? v->token_type[i] : 1;

        if ((type == 1 || type == 4) && v->tokens[i].n > 0 && tpi_utf8_valid(v->tokens[i].p, v->tokens[i].n, NULL))
            ok = tpi_vocab_add(pieces, v->tokens[i].p, v->tokens[i].n, (int32_t)i, &fresh) == TP_OK;
    }
    if (!ok || tpi_vocab_finish(pieces) != TP_OK)
        return tp_fail(ctx, TP_ENOMEM, "out of memory") != NULL;
    for (size_t i = 0; i < v->n && ok; i++)
        if (v->tokens[i].n <= PIECE_MAX && i < (size_t)pieces->n_ids && pieces->of_id[i] >= 0)
            ok = joins_of(ctx, pieces, &v->tokens[i], (uint32_t)i, isnan(v->scores[i]) ? -INFINITY : v->scores[i], l);
    return ok;
}

static tpi_json *as_json(tp_ctx *ctx, const tpi_gguf_vocab *v, const joins *l)
{
    tpi_json *list = tpi_json_new_array(ctx);

    for (size_t i = 0; i < l->n && tp_ok(ctx); i++) {
        const tpi_gguf_string *s = &v->tokens[l->p[i].token];
        tpi_json              *pair = tpi_json_new_array(ctx);

        (void)tpi_json_add(ctx, pair, tpi_json_new_text(ctx, s->p, l->p[i].cut));
        (void)tpi_json_add(ctx, pair, tpi_json_new_text(ctx, s->p + l->p[i].cut, s->n - l->p[i].cut));
        (void)tpi_json_add(ctx, list, pair);
    }
    return list;
}

tpi_json *tpi_tok_merges_of_scores(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v)
{
    tpi_vocab pieces = { 0 };
    joins     l = { 0 };
    tpi_json *list = NULL;

    if (v->scores == NULL)
        return tp_fail(ctx, TP_EFORMAT, "%s: a SentencePiece vocabulary needs tokenizer.ggml.scores, or merges", name);
    if (collect(ctx, v, &pieces, &l)) {
        if (l.n > 1)
            qsort(l.p, l.n, sizeof *l.p, compare);
        list = as_json(ctx, v, &l);
    }
    tpi_vocab_free(&pieces);
    tpi_free(l.p);
    return list;
}
