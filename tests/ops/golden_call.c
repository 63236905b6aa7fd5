/* golden_call.c - calling an op by its name with arguments from a line of ops.jsonl. */
#include "golden_call.h"

#include <string.h>

#include "op_table.h"

/* ---- arguments --------------------------------------------------------------------------------------------------- */

typedef struct {
    int n;
    int axis[TP_MAX_DIM];
} axes;

typedef struct {
    int     n;
    int64_t v[TP_MAX_DIM];
} sizes;

static double real(const tpi_json *a, const char *key)
{
    return tpi_json_real(tpi_json_get(a, key));
}

static int64_t whole(const tpi_json *a, const char *key)
{
    return tpi_json_integer(tpi_json_get(a, key));
}

static bool flag(const tpi_json *a, const char *key)
{
    return tpi_json_true(tpi_json_get(a, key));
}

static sizes sizes_of(const tpi_json *a, const char *key)
{
    const tpi_json *list = tpi_json_get(a, key);
    sizes           s = { 0 };

    for (; s.n < TP_MAX_DIM && s.n < (int)tpi_json_size(list); s.n++)
        s.v[s.n] = tpi_json_integer(tpi_json_at(list, (size_t)s.n));
    return s;
}

static axes axes_of(const tpi_json *a)
{
    sizes s = sizes_of(a, "axes");
    axes  x = { .n = s.n };

    for (int i = 0; i < s.n; i++)
        x.axis[i] = (int)s.v[i];
    return x;
}

/* ---- ops with arguments ------------------------------------------------------------------------------------------ */

