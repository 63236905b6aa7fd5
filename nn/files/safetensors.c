/*
 * safetensors.c - the reader: u64 size of the header, header in JSON, values without holes.
 */
#include "nn/files/filetable.h"
#include "nn/files/pull.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read as they stand: little-endian machines only");

/* Where the values of one tensor lie, from the start of the data section. */
typedef struct span {
    int64_t begin, end;
    size_t  i;
} span;

typedef struct st_reader {
    tp_file *f;
    tpi_pull j;
    int      part;
    size_t   first, metas; /* entries and key/values before this file's */
} st_reader;

static bool bad_json(st_reader *r)
{
    return tpi_file_bad(r->f, "header, byte %lld: %s", (long long)(r->j.at - r->j.start),
                        r->j.error ? r->j.error : "wrong");
}

/* ---- one entry ------------------------------------------------------------------------------------------------------- */

static bool read_shape(st_reader *r, tp_file_entry *e)
{
    e->ndim = 0;
    if (!tpi_pull_open(&r->j, '['))
        return bad_json(r);
    while (tpi_pull_more(&r->j, ']')) {
        if (e->ndim == TP_MAX_DIM)
            return tpi_file_bad(r->f, "tensor \"%s\" has more than %d dimensions", e->name, TP_MAX_DIM);
        if (!tpi_pull_uint(&r->j, &e->dim[e->ndim]))
            return bad_json(r);
        if (e->dim[e->ndim++] >= (int64_t)1 << 48)
            return tpi_file_bad(r->f, "tensor \"%s\": a dimension of 2^48 or more", e->name);
    }
    return !r->j.error || bad_json(r);
}

static bool read_offsets(st_reader *r, int64_t off[2])
{
    int n = 0;

    if (!tpi_pull_open(&r->j, '['))
        return bad_json(r);
    while (tpi_pull_more(&r->j, ']'))
        if (n == 2 || !tpi_pull_uint(&r->j, &off[n++])) {
            tpi_pull_fail(&r->j, "expected two offsets");
            return bad_json(r);
        }
    return (!r->j.error && n == 2) || tpi_pull_fail(&r->j, "expected two offsets") || bad_json(r);
}

static bool read_dtype(st_reader *r, tpi_entry *e)
{
    char  *s;
    size_t n;

    if (!tpi_pull_string(&r->j, &s, &n))
        return bad_json(r);
    e->type = tpi_stored_named(s, n);
    return e->type || tpi_file_bad(r->f, "tensor \"%s\": unknown dtype \"%.*s\"", e->seen.name,
                                   n < 40 && tpi_name_ok(s, n) ? (int)n : 0, s);
}

/* The object of one tensor; off: its begin and end. */
static bool read_entry(st_reader *r, tpi_entry *e, int64_t off[2])
{
    bool   dtype = false, shape = false, offsets = false;
    char  *key;
    size_t n;

    if (!tpi_pull_open(&r->j, '{'))
        return bad_json(r);
    while (tpi_pull_more(&r->j, '}')) {
        bool ok;

        if (!tpi_pull_key(&r->j, &key, &n))
            return bad_json(r);
        if (strcmp(key, "dtype") == 0 && !dtype)
            ok = dtype = read_dtype(r, e);
        else if (strcmp(key, "shape") == 0 && !shape)
            ok = shape = read_shape(r, &e->seen);
        else if (strcmp(key, "data_offsets") == 0 && !offsets)
            ok = offsets = read_offsets(r, off);
        else
            return tpi_file_bad(
                r->f, "tensor \"%s\": a key that is unknown or occurs twice, expected dtype, shape, data_offsets",
                e->seen.name);
        if (!ok)
            return false;
    }
    if (r->j.error)
        return bad_json(r);
    return (dtype && shape && offsets) ||
           tpi_file_bad(r->f, "tensor \"%s\": expected dtype, shape and data_offsets", e->seen.name);
}

/* ---- the header ------------------------------------------------------------------------------------------------------ */

static bool read_metadata(st_reader *r)
{
    char  *key, *value;
    size_t n;

    if (!tpi_pull_open(&r->j, '{'))
        return bad_json(r);
    while (tpi_pull_more(&r->j, '}')) {
        if (!tpi_pull_key(&r->j, &key, &n) || !tpi_pull_string(&r->j, &value, &n))
            return bad_json(r);
        if (!tpi_file_add_meta(r->f, key, value))
            return false;
        if (r->f->format == TP_HUGGINGFACE && strcmp(key, "source_identity") == 0) /* of the whole model */
            tpi_file_take_identity(r->f, value);
    }
    return !r->j.error || bad_json(r);
}

