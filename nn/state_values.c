/* state_values.c - one tensor, number or text of a state: saved, checked or loaded. */
#include "core/internal.h"
#include "nn/files/ckpt.h"
#include "nn/state_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* The entry of that name, which is wanted from now on; NULL. */
static tpi_entry *entry_of(tp_state *st, const char *section, const char *name, bool wanted)
{
    bool       plain = strcmp(section, "model") == 0 || strcmp(section, "adapter") == 0;
    char      *key = plain ? NULL : tpi_format(st->ctx, "%s/%s", section, name);
    tpi_entry *e = plain ? tpi_file_entry(st->f, name) : key ? tpi_file_entry(st->f, key) : NULL;

    tpi_free(key);
    if (e != NULL && e->seen.section[0] != '\0' && strcmp(e->seen.section, section) != 0)
        e = NULL;
    if (e != NULL && wanted)
        st->wanted[e - st->f->entry] = true;
    return e;
}

/* "section/name" as it stands in messages. */
static const char *shown(const char *section, const char *name, char buf[600])
{
    bool plain = strcmp(section, "model") == 0 || strcmp(section, "adapter") == 0;

    snprintf(buf, 600, "%s%s%s", plain ? "" : section, plain ? "" : "/", name);
    return buf;
}

static const char *dims_of(const tp_file_entry *e, char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "[");

    for (int i = 0; i < e->ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, i ? ", %lld" : "%lld", (long long)e->dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "]");
    return buf;
}

static bool same_dims(const tp_file_entry *e, const tp_tensor *x)
{
    if (e->ndim != x->ndim)
        return false;
    for (int i = 0; i < e->ndim; i++)
        if (e->dim[i] != x->dim[i])
            return false;
    return true;
}

static bool same_dtype(const tp_state *st, const tpi_entry *e, tp_dtype t)
{
    tp_dtype stored = e->type->dequant ? TP_F32 : (tp_dtype)e->type->dtype;

    return stored == t ||
           (st->opts.convert && stored != TP_DTYPES && tp_dtype_is_float(stored) && tp_dtype_is_float(t));
}

static bool fits(tp_state *st, const tpi_entry *e, const char *name, const tp_tensor *x)
{
    char got[200], want[200];

    if (e == NULL)
        return tpi_state_misfit(st, "\"%.500s\" is missing", name);
    if (!same_dims(&e->seen, x))
        return tpi_state_misfit(st, "\"%.400s\" is %s, expected %s", name, dims_of(&e->seen, got, sizeof got),
                                tp_shape_text(x, want, sizeof want));
    return same_dtype(st, e, tp_dtype_of(x)) ||
           tpi_state_misfit(st, "\"%.400s\" is %s, expected %s", name, e->type->name, tp_dtype_name(tp_dtype_of(x)));
}

static bool fill(tp_state *st, const tpi_entry *e, tp_tensor *x)
{
    tp_scope s = tp_scope_begin(st->ctx);
    bool     ok = tp_copy_to(st->ctx, x, tp_file_read(st->ctx, st->f, e->seen.key, tp_dtype_of(x)));

    tp_scope_end(st->ctx, s);
    return ok;
}

/* The same values under another name: the same element first, the same walk. */
static const tpi_met *met_before(const tp_state *st, const char *section, const tp_tensor *x)
{
    for (size_t i = 0; i < st->n_met; i++) {
        const tp_tensor *y = st->met[i].x;

        if (y->store == x->store && y->data == x->data && y->dtype == x->dtype && tp_same_shape(x, y) &&
            memcmp(x->stride, y->stride, (size_t)x->ndim * sizeof *x->stride) == 0 &&
            strcmp(st->met[i].section, section) == 0)
            return &st->met[i];
    }
    return NULL;
}

