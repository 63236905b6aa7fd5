/*
 * random_ref.c - random numbers and dropout: element i is made of word i % 4 of block i / 4, whatever came before it.
 */
#include "core/philox.h"
#include "ops/ref/ref.h"

static float uniform_at(tpi_key key, int64_t i)
{
    uint32_t w[4];

    tpi_philox(key, (uint64_t)i / 4, w);
    return tpi_uniform(w[i % 4]);
}

/* Words 0 and 1 of a block make two numbers, words 2 and 3 two more. */
static double normal_at(tpi_key key, int64_t i)
{
    uint32_t w[4];
    double   z[2];
    int      pair = i % 4 < 2 ? 0 : 2;

    tpi_philox(key, (uint64_t)i / 4, w);
    tpi_normal2(w[pair], w[pair + 1], z);
    return z[i % 2];
}

/* The greatest value of dtype t below y[i]. */
static void step_down(tp_dtype t, void *y, int64_t i)
{
    uint16_t *h = (uint16_t *)y + i;

    if (t == TP_F32)
        ((float *)y)[i] = nextafterf(((float *)y)[i], -INFINITY);
    else if (t == TP_F64)
        ((double *)y)[i] = nextafter(((double *)y)[i], -INFINITY);
    else if ((*h & 0x7fffu) == 0)
        *h = 0x8001u; /* below either zero: the smallest negative number */
    else
        *h = (uint16_t)(*h & 0x8000u ? *h + 1u : *h - 1u);
}

/* p + (q - p) u, below q even where rounding to few bits would reach it */
static void store_uniform(tp_dtype t, void *y, int64_t i, double u, double p, double q)
{
    tpi_store(t, y, i, p + (q - p) * u);
    if (p < q && !tpi_ref_is_int(t) && tpi_load(t, y, i) >= q)
        step_down(t, y, i);
}

/* uniform: p + (q - p) u;  normal: p + q z;  bernoulli: u < p */
tp_code tpi_ref_random(const tpi_run *r, tpi_random kind, tp_dtype t, void *y, int64_t n, double p, double q,
                       tpi_key key)
{
    (void)r;
    for (int64_t i = 0; i < n; i++) {
        if (kind == TPI_UNIFORM)
            store_uniform(t, y, i, uniform_at(key, i), p, q);
        else if (kind == TPI_NORMAL)
            tpi_store(t, y, i, p + q * normal_at(key, i));
        else
            tpi_store(t, y, i, uniform_at(key, i) < p);
    }
    return TP_OK;
}

/* y = u < p ? 0 : x / (1 - p) */
tp_code tpi_ref_dropout(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t n, double p, tpi_key key)
{
    (void)r;
    for (int64_t i = 0; i < n; i++)
        tpi_store(t, y, i, uniform_at(key, i) < p ? 0 : tpi_load(t, x, i) / (1 - p));
    return TP_OK;
}
