/* layout.c - the same values in another shape or order, and pieces of them: views, and their gradients. */
#include "ops/support.h"

#include <string.h>

typedef struct {
    int     ndim;
    int64_t dim[TP_MAX_DIM];
} shape_attr;

/* ---- reshape and relatives --------------------------------------------------------------------------------------- */

/* Strides with which dim shows x's elements in order, without a copy; false when there are none.  Runs of x's axes that
 * lie together are cut anew; a run ends where the sizes on both sides have come to the same product. */
static bool view_strides(const tp_tensor *x, int ndim, const int64_t *dim, int64_t *stride)
{
    int     d = ndim - 1;
    int64_t step, run = 1, cut = 1;

    if (x->numel == 0 || x->contiguous) {
        for (int64_t s = 1; d >= 0; d--) {
            stride[d] = s;
            s *= dim[d] > 0 ? dim[d] : 1;
        }
        return true;
    }
    step = x->stride[x->ndim - 1];
    for (int i = x->ndim - 1; i >= 0; i--) {
        run *= x->dim[i];
        if (i > 0 && (x->dim[i - 1] == 1 || x->stride[i - 1] == run * step))
            continue;
        for (; d >= 0 && (cut < run || dim[d] == 1); d--) {
            stride[d] = cut * step;
            cut *= dim[d];
        }
        if (cut != run)
            return false;
        if (i > 0) {
            step = x->stride[i - 1];
            run = cut = 1;
        }
    }
    return d < 0;
}

static tp_tensor *reshaped(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    int64_t stride[TP_MAX_DIM];

    if (x == NULL)
        return NULL;
    if (view_strides(x, ndim, dim, stride))
        return tpi_view(ctx, x, ndim, dim, stride, 0);
    x = tpi_rows(ctx, x);
    return x ? tpi_view(ctx, x, ndim, dim, NULL, 0) : NULL;
}

static tp_tensor *reshape_forward(tp_ctx *ctx, tp_call *c)
{
    const shape_attr *a = c->attr;

    return reshaped(ctx, c->in[0], a->ndim, a->dim);
}

static void reshape_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = reshaped(ctx, dy[0], c->in[0]->ndim, c->in[0]->dim);
}

static void reshape_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tp_reshape(ctx, dy[0], c->in[0]->ndim, c->in[0]->dim);
}

static const tp_op reshape_op = { "reshape", sizeof(shape_attr), 1, 0, reshape_forward, reshape_backward, reshape_ops };

/* Puts what is left over in the place of -1. */
static bool fill_in(tp_ctx *ctx, const char *op, const tp_tensor *x, shape_attr *a)
{
    int64_t known = 1;
    int     open = -1;
    bool    ok = true;
    char    asked[200], text[200];

    for (int i = 0; i < a->ndim && ok; i++) {
        if (a->dim[i] == -1 && open < 0)
            open = i;
        else
            ok = a->dim[i] >= 0 && !__builtin_mul_overflow(known, a->dim[i], &known);
    }
    if (ok && open >= 0) {
        ok = known > 0 && x->numel % known == 0;
        known *= a->dim[open] = ok ? x->numel / known : 0;
    }
    if (ok && known == x->numel)
        return true;
    if (open >= 0)
        a->dim[open] = -1;
    tp_fail(ctx, TP_ESHAPE,
            "%s: the %lld elements of %s do not fill %s; expected as many, with at most one -1 for what is left over", op,
            (long long)x->numel, tp_shape_text(x, text, sizeof text), tpi_dims_text(a->ndim, a->dim, asked, sizeof asked));
    return false;
}

static bool asked_shape(tp_ctx *ctx, const char *op, const tp_tensor *x, int ndim, const int64_t *dim, shape_attr *a)
{
    *a = (shape_attr){ .ndim = ndim };
    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0))
        return false;
    if (ndim < 0 || ndim > TP_MAX_DIM || (ndim > 0 && dim == NULL)) {
        tp_fail(ctx, TP_ESHAPE, "%s: a tensor has 0 to %d axes, not %d", op, TP_MAX_DIM, ndim);
        return false;
    }
    for (int i = 0; i < ndim; i++)
        a->dim[i] = dim[i];
    return fill_in(ctx, op, x, a);
}

