/* test_adapter.c - the chain of adapters of a layer, and the options of a type, with types made here. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"

#include <stddef.h>

/* ---- a type that scales by 2 and adds 1 on the side that its option names -------------------------------------------------- */

typedef struct {
    int    before; /* bool, 0: on the input, not on the output */
    int    count;  /* 3, in [1, 5] */
    double factor; /* 2, in [0, 10] */
    double extra;  /* 0.5, no range to speak of */
} step_opts;

typedef struct {
    tp_adapter base;
    tp_tensor *w;      /* [1] = factor */
    tp_linear  inside; /* a module of its own, on demand */
} step;

static int inits;

static void step_init(tp_ctx *ctx, tp_adapter *ad)
{
    const step_opts *o = ad->opts;
    step            *s = (step *)ad;

    inits++;
    tp_init_constant(ctx, tp_param_new(ctx, &ad->m, &s->w, "w", TP_F32, TP_SHAPE(1)), o->factor);
    if (o->count == 4)
        tp_linear_init(ctx, &s->inside, &ad->m, "inside", 2, 2, false, TP_F32);
    if (o->count == 5)
        tp_fail(ctx, TP_EARG, "step: five is too much");
}

static tp_tensor *step_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    const step_opts *o = ad->opts;
    step            *s = (step *)ad;

    if (o->before)
        return tp_adapter_next(ctx, ad, tp_shift(ctx, tp_mul(ctx, x, s->w), 1));
    return tp_shift(ctx, tp_mul(ctx, tp_adapter_next(ctx, ad, x), s->w), 1);
}

static const tp_option step_options[] = {
    { "before", offsetof(step_opts, before), TP_OPT_BOOL, 0, 0, 1, "side" },
    { "count", offsetof(step_opts, count), TP_OPT_INT, 3, 1, 5, "any" },
    { "factor", offsetof(step_opts, factor), TP_OPT_REAL, 2, 0, 10, "of w" },
    { "extra", offsetof(step_opts, extra), TP_OPT_REAL, 0.5, -1, 1e9, "any" },
    { NULL, 0, TP_OPT_INT, 0, 0, 0, NULL },
};

static const tp_adapter_type step_type = {
    .name = "step", .size = sizeof(step), .opts_size = sizeof(step_opts), .options = step_options, .init = step_init, .forward = step_forward,
};

static tp_ctx *make_layer(tp_linear *l)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    tp_linear_init(ctx, l, NULL, "", 2, 2, true, TP_F32);
    memcpy(tp_f32(ctx, l->w), (float[]){ 1, 2, 3, 4 }, 16);
    memcpy(tp_f32(ctx, l->b), (float[]){ 10, 20 }, 8);
    return ctx;
}

static void check_output(tp_ctx *ctx, tp_linear *l, double y0, double y1)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *y = tp_linear_forward(ctx, l, tp_ones(ctx, TP_F32, TP_SHAPE(1, 2)));

    check_ok(ctx);
    assert_true(value_at(ctx, y, 0) == y0 && value_at(ctx, y, 1) == y1);
    tp_scope_end(ctx, s);
}

/* ---- the chain ------------------------------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    tp_linear   l;
    tp_ctx     *ctx = make_layer(&l);
    tp_adapter *a, *b, *c;

    (void)state;
    check_output(ctx, &l, 13, 27);
    a = tp_adapter_attach(ctx, &l, &step_type, NULL); /* 2 y + 1 */
    check_output(ctx, &l, 27, 55);
    b = tp_adapter_attach(ctx, &l, &step_type, &(step_opts){ .factor = 3 }); /* 3 (2 y + 1) + 1 */
    check_output(ctx, &l, 82, 166);
    c = tp_adapter_attach(ctx, &l, &step_type, &(step_opts){ .before = 1, .factor = 1 }); /* on the input: x + 1 */
    check_output(ctx, &l, 3 * (2 * 16 + 1) + 1, 3 * (2 * 34 + 1) + 1);
    assert_ptr_equal(l.adapters, c);
    assert_ptr_equal(c->below, b);
    assert_ptr_equal(b->below, a);
    assert_null(a->below);
    b->active = false; /* passed over, wherever it stands */
    check_output(ctx, &l, 2 * 16 + 1, 2 * 34 + 1);
    c->active = a->active = false;
    check_output(ctx, &l, 13, 27);
    b->active = c->active = true;
    check_output(ctx, &l, 3 * 16 + 1, 3 * 34 + 1);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

