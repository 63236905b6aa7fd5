/* linalg.c - factorisations, matrix by matrix through one slot of the back end, and their gradients.  The slot stores by
 * columns, so what goes in and comes out is transposed here.  Gradients call public ops alone and serve both as backward
 * and as backward_ops. */
#include "ops/support.h"

#include <string.h>

enum { WIDE = TPI_BIT(TP_F32) | TPI_BIT(TP_F64) };

/* ---- the slot ---------------------------------------------------------------------------------------------------- */

/* A new tensor of x's leading axes and then rows, or rows and columns (columns < 0: none). */
static tp_tensor *room(tp_ctx *ctx, const tp_tensor *x, int64_t rows, int64_t columns)
{
    int64_t dim[TP_MAX_DIM];
    int     n = x->ndim - 2;

    memcpy(dim, x->dim, sizeof dim);
    dim[n++] = rows;
    if (columns >= 0)
        dim[n++] = columns;
    return tp_empty(ctx, (tp_dtype)x->dtype, n, dim);
}

/* A copy of x by columns. */
static tp_tensor *by_columns(tp_ctx *ctx, tp_tensor *x)
{
    return tpi_copy(ctx, tpi_swapped(ctx, x), (tp_dtype)x->dtype);
}

/* The same back: contiguous by rows. */
static tp_tensor *by_rows(tp_ctx *ctx, tp_tensor *x)
{
    return x ? tpi_copy(ctx, tpi_swapped(ctx, x), (tp_dtype)x->dtype) : NULL;
}

static bool all_finite(tp_ctx *ctx, const char *op, const tp_tensor *rows)
{
    tpi_run r = tpi_run_of(ctx);
    bool    found = false;

    if (!tpi_done(ctx, op, tpi_k(ctx)->nonfinite(&r, (tp_dtype)rows->dtype, rows->data, rows->numel, &found)))
        return false;
    if (found)
        tp_fail(ctx, TP_ENUM, "%s: the matrix has a NaN or Inf", op);
    return !found;
}

static void *no_factor(tp_ctx *ctx, const char *op, const tpi_factor *f, int64_t z)
{
    if (f->kind == TPI_CHOLESKY)
        return tp_fail(ctx, TP_ENUM, "%s: matrix %lld is not positive definite: its leading minor of order %lld is not",
                       op, (long long)z, (long long)f->at);
    if (f->kind == TPI_SOLVE)
        return tp_fail(ctx, TP_ENUM, "%s: matrix %lld is singular: pivot %lld is 0", op, (long long)z,
                       (long long)f->at);
    return tp_fail(ctx, TP_ENUM, "%s: matrix %lld: the iteration did not come to an end", op, (long long)z);
}

static void *step_to(const tp_tensor *x, int64_t z, int64_t each)
{
    return x ? x->data + z * each * (int64_t)tp_dtype_size((tp_dtype)x->dtype) : NULL;
}

/* Runs f on every matrix; tensors are contiguous, x is written to. */
static bool factor_all(tp_ctx *ctx, const char *op, tpi_factor f, tp_tensor *x, tp_tensor *u, tp_tensor *s, tp_tensor *v)
{
    const tpi_kernels *k = tpi_k(ctx);
    bool               tall = f.kind == TPI_QR || f.kind == TPI_SVD;
    int64_t            rows = tall ? f.m : f.n, count, ucol = f.kind == TPI_CHOLESKY ? f.n : f.k;
    tpi_run            r;
    bool               ok;

    if (x == NULL || u == NULL || (f.kind == TPI_SVD && s == NULL) || (tall && v == NULL) || !all_finite(ctx, op, x))
        return false;
    count = tpi_span(x, 0, x->ndim - 2);
    if (x->numel == 0 || u->numel == 0)
        return true;
    f.x = x->data;
    f.u = u->data;
    f.s = step_to(s, 0, 0);
    f.v = step_to(v, 0, 0);
    ok = tpi_run_begin(ctx, &r, k->factor_space(&r, &f));
    for (int64_t z = 0; z < count && ok; z++) {
        tp_code code;

        f.x = step_to(x, z, rows * f.n);
        f.u = step_to(u, z, rows * ucol);
        f.s = step_to(s, z, f.k);
        f.v = step_to(v, z, f.k * f.n);
        code = k->factor(&r, &f);
        ok = code == TP_ENUM ? no_factor(ctx, op, &f, z) != NULL : tpi_done(ctx, op, code);
    }
    tpi_run_end(ctx, &r);
    return ok;
}

static tpi_factor factor_of(tpi_factor_kind kind, const tp_tensor *x)
{
    int64_t m = x->dim[x->ndim - 2], n = x->dim[x->ndim - 1];

    return (tpi_factor){ .kind = kind, .t = (tp_dtype)x->dtype, .m = m, .n = n, .k = m < n ? m : n };
}

