/*
 * reduce_cpu.c - sums, products, extremes and their places over any dimensions; running sums.
 *
 * Three ways: by columns where the outputs lie side by side in x and the reduced elements do not; one output after the other; and
 * few outputs of many elements in TPI_SLICES parts.  Which one is taken depends on the sizes alone, never on the threads.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"
#include "ops/cpu/sums.h"

#include "core/number.h"

/* What has been folded so far: floats in d, integers in i. */
typedef struct {
    bool    any;  /* false until an extreme has met its first element */
    double  d;
    int64_t i, place, seen;
} fold;

typedef struct {
    tpi_reduce    op;
    const tpi_nd *outer;
    tpi_nd        inner; /* of x, as operand 0 */
    int64_t       n;     /* elements of inner */
    tp_dtype      yt, t;
    void         *y;
    const void   *x;
    int64_t       width; /* columns of an item */
} reduce_args;

typedef struct {
    const reduce_args *r;
    int64_t            base;
    fold              *f;
} fold_args;

static bool is_place(tpi_reduce op)
{
    return op == TPI_ARGMAX || op == TPI_ARGMIN;
}

static bool is_max(tpi_reduce op)
{
    return op == TPI_MAX || op == TPI_ARGMAX;
}

/* Whether v, which comes later, takes the place of best: only strictly, so that the first of equals stays; the first NaN does. */
static bool beats(bool max, double v, double best)
{
    return best == best && (v != v || (max ? v > best : v < best));
}

static void fold_init(tpi_reduce op, fold *f, int64_t seen)
{
    *f = (fold){ .d = op == TPI_PROD || op == TPI_ALL, .i = op == TPI_PROD || op == TPI_ALL, .seen = seen };
}

/* ---- folding runs of elements ------------------------------------------------------------------------------------------- */

static void meet(bool max, fold *f, double v, int64_t place)
{
    if (f->any && !beats(max, v, f->d))
        return;
    f->any = true;
    f->d = v;
    f->place = place;
}

static void fold_extreme_f32(tpi_reduce op, fold *f, const float *x, int64_t n)
{
    bool    max = is_max(op);
    float   m = max ? tpi_max_of(x, n) : tpi_min_of(x, n);
    int64_t i = 0;

    if (f->any && !beats(max, (double)m, f->d))
        return;
    if (is_place(op))
        while (i < n - 1 && (m != m ? x[i] == x[i] : x[i] != m))
            i++;
    meet(max, f, (double)m, f->seen + i);
}

static void fold_f32(tpi_reduce op, fold *f, const float *x, int64_t n)
{
    if (op == TPI_SUM)
        f->d += tpi_sum_of(TPI_OF_X, x, NULL, 0.0f, n);
    else if (op == TPI_SUMSQ)
        f->d += tpi_sum_of(TPI_OF_SQUARE, x, NULL, 0.0f, n);
    else if (op == TPI_PROD)
        for (int64_t i = 0; i < n; i++)
            f->d *= (double)x[i];
    else
        fold_extreme_f32(op, f, x, n);
}

static void fold_f64(tpi_reduce op, fold *f, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (op == TPI_SUM)
            f->d += x[i];
        else if (op == TPI_SUMSQ)
            f->d += x[i] * x[i];
        else if (op == TPI_PROD)
            f->d *= x[i];
        else if (op == TPI_ANY || op == TPI_ALL)
            f->d = op == TPI_ANY ? f->d != 0 || x[i] != 0 : f->d != 0 && x[i] != 0;
        else
            meet(is_max(op), f, x[i], f->seen + i);
    }
}

static void fold_i64(tpi_reduce op, fold *f, const int64_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t u = (uint64_t)x[i];

        if (op == TPI_SUM)
            f->i = (int64_t)((uint64_t)f->i + u);
        else if (op == TPI_SUMSQ)
            f->i = (int64_t)((uint64_t)f->i + u * u);
        else if (op == TPI_PROD)
            f->i = (int64_t)((uint64_t)f->i * u);
        else if (op == TPI_ANY || op == TPI_ALL)
            f->i = op == TPI_ANY ? f->i != 0 || u != 0 : f->i != 0 && u != 0;
        else if (!f->any || (is_max(op) ? x[i] > f->i : x[i] < f->i))
            *f = (fold){ .any = true, .i = x[i], .place = f->seen + i, .seen = f->seen };
    }
}

