/*
 * head_loss.c - a language model's head and its cross-entropy in one op: logits exist for a chunk of rows at a time,
 * and the gradients are made right there, where the logits are; contract in loss.h.
 */
#include "ops/support.h"

enum { CHUNK = 256 }; /* rows: enough for the product to run at full speed */

typedef struct { double smoothing; } head_attr;

/* ---- rows that count --------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t    n;       /* rows with a target */
    tp_tensor *target;  /* i32 [n] */
    tp_tensor *row;     /* i32 [n]: where they stand, or NULL when all count */
} head_rows;

/* Lists the rows with a target, on the host. */
static bool list_rows(tp_ctx *ctx, tp_tensor *target, head_rows *h)
{
    int64_t  all = target->numel;
    int32_t *buf = tpi_alloc(ctx, 2 * (size_t)all, sizeof *buf), *row = buf ? buf + all : NULL;
    bool     ok = buf != NULL && tp_copy_out(ctx, target, TP_I32, buf, (size_t)all * sizeof *buf);

    *h = (head_rows){ 0, NULL, NULL };
    for (int64_t i = 0; ok && i < all; i++)
        if (buf[i] >= 0) {
            row[h->n] = (int32_t)i;
            buf[h->n++] = buf[i];
        }
    if (ok) {
        h->target = tp_from(ctx, TP_I32, TP_SHAPE(h->n), buf);
        h->row = h->n < all ? tp_from(ctx, TP_I32, TP_SHAPE(h->n), row) : NULL;
    }
    tpi_free(buf);
    return ok && tp_ok(ctx);
}

/* Rows [at, at + n) of a contiguous matrix. */
static tp_tensor *rows_of(tp_ctx *ctx, tp_tensor *x, int64_t at, int64_t n)
{
    int64_t d = x ? x->dim[1] : 0;

    return x ? tpi_view(ctx, x, 2, (int64_t[]){ n, d }, NULL, n > 0 ? at * d : 0) : NULL;
}

/* The rows of x that count, number at to at + n: a view, or gathered. */
static tp_tensor *counted(tp_ctx *ctx, tp_tensor *x, const head_rows *h, int64_t at, int64_t n)
{
    tpi_run    r = tpi_run_of(ctx);
    tp_tensor *y;

    if (h->row == NULL)
        return rows_of(ctx, x, at, n);
    y = tp_empty(ctx, (tp_dtype)x->dtype, TP_SHAPE(n, x->dim[1]));
    if (y == NULL)
        return NULL;
    return tpi_done(ctx, "linear_cross_entropy",
                    tpi_k(ctx)->index_rows(&r, (tp_dtype)x->dtype, y->data, x->data, TP_I32,
                                           (const int32_t *)(void *)h->row->data + at, n, x->dim[1]))
               ? y
               : NULL;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_tensor *x, *w;  /* [R, d], [V, d] */
    tp_tensor *logits; /* room for a chunk */
    tp_tensor *loss;   /* [n] */
    tp_tensor *dx, *dw; /* [n, d], [V, d], or NULL */
    double     smoothing;
} head_work;

static bool chunk(tp_ctx *ctx, const head_work *k, const head_rows *h, int64_t at, int64_t n)
{
    const char *op = "linear_cross_entropy";
    tp_tensor  *x = counted(ctx, k->x, h, at, n), *z = rows_of(ctx, k->logits, 0, n);
    tpi_run     r = tpi_run_of(ctx);
    void       *dz = k->dx != NULL || k->dw != NULL ? k->logits->data : NULL;
    char       *loss = k->loss->data + at * (int64_t)tp_dtype_size((tp_dtype)k->loss->dtype);

    if (!tpi_gemm_into(ctx, op, z, x, tpi_swapped(ctx, k->w), 0))
        return false;
    if (!tpi_done(ctx, op,
                  tpi_k(ctx)->cross_entropy(&r, (tp_dtype)k->x->dtype, loss, dz, k->logits->data,
                                            (const int32_t *)(void *)h->target->data + at, n, k->w->dim[0],
                                            k->smoothing, 1)))
        return false;
    if (k->dx != NULL && !tpi_gemm_into(ctx, op, rows_of(ctx, k->dx, at, n), z, k->w, 0))
        return false;
    return k->dw == NULL || tpi_gemm_into(ctx, op, k->dw, tpi_swapped(ctx, z), x, at > 0);
}

/* dx [n, d] of the rows that count, put where they stand; the others get 0. */
static tp_tensor *scattered(tp_ctx *ctx, tp_tensor *dx, const head_rows *h, const tp_tensor *x)
{
    tp_dtype   t = (tp_dtype)x->dtype;
    tpi_run    r = tpi_run_of(ctx);
    tp_tensor *y;

    if (dx == NULL || h->row == NULL)
        return dx;
    y = tp_zeros(ctx, t, TP_SHAPE(x->dim[0], x->dim[1]));
    if (y == NULL)
        return NULL;
    return tpi_done(
               ctx, "linear_cross_entropy",
               tpi_k(ctx)->index_add(&r, t, y->data, x->dim[0], t, dx->data, TP_I32, h->row->data, h->n, x->dim[1]))
               ? y
               : NULL;
}

