/* order.h - the order of an epoch's samples and its batches; what the files of this room share about data.  Internal. */
#ifndef TPI_ORDER_H
#define TPI_ORDER_H

#include "core/internal.h"
#include "optim/loader.h"
#include "optim/samples.h"

/* Permutes x[0..n): every permutation equally likely, drawn from key alone. */
void tpi_shuffle(tpi_key key, int64_t *x, int64_t n);
/* The order of an epoch and the ends of its batches, both with room for data->length; returns the number of batches,
 * negative when cut failed.  mass: running sums of the samples' weights, which are then drawn with replacement; NULL:
 * each comes once. */
int64_t tpi_order(const tp_dataset *data, const tp_loader_opts *opts, const double *mass, int64_t epoch, int64_t *order,
                  int64_t *end);
/* What a loader draws from; NULL for NULL. */
const tp_dataset *tpi_loader_data(const tp_loader *loader);
/* Whether a field has a dtype and a shape; *bytes gets the size of a sample.  what begins the message. */
bool tpi_field_check(tp_ctx *ctx, const char *what, const tp_field *f, size_t *bytes);

#endif
