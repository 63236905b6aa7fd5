/* adapter_load.h - loading adapters, step by step: what loading onto a model and merging into a file share. */
#ifndef TPI_ADAPTER_LOAD_H
#define TPI_ADAPTER_LOAD_H

#include "core/json.h"
#include "peft/peft_internal.h"

typedef struct {
    tp_ctx                     *ctx;
    tp_module                  *root;
    tp_file                    *f;
    const char                 *path;
    const tp_adapter_load_opts *opts;
    tpi_json                   *json;
    const char                 *pattern, *identity; /* borrowed from json; NULL: not said */
    const char                 *only;               /* the one layer that is of interest; NULL: all */
    bool                        peft;
    tp_adapter                **made;
    size_t                      n, cap;
} tpi_loading;

/* Opens the file and reads what it says about itself. */
bool tpi_adapter_open_file(tpi_loading *l);
/* Whether `here` is the base that the file names; fails, or warns with any_base, when it is not. */
bool tpi_adapter_same_base(tpi_loading *l, const char *here);
/* Our name for a tensor, to be freed: PEFT writes "base_model.model.<path>.lora_A.weight". */
char *tpi_adapter_our_name(tpi_loading *l, const char *name);
/* Attaches and fills what the file has for the layers below root. */
void tpi_adapter_load_all(tpi_loading *l);

#endif
