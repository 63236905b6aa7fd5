/*
 * hash.c - the house wrapper of xxHash.
 */
#include "core/hash.h"

/* The states' sizes are only told to those who say this. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(tpi_hasher), "tpi_hasher has room for XXH3_state_t");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(tpi_hasher), "tpi_hasher is aligned for XXH3_state_t");

static XXH3_state_t *state_of(tpi_hasher *h)
{
    return (XXH3_state_t *)(void *)h;
}

static const XXH3_state_t *state_of_const(const tpi_hasher *h)
{
    return (const XXH3_state_t *)(const void *)h;
}

uint64_t tpi_hash64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

tpi_id128 tpi_hash128(const void *p, size_t n)
{
    XXH128_hash_t v = XXH3_128bits(p, n);

    return (tpi_id128){ v.high64, v.low64 };
}

/* One state serves both widths: xxHash's reset and update are the same for them. */
void tpi_hash_begin(tpi_hasher *h)
{
    (void)XXH3_128bits_reset(state_of(h));
}

void tpi_hash_add(tpi_hasher *h, const void *p, size_t n)
{
    (void)XXH3_128bits_update(state_of(h), p, n);
}

uint64_t tpi_hash_end64(const tpi_hasher *h)
{
    return XXH3_64bits_digest(state_of_const(h));
}

tpi_id128 tpi_hash_end128(const tpi_hasher *h)
{
    XXH128_hash_t v = XXH3_128bits_digest(state_of_const(h));

    return (tpi_id128){ v.high64, v.low64 };
}
