/*
 * convert_folder.c - a conversion's tensors and texts into a directory as the Hugging Face hub has them.
 */
#include "core/json.h"
#include "nn/files/file_convert.h"
#include "nn/files/safetensors_write.h"

#include <string.h>

static const int64_t SHARD = 5000000000;

typedef struct folder {
    tpi_conversion *c;
    tpi_folder_save dir;
    tpi_plan       *plan; /* of all items that are written, shard by shard */
    size_t          n, shards;
    size_t         *begin; /* of each shard in plan, and the end of the last */
    int64_t         total;
} folder;

/* ---- the shards ------------------------------------------------------------------------------------------------------ */

/* Items in the order of the source, a new shard whenever one is full. */
static bool make_shards(folder *d)
{
    tpi_conversion *c = d->c;
    int64_t         most = c->opts->shard > 0 ? c->opts->shard : SHARD, size = 0;
    size_t          i;

    d->plan = tpi_alloc(c->ctx, c->n, sizeof *d->plan);
    d->begin = tpi_alloc(c->ctx, c->n + 2, sizeof *d->begin);
    if (!d->plan || !d->begin)
        return false;
    for (i = 0; i < c->n; i++) {
        const tpi_item *it = &c->item[i];

        if (it->tie)
            continue;
        if (d->shards == 0 || (size > 0 && size + it->bytes > most)) {
            d->begin[d->shards++] = d->n;
            size = 0;
        }
        size += it->bytes;
        d->total += it->bytes;
        d->plan[d->n] = (tpi_plan){ .name = it->name, .type = it->type, .ndim = it->ndim, .i = i };
        memcpy(d->plan[d->n++].dim, it->dim, sizeof it->dim);
    }
    d->shards += d->shards == 0; /* no tensor at all is one empty file */
    d->begin[d->shards] = d->n;
    if (d->shards > TPI_MAX_SHARDS)
        return tp_fail(c->ctx, TP_EARG, "%.500s: %lld shards, expected at most %d", c->out, (long long)d->shards,
                       TPI_MAX_SHARDS) != NULL;
    return true;
}

static void shard_name(const folder *d, size_t k, char name[64])
{
    if (d->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", k + 1, d->shards);
}

static bool put_values(folder *d, tpi_save *s, const tpi_item *it)
{
    tpi_values v;
    bool       ok = tpi_item_read(d->c, it, &v) && tpi_save_write(d->c->ctx, s, v.p, (size_t)it->bytes);

    tpi_item_done(d->c, &v);
    return ok;
}

static bool put_shard(folder *d, size_t k, const tpi_pair *meta, size_t metas)
{
    tp_ctx  *ctx = d->c->ctx;
    char     name[64], *path;
    tpi_save s;
    size_t   i;
    bool     ok;

    shard_name(d, k, name);
    path = tpi_format(ctx, "%s/%s", d->dir.tmp, name);
    ok = path && tpi_save_begin(ctx, &s, path);
    tpi_free(path);
    if (!ok)
        return false;
    ok = tpi_safetensors_header(ctx, &s, d->plan + d->begin[k], d->begin[k + 1] - d->begin[k], meta, metas);
    for (i = d->begin[k]; ok && i < d->begin[k + 1]; i++)
        ok = put_values(d, &s, &d->c->item[d->plan[i].i]);
    if (ok)
        return tpi_save_commit(ctx, &s);
    tpi_save_drop(&s);
    return false;
}

/* "format": "pt" is what transformers wants to see. */
static bool put_shards(folder *d)
{
    const char *identity = tpi_conversion_identity(d->c);
    tpi_pair    meta[2] = { { "format", "pt" }, { "source_identity", identity } };
    size_t      k;

    for (k = 0; tp_ok(d->c->ctx) && k < d->shards; k++)
        if (!put_shard(d, k, meta, identity ? 2 : 1))
            return false;
    return tp_ok(d->c->ctx);
}

/* ---- texts ----------------------------------------------------------------------------------------------------------- */

static bool put_index(folder *d)
{
    tp_ctx   *ctx = d->c->ctx;
    tpi_json *j = tpi_json_new_object(ctx), *meta = tpi_json_new_object(ctx), *map = tpi_json_new_object(ctx);
    char      name[64], *text = NULL;
    size_t    k, i, n = 0;
    bool      ok;

    for (k = 0; k < d->shards; k++) {
        shard_name(d, k, name);
        for (i = d->begin[k]; tp_ok(ctx) && i < d->begin[k + 1]; i++)
            (void)tpi_json_set_text(ctx, map, d->plan[i].name, name);
    }
    (void)tpi_json_set_int(ctx, meta, "total_size", d->total);
    (void)tpi_json_set(ctx, j, "metadata", meta);
    (void)tpi_json_set(ctx, j, "weight_map", map);
    if (tp_ok(ctx))
        text = tpi_json_dump(ctx, j, 2, &n);
    tpi_json_free(j);
    ok = text && tpi_folder_text(ctx, &d->dir, "model.safetensors.index.json", text, n);
    tpi_free(text);
    return ok;
}

/* The template stands in tokenizer_config.json, or in a file of its own when that says none or another. */
static bool put_template(folder *d)
{
    size_t      n, m;
    const char *text = tp_file_text(d->c->f, "chat_template", &n);
    const char *config = tp_file_text(d->c->f, "tokenizer_config.json", &m), *there;
    tpi_json   *j;
    bool        same;

    if (!text)
        return tp_ok(d->c->ctx);
    j = config ? tpi_json_parse(d->c->ctx, "tokenizer_config.json", config, m) : NULL;
    there = j ? tpi_folder_template(j) : NULL;
    same = there && strcmp(there, text) == 0;
    tpi_json_free(j);
    return tp_ok(d->c->ctx) && (same || tpi_folder_text(d->c->ctx, &d->dir, "chat_template.jinja", text, n));
}

static bool put_texts(folder *d)
{
    static const char *const names[] = { "config.json",           "generation_config.json",  "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                                         "vocab.json",            "merges.txt" };
    size_t                   i, n;
    const char              *text;

    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        text = tp_file_text(d->c->f, names[i], &n);
        if (text && !tpi_folder_text(d->c->ctx, &d->dir, names[i], text, n))
            return false;
    }
    return put_template(d);
}

bool tpi_convert_to_folder(tpi_conversion *c)
{
    folder d = { .c = c };
    bool   ok;

    if (!tpi_folder_begin(c->ctx, &d.dir, c->out, c->opts->overwrite))
        return false;
    ok = make_shards(&d) && put_shards(&d) && put_texts(&d) && (d.shards == 1 || put_index(&d));
    tpi_free(d.plan);
    tpi_free(d.begin);
    if (ok)
        return tpi_folder_commit(c->ctx, &d.dir);
    tpi_folder_drop(&d.dir);
    return false;
}
