/* test_optim_golden.c - a hundred steps of every optimiser, and schedules, against PyTorch (tests/golden/golden_optim.py). */
#include "tests/nn/nn_test.h"

#include "core/json.h"
#include "ops/ops.h"
#include "optim/optimizer.h"

enum { ELEMENTS = 11, MAX_GROUPS = 4 };

typedef struct {
    tp_module  root;
    tp_tensor *p[3]; /* a [2, 3], b [4], c [1] */
} three;

static void three_init(tp_ctx *ctx, three *m)
{
    int64_t k = 0;

    tp_module_init(ctx, &m->root, NULL, "Three", "");
    tp_param_new(ctx, &m->root, &m->p[0], "a", TP_F64, TP_SHAPE(2, 3));
    tp_param_new(ctx, &m->root, &m->p[1], "b", TP_F64, TP_SHAPE(4));
    tp_param_new(ctx, &m->root, &m->p[2], "c", TP_F64, TP_SHAPE(1));
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < tp_numel(m->p[i]); j++, k++)
            tp_f64(ctx, m->p[i])[j] = (double)((37 * k + 11) % 97) / 97 - 0.5;
}

/* Back-propagates a loss that has just the gradient of golden_optim.py. */
static void give_gradients(tp_ctx *ctx, three *m, int64_t t, bool gaps)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *loss = NULL;
    int64_t    k = 0;

    for (int i = 0; i < 3; i++) {
        tp_tensor *g = tp_like(ctx, m->p[i]), *part;

        for (int64_t j = 0; j < tp_numel(g); j++, k++)
            tp_f64(ctx, g)[j] = 0.7 * (1 + (double)(k % 3)) * value_at(ctx, m->p[i], j) +
                                (double)((131 * t + 71 * k + 7 * t * k) % 101) / 101 - 0.5;
        if (gaps && i == 1 && t % 3 != 2)
            continue;
        part = tp_sum(ctx, tp_mul(ctx, m->p[i], g), NULL, 0, false);
        loss = loss ? tp_add(ctx, loss, part) : part;
    }
    tp_backward(ctx, loss);
    tp_scope_end(ctx, s);
}

/* ---- a case ---------------------------------------------------------------------------------------------------------- */

static double number(const tpi_json *c, const char *key, double otherwise)
{
    const tpi_json *v = tpi_json_get(c, key);

    return v ? tpi_json_real(v) : otherwise;
}

static int read_groups(const tpi_json *list, tp_group *groups)
{
    int n = (int)tpi_json_size(list);

    for (int i = 0; i < n; i++) {
        const tpi_json *g = tpi_json_at(list, (size_t)i);

        groups[i] = (tp_group){ tpi_json_string(tpi_json_get(g, "pattern"), NULL), number(g, "lr_factor", 0), number(g, "weight_decay", 0) };
    }
    return n;
}

static tp_optim *make(tp_ctx *ctx, tp_module *root, const tpi_json *c)
{
    const char   *rule = tpi_json_string(tpi_json_get(c, "rule"), NULL);
    double        lr = number(c, "lr", 0), decay = number(c, "weight_decay", 0);
    tp_group      groups[MAX_GROUPS];
    int           n = read_groups(tpi_json_get(c, "groups"), groups);
    tp_adamw_opts a = { lr, number(c, "beta1", 0), number(c, "beta2", 0), number(c, "eps", 0), decay, groups, n };
    tp_lion_opts  l = { lr, number(c, "beta1", 0), number(c, "beta2", 0), decay, groups, n };
    tp_sgd_opts   s = { lr, number(c, "momentum", 0), number(c, "dampening", 0), tpi_json_true(tpi_json_get(c, "nesterov")), decay, groups, n };

    return strcmp(rule, "sgd") == 0    ? tp_sgd_new(ctx, root, &s)
           : strcmp(rule, "adam") == 0 ? tp_adam_new(ctx, root, &a)
           : strcmp(rule, "lion") == 0 ? tp_lion_new(ctx, root, &l)
                                       : tp_adamw_new(ctx, root, &a);
}

static void near(const char *name, const char *what, int64_t step, double got, double want)
{
    if (!(fabs(got - want) <= 1e-10 * fmax(1, fabs(want))))
        fail_msg("%s: %s after step %d is %.15g, expected %.15g", name, what, (int)step, got, want);
}

static void compare(tp_ctx *ctx, const three *m, const char *name, int64_t step, const tpi_json *want)
{
    size_t k = 0;

    assert_int_equal(tpi_json_size(want), ELEMENTS);
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < tp_numel(m->p[i]); j++, k++)
            near(name, "an element", step, value_at(ctx, m->p[i], j), tpi_json_real(tpi_json_at(want, k)));
}

