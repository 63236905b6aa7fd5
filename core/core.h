/*
 * core.h - contexts, errors, scopes, tensors and the tape.
 *
 * Rules that hold for every function of the library, so that no contract repeats them:
 *
 *   - The context comes first.  The first failure is kept in it, with a message; every later call on that context does
 *     nothing and returns NULL, false, 0 or NaN.  Check once a step with tp_ok(), or only at the end.
 *   - NULL is accepted for every tensor, module, object and context.  An op that is handed a NULL tensor fails with
 *     TP_EARG, so that a failure before it is never hidden.
 *   - A tensor returned to you belongs to the innermost open scope; tp_retain() keeps it longer.
 *   - dtypes never promote silently: equal dtypes, or TP_EDTYPE, except for pairs that a contract lists.
 *   - Negative axes count from the end.
 *   - One context per thread.  There is no global state.
 *   - The library prints nothing (but tp_ctx_finish and tp_print): see tp_on_message.
 */
#ifndef TP_CORE_H
#define TP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
#include <initializer_list>

extern "C" {
#endif

#if defined(__GNUC__)
#define TP_API __attribute__((visibility("default")))
#define TP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define TP_API
#define TP_PRINTF(f, a)
#endif

#define TP_VERSION_MAJOR 0
#define TP_VERSION_MINOR 1
#define TP_VERSION_PATCH 0
#define TP_VERSION "0.1.0"

enum { TP_MAX_DIM = 8 };

typedef struct tp_ctx    tp_ctx;
typedef struct tp_tensor tp_tensor;

/* Sizes in bytes: 4 8 2 2 8 4 1 1. */
typedef enum { TP_F32, TP_F64, TP_BF16, TP_F16, TP_I64, TP_I32, TP_U8, TP_BOOL, TP_DTYPES } tp_dtype;

/* TP_REF is the CPU with naive kernels, the oracle of all others. */
typedef enum { TP_CPU, TP_REF, TP_CUDA } tp_device;

typedef enum {
    TP_OK,
    TP_ENOMEM,  /* out of memory */
    TP_ESHAPE,  /* shapes that do not fit */
    TP_EDTYPE,  /* dtypes that do not fit */
    TP_EDEVICE, /* no such device, or tensors of different ones */
    TP_EARG,    /* any other wrong argument or use */
    TP_EIO,     /* a file that cannot be read or written */
    TP_EFORMAT, /* a file whose content is wrong */
    TP_ENUM,    /* NaN or Inf where none may be; a matrix that cannot be factored */
    TP_EINTR    /* interrupted */
} tp_code;

/* ---- version and dtypes ------------------------------------------------------------------------------------------ */

/* "0.1.0", of the library that runs. */
TP_API const char *tp_version(void);
TP_API size_t      tp_dtype_size(tp_dtype t);
/* "f32", "bf16", ... */
TP_API const char *tp_dtype_name(tp_dtype t);
/* f64 f32 bf16 f16 */
TP_API bool        tp_dtype_is_float(tp_dtype t);

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

/* Never NULL: when the device cannot be opened, or memory is out, the context is born failed.  Threads: those that the
 * affinity mask and the control group allow. */
TP_API tp_ctx     *tp_ctx_new(tp_device device, int index);
/* Frees the context and every tensor that is still alive in it: what owns tensors (modules, optimisers, files) is freed
 * before. */
TP_API void        tp_ctx_free(tp_ctx *ctx);
/* Prints "tapir: <first error>" to standard error if there is one, frees ctx, returns 0 or 1: the last line of main. */
TP_API int         tp_ctx_finish(tp_ctx *ctx);

/* The device that tp_ctx_new was given; TP_CPU for NULL. */
TP_API tp_device   tp_ctx_device(const tp_ctx *ctx);
/* Threads used by later calls, 1 to 1024; n = 0 asks for the default again: OMP_NUM_THREADS, else what the affinity
 * mask and the control group allow. */
TP_API void        tp_set_threads(tp_ctx *ctx, int n);
TP_API int         tp_threads(const tp_ctx *ctx);
/* The kernels in use: "portable", "avx2", "avx512", "ref", ... */
TP_API const char *tp_backend_name(const tp_ctx *ctx);
/* Picks a set of kernels for the same memory by that name, to test or compare; fails with TP_EDEVICE, naming those
 * there are. */
TP_API void        tp_set_backend(tp_ctx *ctx, const char *name);

typedef struct {
    size_t now;    /* bytes in use: values of tensors, recorded calls, workspace of kernels; not what is borrowed */
    size_t peak;   /* the most that now has been */
    size_t system; /* bytes that the pool holds from the system, in use or kept for the next tensor */
} tp_memory_use;

/* What ctx takes of its device's memory; zeros for NULL. */
TP_API tp_memory_use tp_memory(const tp_ctx *ctx);
/* Gives the pool's unused blocks back to the system. */
TP_API void          tp_memory_trim(tp_ctx *ctx);

/* ---- errors and messages ----------------------------------------------------------------------------------------- */

/* True while nothing has failed.  NULL is not ok. */
TP_API bool        tp_ok(const tp_ctx *ctx);
TP_API tp_code     tp_error_code(const tp_ctx *ctx);
/* The first error's message, at most 1 KiB, "" if there is none. */
TP_API const char *tp_error(const tp_ctx *ctx);
/* Lets the program go on: scopes stay, what was recorded in the innermost scope is dropped, recording is on again.  A
 * context without a device, or that memory was out for, stays failed. */
TP_API void        tp_error_clear(tp_ctx *ctx);
/* Records an error unless one is kept already: "op: what is wrong, what was expected".  The path of the module that is
 * running is put in front.  Returns NULL, so that ops can `return tp_fail(...)`. */
TP_API void       *tp_fail(tp_ctx *ctx, tp_code code, const char *fmt, ...) TP_PRINTF(3, 4);

typedef enum { TP_NOTE, TP_WARNING, TP_PROGRESS } tp_level;

typedef void (*tp_message_fn)(void *user, tp_level level, const char *text);
/* fn gets every later note, warning and progress line (without a newline); NULL drops them, which is the default. */
TP_API void tp_on_message(tp_ctx *ctx, tp_message_fn fn, void *user);
TP_API void tp_message(tp_ctx *ctx, tp_level level, const char *fmt, ...) TP_PRINTF(3, 4);

/* ---- scopes ------------------------------------------------------------------------------------------------------ */

typedef struct { size_t depth, serial; } tp_scope; /* nothing to look into */

/* Opens a scope inside of the innermost one: it owns every tensor made from now on, until it ends.  Works on a failed
 * context. */
TP_API tp_scope   tp_scope_begin(tp_ctx *ctx);
/* Releases every tensor made since s (inner scopes that were left open too), and every recorded call none of whose
 * outputs anybody holds any more.  What a backward from a tensor that lives on will need stays: a scope around each layer
 * or time step, left by tp_scope_return, is how the rest goes early.  Works on a failed context.  A scope that has ended
 * already is passed over.  Fails with TP_EARG when an op, a hook or a checkpointed function tries to end a scope around
 * it. */
TP_API void       tp_scope_end(tp_ctx *ctx, tp_scope s);
/* Ends s but hands x to the enclosing scope.  Returns x; NULL on a failed context, where x goes with s. */
TP_API tp_tensor *tp_scope_return(tp_ctx *ctx, tp_scope s, tp_tensor *x);

/* ---- making tensors ---------------------------------------------------------------------------------------------- */

/* TP_LIST(type, a, b) is an array of them that lives as long as the call it is written in; C++ has no such literals. */
#ifdef __cplusplus
#define TP_LIST(type, ...) (std::initializer_list<type>{ __VA_ARGS__ }.begin())
#define TP_COUNT(type, ...) ((int)std::initializer_list<type>{ __VA_ARGS__ }.size())
#else
#define TP_LIST(type, ...) ((type const[]){ __VA_ARGS__ })
#define TP_COUNT(type, ...) ((int)(sizeof((type const[]){ __VA_ARGS__ }) / sizeof(type)))
#endif

/* TP_SHAPE(2, 3) stands for two arguments: the number of dimensions and their sizes.  TP_SCALAR is the shape of one
 * number. */
#define TP_SHAPE(...) TP_COUNT(int64_t, __VA_ARGS__), TP_LIST(int64_t, __VA_ARGS__)
#define TP_SCALAR 0, NULL

TP_API tp_tensor *tp_empty(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim); /* values undefined */
TP_API tp_tensor *tp_zeros(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
TP_API tp_tensor *tp_ones(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim);
TP_API tp_tensor *tp_full(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, double value);
/* Copies numel values of dtype t from p. */
TP_API tp_tensor *tp_from(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, const void *p);
/* Uses p itself, which must stay valid until release(user, p) is called (release may be NULL): when the last view of it
 * goes, or at once when this call fails.  CPU only. */
TP_API tp_tensor *tp_borrow(tp_ctx *ctx, tp_dtype t, int ndim, const int64_t *dim, void *p,
                            void (*release)(void *user, void *p), void *user);
/* start, start + step, ... below stop (above it for a negative step), converted to t as tp_copy_to does. */
TP_API tp_tensor *tp_arange(tp_ctx *ctx, tp_dtype t, double start, double stop, double step);
/* An undefined tensor of x's shape and dtype, contiguous. */
TP_API tp_tensor *tp_like(tp_ctx *ctx, const tp_tensor *x);
TP_API tp_tensor *tp_zeros_like(tp_ctx *ctx, const tp_tensor *x);

/* One more, one less holder.  The values go with the last one.  tp_retain returns x. */
TP_API tp_tensor *tp_retain(tp_tensor *x);
TP_API void       tp_release(tp_tensor *x);

/* ---- looking at tensors ------------------------------------------------------------------------------------------ */

TP_API tp_dtype   tp_dtype_of(const tp_tensor *x); /* TP_F32 for NULL */
TP_API int        tp_ndim(const tp_tensor *x);
TP_API int64_t    tp_dim(const tp_tensor *x, int axis); /* 0 for NULL or a wrong axis */
TP_API int64_t    tp_stride(const tp_tensor *x, int axis); /* in elements */
TP_API int64_t    tp_numel(const tp_tensor *x);
TP_API bool       tp_is_contiguous(const tp_tensor *x);
TP_API bool       tp_same_shape(const tp_tensor *a, const tp_tensor *b);
/* Whether two tensors are views of one storage: tied weights are. */
TP_API bool       tp_same_storage(const tp_tensor *a, const tp_tensor *b);
/* "[2, 3]" into buf, which is returned. */
TP_API char      *tp_shape_text(const tp_tensor *x, char *buf, size_t size);

/* The first value, on the host, to be read; strides apply.  NULL after a failure and for values that are gone. */
TP_API const void *tp_values(tp_ctx *ctx, const tp_tensor *x);
/* The same to be written: counts as a change of the values.  Typed variants fail with TP_EDTYPE. */
TP_API void       *tp_raw(tp_ctx *ctx, tp_tensor *x);
TP_API float      *tp_f32(tp_ctx *ctx, tp_tensor *x);
TP_API double     *tp_f64(tp_ctx *ctx, tp_tensor *x);
TP_API int32_t    *tp_i32(tp_ctx *ctx, tp_tensor *x);
TP_API int64_t    *tp_i64(tp_ctx *ctx, tp_tensor *x);
/* The one value of x; NaN after a failure.  Fails with TP_ESHAPE when x has not just one. */
TP_API double      tp_item(tp_ctx *ctx, const tp_tensor *x);
/* The element at index[0..ndim). */
TP_API double      tp_at(tp_ctx *ctx, const tp_tensor *x, int ndim, const int64_t *index);
/* Makes the element there value, converted as tp_copy_to does: counts as a change of the values. */
TP_API bool        tp_set_at(tp_ctx *ctx, tp_tensor *x, int ndim, const int64_t *index, double value);
/* Writes x, converted to t, row by row into p, which has room for size bytes. */
TP_API bool        tp_copy_out(tp_ctx *ctx, const tp_tensor *x, tp_dtype t, void *p, size_t size);
/* Copies src into dst, converting: shapes must be equal.  To integers: toward zero, saturating, NaN gives 0.  Views of
 * one storage may overlap; a dst that shows an element several times is TP_EARG.  Not recorded.  The only public way to
 * write into a tensor. */
TP_API bool        tp_copy_to(tp_ctx *ctx, tp_tensor *dst, const tp_tensor *src);
/* A copy, in ctx and on its device, of x, which belongs to the context `other`; tp_cast converts it.  The one way from
 * one device to another.  An error of either context is one of ctx. */
TP_API tp_tensor  *tp_copy_from(tp_ctx *ctx, tp_ctx *other, const tp_tensor *x);
/* Prints "tensor f32 [2, 3]", and in the lines below the values as numpy's print does: in columns, 75 characters wide,
 * floats with as few digits as tell them from their neighbours and at most 8 behind the point; of more than 1000 values
 * three at either end of an axis.  bf16 is shown as the f32 of the same value. */
TP_API void        tp_print(tp_ctx *ctx, const tp_tensor *x, FILE *f);

/* ---- gradients --------------------------------------------------------------------------------------------------- */

/* Makes x a leaf that gets a gradient (floating dtypes), or freezes it. */
TP_API void       tp_set_trainable(tp_ctx *ctx, tp_tensor *x, bool on);
TP_API bool       tp_trainable(const tp_tensor *x);
/* Trainable, or computed from something that is. */
TP_API bool       tp_needs_grad(const tp_tensor *x);
/* The gradient of a leaf, f32 (f64 for f64), borrowed; NULL when there is none. */
TP_API tp_tensor *tp_grad(const tp_tensor *x);
/* Drops the gradient of x, and what a failed backward said of it. */
TP_API void       tp_grad_drop(tp_tensor *x);
/* Gradients that tp_optim_step has used are overwritten by the next backward instead of added to. */
TP_API void       tp_grad_used(tp_tensor *x);

/*
 * Back-propagates from a loss of one element: adds to the gradient of every trainable leaf that it depends on, and
 * frees the calls that it walks.  Fails with TP_ESHAPE (no scalar), TP_EARG (nothing trainable below, walked already,
 * or kept values were changed since). After a failure the gradients that it has touched are void: optimisers refuse
 * them until they are dropped.
 */
TP_API bool       tp_backward(tp_ctx *ctx, tp_tensor *loss);
/* The same from any tensor, with its gradient dy given (same shape and dtype). */
TP_API bool       tp_backward_from(tp_ctx *ctx, tp_tensor *y, tp_tensor *dy);
/* out[i] = gradient of the one-element y by x[i], a leaf or not (NULL where y does not depend on it), without touching
 * any tp_grad. Frees the calls that it walks, as tp_backward does. */
TP_API bool       tp_grad_of(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out);
/*
 * The same with the gradients computed by recorded ops (PyTorch's create_graph), so that a loss may be made of them and
 * walked back from: a gradient penalty, a curvature.  Nothing is freed, y can be walked back from afterwards; recording
 * is on inside, whatever tp_record said.  Only what lies between y and x[i] counts; there every op must give
 * backward_ops: + - * /, pow, exp, log, sqrt, tanh, sigmoid and other plain functions, sums, means, products and the
 * shape ops do.  Fails as tp_backward does; TP_EARG, naming the op, where a second derivative does not exist (a
 * checkpoint is such an op), where a hook wants to replace a gradient, and inside a hook or an op's backward.
 */
TP_API bool       tp_grad_graph(tp_ctx *ctx, tp_tensor *y, int n, tp_tensor *const *x, tp_tensor **out);
/* Switches recording; returns the previous state. */
TP_API bool       tp_record(tp_ctx *ctx, bool on);
TP_API bool       tp_recording(const tp_ctx *ctx);
/* x cut off from what computed it: same values, no gradient.  A state that is carried over steps, each with a backward of
 * its own (truncated backpropagation through time), is detached and retained between them. */
TP_API tp_tensor *tp_detach(tp_ctx *ctx, tp_tensor *x);

typedef tp_tensor *(*tp_checkpoint_fn)(tp_ctx *ctx, void *user, tp_tensor *const *in);
/*
 * fn(in), of which only the result and the inputs (at most 32) are kept: backward runs fn again, with the same random
 * numbers, and gives the same bits as without this call.  Leaves that fn touches get their gradients.  user, and the
 * tensors that fn takes from there, must stay valid until then, and unchanged.
 */
TP_API tp_tensor *tp_checkpoint(tp_ctx *ctx, tp_checkpoint_fn fn, void *user, int n_in, tp_tensor *const *in);

typedef tp_tensor *(*tp_hook_fn)(tp_ctx *ctx, void *user, tp_tensor *dx);
/* fn runs when a pass has completed the gradient dx of x, before it is added to that of earlier passes; what it returns
 * (same shape and dtype) replaces it, NULL keeps it.  Recording is off inside.  One hook a tensor; fn NULL takes it
 * away. */
TP_API void       tp_hook(tp_ctx *ctx, tp_tensor *x, tp_hook_fn fn, void *user);
/* Checks every output and gradient: the first NaN or Inf fails with TP_ENUM, naming op and module path. */
TP_API void       tp_anomaly(tp_ctx *ctx, bool on);

typedef tp_tensor *(*tp_gradcheck_fn)(tp_ctx *ctx, void *user, tp_tensor *const *in);
/*
 * Compares the gradients of sum(fn(in) * r), r random, by each f64 leaf among the inputs with central differences of
 * step eps (0: 1e-6): returns the greatest max|g - n| / max(1, max|n|) of an input, 1e-6 or less where all is right, NaN
 * after a failure and where a gradient is NaN.  Leaves need not be trainable; none of f64 is TP_EARG.  g is half of what
 * two passes add up, so that writing into place and adding are both seen.  Inputs, their gradients and flags are
 * afterwards what they were; leaves that fn takes from elsewhere get gradients as by tp_backward.  For the differences fn
 * runs with recording off: one that calls tp_grad_graph switches it on with tp_record.
 */
TP_API double     tp_gradcheck(tp_ctx *ctx, tp_gradcheck_fn fn, void *user, int n_in, tp_tensor *const *in, double eps);

/* ---- random numbers ---------------------------------------------------------------------------------------------- */

/* Philox-4x32-10 with key = (seed, purpose, step, call within the step): a seed and a step are all the state there is.
 * Begins step 0.  A new context is as after tp_seed(ctx, 0): the same numbers in every run. */
TP_API void       tp_seed(tp_ctx *ctx, uint64_t seed);
/* Begins step n of the random numbers, which do not depend on what was drawn before: a training loop calls it at the start
 * of each step, and a measurement with a step of its own always gets the same samples. */
TP_API void       tp_set_step(tp_ctx *ctx, uint64_t step);

/* ---- ops of one's own -------------------------------------------------------------------------------------------- */

typedef struct tp_op tp_op;

/*
 * One application of an op: what forward fills and backward reads.  Built-in ops have no right that a user's op lacks.
 */
typedef struct tp_call {
    const tp_op *op;
    int          n_in, n_out, n_saved;
    tp_tensor  **in;    /* inputs; an optional one may be NULL */
    tp_tensor  **out;   /* outputs: out[0] is what forward returns, it sets the others, or leaves NULL */
    tp_tensor  **saved; /* made by forward for backward: op->n_saved slots, kept whole */
    const void  *attr;  /* op->attr_size bytes, copied from what tp_apply got (zeros for NULL) */
    uint64_t     keep;  /* set by forward: whose values backward reads */
} tp_call;

#define TP_KEEP_IN(i) ((uint64_t)1 << (i))         /* i < 32 */
#define TP_KEEP_OUT(i) ((uint64_t)1 << (32 + (i))) /* i < 32 */

struct tp_op {
    const char *name;
    size_t      attr_size;
    int         n_out;   /* 0 stands for 1; at most 32 */
    int         n_saved; /* at most 16 */
    /* Computes out[1..] and returns out[0], from c->in and c->attr.  Recording is off inside; what else it makes is
     * released after. An output that is an input, or somebody else's tensor, is given a header of its own.  Setting a slot
     * behind n_out or n_saved is TP_EARG. */
    tp_tensor *(*forward)(tp_ctx *ctx, tp_call *c);
    /* Given dy[i] = dL/d(out[i]) (NULL where nothing used it; maybe strided; not to be written to), sets dx[i] =
     * dL/d(in[i]), of the shape of in[i] and any floating dtype, for those that tp_wants; a NULL left there counts as
     * zero.  NULL: the op is not differentiable.  Recording is off inside.  Of inputs and outputs that forward did not
     * keep only shape and dtype may be read: their values may be gone or changed (tp_gradcheck finds an op that does). */
    void (*backward)(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
    /* The same for tp_grad_graph, from public ops alone, which are recorded: recording is on inside.  It may be the
     * same function as backward.  NULL: the op has no second derivative. */
    void (*backward_ops)(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx);
};

/* TP_IN(a, b) stands for two arguments: the number of tensors and a list of them. */
#define TP_IN(...) TP_COUNT(tp_tensor *, __VA_ARGS__), TP_LIST(tp_tensor *, __VA_ARGS__)

/* Runs op on in[0..n_in) and records it when an input needs a gradient.  Returns out[0]. */
TP_API tp_tensor *tp_apply(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in);
/* The same for several outputs: fills out[0..n_out). */
TP_API bool tp_apply_n(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, tp_tensor **out);
/* Whether backward is to produce dx[i]; c is what forward or backward was given.  In forward: whether it will be, so
 * that it knows what to keep. */
TP_API bool       tp_wants(const tp_call *c, int i);
/*
 * Where backward is to write the gradient of input i: g = beta g + ... with *beta 0 or 1.  A leaf's own gradient when
 * that is possible, else a new tensor; either way dx[i] is set for you.  f32 for every leaf that is not f64.
 */
TP_API tp_tensor *tp_grad_into(tp_ctx *ctx, tp_call *c, int i, tp_tensor **dx, double *beta);

#ifdef __cplusplus
}
#endif
#endif
