/* rope.c - rotary position embedding; its gradient is the turn back. */
#include "ops/support.h"

typedef struct {
    int64_t base;
    double  mult;
} rope_attr;

/* x, strided, into a new contiguous tensor; c->in[1]: freq, c->in[2]: pos or NULL. */
static tp_tensor *turned(tp_ctx *ctx, const tp_call *c, tp_tensor *x, bool inverse)
{
    const rope_attr *a = c->attr;
    tp_tensor       *freq = tpi_rows(ctx, c->in[1]), *pos = tpi_rows(ctx, c->in[2]), *y;
    tpi_run          r = tpi_run_of(ctx);

    if (x != NULL && x->stride[3] != 1)
        x = tpi_rows(ctx, x);
    y = x ? tp_like(ctx, x) : NULL;
    if (y == NULL || freq == NULL)
        return NULL;
    return tpi_done(ctx, "rope",
                    tpi_k(ctx)->rope(&r, (tp_dtype)x->dtype, y->data, y->stride, x->data, x->stride, x->dim,
                                     pos ? (const int32_t *)(void *)pos->data : NULL, a->base,
                                     (const float *)(void *)freq->data, a->mult, inverse))
               ? y
               : NULL;
}

static tp_tensor *rope_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(1) | (c->in[2] ? TP_KEEP_IN(2) : 0);
    return turned(ctx, c, c->in[0], false);
}

static void rope_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    if (tp_wants(c, 0))
        dx[0] = turned(ctx, c, dy[0], true);
}

static const tp_op rope_op = { "rope", sizeof(rope_attr), 1, 0, rope_forward, rope_backward, NULL };

static bool good_tables(tp_ctx *ctx, const tp_tensor *x, const tp_rope_opts *o)
{
    if (!tpi_check(ctx, "rope", o->freq, 1) || !tpi_can_do(ctx, "rope", TPI_BIT(TP_F32), (tp_dtype)o->freq->dtype))
        return false;
    if (o->freq->ndim != 1 || o->freq->dim[0] * 2 != x->dim[3]) {
        tpi_fail_shapes(ctx, "rope", "expected x [B, S, H, d] and freq [d / 2]", x, o->freq);
        return false;
    }
    if (o->pos == NULL)
        return true;
    if (!tpi_check(ctx, "rope", o->pos, 2) || !tpi_can_do(ctx, "rope", TPI_BIT(TP_I32), (tp_dtype)o->pos->dtype))
        return false;
    if (o->pos->ndim == 2 && o->pos->dim[0] == x->dim[0] && o->pos->dim[1] == x->dim[1])
        return true;
    tpi_fail_shapes(ctx, "rope", "expected x [B, S, H, d] and pos [B, S]", x, o->pos);
    return false;
}

tp_tensor *tp_rope(tp_ctx *ctx, tp_tensor *x, const tp_rope_opts *opts)
{
    char text[96];

    if (!tp_ok(ctx) || !tpi_float_input(ctx, "rope", x))
        return NULL;
    if (opts == NULL || opts->freq == NULL)
        return tp_fail(ctx, TP_EARG, "rope: no table of frequencies (opts.freq)");
    if (x->ndim != 4 || x->dim[3] % 2 != 0)
        return tp_fail(ctx, TP_ESHAPE, "rope: x is %s, expected [B, S, H, d] with an even d",
                       tp_shape_text(x, text, sizeof text));
    if (!good_tables(ctx, x, opts))
        return NULL;
    return tp_apply(ctx, &rope_op, &(rope_attr){ opts->base, opts->mult != 0 ? opts->mult : 1 },
                    TP_IN(x, opts->freq, opts->pos));
}
