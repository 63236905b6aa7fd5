/* test_module.c - the tree of modules: names, finding, freeing, shared weights, what is trained. */
#include "tests/nn/nn_test.h"

#include "nn/pattern.h"

typedef struct {
    tp_module    root, body, list, layer[2];
    tp_embedding embed;
    tp_linear    q[2], up[2], head;
    tp_rms_norm  norm;
    tp_tensor   *steps; /* an i64 buffer */
} net;

static void net_init(tp_ctx *ctx, net *n, bool tied)
{
    static const char *const numbers[] = { "0", "1" };

    tp_module_init(ctx, &n->root, NULL, "Net", "whatever");
    tp_module_init(ctx, &n->body, &n->root, "Body", "model");
    tp_embedding_init(ctx, &n->embed, &n->body, "embed", 5, 4, TP_F32);
    tp_module_init(ctx, &n->list, &n->body, "List", "layers");
    for (int i = 0; i < 2; i++) {
        tp_module_init(ctx, &n->layer[i], &n->list, "Layer", numbers[i]);
        tp_linear_init(ctx, &n->q[i], &n->layer[i], "q_proj", 4, 4, true, TP_F32);
        tp_linear_init(ctx, &n->up[i], &n->layer[i], "up_proj", 4, 6, false, TP_F32);
    }
    tp_rms_norm_init(ctx, &n->norm, &n->body, "norm", 4, 1e-6, TP_F32);
    tp_linear_init(ctx, &n->head, &n->root, "head", 4, 5, false, TP_F32);
    if (tied)
        tp_param_set(ctx, &n->head.m, &n->head.w, "weight", n->embed.w);
    tp_param_new(ctx, &n->root, &n->steps, "steps", TP_I64, TP_SHAPE(1));
    check_ok(ctx);
}

/* ---- names ----------------------------------------------------------------------------------------------------------- */

static void collect_names(tp_module *m, tp_param *p, const char *name, void *user)
{
    char *all = user;

    (void)m;
    (void)p;
    snprintf(all + strlen(all), 1000 - strlen(all), "%s ", name);
}

