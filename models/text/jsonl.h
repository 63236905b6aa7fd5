/* jsonl.h - a file of JSON objects, one a line.  Internal. */
#ifndef TPI_JSONL_H
#define TPI_JSONL_H

#include "core/json.h"

enum { TPI_LINE_MAX = 16 << 20 };

/* Zeros are a closed one.  Lines end at \n alone; a \r before it is white space of JSON, a byte order mark at the
 * beginning of the file is passed over, and so are lines of white space, which are counted. */
typedef struct tpi_jsonl {
    const char *path; /* borrowed */
    int         fd;
    char       *buf;
    size_t      begin, end, cap; /* what is read and not used yet */
    bool        open, ended;
    int64_t     line;  /* number of the last line, from 1 */
    int64_t     blank; /* lines so far */
} tpi_jsonl;

bool tpi_jsonl_open(tp_ctx *ctx, tpi_jsonl *j, const char *path);
/* The object in the next line, the caller's; NULL at the end or after a failure: "path:line:column: why". */
tpi_json *tpi_jsonl_next(tp_ctx *ctx, tpi_jsonl *j);
void      tpi_jsonl_close(tpi_jsonl *j);

#endif
