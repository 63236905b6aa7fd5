/*
 * backend.h - what a backend provides: memory and kernels, one const struct each.  Internal: not installed.
 *
 * A kernel knows pointers, sizes and dtypes; no tensors, no gradients, no tp_fail.  It returns TP_OK or a code.  Rules
 * for all:
 *
 *   - Matrices are row-major; strides are in elements.
 *   - Float kernels compute in f32 (f64 for f64, and sums of f32 in f32 with several partial sums or better), round
 *     once at the end; bf16 and f16 are rounded to nearest even.  NaN stays NaN.
 *   - y may be the same memory as an input of the same dtype and layout in unary, binary, silu_mul and dropout; nowhere
 *     else.
 *   - Rows are independent: NaN or Inf in one row, or in memory outside the operands, never reaches another.
 *   - Same arguments, same number of threads: same bits.
 *   - Zero-sized operands are legal and cost nothing.
 *   - A slot's dtypes stand in `can`, a bit (1 << dtype) each; what is not there is never asked for.
 */
#ifndef TPI_BACKEND_H
#define TPI_BACKEND_H

#include "core/core.h"

/* What a kernel may use while it runs. */
typedef struct tpi_run {
    void  *stream;  /* CUDA; NULL on the CPU */
    int    threads; /* for OpenMP */
    void  *ws;      /* workspace of the size that the slot's _space function asked for, 64-byte aligned; else NULL */
    size_t ws_size;
} tpi_run;

/* A strided walk over up to four operands of one shape: operand 0 is the output.  The op layer has merged dimensions
 * that lie together, so ndim is 1 for contiguous operands; a stride of 0 repeats (broadcast).  ndim may be 0 (one
 * element). */
enum { TPI_ND_MAX = 4 };
typedef struct tpi_nd {
    int     ndim;
    int64_t dim[TP_MAX_DIM];
    int64_t stride[TPI_ND_MAX][TP_MAX_DIM];
} tpi_nd;

typedef enum {
    TPI_NEG, TPI_ABS, TPI_SIGN, TPI_FLOOR, TPI_ROUND, /* round: to nearest even */
    TPI_EXP, TPI_EXPM1, TPI_LOG, TPI_LOG1P, TPI_SQRT, TPI_RSQRT, TPI_SIN, TPI_COS, TPI_TANH, TPI_SIGMOID, TPI_ERF,
    TPI_RELU, TPI_LEAKY_RELU, /* p: slope below 0 */
    TPI_ELU,                  /* p: alpha */
    TPI_GELU, TPI_GELU_TANH, TPI_SILU, TPI_SOFTPLUS, TPI_MISH, TPI_HARDSWISH,
    TPI_RECIP, TPI_SQUARE,
    TPI_SCALE, TPI_SHIFT, /* p x, x + p */
    TPI_POWS,             /* x ^ p */
    TPI_CLAMP,            /* p: low, q: high */
    TPI_NOT,              /* bool only */
    TPI_UNARIES
} tpi_unary;

typedef enum { TPI_ADD, TPI_SUB, TPI_MUL, TPI_DIV, TPI_POW, TPI_MAXIMUM, TPI_MINIMUM, TPI_BINARIES } tpi_binary;
typedef enum { TPI_EQ, TPI_NE, TPI_LT, TPI_LE, TPI_GT, TPI_GE, TPI_AND, TPI_OR, TPI_COMPARES } tpi_compare;
typedef enum {
    TPI_SUM, TPI_PROD, TPI_MAX, TPI_MIN, /* of the input's dtype; NaN wins in max and min; integers sum in i64 */
    TPI_SUMSQ,                           /* sum of squares */
    TPI_ANY, TPI_ALL,                    /* bool to bool */
    TPI_ARGMAX, TPI_ARGMIN,              /* to i64: the first place, row-major over the reduced dimensions; NaN wins */
    TPI_REDUCES
} tpi_reduce;
typedef enum { TPI_UNIFORM, TPI_NORMAL, TPI_BERNOULLI, TPI_RANDOMS } tpi_random;

