/* test_peft_alloc.c - every allocation of a small training program fails in turn: one error, nothing leaked, a good
 * file kept. */
#include "tests/peft/peft_files.h"

#include "optim/train.h"

typedef struct {
    small *m;
    int    calls;
} job;

static tp_tensor *job_loss(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    job       *j = user;
    tp_tensor *y = small_forward(ctx, j->m, make_some(ctx, TP_F32, TP_SHAPE(4, WIDE), (uint64_t)j->calls++));

    *info = (tp_batch_info){ 4, 4, 0, 0 };
    return tp_sum(ctx, tp_square(ctx, tp_shift(ctx, y, 0.5)), NULL, 0, false);
}

/* The model without check_ok: it may fail anywhere. */
static void build(tp_ctx *ctx, small *m)
{
    static const char *const numbers[] = { "0", "1" };

    memset(m, 0, sizeof *m);
    tp_module_init(ctx, &m->root, NULL, "Small", "");
    tp_module_init(ctx, &m->list, &m->root, "List", "layers");
    for (int i = 0; i < BLOCKS; i++) {
        tp_module_init(ctx, &m->block[i], &m->list, "Block", numbers[i]);
        tp_linear_init(ctx, &m->q[i], &m->block[i], "q_proj", WIDE, WIDE, true, TP_F32);
        tp_linear_init(ctx, &m->up[i], &m->block[i], "up_proj", WIDE, 20, false, TP_F32);
        tp_linear_init(ctx, &m->down[i], &m->block[i], "down_proj", 20, WIDE, false, TP_F32);
    }
    tp_rms_norm_init(ctx, &m->norm, &m->root, "norm", WIDE, 1e-5, TP_F32);
}

static void adapters_too(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_adapters_state(ctx, user, st);
}

/* Saves a checkpoint, or loads the one that is there. */
static bool checkpoint(tp_ctx *ctx, const char *path, bool load)
{
    small       m;
    tp_progress at = { .step = 2 };
    tp_training t = { .root = &m.root, .progress = &at, .more = adapters_too, .user = &m.root };
    bool        ok;

    build(ctx, &m);
    tp_attach(ctx, &m.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5 });
    t.opt = tp_adamw_new(ctx, &m.root, NULL);
    ok = load ? tp_training_load(ctx, &t, path, &(tp_load_opts){ .verify = true }) : tp_training_save(ctx, &t, path);
    tp_optim_free(t.opt);
    tp_module_free(&m.root);
    return ok;
}

/* Builds, attaches, trains, merges, saves, loads, trains only a part; whatever fails, all is freed.  Nothing is checked
 * on the way. */
static bool program(tp_ctx *ctx, const char *path)
{
    const tp_group groups[] = { { "block_A", 2, 0 } };
    small          m;
    job            j = { &m, 0 };
    tp_train_plan  p = { .root = &m.root, .steps = 2, .accum = 2, .clip = 1, .user = &j, .loss = job_loss };
    tp_optim      *opt;
    bool           ok;

    build(ctx, &m);
    tp_attach(ctx, &m.root, "(q|up)_proj", &tp_diablo, &(tp_diablo_opts){ .blocks = 5, .dropout = 0.1 });
    tp_attach(ctx, &m.root, "down_proj", &tp_lora, &(tp_lora_opts){ .rank = 2 });
    p.opt = opt = tp_adamw_new(ctx, &m.root, &(tp_adamw_opts){ .groups = groups, .n_groups = 1 });
    if (tp_ok(ctx))
        tp_train(ctx, &p, NULL);
    tp_merge(ctx, &m.root);
    tp_unmerge(ctx, &m.root);
    tp_adapter_save(ctx, &m.root, path);
    tp_adapters_detach(ctx, &m.root);
    tp_adapter_load(ctx, &m.root, path, NULL);
    tp_module_train_only(ctx, &m.root, "lora_A|norm.weight");
    ok = tp_ok(ctx);
    tp_optim_free(opt);
    tp_module_free(&m.root);
    return ok;
}

/* Allocations that the program makes, and the file that it writes; the caller frees it. */
static char *measure(const char *path, long *count, size_t *n)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    tpi_fail_alloc(-1, false);
    program(ctx, path);
    *count = tpi_count_alloc();
    free_ctx(ctx);
    return read_bytes(path, n);
}

/* One allocation fails, or every one from there on.  The pool may make a single one good: it tidies up and asks again. */
static void test_every_allocation(void **state)
{
    long   count, stride = getenv("TAPIR_TEST_EVERY") ? 1 : 3;
    char   path[128], *good, *now;
    size_t n, n2;

    (void)state;
    snprintf(path, sizeof path, "%s", in_scratch("a.h5"));
    good = measure(path, &count, &n);
    for (long after = 0; after < count; after += stride) {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        bool    always = after % 2 != 0, ok;

        tpi_fail_alloc(after, always);
        ok = program(ctx, path);
        tpi_fail_alloc(-1, false);
        assert_false(ok && always);
        if (!ok && ((tp_error_code(ctx) != TP_ENOMEM && tp_error_code(ctx) != TP_EIO) ||
                    strchr(tp_error(ctx), '\n'))) /* EIO: by HDF5 */
            fail_msg("allocation %ld: code %d: %s", after, tp_error_code(ctx), tp_error(ctx));
        tp_ctx_free(ctx);
        now = read_bytes(path, &n2);
        assert_int_equal(n2, n);
        assert_memory_equal(now, good, n);
        free(now);
    }
    free(good);
}

/* The same, and then the program goes on: a second run on the same context succeeds. */
static void test_going_on(void **state)
{
    char    path[128];
    long    count;
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    snprintf(path, sizeof path, "%s", in_scratch("b.h5"));
    tpi_fail_alloc(-1, false);
    program(ctx, path);
    count = tpi_count_alloc();
    for (long after = 0; after < count; after += 17) {
        tp_scope s = tp_scope_begin(ctx);

        tpi_fail_alloc(after, false);
        program(ctx, path);
        tpi_fail_alloc(-1, false);
        tp_error_clear(ctx);
        tp_scope_end(ctx, s);
        s = tp_scope_begin(ctx);
        assert_true(program(ctx, path));
        check_ok(ctx);
        tp_scope_end(ctx, s);
        assert_int_equal(tp_memory(ctx).now, 0);
    }
    free_ctx(ctx);
}

/* Saving (at a stride: each one that gets far waits for the disk) and loading; the file stays good. */
static void test_checkpoints(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s", in_scratch("c.h5"));
    for (int load = 0; load < 2; load++) {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        long    count, stride = getenv("TAPIR_TEST_EVERY") || load ? 1 : 23;

        tpi_fail_alloc(-1, false);
        assert_true(checkpoint(ctx, path, load));
        count = tpi_count_alloc();
        free_ctx(ctx);
        for (long after = 0; after < count; after += stride) {
            bool always = after % 2 != 0, ok;

            ctx = tp_ctx_new(TP_REF, 0);
            tpi_fail_alloc(after, always);
            ok = checkpoint(ctx, path, load);
            tpi_fail_alloc(-1, false);
            assert_false(ok && always);
            assert_true(ok || tp_error_code(ctx) == TP_ENOMEM || tp_error_code(ctx) == TP_EIO);
            assert_int_equal(tp_memory(ctx).now, 0);
            tp_ctx_free(ctx);
        }
        ctx = tp_ctx_new(TP_REF, 0);
        assert_true(checkpoint(ctx, path, true));
        free_ctx(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_checkpoints),
    };

    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
