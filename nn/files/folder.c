/*
 * folder.c - a directory as the Hugging Face hub has them: one or many safetensors files, and texts beside them.
 */
#include "core/json.h"
#include "nn/files/filetable.h"
#include "nn/files/file_convert.h"
#include "nn/files/pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_INDEX = 1 << 26, MAX_CONFIG = 1 << 24 };

static const char *const texts[] = { "config.json",
                                     "generation_config.json",
                                     "tokenizer.json",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "vocab.json",
                                     "merges.txt",
                                     "adapter_config.json",
                                     "chat_template.jinja" };

/* "folder/name", owned by f. */
static char *path_in(tp_file *f, const char *name)
{
    return tpi_file_own(f, tpi_format(f->ctx, "%s/%s", f->path, name));
}

static bool exists(const char *path)
{
    return path && access(path, F_OK) == 0;
}

/* ---- shards ---------------------------------------------------------------------------------------------------------- */

/* A tensor and the shard that is to hold it. */
typedef struct place {
    const char *name, *shard;
} place;

typedef struct index_reader {
    tp_file *f;
    tpi_pull j;
    place   *place;
    size_t   n, cap;
} index_reader;

static bool bad_index(index_reader *r)
{
    return tpi_file_bad(r->f, "model.safetensors.index.json, byte %lld: %s", (long long)(r->j.at - r->j.start),
                        r->j.error ? r->j.error : "wrong");
}

/* Every name of a file in a file is hostile until it is a plain name in the same directory. */
static bool shard_ok(const char *s, size_t n)
{
    return tpi_name_ok(s, n) && n < 256 && s[0] != '.' && !strchr(s, '/') && !strchr(s, '\\') && n > 12 &&
           strcmp(s + n - 12, ".safetensors") == 0;
}

static bool read_map(index_reader *r)
{
    char  *name, *shard;
    size_t n, m;

    if (!tpi_pull_open(&r->j, '{'))
        return bad_index(r);
    while (tpi_pull_more(&r->j, '}')) {
        if (!tpi_pull_key(&r->j, &name, &n) || !tpi_pull_string(&r->j, &shard, &m))
            return bad_index(r);
        if (!tpi_name_ok(name, n) || !shard_ok(shard, m))
            return tpi_file_bad(r->f,
                                "model.safetensors.index.json, byte %lld: not the name of a tensor and of a "
                                ".safetensors file in the same directory",
                                (long long)(r->j.at - r->j.start));
        if (r->n == TPI_MAX_TENSORS || !tpi_grow(r->f->ctx, &r->place, &r->cap, r->n + 1, sizeof *r->place))
            return r->n == TPI_MAX_TENSORS ? tpi_file_bad(r->f, "more than %d tensors", TPI_MAX_TENSORS) : false;
        r->place[r->n++] = (place){ name, shard };
    }
    return !r->j.error || bad_index(r);
}

static bool read_index(index_reader *r)
{
    bool   map = false;
    char  *key;
    size_t n;

    if (!tpi_pull_open(&r->j, '{'))
        return bad_index(r);
    while (tpi_pull_more(&r->j, '}')) {
        if (!tpi_pull_key(&r->j, &key, &n))
            return bad_index(r);
        if (strcmp(key, "weight_map") != 0) {
            if (!tpi_pull_skip(&r->j))
                return bad_index(r);
            continue;
        }
        if (map)
            return tpi_file_bad(r->f, "model.safetensors.index.json: weight_map occurs twice");
        map = true;
        if (!read_map(r))
            return false;
    }
    if (!tpi_pull_end(&r->j, '\0'))
        return bad_index(r);
    return map || tpi_file_bad(r->f, "model.safetensors.index.json: there is no weight_map");
}

static int by_shard(const void *a, const void *b)
{
    const place *x = a, *y = b;
    int          c = strcmp(x->shard, y->shard);

    return c ? c : strcmp(x->name, y->name);
}

/* Opens each shard once. */
static bool open_shards(index_reader *r)
{
    tp_file *f = r->f;
    size_t   i, shards = 0;

    qsort(r->place, r->n, sizeof *r->place, by_shard);
    for (i = 0; i < r->n; i++) {
        int part;

        if (i > 0 && strcmp(r->place[i - 1].shard, r->place[i].shard) == 0)
            continue;
        if (++shards > TPI_MAX_SHARDS)
            return tpi_file_bad(f, "more than %d shards", TPI_MAX_SHARDS);
        part = tpi_file_part(f, path_in(f, r->place[i].shard));
        if (part < 0 || !tpi_safetensors_list(f, part))
            return false;
        tpi_disk_rest(&f->part[part]);
    }
    return true;
}

