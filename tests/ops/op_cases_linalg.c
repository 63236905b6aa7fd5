/* op_cases_linalg.c - samples for sums by equation, diagonals, factorisations and linear equations. */
#include "op_table.h"

static const char *const products[] = { "2x3 3x5", "1x7 7x1", "0x3 3x2", "4x0 0x3", NULL };
static const char *const scores[] = { "2x3x5x4 2x3x7x4", "1x1x2x3 1x1x1x3", NULL };
static const char *const shared[] = { "2x3x4 3x2x4", "1x5x2 5x1x2", NULL };
static const char *const vectors[] = { "3 5", "1 7", NULL };
static const char *const spread[] = { "2x1x3x4 5x4x3", "3x4 4x2", NULL };
static const char *const beside[] = { "2x3 3x1", "5x1 4x5", NULL };
static const char *const squares[] = { "3x3", "1x1", "5x5", NULL };
static const char *const cubes[] = { "3x3x3", "2x2x2", NULL };
static const char *const pages[] = { "2x3x2", "4x1x4", NULL };
static const char *const any_two[] = { "3x5", "5x3", "1x7", "2x4x3", "0x3", NULL };
static const char *const factored[] = { "3x3", "5x3", "3x5", "1x4", "2x4x2", "2x1x2x4", "0x3x3", NULL };
static const char *const definite[] = { "3x3", "1x1", "2x4x4", "0x2x2", NULL };
static const char *const systems[] = { "3x3 3x2", "1x1 1x4", "2x1x3x3 4x3x1", "3x3 2x3x2", "2x3x3 3x2", "0x2x2 2x1", NULL };
static const char *const lines[] = { "3x3 3", "2x4x4 4", NULL };

static tp_tensor *einsum_product(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "ij,jk->ik", in[0], in[1]);
}

static tp_tensor *einsum_scores(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "bhqd,bhkd->bhqk", in[0], in[1]);
}

static tp_tensor *einsum_crossed(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "abc, bad -> dbc", in[0], in[1]);
}

static tp_tensor *einsum_shared(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "abc,bac->cb", in[0], in[1]);
}

static tp_tensor *einsum_all(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "abc,bac->", in[0], in[1]);
}

static tp_tensor *einsum_elements(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "abc,bac->bca", in[0], in[1]);
}

static tp_tensor *einsum_outer(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "i,j", in[0], in[1]);
}

static tp_tensor *einsum_spread(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "...ij,...jk->...ik", in[0], in[1]);
}

static tp_tensor *einsum_gone(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "...ij,...jk->ki", in[0], in[1]);
}

static tp_tensor *einsum_beside(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "ab,ca", in[0], in[1]);
}

static tp_tensor *einsum_trace(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "ii", in[0], NULL);
}

static tp_tensor *einsum_turned(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "ba", in[0], NULL);
}

static tp_tensor *einsum_three(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "iii->i", in[0], NULL);
}

static tp_tensor *einsum_pages(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "i...i->...", in[0], NULL);
}

static tp_tensor *einsum_diagonals(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_einsum(ctx, "ii,ij->ij", in[0], in[0]);
}

static tp_tensor *diagonal(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_diagonal(ctx, in[0], 0, -1, 0);
}

static tp_tensor *diagonal_above(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_diagonal(ctx, in[0], -2, -1, 1);
}

static tp_tensor *diagonal_below(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_diagonal(ctx, in[0], 0, 1, -2);
}

/* Both factors together, so that one result has both gradients. */
static tp_tensor *qr(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *q, *r;

    if (!tp_qr(ctx, in[0], &q, &r))
        return NULL;
    return tp_concat(ctx, TP_IN(tp_transpose(ctx, q, -1, -2), r), -1);
}

static tp_tensor *qr_r(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *r;

    return tp_qr(ctx, in[0], NULL, &r) ? r : NULL;
}

