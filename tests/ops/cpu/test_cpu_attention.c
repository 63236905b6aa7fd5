/* test_cpu_attention.c - attention of every instruction set against the oracle: forward, backward, ranges, shared
 * heads, NaN. */
#include "tests/ops/cpu/cpu_test.h"

typedef struct {
    int64_t batch, heads, kv_heads, sq, sk, dim;
} sizes;

typedef struct {
    tpi_attn a;
    int64_t  nq, nk;
    void    *q, *k, *v, *dout, *range;
} problem;

/* gap: elements between the vectors of a head and the next, as in views of a wider matrix. */
static void strides(int64_t s3[3], int64_t seq, int64_t heads, int64_t dim, int64_t gap)
{
    s3[2] = dim + gap;
    s3[1] = heads * s3[2];
    s3[0] = seq * s3[1];
}

/* kind of range: 0 none, 1 windows, 2 packed segments, 3 wild: empty, reversed, out of bounds */
static int32_t *ranges(const sizes *s, int kind)
{
    int32_t *range = malloc((size_t)(s->batch * s->sq * 2 + 1) * sizeof *range);

    assert_non_null(range);
    for (int64_t i = 0; i < s->batch * s->sq; i++) {
        int64_t at = i % s->sq, low = 0, high = s->sk, r = (int64_t)((noise(9, i) + 1) * 1000);

        if (kind == 1) {
            low = at - 5;
            high = at + 3;
        } else if (kind == 2) {
            low = at / 7 * 7;
            high = low + 7;
        } else if (kind == 3) {
            low = r % (s->sk + 9) - 4;
            high = r * 7 % (s->sk + 9) - 4;
        }
        range[2 * i] = (int32_t)low;
        range[2 * i + 1] = (int32_t)high;
    }
    return range;
}

static problem problem_new(const sizes *s, tp_dtype t, bool causal, int kind, int64_t gap)
{
    problem  p = { 0 };
    tpi_attn a = { .batch = s->batch,
                   .heads = s->heads,
                   .kv_heads = s->kv_heads,
                   .sq = s->sq,
                   .sk = s->sk,
                   .dim = s->dim,
                   .t = t,
                   .causal = causal,
                   .scale = 1 / sqrt((double)s->dim) };

    strides(a.qs, s->sq, s->heads, s->dim, gap);
    strides(a.os, s->sq, s->heads, s->dim, 0);
    strides(a.ks, s->sk, s->kv_heads, s->dim, gap);
    strides(a.vs, s->sk, s->kv_heads, s->dim, 0);
    strides(a.dos, s->sq, s->heads, s->dim, gap);
    strides(a.dqs, s->sq, s->heads, s->dim, gap);
    strides(a.dks, s->sk, s->kv_heads, s->dim, 0);
    strides(a.dvs, s->sk, s->kv_heads, s->dim, gap);
    p.nq = s->batch * s->sq * s->heads * (s->dim + gap);
    p.nk = s->batch * s->sk * s->kv_heads * (s->dim + gap);
    a.q = p.q = array(t, p.nq, 1);
    a.k = p.k = array(t, p.nk, 2);
    a.v = p.v = array(t, p.nk, 3);
    a.dout = p.dout = array(t, p.nq, 4);
    a.range = p.range = kind > 0 ? ranges(s, kind) : NULL;
    for (int64_t i = 0; i < p.nq; i++) /* scores that matter */
        tpi_store(t, p.q, i, 3 * tpi_load(t, p.q, i));
    p.a = a;
    return p;
}

static void problem_free(problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->dout);
    free(p->range);
}

typedef struct {
    void *o, *lse, *dq, *dk, *dv;
} results;

static tp_dtype wide_of(tp_dtype t)
{
    return t == TP_F64 ? TP_F64 : TP_F32;
}

/* Forward, then backward from the o and lse given, or its own. */
static results solve(const tpi_backend *b, const problem *p, int threads, const results *given)
{
    tpi_attn a = p->a;
    results  y = { array(a.t, p->nq, 5), array(wide_of(a.t), a.batch * a.heads * a.sq, 5), array(a.t, p->nq, 6),
                   array(a.t, p->nk, 6), array(a.t, p->nk, 7) };
    tpi_run  r = { .threads = threads };

    a.o = y.o;
    a.lse = y.lse;
    a.dq = y.dq;
    a.dk = y.dk;
    a.dv = y.dv;
    r = run_new(threads, threads == 3 ? 0 : b->k->attention_space(&r, &a));
    assert_int_equal(b->k->attention(&r, &a), TP_OK);
    free(r.ws);
    if (given != NULL) {
        a.o = given->o;
        a.lse = given->lse;
    }
    r = run_new(threads, threads == 3 ? 0 : b->k->attention_grad_space(&r, &a));
    assert_int_equal(b->k->attention_grad(&r, &a), TP_OK);
    free(r.ws);
    return y;
}

static void results_free(results *y)
{
    free(y->o);
    free(y->lse);
    free(y->dq);
    free(y->dk);
    free(y->dv);
}

