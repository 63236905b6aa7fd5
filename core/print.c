/* print.c - tensors as numpy shows them: "tensor f32 [2, 3]" and the values, long axes cut in the middle. */
#include "core/context.h"
#include "core/number.h"

#include <math.h>

enum { EDGE = 3, WHOLE = 1000 };

typedef struct {
    FILE            *f;
    const tp_tensor *x;
    const char      *host; /* contiguous values */
    bool             cut;  /* show EDGE values at either end of an axis only */
} printer;

static void print_value(const printer *p, int64_t i)
{
    tp_dtype t = (tp_dtype)p->x->dtype;

    if (t == TP_BOOL)
        fprintf(p->f, "%s", tpi_load_int(t, p->host, i) ? "true" : "false");
    else if (!tp_dtype_is_float(t))
        fprintf(p->f, "%lld", (long long)tpi_load_int(t, p->host, i));
    else
        fprintf(p->f, t == TP_F64 ? "%.8g" : "%.5g", tpi_load(t, p->host, i));
}

static void print_axis(const printer *p, int axis, int64_t at)
{
    const tp_tensor *x = p->x;
    int64_t          n, step = 1;

    if (axis == x->ndim) {
        print_value(p, at);
        return;
    }
    for (int i = axis + 1; i < x->ndim; i++)
        step *= x->dim[i];
    n = x->dim[axis];
    fputc('[', p->f);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0)
            fprintf(p->f, axis == x->ndim - 1 ? ", " : ",\n%*s", axis + 1, "");
        if (p->cut && n > 2 * EDGE && i == EDGE) {
            fprintf(p->f, "...%s", axis == x->ndim - 1 ? ", " : ",\n");
            if (axis < x->ndim - 1)
                fprintf(p->f, "%*s", axis + 1, "");
            i = n - EDGE;
        }
        print_axis(p, axis + 1, at + i * step);
    }
    fputc(']', p->f);
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
        p = (printer){ f, x, host, x->numel > WHOLE };
        fprintf(f, "tensor %s %s\n", tp_dtype_name((tp_dtype)x->dtype), tp_shape_text(x, a, sizeof a));
        print_axis(&p, 0, 0);
        fputc('\n', f);
    }
    tpi_free(host);
}
