/*
 * test_examples_alloc.c - memory runs out in the examples, cut to two steps: every allocation of Tapir's own fails in
 * turn, once and from there on for good.  One line, exit status 1, and nothing leaked (the leak checker looks); or, where
 * it can do without, the output that there is with all memory.  A sample of the places; with TAPIR_LONG=1 all of them.
 */
#include "core/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SAMPLE = 24, ARGUMENTS = 6, MOST = 1 << 16 };

/* The mains of tools/examples, under other names (tests/meson.build). */
int example_autoencoder(int argc, char **argv);
int example_char_gpt(int argc, char **argv);
int example_checkpoints(int argc, char **argv);
int example_custom_adapter(int argc, char **argv);
int example_custom_adapter_mlp(int argc, char **argv);
int example_custom_op(void);
int example_digits_cnn(int argc, char **argv);
int example_digits_mlp(int argc, char **argv);
int example_distillation(int argc, char **argv);
int example_finetune_llama(int argc, char **argv);
int example_linear_regression(int argc, char **argv);
int example_mlp(int argc, char **argv);
int example_policy_gradient(int argc, char **argv);
int example_two_optimizers(int argc, char **argv);

static int custom_op(int argc, char **argv)
{
    (void)argc, (void)argv;
    return example_custom_op();
}

/* "@" in an argument stands for the folder of the sources. */
static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *arguments[ARGUMENTS];
} examples[] = {
    { "linear_regression", example_linear_regression, { "2" } },
    { "mlp", example_mlp, { "2" } },
    { "digits_mlp", example_digits_mlp, { "@/tools/data/digits.csv", "2" } },
    { "digits_cnn", example_digits_cnn, { "@/tools/data/digits.csv", "2" } },
    { "char_gpt", example_char_gpt, { "@/tools/data/alice.txt", "2" } },
    { "checkpoints", example_checkpoints, { "2" } },
    { "autoencoder", example_autoencoder, { "@/tools/data/digits.csv", "2" } },
    { "policy_gradient", example_policy_gradient, { "2" } },
    { "two_optimizers", example_two_optimizers, { "@/tools/data/digits.csv", "2" } },
    { "distillation", example_distillation, { "@/tools/data/digits.csv", "2" } },
    { "custom_op", custom_op, { NULL } },
    { "custom_adapter", example_custom_adapter, { "alloc-gated.h5", "2" } },
    { "custom_adapter_mlp", example_custom_adapter_mlp, { "@/tools/data/digits.csv", "2", "alloc-scaled.h5" } },
    { "finetune_llama", example_finetune_llama,
      { "@/tests/golden/tiny-chat", "@/tests/golden/tiny-chat/train.jsonl", "alloc-adapter.h5", "2", "8" } },
};

/* What a run has said. */
typedef struct {
    int  status, lines;
    char out[MOST], err[4096];
} outcome;

static void read_back(FILE *f, char *text, size_t size)
{
    ssize_t n = pread(fileno(f), text, size - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(ftruncate(fileno(f), 0), 0);
    assert_true(lseek(fileno(f), 0, SEEK_SET) == 0);
}

/* Runs an example with its output in files; allocation number `after` fails. */
static void run(size_t k, long after, bool always, FILE *out, FILE *err, outcome *o)
{
    const char *source = getenv("TAPIR_SOURCE");
    char        text[ARGUMENTS][1024], *argv[ARGUMENTS + 2] = { (char[]){ "example" } };
    int         argc = 1, was_out = dup(1), was_err = dup(2);

    for (int i = 0; i < ARGUMENTS && examples[k].arguments[i] != NULL; i++) {
        const char *a = examples[k].arguments[i];

        snprintf(text[i], sizeof text[i], "%s%s", a[0] == '@' ? source : "", a[0] == '@' ? a + 1 : a);
        argv[argc++] = text[i];
    }
    fflush(stdout);
    assert_true(dup2(fileno(out), 1) >= 0 && dup2(fileno(err), 2) >= 0);
    tpi_fail_alloc(after, always);
    o->status = examples[k].main(argc, argv);
    fflush(stdout);
    (void)dup2(was_out, 1);
    (void)dup2(was_err, 2);
    close(was_out);
    close(was_err);
    read_back(out, o->out, sizeof o->out);
    read_back(err, o->err, sizeof o->err);
    o->lines = 0;
    for (const char *p = o->err; *p != '\0'; p++)
        o->lines += *p == '\n';
}

/* Whether a run in which an allocation failed has ended as it should. */
static bool fine(const outcome *o, const outcome *want)
{
    if (o->status == 0)
        return o->lines == 0 && strcmp(o->out, want->out) == 0;
    return o->status == 1 && o->lines == 1 && strncmp(o->err, "tapir: ", 7) == 0 &&
           strstr(o->err, "out of memory") != NULL;
}

static int try_example(size_t k, FILE *out, FILE *err)
{
    static outcome want, got;
    bool           all = getenv("TAPIR_LONG") != NULL;
    int            bad = 0, refused = 0, tries = 0;
    long           n, step;

    run(k, -1, false, out, err, &want);
    n = tpi_count_alloc();
    if (want.status != 0)
        fail_msg("%s: %s", examples[k].name, want.err);
    step = all || n < SAMPLE ? 1 : n / SAMPLE;
    for (long i = 0; i < n; i += step)
        for (int always = 0; always < 2; always++, tries++) {
            long at = all ? i : i + (i * 7 + always) % step; /* not always the same place of a step */

            run(k, at, always, out, err, &got);
            tpi_fail_alloc(-1, false);
            refused += got.status == 1;
            if (!fine(&got, &want) && ++bad < 5)
                print_error("%s: allocation %ld of %ld, %s: exit %d, %d lines: %s\n", examples[k].name, at, n,
                            always ? "for good" : "once", got.status, got.lines, got.err);
        }
    if (refused < tries / 3) {
        print_error("%s: only %d of %d runs failed\n", examples[k].name, refused, tries);
        bad++;
    }
    return bad;
}

static void every_example(void **state)
{
    FILE *out = tmpfile(), *err = tmpfile();
    int   bad = 0;

    (void)state;
    if (getenv("TAPIR_SOURCE") == NULL)
        skip();
    assert_true(out != NULL && err != NULL);
    for (size_t k = 0; k < sizeof examples / sizeof *examples; k++)
        bad += try_example(k, out, err);
    fclose(out);
    fclose(err);
    (void)unlink("checkpoint.h5");
    (void)unlink("alloc-gated.h5");
    (void)unlink("alloc-scaled.h5");
    (void)unlink("alloc-adapter.h5");
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_example) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
