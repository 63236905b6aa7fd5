/*
 * internal.h - what the library's own sources share: memory, the insides of contexts and tensors.  Never installed.
 */
#ifndef TPI_INTERNAL_H
#define TPI_INTERNAL_H

#include "core/backend.h"
#include "core/core.h"

#define TPI_MUST_USE __attribute__((warn_unused_result))

/* ---- memory: core/memory.c is the only file that calls malloc and free ------------------------------------------- */

/* n * size zeroed bytes (at least one); NULL and TP_ENOMEM on ctx.  ctx may be NULL (nothing is recorded then), so
 * threads without a context may call these too. */
void *tpi_alloc(tp_ctx *ctx, size_t n, size_t size) TPI_MUST_USE;
/* p with room for n * size bytes, old content kept, the rest undefined; on failure p stays as it is. */
void *tpi_realloc(tp_ctx *ctx, void *p, size_t n, size_t size) TPI_MUST_USE;
/* Makes *array hold at least need elements of size bytes, doubling *cap.  False on failure. */
bool  tpi_grow(tp_ctx *ctx, void *array, size_t *cap, size_t need, size_t size) TPI_MUST_USE;
char *tpi_strdup(tp_ctx *ctx, const char *s) TPI_MUST_USE;
/* The first n bytes of s and a NUL. */
char *tpi_strndup(tp_ctx *ctx, const char *s, size_t n) TPI_MUST_USE;
/* printf into new memory, which the caller frees with tpi_free. */
char *tpi_format(tp_ctx *ctx, const char *fmt, ...) TPI_MUST_USE TP_PRINTF(2, 3) __attribute__((nonnull(2)));
void  tpi_free(void *p);
/* For libraries that want malloc and free by pointer (jansson, PCRE2). */
void *tpi_raw_malloc(size_t size);
void  tpi_raw_free(void *p);

/* For tests: the allocation number `after` (from 0) fails, and with `always` every one from there on; after < 0 never.
 * All of the process, one of the named exceptions to "no global state". */
void  tpi_fail_alloc(long after, bool always);
/* Allocations tried since the last tpi_fail_alloc. */
long  tpi_count_alloc(void);

/* Checked arithmetic for sizes that come from files: false on overflow. */
static inline bool tpi_mul_ok(size_t a, size_t b, size_t *c)
{
    return !__builtin_mul_overflow(a, b, c);
}

static inline bool tpi_add_ok(size_t a, size_t b, size_t *c)
{
    return !__builtin_add_overflow(a, b, c);
}

/* ---- storages and tensors ---------------------------------------------------------------------------------------- */

enum { TPI_TENSOR_MAGIC = 0x74706972, TPI_CTX_MAGIC = 0x74706378 };

typedef struct tpi_storage {
    tp_ctx   *ctx;
    void     *data;
    size_t    size;    /* bytes asked for */
    size_t    room;    /* bytes of the pool's block; 0 when data is not the pool's */
    int32_t   holders; /* tensors that hold its values */
    uint32_t  version; /* counts writes */
    void    (*release)(void *user, void *p); /* of borrowed memory */
    void     *user;
} tpi_storage;

struct tp_tensor {
    uint32_t     magic;
    int32_t      refs; /* holders of this header */
    int32_t      uses; /* those of them that may read the values; at 0 the values go */
    int16_t      ndim;
    uint8_t      dtype;
    bool         trainable; /* a leaf the user wants a gradient for */
    bool         needs_grad;
    bool         contiguous;
    bool         grad_used;    /* its gradient was used by an optimiser: the next backward overwrites it */
    bool         walked;       /* its call was walked by a backward, or dropped */
    bool         void_grad;    /* a backward failed half-way: optimisers refuse it */
    bool         touched;      /* this pass has written its gradient */
    bool         leads;        /* a pass that is recorded goes on below it, or is asked for its gradient */
    tp_ctx      *ctx;
    tpi_storage *store; /* NULL when the values are gone */
    char        *data;  /* first element */
    int64_t      numel;
    int64_t      dim[TP_MAX_DIM], stride[TP_MAX_DIM];
    tp_tensor   *grad; /* of a leaf: the user's; of an inner tensor: what has arrived in this backward */
    tp_hook_fn   hook;
    void        *hook_user;
    tp_tensor   *next; /* in the list of free headers */
    int64_t      serial;      /* of the call that made it; -1 for a leaf */
    const char  *cut;         /* interned name of the op without a backward that ended the way to something trainable */
};

