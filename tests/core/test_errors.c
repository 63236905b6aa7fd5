/* test_errors.c - the sticky error: messages, what a failed context does, contexts born failed, notes and warnings. */
#include "own_ops.h"

#include "core/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void the_first_error_stays(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    assert_string_equal(tp_error(ctx), "");
    assert_int_equal(tp_error_code(ctx), TP_OK);
    assert_null(tp_fail(ctx, TP_ESHAPE, "matmul: x is [%d], w is [%d]", 2, 3));
    tp_fail(ctx, TP_EIO, "later");
    assert_string_equal(tp_error(ctx), "matmul: x is [2], w is [3]");
    assert_int_equal(tp_error_code(ctx), TP_ESHAPE);
    assert_false(tp_ok(ctx));
    tp_error_clear(ctx);
    assert_true(tp_ok(ctx));
    assert_string_equal(tp_error(ctx), "");
    tp_fail(ctx, TP_OK, "no code");
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    tp_ctx_free(ctx);
}

/* One line, at most 1 KiB, whatever goes in. */
static void messages_are_one_line(void **state)
{
    tp_ctx *ctx = own_ctx();
    char    lots[3000];

    (void)state;
    tp_fail(ctx, TP_EIO, "a\nb\tc\x7f\x1b[31m");
    assert_string_equal(tp_error(ctx), "a?b?c??[31m");
    tp_error_clear(ctx);
    memset(lots, 'x', sizeof lots - 1);
    lots[sizeof lots - 1] = '\0';
    tp_fail(ctx, TP_EIO, "%s", lots);
    assert_int_equal(strlen(tp_error(ctx)), 1023);
    tp_error_clear(ctx);
    tpi_set_path(ctx, tpi_intern(ctx, lots));
    tp_fail(ctx, TP_EIO, "the end");
    assert_non_null(strstr(tp_error(ctx), "x: the end"));
    tp_error_clear(ctx);
    tp_ctx_free(ctx);
}

/* The path of the module stands in front, in forward and in backward. */
static tp_tensor *twice_forward(tp_ctx *ctx, tp_call *c)
{
    return own_times(ctx, c->in[0], NULL, 2);
}

static void broken_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)c;
    (void)dx;
    own_mul(ctx, dy[0], NULL);
    tp_fail(ctx, TP_EARG, "twice: broken");
}

static void module_paths(void **state)
{
    static const tp_op twice = { "twice", 0, 1, 0, twice_forward, broken_backward, NULL };
    tp_ctx     *ctx = own_ctx(), *other = own_ctx();
    tp_tensor  *x = own_leaf(ctx, TP_F32, 2, 1), *y;
    const char *path = tpi_intern(ctx, "model.layers.3.q_proj"), *before;

    (void)state;
    assert_ptr_equal(tpi_intern(ctx, "model.layers.3.q_proj"), path);
    before = tpi_set_path(ctx, path);
    assert_null(before);
    tp_apply(ctx, &twice, NULL, TP_IN(own_leaf(other, TP_F32, 2, 1)));
    own_error(ctx, TP_EARG, "model.layers.3.q_proj: twice: input 0 belongs to another context");
    tpi_set_path(ctx, path);
    y = tp_apply(ctx, &twice, NULL, TP_IN(x));
    assert_ptr_equal(tpi_set_path(ctx, before), path);
    assert_false(tp_backward(ctx, own_sum(ctx, y)));
    assert_int_equal(strncmp(tp_error(ctx), "model.layers.3.q_proj: ", 23), 0);
    tp_error_clear(ctx);
    assert_false(tp_backward(ctx, own_leaf(ctx, TP_F32, 2, 1))); /* and not in front of what is none of its business */
    own_error(ctx, TP_ESHAPE, "backward: the loss must be one number");
    tp_ctx_free(other);
    tp_ctx_free(ctx);
}

