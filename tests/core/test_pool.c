/* test_pool.c - the cache of memory blocks: sizes, reuse, figures, and what a training loop takes from the system. */
#include "own_ops.h"

#include "core/internal.h"
#include "core/pool.h"

/* Every size gets enough room, aligned, and gives back what it took; rooms waste at most 12.5 %. */
static void sizes(void **state)
{
    tpi_pool pool = { 0 };

    (void)state;
    for (size_t base = 1; base <= (size_t)1 << 24; base *= 2)
        for (int d = -1; d <= 1; d++) {
            size_t size = base + (size_t)d, room;
            char  *p = tpi_pool_get(&pool, size, &room);

            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            assert_true(room >= size && room <= (size <= 1024 ? size + 64 : size + size / 8 + 1));
            assert_int_equal(pool.now, room);
            p[0] = 1;
            p[room - 1] = 1;
            tpi_pool_put(&pool, p, room);
            assert_int_equal(pool.now, 0);
        }
    assert_true(pool.peak >= (size_t)1 << 24);
    assert_true(TPI_STRICT ? pool.system == 0 : pool.system > 0);
    tpi_pool_trim(&pool);
    assert_true(pool.system <= 4 << 20); /* the chunks of small blocks stay */
    tpi_pool_free(&pool);
    assert_int_equal(pool.system, 0);
}

static void refusals(void **state)
{
    tpi_pool pool = { 0 };
    size_t   room = 5;

    (void)state;
    assert_null(tpi_pool_get(&pool, SIZE_MAX, &room));
    assert_int_equal(room, 0);
    assert_int_equal(pool.now, 0);
    tpi_pool_put(&pool, NULL, 0);
    for (int small = 0; small < 2; small++) {
        tpi_fail_alloc(0, true);
        assert_null(tpi_pool_get(&pool, small ? 100 : 1 << 20, &room));
        tpi_fail_alloc(-1, false);
        assert_int_equal(pool.now, 0);
    }
    tpi_pool_free(&pool);
}

/* The block just given back comes first, since it still lies in the cache. */
static void reuse(void **state)
{
    tpi_pool pool = { 0 };
    size_t   ra, rb;
    void    *a = tpi_pool_get(&pool, 5000, &ra), *b = tpi_pool_get(&pool, 5000, &rb);

    (void)state;
    tpi_pool_put(&pool, a, ra);
    tpi_pool_put(&pool, b, rb);
    if (!TPI_STRICT) {
        size_t system = pool.system;

        assert_ptr_equal(tpi_pool_get(&pool, 4999, &rb), b);
        assert_ptr_equal(tpi_pool_get(&pool, 5000, &ra), a);
        assert_int_equal(pool.system, system);
        tpi_pool_put(&pool, a, ra);
        tpi_pool_put(&pool, b, rb);
    }
    tpi_pool_free(&pool);
}

/* A full cache makes room for a block of another size before memory counts as out. */
static void trims_before_it_gives_up(void **state)
{
    tpi_pool pool = { 0 };
    size_t   room;
    void    *p = tpi_pool_get(&pool, 3 << 20, &room);

    (void)state;
    tpi_pool_put(&pool, p, room);
    if (TPI_STRICT) /* nothing is cached */
        return;
    tpi_fail_alloc(0, false); /* the first try fails, the one after the trim does not */
    p = tpi_pool_get(&pool, 5 << 20, &room);
    tpi_fail_alloc(-1, false);
    assert_non_null(p);
    assert_int_equal(pool.system, room);
    tpi_pool_put(&pool, p, room);
    tpi_pool_free(&pool);
}

/* Blocks of ever other sizes, one at a time: what lies unused stays a share of what was needed. */
static void varying_sizes(void **state)
{
    tpi_pool pool = { 0 };

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        size_t room, size = ((i * 37 % 200 + 8) << 20) + 4096;
        void  *p = tpi_pool_get(&pool, size, &room);

        assert_non_null(p);
        tpi_pool_put(&pool, p, room);
        assert_true(pool.system <= pool.peak + pool.peak / 4 + (33 << 20));
    }
    tpi_pool_free(&pool);
}

/* A training loop in steady state asks the system for nothing. */
static void steady_state(void **state)
{
    tp_ctx    *ctx = own_ctx();
    tp_tensor *w = own_leaf(ctx, TP_F32, 30000, 1);
    size_t     system = 0, peak = 0;

    (void)state;
    for (int step = 0; step < 6; step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *h = w;

        if (step == 3) {
            system = tp_memory(ctx).system;
            peak = tp_memory(ctx).peak;
            tpi_fail_alloc(-1, false);
        }
        for (int i = 0; i < 10; i++)
            h = own_mul(ctx, h, w);
        tp_backward(ctx, own_sum(ctx, h));
        tp_grad_used(w);
        tp_scope_end(ctx, s);
    }
    own_ok(ctx);
    assert_int_equal(tp_memory(ctx).peak, peak);
    if (!TPI_STRICT) {
        assert_int_equal(tpi_count_alloc(), 0);
        assert_int_equal(tp_memory(ctx).system, system);
        tp_memory_trim(ctx);
        assert_true(tp_memory(ctx).system < system);
    }
    assert_true(tp_memory(ctx).now >= 240000 && tp_memory(ctx).now < 300000); /* w and its gradient */
    assert_int_equal(tp_memory(NULL).now, 0);
    tp_memory_trim(NULL);
    tp_ctx_free(ctx);
}

/* Workspace for kernels comes from the pool and goes back. */
static void workspace(void **state)
{
    tp_ctx *ctx = own_ctx();
    size_t  before = tp_memory(ctx).now;
    tpi_run r;

    (void)state;
    assert_true(tpi_run_begin(ctx, &r, 0));
    assert_null(r.ws);
    tpi_run_end(ctx, &r);
    assert_true(tpi_run_begin(ctx, &r, 12345));
    assert_true(r.ws != NULL && r.ws_size >= 12345 && (uintptr_t)r.ws % 64 == 0);
    tpi_run_end(ctx, &r);
    assert_int_equal(tp_memory(ctx).now, before);
    assert_false(tpi_run_begin(ctx, &r, SIZE_MAX));
    tpi_run_end(ctx, &r);
    own_error(ctx, TP_ENOMEM, "workspace");
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(reuse),
        cmocka_unit_test(trims_before_it_gives_up), cmocka_unit_test(varying_sizes),
        cmocka_unit_test(steady_state),
        cmocka_unit_test(workspace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
