/*
 * conv_ref.c - convolution of planes and its gradients: every sum written out.
 */
#include "ops/ref/ref.h"

size_t tpi_ref_conv_space(const tpi_run *r, const tpi_window *c, tpi_conv_part part)
{
    (void)r;
    (void)c;
    (void)part;
    return 0;
}

/* Where tap u of place p lies along an axis, or -1 outside. */
static int64_t tap(const tpi_window *c, int axis, int64_t p, int64_t u)
{
    int64_t at = p * c->stride[axis] + u * c->dilation[axis] - c->pad[axis];

    return at >= 0 && at < c->in[axis] ? at : -1;
}

/* Elements of x [n, cin, h, w], w [cout, cin / groups, kh, kw] and y [n, cout, oh, ow]; ch counts within the group. */
static int64_t x_at(const tpi_window *c, int64_t i, int64_t o, int64_t ch, int64_t row, int64_t col)
{
    int64_t group = o / (c->cout / c->groups);

    return ((i * c->cin + group * (c->cin / c->groups) + ch) * c->in[0] + row) * c->in[1] + col;
}

static int64_t w_at(const tpi_window *c, int64_t o, int64_t ch, int64_t u, int64_t v)
{
    return ((o * (c->cin / c->groups) + ch) * c->size[0] + u) * c->size[1] + v;
}

static int64_t y_at(const tpi_window *c, int64_t i, int64_t o, int64_t p, int64_t q)
{
    return ((i * c->cout + o) * c->out[0] + p) * c->out[1] + q;
}

static double one_place(const tpi_window *c, const void *x, const void *w, int64_t i, int64_t o, int64_t p, int64_t q)
{
    double sum = 0;

    for (int64_t ch = 0; ch < c->cin / c->groups; ch++)
        for (int64_t u = 0; u < c->size[0]; u++)
            for (int64_t v = 0; v < c->size[1]; v++) {
                int64_t row = tap(c, 0, p, u), col = tap(c, 1, q, v);

                if (row >= 0 && col >= 0)
                    sum += tpi_load(c->t, x, x_at(c, i, o, ch, row, col)) * tpi_load(c->t, w, w_at(c, o, ch, u, v));
            }
    return sum;
}

tp_code tpi_ref_conv(const tpi_run *r, const tpi_window *c, void *y, const void *x, const void *w, const void *b)
{
    (void)r;
    for (int64_t i = 0; i < c->n; i++)
        for (int64_t o = 0; o < c->cout; o++)
            for (int64_t p = 0; p < c->out[0]; p++)
                for (int64_t q = 0; q < c->out[1]; q++)
                    tpi_store(c->t, y, y_at(c, i, o, p, q),
                              one_place(c, x, w, i, o, p, q) + (b ? tpi_load(c->t, b, o) : 0));
    return TP_OK;
}

/* The place whose tap u lies at `at`, or -1. */
static int64_t place_of(const tpi_window *c, int axis, int64_t at, int64_t u)
{
    int64_t p = at + c->pad[axis] - u * c->dilation[axis];

    return p >= 0 && p % c->stride[axis] == 0 && p / c->stride[axis] < c->out[axis] ? p / c->stride[axis] : -1;
}

/* dx at one place: over the channels o of the group and the taps that lie there. */
static double one_dx(const tpi_window *c, const void *dy, const void *w, int64_t i, int64_t ch, int64_t row, int64_t col)
{
    int64_t outs = c->cout / c->groups, ins = c->cin / c->groups, first = ch / ins * outs;
    double  sum = 0;

    for (int64_t o = first; o < first + outs; o++)
        for (int64_t u = 0; u < c->size[0]; u++)
            for (int64_t v = 0; v < c->size[1]; v++) {
                int64_t p = place_of(c, 0, row, u), q = place_of(c, 1, col, v);

                if (p >= 0 && q >= 0)
                    sum += tpi_load(c->t, dy, y_at(c, i, o, p, q)) * tpi_load(c->t, w, w_at(c, o, ch % ins, u, v));
            }
    return sum;
}

tp_code tpi_ref_conv_dx(const tpi_run *r, const tpi_window *c, void *dx, const void *dy, const void *w)
{
    (void)r;
    for (int64_t i = 0, at = 0; i < c->n; i++)
        for (int64_t ch = 0; ch < c->cin; ch++)
            for (int64_t row = 0; row < c->in[0]; row++)
                for (int64_t col = 0; col < c->in[1]; col++, at++)
                    tpi_store(c->t, dx, at, one_dx(c, dy, w, i, ch, row, col));
    return TP_OK;
}

/* dw of one tap: over the images and places. */
static double one_dw(const tpi_window *c, const void *dy, const void *x, int64_t o, int64_t ch, int64_t u, int64_t v)
{
    double sum = 0;

    for (int64_t i = 0; i < c->n; i++)
        for (int64_t p = 0; p < c->out[0]; p++)
            for (int64_t q = 0; q < c->out[1]; q++) {
                int64_t row = tap(c, 0, p, u), col = tap(c, 1, q, v);

                if (row >= 0 && col >= 0)
                    sum += tpi_load(c->t, dy, y_at(c, i, o, p, q)) * tpi_load(c->t, x, x_at(c, i, o, ch, row, col));
            }
    return sum;
}

tp_code tpi_ref_conv_dw(const tpi_run *r, const tpi_window *c, void *dw, const void *dy, const void *x, double beta)
{
    tp_dtype wide = tpi_ref_wide(c->t);

    (void)r;
    for (int64_t o = 0, at = 0; o < c->cout; o++)
        for (int64_t ch = 0; ch < c->cin / c->groups; ch++)
            for (int64_t u = 0; u < c->size[0]; u++)
                for (int64_t v = 0; v < c->size[1]; v++, at++)
                    tpi_store(wide, dw, at, one_dw(c, dy, x, o, ch, u, v) + (beta == 0 ? 0 : tpi_load(wide, dw, at)));
    return TP_OK;
}
