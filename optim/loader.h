/*
 * loader.h - data for training: samples by number, in an order that depends on seed and epoch alone, cut into
 * batches which threads make ahead of their use.  It knows nothing of what a sample is: samples.h puts tensors on top of
 * it, models/text/data.h texts.
 */
#ifndef TP_LOADER_H
#define TP_LOADER_H

#include "nn/state.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a loader draws from.  The functions are called by the loader's threads, make by several of them at a time, cut
 * by the caller of tp_loader_batches too, perhaps at the same time: they may read user but not change it, and know no
 * context, no tensor and no parallel region.
 */
typedef struct tp_dataset {
    int64_t length; /* samples: 0 ... length - 1 */
    void   *user;
    /* Makes a batch of the samples index[0..n), n > 0: plain memory of any form, which the consumer owns from then
     * on.  TP_OK, or a code and what is wrong in why[0..size). */
    tp_code (*make)(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size);
    /* Frees a batch that nobody took. */
    void (*drop)(void *batch);
    /*
     * May be NULL: every `batch` samples make a batch then, and what is left at the end a smaller one.  Else it cuts
     * an epoch's order[0..length) into batches of its own: it may rearrange order (entries go to make as they are
     * and may carry marks), writes where each batch ends into end[0..length), ascending, and returns their number,
     * negative after a failure.  key: random, the epoch's own.
     */
    int64_t (*cut)(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end);
} tp_dataset;

typedef struct tp_loader_opts {
    int64_t  batch; /* samples a batch: 8 */
    uint64_t seed;
    int64_t  epochs;     /* 0: without end */
    int      prefetch;   /* batches made ahead: 2, at most 64; negative: none, each is made when it is asked for */
    int      threads;    /* that make them: 1, at most 64; more than prefetch are no use.  The order stays the same */
    bool     no_shuffle; /* each epoch in the order 0, 1, 2, ... */
    bool     drop_last;  /* leaves out a last batch that is smaller than the others; with cut it has no effect */
    /* A number >= 0 for every sample, copied: an epoch is then as many draws as there are samples, each in proportion to
     * its weight, with replacement.  NULL: each sample once. */
    const double *weights;
} tp_loader_opts;

/* A place in the data: batch `batch` of epoch `epoch`, both from 0. */
typedef struct tp_loader_place {
    int64_t epoch, batch;
} tp_loader_place;

typedef struct tp_loader tp_loader;

/*
 * tp_loader_new: batches of a data set
 *
 *   data    copied; its user must stay valid until the loader is freed
 *   opts    NULL: the defaults
 *   returns the caller's, for tp_loader_free
 *
 *   The order of epoch e is a permutation drawn from (seed, e): the same on every machine, for any prefetch and number
 *   of threads.
 *
 *   fails   TP_EARG for a data set without samples or functions, options out of range, weights that are negative, no
 *           numbers or all 0
 */
TP_API tp_loader *tp_loader_new(tp_ctx *ctx, const tp_dataset *data, const tp_loader_opts *opts);
/* Ends the threads, at any time, waiting for the batches that they are making; drops those that were made ahead. */
TP_API void tp_loader_free(tp_loader *loader);

/*
 * tp_loader_next: the next batch, the caller's
 *
 *   returns NULL without a failure behind the last epoch
 *   fails   with what make said; the place stays, so after tp_error_clear the next call tries the same batch again.
 *           TP_EARG when the place that was set is none of this data
 */
TP_API void *tp_loader_next(tp_ctx *ctx, tp_loader *loader);
/* Where tp_loader_next goes on: behind the batch that was taken last, however many were made ahead. */
TP_API tp_loader_place tp_loader_tell(const tp_loader *loader);
/* Goes on at the beginning; works on a failed context too. */
TP_API void tp_loader_rewind(tp_loader *loader);
/* Goes on at place.  Fails with TP_EARG for a negative one. */
TP_API void tp_loader_seek(tp_ctx *ctx, tp_loader *loader, tp_loader_place place);
/* Batches of an epoch, from 0; -1 after a failure. */
TP_API int64_t tp_loader_batches(tp_ctx *ctx, const tp_loader *loader, int64_t epoch);

/* The place; number of samples, batch, seed and order must be those of the file. */
TP_API bool tp_loader_state(tp_ctx *ctx, tp_loader *loader, tp_state *st);

#ifdef __cplusplus
}
#endif
#endif
