/*
 * h5_trusted.c - HDF5 files of any kind, read by libhdf5, under one lock and silent.  The only file that includes hdf5.h.
 *
 * libhdf5 crashes on some damaged or hostile files, and when memory is refused to it: so only for files that are trusted,
 * or in a process that may end (the program's --foreign).  It gets an open descriptor: no locks are taken, which network
 * file systems may refuse, and no other file is opened: plugins, links to other files and values in other files are not
 * followed.
 */
#include "nn/files/h5_trusted.h"

#define H5_USE_110_API 1 /* names of calls as 1.10 has them, also in later versions */
#include <hdf5.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif
#include <pthread.h>
#include <string.h>

enum { MAX_TEXT = 60000 };

struct tpi_trusted {
    hid_t  file, driver;
    char  *held; /* the values of one data set */
    size_t held_i;
};

/* ---- the lock, and HDF5's messages ----------------------------------------------------------------------------------- */

/* Debian's serial library may not be entered twice: one lock for the process. */
static pthread_mutex_t hdf5_lock = PTHREAD_MUTEX_INITIALIZER;

/* What the program had chosen, which is put back: it may use HDF5 itself. */
typedef struct quiet {
    H5E_auto2_t fn;
    void       *data;
    unsigned    plugins;
} quiet;

static quiet enter(void)
{
    quiet q = { NULL, NULL, 0 };

    pthread_mutex_lock(&hdf5_lock);
    H5Eget_auto2(H5E_DEFAULT, &q.fn, &q.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
    H5PLget_loading_state(&q.plugins);
    H5PLset_loading_state(0);
    return q;
}

static void leave(quiet q)
{
    H5PLset_loading_state(q.plugins);
    H5Eset_auto2(H5E_DEFAULT, q.fn, q.data);
    pthread_mutex_unlock(&hdf5_lock);
}

/* The innermost reason is the one that names the cause. */
static herr_t first_reason(unsigned n, const H5E_error2_t *e, void *user)
{
    if (n == 0 && e->desc)
        snprintf(user, 200, "%s", e->desc);
    return 0;
}

static bool bad(tp_file *f, const char *name, const char *what)
{
    char  why[200] = "no reason given";
    char *p;

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_reason, why);
    for (p = why; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return tpi_file_bad(f, "%s%.300s%scannot %s: HDF5 says: %s", name[0] ? "\"" : "", name, name[0] ? "\": " : "", what,
                        why);
}

/* ---- a driver on our descriptor -------------------------------------------------------------------------------------- */

/* libhdf5's own part comes first. */
typedef struct disk_file {
    H5FD_t   base;
    tp_file *f;
    haddr_t  eoa;
} disk_file;

static const disk_file *disk_of(const H5FD_t *f)
{
    return (const disk_file *)f;
}

/* The name is only shown: the file comes with the property list. */
static H5FD_t *disk_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    tp_file *const *info = H5Pget_driver_info(fapl);
    disk_file      *d = info ? tpi_alloc((*info)->ctx, 1, sizeof *d) : NULL;

    (void)name;
    (void)flags;
    (void)maxaddr;
    if (!d)
        return NULL;
    d->f = *info;
    return &d->base;
}

static herr_t disk_close(H5FD_t *f)
{
    tpi_free(f);
    return 0;
}

static int disk_compare(const H5FD_t *a, const H5FD_t *b)
{
    uintptr_t x = (uintptr_t)disk_of(a)->f, y = (uintptr_t)disk_of(b)->f;

    return x < y ? -1 : x > y;
}

static herr_t disk_query(const H5FD_t *f, unsigned long *flags)
{
    (void)f;
    *flags = H5FD_FEAT_DATA_SIEVE;
    return 0;
}

static haddr_t disk_eoa(const H5FD_t *f, H5FD_mem_t type)
{
    (void)type;
    return disk_of(f)->eoa;
}

static herr_t disk_set_eoa(H5FD_t *f, H5FD_mem_t type, haddr_t a)
{
    (void)type;
    ((disk_file *)f)->eoa = a;
    return 0;
}

static haddr_t disk_eof(const H5FD_t *f, H5FD_mem_t type)
{
    (void)type;
    return (haddr_t)disk_of(f)->f->part[0].size;
}

