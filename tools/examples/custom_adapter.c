/* custom_adapter.c - a PEFT variant of one's own, in one file: LoRA with a learned gate per rank,
 *
 *     y = base(x) + alpha / rank ((x A^T) * g) B^T,      A [rank, in], g [rank], B [out, rank]
 *
 * on a small model with random weights; then the adapter is saved and loaded again. */
#include <tapir.h>

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int    rank;  /* 8 */
    double alpha; /* 16 */
} gated_opts;

typedef struct {
    tp_adapter base; /* first, always */
    tp_tensor *a, *g, *b;
} gated;

static void gated_init(tp_ctx *ctx, tp_adapter *ad)
{
    const gated_opts *o = ad->opts;
    gated            *p = (gated *)ad;
    int64_t           in = tp_dim(ad->linear->w, 1), out = tp_dim(ad->linear->w, 0);

    tp_init_kaiming(ctx, tp_param_new(ctx, &ad->m, &p->a, "A", TP_F32, TP_SHAPE(o->rank, in)), sqrt(5));
    tp_init_constant(ctx, tp_param_new(ctx, &ad->m, &p->g, "gate", TP_F32, TP_SHAPE(o->rank)), 1);
    tp_param_new(ctx, &ad->m, &p->b, "B", TP_F32, TP_SHAPE(out, o->rank));
}

static tp_tensor *gated_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    const gated_opts *o = ad->opts;
    gated            *p = (gated *)ad;
    tp_tensor        *h = tp_mul(ctx, tp_matmul_nt(ctx, x, p->a), p->g);

    h = tp_scale(ctx, tp_matmul_nt(ctx, h, p->b), o->alpha / o->rank);
    return tp_add(ctx, tp_adapter_next(ctx, ad, x), h);
}

static const tp_option gated_options[] = {
    { "rank", offsetof(gated_opts, rank), TP_OPT_INT, 8, 1, 1024, "rank of the update" },
    { "alpha", offsetof(gated_opts, alpha), TP_OPT_REAL, 16, 0, 1e6, "the update is scaled by alpha / rank" },
    { NULL, 0, TP_OPT_INT, 0, 0, 0, NULL },
};

static const tp_adapter_type gated_lora = {
    .name = "gated_lora", .size = sizeof(gated), .opts_size = sizeof(gated_opts), .options = gated_options,
    .init = gated_init, .forward = gated_forward,
};

int main(int argc, char **argv)
{
    const char      *path = argc > 1 ? argv[1] : "gated.h5";
    int              steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 200;
    tp_ctx          *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama_config  shape = { .vocab_size = 64, .hidden_size = 32, .intermediate_size = 48, .num_hidden_layers = 2,
                               .num_attention_heads = 4, .initializer_range = 0.2 };
    tp_llama        *model = tp_llama_new(ctx, &shape, TP_F32);
    static int32_t   ids[4][16], next[4][16];

    for (int i = 0; i < 64; i++) {
        ids[i / 16][i % 16] = (i * 7) % 64;
        next[i / 16][i % 16] = ((i + 1) * 7) % 64;
    }
    printf("%d layers got an adapter\n", tp_attach(ctx, tp_llama_root(model), "(q|v)_proj|down_proj", &gated_lora, NULL));
    tp_optim *opt = tp_adamw_new(ctx, tp_llama_root(model), &(tp_adamw_opts){ .lr = 2e-2 });

    for (int step = 0; step <= steps && tp_ok(ctx); step++) {
        tp_scope    s = tp_scope_begin(ctx);
        tp_lm_batch b = { .ids = tp_from(ctx, TP_I32, TP_SHAPE(4, 16), ids),
                          .target = tp_from(ctx, TP_I32, TP_SHAPE(4, 16), next) };
        tp_tensor  *loss = tp_llama_loss(ctx, model, b);

        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        if (step % 50 == 0)
            printf("step %3d  loss %.4f\n", step, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    tp_adapter_save(ctx, tp_llama_root(model), path);
    tp_adapters_detach(ctx, tp_llama_root(model));
    printf("%d layers loaded again\n",
           tp_adapter_load(ctx, tp_llama_root(model), path,
                           &(tp_adapter_load_opts){ .types = (const tp_adapter_type *const[]){ &gated_lora, NULL } }));
    tp_optim_free(opt);
    tp_llama_free(model);
    return tp_ctx_finish(ctx);
}
