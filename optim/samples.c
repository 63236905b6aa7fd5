/* samples.c - samples in memory or made by a function; batches of them are gathered by the loader's threads. */
#include "optim/samples.h"
#include "optim/order.h"

#include <math.h>
#include <string.h>

enum { ALIGN = 64, PURPOSE_SPLIT = 0x73706c74 };

typedef struct {
    tp_field    is;
    size_t      size; /* bytes of a sample */
    tp_tensor  *x;    /* where they lie; NULL with a function */
    const char *data;
    size_t      step; /* bytes from one sample to the next */
} field;

struct tp_samples {
    int          n;
    field        field[TP_MAX_FIELDS];
    int64_t      length;
    int64_t     *index; /* of a part: which samples of the whole; NULL: all */
    tp_sample_fn fn;
    void        *user;
};

/* What a loader's thread hands over: the fields stand behind it, each at a multiple of ALIGN. */
typedef struct {
    int64_t n;
    char   *place[TP_MAX_FIELDS];
} batch;

/* ---- gathering --------------------------------------------------------------------------------------------------- */

static batch *batch_new(const tp_samples *s, int64_t n)
{
    size_t at[TP_MAX_FIELDS], end = (sizeof(batch) + ALIGN - 1) / ALIGN * ALIGN, size;
    batch *b;
    char  *p;

    for (int k = 0; k < s->n; k++) {
        at[k] = end;
        if (!tpi_mul_ok(s->field[k].size, (size_t)n, &size) || !tpi_add_ok(size, ALIGN - 1, &size) ||
            !tpi_add_ok(end, size / ALIGN * ALIGN, &end))
            return NULL;
    }
    b = tpi_add_ok(end, ALIGN, &end) ? tpi_alloc(NULL, 1, end) : NULL;
    if (b == NULL)
        return NULL;
    b->n = n;
    p = (char *)b + (ALIGN - (uintptr_t)b % ALIGN) % ALIGN;
    for (int k = 0; k < s->n; k++)
        b->place[k] = p + at[k];
    return b;
}

static tp_code sample_into(const tp_samples *s, int64_t i, batch *b, int64_t row, char *why, size_t size)
{
    void *place[TP_MAX_FIELDS];

    if (s->index != NULL)
        i = s->index[i];
    for (int k = 0; k < s->n; k++) {
        const field *f = &s->field[k];

        place[k] = b->place[k] + (size_t)row * f->size;
        if (s->fn == NULL)
            memcpy(place[k], f->data + (size_t)i * f->step, f->size);
    }
    return s->fn ? s->fn(s->user, i, place, why, size) : TP_OK;
}

/* index NULL: the samples 0 ... n - 1. */
static tp_code gather(const tp_samples *s, const int64_t *index, int64_t n, batch **out, char *why, size_t size)
{
    tp_code code = TP_OK;
    batch  *b = batch_new(s, n);

    if (b == NULL)
        return TP_ENOMEM;
    for (int64_t row = 0; row < n && code == TP_OK; row++)
        code = sample_into(s, index ? index[row] : row, b, row, why, size);
    if (code != TP_OK) {
        tpi_free(b);
        return code;
    }
    *out = b;
    return TP_OK;
}

static tp_code make(void *user, const int64_t *index, int64_t n, void **out, char *why, size_t size)
{
    batch  *b = NULL;
    tp_code code = gather(user, index, n, &b, why, size);

    *out = b;
    return code;
}

