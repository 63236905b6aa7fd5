/*
 * copy_cpu.c - copy with conversion, and fill.
 */
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/span.h"

#include "core/number.h"

typedef struct {
    const tpi_nd *nd;
    tp_dtype      yt, xt;
    void         *y;
    const void   *x;
    int64_t       ys, xs;
} copy_args;

/* ---- the same dtype: bytes are moved ----------------------------------------------------------------------------------- */

static void move_strided(int64_t size, void *y, int64_t ys, const void *x, int64_t xs, int64_t n)
{
    if (size == 4) {
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)y)[i * ys] = ((const uint32_t *)x)[i * xs];
    } else if (size == 2) {
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)y)[i * ys] = ((const uint16_t *)x)[i * xs];
    } else if (size == 8) {
        for (int64_t i = 0; i < n; i++)
            ((uint64_t *)y)[i * ys] = ((const uint64_t *)x)[i * xs];
    } else {
        for (int64_t i = 0; i < n; i++)
            ((uint8_t *)y)[i * ys] = ((const uint8_t *)x)[i * xs];
    }
}

static void move_span(const void *args, const int64_t *at, int64_t n)
{
    const copy_args *c = args;
    void            *y = tpi_at_out(c->y, c->yt, at[0]);
    const void      *x = tpi_at(c->x, c->xt, at[1]);

    if (c->ys == 1 && c->xs == 1)
        memcpy(y, x, (size_t)(n * tpi_size_of(c->yt)));
    else
        move_strided(tpi_size_of(c->yt), y, c->ys, x, c->xs, n);
}

/* ---- transposes: by tiles, turned in a buffer, so that memory is read and written along its rows ------------------------ */

enum { TILE = 32, PITCH = TILE + 1 }; /* an odd pitch: columns of the buffer do not fall on one set of the cache */

typedef struct {
    int64_t     size, rows, cols; /* of a tile of y */
    char       *y;
    const char *x;
    int64_t     ys, xs; /* from row to row of y, from column to column of x, in elements */
} tile;

static void turn(const tile *t)
{
    uint64_t buf[TILE * PITCH];

    for (int64_t j = 0; j < t->cols; j++)
        memcpy((char *)buf + j * PITCH * t->size, t->x + j * t->xs * t->size, (size_t)(t->rows * t->size));
    for (int64_t i = 0; i < t->rows; i++)
        move_strided(t->size, t->y + i * t->ys * t->size, 1, (char *)buf + i * t->size, PITCH, t->cols);
}

/* The last two dimensions swapped: y's rows are contiguous, x's columns are.  Items are bands of TILE rows of y. */
static void transpose_part(const void *args, int64_t begin, int64_t end)
{
    const copy_args *c = args;
    const tpi_nd    *nd = c->nd;
    int              last = nd->ndim - 1;
    int64_t          rows = nd->dim[last - 1], n = nd->dim[last], bands = tpi_ceil_div(rows, TILE);

    for (int64_t i = begin; i < end; i++) {
        int64_t row = i % bands * TILE, outer = i / bands, ya = row * nd->stride[0][last - 1], xa = row;
        tile    t = {
            .size = tpi_size_of(c->yt), .rows = tpi_min64(TILE, rows - row), .ys = nd->stride[0][last - 1], .xs = c->xs,
        };

        for (int d = last - 2; d >= 0; d--) {
            ya += outer % nd->dim[d] * nd->stride[0][d];
            xa += outer % nd->dim[d] * nd->stride[1][d];
            outer /= nd->dim[d];
        }
        for (int64_t j = 0; j < n; j += TILE) {
            t.cols = tpi_min64(TILE, n - j);
            t.y = tpi_at_out(c->y, c->yt, ya + j);
            t.x = tpi_at(c->x, c->xt, xa + j * c->xs);
            turn(&t);
        }
    }
}

static bool is_transpose(const copy_args *c)
{
    const tpi_nd *nd = c->nd;
    int           last = nd->ndim - 1;

    return last >= 1 && c->ys == 1 && c->xs > 1 && nd->stride[1][last - 1] == 1 && nd->dim[last - 1] >= 4;
}

/* ---- conversions ------------------------------------------------------------------------------------------------------- */

static void convert_floats(const copy_args *c, int64_t ya, int64_t xa, int64_t n)
{
    float        ybuf[TPI_CHUNK], xbuf[TPI_CHUNK], *y = tpi_out_f32(ybuf, c->yt, c->y, ya, c->ys);
    const float *x;

    /* One side is f32 in most cases: then it is converted in place, without a buffer. */
    if (y != ybuf) {
        CPU(load_f32)(y, c->xt, c->x, xa, c->xs, n);
        return;
    }
    x = tpi_in_f32(xbuf, c->xt, c->x, xa, c->xs, n);
    CPU(store_f32)(c->yt, c->y, ya, c->ys, n, x);
}

