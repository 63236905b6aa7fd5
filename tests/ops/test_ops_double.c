/*
 * test_ops_double.c - second derivatives: for every differentiable op of the table the gradient of sum((op(x) + 0.3)^2),
 * taken by tp_grad_graph, against central differences of itself; or, where an op has none, one clear error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "op_table.h"

static const double tolerance = 1e-6;

/* Ops that must have one; others may. */
static const char *const promised[] = {
    "tp_add",       "tp_sub",      "tp_mul",          "tp_div",      "tp_pow",     "tp_neg",        "tp_exp",
    "tp_log",       "tp_sqrt",     "tp_pow_scalar",   "tp_tanh",     "tp_sigmoid", "tp_square",     "tp_recip",
    "tp_scale",     "tp_shift",    "tp_sum",          "tp_mean",     "tp_matmul",  "tp_matmul_nt",  "tp_affine",
    "tp_outer",     "tp_dot",      "tp_cast",         "tp_reshape",  "tp_permute", "tp_transpose",  "tp_broadcast_to",
    "tp_slice",     "tp_narrow",   "tp_select",       "tp_concat",   "tp_stack",   "tp_split",      "tp_chunk",
    "tp_pad",       "tp_flip",     "tp_roll",         "tp_squeeze",  "tp_flatten", "tp_contiguous", "tp_unsqueeze",
    "tp_repeat",    "tp_where",    "tp_tril",         "tp_triu",     "tp_maximum", "tp_minimum",    "tp_masked_fill",
    "tp_rsqrt",     "tp_sin",      "tp_cos",          "tp_expm1",    "tp_log1p",   "tp_abs",        "tp_relu",
    "tp_softplus",  "tp_cumsum",   NULL,
};

static bool is_promised(const char *name)
{
    for (int i = 0; promised[i] != NULL; i++)
        if (strcmp(promised[i], name) == 0)
            return true;
    return false;
}

typedef enum { PLAIN, STRIDED, TWICE, MODES } mode;
static const char *const mode_names[MODES] = { "plain", "strided", "twice" };

typedef struct {
    const op_case *c;
    mode           m;
} sample;

/* op(x); TWICE: op(h) + op(v) / 2 with h computed from x and v a view of h. */
static tp_tensor *value(tp_ctx *ctx, const sample *s, tp_tensor *const *in)
{
    tp_tensor *h[OP_MAX_IN] = { NULL }, *v[OP_MAX_IN] = { NULL };

    if (s->m != TWICE)
        return op_call(ctx, s->c, in);
    for (int i = 0; i < op_operands(s->c); i++) {
        h[i] = v[i] = in[i];
        if (op_is_open(s->c, i)) {
            int64_t dim[TP_MAX_DIM];

            h[i] = tp_shift(ctx, in[i], 0);
            for (int d = 0; d < tp_ndim(in[i]); d++)
                dim[d] = tp_dim(in[i], d);
            v[i] = tp_reshape(ctx, h[i], tp_ndim(in[i]), dim);
        }
    }
    return tp_add(ctx, op_call(ctx, s->c, h), tp_scale(ctx, op_call(ctx, s->c, v), 0.5));
}

/* The gradients by all operands, one behind the other. */
static tp_tensor *gradient(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    const sample *s = user;
    bool          was = tp_record(ctx, true);
    tp_tensor    *f = tp_sum(ctx, tp_square(ctx, tp_shift(ctx, value(ctx, s, in), 0.3)), TP_ALL_AXES, false);
    tp_tensor    *x[OP_MAX_IN], *g[OP_MAX_IN], *all = NULL;
    int           n = 0;

    for (int i = 0; i < op_operands(s->c); i++)
        if (op_is_open(s->c, i))
            x[n++] = in[i];
    if (tp_grad_graph(ctx, f, n, x, g)) {
        for (int i = 0; i < n; i++)
            g[i] = tp_reshape(ctx, g[i] ? g[i] : tp_zeros_like(ctx, x[i]), TP_SHAPE(tp_numel(x[i])));
        all = tp_concat(ctx, n, g, 0);
    }
    tp_record(ctx, was);
    return all;
}

static bool check(const op_case *c, const char *shapes, mode m)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL };
    sample     s = { c, m };
    double     e;
    bool       good;

    for (int i = 0; i < op_operands(c); i++)
        in[i] = op_operand(ctx, c, shapes, i, TP_F64, m == STRIDED);
    e = tp_gradcheck(ctx, gradient, &s, op_operands(c), in, 1e-6);
    good = e < tolerance;
    if (!good && !is_promised(c->name))
        good = tp_error_code(ctx) == TP_EARG && strstr(tp_error(ctx), ": this op has no second derivative") != NULL;
    if (!good)
        print_error("%s (%s), %s, %s: %g %s\n", c->name, c->operands, shapes, mode_names[m], e, tp_error(ctx));
    tp_ctx_free(ctx);
    return good;
}

static void test_table(void **state)
{
    int bad = 0, seen = 0;

    (void)state;
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++)
            for (int s = 0; (c->flags & OP_GRAD) && c->shapes[s] != NULL; s++, seen++)
                for (mode m = PLAIN; m < MODES; m++)
                    bad += !check(c, c->shapes[s], m);
    assert_int_equal(bad, 0);
    assert_true(seen > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
