/*
 * h5_read.c - a walk through an HDF5 file of Tapir's profile, without libhdf5 and without recursion.
 */
#include "nn/files/filetable.h"
#include "nn/files/h5.h"
#include "nn/files/h5_head.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32, MAX_NODES = 1000000, MAX_ATTRS = 64, MAX_TEXT = 60001, STRING = 3 };

/* An object that is still to be visited. */
typedef struct pending {
    char    *path;
    uint64_t address;
    int      depth;
} pending;

typedef struct walk {
    tpi_h5_source         s;
    const tpi_h5_visitor *v;
    pending              *todo;
    size_t                n, cap;
    long                  nodes;
    int64_t               room; /* for paths: they repeat the names above them, so little of a file could ask for much */
} walk;

static bool walk_bad(walk *w, const char *path, const char *what)
{
    if (*what && *path) /* without a text the context knows */
        tp_fail(w->s.ctx, TP_EFORMAT, "%.200s: \"%.500s\": %s", w->s.disk->path, path, what);
    else if (*what)
        tp_fail(w->s.ctx, TP_EFORMAT, "%.700s: %s", w->s.disk->path, what);
    return false;
}

/* ---- shapes -------------------------------------------------------------------------------------------------------- */

/* Version 2: version, rank, flags, kind (0 scalar, 1 simple, 2 null), dims, and the most they may become, which is
 * ignored. */
static bool space_of(tpi_h5_cursor c, int *ndim, int64_t *dim)
{
    uint64_t version = tpi_h5_take(&c, 1), rank = tpi_h5_take(&c, 1), kind, d;
    int      i;

    tpi_h5_take(&c, 1);
    kind = tpi_h5_take(&c, 1);
    *ndim = (int)rank;
    if (version != 2 || rank > TP_MAX_DIM || kind > 1 || (kind == 0) != (rank == 0))
        return false;
    for (i = 0; i < *ndim; i++) {
        d = tpi_h5_take(&c, 8);
        if (d >= (uint64_t)1 << 48)
            return false;
        dim[i] = (int64_t)d;
    }
    return !c.bad;
}

/* ---- what an object header says -------------------------------------------------------------------------------------- */

typedef struct object {
    tpi_h5_node node;
    bool        type, space, layout, links; /* messages that were there */
    uint64_t    link_heap, link_tree, attr_heap, attr_tree; /* UINT64_MAX: everything is in the header */
    const char *why;                        /* what is wrong */
} object;

/* Compact: the bytes stand here; contiguous: an address and a size. */
static void read_layout(object *o, tpi_h5_cursor c)
{
    uint64_t version = tpi_h5_take(&c, 1), kind = tpi_h5_take(&c, 1), offset, bytes;

    o->layout = true;
    if (version < 3 || version > 5 || kind > 1) {
        o->why = "not stored in one piece (chunked or virtual)";
    } else if (kind == 0) {
        bytes = tpi_h5_take(&c, 2);
        o->node.bytes = (int64_t)bytes;
        o->node.value = c.at;
        c.bad |= bytes > (uint64_t)(c.end - c.at);
    } else {
        offset = tpi_h5_take(&c, 8);
        bytes = tpi_h5_take(&c, 8);
        o->node.offset = offset == UINT64_MAX ? -1 : (int64_t)(offset & INT64_MAX);
        o->node.bytes = (int64_t)(bytes & INT64_MAX);
    }
    if (c.bad)
        o->why = "a layout that is cut short";
}

/* Where links or attributes stand outside of the header: version, flags, (a counter,) heap, tree. */
static void read_dense(object *o, tpi_h5_cursor c, int counter, uint64_t *heap, uint64_t *tree)
{
    uint64_t flags;

    tpi_h5_take(&c, 1);
    flags = tpi_h5_take(&c, 1);
    tpi_h5_take(&c, flags & 1 ? counter : 0);
    *heap = tpi_h5_take(&c, 8);
    *tree = tpi_h5_take(&c, 8);
    if (c.bad)
        o->why = "a message that is cut short";
}

static void read_message(object *o, const tpi_h5_message *m)
{
    switch (m->type) {
    case TPI_H5_TYPE:
        o->node.type = tpi_h5_type_of(m->body);
        o->type = true;
        break;
    case TPI_H5_SPACE:
        o->space = true;
        if (!space_of(m->body, &o->node.ndim, o->node.dim))
            o->why = "a shape that Tapir does not write";
        break;
    case TPI_H5_LAYOUT: read_layout(o, m->body); break;
    case TPI_H5_LINK_INFO:
        o->links = true;
        read_dense(o, m->body, 8, &o->link_heap, &o->link_tree);
        break;
    case TPI_H5_ATTR_INFO: read_dense(o, m->body, 2, &o->attr_heap, &o->attr_tree); break;
    case TPI_H5_FILTER:
    case TPI_H5_EXTERNAL: o->why = "filtered or external values"; break;
    case TPI_H5_SYMBOLS: o->why = "a group of the old format"; break;
    default: break;
    }
}

