/* print.c - tensors as numpy shows them: "tensor f32 [2, 3]", then the values in columns, long axes cut in the middle. */
#include "core/context.h"
#include "core/number.h"
#include "core/print_number.h"

#include <math.h>
#include <string.h>

enum { EDGE = 3, WHOLE = 1000, LINE = 75 };

typedef struct printer printer;

struct printer {
    FILE            *f;
    const tp_tensor *x;
    const char      *host; /* contiguous values */
    bool             cut;  /* show EDGE values at either end of an axis only */
    int              at;   /* the column that the line has come to, */
    int              owed; /* and the blanks among them that go when the line ends there */
    tpi_columns      columns;
};

static double value_of(const printer *p, int64_t i)
{
    return tpi_load((tp_dtype)p->x->dtype, p->host, i);
}

static void see_range(printer *p, int64_t i)
{
    tpi_columns_range(&p->columns, value_of(p, i));
}

static void see_width(printer *p, int64_t i)
{
    if (tp_dtype_is_float((tp_dtype)p->x->dtype))
        tpi_columns_fit(&p->columns, value_of(p, i));
    else
        tpi_columns_fit_int(&p->columns, tpi_load_int((tp_dtype)p->x->dtype, p->host, i));
}

/* Calls see for every value that is to be shown. */
static void look_at(printer *p, int axis, int64_t at, void (*see)(printer *p, int64_t i))
{
    const tp_tensor *x = p->x;
    int64_t          n = axis < x->ndim ? x->dim[axis] : 0;

    if (axis == x->ndim)
        see(p, at);
    for (int64_t i = 0; i < n; i++) {
        if (p->cut && n > 2 * EDGE && i == EDGE)
            i = n - EDGE;
        look_at(p, axis + 1, at * n + i, see);
    }
}

static void value_text(const printer *p, int64_t i, char out[TPI_NUMBER])
{
    tp_dtype t = (tp_dtype)p->x->dtype;
    bool     alone = p->x->ndim == 0;

    if (t == TP_BOOL)
        snprintf(out, TPI_NUMBER, "%s", !tpi_load_int(t, p->host, i) ? "False" : alone ? "True" : " True");
    else if (!tp_dtype_is_float(t))
        snprintf(out, TPI_NUMBER, "%*lld", p->columns.left, (long long)tpi_load_int(t, p->host, i));
    else if (alone)
        tpi_number_alone(p->columns.t, value_of(p, i), out);
    else
        tpi_number_text(&p->columns, value_of(p, i), out);
}

/* One more word of a row, on the next line when it does not fit. */
static void put_word(printer *p, const char *word, bool first)
{
    int indent = p->x->ndim, room = LINE - p->x->ndim, n = (int)strlen(word), blanks = 0;

    if (!first && p->at + 1 + n > room) {
        fprintf(p->f, "\n%*s", indent, "");
        p->at = indent;
    } else if (!first) {
        fprintf(p->f, "%*s", p->owed + 1, "");
        p->at++;
    }
    while (blanks < n && word[n - 1 - blanks] == ' ')
        blanks++;
    fprintf(p->f, "%.*s", n - blanks, word);
    p->at += n;
    p->owed = blanks;
}

static void print_row(printer *p, int64_t at, int64_t n)
{
    char word[TPI_NUMBER];

    p->at = p->x->ndim;
    for (int64_t i = 0; i < n; i++) {
        if (p->cut && n > 2 * EDGE && i == EDGE) {
            put_word(p, "...", false);
            i = n - EDGE;
        }
        value_text(p, at * n + i, word);
        put_word(p, word, i == 0);
    }
    fprintf(p->f, "%*s", p->owed, "");
}

static void print_axis(printer *p, int axis, int64_t at)
{
    int64_t n = p->x->dim[axis];
    int     below = p->x->ndim - axis - 1;

    fputc('[', p->f);
    if (below == 0)
        print_row(p, at, n);
    for (int64_t i = 0; below > 0 && i < n; i++) {
        for (int k = 0; k < below && i > 0; k++)
            fputc('\n', p->f);
        fprintf(p->f, "%*s", i > 0 ? axis + 1 : 0, "");
        if (p->cut && n > 2 * EDGE && i == EDGE) {
            fputs("...", p->f);
            i = n - EDGE - 1;
        } else {
            print_axis(p, axis + 1, at * n + i);
        }
    }
    fputc(']', p->f);
}

static void print_values(printer *p)
{
    char word[TPI_NUMBER];

    if (p->x->numel == 0) {
        fputs("[]", p->f);
        return;
    }
    if (p->x->ndim == 0) {
        value_text(p, 0, word);
        fputs(word, p->f);
        return;
    }
    if (tp_dtype_is_float((tp_dtype)p->x->dtype)) {
        look_at(p, 0, 0, see_range);
        tpi_columns_choose(&p->columns);
    }
    look_at(p, 0, 0, see_width);
    tpi_columns_finish(&p->columns);
    print_axis(p, 0, 0);
}

void tp_print(tp_ctx *ctx, const tp_tensor *x, FILE *f)
{
    size_t  size;
    char    a[128], *host;
    printer p;

    if (!tp_ok(ctx) || !tpi_check(ctx, "print", x, 0))
        return;
    if (f == NULL) {
        tp_fail(ctx, TP_EARG, "print: there is no file to print to");
        return;
    }
    size = (size_t)x->numel * tp_dtype_size((tp_dtype)x->dtype);
    host = tpi_alloc(ctx, size, 1);
    if (host != NULL && tp_copy_out(ctx, x, (tp_dtype)x->dtype, host, size)) {
        p = (printer){ f, x, host, x->numel > WHOLE, 0, 0, { .t = (tp_dtype)x->dtype } };
        fprintf(f, "tensor %s %s\n", tp_dtype_name((tp_dtype)x->dtype), tp_shape_text(x, a, sizeof a));
        print_values(&p);
        fputc('\n', f);
    }
    tpi_free(host);
}