tp_tensor *tp_reshape(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    shape_attr a;

    return asked_shape(ctx, "reshape", x, ndim, dim, &a) ? tp_apply(ctx, &reshape_op, &a, TP_IN(x)) : NULL;
}

tp_tensor *tp_view(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    shape_attr a;
    int64_t    stride[TP_MAX_DIM];
    char       text[96];

    if (!asked_shape(ctx, "view", x, ndim, dim, &a))
        return NULL;
    if (!view_strides(x, a.ndim, a.dim, stride))
        return tp_fail(ctx, TP_ESHAPE, "view: the strides of %s do not allow this shape; tp_reshape copies",
                       tp_shape_text(x, text, sizeof text));
    return tp_apply(ctx, &reshape_op, &a, TP_IN(x));
}

tp_tensor *tp_flatten(tp_ctx *ctx, tp_tensor *x, int first, int last)
{
    int64_t dim[TP_MAX_DIM];
    int     n = 0;

    if (!tp_ok(ctx) || !tpi_check(ctx, "flatten", x, 0))
        return NULL;
    if (x->ndim == 0)
        return tp_reshape(ctx, x, TP_SHAPE(1));
    first = tpi_axis(ctx, "flatten", x, first);
    last = tpi_axis(ctx, "flatten", x, last);
    if (first < 0 || last < 0)
        return NULL;
    if (first > last)
        return tp_fail(ctx, TP_EARG, "flatten: first axis %d, last axis %d, expected first <= last", first, last);
    for (int i = 0; i < first; i++)
        dim[n++] = x->dim[i];
    dim[n++] = tpi_span(x, first, last + 1);
    for (int i = last + 1; i < x->ndim; i++)
        dim[n++] = x->dim[i];
    return tp_reshape(ctx, x, n, dim);
}

tp_tensor *tp_squeeze(tp_ctx *ctx, tp_tensor *x, int axis)
{
    int64_t dim[TP_MAX_DIM];
    char    text[96];

    if (!tp_ok(ctx) || !tpi_check(ctx, "squeeze", x, 0))
        return NULL;
    axis = tpi_axis(ctx, "squeeze", x, axis);
    if (axis < 0)
        return NULL;
    if (x->dim[axis] != 1)
        return tp_fail(ctx, TP_ESHAPE, "squeeze: axis %d of %s is not of size 1", axis,
                       tp_shape_text(x, text, sizeof text));
    for (int i = 0; i < x->ndim - 1; i++)
        dim[i] = x->dim[i + (i >= axis)];
    return tp_reshape(ctx, x, x->ndim - 1, dim);
}

tp_tensor *tp_unsqueeze(tp_ctx *ctx, tp_tensor *x, int axis)
{
    int64_t dim[TP_MAX_DIM];
    int     n = tp_ndim(x) + 1, at = axis < 0 ? axis + n : axis;

    if (!tp_ok(ctx) || !tpi_check(ctx, "unsqueeze", x, 0))
        return NULL;
    if (n > TP_MAX_DIM)
        return tp_fail(ctx, TP_ESHAPE, "unsqueeze: x has %d axes already, the most there can be", TP_MAX_DIM);
    if (at < 0 || at >= n)
        return tp_fail(ctx, TP_EARG, "unsqueeze: axis %d of a result with %d dimensions", axis, n);
    for (int i = 0; i < n; i++)
        dim[i] = i == at ? 1 : x->dim[i - (i > at)];
    return tp_reshape(ctx, x, n, dim);
}

/* ---- permute, transpose ------------------------------------------------------------------------------------------ */

typedef struct { int axis[TP_MAX_DIM]; } permute_attr;

static tp_tensor *permuted(tp_ctx *ctx, tp_tensor *x, const int *axis)
{
    int64_t dim[TP_MAX_DIM], stride[TP_MAX_DIM];

    for (int i = 0; i < x->ndim; i++) {
        dim[i] = x->dim[axis[i]];
        stride[i] = x->stride[axis[i]];
    }
    return tpi_view(ctx, x, x->ndim, dim, stride, 0);
}

