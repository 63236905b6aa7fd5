/* pooling.c - the largest or the mean under a sliding window, and their gradients; contracts in pooling.h. */
#include "ops/support.h"
#include "ops/window.h"

typedef struct { tpi_window w; } pool_attr;

static tp_tensor *result(tp_ctx *ctx, const tp_call *c)
{
    const pool_attr *a = c->attr;

    return tp_empty(ctx, a->w.t, TP_SHAPE(c->in[0]->dim[0], c->in[0]->dim[1], a->w.out[0], a->w.out[1]));
}

static tp_tensor *max_forward(tp_ctx *ctx, tp_call *c)
{
    const pool_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[0]), *y = result(ctx, c), *place = NULL;
    tpi_run          r = tpi_run_of(ctx);

    if (tp_wants(c, 0))
        place = tp_empty(ctx, TP_I32, TP_SHAPE(a->w.n, a->w.out[0], a->w.out[1]));
    if (!tp_ok(ctx))
        return NULL;
    c->saved[0] = place;
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->max_pool(&r, &a->w, y->data,
                                                           place ? (int32_t *)(void *)place->data : NULL, x->data))
               ? y
               : NULL;
}

static void max_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const pool_attr *a = c->attr;
    tp_tensor       *g = tpi_rows(ctx, dy[0]), *d = tp_like(ctx, c->in[0]);
    tpi_run          r = tpi_run_of(ctx);

    if (g == NULL || d == NULL)
        return;
    if (tpi_done(ctx, c->op->name, tpi_k(ctx)->max_pool_grad(&r, &a->w, d->data, g->data,
                                                             (const int32_t *)(void *)c->saved[0]->data)))
        dx[0] = d;
}

static tp_tensor *avg_forward(tp_ctx *ctx, tp_call *c)
{
    const pool_attr *a = c->attr;
    tp_tensor       *x = tpi_rows(ctx, c->in[0]), *y = result(ctx, c);
    tpi_run          r = tpi_run_of(ctx);

    if (x == NULL || y == NULL)
        return NULL;
    return tpi_done(ctx, c->op->name, tpi_k(ctx)->avg_pool(&r, &a->w, y->data, x->data)) ? y : NULL;
}

static void avg_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const pool_attr *a = c->attr;
    tp_tensor       *g = tpi_rows(ctx, dy[0]), *d = tp_like(ctx, c->in[0]);
    tpi_run          r = tpi_run_of(ctx);

    if (g == NULL || d == NULL)
        return;
    if (tpi_done(ctx, c->op->name, tpi_k(ctx)->avg_pool_grad(&r, &a->w, d->data, g->data)))
        dx[0] = d;
}

static const tp_op max_op = { "max_pool2d", sizeof(pool_attr), 1, 1, max_forward, max_backward };
static const tp_op avg_op = { "avg_pool2d", sizeof(pool_attr), 1, 0, avg_forward, avg_backward };
static const tp_op adaptive_max_op = { "adaptive_max_pool2d", sizeof(pool_attr), 1, 1, max_forward, max_backward };
static const tp_op adaptive_avg_op = { "adaptive_avg_pool2d", sizeof(pool_attr), 1, 0, avg_forward, avg_backward };

/* ---- shapes and options ------------------------------------------------------------------------------------------ */

/* The window over x's planes, which it counts in n; places are i32. */
static bool over_planes(tp_ctx *ctx, const char *op, const tp_tensor *x, bool largest, tpi_window *w)
{
    char text[96];

    if (!tp_ok(ctx) || !tpi_float_input(ctx, op, x) ||
        !tpi_can_do(ctx, op, largest ? tpi_can_of(ctx)->max_pool : tpi_can_of(ctx)->avg_pool, (tp_dtype)x->dtype))
        return false;
    if (x->ndim != 4 || x->dim[2] > INT32_MAX || x->dim[3] > INT32_MAX || x->dim[2] * x->dim[3] > INT32_MAX) {
        tp_fail(ctx, TP_ESHAPE, "%s: x is %s, expected [N, C, H, W] with planes of at most %d elements", op,
                tp_shape_text(x, text, sizeof text), INT32_MAX);
        return false;
    }
    w->t = (tp_dtype)x->dtype;
    w->n = x->dim[0] * x->dim[1];
    w->in[0] = x->dim[2];
    w->in[1] = x->dim[3];
    return true;
}

