/*
 * bench_small.c - what Tapir takes for small networks and for single ops on 16 M floats; bench_small.py sets it beside PyTorch.
 *
 * build: cc -O2 -fopenmp bench_small.c -o bench_small $(pkg-config --cflags --libs tapir)
 * usage: bench_small CASE THREADS     mlp gpt32 gpt1 cnn: seconds a training step;
 *        ops: seconds of each op; a line "NAME SECONDS" each
 */
#include <tapir.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MLP_IN = 64, MLP_OUT = 10, MLP_BATCH = 32, VOCAB = 65, WIDE = 128, HEADS = 4, LAYERS = 4, CONTEXT = 64, OPS_N = 1 << 24 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- MLP 64-64-10 ------------------------------------------------------------------------------------------------ */

typedef struct {
    tp_module m;
    tp_linear one, two;
} mlp;

static tp_tensor *mlp_loss(tp_ctx *ctx, void *net, tp_tensor *x, tp_tensor *want)
{
    mlp       *n = (mlp *)net;
    tp_tensor *h = tp_relu(ctx, tp_linear_forward(ctx, &n->one, x));

    return tp_cross_entropy(ctx, tp_linear_forward(ctx, &n->two, h), want, NULL);
}

/* ---- a GPT over characters: 4 layers, 128 wide, 4 heads ---------------------------------------------------------- */

typedef struct {
    tp_module     m;
    tp_layer_norm norm1, norm2;
    tp_linear     qkv, out, up, down;
} block;

typedef struct {
    tp_module     m;
    tp_embedding  token, place;
    block         layer[LAYERS];
    tp_layer_norm norm;
    tp_linear     head;
} gpt;

static void gpt_init(tp_ctx *ctx, gpt *g)
{
    tp_module_init(ctx, &g->m, NULL, "GPT", "");
    tp_embedding_init(ctx, &g->token, &g->m, "token", VOCAB, WIDE, TP_F32);
    tp_embedding_init(ctx, &g->place, &g->m, "place", CONTEXT, WIDE, TP_F32);
    for (int i = 0; i < LAYERS; i++) {
        block *b = &g->layer[i];
        char   name[16];

        snprintf(name, sizeof name, "layer%d", i);
        tp_module_init(ctx, &b->m, &g->m, "Block", name);
        tp_layer_norm_init(ctx, &b->norm1, &b->m, "norm1", WIDE, 1e-5, TP_F32);
        tp_linear_init(ctx, &b->qkv, &b->m, "qkv", WIDE, 3 * WIDE, true, TP_F32);
        tp_linear_init(ctx, &b->out, &b->m, "out", WIDE, WIDE, true, TP_F32);
        tp_layer_norm_init(ctx, &b->norm2, &b->m, "norm2", WIDE, 1e-5, TP_F32);
        tp_linear_init(ctx, &b->up, &b->m, "up", WIDE, 4 * WIDE, true, TP_F32);
        tp_linear_init(ctx, &b->down, &b->m, "down", 4 * WIDE, WIDE, true, TP_F32);
    }
    tp_layer_norm_init(ctx, &g->norm, &g->m, "norm", WIDE, 1e-5, TP_F32);
    tp_linear_init(ctx, &g->head, &g->m, "head", WIDE, VOCAB, true, TP_F32);
}

static tp_tensor *block_forward(tp_ctx *ctx, block *b, tp_tensor *x)
{
    int64_t    n = tp_dim(x, 0), s = tp_dim(x, 1);
    tp_tensor *qkv = tp_reshape(ctx, tp_linear_forward(ctx, &b->qkv, tp_layer_norm_forward(ctx, &b->norm1, x)),
                                TP_SHAPE(n, s, 3, HEADS, WIDE / HEADS));
    tp_tensor *o = tp_attention(ctx, tp_select(ctx, qkv, 2, 0), tp_select(ctx, qkv, 2, 1), tp_select(ctx, qkv, 2, 2),
                                &(tp_attention_opts){ .causal = true });

    x = tp_add(ctx, x, tp_linear_forward(ctx, &b->out, tp_reshape(ctx, o, TP_SHAPE(n, s, WIDE))));
    o = tp_gelu(ctx, tp_linear_forward(ctx, &b->up, tp_layer_norm_forward(ctx, &b->norm2, x)));
    return tp_add(ctx, x, tp_linear_forward(ctx, &b->down, o));
}

static tp_tensor *gpt_loss(tp_ctx *ctx, void *net, tp_tensor *ids, tp_tensor *want)
{
    gpt       *g = (gpt *)net;
    tp_tensor *x = tp_add(ctx, tp_embedding_forward(ctx, &g->token, ids), g->place.w);

    for (int i = 0; i < LAYERS; i++)
        x = block_forward(ctx, &g->layer[i], x);
    return tp_cross_entropy(ctx, tp_linear_forward(ctx, &g->head, tp_layer_norm_forward(ctx, &g->norm, x)), want, NULL);
}

