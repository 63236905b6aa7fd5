/*
 * writer.c - tp_writer: named tensors into a checkpoint (HDF5), or kept until the end for a safetensors file.
 */
#include "nn/files/ckpt.h"
#include "nn/files/h5.h"
#include "nn/files/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

struct tp_writer {
    tp_ctx     *ctx;
    tpi_save    save;
    bool        failed; /* once: never to be committed, even if the context's error is cleared */
    tpi_h5     *h5;     /* NULL: safetensors */
    tpi_content content;
    tp_tensor **kept; /* safetensors: retained */
    tpi_plan   *plan;
    tpi_pair   *meta;
    size_t      n, metas, kept_cap, plan_cap, meta_cap;
};

/* Whether w may be written to. */
static bool usable(tp_ctx *ctx, tp_writer *w, const char *what)
{
    if (!tp_ok(ctx))
        return false;
    if (!w || w->ctx != ctx || w->failed)
        return tp_fail(ctx, TP_EARG, "%s: a writer of this context that has not failed is needed", what) != NULL;
    return true;
}

/* Keeps in mind that something went wrong. */
static bool note(tp_writer *w, bool ok)
{
    w->failed |= !ok;
    return ok;
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static bool text_attr(tpi_h5 *h, const char *path, const char *key, const char *text)
{
    return tpi_h5_attr(h, path, key, &(tpi_h5_value){ .kind = TPI_H5_TEXT, .text = text });
}

static bool int_attr(tpi_h5 *h, const char *path, const char *key, tpi_h5_kind kind, uint64_t v)
{
    return tpi_h5_attr(h, path, key, &(tpi_h5_value){ .kind = kind, .number = v });
}

static bool begin_ckpt(tp_writer *w, const char *kind)
{
    w->h5 = tpi_h5_create(w->ctx, w->save.fd, w->save.path);
    return w->h5 && text_attr(w->h5, "", "tapir_format", TPI_CKPT_FORMAT) &&
           int_attr(w->h5, "", "tapir_format_major", TPI_H5_U32, TPI_CKPT_MAJOR) &&
           int_attr(w->h5, "", "tapir_format_minor", TPI_H5_U32, TPI_CKPT_MINOR) &&
           text_attr(w->h5, "", "tapir_requires", "") && text_attr(w->h5, "", "tapir_writer", "libtapir " TP_VERSION) &&
           text_attr(w->h5, "", "tapir_kind", kind);
}

tp_writer *tp_writer_open(tp_ctx *ctx, const char *path, const char *kind)
{
    bool       plain = kind && strcmp(kind, "safetensors") == 0;
    tp_writer *w;

    if (!tp_ok(ctx))
        return NULL;
    if (!path || !kind || (!plain && !tpi_ckpt_kind_ok(kind)))
        return tp_fail(ctx, TP_EARG,
                       "tp_writer_open: a path, and a kind out of model, adapter, training, tokens, tensors, "
                       "safetensors, are needed");
    w = tpi_alloc(ctx, 1, sizeof *w);
    if (!w)
        return NULL;
    w->ctx = ctx;
    if (!tpi_save_begin(ctx, &w->save, path)) {
        tpi_free(w);
        return NULL;
    }
    if (plain || begin_ckpt(w, kind))
        return w;
    tp_writer_abort(w);
    return NULL;
}

/* ---- tensors --------------------------------------------------------------------------------------------------------- */

/* "section/name" as the path of a data set. */
static bool ckpt_path(tp_writer *w, const char *section, const char *name, char path[TPI_CKPT_PATH])
{
    char *p;

    if (!section || !name || !tpi_ckpt_name_ok(section, name))
        return tp_fail(w->ctx, TP_EARG,
                       "%.200s: section \"%.64s\" and name \"%.400s\" make no path: no empty, \".\" or \"..\" parts, "
                       "no '/', "
                       "at most %d bytes",
                       w->save.path, section ? section : "", name ? name : "", TPI_MAX_NAME) != NULL;
    snprintf(path, TPI_CKPT_PATH, "%s/%s", section, name);
    for (p = path + strlen(section); *p; p++)
        *p = *p == '.' ? '/' : *p;
    return true;
}

typedef struct ckpt_sink {
    tp_writer   *w;
    tpi_h5_set   set;
    tpi_h5_named attr[4]; /* the first is the hash */
    int          attrs;
    bool         buffer;
} ckpt_sink;

/* Writes values, their hash, and takes them into the content. */
static bool put_set(void *user, const void *p, size_t n)
{
    ckpt_sink *k = user;
    tpi_h5_set s = k->set;

    s.data = p;
    k->attr[0] = (tpi_h5_named){ "xxh3", { .kind = TPI_H5_U64, .number = tpi_hash64(p, n) } };
    if (!tpi_h5_put(k->w->h5, &s, k->attr, k->attrs))
        return false;
    tpi_save_wrote(&k->w->save, n);
    return tpi_content_add(k->w->ctx, &k->w->content, s.path, s.type, s.ndim, s.dim, k->attr[0].value.number);
}

static bool begin_set(ckpt_sink *k, const char *section, const char *name, char path[TPI_CKPT_PATH], bool trainable)
{
    bool model = section && (strcmp(section, "model") == 0 || strcmp(section, "adapter") == 0);
    int  t = k->set.type->dtype;
    bool param = !k->buffer && t != TP_DTYPES && tp_dtype_is_float((tp_dtype)t);

    k->set.path = path;
    k->attrs = model ? 4 : 2;
    k->attr[1] = (tpi_h5_named){ "name", { .kind = TPI_H5_TEXT, .text = name } };
    k->attr[2] = (tpi_h5_named){ "role", { .kind = TPI_H5_TEXT, .text = param ? "param" : "buffer" } };
    k->attr[3] = (tpi_h5_named){ "requires_grad", { .kind = TPI_H5_U8, .number = param && trainable } };
    return ckpt_path(k->w, section, name, path);
}

static bool ckpt_tensor(tp_writer *w, const char *section, const char *name, tp_tensor *x, bool buffer)
{
    char      path[TPI_CKPT_PATH];
    int64_t   dim[TP_MAX_DIM];
    ckpt_sink k = { .w = w, .set = { NULL, tpi_stored_of(tp_dtype_of(x)), tp_ndim(x), dim, NULL }, .buffer = buffer };
    int       i;

    for (i = 0; i < k.set.ndim; i++)
        dim[i] = tp_dim(x, i);
    return begin_set(&k, section, name, path, tp_trainable(x)) && tpi_write_values(w->ctx, x, put_set, &k);
}

static bool keep_tensor(tp_writer *w, const char *name, tp_tensor *x)
{
    tpi_plan *p;
    size_t    i;

    if (!name || !tpi_name_ok(name, strlen(name)) || strcmp(name, "__metadata__") == 0)
        return tp_fail(w->ctx, TP_EARG, "%.200s: \"%.500s\" is no name for a tensor", w->save.path, name ? name : "") !=
               NULL;
    for (i = 0; i < w->n; i++)
        if (strcmp(w->plan[i].name, name) == 0)
            return tp_fail(w->ctx, TP_EARG, "%.200s: \"%.500s\" is there already", w->save.path, name) != NULL;
    if (!tpi_grow(w->ctx, &w->plan, &w->plan_cap, w->n + 1, sizeof *w->plan) ||
        !tpi_grow(w->ctx, &w->kept, &w->kept_cap, w->n + 1, sizeof(tp_tensor *)))
        return false;
    p = &w->plan[w->n];
    *p = (tpi_plan){ .name = tpi_strdup(w->ctx, name), .type = tpi_stored_of(tp_dtype_of(x)), .ndim = tp_ndim(x), .i = w->n };
    if (!p->name)
        return false;
    for (i = 0; i < (size_t)p->ndim; i++)
        p->dim[i] = tp_dim(x, (int)i);
    w->kept[w->n++] = tp_retain(x);
    return true;
}

static bool write_tensor(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, tp_tensor *x, bool buffer)
{
    if (!usable(ctx, w, "tp_writer_tensor"))
        return false;
    if (!tpi_check(ctx, "tp_writer_tensor", x, 0))
        return note(w, false);
    return note(w, w->h5 ? ckpt_tensor(w, section, name, x, buffer) : keep_tensor(w, name, x));
}

bool tp_writer_tensor(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, tp_tensor *x)
{
    return write_tensor(ctx, w, section, name, x, false);
}

bool tpi_writer_buffer(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, tp_tensor *x)
{
    return write_tensor(ctx, w, section, name, x, true);
}

bool tpi_writer_set(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, const tpi_h5_set *s)
{
    char      path[TPI_CKPT_PATH];
    ckpt_sink k = { .w = w, .set = *s };
    int64_t   numel, bytes;

    if (!usable(ctx, w, "tp_writer_tensor"))
        return false;
    return note(w, w->h5 && tpi_stored_size(s->type, s->ndim, s->dim, &numel, &bytes) &&
                       begin_set(&k, section, name, path, true) && put_set(&k, s->data, (size_t)bytes));
}

/* ---- second names, texts, attributes ----------------------------------------------------------------------------------- */

/* A second link, and the attribute `name` with all names, one a line. */
static bool tie(tp_writer *w, const char *section, const char *name, const char *written)
{
    char  path[TPI_CKPT_PATH], other[TPI_CKPT_PATH];
    char *names;
    bool  ok;

    if (!ckpt_path(w, section, written, path) || !ckpt_path(w, section, name, other) ||
        !tpi_content_tie(w->ctx, &w->content, path, other) || !tpi_h5_link(w->h5, path, other))
        return false;
    names = tpi_format(w->ctx, "%s\n%s", written, name);
    ok = names && text_attr(w->h5, path, "name", names);
    tpi_free(names);
    return ok;
}

bool tp_writer_tie(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, const char *written)
{
    if (!usable(ctx, w, "tp_writer_tie"))
        return false;
    if (!w->h5)
        return note(w,
                    tp_fail(ctx, TP_EARG, "tp_writer_tie: safetensors has no second names: write one of them") != NULL);
    return note(w, tie(w, section, name, written));
}

bool tp_writer_text(tp_ctx *ctx, tp_writer *w, const char *path, const char *text, size_t n)
{
    const char *name = path ? strchr(path, '/') : NULL;
    int64_t     size = (int64_t)n;
    ckpt_sink   k = { .w = w, .set = { path, tpi_stored_of(TP_U8), 1, &size, NULL }, .attrs = 1 };

    if (!usable(ctx, w, "tp_writer_text"))
        return false;
    if (!w->h5 || !name || (strncmp(path, "config/", 7) != 0 && strncmp(path, "tokenizer/", 10) != 0) ||
        !tpi_name_ok(path, strlen(path)) || name[1] == '.' || name[1] == '\0' || strchr(name + 1, '/') ||
        (n > 0 && !text) || n > TPI_MAX_TEXT)
        return note(w,
                    tp_fail(ctx, TP_EARG,
                            "tp_writer_text: a checkpoint and a path such as \"config/model.json\" are needed, and no "
                            "more than %d bytes",
                            TPI_MAX_TEXT) != NULL);
    return note(w, put_set(&k, n ? text : "", n));
}

static bool put_meta(tp_writer *w, const char *where, const char *key, const tpi_h5_value *v)
{
    tpi_pair *m;

    if (where || v->kind != TPI_H5_TEXT || !tpi_utf8_ok(v->text, strlen(v->text)))
        return tp_fail(w->ctx, TP_EARG, "tp_writer_attr: safetensors takes texts for the whole file only") != NULL;
    if (!tpi_grow(w->ctx, &w->meta, &w->meta_cap, w->metas + 1, sizeof *w->meta))
        return false;
    m = &w->meta[w->metas];
    *m = (tpi_pair){ tpi_strdup(w->ctx, key), tpi_strdup(w->ctx, v->text) };
    w->metas++; /* also when a copy failed: both are freed with w */
    return m->key && m->value;
}

static bool put_attr(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, const tpi_h5_value *v)
{
    char  path[TPI_CKPT_PATH];
    char *p;

    if (!usable(ctx, w, "tp_writer_attr"))
        return false;
    if (!key || !tpi_name_ok(key, strlen(key)) || strlen(key) > 100 || (v->kind == TPI_H5_TEXT && !v->text) ||
        (where &&
         (!tpi_name_ok(where, strlen(where)) || strstr(where, "..") || strstr(where, "//") || where[0] == '/')))
        return note(w, tp_fail(ctx, TP_EARG,
                               "tp_writer_attr: a key, a value, and a section or section/name are needed") != NULL);
    if (!w->h5)
        return note(w, put_meta(w, where, key, v));
    snprintf(path, sizeof path, "%s", where ? where : "");
    for (p = path + strcspn(path, "/"); *p; p++)
        *p = *p == '.' ? '/' : *p;
    return note(w, tpi_h5_attr(w->h5, path, key, v));
}

bool tp_writer_attr_text(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, const char *text)
{
    return put_attr(ctx, w, where, key, &(tpi_h5_value){ .kind = TPI_H5_TEXT, .text = text });
}

bool tp_writer_attr_int(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, uint64_t value)
{
    return put_attr(ctx, w, where, key, &(tpi_h5_value){ .kind = TPI_H5_U64, .number = value });
}

bool tpi_writer_attr_signed(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, int64_t value)
{
    return put_attr(ctx, w, where, key, &(tpi_h5_value){ .kind = TPI_H5_I64, .number = (uint64_t)value });
}

bool tp_writer_attr_real(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, double value)
{
    return put_attr(ctx, w, where, key, &(tpi_h5_value){ .kind = TPI_H5_F64, .real = value });
}

/* ---- the end --------------------------------------------------------------------------------------------------------- */

static tp_tensor *get_kept(tp_ctx *ctx, void *user, const tpi_plan *p)
{
    (void)ctx;
    return ((tp_writer *)user)->kept[p->i];
}

/* Everything of the file but its name. */
static bool complete(tp_writer *w)
{
    tpi_h5 *h = w->h5;

    if (!h)
        return tpi_safetensors_write(w->ctx, &w->save, w->plan, w->n, get_kept, w, w->meta, w->metas);
    if (!int_attr(h, "", "content_xxh3", TPI_H5_U64, tpi_content_hash(&w->content)) ||
        !int_attr(h, "", "complete", TPI_H5_U8, 1))
        return false;
    w->h5 = NULL; /* closed either way */
    return tpi_h5_close(h);
}

/* Reads all of the file while the disk is still busy with it: a write that was acknowledged but not made must not take
 * the place of a good checkpoint.  In a context of its own, whose messages name the file on its way. */
static bool reads_back(tp_writer *w)
{
    tp_ctx  *own = tp_ctx_new(TP_REF, 0);
    tp_file *f;

    tpi_save_start(&w->save);
    f = tp_file_open(own, w->save.tmp);
    if (!tp_file_verify(own, f))
        tp_fail(w->ctx, tp_error_code(own) == TP_ENOMEM ? TP_ENOMEM : TP_EIO,
                "%.300s: what was written does not read back the same: %.500s", w->save.path, tp_error(own));
    tp_file_close(f);
    tp_ctx_free(own);
    return tp_ok(w->ctx);
}

bool tp_writer_close(tp_ctx *ctx, tp_writer *w)
{
    bool ckpt = w && w->h5;
    bool ok = usable(ctx, w, "tp_writer_close") && complete(w) && (!ckpt || reads_back(w)) &&
              tpi_save_commit(ctx, &w->save);

    tp_writer_abort(w);
    return ok;
}

void tp_writer_abort(tp_writer *w)
{
    size_t i;

    if (!w)
        return;
    tpi_h5_drop(w->h5);
    tpi_save_drop(&w->save);
    tpi_content_free(&w->content);
    for (i = 0; i < w->n; i++) {
        tp_release(w->kept[i]);
        tpi_free((void *)(uintptr_t)w->plan[i].name);
    }
    for (i = 0; i < w->metas; i++) {
        tpi_free((void *)(uintptr_t)w->meta[i].key);
        tpi_free((void *)(uintptr_t)w->meta[i].value);
    }
    tpi_free(w->kept);
    tpi_free(w->plan);
    tpi_free(w->meta);
    tpi_free(w);
}
