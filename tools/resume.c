/* resume.c - checkpoints: what is in one, when it is written, which are kept, from which one a run goes on. */
#include "tools/resume.h"
#include "core/internal.h"
#include "tools/provenance.h"
#include "tools/train_options.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* The step of "step-000040.h5"; -1 for another name. */
static int64_t step_of(const char *name)
{
    char     *end;
    long long n;

    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    n = strtoll(name + 5, &end, 10);
    return strcmp(end, ".h5") == 0 ? n : -1;
}

static int downwards(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* The steps of the folder's checkpoints, the newest first; to be freed. */
static int64_t *list_steps(tp_ctx *ctx, const run_folder *folder, size_t *n)
{
    DIR           *d = opendir(folder->path);
    struct dirent *e;
    int64_t       *list = NULL;
    size_t         cap = 0;

    *n = 0;
    while (d != NULL && (e = readdir(d)) != NULL)
        if (step_of(e->d_name) >= 0 && tpi_grow(ctx, &list, &cap, *n + 1, sizeof *list))
            list[(*n)++] = step_of(e->d_name);
    if (d != NULL)
        closedir(d);
    if (*n > 1)
        qsort(list, *n, sizeof *list, downwards);
    return list;
}

static char *step_path(const run_folder *folder, int64_t step, char *buf, size_t size)
{
    char name[40];

    snprintf(name, sizeof name, "step-%06lld.h5", (long long)step);
    return run_path(folder, name, buf, size);
}

/* ".step-000040.h5.tmp.1234": left by a process that is gone. */
static bool is_left_over(const char *name)
{
    const char *tmp = strstr(name, ".tmp.");
    bool        ours = strstr(name, ".h5.tmp.") != NULL || strncmp(name, ".log.jsonl.tmp.", 15) == 0;
    char       *end = NULL;
    long        pid = tmp ? strtol(tmp + 5, &end, 10) : 0;

    return ours && name[0] == '.' && pid > 0 && (*end == '\0' || *end == '.') && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void remove_left_overs(const run_folder *folder)
{
    DIR           *d = opendir(folder->path);
    struct dirent *e;
    char           path[4096];

    while (d != NULL && (e = readdir(d)) != NULL)
        if (is_left_over(e->d_name))
            unlink(run_path(folder, e->d_name, path, sizeof path));
    if (d != NULL)
        closedir(d);
}

/* ---- finding one ------------------------------------------------------------------------------------------------- */

/* Whether every byte of it is as it was saved; else the context has the error. */
static bool is_good(tp_ctx *ctx, const char *path)
{
    tp_file *f = tp_file_open(ctx, path);
    bool     ok = f != NULL && tp_file_verify(ctx, f);

    if (ok && strcmp(tp_file_kind(f), "training") != 0) {
        tp_fail(ctx, TP_EFORMAT, "%s: a file of kind \"%s\", expected a checkpoint of a training", path,
                tp_file_kind(f));
        ok = false;
    }
    tp_file_close(f);
    return ok;
}

/* The newest good one of the folder; those that are not are told. */
static void find_newest(finetune *t)
{
    size_t   n;
    int64_t *steps = list_steps(t->ctx, &t->folder, &n);
    char     path[4096];

    for (size_t i = 0; i < n && t->checkpoint == NULL; i++) {
        step_path(&t->folder, steps[i], path, sizeof path);
        if (is_good(t->ctx, path)) {
            t->checkpoint = tpi_intern(t->ctx, path);
        } else if (tp_error_code(t->ctx) != TP_ENOMEM) {
            tp_message(t->ctx, TP_WARNING, "skipped: %s", tp_error(t->ctx));
            tp_error_clear(t->ctx);
        }
    }
    tpi_free(steps);
}

/* Whether the file lies in the folder: then the log there is its own. */
static bool is_inside(const run_folder *folder, const char *path)
{
    const char *slash = strrchr(path, '/');
    char        dir[4096];
    struct stat a, b;

    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return stat(dir, &a) == 0 && stat(folder->path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool holds_checkpoints(finetune *t)
{
    size_t   n;
    int64_t *steps = list_steps(t->ctx, &t->folder, &n);

    tpi_free(steps);
    return n > 0;
}

bool resume_open(finetune *t)
{
    const cli  *c = t->c;
    const char *file = cli_text(c, "resume"), *out = cli_text(c, "out");
    bool        overwrite = cli_flag(c, "overwrite");

    t->folder.path = out;
    if (file != NULL && file[0] != '\0')
        t->checkpoint = is_good(t->ctx, file) ? file : NULL;
    else if (file != NULL)
        find_newest(t);
    if (!tp_ok(t->ctx))
        return false;
    t->same_folder = t->checkpoint != NULL && is_inside(&t->folder, t->checkpoint);
    if (!run_open(t->ctx, &t->folder, out, overwrite || t->same_folder))
        return false;
    if (!overwrite && file == NULL && holds_checkpoints(t))
        return tp_fail(t->ctx, TP_EARG,
                       "--out %s: it holds checkpoints of a run; --resume goes on with it, --overwrite begins anew",
                       out) != NULL;
    remove_left_overs(&t->folder);
    if (t->checkpoint != NULL)
        tp_message(t->ctx, TP_NOTE, "resuming from %s", t->checkpoint);
    else if (file != NULL)
        tp_message(t->ctx, TP_NOTE, "%s: no checkpoint to resume from, the run begins anew", out);
    return true;
}

void resume_forget(finetune *t)
{
    size_t   n;
    int64_t *steps = list_steps(t->ctx, &t->folder, &n);
    char     path[4096];

    for (size_t i = 0; i < n && cli_flag(t->c, "overwrite"); i++)
        unlink(step_path(&t->folder, steps[i], path, sizeof path));
    tpi_free(steps);
}

/* ---- what is in one ---------------------------------------------------------------------------------------------- */

/* Losses of every step, and pairs of the validations, for the picture. */
static void curve(tp_ctx *ctx, tp_state *st, const char *name, double **list, size_t *n, size_t *cap)
{
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *x = tp_state_saving(st) ? tp_from(ctx, TP_F64, TP_SHAPE((int64_t)*n), *list ? *list : &(double){ 0 })
                                       : NULL;

    tp_state_new(ctx, st, "metrics", name, &x);
    if (!tp_state_saving(st) && x != NULL && tpi_grow(ctx, list, cap, (size_t)tp_numel(x) + 1, sizeof **list)) {
        *n = (size_t)tp_numel(x);
        tp_copy_out(ctx, x, TP_F64, *list, *n * sizeof **list);
    }
    tp_scope_end(ctx, s);
}

static void everything(tp_ctx *ctx, void *user, tp_state *st)
{
    finetune   *t = user;
    run_folder *r = &t->folder;
    tp_schedule schedule = finetune_schedule(t);

    tp_progress_state(ctx, &t->progress, st);
    if (t->full) {
        tp_state_same_text(ctx, st, NULL, "base_identity", t->identity);
        tp_llama_state(ctx, t->model, st);
    } else {
        tp_adapters_state(ctx, tp_llama_root(t->model), st);
    }
    tp_optim_state(ctx, t->opt, st);
    tp_schedule_state(ctx, &schedule, st);
    tp_data_state(ctx, t->data, st);
    tp_random_state(ctx, st);
    curve(ctx, st, "losses", &r->loss, &r->n_loss, &r->cap_loss);
    curve(ctx, st, "validations", &r->valid, &r->n_valid, &r->cap_valid);
    if (tp_state_saving(st)) {
        char       *made = provenance_text(t);
        const char *from = made;

        tp_state_text(ctx, st, "config", "train.json", &t->train_json);
        tp_state_text(ctx, st, "config", "provenance.json", &from);
        tpi_free(made);
    }
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* Of the checkpoints up to this step the last `keep` stay; later ones, left of a run that was taken up again further
 * back, are let be. */
static void keep_last(finetune *t, int64_t step)
{
    int64_t  keep = cli_int(t->c, "keep"), kept = 0;
    size_t   n;
    int64_t *steps = list_steps(t->ctx, &t->folder, &n);
    char     path[4096];

    for (size_t i = 0; i < n && keep > 0; i++)
        if (steps[i] <= step && ++kept > keep)
            unlink(step_path(&t->folder, steps[i], path, sizeof path));
    tpi_free(steps);
}

bool resume_save(tp_ctx *ctx, void *user, const tp_progress *progress)
{
    finetune *t = user;
    int64_t   every = cli_int(t->c, "save-every");
    bool      last = *t->stop || every == 0 || progress->step % every != 0 ||
                progress->step == cli_int(t->c, "stop-after"); /* the run ends here, and nothing else is left of it */
    char path[4096];

    t->progress = *progress;
    run_log_sync(&t->folder);
    step_path(&t->folder, progress->step, path, sizeof path);
    if (tp_state_save(ctx, path, "training", everything, t) && provenance_parent(t, path, progress->step)) {
        keep_last(t, progress->step);
        return true;
    }
    if (last)
        return false;
    tp_message(ctx, TP_WARNING, "step %lld: no checkpoint, the training goes on: %s", (long long)progress->step,
               tp_error(ctx));
    tp_error_clear(ctx);
    return tp_ok(ctx);
}

/* ---- going on ---------------------------------------------------------------------------------------------------- */

/* Why the best state so far, a file of the run's folder, cannot be had; "" when it can. */
static void look_for_best(finetune *t, const char *path, char *why, size_t size)
{
    tp_file *f;

    why[0] = '\0';
    if (!t->same_folder || access(path, F_OK) != 0) {
        snprintf(why, size, "%.900s is not there", path);
        return;
    }
    f = tp_file_open(t->ctx, path);
    if (f == NULL || !tp_file_verify(t->ctx, f))
        snprintf(why, size, "%s", tp_error(t->ctx));
    tp_file_close(f);
    tp_error_clear(t->ctx);
}

/* Where it cannot, the search for it begins again. */
static void find_best(finetune *t)
{
    char path[4096], why[1024];

    if (t->progress.best_step == 0)
        return;
    run_path(&t->folder, t->full ? "model.h5" : "adapter.h5", path, sizeof path);
    look_for_best(t, path, why, sizeof why);
    t->best_saved = why[0] == '\0';
    if (t->best_saved)
        return;
    tp_message(t->ctx, TP_WARNING, "%s: the best of step %lld is lost, it is looked for from here on", why,
               (long long)t->progress.best_step);
    t->progress.best_step = t->progress.worse = 0;
    t->progress.best_loss = 0;
}

bool resume_load(finetune *t)
{
    if (!provenance_data(t) || t->checkpoint == NULL || !options_check(t))
        return tp_ok(t->ctx);
    if (!tp_state_load(t->ctx, t->checkpoint, everything, t, NULL))
        return false;
    if (!provenance_parent(t, t->checkpoint, t->progress.step))
        return false;
    find_best(t);
    tp_message(t->ctx, TP_NOTE, "step %lld of %lld is done", (long long)t->progress.step, (long long)t->steps);
    return true;
}
