/* tok_parts.c - normalizer, pre-tokenizer and decoder of a tokenizer.json: lists of steps. */
#include "models/text/tok.h"

#include <string.h>

/* What the reading of one part shares. */
typedef struct part {
    tp_ctx        *ctx;
    const char    *where; /* "tokenizer.json: normalizer" */
    tpi_tok_steps *steps;
    int            depth;
} part;

enum { DEPTH = 8 }; /* of sequences inside sequences */

typedef bool (*read_fn)(part *p, const tpi_json *j, const char *type);

/* Takes the texts and patterns of s over, also when it fails. */
static bool add(part *p, tpi_tok_step s)
{
    tpi_tok_steps *l = p->steps;

    if (tp_ok(p->ctx) && l->n >= TPI_STEPS_MAX)
        (void)tp_fail(p->ctx, TP_EFORMAT, "%s: has more than %d steps", p->where, TPI_STEPS_MAX);
    if (tp_ok(p->ctx) && tpi_grow(p->ctx, &l->step, &l->cap, l->n + 1, sizeof *l->step)) {
        l->step[l->n++] = s;
        return true;
    }
    tpi_regex_free(s.regex);
    tpi_free(s.text);
    return false;
}

static bool wrong_type(part *p, const char *type)
{
    (void)tp_fail(p->ctx, TP_EFORMAT, "%s: the type %s is not supported", p->where, type);
    return false;
}

static bool need(part *p, const tpi_json *j, const char *key, const char **s, size_t *n)
{
    *s = tpi_json_string(tpi_json_get(j, key), n);
    if (*s == NULL)
        (void)tp_fail(p->ctx, TP_EFORMAT, "%s: %s is missing or no text", p->where, key);
    return *s != NULL;
}

/* A list inside an object of type Sequence, or one step. */
static bool read_any(part *p, const tpi_json *j, const char *list, read_fn one)
{
    const char     *type;
    const tpi_json *l;
    bool            ok = true;
    size_t          n;

    if (tpi_json_is(j) != TPI_JSON_OBJECT || !need(p, j, "type", &type, &n))
        return tp_fail(p->ctx, TP_EFORMAT, "%s: expected an object with a type", p->where) != NULL;
    if (strcmp(type, "Sequence") != 0)
        return one(p, j, type);
    if (p->depth >= DEPTH)
        return tp_fail(p->ctx, TP_EFORMAT, "%s: sequences lie more than %d deep", p->where, DEPTH) != NULL;
    l = tpi_json_array(p->ctx, p->where, j, list, true);
    p->depth++;
    for (size_t i = 0; i < tpi_json_size(l) && ok; i++)
        ok = read_any(p, tpi_json_at(l, i), list, one);
    p->depth--;
    return ok && l != NULL;
}

static bool read_part(tp_ctx *ctx, const char *name, const char *what, const tpi_json *j, const char *list, read_fn one,
                      tpi_tok_steps *steps)
{
    part  p = { .ctx = ctx, .steps = steps };
    char *where;
    bool  ok;

    if (!tp_ok(ctx))
        return false;
    if (j == NULL)
        return true;
    where = tpi_format(ctx, "%s: %s", name, what);
    p.where = where;
    steps->there = true;
    ok = where != NULL && read_any(&p, j, list, one) && tp_ok(ctx);
    tpi_free(where);
    return ok;
}

/* {"String": ...} or {"Regex": ...}. */
static tpi_regex *read_pattern(part *p, const tpi_json *j)
{
    const tpi_json *o = tpi_json_object(p->ctx, p->where, j, "pattern", true);
    size_t          n;
    const char     *s = tpi_json_string(tpi_json_get(o, "String"), &n);

    if (s != NULL)
        return tpi_tok_literal(p->ctx, p->where, s, n);
    s = tpi_json_string(tpi_json_get(o, "Regex"), &n);
    if (s != NULL)
        return tpi_tok_pattern(p->ctx, p->where, s, n);
    return tp_ok(p->ctx) ? tp_fail(p->ctx, TP_EFORMAT, "%s: pattern has neither String nor Regex", p->where) : NULL;
}

static bool read_replace(part *p, const tpi_json *j)
{
    tpi_tok_step s = { .kind = TPI_STEP_REPLACE };
    const char  *text;

    if (!need(p, j, "content", &text, &s.n))
        return false;
    s.regex = read_pattern(p, j);
    s.text = tpi_strndup(p->ctx, text, s.n);
    return add(p, s);
}

