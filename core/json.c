/* json.c - the house wrapper of jansson. */
#include "core/json.h"
#include "core/readfile.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

/* jansson's allocator is the process's: one of the named exceptions to "no global state".  It notes for its thread when
 * memory was refused, since jansson then tells any other error.  Its parser drops a character then and stops on an
 * assertion, so while a text is parsed a refusal is served from a reserve, which lasts until the parser has been told that
 * its input has ended. */
static pthread_once_t       json_once = PTHREAD_ONCE_INIT;
static _Thread_local bool   json_refused;
static _Thread_local char  *json_reserve;
static _Thread_local size_t json_reserve_size, json_reserve_used;

static void *allocate(size_t size)
{
    void  *p = tpi_raw_malloc(size);
    size_t room = (size + 15) & ~(size_t)15;

    json_refused = json_refused || p == NULL;
    if (p != NULL || json_reserve == NULL || room > json_reserve_size - json_reserve_used)
        return p;
    p = json_reserve + json_reserve_used;
    json_reserve_used += room;
    return p;
}

static void release(void *p)
{
    uintptr_t at = (uintptr_t)p, from = (uintptr_t)json_reserve;

    if (json_reserve == NULL || at < from || at >= from + json_reserve_size)
        tpi_raw_free(p);
}

static void set_allocator(void)
{
    json_set_alloc_funcs(allocate, release);
}

static void start(void)
{
    (void)pthread_once(&json_once, set_allocator);
    json_refused = false;
}

static json_t *in(const tpi_json *j)
{
    return (json_t *)(uintptr_t)j; /* jansson counts references even through const */
}

static tpi_json *out(json_t *j)
{
    return (tpi_json *)(void *)j;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

/* jansson recurses up to 2048 levels, so depth is looked at before it runs. */
static bool too_deep(const char *text, size_t n, tpi_json_error *err)
{
    int    depth = 0, line = 1;
    size_t begin = 0;
    bool   quoted = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (c == '\n') {
            line++;
            begin = i + 1;
        } else if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '[' || c == '{')) {
            if (++depth > TPI_JSON_DEPTH) {
                *err = (tpi_json_error){ TP_EFORMAT, line, (int)(i - begin < INT_MAX ? i - begin : INT_MAX - 1) + 1,
                                         "" };
                (void)snprintf(err->text, sizeof err->text, "nested deeper than %d", TPI_JSON_DEPTH);
                return true;
            }
        } else if (!quoted && (c == ']' || c == '}')) {
            depth--;
        }
    }
    return false;
}

/* Where the number that begins at s[i] ends; *large tells whether it is an integer that 63 bits do not hold. */
static size_t end_of_number(const char *s, size_t n, size_t i, bool *large)
{
    const char *limit = s[i] == '-' ? "9223372036854775808" : "9223372036854775807", *first = s + i + (s[i] == '-');
    size_t      digits = 0, from = i;

    for (; i < n && strchr("+-.eE0123456789", s[i]) != NULL && s[i] != '\0'; i++)
        digits += s[i] >= '0' && s[i] <= '9';
    *large = digits + (s[from] == '-') == i - from && (digits > 19 || (digits == 19 && memcmp(first, limit, 19) > 0));
    return i;
}

/* The text with "e0" behind each large integer, which makes a real number of it; NULL when memory is out. */
static char *large_to_real(const char *text, size_t n, size_t *out_n)
{
    char  *out = allocate(n + n / 8 + 3); /* those grow by 2 */
    size_t k = 0, i = 0;
    bool   quoted = false, large;

    while (out != NULL && i < n) {
        size_t end = i + 1;

        large = false;
        if (quoted && text[i] == '\\' && i + 1 < n)
            end++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')))
            end = end_of_number(text, n, i, &large);
        memcpy(out + k, text + i, end - i);
        k += end - i;
        if (large) {
            memcpy(out + k, "e0", 2);
            k += 2;
        }
        i = end;
    }
    *out_n = k;
    return out;
}

/* The text in pieces; none is left once memory was refused. */
typedef struct {
    const char *text;
    size_t      n;
} feed;

static size_t next_piece(void *buffer, size_t size, void *user)
{
    feed  *f = user;
    size_t n = json_refused ? 0 : f->n < size ? f->n : size;

    memcpy(buffer, f->text, n);
    f->text += n;
    f->n -= n;
    return n;
}

/* A value that the reserve holds a part of must not outlive it: none does, since a refusal ends in an error. */
static json_t *load_once(const char *text, size_t n, size_t flags, json_error_t *e)
{
    feed    f = { text, n };
    json_t *j;

    json_reserve_size = 2 * n + 65536;
    json_reserve_used = 0;
    json_reserve = tpi_raw_malloc(json_reserve_size);
    if (json_reserve == NULL) {
        json_refused = true;
        return NULL;
    }
    j = json_load_callback(next_piece, &f, flags, e);
    if (json_refused) {
        json_decref(j);
        j = NULL;
    }
    tpi_raw_free(json_reserve);
    json_reserve = NULL;
    return j;
}

