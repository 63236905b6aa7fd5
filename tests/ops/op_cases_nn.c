/* op_cases_nn.c - samples for products, losses, norms, attention, dropout. */
#include "op_table.h"

static const char *const products[] = {
    "3x5 5x2", "1x1 1x1", "2x4x3 3x5", "2x1x3x4 5x4x2", "7x2x3 7x3x1", "5 5", "4x5 5", "5 2x5x3", "2x0 0x3",
    "0x2 2x3", "1x3x2 4x2x5", NULL
};
static const char *const vectors[] = { "3 5", "1 1", "0 2", NULL };
static const char *const equal_vectors[] = { "5 5", "1 1", "0 0", NULL };
static const char *const layers[] = { "3x5 2x5 2", "5 3x5 3", "2x3x4 7x4 7", "1x1 1x1 1", "0x3 2x3 2", NULL };
static const char *const blocks[] = {
    "3x8 4x2x2 3x8", "2x3x7 3x3x3 2x3x7", "5x6 2x5x4 5x8", "0x4 2x2x4 0x7", "1x13 13x1x1 1x8", NULL
};
static const char *const cubes[] = { "2x3x5", "3x1x2", "1x1x1", NULL };
static const char *const targets[] = { "3x5 3", "2x4x5 2x4", "7x5 7", "0x5 0", "1x5 1", NULL };
static const char *const heads[] = { "9x4 7x4 9", "2x3x5 7x5 2x3", "1x3 7x3 1", "0x3 7x3 0", NULL };
static const char *const norms[] = { "3x5 5 5", "2x3x8 8 8", "1x1 1 1", "0x3 3 3", "7x33 33 33", NULL };
static const char *const wide_rows[] = { "3x5", "2x3x8", "0x3", NULL };
static const char *const residuals[] = { "3x5 3x5 5", "2x3x8 2x3x8 8", "0x3 0x3 3", NULL };
static const char *const turns[] = { "2x3x2x4 2 2x3", "1x1x1x2 1 1x1", "2x5x3x6 3 2x5", "0x3x2x4 2 0x3", NULL };
static const char *const heads_of[] = {
    "1x3x2x4 1x3x2x4 1x3x2x4 1x3x2", "2x4x4x3 2x5x2x3 2x5x2x3 2x4x2", "1x1x1x1 1x1x1x1 1x1x1x1 1x1x2",
    "1x7x3x5 1x7x1x5 1x7x1x5 1x7x2", "1x2x1x4 1x0x1x4 1x0x1x4 1x2x2", NULL
};

static tp_tensor *matmul(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_matmul(ctx, in[0], in[1]);
}

static tp_tensor *outer(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_outer(ctx, in[0], in[1]);
}

static tp_tensor *dot(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_dot(ctx, in[0], in[1]);
}

static tp_tensor *affine(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_affine(ctx, in[0], in[1], in[2]);
}

static tp_tensor *affine_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_affine(ctx, in[0], in[1], in[2]);
}

static tp_tensor *matmul_nt(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_matmul_nt(ctx, in[0], in[1]);
}

static tp_tensor *matmul_nt_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_matmul_nt(ctx, in[0], in[1]);
}

static tp_tensor *block_diag(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_block_diag(ctx, in[0], in[1], 7);
}

static tp_tensor *block_diag_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_block_diag(ctx, in[0], in[1], 8);
}

static tp_tensor *block_diag_add(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_block_diag_add(ctx, in[2], in[0], in[1]);
}

static tp_tensor *softmax_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_softmax(ctx, in[0], -1);
}

static tp_tensor *softmax_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_softmax(ctx, in[0], 0);
}

static tp_tensor *log_softmax_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_log_softmax(ctx, in[0], -1);
}

static tp_tensor *log_softmax_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_log_softmax(ctx, in[0], 0);
}

static tp_tensor *cross_entropy(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cross_entropy(ctx, in[0], in[1], NULL);
}

static tp_tensor *cross_entropy_smooth(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cross_entropy(ctx, in[0], in[1], &(tp_loss_opts){ .smoothing = 0.2, .sum = true });
}

