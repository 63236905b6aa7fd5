/*
 * nets.h - layers and containers for networks of one's own: Conv2d, BatchNorm, GroupNorm, multi-head attention, MLP,
 * Sequential, lists of modules.  Names are PyTorch's.  A parameter is shared by giving it to two modules with
 * tp_param_set.
 */
#ifndef TP_NETS_H
#define TP_NETS_H

#include "nn/layers.h"
#include "nn/module.h"
#include "ops/conv.h"
#include "ops/norm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* y = conv2d(x, w) + b */
typedef struct tp_conv2d_layer {
    tp_module    m;
    tp_tensor   *w; /* [out, in / groups, kernel_h, kernel_w] */
    tp_tensor   *b; /* [out] or NULL */
    tp_conv_opts opts;
} tp_conv2d_layer;

/* w ~ U(-1/sqrt(n), 1/sqrt(n)), n = in / groups kernel_h kernel_w, and b alike, as PyTorch; opts as of tp_conv2d. */
TP_API void tp_conv2d_init(tp_ctx *ctx, tp_conv2d_layer *l, tp_module *parent, const char *name, int64_t in, int64_t out,
                           int64_t kernel_h, int64_t kernel_w, bool bias, tp_dtype t, const tp_conv_opts *opts);
/* x [N, in, H, W] -> [N, out, P, Q]: tp_conv2d. */
TP_API tp_tensor *tp_conv2d_forward(tp_ctx *ctx, tp_conv2d_layer *l, tp_tensor *x);

/* y = batchnorm(x): by the batch while m.training is set, else by the running statistics.  Those are buffers: saved with
 * the module, never trained. */
typedef struct tp_batch_norm {
    tp_module         m;
    tp_tensor        *w, *b;      /* [channels]: ones, zeros */
    tp_tensor        *mean, *var; /* running_mean, running_var, [channels] f32 (f64 for f64): zeros, ones */
    tp_tensor        *count;      /* num_batches_tracked, i64 */
    tp_batchnorm_opts opts;
} tp_batch_norm;

/* w = 1, b = 0; opts as of tp_batchnorm. */
TP_API void tp_batch_norm_init(tp_ctx *ctx, tp_batch_norm *n, tp_module *parent, const char *name, int64_t channels,
                               tp_dtype t, const tp_batchnorm_opts *opts);
/* x [N, channels, ...] -> the same shape: tp_batchnorm.  While n is training it moves the running statistics. */
TP_API tp_tensor *tp_batch_norm_forward(tp_ctx *ctx, tp_batch_norm *n, tp_tensor *x);

/* y = groupnorm(x) */
typedef struct tp_group_norm {
    tp_module  m;
    tp_tensor *w, *b; /* [channels]: ones, zeros */
    int64_t    groups;
    double     eps;
} tp_group_norm;

/* w = 1, b = 0; groups divides channels; eps is what tp_groupnorm adds to the variance. */
TP_API void tp_group_norm_init(tp_ctx *ctx, tp_group_norm *n, tp_module *parent, const char *name, int64_t groups,
                               int64_t channels, double eps, tp_dtype t);
/* x [N, channels, ...] -> the same shape: tp_groupnorm. */
TP_API tp_tensor *tp_group_norm_forward(tp_ctx *ctx, tp_group_norm *n, tp_tensor *x);

typedef struct {
    int64_t kv_heads; /* heads of keys and values, a divisor of heads; 0: heads */
    int64_t kv_dim;   /* width of what keys and values are computed from; 0: dim */
    bool    causal;   /* a row sees the keys up to its own place, counted from the end */
    bool    no_bias;
} tp_attention_layer_opts;

/* y = out_proj(attention(q_proj(x), k_proj(z), v_proj(z))) */
typedef struct tp_multihead_attention {
    tp_module m;
    tp_linear q_proj, k_proj, v_proj, out_proj;
    int64_t   heads, kv_heads;
    bool      causal;
} tp_multihead_attention;

/* dim is a multiple of heads.  Projections are initialised as tp_linear is; opts NULL: all defaults. */
TP_API void tp_multihead_attention_init(tp_ctx *ctx, tp_multihead_attention *a, tp_module *parent, const char *name,
                                        int64_t dim, int64_t heads, tp_dtype t, const tp_attention_layer_opts *opts);
/*
 * tp_multihead_attention_forward: scaled dot-product attention between two sequences, or within one.
 *
 *   x       [B, Sq, dim]      what asks
 *   z       [B, Sk, kv_dim]   what is looked at; NULL: x
 *   lengths [B] i32 or i64    keys from there on are padding, which nobody sees; NULL: there is none
 *   returns [B, Sq, dim]      a row that sees no key gives out_proj's bias
 *
 *   grad    dx, dz, and the projections'
 *   fails   TP_ESHAPE when shapes do not fit, TP_EDTYPE for lengths of another dtype
 */
