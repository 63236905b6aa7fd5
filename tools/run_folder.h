/* run_folder.h - what finetune leaves behind: run.json, log.jsonl, adapters, checkpoints, loss.svg. */
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

#include "tapir.h"
#include "tools/cli.h"

typedef struct run_folder {
    const char *path;
    FILE       *log;
    double     *loss; /* of every step, for the picture */
    size_t      n_loss, cap_loss;
    double     *valid; /* pairs: step, loss */
    size_t      n_valid, cap_valid;
} run_folder;

/* path/name into buf, which is returned. */
char *run_path(const run_folder *r, const char *name, char *buf, size_t size);
/* Makes the folder, tries to write in it, refuses one that holds a finished run unless overwrite; TP_EIO or TP_EARG. */
bool  run_open(tp_ctx *ctx, run_folder *r, const char *path, bool overwrite);
/* Writes run.json - all options, version, counts - and begins log.jsonl, or goes on with it. */
typedef struct run_about {
    const cli  *c;
    tp_llama   *model;
    const char *identity; /* of the base as it was loaded */
    int64_t     steps;
    int64_t     step, validated; /* what is behind these is cut from the log; step 0: it begins anew */
} run_about;

bool  run_start(tp_ctx *ctx, run_folder *r, const run_about *about);
/* What has been logged is on the disk: before a checkpoint says that it is. */
void  run_log_sync(run_folder *r);
void  run_log_step(tp_ctx *ctx, run_folder *r, const tp_step_info *info, double peak_mib, bool write);
void  run_log_validation(tp_ctx *ctx, run_folder *r, int64_t step, double loss, bool best);
void  run_log_sample(run_folder *r, int64_t step, const char *prompt, const char *text);
void  run_log_end(run_folder *r, const tp_train_result *t, const char *why);
/* Writes loss.svg and closes the log. */
void  run_close(tp_ctx *ctx, run_folder *r);

#endif
