/* conv.c - convolution of planes and its gradients; contract in conv.h. */
#include "ops/support.h"
#include "ops/window.h"

typedef struct { tpi_window w; } conv_attr;

/* One of the three kernels with the workspace that it asks for. */
static bool run(tp_ctx *ctx, const tpi_window *w, tpi_conv_part part, void *out, const void *a, const void *b,
                const void *bias, double beta)
{
    const tpi_kernels *k = tpi_k(ctx);
    tpi_run            r = tpi_run_of(ctx);
    tp_code            code = TP_ENOMEM;

    if (tpi_run_begin(ctx, &r, k->conv_space(&r, w, part)))
        code = part == TPI_CONV_Y    ? k->conv(&r, w, out, a, b, bias)
               : part == TPI_CONV_DX ? k->conv_dx(&r, w, out, a, b)
                                     : k->conv_dw(&r, w, out, a, b, beta);
    tpi_run_end(ctx, &r);
    return tp_ok(ctx) && tpi_done(ctx, "conv2d", code);
}

/* x or a weight as the kernel takes it: contiguous, of dtype t. */
static tp_tensor *plain(tp_ctx *ctx, tp_tensor *x, tp_dtype t)
{
    return x ? tpi_rows(ctx, tpi_cast(ctx, x, t)) : NULL;
}

static tp_tensor *conv_forward(tp_ctx *ctx, tp_call *c)
{
    const conv_attr *a = c->attr;
    tp_dtype         t = a->w.t;
    tp_tensor       *x = plain(ctx, c->in[0], t), *w = plain(ctx, c->in[1], t), *b = plain(ctx, c->in[2], t), *y;

    y = tp_empty(ctx, t, TP_SHAPE(a->w.n, a->w.cout, a->w.out[0], a->w.out[1]));
    if (!tp_ok(ctx))
        return NULL;
    c->keep = (tp_wants(c, 0) ? TP_KEEP_IN(1) : 0) | (tp_wants(c, 1) ? TP_KEEP_IN(0) : 0);
    return run(ctx, &a->w, TPI_CONV_Y, y->data, x->data, w->data, b ? b->data : NULL, 0) ? y : NULL;
}

/* db[o] = sum of dy over images and places */
static void bias_grad(tp_ctx *ctx, tp_call *c, tp_tensor *dy, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_grad_into(ctx, c, 2, dx, &beta);
    bool       on[TP_MAX_DIM] = { true, false, true, true };

    if (g != NULL)
        tpi_add_into(ctx, "conv2d", g, beta, tpi_sum_as(ctx, dy, on, false, tpi_wide((tp_dtype)dy->dtype)));
}

static void conv_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const conv_attr *a = c->attr;
    tp_tensor       *g = tpi_rows(ctx, dy[0]);

    if (g == NULL)
        return;
    if (tp_wants(c, 0)) {
        tp_tensor *w = plain(ctx, c->in[1], a->w.t), *d = tp_like(ctx, c->in[0]);

        if (w != NULL && d != NULL && run(ctx, &a->w, TPI_CONV_DX, d->data, g->data, w->data, NULL, 0))
            dx[0] = d;
    }
    if (tp_wants(c, 1)) {
        double     beta;
        tp_tensor *x = tpi_rows(ctx, c->in[0]), *d = tpi_wide_grad(ctx, c, 1, dx, &beta);

        if (x != NULL && d != NULL)
            run(ctx, &a->w, TPI_CONV_DW, d->data, g->data, x->data, NULL, beta);
    }
    if (tp_wants(c, 2))
        bias_grad(ctx, c, g, dx);
}

static const tp_op conv_op = { "conv2d", sizeof(conv_attr), 1, 0, conv_forward, conv_backward };

/* ---- shapes and options ------------------------------------------------------------------------------------------ */

static bool good_operands(tp_ctx *ctx, const tp_tensor *x, const tp_tensor *w, const tp_tensor *b)
{
    if (!tp_ok(ctx) || !tpi_float_input(ctx, "conv2d", x) || !tpi_check(ctx, "conv2d", w, 1) ||
        !tpi_beside(ctx, "conv2d", x, w))
        return false;
    if (x->ndim != 4 || w->ndim != 4) {
        tpi_fail_shapes(ctx, "conv2d", "expected x [N, C, H, W] and w [O, C / groups, KH, KW]", x, w);
        return false;
    }
    if (b == NULL)
        return true;
    if (!tpi_check(ctx, "conv2d", b, 2) || !tpi_beside(ctx, "conv2d", x, b))
        return false;
    if (b->ndim == 1 && b->dim[0] == w->dim[0])
        return true;
    tpi_fail_shapes(ctx, "conv2d", "expected w [O, ..] and b [O]", w, b);
    return false;
}

static bool good_groups(tp_ctx *ctx, const tp_tensor *x, const tp_tensor *w, int64_t groups)
{
    char a[96], b[96];

    if (groups < 1) {
        tp_fail(ctx, TP_EARG, "conv2d: %lld groups, expected at least 1", (long long)groups);
        return false;
    }
    if (x->dim[1] % groups == 0 && w->dim[0] % groups == 0 && w->dim[1] == x->dim[1] / groups)
        return true;
    tp_fail(ctx, TP_ESHAPE, "conv2d: expected x [N, C, H, W] and w [O, C / %lld, KH, KW] in %lld groups, got %s and %s",
            (long long)groups, (long long)groups, tp_shape_text(x, a, sizeof a), tp_shape_text(w, b, sizeof b));
    return false;
}

tp_tensor *tp_conv2d(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *b, const tp_conv_opts *opts)
{
    tp_conv_opts o = opts ? *opts : (tp_conv_opts){ .groups = 0 };
    conv_attr    a = { .w = { .n = 0 } };

    if (!good_operands(ctx, x, w, b))
        return NULL;
    o.groups = o.groups == 0 ? 1 : o.groups;
    if (!good_groups(ctx, x, w, o.groups))
        return NULL;
    a.w.n = x->dim[0];
    a.w.cin = x->dim[1];
    a.w.cout = w->dim[0];
    a.w.groups = o.groups;
    a.w.t = (tp_dtype)x->dtype;
    for (int i = 0; i < 2; i++) {
        a.w.in[i] = x->dim[2 + i];
        a.w.size[i] = w->dim[2 + i];
    }
    if (!tpi_window_slide(ctx, "conv2d", &a.w, o.stride, o.pad, o.dilation, false) ||
        !tpi_can_do(ctx, "conv2d", tpi_can_of(ctx)->conv, a.w.t))
        return NULL;
    return tp_apply(ctx, &conv_op, &a, TP_IN(x, w, b));
}
