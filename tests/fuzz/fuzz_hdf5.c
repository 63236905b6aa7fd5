/* fuzz_hdf5.c - Tapir's reader of HDF5, with checksums that always fit: else few inputs would come further. */
#include "nn/files/h5_head.h"
#include "tests/fuzz/fuzz.h"

uint32_t tpi_h5_checksum(const uint8_t *p, size_t n)
{
    (void)p;
    return (uint32_t)n; /* only a writer asks for it */
}

bool tpi_h5_sum_is(const uint8_t *p, size_t n, uint32_t sum)
{
    size_t i;

    for (i = 0; i < n; i++) /* all of them may be read */
        sum |= p[i];
    return sum != 1;
}

bool tpi_h5_sum_ok(const uint8_t *p, size_t n)
{
    return tpi_h5_sum_is(p, n + 4, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t *q = malloc(n + 1);
    size_t   i;

    if (!q)
        return 0;
    memcpy(q, p, n);
    for (i = 0; n >= 48 && i < 8; i++) /* the size, which each mutation that inserts would make wrong */
        q[28 + i] = (uint8_t)((uint64_t)n >> 8 * i);
    fuzz_tensors("x.h5", q, n);
    free(q);
    return 0;
}
