/* tensor.c - headers, storages, who holds them, and views. */
#include "core/context.h"

#include <string.h>

enum { SLAB = 64 };

/* ---- slabs of headers and storages ------------------------------------------------------------------------------------------ */

/* Headers are reused first in, first out, so that the magic word of a released one stays wrong for as long as possible. */
static void header_put(tp_ctx *ctx, tp_tensor *x)
{
    x->magic = 0;
    x->next = NULL;
    if (ctx->free_last != NULL)
        ctx->free_last->next = x;
    else
        ctx->free_first = x;
    ctx->free_last = x;
}

/* One slab holds as many storages as headers: a tensor has at most one of its own. */
static bool slab_new(tp_ctx *ctx)
{
    size_t       size = sizeof(tpi_slab) + SLAB * (sizeof(tp_tensor) + sizeof(tpi_storage));
    tpi_slab    *slab = tpi_alloc(ctx, 1, size);
    tp_tensor   *x;
    tpi_storage *s;

    if (slab == NULL)
        return false;
    slab->next = ctx->slabs;
    ctx->slabs = slab;
    x = (tp_tensor *)(void *)(slab + 1);
    s = (tpi_storage *)(void *)(x + SLAB);
    for (int i = 0; i < SLAB; i++) {
        header_put(ctx, &x[i]);
        s[i].user = ctx->free_storage;
        ctx->free_storage = &s[i];
    }
    return true;
}

static tp_tensor *header_get(tp_ctx *ctx)
{
    tp_tensor *x;

    if (ctx->free_first == NULL && !slab_new(ctx))
        return NULL;
    x = ctx->free_first;
    ctx->free_first = x->next;
    if (ctx->free_first == NULL)
        ctx->free_last = NULL;
    return x;
}

/* ---- storages --------------------------------------------------------------------------------------------------------------- */

static tpi_storage *storage_get(tp_ctx *ctx)
{
    tpi_storage *s;

    if (ctx->free_storage == NULL && !slab_new(ctx))
        return NULL;
    s = ctx->free_storage;
    ctx->free_storage = s->user;
    memset(s, 0, sizeof *s);
    s->ctx = ctx;
    s->holders = 1;
    return s;
}

static void storage_drop(tpi_storage *s)
{
    tp_ctx *ctx;

    if (s == NULL || --s->holders > 0)
        return;
    ctx = s->ctx;
    if (s->room > 0)
        tpi_pool_put(&ctx->pool, s->data, s->room);
    else if (s->release != NULL)
        s->release(s->user, s->data);
    s->user = ctx->free_storage;
    s->ctx = NULL;
    ctx->free_storage = s;
}

static tpi_storage *storage_new(tp_ctx *ctx, size_t size)
{
    tpi_storage *s = storage_get(ctx);

    if (s == NULL)
        return NULL;
    s->size = size;
    s->data = tpi_pool_get(&ctx->pool, size, &s->room);
    if (s->data == NULL) {
        s->room = 0;
        storage_drop(s);
        return tp_fail(ctx, TP_ENOMEM, "out of memory: %zu bytes for a tensor", size);
    }
    return s;
}

/* ---- headers ---------------------------------------------------------------------------------------------------------------- */

static bool plain_strides(const tp_tensor *x)
{
    int64_t want = 1;

    for (int i = x->ndim; i-- > 0;) {
        if (x->dim[i] != 1 && x->stride[i] != want)
            return x->numel == 0;
        want *= x->dim[i];
    }
    return true;
}

/* Sizes and row-major strides; false on overflow or nonsense. */
static bool set_shape(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    int64_t n = 1;

    for (int i = ndim; i-- > 0;) {
        if (dim[i] < 0 || __builtin_mul_overflow(n, dim[i] ? dim[i] : 1, &n) || n > ((int64_t)1 << 60)) {
            tp_fail(ctx, TP_ESHAPE, "a tensor cannot have %lld at place %d of its %d dimensions", (long long)dim[i], i, ndim);
            return false;
        }
        x->dim[i] = dim[i];
    }
    x->numel = 1;
    for (int i = ndim; i-- > 0;) {
        x->stride[i] = x->numel;
        x->numel *= dim[i];
    }
    for (int i = ndim - 1; x->numel == 0 && i >= 0; i--)
        x->stride[i] = i == ndim - 1 ? 1 : x->stride[i + 1] * (x->dim[i + 1] ? x->dim[i + 1] : 1);
    return true;
}

tp_tensor *tpi_header_new(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    tp_tensor *x;

    if (ndim < 0 || ndim > TP_MAX_DIM || (ndim > 0 && dim == NULL))
        return tp_fail(ctx, TP_ESHAPE, "a tensor has 0 to %d dimensions, not %d", TP_MAX_DIM, ndim);
    if (tp_dtype_size(t) == 0)
        return tp_fail(ctx, TP_EDTYPE, "there is no dtype %d", (int)t);
    x = header_get(ctx);
    if (x == NULL)
        return NULL;
    memset(x, 0, sizeof *x);
    x->ctx = ctx;
    x->ndim = (int16_t)ndim;
    x->dtype = (uint8_t)t;
    x->serial = -1;
    if (!set_shape(ctx, x, ndim, dim)) {
        header_put(ctx, x);
        return NULL;
    }
    x->magic = TPI_TENSOR_MAGIC;
    x->refs = x->uses = 1;
    x->contiguous = true;
    return x;
}

