/* commands.h - the sub-commands, and what those that load a model share. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "tapir.h"
#include "tools/cli.h"

extern const cli_command cmd_finetune, cmd_generate, cmd_eval, cmd_score, cmd_tokenize, cmd_inspect, cmd_env;
extern const cli_command cmd_convert, cmd_merge, cmd_verify, cmd_diff, cmd_recover;

/* A context with notes to standard error (unless --quiet), threads and seed set. */
tp_ctx      *session_ctx(const cli *c);
/* The model of --model in --dtype; needs a tokenizer. */
tp_llama    *session_model(tp_ctx *ctx, const cli *c);
/* Loads --adapter when it was given; frozen: not to be trained. */
void         session_adapter(tp_ctx *ctx, tp_llama *model, const cli *c, bool frozen);
/* Prints the context's error if there is one, frees both, returns the exit code. */
int          session_end(tp_ctx *ctx, tp_llama *model);
/* The ids of a prompt under --template: a user's turn and the opening of the answer, or the bare text.  *t is NULL before
 * the first prompt, and afterwards the template for the next ones, which the caller frees. */
bool         session_prompt(tp_ctx *ctx, tp_llama *model, const cli *c, tp_template **t, const char *text, size_t n,
                            tp_ids *ids);
/* The peak of the process's resident memory in MiB. */
double       session_peak_mib(void);

#endif
