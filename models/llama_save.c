/* llama_save.c - a whole model into one Tapir file, and who its weights are. */
#include "models/llama_internal.h"
#include "models/text/gguf_tokenizer.h"

#include <string.h>

typedef struct {
    tp_ctx    *ctx;
    tp_writer *w;
    tp_llama  *model;
} saving;

static void write_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    saving *s = user;

    (void)m;
    if (tp_ok(s->ctx) && strcmp(name, "lm_head.weight") != 0)
        tp_writer_tensor(s->ctx, s->w, "model", name, *p->slot);
}

/* A tied head is a second name of the embedding's data set. */
static void write_head(saving *s)
{
    tp_llama *model = s->model;

    if (tp_same_storage(model->head.w, model->embed.w))
        tp_writer_tie(s->ctx, s->w, "model", "lm_head.weight", "model.embed_tokens.weight");
    else
        tp_writer_tensor(s->ctx, s->w, "model", "lm_head.weight", model->head.w);
}

static void write_texts(saving *s)
{
    tp_llama   *model = s->model;
    char       *made = NULL;
    size_t      n = model->config_json ? strlen(model->config_json) : 0;
    const char *json = model->config_json ? model->config_json : (made = tpi_llama_config_json(s->ctx, model, &n));

    if (json != NULL)
        tp_writer_text(s->ctx, s->w, "config/model.json", json, n);
    tpi_free(made);
    if (model->tokenizer != NULL && tp_ok(s->ctx)) {
        json = tpi_tokenizer_to_json(model->tokenizer, &n);
        tp_writer_text(s->ctx, s->w, "tokenizer/tokenizer.json", json, n);
        made = tpi_tokenizer_config_json(s->ctx, model->tokenizer, &n);
        if (made != NULL)
            tp_writer_text(s->ctx, s->w, "tokenizer/tokenizer_config.json", made, n);
        tpi_free(made);
    }
}

bool tp_llama_save(tp_ctx *ctx, tp_llama *model, const char *path)
{
    saving s = { ctx, NULL, model };

    if (!tp_ok(ctx) || model == NULL || path == NULL)
        return tp_fail(ctx, TP_EARG, "llama_save: no model or no path") != NULL;
    s.w = tp_writer_open(ctx, path, "model");
    tp_module_params(&model->root, false, write_param, &s);
    write_head(&s);
    if (model->divide != NULL)
        tp_writer_tensor(ctx, s.w, "model", "rope_freqs.weight", model->divide);
    write_texts(&s);
    return tp_writer_close(ctx, s.w);
}

const char *tp_llama_identity(tp_ctx *ctx, tp_llama *model)
{
    if (!tp_ok(ctx) || model == NULL)
        return tp_fail(ctx, TP_EARG, "llama_identity: no model");
    return tp_module_identity(ctx, &model->root);
}
