/*
 * filetable.c - the tables of an open file, and the checks that all formats share.
 */
#include "nn/files/filetable.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool tpi_file_bad(tp_file *f, const char *fmt, ...)
{
    char    text[800];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tp_fail(f->ctx, TP_EFORMAT, "%.200s: %s", f->path, text);
    return false;
}

void *tpi_file_own(tp_file *f, void *p)
{
    if (!p)
        return NULL;
    if (!tpi_grow(f->ctx, &f->own, &f->own_cap, f->owned + 1, sizeof *f->own)) {
        tpi_free(p);
        return NULL;
    }
    return f->own[f->owned++] = p;
}

char *tpi_file_keep(tp_file *f, const char *s, size_t n)
{
    return tpi_file_own(f, tpi_strndup(f->ctx, s, n));
}

int tpi_file_part(tp_file *f, const char *path)
{
    if (!tpi_grow(f->ctx, &f->part, &f->part_cap, f->parts + 1, sizeof *f->part))
        return -1;
    if (!tpi_disk_open(f->ctx, &f->part[f->parts], path))
        return -1;
    f->size += f->part[f->parts].size;
    return (int)f->parts++;
}

/* ---- names ----------------------------------------------------------------------------------------------------------- */

bool tpi_utf8_ok(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + n;

    while (p < end) {
        int more = *p < 0x80                 ? 0
                   : *p >= 0xc2 && *p < 0xe0 ? 1
                   : *p >= 0xe0 && *p < 0xf0 ? 2
                   : *p >= 0xf0 && *p < 0xf5 ? 3
                                             : -1;
        int i;

        if (more < 0 || end - p <= more)
            return false;
        /* overlong forms, surrogates, beyond U+10FFFF: seen in the second byte */
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (i = 1; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more + 1;
    }
    return true;
}

bool tpi_name_ok(const char *s, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f ||
            ((unsigned char)s[i] == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0))
            return false;
    return n > 0 && n <= TPI_MAX_NAME && tpi_utf8_ok(s, n);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

/* The bytes that e needs, as its shape says, lie in its part. */
static bool check_entry(tp_file *f, tpi_entry *e)
{
    const char *name = e->seen.key;
    int64_t     need, end;

    if (!tpi_stored_size(e->type, e->seen.ndim, e->seen.dim, &e->numel, &need))
        return tpi_file_bad(f, "tensor \"%s\": its shape is too large, or no multiple of %s's block of %d values", name,
                            e->type->name, e->type->block);
    if (e->bytes.size < 0)
        e->bytes.size = need;
    if (e->bytes.size != need)
        return tpi_file_bad(f, "tensor \"%s\": %lld bytes, but shape and %s need %lld", name, (long long)e->bytes.size,
                            e->type->name, (long long)need);
    if (!f->trusted && !e->bytes.value && (e->bytes.offset < 0 || __builtin_add_overflow(e->bytes.offset, need, &end) ||
                            end > f->part[e->bytes.part].size))
        return tpi_file_bad(f, "tensor \"%s\": %lld bytes at %lld, beyond the end of the file", name, (long long)need,
                            (long long)e->bytes.offset);
    e->seen.bytes = need;
    return true;
}

bool tpi_file_add(tp_file *f, const tpi_entry *e)
{
    tpi_entry *to;

    if (f->entries >= TPI_MAX_TENSORS || (int64_t)f->entries >= TPI_FREE_TENSORS + f->size / TPI_BYTES_A_TENSOR)
        return tpi_file_bad(f, "%lld tensors or more in %lld bytes, which is not plausible", (long long)f->entries,
                            (long long)f->size);
    if (!tpi_grow(f->ctx, &f->entry, &f->entry_cap, f->entries + 1, sizeof *f->entry))
        return false;
    to = &f->entry[f->entries];
    *to = *e;
    if (!to->seen.section)
        to->seen.section = "";
    to->seen.dtype = e->type->name;
    if (!to->seen.key)
        to->seen.key = to->seen.name;
    if (!check_entry(f, to))
        return false;
    f->entries++;
    return true;
}

bool tpi_file_add_text(tp_file *f, const char *name, const tpi_bytes *b)
{
    if (b->size > TPI_MAX_TEXT)
        return tpi_file_bad(f, "%s has %lld bytes, more than the %d that are read", name, (long long)b->size,
                            TPI_MAX_TEXT);
    if (!tpi_grow(f->ctx, &f->text, &f->text_cap, f->texts + 1, sizeof *f->text))
        return false;
    f->text[f->texts++] = (tpi_text){ .name = name, .bytes = *b };
    return true;
}

bool tpi_file_add_value(tp_file *f, const char *name, const char *text, size_t n)
{
    return tpi_file_add_text(f, name, &(tpi_bytes){ .value = text, .size = (int64_t)n });
}

bool tpi_file_set_text(tp_file *f, const char *name, const char *text, size_t n)
{
    size_t i;

    for (i = 0; i < f->texts; i++)
        if (strcmp(f->text[i].name, name) == 0) {
            f->text[i] = (tpi_text){ .name = f->text[i].name, .bytes = { .value = text, .size = (int64_t)n } };
            return true;
        }
    return tpi_file_add_value(f, name, text, n);
}

void tpi_file_take_identity(tp_file *f, const char *text)
{
    if (text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32)
        memcpy(f->identity, text, 33);
}

bool tpi_file_add_meta(tp_file *f, const char *key, const char *value)
{
    if (!key || !value || !tpi_grow(f->ctx, &f->meta, &f->meta_cap, f->metas + 1, sizeof *f->meta))
        return false;
    f->meta[f->metas++] = (tpi_pair){ key, value };
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const tpi_sorted *)a)->key, ((const tpi_sorted *)b)->key);
}

