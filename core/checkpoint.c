/* checkpoint.c - recomputation: a function of which only the result is kept; backward runs it again on a nested piece of tape. */
#include "core/context.h"

typedef struct {
    tp_checkpoint_fn fn;
    void            *user;
    int              n_in;  /* inputs of fn; the others are what it touched */
    uint32_t         draws; /* random calls before it, so that it draws the same numbers again */
    uint64_t         step;
    const char      *path;
} checkpoint_attr;

/* A leaf with x's values that collects the gradient of one run. */
static tp_tensor *leaf_of(tp_ctx *ctx, tp_tensor *x)
{
    tp_tensor *l = x ? tp_detach(ctx, x) : NULL;

    if (l != NULL && x->needs_grad)
        l->needs_grad = l->own_grad = true;
    return l;
}

static void checkpoint_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const checkpoint_attr *a = c->attr;
    tp_tensor             *in[32] = { NULL }, *y;
    uint32_t               draws = ctx->draws;
    uint64_t               step = ctx->step;
    const char            *path = tpi_set_path(ctx, a->path);
    size_t                 base = ctx->n_tape;

    for (int i = 0; i < a->n_in; i++)
        in[i] = leaf_of(ctx, c->in[i]);
    ctx->draws = a->draws;
    ctx->step = a->step;
    tp_record(ctx, true);
    y = tp_ok(ctx) ? a->fn(ctx, a->user, in) : NULL;
    tp_record(ctx, false);
    ctx->draws = draws;
    ctx->step = step;
    tpi_set_path(ctx, path);
    if (y != NULL && y->needs_grad)
        tpi_walk(ctx, base, y, dy[0]);
    tpi_tape_cut(ctx, base);
    for (int i = 0; i < a->n_in; i++)
        if (in[i] != NULL && in[i]->grad != NULL && tpi_adopt(ctx, tp_retain(in[i]->grad)))
            dx[i] = in[i]->grad;
}

static const tp_op checkpoint_op = { "checkpoint", sizeof(checkpoint_attr), 1, 0, NULL, checkpoint_backward };

static bool listed(tp_tensor *const *list, size_t n, const tp_tensor *x)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == x)
            return true;
    return false;
}

/* Appends to list what the calls from `first` on took from outside and that needs a gradient. */
static bool outside(tp_ctx *ctx, size_t first, int64_t serial, tp_tensor ***list, size_t *n, size_t *cap)
{
    for (size_t r = first; r < ctx->n_tape; r++) {
        const tp_call *c = &ctx->tape[r]->c;

        for (int i = 0; i < c->n_in; i++) {
            tp_tensor *x = c->in[i];

            if (x == NULL || !x->needs_grad || x->serial >= serial || listed(*list, *n, x))
                continue;
            if (!tpi_grow(ctx, list, cap, *n + 1, sizeof **list))
                return false;
            (*list)[(*n)++] = x;
        }
    }
    return true;
}

/* Runs fn, forgets its inside, and hands out its result as a leaf; *list gets the inputs and what fn touched. */
static tp_tensor *run_once(tp_ctx *ctx, const checkpoint_attr *a, tp_tensor *const *in, tp_tensor ***list, size_t *n)
{
    tp_scope   s = tp_scope_begin(ctx);
    size_t     first = ctx->n_tape, cap = 0;
    int64_t    serial = ctx->serial;
    tp_tensor *y = NULL, *z = NULL;
    bool       ok = tpi_grow(ctx, list, &cap, (size_t)a->n_in + 1, sizeof **list);

    for (int i = 0; ok && i < a->n_in; i++)
        (*list)[(*n)++] = in[i];
    if (ok)
        y = a->fn(ctx, a->user, in);
    if (y != NULL && outside(ctx, first, serial, list, n, &cap))
        z = tp_detach(ctx, y);
    tpi_tape_cut(ctx, first);
    return tp_scope_return(ctx, s, z);
}

tp_tensor *tp_checkpoint(tp_ctx *ctx, tp_checkpoint_fn fn, void *user, int n_in, tp_tensor *const *in)
{
    checkpoint_attr a;
    tp_tensor     **list = NULL, *y;
    size_t          n = 0;
    bool            needs = false;

    if (!tp_ok(ctx))
        return NULL;
    if (fn == NULL || n_in < 0 || n_in > 32)
        return tp_fail(ctx, TP_EARG, "checkpoint: no function, or %d inputs (at most 32)", n_in);
    if (!ctx->recording)
        return fn(ctx, user, in);
    a = (checkpoint_attr){ fn, user, n_in, ctx->draws, ctx->step, ctx->path };
    y = run_once(ctx, &a, in, &list, &n);
    for (size_t i = 0; i < n; i++)
        needs |= list[i] != NULL && list[i]->needs_grad;
    if (y != NULL && needs && !tpi_tape_push(ctx, &checkpoint_op, &a, (int)n, list, n_in, y))
        y = NULL;
    tpi_free(list);
    return y;
}
