/* provenance.c - see provenance.h. */
#include "tools/provenance.h"
#include "core/json.h"
#include "core/readfile.h"
#include "nn/files/filetable.h"

enum { PIECE = 1 << 18 };

static bool hash_file(tp_ctx *ctx, tpi_disk *d, tpi_id128 *id)
{
    char      *piece = tpi_alloc(ctx, PIECE, 1);
    tpi_hasher h;
    bool       ok = piece != NULL;

    tpi_hash_begin(&h);
    for (int64_t at = 0; ok && at < d->size; at += PIECE) {
        size_t n = d->size - at < PIECE ? (size_t)(d->size - at) : (size_t)PIECE;

        ok = tpi_disk_read(ctx, d, at, piece, n);
        if (ok)
            tpi_hash_add(&h, piece, n);
    }
    *id = tpi_hash_end128(&h);
    tpi_free(piece);
    return ok;
}

static bool note_file(tp_ctx *ctx, const char *path, run_source *to)
{
    tpi_disk  d;
    tpi_id128 id;
    bool      ok;

    if (!tpi_is_file(path)) /* a pipe has been read already, and is gone */
        return tp_ok(ctx);
    if (!tpi_disk_open(ctx, &d, path))
        return false;
    to->bytes = d.size;
    ok = hash_file(ctx, &d, &id);
    tpi_disk_close(&d);
    if (ok)
        tpi_identity_text(id, to->hash);
    return ok;
}

bool provenance_data(finetune *t)
{
    const char *data = cli_text(t->c, "data"), *valid = cli_text(t->c, "valid");

    return note_file(t->ctx, data, &t->from.data) && (valid == NULL || note_file(t->ctx, valid, &t->from.valid));
}

/* The identity is that of its tensors: the texts, this one among them, follow from them and from the options. */
bool provenance_parent(finetune *t, const char *path, int64_t step)
{
    tp_file    *f = tp_file_open(t->ctx, path);
    const char *identity = tp_file_identity(t->ctx, f);

    if (identity != NULL) {
        snprintf(t->from.parent, sizeof t->from.parent, "%s", identity);
        t->from.parent_step = step;
    }
    tp_file_close(f);
    return identity != NULL;
}

static void add_file(tp_ctx *ctx, tpi_json *j, const char *key, const run_source *s)
{
    tpi_json *file = tpi_json_new_object(ctx);

    tpi_json_set_int(ctx, file, "bytes", s->bytes);
    tpi_json_set_text(ctx, file, "xxh3_128", s->hash);
    tpi_json_set(ctx, j, key, file);
}

char *provenance_text(finetune *t)
{
    tp_ctx   *ctx = t->ctx;
    tpi_json *j = tpi_json_new_object(ctx), *parent;
    char     *text;
    size_t    n;

    if (t->from.parent[0] != '\0') {
        parent = tpi_json_new_object(ctx);
        tpi_json_set_int(ctx, parent, "step", t->from.parent_step);
        tpi_json_set_text(ctx, parent, "identity", t->from.parent);
        tpi_json_set(ctx, j, "parent", parent);
    }
    if (t->from.data.hash[0] != '\0')
        add_file(ctx, j, "data", &t->from.data);
    if (t->from.valid.hash[0] != '\0')
        add_file(ctx, j, "valid", &t->from.valid);
    tpi_json_set_int(ctx, j, "threads", tp_threads(ctx));
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, &n) : NULL;
    tpi_json_free(j);
    return text;
}
