/* jsonrows.c - numbers in JSON lines. */
#include "optim/numbers.h"
#include "optim/order.h"
#include "optim/readers.h"
#include "core/json.h"
#include "core/readfile.h"

#include <string.h>

#define MOST_BYTES ((size_t)64 << 30)

typedef struct {
    tp_ctx         *ctx;
    const char     *path;
    int64_t         line, rows;
    int             n;
    const tp_field *field;
    char           *values[TP_MAX_FIELDS];
    size_t          size[TP_MAX_FIELDS], cap[TP_MAX_FIELDS]; /* bytes: of a row, of the room there is */
} rows;

/* ---- one field --------------------------------------------------------------------------------------------------- */

static bool wrong(const rows *r, const tp_field *f, const tpi_json *v, const char *why)
{
    return tp_fail(r->ctx, TP_EFORMAT, "%s:%lld:1: in the field \"%s\", %s %s", r->path, (long long)r->line, f->name,
                   v ? tpi_json_kind_name(tpi_json_is(v)) : "a value", why) != NULL;
}

/* Writes v, which has the axes of f from `axis` on, behind the *i values that there are. */
static bool put(const rows *r, const tp_field *f, const tpi_json *v, int axis, char *row, int64_t *i)
{
    const char *why = NULL;
    char        text[80];

    if (axis < f->ndim) {
        if (tpi_json_is(v) != TPI_JSON_ARRAY || (int64_t)tpi_json_size(v) != f->dim[axis]) {
            (void)snprintf(text, sizeof text, "of %zu stands where a list of %lld was expected", tpi_json_size(v),
                           (long long)f->dim[axis]);
            return wrong(r, f, v, text);
        }
        for (size_t k = 0; k < tpi_json_size(v); k++)
            if (!put(r, f, tpi_json_at(v, k), axis + 1, row, i))
                return false;
        return true;
    }
    switch (tpi_json_is(v)) {
    case TPI_JSON_BOOL: why = tpi_put_int(f->t, row, *i, tpi_json_true(v)); break;
    case TPI_JSON_INT: why = tpi_put_int(f->t, row, *i, tpi_json_integer(v)); break;
    case TPI_JSON_REAL: why = tpi_put_real(f->t, row, *i, tpi_json_real(v)); break;
    case TPI_JSON_NULL:
    case TPI_JSON_TEXT:
    case TPI_JSON_ARRAY:
    case TPI_JSON_OBJECT: return wrong(r, f, v, "stands where a number was expected");
    }
    ++*i;
    return why == NULL || wrong(r, f, NULL, why);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static bool add_row(rows *r, const tpi_json *tree)
{
    for (int k = 0; k < r->n; k++) {
        const tp_field *f = &r->field[k];
        const tpi_json *v = tpi_json_get(tree, f->name);
        int64_t         i = 0;
        size_t          at, need;

        if (v == NULL)
            return wrong(r, f, NULL, "is missing");
        if (!tpi_mul_ok((size_t)r->rows, r->size[k], &at) || !tpi_add_ok(at, r->size[k], &need))
            return wrong(r, f, NULL, "is one too many: memory has an end");
        if (!tpi_grow(r->ctx, &r->values[k], &r->cap[k], need, 1) ||
            !put(r, f, v, 0, r->values[k] + at, &i))
            return false;
    }
    r->rows++;
    return true;
}

static bool read_line(rows *r, const char *s, size_t n)
{
    tpi_json_error e;
    tpi_json      *tree;
    bool           good;

    if (strspn(s, " \t\r") >= n)
        return true;
    tree = tpi_json_parse_raw(s, n, &e);
    if (tree == NULL)
        return tp_fail(r->ctx, e.code, "%s:%lld:%d: %s", r->path, (long long)r->line, e.column, e.text) != NULL;
    good = tpi_json_is(tree) == TPI_JSON_OBJECT ||
           tp_fail(r->ctx, TP_EFORMAT, "%s:%lld:1: the line is %s, expected an object", r->path, (long long)r->line,
                   tpi_json_kind_name(tpi_json_is(tree))) != NULL;
    good = good && add_row(r, tree);
    tpi_json_free(tree);
    return good;
}

static bool read_lines(rows *r, const char *text, size_t n)
{
    const char *stop = text + n;

    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < stop) {
        const char *end = memchr(text, '\n', (size_t)(stop - text));

        r->line++;
        end = end ? end : stop;
        if (!read_line(r, text, (size_t)(end - text)))
            return false;
        text = end < stop ? end + 1 : end;
    }
    return r->rows > 0 ||
           tp_fail(r->ctx, TP_EFORMAT, "%s:%lld:1: no line holds an object", r->path, (long long)r->line + 1) != NULL;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static bool good_fields(rows *r, tp_tensor **out)
{
    if (r->n < 1 || r->n > TP_MAX_FIELDS || r->field == NULL || out == NULL)
        return tp_fail(r->ctx, TP_EARG, "jsonl: %d fields, expected 1 to %d and a place for the tensors", r->n,
                       TP_MAX_FIELDS) != NULL;
    for (int k = 0; k < r->n; k++) {
        if (r->field[k].name == NULL)
            return tp_fail(r->ctx, TP_EARG, "jsonl: field %d has no name", k) != NULL;
        if (!tpi_field_check(r->ctx, "jsonl", &r->field[k], &r->size[k]))
            return false;
    }
    return true;
}

static tp_tensor *tensor_of(const rows *r, int k)
{
    const tp_field *f = &r->field[k];
    int64_t         dim[TP_MAX_DIM] = { r->rows };

    memcpy(dim + 1, f->dim, (size_t)f->ndim * sizeof *dim);
    return tp_from(r->ctx, f->t, f->ndim + 1, dim, r->values[k]);
}

bool tp_jsonl_read(tp_ctx *ctx, const char *path, int n, const tp_field *field, tp_tensor **out)
{
    rows   r = { .ctx = ctx, .path = path, .n = n, .field = field };
    size_t size;
    char  *text;
    bool   good;

    for (int k = 0; out != NULL && k < n && k < TP_MAX_FIELDS; k++)
        out[k] = NULL;
    if (!tp_ok(ctx) || !good_fields(&r, out))
        return false;
    text = tpi_read_file(ctx, path, MOST_BYTES, &size);
    good = text != NULL && read_lines(&r, text, size);
    for (int k = 0; good && k < n; k++) {
        out[k] = tensor_of(&r, k);
        good = k + 1 < n || tp_ok(ctx);
    }
    for (int k = 0; k < n; k++) {
        tpi_free(r.values[k]);
        out[k] = good ? out[k] : NULL;
    }
    tpi_free(text);
    return good;
}
