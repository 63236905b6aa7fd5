/*
 * h5_lib.h - what the files of the HDF5 wrapper share: the only one that includes hdf5.h.  Internal to h5_*.c.
 */
#ifndef TPI_H5_LIB_H
#define TPI_H5_LIB_H

#include "nn/files/filetable.h"
#include "nn/files/h5.h"

/* Names of calls as 1.10 has them, also in later versions. */
#define H5_USE_110_API 1
#include <hdf5.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

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

/* A file as libhdf5 gets it: by descriptor, which stays ours. */
typedef struct tpi_h5_place {
    int  fd;
    bool write;
    int  error; /* the errno of the first write that failed: libhdf5 is not told */
} tpi_h5_place;

/* Makes fapl open `place`, whatever the name; the driver, to be handed to H5FDunregister when fapl is closed, or -1. */
hid_t tpi_h5_driver(hid_t fapl, tpi_h5_place *place);

/* The types that are written, made for a while. */
bool tpi_h5_open_types(hid_t type[TPI_H5_TYPES]);
void tpi_h5_close_types(hid_t type[TPI_H5_TYPES]);
int  tpi_h5_type_index(const tpi_stored *t); /* -1: none of them */

#endif
