/* dropout.c - dropout and random tensors, from the context's counter-based generator. */
#include "ops/support.h"

#include <math.h>

/* What the numbers are for: part of their key, so that dropout and others never share a stream. */
enum { PURPOSE_DROPOUT = 1, PURPOSE_RANDOM = 2 };

/* ---- dropout ----------------------------------------------------------------------------------------------------- */

typedef struct {
    double  p;
    tpi_key key;
} dropout_attr;

static tp_tensor *dropped(tp_ctx *ctx, const dropout_attr *a, tp_tensor *x)
{
    tp_tensor *from = tpi_rows(ctx, x), *y = from ? tp_like(ctx, from) : NULL;
    tpi_run    r = tpi_run_of(ctx);

    if (y == NULL)
        return NULL;
    return tpi_done(ctx, "dropout",
                    tpi_k(ctx)->dropout(&r, (tp_dtype)y->dtype, y->data, from->data, y->numel, a->p, a->key))
               ? y
               : NULL;
}

static tp_tensor *dropout_forward(tp_ctx *ctx, tp_call *c)
{
    return dropped(ctx, c->attr, c->in[0]);
}

static void dropout_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = dropped(ctx, c->attr, dy[0]);
}

static const tp_op dropout_op = { "dropout", sizeof(dropout_attr), 1, 0, dropout_forward, dropout_backward, NULL };

static bool good_p(tp_ctx *ctx, const char *op, double p)
{
    if (p >= 0 && p <= 1)
        return true;
    tp_fail(ctx, TP_EARG, "%s: probability %g, expected 0 to 1", op, p);
    return false;
}

tp_tensor *tp_dropout(tp_ctx *ctx, tp_tensor *x, double p, bool train)
{
    dropout_attr a = { .p = p };

    if (!tp_ok(ctx) || !tpi_float_input(ctx, "dropout", x) || !good_p(ctx, "dropout", p))
        return NULL;
    if (!train || p == 0)
        return x;
    a.key = tpi_next_key(ctx, PURPOSE_DROPOUT);
    return tp_apply(ctx, &dropout_op, &a, TP_IN(x));
}

/* ---- random tensors ---------------------------------------------------------------------------------------------- */

static tp_tensor *draw(tp_ctx *ctx, const char *op, tpi_random kind, tp_dtype t, int ndim, const int64_t *dim, double p,
                       double q)
{
    tp_tensor *y;
    tpi_key    key;
    tpi_run    r;

    if (!tp_ok(ctx) || !tpi_can_do(ctx, op, TPI_CAN_FLOAT, t))
        return NULL;
    y = tp_empty(ctx, t, ndim, dim);
    if (y == NULL)
        return NULL;
    r = tpi_run_of(ctx);
    key = tpi_next_key(ctx, PURPOSE_RANDOM);
    return tpi_done(ctx, op, tpi_k(ctx)->random(&r, kind, t, y->data, y->numel, p, q, key)) ? y : NULL;
}

tp_tensor *tp_uniform(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double low, double high)
{
    if (!(low <= high))
        return tp_fail(ctx, TP_EARG, "uniform: low is %g, high is %g, expected low <= high", low, high);
    return draw(ctx, "uniform", TPI_UNIFORM, t, ndim, dim, low, high);
}

tp_tensor *tp_rand(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    return draw(ctx, "rand", TPI_UNIFORM, t, ndim, dim, 0, 1);
}

tp_tensor *tp_normal(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double mean, double std)
{
    if (!(std >= 0))
        return tp_fail(ctx, TP_EARG, "normal: standard deviation %g, expected at least 0", std);
    return draw(ctx, "normal", TPI_NORMAL, t, ndim, dim, mean, std);
}

tp_tensor *tp_randn(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    return draw(ctx, "randn", TPI_NORMAL, t, ndim, dim, 0, 1);
}

tp_tensor *tp_bernoulli(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double p)
{
    return good_p(ctx, "bernoulli", p) ? draw(ctx, "bernoulli", TPI_BERNOULLI, t, ndim, dim, p, 0) : NULL;
}

/* A uniform number is a multiple of 2^-24, so that up to 2^24 whole numbers are equally likely as near as can be. */
tp_tensor *tp_randint(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, int64_t low, int64_t high)
{
    int64_t    width;
    tp_tensor *u, *base;
    bool       was;

    if (__builtin_sub_overflow(high, low, &width) || width < 1 || width > (int64_t)1 << 24)
        return tp_fail(ctx, TP_EARG, "randint: from %lld to, not with, %lld: expected low < high <= low + 2^24",
                       (long long)low, (long long)high);
    was = tp_record(ctx, false);
    u = tp_floor(ctx, draw(ctx, "randint", TPI_UNIFORM, TP_F64, ndim, dim, 0, (double)width));
    base = tp_from(ctx, TP_I64, TP_SCALAR, &low);
    u = tp_cast(ctx, tp_add(ctx, tp_cast(ctx, u, TP_I64), base), t);
    tp_record(ctx, was);
    return u;
}

/* ---- multinomial ------------------------------------------------------------------------------------------------- */

/* log p + g with g = -log(-log u): the place of the largest has distribution p (Gumbel), those of the k largest are k
 * draws without putting back. */
static tp_tensor *perturbed(tp_ctx *ctx, tp_tensor *p, int ndim, const int64_t *dim)
{
    tp_tensor *u = draw(ctx, "multinomial", TPI_UNIFORM, TP_F64, ndim, dim, 0, 1);
    tp_tensor *e = tp_neg(ctx,
                          tp_log(ctx, tp_shift(ctx, tp_scale(ctx, u, 1 - 0x1p-24), 0x1p-25))); /* never log 0, log 1 */

    return tp_sub(ctx, tp_log(ctx, tp_cast(ctx, p, TP_F64)), tp_log(ctx, e));
}

static tp_tensor *drawn(tp_ctx *ctx, tp_tensor *p, int64_t k, bool replace)
{
    int64_t    dim[TP_MAX_DIM];
    int        n = p->ndim;
    tp_tensor *places;

    for (int i = 0; i < n; i++)
        dim[i] = p->dim[i];
    if (!replace) {
        tp_topk(ctx, perturbed(ctx, p, n, dim), -1, k, &places);
        return tp_contiguous(ctx, places);
    }
    dim[n - 1] = k;
    dim[n] = p->dim[n - 1];
    return tp_argmax(ctx, perturbed(ctx, tp_unsqueeze(ctx, p, -2), n + 1, dim), -1, false);
}

tp_tensor *tp_multinomial(tp_ctx *ctx, tp_tensor *p, int64_t k, bool replace)
{
    char       text[96];
    bool       was;
    tp_tensor *y;

    if (!tp_ok(ctx) || !tpi_float_input(ctx, "multinomial", p))
        return NULL;
    if (p->ndim < 1 || p->ndim >= TP_MAX_DIM || p->dim[p->ndim - 1] < 1)
        return tp_fail(ctx, TP_ESHAPE, "multinomial: p is %s, expected [.., n] with n >= 1",
                       tp_shape_text(p, text, sizeof text));
    if (k < 0 || (!replace && k > p->dim[p->ndim - 1]))
        return tp_fail(ctx, TP_EARG, "multinomial: %lld draws from %lld classes %s", (long long)k,
                       (long long)p->dim[p->ndim - 1], replace ? "with replacement" : "without replacement");
    was = tp_record(ctx, false);
    y = drawn(ctx, p, k, replace);
    tp_record(ctx, was);
    return y;
}
