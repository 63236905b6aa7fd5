/*
 * h5_read.c - a walk through an HDF5 file of Tapir's profile.
 */
#include "nn/files/h5_lib.h"

#include <string.h>

enum { MAX_DEPTH = 32, MAX_NODES = 1000000 };

typedef struct walk {
    tp_ctx               *ctx;
    const char           *shown;
    const tpi_h5_visitor *v;
    hid_t                 type[TPI_H5_TYPES];
    char                  path[TPI_H5_MAX_PATH];
    int                   depth;
    long                  nodes;
} walk;

static bool walk_bad(walk *w, const char *what)
{
    tp_fail(w->ctx, TP_EFORMAT, "%.200s: \"/%.600s\": %s", w->shown, w->path, what);
    return false;
}

/* A text, integer or real of one value; *known false for another type, which is passed over. */
static bool read_attr(walk *w, hid_t a, tpi_h5_value *v, char *text, bool *known)
{
    hid_t       t = H5Aget_type(a), space = H5Aget_space(a);
    H5T_class_t c = t >= 0 ? H5Tget_class(t) : H5T_NO_CLASS;
    size_t      size = t >= 0 ? H5Tget_size(t) : 0;
    bool        one = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SCALAR, ok = true;

    *known = true;
    if (one && c == H5T_STRING && H5Tis_variable_str(t) == 0 && size <= TPI_H5_MAX_ATTR + 1) {
        *v = (tpi_h5_value){ .kind = TPI_H5_TEXT, .text = text };
        ok = H5Aread(a, t, text) >= 0;
        text[size] = '\0';
    } else if (one && c == H5T_INTEGER && size <= 8) {
        v->kind = size == 1 ? TPI_H5_U8 : size == 4 ? TPI_H5_U32 : TPI_H5_U64;
        ok = H5Aread(a, H5T_NATIVE_UINT64, &v->number) >= 0;
    } else if (one && c == H5T_FLOAT && size <= 8) {
        v->kind = TPI_H5_F64;
        ok = H5Aread(a, H5T_NATIVE_DOUBLE, &v->real) >= 0;
    } else {
        *known = false;
    }
    if (t >= 0)
        H5Tclose(t);
    if (space >= 0)
        H5Sclose(space);
    return ok || walk_bad(w, "an attribute that cannot be read");
}

static bool visit_attr(walk *w, hid_t object, hsize_t i, char *text)
{
    tpi_h5_value v = { .kind = TPI_H5_U64 };
    char         key[128];
    bool         known = false, ok;
    ssize_t      n;
    hid_t        a = H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT);

    if (a < 0)
        return walk_bad(w, "an attribute that cannot be read");
    n = H5Aget_name(a, sizeof key, key);
    ok = n > 0 && n < (ssize_t)sizeof key && tpi_name_ok(key, (size_t)n) ? read_attr(w, a, &v, text, &known)
                                                                         : walk_bad(w, "an attribute with a bad name");
    H5Aclose(a);
    return ok && (!known || w->v->attr(w->v->user, w->path, key, &v));
}

static bool visit_attrs(walk *w, hid_t object, hsize_t n)
{
    char   *text;
    hsize_t i;
    bool    ok = true;

    if (n > 64)
        return walk_bad(w, "more than 64 attributes");
    text = n ? tpi_alloc(w->ctx, TPI_H5_MAX_ATTR + 2, 1) : NULL;
    if (n && !text)
        return false;
    for (i = 0; ok && i < n; i++)
        ok = visit_attr(w, object, i, text);
    tpi_free(text);
    return ok;
}

/* Fills n with type and shape; false when they are not of the profile. */
static bool describe(walk *w, hid_t set, tpi_h5_node *n)
{
    hid_t   t = H5Dget_type(set), space = H5Dget_space(set);
    hsize_t size[H5S_MAX_RANK];
    int     i;
    bool    ok = t >= 0 && space >= 0 && H5Sget_simple_extent_type(space) != H5S_NULL;

    n->type = ok ? tpi_h5_stored(w->type, t) : NULL;
    n->ndim = ok ? H5Sget_simple_extent_ndims(space) : -1;
    ok = ok && n->type && n->ndim >= 0 && n->ndim <= TP_MAX_DIM && (n->ndim == 0 || H5Sget_simple_extent_dims(space, size, NULL) >= 0);
    for (i = 0; ok && i < n->ndim; i++) {
        ok = size[i] < (hsize_t)1 << 48;
        n->dim[i] = (int64_t)size[i];
    }
    if (t >= 0)
        H5Tclose(t);
    if (space >= 0)
        H5Sclose(space);
    return ok || walk_bad(w, "a type or shape that Tapir does not write");
}

