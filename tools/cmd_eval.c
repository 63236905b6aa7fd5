/* cmd_eval.c - how good a model is on a file of questions: loss, or the share of right answers. */
#include "tools/commands.h"
#include "tools/judge.h"
#include "tools/lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A question read and tokenised, or an answer. */
typedef struct {
    tpi_json *line;
    long      number;
    tp_ids    prompt, out;
} question;

typedef struct {
    tp_ctx      *ctx;
    tp_llama    *model;
    tp_template *t; /* NULL before the first question */
    const cli   *c;
    judge_kind   metric;
    FILE        *out; /* NULL: answers are not written */
    question    *q;   /* a batch */
    int64_t      batch, n, right, all;
} evaluation;

/* The 95 % interval of a share by Wilson's score (1927). */
static void wilson(int64_t right, int64_t n, double *low, double *high)
{
    double z = 1.959963984540054, p = n > 0 ? (double)right / (double)n : 0, m = n > 0 ? (double)n : 1;
    double middle = (p + z * z / (2 * m)) / (1 + z * z / m),
           half = z * sqrt(p * (1 - p) / m + z * z / (4 * m * m)) / (1 + z * z / m);

    *low = middle - half > 0 ? middle - half : 0;
    *high = middle + half < 1 ? middle + half : 1;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void judge_one(evaluation *e, question *q)
{
    const char *where = cli_text(e->c, "data");
    const char *answer = tpi_json_text(e->ctx, where, q->line, "answer", NULL);
    const char *completion = tpi_json_text(e->ctx, where, q->line, "completion",
                                           tpi_json_text(e->ctx, where, q->line, "output", NULL));
    tp_text     text = { 0 };
    bool        right;

    if (!tp_detokenize(e->ctx, tp_llama_tokenizer(e->model), q->out.id, q->out.n, TP_SKIP_SPECIAL, &text))
        return;
    right = judge(e->metric, text.p ? text.p : "", answer, completion);
    e->right += right;
    e->all++;
    if (e->out != NULL) {
        fprintf(e->out, "{\"line\": %ld, \"right\": %s, \"text\": ", q->number, right ? "true" : "false");
        print_json_text(e->out, text.p ? text.p : "", text.n);
        fprintf(e->out, "}\n");
    }
    tp_text_free(&text);
}

static void flush_batch(evaluation *e)
{
    tp_ids *prompt = tpi_alloc(e->ctx, (size_t)e->batch, sizeof *prompt),
           *out = tpi_alloc(e->ctx, (size_t)e->batch, sizeof *out);
    tp_generate_opts o = { .max_new = cli_int(e->c, "max-new") };
    bool             ok = prompt != NULL && out != NULL && e->n > 0;

    for (int64_t i = 0; ok && i < e->n; i++)
        prompt[i] = e->q[i].prompt;
    ok = ok && tp_generate(e->ctx, e->model, e->n, prompt, out, &o);
    for (int64_t i = 0; i < e->n; i++) {
        if (out != NULL)
            e->q[i].out = out[i];
        if (ok)
            judge_one(e, &e->q[i]);
        tp_ids_free(&e->q[i].prompt);
        tp_ids_free(&e->q[i].out);
        tpi_json_free(e->q[i].line);
    }
    e->n = 0;
    tpi_free(prompt);
    tpi_free(out);
}

/* prompt, or instruction with input, or a first user message's content. */
static bool read_question(evaluation *e, tpi_json *j, const lines *in)
{
    const char *prompt = tpi_json_text(e->ctx, in->name, j, "prompt", NULL);
    const char *instruction = tpi_json_text(e->ctx, in->name, j, "instruction", NULL),
               *input = tpi_json_text(e->ctx, in->name, j, "input", "");
    question *q = &e->q[e->n];
    char     *both = NULL;
    bool      ok;

    if (prompt == NULL && instruction != NULL)
        both = tpi_format(e->ctx, "%s%s%s", instruction, input && input[0] ? "\n\n" : "", input ? input : "");
    if (prompt == NULL && both == NULL && tp_ok(e->ctx))
        tp_fail(e->ctx, TP_EFORMAT, "%s:%ld: expected prompt, or instruction", in->name, in->line);
    *q = (question){ .line = j, .number = in->line };
    ok = tp_ok(e->ctx) &&
         session_prompt(e->ctx, e->model, e->c, &e->t, prompt ? prompt : both, strlen(prompt ? prompt : both), &q->prompt);
    tpi_free(both);
    e->n++;
    return ok;
}

static void answers(evaluation *e)
{
    int64_t   limit = cli_int(e->c, "limit"), seen = 0;
    lines     in = { 0 };
    tpi_json *j;

    e->q = tpi_alloc(e->ctx, (size_t)e->batch, sizeof *e->q);
    if (e->q != NULL && lines_open(e->ctx, &in, cli_text(e->c, "data")))
        while ((limit == 0 || seen < limit) && (j = lines_json(e->ctx, &in)) != NULL) {
            seen++;
            if (!read_question(e, j, &in))
                break;
            if (e->n == e->batch)
                flush_batch(e);
        }
    flush_batch(e);
    lines_close(&in);
    tp_template_free(e->t);
    tpi_free(e->q);
    if (tp_ok(e->ctx) && e->all == 0)
        tp_fail(e->ctx, TP_EFORMAT, "%s: there is no question in it", cli_text(e->c, "data"));
}

/* ---- loss -------------------------------------------------------------------------------------------------------- */

/* Mean over batches' targets, with the 95 % interval of the mean from the spread of the batches' means. */
static void print_loss(evaluation *e)
{
    tp_data_opts o = { .batch = e->batch,
                       .no_shuffle = true,
                       .max_len = tp_llama_config_of(e->model)->max_position_embeddings,
                       .template_name = cli_text(e->c, "template"),
                       .epochs = 1 };
    tp_data     *data = tp_data_open(e->ctx, cli_text(e->c, "data"), tp_llama_tokenizer(e->model), &o);
    int64_t      batches = 0, limit = cli_int(e->c, "limit"), samples = 0;
    double       sum = 0, count = 0, squares = 0, mean, half;

    tp_record(e->ctx, false);
    tp_module_set_training(tp_llama_root(e->model), false);
    while (tp_ok(e->ctx) && (limit == 0 || samples < limit)) {
        tp_scope    s = tp_scope_begin(e->ctx);
        tp_lm_batch b = tp_data_next(e->ctx, data);
        double      loss = b.ids ? tp_item(e->ctx, tp_llama_loss_sum(e->ctx, e->model, b)) : 0;
        bool        more = b.ids != NULL;

        tp_scope_end(e->ctx, s);
        if (!more)
            break;
        sum += loss;
        count += (double)b.target_tokens;
        squares += b.target_tokens > 0 ? loss * loss / (double)b.target_tokens : 0;
        samples += b.samples;
        batches++;
    }
    tp_data_free(data);
    if (!tp_ok(e->ctx))
        return;
    mean = count > 0 ? sum / count : 0;
    half = batches > 1 ? 1.96 * sqrt(fabs(squares / count - mean * mean) / (double)(batches - 1)) : 0;
    printf("{\"metric\": \"loss\", \"value\": %.17g, \"low\": %.17g, \"high\": %.17g, \"n\": %lld}\n", mean,
           mean - half, mean + half, (long long)count);
}

static int run(cli *c)
{
    const char *out = cli_text(c, "out");
    evaluation  e = { .c = c, .batch = cli_int(c, "batch") };
    double      low, high;

    e.metric = judge_of(cli_text(c, "metric"));
    e.out = out ? fopen(out, "wb") : NULL;
    if (cli_text(c, "data") == NULL)
        return cli_usage(c, "--data is needed: a file of JSON lines");
    if (out != NULL && e.out == NULL)
        return cli_error(c, "--out %s: it cannot be written", out);
    e.ctx = session_ctx(c);
    e.model = session_model(e.ctx, c);
    session_adapter(e.ctx, e.model, c, true);
    if (tp_ok(e.ctx) && e.metric == JUDGE_LOSS)
        print_loss(&e);
    else if (tp_ok(e.ctx))
        answers(&e);
    if (tp_ok(e.ctx) && e.metric != JUDGE_LOSS) {
        wilson(e.right, e.all, &low, &high);
        printf("{\"metric\": \"%s\", \"value\": %.17g, \"low\": %.17g, \"high\": %.17g, \"n\": %lld}\n",
               cli_text(c, "metric"), (double)e.right / (double)e.all, low, high, (long long)e.all);
    }
    if (e.out != NULL && fclose(e.out) != 0)
        tp_fail(e.ctx, TP_EIO, "--out %s: it could not be written", out);
    return session_end(e.ctx, e.model);
}

static const cli_option options[] = {
    { "data", CLI_TEXT, NULL, 0, 0, NULL, "JSON lines with prompt (or instruction, input), completion, answer" },
    { "metric", CLI_CHOICE, "loss", 0, 0, "loss|number|exact|choice", "what is measured" },
    { "limit", CLI_INT, "0", 0, 1e12, NULL, "only the first lines, 0: all" },
    { "batch", CLI_INT, "16", 1, 65536, NULL, "questions at a time" },
    { "max-new", CLI_INT, "128", 1, 1e9, NULL, "most tokens of an answer" },
    { "out", CLI_TEXT, NULL, 0, 0, NULL, "file for the answers, a JSON line each" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_eval = {
    .name = "eval",
    .summary = "loss, or share of right answers, on a file",
    .manual = "Answers are greedy.  number: the first number behind \"#### \" (commas dropped) equals the line's "
              "\"answer\", else what the\n"
              "same rule finds in its completion, within 1e-3.  choice: the first true, false, answerN, solutionN, "
              "endingN or optionN\n"
              "written equals the line's.  exact: the texts are equal but for white space at both ends.  Prints one "
              "JSON line\n"
              "{\"metric\", \"value\", \"low\", \"high\", \"n\"}, low and high being a 95 % interval.\n",
    .options = options,
    .model = true,
    .run = run,
};
