/* norm.c - normalisation over the last axis, and its gradients. */
#include "ops/support.h"

typedef struct { double eps; } norm_attr;

static int64_t width(const tp_tensor *x)
{
    return x->dim[x->ndim - 1];
}

static int64_t row_count(const tp_tensor *x)
{
    return tpi_span(x, 0, x->ndim - 1);
}

/* One statistic a row, in f32 or f64. */
static tp_tensor *per_row(tp_ctx *ctx, const tp_tensor *x)
{
    return tp_empty(ctx, tpi_wide((tp_dtype)x->dtype), TP_SHAPE(row_count(x)));
}

static void *data_of(const tp_tensor *x)
{
    return x ? x->data : NULL;
}

/* Where the kernel adds the gradient of weight i: cleared first unless something is in it already. */
static tp_tensor *weight_grad(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_wants(c, i) ? tpi_wide_grad(ctx, c, i, dx, &beta) : NULL;

    if (g != NULL && beta == 0)
        tpi_zero(ctx, c->op->name, g);
    return g;
}

static bool good_eps(tp_ctx *ctx, const char *op, double eps)
{
    if (eps >= 0)
        return true;
    tp_fail(ctx, TP_EARG, "%s: eps is %g, expected at least 0", op, eps);
    return false;
}

static bool good_input(tp_ctx *ctx, const char *op, const tp_tensor *x)
{
    char text[96];

    if (!tp_ok(ctx) || !tpi_float_input(ctx, op, x))
        return false;
    if (x->ndim > 0)
        return true;
    tp_fail(ctx, TP_ESHAPE, "%s: x is %s, expected at least one axis", op, tp_shape_text(x, text, sizeof text));
    return false;
}

static bool good_weight(tp_ctx *ctx, const char *op, const tp_tensor *x, const tp_tensor *w, int i)
{
    if (!tpi_check(ctx, op, w, i) || !tpi_beside(ctx, op, x, w))
        return false;
    if (w->ndim == 1 && w->dim[0] == width(x))
        return true;
    tpi_fail_shapes(ctx, op, "expected x [.., d] and weights [d]", x, w);
    return false;
}

/* ---- layernorm --------------------------------------------------------------------------------------------------- */

static tp_tensor *layernorm_forward(tp_ctx *ctx, tp_call *c)
{
    const norm_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[0]), *w = tpi_rows(ctx, c->in[1]), *b = tpi_rows(ctx, c->in[2]), *y, *mean,
              *rstd;
    tpi_run          r = tpi_run_of(ctx);
    tp_dtype         wt;

    y = x ? tp_like(ctx, x) : NULL;
    mean = per_row(ctx, c->in[0]);
    rstd = per_row(ctx, c->in[0]);
    if (y == NULL || rstd == NULL)
        return NULL;
    wt = (tp_dtype)(w ? w : b ? b : x)->dtype;
    c->keep = TP_KEEP_IN(0) | (w ? TP_KEEP_IN(1) : 0);
    c->saved[0] = mean;
    c->saved[1] = rstd;
    return tpi_done(ctx, "layernorm",
                    tpi_k(ctx)->layernorm(&r, (tp_dtype)x->dtype, y->data, mean->data, rstd->data, x->data, wt,
                                          data_of(w), data_of(b), a->eps, row_count(x), width(x)))
               ? y
               : NULL;
}

static void layernorm_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *x = tpi_rows(ctx, c->in[0]), *w = tpi_rows(ctx, c->in[1]), *g = tpi_rows(ctx, dy[0]), *d, *dw, *db;
    tpi_run    r = tpi_run_of(ctx);

    if (x == NULL || g == NULL)
        return;
    d = tp_wants(c, 0) ? tp_like(ctx, x) : NULL;
    dw = weight_grad(ctx, c, 1, dx);
    db = weight_grad(ctx, c, 2, dx);
    if (!tp_ok(ctx))
        return;
    dx[0] = d;
    tpi_done(ctx, "layernorm",
             tpi_k(ctx)->layernorm_grad(&r, (tp_dtype)x->dtype, data_of(d), data_of(dw), data_of(db), g->data, x->data,
                                        (tp_dtype)(w ? w : x)->dtype, data_of(w), c->saved[0]->data, c->saved[1]->data,
                                        row_count(x), width(x)));
}

static const tp_op layernorm_op = { "layernorm", sizeof(norm_attr), 1, 2, layernorm_forward, layernorm_backward, NULL };

tp_tensor *tp_layernorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, double eps)
{
    if (!good_input(ctx, "layernorm", x) || (w != NULL && !good_weight(ctx, "layernorm", x, w, 1)) ||
        (b != NULL && !good_weight(ctx, "layernorm", x, b, 2)) ||
        (w != NULL && b != NULL && !tpi_same_dtype(ctx, "layernorm", w, b)) || !good_eps(ctx, "layernorm", eps))
        return NULL;
    return tp_apply(ctx, &layernorm_op, &(norm_attr){ eps }, TP_IN(x, w, b));
}

/* ---- rmsnorm ----------------------------------------------------------------------------------------------------- */

