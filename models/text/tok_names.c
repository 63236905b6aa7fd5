/* tok_names.c - what GGUF calls the way in which a tokenizer.json splits a text. */
#include "models/text/tok.h"

#include <string.h>

static const char mark[] = "\xe2\x96\x81"; /* U+2581 stands for a space */

static bool is_type(const tpi_json *j, const char *type)
{
    const char *s = tpi_json_string(tpi_json_get(j, "type"), NULL);

    return s != NULL && strcmp(s, type) == 0;
}

static bool is_text(const tpi_json *j, const char *key, const char *want)
{
    const char *s = tpi_json_string(tpi_json_get(j, key), NULL);

    return s != NULL && strcmp(s, want) == 0;
}

/* Step i of a Sequence under `key`, or the one step that j is; NULL beyond the last. */
static const tpi_json *step(const tpi_json *j, const char *key, size_t i)
{
    if (!is_type(j, "Sequence"))
        return i == 0 ? j : NULL;
    return tpi_json_at(tpi_json_get(j, key), i);
}

/* ---- byte-level BPE ---------------------------------------------------------------------------------------------- */

static bool is_split(const tpi_json *j, const char *regex)
{
    return is_type(j, "Split") && is_text(tpi_json_get(j, "pattern"), "Regex", regex) &&
           is_text(j, "behavior", "Isolated") && !tpi_json_true(tpi_json_get(j, "invert"));
}

static bool is_bytes(const tpi_json *j, bool regex)
{
    const tpi_json *use = tpi_json_get(j, "use_regex");

    return is_type(j, "ByteLevel") && !tpi_json_true(tpi_json_get(j, "add_prefix_space")) &&
           (use == NULL || tpi_json_true(use)) == regex;
}

/* ByteLevel splits as GPT-2 does by itself, when it is told to. */
static bool splits_as(const tpi_json *j, const tpi_tok_pre *p)
{
    size_t i = 0;
    int    k;

    if (p->digits && !(is_type(step(j, "pretokenizers", i), "Digits") &&
                       tpi_json_true(tpi_json_get(step(j, "pretokenizers", i), "individual_digits"))))
        return false;
    i += p->digits;
    for (k = 0; k < 4 && p->split[k] != NULL; k++, i++) {
        const tpi_json *s = step(j, "pretokenizers", i);

        if (is_bytes(s, true) && strcmp(p->split[k], tpi_gpt2_pattern) == 0)
            return step(j, "pretokenizers", i + 1) == NULL;
        if (!is_split(s, p->split[k]))
            return false;
    }
    return is_bytes(step(j, "pretokenizers", i), false) && step(j, "pretokenizers", i + 1) == NULL;
}

const char *tpi_tok_pre_name(const tpi_json *tree)
{
    const tpi_json *pretok = tpi_json_get(tree, "pre_tokenizer"), *normalizer = tpi_json_get(tree, "normalizer");
    bool            ignore = tpi_json_true(tpi_json_get(tpi_json_get(tree, "model"), "ignore_merges"));

    if (normalizer != NULL && !is_type(normalizer, "NFC"))
        return NULL;
    for (size_t i = 0; i < tpi_tok_n_pres; i++) {
        const tpi_tok_pre *p = &tpi_tok_pres[i];

        if (p->nfc == (normalizer != NULL) && p->ignore_merges == ignore && splits_as(pretok, p))
            return p->name;
    }
    return NULL;
}

/* ---- SentencePiece ----------------------------------------------------------------------------------------------- */

/* Prepend and Replace, as Llama 2 has them: 1 with a space in front, 0 without, -1: another normalizer. */
static int replaces(const tpi_json *j)
{
    bool            prepend = is_type(step(j, "normalizers", 0), "Prepend");
    const tpi_json *r = step(j, "normalizers", prepend);

    if (prepend && !is_text(step(j, "normalizers", 0), "prepend", mark))
        return -1;
    if (!is_type(r, "Replace") || !is_text(tpi_json_get(r, "pattern"), "String", " ") || !is_text(r, "content", mark))
        return -1;
    return step(j, "normalizers", (size_t)prepend + 1) == NULL ? prepend : -1;
}

int tpi_tok_pieces(const tpi_json *tree)
{
    const tpi_json *pretok = tpi_json_get(tree, "pre_tokenizer"), *normalizer = tpi_json_get(tree, "normalizer");
    const tpi_json *split = tpi_json_get(pretok, "split");

    if (!tpi_json_true(tpi_json_get(tpi_json_get(tree, "model"), "byte_fallback")))
        return -1;
    if (pretok == NULL)
        return replaces(normalizer);
    if (normalizer != NULL || !is_type(pretok, "Metaspace") || !is_text(pretok, "replacement", mark) || split == NULL ||
        tpi_json_true(split))
        return -1;
    return !is_text(pretok, "prepend_scheme", "never");
}