const char *tpi_sort_keys(tpi_sorted *s, size_t n)
{
    size_t i;

    if (n > 1)
        qsort(s, n, sizeof *s, by_key);
    for (i = 1; i < n; i++)
        if (strcmp(s[i - 1].key, s[i].key) == 0)
            return s[i].key;
    return NULL;
}

bool tpi_file_index(tp_file *f)
{
    const char *twice;
    size_t      i;

    f->by_key = tpi_alloc(f->ctx, f->entries, sizeof *f->by_key);
    if (!f->by_key)
        return false;
    for (i = 0; i < f->entries; i++)
        f->by_key[i] = (tpi_sorted){ f->entry[i].seen.key, i };
    twice = tpi_sort_keys(f->by_key, f->entries);
    if (twice)
        return tpi_file_bad(f, "tensor \"%s\" occurs twice", twice);
    return true;
}

tpi_entry *tpi_file_entry(const tp_file *f, const char *key)
{
    tpi_sorted  want = { key, 0 };
    tpi_sorted *hit = f->entries && f->by_key ? bsearch(&want, f->by_key, f->entries, sizeof want, by_key) : NULL;

    return hit ? &f->entry[hit->i] : NULL;
}

/* ---- what users see -------------------------------------------------------------------------------------------------- */

tp_file_format tp_file_format_of(const tp_file *f)
{
    return f ? f->format : TP_SAFETENSORS;
}

const char *tp_file_kind(const tp_file *f)
{
    return f && f->kind ? f->kind : "";
}

const char *tp_file_path(const tp_file *f)
{
    return f ? f->path : "";
}

int64_t tp_file_count(const tp_file *f)
{
    return f ? (int64_t)f->entries : 0;
}

const tp_file_entry *tp_file_at(const tp_file *f, int64_t i)
{
    return f && i >= 0 && (size_t)i < f->entries ? &f->entry[i].seen : NULL;
}

const tp_file_entry *tp_file_find(const tp_file *f, const char *name)
{
    const tpi_entry *e = f && name ? tpi_file_entry(f, name) : NULL;

    return e ? &e->seen : NULL;
}

int64_t tp_file_meta_count(const tp_file *f)
{
    return f ? (int64_t)f->metas : 0;
}

bool tp_file_meta_at(const tp_file *f, int64_t i, const char **key, const char **value)
{
    if (!f || i < 0 || (size_t)i >= f->metas)
        return false;
    if (key)
        *key = f->meta[i].key;
    if (value)
        *value = f->meta[i].value;
    return true;
}

const char *tp_file_meta(const tp_file *f, const char *key)
{
    size_t i;

    for (i = 0; f && key && i < f->metas; i++)
        if (strcmp(f->meta[i].key, key) == 0)
            return f->meta[i].value;
    return NULL;
}
