/*
 * ckpt.h - the schema of Tapir's checkpoints: what is common to their reader and writer.  Internal.
 *
 * A tensor NAME of SECTION is the data set /SECTION/NAME with '.' for '/'; SECTION is one word, or "optimizer/state".
 * Texts stand under /config and /tokenizer.  Every data set has the XXH3-64 of its bytes as attribute xxh3, and the
 * root's content_xxh3 is over the lines of tpi_identity_add for all data sets, whose names are their paths, in byte
 * order.
 */
#ifndef TPI_CKPT_H
#define TPI_CKPT_H

#include "nn/files/filetable.h"
#include "nn/files/h5.h"

#define TPI_CKPT_FORMAT "tapir-checkpoint"
enum { TPI_CKPT_MAJOR = 1, TPI_CKPT_MINOR = 0, TPI_CKPT_PATH = 2 * TPI_MAX_NAME };

/* All data sets of a file, for content_xxh3. */
typedef struct tpi_content {
    struct tpi_content_item *item;
    size_t                   n, cap;
} tpi_content;

bool tpi_content_add(tp_ctx *ctx, tpi_content *c, const char *path, const tpi_stored *type, int ndim,
                     const int64_t *dim, uint64_t hash) TPI_MUST_USE;
/* A second name for the one at `path`. */
bool     tpi_content_tie(tp_ctx *ctx, tpi_content *c, const char *path, const char *other) TPI_MUST_USE;
uint64_t tpi_content_hash(tpi_content *c);
void     tpi_content_free(tpi_content *c);

/* tp_writer_tensor for a module's buffer, whatever its dtype. */
bool tpi_writer_buffer(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, tp_tensor *x) TPI_MUST_USE;
/* tp_writer_tensor with values of any type that HDF5 has; s says all but the path. */
bool tpi_writer_set(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, const tpi_h5_set *s) TPI_MUST_USE;

/* Whether `kind` is one of tapir_kind's. */
bool tpi_ckpt_kind_ok(const char *kind);
/* Bytes of the section that path (without a slash in front) begins with. */
size_t tpi_ckpt_section(const char *path);
/* Whether section and name make a path: a known shape of section, no empty, "." or ".." parts, no '/' or control
 * characters. */
bool tpi_ckpt_name_ok(const char *section, const char *name);

/* An attribute that may be negative. */
bool tpi_writer_attr_signed(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, int64_t value);

#endif