/* Where the values lie; reads those of a compact data set. */
static bool locate(walk *w, hid_t set, tpi_h5_node *n, void **value)
{
    hid_t        dcpl = H5Dget_create_plist(set);
    H5D_layout_t layout = dcpl >= 0 ? H5Pget_layout(dcpl) : H5D_LAYOUT_ERROR;
    bool         ok = dcpl >= 0 && (layout == H5D_CONTIGUOUS || layout == H5D_COMPACT) && H5Pget_nfilters(dcpl) == 0;
    int64_t      numel;

    ok = ok && (layout == H5D_COMPACT || H5Pget_external_count(dcpl) == 0);
    if (dcpl >= 0)
        H5Pclose(dcpl);
    if (!ok || !tpi_stored_size(n->type, n->ndim, n->dim, &numel, &n->bytes))
        return walk_bad(w, "not stored in one piece (chunked, filtered, external or virtual), or too large");
    if (layout == H5D_COMPACT) {
        if (n->bytes > 65536)
            return walk_bad(w, "a compact data set of more than 64 KiB");
        n->value = *value = tpi_alloc(w->ctx, (size_t)n->bytes, 1);
        return n->value && (H5Dread(set, w->type[tpi_h5_type_index(n->type)], H5S_ALL, H5S_ALL, H5P_DEFAULT, *value) >= 0 ||
                            walk_bad(w, "a data set that cannot be read"));
    }
    n->offset = n->bytes ? (int64_t)H5Dget_offset(set) : 0;
    return (n->offset >= 0 && H5Dget_storage_size(set) == (hsize_t)n->bytes) || walk_bad(w, "a data set without its values");
}

static bool visit_set(walk *w, hid_t set, const H5O_info_t *info)
{
    tpi_h5_node n = { .path = w->path, .address = (uint64_t)info->addr };
    void       *value = NULL;
    bool        ok = describe(w, set, &n) && locate(w, set, &n, &value) && w->v->node(w->v->user, &n) && visit_attrs(w, set, info->num_attrs);

    tpi_free(value);
    return ok;
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *link, void *user);

static bool visit_object(walk *w, hid_t object)
{
    tpi_h5_node n = { .path = w->path, .group = true };
    H5O_info_t  info;

    if (H5Oget_info(object, &info) < 0)
        return walk_bad(w, "an object that cannot be read");
    if (++w->nodes > MAX_NODES)
        return walk_bad(w, "more than 1,000,000 objects");
    if (info.type == H5O_TYPE_DATASET)
        return visit_set(w, object, &info);
    if (info.type != H5O_TYPE_GROUP || info.rc != 1 || w->depth > MAX_DEPTH)
        return walk_bad(w, "neither a data set nor a group with one name, or nested deeper than 32");
    if (!w->v->node(w->v->user, &n) || !visit_attrs(w, object, info.num_attrs))
        return false;
    return H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, w) >= 0 || !tp_ok(w->ctx) ||
           walk_bad(w, "a group that cannot be read");
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *link, void *user)
{
    walk  *w = user;
    size_t was = strlen(w->path), n = strlen(name);
    hid_t  object;
    bool   ok;

    if (!tpi_name_ok(name, n) || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || was + n + 2 > sizeof w->path)
        return walk_bad(w, "a name in it is too long or not plain text") - 1;
    snprintf(w->path + was, sizeof w->path - was, was ? "/%s" : "%s", name);
    object = link->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : -1;
    w->depth++;
    ok = object >= 0 ? visit_object(w, object) : walk_bad(w, "a soft or external link, or an object that cannot be opened");
    w->depth--;
    if (object >= 0)
        H5Oclose(object);
    w->path[was] = '\0';
    return ok && tp_ok(w->ctx) ? 0 : -1;
}

bool tpi_h5_visit(tp_ctx *ctx, const char *path, const tpi_h5_visitor *v)
{
    walk  w = { .ctx = ctx, .shown = path, .v = v };
    tpi_h5_quiet q = tpi_h5_enter();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), root = -1;
    bool  ok = file >= 0 && tpi_h5_open_types(w.type) && (root = H5Oopen(file, "/", H5P_DEFAULT)) >= 0;

    if (!ok)
        tpi_h5_bad(ctx, TP_EFORMAT, path, "open the file");
    ok = ok && visit_object(&w, root) && tp_ok(ctx);
    if (root >= 0)
        H5Oclose(root);
    tpi_h5_close_types(w.type);
    if (file >= 0)
        H5Fclose(file);
    tpi_h5_leave(q);
    return ok;
}
