/* cmd_finetune.c - the command: options, setting up, training, saving. */
#include "core/internal.h"
#include "tools/commands.h"
#include "tools/finetune.h"
#include "tools/resume.h"
#include "tools/train_options.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static volatile int interrupted; /* set by the signal handler, read by tp_train */

static void on_signal(int signo)
{
    if (interrupted) /* a second one does not wait */
        _Exit(128 + signo);
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction sa = { .sa_handler = on_signal };

    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

/* ---- setting up -------------------------------------------------------------------------------------------------- */

static tp_data *open_data(finetune *t, const char *path, bool training)
{
    static const struct {
        const char *name;
        tp_overflow how;
    } overflows[] = {
        { "drop", TP_OVERFLOW_DROP },
        { "cut", TP_OVERFLOW_CUT },
        { "error", TP_OVERFLOW_ERROR },
    };
    const cli   *c = t->c;
    tp_data_opts o = { .batch = cli_int(c, "batch"),
                       .seed = (uint64_t)cli_int(c, "seed"),
                       .max_len = cli_int(c, "max-len"),
                       .template_name = cli_text(c, "template"),
                       .share_rows = true,
                       .no_shuffle = !training || cli_flag(c, "no-shuffle"),
                       .pack = training && cli_flag(c, "pack"),
                       .group_by_length = training && cli_flag(c, "group-by-length"),
                       .epochs = training ? 0 : 1 };

    for (int i = 0; i < 3; i++)
        if (strcmp(overflows[i].name, cli_text(c, "overflow")) == 0)
            o.overflow = overflows[i].how;
    return tp_data_open(t->ctx, path, tp_llama_tokenizer(t->model), &o);
}

static int minus_if_zero(int64_t v)
{
    return v == 0 ? -1 : (int)v;
}

static double real_or_off(double v)
{
    return v == 0 ? -1 : v;
}

/* Adapters by --adapter or --method. */
static void prepare_model(finetune *t)
{
    const cli  *c = t->c;
    const char *method = cli_text(c, "method"), *targets = cli_text(c, "targets");
    tp_module  *root = tp_llama_root(t->model);
    double      dropout = real_or_off(cli_real(c, "dropout"));

    t->full = strcmp(method, "full") == 0;
    if (cli_text(c, "adapter") != NULL)
        session_adapter(t->ctx, t->model, c, false);
    else if (strcmp(method, "diablo") == 0)
        tp_attach(t->ctx, root, targets, &tp_diablo,
                  &(tp_diablo_opts){ .blocks = minus_if_zero(cli_int(c, "blocks")), .dropout = dropout });
    else if (!t->full)
        tp_attach(t->ctx, root, targets, &tp_lora,
                  &(tp_lora_opts){ .rank = minus_if_zero(cli_int(c, "rank")),
                                   .alpha = real_or_off(cli_real(c, "alpha")),
                                   .dropout = dropout });
}

static void count_steps(finetune *t)
{
    int64_t accum = cli_int(t->c, "accum");
    double  all;

    t->batches = tp_data_counts(t->data).batches;
    all = ceil((double)t->batches * cli_real(t->c, "epochs") / (double)accum);
    t->steps = cli_given(t->c, "steps") ? cli_int(t->c, "steps") : all < 1 ? 1 : (int64_t)all;
}

tp_schedule finetune_schedule(const finetune *t)
{
    const char *s = cli_text(t->c, "schedule"), *warmup = cli_text(t->c, "warmup");
    double      w = cli_real(t->c, "warmup");

    return (tp_schedule){ .decay = strcmp(s, "linear") == 0   ? TP_LINEAR
                                   : strcmp(s, "cosine") == 0 ? TP_COSINE
                                                              : TP_CONSTANT,
                          .steps = t->steps,
                          .warmup = (int64_t)(strchr(warmup, '.') ? w * (double)t->steps : w) };
}

static bool set_up(finetune *t)
{
    const cli *c = t->c;

    if (!cli_flag(c, "dry-run") && !cli_given(c, "show-samples") &&
        !resume_open(t))
        return false;
    t->model = session_model(t->ctx, c);
    if (t->model == NULL || !tp_ok(t->ctx))
        return false;
    prepare_model(t);
    t->data = tp_ok(t->ctx) ? open_data(t, cli_text(c, "data"), true) : NULL;
    if (t->data != NULL && cli_text(c, "valid") != NULL)
        t->valid = open_data(t, cli_text(c, "valid"), false);
    if (t->data != NULL)
        count_steps(t);
    return tp_ok(t->ctx);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static const char *why(const finetune *t, const tp_train_result *r)
{
    if (!tp_ok(t->ctx))
        return tp_error(t->ctx);
    return r->interrupted     ? "interrupted"
           : r->stopped_early ? "validation no longer improves"
           : r->out_of_data   ? "no more data"
           : r->paused        ? "stopped by --stop-after"
                              : "done";
}

static tp_train_plan plan_of(finetune *t)
{
    const cli *c = t->c;
    int64_t    every = cli_int(c, "eval-every");

    return (tp_train_plan){
        .root = tp_llama_root(t->model),
        .opt = t->opt,
        .lr = cli_real(c, "lr"),
        .schedule = finetune_schedule(t),
        .steps = t->steps,
        .accum = cli_int(c, "accum"),
        .clip = cli_real(c, "clip"),
        .eval_every = every > 0 ? every : t->steps,
        .patience = cli_int(c, "patience"),
        .user = t,
        .loss = finetune_loss,
        .on_step = finetune_on_step,
        .validate = t->valid ? finetune_validate : NULL,
        .on_validation = finetune_on_validation,
        .stop = t->stop,
        .stop_after = cli_int(c, "stop-after"),
        .save_every = cli_int(c, "save-every"),
        .save = resume_save,
        .progress = &t->progress,
    };
}

static bool begin(finetune *t)
{
    run_about about = { .c = t->c, .model = t->model, .steps = t->steps };

    about.identity = t->identity = tp_llama_identity(t->ctx, t->model);
    t->opt = tp_adamw_new(t->ctx, tp_llama_root(t->model),
                          &(tp_adamw_opts){ .lr = real_or_off(cli_real(t->c, "lr")),
                                            .weight_decay = cli_real(t->c, "weight-decay") });
    if (!tp_ok(t->ctx) || !options_note(t) || !resume_load(t))
        return false;
    t->first = t->progress.step;
    if (t->same_folder) {
        about.step = t->progress.step;
        about.validated = t->progress.validated;
    }
    return run_start(t->ctx, &t->folder, &about);
}

static void train(finetune *t, tp_train_result *r)
{
    tp_train_plan plan;

    if (!begin(t))
        return;
    if (t->checkpoint == NULL)
        resume_forget(t);
    plan = plan_of(t);
    catch_signals();
    tp_train(t->ctx, &plan, r);
}

/* Saves what there is; an error that stopped the training is kept for the end. */
static void finish(finetune *t, const tp_train_result *r)
{
    tp_code code;
    char    text[1024];

    finetune_find_nan(t);
    run_log_end(&t->folder, r, why(t, r));
    code = tp_error_code(t->ctx);
    snprintf(text, sizeof text, "%s", tp_error(t->ctx));
    if (r->steps > 0 && (code == TP_OK || code == TP_ENUM)) {
        tp_error_clear(t->ctx);
        finetune_save(t, true);
        if (!t->best_saved)
            finetune_save(t, false);
        if (tp_ok(t->ctx) && code == TP_OK)
            tp_message(t->ctx, TP_NOTE, "%s: %s after %lld steps, loss %.4f", t->folder.path, why(t, r),
                       (long long)r->steps, r->last_loss);
        if (code != TP_OK)
            tp_fail(t->ctx, code, "%s", text);
    }
    run_close(t->ctx, &t->folder);
}

static int run(cli *c)
{
    finetune        t = { .c = c, .stop = &interrupted };
    tp_train_result r = { 0 };
    int             rc;

    if (cli_text(c, "data") == NULL)
        return cli_usage(c, "--data is needed: a file of JSON lines");
    if (cli_text(c, "out") == NULL && !cli_flag(c, "dry-run") && !cli_given(c, "show-samples"))
        return cli_usage(c, "--out is needed: the run's folder");
    if (cli_flag(c, "pack") && cli_flag(c, "group-by-length"))
        return cli_usage(c, "--pack and --group-by-length exclude each other");
    if (strchr(cli_text(c, "warmup"), '.') != NULL && cli_real(c, "warmup") > 1)
        return cli_usage(c, "--warmup: %s is out of range, expected steps, or a fraction from 0.0 to 1.0",
                         cli_text(c, "warmup"));
    t.ctx = session_ctx(c);
    if (set_up(&t)) {
        if (cli_given(c, "show-samples")) {
            finetune_show_samples(&t, cli_int(c, "show-samples"));
        } else if (cli_flag(c, "dry-run")) {
            finetune_show_plan(&t);
        } else {
            train(&t, &r);
            finish(&t, &r);
        }
    }
    finetune_drop_batch(&t);
    tp_optim_free(t.opt);
    tp_data_free(t.data);
    tp_data_free(t.valid);
    rc = session_end(t.ctx, t.model);
    return rc == 0 && r.interrupted ? 130 : rc;
}

static const cli_option options[] = {
    { "data", CLI_TEXT, NULL, 0, 0, NULL, "training data, JSON lines (see below)" },
    { "valid", CLI_TEXT, NULL, 0, 0, NULL, "validation data of the same form" },
    { "out", CLI_TEXT, NULL, 0, 0, NULL, "folder for adapter, log and picture" },
    { "method", CLI_CHOICE, "diablo", 0, 0, "diablo|lora|full", "what is trained" },
    { "blocks", CLI_INT, "64", 1, 16777216, NULL, "diablo: diagonal blocks per layer" },
    { "rank", CLI_INT, "16", 1, 1048576, NULL, "lora: rank" },
    { "alpha", CLI_REAL, "32", 0, 1e9, NULL, "lora: the update is scaled by alpha / rank" },
    { "targets", CLI_TEXT, "(q|k|v|up|down)_proj", 0, 0, NULL,
      "regex for the layers, matched against whole names or their ends" },
    { "dropout", CLI_REAL, "0", 0, 0.999, NULL, "on the adapter's input" },
    { "lr", CLI_REAL, "5e-4", 0, 1000, NULL, "learning rate of AdamW (betas 0.9, 0.999, eps 1e-8)" },
    { "schedule", CLI_CHOICE, "linear", 0, 0, "linear|cosine|constant", "of the learning rate behind the warm-up" },
    { "warmup", CLI_REAL, "0", 0, 1e12, NULL, "steps, or with a point a fraction of all steps" },
    { "clip", CLI_REAL, "1.0", 0, 1e12, NULL, "largest norm of the gradient, 0: off" },
    { "weight-decay", CLI_REAL, "0", 0, 1000, NULL, "decoupled weight decay" },
    { "epochs", CLI_REAL, "1", 0, 1e9, NULL, "passes over the data" },
    { "steps", CLI_INT, NULL, 1, 1e12, NULL, "optimiser steps, instead of --epochs" },
    { "batch", CLI_INT, "8", 1, 1048576, NULL, "samples a batch" },
    { "accum", CLI_INT, "1", 1, 1048576, NULL, "batches a step" },
    { "pack", CLI_FLAG, NULL, 0, 0, NULL, "several samples in a row, none sees another" },
    { "group-by-length", CLI_FLAG, NULL, 0, 0, NULL, "samples of similar length together" },
    { "max-len", CLI_INT, "512", 2, 1e9, NULL, "most tokens of a sample" },
    { "overflow", CLI_CHOICE, "drop", 0, 0, "drop|cut|error", "what happens to longer ones" },
    { "no-shuffle", CLI_FLAG, NULL, 0, 0, NULL, "keep the order of the file" },
    { "log-every", CLI_INT, "1", 1, 1e9, NULL, "steps between lines of the log" },
    { "eval-every", CLI_INT, "0", 0, 1e9, NULL, "steps between validations, 0: only at the end" },
    { "patience", CLI_INT, "0", 0, 1e9, NULL, "validations without a better one before it stops, 0: never" },
    { "sample-every", CLI_INT, "0", 0, 1e9, NULL, "steps between sample answers, 0: none" },
    { "show-samples", CLI_INT, NULL, 1, 1e9, NULL, "print ids, text and mask of the first samples, and stop" },
    { "dry-run", CLI_FLAG, NULL, 0, 0, NULL, "print the plan, and stop" },
    { "config", CLI_TEXT, NULL, 0, 0, NULL, "JSON object of options by these names; the command line wins" },
    { "save-every", CLI_INT, "0", 0, 1e9, NULL, "steps between checkpoints step-N.h5, 0: only where it is stopped" },
    { "keep", CLI_INT, "3", 0, 1e9, NULL, "checkpoints that stay, the last ones; 0: all" },
    { "resume", CLI_MAYBE, NULL, 0, 0, NULL, "go on from the newest good checkpoint of --out, or from this file" },
    { "stop-after", CLI_INT, NULL, 1, 1e12, NULL, "save a checkpoint after this step of the run, and stop" },
    { "overwrite", CLI_FLAG, NULL, 0, 0, NULL, "replace a run in --out" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

const cli_command cmd_finetune = {
    .name = "finetune",
    .summary = "train an adapter, or the whole model, on a file",
    .manual =
        "Data lines hold prompt and completion; or instruction, input, output; or messages (role, content); or text.  "
        "Only the answer is\n"
        "trained on.  A batch is the next --batch lines of the shuffled order.  --adapter goes on from an adapter.\n"
        "\n"
        "The folder of --out gets run.json (all options), log.jsonl (a line a step: step, loss, lr, grad_norm, tokens, "
        "target_tokens,\n"
        "seconds, tokens_per_s, peak_mib), adapter.h5 (the best by validation, else the last; model.h5 for --method "
        "full), last.h5 and\n"
        "loss.svg.  Ctrl-C and SIGTERM finish the step or validation, save adapter and checkpoint, and exit 130; a second one\n"
        "ends the program at once.\n"
        "\n"
        "A checkpoint (step-000040.h5) has everything that the run goes on with.  The same command with --resume goes on "
        "from the newest\n"
        "one that is undamaged, as if it had never been stopped, bit for bit; where there is none it begins anew.  "
        "Options that change\n"
        "results must be the same.  A checkpoint is also an adapter (--adapter), of --method full a model (--model).\n",
    .options = options,
    .model = true,
    .run = run,
};
