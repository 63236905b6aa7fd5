/* einsum.c - reading equations, and composing what they ask for from diagonals, sums, permutations and one product. */
#include "ops/support.h"

#include <string.h>

/* Labels of axes: 52 letters in the order of their codes, then the axes of "..." counted from the last one. */
enum { LETTERS = 52, LABELS = LETTERS + TP_MAX_DIM, ELLIPSIS = -1, TERM = TP_MAX_DIM + 1 };

typedef struct {
    int n;
    int label[TP_MAX_DIM];
} axes;

/* A word of the equation as it stands there. */
typedef struct {
    int n, letters, at; /* at: where it begins */
    int token[TERM];    /* letters, and ELLIPSIS at most once */
} term;

typedef struct {
    const char *text;
    int         n_in, pos;
    bool        arrow; /* out was given */
    term        in[2], out;
    int         spread; /* axes that "..." stands for, the most of both operands */
} equation;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool wrong(tp_ctx *ctx, const equation *e, int at, const char *what)
{
    tp_fail(ctx, TP_EARG, "einsum: \"%.200s\": %s at character %d", e->text, what, at + 1);
    return false;
}

static int letter_of(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -2;
}

static bool add_token(tp_ctx *ctx, equation *e, term *t, int token)
{
    for (int i = 0; token == ELLIPSIS && i < t->n; i++)
        if (t->token[i] == ELLIPSIS)
            return wrong(ctx, e, e->pos, "a second \"...\" of one operand");
    if (t->n == TERM || (token != ELLIPSIS && t->letters == TP_MAX_DIM))
        return wrong(ctx, e, e->pos, "more axes than a tensor can have");
    t->token[t->n++] = token;
    t->letters += token != ELLIPSIS;
    return true;
}

/* One operand or the result, up to a comma, an arrow or the end. */
static bool read_term(tp_ctx *ctx, equation *e, term *t)
{
    *t = (term){ .at = e->pos };
    for (;; e->pos++) {
        char c = e->text[e->pos];

        if (c == '\0' || c == ',' || c == '-')
            return true;
        if (c == ' ')
            continue;
        if (c == '.' && strncmp(e->text + e->pos, "...", 3) == 0) {
            if (!add_token(ctx, e, t, ELLIPSIS))
                return false;
            e->pos += 2;
        } else if (letter_of(c) < 0) {
            return wrong(ctx, e, e->pos, "expected a letter, \"...\", \",\" or \"->\"");
        } else if (!add_token(ctx, e, t, letter_of(c))) {
            return false;
        }
    }
}

static bool read_equation(tp_ctx *ctx, equation *e)
{
    for (;;) {
        if (e->n_in == 2)
            return wrong(ctx, e, e->pos, "a third operand");
        if (!read_term(ctx, e, &e->in[e->n_in++]))
            return false;
        if (e->text[e->pos] != ',')
            break;
        e->pos++;
    }
    if (e->text[e->pos] == '-') {
        if (e->text[e->pos + 1] != '>')
            return wrong(ctx, e, e->pos, "expected \"->\"");
        e->pos += 2;
        e->arrow = true;
        if (!read_term(ctx, e, &e->out))
            return false;
    }
    return e->text[e->pos] == '\0' || wrong(ctx, e, e->pos, "the result ends here, but the equation goes on");
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

static int find(const axes *a, int label)
{
    for (int i = 0; i < a->n; i++)
        if (a->label[i] == label)
            return i;
    return -1;
}

/* The axes of a term in which "..." stands for `spread` axes. */
static bool expand(tp_ctx *ctx, const equation *e, const term *t, int spread, axes *a)
{
    a->n = 0;
    for (int i = 0; i < t->n; i++) {
        int count = t->token[i] == ELLIPSIS ? spread : 1;

        if (a->n + count > TP_MAX_DIM)
            return wrong(ctx, e, t->at, "more axes than a tensor can have");
        for (int k = count; k-- > 0;)
            a->label[a->n++] = t->token[i] == ELLIPSIS ? LETTERS + k : t->token[i];
    }
    return true;
}

/* The axes of operand i, whose tensor is x. */
static bool operand_axes(tp_ctx *ctx, equation *e, int i, const tp_tensor *x, axes *a)
{
    const term *t = &e->in[i];
    int         spread = x->ndim - t->letters;
    char        text[96], what[200];

    if (spread < 0 || (t->n == t->letters && spread > 0)) {
        snprintf(what, sizeof what, "%d letters for an operand %s", t->letters, tp_shape_text(x, text, sizeof text));
        return wrong(ctx, e, t->at, what);
    }
    e->spread = spread > e->spread ? spread : e->spread;
    return expand(ctx, e, t, spread, a);
}

/* The axes of the result, written or implied. */
static bool result_axes(tp_ctx *ctx, const equation *e, const axes in[2], axes *out)
{
    int count[LETTERS] = { 0 };

    if (e->arrow) {
        if (!expand(ctx, e, &e->out, e->spread, out))
            return false;
        for (int i = 0; i < out->n; i++) {
            if (find(out, out->label[i]) < i)
                return wrong(ctx, e, e->out.at, "the result names an axis twice");
            if (find(&in[0], out->label[i]) < 0 && find(&in[1], out->label[i]) < 0)
                return wrong(ctx, e, e->out.at, "the result names an axis that no operand has");
        }
        return true;
    }
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < in[k].n; i++)
            if (in[k].label[i] < LETTERS)
                count[in[k].label[i]]++;
    out->n = 0;
    for (int i = e->spread; i-- > 0;)
        out->label[out->n++] = LETTERS + i;
    for (int i = 0; i < LETTERS; i++) {
        if (count[i] == 1 && out->n == TP_MAX_DIM)
            return wrong(ctx, e, e->pos, "the result has more axes than a tensor can have");
        if (count[i] == 1)
            out->label[out->n++] = i;
    }
    return true;
}