static json_t *load(const char *text, size_t n, json_error_t *e)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t      *j = load_once(text, n, flags, e);
    char        *again;
    size_t       again_n;

    if (j != NULL || json_refused || json_error_code(e) != json_error_numeric_overflow)
        return j;
    again = large_to_real(text, n, &again_n);
    j = again ? load_once(again, again_n, flags, e) : NULL;
    tpi_raw_free(again);
    return j;
}

tpi_json *tpi_json_parse_raw(const char *text, size_t n, tpi_json_error *err)
{
    json_error_t e;
    json_t      *j;

    start();
    memset(&e, 0, sizeof e);
    if (too_deep(text, n, err))
        return NULL;
    j = load(text, n, &e);
    if (j != NULL && !json_refused)
        return out(j);
    json_decref(j);
    *err = (tpi_json_error){ TP_EFORMAT, e.line < 1 ? 1 : e.line, e.column < 1 ? 1 : e.column, "" };
    (void)snprintf(err->text, sizeof err->text, "%s", e.text);
    if (json_refused || json_error_code(&e) == json_error_out_of_memory) {
        err->code = TP_ENOMEM;
        (void)snprintf(err->text, sizeof err->text, "out of memory");
    }
    return NULL;
}

tpi_json *tpi_json_parse(tp_ctx *ctx, const char *name, const char *text, size_t n)
{
    tpi_json_error e;
    tpi_json      *j;

    if (!tp_ok(ctx))
        return NULL;
    if (text == NULL)
        return tp_fail(ctx, TP_EARG, "%s: there is no text to parse", name);
    j = tpi_json_parse_raw(text, n, &e);
    return j ? j : tp_fail(ctx, e.code, "%s:%d:%d: %s", name, e.line, e.column, e.text);
}

tpi_json *tpi_json_load(tp_ctx *ctx, const char *path, size_t max)
{
    size_t    n;
    char     *text = tpi_read_file(ctx, path, max, &n);
    tpi_json *j = text ? tpi_json_parse(ctx, path, text, n) : NULL;

    tpi_free(text);
    return j;
}

