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
    uint32_t   *version; /* of each input, output and saved tensor at the time of recording */
    uint64_t    wants;   /* bit i: input i needed a gradient when the call was made; bit 63 stands for all from 63 on */
    size_t      room;    /* bytes of this record in the pool */
    int64_t     serial;
    bool        keeps_all; /* the values of every input, whatever c.keep says */
} tpi_rec;

/* An open scope: what was there when it began.  The serial tells whether a tp_scope is still the one that stands at its
 * depth. */
typedef struct tpi_mark {
    size_t live, tape, serial;
} tpi_mark;

typedef struct tpi_slab {
    struct tpi_slab *next;
} tpi_slab;

/* A gradient that a pass collects aside for tp_grad_of. */
typedef struct tpi_sink {
    tp_tensor *x, *g;
} tpi_sink;

/* A leaf whose gradient this pass has changed.  That of a leaf with a hook is put aside, since the hook is to see this
 * pass alone. */
typedef struct tpi_touched {
    tp_tensor *x, *before;
    bool       used; /* `before` was used by an optimiser: nothing is added to it */
} tpi_touched;

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
    size_t             n_free;
    tpi_storage       *free_storage;

    tp_tensor        **live; /* what the open scopes own */
    size_t             n_live, cap_live;
    tpi_mark          *scopes;
    size_t             n_scopes, cap_scopes;
    size_t             scope_serial;
    size_t             floor; /* scopes below it are not to be ended by the op, hook or function that runs */

    tpi_rec          **tape;
    size_t             n_tape, cap_tape;
    int64_t            serial; /* of the next call */

    tpi_sink          *sink; /* only while tp_grad_of runs */
    int                n_sink;
    tpi_touched       *touched;
    size_t             n_touched, cap_touched;
    int                depth;      /* of nested backward passes */
    bool               graph;      /* the pass that runs is recorded */
    bool               strict;     /* backward functions see of values only what forward kept, as under sanitizers */
    size_t             walk_top;   /* the pass that runs walks below this place of the tape, */
    int64_t            walk_first; /* over calls older than this one; 0 and 0 when none runs */

    uint64_t           seed, step;
    uint32_t           draws; /* random calls so far in this step */
};

/* tensor.c */
tp_tensor *tpi_header_new(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
bool       tpi_alive(const tp_tensor *x);        /* best effort against freed tensors */
bool       tpi_adopt(tp_ctx *ctx, tp_tensor *x); /* gives x's first reference to the innermost scope */
tp_tensor *tpi_disown(tp_ctx *ctx, tp_tensor *x); /* takes it back: x belongs to the caller */
void       tpi_hold(tp_tensor *x);               /* a reference to the header only */
void       tpi_unhold(tp_tensor *x);
void       tpi_tensors_free(tp_ctx *ctx);

/* scope.c */
/* Ends the scopes from depth on; releases what was made since `live`, and the calls since `tape` that nobody needs. */
void       tpi_unwind(tp_ctx *ctx, size_t depth, size_t live, size_t tape);

/* tape.c */
bool       tpi_keeps(const tpi_rec *rec, int i); /* whether input i, or output i - n_in, is kept with its values */
void       tpi_rec_drop(tp_ctx *ctx, tpi_rec *rec);
void       tpi_tape_prune(tp_ctx *ctx, size_t from);
void       tpi_tape_cut(tp_ctx *ctx, size_t from); /* drops the calls from there on */
/* Records a call that has been computed already; every input is kept with its values. */
bool       tpi_tape_push(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, tp_tensor *y);
bool       tpi_find_nonfinite(tp_ctx *ctx, tp_tensor *x);

/* grad.c */
/* Adds g, which op's backward gave, to what x has got. */
bool       tpi_accumulate(tp_ctx *ctx, const char *op, tp_tensor *x, tp_tensor *g);
tpi_sink  *tpi_find_sink(tp_ctx *ctx, const tp_tensor *x);
/* What x's hook makes of the gradient g; g itself without a hook and after a failure. */
tp_tensor *tpi_run_hook(tp_ctx *ctx, tp_tensor *x, tp_tensor *g);
/* Ends a pass: hooks of leaves run, or, after a failure, what was written becomes void. */
void       tpi_end_pass(tp_ctx *ctx);
/* A tensor with g's values in dtype t, which belongs to the caller. */
tp_tensor *tpi_own_copy(tp_ctx *ctx, tp_tensor *g, tp_dtype t);
/* Whether x's values are x's alone, so that they may be written in place. */
bool       tpi_exclusive(const tp_tensor *x);

/* graph.c */
/* *slot += g, recorded; slot gets dtype t. */
bool       tpi_graph_add(tp_ctx *ctx, tp_tensor **slot, tp_tensor *g, tp_dtype t);
/* Marks, among the calls below `top`, what leads to the tensors that the pass is asked for (on), or unmarks all. */
void       tpi_graph_mark(tp_ctx *ctx, size_t top, bool on);
/* What of the call's inputs a recorded pass goes on to, as a mask like rec->wants. */
uint64_t   tpi_graph_wants(const tpi_rec *rec);

/* backward.c */
/* Walks the records from n_tape - 1 down to base, y's gradient being dy. */
bool       tpi_walk(tp_ctx *ctx, size_t base, tp_tensor *y, tp_tensor *dy);

#endif