static tp_tensor *rmsnorm_run(tp_ctx *ctx, tp_call *c, tp_tensor *x, tp_tensor *res, tp_tensor *w, tp_tensor *h)
{
    const norm_attr *a = c->attr;
    tp_tensor       *y = x ? tp_like(ctx, x) : NULL, *rstd = per_row(ctx, c->in[0]);
    tpi_run          r = tpi_run_of(ctx);

    if (y == NULL || rstd == NULL || w == NULL)
        return NULL;
    c->saved[0] = rstd;
    return tpi_done(ctx, c->op->name,
                    tpi_k(ctx)->rmsnorm(&r, (tp_dtype)x->dtype, y->data, rstd->data, data_of(h), x->data, data_of(res),
                                        (tp_dtype)w->dtype, w->data, a->eps, row_count(x), width(x)))
               ? y
               : NULL;
}

/* The gradient of what was normalised, with dh of the residual stream added; dw into place. */
static tp_tensor *rmsnorm_grad(tp_ctx *ctx, tp_call *c, tp_tensor *x, int iw, tp_tensor *dy, tp_tensor *dh, bool wanted,
                               tp_tensor **dx)
{
    tp_tensor *w = tpi_rows(ctx, c->in[iw]), *d = wanted ? tp_like(ctx, x) : NULL, *dw = weight_grad(ctx, c, iw, dx);
    tpi_run    r = tpi_run_of(ctx);

    if (!tp_ok(ctx) || dy == NULL || w == NULL)
        return NULL;
    return tpi_done(ctx, c->op->name,
                    tpi_k(ctx)->rmsnorm_grad(&r, (tp_dtype)x->dtype, data_of(d), data_of(dw), dy->data, data_of(dh),
                                             x->data, (tp_dtype)w->dtype, w->data, c->saved[0]->data, row_count(x),
                                             width(x)))
               ? d
               : NULL;
}

static tp_tensor *rmsnorm_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1);
    return rmsnorm_run(ctx, c, tpi_rows(ctx, c->in[0]), NULL, tpi_rows(ctx, c->in[1]), NULL);
}

static void rmsnorm_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *x = tpi_rows(ctx, c->in[0]);

    if (x != NULL)
        dx[0] = rmsnorm_grad(ctx, c, x, 1, tpi_rows(ctx, dy[0]), NULL, tp_wants(c, 0), dx);
}

static const tp_op rmsnorm_op = { "rmsnorm", sizeof(norm_attr), 1, 1, rmsnorm_forward, rmsnorm_backward, NULL };

tp_tensor *tp_rmsnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, double eps)
{
    if (!good_input(ctx, "rmsnorm", x) || !good_weight(ctx, "rmsnorm", x, w, 1) || !good_eps(ctx, "rmsnorm", eps))
        return NULL;
    return tp_apply(ctx, &rmsnorm_op, &(norm_attr){ eps }, TP_IN(x, w));
}

/* ---- add_rmsnorm ------------------------------------------------------------------------------------------------- */

/* out[0]: y, out[1]: h */
static tp_tensor *add_rmsnorm_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = tpi_rows(ctx, c->in[0]), *res = tpi_rows(ctx, c->in[1]), *h = x ? tp_like(ctx, x) : NULL;

    if (h == NULL || res == NULL)
        return NULL;
    c->out[1] = h;
    c->keep = TP_KEEP_OUT(1) | TP_KEEP_IN(2);
    return rmsnorm_run(ctx, c, x, res, tpi_rows(ctx, c->in[2]), h);
}

static void add_rmsnorm_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *d = tpi_rows(ctx, dy[1]);
    bool       wanted = tp_wants(c, 0) || tp_wants(c, 1);

    if (dy[0] != NULL) /* else only the residual stream goes on, and w has no part in it */
        d = rmsnorm_grad(ctx, c, c->out[1], 2, tpi_rows(ctx, dy[0]), d, wanted, dx);
    if (tp_wants(c, 0))
        dx[0] = d;
    if (tp_wants(c, 1))
        dx[1] = d;
}

static const tp_op add_rmsnorm_op = {
    "add_rmsnorm", sizeof(norm_attr), 2, 1, add_rmsnorm_forward, add_rmsnorm_backward, NULL
};

tp_tensor *tp_add_rmsnorm(tp_ctx *ctx, tp_tensor *x, tp_tensor *res, tp_tensor *w, double eps, tp_tensor **h)
{
    const char *op = "add_rmsnorm";
    tp_tensor  *out[2] = { NULL, NULL };

    if (h != NULL)
        *h = NULL;
    if (!good_input(ctx, op, x) || !tpi_check(ctx, op, res, 1) || !tpi_same_dtype(ctx, op, x, res) ||
        !good_weight(ctx, op, x, w, 2) || !good_eps(ctx, op, eps))
        return NULL;
    if (h == NULL)
        return tp_fail(ctx, TP_EARG, "add_rmsnorm: no place for the sum h");
    if (!tp_same_shape(x, res))
        return tpi_fail_shapes(ctx, op, "expected x and res of equal shapes", x, res);
    if (!tp_apply_n(ctx, &add_rmsnorm_op, &(norm_attr){ eps }, TP_IN(x, res, w), out))
        return NULL;
    *h = out[1];
    return out[0];
}