static bool note_met(tp_state *st, const char *section, const char *name, const tp_tensor *x)
{
    tpi_met *m;

    if (!tpi_grow(st->ctx, &st->met, &st->met_cap, st->n_met + 1, sizeof *st->met))
        return false;
    m = &st->met[st->n_met++];
    *m = (tpi_met){ x, tpi_strdup(st->ctx, section), tpi_strdup(st->ctx, name) };
    return m->section != NULL && m->name != NULL;
}

/* Two names of one tensor here: the file may lack the second, but must not have other values under it. */
static bool check_tied(tp_state *st, const tpi_met *m, const char *name, const tp_tensor *x)
{
    tpi_entry *first = entry_of(st, m->section, m->name, true), *second = entry_of(st, m->section, name, true);

    if (first == NULL || second == NULL || st->pass != TPI_CHECK || !fits(st, second, name, x))
        return tp_ok(st->ctx);
    if (!tpi_bytes_hash(st->f, &first->bytes, first->seen.key) ||
        !tpi_bytes_hash(st->f, &second->bytes, second->seen.key))
        return false;
    if (first->bytes.hash != second->bytes.hash)
        tpi_state_misfit(st, "\"%.300s\" and \"%.300s\" differ, expected one tensor of two names", m->name, name);
    return tp_ok(st->ctx);
}

/* Whether what is being saved is only counted: n bytes more. */
static bool counted(tp_state *st, int64_t n)
{
    if (st->pass == TPI_SAVE && st->w == NULL && __builtin_add_overflow(st->bytes, n, &st->bytes))
        st->bytes = INT64_MAX;
    return st->pass == TPI_SAVE && st->w == NULL;
}

static int64_t size_of(const tp_tensor *x)
{
    int64_t n = 0;

    return __builtin_mul_overflow(tp_numel(x), (int64_t)tp_dtype_size(tp_dtype_of(x)), &n) ? INT64_MAX : n;
}

static bool put(tp_state *st, const char *section, const char *name, tp_tensor *x, bool buffer)
{
    const tpi_met *m;
    tpi_entry     *e;
    char           key[600];

    if (!tpi_check(st->ctx, name, x, 0))
        return false;
    m = met_before(st, section, x);
    if (m != NULL && strcmp(m->name, name) == 0) /* named by two states */
        return true;
    if (m != NULL && counted(st, 0))
        return true;
    if (m != NULL && st->pass == TPI_SAVE)
        return tp_writer_tie(st->ctx, st->w, section, name, m->name);
    if (m != NULL)
        return check_tied(st, m, name, x);
    if (!note_met(st, section, name, x))
        return false;
    if (counted(st, size_of(x)))
        return true;
    if (st->pass == TPI_SAVE)
        return buffer ? tpi_writer_buffer(st->ctx, st->w, section, name, x)
                      : tp_writer_tensor(st->ctx, st->w, section, name, x);
    e = entry_of(st, section, name, true);
    if (fits(st, e, shown(section, name, key), x) && st->pass == TPI_LOAD)
        fill(st, e, x);
    return tp_ok(st->ctx);
}

bool tpi_state_put(tp_state *st, const char *section, const char *name, tp_tensor *x)
{
    return put(st, section, name, x, false);
}

bool tpi_state_put_buffer(tp_state *st, const char *section, const char *name, tp_tensor *x)
{
    return put(st, section, name, x, true);
}

static bool named(tp_ctx *ctx, tp_state *st, const char *what, const char *section, const char *name)
{
    if (!tpi_state_usable(ctx, st, what))
        return false;
    return (section != NULL && name != NULL && tpi_ckpt_name_ok(section, name)) ||
           tp_fail(ctx, TP_EARG, "%s: section \"%.64s\" and name \"%.200s\" are none, see tp_writer_tensor", what,
                   section ? section : "", name ? name : "") != NULL;
}

bool tp_state_tensor(tp_ctx *ctx, tp_state *st, const char *section, const char *name, tp_tensor *x)
{
    return named(ctx, st, "state_tensor", section, name) && tpi_check(ctx, "state_tensor", x, 0) &&
           tpi_state_claim(st, section, "") && tpi_state_put(st, section, name, x);
}

