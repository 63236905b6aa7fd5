/*
 * h5_head.c - superblock and object headers of HDF5 files, every byte under its checksum before it is believed.
 */
#include "nn/files/h5_head.h"

#include <string.h>

enum { MAX_CHUNKS = 100000, SUPERBLOCK = 48 };

#define UNDEFINED UINT64_MAX /* an address that is none */

/* ---- bytes ----------------------------------------------------------------------------------------------------------- */

uint64_t tpi_h5_take(tpi_h5_cursor *c, int n)
{
    uint64_t v = 0;
    int      i;

    if (c->end - c->at < n) {
        c->bad = true;
        c->at = c->end;
        return 0;
    }
    for (i = 0; i < n; i++, c->at++)
        v |= i < 8 ? (uint64_t)*c->at << 8 * i : 0;
    return v;
}

const char *tpi_h5_bytes(tpi_h5_source *s, uint64_t at, uint64_t n, uint8_t **p)
{
    uint64_t size = (uint64_t)s->disk->size;

    *p = NULL;
    if (at > size || n > size - at)
        return "metadata beyond the end of the file";
    s->budget -= (int64_t)n;
    if (s->budget < 0)
        return "metadata that refers to itself, or to the same place too often";
    *p = tpi_alloc(s->ctx, (size_t)n, 1);
    if (*p && tpi_disk_read(s->ctx, s->disk, (int64_t)at, *p, (size_t)n))
        return NULL;
    tpi_free(*p);
    *p = NULL;
    return "";
}

/* ---- the superblock -------------------------------------------------------------------------------------------------- */

const char *tpi_h5_open(tpi_h5_source *s, uint64_t *root)
{
    uint8_t       head[SUPERBLOCK];
    tpi_h5_cursor c = { head + 12, head + SUPERBLOCK, false };
    uint64_t      base, extension, end;

    s->budget = 2 * s->disk->size + 65536;
    if (s->disk->size < SUPERBLOCK)
        return "too short to be an HDF5 file";
    if (!tpi_disk_read(s->ctx, s->disk, 0, head, SUPERBLOCK))
        return "";
    if (memcmp(head, "\x89HDF\r\n\x1a\n", 8) != 0)
        return "no HDF5 file";
    if (head[8] != 3 || head[9] != 8 || head[10] != 8)
        return "an HDF5 file, but no Tapir checkpoint: its superblock is not of version 3 (tp_file_open_trusted and the "
               "program's --foreign read others)";
    if (!tpi_h5_sum_ok(head, SUPERBLOCK - 4))
        return "the superblock is damaged";
    base = tpi_h5_take(&c, 8);
    extension = tpi_h5_take(&c, 8);
    end = tpi_h5_take(&c, 8);
    *root = tpi_h5_take(&c, 8);
    if (head[11] != 0)
        return "the file is marked as open for writing: it was not completed";
    if (end != (uint64_t)s->disk->size)
        return "cut or damaged: the file has not the size that its superblock says";
    return base != 0 || extension != UNDEFINED
               ? "an HDF5 file, but no Tapir checkpoint: it has a user block or an extension"
               : NULL;
}

/* ---- object headers -------------------------------------------------------------------------------------------------- */

static const char *keep_chunk(tpi_h5_source *s, tpi_h5_head *h, uint8_t *bytes, size_t from, size_t to)
{
    if (h->n >= MAX_CHUNKS || !tpi_grow(s->ctx, &h->chunk, &h->cap, h->n + 1, sizeof *h->chunk)) {
        tpi_free(bytes);
        return h->n >= MAX_CHUNKS ? "an object header in too many pieces" : "";
    }
    h->chunk[h->n++] = (tpi_h5_chunk){ bytes, from, to };
    return NULL;
}

