/* session.c - what the sub-commands that load a model share. */
#include "core/internal.h"
#include "models/text/template.h"
#include "tools/commands.h"

#include <string.h>
#include <sys/stat.h>

static void on_message(void *user, tp_level level, const char *text)
{
    (void)user;
    fprintf(stderr, "%s%s\n", level == TP_WARNING ? "warning: " : "", text);
}

tp_ctx *session_ctx(const cli *c)
{
    const char *device = cli_text(c, "device");
    tp_ctx *ctx = tp_ctx_new(strcmp(device, "ref") == 0 ? TP_REF : strcmp(device, "cuda") == 0 ? TP_CUDA : TP_CPU, 0);

    if (!cli_flag(c, "quiet"))
        tp_on_message(ctx, on_message, NULL);
    tp_set_threads(ctx, (int)cli_int(c, "threads"));
    tp_seed(ctx, (uint64_t)cli_int(c, "seed"));
    return ctx;
}

tp_llama *session_model(tp_ctx *ctx, const cli *c)
{
    tp_dtype  t = strcmp(cli_text(c, "dtype"), "f32") == 0 ? TP_F32 : TP_BF16;
    tp_llama *model = tp_llama_load(ctx, cli_text(c, "model"), t);

    if (model != NULL && tp_llama_tokenizer(model) == NULL)
        tp_fail(ctx, TP_EARG, "%s: there is no tokenizer in it", cli_text(c, "model"));
    return model;
}

void session_adapter(tp_ctx *ctx, tp_llama *model, const cli *c, bool frozen)
{
    const char *path = cli_text(c, "adapter");
    char        inside[4096];
    struct stat st;

    if (path == NULL || !tp_ok(ctx))
        return;
    snprintf(inside, sizeof inside, "%s/adapter.h5", path);
    if (stat(inside, &st) == 0) /* a run folder */
        path = inside;
    tp_adapter_load(ctx, tp_llama_root(model), path,
                    &(tp_adapter_load_opts){ .any_base = cli_flag(c, "any-base"), .frozen = frozen });
}

int session_end(tp_ctx *ctx, tp_llama *model)
{
    int  rc = tp_ok(ctx) ? 0 : 1;
    char text[1100];

    snprintf(text, sizeof text, "%s", tp_error(ctx));
    tp_llama_free(model);
    tp_ctx_free(ctx);
    if (rc != 0)
        fprintf(stderr, "tapir: %s\n", text);
    return rc;
}

double session_peak_mib(void)
{
    char   line[256];
    double kib = 0;
    FILE  *f = fopen("/proc/self/status", "r");

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmHWM: %lf", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib / 1024;
}

bool session_prompt(tp_ctx *ctx, tp_llama *model, const cli *c, tp_template **t, const char *text, size_t n, tp_ids *ids)
{
    tp_turn turn = { "user", text, n };

    if (*t == NULL)
        *t = tp_template_new(ctx, tp_llama_tokenizer(model), cli_text(c, "template"));
    return *t != NULL && tp_template_encode(ctx, *t, &turn, 1, true, ids, NULL);
}
