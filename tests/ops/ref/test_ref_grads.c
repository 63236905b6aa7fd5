/*
 * test_ref_grads.c - the oracle's gradients in f64 against central differences of its own forward kernels.
 */
#include "tests/ops/ref/ref_test.h"

typedef double (*loss_fn)(void *user);

/* dx against (loss(x + e) - loss(x - e)) / 2e, element by element of x, which the loss reads. */
static void expect_grad(int at, loss_fn loss, void *user, double *x, const double *dx, int n)
{
    const double e = 1e-5;

    for (int i = 0; i < n; i++) {
        double keep = x[i], up, down, want;

        x[i] = keep + e;
        up = loss(user);
        x[i] = keep - e;
        down = loss(user);
        x[i] = keep;
        want = (up - down) / (2 * e);
        if (!(fabs(dx[i] - want) <= 1e-8 * fmax(1, fabs(want))))
            fail_msg("line %d: gradient %d is %.12g, not %.12g", at, i, dx[i], want);
    }
}

static void normal(double *x, int n, uint32_t seed)
{
    kernels()->random(&run, TPI_NORMAL, TP_F64, x, n, 0, 1, (tpi_key){ { seed, 1 }, { 2, 3 } });
}

static double weighed(const double *y, const double *r, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += y[i] * r[i];
    return sum;
}

/* ---- functions of one variable --------------------------------------------------------------------------------------- */

enum { POINTS = 6 };

typedef struct {
    tpi_unary op;
    double    p, q, x[POINTS], y[POINTS], dy[POINTS];
} unary_case;

static double unary_loss(void *user)
{
    unary_case *u = user;
    tpi_nd      nd = line(POINTS);

    kernels()->unary(&run, u->op, u->p, u->q, &nd, TP_F64, u->y, u->x);
    return weighed(u->y, u->dy, POINTS);
}

static bool wants_y(tpi_unary op)
{
    return op == TPI_EXP || op == TPI_TANH || op == TPI_SIGMOID || op == TPI_SQRT || op == TPI_RSQRT ||
           op == TPI_RECIP || op == TPI_RELU;
}

static bool wants_positive(tpi_unary op)
{
    return op == TPI_LOG || op == TPI_LOG1P || op == TPI_SQRT || op == TPI_RSQRT || op == TPI_POWS;
}

/* Points on both sides of every kink, and none on one. */
static void every_unary_slope(void **state)
{
    const double points[POINTS] = { -3.4, -1.3, -0.3, 0.4, 1.7, 3.2 };

    (void)state;
    for (int op = 0; op < TPI_NOT; op++) {
        unary_case u = { .op = (tpi_unary)op, .p = op == TPI_CLAMP ? -0.7 : 2.3, .q = 0.9 };
        double     dx[POINTS];

        normal(u.dy, POINTS, 5);
        for (int i = 0; i < POINTS; i++)
            u.x[i] = wants_positive(u.op) ? fabs(points[i]) : points[i];
        unary_loss(&u);
        kernels()->unary_grad(&run, u.op, u.p, u.q, TP_F64, dx, u.dy, wants_y(u.op) ? u.y : u.x, POINTS);
        expect_grad(op, unary_loss, &u, u.x, dx, POINTS);
    }
}

static void subgradients_are_pytorchs(void **state)
{
    double dy[3] = { 5, 5, 5 }, x[3] = { -1, 0, 1 }, dx[3];

    (void)state;
    kernels()->unary_grad(&run, TPI_ABS, 0, 0, TP_F64, dx, dy, x, 3);
    EXPECT(TP_F64, dx, 0, -5, 0, 5);
    kernels()->unary_grad(&run, TPI_RELU, 0, 0, TP_F64, dx, (double[]){ NAN, INFINITY, 5 }, (double[]){ 0, 0, NAN }, 3);
    EXPECT(TP_F64, dx, 0, 0, 0, 5);
    kernels()->unary_grad(&run, TPI_CLAMP, -1, 1, TP_F64, dx, dy, x, 3);
    EXPECT(TP_F64, dx, 0, 5, 5, 5);
    kernels()->unary_grad(&run, TPI_POWS, 0, 0, TP_F64, dx, dy, x, 3);
    EXPECT(TP_F64, dx, 0, 0, 0, 0);
}

/* ---- rows: softmax, loss, norms -------------------------------------------------------------------------------------- */

enum { ROWS = 3, COLS = 5, CELLS = ROWS * COLS };

typedef struct {
    bool    flag; /* softmax: the logarithm */
    double  x[CELLS], res[CELLS], w[COLS], b[COLS], y[CELLS], h[CELLS], dy[CELLS], dh[CELLS], mean[ROWS], rstd[ROWS];
    int32_t target[ROWS];
} rows_case;

static rows_case rows_new(bool flag)
{
    rows_case c = { .flag = flag, .target = { 4, -1, 0 } };

    normal(c.x, CELLS, 1);
    normal(c.res, CELLS, 2);
    normal(c.w, COLS, 3);
    normal(c.b, COLS, 4);
    normal(c.dy, CELLS, 5);
    normal(c.dh, CELLS, 6);
    return c;
}

