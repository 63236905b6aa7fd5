/* golden_more.c - more ops that are called with arguments from a line of ops.jsonl: moves, order, losses, algebra. */
#include "golden_call.h"

#include <string.h>

static double real(const tpi_json *a, const char *key)
{
    return tpi_json_real(tpi_json_get(a, key));
}

static int64_t whole(const tpi_json *a, const char *key)
{
    return tpi_json_integer(tpi_json_get(a, key));
}

static bool flag(const tpi_json *a, const char *key)
{
    return tpi_json_true(tpi_json_get(a, key));
}

static const char *text(const tpi_json *a, const char *key)
{
    return tpi_json_string(tpi_json_get(a, key), NULL);
}

static int list(const tpi_json *a, const char *key, int64_t v[TP_MAX_DIM])
{
    const tpi_json *l = tpi_json_get(a, key);
    int             n = 0;

    for (; n < TP_MAX_DIM && n < (int)tpi_json_size(l); n++)
        v[n] = tpi_json_integer(tpi_json_at(l, (size_t)n));
    return n;
}

static int axes(const tpi_json *a, int axis[TP_MAX_DIM])
{
    int64_t v[TP_MAX_DIM];
    int     n = list(a, "axes", v);

    for (int i = 0; i < n; i++)
        axis[i] = (int)v[i];
    return n;
}

static tp_tensor *any(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int axis[TP_MAX_DIM], k = axes(a, axis);

    (void)n;
    return tp_any(ctx, in[0], axis, k, flag(a, "keepdim"));
}

static tp_tensor *all(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int axis[TP_MAX_DIM], k = axes(a, axis);

    (void)n;
    return tp_all(ctx, in[0], axis, k, flag(a, "keepdim"));
}

static tp_tensor *argmax(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_argmax(ctx, in[0], (int)whole(a, "axis"), flag(a, "keepdim"));
}

static tp_tensor *argmin(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_argmin(ctx, in[0], (int)whole(a, "axis"), flag(a, "keepdim"));
}

static tp_tensor *transpose(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_transpose(ctx, in[0], (int)whole(a, "a"), (int)whole(a, "b"));
}

static tp_tensor *flatten(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_flatten(ctx, in[0], (int)whole(a, "first"), (int)whole(a, "last"));
}

static tp_tensor *squeeze(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_squeeze(ctx, in[0], (int)whole(a, "axis"));
}

static tp_tensor *unsqueeze(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_unsqueeze(ctx, in[0], (int)whole(a, "axis"));
}

static tp_tensor *view(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int64_t dim[TP_MAX_DIM];
    int     k = list(a, "dim", dim);

    (void)n;
    return tp_view(ctx, in[0], k, dim);
}

static tp_tensor *expand(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int64_t dim[TP_MAX_DIM];
    int     k = list(a, "dim", dim);

    (void)n;
    return tp_expand(ctx, in[0], k, dim);
}

static tp_tensor *narrow(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_narrow(ctx, in[0], (int)whole(a, "axis"), whole(a, "start"), whole(a, "length"));
}

static tp_tensor *select_one(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_select(ctx, in[0], (int)whole(a, "axis"), whole(a, "index"));
}

/* The pieces in reverse order, joined again. */
static tp_tensor *joined_back(tp_ctx *ctx, tp_tensor **y, int k, int axis)
{
    tp_tensor *back[TP_MAX_DIM];

    for (int i = 0; i < k; i++)
        back[i] = y[k - 1 - i];
    return tp_concat(ctx, k, back, axis);
}

static tp_tensor *split(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int64_t    size[TP_MAX_DIM];
    int        k = list(a, "size", size), axis = (int)whole(a, "axis");
    tp_tensor *y[TP_MAX_DIM];

    (void)n;
    return tp_split(ctx, in[0], axis, k, size, y) ? joined_back(ctx, y, k, axis) : NULL;
}

static tp_tensor *chunk(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int        k = (int)whole(a, "n"), axis = (int)whole(a, "axis");
    tp_tensor *y[TP_MAX_DIM];

    (void)n;
    return tp_chunk(ctx, in[0], axis, k, y) ? joined_back(ctx, y, k, axis) : NULL;
}

static tp_tensor *flip(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int axis[TP_MAX_DIM], k = axes(a, axis);

    (void)n;
    return tp_flip(ctx, in[0], axis, k);
}

static tp_tensor *roll(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_roll(ctx, in[0], (int)whole(a, "axis"), whole(a, "shift"));
}

static tp_tensor *repeat(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    int64_t count[TP_MAX_DIM];
    int     k = list(a, "count", count);

    (void)n;
    return tp_repeat(ctx, in[0], k, count);
}

