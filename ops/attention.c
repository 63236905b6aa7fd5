/* attention.c - scaled dot-product attention and its gradients, by the back end's kernels; windows become ranges of
 * keys here. */
#include "ops/support.h"

#include <math.h>

typedef struct {
    bool   causal;
    double scale;
} attention_attr;

/* x with an innermost stride of 1; the other strides are free. */
static tp_tensor *unit_inner(tp_ctx *ctx, tp_tensor *x)
{
    return x == NULL || x->stride[3] == 1 || x->dim[3] <= 1 ? x : tpi_rows(ctx, x);
}

static void take_strides(int64_t s[3], const tp_tensor *x)
{
    for (int i = 0; i < 3; i++)
        s[i] = x->stride[i];
}

/* The kernel's description of operands q k v and result o; in[3] is the range or NULL. */
static tpi_attn describe(const tp_call *c, tp_tensor *const qkv[3], tp_tensor *range, const tp_tensor *o,
                         tp_tensor *lse)
{
    const attention_attr *at = c->attr;
    const tp_tensor      *q = qkv[0], *k = qkv[1], *v = qkv[2];
    tpi_attn              a = { .batch = q->dim[0],
                                .heads = q->dim[2],
                                .kv_heads = k->dim[2],
                                .sq = q->dim[1],
                                .sk = k->dim[1],
                                .dim = q->dim[3],
                                .t = (tp_dtype)q->dtype,
                                .q = q->data,
                                .k = k->data,
                                .v = v->data,
                                .o = o->data,
                                .lse = (float *)(void *)lse->data,
                                .range = range ? (const int32_t *)(void *)range->data : NULL,
                                .causal = at->causal,
                                .scale = at->scale };

    take_strides(a.qs, q);
    take_strides(a.ks, k);
    take_strides(a.vs, v);
    take_strides(a.os, o);
    return a;
}

static tp_tensor *attention_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *qkv[3], *range = tpi_rows(ctx, c->in[3]), *o, *lse;
    tpi_attn   a;
    tpi_run    r = tpi_run_of(ctx);
    bool       ok;

    for (int i = 0; i < 3; i++)
        qkv[i] = unit_inner(ctx, c->in[i]);
    o = tp_empty(ctx, (tp_dtype)c->in[0]->dtype, 4, c->in[0]->dim);
    lse = tp_empty(ctx, tpi_wide((tp_dtype)c->in[0]->dtype),
                   TP_SHAPE(c->in[0]->dim[0], c->in[0]->dim[2], c->in[0]->dim[1]));
    if (!tp_ok(ctx))
        return NULL;
    c->saved[0] = lse;
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1) | TP_KEEP_IN(2) | (range ? TP_KEEP_IN(3) : 0) | TP_KEEP_OUT(0);
    a = describe(c, qkv, range, o, lse);
    ok = tpi_run_begin(ctx, &r, tpi_k(ctx)->attention_space(&r, &a)) && tpi_done(ctx, "attention", tpi_k(ctx)->attention(&r, &a));
    tpi_run_end(ctx, &r);
    return ok ? o : NULL;
}

static void attention_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *qkv[3], *d[3], *range = tpi_rows(ctx, c->in[3]), *g = unit_inner(ctx, dy[0]);
    tpi_attn   a;
    tpi_run    r = tpi_run_of(ctx);
    bool       ok;

    for (int i = 0; i < 3; i++) {
        qkv[i] = unit_inner(ctx, c->in[i]);
        d[i] = tp_empty(ctx, (tp_dtype)c->in[i]->dtype, 4, c->in[i]->dim);
    }
    if (!tp_ok(ctx))
        return;
    a = describe(c, qkv, range, c->out[0], c->saved[0]);
    a.dout = g->data;
    a.dq = d[0]->data;
    a.dk = d[1]->data;
    a.dv = d[2]->data;
    take_strides(a.dos, g);
    take_strides(a.dqs, d[0]);
    take_strides(a.dks, d[1]);
    take_strides(a.dvs, d[2]);
    ok = tpi_run_begin(ctx, &r, tpi_k(ctx)->attention_grad_space(&r, &a)) &&
         tpi_done(ctx, "attention", tpi_k(ctx)->attention_grad(&r, &a));
    tpi_run_end(ctx, &r);
    for (int i = 0; ok && i < 3; i++)
        dx[i] = d[i];
}

