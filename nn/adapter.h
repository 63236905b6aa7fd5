/*
 * adapter.h - the chain of adapters of a linear layer: small trainable modules that compute the layer in its place.
 *
 * An adapter's forward gets x and returns the layer's output; tp_adapter_next computes what lies below it: the adapter
 * attached before, or the layer itself.  So variants on the output (DiaBlo, LoRA), on the input (OFT) and on the weight
 * (DoRA) fit one signature.  A variant of one's own is a struct that begins with tp_adapter, an init, a forward, and a
 * tp_adapter_type.
 */
#ifndef TP_ADAPTER_H
#define TP_ADAPTER_H

#include "nn/module.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_linear       tp_linear;
typedef struct tp_adapter      tp_adapter;
typedef struct tp_adapter_type tp_adapter_type;

/* First member of every variant's struct.  As a module it is a child of its layer, but its name does not show in paths:
 * the parameter block_A of an adapter on q_proj is "...q_proj.block_A". */
struct tp_adapter {
    tp_module              m;
    const tp_adapter_type *type;
    tp_linear             *linear;
    tp_adapter            *below;    /* next in the chain, NULL: the layer itself */
    bool                   active;   /* takes part in forward; may be set */
    const void            *opts;     /* its options, complete; owned by the adapter */
    const char            *pattern;  /* by which it was attached; NULL when it was not by a pattern */
    tp_tensor             *unmerged; /* the layer's own weight while the adapter is merged into it */
};

typedef enum { TP_OPT_INT, TP_OPT_REAL, TP_OPT_BOOL } tp_opt_kind;

/* A row of a type's table of options: drives the struct, JSON and the command line.  INT fields are int, REAL double,
 * BOOL int.  A value of 0 in the struct means the default, a negative number "really zero / off". */
typedef struct tp_option {
    const char *name;
    size_t      offset;
    tp_opt_kind kind;
    double      standard, low, high; /* default, and the range of what may be given */
    const char *help;
} tp_option;

struct tp_adapter_type {
    const char      *name;      /* "diablo" */
    size_t           size;      /* of the struct that begins with tp_adapter */
    size_t           opts_size; /* of the options struct */
    const tp_option *options;   /* ended by a row without a name; NULL: none */
    /* Creates the parameters for its layer.  The struct is zeroed but for its tp_adapter; ad->opts has defaults filled
     * in. */
    void (*init)(tp_ctx *ctx, tp_adapter *ad);
    /* The layer's output. */
    tp_tensor *(*forward)(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x);
    /* What merging adds to the weight, [out, in] in f32 (f64 for an f64 weight); NULL: the type cannot be merged. */
    tp_tensor *(*delta)(tp_ctx *ctx, tp_adapter *ad);
    /* Parameters that are stored but can never matter (padding); NULL: none. */
    int64_t (*dead)(const tp_adapter *ad);
};

/* What lies below ad, computed from x. */
TP_API tp_tensor *tp_adapter_next(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x);
/*
 * tp_adapter_attach: puts an adapter of this type on the layer, above those that are there.  It is trained; whether the
 * layer is too stays as it is (tp_attach freezes it).  tp_module_free(&ad->m) takes it off again.
 *
 *   opts     the type's options struct, copied; NULL: all defaults
 *   returns  the adapter; NULL after a failure, and then the layer is as it was
 *
 *   fails    TP_EARG when an option is out of range, and what the type's init says
 */
TP_API tp_adapter *tp_adapter_attach(tp_ctx *ctx, tp_linear *linear, const tp_adapter_type *type, const void *opts);

#ifdef __cplusplus
}
#endif
#endif
