/*
 * gguf.c - GGUF version 2 and 3: magic, counts, key/values, tensor infos, values at multiples of an alignment.
 */
#include "nn/files/gguf.h"

#include "nn/files/filetable.h"

#include <string.h>

enum { MAX_PAIRS = 100000, MAX_COUNT = 1 << 30, MAX_ALIGNMENT = 1 << 20, FIRST_LOAD = 1 << 16 };

/* Bytes of a value; of strings and arrays: at least. */
static const uint8_t size_of[TPI_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8 };

static const char *const type_name[TPI_GGUF_TYPES] = { "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64" };

/* A walk through the head. */
typedef struct cursor {
    tp_file  *f;
    tpi_gguf *g;
    size_t    at, size; /* size: of the file */
} cursor;

/* Sees to it that the n bytes at c->at are in the blob; false, with an error, when the file ends before. */
static bool need(cursor *c, uint64_t n)
{
    size_t want;

    if (n > c->size - c->at)
        return tpi_file_bad(c->f, "the head ends at byte %lld of %lld, where %llu more are needed", (long long)c->at,
                            (long long)c->size, (unsigned long long)n);
    if (c->at + n <= c->g->loaded)
        return true;
    want = c->g->loaded ? 2 * c->g->loaded : FIRST_LOAD;
    want = want < c->at + (size_t)n ? c->at + (size_t)n : want;
    want = want > c->size ? c->size : want;
    if (!tpi_grow(c->f->ctx, &c->g->blob, &c->g->cap, want, 1) ||
        !tpi_disk_read(c->f->ctx, &c->f->part[0], (int64_t)c->g->loaded, c->g->blob + c->g->loaded,
                       want - c->g->loaded))
        return false;
    c->g->loaded = want;
    return true;
}

/* Copies n bytes out of the blob. */
static bool take(cursor *c, void *p, size_t n)
{
    if (!need(c, n))
        return false;
    memcpy(p, c->g->blob + c->at, n);
    c->at += n;
    return true;
}

/* Passes over a string. */
static bool skip_string(cursor *c)
{
    uint64_t n = 0;

    if (!take(c, &n, 8))
        return false;
    if (n > MAX_COUNT)
        return tpi_file_bad(c->f, "byte %lld: a string of %llu bytes", (long long)c->at - 8, (unsigned long long)n);
    if (!need(c, n))
        return false;
    c->at += (size_t)n;
    return true;
}

/* A string that is a name, kept in f. */
static const char *take_name(cursor *c, const char *what)
{
    size_t          start = c->at;
    tpi_gguf_string s;

    if (!skip_string(c))
        return NULL;
    s = tpi_gguf_next(c->g, &start);
    if (tpi_name_ok(s.p, s.n))
        return tpi_file_keep(c->f, s.p, s.n);
    tpi_file_bad(c->f, "byte %lld: %s that is empty, longer than %d bytes, or not plain text", (long long)(c->at - s.n),
                 what, TPI_MAX_NAME);
    return NULL;
}

/* ---- key/values ------------------------------------------------------------------------------------------------------ */

static bool check_bools(cursor *c, const tpi_gguf_pair *p)
{
    uint64_t i;

    for (i = 0; p->type == TPI_GGUF_BOOL && i < p->count; i++)
        if ((unsigned char)c->g->blob[p->at + i] > 1)
            return tpi_file_bad(c->f, "key %s: a bool that is neither 0 nor 1", p->key);
    return true;
}

static bool read_values(cursor *c, tpi_gguf_pair *p)
{
    uint64_t i;

    if (p->type >= TPI_GGUF_TYPES || p->type == TPI_GGUF_ARRAY)
        return tpi_file_bad(c->f, "key %s: value type %u is unknown or an array of arrays", p->key, p->type);
    if (p->count > MAX_COUNT || p->count > (c->size - c->at) / size_of[p->type])
        return tpi_file_bad(c->f, "key %s: %llu values, more than the rest of the file can hold", p->key,
                            (unsigned long long)p->count);
    p->at = c->at;
    if (p->type == TPI_GGUF_STRING) {
        for (i = 0; i < p->count; i++)
            if (!skip_string(c))
                return false;
        return true;
    }
    if (!need(c, p->count * size_of[p->type]))
        return false;
    c->at += (size_t)(p->count * size_of[p->type]);
    return check_bools(c, p);
}

static bool read_pair(cursor *c)
{
    tpi_gguf_pair p = { .count = 1 };

    p.key = take_name(c, "a key");
    if (!p.key || !take(c, &p.type, 4))
        return false;
    p.array = p.type == TPI_GGUF_ARRAY;
    if (p.array && (!take(c, &p.type, 4) || !take(c, &p.count, 8)))
        return false;
    if (!read_values(c, &p) || !tpi_grow(c->f->ctx, &c->g->pair, &c->g->pair_cap, c->g->pairs + 1, sizeof p))
        return false;
    c->g->pair[c->g->pairs++] = p;
    return true;
}

