/* sweep.h - what tests/sweep.py writes and test_failed_context.c runs: a call for each public function. */
#ifndef SWEEP_H
#define SWEEP_H

#include "core/core.h"

/* What the calls pass, by the type of the parameter; what has no place here is NULL or zero. */
typedef struct {
    int               i;
    int64_t           l;
    size_t            n;
    double            d;
    bool              b;
    tp_tensor        *x, **out;
    tp_tensor *const *list;
    const int64_t    *dim;
    const int        *axes;
    const char       *text;
    double           *real;
} given;

enum { SWEEP_NO_CTX = 0, SWEEP_CTX = 1, SWEEP_NEEDS_TENSOR = 2 };

typedef struct {
    const char *name;
    bool (*call)(tp_ctx *ctx, const given *g); /* whether the result was NULL, false, 0 or NaN as the case may be */
    int flags;
} sweep_entry;

extern const sweep_entry sweep_entries[];
extern const size_t      sweep_count;

#endif
