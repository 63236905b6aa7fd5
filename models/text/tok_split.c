/* tok_split.c - where a text is to be split: matches of a pattern or of a class of characters, and what is done with
 * them. */
#include "models/text/tok.h"

static tp_code hit(tpi_tok_work *w, size_t begin, size_t end, bool match)
{
    if (!tpi_grow(NULL, &w->hit, &w->cap_hit, w->n_hit + 1, sizeof *w->hit))
        return TP_ENOMEM;
    w->hit[w->n_hit++] = (tpi_tok_hit){ begin, end, match };
    return TP_OK;
}

/* A match, and before it what matched nothing since `done`. */
static tp_code found(tpi_tok_work *w, bool invert, size_t done, size_t begin, size_t end)
{
    tp_code rc = begin > done ? hit(w, done, begin, invert) : TP_OK;

    return rc == TP_OK ? hit(w, begin, end, !invert) : rc;
}

/* An empty match right behind the match before it does not count; the search goes on one character further. */
static tp_code by_regex(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n, size_t *done)
{
    size_t  from = 0, last = SIZE_MAX;
    tp_code rc = TP_OK;

    if (w->matcher == NULL)
        w->matcher = tpi_matcher_new(NULL);
    if (w->matcher == NULL)
        return TP_ENOMEM;
    while (from <= n && rc == TP_OK) {
        size_t begin, end;
        bool   yes;

        rc = tpi_regex_find(s->regex, w->matcher, text, n, from, &yes, &begin, &end);
        if (rc != TP_OK || !yes)
            break;
        if (begin == end && end == last) {
            if (from >= n)
                break;
            (void)tpi_utf8_next(text, &from);
            continue;
        }
        rc = found(w, s->invert, *done, begin, end);
        *done = from = last = end;
    }
    return rc;
}

static tp_code by_class(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n, size_t *done)
{
    size_t  i = 0;
    tp_code rc = TP_OK;

    while (i < n && rc == TP_OK) {
        size_t at = i;

        if (!s->is(tpi_utf8_next(text, &i)))
            continue;
        rc = found(w, s->invert, *done, at, i);
        *done = i;
    }
    return rc;
}

tp_code tpi_tok_find_hits(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n)
{
    size_t  done = 0;
    tp_code rc;

    w->n_hit = 0;
    if (n == 0)
        return TP_OK;
    rc = s->kind == TPI_STEP_CLASS ? by_class(s, w, text, n, &done) : by_regex(s, w, text, n, &done);
    return rc == TP_OK && done < n ? hit(w, done, n, s->invert) : rc;
}

/* ---- behaviours: the hits become the pieces ---------------------------------------------------------------------- */

static void removed(tpi_tok_work *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n_hit; i++)
        if (!w->hit[i].match)
            w->hit[n++] = w->hit[i];
    w->n_hit = n;
}

static void contiguous(tpi_tok_work *w)
{
    size_t n = 0;
    bool   before = false;

    for (size_t i = 0; i < w->n_hit; i++) {
        tpi_tok_hit h = w->hit[i];

        if (n > 0 && h.match == before)
            w->hit[n - 1].end = h.end;
        else
            w->hit[n++] = h;
        before = h.match;
    }
    w->n_hit = n;
}

static void with_previous(tpi_tok_work *w)
{
    size_t n = 0;
    bool   before = false;

    for (size_t i = 0; i < w->n_hit; i++) {
        tpi_tok_hit h = w->hit[i];

        if (n > 0 && h.match && !before)
            w->hit[n - 1].end = h.end;
        else
            w->hit[n++] = h;
        before = h.match;
    }
    w->n_hit = n;
}

/* The same from the end: results gather at the end of the array and are moved to its beginning. */
static void with_next(tpi_tok_work *w)
{
    size_t first = w->n_hit;
    bool   after = false;

    for (size_t i = w->n_hit; i-- > 0;) {
        tpi_tok_hit h = w->hit[i];

        if (first < w->n_hit && h.match && !after)
            w->hit[first].begin = h.begin;
        else
            w->hit[--first] = h;
        after = h.match;
    }
    for (size_t i = first; i < w->n_hit; i++)
        w->hit[i - first] = w->hit[i];
    w->n_hit -= first;
}

void tpi_tok_join_hits(tpi_tok_behaviour b, tpi_tok_work *w)
{
    switch (b) {
    case TPI_REMOVED: removed(w); break;
    case TPI_ISOLATED: break;
    case TPI_WITH_PREVIOUS: with_previous(w); break;
    case TPI_WITH_NEXT: with_next(w); break;
    case TPI_CONTIGUOUS: contiguous(w); break;
    }
}