static void check(const char *what, const problem *p)
{
    tp_dtype t = p->a.t;
    double   tol = t == TP_F64 ? 1e-12 : t == TP_F32 ? 2e-5 : t == TP_BF16 ? 0.03 : 0.004;
    results  want = solve(&tpi_backend_ref, p, 1, NULL);
    char     text[200];

    for (int i = 0; usable_backend(i); i++) {
        for (int threads = 1; threads <= 3; threads++) {
            results got = solve(usable_backend(i), p, threads, &want);

            snprintf(text, sizeof text, "%s %s %s B %d H %d/%d S %d,%d D %d causal %d range %d threads %d", what,
                     usable_backend(i)->name, tp_dtype_name(t), (int)p->a.batch, (int)p->a.heads, (int)p->a.kv_heads,
                     (int)p->a.sq, (int)p->a.sk, (int)p->a.dim, p->a.causal, p->range != NULL, threads);
            expect_same(text, t, got.o, want.o, p->nq, t == TP_BF16 || t == TP_F16 ? 1e-5 : tol);
            expect_same(text, wide_of(t), got.lse, want.lse, p->a.batch * p->a.heads * p->a.sq, 1e-5);
            expect_same(text, t, got.dq, want.dq, p->nq, tol);
            expect_same(text, t, got.dk, want.dk, p->nk, tol);
            expect_same(text, t, got.dv, want.dv, p->nk, tol);
            results_free(&got);
        }
    }
    results_free(&want);
}

static const tp_dtype ts[] = { TP_F32, TP_F64, TP_BF16, TP_F16 };

static void test_shapes(void **state)
{
    static const sizes all[] = { { 1, 1, 1, 1, 1, 1 },    { 2, 4, 2, 5, 5, 8 },    { 1, 3, 1, 37, 37, 64 },
                                 { 2, 2, 2, 70, 70, 16 }, { 1, 9, 3, 20, 33, 48 }, { 1, 2, 1, 3, 150, 80 },
                                 { 1, 6, 1, 70, 141, 7 }, { 0, 2, 1, 3, 3, 4 },    { 1, 2, 1, 3, 0, 4 },
                                 { 1, 2, 1, 0, 3, 4 },    { 1, 8, 1, 40, 300, 33 } };

    (void)state;
    for (size_t s = 0; s < sizeof all / sizeof all[0]; s++) {
        for (size_t t = 0; t < sizeof ts / sizeof ts[0]; t++) {
            for (int causal = 0; causal < 2; causal++) {
                problem p = problem_new(&all[s], ts[t], causal, 0, causal * 3);

                check("shape", &p);
                problem_free(&p);
            }
        }
    }
}

static void test_ranges(void **state)
{
    static const sizes all[] = {
        { 2, 3, 1, 50, 50, 16 }, { 1, 2, 2, 90, 90, 24 }, { 3, 2, 1, 1, 40, 8 }, { 1, 2, 1, 65, 200, 8 }
    };

    (void)state;
    for (size_t s = 0; s < sizeof all / sizeof all[0]; s++) {
        for (size_t t = 0; t < sizeof ts / sizeof ts[0]; t++) {
            for (int kind = 1; kind < 4; kind++) {
                problem p = problem_new(&all[s], ts[t], kind & 1, kind, 0);

                check("range", &p);
                problem_free(&p);
            }
        }
    }
}

/* One position decoding with a long cache. */
static void test_decode(void **state)
{
    static const sizes all[] = { { 1, 9, 3, 1, 700, 64 }, { 3, 4, 4, 1, 290, 20 }, { 2, 5, 1, 1, 31, 9 } };

    (void)state;
    for (size_t s = 0; s < sizeof all / sizeof all[0]; s++) {
        for (size_t t = 0; t < sizeof ts / sizeof ts[0]; t++) {
            problem p = problem_new(&all[s], ts[t], true, (int)(s == 2) * 3, 2);

            check("decode", &p);
            problem_free(&p);
        }
    }
}

static void spoil(tp_dtype t, void *x, const int64_t s3[3], int64_t b, int64_t s, int64_t h, double value)
{
    tpi_store(t, x, b * s3[0] + s * s3[1] + h * s3[2] + 2, value);
}

/* NaN or infinity in one vector of each operand: only rows that see it may know. */
static void test_nan(void **state)
{
    static const sizes s = { 2, 4, 2, 60, 60, 16 };

    (void)state;
    for (size_t t = 0; t < sizeof ts / sizeof ts[0]; t++) {
        for (int which = 0; which < 8; which++) {
            problem p = problem_new(&s, ts[t], true, which & 1 ? 2 : 0, 0);
            double  value = which & 2 ? NAN : INFINITY;

            if (which < 2)
                spoil(ts[t], p.q, p.a.qs, 1, 33, 2, NAN);
            else if (which < 4)
                spoil(ts[t], p.k, p.a.ks, 0, 33, 1, NAN);
            else if (which < 6)
                spoil(ts[t], p.v, p.a.vs, 0, 33, 1, value);
            else
                spoil(ts[t], p.dout, p.a.dos, 0, 33, 1, value);
            check("NaN", &p);
            problem_free(&p);
        }
    }
}

static void test_deterministic(void **state)
{
    static const sizes s = { 1, 6, 2, 300, 300, 32 };
    problem            p = problem_new(&s, TP_F32, true, 0, 0);

    (void)state;
    for (int i = 0; usable_backend(i); i++) {
        for (int threads = 2; threads <= 4; threads++) {
            results first = solve(usable_backend(i), &p, threads, NULL),
                    again = solve(usable_backend(i), &p, threads, NULL);

            assert_memory_equal(first.o, again.o, (size_t)p.nq * 4);
            assert_memory_equal(first.dq, again.dq, (size_t)p.nq * 4);
            assert_memory_equal(first.dk, again.dk, (size_t)p.nk * 4);
            assert_memory_equal(first.dv, again.dv, (size_t)p.nk * 4);
            results_free(&first);
            results_free(&again);
        }
    }
    problem_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_ranges),        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_nan),    cmocka_unit_test(test_deterministic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