/* Freed and foreign tensors. */
static void wrong_tensors(void **state)
{
    tp_ctx    *ctx = own_ctx(), *other = own_ctx();
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *dead = tp_ones(ctx, TP_F32, TP_SHAPE(2)), *foreign = tp_ones(other, TP_F32, TP_SHAPE(2)), *x;

    (void)state;
    tp_scope_end(ctx, s);
    x = tp_ones(ctx, TP_F32, TP_SHAPE(2));
    for (int k = 0; k < 3; k++) {
        tp_tensor  *bad = k == 0 ? NULL : k == 1 ? dead : foreign;
        const char *why = k == 0 ? "is NULL" : k == 1 ? "was released" : "another context";

        own_add(ctx, bad, x);
        if (k == 0)
            tp_error_clear(ctx); /* to an op, NULL may be an optional input; this one cannot do without */
        else
            own_error(ctx, TP_EARG, why);
        assert_null(tp_detach(ctx, bad));
        own_error(ctx, TP_EARG, why);
        assert_false(tp_copy_to(ctx, x, bad));
        own_error(ctx, TP_EARG, why);
        assert_false(tp_copy_to(ctx, bad, x));
        own_error(ctx, TP_EARG, why);
        assert_true(isnan(tp_item(ctx, bad)));
        own_error(ctx, TP_EARG, why);
        assert_null(tp_values(ctx, bad));
        own_error(ctx, TP_EARG, why);
        assert_null(tp_like(ctx, bad));
        own_error(ctx, TP_EARG, why);
        tp_set_trainable(ctx, bad, true);
        own_error(ctx, TP_EARG, why);
        tp_hook(ctx, bad, NULL, NULL);
        own_error(ctx, TP_EARG, why);
        tp_print(ctx, bad, stdout);
        own_error(ctx, TP_EARG, why);
        assert_false(tp_backward_from(ctx, bad, x));
        own_error(ctx, TP_EARG, why);
    }
    tp_grad_drop(dead);
    tp_grad_used(dead);
    tp_ctx_free(other);
    tp_ctx_free(ctx);
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static void contexts_born_failed(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 7);

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(tp_error_code(ctx), TP_EDEVICE);
    assert_string_equal(tp_backend_name(ctx), "none");
    tp_error_clear(ctx); /* does not help */
    assert_false(tp_ok(ctx));
    assert_null(tp_ones(ctx, TP_F32, TP_SHAPE(2)));
    tp_ctx_free(ctx);

    tpi_fail_alloc(0, false);
    ctx = tp_ctx_new(TP_REF, 0);
    tpi_fail_alloc(-1, false);
    assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
    assert_string_equal(tp_error(ctx), "out of memory: no context");
    tp_error_clear(ctx); /* it is nobody's, so nothing can be changed in it */
    tp_record(ctx, true);
    tp_anomaly(ctx, true);
    tp_seed(ctx, 1);
    tp_set_step(ctx, 1);
    tp_set_threads(ctx, 1);
    tp_set_backend(ctx, "ref");
    tp_on_message(ctx, NULL, NULL);
    tp_message(ctx, TP_NOTE, "x");
    tp_memory_trim(ctx);
    assert_null(tpi_intern(ctx, "x"));
    assert_null(tpi_set_path(ctx, "x"));
    tp_scope_end(ctx, tp_scope_begin(ctx));
    assert_null(tp_ones(ctx, TP_F32, TP_SHAPE(2)));
    assert_int_equal(tp_memory(ctx).now, 0);
    assert_false(tp_ok(ctx));
    tp_ctx_free(ctx);
}

static void settings(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    assert_int_equal(tp_ctx_device(ctx), TP_REF);
    assert_int_equal(tp_ctx_device(NULL), TP_CPU);
    assert_true(tp_threads(ctx) >= 1);
    assert_int_equal(tp_threads(NULL), 0);
    tp_set_threads(ctx, 3);
    assert_int_equal(tp_threads(ctx), 3);
    tp_set_threads(ctx, -1);
    own_error(ctx, TP_EARG, "set_threads: -1, expected 0 (the default) to 1024");
    tp_set_threads(ctx, 1025);
    own_error(ctx, TP_EARG, "1025");
    assert_int_equal(tp_threads(ctx), 3);
    assert_int_equal(setenv("OMP_NUM_THREADS", "5,2", 1), 0);
    tp_set_threads(ctx, 0);
    assert_int_equal(tp_threads(ctx), 5);
    assert_int_equal(setenv("OMP_NUM_THREADS", "5x", 1), 0); /* no number: what the machine allows */
    tp_set_threads(ctx, 0);
    assert_true(tp_threads(ctx) >= 1 && tp_threads(ctx) <= 1024);
    assert_int_equal(unsetenv("OMP_NUM_THREADS"), 0);
    assert_string_equal(tp_backend_name(ctx), "ref");
    assert_string_equal(tp_backend_name(NULL), "none");
    tp_set_backend(ctx, "ref");
    own_ok(ctx);
    tp_set_backend(ctx, "abacus");
    own_error(ctx, TP_EDEVICE, "there is no 'abacus' here, only:");
    tp_set_backend(ctx, NULL);
    own_error(ctx, TP_EDEVICE, "(null)");
    tp_ctx_free(ctx);
}

