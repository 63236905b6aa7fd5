/*
 * disk.h - files read at an offset, and files that appear whole or not at all.  Internal.
 */
#ifndef TPI_DISK_H
#define TPI_DISK_H

#include "core/hash.h"
#include "core/internal.h"

/* A regular file opened for reading.  Its descriptor may be put to rest (models come in up to 4,096 shards); it comes
 * back by itself, and a file that is another one by then, or has changed, is an error. */
typedef struct tpi_disk {
    char   *path;
    int     fd; /* -1: at rest */
    int64_t size;
    int64_t stamp[4]; /* device, inode, seconds and nanoseconds of the last change */
} tpi_disk;

bool tpi_disk_open(tp_ctx *ctx, tpi_disk *d, const char *path) TPI_MUST_USE;
/* Exactly n bytes at offset; the caller has checked that they lie within the file. */
bool tpi_disk_read(tp_ctx *ctx, tpi_disk *d, int64_t offset, void *p, size_t n) TPI_MUST_USE;
/* The same into memory that has not been touched, by several threads, and into the hash: large tensors. */
bool tpi_disk_read_hashed(tp_ctx *ctx, tpi_disk *d, int64_t offset, char *p, size_t n, tpi_hasher *h) TPI_MUST_USE;
/* Its steps, of which `try` needs no context: it gives 0, an errno, or TPI_DISK_SHORT. */
enum { TPI_DISK_SHORT = -1 };
bool tpi_disk_wake(tp_ctx *ctx, tpi_disk *d) TPI_MUST_USE;
int  tpi_disk_try(const tpi_disk *d, int64_t offset, void *p, size_t n) TPI_MUST_USE;
bool tpi_disk_told(tp_ctx *ctx, const tpi_disk *d, int code) TPI_MUST_USE;
void tpi_disk_rest(tpi_disk *d);
void tpi_disk_close(tpi_disk *d);

/* A file on its way: ".NAME.tmp.PID" beside the target. */
typedef struct tpi_save {
    char  *path, *tmp, *dir;
    int    fd;      /* -1 once given away or closed */
    size_t waiting; /* bytes written that the disk has not been told of */
} tpi_save;

enum { TPI_SAVE_AT_ONCE = 16 << 20 };

/* Fails when the file system of path says that it has less than so many bytes; where it says nothing, that is well. */
bool tpi_save_room(tp_ctx *ctx, const char *path, int64_t bytes) TPI_MUST_USE;
bool tpi_save_begin(tp_ctx *ctx, tpi_save *s, const char *path) TPI_MUST_USE;
bool tpi_save_write(tp_ctx *ctx, tpi_save *s, const void *p, size_t n) TPI_MUST_USE;
/* Lets the disk begin with what has been written. */
void tpi_save_start(tpi_save *s);
/* fsync, rename, fsync of the directory.  Ends s either way; after a failure the target is as it was. */
bool tpi_save_commit(tp_ctx *ctx, tpi_save *s) TPI_MUST_USE;
void tpi_save_drop(tpi_save *s);
/* n more bytes were written: the disk begins whenever enough has come together, so that it works meanwhile. */
void tpi_save_wrote(tpi_save *s, size_t n);
/* "dir/" of "dir/name", "." of "name"; to be freed. */
char *tpi_dir_of(tp_ctx *ctx, const char *path) TPI_MUST_USE;
/* fsync of the directory dir, in which path has been put in place. */
bool tpi_sync_dir(tp_ctx *ctx, const char *path, const char *dir) TPI_MUST_USE;

#endif