/* Turns a batch into tensors and frees it. */
static bool hand_over(tp_ctx *ctx, const tp_samples *s, batch *b, tp_tensor **out)
{
    for (int k = 0; k < s->n; k++) {
        const tp_field *f = &s->field[k].is;
        int64_t         dim[TP_MAX_DIM] = { b->n };

        memcpy(dim + 1, f->dim, (size_t)f->ndim * sizeof *dim);
        out[k] = tp_from(ctx, f->t, f->ndim + 1, dim, b->place[k]);
    }
    tpi_free(b);
    if (tp_ok(ctx))
        return true;
    memset(out, 0, (size_t)s->n * sizeof *out);
    return false;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static tp_samples *samples_new(tp_ctx *ctx, int n, int64_t length)
{
    tp_samples *s;

    if (!tp_ok(ctx))
        return NULL;
    if (n < 1 || n > TP_MAX_FIELDS)
        return tp_fail(ctx, TP_EARG, "samples: %d fields, expected 1 to %d", n, TP_MAX_FIELDS);
    s = tpi_alloc(ctx, 1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->n = n;
    s->length = length;
    return s;
}

void tp_samples_free(tp_samples *s)
{
    if (s == NULL)
        return;
    for (int k = 0; k < s->n; k++)
        tp_release(s->field[k].x);
    tpi_free(s->index);
    tpi_free(s);
}

/* NULL, s being freed, when something has failed. */
static tp_samples *if_ok(tp_ctx *ctx, tp_samples *s)
{
    if (tp_ok(ctx))
        return s;
    tp_samples_free(s);
    return NULL;
}

/* Samples lie `step` elements from one another in x, and have the axes of x from `first` on. */
static void lay_over(tp_ctx *ctx, field *f, tp_tensor *x, int first, int64_t step)
{
    tp_scope s = tp_scope_begin(ctx);
    size_t   size = tp_dtype_size(tp_dtype_of(x));

    f->is = (tp_field){ .t = tp_dtype_of(x), .ndim = tp_ndim(x) - first };
    f->size = size;
    for (int k = 0; k < f->is.ndim; k++) {
        f->is.dim[k] = tp_dim(x, first + k);
        f->size *= (size_t)f->is.dim[k];
    }
    x = tpi_rows(ctx, x);
    if (x != NULL) {
        f->x = tp_retain(x);
        f->data = x->data;
        f->step = (size_t)step * size;
    }
    tp_scope_end(ctx, s);
}

static bool is_field(tp_ctx *ctx, tp_tensor *const *x, int i)
{
    char a[200], b[200];

    if (!tpi_check(ctx, "samples", x[i], i))
        return false;
    if (tp_ndim(x[i]) < 1 || tp_dim(x[i], 0) < 1 || tp_dim(x[i], 0) != tp_dim(x[0], 0))
        return tp_fail(ctx, TP_ESHAPE, "samples: field 0 is %s, field %d is %s; expected [length, ...], one length",
                       tp_shape_text(x[0], a, sizeof a), i, tp_shape_text(x[i], b, sizeof b)) != NULL;
    return true;
}

tp_samples *tp_samples_new(tp_ctx *ctx, int n, tp_tensor *const *x)
{
    tp_samples *s = samples_new(ctx, x ? n : 0, 0);

    if (s == NULL)
        return NULL;
    for (int i = 0; i < n && is_field(ctx, x, i); i++)
        lay_over(ctx, &s->field[i], x[i], 1, tp_numel(x[i]) / tp_dim(x[i], 0));
    s->length = tp_ok(ctx) ? tp_dim(x[0], 0) : 0;
    return if_ok(ctx, s);
}

bool tpi_field_check(tp_ctx *ctx, const char *what, const tp_field *f, size_t *bytes)
{
    *bytes = tp_dtype_size(f->t);
    if (*bytes == 0)
        return tp_fail(ctx, TP_EDTYPE, "%s: the field %s has no dtype that there is", what,
                       f->name ? f->name : "(no name)") != NULL;
    for (int k = 0; k < f->ndim && f->ndim < TP_MAX_DIM; k++)
        if (f->dim[k] < 1 || !tpi_mul_ok(*bytes, (size_t)f->dim[k], bytes))
            *bytes = 0;
    if (f->ndim < 0 || f->ndim >= TP_MAX_DIM || *bytes == 0 || *bytes > PTRDIFF_MAX)
        return tp_fail(ctx, TP_ESHAPE, "%s: the field %s has no shape: 0 to %d sizes of at least 1 were expected", what,
                       f->name ? f->name : "(no name)", TP_MAX_DIM - 1) != NULL;
    return true;
}

tp_samples *tp_samples_of(tp_ctx *ctx, int64_t length, int n, const tp_field *description, tp_sample_fn fn, void *user)
{
    tp_samples *s;

    if (!tp_ok(ctx))
        return NULL;
    if (fn == NULL || length < 1)
        return tp_fail(ctx, TP_EARG, "samples: %lld samples of %s, expected at least one and a function",
                       (long long)length, fn ? "a function" : "no function");
    s = samples_new(ctx, description ? n : 0, length);
    if (s == NULL)
        return NULL;
    s->fn = fn;
    s->user = user;
    for (int k = 0; k < n && tpi_field_check(ctx, "samples", &description[k], &s->field[k].size); k++)
        s->field[k].is = description[k];
    return if_ok(ctx, s);
}

tp_samples *tp_samples_windows(tp_ctx *ctx, tp_tensor *x, int64_t length, int64_t stride)
{
    tp_samples *s;
    char        text[200];

    if (!tp_ok(ctx) || !tpi_check(ctx, "windows", x, 0))
        return NULL;
    if (length < 1 || stride < 0)
        return tp_fail(ctx, TP_EARG, "windows: length %lld, stride %lld; expected at least 1 and at least 0",
                       (long long)length, (long long)stride);
    if (tp_ndim(x) != 1 || tp_numel(x) <= length)
        return tp_fail(ctx, TP_ESHAPE, "windows: x is %s, expected one axis of more than %lld",
                       tp_shape_text(x, text, sizeof text), (long long)length);
    stride = stride ? stride : length;
    s = samples_new(ctx, 2, (tp_numel(x) - 1 - length) / stride + 1);
    if (s == NULL)
        return NULL;
    for (int k = 0; k < 2; k++) {
        field *f = &s->field[k];

        lay_over(ctx, f, x, 0, stride);
        f->is.dim[0] = length;
        f->size = (size_t)length * tp_dtype_size(f->is.t);
        f->data = f->data ? f->data + (size_t)k * tp_dtype_size(f->is.t) : NULL;
    }
    return if_ok(ctx, s);
}

int64_t tp_samples_length(const tp_samples *s)
{
    return s ? s->length : 0;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static tp_samples *part_of(tp_ctx *ctx, const tp_samples *s, const int64_t *order, int64_t n)
{
    tp_samples *p = samples_new(ctx, s->n, n);

    if (p == NULL)
        return NULL;
    memcpy(p->field, s->field, sizeof p->field);
    for (int k = 0; k < s->n; k++)
        tp_retain(p->field[k].x);
    p->fn = s->fn;
    p->user = s->user;
    p->index = tpi_alloc(ctx, (size_t)n, sizeof *p->index);
    for (int64_t i = 0; p->index != NULL && i < n; i++)
        p->index[i] = s->index ? s->index[order[i]] : order[i];
    return if_ok(ctx, p);
}

bool tp_samples_split(tp_ctx *ctx, const tp_samples *s, double share, uint64_t seed, tp_samples **first,
                      tp_samples **rest)
{
    int64_t *order, n;

    if (first != NULL)
        *first = NULL;
    if (rest != NULL)
        *rest = NULL;
    if (!tp_ok(ctx))
        return false;
    if (s == NULL || first == NULL || rest == NULL)
        return tp_fail(ctx, TP_EARG, "split: no samples, or no place for the parts") != NULL;
    n = share > 0 && share < 1 ? (int64_t)llround(share * (double)s->length) : 0;
    if (n < 1 || n >= s->length)
        return tp_fail(ctx, TP_EARG, "split: a share of %g of %lld samples leaves a part empty", share,
                       (long long)s->length) != NULL;
    order = tpi_alloc(ctx, (size_t)s->length, sizeof *order);
    if (order == NULL)
        return false;
    for (int64_t i = 0; i < s->length; i++)
        order[i] = i;
    tpi_shuffle((tpi_key){ { (uint32_t)seed, (uint32_t)(seed >> 32) }, { PURPOSE_SPLIT, 0 } }, order, s->length);
    *first = part_of(ctx, s, order, n);
    *rest = *first ? part_of(ctx, s, order + n, s->length - n) : NULL;
    tpi_free(order);
    if (*rest != NULL)
        return true;
    tp_samples_free(*first);
    *first = NULL;
    return false;
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

tp_loader *tp_samples_loader(tp_ctx *ctx, const tp_samples *s, const tp_loader_opts *opts)
{
    tp_dataset data = { .make = make, .drop = tpi_free };

    if (!tp_ok(ctx))
        return NULL;
    if (s == NULL)
        return tp_fail(ctx, TP_EARG, "loader: there are no samples");
    data.length = s->length;
    data.user = (void *)(uintptr_t)s; /* make only reads it */
    return tp_loader_new(ctx, &data, opts);
}

bool tp_samples_next(tp_ctx *ctx, tp_loader *loader, tp_tensor **out)
{
    const tp_dataset *data = tpi_loader_data(loader);
    const tp_samples *s = data && data->make == make ? data->user : NULL;
    batch            *b;

    if (s != NULL && out != NULL)
        memset(out, 0, (size_t)s->n * sizeof *out);
    if (!tp_ok(ctx))
        return false;
    if (s == NULL || out == NULL)
        return tp_fail(ctx, TP_EARG, "samples: no loader of samples, or no place for the tensors") != NULL;
    b = tp_loader_next(ctx, loader);
    return b != NULL && hand_over(ctx, s, b, out);
}

bool tp_samples_all(tp_ctx *ctx, const tp_samples *s, tp_tensor **out)
{
    char    why[512] = "";
    batch  *b = NULL;
    tp_code code;

    if (s != NULL && out != NULL)
        memset(out, 0, (size_t)s->n * sizeof *out);
    if (!tp_ok(ctx))
        return false;
    if (s == NULL || out == NULL)
        return tp_fail(ctx, TP_EARG, "samples: there are none, or no place for the tensors") != NULL;
    code = gather(s, NULL, s->length, &b, why, sizeof why);
    if (code != TP_OK)
        return tp_fail(ctx, code, "%s", why[0] ? why : code == TP_ENOMEM ? "samples: out of memory" : "samples: failed") !=
               NULL;
    return hand_over(ctx, s, b, out);
}
