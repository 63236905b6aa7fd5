/* test_train.c - the training loop: accumulation, stopping for every reason, validation, schedules, what a run depends on. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "optim/train.h"

enum { SAMPLES = 24, IN = 3, OUT = 2 };

/* A small network on fixed samples, of which sample i has i % 4 targets (0 to 3 rows). */
typedef struct {
    tp_module        root;
    tp_linear        a, b;
    tp_dropout_layer drop;
    tp_optim        *opt;
    int64_t          batch, next, end; /* samples a batch, the next sample, and where the data end (0: never) */
    int64_t          bad_at;           /* loss call from 1 that gives NaN; negative: Inf in the gradient alone */
    int64_t          calls, stop_at, validations, best, cancel_at;
    double           losses[64];
    double           lrs[64];
    const double    *valid; /* what the validations give */
    volatile int     stop;
    bool             training_seen, recording_seen;
} job;

static void job_init(tp_ctx *ctx, job *j, double dropout)
{
    memset(j, 0, sizeof *j);
    tp_seed(ctx, 5);
    tp_set_step(ctx, 0);
    tp_module_init(ctx, &j->root, NULL, "Job", "");
    tp_linear_init(ctx, &j->a, &j->root, "a", IN, 5, true, TP_F64);
    tp_dropout_init(ctx, &j->drop, &j->root, "drop", dropout);
    tp_linear_init(ctx, &j->b, &j->root, "b", 5, OUT, true, TP_F64);
    j->opt = tp_adamw_new(ctx, &j->root, &(tp_adamw_opts){ .lr = 0.01 });
    j->batch = 4;
    check_ok(ctx);
}

static void job_free(job *j)
{
    tp_optim_free(j->opt);
    tp_module_free(&j->root);
}

static tp_tensor *inf_forward(tp_ctx *ctx, tp_call *c)
{
    return tp_scale(ctx, c->in[0], 1);
}

static void inf_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    dx[0] = tp_scale(ctx, dy[0], INFINITY);
}

static const tp_op inf_op = { .name = "inf", .forward = inf_forward, .backward = inf_backward };

/* Sum over the batch's targets of the squared error; sample s has s % 4 rows. */
static tp_tensor *job_loss(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    job       *j = user;
    double     x[64 * IN], y[64 * OUT];
    int64_t    rows = 0, first = j->next;
    tp_tensor *loss;

    if (j->end > 0 && j->next >= j->end)
        return NULL;
    for (int64_t s = first; s < first + j->batch; s++, j->next++)
        for (int64_t r = 0; r < s % 4; r++, rows++)
            for (int64_t i = 0; i < IN; i++) {
                x[rows * IN + i] = some((uint64_t)(s % SAMPLES), r * IN + i);
                y[rows * OUT + i % OUT] = some((uint64_t)(s % SAMPLES), 100 + r);
            }
    *info = (tp_batch_info){ (double)rows, rows, first, first + 1 };
    if (rows == 0)
        return tp_zeros(ctx, TP_F64, TP_SCALAR);
    loss = tp_linear_forward(ctx, &j->a, tp_from(ctx, TP_F64, TP_SHAPE(rows, IN), x));
    loss = tp_linear_forward(ctx, &j->b, tp_dropout_forward(ctx, &j->drop, tp_tanh(ctx, loss)));
    loss = tp_square(ctx, tp_sub(ctx, loss, tp_from(ctx, TP_F64, TP_SHAPE(rows, OUT), y)));
    loss = tp_sum(ctx, loss, NULL, 0, false);
    j->calls++;
    if (j->calls == j->bad_at)
        loss = tp_scale(ctx, loss, NAN);
    return j->calls == -j->bad_at ? tp_apply(ctx, &inf_op, NULL, TP_IN(loss)) : loss;
}

static bool job_step(tp_ctx *ctx, void *user, const tp_step_info *info)
{
    job *j = user;

    (void)ctx;
    j->losses[info->step % 64] = info->loss;
    j->lrs[info->step % 64] = info->lr;
    if (info->step == j->stop_at)
        j->stop = 1;
    assert_true(info->seconds >= 0 && info->elapsed >= info->seconds);
    return info->step != j->cancel_at;
}

