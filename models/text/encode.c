/* encode.c - a line of data to token ids, with marks on those that are trained on. */
#include "models/text/data_internal.h"

#include <string.h>

/* ---- ids and marks ---------------------------------------------------------------------------------------------------------- */

/* Marks what has been appended to the ids since the last call. */
static bool mark(tp_ctx *ctx, tp_data *d, bool trained)
{
    if (!tpi_grow(ctx, &d->trained, &d->cap_trained, (size_t)d->ids.n + 1, sizeof *d->trained))
        return false;
    while (d->n_trained < d->ids.n)
        d->trained[d->n_trained++] = trained;
    return true;
}

static bool add_id(tp_ctx *ctx, tp_data *d, int32_t id, bool trained)
{
    size_t cap = (size_t)d->ids.cap;
    bool   ok = tpi_grow(ctx, &d->ids.id, &cap, (size_t)d->ids.n + 1, sizeof *d->ids.id);

    d->ids.cap = (int64_t)cap;
    if (ok)
        d->ids.id[d->ids.n++] = id;
    return ok && mark(ctx, d, trained);
}

static bool add_text(tp_ctx *ctx, tp_data *d, const char *text, size_t n, bool trained)
{
    return tp_tokenize(ctx, d->tok, text, n, 0, &d->ids) && mark(ctx, d, trained);
}

static bool add_bos(tp_ctx *ctx, tp_data *d)
{
    return !tp_tokenizer_adds_bos(d->tok) || add_id(ctx, d, tp_tokenizer_bos(d->tok), false);
}

static bool add_eos(tp_ctx *ctx, tp_data *d)
{
    return add_id(ctx, d, tp_tokenizer_eos(d->tok), true);
}

/* ---- members of a line ------------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *s;
    size_t      n;
} member;

static bool has(const tpi_json *line, const char *key)
{
    return tpi_json_get(line, key) != NULL;
}

static bool get_text(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, member *m)
{
    const tpi_json *j = tpi_json_get(object, key);

    m->s = tpi_json_string(j, &m->n);
    if (m->s != NULL)
        return true;
    return tp_fail(ctx, TP_EFORMAT, "%s: %s is %s, expected a text", where, key, j ? tpi_json_kind_name(tpi_json_is(j)) : "missing") !=
           NULL;
}

/* ---- the kinds of lines ----------------------------------------------------------------------------------------------------- */

static bool encode_text(tp_ctx *ctx, tp_data *d, const char *where, const tpi_json *line)
{
    member text;

    return get_text(ctx, where, line, "text", &text) && add_bos(ctx, d) && add_text(ctx, d, text.s, text.n, true) && add_eos(ctx, d);
}

/* A question and its answer, with or without a template. */
static bool add_pair(tp_ctx *ctx, tp_data *d, const char *where, member prompt, member answer)
{
    (void)where;
    return add_bos(ctx, d) && add_text(ctx, d, prompt.s, prompt.n, false) && add_text(ctx, d, answer.s, answer.n, true) &&
           add_eos(ctx, d);
}

static bool encode_pair(tp_ctx *ctx, tp_data *d, const char *where, const tpi_json *line)
{
    member prompt, answer;

    return get_text(ctx, where, line, "prompt", &prompt) && get_text(ctx, where, line, "completion", &answer) &&
           add_pair(ctx, d, where, prompt, answer);
}

static bool encode_instruction(tp_ctx *ctx, tp_data *d, const char *where, const tpi_json *line)
{
    member prompt, answer;

    return get_text(ctx, where, line, "instruction", &prompt) && get_text(ctx, where, line, "output", &answer) &&
           add_pair(ctx, d, where, prompt, answer);
}

static const struct {
    const char *needed[2];
    const char *known[4];
    bool (*encode)(tp_ctx *ctx, tp_data *d, const char *where, const tpi_json *line);
} kinds[] = {
    { { "prompt", "completion" }, { "prompt", "completion" }, encode_pair },
    { { "instruction", "output" }, { "instruction", "input", "output" }, encode_instruction },
    { { "text", "text" }, { "text" }, encode_text },
};

bool tpi_encode(tp_ctx *ctx, tp_data *d, const char *where, const tpi_json *line, const char *const **used)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has(line, kinds[i].needed[0]) && has(line, kinds[i].needed[1])) {
            *used = kinds[i].known;
            return kinds[i].encode(ctx, d, where, line);
        }
    return tp_fail(ctx, TP_EFORMAT, "%s: expected messages, prompt and completion, instruction and output, or text", where) != NULL;
}

bool tpi_encode_begin(tp_ctx *ctx, tp_data *d)
{
    if (tp_tokenizer_eos(d->tok) < 0)
        return tp_fail(ctx, TP_EARG, "data: the tokenizer has no eos token to end an answer with") != NULL;
    return true;
}
