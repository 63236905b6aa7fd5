/* test_optimizer.c - what an optimiser trains, groups, 16-bit parameters, gradients used up, accumulated and void,
 * clipping. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "optim/optimizer.h"

typedef struct {
    tp_module root;
    tp_linear a, b;
} pair;

static void pair_init(tp_ctx *ctx, pair *m, tp_dtype t)
{
    tp_set_step(ctx, 0);
    tp_module_init(ctx, &m->root, NULL, "Pair", "");
    tp_linear_init(ctx, &m->a, &m->root, "a", 3, 4, true, t);
    tp_linear_init(ctx, &m->b, &m->root, "b", 4, 2, false, t);
}

/* Mean square of the output on fixed samples. */
static tp_tensor *pair_loss(tp_ctx *ctx, pair *m, uint64_t seed)
{
    tp_tensor *x = make_some(ctx, tp_dtype_of(m->a.w), TP_SHAPE(5, 3), seed);

    return tp_mean(
        ctx,
        tp_square(ctx,
                  tp_shift(ctx, tp_linear_forward(ctx, &m->b, tp_tanh(ctx, tp_linear_forward(ctx, &m->a, x))), 0.5)),
        NULL, 0, false);
}

static void backward(tp_ctx *ctx, pair *m, uint64_t seed)
{
    tp_scope s = tp_scope_begin(ctx);

    tp_backward(ctx, pair_loss(ctx, m, seed));
    tp_scope_end(ctx, s);
}

/* Gives x this gradient, whatever its dtype. */
static void give(tp_ctx *ctx, tp_tensor *x, const double *g)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *dy = tp_like(ctx, x);

    for (int64_t i = 0; i < tp_numel(x); i++)
        tpi_store(tp_dtype_of(x), tp_raw(ctx, dy), i, g[i]);
    tp_backward(ctx, tp_sum(ctx, tp_mul(ctx, x, dy), NULL, 0, false));
    tp_scope_end(ctx, s);
}

/* ---- what is trained --------------------------------------------------------------------------------------------- */

static void test_what_is_trained(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *frozen;
    pair       m;
    tp_optim  *opt;

    (void)state;
    pair_init(ctx, &m, TP_F32);
    tp_module_freeze(ctx, &m.b.m);
    frozen = copy_of(ctx, m.b.w);
    opt = tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .lr = 0.1, .weight_decay = 0.1 });
    assert_int_equal(tp_optim_size(opt), 16);
    tp_module_unfreeze(ctx, &m.b.m); /* what is trainable now counts, not what will be */
    backward(ctx, &m, 1);
    assert_true(tp_optim_step(ctx, opt));
    assert_true(same_bits(ctx, m.b.w, frozen));
    assert_int_equal(tp_optim_steps(opt), 1);
    tp_optim_free(opt);

    tp_module_freeze(ctx, &m.root);
    assert_null(tp_adamw_new(ctx, &m.root, NULL));
    check_failed(ctx, TP_EARG, "nothing below 'Pair' is trainable", NULL);
    tp_release(frozen);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_retains(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    size_t    now = tp_memory(ctx).now;
    pair      m;
    tp_optim *opt;

    (void)state;
    pair_init(ctx, &m, TP_F32);
    opt = tp_adamw_new(ctx, &m.root, NULL);
    backward(ctx, &m, 1);
    tp_module_free(&m.root); /* the optimiser still holds what it trains */
    assert_true(tp_optim_step(ctx, opt));
    tp_optim_free(opt);
    tp_optim_free(NULL);
    assert_int_equal(tp_memory(ctx).now, now);
    free_ctx(ctx);
}

