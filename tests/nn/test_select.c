/* test_select.c - what is trained: freezing, patterns and the names in their errors, the training flag, gradients dropped. */
#include "tests/nn/nn_net.h"

#include "nn/pattern.h"

static void test_freeze(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    net     n;

    (void)state;
    net_init(ctx, &n, true);
    tp_module_freeze(ctx, &n.root);
    assert_int_equal(tp_module_count(&n.root).trainable, 0);
    tp_param_find(&n.root, "model.norm.weight")->buffer = true;
    tp_module_unfreeze(ctx, &n.root);
    assert_false(tp_trainable(n.steps)); /* integers have no gradient */
    assert_false(tp_trainable(n.norm.w));
    assert_true(tp_trainable(n.embed.w));
    tp_module_freeze(ctx, &n.layer[0]);
    assert_false(tp_trainable(n.q[0].w));
    assert_true(tp_trainable(n.q[1].w));
    tp_module_freeze(ctx, NULL);
    check_failed(ctx, TP_EARG, "no module", NULL);
    tp_module_unfreeze(ctx, NULL);
    check_failed(ctx, TP_EARG, "no module", NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static int train_only(tp_ctx *ctx, net *n, const char *pattern)
{
    int k = tp_module_train_only(ctx, &n->root, pattern);

    check_ok(ctx);
    assert_int_equal(tp_module_count(&n->root).trainable_tensors, k);
    return k;
}

static void test_train_only(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    net     n;

    (void)state;
    net_init(ctx, &n, true);
    assert_int_equal(train_only(ctx, &n, "weight"), 6);
    assert_int_equal(train_only(ctx, &n, "q_proj.weight|bias"), 4);
    assert_int_equal(train_only(ctx, &n, "model.layers.1..*"), 3);
    assert_int_equal(train_only(ctx, &n, "(q|up)_proj\\.weight"), 4);
    assert_int_equal(train_only(ctx, &n, "head.weight"), 1); /* a tied weight by its second name */
    assert_int_equal(train_only(ctx, &n, "(embed|head).weight"), 1);
    assert_true(tp_trainable(n.embed.w));
    assert_int_equal(train_only(ctx, &n, "[^|]*norm[.|]weight"), 1); /* a bar in a class splits nothing */

    assert_int_equal(tp_module_train_only(ctx, &n.root, "bias|gate.weight|nix"), 0); /* and changes nothing */
    check_failed(ctx, TP_EARG, "'gate.weight' matches nothing",
                 "embed.weight q_proj.weight q_proj.bias up_proj.weight");
    assert_int_equal(tp_module_count(&n.root).trainable_tensors, 1);
    assert_true(tp_trainable(n.norm.w));
    assert_int_equal(tp_module_train_only(ctx, &n.root, "steps"), 0);
    check_failed(ctx, TP_EARG, "'steps' matches nothing", NULL);
    assert_int_equal(tp_module_train_only(ctx, &n.root, "proj.weight"), 0); /* part of a name is no match */
    check_failed(ctx, TP_EARG, "matches nothing", NULL);
    assert_int_equal(tp_module_train_only(ctx, &n.root, "weight|"), 0);
    check_failed(ctx, TP_EARG, "'' matches nothing", NULL);
    assert_int_equal(tp_module_train_only(ctx, &n.root, "(weight"), 0);
    check_failed(ctx, TP_EFORMAT, "regular expression", NULL);
    assert_int_equal(tp_module_train_only(ctx, &n.root, ""), 0);
    check_failed(ctx, TP_EARG, "empty pattern", NULL);
    assert_int_equal(tp_module_train_only(ctx, &n.root, NULL), 0);
    check_failed(ctx, TP_EARG, "empty pattern", NULL);
    assert_int_equal(tp_module_train_only(ctx, NULL, "weight"), 0);
    check_failed(ctx, TP_EARG, "no module", NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_pattern_split(void **state)
{
    static const struct {
        const char *pattern, *hit, *missed; /* missed: the alternative that the error names */
    } cases[] = {
        { "a|b", "x.a", "'b'" },
        { "(a|b)|c", "b", "'c'" },
        { "a\\|b|c", "c", "'a\\|b'" },
        { "[a|b]|c", "a", "'c'" },
        { "[]|a]|c", "a", "'c'" },
        { "[^]|a]|c", "b", "'c'" },
        { "[[:alpha:]|]|77", "q", "'77'" },
        { "a(?:x|y(z|w))|c", "ayw", "'c'" },
        { "[\\]|]|c", "]", "'c'" },
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tpi_pattern *p = tpi_pattern_new(ctx, "here", cases[i].pattern);

        check_ok(ctx);
        assert_true(tpi_pattern_matches(ctx, p, cases[i].hit));
        assert_false(tpi_pattern_check(ctx, p, NULL));
        check_failed(ctx, TP_EARG, cases[i].missed, "here");
        tpi_pattern_free(p);
    }
    free_ctx(ctx);
}

static void test_names_that_exist(void **state)
{
    tpi_names n = { "" };
    char      name[64];

    (void)state;
    tpi_names_add(&n, "model.layers.0.up_proj2", 1);
    tpi_names_add(&n, "model.layers.0.up_proj", 1); /* part of the other, and yet a name */
    tpi_names_add(&n, "model.layers.1.up_proj", 1);
    assert_string_equal(n.text, "up_proj2 up_proj");
    tpi_names_add(&n, "norm", 2);
    tpi_names_add(&n, "a.b.c", 2);
    assert_string_equal(n.text, "up_proj2 up_proj norm b.c");
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "layer%d", i);
        tpi_names_add(&n, name, 1);
    }
    assert_string_equal(n.text + strlen(n.text) - 4, " ...");
}

static void test_training_flag(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    tp_dropout_layer late;
    net              n;

    (void)state;
    net_init(ctx, &n, false);
    assert_true(n.q[1].m.training);
    tp_module_set_training(&n.root, false);
    assert_false(n.q[1].m.training);
    tp_dropout_init(ctx, &late, &n.root, "late", 0.5); /* as its parent is */
    assert_false(late.m.training);
    tp_module_set_training(&n.root, true);
    assert_true(late.m.training);
    tp_module_set_training(NULL, true);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_grad_clear(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_REF, 0);
    tp_linear l;
    tp_scope  s = tp_scope_begin(ctx);

    (void)state;
    tp_linear_init(ctx, &l, NULL, "", 2, 1, false, TP_F32);
    tp_backward(ctx, tp_linear_forward(ctx, &l, make_some(ctx, TP_F32, TP_SHAPE(1, 2), 1)));
    assert_non_null(tp_grad(l.w));
    tp_fail(ctx, TP_EARG, "on purpose");
    tp_grad_clear(ctx, &l.m); /* works on a failed context */
    assert_null(tp_grad(l.w));
    tp_error_clear(ctx);
    tp_grad_clear(ctx, NULL);
    tp_scope_end(ctx, s);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_train_only),
        cmocka_unit_test(test_pattern_split),
        cmocka_unit_test(test_names_that_exist),
        cmocka_unit_test(test_training_flag),
        cmocka_unit_test(test_grad_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
