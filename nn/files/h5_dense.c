/*
 * h5_dense.c - links and attributes that stand outside of their object's header, as HDF5 keeps more than eight: messages
 * in a fractal heap, found through a B-tree of version 2.  Every block is under its checksum.
 */
#include "nn/files/h5_head.h"

#include <stdlib.h>
#include <string.h>

enum { HEAP_HEAD = 142, TREE_HEAD = 34, DEPTH = 12, MAX_WIDTH = 256, MAX_ROWS = 64, NODE = 6, SUM = 4 };

#define UNDEFINED UINT64_MAX

/* Bytes of the heap's own space, which objects are addressed in. */
typedef struct block {
    uint64_t offset, size;
    uint8_t *bytes;
} block;

/* An indirect block that is still to be read: the table of other blocks. */
typedef struct table {
    uint64_t address, offset;
    int      rows;
} table;

typedef struct dense {
    tpi_h5_source *s;
    uint64_t       heap, start, most; /* address; sizes of the first and of the largest direct block */
    int            width, offset_n, length_n, id_n;
    block         *block;
    table         *todo;
    size_t         blocks, block_cap, todos, todo_cap;
    int            type, record, node; /* of the tree: its kind, bytes of a record and of a node */
    tpi_h5_found   found;
    void          *user;
} dense;

static int log2_of(uint64_t v)
{
    int n = 0;

    while (v >>= 1)
        n++;
    return n;
}

/* Bytes that hold numbers up to v. */
static int bytes_for(uint64_t v)
{
    return log2_of(v) / 8 + 1;
}

static bool is_power(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* n bytes with that signature and version 0, whose last four are the checksum of the others. */
static const char *load_summed(tpi_h5_source *s, uint64_t at, size_t n, const char *signature, uint8_t **p)
{
    const char *why = tpi_h5_bytes(s, at, n, p);

    if (why)
        return why;
    if (memcmp(*p, signature, 4) == 0 && (*p)[4] == 0 && tpi_h5_sum_ok(*p, n - SUM))
        return NULL;
    tpi_free(*p);
    *p = NULL;
    return "a table outside of a header is damaged: its checksum is wrong";
}

/* ---- the heap -------------------------------------------------------------------------------------------------------- */

/* Blocks of a row have the size of all above together: s, s, 2s, 4s, ... */
static uint64_t row_size(const dense *d, int row)
{
    return row == 0 ? d->start : d->start << (row - 1);
}

/* "FHDB", version, address of the heap, offset, checksum of the block with this field as zero; then the objects. */
static const char *load_direct(dense *d, uint64_t address, uint64_t offset, uint64_t size)
{
    size_t        head = 13 + (size_t)d->offset_n;
    uint8_t      *p;
    const char   *why = size < head + SUM ? "a heap with blocks of no size" : tpi_h5_bytes(d->s, address, size, &p);
    tpi_h5_cursor c;
    uint32_t      sum;

    if (why)
        return why;
    c = (tpi_h5_cursor){ p + 5, p + size, false };
    if (memcmp(p, "FHDB", 5) != 0 || tpi_h5_take(&c, 8) != d->heap || tpi_h5_take(&c, d->offset_n) != offset)
        c.bad = true;
    sum = (uint32_t)tpi_h5_take(&c, SUM);
    memset(p + head, 0, SUM);
    if (c.bad || !tpi_h5_sum_is(p, size, sum)) {
        tpi_free(p);
        return "a table outside of a header is damaged: its checksum is wrong";
    }
    if (!tpi_grow(d->s->ctx, &d->block, &d->block_cap, d->blocks + 1, sizeof *d->block)) {
        tpi_free(p);
        return "";
    }
    d->block[d->blocks++] = (block){ offset, size, p };
    return NULL;
}

/* A block of either kind at its place in a table; rows of larger blocks than direct ones have tables. */
static const char *take_block(dense *d, uint64_t address, uint64_t offset, int row)
{
    uint64_t size = row_size(d, row);
    int      rows = log2_of(size) - log2_of(d->start) - log2_of((uint64_t)d->width) + 1;

    if (address == UNDEFINED)
        return NULL;
    if (size <= d->most)
        return load_direct(d, address, offset, size);
    if (rows < 1 || !tpi_grow(d->s->ctx, &d->todo, &d->todo_cap, d->todos + 1, sizeof *d->todo))
        return rows < 1 ? "a heap with a table of no rows" : "";
    d->todo[d->todos++] = (table){ address, offset, rows };
    return NULL;
}

/* "FHIB", version, address of the heap, offset, addresses of the blocks, checksum. */
static const char *load_table(dense *d, const table *t)
{
    size_t        n = 13 + (size_t)d->offset_n + 8 * (size_t)t->rows * (size_t)d->width + SUM;
    uint64_t      at = t->offset;
    uint8_t      *p;
    const char   *why = load_summed(d->s, t->address, n, "FHIB", &p);
    tpi_h5_cursor c;
    int           row, i;

    if (why)
        return why;
    c = (tpi_h5_cursor){ p + 5, p + n, false };
    if (tpi_h5_take(&c, 8) != d->heap || tpi_h5_take(&c, d->offset_n) != t->offset)
        why = "a table outside of a header belongs to another one";
    for (row = 0; !why && row < t->rows; row++)
        for (i = 0; !why && i < d->width; i++, at += row_size(d, row))
            why = take_block(d, tpi_h5_take(&c, 8), at, row);
    tpi_free(p);
    return why;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const block *)a)->offset, y = ((const block *)b)->offset;

    return x < y ? -1 : x > y;
}

