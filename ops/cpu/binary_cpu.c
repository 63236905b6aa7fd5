/*
 * binary_cpu.c - arithmetic of two operands, comparisons, where.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/vmath.h"

typedef struct {
    int         op; /* tpi_binary or tpi_compare */
    tp_dtype    t;
    void       *y;
    const void *a, *b;
    int64_t     ys, as, bs;
} binary_args;

/* ---- float ------------------------------------------------------------------------------------------------------------- */

TPI_INLINE float formula_f32(tpi_binary op, float a, float b)
{
    switch (op) {
    case TPI_ADD: return a + b;
    case TPI_SUB: return a - b;
    case TPI_MUL: return a * b;
    case TPI_DIV: return a / b;
    case TPI_POW: return powf(a, b);
    case TPI_MAXIMUM: return b != b || b > a ? b : a; /* a NaN survives: nothing is greater */
    case TPI_MINIMUM: return b != b || b < a ? b : a;
    case TPI_BINARIES: break;
    }
    return 0.0f;
}

TPI_INLINE void loop_f32(tpi_binary op, float *y, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = formula_f32(op, a[i], b[i]);
}

static void run_f32(tpi_binary op, float *y, const float *a, const float *b, int64_t n)
{
    switch (op) {
    case TPI_ADD: loop_f32(TPI_ADD, y, a, b, n); break;
    case TPI_SUB: loop_f32(TPI_SUB, y, a, b, n); break;
    case TPI_MUL: loop_f32(TPI_MUL, y, a, b, n); break;
    case TPI_DIV: loop_f32(TPI_DIV, y, a, b, n); break;
    case TPI_POW: loop_f32(TPI_POW, y, a, b, n); break;
    case TPI_MAXIMUM: loop_f32(TPI_MAXIMUM, y, a, b, n); break;
    case TPI_MINIMUM: loop_f32(TPI_MINIMUM, y, a, b, n); break;
    case TPI_BINARIES: break;
    }
}

/* An operand of a chunk; one that is repeated (stride 0) fills its buffer in the first chunk only. */
static const float *operand_f32(float *buf, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t m, int64_t done)
{
    return stride == 0 && done > 0 ? buf : tpi_in_f32(buf, t, p, at, stride, m);
}

static void span_f32(const void *args, const int64_t *at, int64_t n)
{
    const binary_args *w = args;
    float              ybuf[TPI_CHUNK], abuf[TPI_CHUNK], bbuf[TPI_CHUNK];

    if (w->t == TP_F32 && w->ys == 1 && w->as == 1 && w->bs == 1) {
        run_f32((tpi_binary)w->op, (float *)w->y + at[0], (const float *)w->a + at[1], (const float *)w->b + at[2], n);
        return;
    }
    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t      m = tpi_min64(TPI_CHUNK, n - i), ya = at[0] + i * w->ys;
        const float *a = operand_f32(abuf, w->t, w->a, at[1] + i * w->as, w->as, m, i);
        const float *b = operand_f32(bbuf, w->t, w->b, at[2] + i * w->bs, w->bs, m, i);
        float       *y = tpi_out_f32(ybuf, w->t, w->y, ya, w->ys);

        run_f32((tpi_binary)w->op, y, a, b, m);
        tpi_done_f32(y, w->t, w->y, ya, w->ys, m);
    }
}

/* ---- double ------------------------------------------------------------------------------------------------------------ */

static double formula_f64(tpi_binary op, double a, double b)
{
    switch (op) {
    case TPI_ADD: return a + b;
    case TPI_SUB: return a - b;
    case TPI_MUL: return a * b;
    case TPI_DIV: return a / b;
    case TPI_POW: return pow(a, b);
    case TPI_MAXIMUM: return b != b || b > a ? b : a;
    case TPI_MINIMUM: return b != b || b < a ? b : a;
    case TPI_BINARIES: break;
    }
    return 0;
}

static void span_f64(const void *args, const int64_t *at, int64_t n)
{
    const binary_args *w = args;
    double            *y = (double *)w->y + at[0];
    const double      *a = (const double *)w->a + at[1], *b = (const double *)w->b + at[2];

    for (int64_t i = 0; i < n; i++)
        y[i * w->ys] = formula_f64((tpi_binary)w->op, a[i * w->as], b[i * w->bs]);
}

