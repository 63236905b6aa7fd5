/*
 * test_ops_backends.c - every op of the table, forward and backward, on every set of kernels that this machine can run
 * against `ref`, in every dtype, on plain and strided operands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend.h"
#include "op_table.h"

/* Allowed difference from ref, relative to the largest number of the result or 1.  Both round once an op, so that two
 * of the 16-bit dtypes' steps (2^-8, 2^-11) cover a neighbour and a product that was summed in another order; f32 sums
 * of a few hundred terms in another order differ by some 1e-6, f64 by 1e-14. */
static double tolerance(tp_dtype t)
{
    return t == TP_F64 ? 1e-11 : t == TP_F32 ? 1e-5 : t == TP_BF16 ? 0x1p-6 : t == TP_F16 ? 0x1p-9 : 0;
}

/* What one run gave: the result and the gradients of its operands. */
typedef struct {
    bool     ok;
    int      n; /* tensors */
    int64_t  size[1 + OP_MAX_IN];
    tp_dtype t[1 + OP_MAX_IN];
    double  *v[1 + OP_MAX_IN];
    char     error[256];
} outcome;

static void take(tp_ctx *ctx, outcome *o, const tp_tensor *x)
{
    int64_t n = tp_numel(x);
    double *v = test_malloc((size_t)(n + 1) * sizeof *v);

    if (x != NULL && !tp_copy_out(ctx, x, TP_F64, v, (size_t)n * sizeof *v))
        o->ok = false;
    o->size[o->n] = n;
    o->t[o->n] = tp_dtype_of(x);
    o->v[o->n++] = v;
}

static void drop(outcome *o)
{
    for (int i = 0; i < o->n; i++)
        test_free(o->v[i]);
}

/* A gradient for y that is the same on every back end. */
static tp_tensor *seed(tp_ctx *ctx, const tp_tensor *y)
{
    int64_t dim[TP_MAX_DIM];

    for (int i = 0; i < tp_ndim(y); i++)
        dim[i] = tp_dim(y, i);
    tp_seed(ctx, 7);
    return tp_uniform(ctx, tp_dtype_of(y), tp_ndim(y), dim, -1, 1);
}

static outcome run(const char *backend, const op_case *c, const char *shapes, tp_dtype t, bool strided)
{
    tp_ctx    *ctx = tp_ctx_new(strcmp(backend, "ref") == 0 ? TP_REF : TP_CPU, 0);
    tp_tensor *in[OP_MAX_IN] = { NULL }, *y;
    outcome    o = { .ok = true };

    tp_set_backend(ctx, backend);
    for (int i = 0; i < op_operands(c); i++) {
        in[i] = op_operand(ctx, c, shapes, i, t, strided);
        if ((c->flags & OP_GRAD) && op_is_open(c, i) && tp_dtype_is_float(t))
            tp_set_trainable(ctx, in[i], true);
    }
    y = op_call(ctx, c, in);
    take(ctx, &o, y);
    if (y != NULL && tp_needs_grad(y) && tp_backward_from(ctx, y, seed(ctx, y)))
        for (int i = 0; i < op_operands(c); i++)
            take(ctx, &o, tp_trainable(in[i]) ? tp_grad(in[i]) : NULL);
    o.ok &= tp_ok(ctx);
    strncpy(o.error, tp_error(ctx), sizeof o.error - 1);
    tp_ctx_free(ctx);
    return o;
}

/* The largest difference in units of what is allowed; NaN and Inf must be the same. */
static double distance(const outcome *a, const outcome *b, int i, tp_dtype t)
{
    double scale = 1, worst = 0, allowed = tolerance(t);

    for (int64_t k = 0; k < b->size[i]; k++)
        if (isfinite(b->v[i][k]))
            scale = fmax(scale, fabs(b->v[i][k]));
    for (int64_t k = 0; k < b->size[i]; k++) {
        double x = a->v[i][k], y = b->v[i][k], d = fabs(x - y);

        if (x == y || (x != x && y != y))
            continue;
        worst = fmax(worst, isfinite(d) && allowed > 0 ? d / (scale * allowed) : INFINITY);
    }
    return worst;
}

/* bf16 and f16 results that were converted to f32 on the way are as coarse as the operands. */
static tp_dtype coarser(tp_dtype a, tp_dtype b)
{
    if (!tp_dtype_is_float(a) || !tp_dtype_is_float(b))
        return tp_dtype_is_float(a) ? a : b;
    return tolerance(a) > tolerance(b) ? a : b;
}

static bool agree(const char *backend, const op_case *c, const char *shapes, tp_dtype t, bool strided)
{
    outcome want = run("ref", c, shapes, t, strided), got = run(backend, c, shapes, t, strided);
    bool    good = want.ok && got.ok && want.n == got.n;
    double  worst = 0;

    for (int i = 0; good && i < want.n; i++) {
        good = want.size[i] == got.size[i] && want.t[i] == got.t[i];
        worst = good ? fmax(worst, distance(&got, &want, i, coarser(t, want.t[i]))) : INFINITY;
    }
    good &= worst <= 1;
    if (!good)
        print_error("%s %s (%s), %s, %s%s: %g of what is allowed %s%s\n", backend, c->name, c->operands, shapes,
                    tp_dtype_name(t), strided ? ", strided" : "", worst, want.error, got.error);
    drop(&want);
    drop(&got);
    return good;
}

/* Dtypes in which a case makes sense. */
static bool applies(const op_case *c, tp_dtype t)
{
    bool open = false;

    for (int i = 0; i < op_operands(c); i++)
        open |= op_is_open(c, i);
    if (!open)
        return t == TP_F32; /* once */
    if (c->flags & OP_WIDE)
        return t == TP_F32 || t == TP_F64;
    return tp_dtype_is_float(t) || (t != TP_BOOL && (c->flags & OP_INTS));
}

static int compare_all(const char *backend)
{
    int bad = 0;

    for (int k = 0; op_tables[k] != NULL; k++)
        for (const op_case *c = op_tables[k]; c->name != NULL; c++)
            for (int s = 0; c->shapes[s] != NULL; s++)
                for (int t = 0; t < TP_DTYPES; t++)
                    for (int strided = 0; strided < 2 && applies(c, (tp_dtype)t); strided++)
                        bad += !agree(backend, c, c->shapes[s], (tp_dtype)t, strided);
    return bad;
}

static void test_backends(void **state)
{
    int bad = 0, compared = 0;

    (void)state;
    for (int i = 0; tpi_backends[i] != NULL; i++) {
        const tpi_backend *b = tpi_backends[i];

        if (b->device != TP_CPU || (b->usable != NULL && !b->usable()))
            continue;
        bad += compare_all(b->name);
        compared++;
    }
    if (compared == 0)
        skip();
    assert_int_equal(bad, 0);
}

/* ref against itself shows that every case runs in every dtype that it is said to. */
static void test_cases_run(void **state)
{
    (void)state;
    assert_int_equal(compare_all("ref"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases_run), cmocka_unit_test(test_backends) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
