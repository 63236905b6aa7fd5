/* tok_added.c - added tokens: finding them in a text, the leftmost first, of those the longest. */
#include "models/text/tok.h"

#include <string.h>

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* The pattern of a `normalized` token is its text in the normalizer's form. */
static tp_code make_pattern(tp_tokenizer *tok, tpi_tok_work *w, tpi_tok_added *a)
{
    const char *s = a->text;
    size_t      n = a->n, lead;
    bool        head = true;
    tp_code     rc = TP_OK;

    if (a->normalized)
        rc = tpi_tok_normalize(&tok->normalizer, w, a->text, a->n, &s, &n, &lead, &head);
    if (rc != TP_OK)
        return rc;
    a->pattern = tpi_strndup(NULL, s, n);
    a->pattern_n = n;
    return a->pattern ? TP_OK : TP_ENOMEM;
}

static int by_pattern(const tpi_tok_added *a, const tpi_tok_added *b)
{
    size_t n = a->pattern_n < b->pattern_n ? a->pattern_n : b->pattern_n;
    int    c = memcmp(a->pattern, b->pattern, n);

    return c != 0 ? c : (a->pattern_n > b->pattern_n) - (a->pattern_n < b->pattern_n);
}

/* Heap sort: qsort has no room for a context, and the set must not be global. */
static void sift(const tpi_tok_added *a, uint32_t *p, size_t n, size_t i)
{
    for (;;) {
        size_t   k = 2 * i + 1;
        uint32_t t;

        if (k < n && k + 1 < n && by_pattern(&a[p[k]], &a[p[k + 1]]) < 0)
            k++;
        if (k >= n || by_pattern(&a[p[i]], &a[p[k]]) >= 0)
            return;
        t = p[i];
        p[i] = p[k];
        p[k] = t;
        i = k;
    }
}

static void sort(const tpi_tok_added *a, uint32_t *p, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(a, p, n, i);
    for (size_t i = n; i-- > 1;) {
        uint32_t t = p[0];

        p[0] = p[i];
        p[i] = t;
        sift(a, p, i, 0);
    }
}

static tp_code build_set(const tp_tokenizer *tok, bool normalized, tpi_tok_added_set *set)
{
    set->order = tpi_alloc(NULL, tok->n_added, sizeof *set->order);
    if (set->order == NULL)
        return TP_ENOMEM;
    for (size_t i = 0; i < tok->n_added; i++)
        if (tok->added[i].normalized == normalized && tok->added[i].pattern_n > 0)
            set->order[set->n++] = (uint32_t)i;
    sort(tok->added, set->order, set->n);
    for (uint32_t i = set->n; i-- > 0;)
        set->first[(unsigned char)tok->added[set->order[i]].pattern[0]] = i + 1;
    set->first[256] = set->n;
    for (int b = 255; b >= 0; b--) /* 0 stood for "none"; others were kept one too large */
        set->first[b] = set->first[b] ? set->first[b] - 1 : set->first[b + 1];
    return TP_OK;
}

static tp_code index_ids(tp_tokenizer *tok)
{
    tok->added_of = tpi_alloc(NULL, (size_t)tok->n_ids, sizeof *tok->added_of);
    if (tok->added_of == NULL)
        return TP_ENOMEM;
    for (int32_t i = 0; i < tok->n_ids; i++)
        tok->added_of[i] = -1;
    for (size_t i = 0; i < tok->n_added; i++)
        tok->added_of[tok->added[i].id] = (int32_t)i;
    return TP_OK;
}

const tpi_tok_added *tpi_tok_added_of(const tp_tokenizer *tok, int32_t id)
{
    return id < 0 || id >= tok->n_ids || tok->added_of[id] < 0 ? NULL : &tok->added[tok->added_of[id]];
}

