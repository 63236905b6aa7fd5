/* pool.c - size classes and free lists; see pool.h. */
#include "core/pool.h"

#include <stdint.h>
#include <string.h>

enum { STEP = 64, SMALL = 64 << 10, CHUNK = 1 << 20, LINEAR = 16 /* classes of 64 bytes up to 1 KiB */ };

/* Large sizes vary from batch to batch: a free block of up to twice the size (NEAR classes) serves before the system is
 * asked, and only SPARE bytes may always lie unused, or the pool would grow with every new length. */
enum { LARGE = 1 << 20, NEAR = 8, SPARE = 32 << 20 };

/* Classes: multiples of 64 up to 1 KiB, then 8 an octave (waste at most 12.5 %). */
static int class_of(size_t size, size_t *room)
{
    int    shift, octave;
    size_t unit;

    if (size <= LINEAR * STEP) {
        int c = size == 0 ? 0 : (int)((size - 1) / STEP);

        *room = (size_t)(c + 1) * STEP;
        return c;
    }
    octave = 63 - __builtin_clzll((unsigned long long)(size - 1)); /* 2^octave < size <= 2^(octave+1), octave >= 10 */
    shift = octave - 3;
    unit = (size_t)1 << shift;
    *room = (size + unit - 1) & ~(unit - 1);
    return LINEAR + (octave - 10) * 8 + (int)(((*room - 1) >> shift) & 7);
}

static size_t class_room(int c)
{
    int octave, step;

    if (c < LINEAR)
        return (size_t)(c + 1) * STEP;
    octave = 10 + (c - LINEAR) / 8;
    step = (c - LINEAR) % 8;
    return ((size_t)1 << octave) + ((size_t)(step + 1) << (octave - 3));
}

/* Small blocks are cut from chunks of 1 MiB; the first 64 bytes of a chunk link it to the others. */
static void *cut_small(tpi_pool *pool, size_t room)
{
    char *p;

    if (pool->cut_left < room) {
        p = tpi_block_new(CHUNK);
        if (p == NULL)
            return NULL;
        memcpy(p, &pool->chunks, sizeof(void *));
        pool->chunks = p;
        pool->cut = p + STEP;
        pool->cut_left = CHUNK - STEP;
        pool->system += CHUNK;
    }
    p = pool->cut;
    pool->cut += room;
    pool->cut_left -= room;
    return p;
}

/* Frees unused blocks of this class while the pool holds more than limit. */
static void give_back(tpi_pool *pool, int c, size_t limit)
{
    size_t room = class_room(c);

    while (pool->system > limit && pool->free_list[c] != NULL) {
        void *p = pool->free_list[c];

        memcpy(&pool->free_list[c], p, sizeof(void *));
        tpi_block_free(p, room);
        pool->system -= room;
    }
}

/* Before a large block is asked for: what batches of other lengths left behind may be no more than a quarter of what the
 * program needed at its height.  Where shapes repeat this never frees anything. */
static void make_room(tpi_pool *pool, size_t room)
{
    size_t need = pool->now + room > pool->peak ? pool->now + room : pool->peak, limit = need + need / 4 + SPARE;

    limit = limit > room ? limit - room : 0;
    for (int c = TPI_POOL_CLASSES - 1; c > LINEAR && pool->system > limit; c--)
        if (class_room(c) > LARGE)
            give_back(pool, c, limit);
}

static void *fresh(tpi_pool *pool, size_t room)
{
    size_t before;
    void  *p;

    if (!TPI_STRICT && room <= SMALL)
        return cut_small(pool, room);
    if (room > LARGE)
        make_room(pool, room);
    before = pool->system;
    p = tpi_block_new(room);
    if (p == NULL) {
        tpi_pool_trim(pool);
        if (pool->system < before)
            p = tpi_block_new(room);
    }
    if (p != NULL)
        pool->system += room;
    return p;
}

/* The block of this class that was given back last, or NULL. */
static void *take(tpi_pool *pool, int c)
{
    void *p = pool->free_list[c];

    if (p != NULL)
        memcpy(&pool->free_list[c], p, sizeof(void *));
    return p;
}

void *tpi_pool_get(tpi_pool *pool, size_t size, size_t *room)
{
    int   c;
    void *p;

    *room = 0;
    if (size > tpi_block_max)
        return NULL;
    c = class_of(size, room);
    if (TPI_STRICT)
        *room = size ? size : 1;
    p = take(pool, c);
    for (int k = 1; p == NULL && k <= NEAR && *room > LARGE && c + k < TPI_POOL_CLASSES; k++)
        if ((p = take(pool, c + k)) != NULL)
            *room = class_room(c + k);
    if (p == NULL)
        p = fresh(pool, *room);
    if (p == NULL)
        return NULL;
    pool->now += *room;
    pool->peak = pool->now > pool->peak ? pool->now : pool->peak;
    return p;
}

void tpi_pool_put(tpi_pool *pool, void *p, size_t room)
{
    size_t same;
    int    c;

    if (p == NULL)
        return;
    pool->now -= room;
    if (TPI_STRICT) {
        pool->system -= room;
        tpi_block_free(p, room);
        return;
    }
    c = class_of(room, &same);
    memcpy(p, &pool->free_list[c], sizeof(void *));
    pool->free_list[c] = p;
}

void tpi_pool_trim(tpi_pool *pool)
{
    for (int c = 0; c < TPI_POOL_CLASSES; c++)
        if (class_room(c) > SMALL)
            give_back(pool, c, 0);
}

void tpi_pool_free(tpi_pool *pool)
{
    tpi_pool_trim(pool);
    while (pool->chunks != NULL) {
        void *p = pool->chunks;

        memcpy(&pool->chunks, p, sizeof(void *));
        tpi_block_free(p, CHUNK);
    }
    memset(pool, 0, sizeof *pool);
}