static bool may_factor(tp_ctx *ctx, const char *op, const tp_tensor *x, bool square)
{
    char text[96];

    if (!tp_ok(ctx) || !tpi_check(ctx, op, x, 0) || !tpi_can_do(ctx, op, WIDE, (tp_dtype)x->dtype))
        return false;
    if (x->ndim >= 2 && (!square || x->dim[x->ndim - 2] == x->dim[x->ndim - 1]))
        return true;
    tp_fail(ctx, TP_ESHAPE, "%s: expected %s, got %s", op, square ? "[.., n, n]" : "[.., m, n]",
            tp_shape_text(x, text, sizeof text));
    return false;
}

/* ---- words for gradients ----------------------------------------------------------------------------------------- */

static tp_tensor *turned(tp_ctx *ctx, tp_tensor *x)
{
    return tp_transpose(ctx, x, -1, -2);
}

/* a b^-T, b [.., n, n] */
static tp_tensor *over_turned(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return turned(ctx, tp_solve(ctx, b, turned(ctx, a)));
}

static tp_tensor *identity(tp_ctx *ctx, const tp_tensor *x, int64_t n)
{
    return tp_eye(ctx, tp_dtype_of(x), n, n);
}

/* x below its diagonal, half of that on it: what a symmetric matrix is made of. */
static tp_tensor *half_triangle(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *half = tp_scale(ctx, identity(ctx, x, tp_dim(x, -1)), 0.5);

    return tp_sub(ctx, tp_tril(ctx, x, 0), tp_mul(ctx, x, half));
}

/* a + b, where either may be NULL: nothing. */
static tp_tensor *plus(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    return a == NULL ? b : b == NULL ? a : tp_add(ctx, a, b);
}

/* ---- QR ---------------------------------------------------------------------------------------------------------- */

static tp_tensor *qr_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = c->in[0];
    tpi_factor f = factor_of(TPI_QR, x);
    tp_tensor *q = room(ctx, x, f.k, f.m), *r = room(ctx, x, f.n, f.k);

    c->keep = TP_KEEP_OUT(0) | TP_KEEP_OUT(1);
    if (!factor_all(ctx, "qr", f, by_columns(ctx, x), q, NULL, r))
        return NULL;
    c->out[1] = by_rows(ctx, r);
    return by_rows(ctx, q);
}

/*
 * For m >= n, with M = r dr^T - dq^T q and sym(M) the symmetric matrix that has M's lower triangle:
 *
 *       dx = (dq + q sym(M)) r^-T
 *
 * A wide x = [a, b] has r = [u, v] with v = q^T b: the gradient of v goes to b by q dv and to q by b dv^T.
 */
static void qr_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *q = c->out[0], *r = c->out[1], *dq = dy[0], *dr = dy[1], *m = NULL, *wide = NULL;
    int64_t    k = tp_dim(r, -2), n = tp_dim(r, -1);

    if (k < n) {
        tp_tensor *v = tp_narrow(ctx, r, -1, k, n - k), *dv = dr ? tp_narrow(ctx, dr, -1, k, n - k) : NULL;

        if (dv != NULL)
            dq = plus(ctx, dq, tp_matmul(ctx, tp_matmul(ctx, q, v), turned(ctx, dv)));
        wide = dv ? tp_matmul(ctx, q, dv) : tp_zeros_like(ctx, tp_matmul(ctx, q, v));
        r = tp_narrow(ctx, r, -1, 0, k);
        dr = dr ? tp_narrow(ctx, dr, -1, 0, k) : NULL;
    }
    if (dr != NULL)
        m = tp_matmul(ctx, r, turned(ctx, dr));
    if (dq != NULL)
        m = plus(ctx, m, tp_neg(ctx, tp_matmul(ctx, turned(ctx, dq), q)));
    m = half_triangle(ctx, m);
    m = tp_matmul(ctx, q, tp_add(ctx, m, turned(ctx, m)));
    dx[0] = over_turned(ctx, plus(ctx, m, dq), r);
    if (wide != NULL)
        dx[0] = tp_concat(ctx, TP_IN(dx[0], wide), -1);
}

static const tp_op qr_op = { "qr", 0, 2, 0, qr_forward, qr_backward, qr_backward };

bool tp_qr(tp_ctx *ctx, tp_tensor *x, tp_tensor **q, tp_tensor **r)
{
    tp_tensor *out[2] = { NULL, NULL };

    if (may_factor(ctx, "qr", x, false))
        tp_apply_n(ctx, &qr_op, NULL, TP_IN(x), out);
    if (q != NULL)
        *q = out[0];
    if (r != NULL)
        *r = out[1];
    return tp_ok(ctx);
}

