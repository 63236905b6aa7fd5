/*
 * state.h - what a program keeps in a file and finds there again: modules, optimisers, places in data, numbers, tensors
 * of its own.
 *
 * One function of the program's names everything, and serves both ways:
 *
 *       static void everything(tp_ctx *ctx, void *user, tp_state *st)
 *       {
 *           struct mine *m = user;
 *
 *           tp_module_state(ctx, &m->net.m, st);
 *           tp_optim_state(ctx, m->opt, st);
 *           tp_random_state(ctx, st);
 *           tp_state_tensor(ctx, st, "mine", "mean", m->mean);
 *           tp_state_int(ctx, st, "mine", "round", &m->round);
 *       }
 *
 *       tp_state_save(ctx, "round.h5", "training", everything, &m);
 *       tp_state_load(ctx, "round.h5", everything, &m, NULL);
 *
 * Tensors stand in the file under section and name, numbers and texts as attributes of `where`: NULL for the whole file,
 * a section, or "section/name" of a tensor (or of a group of tensors, "mine/layers.3").  Equal content gives equal bytes.
 */
#ifndef TP_STATE_H
#define TP_STATE_H

#include "nn/module.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_state tp_state;

/* Names what belongs to the state, by the calls below, in any order.  It runs twice: for saving first to see how much room
 * that needs, for loading first to see whether everything fits, while nothing is changed; then to save or to load. */
typedef void (*tp_state_fn)(tp_ctx *ctx, void *user, tp_state *st);

typedef struct tp_load_opts {
    bool fit;     /* loads what fits; what does not is told by messages and left as it is */
    bool convert; /* a floating tensor may have another floating dtype in the file: rounded to nearest even */
    bool verify;  /* reads the file twice, first to see that it is undamaged: damage then changes nothing */
} tp_load_opts;

/*
 * tp_state_save: a file of what fn names; it appears at path whole, flushed to the disk, or not at all
 *
 *   kind    "model", "adapter", "training", "tokens", "tensors" (of one's own), see tp_writer_open
 *
 *   fails   TP_EIO with the path, also before anything is written where the file system has no room for it; what
 *           tp_writer_tensor and fn fail with.  Then path is as it was
 */
TP_API bool tp_state_save(tp_ctx *ctx, const char *path, const char *kind, tp_state_fn fn, void *user);
/*
 * tp_state_load: what fn names from such a file; tensors also from the other files of tp_file_open, whose names are those
 * of section "model".  Needs memory for one tensor beside those that it fills.
 *
 *   opts    NULL: everything must be there and fit
 *
 *   fails   TP_EFORMAT naming everything at once that does not fit: missing, another shape or dtype, another value where
 *           the same is expected, and tensors of the file that nobody asked for in the sections that fn uses; what has no
 *           room in the error is told by messages.  Nothing is changed then.
 *           TP_EFORMAT, TP_EIO while reading values: what was loaded before stays loaded
 */
TP_API bool tp_state_load(tp_ctx *ctx, const char *path, tp_state_fn fn, void *user, const tp_load_opts *opts);
/* Whether st is being saved to. */
TP_API bool tp_state_saving(const tp_state *st);

/* ---- what fn calls: each saves, checks or loads; false after a failure ------------------------------------------------- */

/* The values of x, which has shape and dtype already; any strides. */
TP_API bool tp_state_tensor(tp_ctx *ctx, tp_state *st, const char *section, const char *name, tp_tensor *x);
/* Saves *x; loading sets *x to a new tensor of the file's shape and dtype, of the scope that is open around
 * tp_state_load. */
TP_API bool tp_state_new(tp_ctx *ctx, tp_state *st, const char *section, const char *name, tp_tensor **x);
/* Whether the file has that tensor; true while saving.  For what may be missing. */
TP_API bool tp_state_has(tp_ctx *ctx, tp_state *st, const char *section, const char *name);
TP_API bool tp_state_int(tp_ctx *ctx, tp_state *st, const char *where, const char *key, int64_t *v);
/* Every bit of it; of NaN, that it is one. */
TP_API bool tp_state_real(tp_ctx *ctx, tp_state *st, const char *where, const char *key, double *v);
/* *text is saved, or set to one that lives as long as ctx.  Where "config" or "tokenizer" it is a text of the file
 * (tp_writer_text) of any length, else an attribute of at most 60,000 bytes. */
TP_API bool tp_state_text(tp_ctx *ctx, tp_state *st, const char *where, const char *key, const char **text);

/* The same value must be in the file: what makes the state mean something else. */
TP_API bool tp_state_same_int(tp_ctx *ctx, tp_state *st, const char *where, const char *key, int64_t v);
TP_API bool tp_state_same_real(tp_ctx *ctx, tp_state *st, const char *where, const char *key, double v);
TP_API bool tp_state_same_text(tp_ctx *ctx, tp_state *st, const char *where, const char *key, const char *text);

/* ---- states of modules and random numbers -------------------------------------------------------------------------------- */

/* Every parameter of m and below, under its full name: of the base in section "model", of adapters in "adapter".  Tied
 * weights are stored once, under two names. */
TP_API bool tp_module_state(tp_ctx *ctx, tp_module *m, tp_state *st);
/* Those that are trained, all of adapters, buffers and integers; where the whole base is frozen, its tp_module_identity, which
 * must be the same. */
TP_API bool tp_module_trained_state(tp_ctx *ctx, tp_module *m, tp_state *st);
/* Seed, step and place within the step. */
TP_API bool tp_random_state(tp_ctx *ctx, tp_state *st);

/* tp_state_save of kind "model", and tp_state_load, of tp_module_state alone. */
TP_API bool tp_module_save(tp_ctx *ctx, tp_module *m, const char *path);
TP_API bool tp_module_load(tp_ctx *ctx, tp_module *m, const char *path, const tp_load_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
