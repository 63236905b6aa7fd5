/* scope.c - the stack of tensors that the open scopes own. */
#include "core/context.h"

tp_scope tp_scope_begin(tp_ctx *ctx)
{
    tp_scope none = { 0, 0 };

    if (ctx == NULL || ctx->is_static)
        return none;
    if (!tpi_grow(ctx, &ctx->scopes, &ctx->cap_scopes, ctx->n_scopes + 1, sizeof *ctx->scopes))
        return none;
    ctx->scopes[ctx->n_scopes] = (tpi_mark){ ctx->n_live, ctx->n_tape, ++ctx->scope_serial };
    return (tp_scope){ ctx->n_scopes++, ctx->scope_serial };
}

void tpi_unwind(tp_ctx *ctx, size_t depth, size_t live, size_t tape)
{
    if (ctx->n_scopes > depth)
        ctx->n_scopes = depth;
    while (ctx->n_live > live)
        tp_release(ctx->live[--ctx->n_live]);
    tpi_tape_prune(ctx, tape);
}

void tp_scope_end(tp_ctx *ctx, tp_scope s)
{
    tpi_mark m;

    if (ctx == NULL || ctx->is_static || s.depth >= ctx->n_scopes || ctx->scopes[s.depth].serial != s.serial)
        return; /* ended already, with a scope around it */
    if (s.depth < ctx->floor) {
        tp_fail(ctx, TP_EARG, "scope_end: an op, a hook or a checkpointed function cannot end a scope around it");
        return;
    }
    m = ctx->scopes[s.depth];
    tpi_unwind(ctx, s.depth, m.live, m.tape);
}

tp_tensor *tp_scope_return(tp_ctx *ctx, tp_scope s, tp_tensor *x)
{
    tp_tensor *y = tp_ok(ctx) && x != NULL && tpi_check(ctx, "scope_return", x, 0) ? tp_retain(x) : NULL;

    tp_scope_end(ctx, s);
    return y != NULL && tpi_adopt(ctx, y) && tp_ok(ctx) ? y : NULL;
}
