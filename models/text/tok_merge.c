/* tok_merge.c - the merges of a word: always the pair of lowest rank, of equals the leftmost. */
#include "models/text/tok.h"

#include <string.h>

enum { SHORT = 48 }; /* up to here a scan over all pairs beats a heap */

static const tpi_tok_pair *pair_at(const tpi_bpe *m, int32_t a, int32_t b)
{
    return tpi_tok_pairs_get(&m->merges, (uint64_t)(uint32_t)a << 32 | (uint32_t)b);
}

static uint32_t rank_of(const tpi_bpe *m, int32_t a, int32_t b)
{
    const tpi_tok_pair *p = pair_at(m, a, b);

    return p ? p->rank : UINT32_MAX;
}

/* rank[i] is that of symbols i and i + 1. */
static void merge_short(const tpi_bpe *m, tpi_tok_work *w)
{
    int32_t *sym = w->sym;
    size_t   n = w->n_sym;
    uint32_t rank[SHORT];

    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = rank_of(m, sym[i], sym[i + 1]);
    for (;;) {
        size_t   at = 0;
        uint32_t low = UINT32_MAX;

        for (size_t i = 0; i + 1 < n; i++) {
            if (rank[i] < low) {
                low = rank[i];
                at = i;
            }
        }
        if (low == UINT32_MAX)
            break;
        sym[at] = m->result[low];
        memmove(sym + at + 1, sym + at + 2, (n - at - 2) * sizeof *sym);
        if (at + 2 < n)
            memmove(rank + at, rank + at + 1, (n - at - 2) * sizeof *rank);
        n--;
        if (at > 0)
            rank[at - 1] = rank_of(m, sym[at - 1], sym[at]);
        if (at + 1 < n)
            rank[at] = rank_of(m, sym[at], sym[at + 1]);
    }
    w->n_sym = n;
}

/* ---- long words: a heap of rank << 32 | position ----------------------------------------------------------------- */

static void sink(uint64_t *h, size_t n, size_t i)
{
    uint64_t v = h[i];

    for (;;) {
        size_t k = 2 * i + 1;

        if (k >= n)
            break;
        if (k + 1 < n && h[k + 1] < h[k])
            k++;
        if (h[k] >= v)
            break;
        h[i] = h[k];
        i = k;
    }
    h[i] = v;
}

static tp_code heap_push(tpi_tok_work *w, uint64_t v)
{
    size_t i = w->n_heap;

    if (!tpi_grow(NULL, &w->heap, &w->cap_heap, w->n_heap + 1, sizeof *w->heap))
        return TP_ENOMEM;
    w->n_heap++;
    for (; i > 0 && w->heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = v;
    return TP_OK;
}

static uint64_t heap_pop(tpi_tok_work *w)
{
    uint64_t top = w->heap[0];

    w->heap[0] = w->heap[--w->n_heap];
    if (w->n_heap > 0)
        sink(w->heap, w->n_heap, 0);
    return top;
}

/* Queues the pair of symbol a and the one that follows it. */
static tp_code consider(const tpi_bpe *m, tpi_tok_work *w, int32_t a)
{
    int32_t  b = a < 0 ? -1 : w->following[a];
    uint32_t rank = b < 0 ? UINT32_MAX : rank_of(m, w->sym[a], w->sym[b]);

    return rank == UINT32_MAX ? TP_OK : heap_push(w, (uint64_t)rank << 32 | (uint32_t)a);
}

static tp_code link_up(const tpi_bpe *m, tpi_tok_work *w)
{
    size_t n = w->n_sym;

    if (n >= INT32_MAX || !tpi_grow(NULL, &w->prev, &w->cap_prev, n, sizeof *w->prev) ||
        !tpi_grow(NULL, &w->following, &w->cap_following, n, sizeof *w->following) ||
        !tpi_grow(NULL, &w->heap, &w->cap_heap, n, sizeof *w->heap))
        return TP_ENOMEM;
    w->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t rank = i + 1 < n ? rank_of(m, w->sym[i], w->sym[i + 1]) : UINT32_MAX;

        w->prev[i] = (int32_t)i - 1;
        w->following[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        if (rank != UINT32_MAX)
            w->heap[w->n_heap++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = w->n_heap / 2; i-- > 0;)
        sink(w->heap, w->n_heap, i);
    return TP_OK;
}

/* Symbols that were swallowed become -1. */
static tp_code merge_long(const tpi_bpe *m, tpi_tok_work *w)
{
    tp_code rc = link_up(m, w);
    size_t  n = 0;

    while (rc == TP_OK && w->n_heap > 0) {
        uint64_t            top = heap_pop(w);
        int32_t             a = (int32_t)(uint32_t)top, b = w->following[a];
        const tpi_tok_pair *p = w->sym[a] < 0 || b < 0 ? NULL : pair_at(m, w->sym[a], w->sym[b]);

        if (p == NULL || p->id != m->result[top >> 32]) /* an entry that later merges made void */
            continue;
        w->sym[a] = p->id;
        w->sym[b] = -1;
        w->following[a] = w->following[b];
        if (w->following[a] >= 0)
            w->prev[w->following[a]] = a;
        rc = consider(m, w, w->prev[a]);
        if (rc == TP_OK)
            rc = consider(m, w, a);
    }
    for (size_t i = 0; i < w->n_sym; i++)
        if (w->sym[i] >= 0)
            w->sym[n++] = w->sym[i];
    w->n_sym = n;
    return rc;
}

tp_code tpi_bpe_merge(const tpi_bpe *m, tpi_tok_work *w)
{
    if (w->n_sym > SHORT)
        return merge_long(m, w);
    merge_short(m, w);
    return TP_OK;
}
