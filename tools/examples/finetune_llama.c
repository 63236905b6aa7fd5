/* finetune_llama.c - the whole of finetuning: load a model, attach DiaBlo, train on JSON lines, save the adapter.
 *
 *     cc finetune_llama.c $(pkg-config --cflags --libs tapir) -o finetune_llama
 *     ./finetune_llama MODEL DATA.jsonl adapter.h5 [STEPS [BLOCKS]]
 *
 * No call is checked, and yet any failure ends with one clear line and exit status 1: the context remembers the first one. */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama *model = tp_llama_load(ctx, argc > 1 ? argv[1] : "SmolLM2-135M", TP_F32);
    tp_data  *data = tp_data_open(ctx, argc > 2 ? argv[2] : "train.jsonl", tp_llama_tokenizer(model),
                                  &(tp_data_opts){ .batch = 8, .seed = 1 });
    int       steps = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 1000;
    int       blocks = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 64;

    tp_attach(ctx, tp_llama_root(model), "(q|k|v|up|down)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = blocks });
    tp_optim *opt = tp_adamw_new(ctx, tp_llama_root(model), &(tp_adamw_opts){ .lr = 5e-4 });

    for (int step = 0; step < steps && tp_ok(ctx); step++) {
        tp_scope    s = tp_scope_begin(ctx);
        tp_lm_batch b = tp_data_next(ctx, data);
        tp_tensor  *loss = tp_llama_loss(ctx, model, b);

        tp_backward(ctx, loss);
        tp_optim_step(ctx, opt);
        if (step % 10 == 0)
            printf("step %4d  loss %.4f\n", step, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    tp_adapter_save(ctx, tp_llama_root(model), argc > 3 ? argv[3] : "adapter.h5");
    tp_optim_free(opt);
    tp_data_free(data);
    tp_llama_free(model);
    return tp_ctx_finish(ctx);
}
