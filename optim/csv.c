/* csv.c - tables of numbers in text.  One walk counts rows and cells, so that the tensor is made in one piece; another
 * fills it. */
#include "optim/numbers.h"
#include "optim/readers.h"
#include "core/readfile.h"

#include <string.h>

#define MOST_BYTES ((size_t)64 << 30)

typedef struct {
    const char *path, *text, *stop; /* text: what comes next */
    int64_t     line;               /* of what next_line gave */
    tp_csv_opts o;
} table;

typedef struct {
    const char *s;
    size_t      n;
} span;

/* ---- lines and cells --------------------------------------------------------------------------------------------- */

static bool is_space(const table *t, char c)
{
    return c != t->o.separator && (c == ' ' || c == '\t' || c == '\r');
}

static span trim(const table *t, span x)
{
    while (x.n > 0 && is_space(t, x.s[0])) {
        x.s++;
        x.n--;
    }
    while (x.n > 0 && is_space(t, x.s[x.n - 1]))
        x.n--;
    return x;
}

/* The next line that holds something, without its end. */
static bool next_line(table *t, span *line)
{
    while (t->text < t->stop) {
        const char *end = memchr(t->text, '\n', (size_t)(t->stop - t->text));

        end = end ? end : t->stop;
        *line = (span){ t->text, (size_t)(end - t->text) };
        t->text = end < t->stop ? end + 1 : end;
        if (line->n > 0 && line->s[line->n - 1] == '\r')
            line->n--;
        if (++t->line > t->o.skip && trim(t, *line).n > 0)
            return true;
    }
    return false;
}

/* Cuts the first cell off *rest; false behind the last one, when rest->s is NULL. */
static bool next_cell(const table *t, span *rest, span *cell)
{
    bool   quoted = false;
    size_t n = 0;

    if (rest->s == NULL)
        return false;
    for (; n < rest->n && (quoted || rest->s[n] != t->o.separator); n++)
        quoted ^= rest->s[n] == '"';
    *cell = (span){ rest->s, n };
    *rest = n < rest->n ? (span){ rest->s + n + 1, rest->n - n - 1 } : (span){ NULL, 0 };
    return true;
}

static span without_quotes(const table *t, span x)
{
    x = trim(t, x);
    if (x.n >= 2 && x.s[0] == '"' && x.s[x.n - 1] == '"')
        x = trim(t, (span){ x.s + 1, x.n - 2 });
    return x;
}

/* ---- the two walks ----------------------------------------------------------------------------------------------- */

static bool count(tp_ctx *ctx, table t, int64_t dim[2])
{
    span line, rest, cell;

    dim[0] = dim[1] = 0;
    for (; next_line(&t, &line); dim[0]++) {
        int64_t n = 0;

        for (rest = line; next_cell(&t, &rest, &cell);)
            n++;
        if (dim[0] == 0)
            dim[1] = n;
        if (n != dim[1])
            return tp_fail(ctx, TP_EFORMAT, "%s:%lld:%zu: %lld cells, expected %lld as in the first row", t.path,
                           (long long)t.line, line.n + 1, (long long)n, (long long)dim[1]) != NULL;
    }
    return dim[0] > 0 || tp_fail(ctx, TP_EFORMAT, "%s:%lld:1: no row of numbers", t.path, (long long)t.line + 1) != NULL;
}

static bool fill(tp_ctx *ctx, table t, void *values)
{
    span    line, rest, cell;
    int64_t i = 0;

    while (next_line(&t, &line))
        for (rest = line; next_cell(&t, &rest, &cell); i++) {
            span        x = without_quotes(&t, cell);
            const char *why = x.n == 0 && t.o.missing ? tpi_put_text(t.o.dtype, values, i, "nan", 3)
                              : x.n == 0              ? "is empty"
                                                      : tpi_put_text(t.o.dtype, values, i, x.s, x.n);

            if (why != NULL)
                return tp_fail(ctx, TP_EFORMAT, "%s:%lld:%lld: '%.*s' %s", t.path, (long long)t.line,
                               (long long)(x.s - line.s) + 1, (int)(x.n < 40 ? x.n : 40), x.s, why) != NULL;
        }
    return true;
}

tp_tensor *tp_csv_read(tp_ctx *ctx, const char *path, const tp_csv_opts *opts)
{
    table      t = { .path = path, .o = opts ? *opts : (tp_csv_opts){ 0 } };
    tp_tensor *x = NULL;
    int64_t    dim[2];
    size_t     n;
    char      *text = tpi_read_file(ctx, path, MOST_BYTES, &n), *values = NULL;

    if (text == NULL)
        return NULL;
    t.o.separator = t.o.separator ? t.o.separator : ',';
    t.text = text;
    t.stop = text + n;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        t.text += 3;
    if (tp_dtype_size(t.o.dtype) == 0 || t.o.skip < 0)
        tp_fail(ctx, TP_EARG, "csv: dtype %d, skip %d; expected a dtype that there is and at least 0", (int)t.o.dtype,
                t.o.skip);
    else if (count(ctx, t, dim))
        values = tpi_alloc(ctx, (size_t)dim[0] * (size_t)dim[1], tp_dtype_size(t.o.dtype));
    if (values != NULL && fill(ctx, t, values))
        x = tp_from(ctx, t.o.dtype, 2, dim, values);
    tpi_free(values);
    tpi_free(text);
    return x;
}
