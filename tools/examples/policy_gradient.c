/* policy_gradient.c - a pole balanced on a cart by REINFORCE with a baseline (Williams 1992): the data comes from the net
 * itself, the loss is one's own.
 *
 *     cc policy_gradient.c $(pkg-config --cflags --libs tapir) -lm -o policy_gradient
 *     ./policy_gradient [ROUNDS] */
#include <tapir.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CARTS = 16, TIME = 200, STATE = 4, HIDDEN = 32 };

typedef struct {
    tp_module m;
    tp_linear in, out;
} policy;

static void policy_init(tp_ctx *ctx, policy *net)
{
    tp_module_init(ctx, &net->m, NULL, "Policy", "");
    tp_linear_init(ctx, &net->in, &net->m, "in", STATE, HIDDEN, true, TP_F32);
    tp_linear_init(ctx, &net->out, &net->m, "out", HIDDEN, 2, true, TP_F32);
}

/* States [n, 4] -> logits of a push to the left and to the right, [n, 2]. */
static tp_tensor *policy_forward(tp_ctx *ctx, policy *net, tp_tensor *x)
{
    return tp_linear_forward(ctx, &net->out, tp_tanh(ctx, tp_linear_forward(ctx, &net->in, x)));
}

/* One fiftieth of a second of a cart with a pole: place, speed, angle, turning speed (Barto, Sutton and Anderson 1983).
 * False when it has left the track or the pole has fallen. */
static bool push(float s[STATE], bool right)
{
    double c = cos(s[2]), force = ((right ? 10 : -10) + 0.05 * s[3] * s[3] * sin(s[2])) / 1.1;
    double turn = (9.8 * sin(s[2]) - c * force) / (0.5 * (4.0 / 3 - 0.1 * c * c / 1.1));
    double gain[STATE] = { s[1], force - 0.05 * turn * c / 1.1, s[3], turn };

    for (int k = 0; k < STATE; k++)
        s[k] += (float)(0.02 * gain[k]);
    return fabsf(s[0]) < 2.4f && fabsf(s[2]) < 0.2095f;
}

/* What the carts of a round have seen and done, a row a push, and what followed from it. */
static float   seen[CARTS * TIME][STATE], reward[CARTS * TIME];
static int64_t done[CARTS * TIME];

/* Lets all carts run to their end, each pushed as the policy draws; returns the number of pushes. */
static int64_t play(tp_ctx *ctx, policy *net)
{
    float   s[CARTS][STATE];
    int     cart[CARTS * TIME], length[CARTS] = { 0 };
    bool    was = tp_record(ctx, false), up[CARTS];
    int64_t n = 0;

    tp_copy_out(ctx, tp_uniform(ctx, TP_F32, TP_SHAPE(CARTS, STATE), -0.05, 0.05), TP_F32, s, sizeof s);
    for (int i = 0; i < CARTS; i++)
        up[i] = true;
    for (int t = 0; t < TIME && tp_ok(ctx); t++) {
        tp_scope   scope = tp_scope_begin(ctx);
        tp_tensor *p = tp_softmax(ctx, policy_forward(ctx, net, tp_from(ctx, TP_F32, TP_SHAPE(CARTS, STATE), s)), -1);
        int64_t    drawn[CARTS];

        tp_copy_out(ctx, tp_multinomial(ctx, p, 1, true), TP_I64, drawn, sizeof drawn);
        for (int i = 0; i < CARTS && tp_ok(ctx); i++) {
            if (!up[i])
                continue;
            for (int k = 0; k < STATE; k++)
                seen[n][k] = s[i][k];
            done[n] = drawn[i];
            cart[n] = i;
            reward[n++] = (float)t; /* its moment, until the cart's end is known */
            up[i] = push(s[i], drawn[i] == 1);
            length[i] = t + 1;
        }
        tp_scope_end(ctx, scope);
    }
    for (int64_t k = 0; k < n; k++) /* what was still to come, the nearer the more, beside what is usual */
        reward[k] = (float)((1 - pow(0.98, length[cart[k]] - reward[k])) / (1 - 0.98));
    tp_record(ctx, was);
    return n;
}

int main(int argc, char **argv)
{
    int     rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 60;
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);
    policy  net;

    tp_seed(ctx, 1);
    policy_init(ctx, &net);
    tp_optim *opt = tp_adam_new(ctx, &net.m, &(tp_adamw_opts){ .lr = 1e-2 });

    for (int round = 1; round <= rounds && tp_ok(ctx); round++) {
        tp_scope   s = tp_scope_begin(ctx);
        int64_t    n = play(ctx, &net);
        tp_tensor *x = tp_from(ctx, TP_F32, TP_SHAPE(n, STATE), seen), *r = tp_from(ctx, TP_F32, TP_SHAPE(n), reward);
        tp_tensor *took = tp_from(ctx, TP_I64, TP_SHAPE(n, 1), done);
        tp_tensor *logp = tp_gather(ctx, tp_log_softmax(ctx, policy_forward(ctx, &net, x), -1), -1, took);

        r = tp_sub(ctx, r, tp_mean(ctx, r, TP_ALL_AXES, false));
        r = tp_div(ctx, r, tp_shift(ctx, tp_std(ctx, r, TP_ALL_AXES, 0, false), 1e-6));
        tp_backward(ctx, tp_neg(ctx, tp_mean(ctx, tp_mul(ctx, tp_squeeze(ctx, logp, -1), r), TP_ALL_AXES, false)));
        tp_optim_step(ctx, opt);
        if (round % 10 == 0)
            printf("round %2d  pushes a cart: %.1f of %d\n", round, (double)n / CARTS, TIME);
        tp_scope_end(ctx, s);
    }
    tp_optim_free(opt);
    tp_module_free(&net.m);
    return tp_ctx_finish(ctx);
}