static tp_tensor *tril(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_tril(ctx, in[0], whole(a, "diagonal"));
}

static tp_tensor *triu(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_triu(ctx, in[0], whole(a, "diagonal"));
}

static tp_tensor *diagonal(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_diagonal(ctx, in[0], (int)whole(a, "row"), (int)whole(a, "column"), whole(a, "offset"));
}

static tp_tensor *scatter_add(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_scatter_add(ctx, in[0], (int)whole(a, "axis"), in[1], in[2]);
}

static tp_tensor *one_hot(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_one_hot(ctx, in[0], whole(a, "n"), TP_F32);
}

static tp_tensor *eye(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)in;
    return tp_eye(ctx, TP_F32, whole(a, "n"), whole(a, "m"));
}

static tp_tensor *linspace(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)in;
    return tp_linspace(ctx, TP_F64, real(a, "start"), real(a, "stop"), whole(a, "n"));
}

static tp_tensor *cast(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    for (int t = 0; t < TP_DTYPES; t++)
        if (strcmp(tp_dtype_name((tp_dtype)t), text(a, "t")) == 0)
            return tp_cast(ctx, in[0], (tp_dtype)t);
    return NULL;
}

static tp_tensor *sort(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_sort(ctx, in[0], (int)whole(a, "axis"), flag(a, "descending"), NULL);
}

static tp_tensor *argsort(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_argsort(ctx, in[0], (int)whole(a, "axis"), flag(a, "descending"));
}

static tp_tensor *topk(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    return tp_topk(ctx, in[0], (int)whole(a, "axis"), whole(a, "k"), NULL);
}

static tp_tensor *einsum(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    return tp_einsum(ctx, text(a, "text"), in[0], n > 1 ? in[1] : NULL);
}

static tp_tensor *nll(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_nll(ctx, in[0], in[1], &o);
}

static tp_tensor *l1(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_l1(ctx, in[0], in[1], &o);
}

static tp_tensor *kl_div(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_kl_div(ctx, in[0], in[1], &o);
}

static tp_tensor *huber(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_loss_opts o = { .sum = flag(a, "sum") };

    (void)n;
    return tp_huber(ctx, in[0], in[1], real(a, "delta"), &o);
}

static tp_tensor *add_rmsnorm(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_tensor *h;

    (void)n;
    return tp_add_rmsnorm(ctx, in[0], in[1], in[2], real(a, "eps"), &h);
}

static tp_tensor *svd(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_tensor *u, *s, *vt;

    (void)n;
    if (!tp_svd(ctx, in[0], &u, &s, &vt) || strcmp(text(a, "what"), "values") == 0)
        return s;
    s = tp_add(ctx, tp_square(ctx, s), s);
    return tp_matmul(ctx, tp_mul(ctx, u, tp_unsqueeze(ctx, s, -2)), vt);
}

static tp_tensor *qr(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    tp_tensor *q, *r;

    (void)n;
    if (!tp_qr(ctx, in[0], &q, &r))
        return NULL;
    return strcmp(text(a, "what"), "size") == 0 ? tp_abs(ctx, r) : tp_matmul(ctx, q, r);
}

static tp_tensor *cholesky(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)a;
    return tp_cholesky(ctx, in[0]);
}

static tp_tensor *solve(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)a;
    return tp_solve(ctx, in[0], in[1]);
}

static tp_tensor *inverse(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a)
{
    (void)n;
    (void)a;
    return tp_inverse(ctx, in[0]);
}

const golden_entry golden_more[] = {
    { "cholesky", cholesky },
    { "solve", solve },
    { "inverse", inverse },
    { "any", any },
    { "all", all },
    { "argmax", argmax },
    { "argmin", argmin },
    { "transpose", transpose },
    { "flatten", flatten },
    { "squeeze", squeeze },
    { "unsqueeze", unsqueeze },
    { "view", view },
    { "expand", expand },
    { "narrow", narrow },
    { "select", select_one },
    { "split", split },
    { "chunk", chunk },
    { "flip", flip },
    { "roll", roll },
    { "repeat", repeat },
    { "tril", tril },
    { "triu", triu },
    { "diagonal", diagonal },
    { "scatter_add", scatter_add },
    { "one_hot", one_hot },
    { "eye", eye },
    { "linspace", linspace },
    { "cast", cast },
    { "sort", sort },
    { "argsort", argsort },
    { "topk", topk },
    { "einsum", einsum },
    { "nll", nll },
    { "l1", l1 },
    { "kl_div", kl_div },
    { "huber", huber },
    { "add_rmsnorm", add_rmsnorm },
    { "svd", svd },
    { "qr", qr },
    { NULL, NULL },
};
