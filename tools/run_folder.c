/* run_folder.c - see run_folder.h. */
#include "tools/run_folder.h"
#include "core/json.h"
#include "core/readfile.h"
#include "nn/files/disk.h"
#include "tools/lines.h"
#include "tools/svg.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *run_path(const run_folder *r, const char *name, char *buf, size_t size)
{
    snprintf(buf, size, "%s/%s", r->path, name);
    return buf;
}

static bool exists(const run_folder *r, const char *name)
{
    char        path[4096];
    struct stat st;

    return stat(run_path(r, name, path, sizeof path), &st) == 0;
}

bool run_open(tp_ctx *ctx, run_folder *r, const char *path, bool overwrite)
{
    char  probe[4096];
    FILE *f;

    *r = (run_folder){ .path = path };
    if (!tp_ok(ctx))
        return false;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return tp_fail(ctx, TP_EIO, "--out %s: %s", path, strerror(errno)) != NULL;
    f = fopen(run_path(r, ".probe", probe, sizeof probe), "wb");
    if (f == NULL)
        return tp_fail(ctx, TP_EIO, "--out %s: nothing can be written there: %s", path, strerror(errno)) != NULL;
    fclose(f);
    unlink(probe);
    if (!overwrite && (exists(r, "adapter.h5") || exists(r, "model.h5")))
        return tp_fail(ctx, TP_EARG, "--out %s: it holds a finished run; --overwrite replaces it", path) != NULL;
    return true;
}

/* ---- run.json ---------------------------------------------------------------------------------------------------- */

static void add_option(tp_ctx *ctx, tpi_json *j, const cli_option *o, const char *value)
{
    switch (o->kind) {
    case CLI_FLAG: tpi_json_set_bool(ctx, j, o->name, value != NULL); return;
    case CLI_INT: tpi_json_set_int(ctx, j, o->name, value ? strtoll(value, NULL, 10) : 0); return;
    case CLI_REAL: tpi_json_set_double(ctx, j, o->name, value ? strtod(value, NULL) : 0); return;
    case CLI_TEXT:
    case CLI_MAYBE:
    case CLI_CHOICE:
        if (value != NULL)
            tpi_json_set_text(ctx, j, o->name, value);
        return;
    }
}

static char *describe(tp_ctx *ctx, const run_about *a, size_t *n)
{
    tpi_json         *j = tpi_json_new_object(ctx), *options = tpi_json_new_object(ctx);
    tp_module        *root = tp_llama_root(a->model);
    tp_adapter_count  adapters = tp_adapters_count(root);
    const cli_option *o;
    const char       *value;
    char             *text;

    for (size_t i = 0; cli_at(a->c, i, &o, &value); i++)
        add_option(ctx, options, o, value);
    tpi_json_set_text(ctx, j, "tapir", tp_version());
    tpi_json_set_text(ctx, j, "kernels", tp_backend_name(ctx));
    tpi_json_set_int(ctx, j, "threads", tp_threads(ctx));
    tpi_json_set_int(ctx, j, "steps", a->steps);
    if (a->step > 0)
        tpi_json_set_int(ctx, j, "resumed_after", a->step);
    tpi_json_set_int(ctx, j, "trainable", tp_module_count(root).trainable);
    tpi_json_set_int(ctx, j, "dead", adapters.dead);
    tpi_json_set_int(ctx, j, "base", adapters.base);
    tpi_json_set_text(ctx, j, "base_identity", a->identity);
    tpi_json_set(ctx, j, "options", options);
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, n) : NULL;
    tpi_json_free(j);
    return text;
}

static bool write_file(tp_ctx *ctx, const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    bool  ok = f != NULL && fwrite(text, 1, n, f) == n && fputc('\n', f) != EOF;

    if (f != NULL && fclose(f) != 0)
        ok = false;
    if (!ok)
        tp_fail(ctx, TP_EIO, "%s: %s", path, strerror(errno));
    return ok;
}

/* Whether a line of the log was written before the checkpoint; a line that is cut short was not. */
static bool is_before(const char *line, size_t n, int64_t step, int64_t validated)
{
    tpi_json_error  err;
    tpi_json       *j = tpi_json_parse_raw(line, n, &err);
    const tpi_json *at;
    bool            before = false;

    if ((at = tpi_json_get(j, "step")) != NULL || (at = tpi_json_get(j, "sample")) != NULL)
        before = tpi_json_integer(at) <= step;
    else if ((at = tpi_json_get(j, "validation")) != NULL)
        before = tpi_json_integer(at) <= validated;
    tpi_json_free(j);
    return before;
}

