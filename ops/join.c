/* join.c - joins, padding, turned and repeated axes, triangles: new tensors of the same values; contracts in layout.h.
 */
#include "ops/support.h"

#include <string.h>

/* The part of y that lies at [start, start + n) of an axis. */
static tp_tensor *part(tp_ctx *ctx, tp_tensor *y, int axis, int64_t start, int64_t n)
{
    int64_t dim[TP_MAX_DIM];

    if (y == NULL)
        return NULL;
    memcpy(dim, y->dim, sizeof dim);
    dim[axis] = n;
    return tpi_view(ctx, y, y->ndim, dim, y->stride, n > 0 ? start * y->stride[axis] : 0);
}

/* ---- contiguous -------------------------------------------------------------------------------------------------- */

static tp_tensor *contiguous_forward(tp_ctx *ctx, tp_call *c)
{
    return tpi_rows(ctx, c->in[0]);
}

static void contiguous_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    (void)c;
    dx[0] = dy[0];
}

static const tp_op contiguous_op = { "contiguous", 0, 1, 0, contiguous_forward, contiguous_backward, contiguous_backward };

tp_tensor *tp_contiguous(tp_ctx *ctx, tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, "contiguous", x, 0))
        return NULL;
    return x->contiguous ? x : tp_apply(ctx, &contiguous_op, NULL, TP_IN(x));
}

/* ---- concat, stack ----------------------------------------------------------------------------------------------- */

static tp_tensor *concat_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;
    int64_t    dim[TP_MAX_DIM], at = 0;
    tp_tensor *y;

    memcpy(dim, c->in[0]->dim, sizeof dim);
    for (int i = 1; i < c->n_in; i++)
        dim[*axis] += c->in[i]->dim[*axis];
    y = tp_empty(ctx, (tp_dtype)c->in[0]->dtype, c->in[0]->ndim, dim);
    for (int i = 0; i < c->n_in && tp_ok(ctx); i++) {
        int64_t n = c->in[i]->dim[*axis];

        tpi_assign(ctx, "concat", part(ctx, y, *axis, at, n), c->in[i]);
        at += n;
    }
    return y;
}

static void concat_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;
    int64_t    at = 0;

    for (int i = 0; i < c->n_in; i++) {
        if (tp_wants(c, i))
            dx[i] = part(ctx, dy[0], *axis, at, c->in[i]->dim[*axis]);
        at += c->in[i]->dim[*axis];
    }
}

static void concat_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;
    int64_t    at = 0;

    for (int i = 0; i < c->n_in; i++) {
        if (tp_wants(c, i))
            dx[i] = tp_narrow(ctx, dy[0], *axis, at, c->in[i]->dim[*axis]);
        at += c->in[i]->dim[*axis];
    }
}

static const tp_op concat_op = { "concat", sizeof(int), 1, 0, concat_forward, concat_backward, concat_ops };

/* n tensors of equal dtype and number of axes. */
static bool may_join(tp_ctx *ctx, const char *op, int n, tp_tensor *const *x)
{
    if (!tp_ok(ctx))
        return false;
    if (n < 1 || x == NULL) {
        tp_fail(ctx, TP_EARG, "%s: %d tensors, expected at least 1", op, n);
        return false;
    }
    if (!tpi_inputs(ctx, op, n, (const tp_tensor *const *)x))
        return false;
    for (int i = 1; i < n; i++)
        if (!tpi_same_dtype(ctx, op, x[0], x[i]))
            return false;
    return true;
}

tp_tensor *tp_concat(tp_ctx *ctx, int n, tp_tensor *const *x, int axis)
{
    if (!may_join(ctx, "concat", n, x))
        return NULL;
    axis = tpi_axis(ctx, "concat", x[0], axis);
    if (axis < 0)
        return NULL;
    for (int i = 1; i < n; i++) {
        bool fits = x[i]->ndim == x[0]->ndim;

        for (int d = 0; d < x[0]->ndim && fits; d++)
            fits = d == axis || x[i]->dim[d] == x[0]->dim[d];
        if (!fits)
            return tpi_fail_shapes(ctx, "concat", "shapes must agree but for the axis", x[0], x[i]);
    }
    return tp_apply(ctx, &concat_op, &axis, n, x);
}