static const tp_op attention_op = { "attention", sizeof(attention_attr), 1, 1, attention_forward, attention_backward, NULL };

/* ---- what a row may see ------------------------------------------------------------------------------------------ */

/* Limits every row's range to its window: keys from p - window + 1 up to p = s + Sk - Sq. */
static tp_tensor *windowed(tp_ctx *ctx, const tp_tensor *q, const tp_tensor *k, const tp_attention_opts *o)
{
    int64_t    b = q->dim[0], sq = q->dim[1], sk = k->dim[1], n = b * sq;
    int32_t   *buf = tpi_alloc(ctx, (size_t)n, 2 * sizeof *buf);
    tp_tensor *range;

    if (buf == NULL || (o->range != NULL && !tp_copy_out(ctx, o->range, TP_I32, buf, (size_t)n * 2 * sizeof *buf))) {
        tpi_free(buf);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t p = i % sq + sk - sq, low = p - o->window + 1, high = p + 1;
        int64_t from = o->range ? buf[2 * i] : 0, to = o->range ? buf[2 * i + 1] : sk;

        low = low > from ? low : from;
        high = high < to ? high : to;
        buf[2 * i] = (int32_t)(low > 0 ? low : 0);
        buf[2 * i + 1] = (int32_t)(high > 0 ? high : 0);
    }
    range = tp_from(ctx, TP_I32, TP_SHAPE(b, sq, 2), buf);
    tpi_free(buf);
    return range;
}

static bool good_shapes(tp_ctx *ctx, const tp_tensor *q, const tp_tensor *k, const tp_tensor *v)
{
    const char *want = "expected q [B, Sq, H, D] and k, v [B, Sk, Hk, D] with H a multiple of Hk";

    if (!tp_same_shape(k, v)) {
        tpi_fail_shapes(ctx, "attention", "expected k and v of equal shapes", k, v);
        return false;
    }
    if (q->ndim == 4 && k->ndim == 4 && q->dim[0] == k->dim[0] && q->dim[3] == k->dim[3] &&
        (k->dim[2] > 0 ? q->dim[2] % k->dim[2] == 0 : q->dim[2] == 0))
        return true;
    tpi_fail_shapes(ctx, "attention", want, q, k);
    return false;
}

static bool good_range(tp_ctx *ctx, const tp_tensor *q, const tp_tensor *range)
{
    if (range == NULL)
        return true;
    if (!tpi_check(ctx, "attention", range, 3) ||
        !tpi_can_do(ctx, "attention", TPI_BIT(TP_I32), (tp_dtype)range->dtype))
        return false;
    if (range->ndim == 3 && range->dim[0] == q->dim[0] && range->dim[1] == q->dim[1] && range->dim[2] == 2)
        return true;
    tpi_fail_shapes(ctx, "attention", "expected q [B, Sq, H, D] and a range [B, Sq, 2]", q, range);
    return false;
}

tp_tensor *tp_attention(tp_ctx *ctx, tp_tensor *q, tp_tensor *k, tp_tensor *v, const tp_attention_opts *opts)
{
    const tp_attention_opts none = { 0 };
    attention_attr          a;
    tp_tensor              *range;

    opts = opts ? opts : &none;
    if (!tp_ok(ctx) || !tpi_inputs(ctx, "attention", 3, (const tp_tensor *const[]){ q, k, v }) ||
        !tpi_can_do(ctx, "attention", TPI_CAN_FLOAT, (tp_dtype)q->dtype) || !tpi_same_dtype(ctx, "attention", q, k) ||
        !tpi_same_dtype(ctx, "attention", q, v) || !good_shapes(ctx, q, k, v) || !good_range(ctx, q, opts->range))
        return NULL;
    if (opts->window < 0)
        return tp_fail(ctx, TP_EARG, "attention: a window of %lld keys", (long long)opts->window);
    range = opts->window > 0 ? windowed(ctx, q, k, opts) : opts->range;
    a = (attention_attr){ opts->causal,
                          opts->scale != 0 ? opts->scale : 1 / sqrt((double)(q->dim[3] > 0 ? q->dim[3] : 1)) };
    return tp_apply(ctx, &attention_op, &a, TP_IN(q, k, v, range));
}
