/*
 * pull.h - JSON read value by value, in place, without a tree: for headers of up to 100 MB.  Internal.
 */
#ifndef TPI_PULL_H
#define TPI_PULL_H

#include "core/internal.h"

/* The text is the caller's and is written to: strings are decoded where they stand and end in a NUL. */
typedef struct tpi_pull {
    char       *start, *at, *end;
    const char *error; /* the first one, in a few words; every later call fails */
    bool        first; /* no member of the innermost list has been read yet */
} tpi_pull;

/* False, with an error, unless the text is UTF-8. */
bool tpi_pull_begin(tpi_pull *j, char *text, size_t n);
/* Takes '{' or '['; then tpi_pull_more takes commas between members, and the closing bracket. */
bool tpi_pull_open(tpi_pull *j, char bracket);
bool tpi_pull_more(tpi_pull *j, char closing);
bool tpi_pull_string(tpi_pull *j, char **s, size_t *n);
/* A string and the colon after it. */
bool tpi_pull_key(tpi_pull *j, char **s, size_t *n);
/* A non-negative integer of at most 63 bits. */
bool tpi_pull_uint(tpi_pull *j, int64_t *v);
/* Any value, nested at most 64 deep. */
bool tpi_pull_skip(tpi_pull *j);
/* Nothing follows but bytes of `padding` ('\0': any white space). */
bool tpi_pull_end(tpi_pull *j, char padding);
bool tpi_pull_fail(tpi_pull *j, const char *why);

#endif
