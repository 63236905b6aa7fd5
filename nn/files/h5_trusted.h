/*
 * h5_trusted.h - HDF5 files of any kind through libhdf5.  Internal.
 */
#ifndef TPI_H5_TRUSTED_H
#define TPI_H5_TRUSTED_H

#include "nn/files/filetable.h"

/* Lists data sets and attributes of the file's part 0. */
bool tpi_trusted_list(tp_file *f) TPI_MUST_USE;
/* Has e's values in memory, as e->bytes.value, until the next one's are asked for: chunks know no order of bytes. */
bool tpi_trusted_hold(tp_file *f, tpi_entry *e) TPI_MUST_USE;
bool tpi_trusted_read(tp_file *f, const tpi_bytes *b, int64_t at, void *p, size_t n) TPI_MUST_USE;
void tpi_trusted_drop(tp_file *f);

/* tp_file_open_trusted, with a call between opening the file and handing it to libhdf5; it may fail ctx. */
tp_file *tpi_file_open_trusted_at(tp_ctx *ctx, const char *path, void (*ready)(tp_ctx *ctx, void *user), void *user);

#endif
