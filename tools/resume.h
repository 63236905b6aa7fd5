/* resume.h - the checkpoints of a finetune run: saving, keeping the last ones, finding one to go on from. */
#ifndef RESUME_H
#define RESUME_H

#include "tools/finetune.h"

/* Opens --out.  With --resume, t->checkpoint becomes the file to go on from (NULL: none, it starts anew) and is said.
 * Fails for a folder with another run in it that --overwrite does not give up, or a FILE that is no good. */
bool resume_open(finetune *t);
/* The state of the checkpoint into everything, once all is set up.  Fails, naming each with both values, where options
 * that change results differ. */
bool resume_load(finetune *t);
/* When the run begins anew: the checkpoints that --overwrite gives up. */
void resume_forget(finetune *t);
/* tp_train_plan.save. */
bool resume_save(tp_ctx *ctx, void *user, const tp_progress *progress);

#endif