/* Key of a stream of random numbers: element i uses word i % 4 of philox4x32-10(counter = (i / 4, 0), key). */
typedef struct tpi_key { uint32_t k[2]; uint32_t c[2]; } tpi_key; /* c: the upper half of the 128-bit counter */

/* C[z] = A[z] B[z] + beta C[z],  z over batch[0] x batch[1];  A [m, k], B [k, n], C [m, n].  One of each operand's two
 * inner strides is 1 (or its extent is), so transposes cost nothing; C's rows have unit stride.  at = bt, ct is at or
 * f32. */
typedef struct tpi_gemm {
    int64_t     batch[2], m, n, k;
    const void *a, *b;
    void       *c;
    tp_dtype    at, bt, ct;
    int64_t     a_batch[2], a_row, a_col;
    int64_t     b_batch[2], b_row, b_col;
    int64_t     c_batch[2], c_row;
    double      beta;
} tpi_gemm;

/*
 * softmax(scale q k^T) v by rows, without an S x S matrix.  q [B, Sq, H, D], k and v [B, Sk, Hk, D], H a multiple of
 * Hk; innermost stride 1, strides of batch, position and head given.  Row (b, s) sees keys range[(b Sq + s) 2 + 0] <= j
 * < range[... + 1], clipped to [0, Sk); range NULL: all keys, or with causal those up to s + Sk - Sq.  causal also
 * clips a given range so.  A row that sees nothing gives 0.  lse f32 [B, H, Sq] is log sum exp of the scaled scores
 * (-inf for an empty row).
 */
typedef struct tpi_attn {
    int64_t        batch, heads, kv_heads, sq, sk, dim;
    tp_dtype       t; /* of q k v o and their gradients */
    const void    *q, *k, *v;
    void          *o;
    float         *lse; /* f64 tensors keep f64 here: then it points to double */
    int64_t        qs[3], ks[3], vs[3], os[3];
    const int32_t *range;
    bool           causal;
    double         scale;
    /* backward only: dq has q's strides rules of its own below; written, not added to */
    const void    *dout;
    void          *dq, *dk, *dv;
    int64_t        dos[3], dqs[3], dks[3], dvs[3];
} tpi_attn;

/*
 * DiaBlo's product: block k takes x[:, k bi .. ] to y[:, k bo .. ] by A[k] [bi, bo]; columns beyond `in` and `out` do
 * not exist. x [rows, in], y [rows, out], a [blocks, bi, bo]; x y of dtype t, a of dtype at (f32, or t).
 */
typedef struct tpi_blocks {
    int64_t  rows, in, out, blocks, bi, bo;
    tp_dtype t, at;
} tpi_blocks;

/*
 * Planes under a sliding window, all contiguous: convolution (x [n, cin, h, w], weights [cout, cin / groups, kh, kw], y
 * [n, cout, oh, ow]) as PyTorch's conv2d,
 *
 *     y[i, o, p, q] = b[o] + sum over c, u, v of w[o, c, u, v] x[i, g cin / groups + c, p s0 + u d0 - p0, q s1 + v d1 - p1]
 *
 * with g = o / (cout / groups), s d p stride, dilation and padding, x = 0 outside; and pooling, where n counts planes and
 * the channels are not used.
 */
typedef struct tpi_window {
    int64_t  n, cin, cout, groups;
    int64_t  in[2], size[2], out[2]; /* h, w; kh, kw; oh, ow */
    int64_t  stride[2], pad[2], dilation[2];
    bool     adaptive;    /* pooling: window p is floor(p h / oh) .. ceil((p + 1) h / oh); size, stride, pad unused */
    bool     exclude_pad; /* mean over what lies inside of the plane */
    tp_dtype t;
} tpi_window;

typedef enum { TPI_CONV_Y, TPI_CONV_DX, TPI_CONV_DW } tpi_conv_part;