bool tp_state_new(tp_ctx *ctx, tp_state *st, const char *section, const char *name, tp_tensor **x)
{
    tpi_entry *e;
    char       key[600];

    if (!named(ctx, st, "state_new", section, name) || !tpi_state_claim(st, section, ""))
        return false;
    if (x == NULL)
        return tp_fail(ctx, TP_EARG, "state_new: no place for the tensor") != NULL;
    if (st->pass == TPI_SAVE)
        return tp_state_tensor(ctx, st, section, name, *x);
    e = entry_of(st, section, name, true);
    if (e == NULL)
        tpi_state_misfit(st, "\"%.500s\" is missing", shown(section, name, key));
    else if (st->pass == TPI_LOAD)
        *x = tp_file_read(ctx, st->f, e->seen.key, TP_DTYPES);
    return tp_ok(ctx);
}

bool tp_state_has(tp_ctx *ctx, tp_state *st, const char *section, const char *name)
{
    return named(ctx, st, "state_has", section, name) &&
           (st->pass == TPI_SAVE || entry_of(st, section, name, false) != NULL);
}

/* ---- numbers and texts ------------------------------------------------------------------------------------------- */

const char *tpi_state_meta(tp_state *st, const char *where, const char *key)
{
    char       *name = where ? tpi_format(st->ctx, "%s@%s", where, key) : NULL;
    const char *value = where && name == NULL ? NULL : tp_file_meta(st->f, name ? name : key);

    tpi_free(name);
    return value;
}

/* The file has a point whatever the locale; strtod wants the locale's. */
static bool real_of(const char *text, double *v)
{
    char buf[64], *end;

    if (strlen(text) >= sizeof buf)
        return false;
    snprintf(buf, sizeof buf, "%s", text);
    *v = strtod(buf, &end);
    if (*end == '.') {
        *end = ',';
        *v = strtod(buf, &end);
    }
    return end != buf && *end == '\0';
}

static bool keyed(tp_ctx *ctx, tp_state *st, const char *key, bool value)
{
    if (!tpi_state_usable(ctx, st, "state"))
        return false;
    return (key != NULL && value) || tp_fail(ctx, TP_EARG, "state: no key or no value") != NULL;
}

/* What the file says, or NULL and a misfit. */
static const char *wanted_meta(tp_state *st, const char *where, const char *key)
{
    const char *text = tpi_state_meta(st, where, key);

    if (text == NULL)
        tpi_state_misfit(st, "%.300s%s%.100s is missing", where ? where : "", where ? "@" : "", key);
    return text;
}

static bool not_a(tp_state *st, const char *where, const char *key, const char *text, const char *kind)
{
    return tpi_state_misfit(st, "%.300s%s%.100s is \"%.100s\", expected a %s", where ? where : "", where ? "@" : "", key,
                            text, kind);
}

bool tp_state_int(tp_ctx *ctx, tp_state *st, const char *where, const char *key, int64_t *v)
{
    const char *text;
    char       *end;
    long long   read;

    if (!keyed(ctx, st, key, v != NULL))
        return false;
    if (counted(st, 0))
        return true;
    if (st->pass == TPI_SAVE)
        return tpi_writer_attr_signed(ctx, st->w, where, key, *v);
    text = wanted_meta(st, where, key);
    if (text == NULL)
        return tp_ok(ctx);
    errno = 0;
    read = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        not_a(st, where, key, text, "whole number");
    else if (st->pass == TPI_LOAD)
        *v = read;
    return tp_ok(ctx);
}

bool tp_state_real(tp_ctx *ctx, tp_state *st, const char *where, const char *key, double *v)
{
    const char *text;
    double      read;

    if (!keyed(ctx, st, key, v != NULL))
        return false;
    if (counted(st, 0))
        return true;
    if (st->pass == TPI_SAVE)
        return tp_writer_attr_real(ctx, st->w, where, key, isnan(*v) ? NAN : *v);
    text = wanted_meta(st, where, key);
    if (text == NULL)
        return tp_ok(ctx);
    if (!real_of(text, &read))
        not_a(st, where, key, text, "number");
    else if (st->pass == TPI_LOAD)
        *v = read;
    return tp_ok(ctx);
}