/* The shards hold exactly what the map says, each tensor where it says. */
static bool check_map(index_reader *r)
{
    size_t i;

    if (!tpi_file_index(r->f))
        return false;
    for (i = 0; i < r->n; i++) {
        const tpi_entry *e = tpi_file_entry(r->f, r->place[i].name);
        const char      *path = e ? r->f->part[e->bytes.part].path : "";

        if (!e || strcmp(path + strlen(r->f->path) + 1, r->place[i].shard) != 0)
            return tpi_file_bad(r->f, "tensor \"%.300s\" is not in %.200s, where the index places it", r->place[i].name,
                                r->place[i].shard);
        if (i > 0 && by_shard(&r->place[i - 1], &r->place[i]) == 0)
            return tpi_file_bad(r->f, "model.safetensors.index.json: tensor \"%.300s\" occurs twice", r->place[i].name);
    }
    return r->n == r->f->entries || tpi_file_bad(r->f, "the shards hold %lld tensors, the index names %lld",
                                                 (long long)r->f->entries, (long long)r->n);
}

static bool list_shards(tp_file *f, const char *path)
{
    index_reader r = { .f = f };
    int          part = tpi_file_part(f, path);
    size_t       n = part < 0 ? 0 : (size_t)f->part[part].size;
    char        *text;
    bool         ok;

    if (part < 0)
        return false;
    if (n > MAX_INDEX)
        return tpi_file_bad(f, "model.safetensors.index.json has %lld bytes, more than the %d that are read",
                            (long long)n, MAX_INDEX);
    text = tpi_alloc(f->ctx, n + 1, 1);
    ok = text && tpi_disk_read(f->ctx, &f->part[part], 0, text, n);
    if (ok)
        ok = (tpi_pull_begin(&r.j, text, n) || bad_index(&r)) && read_index(&r) && open_shards(&r) && check_map(&r);
    tpi_free(r.place);
    tpi_free(text);
    return ok;
}

/* ---- texts ----------------------------------------------------------------------------------------------------------- */

static bool list_texts(tp_file *f)
{
    size_t i;

    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *path = path_in(f, texts[i]);
        int         part;

        if (!path)
            return false;
        if (!exists(path))
            continue;
        part = tpi_file_part(f, path);
        if (part < 0 || !tpi_file_add_text(f, texts[i], &(tpi_bytes){ .part = part, .size = f->part[part].size }))
            return false;
        tpi_disk_rest(&f->part[part]);
    }
    return true;
}

/* chat_template of tokenizer_config.json: a text, or a list of named ones of which "default" is taken. */
const char *tpi_folder_template(const tpi_json *config)
{
    const tpi_json *t = tpi_json_get(config, "chat_template");
    size_t          i;

    for (i = 0; tpi_json_is(t) == TPI_JSON_ARRAY && i < tpi_json_size(t); i++) {
        const char *name = tpi_json_string(tpi_json_get(tpi_json_at(t, i), "name"), NULL);

        if (name && strcmp(name, "default") == 0)
            return tpi_json_string(tpi_json_get(tpi_json_at(t, i), "template"), NULL);
    }
    return tpi_json_string(t, NULL);
}

/* The template of a directory: its own file, else what tokenizer_config.json has. */
static bool find_template(tp_file *f)
{
    size_t      n;
    const char *text = tp_file_text(f, "chat_template.jinja", &n), *found;
    char       *copy;
    tpi_json   *config;
    bool        ok;

    if (text)
        return tpi_file_add_value(f, "chat_template", text, n);
    text = tp_file_text(f, "tokenizer_config.json", &n);
    if (!text || n > MAX_CONFIG)
        return tp_ok(f->ctx);
    config = tpi_json_parse(f->ctx, "tokenizer_config.json", text, n);
    if (!config)
        return false;
    found = tpi_folder_template(config);
    copy = found ? tpi_file_keep(f, found, strlen(found)) : NULL;
    ok = !found || (copy && tpi_file_add_value(f, "chat_template", copy, strlen(copy)));
    tpi_json_free(config);
    return ok;
}

bool tpi_folder_list(tp_file *f)
{
    const char *one = path_in(f, "model.safetensors"), *index = path_in(f, "model.safetensors.index.json");
    const char *adapter = path_in(f, "adapter_model.safetensors"), *path;
    int         part;

    if (!one || !index || !adapter)
        return false;
    f->kind = "model";
    path = exists(one) ? one : exists(adapter) ? adapter : NULL;
    if (path == adapter && path)
        f->kind = "adapter";
    if (exists(index) && path != one) {
        f->kind = "model";
        if (!list_shards(f, index))
            return false;
    } else if (path) {
        part = tpi_file_part(f, path);
        if (part < 0 || !tpi_safetensors_list(f, part) || !tpi_file_index(f))
            return false;
    } else {
        tp_fail(f->ctx, TP_EIO, "%.700s: this directory has neither model.safetensors nor model.safetensors.index.json",
                f->path);
        return false;
    }
    return list_texts(f) && find_template(f);
}