/* Beyond the end is zero, as libhdf5 expects of a file that was not written that far. */
static herr_t disk_read(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n, void *to)
{
    tp_file *file = disk_of(f)->f;
    uint64_t size = (uint64_t)file->part[0].size;
    size_t   there = at >= size ? 0 : n < size - at ? n : (size_t)(size - at);

    (void)type;
    (void)dxpl;
    memset((char *)to + there, 0, n - there);
    return there == 0 || tpi_disk_read(file->ctx, &file->part[0], (int64_t)at, to, there) ? 0 : -1;
}

static herr_t disk_write(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n, const void *from)
{
    (void)f;
    (void)type;
    (void)dxpl;
    (void)at;
    (void)n;
    (void)from;
    return -1;
}

static const H5FD_class_t disk_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)500, /* of the range for drivers that nobody registered */
#endif
    .name = "tapir",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(tp_file *),
    .open = disk_open,
    .close = disk_close,
    .cmp = disk_compare,
    .query = disk_query,
    .get_eoa = disk_eoa,
    .set_eoa = disk_set_eoa,
    .get_eof = disk_eof,
    .read = disk_read,
    .write = disk_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* ---- types ----------------------------------------------------------------------------------------------------------- */

static const char *float_name(hid_t t)
{
    size_t sign = 0, exponent_at = 0, exponent = 0, mantissa_at = 0, mantissa = 0, size = H5Tget_size(t);

    if (H5Tget_fields(t, &sign, &exponent_at, &exponent, &mantissa_at, &mantissa) < 0 || sign != 8 * size - 1)
        return "";
    if (size == 2)
        return exponent == 5 && mantissa == 10 ? "F16" : exponent == 8 && mantissa == 7 ? "BF16" : "";
    return size == 4 && exponent == 8 ? "F32" : size == 8 && exponent == 11 ? "F64" : "";
}

static bool is_bool(hid_t t)
{
    int8_t no = 1, yes = 0;

    return H5Tget_size(t) == 1 && H5Tget_nmembers(t) == 2 && H5Tenum_valueof(t, "FALSE", &no) >= 0 &&
           H5Tenum_valueof(t, "TRUE", &yes) >= 0 && no == 0 && yes == 1;
}

/* NULL: none that a tensor file has. */
static const tpi_stored *stored_of(hid_t t)
{
    static const char *const integers[2][9] = { { "", "U8", "U16", "", "U32", "", "", "", "U64" },
                                                { "", "I8", "I16", "", "I32", "", "", "", "I64" } };
    const char              *name = "";
    size_t                   size = H5Tget_size(t);

    if (H5Tget_class(t) == H5T_INTEGER && size <= 8)
        name = integers[H5Tget_sign(t) != H5T_SGN_NONE][size];
    else if (H5Tget_class(t) == H5T_FLOAT)
        name = float_name(t);
    else if (H5Tget_class(t) == H5T_ENUM && is_bool(t))
        return tpi_stored_of(TP_BOOL);
    return name[0] ? tpi_stored_named(name, strlen(name)) : NULL;
}

/* The same type with the bytes in our order, to be closed. */
static hid_t memory_type(hid_t t)
{
    hid_t m = H5Tcopy(t);

    if (m >= 0 && (H5Tget_class(m) == H5T_INTEGER || H5Tget_class(m) == H5T_FLOAT))
        H5Tset_order(m, H5T_ORDER_LE);
    return m;
}

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

/* A text of fixed or variable length; NULL when it is none, or too long. */
static char *attr_text(tp_file *f, hid_t a, hid_t t)
{
    bool   variable = H5Tis_variable_str(t) > 0;
    char  *p = NULL, *kept = NULL;
    size_t n = H5Tget_size(t);
    hid_t  m;

    if (!variable && n <= MAX_TEXT && (p = tpi_alloc(f->ctx, n + 1, 1)) != NULL) {
        if (H5Aread(a, t, p) >= 0)
            kept = tpi_file_keep(f, p, strlen(p));
        tpi_free(p);
        return kept;
    }
    m = variable ? H5Tcopy(t) : -1;
    if (m >= 0 && H5Aread(a, m, &p) >= 0 && p && strlen(p) <= MAX_TEXT)
        kept = tpi_file_keep(f, p, strlen(p));
    if (m >= 0)
        H5Tclose(m);
    if (p && variable)
        H5free_memory(p);
    return kept;
}

