/*
 * softmax.h - softmax and its logarithm.
 */
#ifndef TP_SOFTMAX_H
#define TP_SOFTMAX_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * tp_softmax: y[i] = e^x[i] / sum_j e^x[j] along an axis.  tp_log_softmax: its logarithm, without overflow.
 *
 *   x       any shape with that axis  float
 *   returns shape and dtype of x; computed in f32 (f64 for f64).  Nothing but -inf gives NaN.  An axis that is not the
 * last one gives a view
 *
 *   grad    dx
 *   keeps   y
 *   fails   TP_EARG for an axis that does not exist
 */
TP_API tp_tensor *tp_softmax(tp_ctx *ctx, tp_tensor *x, int axis);
TP_API tp_tensor *tp_log_softmax(tp_ctx *ctx, tp_tensor *x, int axis);

#ifdef __cplusplus
}
#endif

#endif
