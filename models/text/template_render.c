/* template_render.c - writing turns as a template does. */
#include "models/text/template_internal.h"
#include "models/text/unicode.h"

#include <string.h>

typedef struct renderer {
    tp_ctx            *ctx;
    const tp_template *t;
    const tp_turn     *turn;
    size_t             n;
    tp_spans          *out;
} renderer;

/* ---- spans ------------------------------------------------------------------------------------------------------- */

static bool put(renderer *r, const char *s, size_t n, int32_t id, bool control, bool trained)
{
    tp_spans *o = r->out;

    if (n == 0 && id < 0)
        return true;
    if (!tpi_grow(r->ctx, &o->span, &o->cap, o->n + 1, sizeof *o->span))
        return false;
    o->span[o->n] = (tp_span){ o->text.n, n, id, control, trained };
    if (tpi_text_add(&o->text, s, n) != TP_OK)
        return tp_fail(r->ctx, TP_ENOMEM, "template: out of memory") != NULL;
    o->n++;
    return true;
}

/* Text of the template itself. */
static bool put_control(renderer *r, const char *s)
{
    return put(r, s, strlen(s), -1, true, false);
}

/* A mark like "<|im_start|>" or "[INST]": a token if the tokenizer has it as a special one, else text. */
static bool put_mark(renderer *r, const char *s, bool trained)
{
    int32_t id = tp_tokenizer_id(r->t->tok, s);

    return put(r, s, strlen(s), tp_tokenizer_is_special(r->t->tok, id) ? id : -1, true, trained);
}

static bool put_token(renderer *r, int32_t id, const char *what, bool trained)
{
    const char *s = tp_tokenizer_token(r->t->tok, id);

    if (s == NULL)
        return tp_fail(r->ctx, TP_EARG, "template %s: the tokenizer has no %s token", r->t->v.name, what) != NULL;
    return put(r, s, strlen(s), id, true, trained);
}

static bool put_bos(renderer *r)
{
    return put_token(r, tp_tokenizer_bos(r->t->tok), "bos", false);
}

static bool put_eos(renderer *r, bool trained)
{
    return put_token(r, tp_tokenizer_eos(r->t->tok), "eos", trained);
}

