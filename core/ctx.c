/* ctx.c - creating and ending a context, its back end and its threads. */
#include "core/context.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

/* Stands in when even the context cannot be allocated, so that tp_ctx_new never returns NULL.  Nobody writes to it. */
static const tp_ctx no_memory = {
    .magic = TPI_CTX_MAGIC, .code = TP_ENOMEM, .msg = "out of memory: no context", .is_static = true
};

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* cpu.max of a control group (v2) holds "max 100000" or "200000 100000"; 0 when it is not there or sets no limit. */
static long group_limit(const char *group)
{
    char  path[1100];
    long  quota = 0, period = 0;
    int   size = snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    FILE *f = size > 0 && size < (int)sizeof path ? fopen(path, "r") : NULL;
    int   n = f ? fscanf(f, "%ld %ld", &quota, &period) : 0;

    if (f != NULL)
        fclose(f);
    return n == 2 && quota > 0 && period > 0 ? (quota + period - 1) / period : 0;
}

/* The smallest limit of this process's control group and of those around it. */
static long group_threads(void)
{
    char  line[1024], *group = NULL, *slash;
    FILE *f = fopen("/proc/self/cgroup", "r");
    long  least = group_limit(""), n;

    while (f != NULL && group == NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "0::/", 4) == 0)
            group = line + 3;
    if (f != NULL)
        fclose(f);
    if (group != NULL)
        group[strcspn(group, "\n")] = '\0';
    while (group != NULL && (slash = strrchr(group, '/')) != NULL) {
        n = group_limit(group);
        least = n > 0 && (least == 0 || n < least) ? n : least;
        *slash = '\0';
    }
    return least;
}

/* The first number of OMP_NUM_THREADS, which may be a list; 0 when there is none that makes sense. */
static long asked_threads(void)
{
    const char *env = getenv("OMP_NUM_THREADS");
    char       *end;
    long        n = env ? strtol(env, &end, 10) : 0;

    return n >= 1 && n <= MAX_THREADS && (*end == '\0' || *end == ',' || *end == ' ') ? n : 0;
}

