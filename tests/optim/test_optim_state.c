/* test_optim_state.c - states of optimisers, loaders and whole trainings: resumed is as never stopped, bit for bit. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "optim/optim.h"

#include <unistd.h>

static char path[64], other[70];

static int make_paths(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof path, "tapir-test-XXXXXX");
    fd = mkstemp(path);
    snprintf(other, sizeof other, "%s.b", path);
    return fd < 0 || close(fd) != 0;
}

static int drop_paths(void **state)
{
    (void)state;
    unlink(other);
    return unlink(path);
}

static bool same_files(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    int   x = 0, y = 0;

    while (f != NULL && g != NULL && x == y && x != EOF) {
        x = fgetc(f);
        y = fgetc(g);
    }
    assert_non_null(f);
    assert_non_null(g);
    fclose(f);
    fclose(g);
    return x == y;
}

/* ---- a small net ----------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_module        root;
    tp_linear        a, b;
    tp_dropout_layer drop;
    tp_optim        *opt;
    tp_loader       *loader;
    tp_progress      at;
    int64_t          validations;
    bool             order; /* the optimiser's state before the module's */
} net;

typedef tp_optim *(*maker)(tp_ctx *ctx, tp_module *root);

static tp_optim *make_adamw(tp_ctx *ctx, tp_module *root)
{
    return tp_adamw_new(ctx, root, &(tp_adamw_opts){ .lr = 0.01, .weight_decay = 0.1 });
}

static tp_optim *make_adam(tp_ctx *ctx, tp_module *root)
{
    return tp_adam_new(ctx, root, &(tp_adamw_opts){ .lr = 0.01 });
}

static tp_optim *make_sgd(tp_ctx *ctx, tp_module *root)
{
    return tp_sgd_new(ctx, root, &(tp_sgd_opts){ .lr = 0.05, .momentum = 0.9, .nesterov = true });
}

static tp_optim *make_plain_sgd(tp_ctx *ctx, tp_module *root)
{
    return tp_sgd_new(ctx, root, NULL);
}

static tp_optim *make_lion(tp_ctx *ctx, tp_module *root)
{
    return tp_lion_new(ctx, root, NULL);
}

static tp_code make_batch(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size)
{
    int64_t *b = tpi_alloc(NULL, (size_t)n + 1, sizeof *b);

    (void)user;
    (void)why;
    (void)size;
    if (b == NULL)
        return TP_ENOMEM;
    b[0] = n;
    memcpy(b + 1, index, (size_t)n * sizeof *b);
    *batch = b;
    return TP_OK;
}

static void net_init(tp_ctx *ctx, net *n, tp_dtype t, maker make)
{
    static const tp_dataset data = { .length = 22, .make = make_batch, .drop = tpi_free };

    memset(n, 0, sizeof *n);
    tp_seed(ctx, 5);
    tp_module_init(ctx, &n->root, NULL, "Net", "");
    tp_linear_init(ctx, &n->a, &n->root, "a", 3, 5, true, t);
    tp_dropout_init(ctx, &n->drop, &n->root, "drop", 0.3);
    tp_linear_init(ctx, &n->b, &n->root, "b", 5, 2, true, t);
    n->opt = make(ctx, &n->root);
    n->loader = tp_loader_new(ctx, &data, &(tp_loader_opts){ .batch = 4, .seed = 3 });
    check_ok(ctx);
}

static void net_free(net *n)
{
    tp_loader_free(n->loader);
    tp_optim_free(n->opt);
    tp_module_free(&n->root);
}

static tp_tensor *net_loss(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    net       *n = user;
    tp_dtype   t = tp_dtype_of(n->a.w);
    int64_t   *batch = tp_loader_next(ctx, n->loader);
    tp_tensor *x, *y;

    assert_non_null(batch);
    x = make_some(ctx, t, TP_SHAPE(batch[0], 3), (uint64_t)batch[1]);
    y = tp_linear_forward(ctx, &n->b, tp_dropout_forward(ctx, &n->drop, tp_tanh(ctx, tp_linear_forward(ctx, &n->a, x))));
    *info = (tp_batch_info){ (double)batch[0], batch[0], batch[1], 0 };
    tpi_free(batch);
    return tp_sum(ctx, tp_square(ctx, tp_shift(ctx, y, 0.5)), NULL, 0, false);
}

static double net_validate(tp_ctx *ctx, void *user)
{
    net *n = user;

    (void)ctx;
    n->validations++;
    return fabs(value_at(ctx, n->b.w, 0));
}

static const tp_schedule schedule = { .decay = TP_COSINE, .steps = 12, .warmup = 3 };

static void everything(tp_ctx *ctx, void *user, tp_state *st)
{
    net        *n = user;
    tp_training t = { n->order ? NULL : &n->root, n->opt, &schedule, n->loader, &n->at, NULL, NULL };

    tp_training_state(ctx, &t, st);
    if (n->order)
        tp_module_trained_state(ctx, &n->root, st);
}