/* ---- normalizers ------------------------------------------------------------------------------------------------- */

static bool read_normalizer(part *p, const tpi_json *j, const char *type)
{
    static const char *const form[] = {
        [TPI_NFC] = "NFC", [TPI_NFD] = "NFD", [TPI_NFKC] = "NFKC", [TPI_NFKD] = "NFKD"
    };
    tpi_tok_step s = { .kind = TPI_STEP_FORM };
    const char  *text;

    for (int f = TPI_NFC; f <= TPI_NFKD; f++) {
        if (strcmp(type, form[f]) == 0) {
            s.form = (tpi_form)f;
            return add(p, s);
        }
    }
    if (strcmp(type, "Lowercase") == 0 || strcmp(type, "StripAccents") == 0) {
        s.kind = type[0] == 'L' ? TPI_STEP_LOWER : TPI_STEP_NO_MARKS;
        return add(p, s);
    }
    if (strcmp(type, "Strip") == 0) {
        s.kind = TPI_STEP_STRIP;
        s.left = tpi_json_bool(p->ctx, p->where, j, "strip_left", false);
        s.right = tpi_json_bool(p->ctx, p->where, j, "strip_right", false);
        return add(p, s);
    }
    if (strcmp(type, "Prepend") == 0) {
        s.kind = TPI_STEP_PREPEND;
        if (!need(p, j, "prepend", &text, &s.n))
            return false;
        s.text = tpi_strndup(p->ctx, text, s.n);
        return add(p, s);
    }
    return strcmp(type, "Replace") == 0 ? read_replace(p, j) : wrong_type(p, type);
}

bool tpi_tok_read_normalizer(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps)
{
    return read_part(ctx, name, "normalizer", j, "normalizers", read_normalizer, steps);
}

/* ---- pre-tokenizers ---------------------------------------------------------------------------------------------- */

