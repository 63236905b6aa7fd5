/*
 * conv_cpu.c - convolution of planes.  oneDNN does what it does fast; the rest goes by products: the places under each tap
 * of some rows of the result are copied side by side ("unfolded", [taps, places]), then
 *
 *     y = w [outs, taps] unfolded        dw += dy unfolded^T        unfolded dx = w^T dy, added back to where it came from
 *
 * for each image and group.  Threads take images and groups side by side, or, when there are too few, share the products.
 */
#include "ops/cpu/cpu.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/onednn_conv.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/span.h"

#include <omp.h>
#include <string.h>

enum { UNFOLDED = 1 << 17 }; /* elements that are unfolded at a time: they are to stay in L2 */

typedef struct {
    const tpi_window *c;
    tpi_conv_part     part;
    tp_dtype          wide;    /* f32 or f64 */
    int64_t           ins, outs, taps, places, units; /* of one group; units: images x groups */
    int64_t           rows;    /* of the result at a time */
    bool              as_is;   /* 1 x 1 and dense: x lies unfolded already */
    int               threads, inner; /* side by side; in each product */
    size_t            fold, plane, gemm, sum; /* bytes a thread: unfolded, dx in f32, of the product, of its dw */
} plan;

/* One unit's operands in their places. */
typedef struct {
    char       *fold, *plane, *gemm;
    const void *x, *w, *dy; /* as the part needs */
    void       *out;
    double      beta;
} unit;

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static int64_t min_rows(const plan *p, int64_t first)
{
    return tpi_min64(p->rows, p->c->out[0] - first);
}

/* ---- unfolding --------------------------------------------------------------------------------------------------- */

/* The places [*begin, *end) of a row of the result whose tap v lies inside of the plane. */
static void inside(const tpi_window *c, int64_t v, int64_t *begin, int64_t *end)
{
    int64_t shift = v * c->dilation[1] - c->pad[1], s = c->stride[1], last = c->in[1] - 1 - shift;

    *begin = shift >= 0 ? 0 : tpi_min64((-shift + s - 1) / s, c->out[1]);
    *end = last < 0 ? 0 : tpi_min64(last / s + 1, c->out[1]);
    *end = *end < *begin ? *begin : *end;
}

static void copy_strided(char *to, const char *from, int64_t n, int64_t stride, int64_t size)
{
    if (stride == 1)
        memcpy(to, from, (size_t)(n * size));
    else if (size == 4)
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)(void *)to)[i] = ((const uint32_t *)(const void *)from)[i * stride];
    else if (size == 2)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)(void *)to)[i] = ((const uint16_t *)(const void *)from)[i * stride];
    else
        for (int64_t i = 0; i < n; i++)
            ((uint64_t *)(void *)to)[i] = ((const uint64_t *)(const void *)from)[i * stride];
}

/* One tap of the rows [first, first + rows) of the result, from the plane x; all bits 0 is 0 in every dtype. */
static void unfold_tap(const tpi_window *c, char *to, const char *x, int64_t u, int64_t v, int64_t first, int64_t rows)
{
    int64_t size = tpi_size_of(c->t), width = c->out[1] * size, begin, end;

    inside(c, v, &begin, &end);
    for (int64_t p = first; p < first + rows; p++, to += width) {
        int64_t row = p * c->stride[0] + u * c->dilation[0] - c->pad[0];

        if (row < 0 || row >= c->in[0] || begin == end) {
            memset(to, 0, (size_t)width);
            continue;
        }
        memset(to, 0, (size_t)(begin * size));
        copy_strided(to + begin * size,
                     x + (row * c->in[1] + begin * c->stride[1] + v * c->dilation[1] - c->pad[1]) * size, end - begin,
                     c->stride[1], size);
        memset(to + end * size, 0, (size_t)(width - end * size));
    }
}