static bool check_keys(cursor *c)
{
    tpi_sorted *s = tpi_alloc(c->f->ctx, c->g->pairs, sizeof *s);
    const char *twice;
    size_t      i;

    if (!s)
        return false;
    for (i = 0; i < c->g->pairs; i++)
        s[i] = (tpi_sorted){ c->g->pair[i].key, i };
    twice = tpi_sort_keys(s, c->g->pairs);
    tpi_free(s);
    return !twice || tpi_file_bad(c->f, "key %s occurs twice", twice);
}

/* ---- tensor infos ---------------------------------------------------------------------------------------------------- */

/* The file's dimensions are innermost first. */
static bool read_dims(cursor *c, tpi_entry *e)
{
    uint32_t n;
    uint64_t d;
    int      i;

    if (!take(c, &n, 4))
        return false;
    if (n > 4)
        return tpi_file_bad(c->f, "tensor \"%s\": %u dimensions, expected at most 4", e->seen.name, n);
    e->seen.ndim = (int)n;
    for (i = (int)n - 1; i >= 0; i--) {
        if (!take(c, &d, 8))
            return false;
        if (d == 0 || d >= (uint64_t)1 << 48)
            return tpi_file_bad(c->f, "tensor \"%s\": dimension %d is %llu", e->seen.name, (int)n - 1 - i,
                                (unsigned long long)d);
        e->seen.dim[i] = (int64_t)d;
    }
    return true;
}

/* One info; *end: where the values before it end, from the start of the data section. */
static bool read_info(cursor *c, uint64_t alignment, uint64_t *end)
{
    tpi_entry   e = { .bytes.size = -1 };
    const char *stored = take_name(c, "a tensor's name");
    uint32_t    type;
    uint64_t    offset;

    if (!stored)
        return false;
    e.seen.name = tpi_gguf_hf_name(c->f, stored, &e.heads);
    if (!e.seen.name || !read_dims(c, &e) || !take(c, &type, 4) || !take(c, &offset, 8))
        return false;
    e.type = tpi_stored_ggml(type);
    if (!e.type)
        return tpi_file_bad(
            c->f,
            "tensor \"%s\" is of type %u (%s), which is not read: expected F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 "
            "Q4_K Q5_K or Q6_K",
            stored, type, tpi_ggml_name(type));
    if (offset != (*end + alignment - 1) / alignment * alignment || offset > c->size)
        return tpi_file_bad(c->f, "tensor \"%s\" lies at %llu, but the one before it ends at %llu", stored,
                            (unsigned long long)offset, (unsigned long long)*end);
    e.bytes.offset = (int64_t)offset; /* from the start of the section, which is not known before the last info */
    if (!tpi_file_add(c->f, &e))
        return false;
    *end = offset + (uint64_t)c->f->entry[c->f->entries - 1].bytes.size;
    if (e.heads > 0 && (e.seen.ndim == 0 || e.seen.dim[0] % (2 * e.heads) != 0))
        return tpi_file_bad(c->f, "tensor \"%s\" has %lld rows, not a multiple of twice its %lld heads", stored,
                            (long long)(e.seen.ndim ? e.seen.dim[0] : 1), (long long)e.heads);
    return true;
}

