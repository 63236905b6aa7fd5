/*
 * random_cpu.c - random numbers and dropout: element i is made of word i % 4 of block i / 4, so threads draw what one would.
 */
#include "core/philox.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* ---- words -------------------------------------------------------------------------------------------------------------- */

#if defined(__AVX2__)
/* Products of eight words with m: high and low halves */
static inline __m256i products(__m256i a, uint32_t m, __m256i *low)
{
    __m256i factor = _mm256_set1_epi32((int)m), even = _mm256_mul_epu32(a, factor);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);

    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

/* w[k] of eight blocks to their places: block i's words are next to each other. */
static inline void interleave(uint32_t *w, const __m256i v[4])
{
    __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
    __m256i c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);
    __m256i p = _mm256_unpacklo_epi64(a, c), q = _mm256_unpackhi_epi64(a, c); /* blocks 0 4, 1 5 */
    __m256i r = _mm256_unpacklo_epi64(b, d), s = _mm256_unpackhi_epi64(b, d); /* blocks 2 6, 3 7 */

    _mm256_storeu_si256((void *)w, _mm256_permute2x128_si256(p, q, 0x20));
    _mm256_storeu_si256((void *)(w + 8), _mm256_permute2x128_si256(r, s, 0x20));
    _mm256_storeu_si256((void *)(w + 16), _mm256_permute2x128_si256(p, q, 0x31));
    _mm256_storeu_si256((void *)(w + 24), _mm256_permute2x128_si256(r, s, 0x31));
}

/* Eight blocks at once: gcc vectorises the plain code below only into something five times slower. */
static void draw(tpi_key key, uint64_t first, uint32_t *restrict w)
{
    for (int i = 0; i < TPI_CHUNK / 4; i += 8) {
        uint32_t k0 = key.k[0], k1 = key.k[1], low[8], high[8];
        __m256i  v[4], p, q, plow, qlow;

        for (int j = 0; j < 8; j++) {
            low[j] = (uint32_t)(first + (uint64_t)(i + j));
            high[j] = (uint32_t)((first + (uint64_t)(i + j)) >> 32);
        }
        v[0] = _mm256_loadu_si256((const void *)low);
        v[1] = _mm256_loadu_si256((const void *)high);
        v[2] = _mm256_set1_epi32((int)key.c[0]);
        v[3] = _mm256_set1_epi32((int)key.c[1]);
        for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
            p = products(v[0], 0xd2511f53u, &plow);
            q = products(v[2], 0xcd9e8d57u, &qlow);
            v[0] = _mm256_xor_si256(_mm256_xor_si256(q, v[1]), _mm256_set1_epi32((int)k0));
            v[2] = _mm256_xor_si256(_mm256_xor_si256(p, v[3]), _mm256_set1_epi32((int)k1));
            v[1] = qlow;
            v[3] = plow;
        }
        interleave(w + 4 * i, v);
    }
}
#else
/* The words of TPI_CHUNK / 4 blocks from number first on */
static void draw(tpi_key key, uint64_t first, uint32_t *restrict w)
{
    for (int i = 0; i < TPI_CHUNK / 4; i++)
        tpi_philox(key, first + (uint64_t)i, w + 4 * i);
}
#endif

/* ---- numbers ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    tpi_random  kind;
    tp_dtype    t;
    void       *y;
    const void *x; /* of dropout */
    int64_t     n;
    double      p, q, limit; /* limit: the largest value of dtype t below q */
    tpi_key     key;
} random_args;

/* The greatest value of a floating dtype below q: where rounding reached q, the neighbour. */
static double below(tp_dtype t, double q)
{
    union { uint16_t h; float f; double d; } v = { .d = 0 };

    tpi_store(t, &v, 0, q);
    if (tpi_load(t, &v, 0) < q)
        return tpi_load(t, &v, 0);
    if (t == TP_F64)
        return nextafter(v.d, -INFINITY);
    if (t == TP_F32)
        return (double)nextafterf(v.f, -INFINITY);
    v.h = (uint16_t)((v.h & 0x7fffu) == 0 ? 0x8001u : v.h & 0x8000u ? v.h + 1u : v.h - 1u);
    return tpi_load(t, &v, 0);
}

