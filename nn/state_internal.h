/* state_internal.h - the inside of a state, for the files of nn and for states of other rooms.  Internal. */
#ifndef TPI_STATE_H
#define TPI_STATE_H

#include "nn/files/filetable.h"
#include "nn/state.h"

typedef enum { TPI_SAVE, TPI_CHECK, TPI_LOAD } tpi_pass;

/* Whether x was met already, under which name: tied weights. */
typedef struct tpi_met {
    const tp_tensor *x;
    char            *section, *name;
} tpi_met;

/* A part of the file that is asked for: tensors in it that nobody wants are too many. */
typedef struct tpi_claim {
    char *section, *prefix; /* prefix "a.b": the names below it, "": all */
} tpi_claim;

typedef struct tpi_later {
    void (*fn)(tp_ctx *ctx, void *user);
    void *user;
} tpi_later;

struct tp_state {
    tp_ctx      *ctx;
    tpi_pass     pass;
    tp_load_opts opts;
    tp_writer   *w;    /* NULL while saving: only sizes are added up */
    int64_t      bytes; /* of the tensors and texts so far */
    tp_file     *f;
    bool        *wanted; /* of each entry of f */
    tpi_met     *met;
    tpi_claim   *claim;
    tpi_later   *later;
    char       **problem;
    size_t       n_met, met_cap, n_claim, claim_cap, n_later, later_cap, n_problem, problem_cap;
};

/* Whether st can be used now by ctx; fails, naming what, when it is nobody's. */
bool tpi_state_usable(tp_ctx *ctx, const tp_state *st, const char *what);
/* Tensors of section below prefix that nobody asks for are too many. */
bool tpi_state_claim(tp_state *st, const char *section, const char *prefix);
/* Notes what does not fit, to be told with everything else; false. */
bool tpi_state_misfit(tp_state *st, const char *fmt, ...) TP_PRINTF(2, 3);
/* One tensor, without a claim. */
bool tpi_state_put(tp_state *st, const char *section, const char *name, tp_tensor *x);
/* The same for a module's buffer: the file says that it is one. */
bool tpi_state_put_buffer(tp_state *st, const char *section, const char *name, tp_tensor *x);
/* fn(ctx, user) once everything has been loaded. */
bool tpi_state_later(tp_state *st, void (*fn)(tp_ctx *ctx, void *user), void *user);
/* What a file says at where and key, as text; NULL. */
const char *tpi_state_meta(tp_state *st, const char *where, const char *key);

#endif