/* Normalisation of x [n, c, s], contiguous, dtype t, over sets of its n c rows of s: with groups = 0 a set per channel
 * (batch), else a set per image and group of c / groups channels. */
typedef struct tpi_sets {
    int64_t  n, c, s, groups;
    double   eps;
    tp_dtype t, wt; /* of w and b: t or f32 */
} tpi_sets;

/* One parameter of an optimiser's step. */
typedef struct tpi_step {
    int64_t      n;
    void        *p;    /* parameter, dtype t */
    tp_dtype     t;
    void        *master; /* f32 copy of a bf16 or f16 parameter, or NULL */
    const void  *g;    /* gradient, f32 (f64 for f64) */
    void        *m, *v; /* moments, dtype of g */
    double       lr, decay; /* after the parameter's own factors */
} tpi_step;

typedef enum { TPI_SGD, TPI_ADAMW, TPI_ADAM, TPI_LION } tpi_rule;
typedef struct tpi_hyper {
    tpi_rule rule;
    double   beta1, beta2, eps; /* SGD: beta1 is the momentum, beta2 the dampening */
    bool     nesterov;
    int64_t  step; /* from 1, for the bias corrections */
    double   grad_scale; /* every gradient is multiplied by it first: clipping */
} tpi_hyper;

/* A list of slots with a bit per dtype: tpi_can has a field of the same name for every computing slot. */
typedef struct tpi_can {
    uint16_t copy, fill, unary, unary_grad, binary, compare, where, reduce, cumsum, random, dropout, gemm, softmax,
        softmax_grad, cross_entropy, index_rows, index_add, gather, scatter_add, layernorm, layernorm_grad, rmsnorm,
        rmsnorm_grad, rope, attention, attention_grad, blocks, blocks_da, blocks_dx, silu_mul, silu_mul_grad, optim,
        sumsq, nonfinite, sort;
    uint16_t conv, conv_dx, conv_dw, max_pool, max_pool_grad, avg_pool, avg_pool_grad, set_stats, set_norm,
        set_norm_grad;
} tpi_can;

