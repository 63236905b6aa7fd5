/*
 * h5.h - HDF5 as Tapir uses it: groups, named data sets, attributes.  Internal.  Written and read by our own code
 * (h5_write.c, h5_head.h say why).  Paths have no slash in front; "" is the root.
 */
#ifndef TPI_H5_H
#define TPI_H5_H

#include "nn/files/disk.h"
#include "nn/files/stored.h"

typedef enum { TPI_H5_TEXT, TPI_H5_U8, TPI_H5_U32, TPI_H5_U64, TPI_H5_I64, TPI_H5_F64 } tpi_h5_kind;

/* The value of an attribute. */
typedef struct tpi_h5_value {
    tpi_h5_kind kind;
    const char *text; /* NUL-terminated */
    uint64_t    number; /* of I64: its bits */
    double      real;
} tpi_h5_value;

/* ---- writing --------------------------------------------------------------------------------------------------------- */

typedef struct tpi_h5 tpi_h5;

/* Begins a file in the empty one open at fd, which stays the caller's; messages show `shown`. */
tpi_h5 *tpi_h5_create(tp_ctx *ctx, int fd, const char *shown);
/* A data set and the groups above it; data in row order. */
typedef struct tpi_h5_set {
    const char       *path;
    const tpi_stored *type;
    int               ndim;
    const int64_t    *dim;
    const void       *data;
} tpi_h5_set;

typedef struct tpi_h5_named {
    const char  *key;
    tpi_h5_value value;
} tpi_h5_named;

/* Writes s with n attributes. */
bool    tpi_h5_put(tpi_h5 *h, const tpi_h5_set *s, const tpi_h5_named *attr, int n) TPI_MUST_USE;
/* A second name for the data set at `path`. */
bool    tpi_h5_link(tpi_h5 *h, const char *path, const char *other) TPI_MUST_USE;
/* Sets an attribute of a data set or group; the group is made if there is nothing of that name. */
bool    tpi_h5_attr(tpi_h5 *h, const char *path, const char *key, const tpi_h5_value *v) TPI_MUST_USE;
/* Flushes and closes; h is gone either way.  False when anything could not be written. */
bool    tpi_h5_close(tpi_h5 *h) TPI_MUST_USE;
void    tpi_h5_drop(tpi_h5 *h);

/* ---- reading --------------------------------------------------------------------------------------------------------- */

typedef struct tpi_h5_node {
    const char       *path;
    bool              group;
    const tpi_stored *type;
    int               ndim;
    int64_t           dim[TP_MAX_DIM];
    int64_t           offset, bytes;
    const void       *value;   /* of a small data set, valid during the call; else NULL: bytes at offset of the file */
    uint64_t          address; /* of the object: equal for two names of one */
} tpi_h5_node;

/* What is found, depth first in byte order of names: each node, then its attributes, then what a group holds.
 * Attributes of other types than tpi_h5_kind are passed over.  A callback that returns false, having failed, ends the
 * walk. */
typedef struct tpi_h5_visitor {
    void *user;
    bool (*node)(void *user, const tpi_h5_node *n);
    bool (*attr)(void *user, const char *path, const char *key, const tpi_h5_value *v);
} tpi_h5_visitor;

/* Only what Tapir's profile has: hard links and attributes in the headers, contiguous or compact data sets of
 * plain types without filters.  Every byte of metadata is under a checksum, which is verified. */
bool tpi_h5_visit(tp_ctx *ctx, tpi_disk *disk, const tpi_h5_visitor *v) TPI_MUST_USE;

#endif
