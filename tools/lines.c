/* lines.c - see lines.h. */
#include "tools/lines.h"

#include <errno.h>
#include <string.h>

enum { LONGEST = 16 << 20 };

bool lines_open(tp_ctx *ctx, lines *l, const char *path)
{
    *l = (lines){ .name = path };
    if (!tp_ok(ctx))
        return false;
    l->f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (l->f == NULL)
        tp_fail(ctx, TP_EIO, "%s: %s", path, strerror(errno));
    return l->f != NULL;
}

bool lines_next(tp_ctx *ctx, lines *l)
{
    int ch = 0;

    l->n = 0;
    if (!tp_ok(ctx) || l->f == NULL)
        return false;
    while ((ch = getc_unlocked(l->f)) != EOF && ch != '\n') {
        if (l->n >= LONGEST) {
            tp_fail(ctx, TP_EFORMAT, "%s:%ld: the line is longer than 16 MiB", l->name, l->line + 1);
            return false;
        }
        if (!tpi_grow(ctx, &l->text, &l->cap, l->n + 2, 1))
            return false;
        l->text[l->n++] = (char)ch;
    }
    if (ferror(l->f)) {
        tp_fail(ctx, TP_EIO, "%s: %s", l->name, strerror(errno));
        return false;
    }
    if (ch == EOF && l->n == 0)
        return false;
    if (!tpi_grow(ctx, &l->text, &l->cap, l->n + 1, 1))
        return false;
    l->text[l->n] = '\0';
    l->line++;
    return true;
}

static bool blank(const lines *l)
{
    return strspn(l->text, " \t\r") == l->n;
}

tpi_json *lines_json(tp_ctx *ctx, lines *l)
{
    tpi_json_error err;
    tpi_json      *j;

    do {
        if (!lines_next(ctx, l))
            return NULL;
    } while (blank(l));
    j = tpi_json_parse_raw(l->text, l->n, &err);
    if (j == NULL)
        return tp_fail(ctx, err.code, "%s:%ld:%d: %s", l->name, l->line, err.column, err.text);
    if (tpi_json_is(j) == TPI_JSON_OBJECT)
        return j;
    tp_fail(ctx, TP_EFORMAT, "%s:%ld:1: a JSON %s, expected an object", l->name, l->line,
            tpi_json_kind_name(tpi_json_is(j)));
    tpi_json_free(j);
    return NULL;
}

void lines_close(lines *l)
{
    if (l->f != NULL && l->f != stdin)
        fclose(l->f);
    tpi_free(l->text);
    l->f = NULL;
    l->text = NULL;
}

void print_json_text(FILE *f, const char *s, size_t n)
{
    fputc('"', f);
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];

        if (ch == '"' || ch == '\\')
            fprintf(f, "\\%c", ch);
        else if (ch == '\n')
            fputs("\\n", f);
        else if (ch < 0x20 || ch == 0x7f)
            fprintf(f, "\\u%04x", ch);
        else
            fputc(ch, f);
    }
    fputc('"', f);
}
