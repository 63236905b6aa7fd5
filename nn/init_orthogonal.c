/* init_orthogonal.c - orthonormal first values: normal ones, orthonormalised by Gram and Schmidt, each row twice. */
#include "core/internal.h"
#include "nn/module.h"
#include "ops/ops.h"

#include <math.h>

/* Vector i of length n: elements p[i across + j along]. */
typedef struct {
    double *p;
    int64_t count, n, across, along;
} vectors;

static double dot(const vectors *v, int64_t a, int64_t b)
{
    const double *x = v->p + a * v->across, *y = v->p + b * v->across;
    double        sum = 0;

    for (int64_t j = 0; j < v->n; j++)
        sum += x[j * v->along] * y[j * v->along];
    return sum;
}

/* x[a] += s x[b] */
static void add(const vectors *v, int64_t a, double s, int64_t b)
{
    double *x = v->p + a * v->across, *y = v->p + b * v->across;

    for (int64_t j = 0; j < v->n; j++)
        x[j * v->along] += s * y[j * v->along];
}

/* "Twice is enough" (Kahan): the second time removes what rounding left of the others. */
static void orthonormalise(const vectors *v)
{
    for (int64_t i = 0; i < v->count; i++) {
        for (int64_t k = 0; k < 2 * i; k++)
            add(v, i, -dot(v, i, k % i), k % i);
        add(v, i, 1 / sqrt(dot(v, i, i)) - 1, i);
    }
}

tp_tensor *tp_init_orthogonal(tp_ctx *ctx, tp_tensor *x, double gain)
{
    tp_scope   s;
    tp_tensor *y;
    int64_t    rows, cols;
    double    *p;
    bool       was;

    if (!tp_ok(ctx) || !tpi_check(ctx, "init", x, 0))
        return NULL;
    if (tp_ndim(x) < 2 || !tp_is_contiguous(x) || !tp_dtype_is_float(tp_dtype_of(x)) || !isfinite(gain))
        return tp_fail(ctx, TP_EARG, "init: orthogonal values go into a contiguous floating tensor of two axes or more");
    rows = tp_dim(x, 0);
    cols = rows > 0 ? tp_numel(x) / rows : 0;
    s = tp_scope_begin(ctx);
    was = tp_record(ctx, false);
    y = tp_init_normal(ctx, tp_empty(ctx, TP_F64, x->ndim, x->dim), 0, 1);
    p = y && tp_numel(y) > 0 ? tp_f64(ctx, y) : NULL;
    if (p != NULL)
        orthonormalise(rows <= cols ? &(vectors){ p, rows, cols, cols, 1 } : &(vectors){ p, cols, rows, 1, cols });
    if (y != NULL)
        tp_copy_to(ctx, x, tp_scale(ctx, y, gain));
    tp_record(ctx, was);
    tp_scope_end(ctx, s);
    return tp_ok(ctx) ? x : NULL;
}