static double softmax_loss(void *user)
{
    rows_case *c = user;

    kernels()->softmax(&run, c->flag, TP_F64, c->y, c->x, ROWS, COLS);
    return weighed(c->y, c->dy, CELLS);
}

static void softmax_slopes(void **state)
{
    (void)state;
    for (int flag = 0; flag < 2; flag++) {
        rows_case c = rows_new(flag);
        double    dx[CELLS];

        softmax_loss(&c);
        kernels()->softmax_grad(&run, flag, TP_F64, dx, c.dy, c.y, ROWS, COLS);
        expect_grad(__LINE__, softmax_loss, &c, c.x, dx, CELLS);
    }
}

static double entropy_loss(void *user)
{
    rows_case *c = user;

    kernels()->cross_entropy(&run, TP_F64, c->mean, NULL, c->x, c->target, ROWS, COLS, c->flag ? 0.2 : 0, 1);
    return 0.7 * (c->mean[0] + c->mean[1] + c->mean[2]);
}

static void cross_entropy_slopes(void **state)
{
    (void)state;
    for (int flag = 0; flag < 2; flag++) {
        rows_case c = rows_new(flag);
        double    dx[CELLS];

        kernels()->cross_entropy(&run, TP_F64, c.mean, dx, c.x, c.target, ROWS, COLS, flag ? 0.2 : 0, 0.7);
        expect_grad(__LINE__, entropy_loss, &c, c.x, dx, CELLS);
    }
}

static double layernorm_loss(void *user)
{
    rows_case *c = user;

    kernels()->layernorm(&run, TP_F64, c->y, c->mean, c->rstd, c->x, TP_F64, c->w, c->b, 0.01, ROWS, COLS);
    return weighed(c->y, c->dy, CELLS);
}

static void layernorm_slopes(void **state)
{
    rows_case c = rows_new(false);
    double    dx[CELLS], dw[COLS] = { 0 }, db[COLS] = { 0 };

    (void)state;
    layernorm_loss(&c);
    kernels()->layernorm_grad(&run, TP_F64, dx, dw, db, c.dy, c.x, TP_F64, c.w, c.mean, c.rstd, ROWS, COLS);
    expect_grad(__LINE__, layernorm_loss, &c, c.x, dx, CELLS);
    layernorm_loss(&c);
    expect_grad(__LINE__, layernorm_loss, &c, c.w, dw, COLS);
    expect_grad(__LINE__, layernorm_loss, &c, c.b, db, COLS);
}

/* The loss takes from the norm and from the residual stream. */
static double rmsnorm_loss(void *user)
{
    rows_case *c = user;

    kernels()->rmsnorm(&run, TP_F64, c->y, c->rstd, c->h, c->x, c->res, TP_F64, c->w, 0.01, ROWS, COLS);
    return weighed(c->y, c->dy, CELLS) + weighed(c->h, c->dh, CELLS);
}

static void rmsnorm_slopes(void **state)
{
    rows_case c = rows_new(false);
    double    dx[CELLS], dw[COLS] = { 0 };

    (void)state;
    rmsnorm_loss(&c);
    kernels()->rmsnorm_grad(&run, TP_F64, dx, dw, c.dy, c.dh, c.h, TP_F64, c.w, c.rstd, ROWS, COLS);
    expect_grad(__LINE__, rmsnorm_loss, &c, c.x, dx, CELLS);
    expect_grad(__LINE__, rmsnorm_loss, &c, c.res, dx, CELLS);
    expect_grad(__LINE__, rmsnorm_loss, &c, c.w, dw, COLS);
}

/* ---- rope: the inverse is the gradient ------------------------------------------------------------------------------- */

typedef struct { double x[24], y[24], dy[24]; } rope_case; /* [1, 3, 2, 4] */

static void rope_run(double *y, const double *x, bool inverse)
{
    const float   freq[2] = { 1, 0.1f };
    const int64_t s[3] = { 24, 8, 4 }, dim[4] = { 1, 3, 2, 4 };

    kernels()->rope(&run, TP_F64, y, s, x, s, dim, NULL, 5, freq, 1.5, inverse);
}

static double rope_loss(void *user)
{
    rope_case *c = user;

    rope_run(c->y, c->x, false);
    return weighed(c->y, c->dy, 24);
}

static void rope_slopes(void **state)
{
    rope_case c;
    double    dx[24];

    (void)state;
    normal(c.x, 24, 1);
    normal(c.dy, 24, 2);
    rope_run(dx, c.dy, true);
    expect_grad(__LINE__, rope_loss, &c, c.x, dx, 24);
}

/* ---- attention: two batches, four heads on two, three queries, five keys ----------------------------------------------- */

enum { B = 2, H = 4, HK = 2, SQ = 3, SK = 5, D = 3, NQ = B * SQ * H * D, NK = B * SK * HK * D };

