/* layers_attention.c - multi-head attention between two sequences, or within one. */
#include "core/internal.h"
#include "nn/nets.h"
#include "ops/ops.h"

#include <string.h>

void tp_multihead_attention_init(tp_ctx *ctx, tp_multihead_attention *a, tp_module *parent, const char *name, int64_t dim,
                                 int64_t heads, tp_dtype t, const tp_attention_layer_opts *opts)
{
    tp_attention_layer_opts o = opts ? *opts : (tp_attention_layer_opts){ .kv_heads = 0 };
    int64_t                 width;

    if (a == NULL)
        return;
    memset(a, 0, sizeof *a);
    tp_module_init(ctx, &a->m, parent, "MultiheadAttention", name);
    o.kv_heads = o.kv_heads == 0 ? heads : o.kv_heads;
    o.kv_dim = o.kv_dim == 0 ? dim : o.kv_dim;
    if (heads < 1 || dim < 1 || dim % heads != 0 || o.kv_heads < 1 || heads % o.kv_heads != 0 || o.kv_dim < 1) {
        tp_fail(ctx, TP_EARG, "multihead_attention_init: width %lld, %lld heads, %lld of keys and values, which are %lld wide",
                (long long)dim, (long long)heads, (long long)o.kv_heads, (long long)o.kv_dim);
        return;
    }
    a->heads = heads;
    a->kv_heads = o.kv_heads;
    a->causal = o.causal;
    width = dim / heads * o.kv_heads;
    tp_linear_init(ctx, &a->q_proj, &a->m, "q_proj", dim, dim, !o.no_bias, t);
    tp_linear_init(ctx, &a->k_proj, &a->m, "k_proj", o.kv_dim, width, !o.no_bias, t);
    tp_linear_init(ctx, &a->v_proj, &a->m, "v_proj", o.kv_dim, width, !o.no_bias, t);
    tp_linear_init(ctx, &a->out_proj, &a->m, "out_proj", dim, dim, !o.no_bias, t);
}

/* [B, S, heads D] seen as [B, S, heads, D] */
static tp_tensor *by_heads(tp_ctx *ctx, tp_tensor *x, int64_t heads)
{
    return x ? tp_reshape(ctx, x, TP_SHAPE(tp_dim(x, 0), tp_dim(x, 1), heads, tp_dim(x, 2) / heads)) : NULL;
}

/* Row (b, s) sees the keys from 0 up to, not with, lengths[b]: i32 [B, Sq, 2]. */
static tp_tensor *ranges(tp_ctx *ctx, tp_tensor *lengths, const tp_tensor *x)
{
    int64_t    b = tp_dim(x, 0), rows = tp_dim(x, 1);
    tp_tensor *end;

    if (!tpi_check(ctx, "multihead_attention", lengths, 2) ||
        !tpi_can_do(ctx, "multihead_attention", TPI_BIT(TP_I32) | TPI_BIT(TP_I64), tp_dtype_of(lengths)))
        return NULL;
    if (tp_ndim(lengths) != 1 || tp_dim(lengths, 0) != b)
        return tp_fail(ctx, TP_ESHAPE, "multihead_attention: %lld lengths of %lld sequences, expected [B]",
                       (long long)tp_numel(lengths), (long long)b);
    end = tp_reshape(ctx, tp_cast(ctx, lengths, TP_I32), TP_SHAPE(b, 1, 1));
    end = tp_broadcast_to(ctx, end, TP_SHAPE(b, rows, 1));
    return tp_concat(ctx, TP_IN(tp_zeros(ctx, TP_I32, TP_SHAPE(b, rows, 1)), end), -1);
}

static tp_tensor *attend(tp_ctx *ctx, tp_multihead_attention *a, tp_tensor *x, tp_tensor *z, tp_tensor *lengths)
{
    tp_attention_opts o = { .causal = a->causal };
    tp_tensor        *q, *k, *v, *y;

    if (tp_ndim(x) != 3 || tp_ndim(z) != 3)
        return tp_fail(ctx, TP_ESHAPE, "multihead_attention: operands of %d and %d axes, expected [B, S, width]", tp_ndim(x),
                       tp_ndim(z));
    if (lengths != NULL)
        o.range = ranges(ctx, lengths, x);
    q = by_heads(ctx, tp_linear_forward(ctx, &a->q_proj, x), a->heads);
    k = by_heads(ctx, tp_linear_forward(ctx, &a->k_proj, z), a->kv_heads);
    v = by_heads(ctx, tp_linear_forward(ctx, &a->v_proj, z), a->kv_heads);
    y = tp_attention(ctx, q, k, v, &o);
    if (y == NULL)
        return NULL;
    return tp_linear_forward(ctx, &a->out_proj,
                             tp_reshape(ctx, y, TP_SHAPE(tp_dim(x, 0), tp_dim(x, 1), tp_dim(y, 2) * tp_dim(y, 3))));
}

tp_tensor *tp_multihead_attention_forward(tp_ctx *ctx, tp_multihead_attention *a, tp_tensor *x, tp_tensor *z,
                                          tp_tensor *lengths)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || a == NULL)
        return tp_fail(ctx, TP_EARG, "multihead_attention: no layer");
    if (!tpi_check(ctx, "multihead_attention", x, 0) || (z != NULL && !tpi_check(ctx, "multihead_attention", z, 1)))
        return NULL;
    before = tp_module_enter(ctx, &a->m);
    y = attend(ctx, a, x, z ? z : x, lengths);
    tp_module_leave(ctx, before);
    return y;
}
