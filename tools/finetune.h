/* finetune.h - the state of a finetune run, shared by its plan, its callbacks and its command. */
#ifndef FINETUNE_H
#define FINETUNE_H

#include "tapir.h"
#include "tools/cli.h"
#include "tools/run_folder.h"

/* A file's content, and what a run comes from; hashes are of 32 digits, "" where there is nothing. */
typedef struct run_source {
    int64_t bytes;
    char    hash[33];
} run_source;

typedef struct run_origin {
    run_source data, valid;
    int64_t    parent_step;
    char       parent[33]; /* the identity of the checkpoint before */
} run_origin;

typedef struct finetune {
    const cli  *c;
    tp_ctx     *ctx;
    tp_llama   *model;
    tp_data    *data, *valid;
    tp_optim   *opt;
    run_folder  folder;
    tp_lm_batch last; /* the newest batch, retained: to find where a NaN came from */
    int64_t     steps, batches; /* of the run; batches an epoch */
    bool        full;
    bool        best_saved;
    double      peak_mib;
    const char *identity;   /* of the base as it was loaded */
    const char *checkpoint; /* that the run goes on from; NULL: it begins anew */
    const char *train_json; /* options that change results */
    run_origin  from;
    bool        same_folder; /* the checkpoint is one of this run's folder */
    int64_t     first;       /* steps that were done before */
    tp_progress progress;
    const volatile int *stop; /* a signal has come */
} finetune;

/* Callbacks of tp_train. */
tp_tensor *finetune_loss(tp_ctx *ctx, void *user, tp_batch_info *info);
bool       finetune_on_step(tp_ctx *ctx, void *user, const tp_step_info *info);
double     finetune_validate(tp_ctx *ctx, void *user);
void       finetune_on_validation(tp_ctx *ctx, void *user, int64_t step, double loss, bool best);
void       finetune_drop_batch(finetune *t);
/* After a NaN: runs the last batch again, looking at every op, and completes the error with what it finds. */
void       finetune_find_nan(finetune *t);
/* The adapter, or the whole model, under that name of the run folder (adapter.h5 or model.h5; last.h5). */
bool       finetune_save(finetune *t, bool last);
tp_schedule finetune_schedule(const finetune *t);
/* --show-samples and --dry-run. */
void       finetune_show_samples(finetune *t, int64_t n);
void       finetune_show_plan(finetune *t);

#endif