static bool add_entry(st_reader *r, char *name, size_t n, int64_t data, span **spans, size_t *cap)
{
    tpi_entry e = { .seen.name = name, .bytes.part = r->part };
    int64_t   off[2] = { 0, 0 };
    size_t    k = r->f->entries - r->first;

    if (!tpi_name_ok(name, n))
        return tpi_file_bad(r->f, "the name of tensor %lld is empty, longer than %d bytes or has control characters",
                            (long long)k, TPI_MAX_NAME);
    if (!read_entry(r, &e, off))
        return false;
    if (off[1] < off[0])
        return tpi_file_bad(r->f, "tensor \"%s\" ends at %lld, before it begins at %lld", name, (long long)off[1],
                            (long long)off[0]);
    e.bytes.size = off[1] - off[0];
    if (__builtin_add_overflow(off[0], data, &e.bytes.offset))
        return tpi_file_bad(r->f, "tensor \"%s\" lies beyond the end of the file", name);
    if (!tpi_file_add(r->f, &e) || !tpi_grow(r->f->ctx, spans, cap, k + 1, sizeof **spans))
        return false;
    (*spans)[k] = (span){ off[0], off[1], r->f->entries - 1 };
    return true;
}

static int by_place(const void *a, const void *b)
{
    const span *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* No hole, no overlap, no tail: what is in the file is what the header says, and only once. */
static bool check_spans(st_reader *r, span *s, size_t n, int64_t size)
{
    int64_t at = 0;
    size_t  i;

    if (n > 1)
        qsort(s, n, sizeof *s, by_place);
    for (i = 0; i < n; i++) {
        if (s[i].begin != at)
            return tpi_file_bad(r->f, "tensor \"%s\" begins at %lld, but the one before it ends at %lld",
                                r->f->entry[s[i].i].seen.name, (long long)s[i].begin, (long long)at);
        at = s[i].end;
    }
    return at == size ||
           tpi_file_bad(r->f, "the tensors end at %lld, the values at %lld", (long long)at, (long long)size);
}

/* Keys are all different; of several shards, which repeat them, the first one's are kept. */
static bool check_metadata(st_reader *r)
{
    size_t      n = r->f->metas - r->metas, i;
    tpi_sorted *s = tpi_alloc(r->f->ctx, n, sizeof *s);
    const char *twice;

    if (!s)
        return false;
    for (i = 0; i < n; i++)
        s[i] = (tpi_sorted){ r->f->meta[r->metas + i].key, i };
    twice = tpi_sort_keys(s, n);
    tpi_free(s);
    if (r->first > 0)
        r->f->metas = r->metas;
    return !twice || tpi_file_bad(r->f, "__metadata__ has a key twice: \"%.100s\"",
                                  tpi_name_ok(twice, strlen(twice)) ? twice : "");
}

static bool read_header(st_reader *r, int64_t data, span **spans, size_t *cap)
{
    bool   metadata = false;
    char  *name;
    size_t n;

    if (!tpi_pull_open(&r->j, '{'))
        return bad_json(r);
    while (tpi_pull_more(&r->j, '}')) {
        if (!tpi_pull_key(&r->j, &name, &n))
            return bad_json(r);
        if (strcmp(name, "__metadata__") == 0) {
            if (metadata)
                return tpi_file_bad(r->f, "__metadata__ occurs twice");
            metadata = true;
            if (!read_metadata(r))
                return false;
        } else if (!add_entry(r, name, n, data, spans, cap)) {
            return false;
        }
    }
    return (tpi_pull_end(&r->j, ' ') || bad_json(r)) && check_metadata(r);
}

/* The size of the header, or -1. */
static int64_t header_size(tp_file *f, const char *path, tpi_disk *d)
{
    uint64_t n;

    if (d->size < 8) {
        tpi_file_bad(f, "%.200s: %lld bytes are no safetensors file", path, (long long)d->size);
        return -1;
    }
    if (!tpi_disk_read(f->ctx, d, 0, &n, 8))
        return -1;
    if (n > TPI_MAX_HEADER || (int64_t)n > d->size - 8) {
        tpi_file_bad(f, "%.200s: a header of %llu bytes, but the file has %lld, and at most %d are read", path,
                     (unsigned long long)n, (long long)d->size, TPI_MAX_HEADER);
        return -1;
    }
    return (int64_t)n;
}

bool tpi_safetensors_list(tp_file *f, int part)
{
    tpi_disk *d = &f->part[part];
    st_reader r = { .f = f, .part = part, .first = f->entries, .metas = f->metas };
    int64_t   n = header_size(f, d->path, d);
    span     *spans = NULL;
    size_t    cap = 0;
    char     *text;
    bool      ok;

    if (n < 0)
        return false;
    text = tpi_file_own(f, tpi_alloc(f->ctx, (size_t)n + 1, 1)); /* names and metadata stay where they stand in it */
    if (!text || !tpi_disk_read(f->ctx, d, 8, text, (size_t)n))
        return false;
    if (n == 0 || text[0] != '{')
        return tpi_file_bad(f, "no safetensors file: the header does not begin with '{'");
    if (!tpi_pull_begin(&r.j, text, (size_t)n))
        return bad_json(&r);
    ok = read_header(&r, 8 + n, &spans, &cap) && check_spans(&r, spans, f->entries - r.first, d->size - 8 - n);
    tpi_free(spans);
    return ok;
}
