/*
 * h5_write.c - HDF5 files of Tapir's profile, written.
 */
#include "nn/files/h5_lib.h"

#include <string.h>

enum { MAX_LINKS = 65535 };

struct tpi_h5 {
    tp_ctx *ctx;
    char   *shown;
    hid_t   file, driver;
    tpi_h5_place place;
    hid_t   type[TPI_H5_TYPES];
};

/* All links and attributes of a group in its header, and no times: other places for them (heaps, trees) are what libhdf5 reads
 * unsafely, and Tapir's reader not at all. */
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

/* Whether there is a group at path: 1; something else: 0; nothing: -1. */
static int is_group(hid_t file, const char *path)
{
    H5O_info_t info;

    if (H5Lexists(file, path, H5P_DEFAULT) <= 0)
        return -1;
    return H5Oget_info_by_name(file, path, &info, H5P_DEFAULT) >= 0 && info.type == H5O_TYPE_GROUP;
}

static bool make_group(tpi_h5 *h, const char *path)
{
    hid_t gcpl, g = -1;
    int   there = is_group(h->file, path);

    if (there == 0)
        return tp_fail(h->ctx, TP_EARG, "%.200s: \"%.600s\" is to be a group and a tensor: two names, of which one goes on where the other ends",
                       h->shown, path) != NULL;
    if (there == 1)
        return true;
    gcpl = H5Pcreate(H5P_GROUP_CREATE);
    if (gcpl >= 0 && in_header(gcpl))
        g = H5Gcreate2(h->file, path, H5P_DEFAULT, gcpl, H5P_DEFAULT);
    if (gcpl >= 0)
        H5Pclose(gcpl);
    if (g >= 0)
        H5Gclose(g);
    return done(h, g >= 0, "write a group");
}

/* The groups above path, which is still free; made one by one, since those that HDF5 makes by itself carry times. */
static bool make_room(tpi_h5 *h, const char *path)
{
    char        part[TPI_H5_MAX_PATH];
    const char *slash = path;

    if (strlen(path) >= sizeof part)
        return tp_fail(h->ctx, TP_EARG, "%.200s: the name \"%.100s...\" is too long", h->shown, path) != NULL;
    while ((slash = strchr(slash, '/')) != NULL) {
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = '\0';
        if (!make_group(h, part))
            return false;
        slash++;
    }
    return is_group(h->file, path) < 0 || tp_fail(h->ctx, TP_EARG, "%.200s: \"%.600s\" is there already", h->shown, path) != NULL;
}

static hid_t create_set(tpi_h5 *h, const char *path, hid_t type, int ndim, const int64_t *dim)
{
    hsize_t size[TP_MAX_DIM];
    hid_t   space, dcpl = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    int     i;

    for (i = 0; i < ndim; i++)
        size[i] = (hsize_t)dim[i];
    space = ndim > 0 ? H5Screate_simple(ndim, size, NULL) : H5Screate(H5S_SCALAR);
    if (space >= 0 && dcpl >= 0 && H5Pset_layout(dcpl, ndim > 0 ? H5D_CONTIGUOUS : H5D_COMPACT) >= 0 &&
        H5Pset_obj_track_times(dcpl, 0) >= 0 && H5Pset_attr_phase_change(dcpl, 1000, 0) >= 0 &&
        H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER) >= 0)
        set = H5Dcreate2(h->file, path, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    if (space >= 0)
        H5Sclose(space);
    if (dcpl >= 0)
        H5Pclose(dcpl);
    return set;
}

bool tpi_h5_put(tpi_h5 *h, const char *path, const tpi_stored *type, int ndim, const int64_t *dim, const void *data)
{
    int64_t numel, bytes;
    int     i = tpi_h5_type_index(type);
    bool    ok = false;
    hid_t   set;
    tpi_h5_quiet   q;

    if (i < 0 || !tpi_stored_size(type, ndim, dim, &numel, &bytes))
        return tp_fail(h->ctx, TP_EDTYPE, "%.200s: \"%.600s\" of type %s cannot be written", h->shown, path, type->name) != NULL;
    q = tpi_h5_enter();
    if (make_room(h, path)) {
        set = create_set(h, path, h->type[i], ndim, dim);
        ok = set >= 0 && (numel == 0 || H5Dwrite(set, h->type[i], H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
        if (set >= 0)
            ok = H5Dclose(set) >= 0 && ok;
        ok = done(h, ok, "write a tensor");
    }
    tpi_h5_leave(q);
    return ok;
}

bool tpi_h5_link(tpi_h5 *h, const char *path, const char *other)
{
    tpi_h5_quiet q = tpi_h5_enter();
    bool  ok = make_room(h, other);

    ok = ok && done(h, H5Lcreate_hard(h->file, path, h->file, other, H5P_DEFAULT, H5P_DEFAULT) >= 0, "write a second name");
    tpi_h5_leave(q);
    return ok;
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
    const void *p = v->kind == TPI_H5_TEXT ? (const void *)v->text : v->kind == TPI_H5_F64 ? (const void *)&v->real : &v->number;
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

bool tpi_h5_attr(tpi_h5 *h, const char *path, const char *key, const tpi_h5_value *v)
{
    hid_t object = -1;
    bool  ok = true;
    tpi_h5_quiet q;

    if (v->kind == TPI_H5_TEXT && strlen(v->text) > TPI_H5_MAX_ATTR)
        return tp_fail(h->ctx, TP_EARG, "%.200s: attribute %.100s is longer than %d bytes", h->shown, key, TPI_H5_MAX_ATTR) != NULL;
    q = tpi_h5_enter();
    if (path[0] && H5Lexists(h->file, path, H5P_DEFAULT) <= 0)
        ok = make_room(h, path) && make_group(h, path);
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
    tpi_free(h->shown);
    tpi_free(h);
}
