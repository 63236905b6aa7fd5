/* test_llama.c - tiny models against what transformers and PyTorch computed with them (tests/golden/golden_tiny.py). */
#include "core/json.h"
#include "tapir.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    tp_ctx   *ctx;
    tpi_json *golden;
    char      folder[2048];
} fixture;

static void open_golden(fixture *f, const char *name, tp_device device)
{
    const char *source = getenv("TAPIR_SOURCE");
    char        path[2100];

    snprintf(f->folder, sizeof f->folder, "%s/tests/golden/%s", source ? source : ".", name);
    snprintf(path, sizeof path, "%s/golden.json", f->folder);
    f->ctx = tp_ctx_new(device, 0);
    f->golden = tpi_json_load(f->ctx, path, (size_t)1 << 24);
    assert_string_equal(tp_error(f->ctx), "");
}

static void close_golden(fixture *f)
{
    tpi_json_free(f->golden);
    assert_string_equal(tp_error(f->ctx), "");
    tp_ctx_free(f->ctx);
}

static tp_tensor *ids_of(tp_ctx *ctx, const tpi_json *list)
{
    int64_t    n = (int64_t)tpi_json_size(list);
    tp_tensor *x = tp_empty(ctx, TP_I32, TP_SHAPE(1, n));
    int32_t   *p = tp_i32(ctx, x);

    for (int64_t i = 0; p != NULL && i < n; i++)
        p[i] = (int32_t)tpi_json_integer(tpi_json_at(list, (size_t)i));
    return x;
}

/* ---- logits ------------------------------------------------------------------------------------------------------ */

static void check_logits(const char *name, tp_device device, double bound)
{
    fixture         f;
    tp_llama       *model;
    tp_scope        s;
    const tpi_json *want;
    int64_t         rows, vocab = 128;
    float          *got;

    open_golden(&f, name, device);
    model = tp_llama_load(f.ctx, f.folder, TP_F32);
    assert_string_equal(tp_error(f.ctx), "");
    s = tp_scope_begin(f.ctx);
    want = tpi_json_get(f.golden, "logits");
    rows = (int64_t)tpi_json_size(want);
    got = malloc((size_t)(rows * vocab) * sizeof *got);
    tp_copy_out(f.ctx, tp_llama_logits(f.ctx, model, tp_llama_hidden(f.ctx, model, ids_of(f.ctx, tpi_json_get(f.golden, "ids")),
                                                                     NULL, NULL, NULL)),
                TP_F32, got, (size_t)(rows * vocab) * sizeof *got);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < vocab; j++) {
            double w = tpi_json_real(tpi_json_at(tpi_json_at(want, (size_t)i), (size_t)j)), g = (double)got[i * vocab + j];

            if (!(fabs(g - w) <= bound * fmax(1, fabs(w))))
                fail_msg("%s: logit [%d, %d] is %.9g, expected %.9g", name, (int)i, (int)j, g, w);
        }
    free(got);
    tp_scope_end(f.ctx, s);
    tp_llama_free(model);
    close_golden(&f);
}

static void test_logits(void **state)
{
    static const char *const names[] = { "tiny-llama", "tiny-qwen2", "tiny-rope3" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        check_logits(names[i], TP_REF, 2e-5);
        check_logits(names[i], TP_CPU, 2e-5);
    }
}

/* ---- generation -------------------------------------------------------------------------------------------------- */