static void unfold(const plan *p, char *to, const char *x, int64_t first, int64_t rows)
{
    const tpi_window *c = p->c;
    int64_t           size = tpi_size_of(c->t), step = rows * c->out[1] * size;

    for (int64_t ch = 0; ch < p->ins; ch++, x += c->in[0] * c->in[1] * size)
        for (int64_t u = 0; u < c->size[0]; u++)
            for (int64_t v = 0; v < c->size[1]; v++, to += step)
                unfold_tap(c, to, x, u, v, first, rows);
}

static void add_f32(float *restrict x, int64_t stride, const float *restrict d, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i * stride] += d[i];
}

static void add_f64(double *restrict x, int64_t stride, const double *restrict d, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i * stride] += d[i];
}

/* Adds the unfolded gradient d back to the planes x, both f32 or both f64. */
static void fold_tap(const plan *p, char *x, const char *d, int64_t u, int64_t v, int64_t first, int64_t rows)
{
    const tpi_window *c = p->c;
    int64_t           begin, end;

    inside(c, v, &begin, &end);
    for (int64_t i = first; i < first + rows; i++, d += c->out[1] * tpi_size_of(p->wide)) {
        int64_t row = i * c->stride[0] + u * c->dilation[0] - c->pad[0];
        int64_t at = row * c->in[1] + begin * c->stride[1] + v * c->dilation[1] - c->pad[1];

        if (row < 0 || row >= c->in[0] || begin == end)
            continue;
        if (p->wide == TP_F64)
            add_f64((double *)(void *)x + at, c->stride[1], (const double *)(const void *)d + begin, end - begin);
        else
            add_f32((float *)(void *)x + at, c->stride[1], (const float *)(const void *)d + begin, end - begin);
    }
}

