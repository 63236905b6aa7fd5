/*
 * peft.h - parameter-efficient finetuning: attaching adapters to a model, merging, saving and loading them, and the
 * variants that come with the library.  A variant of one's own is a tp_adapter_type (nn/adapter.h); everything here
 * works with it.
 */
#ifndef TP_PEFT_H
#define TP_PEFT_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_attach: gives an adapter to every Linear whose path matches the pattern, and freezes what is no adapter's.
 *
 *   pattern  a regex that must match a module's whole path or what follows one of its dots; each of its top-level
 *            alternatives must match something: "(q|k|v|up|down)_proj"
 *   opts     the type's options; 0 means the default, a negative number really zero; NULL: all defaults
 *   returns  how many layers got one; 0 after a failure, and then nothing has changed
 *
 *   fails    TP_EARG when an alternative matches no layer (the names that exist are listed), or options do not fit
 *            a layer
 */
TP_API int tp_attach(tp_ctx *ctx, tp_module *root, const char *pattern, const tp_adapter_type *type, const void *opts);
/* Switches all adapters below root on or off; off, the model is the base.  Fails with TP_EARG for off while one is
 * merged. */
TP_API void tp_adapters_activate(tp_ctx *ctx, tp_module *root, bool on);
/* Frees all adapters below root.  What was merged stays in the weights; what was frozen stays frozen.  Works on a
 * failed context. */
TP_API void tp_adapters_detach(tp_ctx *ctx, tp_module *root);

typedef struct {
    int     layers;                /* with an adapter */
    int64_t trainable, dead, base; /* elements: of adapters, of these never used (padding), of everything else */
} tp_adapter_count;

/* Counts the adapters below root; zeros for NULL. */
TP_API tp_adapter_count tp_adapters_count(tp_module *root);

/*
 * tp_merge: w += delta for every active adapter, the sum made in f32 (f64 for f64) and rounded once.  The layer's own
 * weight is put aside, so that tp_unmerge restores every bit.  Merged adapters no longer take part in forward.
 *
 *   returns the number of adapters merged; 0 after a failure, and then nothing has changed
 *   fails   TP_EARG for a type without delta, TP_ESHAPE for a delta that is not as w
 */
TP_API int tp_merge(tp_ctx *ctx, tp_module *root);
/* Gives the layers below root their own weights back, and makes what was merged active again.  Returns the number of
 * adapters. */
TP_API int tp_unmerge(tp_ctx *ctx, tp_module *root);

/*
 * tp_adapter_save: the adapters below root as a Tapir adapter file (HDF5): tensors /adapter/<path>/<name>,
 * config/adapter.json with method, options, targets, and the identity of the base.  Layers may have different types and
 * options, each of them one adapter. Written beside path and renamed; path is as it was after a failure.
 */
TP_API bool tp_adapter_save(tp_ctx *ctx, tp_module *root, const char *path);

/* The adapters below root in a checkpoint (nn/state.h), as tp_adapter_save writes them: such a checkpoint can be given to
 * tp_adapter_load too.  To load it as a state, the adapters are attached first; types, options and base must be those of
 * the file. */
TP_API bool tp_adapters_state(tp_ctx *ctx, tp_module *root, tp_state *st);

typedef struct {
    bool any_base; /* load although the file was trained on another base, where names and shapes fit */
    bool frozen;   /* not to be trained further */
    const tp_adapter_type *const *types; /* further types, ended by NULL; those of the library are known */
} tp_adapter_load_opts;

/*
 * tp_adapter_load: attaches what the file holds, on top of adapters of other types, and freezes the base.
 *
 *   path     a Tapir adapter file, or a PEFT folder: adapter_model.safetensors and adapter_config.json of type LORA
 *   returns  the number of layers; 0 after a failure, and then nothing has changed
 *
 *   fails    TP_EFORMAT for a file that is none, is damaged, or lacks a parameter of an adapter; TP_EARG for another
 *            base (both identities are named), for a layer that the model does not have or that has an adapter of this
 *            type; TP_ESHAPE
 */
TP_API int tp_adapter_load(tp_ctx *ctx, tp_module *root, const char *path, const tp_adapter_load_opts *opts);

/* An adapter in a file, for merging it into weights that are no model in memory. */
typedef struct tp_adapter_file tp_adapter_file;

/* Opens what tp_adapter_load takes, path and opts alike; to be closed before ctx is freed.  NULL after a failure. */
TP_API tp_adapter_file *tp_adapter_open(tp_ctx *ctx, const char *path, const tp_adapter_load_opts *opts);
/* Works on a failed context, and with NULL. */
TP_API void tp_adapter_close(tp_adapter_file *a);
/* How many layers it is for, 0 for NULL. */
TP_API int64_t tp_adapter_layers(const tp_adapter_file *a);
/*
 * tp_adapter_fits: whether base holds the weights that the adapter was trained on: its identity is the one that the file
 * names (a warning with any_base), and it has a weight for each of its layers.
 *
 *   fails   TP_EARG for another base or one that lacks a layer
 */
TP_API bool tp_adapter_fits(tp_ctx *ctx, tp_adapter_file *a, tp_file *base);
/*
 * tp_adapter_merged: the weight of that name with its adapter merged in, w + delta in f64, not rounded,
 *
 *   a       tp_adapter_fits has been asked
 *   name    "model.layers.0.self_attn.q_proj.weight"
 *   w       [out, in]  any floating dtype
 *   returns [out, in]  f64; NULL without a failure when the adapter has nothing for this weight
 *
 *   fails   as tp_adapter_load and tp_merge
 */
TP_API tp_tensor *tp_adapter_merged(tp_ctx *ctx, tp_adapter_file *a, const char *name, tp_tensor *w);

/* ---- variants ---------------------------------------------------------------------------------------------------- */

typedef struct {
    int    blocks;  /* N, 64 */
    double dropout; /* on the adapter's input only, 0 */
} tp_diablo_opts;

/*
 * DiaBlo: y = W x + b + blockdiag(A_1 .. A_N') x, only the A are trained (Gurses et al., "DiaBlo: diagonal blocks are
 * sufficient for finetuning", arXiv 2506.03230; semantics of its official code).
 *
 *       bi = ceil(in / N)   bo = ceil(out / N)   N' = max(ceil(in / bi), ceil(out / bo))
 *       y[k bo + j] += sum_i drop(x)[k bi + i] A[k, i, j],  columns beyond in and out do not exist
 *
 * block_A is f32 [N', bi, bo] (f64 for an f64 weight), zero at the start.  Merge: W[k bo + j, k bi + i] += A[k, i, j].
 * N beyond max(in, out) is TP_EARG.
 */
TP_API extern const tp_adapter_type tp_diablo;

typedef struct {
    int    rank;    /* 16 */
    double alpha;   /* 32 */
    double dropout; /* on the adapter's input only, 0 */
} tp_lora_opts;

/*
 * LoRA: y = W x + b + (alpha / rank) B A drop(x) (Hu et al. 2021, equation 3; semantics of Hugging Face PEFT).
 *
 * lora_A f32 [rank, in] ~ U(-1/sqrt(in), 1/sqrt(in)), lora_B f32 [out, rank] zero (f64 for an f64 weight).
 */
TP_API extern const tp_adapter_type tp_lora;

#ifdef __cplusplus
}
#endif
#endif