static const char *load_blocks(dense *d, uint64_t root, int rows)
{
    const char *why = NULL;

    if (root == UNDEFINED)
        return NULL;
    if (rows == 0)
        return load_direct(d, root, 0, d->start);
    if (!tpi_grow(d->s->ctx, &d->todo, &d->todo_cap, 1, sizeof *d->todo))
        return "";
    d->todo[d->todos++] = (table){ root, 0, rows };
    while (!why && d->todos > 0) {
        table t = d->todo[--d->todos];

        why = load_table(d, &t);
    }
    if (d->blocks > 1)
        qsort(d->block, d->blocks, sizeof *d->block, by_offset);
    return why;
}

/* "FRHP" and what a heap is made of; filters, huge and tiny objects are not for links and attributes of ours. */
static const char *load_heap(dense *d)
{
    uint8_t      *p;
    const char   *why = load_summed(d->s, d->heap, HEAP_HEAD + SUM, "FRHP", &p);
    tpi_h5_cursor c;
    uint64_t      filters, flags, root, most_object, bits, rows, width;

    if (why)
        return why;
    c = (tpi_h5_cursor){ p + 5, p + HEAP_HEAD, false };
    d->id_n = (int)tpi_h5_take(&c, 2);
    filters = tpi_h5_take(&c, 2);
    flags = tpi_h5_take(&c, 1);
    most_object = tpi_h5_take(&c, 4);
    c.at += 12 * 8; /* ids, space and counts, which only a writer needs */
    width = tpi_h5_take(&c, 2);
    d->start = tpi_h5_take(&c, 8);
    d->most = tpi_h5_take(&c, 8);
    bits = tpi_h5_take(&c, 2);
    tpi_h5_take(&c, 2);
    root = tpi_h5_take(&c, 8);
    rows = tpi_h5_take(&c, 2);
    tpi_free(p);
    d->width = (int)width;
    d->offset_n = (int)(bits + 7) / 8;
    d->length_n = bytes_for(d->most) < bytes_for(most_object) ? bytes_for(d->most) : bytes_for(most_object);
    if (c.bad || filters || !(flags & 2) || !is_power(width) || width > MAX_WIDTH || !is_power(d->start) ||
        !is_power(d->most) || d->start > d->most || d->most > 1u << 30 || bits < 1 || bits > 64 || rows > MAX_ROWS ||
        rows > (uint64_t)(MAX_ROWS - log2_of(d->start)) || d->id_n < 1 + d->offset_n + d->length_n)
        return "a heap of a kind that is not read";
    return load_blocks(d, root, (int)rows);
}

/* ---- the tree -------------------------------------------------------------------------------------------------------- */

