/* conversion.c - conversion of whole models: the texts that formats have in different forms, then nn/files does the rest. */
#include "core/json.h"
#include "models/convert_rope.h"
#include "models/text/gguf_tokenizer.h"

#include <math.h>
#include <string.h>

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

static bool read_dtype(tp_ctx *ctx, const char *name, tpi_convert_opts *o)
{
    static const char *const names[] = { "f32", "F32", "f16", "F16", "bf16", "BF16" };

    if (name == NULL)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i += 2)
        if (strcmp(names[i], name) == 0)
            o->type = tpi_stored_named(names[i + 1], strlen(names[i + 1]));
    if (strcmp(name, "q8_0") == 0)
        o->type = tpi_stored_ggml(8);
    return o->type != NULL || tp_fail(ctx, TP_EARG, "convert: dtype %.40s, expected f32, f16, bf16 or q8_0", name) != NULL;
}

/* The dtype that most of the model will have, as config.json names it; NULL when it stays what the file says. */
static const char *torch_name(const tp_file *f, const tpi_convert_opts *o)
{
    const tp_file_entry *e = tp_file_find(f, "model.embed_tokens.weight");
    const char          *t = o->type && o->type->block == 1 ? o->type->name : e && !o->type ? e->dtype : "F32";

    if (o->type == NULL && tp_file_format_of(f) != TP_GGUF)
        return NULL;
    return strcmp(t, "BF16") == 0 ? "bfloat16" : strcmp(t, "F16") == 0 ? "float16" : "float32";
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static bool put_config(tp_ctx *ctx, tp_file *f, tpi_json *j)
{
    size_t n = 0;
    char  *text = tp_ok(ctx) ? tpi_file_own(f, tpi_json_dump(ctx, j, 2, &n)) : NULL;

    return text != NULL && tpi_file_set_text(f, "config.json", text, n);
}

/* Both dialects' word for the dtype, where there is one already, else the one that both read. */
static bool set_dtype(tp_ctx *ctx, tp_file *f, const char *name)
{
    size_t      n = 0;
    const char *text = name ? tp_file_text(f, "config.json", &n) : NULL;
    tpi_json   *j = text ? tpi_json_parse(ctx, tp_file_path(f), text, n) : NULL;
    bool        newer, ok;

    if (text == NULL)
        return tp_ok(ctx);
    newer = tpi_json_get(j, "dtype") != NULL;
    if (newer)
        tpi_json_set_text(ctx, j, "dtype", name);
    if (!newer || tpi_json_get(j, "torch_dtype") != NULL)
        tpi_json_set_text(ctx, j, "torch_dtype", name);
    ok = put_config(ctx, f, j);
    tpi_json_free(j);
    return ok;
}

/* ---- the tokenizer ----------------------------------------------------------------------------------------------- */

/* A GGUF file's vocabulary as the two files that others read. */
static bool add_tokenizer_texts(tp_ctx *ctx, tp_file *f)
{
    tp_tokenizer *tok;
    const char   *text;
    char         *copy = NULL, *config = NULL;
    size_t        n = 0, m = 0;
    bool          ok;

    if (tp_file_meta(f, "tokenizer.ggml.model") == NULL)
        return true;
    tok = tpi_tokenizer_from_file(ctx, f);
    text = tok ? tpi_tokenizer_to_json(tok, &n) : NULL;
    if (text != NULL) {
        copy = tpi_file_keep(f, text, n);
        config = tpi_file_own(f, tpi_tokenizer_config_json(ctx, tok, &m));
    }
    ok = copy && config && tpi_file_set_text(f, "tokenizer.json", copy, n) &&
         tpi_file_set_text(f, "tokenizer_config.json", config, m);
    tp_tokenizer_free(tok);
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool convert_file(tp_ctx *ctx, tp_file *f, const char *out, tpi_convert_opts *o)
{
    size_t n = strlen(out);
    bool   gguf = n > 5 && strcmp(out + n - 5, ".gguf") == 0, ckpt = n > 3 && strcmp(out + n - 3, ".h5") == 0;
    bool   from = tp_file_format_of(f) == TP_GGUF;

    if (from && !gguf && !add_tokenizer_texts(ctx, f))
        return false;
    if (!from && gguf && tp_file_text(f, "tokenizer.json", NULL) != NULL) {
        o->vocab = tpi_gguf_vocab_made(ctx, f);
        if (o->vocab == NULL)
            return false;
    }
    if (!gguf && !ckpt && !tpi_convert_rope(ctx, f, o))
        return false;
    return tp_ok(ctx) && (gguf || set_dtype(ctx, f, torch_name(f, o))) && tpi_file_convert(ctx, f, out, o);
}

static void tell_rounding(const tpi_rounding *r, tp_rounding *to)
{
    double n = r->n > 0 ? (double)r->n : 1;

    *to = (tp_rounding){ r->tensors, r->n, r->max, sqrt(r->square / n), r->largest, sqrt(r->whole / n) };
}

bool tp_convert(tp_ctx *ctx, const char *in, const char *out, const tp_convert_opts *opts)
{
    tpi_convert_opts o = { 0 };
    tp_file         *f;
    bool             ok;

    if (!tp_ok(ctx))
        return false;
    if (in == NULL || out == NULL || out[0] == '\0')
        return tp_fail(ctx, TP_EARG, "convert: two paths are needed") != NULL;
    if (opts != NULL) {
        o = (tpi_convert_opts){ .overwrite = opts->overwrite, .shard = opts->shard, .change = opts->change, .user = opts->user };
        if (!read_dtype(ctx, opts->dtype, &o))
            return false;
    }
    f = tp_file_open(ctx, in);
    ok = f != NULL && convert_file(ctx, f, out, &o);
    tp_file_close(f);
    if (opts != NULL && opts->rounding != NULL)
        tell_rounding(&o.rounding, opts->rounding);
    return ok && tp_ok(ctx);
}
