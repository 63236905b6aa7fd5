/* cmd_convert.c - a model from one format of files to another. */
#include "tools/commands.h"
#include "tools/foreign.h"

#include <stdio.h>

static void on_message(void *user, tp_level level, const char *text)
{
    (void)user;
    if (level != TP_PROGRESS)
        fprintf(stderr, "%s%s\n", level == TP_WARNING ? "warning: " : "", text);
}

static int run(cli *c)
{
    const char *in = cli_operand(c);
    bool        foreign = cli_flag(c, "foreign");
    char        name[FOREIGN_NAME];
    tp_ctx     *ctx;

    if (foreign && !foreign_import(c, in, FOREIGN_MODEL, name))
        return 1;
    ctx = tp_ctx_new(TP_CPU, 0);
    if (!cli_flag(c, "quiet"))
        tp_on_message(ctx, on_message, NULL);
    tp_convert(ctx, foreign ? name : in, cli_operand_at(c, 1),
               &(tp_convert_opts){ .dtype = cli_text(c, "dtype"),
                                   .overwrite = cli_flag(c, "overwrite"),
                                   .shard = (int64_t)(cli_real(c, "shard") * 1e6) });
    if (foreign)
        foreign_rename(ctx, name, in);
    return session_end(ctx, NULL);
}

static const cli_option options[] = {
    { "dtype", CLI_CHOICE, NULL, 0, 0, "f32|f16|bf16|q8_0", "of the new file; without it each tensor keeps its own" },
    { "overwrite", CLI_FLAG, NULL, 0, 0, NULL, "replace OUT if it is there" },
    { "shard", CLI_REAL, "5000", 0.001, 1e9, NULL, "MB of tensors in one safetensors file of a directory" },
    { "foreign", CLI_FLAG, NULL, 0, 0, NULL, "IN is an HDF5 file that Tapir did not write; it is read in a process of its own" },
    { "quiet", CLI_FLAG, NULL, 0, 0, NULL, "no warnings" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_convert = {
    .name = "convert",
    .summary = "a model between Hugging Face directories, GGUF and Tapir's .h5",
    .manual =
        "IN is a Hugging Face directory (safetensors, in shards or not), a .gguf file or a Tapir .h5 file.  The name of\n"
        "OUT decides what is written: x.h5 a Tapir file, x.gguf GGUF, any other name a Hugging Face directory.\n"
        "Configuration, tokenizer and chat template come along, and the new file has the identity of IN, so that adapters\n"
        "trained on one fit the other.  Memory holds a tensor or two at a time.\n\n"
        "dtypes stay unless --dtype is given; quantised tensors become f32; integers are never touched.  q8_0 is for GGUF\n"
        "only, and for matrices whose rows are multiples of 32; in GGUF one-dimensional tensors are always f32, which\n"
        "loses nothing.  Tied weights are stored once.\n\n"
        "OUT appears when it is complete and on the disk; before, and after any error, what was there is untouched.  A\n"
        "directory is replaced only if it holds no others.  Adapters and training states are not converted.\n\n"
        "With --foreign IN is an HDF5 file of h5py, Keras or another writer: its data sets of numbers become bare tensors,\n"
        "with '.' for each '/' in their names.\n",
    .options = options,
    .operand = "IN OUT",
    .operands = 2,
    .run = run,
};