static double job_validate(tp_ctx *ctx, void *user)
{
    job *j = user;

    j->training_seen |= j->drop.m.training;
    j->recording_seen |= tp_recording(ctx);
    return j->valid[j->validations++];
}

static void job_validated(tp_ctx *ctx, void *user, int64_t step, double loss, bool best)
{
    job *j = user;

    (void)ctx;
    (void)loss;
    j->best = best ? step : j->best;
}

static tp_train_plan plan_of(job *j, int64_t steps)
{
    return (tp_train_plan){ .root = &j->root, .opt = j->opt, .schedule = { .decay = TP_CONSTANT }, .steps = steps, .user = j,
                            .loss = job_loss, .on_step = job_step, .stop = &j->stop };
}

static tp_train_result run(tp_ctx *ctx, job *j, const tp_train_plan *p, bool ok)
{
    tp_train_result r;

    assert_int_equal(tp_train(ctx, p, &r), ok);
    if (ok)
        check_ok(ctx);
    assert_true(j->drop.m.training);
    return r;
}

/* ---- accumulation ---------------------------------------------------------------------------------------------------- */

/* Batches of different numbers of targets accumulated are one big batch. */
static void test_accumulation(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx       *ctx = device_ctx(test_devices[d]);
        job           big, parts;
        tp_train_plan p;

        if (ctx == NULL)
            continue;
        job_init(ctx, &big, 0);
        big.batch = 12;
        p = plan_of(&big, 10);
        p.clip = 0.05;
        run(ctx, &big, &p, true);
        job_init(ctx, &parts, 0);
        parts.batch = 3; /* 3, 4, 5 and 6 targets */
        p = plan_of(&parts, 10);
        p.clip = 0.05;
        p.accum = 4;
        run(ctx, &parts, &p, true);
        assert_int_equal(parts.calls, 40);
        assert_true(distance(ctx, parts.a.w, big.a.w) < 1e-12);
        assert_true(distance(ctx, parts.b.b, big.b.b) < 1e-12);
        for (int i = 1; i <= 10; i++)
            assert_true(fabs(parts.losses[i] - big.losses[i]) < 1e-12);
        assert_true(big.losses[10] < big.losses[1]);
        job_free(&big);
        job_free(&parts);
        free_ctx(ctx);
    }
}

/* A batch, or a whole step, without any target changes nothing. */
static void test_no_targets(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    job             j;
    tp_train_plan   p;
    tp_tensor      *before;
    tp_train_result r;

    (void)state;
    job_init(ctx, &j, 0);
    j.batch = 1; /* sample 0 has none */
    p = plan_of(&j, 1);
    before = copy_of(ctx, j.a.w);
    r = run(ctx, &j, &p, true);
    assert_true(same_bits(ctx, j.a.w, before));
    assert_true(r.steps == 1 && r.last_loss == 0);
    assert_int_equal(tp_optim_steps(j.opt), 0);
    tp_release(before);
    job_free(&j);
    free_ctx(ctx);
}

/* ---- why a run ends -------------------------------------------------------------------------------------------------- */

static void test_out_of_data(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    job             j, same;
    tp_train_plan   p;
    tp_train_result r;

    (void)state;
    job_init(ctx, &j, 0);
    j.end = 20; /* five batches of four: two steps of two, and one of one */
    p = plan_of(&j, 100);
    p.accum = 2;
    r = run(ctx, &j, &p, true);
    assert_true(r.out_of_data && !r.interrupted && !r.stopped_early);
    assert_int_equal(r.steps, 3);
    job_init(ctx, &same, 0); /* the last step has taken what there was */
    p = plan_of(&same, 2);
    p.accum = 2;
    run(ctx, &same, &p, true);
    assert_false(same_bits(ctx, same.a.w, j.a.w));
    job_free(&same);
    job_free(&j);
    free_ctx(ctx);
}

