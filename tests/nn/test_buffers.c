/* test_buffers.c - buffers of modules (the running statistics of BatchNorm): counted apart, shown, never trained, kept bit
 * for bit by files, which say what they are. */
#include "tests/nn/state_test.h"

#include "nn/nets.h"
#include "ops/ops.h"
#include "optim/optimizer.h"

typedef struct {
    tp_sequential  s;
    tp_batch_norm *norm;
} small;

static void small_init(tp_ctx *ctx, small *n)
{
    tp_sequential_init(ctx, &n->s, NULL, "");
    tp_sequential_conv2d(ctx, &n->s, 1, 3, 2, 2, true, TP_F32, NULL);
    n->norm = tp_sequential_batch_norm(ctx, &n->s, 3, TP_F32, NULL);
    check_ok(ctx);
}

static tp_tensor *run(tp_ctx *ctx, small *n, uint64_t seed)
{
    return tp_sequential_forward(ctx, &n->s, make_some(ctx, TP_F32, TP_SHAPE(2, 1, 4, 4), seed));
}

static void counted_and_shown(void **state)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    FILE    *f = tmpfile();
    char     text[2000] = "";
    small    n;
    tp_count c;

    (void)state;
    small_init(ctx, &n);
    c = tp_module_count(&n.s.m);
    assert_int_equal(c.all, 12 + 3 + 6);
    assert_int_equal(c.trainable, 12 + 3 + 6);
    assert_int_equal(c.tensors, 4);
    assert_int_equal(c.trainable_tensors, 4);
    assert_int_equal(c.buffers, 3 + 3 + 1);
    assert_int_equal(c.buffer_tensors, 3);
    tp_set_trainable(ctx, n.norm->mean, true); /* against the rules: still a buffer */
    assert_int_equal(tp_module_count(&n.s.m).trainable, 21);
    tp_set_trainable(ctx, n.norm->mean, false);
    tp_module_print(ctx, &n.s.m, f);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(text, "    running_mean f32 [3] buffer\n    running_var f32 [3] buffer\n"
                                 "    num_batches_tracked i64 [] buffer\n"));
    assert_non_null(strstr(text, "    weight f32 [3] trainable\n"));
    assert_non_null(strstr(text, "\n21 parameters, 21 trainable, 7 numbers in buffers\n"));
    tp_module_free(&n.s.m);
    free_ctx(ctx);
}

static void never_trained(void **state)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    small     n;
    tp_optim *opt;

    (void)state;
    small_init(ctx, &n);
    tp_module_freeze(ctx, &n.s.m);
    assert_int_equal(tp_module_count(&n.s.m).trainable, 0);
    tp_module_unfreeze(ctx, &n.s.m);
    assert_int_equal(tp_module_count(&n.s.m).trainable, 21);
    assert_false(tp_trainable(n.norm->mean));
    opt = tp_sgd_new(ctx, &n.s.m, NULL);
    assert_int_equal(tp_optim_size(opt), 21);
    assert_int_equal(tp_module_train_only(ctx, &n.s.m, "running_mean"), 0);
    check_failed(ctx, TP_EARG, "running_mean", NULL);
    tp_optim_free(opt);
    tp_module_free(&n.s.m);
    free_ctx(ctx);
}

static void check_role(tp_ctx *ctx, const char *name, const char *role, const char *trained)
{
    tp_file    *f = tp_file_open(ctx, file("a.h5"));
    char        key[100];
    const char *got;

    check_ok(ctx);
    snprintf(key, sizeof key, "model/%s@role", name);
    got = tp_file_meta(f, key);
    assert_string_equal(got ? got : "none", role);
    snprintf(key, sizeof key, "model/%s@requires_grad", name);
    got = tp_file_meta(f, key);
    assert_string_equal(got ? got : "none", trained);
    tp_file_close(f);
}

static void kept_by_files(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    tp_scope   s = tp_scope_begin(ctx);
    small      a, b;
    tp_tensor *x, *y;

    (void)state;
    small_init(ctx, &a);
    tp_seed(ctx, 7);
    small_init(ctx, &b);
    for (uint64_t i = 0; i < 3; i++)
        run(ctx, &a, i);
    tp_f32(ctx, a.norm->mean)[1] = -0.0f;
    tp_f32(ctx, a.norm->var)[2] = 1e-45f; /* the least there is */
    assert_true(tp_module_save(ctx, &a.s.m, file("a.h5")));
    check_role(ctx, "1.running_mean", "buffer", "0");
    check_role(ctx, "1.running_var", "buffer", "0");
    check_role(ctx, "1.num_batches_tracked", "buffer", "0");
    check_role(ctx, "1.weight", "param", "1");
    assert_true(tp_module_load(ctx, &b.s.m, file("a.h5"), NULL));
    check_ok(ctx);
    assert_true(same_bits(ctx, a.norm->mean, b.norm->mean) && same_bits(ctx, a.norm->var, b.norm->var));
    assert_true(same_bits(ctx, a.norm->count, b.norm->count) && same_bits(ctx, a.norm->w, b.norm->w));
    assert_true(tp_item(ctx, b.norm->count) == 3);
    assert_false(tp_trainable(b.norm->mean));
    tp_module_set_training(&a.s.m, false);
    tp_module_set_training(&b.s.m, false);
    x = run(ctx, &a, 9);
    y = run(ctx, &b, 9);
    assert_true(same_bits(ctx, x, y));
    assert_true(tp_module_save(ctx, &b.s.m, file("b.h5")));
    check_equal_files(file("a.h5"), file("b.h5"));
    tp_scope_end(ctx, s);
    tp_module_free(&a.s.m);
    tp_module_free(&b.s.m);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_and_shown),
        cmocka_unit_test(never_trained),
        cmocka_unit_test(kept_by_files),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