static void finishing(void **state)
{
    tp_ctx *ctx = own_ctx();
    char    text[200] = "";
    FILE   *f = tmpfile();
    int     was = dup(2);

    (void)state;
    assert_true(f != NULL && was >= 0);
    assert_int_equal(tp_ctx_finish(ctx), 0);
    ctx = own_ctx();
    tp_fail(ctx, TP_EIO, "the disk is full");
    assert_true(dup2(fileno(f), 2) >= 0);
    assert_int_equal(tp_ctx_finish(ctx), 1);
    assert_int_equal(tp_ctx_finish(NULL), 1);
    assert_true(dup2(was, 2) >= 0);
    close(was);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, "tapir: the disk is full\ntapir: no context\n");
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static char     last[200];
static tp_level last_level;

static void on_message(void *user, tp_level level, const char *text)
{
    assert_ptr_equal(user, last);
    last_level = level;
    snprintf(last, sizeof last, "%s", text);
}

static void notes_and_warnings(void **state)
{
    tp_ctx *ctx = own_ctx();

    (void)state;
    tp_message(ctx, TP_NOTE, "to nobody");
    tp_on_message(ctx, on_message, last);
    tp_message(ctx, TP_WARNING, "%d dead\nparameters", 3);
    assert_string_equal(last, "3 dead?parameters");
    assert_int_equal(last_level, TP_WARNING);
    tp_on_message(ctx, NULL, NULL);
    tp_message(ctx, TP_PROGRESS, "x");
    assert_string_equal(last, "3 dead?parameters");
    tp_message(NULL, TP_NOTE, "x");
    tp_on_message(NULL, on_message, last);
    own_ok(ctx);
    tp_ctx_free(ctx);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void names_of_types(void **state)
{
    static const struct { tp_dtype t; const char *name; size_t size; bool real;
    } want[TP_DTYPES] = {
        { TP_F32, "f32", 4, true }, { TP_F64, "f64", 8, true },    { TP_BF16, "bf16", 2, true },
        { TP_F16, "f16", 2, true }, { TP_I64, "i64", 8, false },   { TP_I32, "i32", 4, false },
        { TP_U8, "u8", 1, false },  { TP_BOOL, "bool", 1, false },
    };

    (void)state;
    for (int i = 0; i < TP_DTYPES; i++) {
        assert_string_equal(tp_dtype_name(want[i].t), want[i].name);
        assert_int_equal(tp_dtype_size(want[i].t), want[i].size);
        assert_int_equal(tp_dtype_is_float(want[i].t), want[i].real);
    }
    assert_string_equal(tp_dtype_name(TP_DTYPES), "unknown");
    assert_int_equal(tp_dtype_size((tp_dtype)-1), 0);
    assert_false(tp_dtype_is_float((tp_dtype)1000));
    assert_string_equal(tp_version(), TP_VERSION);
    assert_int_equal(tp_dtype_of(NULL), TP_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_stays),
        cmocka_unit_test(messages_are_one_line),
        cmocka_unit_test(module_paths),
        cmocka_unit_test(wrong_tensors),
        cmocka_unit_test(contexts_born_failed),
        cmocka_unit_test(settings),
        cmocka_unit_test(finishing),
        cmocka_unit_test(notes_and_warnings),
        cmocka_unit_test(names_of_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