/* ---- one operand ------------------------------------------------------------------------------------------------- */

/* Axes i and k go, their label comes to the end. */
static void merge_labels(axes *a, int i, int k)
{
    int label = a->label[i], n = 0;

    for (int d = 0; d < a->n; d++)
        if (d != i && d != k)
            a->label[n++] = a->label[d];
    a->label[n++] = label;
    a->n = n;
}

/* Axes of one letter become their diagonal. */
static tp_tensor *take_diagonals(tp_ctx *ctx, const equation *e, tp_tensor *x, axes *a)
{
    for (int k = 1; k < a->n && x != NULL; k++) {
        int i = find(a, a->label[k]);

        if (i == k)
            continue;
        if (x->dim[i] != x->dim[k])
            return tp_fail(ctx, TP_ESHAPE, "einsum: \"%.200s\": axes %d and %d of one letter are %lld and %lld long",
                           e->text, i, k, (long long)x->dim[i], (long long)x->dim[k]);
        x = tp_diagonal(ctx, x, i, k, 0);
        merge_labels(a, i, k);
        k = 0; /* places have changed */
    }
    return x;
}

/* Sums over what neither the result nor the other operand has. */
static tp_tensor *sum_away(tp_ctx *ctx, tp_tensor *x, axes *a, const axes *other, const axes *out)
{
    int gone[TP_MAX_DIM], n = 0, kept = 0;

    for (int i = 0; i < a->n; i++) {
        if (find(out, a->label[i]) < 0 && find(other, a->label[i]) < 0)
            gone[n++] = i;
        else
            a->label[kept++] = a->label[i];
    }
    a->n = kept;
    return n > 0 ? tp_sum(ctx, x, gone, n, false) : x;
}

/* x with its axes in the order of `to`, all of which it has. */
static tp_tensor *arrange(tp_ctx *ctx, tp_tensor *x, const axes *from, const axes *to)
{
    int  axis[TP_MAX_DIM];
    bool same = true;

    for (int i = 0; i < to->n; i++) {
        axis[i] = find(from, to->label[i]);
        same &= axis[i] == i;
    }
    return same ? x : tp_permute(ctx, x, axis, to->n);
}

/* ---- two operands ------------------------------------------------------------------------------------------------ */

/* Where sizes of a label differ, that of 1 goes: what is left is an axis of the other operand alone. */
static tp_tensor *drop_ones(tp_ctx *ctx, const equation *e, tp_tensor *x, axes *a, const tp_tensor *y, const axes *b)
{
    for (int i = 0; i < a->n && x != NULL && y != NULL; i++) {
        int k = find(b, a->label[i]);

        if (k < 0 || x->dim[i] == y->dim[k] || y->dim[k] == 1)
            continue;
        if (x->dim[i] != 1)
            return tp_fail(ctx, TP_ESHAPE, "einsum: \"%.200s\": axes of one letter are %lld and %lld long", e->text,
                           (long long)x->dim[i], (long long)y->dim[k]);
        x = tp_squeeze(ctx, x, i);
        for (int d = i; d < a->n - 1; d++)
            a->label[d] = a->label[d + 1];
        a->n--;
        i--;
    }
    return x;
}

/* Labels of a, in its order, that are (or are not) in b and in the result. */
static axes pick(const axes *a, const axes *b, bool in_b, const axes *out, bool in_out)
{
    axes p = { 0 };

    for (int i = 0; i < a->n; i++)
        if ((find(b, a->label[i]) >= 0) == in_b && (find(out, a->label[i]) >= 0) == in_out)
            p.label[p.n++] = a->label[i];
    return p;
}

static axes join(const axes *a, const axes *b)
{
    axes j = *a;

    for (int i = 0; i < b->n && j.n < TP_MAX_DIM; i++)
        j.label[j.n++] = b->label[i];
    return j;
}

