/* template_find.c - the templates there are, and recognising one by its text. */
#include "models/text/template_internal.h"

#include <string.h>

static const char smollm2_system[] = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
static const char qwen2_system[] = "You are a helpful assistant";
static const char qwen25_system[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
static const char llama31_date[] = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

const char *const tpi_template_names =
    "model, none, chatml, alpaca, smollm2, qwen2, qwen2.5, llama2, llama3, llama3.1, mistral-v1, mistral-v3, zephyr";

static const tpi_variant variants[] = {
    { .name = "none", .family = TPI_TPL_NONE, .own = true },
    { .name = "chatml", .family = TPI_TPL_CHATML, .own = true },
    { .name = "alpaca", .family = TPI_TPL_ALPACA, .own = true },
    { .name = "smollm2", .family = TPI_TPL_CHATML, .system = smollm2_system },
    { .name = "qwen2", .family = TPI_TPL_CHATML, .system = qwen2_system },
    { .name = "qwen2.5", .family = TPI_TPL_CHATML, .system = qwen25_system },
    { .name = "llama2", .family = TPI_TPL_LLAMA2, .bos = true, .trim = true },
    { .name = "llama3", .family = TPI_TPL_LLAMA3, .bos = true, .trim = true },
    { .name = "llama3.1", .family = TPI_TPL_LLAMA3, .bos = true, .trim = true, .date = llama31_date },
    { .name = "mistral-v1", .family = TPI_TPL_MISTRAL, .bos = true, .open = " ", .close = " ", .lead = "", .tail = "" },
    { .name = "mistral-v3",
      .family = TPI_TPL_MISTRAL,
      .bos = true,
      .open = " ",
      .close = "",
      .lead = " ",
      .tail = "",
      .trim = true,
      .place = TPI_SYSTEM_IN_LAST },
    { .name = "zephyr", .family = TPI_TPL_ZEPHYR },
};

const tpi_variant *tpi_template_named(const char *name)
{
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (strcmp(variants[i].name, name) == 0)
            return &variants[i];
    return NULL;
}

/* ---- recognising ------------------------------------------------------------------------------------------------- */

static bool has(const char *text, const char *mark)
{
    return strstr(text, mark) != NULL;
}

static bool trims(const char *text)
{
    return has(text, "|trim") || has(text, "| trim");
}

/* What a template of ours never holds: thinking, other ends of turns, newer ways to write a system turn. */
static bool foreign(const char *text)
{
    static const char *const mark[] = { "<think>", "enable_thinking",        "reasoning_content", "[SYSTEM_PROMPT]",
                                        "<|end|>", "<start_of_turn>",        "<|im_sep|>",        "<|channel|>",
                                        "<|eom|>", "<|START_OF_TURN_TOKEN|>" };

    for (size_t i = 0; i < sizeof mark / sizeof mark[0]; i++)
        if (has(text, mark[i]))
            return true;
    return false;
}

/* The text between the opening of a system turn and <|im_end|>, where both stand in one literal: the default system
 * turn.  A line break is written as such or as \n. */
static bool find_system(tp_ctx *ctx, const char *text, tp_template *t)
{
    static const char open[] = "<|im_start|>system", close[] = "<|im_end|>";

    for (const char *s = strstr(text, open); s != NULL; s = strstr(s, open)) {
        const char *end;

        s += sizeof open - 1;
        if (strncmp(s, "\\n", 2) == 0)
            s += 2;
        else if (*s == '\n')
            s++;
        else
            continue;
        end = strstr(s, close);
        if (end == NULL || memchr(s, '\'', (size_t)(end - s)) != NULL || memchr(s, '"', (size_t)(end - s)) != NULL ||
            end == s)
            continue;
        t->system = tpi_strndup(ctx, s, (size_t)(end - s));
        t->v.system = t->system;
        return t->system != NULL;
    }
    return true;
}

static bool chatml(tp_ctx *ctx, const char *text, tp_template *t)
{
    t->v =
        (tpi_variant){ .name = "chatml", .family = TPI_TPL_CHATML, .bos = has(text, "bos_token"), .trim = trims(text) };
    if (!has(text, "<|im_end|>") || !has(text, "add_generation_prompt") || !find_system(ctx, text, t))
        return false;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (t->v.system != NULL && variants[i].system != NULL && strcmp(variants[i].system, t->v.system) == 0)
            t->v.name = variants[i].name;
    return true;
}

static bool llama3(tp_ctx *ctx, const char *text, tp_template *t)
{
    bool dated = has(text, "Cutting Knowledge Date: December 2023");

    t->v = *tpi_template_named(dated ? "llama3.1" : "llama3");
    t->v.trim = trims(text);
    t->v.bos = has(text, "bos_token");
    if (dated && has(text, "strftime_now"))
        tp_message(ctx, TP_NOTE,
                   "template: it writes the day's date; here that is always 26 Jul 2024, so that runs can be repeated");
    return has(text, "<|eot_id|>") && (!dated || has(text, "26 Jul 2024"));
}

/* A system turn that the template puts in by itself. */
static bool has_default_system(const char *text)
{
    const char *s = strstr(text, "system_message = '");

    for (; s != NULL; s = strstr(s + 1, "system_message = '"))
        if (s[18] != '\'')
            return true;
    return false;
}

static bool llama2(const char *text, tp_template *t)
{
    t->v = *tpi_template_named("llama2");
    return has(text, "bos_token + '[INST] '") && has(text, "content.strip() + ' [/INST]'") &&
           has(text, "content.strip() + ' ' + eos_token") && !has_default_system(text);
}

/* The members of this family differ in blanks, in quotes, and in where a system turn goes. */
static bool mistral(const char *text, tp_template *t)
{
    bool old = has(text, "message['content'] + ' [/INST]'") || has(text, "message[\"content\"] + \" [/INST]\"");
    bool new = has(text, "message['content'] + '[/INST]'") || has(text, "message[\"content\"] + \"[/INST]\"");

    t->v = *tpi_template_named(old ? "mistral-v1" : "mistral-v3");
    t->v.place = has(text, "loop.last and system_message") ? TPI_SYSTEM_IN_LAST
                 : has(text, "system_message")             ? TPI_SYSTEM_IN_FIRST
                                                           : TPI_SYSTEM_REFUSED;
    t->v.open = has(text, "[INST] ") ? " " : "";
    t->v.lead = has(text, "' ' + message") || has(text, "\" \" + message") ? " " : "";
    t->v.tail = has(text, "eos_token + ' '") || has(text, "eos_token + \" \"") ? " " : "";
    t->v.trim = trims(text);
    t->v.bos = has(text, "bos_token");
    return old != new &&has(text, "eos_token") && !has_default_system(text);
}

bool tpi_template_recognise(tp_ctx *ctx, const char *text, tp_template *t)
{
    if (foreign(text))
        return false;
    if (has(text, "<|im_start|>"))
        return chatml(ctx, text, t);
    if (has(text, "<|start_header_id|>"))
        return llama3(ctx, text, t);
    if (has(text, "[INST]"))
        return has(text, "<<SYS>>") ? llama2(text, t) : mistral(text, t);
    if (!has(text, "<|user|>") || !has(text, "<|assistant|>") || !has(text, "eos_token }}\n"))
        return false;
    t->v = *tpi_template_named("zephyr");
    return true;
}