static void test_tied(void **state)
{
    tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope     s = tp_scope_begin(ctx);
    tp_module    root;
    tp_embedding e;
    tp_linear    head;
    tp_optim    *opt;

    (void)state;
    tp_module_init(ctx, &root, NULL, "Root", "");
    tp_embedding_init(ctx, &e, &root, "embed", 6, 4, TP_F32);
    tp_linear_init(ctx, &head, &root, "head", 4, 6, false, TP_F32);
    tp_param_set(ctx, &head.m, &head.w, "weight", e.w);
    opt = tp_sgd_new(ctx, &root,
                     &(tp_sgd_opts){ .lr = 0.5, .groups = (tp_group[]){ { "embed.*", 1, 0 } }, .n_groups = 1 });
    assert_int_equal(tp_optim_size(opt), 24); /* once */
    tp_optim_free(opt);
    /* two headers on one storage would each get a part of the gradient */
    tp_param_set(ctx, &head.m, &head.w, "weight", tp_detach(ctx, e.w));
    tp_set_trainable(ctx, head.w, true);
    assert_null(tp_sgd_new(ctx, &root, NULL));
    check_failed(ctx, TP_EARG, "embed.weight and head.weight", "one tensor");
    tp_set_trainable(ctx, head.w, false);
    opt = tp_sgd_new(ctx, &root, NULL);
    assert_non_null(opt);
    tp_optim_free(opt);
    tp_param_set(ctx, &head.m, &head.w, "weight", tp_transpose(ctx, make_some(ctx, TP_F32, TP_SHAPE(4, 6), 1), 0, 1));
    tp_set_trainable(ctx, head.w, true);
    assert_null(tp_sgd_new(ctx, &root, NULL)); /* a kernel would step other elements */
    check_failed(ctx, TP_EARG, "head.weight is a strided view", NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&root);
    free_ctx(ctx);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void refused(tp_ctx *ctx, tp_optim *opt, const char *part)
{
    assert_null(opt);
    check_failed(ctx, TP_EARG, part, NULL);
}

static void test_bad_options(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    tp_group g = { "a.weight", 0, 0 };
    pair     m;

    (void)state;
    pair_init(ctx, &m, TP_F32);
    refused(ctx, tp_adamw_new(ctx, NULL, NULL), "no module");
    refused(ctx, tp_adamw_new(ctx, &m.root, &(tp_adamw_opts){ .lr = NAN }), "lr is");
    refused(ctx, tp_adamw_new(ctx, &m.root, &(tp_adamw_opts){ .lr = 1e7 }), "lr is 1e+07");
    refused(ctx, tp_adamw_new(ctx, &m.root, &(tp_adamw_opts){ .beta1 = 1 }), "beta1 is 1");
    refused(ctx, tp_adam_new(ctx, &m.root, &(tp_adamw_opts){ .beta2 = 1 }), "beta2 is 1");
    refused(ctx, tp_adam_new(ctx, &m.root, &(tp_adamw_opts){ .eps = NAN }), "eps is");
    refused(ctx, tp_adam_new(ctx, &m.root, &(tp_adamw_opts){ .weight_decay = INFINITY }), "weight_decay is inf");
    refused(ctx, tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .momentum = 1.5 }), "momentum is 1.5");
    refused(ctx, tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .nesterov = true }), "nesterov");
    refused(ctx, tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .nesterov = true, .momentum = 0.9, .dampening = 0.1 }),
            "nesterov");
    refused(ctx, tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .beta2 = 2 }), "beta2 is 2");
    refused(ctx, tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .n_groups = 1 }), "1 groups");
    refused(ctx, tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .groups = &g, .n_groups = -1 }), "-1 groups");
    g.lr_factor = NAN;
    refused(ctx, tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .groups = &g, .n_groups = 1 }), "lr_factor");
    g = (tp_group){ "a.weight|c.weight", 0, 0 };
    refused(ctx, tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .groups = &g, .n_groups = 1 }),
            "group: 'c.weight' matches nothing; there are: a.weight a.bias b.weight");
    tp_module_freeze(ctx, &m.b.m);
    g.pattern = "b.weight";
    refused(ctx, tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .groups = &g, .n_groups = 1 }), "'b.weight' matches nothing");
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_learning_rates(void **state)
{
    static const double one[12] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const tp_group      groups[] = { { "a.*", 2, 0 },
                                     { ".*weight", 0, 0.5 },
                                     { "b.weight", 9, 9 } }; /* the last is in the shadow */
    tp_ctx             *ctx = tp_ctx_new(TP_REF, 0);
    pair                m;
    tp_optim           *opt;

    (void)state;
    pair_init(ctx, &m, TP_F64);
    tp_param_find(&m.root, "a.bias")->lr_factor = 0.25;
    tp_param_find(&m.root, "a.weight")->no_decay = true;
    tp_init_constant(ctx, m.a.w, 1);
    tp_init_constant(ctx, m.a.b, 1);
    tp_init_constant(ctx, m.b.w, 1);
    opt = tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .lr = 0.1, .weight_decay = 1, .groups = groups, .n_groups = 3 });
    check_ok(ctx);
    assert_true(tp_optim_lr(opt) == 0.1);
    tp_optim_set_lr(opt, -1); /* passed over */
    tp_optim_set_lr(opt, NAN);
    assert_true(tp_optim_lr(opt) == 0.1);
    tp_optim_set_lr(opt, 0.01);
    give(ctx, m.a.w, one);
    give(ctx, m.a.b, one);
    give(ctx, m.b.w, one);
    tp_optim_step(ctx, opt);
    assert_true(fabs(value_at(ctx, m.a.w, 0) - (1 - 0.02 * 1)) < 1e-15);        /* its own flag: no decay */
    assert_true(fabs(value_at(ctx, m.a.b, 0) - (1 - 0.25 * 0.02 * 2)) < 1e-15); /* group and own factor */
    assert_true(fabs(value_at(ctx, m.b.w, 0) - (1 - 0.01 * 1.5)) < 1e-15);
    tp_optim_free(opt);
    assert_true(isnan(tp_optim_lr(NULL)));
    assert_int_equal(tp_optim_steps(NULL), 0);
    assert_int_equal(tp_optim_size(NULL), 0);
    tp_optim_set_lr(NULL, 1);
    tp_optim_scale(NULL, 1);
    assert_false(tp_optim_step(ctx, NULL));
    check_failed(ctx, TP_EARG, "no optimiser", NULL);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* ---- 16-bit parameters ------------------------------------------------------------------------------------------- */