/* ---- a CNN on 8 x 8 ---------------------------------------------------------------------------------------------- */

static tp_tensor *halved(tp_ctx *ctx, tp_tensor *x)
{
    return tp_max_pool2d(ctx, x, &(tp_pool_opts){ .size = { 2 } });
}

static tp_tensor *flat(tp_ctx *ctx, tp_tensor *x)
{
    return tp_flatten(ctx, x, 1, -1);
}

static tp_tensor *cnn_loss(tp_ctx *ctx, void *net, tp_tensor *x, tp_tensor *want)
{
    return tp_cross_entropy(ctx, tp_sequential_forward(ctx, (tp_sequential *)net, x), want, NULL);
}

/* ---- timing ------------------------------------------------------------------------------------------------------ */

typedef tp_tensor *(*loss_fn)(tp_ctx *ctx, void *net, tp_tensor *x, tp_tensor *want);

/* Seconds of the quickest of several rounds of steps, a step. */
static double train(tp_ctx *ctx, loss_fn loss, void *net, tp_module *root, tp_tensor *x, tp_tensor *want, int steps)
{
    double    best = 1e30;
    tp_optim *opt = tp_adamw_new(ctx, root, &(tp_adamw_opts){ .lr = 1e-3, .weight_decay = 0.01 });

    for (int round = 0; round < 12; round++) {
        double t = now();

        for (int i = 0; i < steps; i++) {
            tp_scope s = tp_scope_begin(ctx);

            tp_backward(ctx, loss(ctx, net, x, want));
            tp_optim_step(ctx, opt);
            tp_scope_end(ctx, s);
        }
        t = (now() - t) / steps;
        best = t < best ? t : best;
    }
    tp_optim_free(opt);
    return best;
}

static void run_mlp(tp_ctx *ctx)
{
    mlp        net;
    tp_tensor *x = tp_randn(ctx, TP_F32, TP_SHAPE(MLP_BATCH, MLP_IN));
    tp_tensor *want = tp_randint(ctx, TP_I64, TP_SHAPE(MLP_BATCH), 0, MLP_OUT);

    tp_module_init(ctx, &net.m, NULL, "MLP", "");
    tp_linear_init(ctx, &net.one, &net.m, "one", MLP_IN, 64, true, TP_F32);
    tp_linear_init(ctx, &net.two, &net.m, "two", 64, MLP_OUT, true, TP_F32);
    printf("mlp %.4e\n", train(ctx, mlp_loss, &net, &net.m, x, want, 500));
    tp_module_free(&net.m);
}

static void run_cnn(tp_ctx *ctx)
{
    const tp_conv_opts pad = { .pad = { 1, 1 } };
    tp_sequential      net;
    tp_tensor         *x = tp_randn(ctx, TP_F32, TP_SHAPE(64, 1, 8, 8));
    tp_tensor         *want = tp_randint(ctx, TP_I64, TP_SHAPE(64), 0, 10);

    tp_sequential_init(ctx, &net, NULL, "");
    tp_sequential_conv2d(ctx, &net, 1, 16, 3, 3, true, TP_F32, &pad);
    tp_sequential_apply(ctx, &net, tp_relu);
    tp_sequential_conv2d(ctx, &net, 16, 32, 3, 3, true, TP_F32, &pad);
    tp_sequential_apply(ctx, &net, tp_relu);
    tp_sequential_apply(ctx, &net, halved);
    tp_sequential_apply(ctx, &net, flat);
    tp_sequential_linear(ctx, &net, 32 * 16, 10, true, TP_F32);
    printf("cnn %.4e\n", train(ctx, cnn_loss, &net, &net.m, x, want, 50));
    tp_module_free(&net.m);
}

static void run_gpt(tp_ctx *ctx, const char *name, int batch)
{
    gpt       *g = calloc(1, sizeof *g);
    tp_tensor *x = tp_randint(ctx, TP_I64, TP_SHAPE(batch, CONTEXT), 0, VOCAB);
    tp_tensor *want = tp_randint(ctx, TP_I64, TP_SHAPE(batch, CONTEXT), 0, VOCAB);

    if (!g)
        return;
    gpt_init(ctx, g);
    printf("%s %.4e\n", name, train(ctx, gpt_loss, g, &g->m, x, want, batch > 1 ? 4 : 40));
    tp_module_free(&g->m);
    free(g);
}

