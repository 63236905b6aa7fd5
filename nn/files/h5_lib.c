/*
 * h5_lib.c - libhdf5 under one lock, silent, and the types of values in its files.
 */
#include "nn/files/h5_lib.h"

#include <pthread.h>
#include <string.h>

static const char *const type_names[TPI_H5_TYPES] = { "F64", "F32", "F16", "BF16", "I64", "I32", "I16",
                                                      "I8",  "U64", "U32", "U16",  "U8",  "BOOL" };

/* ---- the lock, and HDF5's messages ----------------------------------------------------------------------------------- */

/* Debian's serial library may not be entered twice: one lock for the process. */
static pthread_mutex_t hdf5_lock = PTHREAD_MUTEX_INITIALIZER;

tpi_h5_quiet tpi_h5_enter(void)
{
    tpi_h5_quiet q = { NULL, NULL };

    pthread_mutex_lock(&hdf5_lock);
    H5Eget_auto2(H5E_DEFAULT, &q.fn, &q.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
    return q;
}

void tpi_h5_leave(tpi_h5_quiet q)
{
    H5Eset_auto2(H5E_DEFAULT, q.fn, q.data);
    pthread_mutex_unlock(&hdf5_lock);
}

/* The innermost reason is the one that names the cause. */
static herr_t first_reason(unsigned n, const H5E_error2_t *e, void *user)
{
    if (n == 0 && e->desc)
        snprintf(user, 200, "%s", e->desc);
    return 0;
}

bool tpi_h5_bad(tp_ctx *ctx, tp_code code, const char *shown, const char *what)
{
    char  why[200] = "no reason given";
    char *p;

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_reason, why);
    for (p = why; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    tp_fail(ctx, code, "%.500s: cannot %s: HDF5 says: %s", shown, what, why);
    return false;
}

/* ---- types ----------------------------------------------------------------------------------------------------------- */

/* Fields before precision before size: any other order is refused. */
static hid_t half_type(size_t exponent, size_t mantissa, size_t bias)
{
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);

    if (t >= 0 && H5Tset_fields(t, 15, mantissa, exponent, 0, mantissa) >= 0 && H5Tset_precision(t, 16) >= 0 &&
        H5Tset_size(t, 2) >= 0 && H5Tset_ebias(t, bias) >= 0)
        return t;
    if (t >= 0)
        H5Tclose(t);
    return -1;
}

/* As h5py writes bool. */
static hid_t bool_type(void)
{
    static const int8_t no = 0, yes = 1;
    hid_t               t = H5Tenum_create(H5T_STD_I8LE);

    if (t >= 0 && H5Tenum_insert(t, "FALSE", &no) >= 0 && H5Tenum_insert(t, "TRUE", &yes) >= 0)
        return t;
    if (t >= 0)
        H5Tclose(t);
    return -1;
}

void tpi_h5_close_types(hid_t type[TPI_H5_TYPES])
{
    int i;

    for (i = 0; i < TPI_H5_TYPES; i++)
        if (type[i] > 0)
            H5Tclose(type[i]);
}

/* In the order of type_names. */
bool tpi_h5_open_types(hid_t type[TPI_H5_TYPES])
{
    const hid_t plain[TPI_H5_TYPES] = { H5T_IEEE_F64LE,
                                        H5T_IEEE_F32LE,
                                        0,
                                        0,
                                        H5T_STD_I64LE,
                                        H5T_STD_I32LE,
                                        H5T_STD_I16LE,
                                        H5T_STD_I8LE,
                                        H5T_STD_U64LE,
                                        H5T_STD_U32LE,
                                        H5T_STD_U16LE,
                                        H5T_STD_U8LE,
                                        0 };
    bool        ok = true;
    int         i;

    for (i = 0; i < TPI_H5_TYPES; i++) {
        type[i] = i == 2             ? half_type(5, 10, 15)
                  : i == 3           ? half_type(8, 7, 127)
                  : i == TPI_H5_BOOL ? bool_type()
                                     : H5Tcopy(plain[i]);
        ok = ok && type[i] >= 0;
    }
    return ok;
}

int tpi_h5_type_index(const tpi_stored *t)
{
    int i;

    for (i = 0; i < TPI_H5_TYPES; i++)
        if (strcmp(type_names[i], t->name) == 0)
            return i;
    return -1;
}
