/* cmd_diff.c - which tensors of two files differ, and by how much. */
#include "nn/files/filetable.h"
#include "tools/commands.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    double  max, square;
    int64_t differ, n;
} distance;

typedef struct {
    tp_ctx  *ctx;
    tp_file *a, *b;
    int64_t  equal, differ;
} comparing;

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void add(distance *d, double x, double y)
{
    double by = fabs(x - y);

    d->n++;
    if (x == y || (isnan(x) && isnan(y)))
        return;
    d->differ++;
    if (isnan(by))
        by = INFINITY;
    d->max = by > d->max ? by : d->max;
    d->square += by * by;
}

/* Values by pieces: the tensors themselves are in memory as they are stored. */
static bool measure(tp_ctx *ctx, tp_tensor *x, tp_tensor *y, distance *d)
{
    enum { PIECE = 4096 };
    int64_t    n = tp_numel(x), one = PIECE;
    tp_tensor *p = tp_reshape(ctx, x, 1, &n), *q = tp_reshape(ctx, y, 1, &n);
    double     a[PIECE], b[PIECE];

    for (int64_t i = 0; tp_ok(ctx) && i < n; i += PIECE) {
        tp_scope s = tp_scope_begin(ctx);

        one = n - i < PIECE ? n - i : PIECE;
        if (tp_copy_out(ctx, tp_narrow(ctx, p, 0, i, one), TP_F64, a, sizeof a) &&
            tp_copy_out(ctx, tp_narrow(ctx, q, 0, i, one), TP_F64, b, sizeof b))
            for (int64_t k = 0; k < one; k++)
                add(d, a[k], b[k]);
        tp_scope_end(ctx, s);
    }
    return tp_ok(ctx);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static void shape_text(const tp_file_entry *e, char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "[");

    for (int i = 0; i < e->ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? ", " : "", (long long)e->dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "]");
}

static bool same_shape(const tp_file_entry *a, const tp_file_entry *b)
{
    return a->ndim == b->ndim && (a->ndim == 0 || memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof a->dim[0]) == 0);
}

static bool compare_numbers(comparing *k, const tp_file_entry *a, const tp_file_entry *b)
{
    bool       dtypes = strcmp(a->dtype, b->dtype) != 0;
    distance   d = { 0, 0, 0, 0 };
    tp_scope   s = tp_scope_begin(k->ctx);
    tp_tensor *x = tp_file_read(k->ctx, k->a, a->key, TP_DTYPES), *y = tp_file_read(k->ctx, k->b, b->key, TP_DTYPES);
    bool       ok = x != NULL && y != NULL && measure(k->ctx, x, y, &d);

    tp_scope_end(k->ctx, s);
    if (!ok)
        return false;
    if (dtypes)
        printf("dtype    %s: %s, %s\n", a->key, a->dtype, b->dtype);
    if (d.differ > 0)
        printf("differs  %s: max %.6g, rms %.6g, %lld of %lld values\n", a->key, d.max, sqrt(d.square / (double)d.n),
               (long long)d.differ, (long long)d.n);
    if (dtypes || d.differ > 0)
        k->differ++;
    else
        k->equal++;
    return true;
}

/* Whether the same bytes stand in both files: then nothing need be looked at as numbers.  -1 after a failure. */
static int same_bytes(comparing *k, const tp_file_entry *a, const tp_file_entry *b)
{
    tpi_entry *x = tpi_file_entry(k->a, a->key), *y = tpi_file_entry(k->b, b->key);
    char      *p, *q;
    int        same = -1;

    if (x->type != y->type || x->heads != y->heads)
        return 0;
    p = tpi_alloc(k->ctx, (size_t)a->bytes, 1);
    q = tpi_alloc(k->ctx, (size_t)a->bytes, 1);
    if (p != NULL && q != NULL && tpi_entry_read(k->a, x, p) && tpi_entry_read(k->b, y, q))
        same = memcmp(p, q, (size_t)a->bytes) == 0;
    tpi_free(p);
    tpi_free(q);
    return same;
}