static tp_tensor *permute_forward(tp_ctx *ctx, tp_call *c)
{
    const permute_attr *a = c->attr;

    return permuted(ctx, c->in[0], a->axis);
}

static void permute_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const permute_attr *a = c->attr;
    int                 back[TP_MAX_DIM];

    for (int i = 0; i < dy[0]->ndim; i++)
        back[a->axis[i]] = i;
    dx[0] = permuted(ctx, dy[0], back);
}

static void permute_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const permute_attr *a = c->attr;
    int                 back[TP_MAX_DIM];

    for (int i = 0; i < dy[0]->ndim; i++)
        back[a->axis[i]] = i;
    dx[0] = tp_permute(ctx, dy[0], back, dy[0]->ndim);
}

static const tp_op permute_op = { "permute", sizeof(permute_attr), 1, 0, permute_forward, permute_backward, permute_ops };
static const tp_op transpose_op = { "transpose", sizeof(permute_attr), 1, 0, permute_forward, permute_backward, permute_ops };

tp_tensor *tp_permute(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes)
{
    permute_attr a = { { 0 } };
    bool         on[TP_MAX_DIM];

    if (!tp_ok(ctx) || !tpi_check(ctx, "permute", x, 0))
        return NULL;
    if (n_axes != x->ndim)
        return tp_fail(ctx, TP_EARG, "permute: %d axes named for a tensor with %d", n_axes, x->ndim);
    if (!tpi_axes(ctx, "permute", x, axes, n_axes, on))
        return NULL;
    for (int i = 0; i < n_axes; i++)
        a.axis[i] = tpi_axis(ctx, "permute", x, axes[i]);
    return tp_apply(ctx, &permute_op, &a, TP_IN(x));
}

tp_tensor *tp_transpose(tp_ctx *ctx, tp_tensor *x, int a, int b)
{
    permute_attr p = { { 0 } };

    if (!tp_ok(ctx) || !tpi_check(ctx, "transpose", x, 0))
        return NULL;
    a = tpi_axis(ctx, "transpose", x, a);
    b = tpi_axis(ctx, "transpose", x, b);
    if (a < 0 || b < 0)
        return NULL;
    for (int i = 0; i < x->ndim; i++)
        p.axis[i] = i == a ? b : i == b ? a : i;
    return tp_apply(ctx, &transpose_op, &p, TP_IN(x));
}

/* ---- broadcast_to ------------------------------------------------------------------------------------------------ */

static tp_tensor *broadcast_forward(tp_ctx *ctx, tp_call *c)
{
    const shape_attr *a = c->attr;
    tp_tensor        *x = c->in[0];
    int64_t           stride[TP_MAX_DIM] = { 0 };

    for (int i = 0, k = a->ndim - x->ndim; i < x->ndim; i++, k++)
        stride[k] = x->dim[i] == a->dim[k] ? x->stride[i] : 0;
    return tpi_view(ctx, x, a->ndim, a->dim, stride, 0);
}

static void broadcast_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tpi_sum_to(ctx, dy[0], c->in[0]);
}

static const tp_op broadcast_op = {
    "broadcast_to", sizeof(shape_attr), 1, 0, broadcast_forward, broadcast_backward, broadcast_backward
};

static tp_tensor *broadcast(tp_ctx *ctx, const char *op, tp_tensor *x, int ndim, const int64_t *dim)
{
    shape_attr a = { .ndim = ndim };
    char       text[96];

    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0))
        return NULL;
    if (ndim < x->ndim || ndim > TP_MAX_DIM || (ndim > 0 && dim == NULL))
        return tp_fail(ctx, TP_ESHAPE, "%s: %d axes asked for, expected %d to %d", op, ndim, x->ndim, TP_MAX_DIM);
    for (int i = 0; i < ndim; i++) {
        int     k = i - (ndim - x->ndim);
        int64_t own = k >= 0 ? x->dim[k] : 1;

        a.dim[i] = dim[i] == -1 && k >= 0 ? own : dim[i];
        if (a.dim[i] < 0 || (own != 1 && own != a.dim[i]))
            return tp_fail(ctx, TP_ESHAPE, "%s: %s does not broadcast to %lld at axis %d of %d", op,
                           tp_shape_text(x, text, sizeof text), (long long)dim[i], i, ndim);
    }
    return tp_apply(ctx, &broadcast_op, &a, TP_IN(x));
}

