/*
 * tok_gguf.c - a tokenizer from the metadata of a GGUF file: they are written as the tokenizer.json that they stand
 * for, which is then read like any other, and kept as the source.
 */
#include "models/text/gguf_tokenizer.h"
#include "models/text/tok.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 };

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define LLAMA3(digits)                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const tpi_tok_pre tpi_tok_pres[] = {
    { .name = "gpt-2", .split = { GPT2 "|\\s+" } },
    { .name = "smollm", .digits = true, .split = { GPT2 "|\\s+" } },
    { .name = "llama-bpe", .ignore_merges = true, .bos = true, .split = { LLAMA3("{1,3}") } },
    { .name = "qwen2", .nfc = true, .split = { LLAMA3("") } },
    { .name = "default", .split = { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
};
const size_t tpi_tok_n_pres = sizeof tpi_tok_pres / sizeof tpi_tok_pres[0];

static const tpi_tok_pre *find_pre(tp_ctx *ctx, const char *name, const char *wanted)
{
    if (wanted == NULL || wanted[0] == '\0')
        wanted = "default";
    for (size_t i = 0; i < tpi_tok_n_pres; i++)
        if (strcmp(tpi_tok_pres[i].name, wanted) == 0)
            return &tpi_tok_pres[i];
    return tp_fail(ctx, TP_EFORMAT,
                   "%s: tokenizer.ggml.pre is %.60s, only gpt-2, smollm, llama-bpe, qwen2 and default are supported",
                   name, wanted);
}

/* ---- steps as JSON ----------------------------------------------------------------------------------------------- */

static tpi_json *typed(tp_ctx *ctx, const char *type)
{
    tpi_json *j = tpi_json_new_object(ctx);

    (void)tpi_json_set_text(ctx, j, "type", type);
    return j;
}

static tpi_json *sequence(tp_ctx *ctx, const char *key, tpi_json **list)
{
    tpi_json *j = typed(ctx, "Sequence");

    *list = tpi_json_new_array(ctx);
    return tpi_json_set(ctx, j, key, *list) ? j : (*list = NULL, j);
}

static tpi_json *byte_level(tp_ctx *ctx, bool regex)
{
    tpi_json *j = typed(ctx, "ByteLevel");

    (void)tpi_json_set_bool(ctx, j, "add_prefix_space", false);
    (void)tpi_json_set_bool(ctx, j, "trim_offsets", true);
    (void)tpi_json_set_bool(ctx, j, "use_regex", regex);
    return j;
}

static tpi_json *pattern(tp_ctx *ctx, const char *kind, const char *text)
{
    tpi_json *j = tpi_json_new_object(ctx);

    (void)tpi_json_set_text(ctx, j, kind, text);
    return j;
}

static tpi_json *split(tp_ctx *ctx, const char *regex)
{
    tpi_json *j = typed(ctx, "Split");

    (void)tpi_json_set(ctx, j, "pattern", pattern(ctx, "Regex", regex));
    (void)tpi_json_set_text(ctx, j, "behavior", "Isolated");
    (void)tpi_json_set_bool(ctx, j, "invert", false);
    return j;
}

static tpi_json *replace(tp_ctx *ctx, const char *from, const char *to)
{
    tpi_json *j = typed(ctx, "Replace");

    (void)tpi_json_set(ctx, j, "pattern", pattern(ctx, "String", from));
    (void)tpi_json_set_text(ctx, j, "content", to);
    return j;
}

static void byte_level_parts(tp_ctx *ctx, tpi_json *root, const tpi_tok_pre *p)
{
    tpi_json *list, *j = sequence(ctx, "pretokenizers", &list);

    if (p->digits) {
        tpi_json *d = typed(ctx, "Digits");

        (void)tpi_json_set_bool(ctx, d, "individual_digits", true);
        (void)tpi_json_add(ctx, list, d);
    }
    for (int i = 0; i < 4 && p->split[i] != NULL; i++)
        (void)tpi_json_add(ctx, list, split(ctx, p->split[i]));
    (void)tpi_json_add(ctx, list, byte_level(ctx, false));
    (void)tpi_json_set(ctx, root, "normalizer", p->nfc ? typed(ctx, "NFC") : tpi_json_new_null(ctx));
    (void)tpi_json_set(ctx, root, "pre_tokenizer", j);
    (void)tpi_json_set(ctx, root, "decoder", byte_level(ctx, true));
}

static void sentencepiece_parts(tp_ctx *ctx, tpi_json *root, bool space)
{
    static const char mark[] = "\xe2\x96\x81"; /* U+2581 stands for a space */
    tpi_json         *list, *j = sequence(ctx, "normalizers", &list), *step;

    if (space) {
        step = typed(ctx, "Prepend");
        (void)tpi_json_set_text(ctx, step, "prepend", mark);
        (void)tpi_json_add(ctx, list, step);
    }
    (void)tpi_json_add(ctx, list, replace(ctx, " ", mark));
    (void)tpi_json_set(ctx, root, "normalizer", j);
    (void)tpi_json_set(ctx, root, "pre_tokenizer", tpi_json_new_null(ctx));
    j = sequence(ctx, "decoders", &list);
    (void)tpi_json_add(ctx, list, replace(ctx, mark, " "));
    (void)tpi_json_add(ctx, list, typed(ctx, "ByteFallback"));
    (void)tpi_json_add(ctx, list, typed(ctx, "Fuse"));
    if (space) {
        step = typed(ctx, "Strip");
        (void)tpi_json_set_text(ctx, step, "content", " ");
        (void)tpi_json_set_int(ctx, step, "start", 1);
        (void)tpi_json_set_int(ctx, step, "stop", 0);
        (void)tpi_json_add(ctx, list, step);
    }
    (void)tpi_json_set(ctx, root, "decoder", j);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static int type_of(const tpi_gguf_vocab *v, size_t i)
{
    return v->token_type ? v->token_type[i] : NORMAL;
}

/* Control tokens are cut out of a text wherever they stand; so are the users' own, which are no special ones. */
static void added_tokens(tp_ctx *ctx, tpi_json *root, const tpi_gguf_vocab *v)
{
    tpi_json *list = tpi_json_new_array(ctx);

    for (size_t i = 0; i < v->n && tp_ok(ctx); i++) {
        int       type = type_of(v, i);
        tpi_json *t;

        if ((type != CONTROL && type != USER && type != UNKNOWN) || v->tokens[i].n == 0)
            continue;
        t = tpi_json_new_object(ctx);
        (void)tpi_json_set_int(ctx, t, "id", (int64_t)i);
        (void)tpi_json_set(ctx, t, "content", tpi_json_new_text(ctx, v->tokens[i].p, v->tokens[i].n));
        (void)tpi_json_set_bool(ctx, t, "single_word", false);
        (void)tpi_json_set_bool(ctx, t, "lstrip", false);
        (void)tpi_json_set_bool(ctx, t, "rstrip", false);
        (void)tpi_json_set_bool(ctx, t, "normalized", false);
        (void)tpi_json_set_bool(ctx, t, "special", type != USER);
        (void)tpi_json_add(ctx, list, t);
    }
    (void)tpi_json_set(ctx, root, "added_tokens", list);
}

/* A text that two ids share stays with the first; the other id gets none. */
static tpi_json *vocabulary(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v)
{
    tpi_json *j = tpi_json_new_object(ctx);
    size_t    twice = 0;

    for (size_t i = 0; i < v->n && tp_ok(ctx); i++) {
        if (memchr(v->tokens[i].p, '\0', v->tokens[i].n) != NULL ||
            !tpi_utf8_valid(v->tokens[i].p, v->tokens[i].n, NULL)) {
            (void)tp_fail(ctx, TP_EFORMAT, "%s: token %zu is not UTF-8, or holds a NUL", name, i);
            break;
        }
        if (tpi_json_get_n(j, v->tokens[i].p, v->tokens[i].n) != NULL)
            twice++;
        else
            (void)tpi_json_set_n(ctx, j, v->tokens[i].p, v->tokens[i].n, tpi_json_new_int(ctx, (int64_t)i));
    }
    if (twice > 0)
        tp_message(ctx, TP_WARNING, "%s: %zu tokens have the text of another one and will never be used", name, twice);
    return j;
}

/* "a b" as ["a", "b"], since a token may hold a space: the first blank behind the first byte divides. */
static tpi_json *merges(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v)
{
    tpi_json *list = tpi_json_new_array(ctx);

    for (size_t i = 0; i < v->n_merges && tp_ok(ctx); i++) {
        const tpi_gguf_string *m = &v->merges[i];
        const char            *blank = m->n > 2 ? memchr(m->p + 1, ' ', m->n - 1) : NULL;
        tpi_json              *pair;

        if (blank == NULL) {
            (void)tp_fail(ctx, TP_EFORMAT, "%s: merge %zu is no pair of tokens", name, i);
            break;
        }
        pair = tpi_json_new_array(ctx);
        (void)tpi_json_add(ctx, pair, tpi_json_new_text(ctx, m->p, (size_t)(blank - m->p)));
        (void)tpi_json_add(ctx, pair, tpi_json_new_text(ctx, blank + 1, m->n - (size_t)(blank - m->p) - 1));
        (void)tpi_json_add(ctx, list, pair);
    }
    return list;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void model(tp_ctx *ctx, const char *name, tpi_json *root, const tpi_gguf_vocab *v, const tpi_tok_pre *p)
{
    tpi_json *m = typed(ctx, "BPE");
    bool      sp = p == NULL;

    (void)tpi_json_set(ctx, m, "dropout", tpi_json_new_null(ctx));
    if (sp && v->unk >= 0)
        (void)tpi_json_set(ctx, m, "unk_token", tpi_json_new_text(ctx, v->tokens[v->unk].p, v->tokens[v->unk].n));
    (void)tpi_json_set_bool(ctx, m, "fuse_unk", sp);
    (void)tpi_json_set_bool(ctx, m, "byte_fallback", sp);
    (void)tpi_json_set_bool(ctx, m, "ignore_merges", !sp && p->ignore_merges);
    (void)tpi_json_set(ctx, m, "vocab", vocabulary(ctx, name, v));
    (void)tpi_json_set(ctx, m, "merges",
                       sp && v->n_merges == 0 ? tpi_tok_merges_of_scores(ctx, name, v) : merges(ctx, name, v));
    (void)tpi_json_set(ctx, root, "model", m);
}

/* Adds the piece {"SpecialToken": ...} and its ids. */
static void special(tp_ctx *ctx, const tpi_gguf_vocab *v, int64_t id, tpi_json *single, tpi_json *all)
{
    tpi_json *piece = tpi_json_new_object(ctx), *in = tpi_json_new_object(ctx), *t = tpi_json_new_object(ctx), *list;

    (void)tpi_json_set(ctx, in, "id", tpi_json_new_text(ctx, v->tokens[id].p, v->tokens[id].n));
    (void)tpi_json_set_int(ctx, in, "type_id", 0);
    (void)tpi_json_set(ctx, piece, "SpecialToken", in);
    (void)tpi_json_add(ctx, single, piece);
    (void)tpi_json_set(ctx, t, "id", tpi_json_new_text(ctx, v->tokens[id].p, v->tokens[id].n));
    list = tpi_json_new_array(ctx);
    (void)tpi_json_add(ctx, list, tpi_json_new_int(ctx, id));
    (void)tpi_json_set(ctx, t, "ids", list);
    list = tpi_json_new_array(ctx);
    (void)tpi_json_add(ctx, list, tpi_json_new_text(ctx, v->tokens[id].p, v->tokens[id].n));
    (void)tpi_json_set(ctx, t, "tokens", list);
    (void)tpi_json_set_n(ctx, all, v->tokens[id].p, v->tokens[id].n, t);
}

static void text_piece(tp_ctx *ctx, tpi_json *list, const char *id, int type)
{
    tpi_json *piece = tpi_json_new_object(ctx), *in = tpi_json_new_object(ctx);

    (void)tpi_json_set_text(ctx, in, "id", id);
    (void)tpi_json_set_int(ctx, in, "type_id", type);
    (void)tpi_json_set(ctx, piece, "Sequence", in);
    (void)tpi_json_add(ctx, list, piece);
}

/* bos and eos around a text, if the file or the kind of tokenizer says so. */
static tpi_json *post_processor(tp_ctx *ctx, const tpi_gguf_vocab *v, bool usual_bos)
{
    bool      bos = v->bos >= 0 && (v->add_bos < 0 ? usual_bos : v->add_bos > 0), eos = v->eos >= 0 && v->add_eos > 0;
    tpi_json *j = typed(ctx, "TemplateProcessing"), *single = tpi_json_new_array(ctx), *pair = tpi_json_new_array(ctx);
    tpi_json *all = tpi_json_new_object(ctx);

    if (bos)
        special(ctx, v, v->bos, single, all);
    text_piece(ctx, single, "A", 0);
    if (eos)
        special(ctx, v, v->eos, single, all);
    text_piece(ctx, pair, "A", 0);
    text_piece(ctx, pair, "B", 1);
    (void)tpi_json_set(ctx, j, "single", single);
    (void)tpi_json_set(ctx, j, "pair", pair);
    (void)tpi_json_set(ctx, j, "special_tokens", all);
    return j;
}

/* A configuration as it would lie beside the tokenizer.json. */
static char *configuration(tp_ctx *ctx, const tpi_gguf_vocab *v)
{
    static const char *const key[] = { "bos_token", "eos_token", "pad_token", "unk_token" };
    const int64_t            id[] = { v->bos, v->eos, v->pad, v->unk };
    tpi_json                *j = tpi_json_new_object(ctx);
    char                    *text;

    for (int i = 0; i < 4; i++)
        if (id[i] >= 0 && (size_t)id[i] < v->n)
            (void)tpi_json_set(ctx, j, key[i], tpi_json_new_text(ctx, v->tokens[id[i]].p, v->tokens[id[i]].n));
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 0, NULL) : NULL;
    tpi_json_free(j);
    return text;
}

static tp_tokenizer *from_tree(tp_ctx *ctx, const char *name, const tpi_json *root, const tpi_gguf_vocab *v)
{
    char          *config = configuration(ctx, v);
    tpi_tok_beside b = { .config = config, .chat = v->chat_template };
    tp_tokenizer  *tok = config ? tpi_tok_build(ctx, name, root, &b) : NULL;

    tpi_free(config);
    if (tok == NULL)
        return NULL;
    tok->source = tpi_json_dump(ctx, root, 0, &tok->source_n);
    if (tok->source != NULL)
        return tok;
    tp_tokenizer_free(tok);
    return NULL;
}

tp_tokenizer *tpi_tokenizer_from_gguf_meta(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v)
{
    bool          sp = v != NULL && strcmp(v->model, "llama") == 0;
    const tpi_tok_pre *p = NULL;
    tpi_json     *root;
    tp_tokenizer *tok = NULL;

    if (!tp_ok(ctx) || v == NULL)
        return NULL;
    if (!sp && strcmp(v->model, "gpt2") != 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: tokenizer.ggml.model is %.60s, only gpt2 and llama are supported", name,
                       v->model);
    if (!sp && (p = find_pre(ctx, name, v->pre)) == NULL)
        return NULL;
    root = tpi_json_new_object(ctx);
    (void)tpi_json_set_text(ctx, root, "version", "1.0");
    (void)tpi_json_set(ctx, root, "truncation", tpi_json_new_null(ctx));
    (void)tpi_json_set(ctx, root, "padding", tpi_json_new_null(ctx));
    added_tokens(ctx, root, v);
    if (sp)
        sentencepiece_parts(ctx, root, v->add_space_prefix != 0);
    else
        byte_level_parts(ctx, root, p);
    (void)tpi_json_set(ctx, root, "post_processor", post_processor(ctx, v, sp || p->bos));
    model(ctx, name, root, v, p);
    if (tp_ok(ctx))
        tok = from_tree(ctx, name, root, v);
    tpi_json_free(root);
    return tok;
}

tp_tokenizer *tpi_tokenizer_from_file(tp_ctx *ctx, tp_file *f)
{
    size_t                n = 0;
    const char           *text = f ? tp_file_text(f, "tokenizer.json", &n) : NULL;
    const tpi_gguf_vocab *v;

    if (text != NULL) {
        tpi_tok_beside b = { tp_file_text(f, "tokenizer_config.json", NULL),
                             tp_file_text(f, "special_tokens_map.json", NULL), tp_file_text(f, "config.json", NULL),
                             tp_file_text(f, "chat_template", NULL) };

        return tpi_tok_from_text(ctx, tp_file_path(f), text, n, &b);
    }
    v = f && tp_file_format_of(f) == TP_GGUF && tp_ok(ctx) ? tpi_gguf_vocab_of(ctx, f) : NULL;
    return v ? tpi_tokenizer_from_gguf_meta(ctx, tp_file_path(f), v) : NULL;
}