static bool save(tp_ctx *ctx, void *user, const tp_progress *progress)
{
    net *n = user;

    n->at = *progress;
    return tp_state_save(ctx, path, "training", everything, n);
}

static void train(tp_ctx *ctx, net *n, int64_t stop_after)
{
    tp_train_plan p = { .root = &n->root,
                        .opt = n->opt,
                        .schedule = schedule,
                        .steps = 12,
                        .accum = 2,
                        .clip = 0.5,
                        .eval_every = 4,
                        .user = n,
                        .loss = net_loss,
                        .validate = net_validate,
                        .stop_after = stop_after,
                        .save = save,
                        .progress = &n->at };
    tp_train_result r;

    assert_true(tp_train(ctx, &p, &r));
    assert_int_equal(r.steps, stop_after ? stop_after : 12);
    assert_int_equal(r.paused, stop_after > 0);
}

static void check_same(tp_ctx *ctx, const net *a, const net *b)
{
    check_ok(ctx);
    assert_true(same_bits(ctx, a->a.w, b->a.w) && same_bits(ctx, a->a.b, b->a.b) && same_bits(ctx, a->b.w, b->b.w) &&
                same_bits(ctx, a->b.b, b->b.b));
}

/* ---- resuming ------------------------------------------------------------------------------------------------------- */

static void resume(tp_ctx *ctx, tp_dtype t, maker make, int64_t at, bool order)
{
    net whole, parts;

    net_init(ctx, &whole, t, make);
    train(ctx, &whole, 0);
    net_init(ctx, &parts, t, make);
    train(ctx, &parts, at);
    net_free(&parts);
    net_init(ctx, &parts, t, make);
    parts.order = order;
    assert_true(tp_state_load(ctx, path, everything, &parts, NULL));
    check_ok(ctx);
    assert_int_equal(parts.at.step, at);
    train(ctx, &parts, 0);
    check_same(ctx, &whole, &parts);
    assert_int_equal(whole.at.best_step, parts.at.best_step);
    assert_int_equal(whole.at.worse, parts.at.worse);
    assert_true(whole.at.best_loss == parts.at.best_loss && whole.at.last_loss == parts.at.last_loss);
    assert_int_equal(whole.validations, parts.validations + at / 4);
    whole.order = parts.order; /* equal content, equal bytes */
    assert_true(tp_state_save(ctx, path, "training", everything, &whole));
    assert_true(tp_state_save(ctx, other, "training", everything, &parts));
    assert_true(same_files(path, other));
    net_free(&whole);
    net_free(&parts);
}

static void test_resumed_is_as_never_stopped(void **state)
{
    static const maker    makers[] = { make_adamw, make_adam, make_sgd, make_plain_sgd, make_lion };
    static const tp_dtype types[] = { TP_F32, TP_BF16, TP_F64 };

    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx *ctx = device_ctx(test_devices[d]);

        for (int m = 0; ctx != NULL && m < 5; m++)
            for (int t = 0; t < 3; t++) {
                resume(ctx, types[t], makers[m], 5, false);
                resume(ctx, types[t], makers[m], 8, true);
            }
        free_ctx(ctx);
    }
}

/* ---- in the midst of an accumulation ---------------------------------------------------------------------------------- */

static void one_batch(tp_ctx *ctx, net *n)
{
    tp_batch_info info;
    tp_scope      s = tp_scope_begin(ctx);

    tp_backward(ctx, net_loss(ctx, n, &info));
    tp_scope_end(ctx, s);
}

static void test_pending_gradients(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);
    net     a, b;

    (void)state;
    for (int t = 0; t < 2; t++) {
        net_init(ctx, &a, t ? TP_BF16 : TP_F32, make_adamw);
        tp_set_step(ctx, 1);
        one_batch(ctx, &a);
        tp_optim_step(ctx, a.opt);
        tp_set_step(ctx, 2);
        one_batch(ctx, &a);
        tp_optim_scale(a.opt, 0.25);
        assert_true(tp_state_save(ctx, path, "training", everything, &a));
        one_batch(ctx, &a); /* its dropout is drawn where the first batch left the numbers */
        tp_optim_step(ctx, a.opt);
        net_init(ctx, &b, t ? TP_BF16 : TP_F32, make_adamw);
        one_batch(ctx, &b); /* dropped by the load */
        assert_true(tp_state_load(ctx, path, everything, &b, NULL));
        one_batch(ctx, &b);
        tp_optim_step(ctx, b.opt);
        check_same(ctx, &a, &b);
        /* Behind a step nothing waits. */
        assert_true(tp_state_save(ctx, path, "training", everything, &a));
        one_batch(ctx, &b);
        assert_true(tp_state_load(ctx, path, everything, &b, NULL));
        assert_null(tp_grad(b.a.w));
        net_free(&a);
        net_free(&b);
    }
    free_ctx(ctx);
}

