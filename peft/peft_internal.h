/* peft_internal.h - what the files of peft share. */
#ifndef TPI_PEFT_H
#define TPI_PEFT_H

#include "peft/peft.h"

/* A linear layer of the base: not one inside an adapter. */
bool tpi_is_linear(const tp_module *m);
void tpi_freeze_base(tp_ctx *ctx, tp_module *root);
/* Calls fn on every adapter, the outermost of a layer first; fn may free it. */
void tpi_adapters_walk(tp_module *root, void (*fn)(tp_adapter *ad, void *user), void *user);
/* The root of the tree: names in files are full ones, and an identity is the whole model's. */
tp_module *tpi_top(tp_module *m);
double     tpi_option_get(const tp_option *o, const void *opts);

#endif