typedef struct tpi_kernels {
    /* y = x, converted.  To integers: toward zero, saturating, NaN to 0; to bool: x != 0.  yt, xt any. */
    tp_code (*copy)(const tpi_run *r, const tpi_nd *nd, tp_dtype yt, void *y, tp_dtype xt, const void *x);
    /* y[0..n) = value (integers: of i) */
    tp_code (*fill)(const tpi_run *r, tp_dtype t, void *y, int64_t n, double value, int64_t i);
    /* y = op(x; p, q).  Floats all; integers: neg abs sign scale shift clamp square, relu; bool: not. */
    tp_code (*unary)(const tpi_run *r, tpi_unary op, double p, double q, const tpi_nd *nd, tp_dtype t, void *y,
                     const void *x);
    /* dx = dy * op'(.), contiguous, n elements; v is y for exp tanh sigmoid sqrt rsqrt recip relu, else x. Subgradients
     * as PyTorch's: abs and relu 0 at 0, clamp 1 at its borders. */
    tp_code (*unary_grad)(const tpi_run *r, tpi_unary op, double p, double q, tp_dtype t, void *dx, const void *dy,
                          const void *v, int64_t n);
    /* y = a op b, equal dtypes: floats; integers too (div: toward zero, by 0 gives 0).  max and min propagate NaN. */
    tp_code (*binary)(const tpi_run *r, tpi_binary op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                      const void *b);
    /* y bool = a op b, equal dtypes (and, or: bool only) */
    tp_code (*compare)(const tpi_run *r, tpi_compare op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                       const void *b);
    /* y = c ? a : b, operands y c a b; c bool */
    tp_code (*where)(const tpi_run *r, const tpi_nd *nd, tp_dtype t, void *y, const void *c, const void *a,
                     const void *b);
    /* y[o] = op over i of x[o + i]; outer walks (y, x), inner walks operand 1 only.  Empty inner: 0 for sum, 1 for
     * prod, false, true; max min argmax are not asked for.  yt = dtype of result: t, or f32/f64 for sums of floats when
     * asked, i64, bool. */
    tp_code (*reduce)(const tpi_run *r, tpi_reduce op, const tpi_nd *outer, const tpi_nd *inner, tp_dtype yt, void *y,
                      tp_dtype t, const void *x);
    /* inclusive sums along the middle of [a, n, b], contiguous; reverse: from the end */
    tp_code (*cumsum)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t a, int64_t n, int64_t b,
                      bool reverse);

    /* n numbers: uniform in [p, q), normal(p mean, q std), bernoulli(p) */
    tp_code (*random)(const tpi_run *r, tpi_random kind, tp_dtype t, void *y, int64_t n, double p, double q,
                      tpi_key key);
    /* y[i] = u[i] < p ? 0 : x[i] / (1 - p), u[i] uniform of the key: the same mask for x and for dy */
    tp_code (*dropout)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t n, double p, tpi_key key);

    /* see tpi_gemm; f64, f32, bf16, f16 (at = bt) with ct = at, or f32 for 16 bits */
    size_t  (*gemm_space)(const tpi_run *r, const tpi_gemm *g);
    tp_code (*gemm)(const tpi_run *r, const tpi_gemm *g);

    /* softmax over the last axis (log: log softmax), contiguous [rows, n].  All -inf gives NaN, as PyTorch. */
    tp_code (*softmax)(const tpi_run *r, bool log, tp_dtype t, void *y, const void *x, int64_t rows, int64_t n);
    /* dx from y and dy */
    tp_code (*softmax_grad)(const tpi_run *r, bool log, tp_dtype t, void *dx, const void *dy, const void *y,
                            int64_t rows, int64_t n);
    /* loss[r] = -log softmax(x[r])[target[r]] with label smoothing s (PyTorch's: (1-s) nll + s mean of -log p), 0 for
     * target < 0; loss f32 (f64 for f64).  With dx (may be x): dx[r] = (softmax - onehot smoothed) * gscale, 0 for
     * target < 0. */
    tp_code (*cross_entropy)(const tpi_run *r, tp_dtype t, void *loss, void *dx, const void *x, const int32_t *target,
                             int64_t rows, int64_t n, double smoothing, double gscale);

    /* y[i, :] = w[ids[i], :], n rows of d; ids i32 or i64, checked by the op layer before */
    tp_code (*index_rows)(const tpi_run *r, tp_dtype t, void *y, const void *w, tp_dtype it, const void *ids, int64_t n,
                          int64_t d);
    /* w[ids[i], :] += x[i, :] in the order of i; w [wrows, d] of dtype wt (f32 or f64 or xt), x of dtype xt */
    tp_code (*index_add)(const tpi_run *r, tp_dtype wt, void *w, int64_t wrows, tp_dtype xt, const void *x, tp_dtype it,
                         const void *ids, int64_t n, int64_t d);
    /* y[a, i, b] = x[a, ids[a, i, b], b]: [A, n, B] from [A, m, B] */
    tp_code (*gather)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids, int64_t a,
                      int64_t n, int64_t m, int64_t b);
    /* y[a, ids[a, i, b], b] += x[a, i, b] in the order of i */
    tp_code (*scatter_add)(const tpi_run *r, tp_dtype t, void *y, const void *x, tp_dtype it, const void *ids,
                           int64_t a, int64_t n, int64_t m, int64_t b);

    /* y = (x - mean) rstd w + b; w, b of dtype wt (x's or f32), may be NULL; mean, rstd f32 [rows] (f64 for f64) */
    tp_code (*layernorm)(const tpi_run *r, tp_dtype t, void *y, void *mean, void *rstd, const void *x, tp_dtype wt,
                         const void *w, const void *b, double eps, int64_t rows, int64_t n);
    /* dx, dw += , db += (f32, f64 for f64; the op layer has zeroed them or not); any may be NULL */
    tp_code (*layernorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, void *db, const void *dy, const void *x,
                              tp_dtype wt, const void *w, const void *mean, const void *rstd, int64_t rows, int64_t n);
    /* h = x + res first when res is not NULL (h written, dtype t, may be x or res); y = h rstd w, rstd = 1 / sqrt(mean
     * h^2 + eps) */
    tp_code (*rmsnorm)(const tpi_run *r, tp_dtype t, void *y, void *rstd, void *h, const void *x, const void *res,
                       tp_dtype wt, const void *w, double eps, int64_t rows, int64_t n);
    /* dx = gradient through the norm (+ dh when not NULL: the residual stream's), dw += (may be NULL) */
    tp_code (*rmsnorm_grad)(const tpi_run *r, tp_dtype t, void *dx, void *dw, const void *dy, const void *dh,
                            const void *x, tp_dtype wt, const void *w, const void *rstd, int64_t rows, int64_t n);

    /* Workspace size of the three below; a kernel that gets less takes memory of its own. */
    size_t  (*conv_space)(const tpi_run *r, const tpi_window *c, tpi_conv_part part);
    /* b may be NULL */
    tp_code (*conv)(const tpi_run *r, const tpi_window *c, void *y, const void *x, const void *w, const void *b);
    tp_code (*conv_dx)(const tpi_run *r, const tpi_window *c, void *dx, const void *dy, const void *w);
    /* dw = beta dw + ..., f32 (f64 for f64), beta 0 or 1 */
    tp_code (*conv_dw)(const tpi_run *r, const tpi_window *c, void *dw, const void *dy, const void *x, double beta);

    /* y = the window's largest, place = where in its plane (may be NULL): the first of equals, a NaN before all numbers
     * and the last of NaNs, as PyTorch */
    tp_code (*max_pool)(const tpi_run *r, const tpi_window *p, void *y, int32_t *place, const void *x);
    /* dx = sum of the dy whose place it is */
    tp_code (*max_pool_grad)(const tpi_run *r, const tpi_window *p, void *dx, const void *dy, const int32_t *place);
    tp_code (*avg_pool)(const tpi_run *r, const tpi_window *p, void *y, const void *x);
    tp_code (*avg_pool_grad)(const tpi_run *r, const tpi_window *p, void *dx, const void *dy);

    /* mean and biased variance of each set, f32 (f64 for f64) */
    tp_code (*set_stats)(const tpi_run *r, const tpi_sets *g, void *mean, void *var, const void *x);
    /* y = (x - mean) / sqrt(var + eps) w[channel] + b[channel]; w and b may be NULL */
    tp_code (*set_norm)(const tpi_run *r, const tpi_sets *g, void *y, const void *x, const void *mean, const void *var,
                        const void *w, const void *b);
    /* dx, dw +=, db += (f32, f64 for f64); any may be NULL.  fixed: mean and var do not depend on x */
    tp_code (*set_norm_grad)(const tpi_run *r, const tpi_sets *g, void *dx, void *dw, void *db, const void *dy,
                             const void *x, const void *mean, const void *var, const void *w, bool fixed);

    /* Rotate-half: pairs (j, j + d/2), angle of row i, pair j: (pos[i] or base + i % S) freq[j] (freq f32 [d/2]).  x
     * [B, S, H, d] with strides xs of b, s, h; y with ys; inverse turns back.  Angles in f64. pos NULL: base + s. mult
     * scales cos and sin. */
    tp_code (*rope)(const tpi_run *r, tp_dtype t, void *y, const int64_t *ys, const void *x, const int64_t *xs,
                    const int64_t dim[4], const int32_t *pos, int64_t base, const float *freq, double mult,
                    bool inverse);
    /* Workspace sizes; a kernel that gets less takes memory of its own. */
    size_t  (*attention_space)(const tpi_run *r, const tpi_attn *a);
    size_t  (*attention_grad_space)(const tpi_run *r, const tpi_attn *a);
    tp_code (*attention)(const tpi_run *r, const tpi_attn *a);
    /* reads q k v o lse dout */
    tp_code (*attention_grad)(const tpi_run *r, const tpi_attn *a);

    /* Workspace size of the three below, as above. */
    size_t  (*blocks_space)(const tpi_run *r, const tpi_blocks *b);
    /* y = (add ? y : 0) + blockdiag(x) */
    tp_code (*blocks)(const tpi_run *r, const tpi_blocks *b, void *y, const void *x, const void *a, bool add);
    /* da = beta da + x^T dy by blocks, f32 (f64 for f64); dead entries get 0 */
    tp_code (*blocks_da)(const tpi_run *r, const tpi_blocks *b, void *da, const void *x, const void *dy, double beta);
    /* dx = (add ? dx : 0) + dy A^T */
    tp_code (*blocks_dx)(const tpi_run *r, const tpi_blocks *b, void *dx, const void *dy, const void *a, bool add);

    /* y = silu(g) u, n elements; rows of g and u may be strided: [rows, n] with row strides */
    tp_code (*silu_mul)(const tpi_run *r, tp_dtype t, void *y, const void *g, const void *u, int64_t n);
    tp_code (*silu_mul_grad)(const tpi_run *r, tp_dtype t, void *dg, void *du, const void *dy, const void *g,
                             const void *u, int64_t n);

    /* one optimiser step of count parameters in one parallel region:
     *
     *   ADAMW  p *= 1 - lr decay; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr mhat / (sqrt(vhat) + eps)
     *   ADAM   g += decay p first, then the same without decay
     *   SGD    g += decay p; m = b1 m + (1 - dampening) g (first step: m = g); p -= lr m
     *   LION   p *= 1 - lr decay; p -= lr sign(b1 m + (1-b1) g); m = b2 m + (1-b2) g
     *
     * Computed in the dtype of g, on master if present. */
    tp_code (*optim)(const tpi_run *r, const tpi_hyper *h, const tpi_step *s, int64_t count);
    /* *sum = sum of squares over all count arrays, in double, the same for any number of threads */
    tp_code (*sumsq)(const tpi_run *r, tp_dtype t, const void *const *x, const int64_t *n, int64_t count, double *sum);
    /* *found = whether some x is NaN or Inf */
    tp_code (*nonfinite)(const tpi_run *r, tp_dtype t, const void *x, int64_t n, bool *found);
    /* sort rows of [rows, n]: values and i64 places; stable; NaN last (first when descending); either output may be
     * NULL */
    tp_code (*sort)(const tpi_run *r, tp_dtype t, void *y, int64_t *place, const void *x, int64_t rows, int64_t n,
                    bool descending);
} tpi_kernels;

