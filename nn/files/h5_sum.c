/*
 * h5_sum.c - the checksum of HDF5's metadata: Bob Jenkins' lookup3.  In a file of its own, since a fuzzer replaces it.
 */
#include "nn/files/h5_head.h"

static uint32_t rot(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

static void mix(uint32_t v[3])
{
    static const int shift[6] = { 4, 6, 8, 16, 19, 4 };
    int              i;

    for (i = 0; i < 6; i++) {
        uint32_t *a = &v[i % 3], *b = &v[(i + 1) % 3], *c = &v[(i + 2) % 3];

        *a = (*a - *c) ^ rot(*c, shift[i]);
        *c += *b;
    }
}

static void finish(uint32_t v[3])
{
    static const int shift[7] = { 14, 11, 25, 16, 4, 14, 24 };
    int              i;

    for (i = 0; i < 7; i++) { /* c from b, a from c, b from a, ... */
        uint32_t *to = &v[(i + 2) % 3];
        uint32_t  from = v[(i + 1) % 3];

        *to = (*to ^ from) - rot(from, shift[i]);
    }
}

/* Up to 12 bytes added to the three words. */
static void add(uint32_t v[3], const uint8_t *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        v[i / 4] += (uint32_t)p[i] << 8 * (i % 4);
}

uint32_t tpi_h5_checksum(const uint8_t *p, size_t n)
{
    uint32_t start = 0xdeadbeefu + (uint32_t)n, v[3] = { start, start, start };

    for (; n > 12; n -= 12, p += 12) {
        add(v, p, 12);
        mix(v);
    }
    if (n > 0) {
        add(v, p, n);
        finish(v);
    }
    return v[2];
}

bool tpi_h5_sum_is(const uint8_t *p, size_t n, uint32_t sum)
{
    return tpi_h5_checksum(p, n) == sum;
}

bool tpi_h5_sum_ok(const uint8_t *p, size_t n)
{
    tpi_h5_cursor c = { p + n, p + n + 4, false };

    return tpi_h5_sum_is(p, n, (uint32_t)tpi_h5_take(&c, 4));
}
