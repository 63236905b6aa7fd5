/* layers_conv.c - Conv2d, BatchNorm, GroupNorm. */
#include "core/internal.h"
#include "nn/nets.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

void tp_conv2d_init(tp_ctx *ctx, tp_conv2d_layer *l, tp_module *parent, const char *name, int64_t in, int64_t out,
                    int64_t kernel_h, int64_t kernel_w, bool bias, tp_dtype t, const tp_conv_opts *opts)
{
    int64_t groups = opts && opts->groups > 0 ? opts->groups : 1;
    double  n = (double)(in / groups) * (double)kernel_h * (double)kernel_w, bound = 1 / sqrt(n > 0 ? n : 1);

    if (l == NULL)
        return;
    memset(l, 0, sizeof *l);
    if (opts != NULL)
        l->opts = *opts;
    tp_module_init(ctx, &l->m, parent, "Conv2d", name);
    if (in % groups != 0 || out % groups != 0 || kernel_h < 1 || kernel_w < 1)
        tp_fail(ctx, TP_EARG, "conv2d_init: %lld channels to %lld in %lld groups, taps %lld x %lld", (long long)in,
                (long long)out, (long long)groups, (long long)kernel_h, (long long)kernel_w);
    tp_init_uniform(ctx, tp_param_new(ctx, &l->m, &l->w, "weight", t, TP_SHAPE(out, in / groups, kernel_h, kernel_w)),
                    -bound, bound);
    if (bias)
        tp_init_uniform(ctx, tp_param_new(ctx, &l->m, &l->b, "bias", t, TP_SHAPE(out)), -bound, bound);
}

tp_tensor *tp_conv2d_forward(tp_ctx *ctx, tp_conv2d_layer *l, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || l == NULL)
        return tp_fail(ctx, TP_EARG, "conv2d: no layer");
    before = tp_module_enter(ctx, &l->m);
    y = tp_conv2d(ctx, x, l->w, l->b, &l->opts);
    tp_module_leave(ctx, before);
    return y;
}

void tp_batch_norm_init(tp_ctx *ctx, tp_batch_norm *n, tp_module *parent, const char *name, int64_t channels, tp_dtype t,
                        const tp_batchnorm_opts *opts)
{
    tp_dtype wide = t == TP_F64 ? TP_F64 : TP_F32;

    if (n == NULL)
        return;
    memset(n, 0, sizeof *n);
    if (opts != NULL)
        n->opts = *opts;
    tp_module_init(ctx, &n->m, parent, "BatchNorm", name);
    tp_init_constant(ctx, tp_param_new(ctx, &n->m, &n->w, "weight", t, TP_SHAPE(channels)), 1);
    tp_param_new(ctx, &n->m, &n->b, "bias", t, TP_SHAPE(channels));
    tp_buffer_new(ctx, &n->m, &n->mean, "running_mean", wide, TP_SHAPE(channels));
    tp_init_constant(ctx, tp_buffer_new(ctx, &n->m, &n->var, "running_var", wide, TP_SHAPE(channels)), 1);
    tp_buffer_new(ctx, &n->m, &n->count, "num_batches_tracked", TP_I64, TP_SCALAR);
}

/* One more batch, unless a checkpoint only runs the same one again. */
static void count_batch(tp_ctx *ctx, tp_batch_norm *n)
{
    int64_t *count = n->m.training && !tpi_replays(ctx) ? tp_i64(ctx, n->count) : NULL;

    if (count != NULL)
        ++*count;
}

tp_tensor *tp_batch_norm_forward(tp_ctx *ctx, tp_batch_norm *n, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || n == NULL)
        return tp_fail(ctx, TP_EARG, "batch_norm: no layer");
    before = tp_module_enter(ctx, &n->m);
    y = tp_batchnorm(ctx, x, n->w, n->b, n->mean, n->var, n->m.training, &n->opts);
    if (y != NULL)
        count_batch(ctx, n);
    tp_module_leave(ctx, before);
    return y;
}

void tp_group_norm_init(tp_ctx *ctx, tp_group_norm *n, tp_module *parent, const char *name, int64_t groups,
                        int64_t channels, double eps, tp_dtype t)
{
    if (n == NULL)
        return;
    memset(n, 0, sizeof *n);
    n->groups = groups;
    n->eps = eps;
    tp_module_init(ctx, &n->m, parent, "GroupNorm", name);
    if (groups < 1 || channels % groups != 0)
        tp_fail(ctx, TP_EARG, "group_norm_init: %lld channels in %lld groups", (long long)channels, (long long)groups);
    tp_init_constant(ctx, tp_param_new(ctx, &n->m, &n->w, "weight", t, TP_SHAPE(channels)), 1);
    tp_param_new(ctx, &n->m, &n->b, "bias", t, TP_SHAPE(channels));
}

tp_tensor *tp_group_norm_forward(tp_ctx *ctx, tp_group_norm *n, tp_tensor *x)
{
    const char *before;
    tp_tensor  *y;

    if (!tp_ok(ctx) || n == NULL)
        return tp_fail(ctx, TP_EARG, "group_norm: no layer");
    before = tp_module_enter(ctx, &n->m);
    y = tp_groupnorm(ctx, x, n->w, n->b, n->groups, n->eps);
    tp_module_leave(ctx, before);
    return y;
}