tp_tensor *tp_broadcast_to(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    return broadcast(ctx, "broadcast_to", x, ndim, dim);
}

tp_tensor *tp_expand(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    return broadcast(ctx, "expand", x, ndim, dim);
}

/* ---- slice, narrow, select --------------------------------------------------------------------------------------- */

typedef struct {
    int     axis;
    int64_t start, n, step;
} slice_attr;

static tp_tensor *sliced(tp_ctx *ctx, tp_tensor *x, const slice_attr *a)
{
    int64_t dim[TP_MAX_DIM], stride[TP_MAX_DIM];

    if (x == NULL)
        return NULL;
    memcpy(dim, x->dim, sizeof dim);
    memcpy(stride, x->stride, sizeof stride);
    dim[a->axis] = a->n;
    stride[a->axis] *= a->step;
    return tpi_view(ctx, x, x->ndim, dim, stride, a->n > 0 ? a->start * x->stride[a->axis] : 0);
}

static tp_tensor *slice_forward(tp_ctx *ctx, tp_call *c)
{
    return sliced(ctx, c->in[0], c->attr);
}

/* Into place, so that many slices of one leaf cost one gradient of its size. */
static void slice_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    double     beta;
    tp_tensor *g = tp_grad_into(ctx, c, 0, dx, &beta);

    if (g != NULL && (beta != 0 || tpi_zero(ctx, c->op->name, g)))
        tpi_add_into(ctx, c->op->name, sliced(ctx, g, c->attr), beta, dy[0]);
}

/* Zeros between and around dy's elements, by recorded ops: seen as [a, n, 1, b], padded to [a, n, step, b], of which
 * the last step - 1 rows go again. */
static void slice_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const slice_attr *s = c->attr;
    tp_tensor        *x = c->in[0], *g = dy[0];
    int64_t           a = tpi_span(x, 0, s->axis), b = tpi_span(x, s->axis + 1, x->ndim);
    int64_t           used = s->n > 0 ? (s->n - 1) * s->step + 1 : 0, after = x->dim[s->axis] - s->start - used;

    if (s->n == 0)
        return;
    if (s->step > 1) {
        g = tp_reshape(ctx, g, TP_SHAPE(a, s->n, 1, b));
        g = tp_pad(ctx, g, (const int64_t[4]){ 0 }, (const int64_t[4]){ 0, 0, s->step - 1, 0 }, 0);
        g = tp_narrow(ctx, tp_reshape(ctx, g, TP_SHAPE(a, s->n * s->step, b)), 1, 0, used);
    }
    g = tp_reshape(ctx, g, TP_SHAPE(a, used, b));
    g = tp_pad(ctx, g, (const int64_t[3]){ 0, s->start, 0 }, (const int64_t[3]){ 0, after, 0 }, 0);
    dx[0] = tp_reshape(ctx, g, x->ndim, x->dim);
}

static const tp_op slice_op = { "slice", sizeof(slice_attr), 1, 0, slice_forward, slice_backward, slice_ops };
static const tp_op narrow_op = { "narrow", sizeof(slice_attr), 1, 0, slice_forward, slice_backward, slice_ops };

static int64_t clip_to(int64_t i, int64_t n)
{
    i = i < 0 ? i + n : i;
    return i < 0 ? 0 : i > n ? n : i;
}

tp_tensor *tp_slice(tp_ctx *ctx, tp_tensor *x, int axis, int64_t start, int64_t stop, int64_t step)
{
    slice_attr a = { .step = step };

    if (!tp_ok(ctx) || !tpi_check(ctx, "slice", x, 0))
        return NULL;
    a.axis = tpi_axis(ctx, "slice", x, axis);
    if (a.axis < 0)
        return NULL;
    if (step < 1)
        return tp_fail(ctx, TP_EARG, "slice: step %lld, expected at least 1 (tp_flip turns an axis around)",
                       (long long)step);
    a.start = clip_to(start, x->dim[a.axis]);
    stop = clip_to(stop, x->dim[a.axis]);
    a.n = stop > a.start ? (stop - a.start - 1) / step + 1 : 0;
    a.step = a.n > 1 ? step : 1; /* so that a huge step cannot overflow a stride */
    return tp_apply(ctx, &slice_op, &a, TP_IN(x));
}

