/* jsonl.c - lines of a file, one after the other, in a buffer that holds one of them at a time. */
#include "models/text/jsonl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 256 << 10 };

bool tpi_jsonl_open(tp_ctx *ctx, tpi_jsonl *j, const char *path)
{
    *j = (tpi_jsonl){ .path = path };
    if (!tp_ok(ctx))
        return false;
    if (path == NULL)
        return tp_fail(ctx, TP_EARG, "data: the path is NULL") != NULL;
    j->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (j->fd < 0)
        return tp_fail(ctx, TP_EIO, "%s: cannot be opened: %s", path, strerror(errno)) != NULL;
    j->open = true;
    return true;
}

void tpi_jsonl_close(tpi_jsonl *j)
{
    if (j->open)
        (void)close(j->fd);
    tpi_free(j->buf);
    *j = (tpi_jsonl){ 0 };
}

/* Reads on behind what is there; false after a failure. */
static bool fill(tp_ctx *ctx, tpi_jsonl *j)
{
    ssize_t got;

    if (j->begin > 0) {
        memmove(j->buf, j->buf + j->begin, j->end - j->begin);
        j->end -= j->begin;
        j->begin = 0;
    }
    if (!tpi_grow(ctx, &j->buf, &j->cap, j->end + CHUNK, 1))
        return false;
    do
        got = read(j->fd, j->buf + j->end, CHUNK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return tp_fail(ctx, TP_EIO, "%s: cannot be read: %s", j->path, strerror(errno)) != NULL;
    j->ended = got == 0;
    j->end += (size_t)got;
    return true;
}

/* The next line without its end, which may stand in j->buf until the next call; NULL at the end or after a failure. */
static const char *next_line(tp_ctx *ctx, tpi_jsonl *j, size_t *n)
{
    size_t      seen = 0; /* bytes of the line that hold no \n */
    const char *s, *stop = NULL;

    for (;;) {
        if (j->end - j->begin > seen)
            stop = memchr(j->buf + j->begin + seen, '\n', j->end - j->begin - seen);
        seen = stop ? (size_t)(stop - j->buf) - j->begin : j->end - j->begin;
        if (stop != NULL || j->ended || seen > TPI_LINE_MAX)
            break;
        if (!fill(ctx, j))
            return NULL;
    }
    if (stop == NULL && seen == 0)
        return NULL;
    j->line++;
    if (seen > TPI_LINE_MAX)
        return tp_fail(ctx, TP_EFORMAT, "%s:%lld:1: the line has more than %d MiB", j->path, (long long)j->line,
                       TPI_LINE_MAX >> 20);
    s = j->buf + j->begin;
    j->begin += seen + (stop != NULL);
    *n = seen;
    if (j->line == 1 && seen >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        s += 3;
        *n -= 3;
    }
    return s;
}

static bool is_blank(const char *s, size_t n)
{
    while (n > 0 && (*s == ' ' || *s == '\t' || *s == '\r')) {
        s++;
        n--;
    }
    return n == 0;
}

/* jansson quotes what it read: only what can be printed goes into the message. */
static void make_printable(char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
            *s = '?';
}

tpi_json *tpi_jsonl_next(tp_ctx *ctx, tpi_jsonl *j)
{
    const char    *s;
    size_t         n = 0;
    tpi_json      *tree;
    tpi_json_error e;

    if (!tp_ok(ctx) || !j->open)
        return NULL;
    while ((s = next_line(ctx, j, &n)) != NULL && is_blank(s, n))
        j->blank++;
    if (s == NULL)
        return NULL;
    tree = tpi_json_parse_raw(s, n, &e);
    if (tree == NULL) {
        make_printable(e.text);
        return tp_fail(ctx, e.code, "%s:%lld:%d: %s", j->path, (long long)j->line, e.column, e.text);
    }
    if (tpi_json_is(tree) == TPI_JSON_OBJECT)
        return tree;
    (void)tp_fail(ctx, TP_EFORMAT, "%s:%lld:1: the line is %s, expected an object", j->path, (long long)j->line,
                  tpi_json_kind_name(tpi_json_is(tree)));
    tpi_json_free(tree);
    return NULL;
}