/* "OHDR", version, flags, times and limits if the flags say so, size of what follows, messages, checksum. */
static const char *load_first(tpi_h5_source *s, uint64_t address, tpi_h5_head *h)
{
    uint64_t      left = address < (uint64_t)s->disk->size ? (uint64_t)s->disk->size - address : 0, size;
    uint8_t      *p;
    const char   *why = tpi_h5_bytes(s, address, left < 40 ? left : 40, &p);
    tpi_h5_cursor c;
    int           flags;
    size_t        from;

    if (why)
        return why;
    c = (tpi_h5_cursor){ p, p + (left < 40 ? left : 40), false };
    if (tpi_h5_take(&c, 4) != 0x5244484fu || tpi_h5_take(&c, 1) != 2)
        c.bad = true;
    flags = (int)tpi_h5_take(&c, 1);
    h->ordered = flags & 4;
    tpi_h5_take(&c, flags & 32 ? 16 : 0);
    tpi_h5_take(&c, flags & 16 ? 4 : 0);
    size = tpi_h5_take(&c, 1 << (flags & 3));
    from = (size_t)(c.at - p);
    tpi_free(p);
    if (c.bad || flags & 0xc0 || size > left)
        return "an object header that is damaged or of a version that Tapir does not write";
    why = tpi_h5_bytes(s, address, from + size + 4, &p);
    if (why)
        return why;
    if (tpi_h5_sum_ok(p, from + (size_t)size))
        return keep_chunk(s, h, p, from, from + (size_t)size);
    tpi_free(p);
    return "an object header is damaged: its checksum is wrong";
}

/* "OCHK", messages, checksum. */
static const char *load_more(tpi_h5_source *s, tpi_h5_head *h, tpi_h5_cursor c)
{
    uint64_t    address = tpi_h5_take(&c, 8), size = tpi_h5_take(&c, 8);
    uint8_t    *p;
    const char *why = c.bad || size < 8 ? "an object header that goes on nowhere" : tpi_h5_bytes(s, address, size, &p);

    if (why)
        return why;
    if (memcmp(p, "OCHK", 4) == 0 && tpi_h5_sum_ok(p, (size_t)size - 4))
        return keep_chunk(s, h, p, 4, (size_t)size - 4);
    tpi_free(p);
    return "an object header is damaged: its checksum is wrong";
}

bool tpi_h5_next(const tpi_h5_head *h, size_t *chunk, size_t *at, tpi_h5_message *m)
{
    size_t prefix = h->ordered ? 6 : 4;

    for (; *chunk < h->n; ++*chunk, *at = 0) {
        const tpi_h5_chunk *k = &h->chunk[*chunk];
        size_t              from = *at ? *at : k->from;
        tpi_h5_cursor       c = { k->bytes + from, k->bytes + k->to, false };
        uint64_t            size;

        if (k->to - from < prefix) /* a gap at the end, too small for a message */
            continue;
        m->type = (int)tpi_h5_take(&c, 1);
        size = tpi_h5_take(&c, 2);
        m->flags = (int)tpi_h5_take(&c, 1);
        if (size > k->to - from - prefix)
            continue;
        m->body = (tpi_h5_cursor){ k->bytes + from + prefix, k->bytes + from + prefix + size, false };
        *at = from + prefix + (size_t)size;
        return true;
    }
    return false;
}

const char *tpi_h5_load(tpi_h5_source *s, uint64_t address, tpi_h5_head *h)
{
    size_t         chunk = 0, at = 0;
    tpi_h5_message m;
    const char    *why;

    *h = (tpi_h5_head){ 0 };
    why = load_first(s, address, h);
    while (!why && tpi_h5_next(h, &chunk, &at, &m)) {
        if (m.flags & 2)
            why = "a message that is shared between objects";
        else if (m.type >= TPI_H5_MESSAGES && m.flags & 0x88) /* "fail when unknown" */
            why = "a message of a kind that Tapir does not know";
        else if (m.type == TPI_H5_CONTINUE)
            why = load_more(s, h, m.body);
    }
    if (why)
        tpi_h5_unload(h);
    return why;
}

void tpi_h5_unload(tpi_h5_head *h)
{
    size_t i;

    for (i = 0; i < h->n; i++)
        tpi_free(h->chunk[i].bytes);
    tpi_free(h->chunk);
    *h = (tpi_h5_head){ 0 };
}
