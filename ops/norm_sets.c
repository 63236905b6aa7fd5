/* norm_sets.c - batchnorm and groupnorm: normalisation over sets of rows; contracts in norm.h. */
#include "ops/support.h"

typedef struct {
    tpi_sets g;
    bool     fixed;    /* the statistics are operands */
    bool     move;     /* the running statistics are moved */
    double   momentum;
} sets_attr;

/* x w b, then the running mean and variance of batchnorm. */
enum { X, W, B, MEAN, VAR };

static void *data_of(const tp_tensor *x)
{
    return x ? x->data : NULL;
}

/* running += momentum (now - running); the variance of n values is made unbiased */
static bool move_one(tp_ctx *ctx, const char *op, tp_tensor *running, tp_tensor *now, double momentum, double scale)
{
    tp_tensor *step = tpi_unary_run(ctx, TPI_SCALE, momentum * scale, 0, now), *kept;

    kept = tpi_unary_run(ctx, TPI_SCALE, 1 - momentum, 0, running);
    if (step == NULL || kept == NULL || !tpi_add_into(ctx, op, kept, 1, step))
        return false;
    tpi_touch(running);
    return tpi_assign(ctx, op, running, kept);
}

/* The statistics of x, one a set; they move the running ones. */
static bool measure(tp_ctx *ctx, tp_call *c, tp_tensor *x, tp_tensor **mean, tp_tensor **var)
{
    const sets_attr *a = c->attr;
    int64_t          sets = a->g.groups ? a->g.n * a->g.groups : a->g.c, n = a->g.n * a->g.s;
    tpi_run          r = tpi_run_of(ctx);

    *mean = tp_empty(ctx, tpi_wide(a->g.t), TP_SHAPE(sets));
    *var = tp_empty(ctx, tpi_wide(a->g.t), TP_SHAPE(sets));
    if (!tp_ok(ctx) || !tpi_done(ctx, c->op->name, tpi_k(ctx)->set_stats(&r, &a->g, (*mean)->data, (*var)->data, x->data)))
        return false;
    c->saved[0] = *mean;
    c->saved[1] = *var;
    if (!a->move || n == 0)
        return true;
    return move_one(ctx, c->op->name, c->in[MEAN], *mean, a->momentum, 1) &&
           move_one(ctx, c->op->name, c->in[VAR], *var, a->momentum, (double)n / ((double)n - 1));
}

static tp_tensor *sets_forward(tp_ctx *ctx, tp_call *c)
{
    const sets_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[X]), *w = tpi_rows(ctx, c->in[W]), *b = tpi_rows(ctx, c->in[B]), *y, *mean, *var;
    tpi_run          r = tpi_run_of(ctx);

    y = x ? tp_like(ctx, x) : NULL;
    if (y == NULL)
        return NULL;
    if (a->fixed) {
        mean = tpi_rows(ctx, c->in[MEAN]);
        var = tpi_rows(ctx, c->in[VAR]);
    } else if (!measure(ctx, c, x, &mean, &var)) {
        return NULL;
    }
    if (!tp_ok(ctx))
        return NULL;
    c->keep = TP_KEEP_IN(X) | (w ? TP_KEEP_IN(W) : 0) | (a->fixed ? TP_KEEP_IN(MEAN) | TP_KEEP_IN(VAR) : 0);
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->set_norm(&r, &a->g, y->data, x->data, mean->data, var->data, data_of(w),
                                                           data_of(b)))
               ? y
               : NULL;
}

/* Where the kernel adds the gradient of w or b: cleared first unless something is in it already. */
static tp_tensor *weight_grad(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_wants(c, i) ? tpi_wide_grad(ctx, c, i, dx, &beta) : NULL;

    if (g != NULL && beta == 0)
        tpi_zero(ctx, c->op->name, g);
    return g;
}

static void sets_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const sets_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[X]), *w = tpi_rows(ctx, c->in[W]), *g = tpi_rows(ctx, dy[0]), *d, *dw, *db;
    tp_tensor       *mean = a->fixed ? tpi_rows(ctx, c->in[MEAN]) : c->saved[0];
    tp_tensor       *var = a->fixed ? tpi_rows(ctx, c->in[VAR]) : c->saved[1];
    tpi_run          r = tpi_run_of(ctx);

    if (x == NULL || g == NULL)
        return;
    d = tp_wants(c, X) ? tp_like(ctx, x) : NULL;
    dw = weight_grad(ctx, c, W, dx);
    db = weight_grad(ctx, c, B, dx);
    if (!tp_ok(ctx))
        return;
    dx[X] = d;
    tpi_done(ctx, c->op->name,
             tpi_k(ctx)->set_norm_grad(&r, &a->g, data_of(d), data_of(dw), data_of(db), g->data, x->data, mean->data,
                                       var->data, data_of(w), a->fixed));
}

static const tp_op batchnorm_op = { "batchnorm", sizeof(sets_attr), 1, 2, sets_forward, sets_backward };
static const tp_op groupnorm_op = { "groupnorm", sizeof(sets_attr), 1, 2, sets_forward, sets_backward };

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static bool good_input(tp_ctx *ctx, const char *op, const tp_tensor *x)
{
    char text[96];

    if (!tp_ok(ctx) || !tpi_float_input(ctx, op, x))
        return false;
    if (x->ndim >= 2)
        return true;
    tp_fail(ctx, TP_ESHAPE, "%s: x is %s, expected [N, C, ...]", op, tp_shape_text(x, text, sizeof text));
    return false;
}

