/*
 * hash.h - XXH3: hashes of tensors, identities of files, keys of tables.  Internal.  They guard against mistakes, not
 * forgery.
 */
#ifndef TPI_HASH_H
#define TPI_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct tpi_id128 {
    uint64_t high, low;
} tpi_id128;

uint64_t  tpi_hash64(const void *p, size_t n);
tpi_id128 tpi_hash128(const void *p, size_t n);

/* The same over pieces: begin, add..., then either end (or both).  Room for xxHash's own state, which wants this
 * alignment. */
typedef struct tpi_hasher {
    _Alignas(64) unsigned char room[640];
} tpi_hasher;

void      tpi_hash_begin(tpi_hasher *h);
void      tpi_hash_add(tpi_hasher *h, const void *p, size_t n);
uint64_t  tpi_hash_end64(const tpi_hasher *h);
tpi_id128 tpi_hash_end128(const tpi_hasher *h);

#endif