/* What the record's heap id stands for: kind, offset, length. */
static const char *take_record(dense *d, const uint8_t *record)
{
    tpi_h5_cursor c = { record, record + d->id_n, false };
    uint64_t      kind = tpi_h5_take(&c, 1), offset = tpi_h5_take(&c, d->offset_n), n = tpi_h5_take(&c, d->length_n);
    size_t        low = 0, high = d->blocks;
    const block  *b;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (d->block[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    b = &d->block[low];
    if (kind != 0 || c.bad || d->blocks == 0 || offset < b->offset || offset - b->offset > b->size ||
        n > b->size - (offset - b->offset))
        return "an entry outside of a header that is not there";
    c = (tpi_h5_cursor){ b->bytes + (offset - b->offset), b->bytes + (offset - b->offset) + n, false };
    return d->found(d->user, c) ? NULL : "";
}

/* Where the heap's id is in a record: links have a hash before it (kind 5), attributes not (kind 8). */
static const char *take_records(dense *d, const uint8_t *p, uint64_t n)
{
    const char *why = NULL;
    uint64_t    i;

    for (i = 0; !why && i < n; i++, p += d->record) {
        if (d->type == TPI_H5_ATTR_TREE && p[d->id_n] & 2)
            return "an attribute that is shared between objects";
        why = take_record(d, p + (d->type == TPI_H5_LINK_TREE ? 4 : 0));
    }
    return why;
}

/* How pointers to nodes of each level are encoded. */
typedef struct level {
    uint64_t most, total; /* records of a node, and with those below it */
    int      total_n;
} level;

static void find_levels(const dense *d, level *l, int depth, int *count_n)
{
    int i, pointer;

    l[0].most = l[0].total = (uint64_t)(d->node - NODE - SUM) / (uint64_t)d->record;
    l[0].total_n = 0;
    *count_n = bytes_for(l[0].most);
    for (i = 1; i <= depth; i++) {
        pointer = 8 + *count_n + l[i - 1].total_n;
        l[i].most = d->node > NODE + SUM + pointer
                        ? (uint64_t)(d->node - NODE - SUM - pointer) / (uint64_t)(d->record + pointer)
                        : 0;
        l[i].total = (l[i].most + 1) * l[i - 1].total + l[i].most; /* may wrap: then no file is so large */
        l[i].total_n = bytes_for(l[i].total);
    }
}

typedef struct node {
    uint64_t address, records;
    int      depth;
} node;

/* "BTIN" or "BTLF", version, kind, records, (addresses and counts of what is between them,) checksum. */
static const char *load_node(dense *d, const node *at, const level *l, int count_n, node **todo, size_t *n, size_t *cap)
{
    int           pointer = at->depth ? 8 + count_n + l[at->depth - 1].total_n : 0;
    uint64_t      records = at->records * (uint64_t)d->record, i;
    size_t        size = NODE + (size_t)records + (at->depth ? (size_t)(at->records + 1) * (size_t)pointer : 0) + SUM;
    uint8_t      *p;
    const char   *why;
    tpi_h5_cursor c;

    if (at->records > l[at->depth].most)
        return "a tree whose node says more than it holds";
    why = load_summed(d->s, at->address, size, at->depth ? "BTIN" : "BTLF", &p);
    if (why)
        return why;
    why = p[5] != d->type ? "a tree of another kind" : take_records(d, p + NODE, at->records);
    c = (tpi_h5_cursor){ p + NODE + records, p + size - SUM, false };
    for (i = 0; !why && at->depth && i <= at->records; i++) {
        if (!tpi_grow(d->s->ctx, todo, cap, *n + 1, sizeof **todo)) {
            why = "";
            break;
        }
        (*todo)[*n].address = tpi_h5_take(&c, 8);
        (*todo)[*n].records = tpi_h5_take(&c, count_n);
        tpi_h5_take(&c, l[at->depth - 1].total_n);
        (*todo)[(*n)++].depth = at->depth - 1;
    }
    tpi_free(p);
    return why;
}

static const char *walk_tree(dense *d, node root)
{
    level       l[DEPTH + 1];
    node       *todo = NULL;
    size_t      n = 0, cap = 0;
    int         count_n;
    const char *why = NULL;

    find_levels(d, l, root.depth, &count_n);
    if (root.address != UNDEFINED && !tpi_grow(d->s->ctx, &todo, &cap, 1, sizeof *todo))
        return "";
    if (root.address != UNDEFINED)
        todo[n++] = root;
    while (!why && n > 0) {
        node at = todo[--n];

        why = load_node(d, &at, l, count_n, &todo, &n, &cap);
    }
    tpi_free(todo);
    return why;
}

/* "BTHD": kind, bytes of a node and of a record, depth, two figures for writers, the root and its records. */
static const char *load_tree(dense *d, uint64_t address)
{
    uint8_t      *p;
    const char   *why = load_summed(d->s, address, TREE_HEAD + SUM, "BTHD", &p);
    tpi_h5_cursor c;
    node          root;
    uint64_t      size;

    if (why)
        return why;
    c = (tpi_h5_cursor){ p + 5, p + TREE_HEAD, false };
    size = tpi_h5_take(&c, 1) == (uint64_t)d->type ? tpi_h5_take(&c, 4) : 0;
    d->node = (int)(size & 0xffffff);
    d->record = (int)tpi_h5_take(&c, 2);
    root.depth = (int)tpi_h5_take(&c, 2);
    tpi_h5_take(&c, 2);
    root.address = tpi_h5_take(&c, 8);
    root.records = tpi_h5_take(&c, 2);
    tpi_free(p);
    if (size < 64 || size >= 1 << 24 || root.depth > DEPTH ||
        d->record != d->id_n + (d->type == TPI_H5_LINK_TREE ? 4 : 9))
        return "a tree of a kind that is not read";
    return walk_tree(d, root);
}

const char *tpi_h5_dense(tpi_h5_source *s, uint64_t heap, uint64_t tree, int type, tpi_h5_found found, void *user)
{
    dense       d = { .s = s, .heap = heap, .type = type, .found = found, .user = user };
    const char *why = load_heap(&d);
    size_t      i;

    if (!why)
        why = load_tree(&d, tree);
    for (i = 0; i < d.blocks; i++)
        tpi_free(d.block[i].bytes);
    tpi_free(d.block);
    tpi_free(d.todo);
    return why;
}
