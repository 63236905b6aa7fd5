/*
 * optimizer.h - optimisers, clipping, schedules.
 *
 * A step:  tp_backward(ctx, loss);  tp_clip_norm(ctx, opt, 1.0);  tp_optim_step(ctx, opt);
 * The step uses the gradients up: they stay readable, and the next backward overwrites them.
 */
#ifndef TP_OPTIMIZER_H
#define TP_OPTIMIZER_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_optim tp_optim;

/* Parameters whose full name matches the pattern (as in tp_module_train_only) get these instead; the first group that
 * matches counts.  An alternative of the pattern that matches nothing that is trained is TP_EARG. */
typedef struct {
    const char *pattern;
    double      lr_factor;    /* 0: 1; negative: really 0 */
    double      weight_decay; /* 0: the optimiser's; negative: really 0 */
} tp_group;

/* In all options: 0 is the default, a negative number really 0. */
typedef struct {
    double          lr;           /* 1e-3 */
    double          beta1, beta2; /* 0.9, 0.999 */
    double          eps;          /* 1e-8 */
    double          weight_decay; /* 0 */
    const tp_group *groups;
    int             n_groups;
} tp_adamw_opts;

typedef struct {
    double          lr;           /* 1e-2 */
    double          momentum;     /* 0 */
    double          dampening;    /* 0 */
    bool            nesterov;     /* needs a momentum and no dampening */
    double          weight_decay; /* 0 */
    const tp_group *groups;
    int             n_groups;
} tp_sgd_opts;

typedef struct {
    double          lr;           /* 1e-4 */
    double          beta1, beta2; /* 0.9, 0.99 */
    double          weight_decay; /* 0 */
    const tp_group *groups;
    int             n_groups;
} tp_lion_opts;

/*
 * tp_adamw_new: Adam with decoupled weight decay (Loshchilov and Hutter 2019), for the parameters below root that are
 * trainable now,
 *
 *       p *= 1 - lr decay;   m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
 *       p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * Moments are f32 (f64 for f64); a bf16 or f16 parameter gets a master copy in f32, made anew when somebody else writes
 * into the parameter.  t counts the steps in which the parameter had a gradient.  The optimiser retains what it trains.
 *
 *   returns NULL after a failure: TP_EARG when nothing is trainable, an option is out of range, or two parameters are
 *           different views of one storage (tied weights are one tensor given to two modules)
 */
TP_API tp_optim *tp_adamw_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts);
/* Adam (Kingma and Ba 2015): weight decay is added to the gradient. */
TP_API tp_optim *tp_adam_new(tp_ctx *ctx, tp_module *root, const tp_adamw_opts *opts);
/* m = momentum m + (1 - dampening) g (the first step: m = g);  p -= lr m  (nesterov: lr (g + momentum m)); decay is
 * added to g. */
TP_API tp_optim *tp_sgd_new(tp_ctx *ctx, tp_module *root, const tp_sgd_opts *opts);
/* Lion (Chen et al. 2023): p *= 1 - lr decay; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g. */
TP_API tp_optim *tp_lion_new(tp_ctx *ctx, tp_module *root, const tp_lion_opts *opts);
/* Before or after the module, but before the context. */
TP_API void tp_optim_free(tp_optim *opt);

/* One step with the gradients there are; parameters without a new one are left alone.  Fails with TP_EARG when none has
 * a new one, or a backward before it failed half-way (tp_grad_clear makes them good again). */
TP_API bool tp_optim_step(tp_ctx *ctx, tp_optim *opt);
/* The learning rate of later steps; below 0 or NaN is passed over. */
TP_API void   tp_optim_set_lr(tp_optim *opt, double lr);
TP_API double tp_optim_lr(const tp_optim *opt);
/* Steps done so far. */
TP_API int64_t tp_optim_steps(const tp_optim *opt);
/* Elements trained. */
TP_API int64_t tp_optim_size(const tp_optim *opt);

/* The next step takes every gradient times s (and tp_grad_norm counts it so): one division for an accumulated batch
 * whose sums were back-propagated. */
TP_API void tp_optim_scale(tp_optim *opt, double s);
/* sqrt of the sum of squares of all gradients of the next step; NaN after a failure. */
TP_API double tp_grad_norm(tp_ctx *ctx, tp_optim *opt);
/* Scales the next step's gradients by min(1, max / (norm + 1e-6)), as PyTorch; returns the norm before.  max <= 0: no
 * clipping. */
TP_API double tp_clip_norm(tp_ctx *ctx, tp_optim *opt, double max);
/* Cuts every element of the next step's gradients to [-max, max]; max > 0. */
TP_API bool tp_clip_value(tp_ctx *ctx, tp_optim *opt, double max);

/* ---- schedules --------------------------------------------------------------------------------------------------- */

typedef enum { TP_LINEAR, TP_COSINE, TP_CONSTANT } tp_decay;

typedef struct {
    tp_decay decay;
    int64_t  steps;  /* of the whole run; 0: no end, and so no decay */
    int64_t  warmup; /* steps */
    double (*fn)(void *user, int64_t step); /* a schedule of one's own: the factor; the fields above do not count */
    void    *user;
} tp_schedule;

/*
 * tp_schedule_factor: what the learning rate is multiplied by at step s (from 0),
 *
 *       s < warmup     (s + 1) / warmup
 *       linear         (steps - s) / (steps - warmup)
 *       cosine         (1 + cos(pi (s - warmup) / (steps - warmup))) / 2
 *       constant       1
 *
 * From the end of the run on it stays at the last value: 0, but for constant.  NULL is constant.
 */
TP_API double tp_schedule_factor(const tp_schedule *schedule, int64_t step);

/* ---- states: what a checkpoint has of them (nn/state.h) ------------------------------------------------------------ */

/* Moments and masters by the names of their parameters, the steps of each, learning rate, and gradients that wait for the
 * next step.  Rule, betas, eps and decay must be those of the file.  Before or after the state of the module. */
TP_API bool tp_optim_state(tp_ctx *ctx, tp_optim *opt, tp_state *st);
/* A schedule depends on the step alone: it must be that of the file.  NULL is constant. */
TP_API bool tp_schedule_state(tp_ctx *ctx, const tp_schedule *schedule, tp_state *st);

#ifdef __cplusplus
}
#endif
#endif
