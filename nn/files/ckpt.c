/*
 * ckpt.c - names and content hash of Tapir's checkpoints.
 */
#include "nn/files/ckpt.h"

#include <stdlib.h>
#include <string.h>

typedef struct tpi_content_item {
    char             *path;
    const tpi_stored *type;
    int               ndim;
    int64_t           dim[TP_MAX_DIM];
    uint64_t          hash;
} content_item;

bool tpi_content_add(tp_ctx *ctx, tpi_content *c, const char *path, const tpi_stored *type, int ndim,
                     const int64_t *dim, uint64_t hash)
{
    content_item *it;

    if (!tpi_grow(ctx, &c->item, &c->cap, c->n + 1, sizeof *c->item))
        return false;
    it = &c->item[c->n];
    *it = (content_item){ .type = type, .ndim = ndim, .hash = hash };
    if (ndim > 0)
        memcpy(it->dim, dim, (size_t)ndim * sizeof *dim);
    it->path = tpi_strdup(ctx, path);
    c->n += it->path != NULL;
    return it->path != NULL;
}

bool tpi_content_tie(tp_ctx *ctx, tpi_content *c, const char *path, const char *other)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        if (strcmp(c->item[i].path, path) == 0) {
            content_item it = c->item[i];

            return tpi_content_add(ctx, c, other, it.type, it.ndim, it.dim, it.hash);
        }
    return tp_fail(ctx, TP_EARG, "there is no tensor \"%.600s\" to give a second name", path) != NULL;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const content_item *)a)->path, ((const content_item *)b)->path);
}

uint64_t tpi_content_hash(tpi_content *c)
{
    tpi_hasher h;
    size_t     i;

    if (c->n > 1)
        qsort(c->item, c->n, sizeof *c->item, by_path);
    tpi_hash_begin(&h);
    for (i = 0; i < c->n; i++)
        tpi_identity_add(&h, &(tpi_identity_item){ c->item[i].path, c->item[i].type->name, c->item[i].ndim,
                                                   c->item[i].dim, c->item[i].hash });
    return tpi_hash_end64(&h);
}

void tpi_content_free(tpi_content *c)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        tpi_free(c->item[i].path);
    tpi_free(c->item);
    *c = (tpi_content){ 0 };
}

/* ---- names ----------------------------------------------------------------------------------------------------------- */

bool tpi_ckpt_kind_ok(const char *kind)
{
    static const char *const kinds[] = { "model", "adapter", "training", "tokens", "tensors" };
    size_t                   i;

    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i], kind) == 0)
            return true;
    return false;
}

size_t tpi_ckpt_section(const char *path)
{
    return strncmp(path, "optimizer/state/", 16) == 0 ? 15 : strcspn(path, "/");
}

bool tpi_ckpt_name_ok(const char *section, const char *name)
{
    size_t n = strlen(name);

    if (!tpi_name_ok(name, n) || strchr(name, '/') || name[0] == '.' || name[n - 1] == '.' || strstr(name, ".."))
        return false;
    if (strcmp(section, "optimizer/state") == 0)
        return true;
    return tpi_name_ok(section, strlen(section)) && !strpbrk(section, "./@") && strcmp(section, "config") != 0 &&
           strcmp(section, "tokenizer") != 0 && strlen(section) < 64;
}
