/*
 * h5_encode.h - the messages of HDF5's object headers, written.  Internal to h5_*.c.
 */
#ifndef TPI_H5_ENCODE_H
#define TPI_H5_ENCODE_H

#include "nn/files/h5.h"
#include "nn/files/h5_head.h"

/* Bytes that grow; `bad` once memory was refused. */
typedef struct tpi_h5_buffer {
    tp_ctx  *ctx;
    uint8_t *p;
    size_t   n, cap;
    bool     bad;
} tpi_h5_buffer;

void tpi_h5_put_bytes(tpi_h5_buffer *b, const void *p, size_t n);
/* The low n bytes of v, the lowest first. */
void tpi_h5_put_int(tpi_h5_buffer *b, uint64_t v, int n);
/* Type, size and flags of a message; its n bytes follow. */
void tpi_h5_message_head(tpi_h5_buffer *b, int type, size_t n, int flags);
void tpi_h5_encode_attr(tpi_h5_buffer *b, const char *key, const tpi_h5_value *v);
/* Shape, type, fill value and place of a data set: a scalar's value stands in the header, the others' at offset. */
void tpi_h5_encode_set(tpi_h5_buffer *b, const tpi_stored *t, int ndim, const int64_t *dim, int64_t bytes,
                       int64_t offset, const void *value);

#endif
