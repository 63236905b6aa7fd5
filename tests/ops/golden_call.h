/* golden_call.h - calling an op by its name with arguments from a line of ops.jsonl. */
#ifndef TESTS_GOLDEN_CALL_H
#define TESTS_GOLDEN_CALL_H

#include "core/json.h"
#include "ops/ops.h"

typedef struct {
    const char *name;
    tp_tensor *(*call)(tp_ctx *ctx, tp_tensor *const *in, int n, const tpi_json *a);
} golden_entry;

/* Ops with arguments that golden_call.c has no room for; ended by one without a name. */
extern const golden_entry golden_more[];

/* The op's result; fails with TP_EARG for a name that is not known. */
tp_tensor *golden_call(tp_ctx *ctx, const char *name, tp_tensor *const *in, int n_in, const tpi_json *args);

#endif
