/* test_module_state.c - states of modules: names, tied weights, parts of a net, what is trained; memory of a load. */
#include "tests/nn/state_test.h"

#include "ops/ops.h"

static void randomise(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)m;
    (void)name;
    scramble(p->slot[0]->ctx, *p->slot, ++*(unsigned *)user);
}

static void check_same(tp_ctx *ctx, net *a, net *b)
{
    assert_true(same_bits(ctx, a->embed.w, b->embed.w) && same_bits(ctx, a->q[1].b, b->q[1].b) &&
                same_bits(ctx, a->up[0].w, b->up[0].w) && same_bits(ctx, a->head.w, b->head.w) &&
                same_bits(ctx, a->steps, b->steps) && same_bits(ctx, a->norm.w, b->norm.w));
}

static void test_module(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    net      a, b, c;
    unsigned seed = 1;

    (void)state;
    net_init(ctx, &a, true);
    net_init(ctx, &b, true);
    net_init(ctx, &c, false);
    tp_module_params(&a.root, true, randomise, &seed);
    assert_true(tp_module_save(ctx, &a.root, file("a.h5")));
    assert_true(tp_module_load(ctx, &b.root, file("a.h5"), NULL));
    assert_true(tp_module_load(ctx, &c.root, file("a.h5"), NULL)); /* a net that does not tie them gets both */
    check_ok(ctx);
    assert_ptr_equal(b.head.w, b.embed.w);
    check_same(ctx, &a, &b);
    check_same(ctx, &a, &c);
    /* Where the file's two differ, a tied net cannot have both. */
    scramble(ctx, c.head.w, 99);
    assert_true(tp_module_save(ctx, &c.root, file("b.h5")));
    assert_false(tp_module_load(ctx, &b.root, file("b.h5"), NULL));
    check_failed(ctx, TP_EFORMAT, "\"model.embed.weight\" and \"head.weight\" differ", NULL);
    check_same(ctx, &a, &b);
    /* A part of a net is a part of the file. */
    scramble(ctx, b.q[1].w, 5);
    assert_true(tp_module_load(ctx, &b.layer[1], file("a.h5"), NULL));
    check_ok(ctx);
    assert_true(same_bits(ctx, a.q[1].w, b.q[1].w));
    tp_module_free(&a.root);
    tp_module_free(&b.root);
    tp_module_free(&c.root);
    free_ctx(ctx);
}

static void trained(tp_ctx *ctx, void *user, tp_state *st)
{
    net *n = user;

    tp_module_trained_state(ctx, &n->root, st);
    tp_random_state(ctx, st);
}

static void write_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)m;
    if (strcmp(name, "head.weight") != 0)
        tp_writer_tensor((*p->slot)->ctx, user, "", name, *p->slot);
}

/* Other files' names are those of section "model"; one of two tied weights may be missing there. */
static void test_safetensors(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    net        a, b;
    unsigned   seed = 1;
    tp_writer *w;

    (void)state;
    net_init(ctx, &a, true);
    net_init(ctx, &b, true);
    tp_module_params(&a.root, true, randomise, &seed);
    w = tp_writer_open(ctx, file("a.safetensors"), "safetensors");
    tp_module_params(&a.root, false, write_param, w);
    tp_writer_tensor(ctx, w, "", "more", a.norm.w);
    assert_true(tp_writer_close(ctx, w));
    assert_false(tp_module_load(ctx, &b.root, file("a.safetensors"), NULL));
    check_failed(ctx, TP_EFORMAT, "a.safetensors: \"more\" has no place here", NULL);
    assert_true(tp_module_load(ctx, &b.root, file("a.safetensors"), &(tp_load_opts){ .fit = true }));
    check_ok(ctx);
    check_same(ctx, &a, &b);
    tp_module_free(&a.root);
    tp_module_free(&b.root);
    free_ctx(ctx);
}

static void named_twice(tp_ctx *ctx, void *user, tp_state *st)
{
    net *n = user;

    tp_module_state(ctx, &n->list, st);
    tp_module_state(ctx, &n->root, st);
    tp_state_tensor(ctx, st, "own", "head", n->head.w); /* of another section: stored again */
}

/* What two states name is stored once. */
static void test_named_twice(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    net      a, b;
    unsigned seed = 1;

    (void)state;
    net_init(ctx, &a, true);
    net_init(ctx, &b, true);
    tp_module_params(&a.root, true, randomise, &seed);
    assert_true(tp_state_save(ctx, file("a.h5"), "training", named_twice, &a));
    assert_true(tp_state_load(ctx, file("a.h5"), named_twice, &b, NULL));
    check_ok(ctx);
    check_same(ctx, &a, &b);
    tp_module_free(&a.root);
    tp_module_free(&b.root);
    free_ctx(ctx);
}

static void test_trained_only(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    net      a, b;
    tp_file *f;
    tp_scope s = tp_scope_begin(ctx);
    uint64_t bits;

    (void)state;
    net_init(ctx, &a, false);
    net_init(ctx, &b, false);
    tp_module_train_only(ctx, &a.root, "bias");
    tp_module_train_only(ctx, &b.root, "bias");
    tp_init_normal(ctx, a.q[0].b, 0, 1);
    tp_seed(ctx, (uint64_t)-3);
    tp_set_step(ctx, 17);
    tp_init_normal(ctx, b.q[0].b, 0, 1);
    assert_true(tp_state_save(ctx, file("a.h5"), "training", trained, &a));
    f = tp_file_open(ctx, file("a.h5"));
    assert_int_equal(tp_file_count(f), 3); /* two biases and a buffer */
    tp_file_close(f);
    tp_init_normal(ctx, b.q[0].b, 0, 1);
    memcpy(&bits, tp_values(ctx, b.q[0].b), 8);
    tp_seed(ctx, 5);
    assert_true(tp_state_load(ctx, file("a.h5"), trained, &b, NULL));
    assert_true(same_bits(ctx, a.q[0].b, b.q[0].b));
    tp_init_normal(ctx, b.q[0].b, 0, 1); /* the stream goes on where it was */
    assert_memory_equal(&bits, tp_values(ctx, b.q[0].b), 8);
    /* A base that is frozen must be the same. */
    tp_module_freeze(ctx, &a.root);
    assert_true(tp_state_save(ctx, file("b.h5"), "training", trained, &a));
    scramble(ctx, b.head.w, 3);
    tp_module_freeze(ctx, &b.root);
    assert_false(tp_state_load(ctx, file("b.h5"), trained, &b, NULL));
    check_failed(ctx, TP_EFORMAT, "base_identity is", NULL);
    tp_module_free(&a.root);
    tp_module_free(&b.root);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* Loading needs the net and its largest tensor. */
static void test_memory(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_CPU, 0);
    tp_module     root;
    tp_linear     part[8];
    char          name[8];
    tp_memory_use before, after;

    (void)state;
    tp_module_init(ctx, &root, NULL, "Net", "");
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "p%d", i);
        tp_linear_init(ctx, &part[i], &root, name, 256, 256, false, TP_F32);
    }
    assert_true(tp_module_save(ctx, &root, file("a.h5")));
    before = tp_memory(ctx);
    assert_true(tp_module_load(ctx, &root, file("a.h5"), NULL));
    after = tp_memory(ctx);
    assert_int_equal(after.now, before.now);
    assert_true(after.peak <= before.now + 256 * 256 * 4 + 65536);
    tp_module_free(&root);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_named_twice),
        cmocka_unit_test(test_trained_only),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
