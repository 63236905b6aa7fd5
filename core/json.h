/*
 * json.h - reading and writing JSON, strictly.  Internal; core/json.c is the only user of jansson.
 *
 * Refused: duplicate keys, bad UTF-8, numbers beyond a double, "\u0000", nesting deeper than 64, anything after the
 * value.  Integers beyond 63 bits are real numbers, so they are refused where an integer is wanted.  A tree belongs to
 * whoever parsed it; what the getters return is borrowed from it.  A NULL tree is an empty one.
 */
#ifndef TPI_JSON_H
#define TPI_JSON_H

#include "core/internal.h"

enum { TPI_JSON_DEPTH = 64 };

typedef struct tpi_json tpi_json;

typedef enum {
    TPI_JSON_NULL,
    TPI_JSON_BOOL,
    TPI_JSON_INT,
    TPI_JSON_REAL,
    TPI_JSON_TEXT,
    TPI_JSON_ARRAY,
    TPI_JSON_OBJECT
} tpi_json_kind;

/* Where and why a text was refused: lines and columns from 1; code is TP_EFORMAT or TP_ENOMEM. */
typedef struct tpi_json_error {
    tp_code code;
    int     line, column;
    char    text[200];
} tpi_json_error;

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

/* Needs no context, so threads without one may call it.  NULL and *err on failure. */
tpi_json *tpi_json_parse_raw(const char *text, size_t n, tpi_json_error *err);
/* The same, failing with "name:line:column: why". */
tpi_json *tpi_json_parse(tp_ctx *ctx, const char *name, const char *text, size_t n);
/* Parses the file at path, of at most max bytes. */
tpi_json *tpi_json_load(tp_ctx *ctx, const char *path, size_t max);
void      tpi_json_free(tpi_json *j);

/* ---- looking ----------------------------------------------------------------------------------------------------- */

tpi_json_kind tpi_json_is(const tpi_json *j);
const char   *tpi_json_kind_name(tpi_json_kind k);
/* Elements of an array or object, else 0. */
size_t          tpi_json_size(const tpi_json *j);
const tpi_json *tpi_json_at(const tpi_json *array, size_t i);
/* The member, or NULL when it is missing or null. */
const tpi_json *tpi_json_get(const tpi_json *object, const char *key);
/* The same with a key of n bytes. */
const tpi_json *tpi_json_get_n(const tpi_json *object, const char *key, size_t n);
/* Members in the order of the text: start with *it NULL, stop at false. */
bool tpi_json_next(const tpi_json *object, void **it, const char **key, const tpi_json **value);
/* The text and, in *n (may be NULL), its length; NULL when j is none. */
const char *tpi_json_string(const tpi_json *j, size_t *n);
int64_t     tpi_json_integer(const tpi_json *j); /* 0 when j is none */
double      tpi_json_real(const tpi_json *j);    /* integers too; NaN when j is none */
bool        tpi_json_true(const tpi_json *j);

/* ---- members with a type ------------------------------------------------------------------------------------------ *
 * A missing or null member gives the default; one of another type, or out of range, fails with TP_EFORMAT and
 * "where: KEY is ..., expected ...".  where names the file and the part of it. */

bool        tpi_json_bool(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool otherwise);
int64_t     tpi_json_int(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, int64_t otherwise,
                         int64_t min, int64_t max);
double      tpi_json_double(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, double otherwise);
const char *tpi_json_text(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key,
                          const char *otherwise);
/* The array or object at key; NULL when it is missing, and then a failure if it is needed. */
const tpi_json *tpi_json_array(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool needed);
const tpi_json *tpi_json_object(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool needed);

/* ---- making ------------------------------------------------------------------------------------------------------- *
 * Constructors return NULL when memory is out (TP_ENOMEM on ctx) or a text is not UTF-8 (TP_EARG).  set and add take
 * value over, also when they fail, and pass over a NULL value as a failure that has been told: so calls nest, and one
 * check at the end does. */

tpi_json *tpi_json_new_object(tp_ctx *ctx);
tpi_json *tpi_json_new_array(tp_ctx *ctx);
tpi_json *tpi_json_new_text(tp_ctx *ctx, const char *s, size_t n);
tpi_json *tpi_json_new_int(tp_ctx *ctx, int64_t v);
tpi_json *tpi_json_new_double(tp_ctx *ctx, double v);
tpi_json *tpi_json_new_bool(tp_ctx *ctx, bool v);
tpi_json *tpi_json_new_null(tp_ctx *ctx);
bool      tpi_json_set(tp_ctx *ctx, tpi_json *object, const char *key, tpi_json *value);
/* The same with a key of n bytes, which need not end in a NUL. */
bool tpi_json_set_n(tp_ctx *ctx, tpi_json *object, const char *key, size_t n, tpi_json *value);
bool tpi_json_set_text(tp_ctx *ctx, tpi_json *object, const char *key, const char *s);
bool tpi_json_set_int(tp_ctx *ctx, tpi_json *object, const char *key, int64_t v);
bool tpi_json_set_double(tp_ctx *ctx, tpi_json *object, const char *key, double v);
bool tpi_json_set_bool(tp_ctx *ctx, tpi_json *object, const char *key, bool v);
bool tpi_json_add(tp_ctx *ctx, tpi_json *array, tpi_json *value);
/* Another tree with the same content. */
tpi_json *tpi_json_copy(tp_ctx *ctx, const tpi_json *j);

/* The text of j, NUL-terminated, to be freed with tpi_free; members in the order in which they were set; numbers read
 * back to the same bits.  indent 0 is one line. */
char *tpi_json_dump(tp_ctx *ctx, const tpi_json *j, int indent, size_t *n);

#endif