static tp_tensor *stack_forward(tp_ctx *ctx, tp_call *c)
{
    const int *axis = c->attr;
    tp_tensor *x = c->in[0], *y;
    int64_t    dim[TP_MAX_DIM];

    for (int i = 0; i <= x->ndim; i++)
        dim[i] = i == *axis ? c->n_in : x->dim[i - (i > *axis)];
    y = tp_empty(ctx, (tp_dtype)x->dtype, x->ndim + 1, dim);
    for (int i = 0; i < c->n_in && tp_ok(ctx); i++)
        tpi_assign(ctx, "stack", tp_select(ctx, y, *axis, i), c->in[i]);
    return y;
}

static void stack_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const int *axis = c->attr;

    for (int i = 0; i < c->n_in; i++)
        if (tp_wants(c, i))
            dx[i] = tp_select(ctx, dy[0], *axis, i);
}

static const tp_op stack_op = { "stack", sizeof(int), 1, 0, stack_forward, stack_backward, stack_backward };

tp_tensor *tp_stack(tp_ctx *ctx, int n, tp_tensor *const *x, int axis)
{
    int at;

    if (!may_join(ctx, "stack", n, x))
        return NULL;
    for (int i = 1; i < n; i++)
        if (!tp_same_shape(x[0], x[i]))
            return tpi_fail_shapes(ctx, "stack", "shapes must be equal", x[0], x[i]);
    at = axis < 0 ? axis + x[0]->ndim + 1 : axis;
    if (at < 0 || at > x[0]->ndim || x[0]->ndim == TP_MAX_DIM)
        return tp_fail(ctx, TP_EARG, "stack: axis %d of a result with %d dimensions", axis, x[0]->ndim + 1);
    return tp_apply(ctx, &stack_op, &at, n, x);
}

/* ---- pad --------------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t before[TP_MAX_DIM], after[TP_MAX_DIM];
    double  value;
} pad_attr;

/* The part of y that is x's. */
static tp_tensor *inside(tp_ctx *ctx, tp_tensor *y, const tp_tensor *x, const pad_attr *a)
{
    int64_t offset = 0;

    if (y == NULL)
        return NULL;
    for (int i = 0; i < x->ndim; i++)
        offset += a->before[i] * y->stride[i];
    return tpi_view(ctx, y, x->ndim, x->dim, y->stride, x->numel > 0 ? offset : 0);
}

static tp_tensor *pad_forward(tp_ctx *ctx, tp_call *c)
{
    const pad_attr *a = c->attr;
    tp_tensor      *x = c->in[0], *y;
    int64_t         dim[TP_MAX_DIM];

    for (int i = 0; i < x->ndim; i++)
        dim[i] = a->before[i] + x->dim[i] + a->after[i];
    y = tp_full(ctx, (tp_dtype)x->dtype, x->ndim, dim, a->value);
    return tpi_assign(ctx, "pad", inside(ctx, y, x, a), x) ? y : NULL;
}

static void pad_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = inside(ctx, dy[0], c->in[0], c->attr);
}

static void pad_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const pad_attr *a = c->attr;

    dx[0] = dy[0];
    for (int i = 0; i < c->in[0]->ndim; i++)
        dx[0] = tp_narrow(ctx, dx[0], i, a->before[i], c->in[0]->dim[i]);
}

static const tp_op pad_op = { "pad", sizeof(pad_attr), 1, 0, pad_forward, pad_backward, pad_ops };

tp_tensor *tp_pad(tp_ctx *ctx, tp_tensor *x, const int64_t *before, const int64_t *after, double value)
{
    pad_attr a = { .value = value };

    if (!tp_ok(ctx) || !tpi_check(ctx, "pad", x, 0))
        return NULL;
    if (x->ndim > 0 && (before == NULL || after == NULL))
        return tp_fail(ctx, TP_EARG, "pad: before or after is NULL");
    for (int i = 0; i < x->ndim; i++) {
        int64_t sum;

        if (before[i] < 0 || after[i] < 0 || __builtin_add_overflow(before[i], x->dim[i], &sum) ||
            __builtin_add_overflow(sum, after[i], &sum))
            return tp_fail(ctx, TP_EARG, "pad: %lld before and %lld after axis %d, expected numbers >= 0",
                           (long long)before[i], (long long)after[i], i);
        a.before[i] = before[i];
        a.after[i] = after[i];
    }
    return tp_apply(ctx, &pad_op, &a, TP_IN(x));
}