/* Cuts the log back to the checkpoint; it is replaced whole, so that a crash leaves the one or the other. */
static bool cut_log(tp_ctx *ctx, const char *path, int64_t step, int64_t validated)
{
    size_t   n = 0;
    char    *text = tpi_is_file(path) ? tpi_read_file(ctx, path, (size_t)1 << 32, &n) : NULL;
    tpi_save s;
    bool     ok = text != NULL && tpi_save_begin(ctx, &s, path);

    if (!ok) {
        tpi_free(text);
        return tp_ok(ctx);
    }
    for (const char *line = text, *end; ok && (end = memchr(line, '\n', n - (size_t)(line - text))) != NULL;
         line = end + 1)
        if (is_before(line, (size_t)(end - line), step, validated))
            ok = tpi_save_write(ctx, &s, line, (size_t)(end - line) + 1);
    if (ok)
        ok = tpi_save_commit(ctx, &s);
    else
        tpi_save_drop(&s);
    tpi_free(text);
    return ok;
}

bool run_start(tp_ctx *ctx, run_folder *r, const run_about *about)
{
    char   path[4096], *text;
    size_t n = 0;
    bool   ok;

    text = tp_ok(ctx) ? describe(ctx, about, &n) : NULL;
    ok = text != NULL && write_file(ctx, run_path(r, "run.json", path, sizeof path), text, n);
    tpi_free(text);
    run_path(r, "log.jsonl", path, sizeof path);
    if (!ok || (about->step > 0 && !cut_log(ctx, path, about->step, about->validated)))
        return false;
    r->log = fopen(path, about->step > 0 ? "ab" : "wb");
    if (r->log == NULL)
        tp_fail(ctx, TP_EIO, "%s: %s", path, strerror(errno));
    return r->log != NULL;
}

/* ---- log.jsonl --------------------------------------------------------------------------------------------------- */

static void keep(tp_ctx *ctx, double **list, size_t *n, size_t *cap, double v)
{
    if (tpi_grow(ctx, list, cap, *n + 1, sizeof **list))
        (*list)[(*n)++] = v;
}

void run_log_step(tp_ctx *ctx, run_folder *r, const tp_step_info *info, double peak_mib, bool write)
{
    keep(ctx, &r->loss, &r->n_loss, &r->cap_loss, info->loss);
    if (r->log == NULL || !write)
        return;
    fprintf(r->log,
            "{\"step\": %lld, \"loss\": %.17g, \"lr\": %.17g, \"grad_norm\": %.17g, \"tokens\": %lld, "
            "\"target_tokens\": %lld, ",
            (long long)info->step, info->loss, info->lr, info->grad_norm, (long long)info->tokens,
            (long long)info->target_tokens);
    fprintf(r->log, "\"seconds\": %.17g, \"tokens_per_s\": %.17g, \"peak_mib\": %.17g}\n", info->seconds,
            info->seconds > 0 ? (double)info->tokens / info->seconds : 0, peak_mib);
    fflush(r->log);
}

void run_log_validation(tp_ctx *ctx, run_folder *r, int64_t step, double loss, bool best)
{
    keep(ctx, &r->valid, &r->n_valid, &r->cap_valid, (double)step);
    keep(ctx, &r->valid, &r->n_valid, &r->cap_valid, loss);
    if (r->log == NULL)
        return;
    fprintf(r->log, "{\"validation\": %lld, \"loss\": %.17g, \"best\": %s}\n", (long long)step, loss,
            best ? "true" : "false");
    fflush(r->log);
}

void run_log_sample(run_folder *r, int64_t step, const char *prompt, const char *text)
{
    if (r->log == NULL)
        return;
    fprintf(r->log, "{\"sample\": %lld, \"prompt\": ", (long long)step);
    print_json_text(r->log, prompt, strlen(prompt));
    fprintf(r->log, ", \"text\": ");
    print_json_text(r->log, text, strlen(text));
    fprintf(r->log, "}\n");
    fflush(r->log);
}

void run_log_sync(run_folder *r)
{
    if (r->log != NULL && fflush(r->log) == 0)
        (void)fsync(fileno(r->log)); /* what it could not write, the next line cannot either */
}

void run_log_end(run_folder *r, const tp_train_result *t, const char *why)
{
    if (r->log == NULL)
        return;
    fprintf(r->log, "{\"end\": ");
    print_json_text(r->log, why, strlen(why));
    fprintf(r->log, ", \"steps\": %lld, \"seconds\": %.17g, \"loss\": %.17g", (long long)t->steps, t->seconds,
            t->last_loss);
    if (!isnan(t->best_loss))
        fprintf(r->log, ", \"best_loss\": %.17g, \"best_step\": %lld", t->best_loss, (long long)t->best_step);
    fprintf(r->log, "}\n");
    fflush(r->log);
}

void run_close(tp_ctx *ctx, run_folder *r)
{
    char path[4096];

    if (r->log != NULL) {
        fclose(r->log);
        if (r->n_loss > 0 &&
            !svg_losses(run_path(r, "loss.svg", path, sizeof path), r->loss, r->n_loss, r->valid, r->n_valid / 2))
            tp_fail(ctx, TP_EIO, "%s: %s", path, strerror(errno));
    }
    tpi_free(r->loss);
    tpi_free(r->valid);
    *r = (run_folder){ NULL, NULL, NULL, 0, 0, NULL, 0, 0 };
}
