/*
 * data.h - text to train on: a file of JSON lines, tokenised when it is opened, in batches without end.
 *
 * A line is an object of one of these kinds, the first whose keys are there:
 *
 *   messages             [{"role": "system", "content": TEXT}, ...], roles system, user, assistant; every turn of the
 *                        assistant is trained on, with its end token
 *   prompt, completion   one turn of the user and its answer, which is trained on with its end token
 *   instruction, output  the same, with an optional input behind the instruction
 *   text                 trained on as a whole, eos behind it, bos in front only where the tokenizer puts one
 *
 * Other keys are passed over, and named once by a note.  Blank lines are skipped.
 */
#ifndef TP_TEXT_DATA_H
#define TP_TEXT_DATA_H

#include "models/llama.h"
#include "models/text/tokenizer.h"
#include "optim/loader.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of a sample of more than max_len tokens. */
typedef enum { TP_OVERFLOW_DROP, TP_OVERFLOW_CUT, TP_OVERFLOW_ERROR } tp_overflow;

typedef struct tp_data_opts {
    int64_t     batch; /* samples a batch: 8; with pack, rows */
    uint64_t    seed;
    int64_t     epochs;   /* 0: without end */
    int64_t     max_len;  /* most tokens of a sample, and of a row: 512 */
    tp_overflow overflow; /* drop; cut keeps the beginning */
    /* "model" (the default: what the tokenizer came with, "none" when it came with none), "chatml", "alpaca", or
     * "none": ids of the prompt, ids of the completion, eos, tokenised apart */
    const char *template_name;
    bool        pack;            /* as many samples in a row as fit, each seeing itself alone */
    bool        group_by_length; /* batches of samples of like lengths; not with pack */
    bool        share_rows; /* a batch has the same samples, but short ones share a row: the same loss, less padding */
    bool        no_shuffle; /* in the order of the file */
    int         prefetch;   /* batches made ahead by a thread: 2; negative: none */
} tp_data_opts;

/* A sample, borrowed from the data. */
typedef struct tp_data_item {
    const int32_t *id;
    const bool    *trained; /* whether the token is trained on */
    int64_t        n;
    int64_t        line; /* in the file, from 1 */
} tp_data_item;

typedef struct tp_data_count {
    int64_t samples, tokens, target_tokens; /* of an epoch */
    int64_t dropped; /* samples left out: too long, or nothing of the answer was left by cutting */
    int64_t cut;     /* samples shortened */
    int64_t longest; /* tokens of the longest, before dropping and cutting */
    int64_t blank;   /* lines */
    int64_t batches; /* of the first epoch; with pack the others may have a few more or less */
    int64_t places;  /* of these batches, with padding */
} tp_data_count;

typedef struct tp_data tp_data;

/*
 * tp_data_open: reads and checks the whole file, and tokenises it
 *
 *   path    of the file
 *   tok     must stay valid until the data is freed
 *   opts    NULL: the defaults
 *   returns the caller's, for tp_data_free
 *
 *   Control tokens written in the texts are plain text.  What stands behind the last token that is trained on is left
 *   out.  One note names the keys that are not used, one warning tells how many samples were too long.
 *
 *   fails   TP_EIO with the path; TP_EFORMAT with file:line:column for a line that is no JSON object, is of none of
 *           the kinds, has no token to be trained on, or more than 16 MiB; TP_EARG for too long a sample with
 *           TP_OVERFLOW_ERROR, turns that the template refuses, a file without a usable line, options out of range
 */
TP_API tp_data *tp_data_open(tp_ctx *ctx, const char *path, const tp_tokenizer *tok, const tp_data_opts *opts);
/* At any time; NULL is allowed. */
TP_API void tp_data_free(tp_data *data);

/*
 * tp_data_next: the next batch, tensors in the innermost scope
 *
 *   Rows are padded on the right (id 0, no target, sees nothing) to a common width: a multiple of 16, or of what
 *   makes rows x width a multiple of 64 where that adds little, never beyond max_len.  target[t] belongs to the logits
 *   at t: it is the token at t + 1 of the same sample if that is trained on, else -1.  range is there when a row is
 *   padded or packed, pos when packed.
 *
 *   returns ids NULL without a failure behind the last epoch
 */
TP_API tp_lm_batch tp_data_next(tp_ctx *ctx, tp_data *data);
/* Begins again with the first batch of the first epoch. */
TP_API void tp_data_rewind(tp_data *data);
/* Where tp_data_next goes on, to be saved; the same data with the same options goes on there. */
TP_API tp_loader_place tp_data_tell(const tp_data *data);
TP_API void            tp_data_seek(tp_ctx *ctx, tp_data *data, tp_loader_place place);
/* The place, in a checkpoint (nn/state.h); the samples themselves, and the options that order them, must be those of the
 * file. */
TP_API bool            tp_data_state(tp_ctx *ctx, tp_data *data, tp_state *st);

/* What was found in the file. */
TP_API tp_data_count tp_data_counts(const tp_data *data);
/* Sample i, from 0 in the order of the file.  Fails with TP_EARG when there is none. */
TP_API bool tp_data_sample(tp_ctx *ctx, const tp_data *data, int64_t i, tp_data_item *item);

#ifdef __cplusplus
}
#endif
#endif
