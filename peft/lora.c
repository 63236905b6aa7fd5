/* lora.c - low-rank adaptation.  See peft.h for the formula. */
#include "core/internal.h"
#include "ops/ops.h"
#include "peft/peft.h"

#include <math.h>
#include <stddef.h>

typedef struct {
    tp_adapter base;  /* first, always */
    tp_tensor *a, *b; /* [rank, in], [out, rank] */
} lora;

static void lora_init(tp_ctx *ctx, tp_adapter *ad)
{
    const tp_lora_opts *o = ad->opts;
    lora               *l = (lora *)ad;
    int64_t             in = tp_dim(ad->linear->w, 1), out = tp_dim(ad->linear->w, 0);
    tp_dtype            t = tp_dtype_of(ad->linear->w) == TP_F64 ? TP_F64 : TP_F32;

    tp_init_kaiming(ctx, tp_param_new(ctx, &ad->m, &l->a, "lora_A", t, TP_SHAPE(o->rank, in)), sqrt(5));
    tp_param_new(ctx, &ad->m, &l->b, "lora_B", t, TP_SHAPE(out, o->rank));
}

static tp_tensor *lora_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    const tp_lora_opts *o = ad->opts;
    lora               *l = (lora *)ad;
    tp_tensor          *y = tp_adapter_next(ctx, ad, x);
    tp_tensor          *h = tp_matmul_nt(ctx, tp_dropout(ctx, x, o->dropout, ad->m.training), l->a);

    return tp_add(ctx, y, tp_scale(ctx, tp_matmul_nt(ctx, h, l->b), o->alpha / o->rank));
}

static tp_tensor *lora_delta(tp_ctx *ctx, tp_adapter *ad)
{
    const tp_lora_opts *o = ad->opts;
    lora               *l = (lora *)ad;

    return tp_scale(ctx, tp_matmul(ctx, l->b, l->a), o->alpha / o->rank);
}

static const tp_option lora_options[] = {
    { "rank", offsetof(tp_lora_opts, rank), TP_OPT_INT, 16, 1, 1 << 20, "rank of the update" },
    { "alpha", offsetof(tp_lora_opts, alpha), TP_OPT_REAL, 32, 0, 1e9, "the update is scaled by alpha / rank" },
    { "dropout", offsetof(tp_lora_opts, dropout), TP_OPT_REAL, 0, 0, 0.999, "dropout on the adapter's input" },
    { NULL, 0, TP_OPT_INT, 0, 0, 0, NULL },
};

const tp_adapter_type tp_lora = {
    .name = "lora",
    .size = sizeof(lora),
    .opts_size = sizeof(tp_lora_opts),
    .options = lora_options,
    .init = lora_init,
    .forward = lora_forward,
    .delta = lora_delta,
};
