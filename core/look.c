/* look.c - asking tensors: shapes, single values, host pointers. */
#include "core/context.h"
#include "core/number.h"

#include <math.h>
#include <string.h>

tp_dtype tp_dtype_of(const tp_tensor *x)
{
    return x ? (tp_dtype)x->dtype : TP_F32;
}

int tp_ndim(const tp_tensor *x)
{
    return x ? x->ndim : 0;
}

int64_t tp_dim(const tp_tensor *x, int axis)
{
    int i = axis < 0 && x ? axis + x->ndim : axis;

    return x && i >= 0 && i < x->ndim ? x->dim[i] : 0;
}

int64_t tp_stride(const tp_tensor *x, int axis)
{
    int i = axis < 0 && x ? axis + x->ndim : axis;

    return x && i >= 0 && i < x->ndim ? x->stride[i] : 0;
}

int64_t tp_numel(const tp_tensor *x)
{
    return x ? x->numel : 0;
}

bool tp_is_contiguous(const tp_tensor *x)
{
    return x != NULL && x->contiguous;
}

bool tp_same_shape(const tp_tensor *a, const tp_tensor *b)
{
    return a != NULL && b != NULL && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof *a->dim) == 0;
}

bool tp_same_storage(const tp_tensor *a, const tp_tensor *b)
{
    return a != NULL && b != NULL && a->store != NULL && a->store == b->store;
}

char *tpi_dims_text(int ndim, const int64_t *dim, char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "[");

    for (int i = 0; i < ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? ", " : "", (long long)dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "]");
    return buf;
}

char *tp_shape_text(const tp_tensor *x, char *buf, size_t size)
{
    if (buf == NULL || size == 0)
        return buf;
    if (x != NULL)
        return tpi_dims_text(x->ndim, x->dim, buf, size);
    snprintf(buf, size, "NULL");
    return buf;
}

/* ---- values on the host ------------------------------------------------------------------------------------------ */

static bool on_host(tp_ctx *ctx, const char *what, const tp_tensor *x)
{
    if (!tp_ok(ctx) || !tpi_check(ctx, what, x, 0))
        return false;
    if (ctx->backend->alloc != NULL)
        tp_fail(ctx, TP_EDEVICE, "%s: the values are on a device; use tp_copy_out", what);
    return tp_ok(ctx);
}

const void *tp_values(tp_ctx *ctx, const tp_tensor *x)
{
    return on_host(ctx, "values", x) ? x->data : NULL;
}

void *tp_raw(tp_ctx *ctx, tp_tensor *x)
{
    if (!on_host(ctx, "raw", x))
        return NULL;
    tpi_touch(x);
    return x->data;
}

static void *typed(tp_ctx *ctx, tp_tensor *x, tp_dtype t)
{
    if (!on_host(ctx, tp_dtype_name(t), x))
        return NULL;
    if ((tp_dtype)x->dtype != t)
        return tp_fail(ctx, TP_EDTYPE, "%s: the tensor is %s, asked for as %s", tp_dtype_name(t),
                       tp_dtype_name((tp_dtype)x->dtype), tp_dtype_name(t));
    return tp_raw(ctx, x);
}

float *tp_f32(tp_ctx *ctx, tp_tensor *x)
{
    return typed(ctx, x, TP_F32);
}

double *tp_f64(tp_ctx *ctx, tp_tensor *x)
{
    return typed(ctx, x, TP_F64);
}

int32_t *tp_i32(tp_ctx *ctx, tp_tensor *x)
{
    return typed(ctx, x, TP_I32);
}

int64_t *tp_i64(tp_ctx *ctx, tp_tensor *x)
{
    return typed(ctx, x, TP_I64);
}

/* One element, from whatever device. */
static double element(tp_ctx *ctx, const tp_tensor *x, int64_t offset)
{
    size_t        size = tp_dtype_size((tp_dtype)x->dtype);
    const char   *p = x->data + offset * (int64_t)size;
    unsigned char host[8];
    tpi_run       r = tpi_run_of(ctx);

    if (ctx->backend->move == NULL)
        return tpi_load((tp_dtype)x->dtype, p, 0);
    if (!tpi_done(ctx, "item", ctx->backend->move(&r, host, p, size, 1)) ||
        !tpi_done(ctx, "item", ctx->backend->sync(&r)))
        return NAN;
    return tpi_load((tp_dtype)x->dtype, host, 0);
}

double tp_item(tp_ctx *ctx, const tp_tensor *x)
{
    char a[96];

    if (!tp_ok(ctx) || !tpi_check(ctx, "item", x, 0))
        return NAN;
    if (x->numel != 1) {
        tp_fail(ctx, TP_ESHAPE, "item: one number was asked of a tensor %s", tp_shape_text(x, a, sizeof a));
        return NAN;
    }
    return element(ctx, x, 0);
}

/* Where an element lies, from x's first; -1 after a failure. */
static int64_t offset_of(tp_ctx *ctx, const char *what, const tp_tensor *x, int ndim, const int64_t *index)
{
    int64_t offset = 0;

    if (!tp_ok(ctx) || !tpi_check(ctx, what, x, 0))
        return -1;
    if (ndim != x->ndim || (ndim > 0 && index == NULL)) {
        tp_fail(ctx, TP_EARG, "%s: %d indices into a tensor with %d dimensions", what, ndim, x->ndim);
        return -1;
    }
    for (int i = 0; i < ndim; i++) {
        int64_t k = index[i] < 0 ? index[i] + x->dim[i] : index[i];

        if (k < 0 || k >= x->dim[i]) {
            tp_fail(ctx, TP_EARG, "%s: index %lld at axis %d of size %lld", what, (long long)index[i], i,
                    (long long)x->dim[i]);
            return -1;
        }
        offset += k * x->stride[i];
    }
    return offset;
}

double tp_at(tp_ctx *ctx, const tp_tensor *x, int ndim, const int64_t *index)
{
    int64_t offset = offset_of(ctx, "at", x, ndim, index);

    return offset < 0 ? NAN : element(ctx, x, offset);
}

bool tp_set_at(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *index, double value)
{
    int64_t  offset = offset_of(ctx, "set_at", x, ndim, index);
    tp_scope s;
    bool     ok;

    if (offset < 0)
        return false;
    s = tp_scope_begin(ctx); /* tp_copy_to knows all dtypes and devices */
    ok = tp_copy_to(ctx, tpi_view(ctx, x, 0, NULL, NULL, offset), tp_full(ctx, TP_F64, TP_SCALAR, value));
    tp_scope_end(ctx, s);
    return ok;
}

tp_tensor *tp_copy_from(tp_ctx *ctx, tp_ctx *other, const tp_tensor *x)
{
    tp_tensor *y = NULL;
    size_t     size;
    void      *host;

    if (!tp_ok(ctx))
        return NULL;
    if (!tp_ok(other) || !tpi_check(other, "copy_from", x, 0))
        return tp_fail(ctx, TP_EARG, "copy_from: %s", other ? tp_error(other) : "there is no other context");
    size = (size_t)x->numel * tp_dtype_size((tp_dtype)x->dtype);
    host = tpi_alloc(ctx, size, 1);
    if (host != NULL && tp_copy_out(other, x, (tp_dtype)x->dtype, host, size))
        y = tp_from(ctx, (tp_dtype)x->dtype, x->ndim, x->dim, host);
    if (!tp_ok(other))
        tp_fail(ctx, tp_error_code(other), "copy_from: %s", tp_error(other));
    tpi_free(host);
    return y;
}
