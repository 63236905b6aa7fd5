/* foreign_child.c - the process that reads a foreign HDF5 file: it gives up all system calls but those that reading needs. */
#include "nn/files/h5_trusted.h"
#include "tools/foreign.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

/* ---- system calls ---------------------------------------------------------------------------------------------------- */

/* Reading and writing what is open, memory, time, the end. */
static const int allowed[] = {
    SYS_read,          SYS_pread64,        SYS_write,         SYS_writev,     SYS_close,        SYS_lseek,
    SYS_fstat,         SYS_munmap,         SYS_mremap,        SYS_brk,        SYS_madvise,      SYS_futex,
    SYS_rt_sigaction,  SYS_rt_sigprocmask, SYS_rt_sigreturn,  SYS_getrandom,  SYS_clock_gettime, SYS_gettimeofday,
    SYS_getpid,        SYS_gettid,         SYS_sched_yield,   SYS_exit,       SYS_exit_group,   SYS_newfstatat,
    SYS_sched_getaffinity,
};

enum { ALLOWED = sizeof allowed / sizeof allowed[0], FILTER = 32 + 2 * ALLOWED };

static void add(struct sock_filter *f, unsigned short *n, unsigned code, unsigned k, unsigned yes, unsigned no)
{
    f[(*n)++] = (struct sock_filter){ (unsigned short)code, (unsigned char)yes, (unsigned char)no, k };
}

/* One call: what follows is done with it, which is two instructions. */
static void when(struct sock_filter *f, unsigned short *n, int call)
{
    add(f, n, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1);
}

static void answer(struct sock_filter *f, unsigned short *n, unsigned what)
{
    add(f, n, BPF_RET | BPF_K, what, 0, 0);
}

/* Memory to be had, but none to be run. */
static void when_not_executable(struct sock_filter *f, unsigned short *n, int call)
{
    add(f, n, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 4);
    add(f, n, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]), 0, 0);
    add(f, n, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    answer(f, n, SECCOMP_RET_KILL_PROCESS);
    answer(f, n, SECCOMP_RET_ALLOW);
}

/* The file is open: from here on nothing else can be opened, sent or started. */
static void confine(tp_ctx *ctx, void *user)
{
    struct sock_filter f[FILTER];
    unsigned short     n = 0;
    struct sock_fprog  program = { 0, f };
    size_t             i;

    (void)user;
    add(f, &n, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    add(f, &n, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    answer(f, &n, SECCOMP_RET_KILL_PROCESS);
    add(f, &n, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    for (i = 0; i < ALLOWED; i++) {
        when(f, &n, allowed[i]);
        answer(f, &n, SECCOMP_RET_ALLOW);
    }
    when(f, &n, SYS_openat); /* libraries look for their settings */
    answer(f, &n, SECCOMP_RET_ERRNO | EACCES);
    when(f, &n, SYS_tgkill); /* of abort(), which then ends otherwise */
    answer(f, &n, SECCOMP_RET_ERRNO | EPERM);
    when_not_executable(f, &n, SYS_mmap);
    when_not_executable(f, &n, SYS_mprotect);
    answer(f, &n, SECCOMP_RET_KILL_PROCESS);
    program.len = n;
    if (ARCH == 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        tp_fail(ctx, TP_EIO, "system calls cannot be limited here (seccomp): foreign files are not read");
}

/* ---- a safetensors file on standard output --------------------------------------------------------------------------- */

/* Text that is counted, or written. */
typedef struct sink {
    uint64_t n;
    bool     on;
} sink;

static void put(sink *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(sink *s, const char *fmt, ...)
{
    va_list ap;
    int     n;

    va_start(ap, fmt);
    n = s->on ? vprintf(fmt, ap) : vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    s->n += n > 0 ? (uint64_t)n : 0;
}

/* A '/' becomes `slash`. */
static void put_text(sink *s, const char *text, char slash)
{
    const unsigned char *p = (const unsigned char *)text;

    put(s, "\"");
    for (; *p != '\0'; p++)
        put(s, *p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f ? "\\u%04x" : "%c", *p == '/' ? slash : *p);
    put(s, "\"");
}

/* For a model without attributes: one that says what the model was made from would be believed. */
static uint64_t put_header(sink *s, const tp_file *f, char slash)
{
    const char *key, *value, *comma = "";
    uint64_t    at = 0;

    put(s, "{");
    for (int64_t i = 0; slash == '/' && tp_file_meta_at(f, i, &key, &value); i++) {
        put(s, i == 0 ? "\"__metadata__\":{" : ",");
        put_text(s, key, '/');
        put(s, ":");
        put_text(s, value, '/');
        comma = "},";
    }
    for (int64_t i = 0; i < tp_file_count(f); i++) {
        const tp_file_entry *e = tp_file_at(f, i);

        put(s, "%s", comma);
        put_text(s, e->name, slash);
        put(s, ":{\"dtype\":\"%s\",\"shape\":[", e->dtype);
        for (int d = 0; d < e->ndim; d++)
            put(s, d ? ",%lld" : "%lld", (long long)e->dim[d]);
        put(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)(at + (uint64_t)e->bytes));
        at += (uint64_t)e->bytes;
        comma = ",";
    }
    put(s, "%s}", comma[0] == '}' ? "}" : "");
    return at;
}

/* Size of the whole, then length of the header, header, values. */
static void send_file(tp_ctx *ctx, tp_file *f, foreign_what what)
{
    static char piece[1 << 16];
    char        slash = what == FOREIGN_MODEL ? '.' : '/';
    sink        count = { 0, false }, out = { 0, true };
    uint64_t    data = put_header(&count, f, slash), head[2];

    head[1] = (count.n + 7) / 8 * 8;
    head[0] = 8 + head[1] + data;
    fwrite(head, sizeof head, 1, stdout);
    put_header(&out, f, slash);
    put(&out, "%*s", (int)(head[1] - count.n), "");
    (void)fflush(stdout); /* the other side may have enough of it already */
    for (size_t i = 0; what != FOREIGN_NAMES && tp_ok(ctx) && i < f->entries; i++) {
        const tpi_bytes *b = &f->entry[i].bytes;

        for (int64_t at = 0; at < b->size; at += (int64_t)sizeof piece) {
            size_t n = b->size - at < (int64_t)sizeof piece ? (size_t)(b->size - at) : sizeof piece;

            if (!tpi_bytes_read(f, b, at, piece, n) || fwrite(piece, 1, n, stdout) != n)
                break;
        }
    }
    if (tp_ok(ctx) && fflush(stdout) != 0)
        tp_fail(ctx, TP_EIO, "cannot hand it on: %s", strerror(errno));
}

int foreign_main(int argc, char **argv)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_file    *f = tpi_file_open_trusted_at(ctx, "/proc/self/fd/3", confine, NULL);
    const char *what = argc == 3 ? argv[2] : "";

    if (f != NULL)
        send_file(ctx, f, strcmp(what, "model") == 0    ? FOREIGN_MODEL
                          : strcmp(what, "values") == 0 ? FOREIGN_VALUES
                                                        : FOREIGN_NAMES);
    if (!tp_ok(ctx))
        dprintf(STDERR_FILENO, "%s\n", tp_error(ctx));
    _exit(tp_ok(ctx) ? 0 : 1); /* nothing of libhdf5 runs any more */
}
