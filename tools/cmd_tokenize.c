/* cmd_tokenize.c - lines of text to JSON lists of ids, and back. */
#include "models/text/gguf_tokenizer.h"
#include "tools/commands.h"
#include "tools/lines.h"

static void encode(tp_ctx *ctx, const tp_tokenizer *tok, lines *in)
{
    tp_ids ids = { 0 };

    while (lines_next(ctx, in)) {
        ids.n = 0;
        if (!tp_tokenize(ctx, tok, in->text, in->n, TP_PARSE_SPECIAL | TP_ADD_SPECIAL, &ids))
            break;
        putchar('[');
        for (int64_t i = 0; i < ids.n; i++)
            printf("%s%d", i ? ", " : "", ids.id[i]);
        printf("]\n");
    }
    tp_ids_free(&ids);
}

static bool read_list(tp_ctx *ctx, const lines *in, tp_ids *ids)
{
    tpi_json_error err;
    tpi_json      *j = tpi_json_parse_raw(in->text, in->n, &err);
    size_t         cap = (size_t)ids->cap;

    ids->n = 0;
    if (j == NULL)
        return tp_fail(ctx, err.code, "%s:%ld:%d: %s", in->name, in->line, err.column, err.text) != NULL;
    if (tpi_json_is(j) != TPI_JSON_ARRAY)
        tp_fail(ctx, TP_EFORMAT, "%s:%ld:1: expected a JSON list of ids", in->name, in->line);
    for (size_t i = 0; tp_ok(ctx) && i < tpi_json_size(j); i++) {
        const tpi_json *v = tpi_json_at(j, i);

        if (tpi_json_is(v) != TPI_JSON_INT || tpi_json_integer(v) < 0 || tpi_json_integer(v) > INT32_MAX)
            tp_fail(ctx, TP_EFORMAT, "%s:%ld: element %zu is no id", in->name, in->line, i);
        else if (tpi_grow(ctx, &ids->id, &cap, i + 1, sizeof *ids->id))
            ids->id[ids->n++] = (int32_t)tpi_json_integer(v);
    }
    ids->cap = (int64_t)cap;
    tpi_json_free(j);
    return tp_ok(ctx);
}

static void decode(tp_ctx *ctx, const tp_tokenizer *tok, lines *in)
{
    tp_ids  ids = { 0 };
    tp_text text = { 0 };

    while (lines_next(ctx, in) && read_list(ctx, in, &ids)) {
        text.n = 0;
        if (!tp_detokenize(ctx, tok, ids.id, ids.n, 0, &text))
            break;
        print_json_text(stdout, text.p ? text.p : "", text.n);
        putchar('\n');
    }
    tp_ids_free(&ids);
    tp_text_free(&text);
}

static int run(cli *c)
{
    tp_ctx       *ctx = session_ctx(c);
    tp_file      *f = tp_file_open(ctx, cli_text(c, "model"));
    tp_tokenizer *tok = f ? tpi_tokenizer_from_file(ctx, f) : NULL;
    lines         in = { 0 };

    tp_file_close(f);
    if (tp_ok(ctx) && tok == NULL)
        tp_fail(ctx, TP_EARG, "%s: there is no tokenizer in it", cli_text(c, "model"));
    if (lines_open(ctx, &in, "-")) {
        if (cli_flag(c, "decode"))
            decode(ctx, tok, &in);
        else
            encode(ctx, tok, &in);
    }
    lines_close(&in);
    tp_tokenizer_free(tok);
    return tp_ctx_finish(ctx);
}

static const cli_option options[] = {
    { "decode", CLI_FLAG, NULL, 0, 0, NULL, "a JSON list of ids a line to a JSON string a line" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_tokenize = {
    .name = "tokenize",
    .summary = "lines of standard input to JSON lists of ids, or back",
    .manual = "A line ends at a newline alone.  Special tokens written in the text are parsed, and what the tokenizer "
              "adds (bos) is added,\n"
              "as Hugging Face's tokenizers do.\n",
    .options = options,
    .model = true,
    .run = run,
};
