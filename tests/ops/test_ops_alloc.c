/*
 * test_ops_alloc.c - every op of the table, forward and backward, with each of its allocations failing in turn: out of
 * memory is said, and the context can be freed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/internal.h"
#include "op_table.h"

/* Whether the run went through although allocation number `after` was to fail: then there were not so many. */
static bool run(const op_case *c, long after, bool *good)
{
    tp_ctx    *ctx;
    tp_tensor *in[OP_MAX_IN] = { NULL }, *y;
    bool       done;

    tpi_fail_alloc(after, true);
    ctx = tp_ctx_new(TP_REF, 0);
    for (int i = 0; i < op_operands(c); i++) {
        in[i] = op_operand(ctx, c, c->shapes[0], i, TP_F32, true);
        if ((c->flags & OP_GRAD) && op_is_open(c, i))
            tp_set_trainable(ctx, in[i], true);
    }
    y = op_call(ctx, c, in);
    if (tp_needs_grad(y))
        tp_backward_from(ctx, y, y);
    done = tp_ok(ctx);
    *good = done || tp_error_code(ctx) == TP_ENOMEM;
    if (!*good)
        print_error("%s, allocation %ld: '%s'\n", c->name, after, tp_error(ctx));
    tp_ctx_free(ctx);
    tpi_fail_alloc(-1, false);
    return done;
}

static void test_each_allocation(void **state)
{
    int bad = 0;

    (void)state;
    for (int t = 0; op_tables[t] != NULL; t++)
        for (const op_case *c = op_tables[t]; c->name != NULL; c++)
            for (long after = 0, done = 0; !done && after < 1000; after++) {
                bool good;

                done = run(c, after, &good);
                bad += !good;
            }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
