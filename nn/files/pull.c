/*
 * pull.c - a strict reader of JSON: what RFC 8259 does not allow is refused, and lone surrogates and NUL besides.
 */
#include "nn/files/pull.h"

#include "nn/files/filetable.h"

#include <string.h>

enum { DEPTH = 64 };

bool tpi_pull_fail(tpi_pull *j, const char *why)
{
    if (!j->error)
        j->error = why;
    return false;
}

bool tpi_pull_begin(tpi_pull *j, char *text, size_t n)
{
    *j = (tpi_pull){ .start = text, .at = text, .end = text + n };
    return tpi_utf8_ok(text, n) || tpi_pull_fail(j, "bytes that are not UTF-8");
}

static void skip_space(tpi_pull *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

/* Takes c, after white space, if it comes next. */
static bool take(tpi_pull *j, char c)
{
    skip_space(j);
    if (j->error || j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

bool tpi_pull_open(tpi_pull *j, char bracket)
{
    j->first = true;
    return take(j, bracket) || tpi_pull_fail(j, bracket == '{' ? "expected an object" : "expected an array");
}

bool tpi_pull_more(tpi_pull *j, char closing)
{
    bool first = j->first;

    j->first = false;
    if (take(j, closing))
        return false;
    return first ? !j->error : take(j, ',') || tpi_pull_fail(j, "expected a comma or the closing bracket");
}

/* ---- strings --------------------------------------------------------------------------------------------------------- */

static int hex4(const char *p, const char *end)
{
    int v = 0, i;

    if (end - p < 4)
        return -1;
    for (i = 0; i < 4; i++) {
        int c = (unsigned char)p[i], d = c >= '0' && c <= '9'                 ? c - '0'
                                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                                              : -1;

        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* The code point after "\u", of which at most 12 bytes are taken ("XXXX\uXXXX"); -1 when it is none that may stand
 * there. */
static int code_point(tpi_pull *j)
{
    int a = hex4(j->at, j->end), b;

    if (a <= 0 || (a >= 0xdc00 && a <= 0xdfff))
        return -1;
    j->at += 4;
    if (a < 0xd800 || a > 0xdfff)
        return a;
    if (j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u')
        return -1;
    b = hex4(j->at + 2, j->end);
    if (b < 0xdc00 || b > 0xdfff)
        return -1;
    j->at += 6;
    return 0x10000 + ((a - 0xd800) << 10) + (b - 0xdc00);
}

static char *put_utf8(char *to, int c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xe0 | c >> 12);
        } else {
            *to++ = (char)(0xf0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 63));
        }
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

/* The escape at j->at (after the backslash) to `to`; NULL when it is none.  What is written is never longer than what
 * is read. */
static char *escape(tpi_pull *j, char *to)
{
    static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char       *hit;
    int               c;

    if (j->at == j->end)
        return NULL;
    c = (unsigned char)*j->at++;
    if (c == 'u') {
        c = code_point(j);
        return c < 0 ? NULL : put_utf8(to, c);
    }
    hit = c ? strchr(from, c) : NULL;
    if (!hit)
        return NULL;
    *to = means[hit - from];
    return to + 1;
}

bool tpi_pull_string(tpi_pull *j, char **s, size_t *n)
{
    char *to;

    if (!take(j, '"'))
        return tpi_pull_fail(j, "expected a string");
    *s = to = j->at;
    while (j->at < j->end && *j->at != '"') {
        if ((unsigned char)*j->at < 0x20)
            return tpi_pull_fail(j, "a control character in a string");
        if (*j->at != '\\') {
            *to++ = *j->at++;
            continue;
        }
        j->at++;
        to = escape(j, to);
        if (!to)
            return tpi_pull_fail(j, "a bad escape in a string");
    }
    if (j->at == j->end)
        return tpi_pull_fail(j, "a string without its end");
    j->at++;
    *to = '\0'; /* at the closing quote or before it */
    *n = (size_t)(to - *s);
    return true;
}

bool tpi_pull_key(tpi_pull *j, char **s, size_t *n)
{
    return tpi_pull_string(j, s, n) && (take(j, ':') || tpi_pull_fail(j, "expected a colon"));
}

/* ---- numbers and the rest ---------------------------------------------------------------------------------------------- */

static bool digit(const tpi_pull *j)
{
    return j->at < j->end && *j->at >= '0' && *j->at <= '9';
}

bool tpi_pull_uint(tpi_pull *j, int64_t *v)
{
    const char *start;

    skip_space(j);
    start = j->at;
    *v = 0;
    while (!j->error && digit(j))
        if (__builtin_mul_overflow(*v, (int64_t)10, v) || __builtin_add_overflow(*v, (int64_t)(*j->at++ - '0'), v))
            return tpi_pull_fail(j, "an integer beyond 63 bits");
    if (j->at == start || (*start == '0' && j->at > start + 1) ||
        (j->at < j->end && (*j->at == '.' || (*j->at | 32) == 'e')))
        return tpi_pull_fail(j, "expected a non-negative integer");
    return true;
}

static bool skip_digits(tpi_pull *j)
{
    const char *start = j->at;

    while (digit(j))
        j->at++;
    return j->at > start;
}

static bool skip_number(tpi_pull *j)
{
    bool ok;

    if (j->at < j->end && *j->at == '-')
        j->at++;
    if (j->at < j->end && *j->at == '0') {
        j->at++;
        ok = true;
    } else {
        ok = skip_digits(j);
    }
    if (ok && j->at < j->end && *j->at == '.') {
        j->at++;
        ok = skip_digits(j);
    }
    if (ok && j->at < j->end && (*j->at | 32) == 'e') {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        ok = skip_digits(j);
    }
    return ok || tpi_pull_fail(j, "expected a value");
}

static bool skip_scalar(tpi_pull *j)
{
    static const char *const words[] = { "true", "false", "null" };
    char  *s;
    size_t n, i;

    skip_space(j);
    if (j->at < j->end && *j->at == '"')
        return tpi_pull_string(j, &s, &n);
    for (i = 0; i < 3; i++) {
        n = strlen(words[i]);
        if ((size_t)(j->end - j->at) >= n && memcmp(j->at, words[i], n) == 0) {
            j->at += n;
            return true;
        }
    }
    return skip_number(j);
}

/* A stack of the closing brackets that are due stands in for recursion. */
bool tpi_pull_skip(tpi_pull *j)
{
    char   due[DEPTH + 1], *s;
    int    depth = 0;
    size_t n;

    for (;;) {
        bool object = take(j, '{'), array = !object && take(j, '[');

        if (object || array) {
            if (depth == DEPTH)
                return tpi_pull_fail(j, "nested too deep");
            due[depth++] = object ? '}' : ']';
            j->first = true;
        } else if (!skip_scalar(j)) {
            return false;
        }
        while (depth > 0 && !tpi_pull_more(j, due[depth - 1])) {
            if (j->error)
                return false;
            depth--;
        }
        if (depth == 0)
            return !j->error;
        if (due[depth - 1] == '}' && !tpi_pull_key(j, &s, &n))
            return false;
    }
}

bool tpi_pull_end(tpi_pull *j, char padding)
{
    if (padding)
        while (!j->error && j->at < j->end && *j->at == padding)
            j->at++;
    else
        skip_space(j);
    return !j->error && (j->at == j->end || tpi_pull_fail(j, "something after the end of the value"));
}