/* ---- single ops -------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_tensor *a, *b, *mask, *rows;
} operands;

typedef struct {
    const char *name;
    tp_tensor *(*run)(tp_ctx *ctx, const operands *o);
} op_case;

static tp_tensor *op_add(tp_ctx *ctx, const operands *o) { return tp_add(ctx, o->a, o->b); }
static tp_tensor *op_mul(tp_ctx *ctx, const operands *o) { return tp_mul(ctx, o->a, o->b); }
static tp_tensor *op_relu(tp_ctx *ctx, const operands *o) { return tp_relu(ctx, o->a); }
static tp_tensor *op_where(tp_ctx *ctx, const operands *o) { return tp_where(ctx, o->mask, o->a, o->b); }
static tp_tensor *op_bf16(tp_ctx *ctx, const operands *o) { return tp_cast(ctx, o->a, TP_BF16); }
static tp_tensor *op_f64(tp_ctx *ctx, const operands *o) { return tp_cast(ctx, o->a, TP_F64); }
static tp_tensor *op_sum(tp_ctx *ctx, const operands *o) { return tp_sum(ctx, o->a, NULL, 0, false); }
static tp_tensor *op_max(tp_ctx *ctx, const operands *o) { return tp_max(ctx, o->a, NULL, 0, false); }
static tp_tensor *op_exp(tp_ctx *ctx, const operands *o) { return tp_exp(ctx, o->a); }
static tp_tensor *op_tanh(tp_ctx *ctx, const operands *o) { return tp_tanh(ctx, o->a); }
static tp_tensor *op_erf(tp_ctx *ctx, const operands *o) { return tp_erf(ctx, o->a); }
static tp_tensor *op_gelu(tp_ctx *ctx, const operands *o) { return tp_gelu(ctx, o->a); }
static tp_tensor *op_softmax(tp_ctx *ctx, const operands *o) { return tp_softmax(ctx, o->rows, -1); }

static const op_case op_cases[] = {
    { "add", op_add },   { "mul", op_mul },   { "relu", op_relu }, { "where", op_where }, { "bf16", op_bf16 },
    { "f64", op_f64 },   { "sum", op_sum },   { "max", op_max },   { "exp", op_exp },     { "tanh", op_tanh },
    { "erf", op_erf },   { "gelu", op_gelu }, { "softmax", op_softmax },
};

/* What the machine's memory gives: both halves of the bytes by memcpy, on all threads. */
static double copy_seconds(const float *x, float *y, int threads)
{
    double best = 1e30;

    for (int round = 0; round < 12; round++) {
        double t = now();

#pragma omp parallel for num_threads(threads)
        for (int i = 0; i < threads; i++)
            memcpy(y + (size_t)i * (OPS_N / threads), x + (size_t)i * (OPS_N / threads), OPS_N / threads * sizeof *x);
        t = now() - t;
        best = t < best ? t : best;
    }
    return best;
}

static void run_ops(tp_ctx *ctx, int threads)
{
    operands   o = { tp_randn(ctx, TP_F32, TP_SHAPE(OPS_N)), tp_randn(ctx, TP_F32, TP_SHAPE(OPS_N)), NULL, NULL };
    tp_tensor *y = tp_zeros(ctx, TP_F32, TP_SHAPE(OPS_N));

    o.mask = tp_gt(ctx, o.a, o.b);
    o.rows = tp_reshape(ctx, o.a, TP_SHAPE(4096, OPS_N / 4096));
    if (!tp_ok(ctx))
        return;
    printf("copy %.4e\n", copy_seconds(tp_f32(ctx, o.a), tp_f32(ctx, y), threads));
    for (size_t i = 0; i < sizeof op_cases / sizeof *op_cases; i++) {
        double best = 1e30;

        for (int round = 0; round < 12; round++) {
            tp_scope s = tp_scope_begin(ctx);
            double   t = now();

            op_cases[i].run(ctx, &o);
            t = now() - t;
            best = t < best ? t : best;
            tp_scope_end(ctx, s);
        }
        printf("%s %.4e\n", op_cases[i].name, best);
    }
}

int main(int argc, char **argv)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    const char *what = argc > 1 ? argv[1] : "";
    int         threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1;

    tp_set_threads(ctx, threads);
    if (!strcmp(what, "mlp"))
        run_mlp(ctx);
    else if (!strcmp(what, "gpt32"))
        run_gpt(ctx, "gpt32", 32);
    else if (!strcmp(what, "gpt1"))
        run_gpt(ctx, "gpt1", 1);
    else if (!strcmp(what, "cnn"))
        run_cnn(ctx);
    else if (!strcmp(what, "ops"))
        run_ops(ctx, threads);
    else
        tp_fail(ctx, TP_EARG, "usage: bench_small mlp|gpt32|gpt1|cnn|ops THREADS");
    return tp_ctx_finish(ctx);
}
