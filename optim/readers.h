/*
 * readers.h - numbers in files, read whole into tensors: csv, idx (the format of MNIST), JSON lines, raw token ids.
 *
 * A file that is damaged or holds something else is TP_EFORMAT, with its line and column (or the byte, where it has no
 * lines); one that cannot be read, or has more than 64 GiB, TP_EIO.  Sizes are checked before memory is asked for.
 */
#ifndef TP_READERS_H
#define TP_READERS_H

#include "optim/samples.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_csv_opts {
    char     separator; /* ',' */
    int      skip;      /* lines at the beginning that hold names, not numbers: 0 */
    bool     missing;   /* an empty cell is NaN (floats only); else it is an error */
    tp_dtype dtype;     /* f32 */
} tp_csv_opts;

/*
 * tp_csv_read: a table of numbers.  Cells may be quoted ("1.5") and have blanks around them; nan and inf are numbers of
 * floats; empty lines are passed over; lines end with \n or \r\n.
 *
 *   returns [rows, columns], opts' dtype; columns are those of the first row
 *
 *   fails   TP_EFORMAT, "file:line:column: ...", for a cell that is no number or does not fit the dtype, a row of another
 *           length, no rows
 */
TP_API tp_tensor *tp_csv_read(tp_ctx *ctx, const char *path, const tp_csv_opts *opts);

/*
 * tp_idx_read: an array as MNIST's files hold it.
 *
 *   returns its shape; u8 for unsigned bytes, i32 for signed bytes, 16 and 32 bits, f32 and f64 for floats
 *
 *   fails   TP_EFORMAT for a wrong magic number, 0 or more than 8 dimensions, a size that does not fit them
 */
TP_API tp_tensor *tp_idx_read(tp_ctx *ctx, const char *path);

/*
 * tp_jsonl_read: fields of JSON objects, one a line.
 *
 *     {"x": [0.5, 1, 2], "label": 3}      with { "x", TP_F32, 1, { 3 } }, { "label", TP_I64 }
 *
 *   field   n descriptions with names; lists must have just their shape; other members of a line are passed over
 *   out     gets n tensors [lines, ...], all NULL after a failure
 *   returns whether it went well
 *
 *   fails   TP_EFORMAT, "file:line:column: ...", for bad JSON, a missing field, another shape, a value that does not fit
 *           the dtype, no lines; TP_EARG and TP_ESHAPE for descriptions that are none
 */
TP_API bool tp_jsonl_read(tp_ctx *ctx, const char *path, int n, const tp_field *field, tp_tensor **out);

/*
 * tp_tokens_read: token ids one behind the other, without a header, little-endian.
 *
 *   bytes   of an id: 1 (a text, whose bytes are the tokens), 2 or 4
 *   vocab   every id must be below it; 0: below 2^31
 *   returns [ids], i32
 *
 *   fails   TP_EFORMAT for an id out of range, a size that is no multiple of bytes, an empty file
 */
TP_API tp_tensor *tp_tokens_read(tp_ctx *ctx, const char *path, int bytes, int64_t vocab);

#ifdef __cplusplus
}
#endif
#endif
