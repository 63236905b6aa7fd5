/* random.c - seeds, steps and the keys of random streams. */
#include "core/context.h"

void tp_seed(tp_ctx *ctx, uint64_t seed)
{
    if (ctx == NULL || ctx->is_static)
        return;
    ctx->seed = seed;
    tp_set_step(ctx, 0);
}

void tp_set_step(tp_ctx *ctx, uint64_t step)
{
    if (ctx == NULL || ctx->is_static)
        return;
    ctx->step = step;
    ctx->draws = 0;
}

void tpi_random_get(const tp_ctx *ctx, int64_t v[3])
{
    v[0] = (int64_t)ctx->seed;
    v[1] = (int64_t)ctx->step;
    v[2] = (int64_t)ctx->draws;
}

void tpi_random_set(tp_ctx *ctx, const int64_t v[3])
{
    ctx->seed = (uint64_t)v[0];
    ctx->step = (uint64_t)v[1];
    ctx->draws = (uint32_t)v[2];
}

/* Key = the seed, mixed with what the numbers are for; the counter's upper half = step (low 32 bits) and call within
 * it. */
tpi_key tpi_next_key(tp_ctx *ctx, uint32_t purpose)
{
    return (tpi_key){ { (uint32_t)ctx->seed ^ (purpose * 0x9e3779b9u),
                        (uint32_t)(ctx->seed >> 32) ^ (uint32_t)(ctx->step >> 32) },
                      { (uint32_t)ctx->step, ctx->draws++ } };
}
