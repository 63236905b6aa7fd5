/* provenance.h - what a checkpoint was made from. */
#ifndef PROVENANCE_H
#define PROVENANCE_H

#include "tools/finetune.h"

/* Notes size and hash of the data files as they are now. */
bool provenance_data(finetune *t);
/* Notes the checkpoint at path, of that step, as what the next one follows on. */
bool provenance_parent(finetune *t, const char *path, int64_t step);
/* The text config/provenance.json, to be freed: data files, the checkpoint before, threads.  Names, host and time are not in
 * it: the same run gives the same bytes wherever it ran and however often it was stopped. */
char *provenance_text(finetune *t);

#endif
