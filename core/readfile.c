/* readfile.c - a whole file into memory: the size is asked for before anything is allocated. */
#include "core/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool tpi_is_file(const char *path)
{
    struct stat st;

    return path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool tpi_is_folder(const char *path)
{
    struct stat st;

    return path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A file that shrinks meanwhile is an error; one that grows is read up to the size that it had. */
static bool read_all(int fd, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, p, n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static char *read_open(tp_ctx *ctx, const char *path, int fd, size_t max, size_t *n)
{
    struct stat st;
    char       *p;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return tp_fail(ctx, TP_EIO, "%s: is no regular file", path);
    if ((uintmax_t)st.st_size > max)
        return tp_fail(ctx, TP_EIO, "%s: has %lld bytes, at most %zu are read", path, (long long)st.st_size, max);
    *n = (size_t)st.st_size;
    p = tpi_alloc(ctx, *n + 1, 1);
    if (p == NULL)
        return NULL;
    errno = 0;
    if (!read_all(fd, p, *n)) {
        tpi_free(p);
        return tp_fail(ctx, TP_EIO, "%s: cannot be read: %s", path, errno ? strerror(errno) : "it became shorter");
    }
    return p;
}

char *tpi_read_file(tp_ctx *ctx, const char *path, size_t max, size_t *n)
{
    char *p;
    int   fd;

    *n = 0;
    if (!tp_ok(ctx))
        return NULL;
    if (path == NULL)
        return tp_fail(ctx, TP_EARG, "read: the path is NULL");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for a writer of a named pipe */
    if (fd < 0)
        return tp_fail(ctx, TP_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    p = read_open(ctx, path, fd, max, n);
    close(fd);
    return p;
}
