/*
 * template.h - how the turns of a conversation are written as one text, and which of it is trained on.
 *
 * Chat templates are programs in Jinja; Tapir does not run them but knows the common ones, and writes what they would
 * write:
 *
 *   model        the one that came with the tokenizer, recognised by its text; "none", with a note, when none came
 *   chatml       <|im_start|>ROLE\nTEXT<|im_end|>\n for each turn, nothing else
 *   alpaca       "### Instruction:" and "### Response:" below a fixed opening; eos ends an answer
 *   none         the texts as they are, tokenised apart; eos ends an answer
 *   smollm2, qwen2, qwen2.5   chatml with their default system turn
 *   llama2, llama3, llama3.1, mistral-v1, mistral-v3, zephyr
 */
#ifndef TP_TEMPLATE_H
#define TP_TEMPLATE_H

#include "models/text/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* role: "system", "user", "assistant", or "input": more of the user's turn before it (alpaca's "### Input:"). */
typedef struct tp_turn {
    const char *role, *text;
    size_t      n; /* bytes of text */
} tp_turn;

/* A part of the rendered text. */
typedef struct tp_span {
    size_t  at, n;
    int32_t id;      /* the span is this one token; -1: text, in which special tokens are plain text */
    bool    control; /* written by the template, not by somebody */
    bool    trained; /* an assistant's text or the token that ends it */
} tp_span;

/* Starts with zeros: `tp_spans spans = { 0 };`. */
typedef struct tp_spans {
    tp_text  text;
    tp_span *span;
    size_t   n, cap;
} tp_spans;

/* Makes it empty again; NULL is allowed. */
TP_API void tp_spans_free(tp_spans *spans);

typedef struct tp_template tp_template;

/*
 * tp_template_new: the template of that name for tok
 *
 *   tok     must outlive the template
 *   name    one of the list above; NULL is "model"
 *   returns the caller's, for tp_template_free
 *   fails   TP_EARG for a name that is not known (with those that are) and for a tokenizer without the tokens that the
 * template needs; TP_EFORMAT for "model" when the text that came with the tokenizer is not recognised
 */
TP_API tp_template *tp_template_new(tp_ctx *ctx, const tp_tokenizer *tok, const char *name);
TP_API void         tp_template_free(tp_template *t);
/* The name of the template that is used: for "model" that of the one recognised. */
TP_API const char *tp_template_name(const tp_template *t);

/*
 * tp_template_render: appends turn[0..n) to *spans
 *
 *   open    write the opening of an assistant's turn at the end, for a model to go on with
 *   fails   TP_EARG for a role that is not known, or an order of turns that the template refuses
 */
TP_API bool tp_template_render(tp_ctx *ctx, const tp_template *t, const tp_turn *turn, size_t n, bool open,
                               tp_spans *spans);

/*
 * tp_template_encode: the same as token ids
 *
 *   ids      appended to; equal to those of the rendered text as a whole, but for two things: special tokens written in
 * turns are plain text, and what is trained on begins with a token of its own (as it does when a model has just written
 * what stands before it) trained  gets 1 for each id that is trained on and 0 for the others; may be NULL
 */
TP_API bool tp_template_encode(tp_ctx *ctx, const tp_template *t, const tp_turn *turn, size_t n, bool open, tp_ids *ids,
                               tp_ids *trained);

#ifdef __cplusplus
}
#endif
#endif