static bool read_behaviour(part *p, const tpi_json *j, tpi_tok_behaviour *b)
{
    static const char *const name[] = { [TPI_REMOVED] = "Removed",
                                        [TPI_ISOLATED] = "Isolated",
                                        [TPI_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [TPI_WITH_NEXT] = "MergedWithNext",
                                        [TPI_CONTIGUOUS] = "Contiguous" };
    const char              *s = tpi_json_text(p->ctx, p->where, j, "behavior", "Isolated");

    for (int i = TPI_REMOVED; i <= TPI_CONTIGUOUS && tp_ok(p->ctx); i++) {
        if (strcmp(s, name[i]) == 0) {
            *b = (tpi_tok_behaviour)i;
            return true;
        }
    }
    if (tp_ok(p->ctx))
        (void)tp_fail(p->ctx, TP_EFORMAT, "%s: the behavior %s is not supported", p->where, s);
    return false;
}

static bool split(part *p, tpi_regex *re, tpi_tok_behaviour b, bool invert)
{
    return add(p, (tpi_tok_step){ .kind = TPI_STEP_SPLIT, .behaviour = b, .invert = invert, .regex = re });
}

static bool split_class(part *p, tpi_char_class is, tpi_tok_behaviour b)
{
    return add(p, (tpi_tok_step){ .kind = TPI_STEP_CLASS, .behaviour = b, .is = is });
}

static bool read_split(part *p, const tpi_json *j)
{
    tpi_tok_behaviour b = TPI_ISOLATED;
    bool              invert = tpi_json_bool(p->ctx, p->where, j, "invert", false);

    return read_behaviour(p, j, &b) && split(p, read_pattern(p, j), b, invert);
}

static bool read_byte_level(part *p, const tpi_json *j)
{
    bool prefix = tpi_json_bool(p->ctx, p->where, j, "add_prefix_space", true);
    bool regex = tpi_json_bool(p->ctx, p->where, j, "use_regex", true);

    if (prefix && !add(p, (tpi_tok_step){ .kind = TPI_STEP_PREFIX }))
        return false;
    if (regex &&
        !split(p, tpi_tok_pattern(p->ctx, p->where, tpi_gpt2_pattern, strlen(tpi_gpt2_pattern)), TPI_ISOLATED, false))
        return false;
    return add(p, (tpi_tok_step){ .kind = TPI_STEP_BYTES });
}

/* The two dialects: prepend_scheme, and before it add_prefix_space. */
static bool read_metaspace(part *p, const tpi_json *j, bool decoder)
{
    static const char *const scheme[] = { [TPI_ALWAYS] = "always", [TPI_FIRST] = "first", [TPI_NEVER] = "never" };
    tpi_tok_step             s = { .kind = TPI_STEP_METASPACE, .scheme = TPI_NEVER };
    const char              *text, *wanted = tpi_json_text(p->ctx, p->where, j, "prepend_scheme", "always");
    bool                     cut = tpi_json_bool(p->ctx, p->where, j, "split", true);
    size_t                   one = 0;

    if (!need(p, j, "replacement", &text, &s.n) || !tp_ok(p->ctx))
        return false;
    if (s.n > 0)
        (void)tpi_utf8_next(text, &one);
    if (one != s.n || s.n == 0)
        return tp_fail(p->ctx, TP_EFORMAT, "%s: replacement is '%s', expected one character", p->where, text) != NULL;
    if (!tpi_json_bool(p->ctx, p->where, j, "add_prefix_space", true))
        wanted = "never";
    for (s.scheme = TPI_ALWAYS; s.scheme <= TPI_NEVER && strcmp(wanted, scheme[s.scheme]) != 0;)
        s.scheme++;
    if (s.scheme > TPI_NEVER)
        return tp_fail(p->ctx, TP_EFORMAT, "%s: the prepend_scheme %s is not supported", p->where, wanted) != NULL;
    s.text = tpi_strndup(p->ctx, text, s.n);
    if (!add(p, s))
        return false;
    return decoder || !cut || split(p, tpi_tok_literal(p->ctx, p->where, text, s.n), TPI_WITH_NEXT, false);
}

static bool read_pretok(part *p, const tpi_json *j, const char *type)
{
    tpi_tok_behaviour b = TPI_ISOLATED;

    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(p, j);
    if (strcmp(type, "Split") == 0)
        return read_split(p, j);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(p, j, false);
    if (strcmp(type, "Digits") == 0) {
        bool single = tpi_json_bool(p->ctx, p->where, j, "individual_digits", false);

        return split_class(p, tpi_is_digit, single ? TPI_ISOLATED : TPI_CONTIGUOUS);
    }
    if (strcmp(type, "Punctuation") == 0)
        return read_behaviour(p, j, &b) && split_class(p, tpi_is_punct, b);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return split_class(p, tpi_is_space, TPI_REMOVED);
    if (strcmp(type, "Whitespace") == 0)
        return split(p, tpi_tok_pattern(p->ctx, p->where, tpi_word_pattern, strlen(tpi_word_pattern)), TPI_REMOVED,
                     true);
    return wrong_type(p, type);
}

bool tpi_tok_read_pretok(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps)
{
    return read_part(ctx, name, "pre_tokenizer", j, "pretokenizers", read_pretok, steps);
}

/* ---- decoders ---------------------------------------------------------------------------------------------------- */

static bool read_strip(part *p, const tpi_json *j)
{
    tpi_tok_step s = { .kind = TPI_STEP_STRIP };
    const char  *text;

    if (!need(p, j, "content", &text, &s.n))
        return false;
    if (s.n == 0)
        return tp_fail(p->ctx, TP_EFORMAT, "%s: content is empty, expected one character", p->where) != NULL;
    s.left = (uint32_t)tpi_json_int(p->ctx, p->where, j, "start", 0, 0, 1 << 20);
    s.right = (uint32_t)tpi_json_int(p->ctx, p->where, j, "stop", 0, 0, 1 << 20);
    s.text = tpi_strndup(p->ctx, text, s.n);
    return add(p, s);
}

static bool read_decoder(part *p, const tpi_json *j, const char *type)
{
    if (strcmp(type, "ByteLevel") == 0)
        return add(p, (tpi_tok_step){ .kind = TPI_STEP_BYTES });
    if (strcmp(type, "ByteFallback") == 0)
        return add(p, (tpi_tok_step){ .kind = TPI_STEP_BYTE_TOKENS });
    if (strcmp(type, "Fuse") == 0)
        return add(p, (tpi_tok_step){ .kind = TPI_STEP_FUSE });
    if (strcmp(type, "Strip") == 0)
        return read_strip(p, j);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(p, j, true);
    return strcmp(type, "Replace") == 0 ? read_replace(p, j) : wrong_type(p, type);
}

bool tpi_tok_read_decoder(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps)
{
    return read_part(ctx, name, "decoder", j, "decoders", read_decoder, steps);
}
