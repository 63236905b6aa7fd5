/* op_cases_nets.c - samples for convolution, pooling, batchnorm and groupnorm. */
#include "op_table.h"

static const char *const convs[] = {
    "2x3x5x7 4x3x3x2 4", "1x1x1x1 1x1x1x1 1", "0x2x4x3 3x2x2x2 3", "2x2x4x3 5x2x1x1 5", "1x2x3x3 0x2x2x2 0", NULL
};
static const char *const strided_convs[] = {
    "2x3x5x7 2x3x3x2 2", "1x1x2x1 1x1x1x3 1", "1x2x11x6 3x2x5x4 3", "2x1x5x6 3x1x3x3 3", NULL
};
static const char *const grouped_convs[] = { "2x4x5x4 6x2x3x3 6", "1x2x7x3 2x1x2x3 2", "0x4x3x3 2x2x3x3 2", NULL };
/* enough work for threads, and for oneDNN */
static const char *const deep_convs[] = { "3x13x9x7 17x13x3x3 17", "3x13x17x14 23x13x3x3 23", NULL };
static const char *const deep_groups[] = { "4x32x10x11 32x16x3x3 32", NULL };
static const char *const deep_strides[] = { "4x40x11x11 32x40x3x3 32", NULL };
static const char *const planes[] = { "2x3x5x7", "1x1x3x3", "0x2x4x5", "1x1x11x4", "1x2x6x6", NULL };
static const char *const batches[] = { "3x4x5x2 4 4", "7x3 3 3", "0x3x2 3 3", "2x1x5 1 1", "1x2x3 2 2", "5x13x1 13 13", NULL };
static const char *const fixed_batches[] = { "3x4x5x2 4 4", "7x3 3 3", "0x3x2 3 3", "1x1 1 1", NULL };
static const char *const grouped[] = { "3x4x5x2 4 4", "2x6 6 6", "0x2x2 2 2", "1x4x1x7 4 4", "1x4x33 4 4", NULL };

/* ---- convolution ------------------------------------------------------------------------------------------------- */

static tp_tensor *conv(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2], NULL);
}

static tp_tensor *conv_mixed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2], NULL);
}

static tp_tensor *conv_strided(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2],
                     &(tp_conv_opts){ .stride = { 2, 3 }, .pad = { 1, 2 }, .dilation = { 1, 2 } });
}

static tp_tensor *conv_dilated(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2], &(tp_conv_opts){ .pad = { 3 }, .dilation = { 2, 1 } });
}

static tp_tensor *conv_groups(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2], &(tp_conv_opts){ .groups = 2, .pad = { 1, -1 } });
}

static tp_tensor *conv_same(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], in[2], &(tp_conv_opts){ .pad = { 1 } });
}

static tp_tensor *conv_plain(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_conv2d(ctx, in[0], in[1], NULL, &(tp_conv_opts){ .stride = { 2 } });
}

/* ---- pooling ----------------------------------------------------------------------------------------------------- */

static tp_tensor *max_pool(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max_pool2d(ctx, in[0], &(tp_pool_opts){ .size = { 2 } });
}

static tp_tensor *max_pool_over(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max_pool2d(ctx, in[0], &(tp_pool_opts){ .size = { 3, 2 }, .stride = { 1, 2 }, .pad = { 1 }, .ceil = true });
}

static tp_tensor *max_pool_dilated(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_max_pool2d(ctx, in[0], &(tp_pool_opts){ .size = { 2 }, .stride = { 1 }, .pad = { 1 }, .dilation = { 2, 1 } });
}

static tp_tensor *avg_pool(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_avg_pool2d(ctx, in[0], &(tp_pool_opts){ .size = { 2, 3 } });
}

static tp_tensor *avg_pool_over(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_avg_pool2d(ctx, in[0], &(tp_pool_opts){ .size = { 3 }, .stride = { 2, 1 }, .pad = { 1 }, .ceil = true });
}

static tp_tensor *avg_pool_inside(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_avg_pool2d(ctx, in[0],
                         &(tp_pool_opts){ .size = { 3 }, .stride = { 2 }, .pad = { 1 }, .ceil = true, .exclude_pad = true });
}