static tp_tensor *sum(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_sum(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *mean(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_mean(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *prod(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_prod(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *max(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_max(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *min(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_min(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *logsumexp(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_logsumexp(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *norm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_norm(ctx, in[0], x.axis, x.n, flag(a, "keepdim"));
}

static tp_tensor *var(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_var(ctx, in[0], x.axis, x.n, (int)whole(a, "correction"), flag(a, "keepdim"));
}

static tp_tensor *std(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_std(ctx, in[0], x.axis, x.n, (int)whole(a, "correction"), flag(a, "keepdim"));
}

static tp_tensor *permute(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    axes x = axes_of(a);

    (void)n;
    return tp_permute(ctx, in[0], x.axis, x.n);
}

static tp_tensor *softmax(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_softmax(ctx, in[0], (int)whole(a, "axis"));
}

static tp_tensor *log_softmax(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_log_softmax(ctx, in[0], (int)whole(a, "axis"));
}

static tp_tensor *cumsum(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_cumsum(ctx, in[0], (int)whole(a, "axis"));
}

static tp_tensor *reshape(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    sizes d = sizes_of(a, "dim");

    (void)n;
    return tp_reshape(ctx, in[0], d.n, d.v);
}

static tp_tensor *broadcast_to(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    sizes d = sizes_of(a, "dim");

    (void)n;
    return tp_broadcast_to(ctx, in[0], d.n, d.v);
}

static tp_tensor *scale(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_scale(ctx, in[0], real(a, "p"));
}

static tp_tensor *shift(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_shift(ctx, in[0], real(a, "p"));
}

static tp_tensor *pow_scalar(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_pow_scalar(ctx, in[0], real(a, "p"));
}

static tp_tensor *clamp(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_clamp(ctx, in[0], real(a, "low"), real(a, "high"));
}

static tp_tensor *leaky_relu(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_leaky_relu(ctx, in[0], real(a, "slope"));
}

static tp_tensor *elu(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_elu(ctx, in[0], real(a, "alpha"));
}

static tp_tensor *masked_fill(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_masked_fill(ctx, in[0], in[1], real(a, "value"));
}

static tp_tensor *slice(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_slice(ctx, in[0], (int)whole(a, "axis"), whole(a, "start"), whole(a, "stop"), whole(a, "step"));
}

static tp_tensor *concat(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_concat(ctx, n, in, (int)whole(a, "axis"));
}

static tp_tensor *stack(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_stack(ctx, n, in, (int)whole(a, "axis"));
}

static tp_tensor *pad(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    sizes before = sizes_of(a, "before"), after = sizes_of(a, "after");

    (void)n;
    return tp_pad(ctx, in[0], before.v, after.v, real(a, "value"));
}

static tp_tensor *gather(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_gather(ctx, in[0], (int)whole(a, "axis"), in[1]);
}

static tp_tensor *index_select(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_index_select(ctx, in[0], (int)whole(a, "axis"), in[1]);
}

static tp_tensor *affine(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)a;
    return tp_affine(ctx, in[0], in[1], in[2]);
}

static tp_tensor *block_diag(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_block_diag(ctx, in[0], in[1], whole(a, "out"));
}

static tp_tensor *cross_entropy(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { real(a, "smoothing"), flag(a, "sum") };

    (void)n;
    return tp_cross_entropy(ctx, in[0], in[1], &o);
}

static tp_tensor *linear_cross_entropy(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .smoothing = real(a, "smoothing") };

    (void)n;
    return tp_linear_cross_entropy(ctx, in[0], in[1], in[2], &o, NULL);
}

static tp_tensor *mse(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_mse(ctx, in[0], in[1], &o);
}

static tp_tensor *bce_with_logits(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_bce_with_logits(ctx, in[0], in[1], &o);
}

static tp_tensor *rmsnorm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_rmsnorm(ctx, in[0], in[1], real(a, "eps"));
}

static tp_tensor *layernorm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_layernorm(ctx, in[0], in[1], in[2], real(a, "eps"));
}

static tp_tensor *rope(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_rope_opts o = { .freq = in[1], .pos = in[2], .base = whole(a, "base"), .mult = real(a, "mult") };

    (void)n;
    return tp_rope(ctx, in[0], &o);
}

static tp_tensor *attention(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_attention_opts o = { .causal = flag(a, "causal"), .scale = real(a, "scale"), .window = whole(a, "window"),
                            .range = in[3] };

    (void)n;
    return tp_attention(ctx, in[0], in[1], in[2], &o);
}

/* ---- planes ------------------------------------------------------------------------------------------------------ */

static void pair(const tpi_json *a, const char *key, int64_t to[2])
{
    sizes s = sizes_of(a, key);

    for (int i = 0; i < 2; i++)
        to[i] = s.v[i] == 0 ? -1 : s.v[i]; /* in a list 0 is meant */
}

static tp_tensor *conv2d(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_conv_opts o = { .groups = whole(a, "groups") };

    (void)n;
    pair(a, "stride", o.stride);
    pair(a, "pad", o.pad);
    pair(a, "dilation", o.dilation);
    return tp_conv2d(ctx, in[0], in[1], in[2], &o);
}

static tp_pool_opts pool_opts(const tpi_json *a)
{
    tp_pool_opts o = { .ceil = flag(a, "ceil"), .exclude_pad = flag(a, "exclude_pad") };

    pair(a, "size", o.size);
    pair(a, "stride", o.stride);
    pair(a, "pad", o.pad);
    if (tpi_json_get(a, "dilation") != NULL)
        pair(a, "dilation", o.dilation);
    return o;
}

static tp_tensor *max_pool2d(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_pool_opts o = pool_opts(a);

    (void)n;
    return tp_max_pool2d(ctx, in[0], &o);
}

static tp_tensor *avg_pool2d(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_pool_opts o = pool_opts(a);

    (void)n;
    return tp_avg_pool2d(ctx, in[0], &o);
}

static tp_tensor *adaptive_avg_pool2d(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    sizes s = sizes_of(a, "out");

    (void)n;
    return tp_adaptive_avg_pool2d(ctx, in[0], s.v[0], s.v[1]);
}

static tp_tensor *adaptive_max_pool2d(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    sizes s = sizes_of(a, "out");

    (void)n;
    return tp_adaptive_max_pool2d(ctx, in[0], s.v[0], s.v[1]);
}

static tp_tensor *batchnorm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_batchnorm_opts o = { .momentum = real(a, "momentum"), .eps = real(a, "eps") };

    (void)n;
    return tp_batchnorm(ctx, in[0], in[1], in[2], in[3], in[4], flag(a, "training"), &o);
}

static tp_tensor *groupnorm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_groupnorm(ctx, in[0], in[1], in[2], whole(a, "groups"), real(a, "eps"));
}

typedef struct {
    const char *name;
    tp_tensor *(*call)(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a);
} entry;

static const entry entries[] = {
    { "sum", sum },
    { "mean", mean },
    { "prod", prod },
    { "max", max },
    { "min", min },
    { "logsumexp", logsumexp },
    { "norm", norm },
    { "var", var },
    { "std", std },
    { "permute", permute },
    { "softmax", softmax },
    { "log_softmax", log_softmax },
    { "cumsum", cumsum },
    { "reshape", reshape },
    { "broadcast_to", broadcast_to },
    { "scale", scale },
    { "shift", shift },
    { "pow_scalar", pow_scalar },
    { "clamp", clamp },
    { "leaky_relu", leaky_relu },
    { "elu", elu },
    { "masked_fill", masked_fill },
    { "slice", slice },
    { "concat", concat },
    { "stack", stack },
    { "pad", pad },
    { "gather", gather },
    { "index_select", index_select },
    { "affine", affine },
    { "block_diag", block_diag },
    { "cross_entropy", cross_entropy },
    { "linear_cross_entropy", linear_cross_entropy },
    { "mse", mse },
    { "bce_with_logits", bce_with_logits },
    { "rmsnorm", rmsnorm },
    { "layernorm", layernorm },
    { "rope", rope },
    { "attention", attention },
    { "conv2d", conv2d },
    { "max_pool2d", max_pool2d },
    { "avg_pool2d", avg_pool2d },
    { "adaptive_avg_pool2d", adaptive_avg_pool2d },
    { "adaptive_max_pool2d", adaptive_max_pool2d },
    { "batchnorm", batchnorm },
    { "groupnorm", groupnorm },
    { NULL, NULL },
};

/* Ops without arguments are called as the table of samples does. */
static const op_case *plain(const char *name)
{
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++)
            if (strcmp(c->name + 3, name) == 0)
                return c;
    return NULL;
}

tp_tensor *golden_call(tp_ctx *ctx, const char *name, tp_tensor *const *in, int n_in, const tpi_json *args)
{
    const op_case *c;

    for (const entry *e = entries; e->name != NULL; e++)
        if (strcmp(e->name, name) == 0)
            return e->call(ctx, in, n_in, args);
    if (strcmp(name, "block_diag_add") == 0)
        return tp_block_diag_add(ctx, in[0], in[1], in[2]);
    c = plain(name);
    return c && tpi_json_size(args) == 0 ? op_call(ctx, c, in)
                                         : tp_fail(ctx, TP_EARG, "%s: no such op in this test", name);
}
