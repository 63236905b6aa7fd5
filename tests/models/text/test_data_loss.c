/* test_data_loss.c - a model gives a sample the same loss and gradients whether its row is padded, shared or packed. */
#include "tests/models/text/data_test.h"

#include "models/llama.h"

#include <math.h>

static const char lines[] = "{\"prompt\": \"two and two\", \"completion\": \"four\"}\n"
                            "{\"text\": \"a longer text, which stands as it is, from its beginning to its very end\"}\n"
                            "{\"prompt\": \"x\", \"completion\": \"y\"}\n"
                            "{\"text\": \"short\"}\n"
                            "{\"prompt\": \"who is there, behind the door?\", \"completion\": \"nobody\"}\n";

typedef struct {
    double  loss, norm; /* norm: of the gradient of an inner weight */
    int64_t tokens, targets, places;
} result;

/* Sums over an epoch. */
static result epoch(world *w, tp_llama *model, const tp_data_opts *o)
{
    tp_data   *d = open_text(w, lines, o);
    tp_param  *p = tp_param_find(tp_llama_root(model), "model.layers.0.self_attn.k_proj.weight");
    tp_tensor *weight = p ? *p->slot : NULL;
    result     r = { 0, 0, 0, 0, 0 };
    tp_scope   s;

    assert_non_null(weight);
    for (int i = 0; i < tp_data_counts(d).batches; i++) {
        tp_lm_batch b;
        tp_tensor  *loss;

        s = tp_scope_begin(w->ctx);
        b = tp_data_next(w->ctx, d);
        loss = tp_llama_loss_sum(w->ctx, model, b);
        r.loss += tp_item(w->ctx, loss);
        r.tokens += b.tokens;
        r.targets += b.target_tokens;
        tp_backward(w->ctx, loss);
        tp_scope_end(w->ctx, s);
    }
    r.places = tp_data_counts(d).places;
    for (int64_t i = 0; i < tp_numel(weight); i++)
        r.norm += pow(
            tp_at(w->ctx, tp_grad(weight), 2, (const int64_t[]){ i / tp_dim(weight, 1), i % tp_dim(weight, 1) }), 2);
    tp_grad_drop(weight);
    tp_data_free(d);
    return r;
}

static void same_loss(void **state)
{
    const tp_llama_config c = { .vocab_size = 259,
                                .hidden_size = 16,
                                .intermediate_size = 24,
                                .num_hidden_layers = 2,
                                .num_attention_heads = 2,
                                .initializer_range = 0.3 };
    tp_data_opts          o[4] = {
                 { .batch = 1 }, { .batch = 4 }, { .batch = 5, .share_rows = true }, { .batch = 2, .pack = true }
    };
    result    r[4];
    world     w;
    tp_llama *model;

    (void)state;
    begin(&w);
    model = tp_llama_new(w.ctx, &c, TP_F64);
    for (int i = 0; i < 4; i++) {
        o[i].template_name = "none";
        o[i].max_len = 80;
        o[i].epochs = 1;
        r[i] = epoch(&w, model, &o[i]);
        assert_int_equal(r[i].tokens, r[0].tokens);
        assert_int_equal(r[i].targets, r[0].targets);
        assert_true(r[0].loss > 100 && fabs(r[i].loss - r[0].loss) < 1e-9 * r[0].loss);
        assert_true(r[0].norm > 1e-6 && fabs(r[i].norm - r[0].norm) < 1e-8 * r[0].norm);
    }
    assert_true(r[2].places < r[1].places && r[3].places < r[1].places);
    tp_llama_free(model);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(same_loss) };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
