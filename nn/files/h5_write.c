/*
 * h5_write.c - HDF5 files of Tapir's profile, written.
 */
#include "nn/files/h5_lib.h"

#include "core/hash.h"

#include <string.h>

enum { MAX_LINKS = 65535 };

/* A path that has been written.  HDF5 could be asked, but looks through a header from its start each time. */
typedef struct written {
    uint64_t hash; /* of the path; 0: none */
    bool     group;
} written;

struct tpi_h5 {
    tp_ctx      *ctx;
    char        *shown;
    hid_t        file, driver;
    tpi_h5_place place;
    hid_t        type[TPI_H5_TYPES];
    written     *seen; /* an open table, at most half full */
    size_t       seen_n, seen_cap;
};

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

/* The path, or NULL. */
static const written *find_path(const tpi_h5 *h, const char *path, size_t n)
{
    const written *w = h->seen_cap ? slot_of(h->seen, h->seen_cap, path_hash(path, n)) : NULL;

    return w && w->hash ? w : NULL;
}

static bool note_path(tpi_h5 *h, const char *path, size_t n, bool group)
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
    *slot_of(h->seen, h->seen_cap, hash) = (written){ hash, group };
    h->seen_n++;
    return true;
}

/* All links and attributes of a group in its header, and no times: other places for them (heaps, trees) are what
 * libhdf5 reads unsafely, and Tapir's reader not at all. */
static bool in_header(hid_t pcpl)
{
    return H5Pset_link_phase_change(pcpl, MAX_LINKS, 0) >= 0 && H5Pset_attr_phase_change(pcpl, MAX_LINKS, 0) >= 0 &&
           H5Pset_obj_track_times(pcpl, 0) >= 0;
}

/* Checksummed metadata (both bounds V110), large data at multiples of 64, everything closed with the file. */
static void create_file(tpi_h5 *h)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS), fcpl = H5Pcreate(H5P_FILE_CREATE);

    if (fapl >= 0 && fcpl >= 0 && H5Pset_libver_bounds(fapl, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
        H5Pset_alignment(fapl, 4096, 64) >= 0 && H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0 &&
        in_header(fcpl) && (h->driver = tpi_h5_driver(fapl, &h->place)) >= 0)
        h->file = H5Fcreate(h->shown, H5F_ACC_TRUNC, fcpl, fapl);
    if (fapl >= 0)
        H5Pclose(fapl);
    if (fcpl >= 0)
        H5Pclose(fcpl);
}

/* Whether all is well: what HDF5 says, and what its driver has kept from it. */
static bool done(tpi_h5 *h, bool ok, const char *what)
{
    if (h->place.error)
        return tp_fail(h->ctx, TP_EIO, "%.700s: cannot write: %s", h->shown, strerror(h->place.error)) != NULL;
    return ok || tpi_h5_bad(h->ctx, TP_EIO, h->shown, what);
}

tpi_h5 *tpi_h5_create(tp_ctx *ctx, int fd, const char *shown)
{
    tpi_h5      *h = tpi_alloc(ctx, 1, sizeof *h);
    tpi_h5_quiet q;
    bool         ok;

    if (!h)
        return NULL;
    h->ctx = ctx;
    h->file = h->driver = -1;
    h->place = (tpi_h5_place){ .fd = fd, .write = true };
    h->shown = tpi_strdup(ctx, shown);
    q = tpi_h5_enter();
    if (h->shown && tpi_h5_open_types(h->type))
        create_file(h);
    ok = h->shown && done(h, h->file >= 0, "begin the file");
    tpi_h5_leave(q);
    if (ok)
        return h;
    tpi_h5_drop(h);
    return NULL;
}

