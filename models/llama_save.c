/* llama_save.c - a whole model into one Tapir file, and who its weights are. */
#include "models/llama_internal.h"
#include "models/text/gguf_tokenizer.h"

#include <string.h>

static void put_text(tp_ctx *ctx, tp_state *st, const char *where, const char *key, const char *text)
{
    if (text != NULL)
        tp_state_text(ctx, st, where, key, &text);
}

static void put_texts(tp_ctx *ctx, tp_llama *model, tp_state *st)
{
    char  *made = NULL;
    size_t n;

    if (model->config_json == NULL)
        made = tpi_llama_config_json(ctx, model, &n);
    put_text(ctx, st, "config", "model.json", model->config_json ? model->config_json : made);
    tpi_free(made);
    if (model->tokenizer == NULL || !tp_ok(ctx))
        return;
    put_text(ctx, st, "tokenizer", "tokenizer.json", tpi_tokenizer_to_json(model->tokenizer, &n));
    made = tpi_tokenizer_config_json(ctx, model->tokenizer, &n);
    put_text(ctx, st, "tokenizer", "tokenizer_config.json", made);
    tpi_free(made);
}

bool tp_llama_state(tp_ctx *ctx, tp_llama *model, tp_state *st)
{
    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama_state: no model") != NULL;
    if (!tp_module_state(ctx, &model->root, st))
        return false;
    if (model->divide != NULL)
        tp_state_tensor(ctx, st, "model", "rope_freqs.weight", model->divide);
    if (tp_state_saving(st))
        put_texts(ctx, model, st);
    return tp_ok(ctx);
}

static void llama_alone(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_llama_state(ctx, user, st);
}

bool tp_llama_save(tp_ctx *ctx, tp_llama *model, const char *path)
{
    if (!tp_ok(ctx) || model == NULL || path == NULL)
        return tp_fail(ctx, TP_EARG, "llama_save: no model or no path") != NULL;
    return tp_state_save(ctx, path, "model", llama_alone, model);
}

const char *tp_llama_identity(tp_ctx *ctx, tp_llama *model)
{
    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama_identity: no model");
    return tp_module_identity(ctx, &model->root);
}
