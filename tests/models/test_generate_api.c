/* test_generate_api.c - losses, scores and generation of a small model: what they promise and what they refuse. */
#include "llama_api.h"

/* ---- loss and score ---------------------------------------------------------------------------------------------- */

/* 7 places of one row, of which the first three have no target. */
static tp_lm_batch small_batch(tp_ctx *ctx)
{
    tp_lm_batch    b = { .ids = some_ids(ctx, 7, VOCAB), .target = tp_full(ctx, TP_I32, TP_SHAPE(1, 7), -1) };
    int32_t       *target = tp_i32(ctx, b.target);
    const int32_t *id = tp_i32(ctx, b.ids);

    for (int i = 3; i < 6; i++)
        target[i] = id[i + 1];
    b.target_tokens = 3;
    return b;
}

static void test_score(void **state)
{
    tp_ctx            *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama          *model = small_model(ctx, false, 4);
    tp_lm_batch        b = small_batch(ctx);
    int32_t           *id = tp_i32(ctx, b.ids), long_text[PLACES] = { 0 };
    tp_ids             prompt = { id, 4, 4 }, completion = { id + 4, 3, 3 }, none = { 0 }, whole = { long_text, PLACES, PLACES };
    tp_lm_score_result r;
    double             sum = tp_item(ctx, tp_llama_loss_sum(ctx, model, b)), mean = tp_item(ctx, tp_llama_loss(ctx, model, b));

    (void)state;
    assert_true(tp_lm_score(ctx, model, &prompt, &completion, &r));
    assert_int_equal(r.tokens, 3);
    assert_false(r.greedy);
    assert_true(fabs(r.logprob + sum) < 1e-4 * sum);
    assert_true(fabs(mean * 3 - sum) < 1e-5 * sum);
    assert_true(tp_recording(ctx));
    assert_true(tp_lm_score(ctx, model, &prompt, &none, &r));
    assert_true(r.tokens == 0 && r.logprob == 0);
    assert_false(tp_lm_score(ctx, model, &none, &completion, &r));
    failed(ctx, TP_EARG, "lm_score");
    assert_false(tp_lm_score(ctx, model, &whole, &completion, &r));
    failed(ctx, TP_EARG, "at most 12");
    assert_false(tp_lm_score(ctx, NULL, &prompt, &completion, &r));
    failed(ctx, TP_EARG, "no model");
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

/* Losses of three AdamW steps. */
static void losses(bool recompute, float *out)
{
    tp_ctx   *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama *model = small_model(ctx, true, 6);
    tp_optim *opt = tp_adamw_new(ctx, tp_llama_root(model), &(tp_adamw_opts){ .lr = 1e-2 });

    tp_llama_set_recompute(model, recompute);
    for (int i = 0; i < 3; i++) {
        tp_scope   s = tp_scope_begin(ctx);
        tp_tensor *loss = tp_llama_loss(ctx, model, small_batch(ctx));

        tp_backward(ctx, loss);
        out[i] = (float)tp_item(ctx, loss);
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, s);
    }
    assert_string_equal(tp_error(ctx), "");
    tp_optim_free(opt);
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

static void test_recompute(void **state)
{
    float kept[3], again[3];

    (void)state;
    losses(false, kept);
    losses(true, again);
    assert_memory_equal(kept, again, sizeof kept);
    assert_true(kept[2] < kept[0]);
}

/* ---- generation -------------------------------------------------------------------------------------------------- */

static const int32_t no_stop[1] = { -1 };

/* What follows the tokens 3, 10, 17. */
static tp_ids continued(tp_ctx *ctx, tp_llama *model, uint64_t seed, tp_generate_opts o)
{
    int32_t first[] = { 3, 10, 17 };
    tp_ids  prompt = { first, 3, 3 }, out = { 0 };

    if (o.stop == NULL) {
        o.stop = no_stop;
        o.n_stop = 1;
    }
    tp_seed(ctx, seed);
    assert_true(tp_generate(ctx, model, 1, &prompt, &out, &o));
    return out;
}

static bool same_ids(const tp_ids *a, const tp_ids *b)
{
    return a->n == b->n && memcmp(a->id, b->id, (size_t)a->n * sizeof *a->id) == 0;
}

static void test_greedy_and_stop(void **state)
{
    tp_ctx            *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama          *model = small_model(ctx, false, 7);
    tp_ids             all = continued(ctx, model, 0, (tp_generate_opts){ 0 }), some, one;
    int32_t            first[] = { 3, 10, 17 }, stop[2] = { -1, all.id[2] };
    tp_ids             prompt = { first, 3, 3 };
    tp_lm_score_result r;
    int64_t            until = 0;

    (void)state;
    assert_int_equal(all.n, PLACES - 3); /* as far as there are positions */
    some = continued(ctx, model, 0, (tp_generate_opts){ .max_new = 2 });
    assert_int_equal(some.n, 2);
    assert_memory_equal(some.id, all.id, 2 * sizeof *all.id);
    tp_ids_free(&some);
    while (all.id[until] != stop[1])
        until++;
    some = continued(ctx, model, 0, (tp_generate_opts){ .stop = stop, .n_stop = 2 });
    assert_int_equal(some.n, until);
    tp_ids_free(&some);
    one = continued(ctx, model, 9, (tp_generate_opts){ .temperature = 1.5, .top_k = 1 });
    assert_true(same_ids(&one, &all));
    tp_ids_free(&one);
    one = continued(ctx, model, 9, (tp_generate_opts){ .temperature = 1.5, .top_p = 1e-6 });
    assert_true(same_ids(&one, &all));
    tp_ids_free(&one);
    assert_true(tp_lm_score(ctx, model, &prompt, &all, &r));
    assert_true(r.greedy);
    tp_ids_free(&all);
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

static void test_sampling(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama        *model = small_model(ctx, false, 7);
    tp_generate_opts o = { .temperature = 3 };
    tp_ids           a = continued(ctx, model, 1, o), b = continued(ctx, model, 1, o), c = continued(ctx, model, 2, o);

    (void)state;
    assert_true(same_ids(&a, &b));
    assert_false(same_ids(&a, &c));
    tp_ids_free(&a);
    tp_ids_free(&b);
    tp_ids_free(&c);
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

static bool two_tokens(void *user, int64_t row, int32_t id)
{
    (void)row;
    (void)id;
    return ++*(int *)user < 2;
}

static void test_generate_refused(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_CPU, 0);
    tp_llama        *model = small_model(ctx, false, 7);
    int              seen = 0;
    int32_t          id[PLACES] = { 0 };
    tp_ids           empty = { 0 }, full = { id, PLACES, PLACES }, out = { 0 };
    tp_generate_opts o = { .max_new = 1 };

    (void)state;
    assert_false(tp_generate(ctx, model, 1, &empty, &out, &o));
    failed(ctx, TP_EARG, "empty");
    assert_false(tp_generate(ctx, model, 1, &full, &out, &o));
    failed(ctx, TP_EARG, "12 positions");
    assert_false(tp_generate(ctx, NULL, 1, &full, &out, &o));
    failed(ctx, TP_EARG, "no model");
    assert_int_equal(out.n, 0);
    out = continued(ctx, model, 0, (tp_generate_opts){ .on_token = two_tokens, .user = &seen });
    assert_int_equal(out.n, 2);
    assert_int_equal(seen, 2);
    tp_ids_free(&out);
    tp_llama_free(model);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_greedy_and_stop),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_generate_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