/* The group of the first n bytes of path, if it is not there. */
static bool make_group(tpi_h5 *h, const char *path, size_t n)
{
    const written *there = find_path(h, path, n);
    char           name[TPI_H5_MAX_PATH];
    hid_t          gcpl, g = -1;

    if (there && !there->group)
        return tp_fail(h->ctx, TP_EARG,
                       "%.200s: \"%.*s\" is to be a group and a tensor: two names, of which one goes on where the "
                       "other ends",
                       h->shown, (int)n, path) != NULL;
    if (there)
        return true;
    memcpy(name, path, n);
    name[n] = '\0';
    gcpl = H5Pcreate(H5P_GROUP_CREATE);
    if (gcpl >= 0 && in_header(gcpl))
        g = H5Gcreate2(h->file, name, H5P_DEFAULT, gcpl, H5P_DEFAULT);
    if (gcpl >= 0)
        H5Pclose(gcpl);
    if (g >= 0)
        H5Gclose(g);
    return done(h, g >= 0, "write a group") && note_path(h, path, n, true);
}

/* The groups above path, which is still free; made one by one, since those that HDF5 makes by itself carry times. */
static bool make_room(tpi_h5 *h, const char *path)
{
    const written *there = find_path(h, path, strlen(path));
    const char    *slash = path;

    if (strlen(path) >= TPI_H5_MAX_PATH)
        return tp_fail(h->ctx, TP_EARG, "%.200s: the name \"%.100s...\" is too long", h->shown, path) != NULL;
    while ((slash = strchr(slash, '/')) != NULL) {
        if (!make_group(h, path, (size_t)(slash - path)))
            return false;
        slash++;
    }
    return !there || tp_fail(h->ctx, TP_EARG, "%.200s: \"%.600s\" is there already", h->shown, path) != NULL;
}

/* The type of an attribute in the file, to be closed; *mem: what describes the value in memory (0: the same). */
static hid_t attr_type(const tpi_h5_value *v, hid_t *mem)
{
    hid_t t;

    *mem = 0;
    switch (v->kind) {
    case TPI_H5_U8: *mem = H5T_NATIVE_UINT64; return H5Tcopy(H5T_STD_U8LE);
    case TPI_H5_U32: *mem = H5T_NATIVE_UINT64; return H5Tcopy(H5T_STD_U32LE);
    case TPI_H5_U64: *mem = H5T_NATIVE_UINT64; return H5Tcopy(H5T_STD_U64LE);
    case TPI_H5_I64: *mem = H5T_NATIVE_INT64; return H5Tcopy(H5T_STD_I64LE);
    case TPI_H5_F64: *mem = H5T_NATIVE_DOUBLE; return H5Tcopy(H5T_IEEE_F64LE);
    case TPI_H5_TEXT: break;
    }
    t = H5Tcopy(H5T_C_S1);
    if (t >= 0 && H5Tset_size(t, strlen(v->text) + 1) >= 0 && H5Tset_cset(t, H5T_CSET_UTF8) >= 0)
        return t;
    if (t >= 0)
        H5Tclose(t);
    return -1;
}

static bool write_attr(hid_t object, const char *key, const tpi_h5_value *v)
{
    const void *p = v->kind == TPI_H5_TEXT  ? (const void *)v->text
                    : v->kind == TPI_H5_F64 ? (const void *)&v->real
                                            : &v->number;
    hid_t       mem, t = attr_type(v, &mem), space = H5Screate(H5S_SCALAR), a = -1;
    bool        ok;

    if (t >= 0 && space >= 0 && (H5Aexists(object, key) <= 0 || H5Adelete(object, key) >= 0))
        a = H5Acreate2(object, key, t, space, H5P_DEFAULT, H5P_DEFAULT);
    ok = a >= 0 && H5Awrite(a, mem ? mem : t, p) >= 0;
    if (a >= 0)
        ok = H5Aclose(a) >= 0 && ok;
    if (space >= 0)
        H5Sclose(space);
    if (t >= 0)
        H5Tclose(t);
    return ok;
}

static hid_t create_set(tpi_h5 *h, const tpi_h5_set *s, hid_t type)
{
    hsize_t size[TP_MAX_DIM];
    hid_t   space, dcpl = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    int     i;

    for (i = 0; i < s->ndim; i++)
        size[i] = (hsize_t)s->dim[i];
    space = s->ndim > 0 ? H5Screate_simple(s->ndim, size, NULL) : H5Screate(H5S_SCALAR);
    if (space >= 0 && dcpl >= 0 && H5Pset_layout(dcpl, s->ndim > 0 ? H5D_CONTIGUOUS : H5D_COMPACT) >= 0 &&
        H5Pset_obj_track_times(dcpl, 0) >= 0 && H5Pset_attr_phase_change(dcpl, 1000, 0) >= 0 &&
        H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER) >= 0)
        set = H5Dcreate2(h->file, s->path, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    if (space >= 0)
        H5Sclose(space);
    if (dcpl >= 0)
        H5Pclose(dcpl);
    return set;
}

