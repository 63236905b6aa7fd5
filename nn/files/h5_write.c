/*
 * h5_write.c - HDF5 files of Tapir's profile, written without libhdf5: values as they come, one behind the other, and at
 * the end the object headers with all links and attributes, and the superblock.
 *
 * libhdf5 does not survive a write or an allocation that fails (it crashes in its exit handler at the latest), looks
 * through a group from its start for each new member, and gives other bytes with each of its versions.
 */
#include "core/hash.h"
#include "nn/files/filetable.h"
#include "nn/files/h5.h"
#include "nn/files/h5_encode.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    SUPERBLOCK = 48,
    ALIGNED = 4096, /* values of so many bytes begin at a multiple of 64, for others to map */
    MAX_ATTR = 60000,
    MAX_PATH = 2 * TPI_MAX_NAME,
    MAX_HEADER = 1 << 24, /* libhdf5 keeps no larger piece of metadata in its cache */
    PIECE = 1 << 20
};

#define UNDEFINED UINT64_MAX

typedef struct attribute {
    char  *key;
    tpi_h5_buffer message;
} attribute;

/* A hard link in a group. */
typedef struct member {
    char  *name;
    size_t node;
} member;

typedef struct node {
    const tpi_stored *type; /* NULL: a group */
    int               ndim;
    int64_t           dim[TP_MAX_DIM];
    int64_t           offset, bytes; /* of the values */
    uint8_t           value[8];      /* of a scalar */
    uint32_t          names;
    uint64_t          address; /* of the header, once it has one */
    member           *link;
    attribute        *attr;
    size_t            links, link_cap, attrs, attr_cap;
} node;

/* A path that has been written. */
typedef struct written {
    uint64_t hash; /* of the path; 0: none */
    size_t   node;
} written;

struct tpi_h5 {
    tp_ctx  *ctx;
    char    *shown;
    int      fd;
    int64_t  end; /* bytes that are written or passed over */
    node    *node;
    size_t   nodes, node_cap;
    written *seen; /* an open table, at most half full */
    size_t   seen_n, seen_cap;
    tpi_h5_buffer   out; /* headers on their way, from `end` on */
};

/* ---- bytes ----------------------------------------------------------------------------------------------------------- */

static bool write_at(tpi_h5 *h, int64_t at, const void *p, size_t n)
{
    const char *from = p;

    while (n > 0) {
        ssize_t did = pwrite(h->fd, from, n < ((size_t)1 << 30) ? n : (size_t)1 << 30, (off_t)at);

        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return tp_fail(h->ctx, TP_EIO, "%.700s: cannot write: %s", h->shown, strerror(did < 0 ? errno : ENOSPC)) !=
                   NULL;
        from += did;
        at += did;
        n -= (size_t)did;
    }
    return true;
}

static bool flush(tpi_h5 *h)
{
    bool ok = !h->out.bad && write_at(h, h->end, h->out.p, h->out.n);

    h->end += (int64_t)h->out.n;
    h->out.n = 0;
    return ok;
}

/* ---- paths ----------------------------------------------------------------------------------------------------------- */

