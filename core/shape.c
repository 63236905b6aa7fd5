/* shape.c - axes, broadcasting, and the strided walks that kernels take. */
#include "core/context.h"

#include <string.h>

int tpi_axis(tp_ctx *ctx, const char *op, const tp_tensor *x, int axis)
{
    int n = tp_ndim(x), a = axis < 0 ? axis + n : axis;

    if (a >= 0 && a < n)
        return a;
    tp_fail(ctx, TP_EARG, "%s: axis %d of a tensor with %d dimensions", op, axis, n);
    return -1;
}

bool tpi_broadcast(const tp_tensor *a, const tp_tensor *b, int *ndim, int64_t *dim)
{
    int n = a->ndim > b->ndim ? a->ndim : b->ndim;

    *ndim = n;
    for (int i = 1; i <= n; i++) {
        int64_t da = i <= a->ndim ? a->dim[a->ndim - i] : 1, db = i <= b->ndim ? b->dim[b->ndim - i] : 1;

        if (da != db && da != 1 && db != 1)
            return false;
        dim[n - i] = da == 1 ? db : da;
    }
    return true;
}

/* Whether a next dimension continues the walk's last one without a gap in all operands. */
static bool joins(const tpi_nd *nd, int n, const int64_t *stride, int64_t size)
{
    for (int i = 0; i < n; i++)
        if (nd->stride[i][nd->ndim - 1] != stride[i] * size)
            return false;
    return true;
}

/* Appends a dimension to the walk, or merges it with the last one. */
static void append(tpi_nd *nd, int n, int64_t size, const int64_t *stride)
{
    if (size == 1)
        return;
    if (nd->ndim > 0 && joins(nd, n, stride, size)) {
        nd->dim[nd->ndim - 1] *= size;
        for (int i = 0; i < n; i++)
            nd->stride[i][nd->ndim - 1] = stride[i];
        return;
    }
    nd->dim[nd->ndim] = size;
    for (int i = 0; i < n; i++)
        nd->stride[i][nd->ndim] = stride[i];
    nd->ndim++;
}

static bool all_plain(int ndim, const int64_t *dim, int n, const tp_tensor *const *x)
{
    for (int i = 0; i < n; i++)
        if (!x[i]->contiguous || x[i]->ndim != ndim ||
            (ndim > 0 && memcmp(x[i]->dim, dim, (size_t)ndim * sizeof *dim) != 0))
            return false;
    return true;
}

void tpi_nd_init(tpi_nd *nd, int ndim, const int64_t *dim, int n, const tp_tensor *const *x)
{
    nd->ndim = 0;
    if (all_plain(ndim, dim, n, x)) {
        nd->ndim = 1;
        nd->dim[0] = n > 0 ? x[0]->numel : 1;
        for (int i = 0; i < n; i++)
            nd->stride[i][0] = 1;
        return;
    }
    for (int d = 0; d < ndim; d++) {
        int64_t stride[TPI_ND_MAX];

        for (int i = 0; i < n; i++) {
            int k = d - (ndim - x[i]->ndim); /* missing leading dimensions repeat */

            stride[i] = k < 0 || x[i]->dim[k] == 1 ? 0 : x[i]->stride[k];
        }
        append(nd, n, dim[d], stride);
    }
}
