/* foreign.h - HDF5 files of strangers, read by libhdf5 in a process of its own that can do little. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include "tools/cli.h"

enum { FOREIGN_NAME = 32 };

/*
 * Reads the HDF5 file at path, of whatever kind, in a fresh process of this program with limits on memory, time and system
 * calls, and makes a temporary safetensors file of it that goes when this process ends: data sets become tensors, attributes
 * key/values.  Without `values` the tensors have no values, and only names, shapes and attributes may be looked at.
 * name gets the temporary file's; false after one line on standard error.
 */
bool foreign_import(const cli *c, const char *path, bool values, char name[FOREIGN_NAME]);

/* What that process runs: `tapir --read-foreign names|values`, with the file at descriptor 3. */
#define FOREIGN_OPTION "--read-foreign"
int foreign_main(int argc, char **argv);

#endif