tp_code tpi_tok_added_finish(tp_tokenizer *tok)
{
    tpi_tok_work *w = tpi_tok_work_take(tok);
    tp_code       rc = w ? index_ids(tok) : TP_ENOMEM;

    for (size_t i = 0; i < tok->n_added && rc == TP_OK; i++)
        rc = make_pattern(tok, w, &tok->added[i]);
    tpi_tok_work_give(tok, w);
    if (rc == TP_OK)
        rc = build_set(tok, false, &tok->raw);
    return rc == TP_OK ? build_set(tok, true, &tok->normalized) : rc;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* The first of order[lo..hi), all longer than k bytes and equal before, whose byte k is at least c. */
static uint32_t bound(const tp_tokenizer *tok, const tpi_tok_added_set *set, uint32_t lo, uint32_t hi, size_t k,
                      unsigned c)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if ((unsigned char)tok->added[set->order[mid]].pattern[k] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Narrows the sorted range by one byte after the other; the last pattern that was complete is the longest. */
static const tpi_tok_added *longest(const tp_tokenizer *tok, const tpi_tok_added_set *set, const char *s, size_t n)
{
    unsigned char        c = (unsigned char)s[0];
    uint32_t             lo = set->first[c], hi = set->first[c + 1];
    const tpi_tok_added *best = NULL;

    for (size_t k = 1; lo < hi; k++) {
        const tpi_tok_added *a = &tok->added[set->order[lo]];

        if (a->pattern_n == k) {
            best = a;
            while (lo < hi &&
                   tok->added[set->order[lo]].pattern_n == k) /* a second token with the same pattern never wins */
                lo++;
        }
        if (k >= n)
            break;
        c = (unsigned char)s[k];
        lo = bound(tok, set, lo, hi, k, c);
        hi = bound(tok, set, lo, hi, k, c + 1u);
    }
    return best;
}

static bool word_at(const char *text, size_t i)
{
    return tpi_is_word(tpi_utf8_next(text, &i));
}

static bool alone(const char *text, size_t n, size_t begin, size_t end)
{
    if (begin > 0 && word_at(text, tpi_utf8_before(text, begin)))
        return false;
    return end == n || !word_at(text, end);
}

static size_t spaces_before(const char *text, size_t at)
{
    while (at > 0) {
        size_t i = tpi_utf8_before(text, at), k = i;

        if (!tpi_is_space(tpi_utf8_next(text, &k)))
            break;
        at = i;
    }
    return at;
}

static size_t spaces_after(const char *text, size_t n, size_t at)
{
    while (at < n) {
        size_t i = at;

        if (!tpi_is_space(tpi_utf8_next(text, &i)))
            break;
        at = i;
    }
    return at;
}

/* A token that is refused here still hides what lies inside it: the search goes on behind it, as in the original. */
static bool wanted(const tpi_tok_added *a, const tpi_tok_cut *cut, const char *text, size_t n, size_t begin, size_t end)
{
    if (a->special && !(cut->flags & TP_PARSE_SPECIAL))
        return false;
    return !a->single_word || alone(text, n, begin, end);
}

tp_code tpi_tok_added_cut(const tp_tokenizer *tok, const tpi_tok_added_set *set, const char *text, size_t n,
                          const tpi_tok_cut *cut)
{
    size_t  done = 0, i = 0;
    tp_code rc = TP_OK;

    while (i < n && set->n > 0 && rc == TP_OK) {
        unsigned char        c = (unsigned char)text[i];
        const tpi_tok_added *a = set->first[c] < set->first[c + 1] ? longest(tok, set, text + i, n - i) : NULL;
        size_t               begin = i, end;

        if (a == NULL) {
            i++;
            continue;
        }
        end = i + a->pattern_n;
        i = end;
        if (!wanted(a, cut, text, n, begin, end))
            continue;
        if (a->lstrip) {
            begin = spaces_before(text, begin);
            begin = begin < done ? done : begin;
        }
        if (a->rstrip)
            end = spaces_after(text, n, end);
        if (done < begin)
            rc = cut->between(cut->user, done, begin);
        if (rc == TP_OK)
            rc = cut->token(cut->user, a);
        done = end;
    }
    return rc == TP_OK && done < n ? cut->between(cut->user, done, n) : rc;
}
