/* peft_internal.h - what the files of peft share. */
#ifndef TPI_PEFT_H
#define TPI_PEFT_H

#include "peft/peft.h"

bool        tpi_is_linear(const tp_module *m);
void        tpi_freeze_base(tp_ctx *ctx, tp_module *root);
/* Calls fn on every adapter; fn may free it. */
void        tpi_adapters_walk(tp_module *root, void (*fn)(tp_adapter *ad, void *user), void *user);

#endif