static bool in_f32(const reduce_args *r)
{
    return tpi_is_f32ish(r->t) && r->op != TPI_ANY && r->op != TPI_ALL;
}

static void fold_span(const void *args, const int64_t *at, int64_t n)
{
    const fold_args   *a = args;
    const reduce_args *r = a->r;
    int64_t            stride = tpi_step_of(&r->inner, 0), first = a->base + at[0];
    int64_t            step = in_f32(r) && r->t == TP_F32 && stride == 1 ? TPI_PIECE : TPI_CHUNK;
    union { float f[TPI_CHUNK]; double d[TPI_CHUNK]; int64_t i[TPI_CHUNK]; } buf;

    for (int64_t i = 0; i < n; i += step) {
        int64_t m = tpi_min64(step, n - i), here = first + i * stride;

        if (in_f32(r))
            fold_f32(r->op, a->f, tpi_in_f32(buf.f, r->t, r->x, here, stride, m), m);
        else if (!tpi_is_int(r->t))
            fold_f64(r->op, a->f, tpi_in_f64(buf.d, r->t, r->x, here, stride, m), m);
        else
            fold_i64(r->op, a->f, tpi_in_i64(buf.i, r->t, r->x, here, stride, m), m);
        a->f->seen += m;
    }
}

static void store_fold(const reduce_args *r, int64_t yi, const fold *f)
{
    if (is_place(r->op))
        tpi_store_int(r->yt, r->y, yi, f->place);
    else if (tpi_is_int(r->t))
        tpi_store_int(r->yt, r->y, yi, f->i);
    else
        tpi_store(r->yt, r->y, yi, f->d);
}

/* Where output o, counted row-major, lies in y and in x. */
static void find_output(const tpi_nd *outer, int64_t o, int64_t *ya, int64_t *xa)
{
    *ya = *xa = 0;
    for (int d = outer->ndim - 1; d >= 0; d--) {
        int64_t i = o % outer->dim[d];

        *ya += i * outer->stride[0][d];
        *xa += i * outer->stride[1][d];
        o /= outer->dim[d];
    }
}

/* ---- one output after the other ----------------------------------------------------------------------------------------- */

static void outputs_part(const void *args, int64_t begin, int64_t end)
{
    const reduce_args *r = args;
    int64_t            items = CPU(walk_items)(&r->inner), ya, xa;

    for (int64_t o = begin; o < end; o++) {
        fold f;

        fold_init(r->op, &f, 0);
        find_output(r->outer, o, &ya, &xa);
        CPU(walk_some)(&r->inner, 1, 0, items, fold_span, &(fold_args){ r, xa, &f });
        store_fold(r, ya, &f);
    }
}

/* ---- few outputs of many elements ---------------------------------------------------------------------------------------- */

typedef struct {
    const reduce_args *r;
    int64_t            base;
    fold              *part;
} slice_args;

static void slices_part(const void *args, int64_t begin, int64_t end)
{
    const slice_args *s = args;
    const tpi_nd     *nd = &s->r->inner;
    int64_t           items = CPU(walk_items)(nd), n = nd->dim[nd->ndim - 1], pieces = tpi_ceil_div(n, TPI_PIECE);

    for (int64_t i = begin; i < end; i++) {
        int64_t first = items * i / TPI_SLICES, last = items * (i + 1) / TPI_SLICES;

        fold_init(s->r->op, &s->part[i], first / pieces * n + first % pieces * TPI_PIECE);
        CPU(walk_some)(nd, 1, first, last, fold_span, &(fold_args){ s->r, s->base, &s->part[i] });
    }
}

/* Slices without elements, of which an extreme knows nothing, are skipped. */
static void join(tpi_reduce op, bool whole, fold *f, const fold *part)
{
    bool extreme = op == TPI_MAX || op == TPI_MIN || is_place(op);

    if (!extreme && whole)
        fold_i64(op == TPI_SUMSQ ? TPI_SUM : op, f, &part->i, 1);
    else if (!extreme)
        fold_f64(op == TPI_SUMSQ ? TPI_SUM : op, f, &part->d, 1);
    else if (part->any && (!f->any || (whole ? (is_max(op) ? part->i > f->i : part->i < f->i)
                                             : beats(is_max(op), part->d, f->d))))
        *f = *part;
}

