/* op_cases_shape.c - samples for reductions, views, joins, and tensors made from a rule. */
#include "op_table.h"

static const char *const filled[] = { "2x3", ".", "1", "7x1x5", NULL };
static const char *const rows[] = { "3x5", "1x7", "2x4x3", "0x3", NULL };
static const char *const blocks[] = { "2x3x5", "3x1x2", "4x7x3", NULL };
static const char *const cubes[] = { "2x3x5", "3x1x2", "1x1x1", "4x7x3", NULL };
static const char *const several[] = { "3x5", "2x4x3", "5x3", NULL };
static const char *const threes[] = { "3x5", "2x3x7", "6", "0x3", NULL };
static const char *const ones[] = { "3x1x2", "5x1", "0x1", NULL };
static const char *const spread[] = { "2x1", "1x3", "5x3", NULL };
static const char *const fives[] = { "2x5", "5", "0x5", "3x2x5", NULL };
static const char *const joins[] = { "2x3 2x5", "0x1 0x2", "3x2x4 3x1x4", "2x0 2x3", NULL };
static const char *const pairs[] = { "2x3 2x3", "5 5", "0x2 0x2", NULL };
static const char *const pages[] = { "2x3", "4x1x5", "0x2", NULL };
static const char *const nothing[] = { "", NULL };

