/* checkpoint.c - recomputation: a function of which only the result is kept; backward runs it again on a nested piece
 * of tape. */
#include "core/context.h"

enum { MAX_IN = 32 };

typedef struct {
    tp_checkpoint_fn fn;
    void            *user;
    int              n_in; /* inputs of fn; the others are what it touched */
    uint32_t         draws; /* random calls before it, so that it draws the same numbers again */
    uint64_t         seed, step;
    const char      *path;
} checkpoint_attr;

/* Calls fn so that it cannot end scopes around it. */
static tp_tensor *call(tp_ctx *ctx, const checkpoint_attr *a, tp_tensor *const *in)
{
    size_t     floor = ctx->floor;
    tp_tensor *y;

    ctx->floor = ctx->n_scopes;
    y = a->fn(ctx, a->user, in);
    ctx->floor = floor;
    if (tp_ok(ctx) && (!tpi_alive(y) || y->ctx != ctx || y->store == NULL))
        tp_fail(ctx, TP_EARG, "checkpoint: the function returned no tensor, or one that was released");
    return tp_ok(ctx) ? y : NULL;
}

/* Runs fn again on the end of the tape and walks back over that piece at once.  Its inputs are the outer tensors
 * themselves, so every gradient arrives where and in the order in which it would have without recomputation: the same
 * bits. */
static void checkpoint_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    const checkpoint_attr *a = c->attr;
    checkpoint_attr        now = { .draws = ctx->draws, .seed = ctx->seed, .step = ctx->step };
    const char            *path = tpi_set_path(ctx, a->path);
    size_t                 base = ctx->n_tape;
    tp_tensor             *y;

    (void)dx;
    ctx->draws = a->draws;
    ctx->seed = a->seed;
    ctx->step = a->step;
    tp_record(ctx, true);
    y = call(ctx, a, c->in);
    tp_record(ctx, false);
    ctx->draws = now.draws;
    ctx->seed = now.seed;
    ctx->step = now.step;
    tpi_set_path(ctx, path);
    if (y != NULL && y->needs_grad)
        tpi_walk(ctx, base, y, dy[0]);
    tpi_tape_cut(ctx, base);
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

/* Runs fn, forgets its inside, and hands out its result as a leaf; *list gets the inputs and what fn touched, if it
 * matters. */
static tp_tensor *run_once(tp_ctx *ctx, const checkpoint_attr *a, tp_tensor *const *in, tp_tensor ***list, size_t *n)
{
    tp_scope   s = tp_scope_begin(ctx);
    size_t     first = ctx->n_tape, cap = 0;
    int64_t    serial = ctx->serial;
    tp_tensor *y = tp_ok(ctx) ? call(ctx, a, in) : NULL, *z = NULL;

    if (y != NULL && y->needs_grad && ctx->recording && tpi_grow(ctx, list, &cap, (size_t)a->n_in + 1, sizeof **list)) {
        for (int i = 0; i < a->n_in; i++)
            (*list)[(*n)++] = in[i];
        if (y->serial < serial && !listed(*list, *n, y)) /* not computed but handed through */
            (*list)[(*n)++] = y;
        if (!outside(ctx, first, serial, list, n, &cap))
            y = NULL;
    }
    if (y != NULL)
        z = tp_detach(ctx, y);
    tpi_tape_cut(ctx, first);
    return tp_scope_return(ctx, s, z);
}

tp_tensor *tp_checkpoint(tp_ctx *ctx, tp_checkpoint_fn fn, void *user, int n_in, tp_tensor *const *in)
{
    checkpoint_attr a = { .fn = fn, .user = user, .n_in = n_in };
    tp_tensor     **list = NULL, *y;
    size_t          n = 0;

    if (!tp_ok(ctx))
        return NULL;
    if (fn == NULL || n_in < 0 || n_in > MAX_IN || (n_in > 0 && in == NULL))
        return tp_fail(ctx, TP_EARG, "checkpoint: no function, or %d inputs, expected 0 to %d", n_in, MAX_IN);
    for (int i = 0; i < n_in; i++)
        if (in[i] != NULL && !tpi_check(ctx, "checkpoint", in[i], i))
            return NULL;
    a.draws = ctx->draws;
    a.seed = ctx->seed;
    a.step = ctx->step;
    a.path = ctx->path;
    y = run_once(ctx, &a, in, &list, &n);
    if (y != NULL && n > 0 && !tpi_tape_push(ctx, &checkpoint_op, &a, (int)n, list, y))
        y = NULL;
    tpi_free(list);
    return y;
}

bool tpi_replays(const tp_ctx *ctx)
{
    return ctx->depth > 0;
}
