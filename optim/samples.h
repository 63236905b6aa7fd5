/*
 * samples.h - data sets of numbers: fields of tensors, or a function that gives sample i; parts of them, and batches of
 * them as tensors.
 *
 *     tp_samples *all = tp_samples_new(ctx, TP_IN(x, y)), *train, *test;
 *     tp_samples_split(ctx, all, 0.8, 1, &train, &test);
 *     tp_loader *batches = tp_samples_loader(ctx, train, &(tp_loader_opts){ .batch = 32, .epochs = 10 });
 *     tp_tensor *b[2];
 *
 *     while (tp_samples_next(ctx, batches, b)) ... b[0] is [32, ...] of x, b[1] the same rows of y
 *
 * Whoever makes a tp_samples frees it, after its loaders and before the context.
 */
#ifndef TP_SAMPLES_H
#define TP_SAMPLES_H

#include "optim/loader.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TP_MAX_FIELDS = 16 };

/* What one sample has under a name: dtype and shape.  { "x", TP_F32, 1, { 64 } } is 64 numbers, { "y", TP_I64 } one. */
typedef struct tp_field {
    const char *name; /* for messages, and the key in files; may be NULL where there is no file */
    tp_dtype    t;
    int         ndim;
    int64_t     dim[TP_MAX_DIM - 1];
} tp_field;

typedef struct tp_samples tp_samples;

/*
 * tp_samples_new: sample i is row i of every tensor.
 *
 *   x[i]    [length, ...], the same length, any dtype, at most TP_MAX_FIELDS of them; retained (strided ones are
 *           copied): their values must not change while a loader runs
 *   returns the caller's, for tp_samples_free; NULL after a failure
 *
 *   fails   TP_ESHAPE when the lengths differ or are 0, TP_EARG for no or too many fields
 */
TP_API tp_samples *tp_samples_new(tp_ctx *ctx, int n, tp_tensor *const *x);

/* Writes sample i into place: place[k] has room for what field k says.  TP_OK, or a code and what is wrong in
 * why[0..size).  Called by the loader's threads, perhaps several at a time: no context, no tensor, no parallel region. */
typedef tp_code (*tp_sample_fn)(void *user, int64_t i, void *const *place, char *why, size_t size);

/*
 * tp_samples_of: sample i is what fn gives.
 *
 *   field   n descriptions, copied
 *   user    handed to fn; must stay valid until the samples and all their parts are freed
 *   returns the caller's; NULL after a failure
 *
 *   fails   TP_EARG for no function, a length below 1, no or too many fields; TP_ESHAPE for a shape that is none
 */
TP_API tp_samples *tp_samples_of(tp_ctx *ctx, int64_t length, int n, const tp_field *field, tp_sample_fn fn,
                                 void *user);

/*
 * tp_samples_windows: pieces of one long row, and the same pieces one place further on: what a language model learns
 * from.  Sample i is x[i stride ... i stride + length) and x[i stride + 1 ... i stride + length].
 *
 *   x       [n], any dtype (tp_tokens_read), n > length; retained
 *   stride  0: length, so that windows touch; 1: every place begins one
 *   returns the caller's, with two fields [length]; NULL after a failure
 *
 *   fails   TP_ESHAPE when x has not one axis or is too short, TP_EARG for a length below 1 or a negative stride
 */
TP_API tp_samples *tp_samples_windows(tp_ctx *ctx, tp_tensor *x, int64_t length, int64_t stride);

/*
 * tp_samples_split: two parts without a sample in common, drawn from the seed alone: the same on every machine.
 *
 *   share   of the first part, 0 < share < 1; rounded to whole samples
 *   first, rest   get the parts, the caller's; NULL after a failure.  They stay good when s is freed
 *   returns whether it went well
 *
 *   fails   TP_EARG for a share that leaves a part empty
 */
TP_API bool tp_samples_split(tp_ctx *ctx, const tp_samples *s, double share, uint64_t seed, tp_samples **first,
                             tp_samples **rest);
TP_API void tp_samples_free(tp_samples *s);
/* Samples; 0 for NULL. */
TP_API int64_t tp_samples_length(const tp_samples *s);

/* The loader of s: tp_loader_new, with tp_samples_next to take from it.  s must stay valid until it is freed. */
TP_API tp_loader *tp_samples_loader(tp_ctx *ctx, const tp_samples *s, const tp_loader_opts *opts);
/*
 * tp_samples_next: the next batch as tensors of the innermost scope, one a field: [batch, ...].
 *
 *   out     room for as many tensors as there are fields; all NULL where false is returned, untouched without a loader
 *   returns false behind the last epoch, and after a failure
 *
 *   fails   as tp_loader_next; TP_EARG for a loader that tp_samples_loader did not make
 */
TP_API bool tp_samples_next(tp_ctx *ctx, tp_loader *loader, tp_tensor **out);
/* All samples in order as tensors [length, ...]: for measuring.  Fails with what the function of the samples says. */
TP_API bool tp_samples_all(tp_ctx *ctx, const tp_samples *s, tp_tensor **out);

#ifdef __cplusplus
}
#endif
#endif
