/* make.c - tensors with values: filled, copied, counted up; conversion and contiguous copies. */
#include "core/context.h"
#include "core/number.h"

#include <math.h>
#include <string.h>

static tp_tensor *filled(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double value, int64_t i)
{
    tp_tensor *x = tp_empty(ctx, t, ndim, dim);
    tpi_run    r;

    if (x == NULL)
        return NULL;
    r = tpi_run_of(ctx);
    if (t == TP_BOOL)
        value = (double)(i = value != 0);
    return tpi_done(ctx, "full", tpi_k(ctx)->fill(&r, t, x->data, x->numel, value, i)) ? x : NULL;
}

tp_tensor *tp_zeros(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    return filled(ctx, t, ndim, dim, 0, 0);
}

tp_tensor *tp_ones(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    return filled(ctx, t, ndim, dim, 1, 1);
}

tp_tensor *tp_full(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double value)
{
    return filled(ctx, t, ndim, dim, value,
                  tpi_clip(value, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX));
}

tp_tensor *tp_like(tp_ctx *ctx, const tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check_shape(ctx, "like", x, 0))
        return NULL;
    return tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, x->dim);
}

tp_tensor *tp_zeros_like(tp_ctx *ctx, const tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check_shape(ctx, "zeros_like", x, 0))
        return NULL;
    return tp_zeros(ctx, (tp_dtype)x->dtype, x->ndim, x->dim);
}

/* Bytes between host memory and a contiguous tensor. */
static bool move(tp_ctx *ctx, void *dst, const void *src, size_t size, int kind)
{
    const tpi_backend *b = ctx->backend;
    tpi_run            r = tpi_run_of(ctx);

    if (size == 0)
        return true;
    if (b->move != NULL)
        return tpi_done(ctx, "copy", b->move(&r, dst, src, size, kind));
    memcpy(dst, src, size);
    return true;
}

tp_tensor *tp_from(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, const void *p)
{
    tp_tensor *x = tp_empty(ctx, t, ndim, dim);

    if (x == NULL)
        return NULL;
    if (p == NULL && x->numel > 0)
        return tp_fail(ctx, TP_EARG, "from: the pointer is NULL");
    return move(ctx, x->data, p, (size_t)x->numel * tp_dtype_size(t), 0) ? x : NULL;
}

