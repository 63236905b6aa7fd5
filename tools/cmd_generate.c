/* cmd_generate.c - continuing one prompt, as a stream. */
#include "tools/commands.h"
#include "tools/lines.h"

#include <string.h>

typedef struct {
    tp_ctx     *ctx;
    tp_decoder *decoder;
    const char *stop;
    char        tail[256]; /* text held back because it may be the beginning of the stop text */
} stream;

/* Prints what cannot belong to the stop text any more; false when the stop text has come. */
static bool emit(stream *s, const char *text)
{
    char   all[8192];
    size_t n, keep = s->stop ? strlen(s->stop) - 1 : 0;
    char  *hit;

    snprintf(all, sizeof all, "%s%s", s->tail, text);
    hit = s->stop ? strstr(all, s->stop) : NULL;
    if (hit != NULL) {
        fwrite(all, 1, (size_t)(hit - all), stdout);
        s->tail[0] = '\0';
        return false;
    }
    n = strlen(all);
    keep = n < keep ? n : keep;
    fwrite(all, 1, n - keep, stdout);
    fflush(stdout);
    memcpy(s->tail, all + n - keep, keep + 1);
    return true;
}

static bool on_token(void *user, int64_t row, int32_t id)
{
    stream     *s = user;
    const char *text = tp_decoder_add(s->ctx, s->decoder, id);

    (void)row;
    return text != NULL && emit(s, text);
}

/* --prompt, or all of standard input for "-"; the caller frees it. */
static char *read_prompt(tp_ctx *ctx, const char *arg, size_t *n)
{
    char  *all = NULL;
    size_t cap = 0;

    *n = 0;
    if (strcmp(arg, "-") != 0) {
        *n = strlen(arg);
        return tpi_strdup(ctx, arg);
    }
    while (tpi_grow(ctx, &all, &cap, *n + 65536, 1)) {
        size_t got = fread(all + *n, 1, 65535, stdin);

        *n += got;
        all[*n] = '\0';
        if (got == 0)
            return all;
    }
    tpi_free(all);
    return NULL;
}

static void generate(tp_ctx *ctx, tp_llama *model, const cli *c, const char *prompt, size_t n)
{
    stream s = { ctx, tp_decoder_new(ctx, tp_llama_tokenizer(model), TP_SKIP_SPECIAL), cli_text(c, "stop"), "" };
    tp_template     *t = NULL;
    tp_ids           ids = { 0 }, out = { 0 };
    tp_generate_opts o = { .max_new = cli_int(c, "max-new"),
                           .temperature = cli_real(c, "temperature"),
                           .top_k = cli_int(c, "top-k"),
                           .top_p = cli_real(c, "top-p"),
                           .user = &s,
                           .on_token = on_token };
    const char      *rest;

    if (session_prompt(ctx, model, c, &t, prompt, n, &ids) && tp_generate(ctx, model, 1, &ids, &out, &o)) {
        rest = tp_decoder_end(ctx, s.decoder);
        if (rest != NULL && emit(&s, rest))
            fputs(s.tail, stdout);
        putchar('\n');
    }
    tp_template_free(t);
    tp_ids_free(&ids);
    tp_ids_free(&out);
    tp_decoder_free(s.decoder);
}

static int run(cli *c)
{
    tp_ctx   *ctx;
    tp_llama *model;
    char     *prompt;
    size_t    n;

    if (cli_text(c, "prompt") == NULL)
        return cli_usage(c, "--prompt is needed: a text, or - for standard input");
    if (cli_text(c, "stop") != NULL && (cli_text(c, "stop")[0] == '\0' || strlen(cli_text(c, "stop")) > 200))
        return cli_usage(c, "--stop: expected 1 to 200 bytes");
    ctx = session_ctx(c);
    prompt = read_prompt(ctx, cli_text(c, "prompt"), &n);
    model = prompt ? session_model(ctx, c) : NULL;
    session_adapter(ctx, model, c, true);
    if (tp_ok(ctx))
        generate(ctx, model, c, prompt, n);
    tpi_free(prompt);
    return session_end(ctx, model);
}

static const cli_option options[] = {
    { "prompt", CLI_TEXT, NULL, 0, 0, NULL, "the text to go on from; - reads standard input" },
    { "max-new", CLI_INT, "128", 1, 1e9, NULL, "most tokens to add" },
    { "temperature", CLI_REAL, "0", 0, 100, NULL, "0: always the likeliest token" },
    { "top-k", CLI_INT, "0", 0, 1e9, NULL, "draw from the k likeliest only, 0: all" },
    { "top-p", CLI_REAL, "0", 0, 1, NULL, "draw from the fewest that reach probability p, 0: all" },
    { "stop", CLI_TEXT, NULL, 0, 0, NULL, "end where this text would come" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_generate = {
    .name = "generate",
    .summary = "continue a prompt",
    .manual = "Prints the continuation as it comes.  With a chat template the prompt is the user's turn; --template "
              "none goes on from the\n"
              "bare text.\n",
    .options = options,
    .model = true,
    .run = run,
};