/* With the same gradients a bf16 parameter is at every step the f32 one, rounded: its master moves like that. */
static void check_master(tp_dtype t)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    tp_linear l, wide;
    tp_optim *opt, *wide_opt;
    double    g[6];

    tp_linear_init(ctx, &l, NULL, "", 3, 2, false, t);
    tp_linear_init(ctx, &wide, NULL, "", 3, 2, false, TP_F32);
    tp_copy_to(ctx, wide.w, l.w);
    opt = tp_adamw_new(ctx, &l.m, &(tp_adamw_opts){ .lr = 1e-4, .weight_decay = 0.1 });
    wide_opt = tp_adamw_new(ctx, &wide.m, &(tp_adamw_opts){ .lr = 1e-4, .weight_decay = 0.1 });
    for (uint64_t step = 0; step < 200; step++) {
        if (step == 100) { /* somebody writes new values: they count, not the old master */
            tp_init_constant(ctx, l.w, 0.125);
            tp_init_constant(ctx, wide.w, 0.125);
        }
        for (int64_t i = 0; i < 6; i++) {
            g[i] = 0.3 + some(step, i);
            g[i] = t == TP_BF16 ? (double)tpi_from_bf16(tpi_to_bf16((float)g[i]))
                                : (double)tpi_from_f16(tpi_to_f16((float)g[i]));
        }
        give(ctx, l.w, g);
        give(ctx, wide.w, g);
        assert_int_equal(tp_dtype_of(tp_grad(l.w)), TP_F32);
        tp_optim_step(ctx, opt);
        tp_optim_step(ctx, wide_opt);
        check_ok(ctx);
        for (int64_t i = 0; i < 6; i++) {
            float v = (float)value_at(ctx, wide.w, i);

            assert_true(value_at(ctx, l.w, i) ==
                        (double)(t == TP_BF16 ? tpi_from_bf16(tpi_to_bf16(v)) : tpi_from_f16(tpi_to_f16(v))));
        }
    }
    tp_optim_free(opt);
    tp_optim_free(wide_opt);
    tp_module_free(&l.m);
    tp_module_free(&wide.m);
    free_ctx(ctx);
}