/* ---- integers ---------------------------------------------------------------------------------------------------------- */

/* a^b by squaring; for b < 0 what 1 / a^-b is toward zero, with 0 for 1 / 0. */
static int64_t power(int64_t a, int64_t b)
{
    uint64_t y = 1, u = (uint64_t)a;

    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    for (; b > 0; b /= 2) {
        if (b % 2)
            y *= u;
        u *= u;
    }
    return (int64_t)y;
}

static int64_t formula_i64(tpi_binary op, int64_t a, int64_t b)
{
    uint64_t u = (uint64_t)a, v = (uint64_t)b;

    switch (op) {
    case TPI_ADD: return (int64_t)(u + v);
    case TPI_SUB: return (int64_t)(u - v);
    case TPI_MUL: return (int64_t)(u * v);
    case TPI_DIV: return b == 0 ? 0 : b == -1 ? (int64_t)(0 - u) : a / b; /* INT64_MIN / -1 traps: it wraps here */
    case TPI_POW: return power(a, b);
    case TPI_MAXIMUM: return a > b ? a : b;
    case TPI_MINIMUM: return a < b ? a : b;
    case TPI_BINARIES: break;
    }
    return 0;
}

static void span_i64(const void *args, const int64_t *at, int64_t n)
{
    const binary_args *w = args;

    for (int64_t i = 0; i < n; i++) {
        int64_t a = tpi_load_int(w->t, w->a, at[1] + i * w->as), b = tpi_load_int(w->t, w->b, at[2] + i * w->bs);

        tpi_store_int(w->t, w->y, at[0] + i * w->ys, formula_i64((tpi_binary)w->op, a, b));
    }
}

tp_code CPU(binary)(const tpi_run *r, tpi_binary op, const tpi_nd *nd, tp_dtype t, void *y, const void *a, const void *b)
{
    binary_args w = { (int)op, t, y, a, b, tpi_step_of(nd, 0), tpi_step_of(nd, 1), tpi_step_of(nd, 2) };

    CPU(walk)(r, nd, 3, tpi_is_f32ish(t) ? span_f32 : t == TP_F64 ? span_f64 : span_i64, &w);
    return TP_OK;
}

/* ---- comparisons ------------------------------------------------------------------------------------------------------- */

/* Doubles hold every f32, bf16, f16; with NaN every comparison is false but `not equal`. */
TPI_INLINE bool holds_f64(tpi_compare op, double a, double b)
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

TPI_INLINE bool holds_i64(tpi_compare op, int64_t a, int64_t b)
{
    switch (op) {
    case TPI_EQ: return a == b;
    case TPI_NE: return a != b;
    case TPI_LT: return a < b;
    case TPI_LE: return a <= b;
    case TPI_GT: return a > b;
    case TPI_GE: return a >= b;
    case TPI_AND: return a != 0 && b != 0;
    case TPI_OR: return a != 0 || b != 0;
    case TPI_COMPARES: break;
    }
    return false;
}

TPI_INLINE void compare_loop_f32(tpi_compare op, uint8_t *y, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = op == TPI_EQ ? a[i] == b[i] : op == TPI_NE ? a[i] != b[i] : op == TPI_LT ? a[i] < b[i] : a[i] <= b[i];
}

static void compare_span_f32(const void *args, const int64_t *at, int64_t n)
{
    const binary_args *w = args;
    float              abuf[TPI_CHUNK], bbuf[TPI_CHUNK];
    uint8_t            ybuf[TPI_CHUNK];

    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t      m = tpi_min64(TPI_CHUNK, n - i);
        const float *a = operand_f32(abuf, w->t, w->a, at[1] + i * w->as, w->as, m, i);
        const float *b = operand_f32(bbuf, w->t, w->b, at[2] + i * w->bs, w->bs, m, i);
        uint8_t     *y = w->ys == 1 ? (uint8_t *)w->y + at[0] + i : ybuf;

        if (w->op == TPI_EQ)
            compare_loop_f32(TPI_EQ, y, a, b, m);
        else if (w->op == TPI_NE)
            compare_loop_f32(TPI_NE, y, a, b, m);
        else if (w->op == TPI_LT || w->op == TPI_GT)
            compare_loop_f32(TPI_LT, y, w->op == TPI_LT ? a : b, w->op == TPI_LT ? b : a, m);
        else
            compare_loop_f32(TPI_LE, y, w->op == TPI_LE ? a : b, w->op == TPI_LE ? b : a, m);
        for (int64_t j = 0; y == ybuf && j < m; j++)
            ((uint8_t *)w->y)[at[0] + (i + j) * w->ys] = y[j];
    }
}

