/* rawfile.c - binary arrays: idx, token ids.  A file's size must be just what its head promises. */
#include "optim/readers.h"
#include "core/readfile.h"

#include <string.h>

#define MOST_BYTES ((size_t)64 << 30)

/* ---- idx --------------------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char code;
    size_t        size; /* in the file */
    tp_dtype      t;
} idx_type;

static const idx_type idx_types[] = { { 0x08, 1, TP_U8 },  { 0x09, 1, TP_I32 }, { 0x0b, 2, TP_I32 },
                                      { 0x0c, 4, TP_I32 }, { 0x0d, 4, TP_F32 }, { 0x0e, 8, TP_F64 } };

static const idx_type *idx_type_of(unsigned char code)
{
    for (size_t i = 0; i < sizeof idx_types / sizeof *idx_types; i++)
        if (idx_types[i].code == code)
            return &idx_types[i];
    return NULL;
}

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* The head: dtype and shape; *at gets where the values begin. */
static const idx_type *idx_head(tp_ctx *ctx, const char *path, const unsigned char *p, size_t n, int64_t *dim, size_t *at)
{
    const idx_type *t = n >= 4 && p[0] == 0 && p[1] == 0 ? idx_type_of(p[2]) : NULL;
    size_t          want;

    if (t == NULL)
        return tp_fail(ctx, TP_EFORMAT, "%s: byte 0: no idx file: it begins with two zeros, a code of a type, a number of "
                                        "dimensions", path);
    if (p[3] < 1 || p[3] > TP_MAX_DIM)
        return tp_fail(ctx, TP_EFORMAT, "%s: byte 3: %d dimensions, expected 1 to %d", path, p[3], TP_MAX_DIM);
    *at = 4 + 4 * (size_t)p[3];
    if (n < *at)
        return tp_fail(ctx, TP_EFORMAT, "%s: byte %zu: the file ends before its %d sizes", path, n, p[3]);
    want = t->size;
    for (int i = 0; i < p[3]; i++) {
        dim[i] = (int64_t)big_endian(p + 4 + 4 * i, 4);
        if (dim[i] == 0 || !tpi_mul_ok(want, (size_t)dim[i], &want))
            return tp_fail(ctx, TP_EFORMAT, "%s: byte %d: a size of %lld", path, 4 + 4 * i, (long long)dim[i]);
    }
    if (n - *at != want)
        return tp_fail(ctx, TP_EFORMAT, "%s: byte %zu: %zu bytes of values, expected %zu", path, *at, n - *at, want);
    return t;
}

/* Values of the width and byte order that the tensor has. */
static void idx_values(const idx_type *t, const unsigned char *p, int64_t n, void *out)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t v = big_endian(p + (size_t)i * t->size, t->size);

        switch (t->code) {
        case 0x08: ((uint8_t *)out)[i] = (uint8_t)v; break;
        case 0x09: ((int32_t *)out)[i] = (int8_t)v; break;
        case 0x0b: ((int32_t *)out)[i] = (int16_t)v; break;
        case 0x0e: ((uint64_t *)out)[i] = v; break;
        default: ((uint32_t *)out)[i] = (uint32_t)v; break;
        }
    }
}

tp_tensor *tp_idx_read(tp_ctx *ctx, const char *path)
{
    const idx_type *t;
    int64_t         dim[TP_MAX_DIM], n = 1;
    size_t          size, at = 0;
    char           *text = tpi_read_file(ctx, path, MOST_BYTES, &size), *values;
    tp_tensor      *x = NULL;

    if (text == NULL)
        return NULL;
    t = idx_head(ctx, path, (unsigned char *)text, size, dim, &at);
    if (t != NULL) {
        for (int i = 0; i < text[3]; i++)
            n *= dim[i];
        values = tpi_alloc(ctx, (size_t)n, tp_dtype_size(t->t));
        if (values != NULL) {
            idx_values(t, (unsigned char *)text + at, n, values);
            x = tp_from(ctx, t->t, text[3], dim, values);
        }
        tpi_free(values);
    }
    tpi_free(text);
    return x;
}

/* ---- token ids --------------------------------------------------------------------------------------------------- */

static int64_t little_endian(const unsigned char *p, int n)
{
    int64_t v = 0;

    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static bool token_values(tp_ctx *ctx, const char *path, const unsigned char *p, int bytes, int64_t vocab, int64_t n,
                         int32_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t v = little_endian(p + i * bytes, bytes);

        if (v >= vocab)
            return tp_fail(ctx, TP_EFORMAT, "%s: byte %lld: id %lld of token %lld, expected one below %lld", path,
                           (long long)i * bytes, (long long)v, (long long)i, (long long)vocab) != NULL;
        out[i] = (int32_t)v;
    }
    return true;
}

tp_tensor *tp_tokens_read(tp_ctx *ctx, const char *path, int bytes, int64_t vocab)
{
    size_t     size;
    char      *text;
    int32_t   *ids = NULL;
    tp_tensor *x = NULL;
    int64_t    n;

    if (!tp_ok(ctx))
        return NULL;
    if ((bytes != 1 && bytes != 2 && bytes != 4) || vocab < 0 || vocab > (int64_t)1 << 31)
        return tp_fail(ctx, TP_EARG, "tokens: %d bytes an id, vocab %lld; expected 1, 2 or 4, and 0 to 2^31", bytes,
                       (long long)vocab);
    text = tpi_read_file(ctx, path, MOST_BYTES, &size);
    if (text == NULL)
        return NULL;
    n = (int64_t)size / bytes;
    if (n == 0 || size % (size_t)bytes != 0)
        tp_fail(ctx, TP_EFORMAT, "%s: byte %zu: the file ends there, expected one or more ids of %d bytes", path, size,
                bytes);
    else
        ids = tpi_alloc(ctx, (size_t)n, sizeof *ids);
    if (ids != NULL &&
        token_values(ctx, path, (unsigned char *)text, bytes, vocab ? vocab : (int64_t)1 << 31, n, ids))
        x = tp_from(ctx, TP_I32, 1, &n, ids);
    tpi_free(ids);
    tpi_free(text);
    return x;
}