static bool read_infos(cursor *c, uint64_t n)
{
    int64_t  alignment = 32;
    uint64_t end = 0, i, start;

    if (tpi_gguf_find(c->g, "general.alignment") && !tpi_gguf_int(c->g, "general.alignment", &alignment))
        alignment = 0;
    if (alignment < 8 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
        return tpi_file_bad(c->f, "general.alignment is no power of two from 8 to %d", MAX_ALIGNMENT);
    for (i = 0; i < n; i++)
        if (!read_info(c, (uint64_t)alignment, &end))
            return false;
    start = (c->at + (uint64_t)alignment - 1) / (uint64_t)alignment * (uint64_t)alignment;
    if (n > 0 && (start > c->size || end > c->size - start))
        return tpi_file_bad(c->f, "the values need %llu bytes from %llu on, but the file ends at %lld",
                            (unsigned long long)end, (unsigned long long)start, (long long)c->size);
    for (i = 0; i < c->f->entries; i++)
        c->f->entry[i].bytes.offset += (int64_t)start;
    return true;
}

/* ---- key/values as text ------------------------------------------------------------------------------------------------ */

/* The number of scalar type at p. */
static int value_text(uint32_t type, const char *p, char *buf, size_t size)
{
    int64_t i = 0;
    double  d = 0;
    float   f;

    switch (type) {
    case TPI_GGUF_F32: memcpy(&f, p, 4); return snprintf(buf, size, "%.9g", tpi_gguf_short(f));
    case TPI_GGUF_F64: memcpy(&d, p, 8); return snprintf(buf, size, "%.17g", d);
    case TPI_GGUF_BOOL: return snprintf(buf, size, "%s", *p ? "true" : "false");
    case TPI_GGUF_U64: memcpy(&i, p, 8); return snprintf(buf, size, "%llu", (unsigned long long)i);
    case TPI_GGUF_I8: return snprintf(buf, size, "%d", *(const signed char *)p);
    case TPI_GGUF_I16: memcpy(&i, p, 2); return snprintf(buf, size, "%d", (int16_t)i);
    case TPI_GGUF_I32: memcpy(&i, p, 4); return snprintf(buf, size, "%d", (int32_t)i);
    default: memcpy(&i, p, size_of[type]); return snprintf(buf, size, "%lld", (long long)i);
    }
}

/* Up to 16 numbers in full, longer arrays and those of strings by type and length. */
static const char *pair_text(tp_file *f, const tpi_gguf_pair *p)
{
    char   buf[16 * 32] = "[";
    int    n = 1;
    size_t i;

    if (p->type == TPI_GGUF_STRING && !p->array)
        return tpi_gguf_text(f, p->key);
    if (!p->array) {
        value_text(p->type, f->gguf->blob + p->at, buf, sizeof buf);
        return tpi_file_keep(f, buf, strlen(buf));
    }
    if (p->type == TPI_GGUF_STRING || p->count > 16)
        n = snprintf(buf, sizeof buf, "[%llu x %s]", (unsigned long long)p->count, type_name[p->type]);
    else {
        for (i = 0; i < p->count; i++) {
            n += snprintf(buf + n, sizeof buf - (size_t)n, i ? ", " : "");
            n += value_text(p->type, f->gguf->blob + p->at + i * size_of[p->type], buf + n, sizeof buf - (size_t)n);
        }
        n += snprintf(buf + n, sizeof buf - (size_t)n, "]");
    }
    return tpi_file_keep(f, buf, (size_t)n);
}

static bool list_meta(tp_file *f)
{
    size_t i;

    for (i = 0; i < f->gguf->pairs; i++)
        if (!tpi_file_add_meta(f, f->gguf->pair[i].key, pair_text(f, &f->gguf->pair[i])))
            return false;
    return true;
}

/* ---- the file -------------------------------------------------------------------------------------------------------- */

static bool read_counts(cursor *c, uint64_t *tensors, uint64_t *pairs)
{
    uint32_t magic = 0, version = 0;

    if (!take(c, &magic, 4) || !take(c, &version, 4))
        return false;
    if (magic != 0x46554747u)
        return tpi_file_bad(c->f, "no GGUF file: it does not begin with \"GGUF\"");
    if (version != 2 && version != 3)
        return tpi_file_bad(c->f,
                            (version & 0xffff) == 0 ? "a big-endian GGUF file, which is not read"
                                                    : "GGUF version %u, expected 2 or 3",
                            version);
    if (!take(c, tensors, 8) || !take(c, pairs, 8))
        return false;
    /* The least that each takes: a name of one byte and fixed fields. */
    if (*tensors > TPI_MAX_TENSORS || *tensors > c->size / 25 || *pairs > MAX_PAIRS || *pairs > c->size / 14)
        return tpi_file_bad(c->f, "%llu tensors and %llu key/values, more than the file can hold",
                            (unsigned long long)*tensors, (unsigned long long)*pairs);
    return true;
}

bool tpi_gguf_list(tp_file *f)
{
    cursor   c = { .f = f, .size = (size_t)f->part[0].size };
    uint64_t tensors = 0, pairs = 0, i;

    f->gguf = c.g = tpi_alloc(f->ctx, 1, sizeof *f->gguf);
    if (!f->gguf || !read_counts(&c, &tensors, &pairs))
        return false;
    for (i = 0; i < pairs; i++)
        if (!read_pair(&c))
            return false;
    if (!check_keys(&c))
        return false;
    f->gguf->arch = tpi_gguf_text(f, "general.architecture");
    if (!f->gguf->arch)
        return tpi_file_bad(f, "there is no text at key general.architecture");
    return read_infos(&c, tensors) && list_meta(f) && tpi_gguf_add_texts(f);
}

void tpi_gguf_drop(tp_file *f)
{
    if (!f->gguf)
        return;
    tpi_free(f->gguf->blob);
    tpi_free(f->gguf->pair);
    tpi_free(f->gguf);
    f->gguf = NULL;
}