static void uniforms(const random_args *a, const uint32_t *w, int64_t i, int64_t m)
{
    if (a->t == TP_F32) {
        float *y = (float *)a->y + i, limit = a->p < a->q ? (float)a->limit : INFINITY;

#pragma omp simd
        for (int64_t j = 0; j < m; j++) {
            float v = (float)(a->p + (a->q - a->p) * (double)tpi_uniform(w[j]));

            y[j] = v > limit ? limit : v;
        }
        return;
    }
    for (int64_t j = 0; j < m; j++) {
        tpi_store(a->t, a->y, i + j, a->p + (a->q - a->p) * (double)tpi_uniform(w[j]));
        if (a->p < a->q && !tpi_is_int(a->t) && tpi_load(a->t, a->y, i + j) > a->limit)
            tpi_store(a->t, a->y, i + j, a->limit);
    }
}

/* Words 0 and 1 of a block make two numbers, words 2 and 3 two more. */
static void normals(const random_args *a, const uint32_t *w, int64_t i, int64_t m)
{
    double z[2];

    for (int64_t j = 0; j < m; j += 2) {
        tpi_normal2(w[j], w[j + 1], z);
        tpi_store(a->t, a->y, i + j, a->p + a->q * z[0]);
        if (j + 1 < m)
            tpi_store(a->t, a->y, i + j + 1, a->p + a->q * z[1]);
    }
}

static void random_part(const void *args, int64_t begin, int64_t end)
{
    const random_args *a = args;
    int64_t            last = tpi_min64(end * TPI_PIECE, a->n);
    uint32_t           w[TPI_CHUNK];

    for (int64_t i = begin * TPI_PIECE; i < last; i += TPI_CHUNK) {
        int64_t m = tpi_min64(TPI_CHUNK, last - i);

        draw(a->key, (uint64_t)i / 4, w);
        if (a->kind == TPI_UNIFORM)
            uniforms(a, w, i, m);
        else if (a->kind == TPI_NORMAL)
            normals(a, w, i, m);
        else
            for (int64_t j = 0; j < m; j++)
                tpi_store(a->t, a->y, i + j, (double)tpi_uniform(w[j]) < a->p);
    }
}

tp_code CPU(random)(const tpi_run *r, tpi_random kind, tp_dtype t, void *y, int64_t n, double p, double q, tpi_key key)
{
    random_args a = { .kind = kind, .t = t, .y = y, .n = n, .p = p, .q = q, .key = key };

    if (kind == TPI_UNIFORM && p < q && !tpi_is_int(t))
        a.limit = below(t, q);
    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, random_part, &a);
    return TP_OK;
}

/* ---- dropout ------------------------------------------------------------------------------------------------------------ */

/* u < p in whole numbers: u is a multiple of 2^-24. */
static void mask_f32(float *y, const float *x, const uint32_t *w, uint32_t cut, float scale, int64_t m)
{
#pragma omp simd
    for (int64_t j = 0; j < m; j++) {
        float v = x[j] * scale;

        y[j] = (int32_t)(w[j] >> 8) < (int32_t)cut ? 0.0f : v;
    }
}

static void dropout_part(const void *args, int64_t begin, int64_t end)
{
    const random_args *a = args;
    int64_t            last = tpi_min64(end * TPI_PIECE, a->n);
    uint32_t           w[TPI_CHUNK], cut = (uint32_t)ceil(a->p * 16777216.0);
    float              xbuf[TPI_CHUNK], ybuf[TPI_CHUNK];

    for (int64_t i = begin * TPI_PIECE; i < last; i += TPI_CHUNK) {
        int64_t m = tpi_min64(TPI_CHUNK, last - i);

        draw(a->key, (uint64_t)i / 4, w);
        if (a->t == TP_F64) {
            for (int64_t j = 0; j < m; j++)
                ((double *)a->y)[i + j] = (w[j] >> 8) < cut ? 0 : ((const double *)a->x)[i + j] / (1 - a->p);
        } else {
            float *y = tpi_out_f32(ybuf, a->t, a->y, i, 1);

            mask_f32(y, tpi_in_f32(xbuf, a->t, a->x, i, 1, m), w, cut, (float)(1.0 / (1.0 - a->p)), m);
            tpi_done_f32(y, a->t, a->y, i, 1, m);
        }
    }
}

tp_code CPU(dropout)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t n, double p, tpi_key key)
{
    random_args a = { .t = t, .y = y, .x = x, .n = n, .p = p, .key = key };

    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, dropout_part, &a);
    return TP_OK;
}
