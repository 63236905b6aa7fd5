/* test_double_backward.c - tp_grad_graph: gradients that are recorded, what becomes of hooks, checkpoints and leaves,
 * training with a gradient penalty as PyTorch does it, and memory that runs out anywhere. */
#include "own_ops.h"

#include "core/internal.h"
#include "core/json.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>

static tp_tensor *leaf(tp_ctx *ctx, tp_dtype t, double v)
{
    tp_tensor *x = tp_full(ctx, t, TP_SHAPE(1), v);

    tp_set_trainable(ctx, x, true);
    return x;
}

static void expect(tp_ctx *ctx, bool result, tp_code code, const char *words)
{
    if (result || tp_error_code(ctx) != code || strstr(tp_error(ctx), words) == NULL)
        fail_msg("expected code %d and '%s', got %d and '%s'", (int)code, words, (int)tp_error_code(ctx),
                 tp_error(ctx));
    tp_error_clear(ctx);
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12 * fmax(1, fabs(b));
}

/* x^4: 4 x^3, 12 x^2, 24 x, 24, and y itself still there to be walked back from. */
static void derivatives_of_derivatives(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 1.5), *y = tp_pow_scalar(ctx, x, 4), *g = y;
    double     want[] = { 4 * 1.5 * 1.5 * 1.5, 12 * 1.5 * 1.5, 24 * 1.5, 24 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_true(tp_grad_graph(ctx, g, 1, &x, &g));
        assert_true(near(tp_item(ctx, g), want[i]));
        assert_true(tp_needs_grad(g));
    }
    assert_null(tp_grad(x));
    assert_true(tp_backward(ctx, y));
    assert_true(near(tp_item(ctx, tp_grad(x)), want[0]));
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "grad_graph: this tensor has been walked back from already");
    assert_null(g);
    tp_ctx_free(ctx);
}

/* d/da of (dy/dx)^2 with y = a x^2: the gradient of a leaf through the gradient of another. */
static void mixed(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *a = leaf(ctx, TP_F64, 3), *x = leaf(ctx, TP_F64, 2), *h = tp_mul(ctx, x, x), *y = tp_mul(ctx, a, h);
    tp_tensor *in[] = { x, h, x, leaf(ctx, TP_F64, 9) }, *g[4];

    (void)state;
    assert_true(tp_grad_graph(ctx, y, 4, in, g));
    assert_true(near(tp_item(ctx, g[0]), 12) && near(tp_item(ctx, g[1]), 3) && near(tp_item(ctx, g[2]), 12));
    assert_null(g[3]);
    assert_true(tp_backward(ctx, tp_add(ctx, y, tp_square(ctx, g[0]))));
    assert_true(near(tp_item(ctx, tp_grad(a)), 4 + 2 * 12 * 4));  /* x^2 + 2 (2 a x) 2 x */
    assert_true(near(tp_item(ctx, tp_grad(x)), 12 + 2 * 12 * 6)); /* 2 a x + 2 (2 a x) 2 a */
    tp_ctx_free(ctx);
}

/* With recording off before, in scopes, of 16-bit leaves: f32 comes back, and calls that nobody needs go. */
static void leaves_and_scopes(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_BF16, 2), *y, *g;
    tp_scope   s = tp_scope_begin(ctx);

    (void)state;
    y = tp_mul(ctx, x, tp_mul(ctx, x, x));
    tp_record(ctx, false);
    assert_true(tp_grad_graph(ctx, y, 1, &x, &g));
    assert_false(tp_recording(ctx));
    tp_record(ctx, true);
    assert_int_equal(tp_dtype_of(g), TP_F32);
    g = tp_scope_return(ctx, s, g);
    assert_true(tp_item(ctx, g) == 12);
    assert_true(tp_backward(ctx, g));
    assert_true(tp_item(ctx, tp_grad(x)) == 12);
    tp_ctx_free(ctx);
}

/* ---- hooks, checkpoints, ops that have none ---------------------------------------------------------------------- */

typedef struct {
    double seen;
    bool   replace, nest;
} watcher;

static tp_tensor *watch(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    watcher   *w = user;
    tp_tensor *x = leaf(ctx, TP_F64, 1), *g;

    w->seen = tp_item(ctx, dx);
    if (w->nest)
        tp_grad_graph(ctx, dx, 1, &x, &g);
    return w->replace ? tp_scale(ctx, dx, 2) : NULL;
}

static void hooks_look(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 3), *h = tp_square(ctx, x), *y = tp_square(ctx, h), *g;
    watcher    inner = { 0 }, outer = { 0 };

    (void)state;
    tp_hook(ctx, h, watch, &inner);
    tp_hook(ctx, x, watch, &outer);
    assert_true(tp_grad_graph(ctx, y, 1, &x, &g));
    assert_true(near(inner.seen, 18) && near(outer.seen, 108) && near(tp_item(ctx, g), 108));
    inner.replace = true;
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "hook: it replaced a gradient that is recorded");
    y = tp_square(ctx, h);
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "one of its inputs has been walked back from already");
    inner = (watcher){ .nest = true };
    h = tp_square(ctx, x);
    tp_hook(ctx, h, watch, &inner);
    y = tp_square(ctx, h);
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "grad_graph: it cannot run inside a hook");
    tp_hook(ctx, h, NULL, NULL);
    outer.replace = true;
    y = tp_square(ctx, tp_square(ctx, x));
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "hook: it replaced a gradient that is recorded");
    tp_ctx_free(ctx);
}