static void test_masters(void **state)
{
    (void)state;
    check_master(TP_BF16);
    check_master(TP_F16);
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static void test_used_up(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor *g, *p;
    pair       m;
    tp_optim  *opt;

    (void)state;
    pair_init(ctx, &m, TP_F64);
    opt = tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .lr = 0.1, .momentum = 0.9 });
    backward(ctx, &m, 1);
    g = copy_of(ctx, tp_grad(m.a.w));
    tp_optim_step(ctx, opt);
    assert_true(same_bits(ctx, tp_grad(m.a.w), g)); /* readable until the next backward */
    p = copy_of(ctx, m.a.w);
    assert_false(tp_optim_step(ctx, opt)); /* no new ones: nothing moves */
    check_failed(ctx, TP_EARG, "optim_step: none of 3 parameters has a new gradient (the first is a.weight)", NULL);
    assert_true(tp_grad_norm(ctx, opt) == 0);
    assert_true(same_bits(ctx, m.a.w, p));
    tp_copy_to(ctx, m.a.w, p);
    tp_optim_set_lr(opt, 0);
    backward(ctx, &m, 2); /* overwrites */
    tp_release(g);
    g = copy_of(ctx, tp_grad(m.a.w));
    tp_grad_clear(ctx, &m.root);
    backward(ctx, &m, 2);
    assert_true(same_bits(ctx, tp_grad(m.a.w), g));
    backward(ctx, &m, 2); /* and adds up before a step */
    assert_true(fabs(value_at(ctx, tp_grad(m.a.w), 3) - 2 * value_at(ctx, g, 3)) < 1e-15);
    tp_release(g);
    tp_release(p);
    tp_optim_free(opt);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_scale_and_norm(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    pair      m;
    tp_optim *opt;
    double    norm, sum = 0;

    (void)state;
    pair_init(ctx, &m, TP_F32);
    tp_param_set(ctx, &m.b.m, &m.b.w, "weight",
                 fill_some(ctx, tp_zeros(ctx, TP_F64, TP_SHAPE(2, 4)), 1, 1)); /* f32 and f64 together */
    tp_set_trainable(ctx, m.b.w, true);
    opt = tp_sgd_new(ctx, &m.root, &(tp_sgd_opts){ .lr = 1 });
    give(ctx, m.a.w, (double[12]){ 3 });
    give(ctx, m.b.w, (double[8]){ 0, 4 });
    norm = tp_grad_norm(ctx, opt);
    assert_true(fabs(norm - 5) < 1e-6);
    tp_optim_scale(opt, -0.5);
    assert_true(fabs(tp_grad_norm(ctx, opt) - 2.5) < 1e-6);
    assert_true(tp_clip_norm(ctx, opt, 0) == tp_grad_norm(ctx, opt)); /* no clipping */
    tp_optim_scale(opt, 2);
    assert_true(fabs(tp_clip_norm(ctx, opt, 1) - 10) < 1e-6);
    assert_true(fabs(tp_grad_norm(ctx, opt) - 1) < 1e-6);
    sum = value_at(ctx, m.b.w, 1);
    tp_optim_step(ctx, opt);
    assert_true(fabs(sum - value_at(ctx, m.b.w, 1) - 0.8) < 1e-6);
    give(ctx, m.b.w, (double[8]){ 0, 4 }); /* a scale is for one step */
    sum = value_at(ctx, m.b.w, 1);
    tp_optim_step(ctx, opt);
    assert_true(fabs(sum - value_at(ctx, m.b.w, 1) - 4) < 1e-6);

    give(ctx, m.b.w, (double[8]){ -3, 1, NAN });
    tp_optim_scale(opt, 0.5);
    assert_true(tp_clip_value(ctx, opt, 1)); /* of what the step takes: 0.5 g */
    assert_true(value_at(ctx, tp_grad(m.b.w), 0) == -2 && value_at(ctx, tp_grad(m.b.w), 1) == 1);
    assert_true(isnan(tp_grad_norm(ctx, opt)));
    assert_false(tp_clip_value(ctx, opt, 0));
    check_failed(ctx, TP_EARG, "limit of 0", NULL);
    assert_false(tp_clip_value(ctx, opt, NAN));
    check_failed(ctx, TP_EARG, "limit of", NULL);
    assert_false(tp_clip_value(ctx, NULL, 1));
    check_failed(ctx, TP_EARG, "no optimiser", NULL);
    assert_true(isnan(tp_grad_norm(ctx, NULL)));
    check_failed(ctx, TP_EARG, "no optimiser", NULL);
    assert_true(isnan(tp_clip_norm(ctx, NULL, 1)));
    check_failed(ctx, TP_EARG, "no optimiser", NULL);
    tp_optim_free(opt);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* An op whose backward fails half-way through a network. */
static tp_tensor *bad_forward(tp_ctx *ctx, tp_call *c)
{
    return tp_scale(ctx, c->in[0], 1);
}

static void bad_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    (void)dy;
    (void)dx;
    tp_fail(ctx, TP_ENOMEM, "bad: out of memory, on purpose");
}

