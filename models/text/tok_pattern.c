/*
 * tok_pattern.c - regular expressions of a tokenizer.json.  They are written for Oniguruma in its Ruby syntax; PCRE2
 * differs in what \s, \w, \h, ^, $ and the option m stand for, so those are rewritten.
 */
#include "models/text/tok.h"

#include <string.h>

const char *const tpi_gpt2_pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char *const tpi_word_pattern = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\x{200c}\\x{200d}\\s]+";

/* PCRE2 counts U+180E as white space, and no combining marks as parts of words; the last four are letters in circles
 * and squares. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"
#define WORD                                                                                                        \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{" \
    "1f189}"
#define HEX "0-9a-fA-F"

typedef struct reader {
    tp_ctx     *ctx;
    const char *what, *s;
    size_t      n, i;
    bool class;    /* inside [...] */
    bool    begun; /* right behind [ or [^, where ] is a character */
    tp_text out;
} reader;

static bool put(reader *r, const char *s, size_t n)
{
    if (tpi_text_add(&r->out, s, n) == TP_OK)
        return true;
    (void)tp_fail(r->ctx, TP_ENOMEM, "%s: out of memory", r->what);
    return false;
}

static bool put_text(reader *r, const char *s)
{
    return put(r, s, strlen(s));
}

static bool refuse(reader *r, const char *why)
{
    (void)tp_fail(r->ctx, TP_EFORMAT, "%s: the regular expression has %s at byte %zu, which is not supported", r->what,
                  why, r->i);
    return false;
}

/* A set as an atom, or as a part of the class that is open. */
static bool put_set(reader *r, const char *set, bool negated)
{
    if (r->class)
        return put_text(r, set);
    return put_text(r, negated ? "[^" : "[") && put_text(r, set) && put_text(r, "]");
}

static bool escape(reader *r)
{
    char c = r->i + 1 < r->n ? r->s[r->i + 1] : '\0';

    r->i += 2;
    if (c == 's' || (c == 'S' && !r->class))
        return put_set(r, SPACE, c == 'S');
    if (c == 'w' || (c == 'W' && !r->class))
        return put_set(r, WORD, c == 'W');
    if (c == 'h' || (c == 'H' && !r->class))
        return put_set(r, HEX, c == 'H');
    if (c == 'u' && r->i + 4 <= r->n) {
        r->i += 4;
        return put_text(r, "\\x{") && put(r, r->s + r->i - 4, 4) && put_text(r, "}");
    }
    if (c != '\0' && strchr("pPxokg", c) != NULL && r->i < r->n && r->s[r->i] == '{') {
        const char *end = memchr(r->s + r->i, '}', r->n - r->i);
        size_t      n = end ? (size_t)(end - (r->s + r->i)) + 1 : 0;

        r->i += n;
        return put(r, r->s + r->i - n - 2, n + 2);
    }
    if (c == '\0')
        return put(r, r->s + r->i - 2, r->i <= r->n ? 2 : 1);
    return put(r, r->s + r->i - 2, 2);
}

static bool in_class(reader *r)
{
    const char *s = r->s + r->i;
    size_t      left = r->n - r->i;
    bool        begun = r->begun;

    r->begun = false;
    if (s[0] == '\\')
        return escape(r);
    if (left >= 2 && s[0] == '&' && s[1] == '&')
        return refuse(r, "an intersection of classes");
    if (s[0] == '[') {
        const char *end = left >= 4 && s[1] == ':' ? memmem(s + 2, left - 2, ":]", 2) : NULL;
        size_t      n = end ? (size_t)(end - s) + 2 : 0;

        r->i += n;
        return end ? put(r, s, n) : refuse(r, "a class inside a class");
    }
    if (s[0] == ']' && !begun)
        r->class = false;
    r->i++;
    return put(r, s, 1);
}

/* (?i), (?m:...), (?i-m: ...: Ruby's m is PCRE2's s.  Everything else after (? is the same. */
static bool group(reader *r)
{
    size_t i = r->i + 2;

    while (i < r->n && strchr("imx-", r->s[i]) != NULL && r->s[i] != '\0')
        i++;
    if (i == r->i + 2 || i >= r->n || (r->s[i] != ':' && r->s[i] != ')'))
        i = r->i + 2;
    if (!put_text(r, "(?"))
        return false;
    for (r->i += 2; r->i < i; r->i++)
        if (!put(r, r->s[r->i] == 'm' ? "s" : r->s + r->i, 1))
            return false;
    return true;
}

/* {,n} is {0,n}; {n,m}+ repeats in Ruby and is possessive in PCRE2. */
static bool braces(reader *r)
{
    const char *s = r->s + r->i, *end = memchr(s, '}', r->n - r->i);
    size_t      n = end ? (size_t)(end - s) + 1 : 1;

    if (end != NULL && r->i + n < r->n && s[n] == '+')
        return refuse(r, "a + behind {}");
    r->i += n;
    if (n > 2 && s[1] == ',')
        return put_text(r, "{0") && put(r, s + 1, n - 1);
    return put(r, s, n);
}

static bool outside(reader *r)
{
    const char *s = r->s + r->i;

    if (s[0] == '\\')
        return escape(r);
    if (s[0] == '(' && r->i + 2 < r->n && s[1] == '?')
        return group(r);
    if (s[0] == '{')
        return braces(r);
    r->i++;
    if (s[0] == '^' || s[0] == '$') /* ends of lines */
        return put_text(r, "(?m:") && put(r, s, 1) && put_text(r, ")");
    if (s[0] == '[') {
        r->class = r->begun = true;
        if (r->i < r->n && r->s[r->i] == '^') {
            r->i++;
            return put_text(r, "[^");
        }
    }
    return put(r, s, 1);
}

tpi_regex *tpi_tok_pattern(tp_ctx *ctx, const char *what, const char *pattern, size_t n)
{
    reader     r = { .ctx = ctx, .what = what, .s = pattern, .n = n };
    tpi_regex *re = NULL;
    bool       ok = n <= TPI_REGEX_MAX;

    if (!ok)
        return tp_fail(ctx, TP_EFORMAT, "%s: the pattern has %zu bytes, at most %d are taken", what, n, TPI_REGEX_MAX);
    while (ok && r.i < n)
        ok = r.class ? in_class(&r) : outside(&r);
    if (ok)
        re = tpi_regex_new(ctx, what, r.out.p ? r.out.p : "", r.out.n);
    tp_text_free(&r.out);
    return re;
}

tpi_regex *tpi_tok_literal(tp_ctx *ctx, const char *what, const char *text, size_t n)
{
    tp_text    t = { 0 };
    tpi_regex *re = NULL;
    tp_code    rc = TP_OK;

    if (n > TPI_REGEX_MAX / 2)
        return tp_fail(ctx, TP_EFORMAT, "%s: the text has %zu bytes, at most %d are taken", what, n, TPI_REGEX_MAX / 2);
    for (size_t i = 0; i < n && rc == TP_OK; i++) {
        if (text[i] != '\0' && strchr("\\^$.[]|()?*+{}#- ", text[i]) != NULL)
            rc = tpi_text_add(&t, "\\", 1);
        if (rc == TP_OK)
            rc = tpi_text_add(&t, text + i, 1);
    }
    if (rc == TP_OK)
        re = tpi_regex_new(ctx, what, t.p ? t.p : "", t.n);
    else
        (void)tp_fail(ctx, rc, "%s: out of memory", what);
    tp_text_free(&t);
    return re;
}
