/*
 * pool.h - a context's cache of memory blocks: what a tensor gives back serves the next one, the block just released
 * first, since it is the one that still lies in the cache.  A training loop in steady state asks the system for
 * nothing.
 */
#ifndef TPI_POOL_H
#define TPI_POOL_H

#include <stdbool.h>
#include <stddef.h>

/* Under a sanitizer every block is the system's own and of the size asked for, headers are not reused soon, and
 * backward sees only what forward kept: mistakes show that otherwise would not. */
#if defined(__SANITIZE_ADDRESS__)
#define TPI_STRICT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TPI_STRICT 1
#endif
#endif
#ifndef TPI_STRICT
#define TPI_STRICT 0
#endif

enum { TPI_POOL_CLASSES = 400 };

/* No block is larger: more than an address can reach, or than the sanitizer's allocator takes calmly. */
static const size_t tpi_block_max = (size_t)1 << (TPI_STRICT ? 39 : 47);

typedef struct tpi_pool {
    void  *free_list[TPI_POOL_CLASSES];
    void  *chunks;      /* memory that small blocks are cut from, freed with the pool */
    char  *cut;         /* next small block */
    size_t cut_left;
    size_t now, peak;   /* bytes handed out */
    size_t system;      /* bytes held from the system */
} tpi_pool;

/* A block of at least size bytes, 64-byte aligned; *room gets its true size, to be handed back to tpi_pool_put.  NULL
 * (and a *room of 0): no memory. */
void *tpi_pool_get(tpi_pool *pool, size_t size, size_t *room);
void  tpi_pool_put(tpi_pool *pool, void *p, size_t room);
/* Gives unused large blocks back. */
void  tpi_pool_trim(tpi_pool *pool);
/* Gives all back; blocks still handed out become invalid unless they are large. */
void  tpi_pool_free(tpi_pool *pool);

/* core/memory.c */
void *tpi_block_new(size_t size);
void  tpi_block_free(void *p, size_t size);

#endif