static void by_slices(const tpi_run *run, const reduce_args *r, int64_t outputs)
{
    fold part[TPI_SLICES];

    for (int64_t o = 0; o < outputs; o++) {
        slice_args s = { .r = r, .part = part };
        int64_t    ya;
        fold       f;

        find_output(r->outer, o, &ya, &s.base);
        CPU(parallel)(run, TPI_SLICES, r->n, slices_part, &s);
        fold_init(r->op, &f, 0);
        for (int i = 0; i < TPI_SLICES; i++)
            join(r->op, tpi_is_int(r->t), &f, &part[i]);
        store_fold(r, ya, &f);
    }
}

/* ---- columns ------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 32 }; /* summed in f32 before double takes over */

typedef struct {
    const reduce_args *r;
    int64_t            base, m;
    float             *acc;
    double            *total;
    int               *rows; /* in acc */
} column_args;

/* acc into total, and acc empty again */
static void flush(const column_args *c)
{
    tpi_reduce op = c->r->op;

    for (int64_t j = 0; j < c->m; j++) {
        if (op == TPI_PROD)
            c->total[j] *= (double)c->acc[j];
        else if (op == TPI_SUM || op == TPI_SUMSQ)
            c->total[j] += (double)c->acc[j];
        else
            c->total[j] = (double)c->acc[j];
        if (op == TPI_SUM || op == TPI_SUMSQ)
            c->acc[j] = 0.0f;
    }
    *c->rows = 0;
}

TPI_INLINE void add_row(tpi_reduce op, float *restrict acc, const float *restrict x, int64_t m)
{
#pragma omp simd
    for (int64_t j = 0; j < m; j++) {
        float v = x[j], a = acc[j];

        acc[j] = op == TPI_SUM ? a + v : op == TPI_SUMSQ ? tpi_fma(v, v, a) : op == TPI_MAX ? (v != v || v > a ? v : a)
                                                                            : (v != v || v < a ? v : a);
    }
}

static void column_span(const void *args, const int64_t *at, int64_t n)
{
    const column_args *c = args;
    const reduce_args *r = c->r;
    float              buf[TPI_CHUNK];

    for (int64_t i = 0; i < n; i++) {
        const float *x = tpi_in_f32(buf, r->t, r->x, c->base + at[0] + i * tpi_step_of(&r->inner, 0), 1, c->m);

        if (r->op == TPI_SUM)
            add_row(TPI_SUM, c->acc, x, c->m);
        else if (r->op == TPI_SUMSQ)
            add_row(TPI_SUMSQ, c->acc, x, c->m);
        else if (r->op == TPI_MAX)
            add_row(TPI_MAX, c->acc, x, c->m);
        else if (r->op == TPI_MIN)
            add_row(TPI_MIN, c->acc, x, c->m);
        else
            for (int64_t j = 0; j < c->m; j++)
                c->total[j] *= (double)x[j];
        if (++*c->rows == ROWS && r->op != TPI_PROD)
            flush(c);
    }
}

static void columns_part(const void *args, int64_t begin, int64_t end)
{
    const reduce_args *r = args;
    int64_t            last = r->outer->ndim - 1, cols = r->outer->dim[last], chunks = tpi_ceil_div(cols, r->width);
    int64_t            items = CPU(walk_items)(&r->inner), ya;
    float              acc[TPI_CHUNK], start = r->op == TPI_MAX ? -INFINITY : r->op == TPI_MIN ? INFINITY : 0.0f;
    double             total[TPI_CHUNK];

    for (int64_t i = begin; i < end; i++) {
        int         rows = 0;
        int64_t     j = i % chunks * r->width;
        column_args c = { .r = r, .m = tpi_min64(r->width, cols - j), .acc = acc, .total = total, .rows = &rows };

        find_output(r->outer, i / chunks * cols + j, &ya, &c.base);
        for (int64_t k = 0; k < c.m; k++) {
            acc[k] = start;
            total[k] = r->op == TPI_PROD;
        }
        CPU(walk_some)(&r->inner, 1, 0, items, column_span, &c);
        if (r->op != TPI_PROD)
            flush(&c);
        for (int64_t k = 0; k < c.m; k++)
            tpi_store(r->yt, r->y, ya + k * r->outer->stride[0][last], total[k]);
    }
}

