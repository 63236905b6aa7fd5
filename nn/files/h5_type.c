/*
 * h5_type.c - the types of values in HDF5 files, as they are encoded: those that Tapir has, and no other.
 */
#include "nn/files/h5_head.h"

#include <string.h>

/* What follows class and version in an encoded type: three bytes of bits, size, and the properties. */
typedef struct encoded_type {
    const char *name;
    uint8_t     kind, n; /* class; bytes that count */
    uint8_t     bytes[19];
} encoded_type;

enum { FIXED = 0, FLOAT = 1, ENUM = 8 };

static const encoded_type types[] = {
    { "F32", FLOAT, 19, { 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0 } },
    { "BF16", FLOAT, 19, { 0x20, 15, 0, 2, 0, 0, 0, 0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0 } },
    { "F16", FLOAT, 19, { 0x20, 15, 0, 2, 0, 0, 0, 0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0 } },
    { "F64", FLOAT, 19, { 0x20, 63, 0, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 0xff, 3, 0, 0 } },
    { "U8", FIXED, 11, { 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0 } },
    { "U16", FIXED, 11, { 0, 0, 0, 2, 0, 0, 0, 0, 0, 16, 0 } },
    { "U32", FIXED, 11, { 0, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0 } },
    { "U64", FIXED, 11, { 0, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0 } },
    { "I8", FIXED, 11, { 8, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0 } },
    { "I16", FIXED, 11, { 8, 0, 0, 2, 0, 0, 0, 0, 0, 16, 0 } },
    { "I32", FIXED, 11, { 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0 } },
    { "I64", FIXED, 11, { 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0 } },
};

/* h5py's bool: an enumeration of two members over int8: it, its base, the members and their values. */
static const uint8_t bool_type[] = { 0x38, 2,   0,   0,   1,   0,   0, 0,   0x10, 8,   0,   0, 1, 0, 0, 0, 0,
                                     0,    8,   0,   'F', 'A', 'L', 'S', 'E', 0,  'T', 'R', 'U', 'E', 0, 0, 1 };

/* Versions of the two encodings, in the high halves of their first bytes, may differ. */
static bool is_bool(const uint8_t *p, size_t n)
{
    return n >= sizeof bool_type && (p[0] & 15) == ENUM && memcmp(p + 1, bool_type + 1, 7) == 0 &&
           (p[8] & 15) == FIXED && memcmp(p + 9, bool_type + 9, sizeof bool_type - 9) == 0;
}

const tpi_stored *tpi_h5_type_of(tpi_h5_cursor c)
{
    size_t n = (size_t)(c.end - c.at), i;

    if (n < 8 || c.at[0] >> 4 < 1 || c.at[0] >> 4 > 5)
        return NULL;
    for (i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((c.at[0] & 15) == types[i].kind && n > types[i].n && memcmp(c.at + 1, types[i].bytes, types[i].n) == 0)
            return tpi_stored_named(types[i].name, strlen(types[i].name));
    return is_bool(c.at, n) ? tpi_stored_of(TP_BOOL) : NULL;
}

size_t tpi_h5_encode_type(const tpi_stored *t, uint8_t to[TPI_H5_TYPE_MOST])
{
    size_t i;

    if (t == tpi_stored_of(TP_BOOL)) {
        memcpy(to, bool_type, sizeof bool_type);
        return sizeof bool_type;
    }
    for (i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, t->name) == 0) {
            to[0] = (uint8_t)(0x10 | types[i].kind);
            memcpy(to + 1, types[i].bytes, types[i].n);
            return 1 + (size_t)types[i].n;
        }
    return 0;
}
