/* cmd_inspect.c - what is in a file: metadata, texts, tensors. */
#include "tools/commands.h"
#include "tools/foreign.h"

#include <string.h>

/* Control characters of a file's names must not reach the terminal. */
static void print_clean(const char *s, size_t most)
{
    size_t n = 0;

    for (; *s != '\0' && n < most; s++, n++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
    if (*s != '\0')
        printf("...");
}

static void print_meta(const tp_file *f)
{
    const char *key, *value;

    for (int64_t i = 0; tp_file_meta_at(f, i, &key, &value); i++) {
        printf("meta    ");
        print_clean(key, 200);
        printf(" = ");
        print_clean(value, 200);
        putchar('\n');
    }
}

static void print_texts(tp_file *f)
{
    static const char *const names[] = { "config.json",         "generation_config.json",
                                         "tokenizer.json",      "tokenizer_config.json",
                                         "adapter_config.json", "config/adapter.json",
                                         "chat_template",       NULL };

    for (int i = 0; names[i] != NULL; i++) {
        size_t n = 0;

        if (tp_file_text(f, names[i], &n) != NULL)
            printf("text    %s, %zu bytes\n", names[i], n);
    }
}

static void print_tensors(const tp_file *f)
{
    int64_t elements = 0, bytes = 0;

    for (int64_t i = 0; i < tp_file_count(f); i++) {
        const tp_file_entry *e = tp_file_at(f, i);
        int64_t              n = 1;

        printf("tensor  ");
        if (e->section[0] != '\0')
            printf("%s ", e->section);
        print_clean(e->name, 512);
        printf(" %s [", e->dtype);
        for (int d = 0; d < e->ndim; d++) {
            printf("%s%lld", d ? ", " : "", (long long)e->dim[d]);
            n *= e->dim[d];
        }
        printf("]\n");
        elements += n;
        bytes += e->bytes;
    }
    printf("total   %lld tensors, %lld elements, %lld bytes\n", (long long)tp_file_count(f), (long long)elements,
           (long long)bytes);
}

static int run(cli *c)
{
    static const char *const formats[] = { "safetensors", "Hugging Face directory", "GGUF", "Tapir HDF5" };
    const char              *path = cli_operand(c);
    bool                     foreign = cli_flag(c, "foreign");
    char                     name[FOREIGN_NAME];
    tp_ctx                  *ctx;
    tp_file                 *f;

    if (foreign && !foreign_import(c, path, cli_flag(c, "identity") ? FOREIGN_VALUES : FOREIGN_NAMES, name))
        return 1;
    ctx = tp_ctx_new(TP_CPU, 0);
    f = tp_file_open(ctx, foreign ? name : path);
    if (f != NULL) {
        printf("file    %s: %s, %s\n", foreign ? path : tp_file_path(f),
               foreign ? "foreign HDF5" : formats[tp_file_format_of(f)], tp_file_kind(f));
        print_meta(f);
        print_texts(f);
        print_tensors(f);
        if (cli_flag(c, "identity") && tp_file_verify(ctx, f))
            printf("identity %s\n", tp_file_identity(ctx, f));
    }
    tp_file_close(f);
    if (foreign)
        foreign_rename(ctx, name, path);
    return tp_ctx_finish(ctx);
}

static const cli_option options[] = {
    { "identity", CLI_FLAG, NULL, 0, 0, NULL, "also what adapters know the tensors by; reads and checks all values" },
    { "foreign", CLI_FLAG, NULL, 0, 0, NULL, "an HDF5 file that Tapir did not write, read in a process of its own with limits" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "tensors, shapes, dtypes and metadata of a file",
    .manual = "FILE is a safetensors, GGUF or Tapir .h5 file, or a Hugging Face directory.\n"
              "Other HDF5 files, which libhdf5 reads, are opened with --foreign only.\n",
    .options = options,
    .operand = "FILE",
    .run = run,
};