static bool slide(tp_ctx *ctx, const char *op, const tp_pool_opts *o, bool dilated, tpi_window *w)
{
    static const int64_t none[2] = { 0, 0 };
    int64_t              stride[2];

    if (o == NULL || o->size[0] < 1 || o->size[1] < 0)
        return tp_fail(ctx, TP_EARG, "%s: a window of %lld x %lld, expected a size of at least 1", op,
                       o ? (long long)o->size[0] : 0LL, o ? (long long)o->size[1] : 0LL) != NULL;
    tpi_pair(w->size, o->size, 1);
    for (int i = 0; i < 2; i++) /* a stride left out is the window's size, unless one number stands for both */
        stride[i] = o->stride[0] == 0 && o->stride[i] == 0 ? w->size[i] : o->stride[i];
    if (!dilated && (o->dilation[0] > 1 || o->dilation[1] > 1))
        return tp_fail(ctx, TP_EARG, "%s: a dilation, which only max_pool2d has", op) != NULL;
    if (!tpi_window_slide(ctx, op, w, stride, o->pad, dilated ? o->dilation : none, o->ceil))
        return false;
    for (int i = 0; i < 2; i++)
        if (w->pad[i] > (w->dilation[i] * (w->size[i] - 1) + 1) / 2)
            return tp_fail(ctx, TP_EARG, "%s: padding of %lld, expected at most half of the window of %lld", op,
                           (long long)w->pad[i], (long long)(w->dilation[i] * (w->size[i] - 1) + 1)) != NULL;
    w->exclude_pad = o->exclude_pad;
    return true;
}

tp_tensor *tp_max_pool2d(tp_ctx *ctx, tp_tensor *x, const tp_pool_opts *opts)
{
    pool_attr a = { .w = { .n = 0 } };

    if (!over_planes(ctx, "max_pool2d", x, true, &a.w) || !slide(ctx, "max_pool2d", opts, true, &a.w))
        return NULL;
    return tp_apply(ctx, &max_op, &a, TP_IN(x));
}

tp_tensor *tp_avg_pool2d(tp_ctx *ctx, tp_tensor *x, const tp_pool_opts *opts)
{
    pool_attr a = { .w = { .n = 0 } };

    if (!over_planes(ctx, "avg_pool2d", x, false, &a.w) || !slide(ctx, "avg_pool2d", opts, false, &a.w))
        return NULL;
    return tp_apply(ctx, &avg_op, &a, TP_IN(x));
}

static tp_tensor *adaptive(tp_ctx *ctx, const tp_op *op, tp_tensor *x, int64_t out_h, int64_t out_w, bool largest)
{
    pool_attr a = { .w = { .adaptive = true, .out = { out_h, out_w } } };
    char      text[96];

    if (!over_planes(ctx, op->name, x, largest, &a.w))
        return NULL;
    if (out_h < 1 || out_w < 1 || out_h > INT32_MAX || out_w > INT32_MAX)
        return tp_fail(ctx, TP_EARG, "%s: %lld x %lld windows, expected at least 1 x 1", op->name, (long long)out_h,
                       (long long)out_w);
    if (x->dim[2] == 0 || x->dim[3] == 0)
        return tp_fail(ctx, TP_ESHAPE, "%s: x is %s, its planes have no elements", op->name,
                       tp_shape_text(x, text, sizeof text));
    return tp_apply(ctx, op, &a, TP_IN(x));
}

tp_tensor *tp_adaptive_avg_pool2d(tp_ctx *ctx, tp_tensor *x, int64_t out_h, int64_t out_w)
{
    return adaptive(ctx, &adaptive_avg_op, x, out_h, out_w, false);
}

tp_tensor *tp_adaptive_max_pool2d(tp_ctx *ctx, tp_tensor *x, int64_t out_h, int64_t out_w)
{
    return adaptive(ctx, &adaptive_max_op, x, out_h, out_w, true);
}
