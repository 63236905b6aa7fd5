/* tok_config_json.c - a small tokenizer_config.json from what a tokenizer knows. */
#include "core/json.h"
#include "models/text/gguf_tokenizer.h"
#include "models/text/tok.h"

static void name_token(tp_ctx *ctx, tpi_json *j, const char *key, const tp_tokenizer *tok, int32_t id)
{
    const char *text = id >= 0 ? tp_tokenizer_token(tok, id) : NULL;

    if (text != NULL)
        tpi_json_set_text(ctx, j, key, text);
}

/* The configuration overrules the post-processor, so it speaks only where it can say the same: bos in front, eos
 * behind. */
static void name_adding(tp_ctx *ctx, tpi_json *j, const tp_tokenizer *tok)
{
    const tpi_tok_around *a = &tok->around;
    bool                  bos = a->n_before == 1 && a->before[0] == tok->bos;
    bool                  eos = a->n_after == 1 && a->after[0] == tok->eos;

    if ((a->n_before > 0 && !bos) || (a->n_after > 0 && !eos))
        return;
    tpi_json_set_bool(ctx, j, "add_bos_token", bos);
    tpi_json_set_bool(ctx, j, "add_eos_token", eos);
}

char *tpi_tokenizer_config_json(tp_ctx *ctx, const tp_tokenizer *tok, size_t *n)
{
    tpi_json *j;
    char     *text;

    if (!tp_ok(ctx) || tok == NULL)
        return NULL;
    j = tpi_json_new_object(ctx);
    /* The class that takes tokenizer.json as it stands. */
    tpi_json_set_text(ctx, j, "tokenizer_class", "PreTrainedTokenizerFast");
    name_token(ctx, j, "bos_token", tok, tp_tokenizer_bos(tok));
    name_token(ctx, j, "eos_token", tok, tp_tokenizer_eos(tok));
    name_token(ctx, j, "pad_token", tok, tp_tokenizer_pad(tok));
    name_token(ctx, j, "unk_token", tok, tp_tokenizer_unk(tok));
    name_adding(ctx, j, tok);
    if (tp_tokenizer_template(tok) != NULL)
        tpi_json_set_text(ctx, j, "chat_template", tp_tokenizer_template(tok));
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, n) : NULL;
    tpi_json_free(j);
    return text;
}
