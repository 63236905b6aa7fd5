/*
 * layers.h - the layers: Linear, Embedding, RMSNorm, LayerNorm, Dropout.  Each is a transparent struct, filled by its
 * init, run by its forward, freed with its parent.
 */
#ifndef TP_LAYERS_H
#define TP_LAYERS_H

#include "nn/adapter.h"
#include "nn/module.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = x w^T + b, or what its adapters make of it. */
struct tp_linear {
    tp_module   m;
    tp_tensor  *w;        /* [out, in] */
    tp_tensor  *b;        /* [out] or NULL */
    tp_adapter *adapters; /* the outermost; NULL: none */
};

/* w ~ U(-1/sqrt(in), 1/sqrt(in)) and b alike, as PyTorch. */
TP_API void tp_linear_init(tp_ctx *ctx, tp_linear *l, tp_module *parent, const char *name, int64_t in, int64_t out,
                           bool bias, tp_dtype t);
/* x [..., in] -> [..., out], dtype of x. */
TP_API tp_tensor *tp_linear_forward(tp_ctx *ctx, tp_linear *l, tp_tensor *x);
/* The same without adapters. */
TP_API tp_tensor *tp_linear_base(tp_ctx *ctx, tp_linear *l, tp_tensor *x);

/* y[..., :] = w[ids[...], :] */
typedef struct tp_embedding {
    tp_module  m;
    tp_tensor *w; /* [rows, d] */
} tp_embedding;

/* w ~ N(0, 1), as PyTorch. */
TP_API void tp_embedding_init(tp_ctx *ctx, tp_embedding *e, tp_module *parent, const char *name, int64_t rows,
                              int64_t d, tp_dtype t);
/* ids [...], i32 or i64 -> [..., d]. */
TP_API tp_tensor *tp_embedding_forward(tp_ctx *ctx, tp_embedding *e, tp_tensor *ids);

/* y = x / rms(x) w */
typedef struct tp_rms_norm {
    tp_module  m;
    tp_tensor *w; /* [d], ones */
    double     eps;
} tp_rms_norm;

/* w = 1; eps is what tp_rmsnorm adds to the mean square. */
TP_API void tp_rms_norm_init(tp_ctx *ctx, tp_rms_norm *n, tp_module *parent, const char *name, int64_t d, double eps,
                             tp_dtype t);
/* x [..., d] -> [..., d]: tp_rmsnorm. */
TP_API tp_tensor *tp_rms_norm_forward(tp_ctx *ctx, tp_rms_norm *n, tp_tensor *x);

/* y = (x - mean) / std w + b */
typedef struct tp_layer_norm {
    tp_module  m;
    tp_tensor *w, *b; /* [d]: ones, zeros */
    double     eps;
} tp_layer_norm;

/* w = 1, b = 0; eps is what tp_layernorm adds to the variance. */
TP_API void tp_layer_norm_init(tp_ctx *ctx, tp_layer_norm *n, tp_module *parent, const char *name, int64_t d,
                               double eps, tp_dtype t);
/* x [..., d] -> [..., d]: tp_layernorm. */
TP_API tp_tensor *tp_layer_norm_forward(tp_ctx *ctx, tp_layer_norm *n, tp_tensor *x);

/* Drops each element with probability p while m.training is set. */
typedef struct tp_dropout_layer {
    tp_module m;
    double    p;
} tp_dropout_layer;

/* 0 <= p < 1. */
TP_API void tp_dropout_init(tp_ctx *ctx, tp_dropout_layer *d, tp_module *parent, const char *name, double p);
/* tp_dropout(x) while d is training, else x itself. */
TP_API tp_tensor *tp_dropout_forward(tp_ctx *ctx, tp_dropout_layer *d, tp_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