static int default_threads(void)
{
    long      n = asked_threads(), limit;
    cpu_set_t set;

    if (n > 0)
        return (int)n;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    else
        n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
    limit = group_threads();
    n = limit > 0 && limit < n ? limit : n;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static bool usable(const tpi_backend *b)
{
    return b->usable == NULL || b->usable();
}

static const tpi_backend *first_backend(tp_device device)
{
    for (int i = 0; tpi_backends[i] != NULL; i++)
        if (tpi_backends[i]->device == device && usable(tpi_backends[i]))
            return tpi_backends[i];
    return NULL;
}

tp_ctx *tp_ctx_new(tp_device device, int index)
{
    tp_ctx *ctx = tpi_alloc(NULL, 1, sizeof *ctx);

    if (ctx == NULL)
        return (tp_ctx *)(uintptr_t)&no_memory;
    ctx->magic = TPI_CTX_MAGIC;
    ctx->recording = true;
    ctx->device = device;
    ctx->threads = default_threads();
    ctx->backend = index == 0 ? first_backend(device) : NULL;
    if (ctx->backend == NULL)
        tp_fail(ctx, TP_EDEVICE,
                "no such device in this build or on this machine: kind %d (0 cpu, 1 ref, 2 cuda), index %d",
                (int)device, index);
    return ctx;
}

void tp_ctx_free(tp_ctx *ctx)
{
    if (ctx == NULL || ctx->is_static)
        return;
    tpi_unwind(ctx, 0, 0, 0);
    tpi_tape_cut(ctx, 0);
    tpi_tensors_free(ctx);
    for (size_t i = 0; i < ctx->n_names; i++)
        tpi_free(ctx->names[i]);
    tpi_free(ctx->names);
    tpi_free(ctx->live);
    tpi_free(ctx->scopes);
    tpi_free(ctx->tape);
    tpi_free(ctx->touched);
    tpi_pool_free(&ctx->pool);
    ctx->magic = 0;
    tpi_free(ctx);
}

int tp_ctx_finish(tp_ctx *ctx)
{
    int rc = tp_ok(ctx) ? EXIT_SUCCESS : EXIT_FAILURE;

    if (rc != EXIT_SUCCESS)
        fprintf(stderr, "tapir: %s\n", tp_error(ctx));
    tp_ctx_free(ctx);
    return rc;
}

tp_device tp_ctx_device(const tp_ctx *ctx)
{
    return ctx ? ctx->device : TP_CPU;
}

void tp_set_threads(tp_ctx *ctx, int n)
{
    if (!tp_ok(ctx))
        return;
    if (n < 0 || n > MAX_THREADS)
        tp_fail(ctx, TP_EARG, "set_threads: %d, expected 0 (the default) to %d", n, MAX_THREADS);
    else
        ctx->threads = n ? n : default_threads();
}

int tp_threads(const tp_ctx *ctx)
{
    return ctx ? ctx->threads : 0;
}

const char *tp_backend_name(const tp_ctx *ctx)
{
    return ctx && ctx->backend ? ctx->backend->name : "none";
}

void tp_set_backend(tp_ctx *ctx, const char *name)
{
    char   list[256] = "";
    size_t n = 0;

    if (!tp_ok(ctx))
        return;
    for (int i = 0; tpi_backends[i] != NULL; i++) {
        const tpi_backend *b = tpi_backends[i];

        if (!usable(b) || b->alloc != ctx->backend->alloc) /* tensors that are there must stay within its reach */
            continue;
        if (name != NULL && strcmp(b->name, name) == 0) {
            ctx->backend = b;
            return;
        }
        if (n < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, " %s", b->name);
    }
    tp_fail(ctx, TP_EDEVICE, "set_backend: there is no '%s' here, only:%s", name ? name : "(null)", list);
}

tp_memory_use tp_memory(const tp_ctx *ctx)
{
    if (ctx == NULL)
        return (tp_memory_use){ 0, 0, 0 };
    return (tp_memory_use){ ctx->pool.now, ctx->pool.peak, ctx->pool.system };
}

void tp_memory_trim(tp_ctx *ctx)
{
    if (ctx != NULL && !ctx->is_static)
        tpi_pool_trim(&ctx->pool);
}

/* ---- for the other rooms ----------------------------------------------------------------------------------------- */

const tpi_kernels *tpi_k(const tp_ctx *ctx)
{
    return ctx->backend->k;
}

const tpi_can *tpi_can_of(const tp_ctx *ctx)
{
    return ctx->backend->can;
}

const tpi_backend *tpi_backend_of(const tp_ctx *ctx)
{
    return ctx->backend;
}

tpi_run tpi_run_of(tp_ctx *ctx)
{
    return (tpi_run){ NULL, ctx->threads, NULL, 0 };
}

bool tpi_run_begin(tp_ctx *ctx, tpi_run *r, size_t size)
{
    *r = tpi_run_of(ctx);
    if (size == 0)
        return true;
    r->ws = tpi_pool_get(&ctx->pool, size, &r->ws_size);
    if (r->ws == NULL)
        tp_fail(ctx, TP_ENOMEM, "out of memory: %zu bytes of workspace", size);
    return r->ws != NULL;
}

void tpi_run_end(tp_ctx *ctx, tpi_run *r)
{
    tpi_pool_put(&ctx->pool, r->ws, r->ws_size);
    r->ws = NULL;
}

bool tpi_done(tp_ctx *ctx, const char *op, tp_code code)
{
    if (code == TP_OK)
        return true;
    if (code == TP_ENOMEM)
        tp_fail(ctx, code, "%s: out of memory in the kernel", op);
    else
        tp_fail(ctx, code, "%s: the back end '%s' cannot do this (code %d)", op, tp_backend_name(ctx), (int)code);
    return false;
}

bool tpi_can_do(tp_ctx *ctx, const char *op, uint16_t mask, tp_dtype t)
{
    char   list[64] = "";
    size_t n = 0;

    if (tp_dtype_size(t) > 0 && (mask & TPI_BIT(t)) != 0)
        return true;
    for (int i = 0; i < TP_DTYPES; i++)
        if (mask & TPI_BIT(i))
            n += (size_t)snprintf(list + n, sizeof list - n, " %s", tp_dtype_name((tp_dtype)i));
    tp_fail(ctx, TP_EDTYPE, "%s: dtype %s, expected one of:%s", op, tp_dtype_name(t), list);
    return false;
}

const char *tpi_intern(tp_ctx *ctx, const char *s)
{
    if (ctx == NULL || ctx->is_static || s == NULL)
        return NULL;
    for (size_t i = 0; i < ctx->n_names; i++)
        if (strcmp(ctx->names[i], s) == 0)
            return ctx->names[i];
    if (!tpi_grow(ctx, &ctx->names, &ctx->cap_names, ctx->n_names + 1, sizeof *ctx->names))
        return NULL;
    ctx->names[ctx->n_names] = tpi_strdup(ctx, s);
    return ctx->names[ctx->n_names] ? ctx->names[ctx->n_names++] : NULL;
}

const char *tpi_set_path(tp_ctx *ctx, const char *path)
{
    const char *before;

    if (ctx == NULL || ctx->is_static)
        return NULL;
    before = ctx->path;
    ctx->path = path;
    return before;
}