/* Whether type, shape and place fit together. */
static void check_set(object *o)
{
    int64_t numel, bytes;

    if (!o->node.type)
        o->why = "a type that Tapir does not write";
    else if (!o->space || !o->layout)
        o->why = "a data set without shape or place";
    else if (!tpi_stored_size(o->node.type, o->node.ndim, o->node.dim, &numel, &bytes))
        o->why = "a data set that is too large";
    else if (bytes == 0)
        o->node.offset = o->node.bytes = 0;
    else if (o->node.bytes != bytes || (!o->node.value && o->node.offset < 0))
        o->why = "a data set without all of its values";
}

/* ---- links ----------------------------------------------------------------------------------------------------------- */

static bool push(walk *w, const char *path, const char *name, size_t n, uint64_t address, int depth)
{
    char *p;

    if (w->nodes + (long)w->n >= MAX_NODES)
        return walk_bad(w, path, "more than 1,000,000 objects");
    if (depth > MAX_DEPTH)
        return walk_bad(w, path, "nested deeper than 32");
    w->room -= (int64_t)(strlen(path) + n + 64);
    if (w->room < 0)
        return walk_bad(w, path, "more names than a file of this size has");
    if (!tpi_grow(w->s.ctx, &w->todo, &w->cap, w->n + 1, sizeof *w->todo))
        return false;
    p = path[0] ? tpi_format(w->s.ctx, "%s/%.*s", path, (int)n, name) : tpi_strndup(w->s.ctx, name, n);
    if (!p)
        return false;
    w->todo[w->n++] = (pending){ p, address, depth };
    return true;
}

/* version, flags, (kind,) (order,) (character set,) length of the name, the name, address. */
static bool read_link(walk *w, const pending *at, tpi_h5_cursor c)
{
    uint64_t    version = tpi_h5_take(&c, 1), flags = tpi_h5_take(&c, 1), kind, n, address;
    const char *name;

    kind = flags & 8 ? tpi_h5_take(&c, 1) : 0;
    tpi_h5_take(&c, flags & 4 ? 8 : 0);
    tpi_h5_take(&c, flags & 16 ? 1 : 0);
    n = tpi_h5_take(&c, 1 << (flags & 3));
    name = (const char *)c.at;
    if (version != 1 || kind != 0 || n > (uint64_t)(c.end - c.at))
        return walk_bad(w, at->path, "a soft or external link, or one that is damaged");
    if (!tpi_name_ok(name, (size_t)n) || memchr(name, '/', (size_t)n) || (n == 1 && *name == '.') ||
        (n == 2 && memcmp(name, "..", 2) == 0))
        return walk_bad(w, at->path, "a name in it is not plain text");
    c.at += n;
    address = tpi_h5_take(&c, 8);
    if (c.bad)
        return walk_bad(w, at->path, "a link that is cut short");
    return push(w, at->path, name, (size_t)n, address, at->depth + 1);
}

/* The stack gives them back in byte order. */
static int by_path_down(const void *a, const void *b)
{
    return strcmp(((const pending *)b)->path, ((const pending *)a)->path);
}

/* What is done with the links or attributes of one object. */
typedef struct finding {
    walk       *w;
    pending     at;
    int         n;    /* attributes so far */
    char       *text; /* for their values */
} finding;

static bool link_found(void *user, tpi_h5_cursor body)
{
    finding *f = user;

    return read_link(f->w, &f->at, body);
}

static bool read_links(walk *w, const pending *at, const tpi_h5_head *h, const object *o)
{
    size_t         chunk = 0, place = 0, first = w->n;
    finding        f = { .w = w, .at = *at };
    const char    *why = NULL;
    tpi_h5_message m;

    while (tpi_h5_next(h, &chunk, &place, &m))
        if (m.type == TPI_H5_LINK && !read_link(w, at, m.body))
            return false;
    if (o->link_heap != UINT64_MAX)
        why = tpi_h5_dense(&w->s, o->link_heap, o->link_tree, TPI_H5_LINK_TREE, link_found, &f);
    if (w->n > first + 1)
        qsort(w->todo + first, w->n - first, sizeof *w->todo, by_path_down);
    return why ? walk_bad(w, at->path, why) : true;
}

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

/* A value of one element: texts end in a NUL that may be missing. */
static bool attr_value(tpi_h5_cursor type, tpi_h5_cursor data, tpi_h5_value *v, char *text)
{
    const tpi_stored *t = tpi_h5_type_of(type);
    size_t            size;
    uint64_t          bits;
    float             f;

    if (!t && type.end - type.at >= 8 && (type.at[0] & 15) == STRING) {
        type.at += 4;
        size = (size_t)tpi_h5_take(&type, 4);
        if (size >= MAX_TEXT || size > (size_t)(data.end - data.at))
            return false;
        memcpy(text, data.at, size);
        text[size] = '\0';
        *v = (tpi_h5_value){ .kind = TPI_H5_TEXT, .text = text };
        return true;
    }
    if (!t || t->name[0] == 'B' || strcmp(t->name, "F16") == 0)
        return false;
    bits = tpi_h5_take(&data, t->bytes);
    if (t->name[0] == 'F') {
        memcpy(&f, &bits, sizeof f);
        v->real = f;
        memcpy(&v->real, &bits, t->bytes == 8 ? sizeof v->real : 0);
        v->kind = TPI_H5_F64;
    } else if (t->name[0] == 'I') {
        v->number = bits;
        if (t->bytes < 8 && bits >> (8 * t->bytes - 1))
            v->number |= UINT64_MAX << 8 * t->bytes;
        v->kind = TPI_H5_I64;
    } else {
        v->number = bits;
        v->kind = t->bytes == 1 ? TPI_H5_U8 : t->bytes == 4 ? TPI_H5_U32 : TPI_H5_U64;
    }
    return !data.bad;
}

