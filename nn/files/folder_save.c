/*
 * folder_save.c - directories that appear whole: written beside their place, then renamed; an old one is exchanged.
 */
#include "nn/files/folder_save.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool io_error(tp_ctx *ctx, const char *path, const char *what)
{
    return tp_fail(ctx, TP_EIO, "%.700s: cannot %s: %s", path, what, strerror(errno)) != NULL;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Whether the directory holds files only: a tree of other things is nobody's model, and is not removed here. */
static bool only_files(tp_ctx *ctx, const char *path)
{
    DIR           *dir = opendir(path);
    struct dirent *e;
    struct stat    st;
    bool           ok = dir || io_error(ctx, path, "look into it");

    while (ok && (e = readdir(dir)) != NULL)
        if (!is_dot(e->d_name) && (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode)))
            ok = tp_fail(ctx, TP_EIO, "%.500s: it holds the directory %.200s, so it is not overwritten", path,
                         e->d_name) != NULL;
    if (dir)
        closedir(dir);
    return ok;
}

static void remove_files(const char *path)
{
    DIR           *dir = opendir(path);
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL)
        if (!is_dot(e->d_name))
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}

/* What stands at the target: nothing, or a directory that may go. */
static bool look_at_target(tp_ctx *ctx, tpi_folder_save *d, bool overwrite)
{
    struct stat st;

    if (lstat(d->path, &st) != 0)
        return errno == ENOENT || io_error(ctx, d->path, "look at it");
    d->old = true;
    if (!overwrite)
        return tp_fail(ctx, TP_EIO, "%.700s: it is there already", d->path) != NULL;
    if (!S_ISDIR(st.st_mode))
        return tp_fail(ctx, TP_EIO, "%.700s: it is no directory, so no directory takes its place", d->path) != NULL;
    return only_files(ctx, d->path);
}

static bool make_tmp(tp_ctx *ctx, tpi_folder_save *d)
{
    const char *slash = strrchr(d->path, '/');
    int         before = slash ? (int)(slash - d->path) + 1 : 0, i;

    for (i = 0; i < 1000; i++) {
        tpi_free(d->tmp);
        d->tmp = tpi_format(ctx, "%.*s.%s.tmp.%ld.%d", before, d->path, d->path + before, (long)getpid(), i);
        if (!d->tmp)
            return false;
        if (mkdir(d->tmp, 0777) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    io_error(ctx, d->path, "write there");
    tpi_free(d->tmp); /* nothing of that name is ours */
    d->tmp = NULL;
    return false;
}

bool tpi_folder_begin(tp_ctx *ctx, tpi_folder_save *d, const char *path, bool overwrite)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    *d = (tpi_folder_save){ .path = tpi_strndup(ctx, path, n) };
    d->dir = d->path ? tpi_dir_of(ctx, d->path) : NULL;
    if (d->dir && (n == 0 || strcmp(d->path, "/") == 0 || is_dot(strrchr(path, '/') ? strrchr(d->path, '/') + 1 : d->path)))
        tp_fail(ctx, TP_EIO, "\"%.700s\": not the name of a directory to write", path);
    else if (d->dir && look_at_target(ctx, d, overwrite) && make_tmp(ctx, d))
        return true;
    tpi_folder_drop(d);
    return false;
}

bool tpi_folder_text(tp_ctx *ctx, tpi_folder_save *d, const char *name, const char *text, size_t n)
{
    char    *path = tpi_format(ctx, "%s/%s", d->tmp, name);
    tpi_save s;
    bool     ok = path && tpi_save_begin(ctx, &s, path);

    tpi_free(path);
    if (!ok)
        return false;
    if (tpi_save_write(ctx, &s, text, n))
        return tpi_save_commit(ctx, &s);
    tpi_save_drop(&s);
    return false;
}

/* An old directory changes places with the new one, in one step where the file system can; then it goes. */
static bool put_in_place(tp_ctx *ctx, const tpi_folder_save *d)
{
    if (!d->old)
        return rename(d->tmp, d->path) == 0 || io_error(ctx, d->path, "rename the finished directory to it");
    if (renameat2(AT_FDCWD, d->tmp, AT_FDCWD, d->path, RENAME_EXCHANGE) != 0)
        return io_error(ctx, d->path, "exchange it for the finished directory");
    remove_files(d->tmp);
    return true;
}

bool tpi_folder_commit(tp_ctx *ctx, tpi_folder_save *d)
{
    bool ok = put_in_place(ctx, d);

    if (ok) {
        tpi_free(d->tmp);
        d->tmp = NULL;
        ok = tpi_sync_dir(ctx, d->path, d->dir);
    }
    tpi_folder_drop(d);
    return ok;
}

void tpi_folder_drop(tpi_folder_save *d)
{
    if (d->tmp)
        remove_files(d->tmp);
    tpi_free(d->tmp);
    tpi_free(d->path);
    tpi_free(d->dir);
    *d = (tpi_folder_save){ 0 };
}
