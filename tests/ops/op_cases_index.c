/* op_cases_index.c - samples for rows and elements by number, order, random tensors. */
#include "op_table.h"

static const char *const tables[] = { "4x3 5", "5x2 2x3", "4x1 .", "7x4 0", NULL };
static const char *const lists[] = { "3x5 4", "4x2x3 7", "3x2x0 2", "5x3 0", NULL };
static const char *const picks[] = { "2x3 2x5", "3 4", "2x3x3 2x3x1", "0x3 0x2", NULL };
static const char *const picks_first[] = { "2x3 5x3", "3 4", "2x3x2 1x3x2", "2x0 3x0", NULL };
static const char *const adds[] = { "2x3 2x5 2x5", "3 4 4", "0x3 0x2 0x2", "2x1x3 2x1x2 2x1x2", NULL };
static const char *const classes[] = { "5", "3x4", "2x1x7", NULL };
static const char *const nothing[] = { "", NULL };

static tp_tensor *embed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_embed(ctx, in[0], in[1]);
}

static tp_tensor *embed_i32(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_embed(ctx, in[0], in[1]);
}

static tp_tensor *index_select_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_index_select(ctx, in[0], 0, in[1]);
}

static tp_tensor *index_select_middle(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_index_select(ctx, in[0], 1, in[1]);
}

static tp_tensor *gather_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_gather(ctx, in[0], -1, in[1]);
}

static tp_tensor *gather_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_gather(ctx, in[0], 0, in[1]);
}

static tp_tensor *scatter_add(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_scatter_add(ctx, in[0], -1, in[1], in[2]);
}

static tp_tensor *one_hot(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_one_hot(ctx, in[0], 4, TP_F32);
}

static tp_tensor *sort_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_sort(ctx, in[0], -1, false, NULL);
}

static tp_tensor *sort_first(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *places, *y = tp_sort(ctx, in[0], 0, true, &places);

    return tp_mul(ctx, y, tp_cast(ctx, places, tp_dtype_of(y)));
}

static tp_tensor *argsort(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_argsort(ctx, in[0], 0, true);
}

static tp_tensor *topk(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *places;

    return tp_topk(ctx, in[0], -1, 2, &places);
}

static tp_tensor *uniform(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_uniform(ctx, TP_F32, TP_SHAPE(3, 5), -1, 2);
}

static tp_tensor *rand_bf16(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_rand(ctx, TP_BF16, TP_SHAPE(33));
}

static tp_tensor *normal(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_normal(ctx, TP_F64, TP_SHAPE(7, 3), 1, 0.5);
}

static tp_tensor *randn(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_randn(ctx, TP_F32, TP_SHAPE(1000));
}

static tp_tensor *bernoulli(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_bernoulli(ctx, TP_F32, TP_SHAPE(100), 0.3);
}

static tp_tensor *randint(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_randint(ctx, TP_I32, TP_SHAPE(100), -3, 5);
}

static tp_tensor *multinomial(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_multinomial(ctx, in[0], 3, true);
}

static tp_tensor *multinomial_without(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_multinomial(ctx, in[0], 2, false);
}

const op_case op_cases_index[] = {
    { "tp_embed", "Ri", tables, OP_GRAD | OP_INTS, .limit = 4, .fn = embed },
    { "tp_embed", "Rj", tables, OP_GRAD | OP_INTS, .limit = 4, .fn = embed_i32 },
    { "tp_index_select", "Ri", lists, OP_GRAD | OP_INTS, .limit = 3, .fn = index_select_first },
    { "tp_index_select", "Rj", lists, OP_GRAD | OP_INTS, .limit = 2, .fn = index_select_middle },
    { "tp_gather", "Ri", picks, OP_GRAD | OP_INTS, .limit = 3, .fn = gather_last },
    { "tp_gather", "Rj", picks_first, OP_GRAD | OP_INTS, .limit = 2, .fn = gather_first },
    { "tp_scatter_add", "RiR", adds, OP_GRAD | OP_INTS, .limit = 3, .fn = scatter_add },
    { "tp_one_hot", "i", op_shapes_one, 0, .limit = 4, .fn = one_hot },
    { "tp_sort", "D", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = sort_last },
    { "tp_sort", "D", op_shapes_matrix, OP_GRAD, .fn = sort_first },
    { "tp_argsort", "D", op_shapes_matrix, OP_INTS, .fn = argsort },
    { "tp_topk", "D", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = topk },
    { "tp_uniform", "", nothing, 0, .fn = uniform },
    { "tp_rand", "", nothing, 0, .fn = rand_bf16 },
    { "tp_normal", "", nothing, 0, .fn = normal },
    { "tp_randn", "", nothing, 0, .fn = randn },
    { "tp_bernoulli", "", nothing, 0, .fn = bernoulli },
    { "tp_randint", "", nothing, 0, .fn = randint },
    { "tp_multinomial", "U", classes, 0, .fn = multinomial },
    { "tp_multinomial", "U", classes, 0, .fn = multinomial_without },
    { .name = NULL },
};
