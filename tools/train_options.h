/* train_options.h - the options of a run that its results depend on, as a checkpoint has them. */
#ifndef TRAIN_OPTIONS_H
#define TRAIN_OPTIONS_H

#include "tools/finetune.h"

/* Sets t->train_json: these options and what they were resolved to. */
bool options_note(finetune *t);
/* Compares with those of t->checkpoint; fails naming each that differs, with both values. */
bool options_check(finetune *t);

#endif
