/* tensor.c - headers, storages, who holds them, and views. */
#include "core/context.h"

#include <string.h>

#define MAX_ELEMENTS ((int64_t)1 << 60) /* times 8 bytes, they still fit a size_t */

/* REST: released headers that stay unused while mistakes are looked for. */
enum { SLAB = 64, REST = TPI_STRICT ? 512 : 0 };

/* ---- slabs of headers and storages ------------------------------------------------------------------------------- */

/* Headers are reused first in, first out, so that the magic word of a released one stays wrong as long as possible. */
static void header_put(tp_ctx *ctx, tp_tensor *x)
{
    x->magic = 0;
    x->next = NULL;
    if (ctx->free_last != NULL)
        ctx->free_last->next = x;
    else
        ctx->free_first = x;
    ctx->free_last = x;
    ctx->n_free++;
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

    if (ctx->n_free <= REST && !slab_new(ctx))
        return NULL;
    x = ctx->free_first;
    ctx->free_first = x->next;
    ctx->n_free--;
    if (ctx->free_first == NULL)
        ctx->free_last = NULL;
    return x;
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

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

/* ---- headers ----------------------------------------------------------------------------------------------------- */

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

/* Sizes and row-major strides, which count a size of 0 as 1; false on overflow or nonsense. */
static bool set_shape(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    int64_t n = 1;

    x->numel = 1;
    for (int i = ndim; i-- > 0;) {
        x->stride[i] = n;
        if (dim[i] < 0 || __builtin_mul_overflow(n, dim[i] ? dim[i] : 1, &n) || n > MAX_ELEMENTS) {
            tp_fail(ctx, TP_ESHAPE,
                    "tensor: size %lld at place %d of %d dimensions, expected 0 or more and at most 2^60 elements",
                    (long long)dim[i], i, ndim);
            return false;
        }
        x->dim[i] = dim[i];
        x->numel *= dim[i];
    }
    return true;
}

tp_tensor *tpi_header_new(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim)
{
    tp_tensor *x;

    if (ndim < 0 || ndim > TP_MAX_DIM || (ndim > 0 && dim == NULL))
        return tp_fail(ctx, TP_ESHAPE, "tensor: %d dimensions%s, expected 0 to %d", ndim,
                       ndim > 0 && dim == NULL ? " without sizes" : "", TP_MAX_DIM);
    if (tp_dtype_size(t) == 0)
        return tp_fail(ctx, TP_EDTYPE, "tensor: there is no dtype %d", (int)t);
    x = header_get(ctx);
    if (x == NULL)
        return NULL;
    memset(x, 0, sizeof *x);
    x->ctx = ctx;
    x->ndim = (int16_t)ndim;
    x->dtype = (uint8_t)t;
    x->serial = -1;
    x->contiguous = true;
    if (!set_shape(ctx, x, ndim, dim)) {
        header_put(ctx, x);
        return NULL;
    }
    x->magic = TPI_TENSOR_MAGIC;
    x->refs = x->uses = 1;
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

static tp_tensor *borrowing(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, void *p)
{
    tp_tensor *x;

    if (!tp_ok(ctx))
        return NULL;
    if (ctx->backend->alloc != NULL)
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
    return tpi_adopt(ctx, x) ? x : NULL;
}

tp_tensor *tp_borrow(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, void *p,
                     void (*release)(void *user, void *p), void *user)
{
    tp_tensor *x = borrowing(ctx, t, ndim, dim, p);

    if (x != NULL) {
        x->store->release = release;
        x->store->user = user;
    } else if (release != NULL && p != NULL) {
        release(user, p);
    }
    return x;
}

tp_tensor *tpi_view(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim, const int64_t *stride, int64_t offset)
{
    tp_tensor *y = tpi_check(ctx, "view", x, 0) ? tpi_header_new(ctx, (tp_dtype)x->dtype, ndim, dim) : NULL;

    if (y == NULL)
        return NULL;
    if (stride != NULL && ndim > 0) {
        memcpy(y->stride, stride, (size_t)ndim * sizeof *stride);
        y->contiguous = plain_strides(y);
    }
    y->store = x->store;
    y->store->holders++;
    y->data = x->data + offset * (int64_t)tp_dtype_size((tp_dtype)x->dtype);
    return tpi_adopt(ctx, y) ? y : NULL;
}

/* ---- holders ----------------------------------------------------------------------------------------------------- */

bool tpi_alive(const tp_tensor *x)
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

tp_tensor *tpi_disown(tp_ctx *ctx, tp_tensor *x)
{
    size_t i = ctx->n_live;

    while (x != NULL && i-- > 0)
        if (ctx->live[i] == x) {
            ctx->live[i] = ctx->live[--ctx->n_live];
            return x;
        }
    return x;
}

tp_tensor *tp_retain(tp_tensor *x)
{
    if (!tpi_alive(x))
        return NULL;
    x->refs++;
    x->uses++;
    return x;
}

void tp_release(tp_tensor *x)
{
    if (!tpi_alive(x) || x->uses == 0) /* 0: only recorded calls hold the header, and theirs is not ours to give back */
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

bool tpi_check_shape(tp_ctx *ctx, const char *op, const tp_tensor *x, int i)
{
    if (x == NULL)
        tp_fail(ctx, TP_EARG, "%s: input %d is NULL", op, i);
    else if (x->magic != TPI_TENSOR_MAGIC)
        tp_fail(ctx, TP_EARG, "%s: input %d was released; keep it with tp_retain beyond its scope", op, i);
    else if (x->ctx != ctx)
        tp_fail(ctx, TP_EARG, "%s: input %d belongs to another context", op, i);
    else
        return true;
    return false;
}

bool tpi_check(tp_ctx *ctx, const char *op, const tp_tensor *x, int i)
{
    if (!tpi_check_shape(ctx, op, x, i))
        return false;
    if (x->store == NULL)
        tp_fail(ctx, TP_EARG,
                "%s: the values of input %d were released; keep them with tp_retain, or c->keep for a backward", op, i);
    else
        return true;
    return false;
}

void tpi_touch(tp_tensor *x)
{
    if (x != NULL && x->store != NULL)
        x->store->version++;
}
