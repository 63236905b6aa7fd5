/*
 * elementwise_ref.c - copy and convert, fill, arithmetic of two operands, comparisons, where.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* An integer stored as dtype t: to integers saturating, to bool x != 0, to floats rounded once. */
static void store_converted(tp_dtype t, void *y, int64_t i, int64_t v)
{
    switch (t) {
    case TP_I64: ((int64_t *)y)[i] = v; return;
    case TP_I32: ((int32_t *)y)[i] = (int32_t)(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v); return;
    case TP_U8: ((uint8_t *)y)[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); return;
    case TP_BOOL: ((uint8_t *)y)[i] = v != 0; return;
    case TP_F32: ((float *)y)[i] = (float)v; return; /* not through double: beyond 2^53 that would round twice */
    case TP_F64:
    case TP_BF16:
    case TP_F16:
    case TP_DTYPES: break;
    }
    tpi_store(t, y, i, (double)v);
}

/* y[i] = x[i] */
tp_code tpi_ref_copy(const tpi_run *r, const tpi_nd *nd, tp_dtype yt, void *y, tp_dtype xt, const void *x)
{
    int64_t n = tpi_ref_numel(nd);

    (void)r;
    for (int64_t i = 0; i < n; i++) {
        int64_t yi = tpi_ref_at(nd, 0, i), xi = tpi_ref_at(nd, 1, i);

        if (tpi_ref_is_int(xt))
            store_converted(yt, y, yi, tpi_load_int(xt, x, xi));
        else
            tpi_store(yt, y, yi, tpi_load(xt, x, xi));
    }
    return TP_OK;
}

/* y[j] = value, or i when y is of an integer dtype (bool: either of them) */
tp_code tpi_ref_fill(const tpi_run *r, tp_dtype t, void *y, int64_t n, double value, int64_t i)
{
    (void)r;
    for (int64_t j = 0; j < n; j++) {
        if (t == TP_BOOL)
            tpi_store_int(t, y, j, value != 0 || i != 0);
        else if (tpi_ref_is_int(t))
            tpi_store_int(t, y, j, i);
        else
            tpi_store(t, y, j, value);
    }
    return TP_OK;
}

static double float_binary(tpi_binary op, double a, double b)
{
    switch (op) {
    case TPI_ADD: return a + b;
    case TPI_SUB: return a - b;
    case TPI_MUL: return a * b;
    case TPI_DIV: return a / b;
    case TPI_POW: return pow(a, b);
    case TPI_MAXIMUM: return a != a ? a : b != b ? b : a > b ? a : b;
    case TPI_MINIMUM: return a != a ? a : b != b ? b : a < b ? a : b;
    case TPI_BINARIES: break;
    }
    return 0;
}

/* a^b by squaring; for b < 0 what 1 / a^-b is toward zero, with 0 for 1 / 0. */
static int64_t int_pow(int64_t a, int64_t b)
{
    int64_t y = 1;

    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    for (; b > 0; b /= 2) {
        if (b % 2)
            y = tpi_ref_imul(y, a);
        a = tpi_ref_imul(a, a);
    }
    return y;
}

static int64_t int_binary(tpi_binary op, int64_t a, int64_t b)
{
    switch (op) {
    case TPI_ADD: return tpi_ref_iadd(a, b);
    case TPI_SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case TPI_MUL: return tpi_ref_imul(a, b);
    case TPI_DIV: return b == 0 ? 0 : b == -1 ? tpi_ref_imul(a, -1) : a / b; /* INT64_MIN / -1 traps: it wraps here */
    case TPI_POW: return int_pow(a, b);
    case TPI_MAXIMUM: return a > b ? a : b;
    case TPI_MINIMUM: return a < b ? a : b;
    case TPI_BINARIES: break;
    }
    return 0;
}

/* y[i] = a[i] op b[i] */
tp_code tpi_ref_binary(const tpi_run *r, tpi_binary op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                       const void *b)
{
    int64_t n = tpi_ref_numel(nd);

    (void)r;
    for (int64_t i = 0; i < n; i++) {
        int64_t yi = tpi_ref_at(nd, 0, i), ai = tpi_ref_at(nd, 1, i), bi = tpi_ref_at(nd, 2, i);

        if (tpi_ref_is_int(t))
            tpi_store_int(t, y, yi, int_binary(op, tpi_load_int(t, a, ai), tpi_load_int(t, b, bi)));
        else
            tpi_store(t, y, yi, float_binary(op, tpi_load(t, a, ai), tpi_load(t, b, bi)));
    }
    return TP_OK;
}

/* With NaN every comparison is false but `not equal`: C's own rules. */
static bool float_compare(tpi_compare op, double a, double b)
{
    switch (op) {
    case TPI_EQ: return a == b;
    case TPI_NE: return a != b;
    case TPI_LT: return a < b;
    case TPI_LE: return a <= b;
    case TPI_GT: return a > b;
    case TPI_GE: return a >= b;
    case TPI_AND:
    case TPI_OR:
    case TPI_COMPARES: break;
    }
    return false;
}

static bool int_compare(tpi_compare op, int64_t a, int64_t b)
{
    switch (op) {
    case TPI_EQ: return a == b;
    case TPI_NE: return a != b;
    case TPI_LT: return a < b;
    case TPI_LE: return a <= b;
    case TPI_GT: return a > b;
    case TPI_GE: return a >= b;
    case TPI_AND: return a && b;
    case TPI_OR: return a || b;
    case TPI_COMPARES: break;
    }
    return false;
}

/* y[i] = a[i] op b[i], y bool */
tp_code tpi_ref_compare(const tpi_run *r, tpi_compare op, const tpi_nd *nd, tp_dtype t, void *y, const void *a,
                        const void *b)
{
    int64_t n = tpi_ref_numel(nd);

    (void)r;
    if ((op == TPI_AND || op == TPI_OR) && t != TP_BOOL)
        return TP_EDTYPE;
    for (int64_t i = 0; i < n; i++) {
        int64_t yi = tpi_ref_at(nd, 0, i), ai = tpi_ref_at(nd, 1, i), bi = tpi_ref_at(nd, 2, i);

        if (tpi_ref_is_int(t))
            tpi_store_int(TP_BOOL, y, yi, int_compare(op, tpi_load_int(t, a, ai), tpi_load_int(t, b, bi)));
        else
            tpi_store_int(TP_BOOL, y, yi, float_compare(op, tpi_load(t, a, ai), tpi_load(t, b, bi)));
    }
    return TP_OK;
}

/* y[i] = c[i] ? a[i] : b[i] */
tp_code tpi_ref_where(const tpi_run *r, const tpi_nd *nd, tp_dtype t, void *y, const void *c, const void *a,
                      const void *b)
{
    int64_t n = tpi_ref_numel(nd);
    size_t  size = tp_dtype_size(t);

    (void)r;
    for (int64_t i = 0; i < n; i++) {
        bool        take = ((const uint8_t *)c)[tpi_ref_at(nd, 1, i)] != 0;
        const char *from = take ? (const char *)a + tpi_ref_at(nd, 2, i) * (int64_t)size
                                : (const char *)b + tpi_ref_at(nd, 3, i) * (int64_t)size;

        memcpy((char *)y + tpi_ref_at(nd, 0, i) * (int64_t)size, from, size);
    }
    return TP_OK;
}