tp_tensor *tp_empty(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    tp_tensor *x = tp_ok(ctx) ? tpi_header_new(ctx, t, ndim, dim) : NULL;

    if (x == NULL)
        return NULL;
    x->store = storage_new(ctx, (size_t)x->numel * tp_dtype_size(t));
    if (x->store == NULL) {
        tpi_unhold(x);
        return NULL;
    }
    x->data = x->store->data;
    return tpi_adopt(ctx, x) ? x : NULL;
}

tp_tensor *tp_borrow(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, void *p, void (*release)(void *user, void *p), void *user)
{
    tp_tensor *x;

    if (!tp_ok(ctx))
        return NULL;
    if (ctx->device == TP_CUDA)
        return tp_fail(ctx, TP_EDEVICE, "borrow: host memory cannot serve a tensor of this device; use tp_from");
    if (p == NULL)
        return tp_fail(ctx, TP_EARG, "borrow: the pointer is NULL");
    x = tpi_header_new(ctx, t, ndim, dim);
    if (x == NULL)
        return NULL;
    x->store = storage_get(ctx);
    if (x->store == NULL) {
        tpi_unhold(x);
        return NULL;
    }
    x->store->size = (size_t)x->numel * tp_dtype_size(t);
    x->data = x->store->data = p;
    x->store->release = release;
    x->store->user = user;
    return tpi_adopt(ctx, x) ? x : NULL;
}

tp_tensor *tpi_view(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim, const int64_t *stride, int64_t offset)
{
    tp_tensor *y = tpi_header_new(ctx, (tp_dtype)x->dtype, ndim, dim);

    if (y == NULL)
        return NULL;
    if (stride != NULL && ndim > 0)
        memcpy(y->stride, stride, (size_t)ndim * sizeof *stride);
    y->contiguous = plain_strides(y);
    y->store = x->store;
    if (y->store != NULL)
        y->store->holders++;
    y->data = x->data + offset * (int64_t)tp_dtype_size((tp_dtype)x->dtype);
    return tpi_adopt(ctx, y) ? y : NULL;
}

/* ---- holders ---------------------------------------------------------------------------------------------------------------- */

/* Whether x may be touched at all: best effort against freed tensors. */
static bool alive(const tp_tensor *x)
{
    return x != NULL && x->magic == TPI_TENSOR_MAGIC;
}

bool tpi_adopt(tp_ctx *ctx, tp_tensor *x)
{
    if (!tpi_grow(ctx, &ctx->live, &ctx->cap_live, ctx->n_live + 1, sizeof *ctx->live)) {
        tp_release(x);
        return false;
    }
    ctx->live[ctx->n_live++] = x;
    return true;
}

tp_tensor *tp_retain(tp_tensor *x)
{
    if (!alive(x))
        return NULL;
    x->refs++;
    x->uses++;
    return x;
}

void tp_release(tp_tensor *x)
{
    if (!alive(x))
        return;
    if (--x->uses == 0) {
        storage_drop(x->store);
        x->store = NULL;
        x->data = NULL;
    }
    tpi_unhold(x);
}

void tpi_hold(tp_tensor *x)
{
    if (x != NULL)
        x->refs++;
}

void tpi_unhold(tp_tensor *x)
{
    tp_tensor *grad;

    if (x == NULL || --x->refs > 0)
        return;
    grad = x->grad;
    x->grad = NULL;
    if (x->store != NULL)
        storage_drop(x->store);
    x->store = NULL;
    header_put(x->ctx, x);
    tp_release(grad);
}

void tpi_tensors_free(tp_ctx *ctx)
{
    size_t headers = SLAB * sizeof(tp_tensor);

    for (tpi_slab *s = ctx->slabs; s != NULL; s = s->next) { /* borrowed memory is handed back, large blocks too */
        tpi_storage *store = (tpi_storage *)(void *)((char *)(s + 1) + headers);

        for (int i = 0; i < SLAB; i++)
            if (store[i].ctx != NULL) {
                store[i].holders = 1;
                storage_drop(&store[i]);
            }
    }
    while (ctx->slabs != NULL) {
        tpi_slab *s = ctx->slabs;

        ctx->slabs = s->next;
        tpi_free(s);
    }
}

bool tpi_check(tp_ctx *ctx, const char *op, const tp_tensor *x, int i)
{
    if (x == NULL)
        tp_fail(ctx, TP_EARG, "%s: input %d is NULL", op, i);
    else if (x->magic != TPI_TENSOR_MAGIC)
        tp_fail(ctx, TP_EARG, "%s: input %d was released; keep it with tp_retain beyond its scope", op, i);
    else if (x->ctx != ctx)
        tp_fail(ctx, TP_EARG, "%s: input %d belongs to another context", op, i);
    else if (x->store == NULL)
        tp_fail(ctx, TP_EARG, "%s: the values of input %d are gone; an op keeps them for its backward with c->keep", op, i);
    else
        return true;
    return false;
}

void tpi_touch(tp_tensor *x)
{
    if (x != NULL && x->store != NULL)
        x->store->version++;
}