static tp_tensor *adaptive_avg(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_adaptive_avg_pool2d(ctx, in[0], 2, 3);
}

static tp_tensor *adaptive_avg_wide(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_adaptive_avg_pool2d(ctx, in[0], 7, 1);
}

static tp_tensor *adaptive_max(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_adaptive_max_pool2d(ctx, in[0], 3, 2);
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

static tp_tensor *batchnorm(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_batchnorm(ctx, in[0], in[1], in[2], NULL, NULL, true, NULL);
}

static tp_tensor *batchnorm_plain(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_batchnorm(ctx, in[0], NULL, NULL, NULL, NULL, true, &(tp_batchnorm_opts){ .eps = 0.25 });
}

/* 0.1, 0.2, ... as means and these and a half as variances */
static tp_tensor *batchnorm_fixed(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_dtype   t = tp_dtype_of(in[0]) == TP_F64 ? TP_F64 : TP_F32;
    tp_tensor *mean = tp_scale(ctx, tp_arange(ctx, t, 1, (double)tp_dim(in[0], 1) + 1, 1), 0.1);

    return tp_batchnorm(ctx, in[0], in[1], in[2], mean, tp_shift(ctx, mean, 0.5), false, NULL);
}

static tp_tensor *groupnorm(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_groupnorm(ctx, in[0], in[1], in[2], 2, 1e-5);
}

static tp_tensor *groupnorm_plain(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_groupnorm(ctx, in[0], NULL, NULL, 1, 1e-5);
}

const op_case op_cases_nets[] = {
    { "tp_conv2d", "RRR", convs, OP_GRAD, .fn = conv },
    { "tp_conv2d", "RMM", convs, OP_GRAD, .fn = conv_mixed },
    { "tp_conv2d", "RRR", strided_convs, OP_GRAD, .fn = conv_strided },
    { "tp_conv2d", "RRR", strided_convs, OP_GRAD, .fn = conv_dilated },
    { "tp_conv2d", "RRR", grouped_convs, OP_GRAD, .fn = conv_groups },
    { "tp_conv2d", "RRR", deep_convs, OP_GRAD | OP_LARGE, .fn = conv_same },
    { "tp_conv2d", "RRR", deep_groups, OP_GRAD | OP_LARGE, .fn = conv_groups },
    { "tp_conv2d", "RRR", deep_strides, OP_GRAD | OP_LARGE, .fn = conv_strided },
    { "tp_conv2d", "RR", convs, OP_GRAD, .fn = conv_plain },
    { "tp_max_pool2d", "D", planes, OP_GRAD, .fn = max_pool },
    { "tp_max_pool2d", "D", planes, OP_GRAD, .fn = max_pool_over },
    { "tp_max_pool2d", "D", planes, OP_GRAD, .fn = max_pool_dilated },
    { "tp_avg_pool2d", "R", planes, OP_GRAD, .fn = avg_pool },
    { "tp_avg_pool2d", "R", planes, OP_GRAD, .fn = avg_pool_over },
    { "tp_avg_pool2d", "R", planes, OP_GRAD, .fn = avg_pool_inside },
    { "tp_adaptive_avg_pool2d", "R", planes, OP_GRAD, .fn = adaptive_avg },
    { "tp_adaptive_avg_pool2d", "R", planes, OP_GRAD, .fn = adaptive_avg_wide },
    { "tp_adaptive_max_pool2d", "D", planes, OP_GRAD, .fn = adaptive_max },
    { "tp_batchnorm", "RRR", batches, OP_GRAD, .fn = batchnorm },
    { "tp_batchnorm", "RMM", batches, OP_GRAD, .fn = batchnorm },
    { "tp_batchnorm", "R", planes, OP_GRAD, .fn = batchnorm_plain },
    { "tp_batchnorm", "RRR", fixed_batches, OP_GRAD, .fn = batchnorm_fixed },
    { "tp_groupnorm", "RRR", grouped, OP_GRAD, .fn = groupnorm },
    { "tp_groupnorm", "RMM", grouped, OP_GRAD, .fn = groupnorm },
    { "tp_groupnorm", "R", planes, OP_GRAD, .fn = groupnorm_plain },
    { .name = NULL },
};