typedef struct {
    double   q[NQ], k[NK], v[NK], o[NQ], lse[B * H * SQ], dout[NQ], dq[NQ], dk[NK], dv[NK];
    tpi_attn a;
} attn_case;

/* q and o are [B, Sq, H, D], k and v lie as [B, Hk, Sk, D]: strides differ on purpose. */
static void attn_init(attn_case *c, bool causal, const int32_t *range)
{
    c->a = (tpi_attn){ .batch = B, .heads = H, .kv_heads = HK, .sq = SQ, .sk = SK, .dim = D, .t = TP_F64, .scale = 0.6,
                       .causal = causal, .range = range, .q = c->q, .k = c->k, .v = c->v, .o = c->o, .lse = (void *)c->lse,
                       .dout = c->dout, .dq = c->dq, .dk = c->dk, .dv = c->dv, .qs = { SQ * H * D, H * D, D },
                       .ks = { SK * HK * D, D, SK * D } };
    memcpy(c->a.os, c->a.qs, sizeof c->a.os);
    memcpy(c->a.dos, c->a.qs, sizeof c->a.os);
    memcpy(c->a.dqs, c->a.qs, sizeof c->a.os);
    memcpy(c->a.vs, c->a.ks, sizeof c->a.os);
    memcpy(c->a.dks, c->a.ks, sizeof c->a.os);
    memcpy(c->a.dvs, c->a.ks, sizeof c->a.os);
    normal(c->q, NQ, 1);
    normal(c->k, NK, 2);
    normal(c->v, NK, 3);
    normal(c->dout, NQ, 4);
}

static double attn_loss(void *user)
{
    attn_case *c = user;

    kernels()->attention(&run, &c->a);
    return weighed(c->o, c->dout, NQ);
}

static void attention_slopes(void **state)
{
    const int32_t range[B * SQ * 2] = { 0, 2, 1, 5, 3, 3, -1, 9, 2, 4, 0, 1 };
    static attn_case c;

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        attn_init(&c, kind == 1, kind == 2 ? range : NULL);
        attn_loss(&c);
        memset(c.dk, 0xff, sizeof c.dk); /* written, not added to */
        assert_int_equal(kernels()->attention_grad(&run, &c.a), TP_OK);
        expect_grad(__LINE__, attn_loss, &c, c.q, c.dq, NQ);
        expect_grad(__LINE__, attn_loss, &c, c.k, c.dk, NK);
        expect_grad(__LINE__, attn_loss, &c, c.v, c.dv, NK);
    }
}

/* ---- blocks with dead rows and columns; silu(g) u ----------------------------------------------------------------------- */

typedef struct { double x[2 * 7], a[3 * 3 * 2], y[2 * 5], dy[2 * 5]; } blocks_case;

static const tpi_blocks shape = { .rows = 2, .in = 7, .out = 5, .blocks = 3, .bi = 3, .bo = 2, .t = TP_F64, .at = TP_F64 };

static double blocks_loss(void *user)
{
    blocks_case *c = user;

    kernels()->blocks(&run, &shape, c->y, c->x, c->a, false);
    return weighed(c->y, c->dy, 10);
}

static void blocks_slopes(void **state)
{
    blocks_case c;
    double      dx[14], da[18];

    (void)state;
    normal(c.x, 14, 1);
    normal(c.a, 18, 2);
    normal(c.dy, 10, 3);
    memset(da, 0xff, sizeof da);
    kernels()->blocks_da(&run, &shape, da, c.x, c.dy, 0);
    kernels()->blocks_dx(&run, &shape, dx, c.dy, c.a, false);
    expect_grad(__LINE__, blocks_loss, &c, c.a, da, 18);
    expect_grad(__LINE__, blocks_loss, &c, c.x, dx, 14);
}

typedef struct { double g[8], u[8], y[8], dy[8]; } silu_case;

static double silu_loss(void *user)
{
    silu_case *c = user;

    kernels()->silu_mul(&run, TP_F64, c->y, c->g, c->u, 8);
    return weighed(c->y, c->dy, 8);
}

static void silu_mul_slopes(void **state)
{
    silu_case c;
    double    dg[8], du[8];

    (void)state;
    normal(c.g, 8, 1);
    normal(c.u, 8, 2);
    normal(c.dy, 8, 3);
    kernels()->silu_mul_grad(&run, TP_F64, dg, du, c.dy, c.g, c.u, 8);
    expect_grad(__LINE__, silu_loss, &c, c.g, dg, 8);
    expect_grad(__LINE__, silu_loss, &c, c.u, du, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unary_slope), cmocka_unit_test(subgradients_are_pytorchs), cmocka_unit_test(softmax_slopes),
        cmocka_unit_test(cross_entropy_slopes), cmocka_unit_test(layernorm_slopes), cmocka_unit_test(rmsnorm_slopes),
        cmocka_unit_test(rope_slopes), cmocka_unit_test(attention_slopes), cmocka_unit_test(blocks_slopes),
        cmocka_unit_test(silu_mul_slopes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
