/* cmd_verify.c - whether files are what they were when they were written: each by itself, and the newest of a folder. */
#include "tools/commands.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads all of the file.  False, and the reason in text. */
static bool verifies(const char *path, char *text, size_t size)
{
    tp_ctx  *ctx = tp_ctx_new(TP_CPU, 0);
    tp_file *f = tp_file_open(ctx, path);
    bool     ok = f != NULL && tp_file_verify(ctx, f);

    if (ok)
        snprintf(text, size, "well: %lld tensors%s", (long long)tp_file_count(f),
                 tp_file_format_of(f) == TP_HDF5 ? ", every hash is right" : " can be read (no hashes in this format)");
    else
        snprintf(text, size, "%s", tp_error(ctx));
    tp_file_close(f);
    tp_ctx_free(ctx);
    return ok;
}

/* A message that begins with the path already does not name it twice. */
static void print_line(FILE *to, const char *path, const char *text)
{
    size_t n = strlen(path);

    if (strncmp(text, path, n) == 0 && text[n] == ':')
        fprintf(to, "%s\n", text);
    else
        fprintf(to, "%s: %s\n", path, text);
}

static int run_verify(cli *c)
{
    int         rc = 0;
    const char *path;
    char        text[1100];

    for (size_t i = 0; (path = cli_operand_at(c, i)) != NULL; i++) {
        if (!verifies(path, text, sizeof text))
            rc = 1;
        print_line(stdout, path, text);
    }
    return rc;
}

/* ---- recover ----------------------------------------------------------------------------------------------------- */

/* The step of "step-NNNNNN.h5", or -1. */
static long long step_of(const char *name)
{
    size_t digits = strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;

    return digits >= 6 && digits <= 18 && strcmp(name + 5 + digits, ".h5") == 0 ? strtoll(name + 5, NULL, 10) : -1;
}

/* The newest step below `below` in the folder; -1: none.  name gets its file's. */
static long long newest(const char *folder, long long below, char *name, size_t size)
{
    DIR           *dir = opendir(folder);
    struct dirent *e;
    long long      best = -1;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        long long step = step_of(e->d_name);

        if (step > best && step < below) {
            best = step;
            snprintf(name, size, "%s", e->d_name);
        }
    }
    if (dir != NULL)
        closedir(dir);
    return best;
}

static int run_recover(cli *c)
{
    const char *folder = cli_operand(c);
    char        name[300], path[4400], text[1100];
    long long   step = INT64_MAX;
    int         skipped = 0;
    DIR        *dir = opendir(folder);

    if (dir == NULL)
        return cli_error(c, "%s: it cannot be opened as a folder", folder);
    closedir(dir);
    while ((step = newest(folder, step, name, sizeof name)) >= 0) {
        snprintf(path, sizeof path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name);
        if (verifies(path, text, sizeof text)) {
            printf("%s\n", path);
            return 0;
        }
        fprintf(stderr, "skipped ");
        print_line(stderr, path, text);
        skipped++;
    }
    return cli_error(c, skipped ? "%s: none of its checkpoints is whole" : "%s: there is no checkpoint step-NNNNNN.h5 in it",
                     folder);
}

static const cli_option options[] = { { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL } };

const cli_command cmd_verify = {
    .name = "verify",
    .summary = "reads all of a file and compares with the hashes in it",
    .manual = "FILE is what inspect takes.  One line for each on standard output; the exit status is 0 when all are well,\n"
              "else 1.  Tapir's .h5 files carry a hash of each tensor and text, and checksums of the rest.  GGUF and\n"
              "safetensors have none: of them only the structure, and that every byte can be read, is seen.\n",
    .options = options,
    .operand = "FILE...",
    .operands = -1,
    .run = run_verify,
};

const cli_command cmd_recover = {
    .name = "recover",
    .summary = "the newest checkpoint of a run folder that is whole",
    .manual = "DIR is the --out of a run.  Prints the path of its newest step-NNNNNN.h5 that verifies, for finetune --resume=;\n"
              "standard error says which were skipped and why.  The exit status is 1 when there is none.\n",
    .options = options,
    .operand = "DIR",
    .run = run_recover,
};