/* ---- SVD --------------------------------------------------------------------------------------------------------- */

static tp_tensor *svd_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = c->in[0];
    tpi_factor f = factor_of(TPI_SVD, x);
    tp_tensor *u = room(ctx, x, f.k, f.m), *s = room(ctx, x, f.k, -1), *v = room(ctx, x, f.n, f.k);

    c->keep = TP_KEEP_OUT(0) | TP_KEEP_OUT(1) | TP_KEEP_OUT(2);
    if (!factor_all(ctx, "svd", f, by_columns(ctx, x), u, s, v))
        return NULL;
    c->out[1] = s;
    c->out[2] = by_rows(ctx, v);
    return by_rows(ctx, u);
}

/* (a - a^T) / e with a = p^T q, e[i, j] = s[j]^2 - s[i]^2 and 1 on the diagonal. */
static tp_tensor *turning(tp_ctx *ctx, tp_tensor *p, tp_tensor *q, tp_tensor *e)
{
    tp_tensor *a = tp_matmul(ctx, turned(ctx, p), q);

    return tp_div(ctx, tp_sub(ctx, a, turned(ctx, a)), e);
}

/* What of g stands outside of the space of u's columns: g - u u^T g. */
static tp_tensor *outside(tp_ctx *ctx, tp_tensor *g, tp_tensor *u)
{
    return tp_sub(ctx, g, tp_matmul(ctx, u, tp_matmul(ctx, turned(ctx, u), g)));
}

/*
 *       dx = u (U s + s V + diag(ds)) v^T + (1 - u u^T) du s^-1 v^T + u s^-1 dv^T (1 - v v^T)
 *
 * with U and V the turnings of u and du, v and dv; the last two only where x is tall, wide.
 */
static void svd_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *u = c->out[0], *s = c->out[1], *vt = c->out[2], *v = turned(ctx, vt), *inner = NULL, *e, *one;
    tp_tensor *row = tp_unsqueeze(ctx, s, -2), *column = tp_unsqueeze(ctx, s, -1), *dv = NULL, *y = NULL;
    int64_t    k = tp_dim(s, -1);

    one = identity(ctx, s, k);
    e = tp_add(ctx, tp_sub(ctx, tp_square(ctx, row), tp_square(ctx, column)), one);
    if (dy[2] != NULL)
        dv = turned(ctx, dy[2]);
    if (dy[0] != NULL)
        inner = tp_mul(ctx, turning(ctx, u, dy[0], e), row);
    if (dv != NULL)
        inner = plus(ctx, inner, tp_mul(ctx, column, turning(ctx, v, dv, e)));
    if (dy[1] != NULL)
        inner = plus(ctx, inner, tp_mul(ctx, tp_unsqueeze(ctx, dy[1], -1), one));
    if (inner == NULL)
        return;
    y = tp_matmul(ctx, tp_matmul(ctx, u, inner), vt);
    if (dy[0] != NULL && tp_dim(u, -2) > k)
        y = tp_add(ctx, y, tp_matmul(ctx, outside(ctx, tp_div(ctx, dy[0], row), u), vt));
    if (dv != NULL && tp_dim(vt, -1) > k)
        y = tp_add(ctx, y, tp_matmul(ctx, u, turned(ctx, outside(ctx, tp_div(ctx, dv, row), v))));
    dx[0] = y;
}

static const tp_op svd_op = { "svd", 0, 3, 0, svd_forward, svd_backward, svd_backward };

bool tp_svd(tp_ctx *ctx, tp_tensor *x, tp_tensor **u, tp_tensor **s, tp_tensor **vt)
{
    tp_tensor *out[3] = { NULL, NULL, NULL }, **to[3] = { u, s, vt };

    if (may_factor(ctx, "svd", x, false))
        tp_apply_n(ctx, &svd_op, NULL, TP_IN(x), out);
    for (int i = 0; i < 3; i++)
        if (to[i] != NULL)
            *to[i] = out[i];
    return tp_ok(ctx);
}

/* ---- Cholesky ---------------------------------------------------------------------------------------------------- */

static tp_tensor *cholesky_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *x = c->in[0], *both = tp_scale(ctx, tp_add(ctx, x, tpi_swapped(ctx, x)), 0.5);
    tp_tensor *y = tp_like(ctx, x);

    c->keep = TP_KEEP_OUT(0);
    return factor_all(ctx, "cholesky", factor_of(TPI_CHOLESKY, x), both, y, NULL, NULL) ? by_rows(ctx, y) : NULL;
}

