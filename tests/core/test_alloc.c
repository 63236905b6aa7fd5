/*
 * test_alloc.c - memory runs out at every single place of a small training program, once and for good: one error, exit
 * 1, nothing leaked (the leak checker of a build with sanitizers looks).
 */
#include "own_ops.h"

#include "core/internal.h"

#include <fcntl.h>
#include <unistd.h>

enum { N = 40, STEPS = 3 };

static tp_tensor *layer(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    tp_scope s = tp_scope_begin(ctx);

    return tp_scope_return(ctx, s, own_add(ctx, own_into(ctx, in[0], user), own_same(ctx, in[0])));
}

static tp_tensor *half(tp_ctx *ctx, void *user, tp_tensor *dx)
{
    (void)user;
    return own_times(ctx, dx, NULL, 0.5);
}

static int saved_bytes;

static void give_back(void *user, void *p)
{
    (void)user;
    (void)p;
    saved_bytes++;
}

/* Everything that core does: leaves, scopes, a checkpoint, hooks, gradients set aside, a borrowed batch, a huge block,
 * a file's worth of names, printing; the parameters belong to the program, as they would to a module. */
static int program(double *loss_of_last)
{
    static float batch[N];
    tp_ctx      *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor   *w[3], *loss = NULL, *grads[2], *wide[30];
    FILE        *f = fopen("/dev/null", "w");

    tp_seed(ctx, 3);
    for (int i = 0; i < 3; i++) {
        tp_scope s = tp_scope_begin(ctx);

        w[i] = tp_retain(tp_full(ctx, TP_F32, TP_SHAPE(N), 0.5 + 0.1 * i));
        tp_set_trainable(ctx, w[i], true);
        tp_hook(ctx, w[i], i == 1 ? half : NULL, NULL);
        tp_scope_end(ctx, s);
    }
    for (int step = 0; step < STEPS && tp_ok(ctx); step++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *x = tp_borrow(ctx, TP_F32, TP_SHAPE(N), batch, give_back, NULL), *h = x, *big;

        tpi_set_path(ctx, tpi_intern(ctx, step ? "model.layers.1" : "model.layers.0"));
        for (int i = 0; i < 3; i++)
            h = i == 2 ? layer(ctx, w[i], &h) : tp_checkpoint(ctx, layer, w[i], 1, &h);
        tpi_set_path(ctx, NULL);
        for (int i = 0; i < 30; i++)
            wide[i] = w[i % 3];
        big = tp_zeros(ctx, TP_F32, TP_SHAPE(600000));
        tp_copy_to(ctx, tpi_view(ctx, big, TP_SHAPE(N - 1), NULL, 1), tpi_view(ctx, big, TP_SHAPE(N - 1), NULL, 0));
        loss = own_sum(ctx, own_add(ctx, h, tp_apply(ctx, &own_add_op, NULL, 30, wide)));
        if (step == 1)
            tp_grad_of(ctx, loss, 2, w, grads);
        else
            tp_backward(ctx, loss);
        for (int i = 0; i < 3; i++)
            tp_grad_used(w[i]);
        tp_print(ctx, w[0], f);
        tp_arange(ctx, TP_I64, 0, 100, 1);
        *loss_of_last = tp_item(ctx, loss);
        tp_scope_end(ctx, s);
    }
    tp_gradcheck(ctx, layer, tp_ones(ctx, TP_F64, TP_SHAPE(2)), 1, (tp_tensor *[]){ tp_ones(ctx, TP_F64, TP_SHAPE(2)) },
                 0);
    for (int i = 0; i < 3; i++)
        tp_release(w[i]);
    assert_non_null(f);
    fclose(f);
    return tp_ctx_finish(ctx);
}

/* The last lines that the program has written to standard error. */
static size_t complaints(int fd, char *text, size_t size)
{
    ssize_t n;
    size_t  lines = 0;

    n = pread(fd, text, size - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    for (char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_true(lseek(fd, 0, SEEK_SET) == 0);
    return lines;
}

static void every_allocation_fails(void **state)
{
    FILE  *log = tmpfile();
    int    was = dup(2), fine = 0;
    double want = 0, got;
    char   text[4096];
    long   n;

    (void)state;
    assert_true(log != NULL && was >= 0);
    tpi_fail_alloc(-1, false);
    assert_int_equal(program(&want), 0);
    n = tpi_count_alloc();
    assert_true(n > 20);
    for (int always = 0; always < 2; always++)
        for (long i = 0; i < n; i++) {
            int    rc;
            size_t lines;

            assert_true(dup2(fileno(log), 2) >= 0);
            got = 0;
            tpi_fail_alloc(i, always != 0);
            rc = program(&got);
            tpi_fail_alloc(-1, false);
            assert_true(dup2(was, 2) >= 0);
            lines = complaints(fileno(log), text, sizeof text);
            assert_int_equal(lines, rc);
            if (rc == 0) { /* only where the pool found room after all */
                assert_false(always);
                assert_float_equal(got, want, 0);
                fine++;
            } else if (strncmp(text, "tapir: ", 7) != 0 || strstr(text, "out of memory") == NULL) {
                assert_string_equal(text, "tapir: out of memory");
            }
        }
    assert_true(fine <= 4 * STEPS);
    close(was);
    fclose(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
