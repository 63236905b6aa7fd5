/* graph.c - a backward pass that is itself recorded: adding gradients up by recorded calls, and which calls lie on the
 * way to what was asked for. */
#include "core/context.h"

/* ---- two ops of core's own, since core cannot call those of ops/ ------------------------------------------------- */

static tp_tensor *sum_forward(tp_ctx *ctx, tp_call *c);
static void       sum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
static tp_tensor *turn_forward(tp_ctx *ctx, tp_call *c);
static void       turn_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);

static const tp_op sum_op = { "add", 0, 1, 0, sum_forward, sum_backward, sum_backward };
static const tp_op turn_op = { "cast", sizeof(tp_dtype), 1, 0, turn_forward, turn_backward, turn_backward };

/* Operands of equal shape and dtype. */
static tp_tensor *sum_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *a = c->in[0], *b = c->in[1], *y = tp_like(ctx, a);
    tpi_run    r = tpi_run_of(ctx);
    tpi_nd     nd;

    if (y == NULL)
        return NULL;
    tpi_nd_init(&nd, y->ndim, y->dim, 3, (const tp_tensor *const[]){ y, a, b });
    return tpi_done(ctx, "add", tpi_k(ctx)->binary(&r, TPI_ADD, &nd, (tp_dtype)y->dtype, y->data, a->data, b->data))
               ? y
               : NULL;
}

static void sum_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    (void)ctx;
    (void)c;
    dx[0] = dx[1] = dy[0];
}

static tp_tensor *turn_forward(tp_ctx *ctx, tp_call *c)
{
    const tp_dtype *t = c->attr;
    tp_tensor      *y = tp_empty(ctx, *t, c->in[0]->ndim, c->in[0]->dim);

    return y != NULL && tp_copy_to(ctx, y, c->in[0]) ? y : NULL;
}

static void turn_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_dtype t = (tp_dtype)c->in[0]->dtype;

    dx[0] = (tp_dtype)dy[0]->dtype == t ? dy[0] : tp_apply(ctx, &turn_op, &t, TP_IN(dy[0]));
}

/* ---- adding up --------------------------------------------------------------------------------------------------- */

bool tpi_graph_add(tp_ctx *ctx, tp_tensor **slot, tp_tensor *g, tp_dtype t)
{
    tp_tensor *was = *slot;

    if ((tp_dtype)g->dtype != t)
        g = tp_apply(ctx, &turn_op, &t, TP_IN(g));
    if (g != NULL && was != NULL)
        g = tp_apply(ctx, &sum_op, NULL, TP_IN(was, g));
    if (g == NULL)
        return false;
    *slot = tp_retain(g);
    tp_release(was);
    return true;
}

/* ---- the way to what was asked for ------------------------------------------------------------------------------- */

uint64_t tpi_graph_wants(const tpi_rec *rec)
{
    uint64_t leads = 0;

    for (int i = 0; i < rec->c.n_in; i++) /* of what was walked already nobody knows: it is to become an error */
        if (rec->c.in[i] != NULL && (rec->c.in[i]->leads || rec->c.in[i]->walked))
            leads |= (uint64_t)1 << (i < 63 ? i : 63);
    return leads & rec->wants;
}

void tpi_graph_mark(tp_ctx *ctx, size_t top, bool on)
{
    for (int i = 0; i < ctx->n_sink; i++)
        ctx->sink[i].x->leads = on;
    for (size_t r = 0; r < top; r++) {
        const tp_call *c = &ctx->tape[r]->c;
        bool           leads = tpi_graph_wants(ctx->tape[r]) != 0;

        for (int i = 0; i < c->n_out; i++)
            if (c->out[i] != NULL)
                c->out[i]->leads = on && (leads || c->out[i]->leads);
    }
}