static bool per_channel(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *w)
{
    if (w->ndim == 1 && w->dim[0] == x->dim[1])
        return true;
    tpi_fail_shapes(ctx, op, "expected x [N, C, ...] and one number a channel", x, w);
    return false;
}

static bool good_weights(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *w, const tp_tensor *b)
{
    const tp_tensor *given[2] = { w, b };

    for (int i = 0; i < 2; i++)
        if (given[i] != NULL && (!tpi_check(ctx, op, given[i], i + 1) || !tpi_beside(ctx, op, x, given[i]) ||
                                 !per_channel(ctx, op, x, given[i])))
            return false;
    return w == NULL || b == NULL || tpi_same_dtype(ctx, op, w, b);
}

static bool good_eps(tp_ctx *ctx, const char *op, double eps)
{
    if (eps >= 0)
        return true;
    tp_fail(ctx, TP_EARG, "%s: eps is %g, expected at least 0", op, eps);
    return false;
}

static tpi_sets describe(const tp_tensor *x, const tp_tensor *w, const tp_tensor *b, int64_t groups, double eps)
{
    return (tpi_sets){ .n = x->dim[0],
                       .c = x->dim[1],
                       .s = tpi_span(x, 2, x->ndim),
                       .groups = groups,
                       .eps = eps,
                       .t = (tp_dtype)x->dtype,
                       .wt = (tp_dtype)(w ? w : b ? b : x)->dtype };
}

static bool good_statistics(tp_ctx *ctx, const tp_tensor *x, const tp_tensor *mean, const tp_tensor *var)
{
    const tp_tensor *given[2] = { mean, var };

    for (int i = 0; i < 2; i++) {
        if (!tpi_check(ctx, "batchnorm", given[i], MEAN + i) || !per_channel(ctx, "batchnorm", x, given[i]))
            return false;
        if (given[i]->dtype != tpi_wide((tp_dtype)x->dtype))
            return tp_fail(ctx, TP_EDTYPE, "batchnorm: running statistics of dtype %s beside x of %s, expected %s",
                           tp_dtype_name((tp_dtype)given[i]->dtype), tp_dtype_name((tp_dtype)x->dtype),
                           tp_dtype_name(tpi_wide((tp_dtype)x->dtype))) != NULL;
    }
    return true;
}

/* Whether there is a variance to be had from x. */
static bool enough(tp_ctx *ctx, const tp_tensor *x)
{
    char text[96];

    if (x->dim[0] * tpi_span(x, 2, x->ndim) != 1)
        return true;
    tp_fail(ctx, TP_ESHAPE, "batchnorm: x is %s: training needs more than one value a channel",
            tp_shape_text(x, text, sizeof text));
    return false;
}

/* What an option stands for: 0 the default, negative 0. */
static double option(double given, double standard)
{
    return given == 0 ? standard : given < 0 ? 0 : given;
}

tp_tensor *tp_batchnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, tp_tensor *mean, tp_tensor *var,
                        bool training, const tp_batchnorm_opts *opts)
{
    sets_attr a = { .fixed = !training };

    a.momentum = option(opts ? opts->momentum : 0, 0.1);
    if (!good_input(ctx, "batchnorm", x) || !good_weights(ctx, "batchnorm", x, w, b))
        return NULL;
    a.g = describe(x, w, b, 0, option(opts ? opts->eps : 0, 1e-5));
    if (!(a.momentum <= 1) || !(a.g.eps >= 0))
        return tp_fail(ctx, TP_EARG, "batchnorm: momentum %g, eps %g, expected a momentum of at most 1", a.momentum, a.g.eps);
    if (!training && mean == NULL && var == NULL)
        return tp_fail(ctx, TP_EARG, "batchnorm: no running statistics, which are needed when not training");
    if (training && !enough(ctx, x))
        return NULL;
    if ((mean != NULL || var != NULL) && !good_statistics(ctx, x, mean, var))
        return NULL;
    if (!tpi_can_do(ctx, "batchnorm", tpi_can_of(ctx)->set_norm, a.g.t))
        return NULL;
    a.move = training && mean != NULL && !tpi_replays(ctx);
    if (mean != NULL && (mean->needs_grad || var->needs_grad)) { /* no gradient goes there */
        mean = tp_detach(ctx, mean);
        var = tp_detach(ctx, var);
    }
    return tp_apply(ctx, &batchnorm_op, &a, TP_IN(x, w, b, mean, var));
}

tp_tensor *tp_groupnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, int64_t groups, double eps)
{
    char      text[96];
    sets_attr a = { .momentum = 0 };

    if (!good_input(ctx, "groupnorm", x) || !good_weights(ctx, "groupnorm", x, w, b) || !good_eps(ctx, "groupnorm", eps))
        return NULL;
    if (groups < 1 || x->dim[1] % groups != 0)
        return tp_fail(ctx, TP_ESHAPE, "groupnorm: %lld groups of the channels of x %s", (long long)groups,
                       tp_shape_text(x, text, sizeof text));
    if (!tpi_can_do(ctx, "groupnorm", tpi_can_of(ctx)->set_norm, (tp_dtype)x->dtype))
        return NULL;
    a.g = describe(x, w, b, groups, eps);
    return tp_apply(ctx, &groupnorm_op, &a, TP_IN(x, w, b));
}
