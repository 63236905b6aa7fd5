/*
 * test_failed_context.c - every public function on no context, on failed ones, and with NULL and absurd arguments: no
 * crash, nothing done, and NULL, false, 0 or NaN as the result.  The calls are written by tests/sweep.py from the
 * public headers.
 */
#include "own_ops.h"
#include "sweep.h"

#include "core/internal.h"

#include <limits.h>
#include <math.h>
#include <unistd.h>

static const given nothing;

/* All that is wrong is told before a test fails. */
static int faults;

static void fault(const char *name, const char *what)
{
    faults++;
    print_error("%s: %s\n", name, what);
}

static void no_faults(void)
{
    int n = faults;

    faults = 0;
    assert_int_equal(n, 0);
}

static void without_a_context(void **state)
{
    (void)state;
    for (size_t i = 0; i < sweep_count; i++)
        if (!sweep_entries[i].call(NULL, &nothing))
            fault(sweep_entries[i].name, "a result without a context");
    no_faults();
    assert_int_equal(tp_ctx_finish(NULL), 1);
    tp_ctx_free(NULL);
    tp_error_clear(NULL);
    assert_int_equal(tp_error_code(NULL), TP_EARG);
}

/* The first error must stay, and no tensor may appear. */
static void check_failed(tp_ctx *ctx, const sweep_entry *e, const given *g, const char *message, tp_code code)
{
    size_t now = tp_memory(ctx).now;
    bool   ok = e->call(ctx, g);

    if (!ok && (e->flags & SWEEP_CTX) != 0)
        fault(e->name, "a result from a failed context");
    if (strcmp(tp_error(ctx), message) != 0 || tp_error_code(ctx) != code)
        fault(e->name, "changed the error");
    if (tp_memory(ctx).now > now)
        fault(e->name, "made something on a failed context");
}

static void on_failed_contexts(void **state)
{
    tp_ctx       *ctx = own_ctx();
    tp_tensor    *x = own_leaf(ctx, TP_F32, 4, 1), *list[2] = { x, x }, *out[2];
    double        real;
    const int64_t dim[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    const int     axes[1] = { 0 };
    given         full = { 1, 1, 1, 1, true, x, out, list, dim, axes, "x", &real };

    (void)state;
    tp_retain(x);
    tp_fail(ctx, TP_EIO, "the first error");
    for (size_t i = 0; i < sweep_count; i++) {
        check_failed(ctx, &sweep_entries[i], &nothing, "the first error", TP_EIO);
        check_failed(ctx, &sweep_entries[i], &full, "the first error", TP_EIO);
    }
    no_faults();
    tp_error_clear(ctx);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

static void on_contexts_born_failed(void **state)
{
    tp_ctx *device = tp_ctx_new(TP_REF, 3), *memory;
    char    message[1024];

    (void)state;
    tpi_fail_alloc(0, false);
    memory = tp_ctx_new(TP_REF, 0);
    tpi_fail_alloc(-1, false);
    snprintf(message, sizeof message, "%s", tp_error(device));
    for (size_t i = 0; i < sweep_count; i++) {
        check_failed(device, &sweep_entries[i], &nothing, message, TP_EDEVICE);
        check_failed(memory, &sweep_entries[i], &nothing, "out of memory: no context", TP_ENOMEM);
    }
    no_faults();
    tp_ctx_free(device);
    tp_ctx_free(memory);
}

/* A sound context and nothing else: a NULL tensor is an error, whatever the function. */
static void with_nulls(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    for (size_t i = 0; i < sweep_count; i++) {
        const sweep_entry *e = &sweep_entries[i];
        tp_scope           s = tp_scope_begin(ctx);
        given              ones = { .i = 1, .l = 1, .n = 1, .d = 1 };

        e->call(ctx, &nothing);
        if ((e->flags & SWEEP_NEEDS_TENSOR) != 0 && tp_ok(ctx))
            fault(e->name, "no error for a NULL tensor");
        tp_error_clear(ctx);
        e->call(ctx, &ones);
        tp_error_clear(ctx);
        tp_record(ctx, true);
        tp_anomaly(ctx, false);
        tp_scope_end(ctx, s);
    }
    no_faults();
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* A tensor of every dtype and of several shapes. */
static tp_tensor *some_tensor(tp_ctx *ctx, int which)
{
    tp_dtype   t = (tp_dtype)(which % TP_DTYPES);
    tp_tensor *x = NULL;

    switch (which / TP_DTYPES) {
    case 0: x = tp_ones(ctx, t, TP_SCALAR); break;
    case 1: x = tp_ones(ctx, t, TP_SHAPE(3)); break;
    case 2: x = tp_ones(ctx, t, TP_SHAPE(2, 3)); break;
    case 3: x = tp_ones(ctx, t, TP_SHAPE(2, 0, 3, 2)); break;
    }
    return tp_retain(x);
}

enum { SOME_TENSORS = 4 * TP_DTYPES };

static void call_and_clean_up(tp_ctx *ctx, const sweep_entry *e, const given *g)
{
    tp_scope s = tp_scope_begin(ctx);

    e->call(ctx, g);
    tp_hook(ctx, g->x, NULL, NULL);
    tp_error_clear(ctx);
    tp_grad_drop(g->x);
    tp_record(ctx, true);
    tp_anomaly(ctx, false);
    tp_scope_end(ctx, s);
    own_ok(ctx);
}

/* Numbers that make no sense. */
static void absurd_numbers(tp_device device)
{
    static const int     ints[] = { 0, 1, -1, 2, INT_MAX, INT_MIN };
    static const int64_t longs[] = { 0, 1, -1, 2, INT64_MAX, INT64_MIN };
    static const size_t  sizes[] = { 0, 1, SIZE_MAX, 2, SIZE_MAX, SIZE_MAX / 2 };
    const double         reals[] = { 0, 1, -1, 1e300, (double)NAN, -(double)INFINITY };
    tp_ctx              *ctx = tp_ctx_new(device, 0);

    for (size_t i = 0; i < sweep_count && tp_ok(ctx); i++)
        for (int which = 0; which < SOME_TENSORS; which++)
            for (int k = 0; k < 6; k++) {
                tp_scope   s = tp_scope_begin(ctx);
                tp_tensor *x = some_tensor(ctx, which), *out[1] = { NULL };
                given      g = { .i = ints[k], .l = longs[k], .n = sizes[k], .d = reals[k], .b = k % 2, .x = x };

                g.out = k == 1 ? out : NULL;
                if (tp_dtype_is_float(tp_dtype_of(x)))
                    tp_set_trainable(ctx, x, k % 2);
                call_and_clean_up(ctx, &sweep_entries[i], &g);
                tp_scope_end(ctx, s);
                tp_release(x);
            }
    tp_ctx_free(ctx);
}

static void with_absurd_numbers(void **state)
{
    (void)state;
    absurd_numbers(TP_REF);
    absurd_numbers(TP_CPU); /* nothing where this machine has no back end for it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_context),
        cmocka_unit_test(on_failed_contexts),
        cmocka_unit_test(on_contexts_born_failed),
        cmocka_unit_test(with_nulls),
        cmocka_unit_test(with_absurd_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
