/*
 * ckpt_read.c - the reader of Tapir's checkpoints.  Names, places and attributes are read at once, values when they are
 * asked for.
 */
#include "nn/files/ckpt.h"
#include "nn/files/h5.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of one object, to see that no two share them. */
typedef struct extent {
    int64_t  begin, end;
    uint64_t address;
} extent;

typedef struct ckpt_reader {
    tp_file    *f;
    bool        checked, complete, has_content, all_hashed; /* checked: the root's attributes have been */
    char       *format, *requires_words;
    uint64_t    major, content_hash;
    tpi_content content;
    extent     *extent;
    size_t      extents, extent_cap;
    tpi_bytes  *bytes[2]; /* of the data set whose attributes come now: a tensor's, or a text's under two names */
    tpi_h5_node last;
} ckpt_reader;

/* ---- the root -------------------------------------------------------------------------------------------------------- */

static bool root_attr(ckpt_reader *r, const char *key, const tpi_h5_value *v)
{
    bool text = v->kind == TPI_H5_TEXT;

    if (strcmp(key, "tapir_format") == 0 && text)
        return (r->format = tpi_file_keep(r->f, v->text, strlen(v->text))) != NULL;
    if (strcmp(key, "tapir_requires") == 0 && text)
        return (r->requires_words = tpi_file_keep(r->f, v->text, strlen(v->text))) != NULL;
    if (strcmp(key, "tapir_kind") == 0 && text)
        return (r->f->kind = tpi_file_keep(r->f, v->text, strlen(v->text))) != NULL;
    if (strcmp(key, "source_identity") == 0 && text)
        tpi_file_take_identity(r->f, v->text);
    if (strcmp(key, "tapir_format_major") == 0)
        r->major = v->number;
    if (strcmp(key, "complete") == 0)
        r->complete = v->number == 1;
    if (strcmp(key, "content_xxh3") == 0) {
        r->content_hash = v->number;
        r->has_content = true;
    }
    return true;
}

/* Once the root's attributes are known, before anything else is believed. */
static bool check_root(ckpt_reader *r)
{
    r->checked = true;
    if (!r->format || strcmp(r->format, TPI_CKPT_FORMAT) != 0)
        return tpi_file_bad(r->f, "an HDF5 file, but no Tapir checkpoint: expected the attribute tapir_format \"%s\"",
                            TPI_CKPT_FORMAT);
    if (r->major < 1 || r->major > TPI_CKPT_MAJOR)
        return tpi_file_bad(r->f, "a checkpoint of major version %llu; this Tapir reads %d",
                            (unsigned long long)r->major, TPI_CKPT_MAJOR);
    if (r->requires_words && r->requires_words[strspn(r->requires_words, " ")])
        return tpi_file_bad(r->f, "needs \"%.100s\", which this Tapir does not know", r->requires_words);
    if (!r->f->kind || !tpi_ckpt_kind_ok(r->f->kind))
        return tpi_file_bad(r->f, "unknown tapir_kind \"%.40s\"", r->f->kind ? r->f->kind : "");
    return r->complete || tpi_file_bad(r->f, "the file was not completed");
}

/* ---- data sets ------------------------------------------------------------------------------------------------------- */

static bool add_extent(ckpt_reader *r, const tpi_h5_node *n)
{
    if (n->value || n->bytes == 0)
        return true;
    if (!tpi_grow(r->f->ctx, &r->extent, &r->extent_cap, r->extents + 1, sizeof *r->extent))
        return false;
    r->extent[r->extents++] = (extent){ n->offset, n->offset + n->bytes, n->address };
    return true;
}

static tpi_bytes bytes_of(const tpi_h5_node *n, const void *value)
{
    return (tpi_bytes){ .offset = n->offset, .size = n->bytes, .value = value };
}

/* Under its path, and under the name that a Hugging Face directory has for it. */
static bool add_text(ckpt_reader *r, const char *path, const tpi_h5_node *n)
{
    tp_file    *f = r->f;
    const char *name = strcmp(path, "config/model.json") == 0 ? "config.json" : strchr(path, '/') + 1;
    tpi_bytes   b = bytes_of(n, NULL);

    if (b.offset < 0 || b.size > f->part[0].size - b.offset)
        return tpi_file_bad(f, "text \"%.600s\" lies beyond the end of the file", path);
    if (!tpi_file_add_text(f, path, &b) || !tpi_file_add_text(f, name, &b))
        return false;
    r->bytes[0] = &f->text[f->texts - 2].bytes;
    r->bytes[1] = &f->text[f->texts - 1].bytes;
    return true;
}

static bool add_tensor(ckpt_reader *r, char *path, const tpi_h5_node *n)
{
    tp_file  *f = r->f;
    size_t    section = tpi_ckpt_section(path);
    tpi_entry e = { .type = n->type };
    void     *value = NULL;
    char     *p;

    if (path[section] != '/')
        return tpi_file_bad(f, "\"%.600s\" is in no section", path);
    if (n->value) {
        value = tpi_file_own(f, tpi_alloc(f->ctx, (size_t)n->bytes, 1));
        if (!value)
            return false;
        memcpy(value, n->value, (size_t)n->bytes);
    }
    for (p = path + section + 1; *p; p++)
        *p = *p == '/' ? '.' : *p;
    e.seen.section = tpi_file_keep(f, path, section);
    if (!e.seen.section)
        return false;
    e.seen.name = path + section + 1;
    e.seen.key = strcmp(e.seen.section, "model") == 0 || strcmp(e.seen.section, "adapter") == 0 ? e.seen.name : path;
    e.seen.ndim = n->ndim;
    memcpy(e.seen.dim, n->dim, sizeof e.seen.dim);
    e.bytes = bytes_of(n, value);
    if (!tpi_file_add(f, &e))
        return false;
    r->bytes[0] = &f->entry[f->entries - 1].bytes;
    r->bytes[1] = NULL;
    return true;
}

