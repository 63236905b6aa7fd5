/* foreign.h - HDF5 files of strangers, read by libhdf5 in a process of its own that can do little. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include "core/core.h"
#include "tools/cli.h"

enum { FOREIGN_NAME = 32 };

/* FOREIGN_MODEL: values, and '.' for each '/' in a name, as models have them. */
typedef enum { FOREIGN_NAMES, FOREIGN_VALUES, FOREIGN_MODEL } foreign_what;

/*
 * Reads the HDF5 file at path, of whatever kind, in a fresh process of this program with limits on memory, time and system
 * calls, and makes a temporary safetensors file of it that goes when this process ends: data sets become tensors, attributes
 * key/values.  With FOREIGN_NAMES the tensors have no values, and only names, shapes and attributes may be looked at.
 * name gets the temporary file's; false after one line on standard error.
 */
bool foreign_import(const cli *c, const char *path, foreign_what what, char name[FOREIGN_NAME]);
/* In the context's error, if there is one, the name of the temporary file becomes that of the file it was made of. */
void foreign_rename(tp_ctx *ctx, const char *name, const char *path);

/* What that process runs: `tapir --read-foreign names|values|model`, with the file at descriptor 3. */
#define FOREIGN_OPTION "--read-foreign"
int foreign_main(int argc, char **argv);

#endif
