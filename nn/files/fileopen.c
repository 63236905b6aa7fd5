/*
 * fileopen.c - opening: which format a path has.
 */
#include "nn/files/h5_trusted.h"

#include <string.h>
#include <sys/stat.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

/* The content decides; the name does where the content says nothing, so that a damaged file gets its reader's message.
 */
static bool list_file(tp_file *f)
{
    char      head[9] = "";
    int       part = tpi_file_part(f, f->path);
    tpi_disk *d = part < 0 ? NULL : &f->part[part];

    if (!d || !tpi_disk_read(f->ctx, d, 0, head, d->size < 9 ? (size_t)d->size : 9))
        return false;
    if (memcmp(head, "GGUF", 4) == 0 || ends_with(f->path, ".gguf")) {
        f->format = TP_GGUF;
        f->kind = "model";
        return tpi_gguf_list(f) && tpi_file_index(f);
    }
    if (memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0 || ends_with(f->path, ".h5")) {
        f->format = TP_HDF5;
        return tpi_ckpt_list(f);
    }
    if (head[8] == '{' || ends_with(f->path, ".safetensors")) {
        f->format = TP_SAFETENSORS;
        f->kind = "tensors";
        return tpi_safetensors_list(f, part) && tpi_file_index(f);
    }
    return tpi_file_bad(f, "neither a safetensors file, a GGUF file nor a Tapir checkpoint");
}

static tp_file *begin_file(tp_ctx *ctx, const char *path, const char *what)
{
    tp_file *f;

    if (!tp_ok(ctx))
        return NULL;
    if (!path || !path[0])
        return tp_fail(ctx, TP_EARG, "%s: a path is needed", what);
    f = tpi_alloc(ctx, 1, sizeof *f);
    if (!f)
        return NULL;
    f->ctx = ctx;
    f->path = tpi_strdup(ctx, path);
    while (f->path && strlen(f->path) > 1 && ends_with(f->path, "/"))
        f->path[strlen(f->path) - 1] = '\0';
    return f;
}

/* f, or NULL when it is not as it should be. */
static tp_file *end_file(tp_file *f, bool ok)
{
    if (ok && tp_ok(f->ctx))
        return f;
    tp_file_close(f);
    return NULL;
}

tp_file *tp_file_open(tp_ctx *ctx, const char *path)
{
    struct stat st;
    tp_file    *f = begin_file(ctx, path, "tp_file_open");

    if (!f)
        return NULL;
    f->format = TP_HUGGINGFACE;
    return end_file(f, f->path && (stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? tpi_folder_list(f) : list_file(f)));
}

tp_file *tpi_file_open_trusted_at(tp_ctx *ctx, const char *path, void (*ready)(tp_ctx *ctx, void *user), void *user)
{
    tp_file *f = begin_file(ctx, path, "tp_file_open_trusted");

    if (!f)
        return NULL;
    f->format = TP_HDF5;
    f->kind = "tensors";
    if (!f->path || tpi_file_part(f, f->path) < 0)
        return end_file(f, false);
    if (ready)
        ready(ctx, user);
    return end_file(f, tp_ok(ctx) && tpi_trusted_list(f) && tpi_file_index(f));
}

tp_file *tp_file_open_trusted(tp_ctx *ctx, const char *path)
{
    return tpi_file_open_trusted_at(ctx, path, NULL, NULL);
}

void tp_file_close(tp_file *f)
{
    size_t i;

    if (!f)
        return;
    tpi_gguf_drop(f);
    tpi_trusted_drop(f);
    for (i = 0; i < f->parts; i++)
        tpi_disk_close(&f->part[i]);
    for (i = 0; i < f->owned; i++)
        tpi_free(f->own[i]);
    tpi_free(f->part);
    tpi_free(f->entry);
    tpi_free(f->by_key);
    tpi_free(f->text);
    tpi_free(f->meta);
    tpi_free(f->own);
    tpi_free(f->path);
    tpi_free(f);
}