/* ---- flip, roll -------------------------------------------------------------------------------------------------- */

typedef struct { bool on[TP_MAX_DIM]; } flip_attr;

static tp_tensor *flipped(tp_ctx *ctx, tp_tensor *x, const flip_attr *a)
{
    int64_t stride[TP_MAX_DIM], offset = 0;

    memcpy(stride, x->stride, sizeof stride);
    for (int i = 0; i < x->ndim; i++)
        if (a->on[i] && x->dim[i] > 0) {
            offset += (x->dim[i] - 1) * stride[i];
            stride[i] = -stride[i];
        }
    return tpi_copy(ctx, tpi_view(ctx, x, x->ndim, x->dim, stride, x->numel > 0 ? offset : 0), (tp_dtype)x->dtype);
}

static tp_tensor *flip_forward(tp_ctx *ctx, tp_call *c)
{
    return flipped(ctx, c->in[0], c->attr);
}

static void flip_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = flipped(ctx, dy[0], c->attr);
}

static void flip_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const flip_attr *a = c->attr;
    int              axes[TP_MAX_DIM], n = 0;

    for (int i = 0; i < dy[0]->ndim; i++)
        if (a->on[i])
            axes[n++] = i;
    dx[0] = tp_flip(ctx, dy[0], axes, n);
}

static const tp_op flip_op = { "flip", sizeof(flip_attr), 1, 0, flip_forward, flip_backward, flip_ops };

tp_tensor *tp_flip(tp_ctx *ctx, tp_tensor *x, const int *axes, int n_axes)
{
    flip_attr a;

    if (!tp_ok(ctx) || !tpi_check(ctx, "flip", x, 0) || !tpi_axes(ctx, "flip", x, axes, n_axes, a.on))
        return NULL;
    return tp_apply(ctx, &flip_op, &a, TP_IN(x));
}

typedef struct {
    int     axis;
    int64_t shift; /* in [0, n) */
} roll_attr;

static tp_tensor *rolled(tp_ctx *ctx, tp_tensor *x, int axis, int64_t shift)
{
    tp_tensor *y = tp_like(ctx, x);
    int64_t    rest;

    if (y == NULL || x->numel == 0)
        return y;
    rest = x->dim[axis] - shift;
    if (!tpi_assign(ctx, "roll", part(ctx, y, axis, shift, rest), part(ctx, x, axis, 0, rest)) ||
        !tpi_assign(ctx, "roll", part(ctx, y, axis, 0, shift), part(ctx, x, axis, rest, shift)))
        return NULL;
    return y;
}

static tp_tensor *roll_forward(tp_ctx *ctx, tp_call *c)
{
    const roll_attr *a = c->attr;

    return rolled(ctx, c->in[0], a->axis, a->shift);
}

static void roll_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const roll_attr *a = c->attr;
    int64_t          n = dy[0]->dim[a->axis];

    dx[0] = rolled(ctx, dy[0], a->axis, n > 0 ? (n - a->shift) % n : 0);
}

static void roll_ops(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const roll_attr *a = c->attr;

    dx[0] = tp_roll(ctx, dy[0], a->axis, -a->shift);
}

static const tp_op roll_op = { "roll", sizeof(roll_attr), 1, 0, roll_forward, roll_backward, roll_ops };

tp_tensor *tp_roll(tp_ctx *ctx, tp_tensor *x, int axis, int64_t shift)
{
    roll_attr a = { 0, 0 };
    int64_t   n;

    if (!tp_ok(ctx) || !tpi_check(ctx, "roll", x, 0))
        return NULL;
    a.axis = tpi_axis(ctx, "roll", x, axis);
    if (a.axis < 0)
        return NULL;
    n = x->dim[a.axis];
    a.shift = n > 0 ? (shift % n + n) % n : 0;
    return tp_apply(ctx, &roll_op, &a, TP_IN(x));
}

