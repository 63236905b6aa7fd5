/* test_attach.c - adapters by pattern, all of them together, and merging in every order. */
#include "tests/peft/peft_test.h"

/* ---- attaching ------------------------------------------------------------------------------------------------------- */

static void test_attach(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    small            m;
    tp_tensor       *base, *y;
    tp_adapter_count c;

    (void)state;
    small_init(ctx, &m, TP_F32);
    base = output_of(ctx, &m);
    assert_int_equal(tp_attach(ctx, &m.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 4 }), 4);
    check_ok(ctx);
    c = tp_adapters_count(&m.root);
    assert_int_equal(c.layers, 4);
    assert_int_equal(c.trainable, 2 * (4 * 3 * 3 + 4 * 3 * 5));
    assert_int_equal(c.dead, 0);
    assert_int_equal(c.base, 2 * (144 + 12 + 240 + 240) + 12);
    assert_int_equal(tp_module_count(&m.root).trainable, c.trainable); /* the base is frozen, norm and bias too */
    assert_string_equal(m.q[1].adapters->pattern, "(q|up)_proj");
    assert_null(m.down[0].adapters);
    y = output_of(ctx, &m);
    assert_true(same_bits(ctx, y, base));
    tp_release(y);
    fill_adapters(&m.root, 1);
    y = output_of(ctx, &m);
    assert_false(same_bits(ctx, y, base));
    tp_release(y);
    tp_adapters_activate(ctx, &m.root, false); /* off, the model is the base */
    y = output_of(ctx, &m);
    assert_true(same_bits(ctx, y, base));
    tp_release(y);
    tp_adapters_detach(ctx, &m.root);
    assert_int_equal(tp_adapters_count(&m.root).layers, 0);
    assert_int_equal(tp_module_count(&m.root).trainable, 0);
    tp_release(base);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_attach_twice(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    small            m;
    tp_adapter_count c;

    (void)state;
    small_init(ctx, &m, TP_F32);
    assert_int_equal(tp_attach(ctx, &m.root, "q_proj", &gate_type, NULL), 2);
    /* the Linears inside an adapter are no layers of the model: "down_proj" is one of its names too */
    assert_int_equal(tp_attach(ctx, &m.root, "layers.*.down_proj|layers.0.q_proj", &tp_lora, &(tp_lora_opts){ .rank = 1 }), 3);
    check_ok(ctx);
    assert_ptr_equal(m.q[0].adapters->below->type, &gate_type);
    c = tp_adapters_count(&m.root);
    assert_int_equal(c.layers, 4);
    assert_int_equal(c.trainable, 2 * (12 + 36 + 36) + 2 * 32 + 24); /* the first one's parameters stay trained */
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void refused(tp_ctx *ctx, small *m, const char *pattern, const tp_adapter_type *type, const void *opts, tp_code code,
                    const char *part, const char *other)
{
    tp_count         before = tp_module_count(&m->root);
    tp_adapter_count adapters = tp_adapters_count(&m->root);

    assert_int_equal(tp_attach(ctx, &m->root, pattern, type, opts), 0);
    check_failed(ctx, code, part, other);
    assert_int_equal(tp_adapters_count(&m->root).layers, adapters.layers);
    assert_int_equal(tp_module_count(&m->root).all, before.all);
    assert_int_equal(tp_module_count(&m->root).trainable, before.trainable);
}

static void test_attach_refused(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    small   m;

    (void)state;
    small_init(ctx, &m, TP_F32);
    refused(ctx, &m, "q_proj|k_proj", &tp_diablo, NULL, TP_EARG, "targets: 'k_proj' matches nothing", "there are: q_proj up_proj down_proj");
    refused(ctx, &m, "norm", &tp_diablo, NULL, TP_EARG, "'norm' matches nothing", NULL);
    refused(ctx, &m, "(q", &tp_diablo, NULL, TP_EFORMAT, "targets", NULL);
    refused(ctx, &m, "", &tp_diablo, NULL, TP_EARG, "empty pattern", NULL);
    refused(ctx, &m, NULL, &tp_diablo, NULL, TP_EARG, "empty pattern", NULL);
    refused(ctx, &m, "q_proj", NULL, NULL, TP_EARG, "no type", NULL);
    refused(ctx, &m, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 13 }, TP_EARG, "layers.0.q_proj: diablo: 13 blocks", "at most 12");
    /* 20 blocks fit up_proj of the first block, and then not q_proj of the second */
    refused(ctx, &m, "layers.0.up_proj|layers.1.q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 20 }, TP_EARG, "layers.1.q_proj",
            "20 blocks");
    refused(ctx, &m, "q_proj", &tp_lora, &(tp_lora_opts){ .dropout = 1 }, TP_EARG, "lora: dropout is 1", "0 to 0.999");
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 2 });
    refused(ctx, &m, "(up|q)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 20 }, TP_EARG, "20 blocks", NULL);
    assert_int_equal(tp_attach(ctx, NULL, "q", &tp_diablo, NULL), 0);
    check_failed(ctx, TP_EARG, "no model", NULL);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_nothing(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
    small   m;

    (void)state;
    small_init(ctx, &m, TP_F32);
    assert_int_equal(tp_merge(ctx, &m.root), 0);
    assert_int_equal(tp_unmerge(ctx, &m.root), 0);
    tp_adapters_activate(ctx, &m.root, true);
    tp_adapters_detach(ctx, &m.root);
    check_ok(ctx);
    tp_adapters_activate(ctx, NULL, true);
    check_failed(ctx, TP_EARG, "no model", NULL);
    assert_int_equal(tp_merge(ctx, NULL), 0);
    check_failed(ctx, TP_EARG, "no model", NULL);
    assert_int_equal(tp_unmerge(ctx, NULL), 0);
    check_failed(ctx, TP_EARG, "no model", NULL);
    tp_adapters_detach(ctx, NULL);
    assert_int_equal(tp_adapters_count(NULL).layers, 0);
    check_ok(ctx);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* ---- merging --------------------------------------------------------------------------------------------------------- */

static void check_same(tp_ctx *ctx, small *m, tp_tensor *want, double bound)
{
    tp_tensor *y = output_of(ctx, m);

    if (bound == 0)
        assert_true(same_bits(ctx, y, want));
    else
        assert_true(distance(ctx, y, want) < bound);
    tp_release(y);
}

static void test_merge_model(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx    *ctx = device_ctx(test_devices[d]);
        small      m;
        tp_tensor *y, *weight;

        if (ctx == NULL)
            continue;
        small_init(ctx, &m, TP_F32);
        weight = copy_of(ctx, m.up[1].w);
        tp_attach(ctx, &m.root, "(q|up|down)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5 }); /* padded in every layer */
        assert_true(tp_adapters_count(&m.root).dead > 0);
        fill_adapters(&m.root, 1);
        y = output_of(ctx, &m);
        assert_int_equal(tp_merge(ctx, &m.root), 6);
        check_same(ctx, &m, y, 1e-5);
        tp_adapters_activate(ctx, &m.root, false); /* what is in the weights cannot be switched off */
        check_failed(ctx, TP_EARG, "merged", "tp_unmerge");
        tp_adapters_activate(ctx, &m.root, true);
        check_same(ctx, &m, y, 1e-5);
        assert_int_equal(tp_unmerge(ctx, &m.root), 6);
        assert_true(same_bits(ctx, m.up[1].w, weight));
        check_same(ctx, &m, y, 0);
        tp_release(y);
        tp_release(weight);
        tp_module_free(&m.root);
        free_ctx(ctx);
    }
}

/* A second adapter is attached and merged while the first one is merged: unmerging gives the layer's own weight all the same. */
static void test_merge_at_different_times(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    small      m;
    tp_tensor *base, *one, *both, *weight;

    (void)state;
    small_init(ctx, &m, TP_F64);
    base = output_of(ctx, &m);
    weight = copy_of(ctx, m.q[0].w);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    fill_adapters(&m.root, 1);
    one = output_of(ctx, &m);
    tp_merge(ctx, &m.root);
    tp_attach(ctx, &m.root, "q_proj", &tp_lora, &(tp_lora_opts){ .rank = 2 });
    check_same(ctx, &m, one, 1e-12);
    fill_adapters(&m.root, 1);
    both = output_of(ctx, &m);
    assert_int_equal(tp_merge(ctx, &m.root), 2);
    check_same(ctx, &m, both, 1e-12);
    assert_int_equal(tp_unmerge(ctx, &m.root), 4);
    assert_true(same_bits(ctx, m.q[0].w, weight));
    check_same(ctx, &m, both, 1e-12);
    tp_adapters_activate(ctx, &m.root, false);
    check_same(ctx, &m, base, 0);
    m.q[0].adapters->active = m.q[1].adapters->active = true; /* the other way round: the outer one first */
    assert_int_equal(tp_merge(ctx, &m.root), 2);
    tp_adapters_activate(ctx, &m.root, true);
    assert_int_equal(tp_merge(ctx, &m.root), 2);
    check_same(ctx, &m, both, 1e-12);
    assert_int_equal(tp_unmerge(ctx, &m.root), 4);
    assert_true(same_bits(ctx, m.q[0].w, weight));
    tp_release(base);
    tp_release(one);
    tp_release(both);
    tp_release(weight);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

static void test_merge_and_detach(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    small      m;
    tp_tensor *y;
    size_t     now;

    (void)state;
    small_init(ctx, &m, TP_F32);
    now = tp_memory(ctx).now;
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    fill_adapters(&m.root, 1);
    y = output_of(ctx, &m);
    tp_merge(ctx, &m.root);
    tp_adapters_detach(ctx, &m.root); /* the way to a model that no longer needs adapters */
    check_same(ctx, &m, y, 1e-5);
    tp_release(y);
    assert_int_equal(tp_memory(ctx).now, now); /* and nobody holds the old weights */
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* A tied weight: merging into the head must not change the embedding. */
static void test_merge_tied(void **state)
{
    tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
    tp_module    root;
    tp_embedding e;
    tp_linear    head;
    tp_tensor   *before;

    (void)state;
    tp_module_init(ctx, &root, NULL, "Root", "");
    tp_embedding_init(ctx, &e, &root, "embed", 6, 4, TP_F32);
    tp_linear_init(ctx, &head, &root, "head", 4, 6, false, TP_F32);
    tp_param_set(ctx, &head.m, &head.w, "weight", e.w);
    before = copy_of(ctx, e.w);
    tp_attach(ctx, &root, "head", &tp_diablo, &(tp_diablo_opts){ .blocks = 2 });
    fill_adapters(&root, 1);
    assert_int_equal(tp_merge(ctx, &root), 1);
    assert_true(same_bits(ctx, e.w, before));
    assert_false(same_bits(ctx, head.w, before));
    tp_unmerge(ctx, &root);
    assert_ptr_equal(head.w, e.w);
    tp_release(before);
    tp_module_free(&root);
    free_ctx(ctx);
}

static tp_tensor *narrow_delta(tp_ctx *ctx, tp_adapter *ad)
{
    return tp_zeros(ctx, TP_F32, TP_SHAPE(tp_dim(ad->linear->w, 1)));
}

static tp_tensor *no_delta(tp_ctx *ctx, tp_adapter *ad)
{
    (void)ctx;
    (void)ad;
    return NULL;
}

static void test_merge_refused(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    tp_adapter_type narrow = gate_type, none = gate_type;
    small           m;
    tp_tensor      *y;

    (void)state;
    small_init(ctx, &m, TP_F32);
    tp_attach(ctx, &m.root, "up_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    tp_attach(ctx, &m.root, "layers.1.q_proj", &gate_type, NULL);
    fill_adapters(&m.root, 1);
    y = output_of(ctx, &m);
    assert_int_equal(tp_merge(ctx, &m.root), 0);
    check_failed(ctx, TP_EARG, "layers.1.q_proj: merge", "type gate cannot be merged");
    check_same(ctx, &m, y, 0); /* none was merged */
    m.q[1].adapters->active = false;
    assert_int_equal(tp_merge(ctx, &m.root), 2); /* what takes no part need not merge */
    tp_unmerge(ctx, &m.root);
    narrow.delta = narrow_delta; /* would broadcast */
    m.q[1].adapters->active = true;
    m.q[1].adapters->type = &narrow;
    assert_int_equal(tp_merge(ctx, &m.root), 0);
    check_failed(ctx, TP_ESHAPE, "delta of gate is [12]", "[12, 12]");
    check_same(ctx, &m, y, 0);
    assert_ptr_equal(m.up[0].adapters->unmerged, NULL);
    none.delta = no_delta;
    m.q[1].adapters->type = &none;
    assert_int_equal(tp_merge(ctx, &m.root), 0);
    check_failed(ctx, TP_EARG, "gave no delta", NULL);
    check_same(ctx, &m, y, 0);
    tp_release(y);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

/* An unmerge that follows a failed merge gives what was merged before it. */
static void test_failed_merge_keeps_earlier(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    small      m;
    tp_tensor *base, *y;

    (void)state;
    small_init(ctx, &m, TP_F32);
    base = output_of(ctx, &m);
    tp_attach(ctx, &m.root, "q_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 3 });
    fill_adapters(&m.root, 1);
    tp_merge(ctx, &m.root);
    tp_attach(ctx, &m.root, "q_proj", &tp_lora, NULL);
    fill_adapters(&m.root, 2);
    tp_adapters_activate(ctx, &m.root, true);
    y = output_of(ctx, &m);
    for (long after = 0; after < 500; after++) {
        tpi_fail_alloc(after, false);
        tp_memory_trim(ctx);
        if (tp_merge(ctx, &m.root) > 0) {
            tpi_fail_alloc(-1, false);
            break;
        }
        tpi_fail_alloc(-1, false);
        check_failed(ctx, TP_ENOMEM, NULL, NULL);
        check_same(ctx, &m, y, 0);
    }
    assert_int_equal(tp_unmerge(ctx, &m.root), 4);
    tp_adapters_activate(ctx, &m.root, false);
    check_same(ctx, &m, base, 0);
    tp_release(base);
    tp_release(y);
    tp_module_free(&m.root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),         cmocka_unit_test(test_attach_twice),
        cmocka_unit_test(test_attach_refused), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_merge_model),    cmocka_unit_test(test_merge_at_different_times),
        cmocka_unit_test(test_merge_and_detach), cmocka_unit_test(test_merge_tied),
        cmocka_unit_test(test_merge_refused),  cmocka_unit_test(test_failed_merge_keeps_earlier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
