/*
 * h5_encode.c - the messages of HDF5's object headers, written.
 */
#include "nn/files/h5_encode.h"

#include <string.h>

void tpi_h5_put_bytes(tpi_h5_buffer *b, const void *p, size_t n)
{
    b->bad = b->bad || !tpi_grow(b->ctx, &b->p, &b->cap, b->n + n, 1);
    if (b->bad || n == 0)
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void tpi_h5_put_int(tpi_h5_buffer *b, uint64_t v, int n)
{
    uint8_t p[8];
    int     i;

    for (i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    tpi_h5_put_bytes(b, p, (size_t)n);
}

void tpi_h5_message_head(tpi_h5_buffer *b, int type, size_t n, int flags)
{
    tpi_h5_put_int(b, (uint64_t)type, 1);
    tpi_h5_put_int(b, n, 2);
    tpi_h5_put_int(b, (uint64_t)flags, 1);
}

static void put_space(tpi_h5_buffer *b, int ndim, const int64_t *dim)
{
    int i;

    tpi_h5_put_int(b, 2, 1);
    tpi_h5_put_int(b, (uint64_t)ndim, 1);
    tpi_h5_put_int(b, 0, 1);
    tpi_h5_put_int(b, ndim > 0, 1); /* simple; else scalar */
    for (i = 0; i < ndim; i++)
        tpi_h5_put_int(b, (uint64_t)dim[i], 8);
}

/* The type of a value, and its bytes. */
static void encode_value(const tpi_h5_value *v, uint8_t type[TPI_H5_TYPE_MOST], size_t *type_n, const void **value,
                         size_t *n)
{
    static const char *const names[] = { "", "U8", "U32", "U64", "I64", "F64" };
    size_t                   i;

    if (v->kind == TPI_H5_TEXT) { /* fixed length, NUL at its end, UTF-8 */
        *value = v->text;
        *n = strlen(v->text) + 1;
        memcpy(type, "\x13\x10\0", 4);
        for (i = 0; i < 4; i++)
            type[4 + i] = (uint8_t)(*n >> 8 * i);
        *type_n = 8;
        return;
    }
    *value = v->kind == TPI_H5_F64 ? (const void *)&v->real : &v->number;
    *n = v->kind == TPI_H5_U8 ? 1 : v->kind == TPI_H5_U32 ? 4 : 8;
    *type_n = tpi_h5_encode_type(tpi_stored_named(names[v->kind], strlen(names[v->kind])), type);
}

void tpi_h5_encode_attr(tpi_h5_buffer *b, const char *key, const tpi_h5_value *v)
{
    uint8_t     type[TPI_H5_TYPE_MOST];
    size_t      name = strlen(key) + 1, type_n, n;
    const void *value;

    encode_value(v, type, &type_n, &value, &n);
    tpi_h5_message_head(b, TPI_H5_ATTR, 9 + name + type_n + 4 + n, 0);
    tpi_h5_put_int(b, 3, 2); /* version, no flags */
    tpi_h5_put_int(b, name, 2);
    tpi_h5_put_int(b, type_n, 2);
    tpi_h5_put_int(b, 4, 2);
    tpi_h5_put_int(b, 1, 1); /* the name is UTF-8 */
    tpi_h5_put_bytes(b, key, name);
    tpi_h5_put_bytes(b, type, type_n);
    put_space(b, 0, NULL);
    tpi_h5_put_bytes(b, value, n);
}

void tpi_h5_encode_set(tpi_h5_buffer *b, const tpi_stored *t, int ndim, const int64_t *dim, int64_t bytes, int64_t offset,
                       const void *value)
{
    uint8_t type[TPI_H5_TYPE_MOST];
    size_t  n = tpi_h5_encode_type(t, type);

    tpi_h5_message_head(b, TPI_H5_SPACE, 4 + 8 * (size_t)ndim, 0);
    put_space(b, ndim, dim);
    tpi_h5_message_head(b, TPI_H5_TYPE, n, 1);
    tpi_h5_put_bytes(b, type, n);
    tpi_h5_message_head(b, TPI_H5_FILL, 2, 1);
    tpi_h5_put_int(b, 3, 1);
    tpi_h5_put_int(b, ndim ? 6 : 5, 1); /* never written; room taken late, or for a scalar at once */
    if (ndim == 0) {
        tpi_h5_message_head(b, TPI_H5_LAYOUT, 4 + (size_t)bytes, 0);
        tpi_h5_put_int(b, 3, 2); /* version, compact */
        tpi_h5_put_int(b, (uint64_t)bytes, 2);
        tpi_h5_put_bytes(b, value, (size_t)bytes);
        return;
    }
    tpi_h5_message_head(b, TPI_H5_LAYOUT, 18, 0);
    tpi_h5_put_int(b, 3 | 1 << 8, 2); /* version, contiguous */
    tpi_h5_put_int(b, bytes ? (uint64_t)offset : UINT64_MAX, 8);
    tpi_h5_put_int(b, (uint64_t)bytes, 8);
}
