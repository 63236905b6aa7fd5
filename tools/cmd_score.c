/* cmd_score.c - log probabilities of completions, a JSON line each. */
#include "tools/commands.h"
#include "tools/lines.h"

#include <string.h>

/* Scores one line; a line with only "text" is scored from its first token, behind bos, else eos. */
static bool score_line(tp_ctx *ctx, tp_llama *model, const cli *c, tp_template **t, const tpi_json *j, const char *where,
                       tp_lm_score_result *r)
{
    const tp_tokenizer *tok = tp_llama_tokenizer(model);
    const char         *prompt = tpi_json_text(ctx, where, j, "prompt", NULL),
               *completion = tpi_json_text(ctx, where, j, "completion", NULL);
    const char *text = tpi_json_text(ctx, where, j, "text", NULL);
    tp_ids      front = { 0 }, back = { 0 };
    bool        ok = false;

    if (prompt != NULL && completion != NULL) {
        ok = session_prompt(ctx, model, c, t, prompt, strlen(prompt), &front) &&
             tp_tokenize(ctx, tok, completion, strlen(completion), 0, &back);
    } else if (text != NULL) {
        int32_t first = tp_tokenizer_bos(tok) >= 0 ? tp_tokenizer_bos(tok) : tp_tokenizer_eos(tok);
        size_t  cap = 0;

        ok = tp_tokenize(ctx, tok, text, strlen(text), 0, &back) && tpi_grow(ctx, &front.id, &cap, 1, sizeof *front.id);
        if (ok) {
            front.id[0] = first;
            front.n = 1;
            front.cap = (int64_t)cap;
        }
    } else if (tp_ok(ctx)) {
        tp_fail(ctx, TP_EFORMAT, "%s: expected prompt and completion, or text", where);
    }
    ok = ok && tp_lm_score(ctx, model, &front, &back, r);
    tp_ids_free(&front);
    tp_ids_free(&back);
    return ok;
}

static int run(cli *c)
{
    tp_ctx      *ctx = session_ctx(c);
    lines        in = { 0 };
    tp_llama    *model = lines_open(ctx, &in, cli_text(c, "data")) ? session_model(ctx, c) : NULL;
    tp_template *t = NULL;
    tpi_json    *j;

    session_adapter(ctx, model, c, true);
    while (tp_ok(ctx) && (j = lines_json(ctx, &in)) != NULL) {
        tp_lm_score_result r;
        char               where[4200];

        snprintf(where, sizeof where, "%s:%ld", in.name, in.line);
        if (score_line(ctx, model, c, &t, j, where, &r)) {
            printf("{\"logprob\": %.17g, \"tokens\": %lld, \"greedy\": %s}\n", r.logprob, (long long)r.tokens,
                   r.greedy ? "true" : "false");
            fflush(stdout);
        }
        tpi_json_free(j);
    }
    lines_close(&in);
    tp_template_free(t);
    return session_end(ctx, model);
}

static const cli_option options[] = {
    { "data", CLI_TEXT, "-", 0, 0, NULL, "JSON lines: prompt and completion, or text; - is standard input" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_score = {
    .name = "score",
    .summary = "log probability of given completions",
    .manual = "For each line of --data one JSON line {\"logprob\", \"tokens\", \"greedy\"}: the sum of the natural "
              "logarithms of the\n"
              "probabilities of the completion's tokens, their number, and whether each was the likeliest.  No eos is "
              "added.  A line\n"
              "with only \"text\" is scored from its first token, with bos, else eos, in front.\n",
    .options = options,
    .model = true,
    .run = run,
};