static void test_greedy(void **state)
{
    static const char *const names[] = { "tiny-llama", "tiny-qwen2", "tiny-rope3" };
    static const int32_t     none[1] = { -1 };

    (void)state;
    for (int k = 0; k < 3; k++) {
        fixture          f;
        tp_llama        *model;
        tp_ids           prompt[2] = { { 0 }, { 0 } }, out[2] = { { 0 }, { 0 } };
        int32_t          first[8];
        const tpi_json  *want;
        tp_generate_opts o = { .stop = none, .n_stop = 1 };

        open_golden(&f, names[k], TP_CPU);
        want = tpi_json_get(f.golden, "greedy");
        o.max_new = (int64_t)tpi_json_size(want);
        for (size_t i = 0; i < 8; i++)
            first[i] = (int32_t)tpi_json_integer(tpi_json_at(tpi_json_get(f.golden, "ids"), i));
        prompt[0] = (tp_ids){ first, 8, 8 };
        prompt[1] = (tp_ids){ first + 3, 5, 5 }; /* a shorter one beside it must change nothing */
        model = tp_llama_load(f.ctx, f.folder, TP_F32);
        assert_true(tp_generate(f.ctx, model, 2, prompt, out, &o));
        assert_int_equal(out[0].n, o.max_new);
        for (int64_t i = 0; i < out[0].n; i++)
            assert_int_equal(out[0].id[i], tpi_json_integer(tpi_json_at(want, (size_t)i)));
        tp_ids_free(&out[0]);
        tp_ids_free(&out[1]);
        tp_llama_free(model);
        close_golden(&f);
    }
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

/* Batch `b` of the golden file: padded on the right, the loss on what follows each prompt. */
static tp_lm_batch batch_of(tp_ctx *ctx, const tpi_json *b)
{
    const tpi_json *rows = tpi_json_get(b, "ids"), *prompts = tpi_json_get(b, "prompt");
    int64_t         n = (int64_t)tpi_json_size(rows), longest = 0;
    tp_lm_batch     out = { 0 };
    int32_t        *id, *target, *range;

    for (int64_t i = 0; i < n; i++)
        longest = (int64_t)tpi_json_size(tpi_json_at(rows, (size_t)i)) > longest
                      ? (int64_t)tpi_json_size(tpi_json_at(rows, (size_t)i)) : longest;
    out.ids = tp_zeros(ctx, TP_I32, TP_SHAPE(n, longest));
    out.target = tp_full(ctx, TP_I32, TP_SHAPE(n, longest), -1);
    out.range = tp_zeros(ctx, TP_I32, TP_SHAPE(n, longest, 2));
    id = tp_i32(ctx, out.ids);
    target = tp_i32(ctx, out.target);
    range = tp_i32(ctx, out.range);
    for (int64_t i = 0; i < n; i++) {
        const tpi_json *row = tpi_json_at(rows, (size_t)i);
        int64_t         len = (int64_t)tpi_json_size(row), prompt = tpi_json_integer(tpi_json_at(prompts, (size_t)i));

        for (int64_t t = 0; t < len; t++) {
            id[i * longest + t] = (int32_t)tpi_json_integer(tpi_json_at(row, (size_t)t));
            range[(i * longest + t) * 2 + 1] = (int32_t)t + 1;
            if (t >= prompt) {
                target[i * longest + t - 1] = id[i * longest + t];
                out.target_tokens++;
            }
        }
    }
    return out;
}

/* The start that golden_tiny.py gives to LoRA's A (train_oracle.py, initial_lora_A): a hash of module and element. */
static void start_lora(tp_module *m, tp_param *p, const char *name, void *user)
{
    uint32_t *module = user;
    float    *a = strcmp(p->name, "lora_A") == 0 ? tp_f32(m->ctx, *p->slot) : NULL;

    (void)name;
    for (int64_t k = 0; a != NULL && k < tp_numel(*p->slot); k++) {
        uint32_t x = (uint32_t)k + *module * 2654435761u;

        x = (x ^ (x >> 16)) * 0x85ebca6bu;
        x = (x ^ (x >> 13)) * 0xc2b2ae35u;
        x ^= x >> 16;
        a[k] = (float)((x / 2147483648.0 - 1) / sqrt((double)tp_dim(*p->slot, 1)));
    }
    *module += a != NULL;
}

static void attach(tp_ctx *ctx, tp_llama *model, const tpi_json *c)
{
    const char *method = tpi_json_string(tpi_json_get(c, "method"), NULL);
    uint32_t    module = 0;

    if (strcmp(method, "lora") == 0) {
        tp_attach(ctx, tp_llama_root(model), "(q|k|v|up|down)_proj", &tp_lora,
                  &(tp_lora_opts){ .rank = (int)tpi_json_integer(tpi_json_get(c, "rank")),
                                   .alpha = tpi_json_real(tpi_json_get(c, "alpha")) });
        tp_module_params(tp_llama_root(model), false, start_lora, &module);
    }
    if (strcmp(method, "diablo") == 0)
        tp_attach(ctx, tp_llama_root(model), "(q|k|v|up|down)_proj", &tp_diablo,
                  &(tp_diablo_opts){ .blocks = (int)tpi_json_integer(tpi_json_get(c, "blocks")) });
    assert_string_equal(tp_error(ctx), "");
    if (tpi_json_get(c, "trainable") != NULL)
        assert_int_equal(tp_module_count(tp_llama_root(model)).trainable, tpi_json_integer(tpi_json_get(c, "trainable")));
}

static void near(const char *what, int step, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound * fabs(want)))
        fail_msg("step %d: %s is %.9g, expected %.9g", step, what, got, want);
}

/* Ten AdamW steps: losses and gradient norms. */
static void check_run(const char *name, const char *which, tp_device device, bool recompute, double bound)
{
    fixture         f;
    tp_llama       *model;
    const tpi_json *c, *batches;
    tp_optim       *opt;

    open_golden(&f, name, device);
    c = tpi_json_get(tpi_json_get(f.golden, "cases"), which);
    batches = tpi_json_get(f.golden, "batches");
    model = tp_llama_load(f.ctx, f.folder, TP_F32);
    tp_llama_set_recompute(model, recompute);
    attach(f.ctx, model, c);
    opt = tp_adamw_new(f.ctx, tp_llama_root(model), &(tp_adamw_opts){ .lr = tpi_json_real(tpi_json_get(c, "lr")) });
    for (int step = 0; step < (int)tpi_json_size(tpi_json_get(c, "loss")) && tp_ok(f.ctx); step++) {
        tp_scope    s = tp_scope_begin(f.ctx);
        tp_lm_batch b = batch_of(f.ctx, tpi_json_at(batches, (size_t)step % tpi_json_size(batches)));
        tp_tensor  *loss = tp_llama_loss(f.ctx, model, b);

        tp_backward(f.ctx, loss);
        near("loss", step, tp_item(f.ctx, loss), tpi_json_real(tpi_json_at(tpi_json_get(c, "loss"), (size_t)step)), bound);
        near("grad norm", step, tp_grad_norm(f.ctx, opt), tpi_json_real(tpi_json_at(tpi_json_get(c, "grad_norm"), (size_t)step)),
             bound);
        tp_optim_step(f.ctx, opt);
        tp_scope_end(f.ctx, s);
    }
    tp_optim_free(opt);
    tp_llama_free(model);
    close_golden(&f);
}

static void test_training(void **state)
{
    static const char *const names[] = { "tiny-llama", "tiny-qwen2", "tiny-rope3" };
    static const char *const cases[] = { "diablo-8", "diablo-7", "lora-4", "full" };

    (void)state;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            check_run(names[i], cases[k], TP_REF, false, 1e-4);
            check_run(names[i], cases[k], TP_CPU, false, 1e-4);
            check_run(names[i], cases[k], TP_CPU, true, 1e-4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_training),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