static tp_tensor *squared(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    return tp_square(ctx, in[0]);
}

static void checkpoints_cannot(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 3), *w = leaf(ctx, TP_F64, 2), *y, *g;

    (void)state;
    y = tp_mul(ctx, tp_checkpoint(ctx, squared, NULL, 1, &w), tp_square(ctx, x));
    assert_true(tp_grad_graph(ctx, y, 1, &x, &g)); /* the checkpoint is not on the way */
    assert_true(near(tp_item(ctx, g), 24));
    expect(ctx, tp_grad_graph(ctx, y, 1, &w, &g), TP_EARG, "checkpoint: this op has no second derivative");
    y = tp_gelu(ctx, x);
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "gelu: this op has no second derivative");
    y = own_mul(ctx, x, x);
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "own_mul: this op has no second derivative");
    tp_ctx_free(ctx);
}

static void wrong_use(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 3), *y = tp_square(ctx, x), *g, *two;

    (void)state;
    own_set(ctx, x, 0, 4);
    expect(ctx, tp_grad_graph(ctx, y, 1, &x, &g), TP_EARG, "square: the values of input 0 were changed since forward");
    two = tp_mul(ctx, x, tp_ones(ctx, TP_F64, TP_SHAPE(2)));
    expect(ctx, tp_grad_graph(ctx, two, 1, &x, &g), TP_ESHAPE, "grad_graph: the loss must be one number, it is [2]");
    expect(ctx, tp_grad_graph(ctx, y, 0, NULL, NULL), TP_EARG, "grad_graph: no tensors");
    expect(ctx, tp_grad_graph(ctx, NULL, 1, &x, &g), TP_EARG, "grad_graph:");
    assert_false(tp_grad_graph(NULL, y, 1, &x, &g));
    tp_ctx_free(ctx);
}

/* ---- an op of a user's own --------------------------------------------------------------------------------------- */

static tp_tensor *cube_forward(tp_ctx *ctx, tp_call *c)
{
    c->keep = TP_KEEP_IN(0);
    return tp_mul(ctx, c->in[0], tp_mul(ctx, c->in[0], c->in[0]));
}

static void cube_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    dx[0] = tp_scale(ctx, tp_mul(ctx, dy[0], tp_square(ctx, c->in[0])), 3);
}

static const tp_op cube = { .name = "cube", .forward = cube_forward, .backward = cube_backward,
                            .backward_ops = cube_backward };

static void own_op(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 2), *y = tp_apply(ctx, &cube, NULL, TP_IN(x)), *g;

    (void)state;
    assert_true(tp_grad_graph(ctx, y, 1, &x, &g));
    assert_true(near(tp_item(ctx, g), 12));
    assert_true(tp_backward(ctx, g));
    assert_true(near(tp_item(ctx, tp_grad(x)), 12));
    tp_ctx_free(ctx);
}

/* ---- a critic with a gradient penalty ---------------------------------------------------------------------------- */

enum { ROWS = 5, MOST = 16, WIDE = 400 };

static int64_t numbers(const tpi_json *list, double *v)
{
    int64_t n = (int64_t)tpi_json_size(list);

    assert_in_range(n, 1, MOST);
    for (int64_t i = 0; i < n; i++)
        v[i] = tpi_json_real(tpi_json_at(list, (size_t)i));
    return n;
}

static tp_tensor *penalised(tp_ctx *ctx, tp_tensor *x, tp_tensor *const *w)
{
    tp_tensor *y = tp_matmul_nt(ctx, tp_tanh(ctx, tp_affine(ctx, x, w[0], w[1])), w[2]), *g, *size;

    if (!tp_grad_graph(ctx, tp_sum(ctx, y, TP_ALL_AXES, false), 1, &x, &g))
        return NULL;
    size = tp_sqrt(ctx, tp_shift(ctx, tp_sum(ctx, tp_square(ctx, g), TP_AXES(1), false), 1e-12));
    size = tp_mean(ctx, tp_square(ctx, tp_shift(ctx, size, -1)), TP_ALL_AXES, false);
    return tp_add(ctx, tp_mean(ctx, y, TP_ALL_AXES, false), tp_scale(ctx, size, 10));
}

static void descend(tp_ctx *ctx, tp_tensor *w, double rate)
{
    tp_copy_to(ctx, w, tp_sub(ctx, tp_detach(ctx, w), tp_scale(ctx, tp_grad(w), rate)));
    tp_grad_used(w);
}

