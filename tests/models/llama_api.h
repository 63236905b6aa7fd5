/* llama_api.h - a random model small enough for every test of the public functions, and what they share. */
#ifndef TEST_LLAMA_API_H
#define TEST_LLAMA_API_H

#include "tapir.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 40, PLACES = 12 };

/* Large weights, so that the logits of a random model are far apart. */
static inline tp_llama_config small_shape(bool tied)
{
    return (tp_llama_config){ .vocab_size = VOCAB,
                              .hidden_size = 16,
                              .intermediate_size = 24,
                              .num_hidden_layers = 2,
                              .num_attention_heads = 4,
                              .num_key_value_heads = 2,
                              .max_position_embeddings = PLACES,
                              .tie_word_embeddings = tied,
                              .initializer_range = 0.5 };
}

static inline tp_llama *small_model(tp_ctx *ctx, bool tied, uint64_t seed)
{
    tp_llama_config c = small_shape(tied);
    tp_llama       *model;

    tp_seed(ctx, seed);
    model = tp_llama_new(ctx, &c, TP_F32);
    assert_string_equal(tp_error(ctx), "");
    assert_non_null(model);
    return model;
}

/* The context has failed with that code and a message that holds `part`; it is clear afterwards. */
static inline void failed(tp_ctx *ctx, tp_code code, const char *part)
{
    assert_int_equal(tp_error_code(ctx), code);
    if (strstr(tp_error(ctx), part) == NULL)
        fail_msg("'%s' does not say '%s'", tp_error(ctx), part);
    tp_error_clear(ctx);
}

static inline tp_tensor *some_ids(tp_ctx *ctx, int64_t n, int64_t vocab)
{
    tp_tensor *x = tp_empty(ctx, TP_I32, TP_SHAPE(1, n));
    int32_t   *id = tp_i32(ctx, x);

    for (int64_t i = 0; i < n; i++)
        id[i] = (int32_t)((i * 7 + 3) % vocab);
    return x;
}

#endif
