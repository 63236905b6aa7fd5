/*
 * conversion.h - models from one format of files to another.
 */
#ifndef TP_CONVERSION_H
#define TP_CONVERSION_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How far what was stored is from what was meant, over the tensors that were changed: a weight that is merged in f64 and
 * kept in bf16 is rounded. */
typedef struct {
    int64_t tensors, values;
    double  max, rms;         /* of |stored - exact| */
    double  largest, typical; /* of |exact|: the largest, and the root of the mean square */
} tp_rounding;

typedef struct {
    const char *dtype;     /* of floating tensors: "f32", "f16", "bf16", "q8_0" (GGUF only); NULL: as they are stored */
    bool        overwrite; /* replace what is at `out` */
    int64_t     shard;     /* most bytes of values in one safetensors file, 5e9 */
    /* What x, the tensor of that name, is to become: a new tensor of its shape in f64, or NULL to keep it.  x is as
     * stored, f32 when that is quantised. */
    tp_tensor *(*change)(tp_ctx *ctx, void *user, const char *name, tp_tensor *x);
    void        *user;
    tp_rounding *rounding; /* of what was changed; may be NULL */
} tp_convert_opts;

/*
 * tp_convert: writes the model `in` once more as `out`, tensor by tensor: memory holds one or two of them at a time.
 *
 *   in       what tp_file_open reads: a Hugging Face directory, a safetensors file, GGUF or a Tapir checkpoint
 *   out      its ending decides: ".h5" a Tapir checkpoint, ".gguf" GGUF, anything else a Hugging Face directory; it
 *            appears when it is complete and on the disk
 *   opts     NULL: all defaults
 *
 * Configuration, tokenizer and chat template come along.  dtypes stay, quantised tensors become f32.  In GGUF
 * one-dimensional tensors are f32, and q8_0 is for matrices with rows of a multiple of 32, others stay.  Tied weights are
 * stored once.  The new file says the identity of `in` for its own (tp_file_identity), unless tensors were changed.
 *
 *   fails    TP_EARG    in is an adapter or a training state; names, dtype or tokenizer have no form in the format
 *            TP_EFORMAT in is damaged, or of an architecture other than Llama's, Mistral's and Qwen2's
 *            TP_EIO     out is there and overwrite is not set, or cannot be written; it is as it was then
 */
TP_API bool tp_convert(tp_ctx *ctx, const char *in, const char *out, const tp_convert_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
