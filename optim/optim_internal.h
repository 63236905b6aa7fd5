/* optim_internal.h - the inside of an optimiser, shared by making it and stepping. */
#ifndef TPI_OPTIM_H
#define TPI_OPTIM_H

#include "core/internal.h"
#include "optim/loader.h"
#include "optim/optimizer.h"

/* One trained parameter. */
typedef struct tpi_item {
    tp_tensor *p, *master, *m,
        *v;           /* master: f32 copy of a 16-bit parameter; moments that the rule does without are NULL */
    const char *name; /* interned */
    double      lr_factor, decay;
    int64_t     steps;   /* with a gradient: parameters that sit out a step are not corrected for it */
    uint32_t    version; /* of p's values when master was last its source */
} tpi_item;

struct tp_optim {
    tp_ctx      *ctx;
    tpi_item    *items;
    size_t       n, cap;
    tpi_step    *work; /* room for one step's arguments, and for a norm's */
    const void **grad;
    int64_t     *numel;
    tpi_hyper    hyper;
    double       lr, decay;
    int64_t      steps, size;
    double       scale; /* of the next step's gradients */
};

/* Where somebody else has written into the parameter, its master is made of the new values. */
bool tpi_renew_master(tp_ctx *ctx, tpi_item *it) TPI_MUST_USE;
/* What a loader was made of, as it is used. */
void tpi_loader_look(const tp_loader *loader, tp_dataset *data, tp_loader_opts *opts);

#endif