/* What Python's strip() takes away. */
static bool blank(uint32_t c)
{
    return tpi_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

static void trimmed(const char **s, size_t *n, bool left)
{
    while (left && *n > 0) {
        size_t i = 0;

        if (!blank(tpi_utf8_next(*s, &i)))
            break;
        *s += i;
        *n -= i;
    }
    while (*n > 0) {
        size_t at = tpi_utf8_before(*s, *n), i = at;

        if (!blank(tpi_utf8_next(*s, &i)))
            break;
        *n = at;
    }
}

static bool is(const tp_turn *u, const char *role)
{
    return strcmp(u->role, role) == 0;
}

/* The text of turn i, with the inputs that follow it, stripped at the sides given. */
static bool put_stripped(renderer *r, size_t i, bool left, bool right)
{
    bool trained = is(&r->turn[i], "assistant"), ok = true;

    for (size_t k = i; k < r->n && (k == i || is(&r->turn[k], "input")) && ok; k++) {
        const char *s = r->turn[k].text;
        size_t      n = r->turn[k].n;

        if (right)
            trimmed(&s, &n, left);
        ok = (k == i || put_control(r, "\n\n")) && put(r, s, n, -1, false, trained);
    }
    return ok;
}

static bool put_turn(renderer *r, size_t i)
{
    return put_stripped(r, i, r->t->v.trim, r->t->v.trim);
}

/* ---- families ---------------------------------------------------------------------------------------------------- */

/* Turn i in the way of its family; first: no turn but a system one stood before it. */
typedef bool (*turn_fn)(renderer *r, size_t i, bool first);

static bool none_turn(renderer *r, size_t i, bool first)
{
    (void)first;
    return put_turn(r, i) && (!is(&r->turn[i], "assistant") || put_eos(r, true));
}

static bool chatml_open(renderer *r, const char *role)
{
    return put_mark(r, "<|im_start|>", false) && put_control(r, role) && put_control(r, "\n");
}

static bool chatml_system(renderer *r, const char *system)
{
    return chatml_open(r, "system") && put_control(r, system) && put_mark(r, "<|im_end|>", false) &&
           put_control(r, "\n");
}

static bool chatml_turn(renderer *r, size_t i, bool first)
{
    const char *role = r->turn[i].role;

    (void)first;
    if (i == 0 && r->t->v.system != NULL && !is(&r->turn[0], "system") && !chatml_system(r, r->t->v.system))
        return false;
    return chatml_open(r, role) && put_turn(r, i) && put_mark(r, "<|im_end|>", is(&r->turn[i], "assistant")) &&
           put_control(r, "\n");
}

static bool zephyr_turn(renderer *r, size_t i, bool first)
{
    bool answer = is(&r->turn[i], "assistant");

    (void)first;
    return put_mark(r,
                    answer                      ? "<|assistant|>"
                    : is(&r->turn[i], "system") ? "<|system|>"
                                                : "<|user|>",
                    false) &&
           put_control(r, "\n") && put_turn(r, i) && put_eos(r, answer) && put_control(r, "\n");
}

static bool llama3_open(renderer *r, const char *role)
{
    return put_mark(r, "<|start_header_id|>", false) && put_control(r, role) &&
           put_mark(r, "<|end_header_id|>", false) && put_control(r, "\n\n");
}

/* Llama 3.1 opens every conversation with a system turn that tells the date. */
static bool llama3_turn(renderer *r, size_t i, bool first)
{
    const char *date = r->t->v.date;
    bool        system = is(&r->turn[i], "system");

    (void)first;
    if (i == 0 && date != NULL && !system &&
        (!llama3_open(r, "system") || !put_control(r, date) || !put_mark(r, "<|eot_id|>", false)))
        return false;
    return llama3_open(r, r->turn[i].role) && (i > 0 || date == NULL || !system || put_control(r, date)) &&
           put_turn(r, i) && put_mark(r, "<|eot_id|>", is(&r->turn[i], "assistant"));
}

static bool llama2_turn(renderer *r, size_t i, bool first)
{
    if (is(&r->turn[i], "system"))
        return true; /* written with the first user turn */
    if (is(&r->turn[i], "assistant"))
        return put(r, " ", 1, -1, true, true) && put_turn(r, i) && put(r, " ", 1, -1, true, true) && put_eos(r, true);
    if (!put_bos(r) || !put_mark(r, "[INST]", false) || !put_control(r, " "))
        return false;
    if (first && i > 0) /* the two are stripped as a whole */
        return put_control(r, "<<SYS>>\n") && put(r, r->turn[0].text, r->turn[0].n, -1, false, false) &&
               put_control(r, "\n<</SYS>>\n\n") && put_stripped(r, i, false, true) && put_control(r, " ") &&
               put_mark(r, "[/INST]", false);
    return put_turn(r, i) && put_control(r, " ") && put_mark(r, "[/INST]", false);
}

/* A user turn that no other follows. */
static bool is_last(const renderer *r, size_t i)
{
    for (size_t k = i + 1; k < r->n; k++)
        if (!is(&r->turn[k], "input"))
            return false;
    return true;
}

static bool mistral_system(renderer *r, size_t i, bool first)
{
    bool here = r->t->v.place == TPI_SYSTEM_IN_LAST ? is_last(r, i) : first;

    return !here || !is(&r->turn[0], "system") ||
           (put(r, r->turn[0].text, r->turn[0].n, -1, false, false) && put_control(r, "\n\n"));
}

static bool mistral_turn(renderer *r, size_t i, bool first)
{
    const tpi_variant *v = &r->t->v;

    if (is(&r->turn[i], "system"))
        return v->place != TPI_SYSTEM_REFUSED ||
               tp_fail(r->ctx, TP_EARG, "template %s: has no place for a system turn", v->name) != NULL;
    if (is(&r->turn[i], "assistant"))
        return put(r, v->lead, strlen(v->lead), -1, true, true) && put_turn(r, i) && put_eos(r, true) &&
               put_control(r, v->tail);
    return put_mark(r, "[INST]", false) && put_control(r, v->open) && mistral_system(r, i, first) &&
           put_stripped(r, i, false, false) && put_control(r, v->close) && put_mark(r, "[/INST]", false);
}

static const char alpaca_plain[] =
    "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n";
static const char alpaca_input[] =
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n";

/* A system turn stands in place of the fixed opening. */
static bool alpaca_turn(renderer *r, size_t i, bool first)
{
    const tp_turn *u = &r->turn[i];
    bool           more = i + 1 < r->n && is(&r->turn[i + 1], "input");

    if (is(u, "assistant"))
        return put_control(r, "\n\n### Response:\n") && put(r, u->text, u->n, -1, false, true) && put_eos(r, true);
    if (is(u, "system"))
        return put(r, u->text, u->n, -1, false, false);
    if (!put_control(r, first && i == 0 ? (more ? alpaca_input : alpaca_plain) : "\n\n### Instruction:\n"))
        return false;
    if (!put(r, u->text, u->n, -1, false, false))
        return false;
    return !more || (put_control(r, "\n\n### Input:\n") && put(r, u[1].text, u[1].n, -1, false, false));
}

static const turn_fn turn_of[] = {
    [TPI_TPL_NONE] = none_turn,     [TPI_TPL_CHATML] = chatml_turn, [TPI_TPL_ALPACA] = alpaca_turn,
    [TPI_TPL_LLAMA2] = llama2_turn, [TPI_TPL_LLAMA3] = llama3_turn, [TPI_TPL_MISTRAL] = mistral_turn,
    [TPI_TPL_ZEPHYR] = zephyr_turn
};

/* What a model goes on from. */
static bool open_answer(renderer *r)
{
    switch (r->t->v.family) {
    case TPI_TPL_CHATML: return chatml_open(r, "assistant");
    case TPI_TPL_ALPACA: return put_control(r, "\n\n### Response:\n");
    case TPI_TPL_LLAMA3: return llama3_open(r, "assistant");
    case TPI_TPL_ZEPHYR: return put_mark(r, "<|assistant|>", false) && put_control(r, "\n");
    case TPI_TPL_NONE:
    case TPI_TPL_LLAMA2:
    case TPI_TPL_MISTRAL: break;
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool check_turn(renderer *r, size_t i, const char *before)
{
    const tp_turn *u = &r->turn[i];
    const char    *name = r->t->v.name;
    bool           strict = r->t->v.family == TPI_TPL_LLAMA2 || r->t->v.family == TPI_TPL_MISTRAL;

    if (u->role == NULL || u->text == NULL)
        return tp_fail(r->ctx, TP_EARG, "template %s: turn %zu has no role or no text", name, i) != NULL;
    if (!is(u, "system") && !is(u, "user") && !is(u, "assistant") && !is(u, "input"))
        return tp_fail(r->ctx, TP_EARG,
                       "template %s: the role of turn %zu is '%.40s', expected system, user or assistant", name, i,
                       u->role) != NULL;
    if (!tpi_utf8_valid(u->text, u->n, NULL))
        return tp_fail(r->ctx, TP_EARG, "template %s: the text of turn %zu is not UTF-8", name, i) != NULL;
    if (is(u, "input") && strcmp(before, "user") != 0)
        return tp_fail(r->ctx, TP_EARG, "template %s: turn %zu is an input, expected it behind a user's turn", name,
                       i) != NULL;
    if (strict && !is(u, "input") && (is(u, "system") ? i > 0 : is(u, "user") == (strcmp(before, "user") == 0)))
        return tp_fail(r->ctx, TP_EARG, "template %s: turn %zu is the %s's, expected user and assistant in turn", name,
                       i, u->role) != NULL;
    return true;
}

static bool check(renderer *r)
{
    const char *before = "";

    if (r->n == 0)
        return tp_fail(r->ctx, TP_EARG, "template %s: there are no turns", r->t->v.name) != NULL;
    for (size_t i = 0; i < r->n; i++) {
        if (!check_turn(r, i, before))
            return false;
        before = is(&r->turn[i], "input") ? before : r->turn[i].role;
    }
    return true;
}

bool tp_template_render(tp_ctx *ctx, const tp_template *t, const tp_turn *turn, size_t n, bool open, tp_spans *spans)
{
    renderer r = { ctx, t, turn, n, spans };
    bool     first = true, bos;

    if (!tp_ok(ctx))
        return false;
    if (t == NULL || (turn == NULL && n > 0) || spans == NULL)
        return tp_fail(ctx, TP_EARG, "template_render: the %s is NULL",
                       t == NULL ? "template" : "list of turns or spans") != NULL;
    bos = t->v.own ? tp_tokenizer_adds_bos(t->tok) : t->v.bos && t->v.family != TPI_TPL_LLAMA2;
    if (!check(&r) || (bos && !put_bos(&r)))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (is(&turn[i], "input"))
            continue;
        if (!turn_of[t->v.family](&r, i, first))
            return false;
        first = first && is(&turn[i], "system");
    }
    return !open || open_answer(&r);
}