static void compare_span(const void *args, const int64_t *at, int64_t n)
{
    const binary_args *w = args;
    tpi_compare        op = (tpi_compare)w->op;

    for (int64_t i = 0; i < n; i++) {
        int64_t ai = at[1] + i * w->as, bi = at[2] + i * w->bs;
        bool    y = w->t == TP_F64 ? holds_f64(op, ((const double *)w->a)[ai], ((const double *)w->b)[bi])
                                   : holds_i64(op, tpi_load_int(w->t, w->a, ai), tpi_load_int(w->t, w->b, bi));

        ((uint8_t *)w->y)[at[0] + i * w->ys] = y;
    }
}

tp_code CPU(compare)(const tpi_run *r, tpi_compare op, const tpi_nd *nd, tp_dtype t, void *y, const void *a, const void *b)
{
    binary_args w = { (int)op, t, y, a, b, tpi_step_of(nd, 0), tpi_step_of(nd, 1), tpi_step_of(nd, 2) };

    if ((op == TPI_AND || op == TPI_OR) && t != TP_BOOL)
        return TP_EDTYPE;
    CPU(walk)(r, nd, 3, tpi_is_f32ish(t) ? compare_span_f32 : compare_span, &w);
    return TP_OK;
}

/* ---- where ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t        size;
    void          *y;
    const uint8_t *c;
    const void    *a, *b;
    int64_t        ys, cs, as, bs;
} where_args;

static void where_4(const where_args *w, const int64_t *at, int64_t n)
{
    uint32_t       *y = (uint32_t *)w->y + at[0];
    const uint32_t *a = (const uint32_t *)w->a + at[2], *b = (const uint32_t *)w->b + at[3];
    const uint8_t  *c = w->c + at[1];

    if (w->ys == 1 && w->cs == 1 && w->as == 1 && w->bs == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = c[i] ? a[i] : b[i];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        y[i * w->ys] = c[i * w->cs] ? a[i * w->as] : b[i * w->bs];
}

static void where_2(const where_args *w, const int64_t *at, int64_t n)
{
    uint16_t       *y = (uint16_t *)w->y + at[0];
    const uint16_t *a = (const uint16_t *)w->a + at[2], *b = (const uint16_t *)w->b + at[3];

    for (int64_t i = 0; i < n; i++)
        y[i * w->ys] = w->c[at[1] + i * w->cs] ? a[i * w->as] : b[i * w->bs];
}

/* Elements of 8 bytes and of 1 */
static void where_rest(const where_args *w, const int64_t *at, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        bool    take = w->c[at[1] + i * w->cs] != 0;
        int64_t from = take ? at[2] + i * w->as : at[3] + i * w->bs, to = at[0] + i * w->ys;

        if (w->size == 8)
            ((uint64_t *)w->y)[to] = ((const uint64_t *)(take ? w->a : w->b))[from];
        else
            ((uint8_t *)w->y)[to] = ((const uint8_t *)(take ? w->a : w->b))[from];
    }
}

static void where_span(const void *args, const int64_t *at, int64_t n)
{
    const where_args *w = args;

    if (w->size == 4)
        where_4(w, at, n);
    else if (w->size == 2)
        where_2(w, at, n);
    else
        where_rest(w, at, n);
}

tp_code CPU(where)(const tpi_run *r, const tpi_nd *nd, tp_dtype t, void *y, const void *c, const void *a, const void *b)
{
    where_args w = {
        tpi_size_of(t), y, c, a, b, tpi_step_of(nd, 0), tpi_step_of(nd, 1), tpi_step_of(nd, 2), tpi_step_of(nd, 3),
    };

    CPU(walk)(r, nd, 4, where_span, &w);
    return TP_OK;
}