static bool is_number(const tpi_stored *t)
{
    return t->dequant != NULL || t->dtype != TP_DTYPES;
}

static bool compare_values(comparing *k, const tp_file_entry *a, const tp_file_entry *b)
{
    int same = same_bytes(k, a, b);

    if (same == 1)
        k->equal++;
    if (same != 0)
        return same == 1;
    if (is_number(tpi_file_entry(k->a, a->key)->type) && is_number(tpi_file_entry(k->b, b->key)->type))
        return compare_numbers(k, a, b);
    printf("differs  %s: %s, %s, whose values are not looked at\n", a->key, a->dtype, b->dtype);
    k->differ++;
    return true;
}

/* A second name for a data set whose other name the other file has: tied weights are stored once. */
static bool is_tied(const tp_file *f, const tp_file *other, const tp_file_entry *e)
{
    const tpi_bytes *b = &tpi_file_entry(f, e->key)->bytes;

    for (int64_t i = 0; tp_file_format_of(f) == TP_HDF5 && !b->value && b->size > 0 && i < tp_file_count(f); i++) {
        const tp_file_entry *x = tp_file_at(f, i);
        const tpi_bytes     *c = &tpi_file_entry(f, x->key)->bytes;

        if (x != e && !c->value && c->offset == b->offset && c->size > 0 && tp_file_find(other, x->key) != NULL)
            return true;
    }
    return false;
}

static bool compare_one(comparing *k, const tp_file_entry *a)
{
    const tp_file_entry *b = tp_file_find(k->b, a->key);
    char                 x[200], y[200];

    if (b != NULL && same_shape(a, b))
        return compare_values(k, a, b);
    if (b == NULL && is_tied(k->a, k->b, a))
        return true;
    k->differ++;
    shape_text(a, x, sizeof x);
    if (b == NULL) {
        printf("missing  %s %s %s\n", a->key, a->dtype, x);
    } else {
        shape_text(b, y, sizeof y);
        printf("shape    %s: %s, %s\n", a->key, x, y);
    }
    return true;
}

static void compare_all(comparing *k)
{
    char shape[200];

    for (int64_t i = 0; tp_ok(k->ctx) && i < tp_file_count(k->a); i++)
        if (!compare_one(k, tp_file_at(k->a, i)))
            return;
    for (int64_t i = 0; tp_ok(k->ctx) && i < tp_file_count(k->b); i++) {
        const tp_file_entry *b = tp_file_at(k->b, i);

        if (tp_file_find(k->a, b->key) != NULL || is_tied(k->b, k->a, b))
            continue;
        shape_text(b, shape, sizeof shape);
        printf("extra    %s %s %s\n", b->key, b->dtype, shape);
        k->differ++;
    }
    printf("total    %lld tensors equal, %lld not\n", (long long)k->equal, (long long)k->differ);
}

static int run(cli *c)
{
    comparing k = { .ctx = tp_ctx_new(TP_CPU, 0) };
    int       rc;

    k.a = tp_file_open(k.ctx, cli_operand(c));
    k.b = tp_file_open(k.ctx, cli_operand_at(c, 1));
    if (k.a != NULL && k.b != NULL)
        compare_all(&k);
    tp_file_close(k.a);
    tp_file_close(k.b);
    rc = session_end(k.ctx, NULL);
    return rc != 0 || k.differ > 0;
}

static const cli_option options[] = { { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL } };

const cli_command cmd_diff = {
    .name = "diff",
    .summary = "tensors of two files that differ, and by how much",
    .manual =
        "A and B are what inspect takes, of any two formats; names are those of Hugging Face's checkpoints.  A line for\n"
        "each tensor that is missing in B, extra in B, or has another shape, dtype or other values: the largest\n"
        "difference, the root of the mean square, and how many values differ (NaN equals NaN).  Values of different\n"
        "dtypes are compared as numbers; a second name of a tied weight counts for nothing.  Texts and metadata are not\n"
        "compared.  The exit status is 0 when all tensors are equal, else 1.\n",
    .options = options,
    .operand = "A B",
    .operands = 2,
    .run = run,
};
