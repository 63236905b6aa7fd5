/* cmd_merge.c - an adapter folded into the weights of its model, from file to file. */
#include "tools/commands.h"

#include <stdio.h>
#include <sys/stat.h>

static void on_message(void *user, tp_level level, const char *text)
{
    (void)user;
    if (level != TP_PROGRESS)
        fprintf(stderr, "%s%s\n", level == TP_WARNING ? "warning: " : "", text);
}

static tp_tensor *merge(tp_ctx *ctx, void *user, const char *name, tp_tensor *x)
{
    return tp_adapter_merged(ctx, user, name, x);
}

/* A run folder stands for the adapter in it. */
static const char *adapter_path(const char *path, char *inside, size_t size)
{
    struct stat st;

    snprintf(inside, size, "%s/adapter.h5", path);
    return stat(inside, &st) == 0 ? inside : path;
}

static bool fits(tp_ctx *ctx, tp_adapter_file *a, const char *model)
{
    tp_file *base = a ? tp_file_open(ctx, model) : NULL;
    bool     ok = base != NULL && tp_adapter_fits(ctx, a, base);

    tp_file_close(base);
    return ok;
}

static void print_rounding(const tp_rounding *r)
{
    printf("merged %lld weights; stored - exact: max %.3g (%.3g of the largest value), rms %.3g (%.3g of theirs)\n",
           (long long)r->tensors, r->max, r->largest > 0 ? r->max / r->largest : 0, r->rms,
           r->typical > 0 ? r->rms / r->typical : 0);
}

static int run(cli *c)
{
    const char      *model = cli_text(c, "model"), *adapter = cli_text(c, "adapter"), *out = cli_text(c, "out");
    tp_rounding      r = { 0, 0, 0, 0, 0, 0 };
    char             inside[4400];
    tp_ctx          *ctx;
    tp_adapter_file *a;

    if (model == NULL || adapter == NULL || out == NULL)
        return cli_usage(c, "--model, --adapter and --out are needed");
    ctx = tp_ctx_new(TP_CPU, 0);
    if (!cli_flag(c, "quiet"))
        tp_on_message(ctx, on_message, NULL);
    a = tp_adapter_open(ctx, adapter_path(adapter, inside, sizeof inside),
                        &(tp_adapter_load_opts){ .any_base = cli_flag(c, "any-base") });
    if (fits(ctx, a, model) &&
        tp_convert(ctx, model, out,
                   &(tp_convert_opts){ .dtype = cli_text(c, "dtype"),
                                       .overwrite = cli_flag(c, "overwrite"),
                                       .shard = (int64_t)(cli_real(c, "shard") * 1e6),
                                       .change = merge,
                                       .user = a,
                                       .rounding = &r }))
        print_rounding(&r);
    tp_adapter_close(a);
    return session_end(ctx, NULL);
}

static const cli_option options[] = {
    { "model", CLI_TEXT, NULL, 0, 0, NULL, "the base: Hugging Face directory, .gguf file or Tapir .h5" },
    { "adapter", CLI_TEXT, NULL, 0, 0, NULL, "run folder, adapter file, or PEFT folder of type LORA" },
    { "out", CLI_TEXT, NULL, 0, 0, NULL, "x.h5, x.gguf, or the name of a directory" },
    { "dtype", CLI_CHOICE, NULL, 0, 0, "f32|f16|bf16|q8_0", "of the new file; without it each tensor keeps its own" },
    { "any-base", CLI_FLAG, NULL, 0, 0, NULL, "merge although the adapter was trained on another model" },
    { "overwrite", CLI_FLAG, NULL, 0, 0, NULL, "replace the file or directory at --out" },
    { "shard", CLI_REAL, "5000", 0.001, 1e9, NULL, "MB of tensors in one safetensors file of a directory" },
    { "quiet", CLI_FLAG, NULL, 0, 0, NULL, "no warnings" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_merge = {
    .name = "merge",
    .summary = "folds an adapter into the weights of its model",
    .manual =
        "Writes the model of --model with the adapter merged in: every weight with an adapter becomes w + delta, summed\n"
        "in f64 and rounded once to the dtype that is stored.  Weights are read, merged and written one at a time; dtypes,\n"
        "formats, tokenizer and OUT are as for convert.  The new model answers as base and adapter together do, but for\n"
        "the rounding, which is printed: the largest |stored - exact|, and the root of the mean square, over the merged\n"
        "weights, as they are and relative to the weights.  A bf16 base rounds away much of a small adapter: --dtype f32\n"
        "keeps it.\n",
    .options = options,
    .run = run,
};
