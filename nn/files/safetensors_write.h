/*
 * safetensors_write.h - writing safetensors without holding all tensors.  Internal.
 */
#ifndef TPI_SAFETENSORS_WRITE_H
#define TPI_SAFETENSORS_WRITE_H

#include "nn/files/filetable.h"

/* A tensor that will come. */
typedef struct tpi_plan {
    const char       *name;
    const tpi_stored *type;
    int               ndim;
    int64_t           dim[TP_MAX_DIM];
    size_t            i; /* the caller's */
} tpi_plan;

typedef tp_tensor *(*tpi_plan_get)(tp_ctx *ctx, void *user, const tpi_plan *p);

/* Sorts the plan and writes the header; the values follow in that order. */
bool tpi_safetensors_header(tp_ctx *ctx, tpi_save *s, tpi_plan *plan, size_t n, const tpi_pair *meta,
                            size_t metas) TPI_MUST_USE;

/* Header and values of the planned tensors, get is called once for each, in a scope of its own. */
bool tpi_safetensors_write(tp_ctx *ctx, tpi_save *s, tpi_plan *plan, size_t n, tpi_plan_get get, void *user,
                           const tpi_pair *meta, size_t metas) TPI_MUST_USE;

/* Hands the values of x, row by row, to put. */
bool tpi_write_values(tp_ctx *ctx, tp_tensor *x, bool (*put)(void *user, const void *p, size_t n),
                      void *user) TPI_MUST_USE;

#endif
