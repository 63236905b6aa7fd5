/* pattern.c - see pattern.h. */
#include "nn/pattern.h"
#include "core/regex.h"

#include <string.h>

typedef struct {
    char      *text;
    tpi_regex *re;
    bool       hit;
} alternative;

struct tpi_pattern {
    char        *what, *text;
    alternative *alt;
    size_t       n, cap;
};

static bool add_alternative(tp_ctx *ctx, tpi_pattern *p, const char *s, size_t n)
{
    alternative *a;

    if (!tpi_grow(ctx, &p->alt, &p->cap, p->n + 1, sizeof *p->alt))
        return false;
    a = &p->alt[p->n++];
    *a = (alternative){ NULL, NULL, false };
    a->text = tpi_strndup(ctx, s, n);
    a->re = a->text ? tpi_regex_new(ctx, p->what, s, n) : NULL;
    return a->re != NULL;
}

/* The bracket that ends the class at s, or the end of the text. */
static const char *class_end(const char *s)
{
    s += s[1] == '^' ? 2 : 1;
    for (s += *s == ']'; *s != '\0' && *s != ']'; s++) {
        const char *posix = s[0] == '[' && s[1] == ':' ? strstr(s, ":]") : NULL;

        s = posix ? posix + 1 : *s == '\\' && s[1] != '\0' ? s + 1 : s;
    }
    return s;
}

/* "a|(b|c)|d" has three alternatives; escapes and classes are skipped over. */
static bool split(tp_ctx *ctx, tpi_pattern *p)
{
    const char *from = p->text, *s = p->text;
    int         depth = 0;

    for (; *s != '\0'; s++) {
        if (*s == '[')
            s = class_end(s);
        else if (*s == '\\' && s[1] != '\0')
            s++;
        else if (*s == '(')
            depth++;
        else if (*s == ')')
            depth--;
        else if (*s == '|' && depth == 0) {
            if (!add_alternative(ctx, p, from, (size_t)(s - from)))
                return false;
            from = s + 1;
        }
        if (*s == '\0')
            break;
    }
    return add_alternative(ctx, p, from, (size_t)(s - from));
}

tpi_pattern *tpi_pattern_new(tp_ctx *ctx, const char *what, const char *text)
{
    tpi_pattern *p;

    if (!tp_ok(ctx))
        return NULL;
    if (text == NULL || text[0] == '\0')
        return tp_fail(ctx, TP_EARG, "%s: an empty pattern", what);
    p = tpi_alloc(ctx, 1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->what = tpi_strdup(ctx, what);
    p->text = tpi_strdup(ctx, text);
    if (p->what != NULL && p->text != NULL && split(ctx, p))
        return p;
    tpi_pattern_free(p);
    return NULL;
}

void tpi_pattern_free(tpi_pattern *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n; i++) {
        tpi_free(p->alt[i].text);
        tpi_regex_free(p->alt[i].re);
    }
    tpi_free(p->alt);
    tpi_free(p->what);
    tpi_free(p->text);
    tpi_free(p);
}

static bool path_or_suffix(tp_ctx *ctx, const tpi_pattern *p, const alternative *a, const char *path)
{
    for (const char *s = path; s != NULL; s = strchr(s, '.'), s = s ? s + 1 : NULL)
        if (tpi_regex_whole(ctx, p->what, a->re, s, strlen(s)))
            return true;
    return false;
}

bool tpi_pattern_matches(tp_ctx *ctx, tpi_pattern *p, const char *path)
{
    bool any = false;

    for (size_t i = 0; p != NULL && i < p->n && tp_ok(ctx); i++)
        if (path_or_suffix(ctx, p, &p->alt[i], path))
            any = p->alt[i].hit = true;
    return any;
}

bool tpi_pattern_check(tp_ctx *ctx, const tpi_pattern *p, const char *names)
{
    for (size_t i = 0; p != NULL && i < p->n && tp_ok(ctx); i++)
        if (!p->alt[i].hit)
            tp_fail(ctx, TP_EARG, "%s: '%s' matches nothing%s%s", p->what, p->alt[i].text,
                    names && names[0] ? "; there are: " : "", names ? names : "");
    return tp_ok(ctx);
}

/* ---- names that exist -------------------------------------------------------------------------------------------- */

static bool has_word(const char *text, const char *word, size_t n)
{
    for (const char *s = text; *s != '\0'; s += strspn(s, " ")) {
        size_t len = strcspn(s, " ");

        if (len == n && strncmp(s, word, n) == 0)
            return true;
        s += len;
    }
    return false;
}

void tpi_names_add(tpi_names *n, const char *path, int parts)
{
    size_t      used = strlen(n->text), len;
    const char *s = path + strlen(path);

    while (s > path && (s[-1] != '.' || --parts > 0))
        s--;
    len = strlen(s);
    if (len == 0 || has_word(n->text, s, len) || has_word(n->text, "...", 3))
        return;
    if (used + len + 6 > sizeof n->text)
        s = "...";
    snprintf(n->text + used, sizeof n->text - used, "%s%s", used ? " " : "", s);
}
