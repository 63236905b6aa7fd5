/*
 * h5_disk.c - a file driver of libhdf5 on a descriptor of ours.
 *
 * libhdf5 does not survive a write that fails: the file can then neither be completed nor closed, and its exit handler
 * crashes on what is left.  So this driver says yes to every write, keeps the first error, and the writer asks for it.
 * It takes no locks: the file is new, and nobody else knows its name.
 */
#include "nn/files/h5_lib.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libhdf5's own part comes first. */
typedef struct disk_file {
    H5FD_t        base;
    tpi_h5_place *place;
    haddr_t       eoa, eof; /* allocated; there */
} disk_file;

static disk_file *disk_of(H5FD_t *f)
{
    return (disk_file *)f;
}

static const disk_file *disk_of_const(const H5FD_t *f)
{
    return (const disk_file *)f;
}

/* The name is only shown: the place comes with the property list.  Called from inside libhdf5, so without a context. */
static H5FD_t *disk_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    tpi_h5_place *const *info = H5Pget_driver_info(fapl);
    disk_file           *f = info ? tpi_alloc(NULL, 1, sizeof *f) : NULL;
    struct stat          st;

    (void)name;
    (void)maxaddr;
    if (!f || fstat((*info)->fd, &st) != 0) {
        tpi_free(f);
        return NULL;
    }
    f->place = *info;
    f->eof = flags & H5F_ACC_TRUNC ? 0 : (haddr_t)st.st_size;
    return &f->base;
}

static herr_t disk_close(H5FD_t *f)
{
    tpi_free(f);
    return 0;
}

static int disk_compare(const H5FD_t *a, const H5FD_t *b)
{
    uintptr_t x = (uintptr_t)disk_of_const(a)->place, y = (uintptr_t)disk_of_const(b)->place;

    return x < y ? -1 : x > y;
}

static herr_t disk_query(const H5FD_t *f, unsigned long *flags)
{
    (void)f;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t disk_eoa(const H5FD_t *f, H5FD_mem_t type)
{
    (void)type;
    return disk_of_const(f)->eoa;
}

static herr_t disk_set_eoa(H5FD_t *f, H5FD_mem_t type, haddr_t a)
{
    (void)type;
    disk_of(f)->eoa = a;
    return 0;
}

static haddr_t disk_eof(const H5FD_t *f, H5FD_mem_t type)
{
    (void)type;
    return disk_of_const(f)->eof;
}

/* Beyond the end is zero, as in a file that has not been written that far. */
static herr_t disk_read(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n, void *to)
{
    char *p = to;

    (void)type;
    (void)dxpl;
    if (at > (haddr_t)INT64_MAX || n > (haddr_t)INT64_MAX - at)
        return -1;
    while (n > 0) {
        ssize_t got = pread(disk_of(f)->place->fd, p, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0) {
            memset(p, 0, n);
            return 0;
        }
        p += got;
        at += (haddr_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static herr_t disk_write(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n, const void *from)
{
    tpi_h5_place *place = disk_of(f)->place;
    const char   *p = from;

    (void)type;
    (void)dxpl;
    if (at + n > disk_of(f)->eof)
        disk_of(f)->eof = at + n;
    while (n > 0 && place->error == 0) {
        ssize_t put = pwrite(place->fd, p, n, (off_t)at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            place->error = put < 0 ? errno : ENOSPC;
            break;
        }
        p += put;
        at += (haddr_t)put;
        n -= (size_t)put;
    }
    return 0;
}

/* The file gets the size that was allocated. */
static herr_t disk_truncate(H5FD_t *f, hid_t dxpl, hbool_t closing)
{
    disk_file *d = disk_of(f);

    (void)dxpl;
    (void)closing;
    if (d->place->write && d->eoa != d->eof) {
        if (d->place->error == 0 && ftruncate(d->place->fd, (off_t)d->eoa) != 0)
            d->place->error = errno;
        d->eof = d->eoa;
    }
    return 0;
}

static const H5FD_class_t disk_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)500, /* of the range for drivers that nobody registered */
#endif
    .name = "tapir",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(tpi_h5_place *),
    .open = disk_open,
    .close = disk_close,
    .cmp = disk_compare,
    .query = disk_query,
    .get_eoa = disk_eoa,
    .set_eoa = disk_set_eoa,
    .get_eof = disk_eof,
    .read = disk_read,
    .write = disk_write,
    .truncate = disk_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t tpi_h5_driver(hid_t fapl, tpi_h5_place *place)
{
    hid_t driver = H5FDregister(&disk_class);

    if (driver >= 0 && H5Pset_driver(fapl, driver, &place) >= 0)
        return driver;
    if (driver >= 0)
        H5FDunregister(driver);
    return -1;
}
