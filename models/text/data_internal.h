/* data_internal.h - the inside of text data, shared by data.c, encode.c, pack.c, batch.c. */
#ifndef TPI_DATA_INTERNAL_H
#define TPI_DATA_INTERNAL_H

#include "models/text/data.h"
#include "models/text/jsonl.h"
#include "models/text/template.h"
#include "optim/order.h"

/* Where a sample lies in the flat arrays. */
typedef struct tpi_sample {
    int64_t at, line;
    int32_t n, targets; /* targets: those that some token of the sample stands in front of */
} tpi_sample;

struct tp_data {
    const tp_tokenizer *tok;
    tp_template *template;
    tp_data_opts  opts;
    tp_ids        ids;     /* of all samples */
    bool         *trained; /* whether ids.id[i] is trained on */
    size_t        cap_trained;
    int64_t       n_trained; /* marked so far: ids.n when a sample is complete */
    tpi_sample   *sample;
    size_t        n, cap;
    bool          shared; /* rows hold several samples */
    tp_data_count count;
    tp_loader    *loader;
};

/*
 * encode.c: appends the sample of a line to d->ids and d->trained.  *used: the keys that its kind knows, ended by NULL.
 * Messages say what is wrong: where, the caller puts in front.  tpi_encode_begin makes d->template first.
 */
bool tpi_encode_begin(tp_ctx *ctx, tp_data *d);
bool tpi_encode(tp_ctx *ctx, tp_data *d, const tpi_json *line, const char *const **used);

enum { TPI_WIDTH_STEP = 16 }; /* of the width of a batch, where max_len allows */

/* pack.c: tp_dataset.cut for the options; user is the tp_data.  Where samples share rows, one that begins a row is ~i.
 */
int64_t tpi_cut_packed(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end);
int64_t tpi_cut_grouped(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end);
int64_t tpi_cut_shared(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end);

/* A batch as plain memory. */
typedef struct tpi_batch {
    int64_t  rows, width;
    int64_t  tokens, targets, samples, first, line; /* as in tp_lm_batch */
    bool     packed, ranged;
    int32_t *ids, *target, *pos, *range; /* in the same block of memory */
} tpi_batch;

/* batch.c: tp_dataset.make and drop. */
tp_code tpi_batch_make(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size);
void    tpi_batch_drop(void *batch);
/* Rows and width of the batch that would be made. */
void tpi_batch_shape(const tp_data *d, const int64_t *index, int64_t n, int64_t *rows, int64_t *width);

/* XXH3-64 over all samples: their tokens, and which of them are trained on. */
uint64_t tpi_data_hash(const tp_data *d);

#endif
