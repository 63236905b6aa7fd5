/*
 * h5_lib.h - what the files of the HDF5 wrapper share: the only one that includes hdf5.h.  Internal to h5_lib.c, h5_write.c, h5_read.c.
 */
#ifndef TPI_H5_LIB_H
#define TPI_H5_LIB_H

#include "nn/files/filetable.h"
#include "nn/files/h5.h"

/* Names of calls as 1.10 has them, also in later versions. */
#define H5_USE_110_API 1
#include <hdf5.h>

enum { TPI_H5_TYPES = 13, TPI_H5_BOOL = 12, TPI_H5_MAX_ATTR = 60000, TPI_H5_MAX_PATH = 2 * TPI_MAX_NAME };

/* The printing of errors that the program had chosen, which is put back: it may use HDF5 itself. */
typedef struct tpi_h5_quiet {
    H5E_auto2_t fn;
    void       *data;
} tpi_h5_quiet;

/* Around every use of libhdf5. */
tpi_h5_quiet tpi_h5_enter(void);
void         tpi_h5_leave(tpi_h5_quiet q);
/* "shown: cannot WHAT: HDF5 says: REASON"; false. */
bool         tpi_h5_bad(tp_ctx *ctx, tp_code code, const char *shown, const char *what);

/* The types that are written and read, made for a while. */
bool              tpi_h5_open_types(hid_t type[TPI_H5_TYPES]);
void              tpi_h5_close_types(hid_t type[TPI_H5_TYPES]);
int               tpi_h5_type_index(const tpi_stored *t); /* -1: none of them */
const tpi_stored *tpi_h5_stored(const hid_t type[TPI_H5_TYPES], hid_t t);

#endif
