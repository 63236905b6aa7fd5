/*
 * file_convert.h - an open file written again in another format, one tensor at a time.  Internal.
 *
 * A plan lists what the target will hold (names, types, shapes); each format's writer then takes the values item by
 * item.  OUT appears only when it is complete.
 */
#ifndef TPI_FILE_CONVERT_H
#define TPI_FILE_CONVERT_H

#include "nn/files/filetable.h"
#include "nn/files/folder_save.h"
#include "nn/files/gguf.h"

struct tpi_json;

/* How far what was stored is from what was meant, over the tensors that were changed. */
typedef struct tpi_rounding {
    double  max, largest;  /* of |stored - exact|, and of |exact| */
    double  square, whole; /* sums of their squares */
    int64_t n, tensors;
} tpi_rounding;

typedef struct tpi_convert_opts {
    const tpi_stored *type;  /* of floating tensors; NULL: as they are stored, quantised ones f32 */
    bool              overwrite;
    const char       *skip;  /* a tensor that is left out; NULL: none */
    int64_t           shard; /* most bytes of values in a safetensors file, 0: 5e9 */
    /* NULL, or what x, the tensor of that name, is to become: a tensor of x's shape in f64, or NULL to keep it. */
    tp_tensor *(*change)(tp_ctx *ctx, void *user, const char *name, tp_tensor *x);
    void                 *user;
    const tpi_gguf_vocab *vocab; /* for GGUF; NULL: without a tokenizer */
    tpi_rounding          rounding;
} tpi_convert_opts;

typedef struct tpi_item {
    const char       *name, *section;
    tpi_entry        *entry; /* NULL: `made` are the values */
    const tpi_stored *type;
    int               ndim;
    int64_t           dim[TP_MAX_DIM];
    int64_t           numel, bytes;
    int64_t           heads; /* of GGUF's q and k, whose rows are interleaved; else 0 */
    const char       *tie;   /* the item whose second name this is; NULL: none */
    const void       *made;
} tpi_item;

typedef struct tpi_conversion {
    tp_ctx           *ctx;
    tp_file          *f;
    const char       *out;
    tpi_convert_opts *opts;
    tpi_item         *item;
    size_t            n, cap;
} tpi_conversion;

/* The values of an item: valid until tpi_item_done. */
typedef struct tpi_values {
    tp_scope    scope;
    void       *own;
    const void *p;
} tpi_values;

/* Writes f to `out`: its ending decides, ".h5", ".gguf", else a Hugging Face directory. */
bool tpi_file_convert(tp_ctx *ctx, tp_file *f, const char *out, tpi_convert_opts *opts) TPI_MUST_USE;

/* ---- between the files of the converter -------------------------------------------------------------------------------- */

bool tpi_item_read(tpi_conversion *c, const tpi_item *it, tpi_values *v) TPI_MUST_USE;
void tpi_item_done(tpi_conversion *c, tpi_values *v);
/* One more item, its sizes filled in. */
bool tpi_item_add(tpi_conversion *c, const tpi_item *it) TPI_MUST_USE;
/* The identity of what was converted; NULL when tensors were changed, or after a failure. */
const char *tpi_conversion_identity(tpi_conversion *c);

/* Whether config.json ties the head to the embedding. */
bool tpi_conversion_tied(tpi_conversion *c);
/* chat_template of a tokenizer_config.json; NULL if there is none. */
const char *tpi_folder_template(const struct tpi_json *config);

bool tpi_convert_to_folder(tpi_conversion *c) TPI_MUST_USE;
bool tpi_convert_to_gguf(tpi_conversion *c) TPI_MUST_USE;
bool tpi_convert_to_ckpt(tpi_conversion *c) TPI_MUST_USE;

#endif