static tp_schedule schedule_of(const tpi_json *s)
{
    const char *decay = tpi_json_string(tpi_json_get(s, "decay"), NULL);

    return (tp_schedule){ .decay = !decay || strcmp(decay, "constant") == 0 ? TP_CONSTANT : strcmp(decay, "linear") == 0 ? TP_LINEAR : TP_COSINE,
                          .steps = (int64_t)number(s, "steps", 0),
                          .warmup = (int64_t)number(s, "warmup", 0) };
}

static void check_case(tp_ctx *ctx, const char *name, const tpi_json *c, const tpi_json *after)
{
    tp_schedule schedule = schedule_of(tpi_json_get(c, "schedule"));
    double      lr = number(c, "lr", 0);
    size_t      next = 0;
    three       m;
    tp_optim   *opt;

    three_init(ctx, &m);
    opt = make(ctx, &m.root, c);
    assert_int_equal(tp_optim_size(opt), ELEMENTS);
    for (int64_t t = 0; next < tpi_json_size(after) && tp_ok(ctx); t++) {
        double norm;

        give_gradients(ctx, &m, t, tpi_json_true(tpi_json_get(c, "gaps")));
        norm = tp_clip_norm(ctx, opt, number(c, "clip", 0));
        if (tpi_json_get(c, "clip_value") != NULL)
            tp_clip_value(ctx, opt, number(c, "clip_value", 0));
        tp_optim_set_lr(opt, lr * tp_schedule_factor(&schedule, t));
        assert_true(tp_optim_step(ctx, opt));
        if (t + 1 != tpi_json_integer(tpi_json_at(after, next)))
            continue;
        near(name, "the norm", t + 1, norm, tpi_json_real(tpi_json_at(tpi_json_get(c, "norms"), next)));
        compare(ctx, &m, name, t + 1, tpi_json_at(tpi_json_get(c, "values"), next));
        next++;
    }
    assert_int_equal(tp_optim_steps(opt), 100);
    check_ok(ctx);
    tp_optim_free(opt);
    tp_module_free(&m.root);
}

static tpi_json *golden(tp_ctx *ctx)
{
    const char *source = getenv("TAPIR_SOURCE");
    char        path[2048];
    tpi_json   *j;

    snprintf(path, sizeof path, "%s/tests/golden/optim.json", source ? source : ".");
    j = tpi_json_load(ctx, path, 1 << 20);
    check_ok(ctx);
    return j;
}

static void test_trajectories(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        tp_ctx         *ctx = device_ctx(test_devices[d]);
        tpi_json       *j = ctx ? golden(ctx) : NULL;
        const tpi_json *c;
        const char     *name;
        void           *it = NULL;
        int             n = 0;

        if (ctx == NULL)
            continue;
        for (; tpi_json_next(tpi_json_get(j, "cases"), &it, &name, &c); n++)
            check_case(ctx, name, c, tpi_json_get(j, "after"));
        assert_true(n >= 20);
        tpi_json_free(j);
        free_ctx(ctx);
    }
}

static void test_schedules(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    tpi_json       *j = golden(ctx);
    const tpi_json *list = tpi_json_get(j, "schedules");

    (void)state;
    for (size_t i = 0; i < tpi_json_size(list); i++) {
        const tpi_json *s = tpi_json_at(list, i), *factors = tpi_json_get(s, "factors");
        tp_schedule     schedule = schedule_of(s);

        for (size_t t = 0; t < tpi_json_size(factors); t++)
            near("schedule", "the factor", (int64_t)t, tp_schedule_factor(&schedule, (int64_t)t), tpi_json_real(tpi_json_at(factors, t)));
    }
    tpi_json_free(j);
    free_ctx(ctx);
}

static double my_factor(void *user, int64_t step)
{
    return *(double *)user * (double)step;
}

static void test_schedule_edges(void **state)
{
    double      half = 0.5;
    tp_schedule s = { .decay = TP_LINEAR, .steps = 10, .warmup = 20 };

    (void)state;
    assert_true(tp_schedule_factor(&s, 9) == 0.5); /* a warm-up beyond the end */
    assert_true(tp_schedule_factor(&s, 20) == 0);
    s = (tp_schedule){ .decay = TP_COSINE, .steps = 10 };
    assert_true(fabs(tp_schedule_factor(&s, 1000)) < 1e-15);
    s = (tp_schedule){ .decay = TP_LINEAR };
    assert_true(tp_schedule_factor(&s, 5) == 1); /* no end, no decay */
    s = (tp_schedule){ .fn = my_factor, .user = &half, .steps = 1 };
    assert_true(tp_schedule_factor(&s, 6) == 3);
    assert_true(tp_schedule_factor(NULL, 3) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_schedule_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