/* Where the path of that hash is, or would be. */
static written *slot_of(written *table, size_t cap, uint64_t hash)
{
    size_t i = (size_t)hash & (cap - 1);

    while (table[i].hash && table[i].hash != hash)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static uint64_t path_hash(const char *path, size_t n)
{
    uint64_t hash = tpi_hash64(path, n);

    return hash ? hash : 1;
}

/* The node of the path, or NULL. */
static node *find_path(const tpi_h5 *h, const char *path, size_t n)
{
    const written *w = h->seen_cap ? slot_of(h->seen, h->seen_cap, path_hash(path, n)) : NULL;

    return n == 0 ? &h->node[0] : w && w->hash ? &h->node[w->node] : NULL;
}

static bool note_path(tpi_h5 *h, const char *path, size_t n, size_t k)
{
    uint64_t hash = path_hash(path, n);
    size_t   cap = h->seen_cap ? 2 * h->seen_cap : 256, i;
    written *bigger;

    if (2 * (h->seen_n + 1) > h->seen_cap) {
        bigger = tpi_alloc(h->ctx, cap, sizeof *bigger);
        if (!bigger)
            return false;
        for (i = 0; i < h->seen_cap; i++)
            if (h->seen[i].hash)
                *slot_of(bigger, cap, h->seen[i].hash) = h->seen[i];
        tpi_free(h->seen);
        h->seen = bigger;
        h->seen_cap = cap;
    }
    *slot_of(h->seen, h->seen_cap, hash) = (written){ hash, k };
    h->seen_n++;
    return true;
}

/* A link to node k in the group above path, which is there. */
static bool add_link(tpi_h5 *h, const char *path, size_t n, size_t k)
{
    size_t above = n;
    node  *g;

    while (above > 0 && path[above - 1] != '/')
        above--;
    g = find_path(h, path, above ? above - 1 : 0);
    if (!tpi_grow(h->ctx, &g->link, &g->link_cap, g->links + 1, sizeof *g->link))
        return false;
    g->link[g->links] = (member){ tpi_strndup(h->ctx, path + above, n - above), k };
    if (!g->link[g->links].name || !note_path(h, path, n, k)) {
        tpi_free(g->link[g->links].name);
        return false;
    }
    g->links++;
    h->node[k].names++;
    return true;
}

static bool add_node(tpi_h5 *h, const char *path, size_t n, const node *what)
{
    if (!tpi_grow(h->ctx, &h->node, &h->node_cap, h->nodes + 1, sizeof *h->node))
        return false;
    h->node[h->nodes++] = *what;
    return n == 0 || add_link(h, path, n, h->nodes - 1);
}

/* The group of the first n bytes of path, if it is not there. */
static bool make_group(tpi_h5 *h, const char *path, size_t n)
{
    const node *there = find_path(h, path, n);

    if (there && there->type)
        return tp_fail(h->ctx, TP_EARG,
                       "%.200s: \"%.*s\" is to be a group and a tensor: two names, of which one goes on where the "
                       "other ends",
                       h->shown, (int)n, path) != NULL;
    return there || add_node(h, path, n, &(node){ 0 });
}

/* The groups above path, which is still free. */
static bool make_room(tpi_h5 *h, const char *path)
{
    const char *slash = path;

    if (strlen(path) >= MAX_PATH)
        return tp_fail(h->ctx, TP_EARG, "%.200s: the name \"%.100s...\" is too long", h->shown, path) != NULL;
    if (find_path(h, path, strlen(path)))
        return tp_fail(h->ctx, TP_EARG, "%.200s: \"%.600s\" is there already", h->shown, path) != NULL;
    while ((slash = strchr(slash, '/')) != NULL) {
        if (!make_group(h, path, (size_t)(slash - path)))
            return false;
        slash++;
    }
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

/* Sets an attribute of node k: a new one, or another value. */
static bool set_attr(tpi_h5 *h, size_t k, const char *key, const tpi_h5_value *v)
{
    node          *o = &h->node[k];
    size_t         i = 0;
    tpi_h5_buffer *b;

    while (i < o->attrs && strcmp(o->attr[i].key, key) != 0)
        i++;
    if (i == o->attrs) {
        if (!tpi_grow(h->ctx, &o->attr, &o->attr_cap, i + 1, sizeof *o->attr))
            return false;
        o->attr[i] = (attribute){ tpi_strdup(h->ctx, key), { .ctx = h->ctx } };
        if (!o->attr[i].key)
            return false;
        o->attrs++;
    }
    b = &o->attr[i].message;
    b->n = 0;
    tpi_h5_encode_attr(b, key, v);
    return !b->bad;
}

/* ---- headers --------------------------------------------------------------------------------------------------------- */

static void put_group(const tpi_h5 *h, tpi_h5_buffer *b, const node *g)
{
    size_t i;

    tpi_h5_message_head(b, TPI_H5_LINK_INFO, 18, 0);
    tpi_h5_put_int(b, 0, 2);
    tpi_h5_put_int(b, UNDEFINED, 8); /* no other place for links */
    tpi_h5_put_int(b, UNDEFINED, 8);
    tpi_h5_message_head(b, TPI_H5_GROUP_INFO, 6, 1);
    tpi_h5_put_int(b, 1 << 8, 2);
    tpi_h5_put_int(b, 65535, 2); /* links stay in the header */
    tpi_h5_put_int(b, 0, 2);
    for (i = 0; i < g->links; i++) {
        size_t n = strlen(g->link[i].name);
        int    wide = n > 255;

        tpi_h5_message_head(b, TPI_H5_LINK, (size_t)(12 + wide) + n, 0);
        tpi_h5_put_int(b, 1, 1);
        tpi_h5_put_int(b, (uint64_t)(0x10 | wide), 1); /* with its character set */
        tpi_h5_put_int(b, 1, 1);
        tpi_h5_put_int(b, n, 1 + wide);
        tpi_h5_put_bytes(b, g->link[i].name, n);
        tpi_h5_put_int(b, h->node[g->link[i].node].address, 8);
    }
}

static void put_common(tpi_h5_buffer *b, const node *o)
{
    size_t i;

    if (o->names > 1) {
        tpi_h5_message_head(b, TPI_H5_NAMES, 5, 0);
        tpi_h5_put_int(b, 0, 1);
        tpi_h5_put_int(b, o->names, 4);
    }
    if (o->attrs > 0) {
        tpi_h5_message_head(b, TPI_H5_ATTR_INFO, 18, 4);
        tpi_h5_put_int(b, 0, 2);
        tpi_h5_put_int(b, UNDEFINED, 8);
        tpi_h5_put_int(b, UNDEFINED, 8);
    }
    for (i = 0; i < o->attrs; i++)
        tpi_h5_put_bytes(b, o->attr[i].message.p, o->attr[i].message.n);
}

/* "OHDR", version, flags (16: where attributes may stand; 2: four bytes of size), messages, checksum. */
static bool put_header(tpi_h5 *h, node *o)
{
    tpi_h5_buffer *b = &h->out;
    size_t  from = b->n, size, i;

    o->address = (uint64_t)h->end + from;
    tpi_h5_put_bytes(b, "OHDR\2\x12\xff\xff\0\0", 10);
    tpi_h5_put_int(b, 0, 4);
    if (o->type)
        tpi_h5_encode_set(b, o->type, o->ndim, o->dim, o->bytes, o->offset, o->value);
    else
        put_group(h, b, o);
    put_common(b, o);
    if (b->bad)
        return false;
    size = b->n - from - 14;
    if (size > MAX_HEADER)
        return tp_fail(h->ctx, TP_EARG, "%.500s: a group of %zu members has no room for their names", h->shown,
                       o->links) != NULL;
    for (i = 0; i < 4; i++)
        b->p[from + 10 + i] = (uint8_t)(size >> 8 * i);
    tpi_h5_put_int(b, tpi_h5_checksum(b->p + from, b->n - from), 4);
    return b->n < PIECE || flush(h);
}

/* Sets first, then groups from the last to the first: so each link's target has its address. */
static bool put_headers(tpi_h5 *h)
{
    size_t i;

    for (i = 0; i < h->nodes; i++)
        if (h->node[i].type && !put_header(h, &h->node[i]))
            return false;
    for (i = h->nodes; i-- > 0;)
        if (!h->node[i].type && !put_header(h, &h->node[i]))
            return false;
    return flush(h);
}

static bool put_superblock(tpi_h5 *h)
{
    tpi_h5_buffer *b = &h->out;

    tpi_h5_put_bytes(b, "\x89HDF\r\n\x1a\n\3\10\10\0", 12);
    tpi_h5_put_int(b, 0, 8);
    tpi_h5_put_int(b, UNDEFINED, 8);
    tpi_h5_put_int(b, (uint64_t)h->end, 8);
    tpi_h5_put_int(b, h->node[0].address, 8);
    if (!b->bad)
        tpi_h5_put_int(b, tpi_h5_checksum(b->p, b->n), 4);
    return !b->bad && write_at(h, 0, b->p, b->n);
}

/* ---- the calls ------------------------------------------------------------------------------------------------------- */

tpi_h5 *tpi_h5_create(tp_ctx *ctx, int fd, const char *shown)
{
    tpi_h5 *h = tpi_alloc(ctx, 1, sizeof *h);

    if (!h)
        return NULL;
    h->ctx = h->out.ctx = ctx;
    h->fd = fd;
    h->end = SUPERBLOCK;
    h->shown = tpi_strdup(ctx, shown);
    if (h->shown && add_node(h, "", 0, &(node){ .names = 1 }))
        return h;
    tpi_h5_drop(h);
    return NULL;
}

bool tpi_h5_put(tpi_h5 *h, const tpi_h5_set *s, const tpi_h5_named *attr, int n)
{
    node    o = { .type = s->type, .ndim = s->ndim };
    uint8_t type[TPI_H5_TYPE_MOST];
    int64_t numel;
    size_t  k = h->nodes;
    int     i;

    if (!tpi_h5_encode_type(s->type, type) || !tpi_stored_size(s->type, s->ndim, s->dim, &numel, &o.bytes))
        return tp_fail(h->ctx, TP_EDTYPE, "%.200s: \"%.600s\" of type %s cannot be written", h->shown, s->path,
                       s->type->name) != NULL;
    if (!make_room(h, s->path))
        return false;
    if (s->ndim == 0) {
        memcpy(o.value, s->data, (size_t)o.bytes);
    } else {
        memcpy(o.dim, s->dim, (size_t)s->ndim * sizeof *s->dim);
        h->end = o.bytes >= ALIGNED ? (h->end + 63) / 64 * 64 : h->end;
        o.offset = h->end;
        if (!write_at(h, o.offset, s->data, (size_t)o.bytes))
            return false;
        h->end += o.bytes;
    }
    k = h->nodes;
    if (!add_node(h, s->path, strlen(s->path), &o))
        return false;
    for (i = 0; i < n; i++)
        if (!set_attr(h, k, attr[i].key, &attr[i].value))
            return false;
    return true;
}

bool tpi_h5_link(tpi_h5 *h, const char *path, const char *other)
{
    const node *there;

    if (!make_room(h, other))
        return false;
    there = find_path(h, path, strlen(path));
    if (!there || !there->type)
        return tp_fail(h->ctx, TP_EARG, "%.200s: there is no tensor \"%.600s\" to give a second name", h->shown, path) !=
               NULL;
    return add_link(h, other, strlen(other), (size_t)(there - h->node));
}

bool tpi_h5_attr(tpi_h5 *h, const char *path, const char *key, const tpi_h5_value *v)
{
    size_t n = strlen(path);

    if (v->kind == TPI_H5_TEXT && strlen(v->text) > MAX_ATTR)
        return tp_fail(h->ctx, TP_EARG, "%.200s: attribute %.100s is longer than %d bytes", h->shown, key, MAX_ATTR) !=
               NULL;
    if (!find_path(h, path, n) && (!make_room(h, path) || !make_group(h, path, n)))
        return false;
    return set_attr(h, (size_t)(find_path(h, path, n) - h->node), key, v);
}

bool tpi_h5_close(tpi_h5 *h)
{
    bool ok = put_headers(h) && put_superblock(h);

    tpi_h5_drop(h);
    return ok;
}

void tpi_h5_drop(tpi_h5 *h)
{
    size_t i, k;

    if (!h)
        return;
    for (i = 0; i < h->nodes; i++) {
        for (k = 0; k < h->node[i].links; k++)
            tpi_free(h->node[i].link[k].name);
        for (k = 0; k < h->node[i].attrs; k++) {
            tpi_free(h->node[i].attr[k].key);
            tpi_free(h->node[i].attr[k].message.p);
        }
        tpi_free(h->node[i].link);
        tpi_free(h->node[i].attr);
    }
    tpi_free(h->node);
    tpi_free(h->seen);
    tpi_free(h->out.p);
    tpi_free(h->shown);
    tpi_free(h);
}