static void test_freed_alone(void **state)
{
    tp_linear   l;
    tp_ctx     *ctx = make_layer(&l);
    tp_adapter *a = tp_adapter_attach(ctx, &l, &step_type, NULL), *b = tp_adapter_attach(ctx, &l, &step_type, NULL),
               *c = tp_adapter_attach(ctx, &l, &step_type, NULL);

    (void)state;
    tp_module_free(&b->m); /* out of the middle */
    assert_ptr_equal(c->below, a);
    check_output(ctx, &l, 2 * (2 * 13 + 1) + 1, 2 * (2 * 27 + 1) + 1);
    tp_module_free(&c->m);
    check_output(ctx, &l, 27, 55);
    tp_module_free(&a->m);
    assert_null(l.adapters);
    check_output(ctx, &l, 13, 27);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* As modules: paths, the base's flag, what a pattern finds, training. */
static void test_as_modules(void **state)
{
    tp_linear   l;
    tp_module   root;
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_adapter *ad, *other;
    step       *s;
    const char *who;

    (void)state;
    tp_module_init(ctx, &root, NULL, "Root", "");
    tp_linear_init(ctx, &l, &root, "q_proj", 2, 2, true, TP_F32);
    who = tp_module_identity(ctx, &root);
    tp_module_set_training(&root, false);
    ad = tp_adapter_attach(ctx, &l, &step_type, &(step_opts){ .count = 4 });
    s = (step *)ad;
    assert_string_equal(ad->m.path, "q_proj");
    assert_string_equal(s->inside.m.path, "q_proj.inside");
    assert_true(ad->m.adapter && s->inside.m.adapter && !l.m.adapter);
    assert_false(ad->m.training); /* attached to a model that is being validated: no dropout */
    assert_ptr_equal(tp_param_find(&root, "q_proj.w")->slot, &s->w);
    assert_ptr_equal(tp_param_find(&root, "q_proj.inside.weight")->slot, &s->inside.w);
    assert_ptr_equal(tp_module_find(&root, "q_proj.inside"), &s->inside.m);
    assert_ptr_equal(tp_module_find(&root, "q_proj"), &l.m);
    other = tp_adapter_attach(ctx, &l, &step_type, NULL); /* of two the first is found */
    assert_ptr_equal(tp_param_find(&root, "q_proj.w")->slot, &s->w);
    tp_module_free(&other->m);
    assert_int_equal(tp_module_count(&root).all, 6 + 1 + 4);
    assert_int_equal(tp_module_train_only(ctx, &root, "w|inside.weight"), 2);
    assert_false(tp_trainable(l.w));
    root.identity = NULL;
    assert_string_equal(tp_module_identity(ctx, &root), who); /* adapters do not count */
    tp_module_free(&root);
    free_ctx(ctx);
}

static void test_gradients(void **state)
{
    tp_linear   l;
    tp_ctx     *ctx = make_layer(&l);
    tp_adapter *a = tp_adapter_attach(ctx, &l, &step_type, NULL), *b = tp_adapter_attach(ctx, &l, &step_type, &(step_opts){ .factor = 3 });
    tp_scope    s = tp_scope_begin(ctx);

    (void)state;
    tp_module_freeze(ctx, &l.m);
    tp_module_unfreeze(ctx, &a->m);
    tp_backward(ctx, tp_sum(ctx, tp_linear_forward(ctx, &l, tp_ones(ctx, TP_F32, TP_SHAPE(1, 2))), NULL, 0, false));
    assert_true(value_at(ctx, tp_grad(((step *)a)->w), 0) == 3 * (13 + 27));
    assert_null(tp_grad(((step *)b)->w));
    assert_null(tp_grad(l.w));
    tp_scope_end(ctx, s);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

/* ---- options --------------------------------------------------------------------------------------------------------- */

static void test_options(void **state)
{
    tp_linear        l;
    tp_ctx          *ctx = make_layer(&l);
    const step_opts *o = tp_adapter_attach(ctx, &l, &step_type, NULL)->opts;
    step_opts        given = { .before = 1, .count = 2, .factor = -0.5, .extra = -7 };

    (void)state;
    assert_true(o->before == 0 && o->count == 3 && o->factor == 2 && o->extra == 0.5);
    o = tp_adapter_attach(ctx, &l, &step_type, &given)->opts;
    given.count = 5;
    assert_true(o->before == 1 && o->count == 2 && o->factor == 0 && o->extra == 0);
    o = tp_adapter_attach(ctx, &l, &step_type, &(step_opts){ .before = -1, .factor = 10 })->opts;
    assert_true(o->before == 0 && o->factor == 10);
    assert_true((uintptr_t)o % 16 == 0);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

static void refused(tp_ctx *ctx, tp_linear *l, const step_opts *o, const char *part, const char *other)
{
    tp_adapter *before = l->adapters;

    assert_null(tp_adapter_attach(ctx, l, &step_type, o));
    check_failed(ctx, TP_EARG, part, other);
    assert_ptr_equal(l->adapters, before);
    assert_true(before == NULL ? l->m.child == NULL : l->m.child->next == NULL);
}

static void test_bad_options(void **state)
{
    tp_linear l;
    tp_ctx   *ctx = make_layer(&l);

    (void)state;
    inits = 0;
    refused(ctx, &l, &(step_opts){ .count = 6 }, "step: count is 6", "expected 1 to 5");
    refused(ctx, &l, &(step_opts){ .count = -1 }, "step: count is -1", "expected 1 to 5"); /* really zero is out of range */
    refused(ctx, &l, &(step_opts){ .factor = 10.5 }, "step: factor is 10.5", "expected 0 to 10");
    refused(ctx, &l, &(step_opts){ .factor = NAN }, "step: factor is", NULL);
    refused(ctx, &l, &(step_opts){ .before = 2 }, "step: before is 2", NULL);
    assert_int_equal(inits, 0);
    refused(ctx, &l, &(step_opts){ .count = 5 }, "five is too much", NULL); /* after init has made a parameter */
    assert_int_equal(inits, 1);
    tp_adapter_attach(ctx, &l, &step_type, NULL);
    refused(ctx, &l, &(step_opts){ .count = 5 }, "five is too much", NULL);
    check_output(ctx, &l, 27, 55);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

static void test_bad_types(void **state)
{
    tp_linear       l;
    tp_ctx         *ctx = make_layer(&l);
    tp_adapter_type t = step_type;

    (void)state;
    assert_null(tp_adapter_attach(ctx, NULL, &step_type, NULL));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    assert_null(tp_adapter_attach(ctx, &l, NULL, NULL));
    check_failed(ctx, TP_EARG, "no type", NULL);
    t.size = sizeof(tp_module);
    assert_null(tp_adapter_attach(ctx, &l, &t, NULL));
    check_failed(ctx, TP_EARG, "tp_adapter", NULL);
    t = step_type;
    t.forward = NULL;
    assert_null(tp_adapter_attach(ctx, &l, &t, NULL));
    check_failed(ctx, TP_EARG, "forward", NULL);
    t = step_type;
    t.options = NULL; /* none: nothing is checked or filled in */
    assert_true(((const step_opts *)tp_adapter_attach(ctx, &l, &t, &(step_opts){ .factor = 77 })->opts)->factor == 77);
    assert_null(tp_adapter_next(ctx, NULL, NULL));
    check_failed(ctx, TP_EARG, "no adapter", NULL);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_freed_alone), cmocka_unit_test(test_as_modules),  cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_options), cmocka_unit_test(test_bad_options), cmocka_unit_test(test_bad_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