static tp_tensor *sum_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_sum(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *sum_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_sum(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *sum_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_sum(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *mean_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_mean(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *mean_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_mean(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *mean_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_mean(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *prod_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_prod(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *prod_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_prod(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *prod_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_prod(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *max_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *max_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *max_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *min_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_min(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *min_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_min(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *min_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_min(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *logsumexp_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_logsumexp(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *logsumexp_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_logsumexp(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *logsumexp_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_logsumexp(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *norm_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_norm(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *norm_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_norm(ctx, in[0], TP_AXES(-1), true);
}

static tp_tensor *norm_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_norm(ctx, in[0], TP_AXES(0, 2), false);
}

static tp_tensor *var_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_var(ctx, in[0], TP_ALL_AXES, 0, false);
}

static tp_tensor *var_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_var(ctx, in[0], TP_AXES(0, 2), 1, true);
}

static tp_tensor *std_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_std(ctx, in[0], TP_ALL_AXES, 0, false);
}

static tp_tensor *std_two(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_std(ctx, in[0], TP_AXES(0, 2), 1, true);
}

static tp_tensor *argmax_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_argmax(ctx, in[0], -1, false);
}

static tp_tensor *argmax_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_argmax(ctx, in[0], 0, true);
}

static tp_tensor *argmin_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_argmin(ctx, in[0], -1, false);
}

static tp_tensor *argmin_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_argmin(ctx, in[0], 0, true);
}

static tp_tensor *any_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_any(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *any_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_any(ctx, in[0], TP_AXES(0), false);
}

static tp_tensor *all_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_all(ctx, in[0], TP_ALL_AXES, false);
}

static tp_tensor *all_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_all(ctx, in[0], TP_AXES(0), false);
}

static tp_tensor *cumsum_first(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cumsum(ctx, in[0], 0);
}

static tp_tensor *cumsum_last(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cumsum(ctx, in[0], -1);
}

static tp_tensor *reshape(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_reshape(ctx, in[0], TP_SHAPE(3, -1));
}

static tp_tensor *view(tp_ctx *ctx, tp_tensor *const *in)
{
    return in[0] ? tp_view(ctx, tp_contiguous(ctx, in[0]), TP_SHAPE(3, -1)) : tp_view(ctx, NULL, TP_SCALAR);
}

static tp_tensor *flatten(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_flatten(ctx, in[0], 0, -1);
}

static tp_tensor *flatten_some(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_flatten(ctx, in[0], 1, 2);
}

static tp_tensor *squeeze(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_squeeze(ctx, in[0], 1);
}

static tp_tensor *unsqueeze(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_unsqueeze(ctx, in[0], -1);
}

static tp_tensor *permute(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_permute(ctx, in[0], TP_AXES(2, 0, 1));
}

static tp_tensor *transpose(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_transpose(ctx, in[0], 0, -1);
}

static tp_tensor *broadcast_to(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_broadcast_to(ctx, in[0], TP_SHAPE(4, -1, 3));
}

static tp_tensor *expand(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_expand(ctx, in[0], TP_SHAPE(4, -1, 3));
}

static tp_tensor *slice(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_slice(ctx, in[0], -1, 1, TP_END, 2);
}

static tp_tensor *slice_back(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_slice(ctx, in[0], 0, -3, -1, 1);
}

static tp_tensor *narrow(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_narrow(ctx, in[0], 1, 1, 2);
}

static tp_tensor *select_one(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_select(ctx, in[0], 1, -1);
}

static tp_tensor *split(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *y[3];

    if (!tp_split(ctx, in[0], -1, 3, (const int64_t[]){ 1, 0, 4 }, y))
        return NULL;
    return tp_concat(ctx, TP_IN(y[2], tp_scale(ctx, y[0], 2), y[1], y[2]), -1);
}

static tp_tensor *chunk(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *y[4];

    if (!tp_chunk(ctx, in[0], -1, 4, y))
        return NULL;
    return tp_concat(ctx, TP_IN(y[3], y[1], y[2], y[0]), -1);
}

static tp_tensor *concat(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_concat(ctx, TP_IN(in[0], in[1], in[0]), 1);
}

static tp_tensor *stack(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_stack(ctx, TP_IN(in[0], in[1]), 1);
}

static tp_tensor *pad(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_pad(ctx, in[0], (const int64_t[]){ 1, 0, 2 }, (const int64_t[]){ 0, 3, 1 }, 7);
}

static tp_tensor *flip(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_flip(ctx, in[0], TP_AXES(0, -1));
}

static tp_tensor *flip_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_flip(ctx, in[0], TP_ALL_AXES);
}

static tp_tensor *roll(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_roll(ctx, in[0], -1, -4);
}

static tp_tensor *repeat(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_repeat(ctx, in[0], 3, (const int64_t[]){ 2, 1, 3 });
}

static tp_tensor *contiguous(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_contiguous(ctx, in[0]);
}

static tp_tensor *tril(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_tril(ctx, in[0], 1);
}

static tp_tensor *triu(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_triu(ctx, in[0], -1);
}

static tp_tensor *eye(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_eye(ctx, TP_F32, 3, 5);
}

static tp_tensor *linspace(tp_ctx *ctx, tp_tensor *const *in)
{
    (void)in;
    return tp_linspace(ctx, TP_F64, -1, 2, 7);
}

const op_case op_cases_shape[] = {
    { "tp_sum", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = sum_all },
    { "tp_sum", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = sum_last },
    { "tp_sum", "R", cubes, OP_GRAD | OP_INTS, .fn = sum_two },
    { "tp_mean", "R", filled, OP_GRAD, .fn = mean_all },
    { "tp_mean", "R", rows, OP_GRAD, .fn = mean_last },
    { "tp_mean", "R", cubes, OP_GRAD, .fn = mean_two },
    { "tp_prod", "Z", op_shapes_one, OP_GRAD | OP_INTS, .fn = prod_all },
    { "tp_prod", "Z", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = prod_last },
    { "tp_prod", "Z", cubes, OP_GRAD | OP_INTS, .fn = prod_two },
    { "tp_max", "D", filled, OP_GRAD | OP_INTS, .fn = max_all },
    { "tp_max", "D", rows, OP_GRAD | OP_INTS, .fn = max_last },
    { "tp_max", "D", cubes, OP_GRAD | OP_INTS, .fn = max_two },
    { "tp_min", "D", filled, OP_GRAD | OP_INTS, .fn = min_all },
    { "tp_min", "D", rows, OP_GRAD | OP_INTS, .fn = min_last },
    { "tp_min", "D", cubes, OP_GRAD | OP_INTS, .fn = min_two },
    { "tp_logsumexp", "R", op_shapes_one, OP_GRAD, .fn = logsumexp_all },
    { "tp_logsumexp", "R", op_shapes_matrix, OP_GRAD, .fn = logsumexp_last },
    { "tp_logsumexp", "R", cubes, OP_GRAD, .fn = logsumexp_two },
    { "tp_norm", "D", op_shapes_one, OP_GRAD, .fn = norm_all },
    { "tp_norm", "D", op_shapes_matrix, OP_GRAD, .fn = norm_last },
    { "tp_norm", "D", cubes, OP_GRAD, .fn = norm_two },
    { "tp_var", "D", several, OP_GRAD, .fn = var_all },
    { "tp_var", "D", blocks, OP_GRAD, .fn = var_two },
    { "tp_std", "D", several, OP_GRAD, .fn = std_all },
    { "tp_std", "D", blocks, OP_GRAD, .fn = std_two },
    { "tp_argmax", "D", rows, OP_INTS, .fn = argmax_last },
    { "tp_argmax", "R", several, OP_INTS, .fn = argmax_first },
    { "tp_argmin", "D", rows, OP_INTS, .fn = argmin_last },
    { "tp_argmin", "R", several, OP_INTS, .fn = argmin_first },
    { "tp_any", "b", op_shapes_one, 0, .fn = any_all },
    { "tp_any", "b", op_shapes_matrix, 0, .fn = any_first },
    { "tp_all", "b", op_shapes_one, 0, .fn = all_all },
    { "tp_all", "b", op_shapes_matrix, 0, .fn = all_first },
    { "tp_cumsum", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = cumsum_first },
    { "tp_cumsum", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = cumsum_last },
    { "tp_reshape", "R", threes, OP_GRAD | OP_INTS, .fn = reshape },
    { "tp_view", "R", threes, OP_GRAD | OP_INTS, .fn = view },
    { "tp_flatten", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = flatten },
    { "tp_flatten", "R", cubes, OP_GRAD | OP_INTS, .fn = flatten_some },
    { "tp_squeeze", "R", ones, OP_GRAD | OP_INTS, .fn = squeeze },
    { "tp_unsqueeze", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = unsqueeze },
    { "tp_permute", "R", cubes, OP_GRAD | OP_INTS, .fn = permute },
    { "tp_transpose", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = transpose },
    { "tp_broadcast_to", "R", spread, OP_GRAD | OP_INTS, .fn = broadcast_to },
    { "tp_expand", "R", spread, OP_GRAD | OP_INTS, .fn = expand },
    { "tp_slice", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = slice },
    { "tp_slice", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = slice_back },
    { "tp_narrow", "R", several, OP_GRAD | OP_INTS, .fn = narrow },
    { "tp_select", "R", several, OP_GRAD | OP_INTS, .fn = select_one },
    { "tp_split", "R", fives, OP_GRAD | OP_INTS, .fn = split },
    { "tp_chunk", "R", fives, OP_GRAD | OP_INTS, .fn = chunk },
    { "tp_concat", "RR", joins, OP_GRAD | OP_INTS, .fn = concat },
    { "tp_stack", "RR", pairs, OP_GRAD | OP_INTS, .fn = stack },
    { "tp_pad", "R", cubes, OP_GRAD | OP_INTS, .fn = pad },
    { "tp_flip", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = flip },
    { "tp_flip", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = flip_all },
    { "tp_roll", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = roll },
    { "tp_repeat", "R", pages, OP_GRAD | OP_INTS, .fn = repeat },
    { "tp_contiguous", "R", op_shapes_one, OP_GRAD | OP_INTS, .fn = contiguous },
    { "tp_tril", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = tril },
    { "tp_triu", "R", op_shapes_matrix, OP_GRAD | OP_INTS, .fn = triu },
    { "tp_eye", "", nothing, 0, .fn = eye },
    { "tp_linspace", "", nothing, 0, .fn = linspace },
    { .name = NULL },
};
