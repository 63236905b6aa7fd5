/* template.c - choosing a template, and its rendered turns as token ids. */
#include "models/text/gguf_tokenizer.h"
#include "models/text/template_internal.h"
#include "models/text/unicode.h"

#include <string.h>

void tp_spans_free(tp_spans *spans)
{
    if (spans == NULL)
        return;
    tp_text_free(&spans->text);
    tpi_free(spans->span);
    *spans = (tp_spans){ 0 };
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static bool model_template(tp_ctx *ctx, tp_template *t)
{
    const char *text = tp_tokenizer_template(t->tok);

    if (text == NULL) {
        t->v = *tpi_template_named("none");
        tp_message(ctx, TP_NOTE, "template: the model comes without one, so prompts are used as they are (none)");
        return true;
    }
    if (!tpi_template_recognise(ctx, text, t))
        return tp_ok(ctx) &&
               tp_fail(ctx, TP_EFORMAT,
                       "template: the model's own is none of those known here; choose another one (chatml, alpaca, "
                       "none ...) for it") != NULL;
    tp_message(ctx, TP_NOTE, "template: the model's own was recognised as %s", t->v.name);
    return true;
}

/* Marks that would otherwise be taken apart into letters. */
static bool check_tokens(tp_ctx *ctx, const tp_template *t)
{
    static const char *const chatml[] = { "<|im_start|>", "<|im_end|>", NULL };
    static const char *const llama3[] = { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL };
    static const char *const nothing[] = { NULL };
    tpi_family               f = t->v.family;
    const char *const       *mark = f == TPI_TPL_CHATML ? chatml : f == TPI_TPL_LLAMA3 ? llama3 : nothing;

    for (; *mark != NULL; mark++)
        if (tp_tokenizer_id(t->tok, *mark) < 0)
            return tp_fail(ctx, TP_EARG, "template %s: the tokenizer has no token %s; alpaca and none need none",
                           t->v.name, *mark) != NULL;
    if (f != TPI_TPL_CHATML && f != TPI_TPL_LLAMA3 && tp_tokenizer_eos(t->tok) < 0)
        return tp_fail(ctx, TP_EARG, "template %s: the tokenizer has no eos token to end an answer with", t->v.name) !=
               NULL;
    return true;
}

static bool choose(tp_ctx *ctx, tp_template *t, const char *name)
{
    const tpi_variant *v;

    if (name == NULL || strcmp(name, "model") == 0)
        return model_template(ctx, t) && check_tokens(ctx, t);
    v = tpi_template_named(name);
    if (v == NULL)
        return tp_fail(ctx, TP_EARG, "template: there is no '%.60s', only %s", name, tpi_template_names) != NULL;
    t->v = *v;
    return check_tokens(ctx, t);
}

tp_template *tp_template_new(tp_ctx *ctx, const tp_tokenizer *tok, const char *name)
{
    tp_template *t;

    if (!tp_ok(ctx))
        return NULL;
    if (tok == NULL)
        return tp_fail(ctx, TP_EARG, "template_new: the tokenizer is NULL");
    t = tpi_alloc(ctx, 1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->tok = tok;
    if (choose(ctx, t, name))
        return t;
    tp_template_free(t);
    return NULL;
}

void tp_template_free(tp_template *t)
{
    if (t == NULL)
        return;
    tpi_free(t->system);
    tpi_free(t);
}

const char *tp_template_name(const tp_template *t)
{
    return t ? t->v.name : "";
}

/* ---- ids --------------------------------------------------------------------------------------------------------- */

static tp_code marks(tp_ids *trained, int64_t n, bool on)
{
    tp_code rc = TP_OK;

    while (rc == TP_OK && trained != NULL && trained->n < n)
        rc = tpi_ids_add(trained, on);
    return rc;
}

/* Neighbouring texts are tokenised as one, unless only one of them is trained on, or the template keeps them apart. */
static size_t run_end(const tp_spans *s, size_t i, bool apart)
{
    size_t k = i + 1;

    while (!apart && k < s->n && s->span[k].id < 0 && s->span[k].trained == s->span[i].trained)
        k++;
    return k;
}

static tp_code encode(const tp_template *t, const tp_spans *s, tp_ids *ids, tp_ids *trained)
{
    bool    apart = t->v.family == TPI_TPL_NONE;
    int64_t base = trained ? trained->n - ids->n : 0;
    tp_code rc = TP_OK;

    for (size_t i = 0, end; i < s->n && rc == TP_OK; i = end) {
        const tp_span *p = &s->span[i];
        unsigned       flags = apart || i == 0 ? 0 : s->span[i - 1].id >= 0 ? TPI_TOK_INNER : TPI_TOK_CONTINUED;

        end = p->id >= 0 ? i + 1 : run_end(s, i, apart);
        if (p->id >= 0)
            rc = tpi_ids_add(ids, p->id);
        else
            rc = tpi_tokenize(t->tok, s->text.p + p->at, s->span[end - 1].at + s->span[end - 1].n - p->at, flags, ids);
        if (rc == TP_OK)
            rc = marks(trained, base + ids->n, p->trained);
    }
    return rc;
}

bool tp_template_encode(tp_ctx *ctx, const tp_template *t, const tp_turn *turn, size_t n, bool open, tp_ids *ids,
                        tp_ids *trained)
{
    tp_spans s = { 0 };
    tp_code  rc;
    bool     ok;

    if (!tp_ok(ctx))
        return false;
    if (ids == NULL)
        return tp_fail(ctx, TP_EARG, "template_encode: the list of ids is NULL") != NULL;
    ok = tp_template_render(ctx, t, turn, n, open, &s);
    rc = ok ? encode(t, &s, ids, trained) : TP_OK;
    tp_spans_free(&s);
    if (rc != TP_OK)
        return tp_fail(ctx, rc, "template_encode: %s",
                       rc == TP_ENOMEM ? "out of memory" : "a pattern of the tokenizer takes too many steps") != NULL;
    return ok;
}