static bool is_text_section(const char *where)
{
    return where != NULL && (strcmp(where, "config") == 0 || strcmp(where, "tokenizer") == 0);
}

static const char *read_text(tp_state *st, const char *where, const char *key)
{
    char       *path = is_text_section(where) ? tpi_format(st->ctx, "%s/%s", where, key) : NULL;
    const char *text = path ? tp_file_text(st->f, path, NULL) : NULL;

    if (path == NULL)
        return wanted_meta(st, where, key);
    if (text == NULL && tp_ok(st->ctx))
        tpi_state_misfit(st, "%.300s is missing", path);
    tpi_free(path);
    return text;
}

bool tp_state_text(tp_ctx *ctx, tp_state *st, const char *where, const char *key, const char **text)
{
    const char *read;
    char       *path;
    bool        ok;

    if (!keyed(ctx, st, key, text != NULL && (*text != NULL || !tp_state_saving(st))))
        return false;
    if (tp_state_saving(st) && counted(st, (int64_t)strlen(*text)))
        return true;
    if (st->pass == TPI_SAVE && is_text_section(where)) {
        path = tpi_format(ctx, "%s/%s", where, key);
        ok = path != NULL && tp_writer_text(ctx, st->w, path, *text, strlen(*text));
        tpi_free(path);
        return ok;
    }
    if (st->pass == TPI_SAVE)
        return tp_writer_attr_text(ctx, st->w, where, key, *text);
    read = read_text(st, where, key);
    if (read != NULL && st->pass == TPI_LOAD)
        *text = tpi_intern(ctx, read);
    return tp_ok(ctx);
}

/* ---- what must be the same --------------------------------------------------------------------------------------- */

static bool differs(tp_state *st, const char *where, const char *key, const char *got, const char *want)
{
    tpi_state_misfit(st, "%.300s%s%.100s is %.150s, expected %.150s", where ? where : "", where ? "@" : "", key, got,
                     want);
    return tp_ok(st->ctx);
}

bool tp_state_same_int(tp_ctx *ctx, tp_state *st, const char *where, const char *key, int64_t v)
{
    const char *text;
    char        want[32];

    if (!keyed(ctx, st, key, true))
        return false;
    if (counted(st, 0))
        return true;
    if (st->pass == TPI_SAVE)
        return tpi_writer_attr_signed(ctx, st->w, where, key, v);
    snprintf(want, sizeof want, "%lld", (long long)v);
    text = wanted_meta(st, where, key);
    return text == NULL || strcmp(text, want) == 0 ? tp_ok(ctx) : differs(st, where, key, text, want);
}

bool tp_state_same_real(tp_ctx *ctx, tp_state *st, const char *where, const char *key, double v)
{
    const char *text;
    char        want[40];
    double      read;

    if (!keyed(ctx, st, key, true))
        return false;
    if (counted(st, 0))
        return true;
    if (st->pass == TPI_SAVE)
        return tp_writer_attr_real(ctx, st->w, where, key, v);
    text = wanted_meta(st, where, key);
    if (text == NULL || (real_of(text, &read) && (read == v || (isnan(read) && isnan(v)))))
        return tp_ok(ctx);
    snprintf(want, sizeof want, "%.17g", v);
    return differs(st, where, key, text, want);
}

bool tp_state_same_text(tp_ctx *ctx, tp_state *st, const char *where, const char *key, const char *text)
{
    const char *got;

    if (!keyed(ctx, st, key, text != NULL))
        return false;
    if (st->pass == TPI_SAVE)
        return tp_state_text(ctx, st, where, key, &text);
    got = read_text(st, where, key);
    return got == NULL || strcmp(got, text) == 0 ? tp_ok(ctx) : differs(st, where, key, got, text);
}
