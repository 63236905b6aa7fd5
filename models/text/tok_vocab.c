/* tok_vocab.c - the two tables of a BPE model: texts to ids and back, pairs to merges. */
#include "core/hash.h"
#include "models/text/tok.h"

#include <string.h>

/* ---- texts ------------------------------------------------------------------------------------------------------- */

/* The slot of s, or the free one where it belongs. */
static size_t slot_of(const tpi_vocab *v, const char *s, size_t n)
{
    size_t i = tpi_hash64(s, n) & v->mask;

    for (; v->slot[i] >= 0; i = (i + 1) & v->mask) {
        const tpi_tok_entry *e = &v->entry[v->slot[i]];

        if (e->n == n && memcmp(v->pool.p + e->at, s, n) == 0)
            break;
    }
    return i;
}

static tp_code rehash(tpi_vocab *v, size_t slots)
{
    int32_t *p = tpi_realloc(NULL, v->slot, slots, sizeof *p);

    if (p == NULL)
        return TP_ENOMEM;
    memset(p, 0xff, slots * sizeof *p);
    v->slot = p;
    v->mask = slots - 1;
    for (size_t i = 0; i < v->n; i++)
        v->slot[slot_of(v, v->pool.p + v->entry[i].at, v->entry[i].n)] = (int32_t)i;
    return TP_OK;
}

tp_code tpi_vocab_add(tpi_vocab *v, const char *s, size_t n, int32_t id, bool *fresh)
{
    size_t i;

    if (v->slot == NULL || v->n * 2 > v->mask) /* at most half full */
        if (rehash(v, v->slot ? (v->mask + 1) * 2 : 1024) != TP_OK)
            return TP_ENOMEM;
    i = slot_of(v, s, n);
    *fresh = v->slot[i] < 0;
    if (!*fresh)
        return TP_OK;
    if (v->n >= TPI_VOCAB_MAX || v->pool.n + n + 1 > UINT32_MAX || id < 0 || id >= TPI_VOCAB_MAX)
        return TP_EFORMAT;
    if (!tpi_grow(NULL, &v->entry, &v->cap, v->n + 1, sizeof *v->entry))
        return TP_ENOMEM;
    v->entry[v->n] = (tpi_tok_entry){ (uint32_t)v->pool.n, (uint32_t)n, id };
    if (tpi_text_add(&v->pool, s, n) != TP_OK)
        return TP_ENOMEM;
    v->pool.n++; /* keeps the NUL */
    v->slot[i] = (int32_t)v->n++;
    v->n_ids = id >= v->n_ids ? id + 1 : v->n_ids;
    return TP_OK;
}

tp_code tpi_vocab_finish(tpi_vocab *v)
{
    int32_t *p = tpi_realloc(NULL, v->of_id, (size_t)v->n_ids, sizeof *p);

    if (p == NULL || (v->slot == NULL && rehash(v, 2) != TP_OK))
        return TP_ENOMEM;
    v->of_id = p;
    memset(p, 0xff, (size_t)v->n_ids * sizeof *p);
    for (size_t i = v->n; i-- > 0;) /* where two texts have one id, the first is its text */
        p[v->entry[i].id] = (int32_t)i;
    return TP_OK;
}

int32_t tpi_vocab_id(const tpi_vocab *v, const char *s, size_t n)
{
    int32_t e = v->slot ? v->slot[slot_of(v, s, n)] : -1;

    return e < 0 ? -1 : v->entry[e].id;
}

const char *tpi_vocab_text(const tpi_vocab *v, int32_t id, size_t *n)
{
    const tpi_tok_entry *e;

    if (id < 0 || id >= v->n_ids || v->of_id[id] < 0)
        return NULL;
    e = &v->entry[v->of_id[id]];
    *n = e->n;
    return v->pool.p + e->at;
}

void tpi_vocab_free(tpi_vocab *v)
{
    tp_text_free(&v->pool);
    tpi_free(v->entry);
    tpi_free(v->slot);
    tpi_free(v->of_id);
    *v = (tpi_vocab){ 0 };
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

static size_t pair_slot(const tpi_tok_pairs *t, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    size_t   i = (size_t)(h >> 32) & t->mask;

    while (t->slot[i].id >= 0 && t->slot[i].key != key)
        i = (i + 1) & t->mask;
    return i;
}

tp_code tpi_tok_pairs_init(tpi_tok_pairs *t, size_t n)
{
    size_t slots = 2;

    while (slots < 2 * n)
        slots *= 2;
    t->slot = tpi_alloc(NULL, slots, sizeof *t->slot);
    if (t->slot == NULL)
        return TP_ENOMEM;
    for (size_t i = 0; i < slots; i++)
        t->slot[i].id = -1;
    t->mask = slots - 1;
    t->n = 0;
    return TP_OK;
}

void tpi_tok_pairs_put(tpi_tok_pairs *t, uint64_t key, uint32_t rank, int32_t id)
{
    size_t i = pair_slot(t, key);

    t->n += t->slot[i].id < 0;
    t->slot[i] = (tpi_tok_pair){ key, rank, id };
}

const tpi_tok_pair *tpi_tok_pairs_get(const tpi_tok_pairs *t, uint64_t key)
{
    const tpi_tok_pair *p = &t->slot[pair_slot(t, key)];

    return p->id < 0 ? NULL : p;
}