void tpi_json_free(tpi_json *j)
{
    json_decref(in(j));
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

tpi_json_kind tpi_json_is(const tpi_json *j)
{
    if (j == NULL)
        return TPI_JSON_NULL;
    switch (json_typeof(in(j))) {
    case JSON_OBJECT: return TPI_JSON_OBJECT;
    case JSON_ARRAY: return TPI_JSON_ARRAY;
    case JSON_STRING: return TPI_JSON_TEXT;
    case JSON_INTEGER: return TPI_JSON_INT;
    case JSON_REAL: return TPI_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return TPI_JSON_BOOL;
    case JSON_NULL: break;
    }
    return TPI_JSON_NULL;
}

const char *tpi_json_kind_name(tpi_json_kind k)
{
    static const char *const name[] = { "null",   "a truth value", "an integer", "a number",
                                        "a text", "an array",      "an object" };

    return name[k];
}

size_t tpi_json_size(const tpi_json *j)
{
    tpi_json_kind k = tpi_json_is(j);

    if (k == TPI_JSON_ARRAY)
        return json_array_size(in(j));
    return k == TPI_JSON_OBJECT ? json_object_size(in(j)) : 0;
}

const tpi_json *tpi_json_at(const tpi_json *array, size_t i)
{
    return array ? out(json_array_get(in(array), i)) : NULL;
}

const tpi_json *tpi_json_get(const tpi_json *object, const char *key)
{
    json_t *v = object ? json_object_get(in(object), key) : NULL;

    return v == NULL || json_is_null(v) ? NULL : out(v);
}

const tpi_json *tpi_json_get_n(const tpi_json *object, const char *key, size_t n)
{
    json_t *v = object ? json_object_getn(in(object), key, n) : NULL;

    return v == NULL || json_is_null(v) ? NULL : out(v);
}

bool tpi_json_next(const tpi_json *object, void **it, const char **key, const tpi_json **value)
{
    if (tpi_json_is(object) != TPI_JSON_OBJECT)
        return false;
    *it = *it ? json_object_iter_next(in(object), *it) : json_object_iter(in(object));
    if (*it == NULL)
        return false;
    *key = json_object_iter_key(*it);
    *value = out(json_object_iter_value(*it));
    return true;
}

const char *tpi_json_string(const tpi_json *j, size_t *n)
{
    const char *s = j ? json_string_value(in(j)) : NULL;

    if (n != NULL)
        *n = s ? json_string_length(in(j)) : 0;
    return s;
}

int64_t tpi_json_integer(const tpi_json *j)
{
    return j ? json_integer_value(in(j)) : 0;
}

double tpi_json_real(const tpi_json *j)
{
    return j && json_is_number(in(j)) ? json_number_value(in(j)) : (double)NAN;
}

bool tpi_json_true(const tpi_json *j)
{
    return j != NULL && json_is_true(in(j));
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static tpi_json *made(tp_ctx *ctx, json_t *j)
{
    return j ? out(j) : tp_fail(ctx, TP_ENOMEM, "json: out of memory");
}

tpi_json *tpi_json_new_object(tp_ctx *ctx)
{
    start();
    return made(ctx, json_object());
}

tpi_json *tpi_json_new_array(tp_ctx *ctx)
{
    start();
    return made(ctx, json_array());
}

tpi_json *tpi_json_new_text(tp_ctx *ctx, const char *s, size_t n)
{
    json_t *j;

    start();
    json_refused = false;
    j = s ? json_stringn(s, n) : NULL;
    if (j == NULL && !json_refused)
        return tp_fail(ctx, TP_EARG, "json: a text is not UTF-8");
    return made(ctx, j);
}

tpi_json *tpi_json_new_int(tp_ctx *ctx, int64_t v)
{
    start();
    return made(ctx, json_integer(v));
}

tpi_json *tpi_json_new_double(tp_ctx *ctx, double v)
{
    start();
    if (!isfinite(v))
        return tp_fail(ctx, TP_EARG, "json: a number is NaN or infinite");
    return made(ctx, json_real(v));
}

tpi_json *tpi_json_new_bool(tp_ctx *ctx, bool v)
{
    start();
    return made(ctx, json_boolean(v));
}

tpi_json *tpi_json_new_null(tp_ctx *ctx)
{
    start();
    return made(ctx, json_null());
}

bool tpi_json_set(tp_ctx *ctx, tpi_json *object, const char *key, tpi_json *value)
{
    return tpi_json_set_n(ctx, object, key, strlen(key), value);
}

bool tpi_json_set_n(tp_ctx *ctx, tpi_json *object, const char *key, size_t n, tpi_json *value)
{
    if (object == NULL || value == NULL) {
        tpi_json_free(value);
        return false;
    }
    start();
    if (json_object_setn_new(in(object), key, n, in(value)) == 0)
        return true;
    if (json_refused)
        (void)made(ctx, NULL);
    else
        (void)tp_fail(ctx, TP_EARG, "json: the name of a member is not UTF-8");
    return false;
}

bool tpi_json_set_text(tp_ctx *ctx, tpi_json *object, const char *key, const char *s)
{
    return tpi_json_set(ctx, object, key, tpi_json_new_text(ctx, s, s ? strlen(s) : 0));
}

bool tpi_json_set_int(tp_ctx *ctx, tpi_json *object, const char *key, int64_t v)
{
    return tpi_json_set(ctx, object, key, tpi_json_new_int(ctx, v));
}

bool tpi_json_set_double(tp_ctx *ctx, tpi_json *object, const char *key, double v)
{
    return tpi_json_set(ctx, object, key, tpi_json_new_double(ctx, v));
}

bool tpi_json_set_bool(tp_ctx *ctx, tpi_json *object, const char *key, bool v)
{
    return tpi_json_set(ctx, object, key, tpi_json_new_bool(ctx, v));
}

bool tpi_json_add(tp_ctx *ctx, tpi_json *array, tpi_json *value)
{
    if (array == NULL || value == NULL) {
        tpi_json_free(value);
        return false;
    }
    if (json_array_append_new(in(array), in(value)) == 0)
        return true;
    (void)tp_fail(ctx, TP_ENOMEM, "json: out of memory");
    return false;
}

tpi_json *tpi_json_copy(tp_ctx *ctx, const tpi_json *j)
{
    start();
    return j ? made(ctx, json_deep_copy(in(j))) : tpi_json_new_null(ctx);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

typedef struct sink {
    tp_ctx *ctx;
    char   *p;
    size_t  n, cap;
} sink;

static int put(const char *s, size_t n, void *user)
{
    sink *k = user;

    if (!tpi_grow(k->ctx, &k->p, &k->cap, k->n + n + 1, 1))
        return -1;
    memcpy(k->p + k->n, s, n);
    k->n += n;
    k->p[k->n] = '\0';
    return 0;
}

char *tpi_json_dump(tp_ctx *ctx, const tpi_json *j, int indent, size_t *n)
{
    sink   k = { .ctx = ctx };
    size_t flags = indent > 0 ? JSON_INDENT(indent) : 0;

    if (j == NULL)
        return tp_fail(ctx, TP_EARG, "json: there is nothing to write");
    if (json_dump_callback(in(j), put, &k, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) != 0) {
        tpi_free(k.p);
        return tp_fail(ctx, TP_ENOMEM, "json: out of memory");
    }
    if (n != NULL)
        *n = k.n;
    return k.p;
}
