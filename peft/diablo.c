/* diablo.c - diagonal blocks: the flagship.  See peft.h for the formula. */
#include "core/internal.h"
#include "core/number.h"
#include "ops/support.h"
#include "peft/peft.h"

#include <stddef.h>

typedef struct {
    tp_adapter base; /* first, always */
    tp_tensor *a;    /* [blocks, bi, bo] */
    int64_t    in, out;
} diablo;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static void diablo_init(tp_ctx *ctx, tp_adapter *ad)
{
    const tp_diablo_opts *o = ad->opts;
    diablo               *d = (diablo *)ad;
    int64_t               bi, bo, n;

    d->in = tp_dim(ad->linear->w, 1);
    d->out = tp_dim(ad->linear->w, 0);
    if (d->in < 1 || d->out < 1 || (o->blocks > d->in && o->blocks > d->out)) {
        tp_fail(ctx, TP_EARG,
                "diablo: %d blocks, the layer has %lld inputs and %lld outputs: expected at most %lld blocks",
                o->blocks, (long long)d->in, (long long)d->out, (long long)(d->in > d->out ? d->in : d->out));
        return;
    }
    bi = ceil_div(d->in, o->blocks);
    bo = ceil_div(d->out, o->blocks);
    n = ceil_div(d->in, bi) > ceil_div(d->out, bo) ? ceil_div(d->in, bi) : ceil_div(d->out, bo);
    tp_param_new(ctx, &ad->m, &d->a, "block_A", tp_dtype_of(ad->linear->w) == TP_F64 ? TP_F64 : TP_F32,
                 TP_SHAPE(n, bi, bo));
}

/* Whether the layer itself is what lies below: its product is new memory, which nobody else reads. */
static bool on_base(const tp_adapter *ad)
{
    const tp_adapter *b = ad->below;

    while (b != NULL && !b->active)
        b = b->below;
    return b == NULL;
}

static tp_tensor *diablo_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    const tp_diablo_opts *o = ad->opts;
    diablo               *d = (diablo *)ad;
    tp_tensor            *y = tp_adapter_next(ctx, ad, x);

    x = tp_dropout(ctx, x, o->dropout, ad->m.training);
    return on_base(ad) ? tpi_block_diag_onto(ctx, y, x, d->a) : tp_block_diag_add(ctx, y, x, d->a);
}

/* The blocks at their places in [out, in], each transposed. */
static tp_tensor *diablo_delta(tp_ctx *ctx, tp_adapter *ad)
{
    diablo     *d = (diablo *)ad;
    int64_t     n = tp_dim(d->a, 0), bi = tp_dim(d->a, 1), bo = tp_dim(d->a, 2);
    tp_dtype    t = tp_dtype_of(d->a);
    tp_tensor  *delta = tp_zeros(ctx, t, TP_SHAPE(d->out, d->in));
    void       *w = delta ? tp_raw(ctx, delta) : NULL;
    const void *a = tp_values(ctx, d->a);

    for (int64_t k = 0; w != NULL && a != NULL && k < n; k++)
        for (int64_t i = 0; i < bi && k * bi + i < d->in; i++)
            for (int64_t j = 0; j < bo && k * bo + j < d->out; j++)
                tpi_store(t, w, (k * bo + j) * d->in + k * bi + i, tpi_load(t, a, (k * bi + i) * bo + j));
    return delta;
}

/* Stored entries whose row or column lies in the padding. */
static int64_t diablo_dead(const tp_adapter *ad)
{
    const diablo *d = (const diablo *)ad;
    int64_t       n = tp_dim(d->a, 0), bi = tp_dim(d->a, 1), bo = tp_dim(d->a, 2), live = 0;

    for (int64_t k = 0; k < n; k++) {
        int64_t rows = d->in - k * bi, cols = d->out - k * bo;

        rows = rows < 0 ? 0 : rows > bi ? bi : rows;
        cols = cols < 0 ? 0 : cols > bo ? bo : cols;
        live += rows * cols;
    }
    return n * bi * bo - live;
}

static const tp_option diablo_options[] = {
    { "blocks", offsetof(tp_diablo_opts, blocks), TP_OPT_INT, 64, 1, 1 << 24, "diagonal blocks per layer" },
    { "dropout", offsetof(tp_diablo_opts, dropout), TP_OPT_REAL, 0, 0, 0.999, "dropout on the adapter's input" },
    { NULL, 0, TP_OPT_INT, 0, 0, 0, NULL },
};

const tp_adapter_type tp_diablo = {
    .name = "diablo",
    .size = sizeof(diablo),
    .opts_size = sizeof(tp_diablo_opts),
    .options = diablo_options,
    .init = diablo_init,
    .forward = diablo_forward,
    .delta = diablo_delta,
    .dead = diablo_dead,
};
