/*
 * train.h - the training loop: accumulation, clipping, schedule, validation, log, best state, early stopping,
 * interruption, checkpoints.  Generic over callbacks: it knows nothing of text or models.
 */
#ifndef TP_TRAIN_H
#define TP_TRAIN_H

#include "optim/loader.h"
#include "optim/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a batch was, filled by tp_train_plan.loss. */
typedef struct {
    double  count;  /* what the sum of losses is divided by: target tokens, samples */
    int64_t tokens; /* processed, without padding */
    int64_t sample; /* number of the first sample, and its line in the file (0: not known): for messages */
    int64_t line;
} tp_batch_info;

/* What a step was; floats are exact. */
typedef struct {
    int64_t step;          /* from 1 */
    int64_t steps;         /* of the whole run */
    double  loss;          /* mean over the step's targets */
    double  lr, grad_norm; /* norm before clipping */
    int64_t tokens, target_tokens;
    double  seconds; /* of this step, with waiting for data */
    double  elapsed; /* since the first step began */
} tp_step_info;

/* How far a run has come: all that the loop itself keeps from step to step.  Zeros: at the beginning. */
typedef struct tp_progress {
    int64_t step;      /* done */
    int64_t validated; /* the last step after which it was validated */
    int64_t best_step; /* of the best validation; 0: none yet */
    int64_t worse;     /* validations since then */
    int64_t tokens;    /* processed, without padding */
    double  last_loss, best_loss;
} tp_progress;

typedef struct tp_train_plan {
    tp_module  *root;
    tp_optim   *opt;
    double      lr;       /* before the schedule; 0: that of opt; negative: really 0 */
    tp_schedule schedule; /* its steps 0: those of the plan */
    int64_t     steps;
    int64_t     accum;      /* batches a step; 0: 1 */
    double      clip;       /* 0: none */
    int64_t     eval_every; /* steps; 0: never */
    int64_t     patience;   /* validations without a better one before it stops; 0: no early stop */
    void       *user;
    /* The SUM of losses of the next batch, one element, recorded; info filled.  NULL with nothing failed: no data left,
     * which ends the run after a step with the batches that there were. */
    tp_tensor *(*loss)(tp_ctx *ctx, void *user, tp_batch_info *info);
    /* After each step; may be NULL.  False ends the run. */
    bool (*on_step)(tp_ctx *ctx, void *user, const tp_step_info *info);
    /* The validation loss, with recording and training off; also after the last step.  May be NULL. */
    double (*validate)(tp_ctx *ctx, void *user);
    /* After a validation; best: it was the best so far (NaN never is).  May be NULL. */
    void (*on_validation)(tp_ctx *ctx, void *user, int64_t step, double loss, bool best);
    /* Set to non-zero by a signal handler: the step is finished, then the run ends with interrupted.  May be NULL. */
    const volatile int *stop;
    int64_t             stop_after; /* ends the run, which stays one of `steps`, after this step; 0: never */
    int64_t             save_every; /* steps; 0: never */
    /* A checkpoint is due: every save_every steps behind a validation, and where the run is ended by stop or
     * stop_after.  False ends the run.  May be NULL. */
    bool (*save)(tp_ctx *ctx, void *user, const tp_progress *progress);
    /* Where the run begins and, afterwards, what it has come to; NULL: at the beginning.  A run that goes on from a
     * checkpoint has it loaded, with everything else of the state, before tp_train. */
    tp_progress *progress;
} tp_train_plan;

typedef struct {
    int64_t steps; /* done */
    double  last_loss;
    double  best_loss; /* of the validations; NaN when there was none */
    int64_t best_step;
    bool    stopped_early, interrupted, out_of_data;
    bool    paused; /* by stop_after */
    double  seconds;
} tp_train_result;

/*
 * tp_train: runs the plan, the modules in training mode.  Gradients from before are dropped.  Before each step the
 * random numbers are set to the step's own (tp_set_step), so that a run depends on its seed and step alone.  A NaN or
 * Inf in loss or gradients stops it with TP_ENUM before the weights are touched, naming step and sample.  After a
 * failure the gradients of the step are dropped.
 *
 *   returns false after a failure; the result is filled all the same
 */
TP_API bool tp_train(tp_ctx *ctx, const tp_train_plan *plan, tp_train_result *result);

/* ---- checkpoints (nn/state.h) ---------------------------------------------------------------------------------------- */

/* How far it has come, in a checkpoint. */
TP_API bool tp_progress_state(tp_ctx *ctx, tp_progress *progress, tp_state *st);

/* What a training program goes on with; what is NULL it does not have. */
typedef struct tp_training {
    tp_module         *root; /* of it, what is trained (tp_module_trained_state) */
    tp_optim          *opt;
    const tp_schedule *schedule;
    tp_loader         *loader;
    tp_progress       *progress;
    tp_state_fn        more; /* the program's own: tensors, numbers, tp_data_state, tp_adapters_state */
    void              *user;
} tp_training;

/* All of it, and the random numbers. */
TP_API bool tp_training_state(tp_ctx *ctx, const tp_training *t, tp_state *st);
/* tp_state_save of kind "training", and tp_state_load, of tp_training_state alone: resumed is as never stopped, bit for
 * bit. */
TP_API bool tp_training_save(tp_ctx *ctx, const tp_training *t, const char *path);
TP_API bool tp_training_load(tp_ctx *ctx, const tp_training *t, const char *path, const tp_load_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