static tp_tensor *nll(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_nll(ctx, in[0], in[1], NULL);
}

static tp_tensor *head(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *count, *sum = tp_linear_cross_entropy(ctx, in[0], in[1], in[2], NULL, &count);

    return tp_div(ctx, sum, tp_shift(ctx, count, 1));
}

static tp_tensor *head_smooth(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_linear_cross_entropy(ctx, in[0], in[1], in[2], &(tp_loss_opts){ .smoothing = 0.1 }, NULL);
}

static tp_tensor *mse(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_mse(ctx, in[0], in[1], NULL);
}

static tp_tensor *bce_with_logits(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_bce_with_logits(ctx, in[0], in[1], NULL);
}

static tp_tensor *mse_sum(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_mse(ctx, in[0], in[1], &(tp_loss_opts){ .sum = true });
}

static tp_tensor *l1(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_l1(ctx, in[0], in[1], NULL);
}

static tp_tensor *huber(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_huber(ctx, in[0], in[1], 0.5, NULL);
}

static tp_tensor *kl_div(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_kl_div(ctx, in[0], in[1], NULL);
}

static tp_tensor *layernorm(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_layernorm(ctx, in[0], in[1], in[2], 1e-5);
}

static tp_tensor *layernorm_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_layernorm(ctx, in[0], in[1], in[2], 1e-5);
}

static tp_tensor *layernorm_plain(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_layernorm(ctx, in[0], NULL, NULL, 1e-5);
}

static tp_tensor *layernorm_scale(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_layernorm(ctx, in[0], in[1], NULL, 1e-5);
}

static tp_tensor *rmsnorm(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_rmsnorm(ctx, in[0], in[1], 1e-5);
}

static tp_tensor *rmsnorm_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_rmsnorm(ctx, in[0], in[1], 1e-5);
}

static tp_tensor *add_rmsnorm(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *h, *y = tp_add_rmsnorm(ctx, in[0], in[1], in[2], 1e-5, &h);

    return tp_add(ctx, y, tp_square(ctx, h));
}

static tp_tensor *add_rmsnorm_y(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *h;

    return tp_add_rmsnorm(ctx, in[0], in[1], in[2], 1e-5, &h);
}

static tp_tensor *add_rmsnorm_h(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *h, *y = tp_add_rmsnorm(ctx, in[0], in[1], in[2], 1e-5, &h);

    return y ? h : NULL;
}

static tp_tensor *rope(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_rope(ctx, in[0], &(tp_rope_opts){ .freq = in[1], .base = 3 });
}

static tp_tensor *rope_at(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_rope(ctx, in[0], &(tp_rope_opts){ .freq = in[1], .pos = in[2], .mult = 1.5 });
}

static tp_tensor *attention(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_attention(ctx, in[0], in[1], in[2], NULL);
}

static tp_tensor *attention_causal(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_attention(ctx, in[0], in[1], in[2], &(tp_attention_opts){ .causal = true, .scale = 0.3 });
}

static tp_tensor *attention_window(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_attention(ctx, in[0], in[1], in[2], &(tp_attention_opts){ .window = 2 });
}

static tp_tensor *attention_range(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_attention(ctx, in[0], in[1], in[2], &(tp_attention_opts){ .range = in[3] });
}

static tp_tensor *attention_limits(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_attention(ctx, in[0], in[1], in[2], &(tp_attention_opts){ .range = in[3], .window = 3, .causal = true });
}

static tp_tensor *dropout(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_dropout(ctx, in[0], 0.3, true);
}

static tp_tensor *dropout_off(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_dropout(ctx, in[0], 0.3, false);
}

