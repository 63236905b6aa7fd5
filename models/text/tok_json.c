/* tok_json.c - a tokenizer from a tokenizer.json and the small files beside it. */
#include "core/readfile.h"
#include "models/text/gguf_tokenizer.h"
#include "models/text/tok.h"

#include <string.h>

/* ---- what lies beside -------------------------------------------------------------------------------------------- */

/* "bos_token": "<s>", or an added token written out; -1 when there is none or no such token. */
static int32_t named(const tp_tokenizer *tok, const tpi_json *config, const char *key)
{
    const tpi_json *j = tpi_json_get(config, key);

    if (tpi_json_is(j) == TPI_JSON_OBJECT)
        j = tpi_json_get(j, "content");
    return tp_tokenizer_id(tok, tpi_json_string(j, NULL));
}

/* "eos_token_id": 2 or [2, 3]. */
static int32_t numbered(const tp_tokenizer *tok, const tpi_json *config, const char *key)
{
    const tpi_json *j = tpi_json_get(config, key);
    int64_t         id;

    if (tpi_json_is(j) == TPI_JSON_ARRAY)
        j = tpi_json_at(j, 0);
    if (tpi_json_is(j) != TPI_JSON_INT)
        return -1;
    id = tpi_json_integer(j);
    return id >= 0 && id < tok->n_ids ? (int32_t)id : -1;
}

static void take_names(tp_tokenizer *tok, const tpi_json *config)
{
    static const char *const key[] = { "bos_token", "eos_token", "pad_token", "unk_token" };
    int32_t                 *to[] = { &tok->bos, &tok->eos, &tok->pad, &tok->unk };

    for (int i = 0; i < 4; i++)
        if (*to[i] < 0)
            *to[i] = named(tok, config, key[i]);
}

static void take_numbers(tp_tokenizer *tok, const tpi_json *config)
{
    static const char *const key[] = { "bos_token_id", "eos_token_id", "pad_token_id" };
    int32_t                 *to[] = { &tok->bos, &tok->eos, &tok->pad };

    for (int i = 0; i < 3; i++)
        if (*to[i] < 0)
            *to[i] = numbered(tok, config, key[i]);
}

/* A configuration that says whether bos and eos are added overrules the post-processor, as it does in transformers. */
static void take_adding(tp_tokenizer *tok, const tpi_json *config)
{
    const tpi_json *bos = tpi_json_get(config, "add_bos_token"), *eos = tpi_json_get(config, "add_eos_token");

    if (bos == NULL && eos == NULL)
        return;
    tok->around = (tpi_tok_around){ 0 };
    if (tpi_json_true(bos) && tok->bos >= 0)
        tok->around.before[tok->around.n_before++] = tok->bos;
    if (tpi_json_true(eos) && tok->eos >= 0)
        tok->around.after[tok->around.n_after++] = tok->eos;
}

/* A template, or a list of {name, template} of which "default" is meant. */
static const char *chat_of(const tpi_json *config)
{
    const tpi_json *j = tpi_json_get(config, "chat_template");

    if (tpi_json_is(j) != TPI_JSON_ARRAY)
        return tpi_json_string(j, NULL);
    for (size_t i = 0; i < tpi_json_size(j); i++) {
        const char *name = tpi_json_string(tpi_json_get(tpi_json_at(j, i), "name"), NULL);

        if (name != NULL && strcmp(name, "default") == 0)
            return tpi_json_string(tpi_json_get(tpi_json_at(j, i), "template"), NULL);
    }
    return NULL;
}

static tpi_json *parse(tp_ctx *ctx, const char *name, const char *file, const char *text)
{
    char     *where = text ? tpi_format(ctx, "%s: %s", name, file) : NULL;
    tpi_json *j = where ? tpi_json_parse(ctx, where, text, strlen(text)) : NULL;

    tpi_free(where);
    return j;
}

static bool take_beside(tp_ctx *ctx, const char *name, tp_tokenizer *tok, const tpi_tok_beside *b)
{
    tpi_json   *config = parse(ctx, name, "tokenizer_config.json", b->config);
    tpi_json   *map = parse(ctx, name, "special_tokens_map.json", b->special_map);
    tpi_json   *model = parse(ctx, name, "config.json", b->model_config);
    const char *chat = b->chat ? b->chat : chat_of(config);

    take_names(tok, config);
    take_names(tok, map);
    take_numbers(tok, model);
    if (tok->bos < 0 && tok->around.n_before > 0)
        tok->bos = tok->around.before[0];
    take_adding(tok, config);
    if (tp_ok(ctx) && chat != NULL && chat[0] != '\0')
        tok->chat = tpi_strdup(ctx, chat);
    tpi_json_free(config);
    tpi_json_free(map);
    tpi_json_free(model);
    return tp_ok(ctx);
}

/* ---- the tokenizer ----------------------------------------------------------------------------------------------- */

/* `ignore_merges` would take a control token that is written in a text for a word; the added tokens have the last word
 * on those. */