static void test_void_gradients(void **state)
{
    static const tp_op bad = { .name = "bad", .forward = bad_forward, .backward = bad_backward };
    tp_ctx            *ctx = tp_ctx_new(TP_REF, 0);
    pair               m;
    tp_optim          *opt;
    tp_tensor         *before, *x, *y;
    tp_scope           s;

    (void)state;
    pair_init(ctx, &m, TP_F32);
    before = copy_of(ctx, m.b.w);
    opt = tp_adamw_new(ctx, &m.root, NULL);
    s = tp_scope_begin(ctx);
    x = tp_linear_forward(ctx, &m.a, make_some(ctx, TP_F32, TP_SHAPE(5, 3), 1));
    y = tp_linear_forward(ctx, &m.b, tp_apply(ctx, &bad, NULL, TP_IN(x)));
    assert_false(tp_backward(ctx, tp_sum(ctx, y, NULL, 0, false)));
    check_failed(ctx, TP_ENOMEM, "bad", NULL);
    tp_scope_end(ctx, s);
    assert_false(tp_optim_step(ctx, opt));
    check_failed(ctx, TP_EARG, "the gradient of b.weight is void", "tp_grad_clear");
    assert_true(isnan(tp_clip_norm(ctx, opt, 1)));
    check_failed(ctx, TP_EARG, "void", NULL);
    backward(ctx, &m, 1); /* what is added to a void one is void too */
    assert_false(tp_optim_step(ctx, opt));
    check_failed(ctx, TP_EARG, "void", NULL);
    assert_true(same_bits(ctx, m.b.w, before));
    assert_int_equal(tp_optim_steps(opt), 0);
    tp_grad_clear(ctx, &m.root);
    backward(ctx, &m, 1);
    assert_true(tp_optim_step(ctx, opt));
    check_ok(ctx);
    tp_release(before);
    tp_optim_free(opt);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

#if defined(__SANITIZE_ADDRESS__)
enum { STEADY = 1000 }; /* never: under a sanitizer the pool keeps nothing */
#else
enum { STEADY = 5 };
#endif

/* The same seed, the same bits; and a training loop in steady state takes nothing from the system. */
static void test_steady(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    pair       m;
    tp_optim  *opt;
    tp_tensor *once = NULL;

    (void)state;
    for (int run = 0; run < 2; run++) {
        tp_seed(ctx, 3);
        pair_init(ctx, &m, TP_F32);
        opt = tp_lion_new(ctx, &m.root, &(tp_lion_opts){ .lr = 1e-2 });
        for (uint64_t step = 0; step < 30; step++) {
            if (step == STEADY)
                tpi_fail_alloc(0, true); /* from here on every allocation would fail */
            backward(ctx, &m, step);
            tp_clip_norm(ctx, opt, 0.5);
            tp_optim_step(ctx, opt);
        }
        tpi_fail_alloc(-1, false);
        check_ok(ctx);
        if (once != NULL)
            assert_true(same_bits(ctx, once, m.a.w));
        else
            once = copy_of(ctx, m.a.w);
        tp_optim_free(opt);
        tp_module_free(&m.root);
    }
    tp_release(once);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_trained),
        cmocka_unit_test(test_retains),
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_learning_rates),
        cmocka_unit_test(test_masters),
        cmocka_unit_test(test_used_up),
        cmocka_unit_test(test_scale_and_norm),
        cmocka_unit_test(test_void_gradients),
        cmocka_unit_test(test_steady),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