static void fold(const plan *p, char *x, const char *d, int64_t first, int64_t rows)
{
    const tpi_window *c = p->c;
    int64_t           size = tpi_size_of(p->wide), step = rows * c->out[1] * size;

    for (int64_t ch = 0; ch < p->ins; ch++, x += c->in[0] * c->in[1] * size)
        for (int64_t u = 0; u < c->size[0]; u++)
            for (int64_t v = 0; v < c->size[1]; v++, d += step)
                fold_tap(p, x, d, u, v, first, rows);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* The product of one unit's rows [first, first + rows) of the result. */
static tpi_gemm product(const plan *p, const unit *u, int64_t first, int64_t rows)
{
    int64_t  cols = rows * p->c->out[1], at = first * p->c->out[1], ld = p->as_is ? p->places : cols;
    tp_dtype t = p->c->t;
    tpi_gemm g = { .batch = { 1, 1 }, .at = t, .bt = t, .beta = u->beta };

    if (p->part == TPI_CONV_Y) {
        g.m = p->outs, g.n = cols, g.k = p->taps, g.ct = t;
        g.a = u->w, g.a_row = p->taps, g.a_col = 1;
        g.b = p->as_is ? tpi_at(u->x, t, at) : u->fold, g.b_row = ld, g.b_col = 1;
        g.c = tpi_at_out(u->out, t, at), g.c_row = p->places;
    } else if (p->part == TPI_CONV_DX) {
        g.m = p->taps, g.n = cols, g.k = p->outs, g.ct = p->as_is ? t : p->wide;
        g.a = u->w, g.a_row = 1, g.a_col = p->taps;
        g.b = tpi_at(u->dy, t, at), g.b_row = p->places, g.b_col = 1;
        g.c = p->as_is ? tpi_at_out(u->out, t, at) : u->fold, g.c_row = ld;
        g.beta = 0;
    } else {
        g.m = p->outs, g.n = p->taps, g.k = cols, g.ct = p->wide;
        g.a = tpi_at(u->dy, t, at), g.a_row = p->places, g.a_col = 1;
        g.b = p->as_is ? tpi_at(u->x, t, at) : u->fold, g.b_row = 1, g.b_col = ld;
        g.c = u->out, g.c_row = p->taps;
    }
    return g;
}

static tp_code multiply(const plan *p, const unit *u, int64_t first, int64_t rows)
{
    tpi_gemm g = product(p, u, first, rows);
    tpi_run  r = { .threads = p->inner, .ws = p->gemm ? u->gemm : NULL, .ws_size = p->gemm };

    return CPU(gemm)(&r, &g);
}

/* Bytes of the products' workspace: of full blocks of rows, and of the last one. */
static size_t gemm_space(const plan *p)
{
    unit    u = { .beta = 1 };
    tpi_run r = { .threads = p->inner };
    int64_t rest = p->c->out[0] % p->rows;
    size_t  most = 0;

    for (int i = 0; i < 4; i++) {
        tpi_gemm g;
        size_t   size;

        u.beta = i % 2;
        if (i >= 2 && rest == 0)
            break;
        g = product(p, &u, 0, i < 2 ? p->rows : rest);
        size = CPU(gemm_space)(&r, &g);
        most = size > most ? size : most;
    }
    return aligned(most);
}

static plan plan_of(const tpi_run *r, const tpi_window *c, tpi_conv_part part)
{
    plan    p = { .c = c, .part = part, .wide = c->t == TP_F64 ? TP_F64 : TP_F32 };
    int64_t plane = c->in[0] * c->in[1], size;
    double  work;

    p.ins = c->cin / c->groups;
    p.outs = c->cout / c->groups;
    p.taps = p.ins * c->size[0] * c->size[1];
    p.places = c->out[0] * c->out[1];
    p.units = c->n * c->groups;
    p.rows = p.taps * c->out[1] > 0 ? UNFOLDED / (p.taps * c->out[1]) : c->out[0];
    p.rows = p.rows < 1 ? 1 : tpi_min64(p.rows, c->out[0]);
    p.as_is = c->size[0] == 1 && c->size[1] == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->pad[0] == 0 &&
              c->pad[1] == 0;
    work = (double)p.units * (double)p.outs * (double)p.taps * (double)p.places;
    p.threads = work < (double)TPI_PARALLEL_MIN || p.units < r->threads ? 1 : r->threads;
    p.inner = p.threads > 1 ? 1 : r->threads;
    size = tpi_size_of(part == TPI_CONV_DX ? p.wide : c->t);
    p.fold = p.as_is ? 0 : aligned((size_t)(p.taps * p.rows * c->out[1] * size));
    p.plane = part == TPI_CONV_DX && !p.as_is && c->t != p.wide ? aligned((size_t)(p.ins * plane) * sizeof(float)) : 0;
    p.gemm = gemm_space(&p);
    p.sum = part == TPI_CONV_DW && p.threads > 1 ? aligned((size_t)(c->cout * p.taps * tpi_size_of(p.wide))) : 0;
    return p;
}

static size_t per_thread(const plan *p)
{
    return p->fold + p->plane + p->gemm + p->sum;
}

static bool is_empty(const tpi_window *c)
{
    return c->n * c->cin * c->cout == 0;
}

/* ---- one unit ---------------------------------------------------------------------------------------------------- */

static tp_code forward_unit(const plan *p, unit *u, const void *bias)
{
    tp_code code = TP_OK;

    for (int64_t o = 0; bias != NULL && o < p->outs; o++) {
        double v = tpi_load(p->c->t, bias, o);

        for (int64_t i = o * p->places; i < (o + 1) * p->places; i++)
            tpi_store(p->c->t, u->out, i, v);
    }
    u->beta = bias != NULL;
    for (int64_t first = 0; code == TP_OK && first < p->c->out[0]; first += p->rows) {
        if (!p->as_is)
            unfold(p, u->fold, u->x, first, min_rows(p, first));
        code = multiply(p, u, first, min_rows(p, first));
    }
    return code;
}

static tp_code dx_unit(const plan *p, unit *u)
{
    int64_t n = p->ins * p->c->in[0] * p->c->in[1];
    char   *sum = p->plane ? u->plane : u->out;
    tp_code code = TP_OK;

    if (!p->as_is)
        memset(sum, 0, (size_t)(n * tpi_size_of(p->wide)));
    for (int64_t first = 0; code == TP_OK && first < p->c->out[0]; first += p->rows) {
        code = multiply(p, u, first, min_rows(p, first));
        if (code == TP_OK && !p->as_is)
            fold(p, sum, u->fold, first, min_rows(p, first));
    }
    if (p->plane)
        CPU(store_f32)(p->c->t, u->out, 0, 1, n, (const float *)(void *)sum);
    return code;
}

static tp_code dw_unit(const plan *p, unit *u)
{
    tp_code code = TP_OK;

    for (int64_t first = 0; code == TP_OK && first < p->c->out[0]; first += p->rows) {
        if (!p->as_is)
            unfold(p, u->fold, u->x, first, min_rows(p, first));
        code = multiply(p, u, first, min_rows(p, first));
        u->beta = 1;
    }
    return code;
}

/* Where the operands of image i and group g begin. */
static unit unit_of(const plan *p, char *ws, int64_t i, int64_t g, void *out, const void *x, const void *w, const void *dy)
{
    const tpi_window *c = p->c;
    int64_t           plane = c->in[0] * c->in[1], xs = (i * c->cin + g * p->ins) * plane;
    int64_t           ys = (i * c->cout + g * p->outs) * p->places, ws_at = g * p->outs * p->taps;
    unit              u = { .fold = ws, .plane = ws + p->fold, .gemm = ws + p->fold + p->plane };

    u.x = x ? tpi_at(x, c->t, xs) : NULL;
    u.w = w ? tpi_at(w, c->t, ws_at) : NULL;
    u.dy = dy ? tpi_at(dy, c->t, ys) : NULL;
    u.out = p->part == TPI_CONV_Y    ? tpi_at_out(out, c->t, ys)
            : p->part == TPI_CONV_DX ? tpi_at_out(out, c->t, xs)
                                     : tpi_at_out(out, p->wide, ws_at);
    return u;
}

/* ---- the kernels ------------------------------------------------------------------------------------------------- */

size_t CPU(conv_space)(const tpi_run *r, const tpi_window *c, tpi_conv_part part)
{
    plan p;

    if (is_empty(c))
        return 0;
    if (tpi_dnnl_conv_takes(c))
        return tpi_dnnl_conv_space(r, c, part);
    p = plan_of(r, c, part);
    return (size_t)p.threads * per_thread(&p);
}

/* out = 0, all bits */
static void clear(tp_dtype t, void *out, int64_t n)
{
    memset(out, 0, (size_t)(n * tpi_size_of(t)));
}

/* Without channels in, the sums are empty. */
static void only_bias(const tpi_window *c, void *y, const void *b)
{
    int64_t places = c->out[0] * c->out[1];

    for (int64_t i = 0; i < c->n * c->cout * places; i++)
        tpi_store(c->t, y, i, b ? tpi_load(c->t, b, i / places % c->cout) : 0);
}

/* TP_EDTYPE: the products are to do it. */
static tp_code by_onednn(const tpi_run *r, const tpi_window *c, tpi_conv_part part, tpi_conv_operands o)
{
    return tpi_dnnl_conv_takes(c) ? tpi_dnnl_conv(r, c, part, &o) : TP_EDTYPE;
}

tp_code CPU(conv)(const tpi_run *r, const tpi_window *c, void *y, const void *x, const void *w, const void *b)
{
    plan    p;
    void   *own;
    char   *ws;
    int     worst = TP_OK;
    tp_code code;

    if (is_empty(c)) {
        only_bias(c, y, b);
        return TP_OK;
    }
    code = by_onednn(r, c, TPI_CONV_Y, (tpi_conv_operands){ .x = x, .w = w, .b = b, .out = y });
    if (code != TP_EDTYPE)
        return code;
    p = plan_of(r, c, TPI_CONV_Y);
    ws = tpi_scratch(r, (size_t)p.threads * per_thread(&p), &own);
    if (ws == NULL)
        return TP_ENOMEM;
#pragma omp parallel for num_threads(p.threads) if (p.threads > 1) schedule(static) reduction(max : worst)
    for (int64_t k = 0; k < p.units; k++) {
        int64_t g = k % c->groups;
        unit    u = unit_of(&p, ws + (size_t)omp_get_thread_num() * per_thread(&p), k / c->groups, g, y, x, w, NULL);
        int     one = (int)forward_unit(&p, &u, b ? tpi_at(b, c->t, g * p.outs) : NULL);

        worst = one > worst ? one : worst;
    }
    tpi_free(own);
    return (tp_code)worst;
}

tp_code CPU(conv_dx)(const tpi_run *r, const tpi_window *c, void *dx, const void *dy, const void *w)
{
    plan    p;
    void   *own;
    char   *ws;
    int     worst = TP_OK;
    tp_code code;

    if (is_empty(c)) {
        clear(c->t, dx, c->n * c->cin * c->in[0] * c->in[1]);
        return TP_OK;
    }
    code = by_onednn(r, c, TPI_CONV_DX, (tpi_conv_operands){ .dy = dy, .w = w, .out = dx });
    if (code != TP_EDTYPE)
        return code;
    p = plan_of(r, c, TPI_CONV_DX);
    ws = tpi_scratch(r, (size_t)p.threads * per_thread(&p), &own);
    if (ws == NULL)
        return TP_ENOMEM;
#pragma omp parallel for num_threads(p.threads) if (p.threads > 1) schedule(static) reduction(max : worst)
    for (int64_t k = 0; k < p.units; k++) {
        unit u = unit_of(&p, ws + (size_t)omp_get_thread_num() * per_thread(&p), k / c->groups, k % c->groups, dx, NULL, w, dy);
        int  one = (int)dx_unit(&p, &u);

        worst = one > worst ? one : worst;
    }
    tpi_free(own);
    return (tp_code)worst;
}

/* dw += the threads' sums, in their order */
static void add_sums(const plan *p, void *dw, char *ws)
{
    int64_t n = p->c->cout * p->taps;

    for (int i = 0; i < p->threads; i++) {
        const void *sum = ws + (size_t)(i + 1) * per_thread(p) - p->sum;

        if (p->wide == TP_F64)
            add_f64(dw, 1, sum, n);
        else
            add_f32(dw, 1, sum, n);
    }
}

/* Side by side each thread adds up a dw of its own. */
tp_code CPU(conv_dw)(const tpi_run *r, const tpi_window *c, void *dw, const void *dy, const void *x, double beta)
{
    plan  p;
    void *own;
    char *ws;
    int   worst = TP_OK;

    if (!is_empty(c)) {
        tp_code code = by_onednn(r, c, TPI_CONV_DW, (tpi_conv_operands){ .x = x, .dy = dy, .out = dw, .beta = beta });

        if (code != TP_EDTYPE)
            return code;
    }
    p = plan_of(r, c, TPI_CONV_DW);
    if (beta == 0)
        clear(p.wide, dw, c->cout * p.taps);
    if (is_empty(c))
        return TP_OK;
    ws = tpi_scratch(r, (size_t)p.threads * per_thread(&p), &own);
    if (ws == NULL)
        return TP_ENOMEM;
    for (int i = 0; p.sum && i < p.threads; i++)
        memset(ws + (size_t)(i + 1) * per_thread(&p) - p.sum, 0, p.sum);
#pragma omp parallel for num_threads(p.threads) if (p.threads > 1) schedule(static) reduction(max : worst)
    for (int64_t k = 0; k < p.units; k++) {
        char *mine = ws + (size_t)omp_get_thread_num() * per_thread(&p);
        unit  u = unit_of(&p, mine, k / c->groups, k % c->groups, p.sum ? mine + per_thread(&p) - p.sum : dw, x, NULL, dy);
        int   one;

        u.beta = 1;
        one = (int)dw_unit(&p, &u);
        worst = one > worst ? one : worst;
    }
    if (p.sum)
        add_sums(&p, dw, ws);
    tpi_free(own);
    return (tp_code)worst;
}
