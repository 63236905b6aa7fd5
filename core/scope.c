/* scope.c - the stack of tensors that the open scopes own. */
#include "core/context.h"

tp_scope tp_scope_begin(tp_ctx *ctx)
{
    tp_scope s = { 0, 0, 0 };

    if (ctx == NULL || ctx->is_static)
        return s;
    s = (tp_scope){ ctx->n_live, ctx->n_tape, ctx->n_scopes };
    if (tpi_grow(ctx, &ctx->scopes, &ctx->cap_scopes, ctx->n_scopes + 1, sizeof *ctx->scopes))
        ctx->scopes[ctx->n_scopes++] = s;
    return s;
}

void tp_scope_end(tp_ctx *ctx, tp_scope s)
{
    if (ctx == NULL || ctx->is_static)
        return;
    while (ctx->n_live > s.live)
        tp_release(ctx->live[--ctx->n_live]);
    tpi_tape_prune(ctx, s.tape);
    if (ctx->n_scopes > s.depth)
        ctx->n_scopes = s.depth;
}

tp_tensor *tp_scope_return(tp_ctx *ctx, tp_scope s, tp_tensor *x)
{
    tp_tensor *y = tp_retain(x);

    tp_scope_end(ctx, s);
    return y != NULL && tpi_adopt(ctx, y) ? y : NULL;
}