static void check_bad(int64_t bad_at, const char *what, const char *sample)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    job             j, good;
    tp_train_plan   p;
    tp_train_result r;
    tp_tensor      *weights;

    job_init(ctx, &good, 0);
    p = plan_of(&good, 3);
    p.accum = 2;
    run(ctx, &good, &p, true);
    weights = copy_of(ctx, good.a.w);
    job_free(&good);
    job_init(ctx, &j, 0);
    j.bad_at = bad_at;
    p = plan_of(&j, 10);
    p.accum = 2;
    r = run(ctx, &j, &p, false);
    check_failed(ctx, TP_ENUM, what, sample);
    assert_int_equal(r.steps, 3);
    assert_true(same_bits(ctx, j.a.w, weights)); /* the last good ones */
    assert_null(tp_grad(j.a.w));                 /* half a step's gradients are not left for the next one */
    assert_true(tp_optim_lr(j.opt) == 0.01);
    p = plan_of(&j, 1);
    assert_true(tp_train(ctx, &p, NULL));
    tp_release(weights);
    job_free(&j);
    free_ctx(ctx);
}

static void test_not_finite(void **state)
{
    (void)state;
    check_bad(7, "step 4: the loss is NaN or Inf", "sample 24, line 25");
    check_bad(8, "step 4: the loss is NaN or Inf", "sample 28, line 29"); /* the second batch of the step */
    check_bad(-8, "step 4: the gradient is NaN or Inf", "sample 24");
}

static void test_stop_flag(void **state)
{
    static const double valid[] = { 1, 1, 1, 1 };
    tp_ctx             *ctx = tp_ctx_new(TP_REF, 0);
    job                 j;
    tp_train_plan       p;
    tp_train_result     r;

    (void)state;
    job_init(ctx, &j, 0);
    j.stop_at = 3;
    j.valid = valid;
    p = plan_of(&j, 10);
    p.validate = job_validate;
    p.eval_every = 3;
    r = run(ctx, &j, &p, true);
    assert_true(r.interrupted && r.steps == 3 && !r.out_of_data);
    assert_int_equal(j.validations, 0); /* it does not make the user wait */
    j.stop = 0;
    j.stop_at = 0;
    j.cancel_at = 2;
    r = run(ctx, &j, &p, true);
    assert_true(!r.interrupted && r.steps == 2);
    job_free(&j);
    free_ctx(ctx);
}

static void test_early_stopping(void **state)
{
    static const double valid[] = { NAN, 5, 4, 4.5, 4, 3, 3, NAN, 9 };
    tp_ctx             *ctx = tp_ctx_new(TP_REF, 0);
    job                 j;
    tp_train_plan       p;
    tp_train_result     r;

    (void)state;
    job_init(ctx, &j, 0.5);
    j.valid = valid;
    p = plan_of(&j, 100);
    p.validate = job_validate;
    p.on_validation = job_validated;
    p.eval_every = 2;
    p.patience = 3;
    r = run(ctx, &j, &p, true);
    assert_true(r.stopped_early && r.best_loss == 3 && r.best_step == 12 && j.best == 12);
    assert_int_equal(r.steps, 18);
    assert_false(j.training_seen || j.recording_seen);
    assert_true(tp_recording(ctx));
    j.validations = 1;
    p.steps = 5; /* no patience, and one more validation after the last step */
    p.patience = 0;
    r = run(ctx, &j, &p, true);
    assert_true(r.steps == 5 && !r.stopped_early && r.best_loss == 4 && r.best_step == 4);
    assert_int_equal(j.validations, 4);
    p.validate = NULL;
    r = run(ctx, &j, &p, true);
    assert_true(isnan(r.best_loss));
    job_free(&j);
    free_ctx(ctx);
}

/* ---- what a run depends on ------------------------------------------------------------------------------------------- */

static void test_schedule(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    job           j;
    tp_train_plan p;

    (void)state;
    job_init(ctx, &j, 0);
    p = plan_of(&j, 10);
    p.schedule = (tp_schedule){ .decay = TP_LINEAR, .warmup = 2 }; /* over the steps of the plan */
    p.lr = 0.5;
    run(ctx, &j, &p, true);
    assert_true(j.lrs[1] == 0.25 && j.lrs[2] == 0.5 && j.lrs[3] == 0.5 && fabs(j.lrs[10] - 0.5 / 8) < 1e-15);
    assert_true(tp_optim_lr(j.opt) == 0.01);
    p.lr = 0; /* the optimiser's */
    run(ctx, &j, &p, true);
    assert_true(j.lrs[3] == 0.01);
    p.lr = -1;
    run(ctx, &j, &p, true);
    assert_true(j.lrs[3] == 0);
    job_free(&j);
    free_ctx(ctx);
}

