/*
 * module.h - modules: structs that own named parameters and nest.
 *
 * A module is any struct whose first member is a tp_module.  Names follow the Hugging Face checkpoints: the parameter
 * "weight" of the module "q_proj" below "self_attn" ... is "model.layers.3.self_attn.q_proj.weight".  The root's own
 * name does not count.
 */
#ifndef TP_MODULE_H
#define TP_MODULE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_module tp_module;
typedef struct tp_param  tp_param;

/* First member of every layer and model.  Filled by tp_module_init; fields are for reading. */
struct tp_module {
    tp_ctx     *ctx;
    const char *kind; /* "Linear", which is kept for tp_linear */
    const char *name; /* within the parent; "" does not show in paths */
    const char *path; /* from the root */
    tp_module  *parent, *child, *next;
    tp_param   *param;
    bool        training; /* dropout and the like are on; a new module is as its parent is */
    bool        adapter;  /* part of an adapter, not of the base */
    void       *owned;    /* memory freed with the module; NULL when the struct is somebody else's */
    const char *identity; /* of a root: who its frozen weights are, 32 hexadecimal digits; NULL: not known yet */
    void (*on_free)(tp_module *m); /* called first by tp_module_free: what else the struct holds; may be NULL */
};

struct tp_param {
    const char *name;
    tp_tensor **slot; /* the field of the layer that holds it */
    tp_param   *next;
    double      lr_factor; /* its learning rate is the optimiser's times this; 1 */
    bool        no_decay;  /* weight decay leaves it alone */
    bool        buffer;    /* saved, but never trained */
};

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

/* Fills m, whatever was in it, and appends it to parent's children (NULL: a root, in training mode).  The struct around m
 * must outlive its parent's use.
 * Fails with TP_EARG when the parent has a child of that name, or m is in the tree already (it is left alone then). */
TP_API void tp_module_init(tp_ctx *ctx, tp_module *m, tp_module *parent, const char *kind, const char *name);
/* Memory for a module struct of size bytes (at least sizeof(tp_module)), zeroed, freed by tp_module_free; NULL after a
 * failure. */
TP_API void *tp_module_new(tp_ctx *ctx, size_t size, tp_module *parent, const char *kind, const char *name);
/* Releases the parameters of m and of everything below, and takes m out of its parent.  A child may be freed before or
 * with its parent, all of them before the context. */
TP_API void tp_module_free(tp_module *m);

/* The module with this path below root ("layers.3.mlp"), root itself for ""; NULL when there is none, which is no
 * error. */
TP_API tp_module *tp_module_find(tp_module *root, const char *path);
/* Calls fn on m and everything below it, parents first; fn may free or append below the module it is given. */
TP_API void tp_module_walk(tp_module *m, void (*fn)(tp_module *m, void *user), void *user);
/* The tree with kinds, shapes and counts; parameters are marked "trainable", buffers "buffer". */
TP_API void tp_module_print(tp_ctx *ctx, tp_module *m, FILE *f);
/* Switches dropout and the like in m and everything below. */
TP_API void tp_module_set_training(tp_module *m, bool on);

/* While a module's forward runs, messages begin with its path:  b = tp_module_enter(ctx, m); ...; tp_module_leave(ctx,
 * b); */
TP_API const char *tp_module_enter(tp_ctx *ctx, const tp_module *m);
TP_API void        tp_module_leave(tp_ctx *ctx, const char *before);

/* ---- parameters -------------------------------------------------------------------------------------------------- */

/* Creates a parameter of m in *slot: zeros, trainable when dtype is floating.  Give it other values with tp_init_*.
 * The module owns it.  Returns it.  Fails with TP_EARG when m has one of that name. */
TP_API tp_tensor *tp_param_new(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_dtype t, int ndim,
                               const int64_t *dim);
/* The same for a buffer: it is saved with the module but never trained, whatever is unfrozen. */
TP_API tp_tensor *tp_buffer_new(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_dtype t, int ndim,
                                const int64_t *dim);
/* Gives m an existing tensor as a parameter, new or in place of the one in this slot.  Tied weights are one tensor
 * given to two modules.  The module retains it. */
TP_API tp_tensor *tp_param_set(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_tensor *x);
/* The parameter with this full name below root ("model.norm.weight"); of two adapters on a layer the first attached.
 * NULL when there is none, which is no error. */
TP_API tp_param *tp_param_find(tp_module *root, const char *name);
/* Calls fn on each parameter below m with its full name, parents first.  A storage that appears twice (tied
 * weights) comes twice unless unique is set. */
TP_API void tp_module_params(tp_module *m, bool unique,
                             void (*fn)(tp_module *m, tp_param *p, const char *name, void *user), void *user);

typedef struct {
    int64_t all, trainable; /* elements of parameters, each storage once */
    int64_t tensors, trainable_tensors;
    int64_t buffers, buffer_tensors; /* elements of buffers, which are counted here alone */
} tp_count;

/* Counts the parameters below m, and apart from them the buffers, which are never trained; zeros for NULL. */
TP_API tp_count tp_module_count(tp_module *m);
/* Who the weights below root are, without adapters, 32 hexadecimal digits: tp_file_identity of the file they came from,
 * else what it would say of the file they would be saved to, taken at the first call and after an optimiser has been made
 * that trains some of them.  NULL after a failure. */
TP_API const char *tp_module_identity(tp_ctx *ctx, tp_module *root);

/* Makes every parameter below m trainable (but for buffers and integers), or none. */
TP_API void tp_module_freeze(tp_ctx *ctx, tp_module *m);
TP_API void tp_module_unfreeze(tp_ctx *ctx, tp_module *m);
/*
 * tp_module_train_only: trains the parameters whose full name, or a suffix of it after a dot, matches the regex, and
 * freezes all others.
 *
 *   returns how many; 0 after a failure, and then nothing has changed
 *   fails   TP_EARG when a top-level alternative matches no parameter that can be trained (the names are listed)
 */
TP_API int tp_module_train_only(tp_ctx *ctx, tp_module *m, const char *pattern);
/* Drops the gradients of everything below m.  Works on a failed context. */
TP_API void tp_grad_clear(tp_ctx *ctx, tp_module *m);

/* ---- initialisers: write into x, which must not be a strided view, and return it --------------------------------- */

/* Every element is value. */
TP_API tp_tensor *tp_init_constant(tp_ctx *ctx, tp_tensor *x, double value);
/* N(mean, std^2); std >= 0. */
TP_API tp_tensor *tp_init_normal(tp_ctx *ctx, tp_tensor *x, double mean, double std);
/* U(low, high); low <= high. */
TP_API tp_tensor *tp_init_uniform(tp_ctx *ctx, tp_tensor *x, double low, double high);
/* U(-b, b), b = sqrt(6 / ((1 + a^2) fan_in)), fan_in = product of all sizes but the first (He et al. 2015; a = sqrt 5
 * is PyTorch's default for layers and for LoRA's A). */
TP_API tp_tensor *tp_init_kaiming(tp_ctx *ctx, tp_tensor *x, double a);
/* U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010). */
TP_API tp_tensor *tp_init_xavier(tp_ctx *ctx, tp_tensor *x, double gain);
/* gain times a random matrix [size of axis 0, product of the others] with orthonormal rows, or columns where there are
 * more rows (Saxe et al. 2014); x has two axes or more. */
TP_API tp_tensor *tp_init_orthogonal(tp_ctx *ctx, tp_tensor *x, double gain);

#ifdef __cplusplus
}
#endif
#endif