tp_tensor *tp_narrow(tp_ctx *ctx, tp_tensor *x, int axis, int64_t start, int64_t length)
{
    slice_attr a = { .start = start, .n = length, .step = 1 };

    if (!tp_ok(ctx) || !tpi_check(ctx, "narrow", x, 0))
        return NULL;
    a.axis = tpi_axis(ctx, "narrow", x, axis);
    if (a.axis < 0)
        return NULL;
    if (start < 0 || length < 0 || start > x->dim[a.axis] || length > x->dim[a.axis] - start)
        return tp_fail(ctx, TP_EARG, "narrow: %lld elements from %lld on of axis %d of size %lld", (long long)length,
                       (long long)start, a.axis, (long long)x->dim[a.axis]);
    return tp_apply(ctx, &narrow_op, &a, TP_IN(x));
}

tp_tensor *tp_select(tp_ctx *ctx, tp_tensor *x, int axis, int64_t index)
{
    int64_t at;

    if (!tp_ok(ctx) || !tpi_check(ctx, "select", x, 0))
        return NULL;
    axis = tpi_axis(ctx, "select", x, axis);
    if (axis < 0)
        return NULL;
    at = index < 0 ? index + x->dim[axis] : index;
    if (at < 0 || at >= x->dim[axis])
        return tp_fail(ctx, TP_EARG, "select: index %lld of axis %d of size %lld", (long long)index, axis,
                       (long long)x->dim[axis]);
    return tp_squeeze(ctx, tp_narrow(ctx, x, axis, at, 1), axis);
}

/* ---- split, chunk ------------------------------------------------------------------------------------------------ */

static bool cut(tp_ctx *ctx, tp_tensor *x, int axis, int n, const int64_t *size, tp_tensor **y)
{
    int64_t at = 0;

    for (int i = 0; i < n; at += size[i++])
        y[i] = tp_narrow(ctx, x, axis, at, size[i]);
    for (int i = 0; i < n && !tp_ok(ctx); i++)
        y[i] = NULL;
    return tp_ok(ctx);
}

static bool may_cut(tp_ctx *ctx, const char *op, tp_tensor *x, int *axis, int n, tp_tensor **y)
{
    for (int i = 0; y != NULL && i < n; i++)
        y[i] = NULL;
    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0))
        return false;
    *axis = tpi_axis(ctx, op, x, *axis);
    if (*axis >= 0 && (n < 1 || y == NULL))
        tp_fail(ctx, TP_EARG, "%s: %d pieces, expected at least 1 and room for them", op, n);
    return tp_ok(ctx);
}

bool tp_split(tp_ctx *ctx, tp_tensor *x, int axis, int n, const int64_t *size, tp_tensor **y)
{
    int64_t sum = 0;
    bool    good = true;

    if (!may_cut(ctx, "split", x, &axis, n, y))
        return false;
    for (int i = 0; size != NULL && i < n && good; i++)
        good = size[i] >= 0 && !__builtin_add_overflow(sum, size[i], &sum);
    if (size == NULL || !good || sum != x->dim[axis]) {
        tp_fail(ctx, TP_ESHAPE, "split: sizes add up to %lld, expected %lld, that of axis %d", (long long)sum,
                (long long)x->dim[axis], axis);
        return false;
    }
    return cut(ctx, x, axis, n, size, y);
}

bool tp_chunk(tp_ctx *ctx, tp_tensor *x, int axis, int n, tp_tensor **y)
{
    int64_t each, at = 0;

    if (!may_cut(ctx, "chunk", x, &axis, n, y))
        return false;
    each = (x->dim[axis] + n - 1) / n;
    for (int i = 0; i < n; i++) {
        int64_t left = x->dim[axis] - at, size = each < left ? each : left;

        y[i] = tp_narrow(ctx, x, axis, at, size);
        at += size;
    }
    for (int i = 0; i < n && !tp_ok(ctx); i++)
        y[i] = NULL;
    return tp_ok(ctx);
}