/* One number, as text. */
static char *attr_number(tp_file *f, hid_t a, hid_t t)
{
    char               text[40], *p;
    long long          i = 0;
    unsigned long long u = 0;
    double             d = 0;

    if (H5Tget_class(t) == H5T_FLOAT && H5Aread(a, H5T_NATIVE_DOUBLE, &d) >= 0)
        snprintf(text, sizeof text, "%.17g", d);
    else if (H5Tget_class(t) == H5T_INTEGER && H5Tget_sign(t) == H5T_SGN_NONE && H5Aread(a, H5T_NATIVE_ULLONG, &u) >= 0)
        snprintf(text, sizeof text, "%llu", u);
    else if (H5Tget_class(t) == H5T_INTEGER && H5Aread(a, H5T_NATIVE_LLONG, &i) >= 0)
        snprintf(text, sizeof text, "%lld", i);
    else
        return NULL;
    for (p = text; *p; p++) /* whatever the locale's decimal point is */
        *p = *p == ',' ? '.' : *p;
    return tpi_file_keep(f, text, strlen(text));
}

typedef struct listing {
    tp_file    *f;
    const char *path; /* of the object whose attributes come */
} listing;

/* Keeps those that are one text or number; "path@key", "key" for the root. */
static herr_t on_attr(hid_t object, const char *key, const H5A_info_t *info, void *user)
{
    listing *l = user;
    hid_t    a = H5Aopen(object, key, H5P_DEFAULT), t = a >= 0 ? H5Aget_type(a) : -1, s = a >= 0 ? H5Aget_space(a) : -1;
    char    *value = NULL, *name;

    (void)info;
    if (t >= 0 && s >= 0 && H5Sget_simple_extent_npoints(s) == 1)
        value = H5Tget_class(t) == H5T_STRING ? attr_text(l->f, a, t) : attr_number(l->f, a, t);
    if (s >= 0)
        H5Sclose(s);
    if (t >= 0)
        H5Tclose(t);
    if (a >= 0)
        H5Aclose(a);
    if (!value || !tpi_utf8_ok(value, strlen(value)) || !tpi_name_ok(key, strlen(key)))
        return tp_ok(l->f->ctx) ? 0 : -1;
    name = tpi_file_own(l->f, tpi_format(l->f->ctx, "%s%s%s", l->path, l->path[0] ? "@" : "", key));
    return name && tpi_file_add_meta(l->f, name, value) ? 0 : -1;
}

/* ---- objects --------------------------------------------------------------------------------------------------------- */

/* Whether all of its values stand in this file. */
static bool is_here(hid_t set)
{
    hid_t p = H5Dget_create_plist(set);
    bool  here = p >= 0 && H5Pget_external_count(p) == 0 && H5Pget_layout(p) != H5D_VIRTUAL;

    if (p >= 0)
        H5Pclose(p);
    return here;
}

static bool add_set(tp_file *f, const char *path, hid_t set)
{
    hid_t             t = H5Dget_type(set), s = H5Dget_space(set);
    tpi_entry         e = { .type = t >= 0 ? stored_of(t) : NULL };
    int               rank = s >= 0 && H5Sget_simple_extent_type(s) != H5S_NULL ? H5Sget_simple_extent_ndims(s) : -1, i;
    hsize_t           dim[H5S_MAX_RANK];
    bool              fits = e.type && rank >= 0 && rank <= TP_MAX_DIM && is_here(set);

    if (fits)
        H5Sget_simple_extent_dims(s, dim, NULL);
    for (i = 0; fits && i < rank; i++) {
        fits = dim[i] < (hsize_t)1 << 48;
        e.seen.dim[i] = (int64_t)dim[i];
    }
    if (s >= 0)
        H5Sclose(s);
    if (t >= 0)
        H5Tclose(t);
    if (!fits) /* of a type, rank or place that tensors do not have: told, not read */
        return tpi_file_add_meta(f, tpi_file_own(f, tpi_format(f->ctx, "%s (passed over)", path)),
                                 "a data set of another type, rank or place than tensors have");
    e.seen.ndim = rank;
    e.seen.name = tpi_file_keep(f, path, strlen(path));
    e.bytes = (tpi_bytes){ .offset = -1 - (int64_t)f->entries, .size = -1 }; /* of no place: tpi_trusted_hold */
    return e.seen.name && tpi_file_add(f, &e);
}