static void test_names(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    net     n;
    char    names[1000] = "";

    (void)state;
    net_init(ctx, &n, false);
    assert_string_equal(n.root.path, "");
    assert_string_equal(n.q[1].m.path, "model.layers.1.q_proj");
    tp_module_params(&n.root, false, collect_names, names);
    assert_string_equal(names, "steps model.embed.weight model.layers.0.q_proj.weight model.layers.0.q_proj.bias "
                               "model.layers.0.up_proj.weight model.layers.1.q_proj.weight model.layers.1.q_proj.bias "
                               "model.layers.1.up_proj.weight model.norm.weight head.weight ");
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_find(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_module  dotted;
    tp_linear  inner;
    net        n;

    (void)state;
    net_init(ctx, &n, false);
    assert_ptr_equal(tp_module_find(&n.root, ""), &n.root);
    assert_ptr_equal(tp_module_find(&n.root, "model.layers.1"), &n.layer[1]);
    assert_ptr_equal(tp_module_find(&n.list, "1.q_proj"), &n.q[1].m);
    assert_null(tp_module_find(&n.root, "model.layers.2"));
    assert_null(tp_module_find(&n.root, "model.layer"));
    assert_null(tp_module_find(&n.root, "model."));
    assert_null(tp_module_find(&n.root, "model..layers"));
    assert_null(tp_module_find(NULL, "model"));
    assert_null(tp_module_find(&n.root, NULL));
    assert_ptr_equal(tp_param_find(&n.root, "model.layers.0.q_proj.bias")->slot, &n.q[0].b);
    assert_ptr_equal(tp_param_find(&n.root, "steps")->slot, &n.steps);
    assert_ptr_equal(tp_param_find(&n.q[0].m, "weight")->slot, &n.q[0].w);
    assert_null(tp_param_find(&n.root, "model.layers.0.q_proj"));
    assert_null(tp_param_find(&n.root, "q_proj.bias"));
    assert_null(tp_param_find(&n.root, ""));
    assert_null(tp_param_find(&n.root, NULL));
    tp_module_init(ctx, &dotted, &n.root, "List", "a.b"); /* names with dots are found too */
    tp_linear_init(ctx, &inner, &dotted, "c", 2, 2, false, TP_F32);
    assert_ptr_equal(tp_module_find(&n.root, "a.b.c"), &inner.m);
    assert_ptr_equal(tp_param_find(&n.root, "a.b.c.weight")->slot, &inner.w);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_bad_init(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    char       longer[600];
    net        n;
    tp_module  other;
    tp_tensor *slot = NULL;

    (void)state;
    net_init(ctx, &n, false);
    tp_module_init(ctx, &n.layer[0], &n.list, "Layer", "0"); /* there already: must not cut the list */
    check_failed(ctx, TP_EARG, "already", NULL);
    assert_ptr_equal(tp_module_find(&n.root, "model.layers.1"), &n.layer[1]);
    tp_module_init(ctx, &n.body, &n.layer[0], "Body", "model");
    check_failed(ctx, TP_EARG, "ancestor", NULL);
    tp_module_init(ctx, &other, &n.list, "Layer", "1");
    check_failed(ctx, TP_EARG, "model.layers.1", "already");
    assert_string_equal(other.path, "");
    tp_module_free(&other); /* a failed init leaves something that can be freed */
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    tp_module_init(ctx, &other, &n.list, "Layer", longer);
    check_failed(ctx, TP_EARG, "511", NULL);
    tp_module_init(ctx, &other, &n.list, NULL, "x");
    check_failed(ctx, TP_EARG, "kind", NULL);
    tp_module_init(ctx, NULL, &n.list, "Layer", "x");
    assert_null(tp_module_new(ctx, 4, &n.list, "Layer", "x"));
    check_failed(ctx, TP_EARG, "4 bytes", NULL);
    assert_null(tp_param_new(ctx, &n.q[0].m, &slot, "weight", TP_F32, TP_SHAPE(1)));
    check_failed(ctx, TP_EARG, "weight", "already");
    assert_null(tp_param_new(ctx, &n.q[0].m, &n.q[0].w, "weight", TP_F32, TP_SHAPE(1)));
    check_failed(ctx, TP_EARG, "weight", "already");
    assert_non_null(n.q[0].w);
    assert_null(tp_param_set(ctx, &n.q[0].m, &slot, "weight", n.embed.w));
    check_failed(ctx, TP_EARG, "weight", "already");
    assert_null(tp_param_set(ctx, &n.q[0].m, &slot, "other", NULL));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    assert_null(tp_param_new(ctx, &n.q[0].m, &slot, longer, TP_F32, TP_SHAPE(1)));
    check_failed(ctx, TP_EARG, "127 bytes", NULL);
    assert_null(tp_param_new(ctx, NULL, &slot, "w", TP_F32, TP_SHAPE(1)));
    check_failed(ctx, TP_EARG, "module", NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

/* ---- freeing --------------------------------------------------------------------------------------------------------- */

static void count_modules(tp_module *m, void *user)
{
    (void)m;
    ++*(int *)user;
}

static int below(tp_module *m)
{
    int n = 0;

    tp_module_walk(m, count_modules, &n);
    return n;
}

static void test_freeing(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_module *own;
    tp_scope   s;
    size_t     before;
    net        n;

    (void)state;
    before = tp_memory(ctx).now;
    s = tp_scope_begin(ctx);
    net_init(ctx, &n, true);
    own = tp_module_new(ctx, sizeof(tp_module), &n.list, "Owned", "own");
    assert_int_equal(below(&n.root), 13);
    tp_module_free(&n.layer[0]); /* a child first, with everything below it */
    assert_int_equal(below(&n.root), 10);
    assert_null(n.q[0].w);
    tp_module_free(&n.layer[0]);
    tp_module_free(own);
    assert_int_equal(below(&n.root), 9);
    tp_module_free(&n.q[1].m);
    tp_module_free(&n.root);
    tp_module_free(&n.head.m); /* freed with its parent: nothing left to do */
    tp_module_free(&n.body);
    tp_module_free(NULL);
    tp_scope_end(ctx, s);
    assert_int_equal(tp_memory(ctx).now, before);
    free_ctx(ctx);
}

static void free_children(tp_module *m, void *user)
{
    (void)user;
    while (m->child != NULL)
        tp_module_free(m->child);
}

static void append_once(tp_module *m, void *user)
{
    tp_module *extra = user;

    if (extra->ctx == NULL)
        tp_module_init(m->ctx, extra, m, "Extra", "extra");
}

static void test_walk(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_module  extra = { 0 };
    net        n;

    (void)state;
    net_init(ctx, &n, false);
    tp_module_walk(&n.root, append_once, &extra);
    assert_ptr_equal(extra.parent, &n.root);
    tp_module_walk(&n.list, free_children, NULL); /* fn may free below the module it is given */
    assert_null(n.list.child);
    tp_module_walk(NULL, free_children, NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

/* ---- shared weights -------------------------------------------------------------------------------------------------- */

static void count_params(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)m;
    (void)p;
    (void)name;
    ++*(int *)user;
}

static void test_tied(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_REF, 0);
    net      n;
    int      all = 0, unique = 0;
    tp_count c;

    (void)state;
    net_init(ctx, &n, true);
    assert_true(tp_same_storage(n.head.w, n.embed.w));
    tp_module_params(&n.root, false, count_params, &all);
    tp_module_params(&n.root, true, count_params, &unique);
    assert_int_equal(all, 10);
    assert_int_equal(unique, 9);
    c = tp_module_count(&n.root);
    assert_int_equal(c.all, 1 + 20 + 2 * (16 + 4 + 24) + 4);
    assert_int_equal(c.trainable, c.all - 1);
    assert_int_equal(c.tensors, 9);
    assert_int_equal(c.trainable_tensors, 8);
    assert_int_equal(tp_module_count(NULL).all, 0);
    tp_param_set(ctx, &n.head.m, &n.head.w, "weight", n.embed.w); /* once more: still one holder a slot */
    tp_module_free(&n.embed.m);
    assert_int_equal(tp_numel(n.head.w), 20); /* the other one keeps it */
    tp_module_free(&n.root);
    free_ctx(ctx);
}

/* More parameters than any fixed table would hold. */
static void test_many(void **state)
{
    enum { MANY = 3000 };
    tp_ctx            *ctx = tp_ctx_new(TP_REF, 0);
    tp_module          root;
    static tp_tensor  *slot[MANY];
    char               name[16];
    tp_scope           s = tp_scope_begin(ctx);
    tp_tensor         *shared = tp_zeros(ctx, TP_F32, TP_SHAPE(2));

    (void)state;
    tp_module_init(ctx, &root, NULL, "Many", "");
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "p%d", i);
        if (i % 3 == 0)
            tp_param_set(ctx, &root, &slot[i], name, shared);
        else
            tp_param_new(ctx, &root, &slot[i], name, TP_F32, TP_SHAPE(2));
    }
    tp_scope_end(ctx, s);
    assert_int_equal(tp_module_count(&root).tensors, 2001);
    tp_module_free(&root);
    free_ctx(ctx);
}

/* ---- what is trained ------------------------------------------------------------------------------------------------- */

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
    check_failed(ctx, TP_EARG, "'gate.weight' matches nothing", "embed.weight q_proj.weight q_proj.bias up_proj.weight");
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
        { "a|b", "x.a", "'b'" },         { "(a|b)|c", "b", "'c'" },           { "a\\|b|c", "c", "'a\\|b'" },
        { "[a|b]|c", "a", "'c'" },       { "[]|a]|c", "a", "'c'" },           { "[^]|a]|c", "b", "'c'" },
        { "[[:alpha:]|]|77", "q", "'77'" }, { "a(?:x|y(z|w))|c", "ayw", "'c'" }, { "[\\]|]|c", "]", "'c'" },
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

/* ---- identity, printing, paths in errors ----------------------------------------------------------------------------- */

static const char *identity_of(tp_ctx *ctx, net *n)
{
    n->root.identity = NULL;
    return tp_module_identity(ctx, &n->root);
}

static void test_identity(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    const char *first;
    net         n;

    (void)state;
    net_init(ctx, &n, false);
    first = tp_module_identity(ctx, &n.root);
    assert_int_equal(strlen(first), 32);
    assert_string_equal(tp_module_identity(ctx, &n.root), first);
    tp_f32(ctx, n.norm.w)[3] = 2;
    assert_string_equal(tp_module_identity(ctx, &n.root), first); /* taken once */
    assert_string_not_equal(identity_of(ctx, &n), first);
    tp_f32(ctx, n.norm.w)[3] = 1;
    assert_string_equal(identity_of(ctx, &n), first);
    assert_null(tp_module_identity(ctx, NULL));
    check_failed(ctx, TP_EARG, "no module", NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_print(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    FILE   *f = tmpfile();
    char    text[2000] = "";
    net     n;

    (void)state;
    net_init(ctx, &n, true);
    tp_module_freeze(ctx, &n.norm.m);
    tp_module_print(ctx, &n.root, f);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(text, "\n      0: Layer\n        q_proj: Linear\n          weight f32 [4, 4] trainable\n"));
    assert_non_null(strstr(text, "weight f32 [4]\n"));
    assert_non_null(strstr(text, "\n113 parameters, 108 trainable\n"));
    tp_module_print(ctx, NULL, stdout);
    check_failed(ctx, TP_EARG, "no module", NULL);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

static void test_paths_in_errors(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope    s = tp_scope_begin(ctx);
    const char *before;
    net         n;

    (void)state;
    net_init(ctx, &n, false);
    assert_null(tp_linear_forward(ctx, &n.q[1], make_some(ctx, TP_F32, TP_SHAPE(1, 3), 1)));
    check_failed(ctx, TP_ESHAPE, "model.layers.1.q_proj: ", NULL);
    before = tp_module_enter(ctx, &n.layer[0]);
    tp_module_leave(ctx, tp_module_enter(ctx, &n.q[0].m));
    tp_fail(ctx, TP_EARG, "x");
    check_failed(ctx, TP_EARG, "model.layers.0: x", NULL);
    tp_module_leave(ctx, before);
    tp_fail(ctx, TP_EARG, "x");
    assert_string_equal(tp_error(ctx), "x");
    tp_error_clear(ctx);
    tp_scope_end(ctx, s);
    tp_module_free(&n.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_find),
        cmocka_unit_test(test_bad_init),      cmocka_unit_test(test_freeing),
        cmocka_unit_test(test_walk),          cmocka_unit_test(test_tied),
        cmocka_unit_test(test_many),          cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_train_only),    cmocka_unit_test(test_pattern_split),
        cmocka_unit_test(test_names_that_exist), cmocka_unit_test(test_training_flag),
        cmocka_unit_test(test_grad_clear),    cmocka_unit_test(test_identity),
        cmocka_unit_test(test_print),         cmocka_unit_test(test_paths_in_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
