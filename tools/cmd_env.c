/* cmd_env.c - what runs here: version, CPU, back ends, threads. */
#include "core/internal.h"
#include "tools/commands.h"

#if defined(__x86_64__)
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
static int has_fma(void)
{
    return __builtin_cpu_supports("fma");
}
static int has_avx512f(void)
{
    return __builtin_cpu_supports("avx512f");
}
static int has_avx512vl(void)
{
    return __builtin_cpu_supports("avx512vl");
}
#endif

static const struct {
    const char *name;
    int (*has)(void);
} features[] = {
#if defined(__x86_64__)
    { "avx2", has_avx2 }, { "fma", has_fma }, { "avx512f", has_avx512f }, { "avx512vl", has_avx512vl },
#endif
    { NULL, NULL },
};

/* The first "model name" line of the system. */
static void print_cpu(void)
{
    char  line[512], name[256] = "unknown";
    FILE *f = fopen("/proc/cpuinfo", "r");

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "model name : %255[^\n]", name) == 1)
            break;
    if (f != NULL)
        fclose(f);
    printf("cpu:       %s\nfeatures: ", name);
    for (int i = 0; features[i].name != NULL; i++)
        if (features[i].has())
            printf(" %s", features[i].name);
    putchar('\n');
}

static int run(cli *c)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 0);
    char    note[200];

    (void)c;
    printf("tapir:     %s\n", tp_version());
    print_cpu();
    printf("threads:   %d\nkernels:   %s, of:", tp_threads(ctx), tp_backend_name(ctx));
    for (int i = 0; tpi_backends[i] != NULL; i++)
        if (tpi_backends[i]->usable == NULL || tpi_backends[i]->usable())
            printf(" %s", tpi_backends[i]->name);
    printf("\n");
    if (tpi_backend_of(ctx)->note != NULL)
        printf("libraries: %s\n", tpi_backend_of(ctx)->note(note, sizeof note));
    return tp_ctx_finish(ctx);
}

static const cli_option options[] = { { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL } };

const cli_command cmd_env = {
    .name = "env",
    .summary = "version, CPU, kernels, threads",
    .manual = "Prints what this build is and what it found on this machine.\n",
    .options = options,
    .run = run,
};
