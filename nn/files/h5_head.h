/*
 * h5_head.h - the metadata of an HDF5 file, read without libhdf5: superblock, object headers, checksums.  Internal.
 *
 * libhdf5 is not safe on damaged files (it frees what it never set when a checksum fails half-way through a group), and
 * Tapir's own files need very little of the format: superblock 3 and object headers 2, whose links and attributes all
 * stand in the header; those of others have more than a few of them in heaps (h5_dense.c).
 */
#ifndef TPI_H5_HEAD_H
#define TPI_H5_HEAD_H

#include "nn/files/disk.h"
#include "nn/files/stored.h"

/* The file, and how many bytes of metadata may still be read: no arrangement of links makes the work grow beyond the
 * file. */
typedef struct tpi_h5_source {
    tp_ctx   *ctx;
    tpi_disk *disk;
    int64_t   budget;
} tpi_h5_source;

/* Bytes that are taken one by one; `bad` once there were too few. */
typedef struct tpi_h5_cursor {
    const uint8_t *at, *end;
    bool           bad;
} tpi_h5_cursor;

/* A little-endian number of n bytes (of more than 8: passes over them); 0 beyond the end. */
uint64_t tpi_h5_take(tpi_h5_cursor *c, int n);

enum {
    TPI_H5_SPACE = 1,
    TPI_H5_LINK_INFO = 2,
    TPI_H5_TYPE = 3,
    TPI_H5_FILL = 5,
    TPI_H5_LINK = 6,
    TPI_H5_EXTERNAL = 7,
    TPI_H5_LAYOUT = 8,
    TPI_H5_GROUP_INFO = 10,
    TPI_H5_FILTER = 11,
    TPI_H5_ATTR = 12,
    TPI_H5_CONTINUE = 16,
    TPI_H5_SYMBOLS = 17,
    TPI_H5_ATTR_INFO = 21,
    TPI_H5_NAMES = 22,
    TPI_H5_MESSAGES = 24
};

/* One piece of an object header: its messages begin at `from` of the bytes. */
typedef struct tpi_h5_chunk {
    uint8_t *bytes;
    size_t   from, to;
} tpi_h5_chunk;

typedef struct tpi_h5_head {
    tpi_h5_chunk *chunk;
    size_t        n, cap;
    bool          ordered; /* messages carry the order of their creation */
} tpi_h5_head;

typedef struct tpi_h5_message {
    int           type, flags;
    tpi_h5_cursor body;
} tpi_h5_message;

/* The type of an encoded one (version 1 to 5, whose encodings of these are equal); NULL: none that Tapir has. */
const tpi_stored *tpi_h5_type_of(tpi_h5_cursor c);
/* Encodes t; the number of bytes, 0 when it is none of an HDF5 file. */
enum { TPI_H5_TYPE_MOST = 40 };
size_t tpi_h5_encode_type(const tpi_stored *t, uint8_t to[TPI_H5_TYPE_MOST]);

/* The checksum of all metadata. */
uint32_t tpi_h5_checksum(const uint8_t *p, size_t n);
bool     tpi_h5_sum_is(const uint8_t *p, size_t n, uint32_t sum);

/* Whether n bytes are followed by their checksum. */
bool     tpi_h5_sum_ok(const uint8_t *p, size_t n);

/* Each gives NULL, or what is wrong in a few words ("" when the context has the error already). */
const char *tpi_h5_open(tpi_h5_source *s, uint64_t *root);
const char *tpi_h5_load(tpi_h5_source *s, uint64_t address, tpi_h5_head *h);
void        tpi_h5_unload(tpi_h5_head *h);
/* n bytes at `at`, with nothing asked for that the file does not have. */
const char *tpi_h5_bytes(tpi_h5_source *s, uint64_t at, uint64_t n, uint8_t **p);

/* The messages in a heap that a tree leads to, in no order; a `found` that returns false, having failed, ends it. */
enum { TPI_H5_LINK_TREE = 5, TPI_H5_ATTR_TREE = 8 };
typedef bool (*tpi_h5_found)(void *user, tpi_h5_cursor body);
const char *tpi_h5_dense(tpi_h5_source *s, uint64_t heap, uint64_t tree, int type, tpi_h5_found found, void *user);

/* The next message of a loaded header: begin with *chunk = *at = 0. */
bool        tpi_h5_next(const tpi_h5_head *h, size_t *chunk, size_t *at, tpi_h5_message *m);

#endif