/* u (s^2 + s) vt: the same whatever the signs of u and vt are. */
static tp_tensor *svd(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *u, *s, *vt;

    if (!tp_svd(ctx, in[0], &u, &s, &vt))
        return NULL;
    s = tp_add(ctx, tp_square(ctx, s), s);
    return tp_matmul(ctx, tp_mul(ctx, u, tp_unsqueeze(ctx, s, -2)), vt);
}

static tp_tensor *svd_values(tp_ctx *ctx, tp_tensor *const *in)
{
    tp_tensor *s;

    return tp_svd(ctx, in[0], NULL, &s, NULL) ? s : NULL;
}

/* x + 9 on the diagonal */
static tp_tensor *heavy(tp_ctx *ctx, tp_tensor *x)
{
    return x ? tp_add(ctx, x, tp_scale(ctx, tp_eye(ctx, tp_dtype_of(x), tp_dim(x, -1), tp_dim(x, -1)), 9)) : NULL;
}

static tp_tensor *cholesky(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_cholesky(ctx, tp_dtype_of(in[0]) == TP_BOOL ? in[0] : heavy(ctx, in[0]));
}

static tp_tensor *solve(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_solve(ctx, tp_dtype_of(in[0]) == TP_BOOL ? in[0] : heavy(ctx, in[0]), in[1]);
}

static tp_tensor *inverse(tp_ctx *ctx, tp_tensor *const *in)
{
    return tp_inverse(ctx, tp_dtype_of(in[0]) == TP_BOOL ? in[0] : heavy(ctx, in[0]));
}

const op_case op_cases_linalg[] = {
    { "tp_einsum", "RR", products, OP_GRAD, .fn = einsum_product },
    { "tp_einsum", "RR", scores, OP_GRAD, .fn = einsum_scores },
    { "tp_einsum", "RR", shared, OP_GRAD, .fn = einsum_crossed },
    { "tp_einsum", "RR", shared, OP_GRAD, .fn = einsum_shared },
    { "tp_einsum", "RR", shared, OP_GRAD, .fn = einsum_all },
    { "tp_einsum", "RR", shared, OP_GRAD, .fn = einsum_elements },
    { "tp_einsum", "RR", vectors, OP_GRAD, .fn = einsum_outer },
    { "tp_einsum", "RR", spread, OP_GRAD, .fn = einsum_spread },
    { "tp_einsum", "RR", spread, OP_GRAD, .fn = einsum_gone },
    { "tp_einsum", "RR", beside, OP_GRAD, .fn = einsum_beside },
    { "tp_einsum", "R", squares, OP_GRAD, .fn = einsum_trace },
    { "tp_einsum", "R", squares, OP_GRAD, .fn = einsum_turned },
    { "tp_einsum", "R", squares, OP_GRAD, .fn = einsum_diagonals },
    { "tp_einsum", "R", cubes, OP_GRAD, .fn = einsum_three },
    { "tp_einsum", "R", pages, OP_GRAD, .fn = einsum_pages },
    { "tp_diagonal", "R", any_two, OP_GRAD | OP_INTS, .fn = diagonal },
    { "tp_diagonal", "R", any_two, OP_GRAD | OP_INTS, .fn = diagonal_above },
    { "tp_diagonal", "R", any_two, OP_GRAD | OP_INTS, .fn = diagonal_below },
    { "tp_qr", "R", squares, OP_GRAD | OP_WIDE, .fn = qr },
    { "tp_qr", "R", factored, OP_GRAD | OP_WIDE, .fn = qr_r },
    { "tp_svd", "R", factored, OP_GRAD | OP_WIDE, .fn = svd },
    { "tp_svd", "R", factored, OP_GRAD | OP_WIDE, .fn = svd_values },
    { "tp_cholesky", "R", definite, OP_GRAD | OP_WIDE, .fn = cholesky },
    { "tp_solve", "RR", systems, OP_GRAD | OP_WIDE, .fn = solve },
    { "tp_solve", "RR", lines, OP_GRAD | OP_WIDE, .fn = solve },
    { "tp_inverse", "R", definite, OP_GRAD | OP_WIDE, .fn = inverse },
    { .name = NULL },
};
