/* foreign.c - starts the process that reads a foreign HDF5 file, and takes what it says. */
#include "tools/foreign.h"
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* SECONDS, and one for so many bytes of the file.  MEMORY is of addresses, libraries included.  A compressed file may grow
 * so many times: more is a bomb. */
enum { SECONDS = 20, BYTES_A_SECOND = 4 << 20, MESSAGES = 4096, GROWTH = 256, FLOOR = 1 << 26 };

#define MEMORY ((rlim_t)6 << 30)

extern char **environ;

typedef struct reader {
    pid_t    pid;
    int      from, messages, to; /* what it writes; its standard error; the temporary file */
    uint64_t file_size;
} reader;

/* ---- the process ----------------------------------------------------------------------------------------------------- */

static rlim_t seconds_for(const reader *r)
{
    return SECONDS + (rlim_t)(r->file_size / BYTES_A_SECOND);
}

static void limit(int what, rlim_t most)
{
    const struct rlimit r = { most, most };

    (void)setrlimit(what, &r);
}

/* In the new process: descriptors 0 to 3 and limits, then the program anew.  HDF5's settings are not inherited. */
static void start(int file, int out, int messages, foreign_what what, rlim_t seconds)
{
    static char words[][8] = { "names", "values", "model" };
    char *argv[] = { (char[]){ "tapir" }, (char[]){ FOREIGN_OPTION }, words[what], NULL };
    int   null = open("/dev/null", O_RDWR | O_CLOEXEC), high[4], fd[4] = { null, out, messages, file }, i;
    char **e, **keep = environ;

    for (i = 0; i < 4; i++)
        high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 16);
    for (i = 0; i < 4; i++)
        if (high[i] < 0 || dup2(high[i], i) < 0)
            _exit(3);
    for (e = environ; *e; e++)
        if (strncmp(*e, "HDF5_", 5) != 0 && strncmp(*e, "OMP_", 4) != 0)
            *keep++ = *e;
    *keep = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit(RLIMIT_CPU, seconds);
    limit(RLIMIT_FSIZE, MESSAGES); /* pipes are no files */
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 64);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is terabytes */
    limit(RLIMIT_AS, MEMORY);
#endif
    execv("/proc/self/exe", argv);
    _exit(3);
}

static bool begin(reader *r, int file, foreign_what what)
{
    int pair[2];

    if (pipe2(pair, O_CLOEXEC) != 0)
        return false;
    r->from = pair[0];
    r->messages = memfd_create("messages", MFD_CLOEXEC);
    r->pid = r->messages >= 0 ? fork() : -1;
    if (r->pid == 0)
        start(file, pair[1], r->messages, what, seconds_for(r));
    close(pair[1]);
    return r->pid > 0;
}

/* ---- what it says ---------------------------------------------------------------------------------------------------- */

/* n bytes, or fewer at the end; -1 after an error. */
static ssize_t take(int fd, void *p, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t k = read(fd, (char *)p + got, n - got);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        if (k == 0)
            break;
        got += (size_t)k;
    }
    return (ssize_t)got;
}

static bool give(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* Into the temporary file; NULL, or what is wrong. */
static const char *copy(reader *r, bool values)
{
    static char piece[1 << 16];
    uint64_t    total = 0, most = GROWTH * r->file_size + FLOOR, n = 0;
    ssize_t     k;

    if (take(r->from, &total, 8) != 8)
        return ""; /* it has said why */
    if (values && total > most)
        return "it would grow to more than 256 times its size: not read";
    while ((k = take(r->from, piece, sizeof piece)) > 0) {
        n += (uint64_t)k;
        if (n > total || n > most)
            return "its reader sent more than it had said";
        if (!give(r->to, piece, (size_t)k))
            return strerror(errno);
    }
    if (k < 0 || (values && n != total))
        return "";
    return total > INT64_MAX || ftruncate(r->to, (off_t)total) != 0 ? "its data sets are larger than any file" : NULL;
}

/* The first line of its messages, with the file's real name. */
static void tell(const cli *c, const reader *r, const char *path)
{
    static const char own[] = "/proc/self/fd/3: ";
    char              text[1024] = "";
    ssize_t           n = pread(r->messages, text, sizeof text - 1, 0);
    const char       *say = strncmp(text, own, sizeof own - 1) == 0 ? text + sizeof own - 1 : text;
    char             *p;

    for (p = text; *p != '\0' && *p != '\n'; p++)
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    *p = '\0';
    cli_error(c, "%s: %s", path, n > 0 && say[0] ? say : "its reader could not be started");
}

/* Whether the process ended well; if not, says why. */
static bool end(const cli *c, const reader *r, const char *path, const char *why)
{
    int status = 0, signal;

    if (why && why[0])
        kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (why && why[0])
        cli_error(c, "%s: %s", path, why);
    else if (signal == SIGXCPU || signal == SIGKILL)
        cli_error(c, "%s: libhdf5 needed more than %llu s for it: not read", path,
                  (unsigned long long)seconds_for(r));
    else if (signal == SIGSYS)
        cli_error(c, "%s: libhdf5 tried a system call that reading does not need: not read", path);
    else if (signal)
        cli_error(c, "%s: libhdf5 crashed on it (signal %d), in a process of its own: not read", path, signal);
    else if (why || status != 0)
        tell(c, r, path);
    return !why && status == 0;
}

/* ---- the call -------------------------------------------------------------------------------------------------------- */

static int temporary(void)
{
    const char *folder = getenv("TMPDIR");
    int         fd = open(folder && folder[0] ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : memfd_create("foreign", MFD_CLOEXEC);
}

bool foreign_import(const cli *c, const char *path, foreign_what what, char name[FOREIGN_NAME])
{
    int         file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    reader      r = { .pid = -1, .from = -1, .messages = -1, .to = temporary() };
    struct stat st;
    bool        ok = false;

    if (file < 0 || fstat(file, &st) != 0)
        cli_error(c, "%s: cannot open: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        cli_error(c, "%s: --foreign reads a file", path);
    else if (r.file_size = (uint64_t)st.st_size, r.to < 0 || !begin(&r, file, what))
        cli_error(c, "%s: cannot start its reader: %s", path, strerror(errno));
    else {
        ok = end(c, &r, path, copy(&r, what != FOREIGN_NAMES));
        snprintf(name, FOREIGN_NAME, "/proc/self/fd/%d", r.to);
    }
    if (file >= 0)
        close(file);
    if (r.from >= 0)
        close(r.from);
    if (r.messages >= 0)
        close(r.messages);
    return ok;
}

void foreign_rename(tp_ctx *ctx, const char *name, const char *path)
{
    char    text[1100];
    tp_code code = tp_error_code(ctx);
    size_t  n = strlen(name);

    snprintf(text, sizeof text, "%s", tp_error(ctx));
    if (code == TP_OK || strncmp(text, name, n) != 0)
        return;
    tp_error_clear(ctx);
    tp_fail(ctx, code, "%s%s", path, text + n);
}
