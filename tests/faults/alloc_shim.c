/*
 * alloc_shim.c - preloaded before a program: refuses the n-th allocation that HDF5, jansson or PCRE2 asks for, by who is
 * on the stack.  tests/tools/test_alloc_shim.py drives it by the environment:
 *
 *   TAPIR_SHIM_LIB    "hdf5", "jansson" or "pcre2": part of the library's file name
 *   TAPIR_SHIM_FAIL   refuse the n-th (from 1), with a '+' behind it: and all that follow
 *   TAPIR_SHIM_COUNT  a file that gets the number of allocations seen, at exit
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

/* jansson and PCRE2 call back into the program for memory: its two or three frames lie above theirs. */
enum { FRAMES = 8 };

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

/* Code of the library, found once it is loaded. */
static uintptr_t             code_from, code_to;
static long                  fail_at;
static bool                  fail_on, ready;
static atomic_long           seen;
static _Thread_local bool    inside __attribute__((tls_model("initial-exec")));

static int find_library(struct dl_phdr_info *info, size_t size, void *name)
{
    int i;

    (void)size;
    for (i = 0; strstr(info->dlpi_name, name) && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            code_from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            code_to = code_from + info->dlpi_phdr[i].p_memsz;
        }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("TAPIR_SHIM_LIB"), *fail = getenv("TAPIR_SHIM_FAIL");
    char       *end = NULL;

    if (!name)
        return;
    dl_iterate_phdr(find_library, (void *)(uintptr_t)name);
    fail_at = fail ? strtol(fail, &end, 10) : 0;
    fail_on = end && *end == '+';
    ready = code_to > 0;
}

__attribute__((destructor)) static void finish(void)
{
    const char *path = getenv("TAPIR_SHIM_COUNT");
    char        text[32];
    int         fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1, n;

    ready = false;
    if (fd < 0)
        return;
    n = snprintf(text, sizeof text, "%ld\n", atomic_load(&seen));
    if (write(fd, text, (size_t)n) != n)
        _exit(9);
    close(fd);
}

typedef struct look {
    int  depth;
    bool found;
} look;

static _Unwind_Reason_Code look_at(struct _Unwind_Context *c, void *user)
{
    look     *l = user;
    uintptr_t at = (uintptr_t)_Unwind_GetIP(c);

    l->found = at >= code_from && at < code_to;
    return l->found || ++l->depth >= FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static bool refused(void)
{
    look l = { 0 };
    long n;

    if (!ready || inside)
        return false;
    inside = true;
    (void)_Unwind_Backtrace(look_at, &l);
    inside = false;
    if (!l.found)
        return false;
    n = atomic_fetch_add(&seen, 1) + 1;
    if (fail_at == 0 || n < fail_at || (n > fail_at && !fail_on))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return refused() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return refused() ? NULL : __libc_realloc(p, n);
}