bool tpi_h5_put(tpi_h5 *h, const tpi_h5_set *s, const tpi_h5_named *attr, int n)
{
    int64_t      numel, bytes;
    int          type = tpi_h5_type_index(s->type), i;
    bool         ok = false;
    hid_t        set;
    tpi_h5_quiet q;

    if (type < 0 || !tpi_stored_size(s->type, s->ndim, s->dim, &numel, &bytes))
        return tp_fail(h->ctx, TP_EDTYPE, "%.200s: \"%.600s\" of type %s cannot be written", h->shown, s->path,
                       s->type->name) != NULL;
    q = tpi_h5_enter();
    if (make_room(h, s->path)) {
        set = create_set(h, s, h->type[type]);
        ok = set >= 0 && (numel == 0 || H5Dwrite(set, h->type[type], H5S_ALL, H5S_ALL, H5P_DEFAULT, s->data) >= 0);
        for (i = 0; ok && i < n; i++)
            ok = write_attr(set, attr[i].key, &attr[i].value);
        if (set >= 0)
            ok = H5Dclose(set) >= 0 && ok;
        ok = done(h, ok, "write a tensor") && note_path(h, s->path, strlen(s->path), false);
    }
    tpi_h5_leave(q);
    return ok;
}

bool tpi_h5_link(tpi_h5 *h, const char *path, const char *other)
{
    tpi_h5_quiet q = tpi_h5_enter();
    bool  ok = make_room(h, other);

    ok = ok &&
         done(h, H5Lcreate_hard(h->file, path, h->file, other, H5P_DEFAULT, H5P_DEFAULT) >= 0, "write a second name") &&
         note_path(h, other, strlen(other), false);
    tpi_h5_leave(q);
    return ok;
}

bool tpi_h5_attr(tpi_h5 *h, const char *path, const char *key, const tpi_h5_value *v)
{
    hid_t object = -1;
    bool  ok = true;
    tpi_h5_quiet q;

    if (v->kind == TPI_H5_TEXT && strlen(v->text) > TPI_H5_MAX_ATTR)
        return tp_fail(h->ctx, TP_EARG, "%.200s: attribute %.100s is longer than %d bytes", h->shown, key,
                       TPI_H5_MAX_ATTR) != NULL;
    q = tpi_h5_enter();
    if (path[0] && !find_path(h, path, strlen(path)))
        ok = make_room(h, path) && make_group(h, path, strlen(path));
    if (ok) {
        object = H5Oopen(h->file, path[0] ? path : "/", H5P_DEFAULT);
        ok = object >= 0 && write_attr(object, key, v);
        if (object >= 0)
            ok = H5Oclose(object) >= 0 && ok;
        ok = done(h, ok, "write an attribute");
    }
    tpi_h5_leave(q);
    return ok;
}

bool tpi_h5_close(tpi_h5 *h)
{
    tpi_h5_quiet q = tpi_h5_enter();
    bool  ok = H5Fflush(h->file, H5F_SCOPE_GLOBAL) >= 0;

    ok = H5Fclose(h->file) >= 0 && ok;
    h->file = -1;
    ok = done(h, ok, "complete the file");
    tpi_h5_leave(q);
    tpi_h5_drop(h);
    return ok;
}

void tpi_h5_drop(tpi_h5 *h)
{
    tpi_h5_quiet q;

    if (!h)
        return;
    q = tpi_h5_enter();
    if (h->file >= 0)
        H5Fclose(h->file);
    if (h->driver >= 0)
        H5FDunregister(h->driver);
    tpi_h5_close_types(h->type);
    tpi_h5_leave(q);
    tpi_free(h->seen);
    tpi_free(h->shown);
    tpi_free(h);
}