static void check_training(tp_device device)
{
    static const char *const names[] = { "w1", "b1", "w2" };
    const char      *root = getenv("TAPIR_SOURCE");
    tp_ctx          *ctx = tp_ctx_new(device, 0);
    char             path[4096];
    tpi_json        *j;
    const tpi_json  *want;
    double           v[MOST];
    tp_tensor       *w[3], *x;
    tp_scope         s;

    snprintf(path, sizeof path, "%s/tests/golden/penalty.json", root ? root : ".");
    j = tpi_json_load(ctx, path, 1 << 16);
    want = tpi_json_get(j, "loss");
    numbers(tpi_json_get(j, "x"), v);
    x = tp_from(ctx, TP_F64, TP_SHAPE(ROWS, 2), v);
    for (int i = 0; i < 3; i++) {
        int64_t n = numbers(tpi_json_get(j, names[i]), v);

        w[i] = i == 1 ? tp_from(ctx, TP_F64, TP_SHAPE(n), v) : tp_from(ctx, TP_F64, TP_SHAPE(i == 0 ? 4 : 1, i == 0 ? 2 : 4), v);
        tp_set_trainable(ctx, w[i], true);
    }
    tp_set_trainable(ctx, x, true);
    for (size_t step = 0; step < tpi_json_size(want); step++) {
        tp_tensor *loss;

        s = tp_scope_begin(ctx);
        loss = penalised(ctx, x, w);
        assert_true(near(tp_item(ctx, loss), tpi_json_real(tpi_json_at(want, step))));
        assert_true(tp_backward(ctx, loss));
        for (int i = 0; i < 3; i++)
            descend(ctx, w[i], tpi_json_real(tpi_json_get(j, "rate")));
        tp_grad_drop(x);
        tp_scope_end(ctx, s);
    }
    for (int i = 0; i < 3; i++) {
        int64_t n = numbers(tpi_json_get(tpi_json_get(j, "after"), names[i]), v);

        for (int64_t k = 0; k < n; k++)
            assert_true(near(own_get(ctx, w[i], k), v[k]));
    }
    tpi_json_free(j);
    tp_ctx_free(ctx);
}

static void as_pytorch(void **state)
{
    (void)state;
    check_training(TP_REF);
    check_training(TP_CPU);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Two steps with allocation number `after` failing, once or from there on; whether all went well. */
static bool two_steps(long after, bool always)
{
    tp_ctx    *ctx;
    tp_tensor *w[3], *x;
    bool       ok;

    tpi_fail_alloc(after, always);
    ctx = tp_ctx_new(TP_REF, 0);
    w[0] = tp_full(ctx, TP_F32, TP_SHAPE(WIDE, 20), 0.3);
    w[1] = tp_full(ctx, TP_F32, TP_SHAPE(WIDE), 0.1);
    w[2] = tp_full(ctx, TP_F32, TP_SHAPE(1, WIDE), -0.2);
    x = tp_full(ctx, TP_F32, TP_SHAPE(ROWS, 20), 0.7);
    for (int i = 0; i < 3; i++)
        tp_set_trainable(ctx, w[i], true);
    tp_set_trainable(ctx, x, true);
    for (int step = 0; step < 2 && tp_ok(ctx); step++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_backward(ctx, penalised(ctx, x, w));
        for (int i = 0; i < 3; i++)
            descend(ctx, w[i], 0.1);
        tp_scope_end(ctx, s);
    }
    ok = tp_ok(ctx);
    assert_true(ok || tp_error_code(ctx) == TP_ENOMEM);
    tp_ctx_free(ctx);
    tpi_fail_alloc(-1, false);
    return ok;
}

/* One error each time, and no leak (the leak checker looks). */
static void every_allocation_fails(void **state)
{
    long i = 0;

    (void)state;
    for (; i < 2000 && !two_steps(i, true); i++)
        two_steps(i, false);
    assert_in_range(i, 5, 1999);
}

/* A step leaves nothing behind: memory in use after it is what it was before. */
static void nothing_stays(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *x = leaf(ctx, TP_F64, 2), *g;
    size_t     before = 0;

    (void)state;
    for (int i = 0; i < 4; i++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_grad_graph(ctx, tp_exp(ctx, tp_square(ctx, x)), 1, &x, &g);
        if (i % 2 == 1)
            tp_grad_graph(ctx, tp_gelu(ctx, tp_square(ctx, x)), 1, &x, &g); /* fails */
        tp_error_clear(ctx);
        tp_scope_end(ctx, s);
        if (i > 0)
            assert_int_equal(tp_memory(ctx).now, before);
        before = tp_memory(ctx).now;
    }
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivatives_of_derivatives), cmocka_unit_test(mixed),
        cmocka_unit_test(leaves_and_scopes),          cmocka_unit_test(hooks_look),
        cmocka_unit_test(checkpoints_cannot),         cmocka_unit_test(wrong_use),
        cmocka_unit_test(own_op),                     cmocka_unit_test(as_pytorch),
        cmocka_unit_test(every_allocation_fails),     cmocka_unit_test(nothing_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