/* A view of x's storage with shape and strides of its own, offset in elements from x's first; belongs to the innermost
 * scope. */
tp_tensor *tpi_view(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *dim, const int64_t *stride, int64_t offset);
/* x itself when it is contiguous, else a contiguous copy.  Not recorded: for kernels' inputs inside an op. */
tp_tensor *tpi_rows(tp_ctx *ctx, tp_tensor *x);
/* x converted to dtype t (x itself when it is so already).  Not recorded. */
tp_tensor *tpi_cast(tp_ctx *ctx, tp_tensor *x, tp_dtype t);
/* Whether x is a live tensor of ctx with values; else fails, naming op and the input's number. */
bool       tpi_check(tp_ctx *ctx, const char *op, const tp_tensor *x, int i);
/* The same where the values are of no interest, only the shape. */
bool       tpi_check_shape(tp_ctx *ctx, const char *op, const tp_tensor *x, int i);
/* Counts as a change of x's values: kept copies of the old ones become errors in backward. */
void       tpi_touch(tp_tensor *x);

/* A strided walk over n tensors, all broadcast to shape (ndim, dim): dimensions merged, sizes of 1 dropped. */
void       tpi_nd_init(tpi_nd *nd, int ndim, const int64_t *dim, int n, const tp_tensor *const *x);
/* numpy's broadcast of two shapes; false when they do not fit. */
bool       tpi_broadcast(const tp_tensor *a, const tp_tensor *b, int *ndim, int64_t *dim);
/* "[4, -1]" into buf, which is returned: tp_shape_text of a shape that no tensor has yet. */
char      *tpi_dims_text(int ndim, const int64_t *dim, char *buf, size_t size);
/* axis in [0, ndim) from one that may be negative, or -1 with TP_EARG. */
int        tpi_axis(tp_ctx *ctx, const char *op, const tp_tensor *x, int axis);

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

/* Kernels and what they run on. */
const tpi_kernels *tpi_k(const tp_ctx *ctx);
const tpi_backend *tpi_backend_of(const tp_ctx *ctx);
tpi_run            tpi_run_of(tp_ctx *ctx);
/* The same with `size` bytes of workspace; false and TP_ENOMEM.  Give it back with tpi_run_end. */
bool               tpi_run_begin(tp_ctx *ctx, tpi_run *r, size_t size) TPI_MUST_USE;
void               tpi_run_end(tp_ctx *ctx, tpi_run *r);
/* Turns a kernel's code into an error that names op (and the dtype); returns code == TP_OK. */
bool               tpi_done(tp_ctx *ctx, const char *op, tp_code code);
/* Fails with TP_EDTYPE unless the slot's mask has t. */
bool               tpi_can_do(tp_ctx *ctx, const char *op, uint16_t mask, tp_dtype t);
const tpi_can     *tpi_can_of(const tp_ctx *ctx);

/* The next stream of random numbers of this step. */
tpi_key            tpi_next_key(tp_ctx *ctx, uint32_t purpose);

/* Seed, step and streams drawn in it: all the state that random numbers have. */
void               tpi_random_get(const tp_ctx *ctx, int64_t v[3]);
void               tpi_random_set(tp_ctx *ctx, const int64_t v[3]);
/* Whether what runs now has run before: a checkpointed function in backward.  What an op changes besides its outputs is
 * not to be changed again. */
bool               tpi_replays(const tp_ctx *ctx);

/* The module whose forward runs, for messages: path is interned ("model.layers.3.q_proj"), NULL for none.  Returns the
 * one before. */
const char        *tpi_set_path(tp_ctx *ctx, const char *path);
const char        *tpi_intern(tp_ctx *ctx, const char *s);

/* Philox-4x32-10, in core/random.c; static inline twin for kernels stands in core/philox.h. */

#endif
