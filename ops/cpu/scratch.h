/*
 * scratch.h - the workspace of a run, or memory of our own where the caller brought none.
 */
#ifndef TPI_SCRATCH_H
#define TPI_SCRATCH_H

#include "core/internal.h"

/* size bytes, 64-byte aligned, content undefined; NULL when memory is out.  *own is to be given to tpi_free in the end.
 */
static inline void *tpi_scratch(const tpi_run *r, size_t size, void **own)
{
    *own = NULL;
    if (r->ws != NULL && r->ws_size >= size)
        return r->ws;
    *own = tpi_alloc(NULL, size + 64, 1);
    return *own == NULL ? NULL : (void *)(((uintptr_t)*own + 63) & ~(uintptr_t)63);
}

#endif