static bool read_tree(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok)
{
    const char *version = tpi_json_text(ctx, name, j, "version", "1.0");

    if (tpi_json_is(j) != TPI_JSON_OBJECT)
        return tp_fail(ctx, TP_EFORMAT, "%s: is no object, so no tokenizer.json", name) != NULL;
    if (tp_ok(ctx) && strcmp(version, "1.0") != 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: has version %.60s, expected 1.0", name, version) != NULL;
    return tpi_tok_read_normalizer(ctx, name, tpi_json_get(j, "normalizer"), &tok->normalizer) &&
           tpi_tok_read_pretok(ctx, name, tpi_json_get(j, "pre_tokenizer"), &tok->pretok) &&
           tpi_tok_read_decoder(ctx, name, tpi_json_get(j, "decoder"), &tok->decoder) &&
           tpi_tok_read_model(ctx, name, j, tok) && tpi_tok_read_added(ctx, name, j, tok) &&
           tpi_tok_read_post(ctx, name, j, tok);
}

tp_tokenizer *tpi_tok_build(tp_ctx *ctx, const char *name, const tpi_json *tree, const tpi_tok_beside *b)
{
    tp_tokenizer *tok = tp_ok(ctx) ? tpi_tokenizer_alloc(ctx) : NULL;

    if (tok != NULL && read_tree(ctx, name, tree, tok) && take_beside(ctx, name, tok, b))
        return tok;
    tp_tokenizer_free(tok);
    return NULL;
}

tp_tokenizer *tpi_tok_from_text(tp_ctx *ctx, const char *name, const char *text, size_t n, const tpi_tok_beside *b)
{
    tpi_json     *tree = tpi_json_parse(ctx, name, text, n);
    tp_tokenizer *tok = tree ? tpi_tok_build(ctx, name, tree, b) : NULL;

    tpi_json_free(tree);
    if (tok == NULL)
        return NULL;
    tok->source = tpi_strndup(ctx, text, n);
    tok->source_n = n;
    if (tok->source != NULL)
        return tok;
    tp_tokenizer_free(tok);
    return NULL;
}

tp_tokenizer *tpi_tokenizer_from_json(tp_ctx *ctx, const char *name, const char *text, size_t n, const char *config,
                                      const char *chat)
{
    return tpi_tok_from_text(ctx, name, text, n, &(tpi_tok_beside){ .config = config, .chat = chat });
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* NULL without a failure when there is no such file. */
static char *beside(tp_ctx *ctx, const char *folder, const char *file)
{
    char  *path = tp_ok(ctx) ? tpi_format(ctx, "%s/%s", folder, file) : NULL, *text = NULL;
    size_t n;

    if (path != NULL && tpi_is_file(path))
        text = tpi_read_file(ctx, path, 16 << 20, &n);
    tpi_free(path);
    return text;
}

static tp_tokenizer *open_file(tp_ctx *ctx, const char *path, const tpi_tok_beside *b)
{
    size_t        n;
    char         *text = tpi_read_file(ctx, path, TPI_TOKENIZER_BYTES, &n);
    tp_tokenizer *tok = text ? tpi_tok_from_text(ctx, path, text, n, b) : NULL;

    tpi_free(text);
    return tok;
}

static tp_tokenizer *open_folder(tp_ctx *ctx, const char *folder)
{
    char *path = tpi_format(ctx, "%s/tokenizer.json", folder);
    char *text[4] = { beside(ctx, folder, "tokenizer_config.json"), beside(ctx, folder, "special_tokens_map.json"),
                      beside(ctx, folder, "config.json"), beside(ctx, folder, "chat_template.jinja") };
    tpi_tok_beside b = { text[0], text[1], text[2], text[3] };
    tp_tokenizer  *tok = path && tp_ok(ctx) ? open_file(ctx, path, &b) : NULL;

    for (int i = 0; i < 4; i++)
        tpi_free(text[i]);
    tpi_free(path);
    return tok;
}

static tp_tokenizer *open_gguf(tp_ctx *ctx, const char *path)
{
    tp_file      *f = tp_file_open(ctx, path);
    tp_tokenizer *tok = f ? tpi_tokenizer_from_file(ctx, f) : NULL;

    tp_file_close(f);
    if (tok == NULL && tp_ok(ctx))
        return tp_fail(ctx, TP_EFORMAT, "%s: holds no tokenizer", path);
    return tok;
}

tp_tokenizer *tp_tokenizer_open(tp_ctx *ctx, const char *path)
{
    size_t n = path ? strlen(path) : 0;

    if (!tp_ok(ctx))
        return NULL;
    if (path == NULL)
        return tp_fail(ctx, TP_EARG, "tokenizer_open: the path is NULL");
    if (tpi_is_folder(path))
        return open_folder(ctx, path);
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0)
        return open_gguf(ctx, path);
    return open_file(ctx, path, &(tpi_tok_beside){ 0 });
}
