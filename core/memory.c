/* memory.c - the only file that takes memory from the system and gives it back. */
#include "core/internal.h"
#include "core/pool.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Fault injection for tests; see tpi_fail_alloc.  fail_after counts down to 0, negative means never. */
static atomic_long fail_after = -1;
static atomic_bool fail_always;
static atomic_long tried;

void tpi_fail_alloc(long after, bool always)
{
    atomic_store(&fail_after, after);
    atomic_store(&fail_always, always);
    atomic_store(&tried, 0);
}

long tpi_count_alloc(void)
{
    return atomic_load(&tried);
}

static bool refuse(void)
{
    long n = atomic_fetch_add(&tried, 1), after = atomic_load(&fail_after);

    return after >= 0 && (n == after || (n > after && atomic_load(&fail_always)));
}

static void *out_of_memory(tp_ctx *ctx, size_t n, size_t size)
{
    return ctx ? tp_fail(ctx, TP_ENOMEM, "out of memory: %zu x %zu bytes", n, size) : NULL;
}

void *tpi_alloc(tp_ctx *ctx, size_t n, size_t size)
{
    size_t bytes;
    void  *p = NULL;

    if (tpi_mul_ok(n ? n : 1, size ? size : 1, &bytes) && bytes <= tpi_block_max && !refuse())
        p = calloc(1, bytes);
    return p ? p : out_of_memory(ctx, n, size);
}

void *tpi_realloc(tp_ctx *ctx, void *p, size_t n, size_t size)
{
    size_t bytes;
    void  *q = NULL;

    if (tpi_mul_ok(n ? n : 1, size ? size : 1, &bytes) && bytes <= tpi_block_max && !refuse())
        q = realloc(p, bytes);
    return q ? q : out_of_memory(ctx, n, size);
}

bool tpi_grow(tp_ctx *ctx, void *array, size_t *cap, size_t need, size_t size)
{
    size_t new_cap = *cap ? *cap : 16;
    void  *old, *p;

    if (need <= *cap)
        return true;
    while (new_cap < need)
        new_cap = new_cap > SIZE_MAX / 2 ? need : new_cap * 2;
    memcpy(&old, array, sizeof old); /* array is the address of a pointer of any type */
    p = tpi_realloc(ctx, old, new_cap, size);
    if (p == NULL)
        return false;
    memcpy(array, &p, sizeof p);
    *cap = new_cap;
    return true;
}

char *tpi_strndup(tp_ctx *ctx, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? tpi_alloc(ctx, n + 1, 1) : out_of_memory(ctx, n, 1);

    if (p != NULL && n > 0)
        memcpy(p, s, n);
    return p;
}

char *tpi_strdup(tp_ctx *ctx, const char *s)
{
    return s ? tpi_strndup(ctx, s, strlen(s)) : NULL;
}

char *tpi_format(tp_ctx *ctx, const char *fmt, ...)
{
    va_list ap;
    int     n;
    char   *p;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = tpi_alloc(ctx, (size_t)(n < 0 ? 0 : n) + 1, 1);
    if (p == NULL)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)(n < 0 ? 0 : n) + 1, fmt, ap);
    va_end(ap);
    return p;
}

void tpi_free(void *p)
{
    free(p);
}

void *tpi_raw_malloc(size_t size)
{
    return refuse() ? NULL : malloc(size ? size : 1);
}

void tpi_raw_free(void *p)
{
    free(p);
}

/* ---- blocks for the pool ----------------------------------------------------------------------------------------- */

enum { HUGE_PAGE = 2 << 20 };

static bool is_mapped(size_t size)
{
    return !TPI_STRICT && size >= HUGE_PAGE;
}

/* Large blocks are mapped at the beginning of a huge page: first touch of small pages is five times slower. */
static void *map(size_t size)
{
    size_t    page = (size_t)sysconf(_SC_PAGESIZE), head;
    char     *p;
    uintptr_t at;

    size = (size + page - 1) / page * page;
    p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    at = ((uintptr_t)p + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    head = (size_t)(at - (uintptr_t)p);
    if (head > 0)
        munmap(p, head);
    if (head < HUGE_PAGE)
        munmap(p + head + size, HUGE_PAGE - head);
    (void)madvise(p + head, size, MADV_HUGEPAGE);
    return p + head;
}

void *tpi_block_new(size_t size)
{
    void *p = NULL;

    if (refuse())
        return NULL;
    if (is_mapped(size))
        return map(size);
    return posix_memalign(&p, 64, size) == 0 ? p : NULL;
}

void tpi_block_free(void *p, size_t size)
{
    if (!is_mapped(size))
        free(p);
    else if (p != NULL)
        munmap(p, size);
}
