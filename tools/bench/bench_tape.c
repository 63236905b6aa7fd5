/*
 * bench_tape.c - what an op costs beside its arithmetic: nanoseconds of CPU time each, the best of several rounds.
 *
 * build: cc -O2 -I. tools/bench/bench_tape.c -o bench_tape $(pkg-config --cflags --libs tapir)
 */
#include "tapir.h"

#include <stdio.h>
#include <time.h>

enum { ROUNDS = 15, CALLS = 20000, IN_SCOPE = 100 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* An op that only makes its output. */
static tp_tensor *empty_forward(tp_ctx *ctx, tp_call *c)
{
    return tp_like(ctx, c->in[0]);
}

static void pass_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    (void)c;
    dx[0] = dy[0];
}

static const tp_op trivial = { "trivial", 0, 1, 0, empty_forward, pass_backward, NULL };

typedef struct {
    tp_tensor *a, *b;
} operands;

static void run_trivial(tp_ctx *ctx, const operands *o, int n)
{
    for (int i = 0; i < n; i++)
        tp_apply(ctx, &trivial, NULL, TP_IN(o->a));
}

static void run_add(tp_ctx *ctx, const operands *o, int n)
{
    for (int i = 0; i < n; i++)
        tp_add(ctx, o->a, o->b);
}

static void run_mul(tp_ctx *ctx, const operands *o, int n)
{
    for (int i = 0; i < n; i++)
        tp_mul(ctx, o->a, o->b);
}

static void run_reshape(tp_ctx *ctx, const operands *o, int n)
{
    for (int i = 0; i < n; i++)
        tp_reshape(ctx, o->a, TP_SHAPE(4, 8));
}

static void run_empty(tp_ctx *ctx, const operands *o, int n)
{
    (void)o;
    for (int i = 0; i < n; i++)
        tp_empty(ctx, TP_F32, TP_SHAPE(32));
}

static void run_scope(tp_ctx *ctx, const operands *o, int n)
{
    (void)o;
    for (int i = 0; i < n; i++)
        tp_scope_end(ctx, tp_scope_begin(ctx));
}

/* A chain of n products and the walk back over it. */
static void run_train(tp_ctx *ctx, const operands *o, int n)
{
    tp_tensor *h = o->a;

    for (int i = 0; i < n; i++)
        h = tp_mul(ctx, h, o->b);
    tp_backward_from(ctx, h, o->b);
}

/* Nanoseconds for one of n, in scopes of IN_SCOPE. */
static double measure(tp_ctx *ctx, void (*run)(tp_ctx *ctx, const operands *o, int n), bool trainable)
{
    double   best = 1e30;
    operands o = { tp_ones(ctx, TP_F32, TP_SHAPE(32)), tp_ones(ctx, TP_F32, TP_SHAPE(32)) };

    tp_set_trainable(ctx, o.a, trainable);
    for (int r = 0; r < ROUNDS; r++) {
        double t = now();

        for (int i = 0; i < CALLS / IN_SCOPE; i++) {
            tp_scope s = tp_scope_begin(ctx);

            run(ctx, &o, IN_SCOPE);
            tp_scope_end(ctx, s);
        }
        t = (now() - t) / CALLS;
        best = t < best ? t : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);

    if (argc > 1)
        tp_set_backend(ctx, argv[1]);
    printf("back end %s, 32 elements of f32; nanoseconds each: without and with recording\n", tp_backend_name(ctx));
    printf("tp_empty                %7.0f\n", measure(ctx, run_empty, false));
    printf("scope begin and end     %7.0f\n", measure(ctx, run_scope, false));
    printf("trivial op of one's own %7.0f %7.0f\n", measure(ctx, run_trivial, false), measure(ctx, run_trivial, true));
    printf("reshape                 %7.0f %7.0f\n", measure(ctx, run_reshape, false), measure(ctx, run_reshape, true));
    printf("add                     %7.0f %7.0f\n", measure(ctx, run_add, false), measure(ctx, run_add, true));
    printf("mul                     %7.0f %7.0f\n", measure(ctx, run_mul, false), measure(ctx, run_mul, true));
    printf("mul and its backward            %7.0f\n", measure(ctx, run_train, true));
    return tp_ctx_finish(ctx);
}