/* Version 3: flags, sizes of name, type and space, character set, then these three and the value. */
static bool read_attr(walk *w, const char *path, tpi_h5_cursor c, char *text)
{
    uint64_t version = tpi_h5_take(&c, 1), flags = tpi_h5_take(&c, 1), n = tpi_h5_take(&c, 2), m = tpi_h5_take(&c, 2);
    uint64_t      k = tpi_h5_take(&c, 2);
    tpi_h5_value  v = { .kind = TPI_H5_U64 };
    tpi_h5_cursor type, space;
    const char   *key;
    int64_t       dim[TP_MAX_DIM];
    int           ndim;

    tpi_h5_take(&c, 1);
    key = (const char *)c.at;
    if (c.bad || version != 3 || flags != 0 || n < 2 || n + m + k > (uint64_t)(c.end - c.at) || key[n - 1] != '\0' ||
        !tpi_name_ok(key, (size_t)n - 1))
        return walk_bad(w, path, "an attribute that is damaged or not of the profile");
    c.at += n;
    type = (tpi_h5_cursor){ c.at, c.at + m, false };
    space = (tpi_h5_cursor){ c.at + m, c.at + m + k, false };
    c.at += m + k;
    if (!space_of(space, &ndim, dim) || ndim != 0 || !attr_value(type, c, &v, text))
        return true; /* of a type that Tapir does not write: somebody else's */
    return w->v->attr(w->v->user, path, key, &v);
}

static bool attr_found(void *user, tpi_h5_cursor body)
{
    finding *f = user;

    return ++f->n <= MAX_ATTRS ? read_attr(f->w, f->at.path, body, f->text)
                               : walk_bad(f->w, f->at.path, "more than 64 attributes");
}

static bool read_attrs(walk *w, const pending *at, const tpi_h5_head *h, const object *o)
{
    size_t         chunk = 0, place = 0;
    finding        f = { .w = w, .at = *at, .text = tpi_alloc(w->s.ctx, MAX_TEXT + 1, 1) };
    const char    *why = NULL;
    tpi_h5_message m;
    bool           ok = f.text != NULL;

    while (ok && tpi_h5_next(h, &chunk, &place, &m))
        ok = m.type != TPI_H5_ATTR || attr_found(&f, m.body);
    if (ok && o->attr_heap != UINT64_MAX)
        why = tpi_h5_dense(&w->s, o->attr_heap, o->attr_tree, TPI_H5_ATTR_TREE, attr_found, &f);
    tpi_free(f.text);
    return why ? walk_bad(w, at->path, why) : ok;
}

/* ---- the walk -------------------------------------------------------------------------------------------------------- */

static bool visit(walk *w, const pending *at, const tpi_h5_head *h)
{
    object         o = { .node = { .path = at->path, .address = at->address },
                         .link_heap = UINT64_MAX,
                         .attr_heap = UINT64_MAX };
    size_t         chunk = 0, place = 0;
    tpi_h5_message m;

    while (!o.why && tpi_h5_next(h, &chunk, &place, &m))
        read_message(&o, &m);
    o.node.group = o.links && !o.type;
    if (!o.why && !o.node.group)
        check_set(&o);
    if (o.why)
        return walk_bad(w, at->path, o.why);
    return w->v->node(w->v->user, &o.node) && read_attrs(w, at, h, &o) && (!o.node.group || read_links(w, at, h, &o));
}

bool tpi_h5_visit(tp_ctx *ctx, tpi_disk *disk, const tpi_h5_visitor *v)
{
    walk        w = { .s = { .ctx = ctx, .disk = disk }, .v = v };
    uint64_t    root = 0;
    const char *why = tpi_h5_open(&w.s, &root);
    bool        ok;

    w.room = disk->size + (1 << 20);
    ok = why ? walk_bad(&w, "", why) : push(&w, "", "", 0, root, 0);
    while (ok && w.n > 0) {
        pending     at = w.todo[--w.n];
        tpi_h5_head h;

        w.nodes++;
        why = tpi_h5_load(&w.s, at.address, &h);
        ok = why ? walk_bad(&w, at.path, why) : visit(&w, &at, &h);
        if (!why)
            tpi_h5_unload(&h);
        tpi_free(at.path);
    }
    while (w.n > 0)
        tpi_free(w.todo[--w.n].path);
    tpi_free(w.todo);
    return ok;
}
