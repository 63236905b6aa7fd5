/*
 * disk.c - files read at an offset (never mapped: a file that shrinks would kill the process), and files that appear
 * whole.
 */
#include "nn/files/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- reading --------------------------------------------------------------------------------------------------------- */

static bool io_error(tp_ctx *ctx, const char *path, const char *what)
{
    int e = errno;

    tp_fail(ctx, e == ENOMEM ? TP_ENOMEM : TP_EIO, "%.700s: cannot %s: %s", path, what, strerror(e));
    return false;
}

static int open_again(const char *path, int flags, int mode)
{
    int fd;

    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens d->path; O_NONBLOCK so that a pipe of that name does not hang. */
static bool disk_fd(tp_ctx *ctx, tpi_disk *d, struct stat *st)
{
    d->fd = open_again(d->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (d->fd < 0 || fstat(d->fd, st) != 0)
        return io_error(ctx, d->path, "open");
    if (!S_ISREG(st->st_mode)) {
        tp_fail(ctx, TP_EIO, "%.700s: not a regular file", d->path);
        return false;
    }
    return true;
}

static void stamp_of(const struct stat *st, int64_t stamp[4])
{
    stamp[0] = (int64_t)st->st_dev;
    stamp[1] = (int64_t)st->st_ino;
    stamp[2] = (int64_t)st->st_mtim.tv_sec;
    stamp[3] = (int64_t)st->st_mtim.tv_nsec;
}

bool tpi_disk_open(tp_ctx *ctx, tpi_disk *d, const char *path)
{
    struct stat st;

    *d = (tpi_disk){ .fd = -1 };
    d->path = tpi_strdup(ctx, path);
    if (!d->path || !disk_fd(ctx, d, &st)) {
        tpi_disk_close(d);
        return false;
    }
    d->size = (int64_t)st.st_size;
    stamp_of(&st, d->stamp);
    return true;
}

bool tpi_disk_wake(tp_ctx *ctx, tpi_disk *d)
{
    struct stat st;
    int64_t     stamp[4];

    if (d->fd >= 0)
        return true;
    if (!disk_fd(ctx, d, &st)) {
        tpi_disk_rest(d);
        return false;
    }
    stamp_of(&st, stamp);
    if ((int64_t)st.st_size != d->size || memcmp(stamp, d->stamp, sizeof stamp) != 0) {
        tp_fail(ctx, TP_EIO, "%.700s: the file has changed since it was opened", d->path);
        tpi_disk_rest(d);
        return false;
    }
    return true;
}

int tpi_disk_try(const tpi_disk *d, int64_t offset, void *p, size_t n)
{
    char *to = p;

    while (n > 0) {
        ssize_t got = pread(d->fd, to, n < ((size_t)1 << 30) ? n : (size_t)1 << 30, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : TPI_DISK_SHORT;
        to += got;
        offset += got;
        n -= (size_t)got;
    }
    return 0;
}

bool tpi_disk_told(tp_ctx *ctx, const tpi_disk *d, int code)
{
    if (code == TPI_DISK_SHORT)
        return tp_fail(ctx, TP_EIO, "%.700s: the file has become shorter since it was opened", d->path) != NULL;
    errno = code;
    return code == 0 || io_error(ctx, d->path, "read");
}

bool tpi_disk_read(tp_ctx *ctx, tpi_disk *d, int64_t offset, void *p, size_t n)
{
    return tpi_disk_wake(ctx, d) && tpi_disk_told(ctx, d, tpi_disk_try(d, offset, p, n));
}

void tpi_disk_rest(tpi_disk *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

void tpi_disk_close(tpi_disk *d)
{
    tpi_disk_rest(d);
    tpi_free(d->path);
    d->path = NULL;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

/* Length of "dir/" in path, 0 when there is no slash. */
static int dir_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (int)(slash - path) + 1 : 0;
}

char *tpi_dir_of(tp_ctx *ctx, const char *path)
{
    int n = dir_length(path);

    return tpi_strndup(ctx, n ? path : ".", n ? (size_t)n : 1);
}

bool tpi_save_room(tp_ctx *ctx, const char *path, int64_t bytes)
{
    char          *dir = tpi_dir_of(ctx, path);
    struct statvfs v;
    bool           known = dir && statvfs(dir, &v) == 0 && v.f_blocks > 0;
    double         room = !known ? 0 : (double)(geteuid() == 0 ? v.f_bfree : v.f_bavail) * (double)v.f_frsize;

    tpi_free(dir);
    if (known && (double)bytes > room)
        tp_fail(ctx, TP_EIO, "%.700s: not enough room: it needs %lld bytes, the file system has %.0f free", path,
                (long long)bytes, room);
    return tp_ok(ctx);
}

/* A number follows the process id when a file of that name is there: another thread's, or one that a process of the
 * same id left. */
static bool create_tmp(tp_ctx *ctx, tpi_save *s)
{
    int dir = dir_length(s->path), i;

    for (i = 0; i < 1000; i++) {
        tpi_free(s->tmp);
        s->tmp = i ? tpi_format(ctx, "%.*s.%s.tmp.%ld.%d", dir, s->path, s->path + dir, (long)getpid(), i)
                   : tpi_format(ctx, "%.*s.%s.tmp.%ld", dir, s->path, s->path + dir, (long)getpid());
        if (!s->tmp)
            return false;
        s->fd = open_again(s->tmp, O_RDWR | O_CREAT | O_EXCL, 0666);
        if (s->fd >= 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    return io_error(ctx, s->path, "write there");
}

bool tpi_save_begin(tp_ctx *ctx, tpi_save *s, const char *path)
{
    struct stat st;
    bool        old = stat(path, &st) == 0;

    *s = (tpi_save){ .fd = -1 };
    if (path[0] == '\0' || path[strlen(path) - 1] == '/' || (old && !S_ISREG(st.st_mode))) {
        tp_fail(ctx, TP_EIO, "\"%.700s\": not the name of a file to write", path);
        return false;
    }
    s->path = tpi_strdup(ctx, path);
    s->dir = tpi_dir_of(ctx, path);
    if (!s->path || !s->dir || !create_tmp(ctx, s)) {
        if (s->fd < 0) {
            tpi_free(s->tmp); /* nothing of that name is ours */
            s->tmp = NULL;
        }
        tpi_save_drop(s);
        return false;
    }
    if (old) /* what was private stays so */
        (void)fchmod(s->fd, st.st_mode & 0777);
    return true;
}

bool tpi_save_write(tp_ctx *ctx, tpi_save *s, const void *p, size_t n)
{
    const char *from = p;

    while (n > 0) {
        ssize_t put = write(s->fd, from, n < ((size_t)1 << 30) ? n : (size_t)1 << 30);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return io_error(ctx, s->path, "write");
        }
        from += put;
        n -= (size_t)put;
        tpi_save_wrote(s, (size_t)put);
    }
    return true;
}

void tpi_save_start(tpi_save *s)
{
    (void)sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only sooner: the fsync that counts comes later */
}

static int sync_fd(int fd)
{
    int r;

    do
        r = fsync(fd);
    while (r != 0 && errno == EINTR);
    return r;
}

/* File systems that cannot sync a directory say EINVAL; the rename is then as durable as they make it. */
bool tpi_sync_dir(tp_ctx *ctx, const char *path, const char *dir)
{
    int  fd = open_again(dir, O_RDONLY | O_DIRECTORY, 0);
    bool ok;

    if (fd < 0) /* write permission alone is enough to save */
        return errno == EACCES || io_error(ctx, path, "open its directory");
    ok = sync_fd(fd) == 0 || errno == EINVAL || errno == ENOTSUP ||
         io_error(ctx, path, "make the new name durable (fsync of its directory)");
    close(fd);
    return ok;
}

bool tpi_save_commit(tp_ctx *ctx, tpi_save *s)
{
    bool ok;

    /* After a failed fsync the kernel may have dropped the pages: no second try, the file goes. */
    ok = sync_fd(s->fd) == 0 || io_error(ctx, s->path, "make the file durable (fsync)");
    if (close(s->fd) != 0 && errno != EINTR)
        ok = ok && io_error(ctx, s->path, "close");
    s->fd = -1;
    ok = ok && (rename(s->tmp, s->path) == 0 || io_error(ctx, s->path, "rename the finished file to it"));
    if (ok) {
        tpi_free(s->tmp);
        s->tmp = NULL;
        ok = tpi_sync_dir(ctx, s->path, s->dir);
    }
    tpi_save_drop(s);
    return ok;
}

void tpi_save_drop(tpi_save *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->tmp)
        unlink(s->tmp);
    tpi_free(s->tmp);
    tpi_free(s->path);
    tpi_free(s->dir);
    *s = (tpi_save){ .fd = -1 };
}
