/* lines.h - reading lines of text and JSON lines, for the sub-commands. */
#ifndef LINES_H
#define LINES_H

#include "core/json.h"

#include <stdio.h>

typedef struct {
    FILE       *f;
    char       *text; /* of the newest line, without its newline, a NUL behind */
    size_t      n, cap;
    long        line; /* its number, from 1 */
    const char *name;
} lines;

/* path "-" is standard input.  False and TP_EIO when it cannot be read. */
bool lines_open(tp_ctx *ctx, lines *l, const char *path);
/* The next line (ends at \n alone); false at the end or after a failure. */
bool lines_next(tp_ctx *ctx, lines *l);
/* The next line that is not blank, parsed as a JSON object; NULL at the end or after a failure.  The caller frees it.
 */
tpi_json *lines_json(tp_ctx *ctx, lines *l);
void      lines_close(lines *l);

/* s as a JSON text, with its quotes. */
void print_json_text(FILE *f, const char *s, size_t n);

#endif