/* Seed and step alone: not what was drawn, dropped or back-propagated before. */
static void test_reproducible(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope      s = tp_scope_begin(ctx);
    job           one, two;
    tp_train_plan p;
    tp_batch_info info;

    (void)state;
    job_init(ctx, &one, 0.25);
    p = plan_of(&one, 20);
    run(ctx, &one, &p, true);
    job_init(ctx, &two, 0.25);
    tp_backward(ctx, job_loss(ctx, &two, &info)); /* nobody steps this one */
    two.next = two.calls = 0;
    tp_module_set_training(&two.root, false);
    tp_init_normal(ctx, tp_zeros(ctx, TP_F32, TP_SHAPE(5)), 0, 1);
    p = plan_of(&two, 20);
    run(ctx, &two, &p, true);
    assert_true(same_bits(ctx, one.a.w, two.a.w));
    for (int i = 1; i <= 20; i++)
        assert_true(one.losses[i] == two.losses[i]);
    job_free(&one);
    job_free(&two);
    tp_scope_end(ctx, s);
    free_ctx(ctx);
}

/* ---- bad plans ------------------------------------------------------------------------------------------------------- */

static tp_tensor *not_a_number(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    (void)user;
    info->count = 1;
    return tp_zeros(ctx, TP_F32, TP_SHAPE(2));
}

static tp_tensor *failing(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    (void)user;
    (void)info;
    return tp_fail(ctx, TP_EIO, "the data are gone");
}

static tp_tensor *odd_count(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    tp_tensor *loss = job_loss(ctx, user, info);

    info->count = -1;
    return loss;
}

static tp_tensor *cut_off(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    return tp_detach(ctx, job_loss(ctx, user, info));
}

static void test_bad_plans(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    job             j;
    tp_train_plan   p;
    tp_train_result r = { .steps = 77 };

    (void)state;
    job_init(ctx, &j, 0);
    assert_false(tp_train(ctx, NULL, &r));
    check_failed(ctx, TP_EARG, "a plan needs", NULL);
    assert_int_equal(r.steps, 0); /* filled all the same */
    p = plan_of(&j, -1);
    assert_false(tp_train(ctx, &p, NULL));
    check_failed(ctx, TP_EARG, "a plan needs", NULL);
    p = plan_of(&j, 3);
    p.opt = NULL;
    assert_false(tp_train(ctx, &p, NULL));
    check_failed(ctx, TP_EARG, "a plan needs", NULL);
    p = plan_of(&j, 3);
    p.loss = not_a_number;
    assert_false(tp_train(ctx, &p, NULL));
    check_failed(ctx, TP_ESHAPE, NULL, NULL);
    p.loss = failing;
    r = run(ctx, &j, &p, false);
    check_failed(ctx, TP_EIO, "the data are gone", NULL);
    assert_true(r.steps == 0 && !r.out_of_data);
    p.loss = odd_count;
    assert_false(tp_train(ctx, &p, NULL));
    check_failed(ctx, TP_EARG, "count of -1", NULL);
    p.loss = cut_off; /* a loss that nothing trainable is below would train nothing without a word */
    assert_false(tp_train(ctx, &p, NULL));
    check_failed(ctx, TP_EARG, "nothing trainable", NULL);
    p = plan_of(&j, 0);
    assert_true(tp_train(ctx, &p, &r));
    assert_int_equal(r.steps, 0);
    tp_fail(ctx, TP_EARG, "before");
    assert_false(tp_train(ctx, &p, &r));
    check_failed(ctx, TP_EARG, "before", NULL);
    job_free(&j);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accumulation), cmocka_unit_test(test_no_targets),     cmocka_unit_test(test_out_of_data),
        cmocka_unit_test(test_not_finite),   cmocka_unit_test(test_stop_flag),      cmocka_unit_test(test_early_stopping),
        cmocka_unit_test(test_schedule),     cmocka_unit_test(test_reproducible),   cmocka_unit_test(test_bad_plans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