static bool prepare(tp_ctx *ctx, tp_call *c, const head_rows *h, head_work *k)
{
    tp_dtype t = (tp_dtype)c->in[0]->dtype, wide = tpi_wide(t);
    int64_t  d = c->in[1]->dim[1], v = c->in[1]->dim[0];

    k->x = tpi_as_rows(ctx, tpi_rows(ctx, c->in[0]));
    k->w = tpi_rows(ctx, c->in[1]);
    k->logits = tp_empty(ctx, t, TP_SHAPE(h->n < CHUNK ? h->n : CHUNK, v));
    k->loss = tp_empty(ctx, wide, TP_SHAPE(h->n));
    k->dx = tp_wants(c, 0) ? tp_empty(ctx, t, TP_SHAPE(h->n, d)) : NULL;
    k->dw = tp_wants(c, 1) ? tp_empty(ctx, wide, TP_SHAPE(v, d)) : NULL;
    if (k->dw != NULL && h->n == 0)
        tpi_zero(ctx, "linear_cross_entropy", k->dw);
    return tp_ok(ctx);
}

static tp_tensor *head_forward(tp_ctx *ctx, tp_call *c)
{
    const head_attr *a = c->attr;
    head_work        k = { .smoothing = a->smoothing };
    head_rows        h;

    if (!list_rows(ctx, c->in[2], &h) || !prepare(ctx, c, &h, &k))
        return NULL;
    for (int64_t at = 0; at < h.n; at += CHUNK) {
        tp_scope s = tp_scope_begin(ctx);
        bool     ok = chunk(ctx, &k, &h, at, h.n - at < CHUNK ? h.n - at : CHUNK);

        tp_scope_end(ctx, s);
        if (!ok)
            return NULL;
    }
    c->saved[0] = scattered(ctx, k.dx, &h, k.x);
    c->saved[1] = k.dw;
    return tp_sum(ctx, k.loss, TP_ALL_AXES, false);
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* g += scale dw, a piece at a time: dw may be the largest tensor of all. */
static void add_scaled(tp_ctx *ctx, tp_tensor *g, tp_tensor *dw, double scale)
{
    int64_t step = 1 + ((int64_t)1 << 20) / (dw->dim[1] + 1);

    for (int64_t at = 0; at < dw->dim[0] && tp_ok(ctx); at += step) {
        int64_t  n = dw->dim[0] - at < step ? dw->dim[0] - at : step;
        tp_scope s = tp_scope_begin(ctx);

        tpi_add_into(ctx, "linear_cross_entropy", rows_of(ctx, g, at, n), 1,
                     tp_scale(ctx, rows_of(ctx, dw, at, n), scale));
        tp_scope_end(ctx, s);
    }
}

static void head_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    double scale = tp_item(ctx, dy[0]), beta;

    if (tp_wants(c, 0))
        dx[0] = tp_reshape(ctx, tp_scale(ctx, c->saved[0], scale), c->in[0]->ndim, c->in[0]->dim);
    if (tp_wants(c, 1)) {
        tp_tensor *g = tpi_wide_grad(ctx, c, 1, dx, &beta);
        tpi_run    r = tpi_run_of(ctx);
        tpi_nd     nd;

        if (g == NULL)
            return;
        if (beta != 0) {
            add_scaled(ctx, g, c->saved[1], scale);
            return;
        }
        tpi_nd_line(&nd, g->numel);
        tpi_done(ctx, c->op->name,
                 tpi_k(ctx)->unary(&r, TPI_SCALE, scale, 0, &nd, (tp_dtype)g->dtype, g->data, c->saved[1]->data));
    }
}

static const tp_op head_op = { "linear_cross_entropy", sizeof(head_attr), 1, 2, head_forward, head_backward, NULL };

tp_tensor *tp_linear_cross_entropy(tp_ctx *ctx, tp_tensor *x, tp_tensor *w, tp_tensor *target, const tp_loss_opts *opts,
                                   tp_tensor **count)
{
    const char        *op = "linear_cross_entropy";
    const tp_loss_opts none = { 0, false };
    int64_t            n;

    if (count != NULL)
        *count = NULL;
    opts = opts ? opts : &none;
    if (!tp_ok(ctx) || !tpi_inputs(ctx, op, 3, (const tp_tensor *const[]){ x, w, target }) ||
        !tpi_can_do(ctx, op, TPI_CAN_FLOAT, (tp_dtype)x->dtype) || !tpi_same_dtype(ctx, op, x, w))
        return NULL;
    if (x->ndim < 1 || w->ndim != 2 || w->dim[1] != x->dim[x->ndim - 1])
        return tpi_fail_shapes(ctx, op, "expected x [.., d] and w [V, d]", x, w);
    if (!tpi_loss_inputs(ctx, op, x, target, w->dim[0], opts, &n))
        return NULL;
    if (count != NULL)
        *count = tpi_scalar(ctx, tpi_wide((tp_dtype)x->dtype), (double)n);
    return tp_apply(ctx, &head_op, &(head_attr){ opts->smoothing }, TP_IN(x, w, target));
}