/* ---- what is another training ------------------------------------------------------------------------------------------ */

static tp_optim *make_other(tp_ctx *ctx, tp_module *root)
{
    return tp_adamw_new(ctx, root, &(tp_adamw_opts){ .lr = 0.01, .beta2 = 0.95 });
}

static void test_another_training(void **state)
{
    static const tp_dataset data = { .length = 23, .make = make_batch, .drop = tpi_free };
    tp_ctx                 *ctx = tp_ctx_new(TP_CPU, 0);
    net                     a, b;
    static const char *const parts[] = { "optimizer@beta2 is 0.999", "expected 0.94999999999999996",
                                         "optimizer@weight_decay is", "data@samples is 22, expected 23",
                                         "data@batch_size is 4, expected 5", "\"b.weight\" is [2, 5], expected [3, 5]",
                                         "\"optimizer/state/b.bias.m\" is [2], expected [3]" };

    (void)state;
    net_init(ctx, &a, TP_F32, make_adamw);
    train(ctx, &a, 2);
    net_init(ctx, &b, TP_F32, make_other);
    tp_optim_free(b.opt);
    tp_module_free(&b.b.m);
    tp_linear_init(ctx, &b.b, &b.root, "b", 5, 3, true, TP_F32);
    b.opt = make_other(ctx, &b.root);
    tp_loader_free(b.loader);
    b.loader = tp_loader_new(ctx, &data, &(tp_loader_opts){ .batch = 5, .seed = 3 });
    assert_false(tp_state_load(ctx, path, everything, &b, NULL));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(tp_error(ctx), parts[i]));
    check_failed(ctx, TP_EFORMAT, path, NULL);
    assert_int_equal(tp_optim_steps(b.opt), 0);
    assert_int_equal(tp_loader_tell(b.loader).batch, 0);
    net_free(&b);
    /* Another rule. */
    net_init(ctx, &b, TP_F32, make_lion);
    assert_false(tp_state_load(ctx, path, everything, &b, NULL));
    check_failed(ctx, TP_EFORMAT, "optimizer@type is adamw, expected lion",
                 "\"optimizer/state/a.weight.v\" has no place here");
    net_free(&a);
    net_free(&b);
    free_ctx(ctx);
}

static tp_schedule chosen;

static void scheduled(tp_ctx *ctx, void *user, tp_state *st)
{
    (void)user;
    tp_schedule_state(ctx, &chosen, st);
}

static void located(tp_ctx *ctx, void *user, tp_state *st)
{
    net *n = user;

    tp_loader_state(ctx, n->loader, st);
    tp_progress_state(ctx, &n->at, st);
    tp_optim_state(ctx, n->opt, st);
}

static void test_parts(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_CPU, 0);
    net         a, b;
    tp_training t;

    (void)state;
    chosen = (tp_schedule){ .decay = TP_LINEAR, .steps = 10 };
    assert_true(tp_state_save(ctx, path, "training", scheduled, NULL));
    assert_true(tp_state_load(ctx, path, scheduled, NULL, NULL));
    chosen = (tp_schedule){ .decay = TP_COSINE, .steps = 11 };
    assert_false(tp_state_load(ctx, path, scheduled, NULL, NULL));
    check_failed(ctx, TP_EFORMAT, "type is linear, expected cosine", "steps is 10, expected 11");
    net_init(ctx, &a, TP_F32, make_sgd);
    for (int i = 0; i < 9; i++)
        tpi_free(tp_loader_next(ctx, a.loader));
    a.at.best_loss = 0.1;
    assert_true(tp_state_save(ctx, path, "training", located, &a));
    net_init(ctx, &b, TP_F32, make_sgd);
    assert_true(tp_state_load(ctx, path, located, &b, NULL));
    assert_true(tp_loader_tell(b.loader).epoch == 1 && tp_loader_tell(b.loader).batch == 3 && b.at.best_loss == 0.1);
    /* Both calls alone. */
    t = (tp_training){ .root = &a.root, .opt = a.opt, .loader = a.loader };
    assert_true(tp_training_save(ctx, &t, path));
    tp_init_normal(ctx, b.a.w, 0, 1);
    t = (tp_training){ .root = &b.root, .opt = b.opt, .loader = b.loader };
    assert_true(tp_training_load(ctx, &t, path, NULL));
    check_same(ctx, &a, &b);
    net_free(&a);
    net_free(&b);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumed_is_as_never_stopped),
        cmocka_unit_test(test_pending_gradients),
        cmocka_unit_test(test_another_training),
        cmocka_unit_test(test_parts),
    };

    return cmocka_run_group_tests(tests, make_paths, drop_paths);
}
