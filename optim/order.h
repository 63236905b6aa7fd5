/* order.h - the order of an epoch's samples and its batches.  Internal. */
#ifndef TPI_ORDER_H
#define TPI_ORDER_H

#include "core/internal.h"
#include "optim/loader.h"

/* Permutes x[0..n): every permutation equally likely, drawn from key alone. */
void tpi_shuffle(tpi_key key, int64_t *x, int64_t n);
/* The order of an epoch and the ends of its batches, both with room for data->length; returns the number of batches,
 * negative when cut failed. */
int64_t tpi_order(const tp_dataset *data, const tp_loader_opts *opts, int64_t epoch, int64_t *order, int64_t *end);

#endif
