/* readfile.h - a whole file into memory.  Internal. */
#ifndef TPI_READFILE_H
#define TPI_READFILE_H

#include "core/internal.h"

/* The content of the regular file at path, with a NUL after its *n bytes; freed with tpi_free.  NULL and TP_EIO, with
 * the path, when it cannot be read, is no regular file, or has more than max bytes. */
char *tpi_read_file(tp_ctx *ctx, const char *path, size_t max, size_t *n);
/* Whether there is something at path that is a regular file. */
bool tpi_is_file(const char *path);
bool tpi_is_folder(const char *path);

#endif