typedef struct tpi_backend {
    const char        *name;
    tp_device          device;
    const tpi_kernels *k;
    const tpi_can     *can;
    bool (*usable)(void); /* whether this machine has what it needs */
    /* A line about the libraries under it, into buf, which is returned; NULL: there is nothing to tell. */
    const char *(*note)(char *buf, size_t size);
    /* device memory; NULL: host memory */
    tp_code (*alloc)(size_t size, void **p);
    void    (*free)(void *p);
    /* kind: 0 host to device, 1 back, 2 within */
    tp_code (*move)(const tpi_run *r, void *dst, const void *src, size_t size, int kind);
    tp_code (*sync)(const tpi_run *r);
} tpi_backend;

/* Every backend built in, best first within a device, ended by NULL.  Defined in ops/backends.c, the one file that
 * names them all. */
extern const tpi_backend *const tpi_backends[];

#define TPI_BIT(t) (1u << (t))
#define TPI_CAN_FLOAT (TPI_BIT(TP_F32) | TPI_BIT(TP_F64) | TPI_BIT(TP_BF16) | TPI_BIT(TP_F16))
#define TPI_CAN_INT (TPI_BIT(TP_I64) | TPI_BIT(TP_I32) | TPI_BIT(TP_U8))
#define TPI_CAN_ALL (TPI_CAN_FLOAT | TPI_CAN_INT | TPI_BIT(TP_BOOL))

#endif