static void convert_doubles(const copy_args *c, int64_t ya, int64_t xa, int64_t n)
{
    double buf[TPI_CHUNK];

    CPU(store_f64)(c->yt, c->y, ya, c->ys, n, tpi_in_f64(buf, c->xt, c->x, xa, c->xs, n));
}

/* To integers saturating, to bool x != 0, to floats rounded once. */
static void store_whole(tp_dtype t, void *y, int64_t i, int64_t v)
{
    if (t == TP_I32)
        v = v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v;
    else if (t == TP_U8)
        v = v < 0 ? 0 : v > 255 ? 255 : v;
    else if (t == TP_BOOL)
        v = v != 0;
    if (tpi_is_int(t))
        tpi_store_int(t, y, i, v);
    else if (t == TP_F32)
        ((float *)y)[i] = (float)v; /* through double numbers beyond 2^53 would be rounded twice */
    else
        tpi_store(t, y, i, (double)v);
}

static void convert_span(const void *args, const int64_t *at, int64_t n)
{
    const copy_args *c = args;

    for (int64_t i = 0; i < n; i += TPI_CHUNK) {
        int64_t m = tpi_min64(TPI_CHUNK, n - i), ya = at[0] + i * c->ys, xa = at[1] + i * c->xs;

        if (tpi_is_f32ish(c->yt) && tpi_is_f32ish(c->xt))
            convert_floats(c, ya, xa, m);
        else if (!tpi_is_int(c->xt))
            convert_doubles(c, ya, xa, m);
        else
            for (int64_t j = 0; j < m; j++)
                store_whole(c->yt, c->y, ya + j * c->ys, tpi_load_int(c->xt, c->x, xa + j * c->xs));
    }
}

tp_code CPU(copy)(const tpi_run *r, const tpi_nd *nd, tp_dtype yt, void *y, tp_dtype xt, const void *x)
{
    copy_args c = { nd, yt, xt, y, x, tpi_step_of(nd, 0), tpi_step_of(nd, 1) };

    if (yt != xt) {
        CPU(walk)(r, nd, 2, convert_span, &c);
    } else if (is_transpose(&c)) {
        int64_t all = tpi_numel(nd), rows = nd->dim[nd->ndim - 2], n = nd->dim[nd->ndim - 1];

        if (all > 0)
            CPU(parallel)(r, all / (rows * n) * tpi_ceil_div(rows, TILE), all, transpose_part, &c);
    } else {
        CPU(walk)(r, nd, 2, move_span, &c);
    }
    return TP_OK;
}

/* ---- fill ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t  size, n;
    uint64_t bits; /* of the value, in its first size bytes */
    void    *y;
} fill_args;

static void fill_part(const void *args, int64_t begin, int64_t end)
{
    const fill_args *f = args;
    int64_t          first = begin * TPI_PIECE, last = tpi_min64(end * TPI_PIECE, f->n);

    if (f->bits == 0 || f->size == 1) {
        memset((char *)f->y + first * f->size, (int)(f->bits & 0xffu), (size_t)((last - first) * f->size));
    } else if (f->size == 2) {
        for (int64_t i = first; i < last; i++)
            ((uint16_t *)f->y)[i] = (uint16_t)f->bits;
    } else if (f->size == 4) {
        for (int64_t i = first; i < last; i++)
            ((uint32_t *)f->y)[i] = (uint32_t)f->bits;
    } else {
        for (int64_t i = first; i < last; i++)
            ((uint64_t *)f->y)[i] = f->bits;
    }
}

tp_code CPU(fill)(const tpi_run *r, tp_dtype t, void *y, int64_t n, double value, int64_t i)
{
    fill_args f = { .size = tpi_size_of(t), .n = n, .y = y };
    union { uint16_t h; uint32_t w; uint64_t d; } u = { .d = 0 };

    if (t == TP_BOOL)
        tpi_store_int(t, &u, 0, value != 0 || i != 0);
    else if (tpi_is_int(t))
        tpi_store_int(t, &u, 0, i);
    else
        tpi_store(t, &u, 0, value);
    f.bits = f.size == 2 ? u.h : f.size == 4 ? u.w : f.size == 1 ? u.h & 0xffu : u.d;
    CPU(parallel)(r, tpi_ceil_div(n, TPI_PIECE), n, fill_part, &f);
    return TP_OK;
}