/* x [batch, g, h], each of several axes or none, with g and h as one axis each; batch as it is where that fits. */
static tp_tensor *as_matrices(tp_ctx *ctx, tp_tensor *x, int batch, int g)
{
    int64_t dim[TP_MAX_DIM];
    int     n = 0;

    if (x == NULL)
        return NULL;
    if (batch + 2 <= TP_MAX_DIM)
        for (int i = 0; i < batch; i++)
            dim[n++] = x->dim[i];
    else
        dim[n++] = tpi_span(x, 0, batch);
    dim[n++] = tpi_span(x, batch, batch + g);
    dim[n++] = tpi_span(x, batch + g, x->ndim);
    return n == x->ndim && g == 1 ? x : tp_reshape(ctx, x, n, dim);
}

/* Without a sum: a [batch, free a, 1 ...] times b [batch, 1 ..., free b]. */
static tp_tensor *product_of_all(tp_ctx *ctx, tp_tensor *a, tp_tensor *b, int batch)
{
    int64_t dim[TP_MAX_DIM];
    int     n, own;

    if (a == NULL || b == NULL)
        return NULL;
    n = a->ndim + b->ndim - batch;
    own = a->ndim - batch;
    for (int i = 0; i < n; i++)
        dim[i] = i < a->ndim ? a->dim[i] : 1;
    a = tp_reshape(ctx, a, n, dim);
    for (int i = 0; i < n; i++)
        dim[i] = i < batch ? b->dim[i] : i < batch + own ? 1 : b->dim[i - own];
    return tp_mul(ctx, a, tp_reshape(ctx, b, n, dim));
}

static tp_tensor *contract(tp_ctx *ctx, tp_tensor *a, axes *la, tp_tensor *b, axes *lb, const axes *out)
{
    axes batch = pick(la, lb, true, out, true), sum = pick(la, lb, true, out, false);
    axes own = pick(la, lb, false, out, true), other = pick(lb, la, false, out, true);
    axes left = join(&batch, &own), right = join(&batch, &sum), all = join(&left, &other);
    tp_tensor *y;
    int64_t    dim[TP_MAX_DIM];

    if (a == NULL || b == NULL)
        return NULL;
    for (int i = 0; i < all.n; i++)
        dim[i] = i < left.n ? a->dim[find(la, all.label[i])] : b->dim[find(lb, all.label[i])];
    left = join(&left, &sum);
    right = join(&right, &other);
    a = arrange(ctx, a, la, &left);
    b = arrange(ctx, b, lb, &right);
    if (sum.n == 0) {
        y = product_of_all(ctx, a, b, batch.n);
    } else {
        y = tp_matmul(ctx, as_matrices(ctx, a, batch.n, own.n), as_matrices(ctx, b, batch.n, sum.n));
        if (tp_ndim(y) != all.n || own.n != 1)
            y = tp_reshape(ctx, y, all.n, dim);
    }
    return y ? arrange(ctx, y, &all, out) : NULL;
}

/* ---- the op ------------------------------------------------------------------------------------------------------ */

static bool may_start(tp_ctx *ctx, equation *e, tp_tensor *a, tp_tensor *b)
{
    if (!tp_ok(ctx) || !tpi_float_input(ctx, "einsum", a))
        return false;
    if (b != NULL && (!tpi_check(ctx, "einsum", b, 1) || !tpi_same_dtype(ctx, "einsum", a, b)))
        return false;
    if (e->text == NULL)
        tp_fail(ctx, TP_EARG, "einsum: there is no equation");
    else if (read_equation(ctx, e) && e->n_in != (b ? 2 : 1))
        tp_fail(ctx, TP_EARG, "einsum: \"%.200s\" has %d operands, given %d", e->text, e->n_in, b ? 2 : 1);
    return tp_ok(ctx);
}

tp_tensor *tp_einsum(tp_ctx *ctx, const char *text, tp_tensor *a, tp_tensor *b)
{
    equation   e = { .text = text };
    axes       in[2] = { { 0 }, { 0 } }, out;
    tp_tensor *x[2] = { a, b };

    if (!may_start(ctx, &e, a, b))
        return NULL;
    for (int i = 0; i < e.n_in; i++)
        if (!operand_axes(ctx, &e, i, x[i], &in[i]))
            return NULL;
    if (!result_axes(ctx, &e, in, &out))
        return NULL;
    for (int i = 0; i < e.n_in; i++)
        x[i] = take_diagonals(ctx, &e, x[i], &in[i]);
    if (b == NULL)
        return x[0] ? arrange(ctx, sum_away(ctx, x[0], &in[0], &in[1], &out), &in[0], &out) : NULL;
    x[0] = drop_ones(ctx, &e, x[0], &in[0], x[1], &in[1]);
    x[1] = drop_ones(ctx, &e, x[1], &in[1], x[0], &in[0]);
    for (int i = 0; i < 2 && x[i] != NULL; i++)
        x[i] = sum_away(ctx, x[i], &in[i], &in[1 - i], &out);
    return contract(ctx, x[0], &in[0], x[1], &in[1], &out);
}
