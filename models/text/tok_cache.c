/* tok_cache.c - the ids of words seen lately: text repeats itself, and a look-up costs far less than its merges. */
#include "core/hash.h"
#include "models/text/tok.h"

#include <string.h>

enum {
    SLOTS = 1 << 14,
    KEY_MAX = 64, /* longer words hardly ever come back */
    KEY_ROOM = 256 * 1024,
    ID_ROOM = 128 * 1024,
    PROBES = 4
};

struct tpi_tok_cached {
    uint64_t hash;
    uint32_t key, id; /* offsets */
    uint16_t key_n, id_n;
};

static bool is(const tpi_tok_cache *c, const struct tpi_tok_cached *e, uint64_t hash, const char *s, size_t n)
{
    return e->hash == hash && e->key_n == n && memcmp(c->key + e->key, s, n) == 0;
}

bool tpi_tok_cache_get(const tpi_tok_cache *c, const char *s, size_t n, const int32_t **id, size_t *n_ids)
{
    uint64_t hash;

    if (c->slot == NULL || n > KEY_MAX || n == 0)
        return false;
    hash = tpi_hash64(s, n);
    for (size_t k = 0; k < PROBES; k++) {
        const struct tpi_tok_cached *e = &c->slot[(hash + k) % SLOTS];

        if (e->key_n == 0)
            return false;
        if (is(c, e, hash, s, n)) {
            *id = c->id + e->id;
            *n_ids = e->id_n;
            return true;
        }
    }
    return false;
}

/* Memory that cannot be had is no failure here: there is merely no cache. */
static bool open_cache(tpi_tok_cache *c)
{
    if (c->slot != NULL)
        return true;
    c->key = tpi_alloc(NULL, KEY_ROOM, 1);
    c->id = tpi_alloc(NULL, ID_ROOM, sizeof *c->id);
    c->slot = c->key && c->id ? tpi_alloc(NULL, SLOTS, sizeof *c->slot) : NULL;
    if (c->slot == NULL)
        tpi_tok_cache_free(c);
    return c->slot != NULL;
}

void tpi_tok_cache_put(tpi_tok_cache *c, const char *s, size_t n, const int32_t *id, size_t n_ids)
{
    uint64_t               hash;
    struct tpi_tok_cached *e = NULL;

    if (n > KEY_MAX || n == 0 || n_ids > 4 * KEY_MAX || !open_cache(c))
        return;
    if (c->n > SLOTS / 2 || c->key_n + n > KEY_ROOM || c->id_n + n_ids > ID_ROOM) { /* full: start anew */
        memset(c->slot, 0, SLOTS * sizeof *c->slot);
        c->n = c->key_n = c->id_n = 0;
    }
    hash = tpi_hash64(s, n);
    for (size_t k = 0; k < PROBES && e == NULL; k++)
        if (c->slot[(hash + k) % SLOTS].key_n == 0)
            e = &c->slot[(hash + k) % SLOTS];
    if (e == NULL)
        return;
    *e = (struct tpi_tok_cached){ hash, (uint32_t)c->key_n, (uint32_t)c->id_n, (uint16_t)n, (uint16_t)n_ids };
    memcpy(c->key + c->key_n, s, n);
    memcpy(c->id + c->id_n, id, n_ids * sizeof *id);
    c->key_n += n;
    c->id_n += n_ids;
    c->n++;
}

void tpi_tok_cache_free(tpi_tok_cache *c)
{
    tpi_free(c->slot);
    tpi_free(c->key);
    tpi_free(c->id);
    *c = (tpi_tok_cache){ 0 };
}