TP_API tp_tensor *tp_multihead_attention_forward(tp_ctx *ctx, tp_multihead_attention *a, tp_tensor *x, tp_tensor *z,
                                                 tp_tensor *lengths);

/* ---- containers -------------------------------------------------------------------------------------------------- */

/* A function of one tensor: tp_relu, tp_gelu, ... */
typedef tp_tensor *(*tp_function)(tp_ctx *ctx, tp_tensor *x);
/* What a layer of one's own does; m is the layer's first member. */
typedef tp_tensor *(*tp_layer_fn)(tp_ctx *ctx, tp_module *m, tp_tensor *x);

/* Modules in a row, each on what the one before gave.  They are named by their places, "0", "1", ..., functions counting
 * too, as in PyTorch's Sequential. */
typedef struct tp_sequential {
    tp_module             m;
    struct tp_seq_entry  *entry; /* one a place */
    size_t                n, cap;
} tp_sequential;

/* An empty one. */
TP_API void tp_sequential_init(tp_ctx *ctx, tp_sequential *s, tp_module *parent, const char *name);
/* Append a layer, which belongs to s and is initialised as by its own init; return it, NULL after a failure. */
TP_API tp_linear        *tp_sequential_linear(tp_ctx *ctx, tp_sequential *s, int64_t in, int64_t out, bool bias, tp_dtype t);
TP_API tp_conv2d_layer  *tp_sequential_conv2d(tp_ctx *ctx, tp_sequential *s, int64_t in, int64_t out, int64_t kernel_h,
                                              int64_t kernel_w, bool bias, tp_dtype t, const tp_conv_opts *opts);
TP_API tp_batch_norm    *tp_sequential_batch_norm(tp_ctx *ctx, tp_sequential *s, int64_t channels, tp_dtype t,
                                                  const tp_batchnorm_opts *opts);
TP_API tp_layer_norm    *tp_sequential_layer_norm(tp_ctx *ctx, tp_sequential *s, int64_t d, double eps, tp_dtype t);
TP_API tp_dropout_layer *tp_sequential_dropout(tp_ctx *ctx, tp_sequential *s, double p);
/* Appends a function without parameters: tp_relu, or one of one's own that pools or reshapes. */
TP_API void tp_sequential_apply(tp_ctx *ctx, tp_sequential *s, tp_function fn);
/* Appends memory for a layer of one's own, size bytes that begin with a tp_module, initialised as a module of that kind
 * and freed with s; NULL after a failure.  Its parameters are the caller's to make. */
TP_API void *tp_sequential_add(tp_ctx *ctx, tp_sequential *s, size_t size, const char *kind, tp_layer_fn forward);
/* The last place's result; x itself when s is empty. */
TP_API tp_tensor *tp_sequential_forward(tp_ctx *ctx, tp_sequential *s, tp_tensor *x);

/* Modules named "0", "1", ...: what runs them is up to the parent. */
typedef struct tp_module_list {
    tp_module m;
} tp_module_list;

/* An empty one. */
TP_API void       tp_module_list_init(tp_ctx *ctx, tp_module_list *l, tp_module *parent, const char *name);
/* Appends memory for a module, size bytes that begin with a tp_module, initialised as one of that kind and freed with l;
 * NULL after a failure. */
TP_API void      *tp_module_list_add(tp_ctx *ctx, tp_module_list *l, size_t size, const char *kind);
/* The i-th module; NULL when there is none, which is no error. */
TP_API tp_module *tp_module_list_at(const tp_module_list *l, int64_t i);
/* How many there are; 0 for NULL. */
TP_API int64_t    tp_module_list_count(const tp_module_list *l);

typedef struct {
    tp_function act;     /* between the layers; NULL: tp_relu */
    double      dropout; /* after act, while training; 0: none */
    bool        no_bias;
} tp_mlp_opts;

/* Linear layers "0", "1", ... with a function, and maybe dropout, between them. */
typedef struct tp_mlp {
    tp_module  m;
    tp_linear *layer;
    int        n;
    tp_mlp_opts opts;
} tp_mlp;

/* Layer i takes sizes[i] to sizes[i + 1] features; n_sizes >= 2.  opts NULL: all defaults. */
TP_API void tp_mlp_init(tp_ctx *ctx, tp_mlp *l, tp_module *parent, const char *name, int n_sizes, const int64_t *sizes,
                        tp_dtype t, const tp_mlp_opts *opts);
/* x [..., sizes[0]] -> [..., sizes[n_sizes - 1]] */
TP_API tp_tensor *tp_mlp_forward(tp_ctx *ctx, tp_mlp *l, tp_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
