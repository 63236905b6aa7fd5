/* encode.c - a line of data to token ids, with marks on those that are trained on. */
#include "models/text/data_internal.h"

#include <string.h>

enum { PAIR = 3 };

/* ---- ids and marks ----------------------------------------------------------------------------------------------- */

/* Marks what has been appended to the ids since the last call: all trained on, or as how (0 or 1 each) says. */
static bool mark(tp_ctx *ctx, tp_data *d, const tp_ids *how)
{
    int64_t from = d->n_trained;

    if (!tpi_grow(ctx, &d->trained, &d->cap_trained, (size_t)d->ids.n + 1, sizeof *d->trained))
        return false;
    for (; d->n_trained < d->ids.n; d->n_trained++)
        d->trained[d->n_trained] = how == NULL || (d->n_trained - from < how->n && how->id[d->n_trained - from] != 0);
    return true;
}

static bool add_id(tp_ctx *ctx, tp_data *d, int32_t id)
{
    size_t cap = (size_t)d->ids.cap;
    bool   ok = tpi_grow(ctx, &d->ids.id, &cap, (size_t)d->ids.n + 1, sizeof *d->ids.id);

    d->ids.cap = (int64_t)cap;
    if (ok)
        d->ids.id[d->ids.n++] = id;
    return ok;
}

static bool add_turns(tp_ctx *ctx, tp_data *d, const tp_turn *turn, size_t n)
{
    tp_ids how = { 0 };
    bool   ok = tp_template_encode(ctx, d->template, turn, n, false, &d->ids, &how) && mark(ctx, d, &how);

    tp_ids_free(&how);
    return ok;
}

/* ---- members of a line ------------------------------------------------------------------------------------------- */

static bool has(const tpi_json *line, const char *key)
{
    return tpi_json_get(line, key) != NULL;
}

/* A turn with the text at key. */
static bool get_turn(tp_ctx *ctx, const tpi_json *object, const char *key, const char *role, tp_turn *turn)
{
    const tpi_json *j = tpi_json_get(object, key);

    turn->role = role;
    turn->text = tpi_json_string(j, &turn->n);
    if (turn->text != NULL)
        return true;
    return tp_fail(ctx, TP_EFORMAT, "%s is %s, expected a text", key,
                   j ? tpi_json_kind_name(tpi_json_is(j)) : "missing") != NULL;
}

/* ---- the kinds of lines ------------------------------------------------------------------------------------------ */

static bool encode_text(tp_ctx *ctx, tp_data *d, const tpi_json *line)
{
    int32_t eos = tp_tokenizer_eos(d->tok);
    tp_turn t;

    if (eos < 0)
        return tp_fail(ctx, TP_EARG, "the tokenizer has no eos token to end a text with") != NULL;
    return get_turn(ctx, line, "text", "", &t) &&
           (!tp_tokenizer_adds_bos(d->tok) || add_id(ctx, d, tp_tokenizer_bos(d->tok))) &&
           tp_tokenize(ctx, d->tok, t.text, t.n, 0, &d->ids) && add_id(ctx, d, eos) && mark(ctx, d, NULL);
}

static bool encode_pair(tp_ctx *ctx, tp_data *d, const tpi_json *line)
{
    tp_turn t[2];

    return get_turn(ctx, line, "prompt", "user", &t[0]) && get_turn(ctx, line, "completion", "assistant", &t[1]) &&
           add_turns(ctx, d, t, 2);
}

static bool encode_instruction(tp_ctx *ctx, tp_data *d, const tpi_json *line)
{
    tp_turn t[PAIR];
    size_t  n = 1;

    if (!get_turn(ctx, line, "instruction", "user", &t[0]) ||
        (has(line, "input") && !get_turn(ctx, line, "input", "input", &t[n])))
        return false;
    n += has(line, "input") && t[n].n > 0;
    return get_turn(ctx, line, "output", "assistant", &t[n]) && add_turns(ctx, d, t, n + 1);
}

static bool encode_messages(tp_ctx *ctx, tp_data *d, const tpi_json *line)
{
    const tpi_json *list = tpi_json_get(line, "messages");
    size_t          n = tpi_json_size(list);
    tp_turn        *t, role;
    bool            ok;

    if (tpi_json_is(list) != TPI_JSON_ARRAY || n == 0)
        return tp_fail(ctx, TP_EFORMAT, "messages is %s, expected an array of messages",
                       tpi_json_is(list) == TPI_JSON_ARRAY ? "empty" : tpi_json_kind_name(tpi_json_is(list))) != NULL;
    t = tpi_alloc(ctx, n, sizeof *t);
    ok = t != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        const tpi_json *m = tpi_json_at(list, i);

        ok = tpi_json_is(m) == TPI_JSON_OBJECT || tp_fail(ctx, TP_EFORMAT, "message %zu is no object", i + 1) != NULL;
        ok = ok && get_turn(ctx, m, "role", "", &role) && get_turn(ctx, m, "content", role.text, &t[i]);
    }
    ok = ok && add_turns(ctx, d, t, n);
    tpi_free(t);
    return ok;
}

static const struct {
    const char *needed[2];
    const char *known[4];
    bool (*encode)(tp_ctx *ctx, tp_data *d, const tpi_json *line);
} kinds[] = {
    { { "messages", "messages" }, { "messages" }, encode_messages },
    { { "prompt", "completion" }, { "prompt", "completion" }, encode_pair },
    { { "instruction", "output" }, { "instruction", "input", "output" }, encode_instruction },
    { { "text", "text" }, { "text" }, encode_text },
};

bool tpi_encode(tp_ctx *ctx, tp_data *d, const tpi_json *line, const char *const **used)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has(line, kinds[i].needed[0]) && has(line, kinds[i].needed[1])) {
            *used = kinds[i].known;
            return kinds[i].encode(ctx, d, line);
        }
    return tp_fail(ctx, TP_EFORMAT, "expected messages, prompt and completion, instruction and output, or text") !=
           NULL;
}

bool tpi_encode_begin(tp_ctx *ctx, tp_data *d)
{
    d->template = tp_template_new(ctx, d->tok, d->opts.template_name);
    return d->template != NULL;
}
