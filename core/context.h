/* context.h - the inside of a context; for core's own files only. */
#ifndef TPI_CONTEXT_H
#define TPI_CONTEXT_H

#include "core/internal.h"
#include "core/pool.h"

enum { TPI_MESSAGE = 1024, TPI_PATH = 512 };

/* A recorded call: the public part, then what the tape needs. */
typedef struct tpi_rec {
    tp_call     c;
    const char *path;    /* interned path of the module, or NULL */
    uint32_t   *version; /* of each input and output at the time of recording */
    size_t      room;    /* bytes of this record in the pool */
    int64_t     serial;
} tpi_rec;

typedef struct tpi_slab {
    struct tpi_slab *next;
} tpi_slab;

/* A gradient that a pass collects aside: for tp_grad_of, and for leaves with a hook. */
typedef struct tpi_sink {
    tp_tensor *x, *g;
} tpi_sink;

struct tp_ctx {
    uint32_t           magic;
    tp_code            code;
    char               msg[TPI_MESSAGE];
    bool               is_static;
    bool               recording;
    bool               anomaly;
    tp_device          device;
    const tpi_backend *backend;
    int                threads;
    tp_message_fn      on_message;
    void              *on_message_user;
    const char        *path; /* interned path of the module that runs */
    char             **names;
    size_t             n_names, cap_names;

    tpi_pool           pool;
    tpi_slab          *slabs;
    tp_tensor         *free_first, *free_last; /* headers, first in first out */
    tpi_storage       *free_storage;

    tp_tensor        **live; /* what the open scopes own */
    size_t             n_live, cap_live;
    tp_scope          *scopes;
    size_t             n_scopes, cap_scopes;

    tpi_rec          **tape;
    size_t             n_tape, cap_tape;
    int64_t            serial; /* of the next call */

    tpi_sink          *sink; /* only while tp_grad_of runs */
    int                n_sink;
    tp_tensor        **touched; /* leaves whose gradient this pass has changed */
    size_t             n_touched, cap_touched;
    int                depth; /* of nested backward passes */

    uint64_t           seed, step;
    uint32_t           draws; /* random calls so far in this step */
};

/* tensor.c */
tp_tensor *tpi_header_new(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
bool       tpi_adopt(tp_ctx *ctx, tp_tensor *x); /* gives x's first reference to the innermost scope */
void       tpi_hold(tp_tensor *x);               /* a reference to the header only */
void       tpi_unhold(tp_tensor *x);
void       tpi_tensors_free(tp_ctx *ctx);

/* tape.c */
void       tpi_rec_drop(tp_ctx *ctx, tpi_rec *rec);
void       tpi_tape_prune(tp_ctx *ctx, size_t from);
void       tpi_tape_cut(tp_ctx *ctx, size_t from);
/* Records a call that has been computed already; in[0..n_keep) are kept with their values. */
bool       tpi_tape_push(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, int n_keep, tp_tensor *y);

/* backward.c */
/* Walks the records from n_tape - 1 down to base, y's gradient being dy. */
bool       tpi_walk(tp_ctx *ctx, size_t base, tp_tensor *y, tp_tensor *dy);
/* Adds g to what x has got. */
bool       tpi_accumulate(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *g);

#endif
