/*
 * folder_save.h - a directory of files that appears whole or not at all.  Internal.
 */
#ifndef TPI_FOLDER_SAVE_H
#define TPI_FOLDER_SAVE_H

#include "nn/files/disk.h"

/* A directory on its way: ".NAME.tmp.PID" beside the target. */
typedef struct tpi_folder_save {
    char *path, *tmp, *dir;
    bool  old; /* something of that name is there, to be replaced */
} tpi_folder_save;

/* What is there may be replaced only with overwrite, and only if it is a directory without others in it. */
bool tpi_folder_begin(tp_ctx *ctx, tpi_folder_save *d, const char *path, bool overwrite) TPI_MUST_USE;
/* One file of it, made durable. */
bool tpi_folder_text(tp_ctx *ctx, tpi_folder_save *d, const char *name, const char *text, size_t n) TPI_MUST_USE;
/* Puts it in place and makes that durable.  Ends d either way; after a failure the target is as it was. */
bool tpi_folder_commit(tp_ctx *ctx, tpi_folder_save *d) TPI_MUST_USE;
void tpi_folder_drop(tpi_folder_save *d);

#endif
