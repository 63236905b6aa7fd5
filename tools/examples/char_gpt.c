/* char_gpt.c - a GPT over characters, written from layers and trained from nothing on a book; it writes a little at the end.
 * char_gpt tools/data/alice.txt [STEPS] */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>

enum { CHARS = 128, WIDE = 64, HEADS = 4, LAYERS = 2, LENGTH = 32, BATCH = 32, STEPS = 600, WRITE = 300 };

typedef struct {
    tp_module     m;
    tp_layer_norm norm1, norm2;
    tp_linear     qkv, proj, up, down;
} block;

typedef struct {
    tp_module     m;
    tp_embedding  token, place;
    block         blocks[LAYERS];
    tp_layer_norm norm;
    tp_linear     head;
} gpt;

static void block_init(tp_ctx *ctx, block *b, tp_module *parent, const char *name)
{
    tp_module_init(ctx, &b->m, parent, "Block", name);
    tp_layer_norm_init(ctx, &b->norm1, &b->m, "norm1", WIDE, 1e-5, TP_F32);
    tp_linear_init(ctx, &b->qkv, &b->m, "qkv", WIDE, 3 * WIDE, true, TP_F32);
    tp_linear_init(ctx, &b->proj, &b->m, "proj", WIDE, WIDE, true, TP_F32);
    tp_layer_norm_init(ctx, &b->norm2, &b->m, "norm2", WIDE, 1e-5, TP_F32);
    tp_linear_init(ctx, &b->up, &b->m, "up", WIDE, 4 * WIDE, true, TP_F32);
    tp_linear_init(ctx, &b->down, &b->m, "down", 4 * WIDE, WIDE, true, TP_F32);
}

static void gpt_init(tp_ctx *ctx, gpt *net)
{
    tp_module_init(ctx, &net->m, NULL, "GPT", "");
    tp_embedding_init(ctx, &net->token, &net->m, "token", CHARS, WIDE, TP_F32);
    tp_embedding_init(ctx, &net->place, &net->m, "place", LENGTH, WIDE, TP_F32);
    for (int i = 0; i < LAYERS; i++)
        block_init(ctx, &net->blocks[i], &net->m, (char[]){ 'b', (char)('0' + i), 0 });
    tp_layer_norm_init(ctx, &net->norm, &net->m, "norm", WIDE, 1e-5, TP_F32);
    tp_linear_init(ctx, &net->head, &net->m, "head", WIDE, CHARS, false, TP_F32);
    tp_init_normal(ctx, net->token.w, 0, 0.02);
    tp_init_normal(ctx, net->place.w, 0, 0.02);
}

static tp_tensor *block_forward(tp_ctx *ctx, block *b, tp_tensor *x) /* [B, S, WIDE] -> the same */
{
    int64_t    batch = tp_dim(x, 0), length = tp_dim(x, 1);
    tp_tensor *y = tp_linear_forward(ctx, &b->qkv, tp_layer_norm_forward(ctx, &b->norm1, x)), *p[3];

    tp_chunk(ctx, tp_reshape(ctx, y, TP_SHAPE(batch, length, 3 * HEADS, WIDE / HEADS)), 2, 3, p);
    y = tp_attention(ctx, p[0], p[1], p[2], &(tp_attention_opts){ .causal = true });
    x = tp_add(ctx, x, tp_linear_forward(ctx, &b->proj, tp_reshape(ctx, y, TP_SHAPE(batch, length, WIDE))));
    y = tp_linear_forward(ctx, &b->up, tp_layer_norm_forward(ctx, &b->norm2, x));
    return tp_add(ctx, x, tp_linear_forward(ctx, &b->down, tp_gelu(ctx, y)));
}

static tp_tensor *gpt_forward(tp_ctx *ctx, gpt *net, tp_tensor *ids)
{
    tp_tensor *x = tp_embedding_forward(ctx, &net->token, ids); /* [B, S] -> [B, S, WIDE] */

    x = tp_add(ctx, x, tp_narrow(ctx, net->place.w, 0, 0, tp_dim(ids, 1)));
    for (int i = 0; i < LAYERS; i++)
        x = block_forward(ctx, &net->blocks[i], x);
    return tp_linear_forward(ctx, &net->head, tp_layer_norm_forward(ctx, &net->norm, x));
}

static void write_some(tp_ctx *ctx, gpt *net, int count)
{
    int32_t ids[WRITE + 2] = { '\n' };

    tp_record(ctx, false);
    for (int n = 1; n <= count && tp_ok(ctx); n++) {
        tp_scope   s = tp_scope_begin(ctx);
        int        from = n > LENGTH ? n - LENGTH : 0;
        tp_tensor *y = gpt_forward(ctx, net, tp_from(ctx, TP_I32, TP_SHAPE(1, n - from), ids + from));
        tp_tensor *p = tp_softmax(ctx, tp_scale(ctx, tp_select(ctx, y, 1, -1), 1 / 0.8), -1);

        ids[n] = (int32_t)tp_item(ctx, tp_multinomial(ctx, p, 1, true));
        putchar(ids[n]);
        tp_scope_end(ctx, s);
    }
}

int main(int argc, char **argv)
{
    int         steps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : STEPS;
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    tp_samples *text = tp_samples_windows(ctx, tp_tokens_read(ctx, argc > 1 ? argv[1] : "alice.txt", 1, CHARS), LENGTH, 1);
    tp_loader  *batches = tp_samples_loader(ctx, text, &(tp_loader_opts){ .batch = BATCH, .seed = 1 });
    tp_schedule fall = { .decay = TP_COSINE, .warmup = 20, .steps = steps };
    gpt         net;

    tp_seed(ctx, 1);
    gpt_init(ctx, &net);
    tp_optim *opt = tp_adamw_new(ctx, &net.m, &(tp_adamw_opts){ .beta2 = 0.99, .weight_decay = 0.01 });

    for (int step = 1; step <= steps && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *b[2];

        tp_samples_next(ctx, batches, b);
        tp_tensor *loss = tp_cross_entropy(ctx, gpt_forward(ctx, &net, b[0]), b[1], NULL);
        tp_backward(ctx, loss);
        tp_optim_set_lr(opt, 8e-3 * tp_schedule_factor(&fall, step - 1));
        tp_optim_step(ctx, opt);
        if (step % 100 == 0)
            printf("step %3d  loss %.4f\n", step, tp_item(ctx, loss));
        tp_scope_end(ctx, s);
    }
    write_some(ctx, &net, steps < STEPS ? 2 : WRITE);
    tp_optim_free(opt);
    tp_loader_free(batches);
    tp_samples_free(text);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