tp_tensor *tp_arange(tp_ctx *ctx, tp_dtype t, double start, double stop, double step)
{
    double     n = step != 0 ? ceil((stop - start) / step) : NAN;
    tp_tensor *x;
    char      *host;
    size_t     size = tp_dtype_size(t);

    if (!tp_ok(ctx))
        return NULL;
    if (!(n < 1e15) || size == 0)
        return tp_fail(ctx, TP_EARG,
                       "arange: %s from %g to %g by %g, expected finite numbers and a step that leads there",
                       tp_dtype_name(t), start, stop, step);
    n = n < 0 ? 0 : n;
    if (n > 0 &&
        (step > 0 ? start + (n - 1) * step >= stop : start + (n - 1) * step <= stop)) /* the division was rounded up */
        n--;
    host = tpi_alloc(ctx, (size_t)n, size);
    for (int64_t i = 0; host != NULL && i < (int64_t)n; i++)
        tpi_store(t, host, i, start + (double)i * step);
    x = host ? tp_from(ctx, t, TP_SHAPE((int64_t)n), host) : NULL;
    tpi_free(host);
    return x;
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

/* The bytes from x's first address to behind its last. */
static void extent(const tp_tensor *x, const char **low, const char **high)
{
    int64_t size = (int64_t)tp_dtype_size((tp_dtype)x->dtype), down = 0, up = 1;

    for (int i = 0; i < x->ndim && x->numel > 0; i++) {
        int64_t reach = (x->dim[i] - 1) * x->stride[i];

        down += reach < 0 ? reach : 0;
        up += reach > 0 ? reach : 0;
    }
    *low = x->data + down * size;
    *high = x->numel > 0 ? x->data + up * size : *low;
}

static bool overlap(const tp_tensor *a, const tp_tensor *b)
{
    const char *a_low, *a_high, *b_low, *b_high;

    if (a->store != b->store)
        return false;
    extent(a, &a_low, &a_high);
    extent(b, &b_low, &b_high);
    return a_low < b_high && b_low < a_high;
}

/* Whether x shows some element at several places, as an expanded view does. */
static bool repeats(const tp_tensor *x)
{
    for (int i = 0; i < x->ndim; i++)
        if (x->stride[i] == 0 && x->dim[i] > 1 && x->numel > 0)
            return true;
    return false;
}

/* dst = src without looking. */
static bool copy(tp_ctx *ctx, tp_tensor *dst, const tp_tensor *src)
{
    tpi_run r = tpi_run_of(ctx);
    tpi_nd  nd;

    tpi_nd_init(&nd, dst->ndim, dst->dim, 2, (const tp_tensor *const[]){ dst, src });
    tpi_touch(dst);
    return tpi_done(ctx, "copy",
                    tpi_k(ctx)->copy(&r, &nd, (tp_dtype)dst->dtype, dst->data, (tp_dtype)src->dtype, src->data));
}

bool tp_copy_to(tp_ctx *ctx, tp_tensor *dst, const tp_tensor *src)
{
    char       a[96], b[96];
    tp_scope   s;
    tp_tensor *t;
    bool       ok;

    if (!tp_ok(ctx) || !tpi_check(ctx, "copy_to", dst, 0) || !tpi_check(ctx, "copy_to", src, 1))
        return false;
    if (!tp_same_shape(dst, src)) {
        tp_fail(ctx, TP_ESHAPE, "copy_to: %s into %s", tp_shape_text(src, a, sizeof a),
                tp_shape_text(dst, b, sizeof b));
        return false;
    }
    if (repeats(dst)) {
        tp_fail(ctx, TP_EARG, "copy_to: the destination %s is a repeated view; its elements share memory",
                tp_shape_text(dst, a, sizeof a));
        return false;
    }
    if (!overlap(dst, src))
        return copy(ctx, dst, src);
    s = tp_scope_begin(ctx); /* by way of a copy: no order of the elements would do for all overlaps */
    t = tp_empty(ctx, (tp_dtype)src->dtype, src->ndim, src->dim);
    ok = t != NULL && copy(ctx, t, src) && copy(ctx, dst, t);
    tp_scope_end(ctx, s);
    return ok;
}

tp_tensor *tpi_cast(tp_ctx *ctx, tp_tensor *x, tp_dtype t)
{
    tp_tensor *y;

    if (x == NULL || (tp_dtype)x->dtype == t)
        return x;
    y = tp_empty(ctx, t, x->ndim, x->dim);
    return y != NULL && copy(ctx, y, x) ? y : NULL;
}

tp_tensor *tpi_rows(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *y;

    if (x == NULL || x->contiguous)
        return x;
    y = tp_empty(ctx, (tp_dtype)x->dtype, x->ndim, x->dim);
    return y != NULL && copy(ctx, y, x) ? y : NULL;
}

bool tp_copy_out(tp_ctx *ctx, const tp_tensor *x, tp_dtype t, void *p, size_t size)
{
    tp_scope   s;
    tp_tensor *y;
    size_t     need;
    bool       ok = false;

    if (!tp_ok(ctx) || !tpi_check(ctx, "copy_out", x, 0))
        return false;
    need = (size_t)x->numel * tp_dtype_size(t);
    if (size < need || (p == NULL && need > 0)) {
        tp_fail(ctx, TP_EARG, "copy_out: room for %zu bytes, %zu needed", p ? size : 0, need);
        return false;
    }
    s = tp_scope_begin(ctx);
    y = tpi_view(ctx, (tp_tensor *)(uintptr_t)x, x->ndim, x->dim, x->stride, 0);
    y = tpi_rows(ctx, tpi_cast(ctx, y, t));
    if (y != NULL)
        ok = move(ctx, p, y->data, need, 1);
    tp_scope_end(ctx, s);
    return ok;
}