static herr_t on_object(hid_t root, const char *path, const H5O_info_t *info, void *user)
{
    listing *l = user;
    hid_t    o;
    bool     ok;

    if (info->type == H5O_TYPE_NAMED_DATATYPE)
        return 0;
    path = strcmp(path, ".") == 0 ? "" : path;
    if (path[0] && !tpi_name_ok(path, strlen(path)))
        return tpi_file_bad(l->f, "a name in it is not plain text of at most %d bytes", TPI_MAX_NAME) ? 0 : -1;
    o = H5Oopen(root, path[0] ? path : ".", H5P_DEFAULT);
    l->path = path;
    ok = o >= 0 && (info->type != H5O_TYPE_DATASET || add_set(l->f, path, o)) &&
         H5Aiterate2(o, H5_INDEX_NAME, H5_ITER_INC, NULL, on_attr, l) >= 0;
    if (o >= 0)
        H5Oclose(o);
    return ok ? 0 : -1;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------- */

static bool open_file(tp_file *f)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);

    f->trusted->driver = H5FDregister(&disk_class);
    if (fapl >= 0 && f->trusted->driver >= 0 && H5Pset_driver(fapl, f->trusted->driver, &f) >= 0 &&
        H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0)
        f->trusted->file = H5Fopen(f->path, H5F_ACC_RDONLY, fapl);
    if (f->trusted->file < 0) /* before the next call, which forgets the reason */
        bad(f, "", "open it");
    if (fapl >= 0)
        H5Pclose(fapl);
    return f->trusted->file >= 0;
}

bool tpi_trusted_list(tp_file *f)
{
    listing l = { f, "" };
    quiet   q;
    bool    ok;

    f->trusted = tpi_alloc(f->ctx, 1, sizeof *f->trusted);
    if (!f->trusted)
        return false;
    f->trusted->file = f->trusted->driver = -1;
    q = enter();
    ok = open_file(f);
    if (ok && H5Ovisit(f->trusted->file, H5_INDEX_NAME, H5_ITER_INC, on_object, &l) < 0)
        ok = tp_ok(f->ctx) && bad(f, "", "read what it holds");
    leave(q);
    return ok && tp_ok(f->ctx);
}

static bool read_set(tp_file *f, const tpi_entry *e, void *to)
{
    quiet q = enter();
    hid_t set = H5Dopen2(f->trusted->file, e->seen.name, H5P_DEFAULT), t = set >= 0 ? H5Dget_type(set) : -1;
    hid_t m = t >= 0 ? memory_type(t) : -1;
    bool  ok = m >= 0 && (int64_t)H5Tget_size(m) * e->numel == e->bytes.size &&
              H5Dread(set, m, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) >= 0;

    ok = ok || bad(f, e->seen.name, "read its values");
    if (m >= 0)
        H5Tclose(m);
    if (t >= 0)
        H5Tclose(t);
    if (set >= 0)
        H5Dclose(set);
    leave(q);
    return ok;
}

static void let_go(tp_file *f)
{
    if (f->trusted->held)
        f->entry[f->trusted->held_i].bytes.value = NULL;
    tpi_free(f->trusted->held);
    f->trusted->held = NULL;
}

bool tpi_trusted_hold(tp_file *f, tpi_entry *e)
{
    if (e->bytes.value)
        return true;
    let_go(f);
    f->trusted->held = tpi_alloc(f->ctx, (size_t)e->bytes.size + 1, 1);
    f->trusted->held_i = (size_t)(e - f->entry);
    if (!f->trusted->held)
        return false;
    if (e->bytes.size > 0 && !read_set(f, e, f->trusted->held)) {
        let_go(f);
        return false;
    }
    e->bytes.value = f->trusted->held;
    return true;
}

bool tpi_trusted_read(tp_file *f, const tpi_bytes *b, int64_t at, void *p, size_t n)
{
    tpi_entry *e = &f->entry[-1 - b->offset];

    if (!tpi_trusted_hold(f, e))
        return false;
    memcpy(p, (const char *)e->bytes.value + at, n);
    return true;
}

void tpi_trusted_drop(tp_file *f)
{
    quiet q;

    if (!f->trusted)
        return;
    q = enter();
    if (f->trusted->file >= 0)
        H5Fclose(f->trusted->file);
    if (f->trusted->driver >= 0)
        H5FDunregister(f->trusted->driver);
    leave(q);
    let_go(f);
    tpi_free(f->trusted);
    f->trusted = NULL;
}
