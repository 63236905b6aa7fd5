/* numbers.h - a number of a file into an array, checked.  Internal. */
#ifndef TPI_NUMBERS_H
#define TPI_NUMBERS_H

#include "core/internal.h"

/* dst[i] = v in dtype t; else what is wrong with it: "does not fit u8". */
const char *tpi_put_int(tp_dtype t, void *dst, int64_t i, int64_t v);
const char *tpi_put_real(tp_dtype t, void *dst, int64_t i, double v);
/* The same with the decimal number that is the whole of s[0..n); nan and inf too. */
const char *tpi_put_text(tp_dtype t, void *dst, int64_t i, const char *s, size_t n);

#endif