/* ---- repeat ------------------------------------------------------------------------------------------------------ */

/* One axis: [a, n, b] seen as [a, 1, n b], repeated there, and cut anew. */
static tp_tensor *repeat_axis(tp_ctx *ctx, tp_tensor *x, int axis, int64_t count)
{
    int64_t dim[TP_MAX_DIM], a, nb;
    int     ndim = tp_ndim(x);

    if (x == NULL)
        return NULL;
    a = tpi_span(x, 0, axis);
    nb = tpi_span(x, axis, x->ndim);
    memcpy(dim, x->dim, sizeof dim);
    if (__builtin_mul_overflow(dim[axis], count, &dim[axis]))
        return tp_fail(ctx, TP_ESHAPE, "repeat: axis %d would be too long", axis);
    x = tp_reshape(ctx, x, TP_SHAPE(a, 1, nb));
    x = tp_broadcast_to(ctx, x, TP_SHAPE(a, count, nb));
    return tp_reshape(ctx, x, ndim, dim);
}

tp_tensor *tp_repeat(tp_ctx *ctx, tp_tensor *x, int n, const int64_t *count)
{
    int64_t dim[TP_MAX_DIM];

    if (!tp_ok(ctx) || !tpi_check(ctx, "repeat", x, 0))
        return NULL;
    if (n < x->ndim || n > TP_MAX_DIM || (n > 0 && count == NULL))
        return tp_fail(ctx, TP_EARG, "repeat: %d counts, expected %d to %d", n, x->ndim, TP_MAX_DIM);
    for (int i = 0; i < n; i++) {
        if (count[i] < 0)
            return tp_fail(ctx, TP_EARG, "repeat: %lld times along axis %d", (long long)count[i], i);
        dim[i] = i < n - x->ndim ? 1 : x->dim[i - (n - x->ndim)];
    }
    x = tp_reshape(ctx, x, n, dim);
    for (int i = n; i-- > 0;)
        if (count[i] != 1)
            x = repeat_axis(ctx, x, i, count[i]);
    return x;
}

/* ---- tril, triu -------------------------------------------------------------------------------------------------- */

/* Bool [n, m]: whether column - row <= diagonal. */
static tp_tensor *lower(tp_ctx *ctx, int64_t n, int64_t m, int64_t diagonal)
{
    tp_tensor *row = tp_arange(ctx, TP_I64, (double)diagonal, (double)(diagonal + n), 1);
    tp_tensor *column = tp_arange(ctx, TP_I64, 0, (double)m, 1);

    return tp_le(ctx, column, tp_reshape(ctx, row, TP_SHAPE(n, 1)));
}

static tp_tensor *triangle(tp_ctx *ctx, const char *op, tp_tensor *x, int64_t diagonal, bool low)
{
    int64_t    n, m;
    tp_tensor *mask;
    char       text[96];

    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0))
        return NULL;
    if (x->ndim < 2)
        return tp_fail(ctx, TP_ESHAPE, "%s: x is %s, expected at least two axes", op,
                       tp_shape_text(x, text, sizeof text));
    n = x->dim[x->ndim - 2];
    m = x->dim[x->ndim - 1];
    diagonal = diagonal < -n - 1 ? -n - 1 : diagonal > m + 1 ? m + 1 : diagonal;
    mask = lower(ctx, n, m, low ? diagonal : diagonal - 1);
    return tp_masked_fill(ctx, x, low ? tp_logical_not(ctx, mask) : mask, 0);
}

tp_tensor *tp_tril(tp_ctx *ctx, tp_tensor *x, int64_t diagonal)
{
    return triangle(ctx, "tril", x, diagonal, true);
}

tp_tensor *tp_triu(tp_ctx *ctx, tp_tensor *x, int64_t diagonal)
{
    return triangle(ctx, "triu", x, diagonal, false);
}