const op_case op_cases_nn[] = {
    { "tp_matmul", "RR", products, OP_GRAD, .fn = matmul },
    { "tp_outer", "RR", vectors, OP_GRAD, .fn = outer },
    { "tp_dot", "RR", equal_vectors, OP_GRAD, .fn = dot },
    { "tp_affine", "RRR", layers, OP_GRAD, .fn = affine },
    { "tp_affine", "RMM", layers, OP_GRAD, .fn = affine_mixed },
    { "tp_matmul_nt", "RR", layers, OP_GRAD, .fn = matmul_nt },
    { "tp_matmul_nt", "RM", layers, OP_GRAD, .fn = matmul_nt_mixed },
    { "tp_block_diag", "RR", blocks, OP_GRAD, .fn = block_diag },
    { "tp_block_diag", "RM", blocks, OP_GRAD, .fn = block_diag_mixed },
    { "tp_block_diag_add", "RMR", blocks, OP_GRAD, .fn = block_diag_add },
    { "tp_softmax", "R", op_shapes_matrix, OP_GRAD, .fn = softmax_last },
    { "tp_softmax", "R", cubes, OP_GRAD, .fn = softmax_first },
    { "tp_log_softmax", "R", op_shapes_matrix, OP_GRAD, .fn = log_softmax_last },
    { "tp_log_softmax", "R", cubes, OP_GRAD, .fn = log_softmax_first },
    { "tp_cross_entropy", "Rt", targets, OP_GRAD, .limit = 5, .fn = cross_entropy },
    { "tp_cross_entropy", "Rt", targets, OP_GRAD, .limit = 5, .fn = cross_entropy_smooth },
    { "tp_nll", "Rt", targets, OP_GRAD, .limit = 5, .fn = nll },
    { "tp_linear_cross_entropy", "RRt", heads, OP_GRAD, .limit = 7, .fn = head },
    { "tp_linear_cross_entropy", "RRt", heads, OP_GRAD, .limit = 7, .fn = head_smooth },
    { "tp_mse", "RU", op_shapes_two, OP_GRAD, .fn = mse },
    { "tp_bce_with_logits", "RU", op_shapes_two, OP_GRAD, .fn = bce_with_logits },
    { "tp_mse", "RU", op_shapes_two, OP_GRAD, .fn = mse_sum },
    { "tp_l1", "DU", op_shapes_two, OP_GRAD, .fn = l1 },
    { "tp_huber", "DU", op_shapes_two, OP_GRAD, .fn = huber },
    { "tp_kl_div", "RU", op_shapes_two, OP_GRAD, .fn = kl_div },
    { "tp_layernorm", "RRR", norms, OP_GRAD, .fn = layernorm },
    { "tp_layernorm", "RMM", norms, OP_GRAD, .fn = layernorm_mixed },
    { "tp_layernorm", "R", wide_rows, OP_GRAD, .fn = layernorm_plain },
    { "tp_layernorm", "RR", norms, OP_GRAD, .fn = layernorm_scale },
    { "tp_rmsnorm", "RR", norms, OP_GRAD, .fn = rmsnorm },
    { "tp_rmsnorm", "RM", norms, OP_GRAD, .fn = rmsnorm_mixed },
    { "tp_add_rmsnorm", "RRR", residuals, OP_GRAD, .fn = add_rmsnorm },
    { "tp_add_rmsnorm", "RRM", residuals, OP_GRAD, .fn = add_rmsnorm_y },
    { "tp_add_rmsnorm", "RRM", residuals, OP_GRAD, .fn = add_rmsnorm_h },
    { "tp_rope", "Rf", turns, OP_GRAD, .fn = rope },
    { "tp_rope", "Rfq", turns, OP_GRAD, .fn = rope_at },
    { "tp_attention", "RRR", heads_of, OP_GRAD, .fn = attention },
    { "tp_attention", "RRR", heads_of, OP_GRAD, .fn = attention_causal },
    { "tp_attention", "RRR", heads_of, OP_GRAD, .fn = attention_window },
    { "tp_attention", "RRRg", heads_of, OP_GRAD, .fn = attention_range },
    { "tp_attention", "RRRg", heads_of, OP_GRAD, .fn = attention_limits },
    { "tp_dropout", "R", op_shapes_one, OP_GRAD, .fn = dropout },
    { "tp_dropout", "R", op_shapes_one, OP_GRAD, .fn = dropout_off },
    { .name = NULL },
};