/* The data set seen last has had its attributes: its hash is known, if it has one. */
static bool finish_last(ckpt_reader *r)
{
    bool ok = true;

    if (r->last.path && r->bytes[0]->promised)
        ok = tpi_content_add(r->f->ctx, &r->content, r->last.path, r->last.type, r->last.ndim, r->last.dim,
                             r->bytes[0]->hash);
    else if (r->last.path)
        r->all_hashed = false;
    r->last.path = NULL;
    r->bytes[0] = r->bytes[1] = NULL;
    return ok;
}

static bool on_node(void *user, const tpi_h5_node *n)
{
    ckpt_reader *r = user;
    char        *path;

    if (n->path[0] == '\0')
        return true;
    if (!r->checked && !check_root(r))
        return false;
    if (!finish_last(r))
        return false;
    if (n->group)
        return true;
    path = tpi_file_keep(r->f, n->path, strlen(n->path));
    r->last = *n;
    r->last.path = tpi_file_keep(r->f, n->path, strlen(n->path));
    if (!path || !r->last.path || !add_extent(r, n))
        return false;
    if ((strncmp(path, "config/", 7) == 0 || strncmp(path, "tokenizer/", 10) == 0) && n->ndim == 1 &&
        strcmp(n->type->name, "U8") == 0)
        return add_text(r, path, n);
    return add_tensor(r, path, n);
}

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

static const char *value_text(tp_file *f, const char *key, const tpi_h5_value *v)
{
    char  buf[64];
    char *p;

    if (v->kind == TPI_H5_TEXT)
        return tpi_file_keep(f, v->text, strlen(v->text));
    if (v->kind == TPI_H5_F64) {
        snprintf(buf, sizeof buf, "%.17g", v->real);
        for (p = buf; *p; p++) /* whatever the locale's decimal point is */
            *p = *p == ',' ? '.' : *p;
    } else if (v->kind == TPI_H5_I64) {
        snprintf(buf, sizeof buf, "%lld", (long long)v->number);
    } else {
        snprintf(buf, sizeof buf, strcmp(key, "content_xxh3") == 0 ? "%016llx" : "%llu", (unsigned long long)v->number);
    }
    return tpi_file_keep(f, buf, strlen(buf));
}

/* "key" for the root, "section@key" and "section/dotted.name@key" below it. */
static const char *attr_name(tp_file *f, const char *path, const char *key)
{
    size_t section = tpi_ckpt_section(path), i;
    char *name = path[0] ? tpi_file_own(f, tpi_format(f->ctx, "%s@%s", path, key)) : tpi_file_keep(f, key, strlen(key));

    for (i = section + 1; name && path[0] && path[section] && path[i]; i++)
        name[i] = name[i] == '/' ? '.' : name[i];
    return name;
}

static bool on_attr(void *user, const char *path, const char *key, const tpi_h5_value *v)
{
    ckpt_reader *r = user;
    int          i;

    if (path[0] == '\0' && !root_attr(r, key, v))
        return false;
    if (r->last.path && strcmp(key, "xxh3") == 0 && v->kind == TPI_H5_U64) {
        for (i = 0; i < 2; i++)
            if (r->bytes[i]) {
                r->bytes[i]->hash = v->number;
                r->bytes[i]->promised = true;
            }
        return true;
    }
    if (r->last.path && strcmp(key, "name") == 0) /* for people: the path says the same */
        return true;
    return tpi_file_add_meta(r->f, attr_name(r->f, path, key), value_text(r->f, key, v));
}

/* ---- the file -------------------------------------------------------------------------------------------------------- */

static int by_begin(const void *a, const void *b)
{
    const extent *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

/* Different data sets have different bytes: a small file cannot hold a large model. */
static bool check_extents(ckpt_reader *r)
{
    size_t i;

    if (r->extents > 1)
        qsort(r->extent, r->extents, sizeof *r->extent, by_begin);
    for (i = 1; i < r->extents; i++)
        if (r->extent[i].begin < r->extent[i - 1].end && r->extent[i].address != r->extent[i - 1].address)
            return tpi_file_bad(r->f, "two data sets lie on the same bytes, at %lld", (long long)r->extent[i].begin);
    return true;
}

static bool check_content(ckpt_reader *r)
{
    uint64_t h;

    if (!r->has_content || !r->all_hashed)
        return true;
    h = tpi_content_hash(&r->content);
    return h == r->content_hash ||
           tpi_file_bad(r->f, "damaged: names, shapes and hashes give content_xxh3 %016llx, the file says %016llx",
                        (unsigned long long)h, (unsigned long long)r->content_hash);
}

bool tpi_ckpt_list(tp_file *f)
{
    ckpt_reader r = { .f = f, .all_hashed = true };
    bool        ok = tpi_h5_visit(f->ctx, &f->part[0], &(tpi_h5_visitor){ &r, on_node, on_attr });

    ok = ok && finish_last(&r) && (r.checked || check_root(&r)) && check_extents(&r) && check_content(&r) &&
         tpi_file_index(f);
    tpi_content_free(&r.content);
    tpi_free(r.extent);
    return ok;
}