/* dx = sym(l^-T P l^-1) with P the lower triangle of l^T dl, half of its diagonal, and sym(a) = (a + a^T) / 2. */
static void cholesky_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *l = c->out[0], *lt = turned(ctx, l), *p = half_triangle(ctx, tp_matmul(ctx, lt, dy[0]));

    p = over_turned(ctx, tp_solve(ctx, lt, p), lt);
    dx[0] = tp_scale(ctx, tp_add(ctx, p, turned(ctx, p)), 0.5);
}

static const tp_op cholesky_op = { "cholesky", 0, 1, 0, cholesky_forward, cholesky_backward, cholesky_backward };

tp_tensor *tp_cholesky(tp_ctx *ctx, tp_tensor *x)
{
    return may_factor(ctx, "cholesky", x, true) ? tp_apply(ctx, &cholesky_op, NULL, TP_IN(x)) : NULL;
}

/* ---- solve ------------------------------------------------------------------------------------------------------- */

/* a and b of equal leading axes. */
static tp_tensor *solve_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *a = c->in[0], *y = by_columns(ctx, c->in[1]);
    tpi_factor f = factor_of(TPI_SOLVE, a);

    f.k = tp_dim(c->in[1], -1);
    c->keep = TP_KEEP_IN(0) | (tp_wants(c, 0) ? TP_KEEP_OUT(0) : 0);
    return factor_all(ctx, c->op->name, f, by_columns(ctx, a), y, NULL, NULL) ? by_rows(ctx, y) : NULL;
}

/* db = a^-T dy, da = -db y^T */
static void solve_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *g = tp_solve(ctx, turned(ctx, c->in[0]), dy[0]);

    if (tp_wants(c, 0))
        dx[0] = tp_neg(ctx, tp_matmul(ctx, g, turned(ctx, c->out[0])));
    if (tp_wants(c, 1))
        dx[1] = g;
}

static const tp_op solve_op = { "solve", 0, 1, 0, solve_forward, solve_backward, solve_backward };
static const tp_op inverse_op = { "inverse", 0, 1, 0, solve_forward, solve_backward, solve_backward };

/* x with the leading axes of the two, its last two being its own. */
static tp_tensor *with_leading(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim)
{
    int64_t own[TP_MAX_DIM];

    memcpy(own, dim, (size_t)ndim * sizeof *own);
    own[ndim - 2] = x->dim[x->ndim - 2];
    own[ndim - 1] = x->dim[x->ndim - 1];
    if (ndim == x->ndim && memcmp(own, x->dim, (size_t)ndim * sizeof *own) == 0)
        return x;
    return tp_broadcast_to(ctx, x, ndim, own);
}

/* The leading axes of both, broadcast; the last two are to be ignored. */
static bool leading(const tp_tensor *a, const tp_tensor *b, int *ndim, int64_t *dim)
{
    *ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int i = 3; i <= *ndim; i++) {
        int64_t da = i <= a->ndim ? a->dim[a->ndim - i] : 1, db = i <= b->ndim ? b->dim[b->ndim - i] : 1;

        if (da != db && da != 1 && db != 1)
            return false;
        dim[*ndim - i] = da == 1 ? db : da;
    }
    return true;
}

tp_tensor *tp_solve(tp_ctx *ctx, tp_tensor *a, tp_tensor *b)
{
    int64_t    dim[TP_MAX_DIM] = { 0 };
    int        ndim;
    tp_tensor *x = b;

    if (!may_factor(ctx, "solve", a, true) || !tpi_check(ctx, "solve", b, 1) || !tpi_same_dtype(ctx, "solve", a, b))
        return NULL;
    if (b->ndim == 0 || b->dim[b->ndim > 1 ? b->ndim - 2 : 0] != a->dim[a->ndim - 1])
        return tpi_fail_shapes(ctx, "solve", "expected a [.., n, n] and b [.., n, k] or [n]", a, b);
    if (b->ndim == 1)
        x = tp_unsqueeze(ctx, b, 1);
    if (x == NULL)
        return NULL;
    if (!leading(a, x, &ndim, dim))
        return tpi_fail_shapes(ctx, "solve", "leading axes must broadcast", a, b);
    x = tp_apply(ctx, &solve_op, NULL, TP_IN(with_leading(ctx, a, ndim, dim), with_leading(ctx, x, ndim, dim)));
    return b->ndim == 1 ? tp_squeeze(ctx, x, -1) : x;
}

tp_tensor *tp_inverse(tp_ctx *ctx, tp_tensor *a)
{
    tp_tensor *one;

    if (!may_factor(ctx, "inverse", a, true))
        return NULL;
    one = identity(ctx, a, a->dim[a->ndim - 1]);
    if (one != NULL && a->ndim > 2)
        one = tp_broadcast_to(ctx, one, a->ndim, a->dim);
    return tp_apply(ctx, &inverse_op, NULL, TP_IN(a, one));
}