static bool by_columns(const reduce_args *r)
{
    int last = r->outer->ndim - 1;

    return last >= 0 && r->outer->stride[1][last] == 1 && r->outer->dim[last] >= 16 && tpi_step_of(&r->inner, 0) != 1 &&
           r->n > 1 && in_f32(r) && !is_place(r->op);
}

tp_code CPU(reduce)(const tpi_run *run, tpi_reduce op, const tpi_nd *outer, const tpi_nd *inner, tp_dtype yt, void *y, tp_dtype t,
                    const void *x)
{
    reduce_args r = { .op = op, .outer = outer, .inner = *inner, .n = tpi_numel(inner), .yt = yt, .t = t, .y = y, .x = x };
    int64_t     outputs = tpi_numel(outer), cols;

    for (int d = 0; d < inner->ndim; d++)
        r.inner.stride[0][d] = inner->stride[1][d];
    if (outputs > 0 && r.n == 0 && (op == TPI_MAX || op == TPI_MIN || is_place(op)))
        return TP_ESHAPE;
    if (outputs == 0)
        return TP_OK;
    if (by_columns(&r)) {
        cols = outer->dim[outer->ndim - 1];
        /* a column's sum does not depend on the width of its item */
        r.width = tpi_min64(TPI_CHUNK, (tpi_ceil_div(cols, 4 * run->threads) + 63) / 64 * 64);
        CPU(parallel)(run, outputs / cols * tpi_ceil_div(cols, r.width), outputs * r.n, columns_part, &r);
    } else if (outputs < 16 && r.n >= 2 * TPI_PARALLEL_MIN) {
        by_slices(run, &r, outputs);
    } else {
        CPU(parallel)(run, outputs, outputs * r.n, outputs_part, &r);
    }
    return TP_OK;
}

/* ---- running sums --------------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_dtype    t;
    void       *y;
    const void *x;
    int64_t     n, b;
    bool        reverse;
} cumsum_args;

/* Items are lines; several neighbours [first, first + m) go together, so that memory is read in its order. */
static void cumsum_lines(const cumsum_args *c, int64_t block, int64_t first, int64_t m)
{
    double  sum[TPI_CHUNK];
    int64_t isum[TPI_CHUNK];

    for (int64_t j = 0; j < m; j++) {
        sum[j] = 0;
        isum[j] = 0;
    }
    for (int64_t i = 0; i < c->n; i++) {
        int64_t at = (block * c->n + (c->reverse ? c->n - 1 - i : i)) * c->b + first;

        for (int64_t j = 0; j < m; j++) {
            if (tpi_is_int(c->t)) {
                isum[j] = (int64_t)((uint64_t)isum[j] + (uint64_t)tpi_load_int(c->t, c->x, at + j));
                tpi_store_int(c->t, c->y, at + j, isum[j]);
            } else {
                sum[j] += tpi_load(c->t, c->x, at + j);
                tpi_store(c->t, c->y, at + j, sum[j]);
            }
        }
    }
}

static void cumsum_part(const void *args, int64_t begin, int64_t end)
{
    const cumsum_args *c = args;

    for (int64_t line = begin; line < end;) {
        int64_t first = line % c->b, m = tpi_min64(tpi_min64(TPI_CHUNK, c->b - first), end - line);

        cumsum_lines(c, line / c->b, first, m);
        line += m;
    }
}

tp_code CPU(cumsum)(const tpi_run *r, tp_dtype t, void *y, const void *x, int64_t a, int64_t n, int64_t b, bool reverse)
{
    cumsum_args c = { t, y, x, n, b, reverse };

    CPU(parallel)(r, a * b, a * b * n, cumsum_part, &c);
    return TP_OK;
}
