/*
 * files.h - named tensors in and out of files: Hugging Face directories and safetensors, GGUF, Tapir's own HDF5.
 *
 * A file is opened once, its table of contents is read and checked, and tensors are then read one at a time, by name,
 * straight into the tensor that you get.  Nothing that a file says is trusted: every size is checked against the bytes
 * that are there before memory is asked for.  A wrong file is TP_EFORMAT, one that cannot be read TP_EIO, both with the
 * path.
 */
#ifndef TP_FILES_H
#define TP_FILES_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_file   tp_file;
typedef struct tp_writer tp_writer;

typedef enum { TP_SAFETENSORS, TP_HUGGINGFACE, TP_GGUF, TP_HDF5 } tp_file_format;

/* ---- reading --------------------------------------------------------------------------------------------------------- */

/*
 * tp_file_open: opens a file of named tensors, whose kind is recognised by its content,
 *
 *       x.safetensors   one file of the safetensors format
 *       x.gguf          GGUF version 2 or 3
 *       x.h5            a Tapir checkpoint (tp_writer_open)
 *       a directory     of the Hugging Face hub: model.safetensors, or model.safetensors.index.json and its shards, or
 *                       adapter_model.safetensors, beside config.json and the tokenizer's files
 *
 * A GGUF file is shown as the Hugging Face directory that it was made from: names are those of the checkpoint
 * ("model.layers.0.self_attn.q_proj.weight"), dimensions are outermost first, the rows of q and k of architecture llama
 * are in Hugging Face's order, and the text "config.json" is made from its keys.  rope_freqs.weight keeps its name.
 *
 *   returns the file, to be closed with tp_file_close; it belongs to ctx and must be closed before ctx is freed
 *   fails   TP_EIO, TP_EFORMAT, TP_ENOMEM
 */
TP_API tp_file *tp_file_open(tp_ctx *ctx, const char *path);
/*
 * tp_file_open_trusted: opens an HDF5 file of any kind, for data of one's own: what h5py writes in its default layout, chunked,
 * compressed, with other orders of bytes,
 *
 *   tensors are its data sets of numbers and bool, by their paths ("images/train"); attributes of one text or number are
 *   key/values ("images/train@scale"); what is neither is passed over.  Nothing outside of the file is read, and no lock is
 *   taken.
 *
 * libhdf5 reads it, which can crash or go on for ever on a file made for that, or when memory is refused to it: never for
 * files from strangers.  tp_file_open has no such limits; the program's --foreign reads in a process of its own.
 *
 *   returns the file, as tp_file_open
 *   fails   TP_EIO, TP_EFORMAT with the reason that libhdf5 gives, TP_ENOMEM
 */
TP_API tp_file *tp_file_open_trusted(tp_ctx *ctx, const char *path);
/* Works on a failed context.  Tensors that were read stay. */
TP_API void     tp_file_close(tp_file *f);

/* Which of the formats it was opened as, by its contents and not by the name's ending. */
TP_API tp_file_format tp_file_format_of(const tp_file *f);
/* What it holds: "model", "adapter", "training", "tokens", or "tensors" (a bare safetensors file too).  "" for NULL. */
TP_API const char    *tp_file_kind(const tp_file *f);
TP_API const char    *tp_file_path(const tp_file *f);

/* One tensor as it stands in the file.  Valid until the file is closed. */
typedef struct {
    const char *name;    /* "model.layers.0.self_attn.q_proj.weight" */
    const char *key;     /* what it is read by: name, but "section/name" in sections other than "model", "adapter" */
    const char *section; /* of a Tapir checkpoint: "model", "adapter", "optimizer/state", ...; "" elsewhere */
    const char *dtype;   /* as stored: "F32", "BF16", "Q4_1", ... */
    int         ndim;
    int64_t     dim[TP_MAX_DIM]; /* outermost first */
    int64_t     bytes;           /* in the file */
} tp_file_entry;

/* How many tensors the file has, 0 for NULL. */
TP_API int64_t tp_file_count(const tp_file *f);
/* Tensor i in the order of the file, NULL beyond the last one. */
TP_API const tp_file_entry *tp_file_at(const tp_file *f, int64_t i);
/* The tensor of that key, NULL if there is none. */
TP_API const tp_file_entry *tp_file_find(const tp_file *f, const char *key);

/*
 * tp_file_read: a new tensor with the values of the file's tensor `key` (its name, see tp_file_entry), converted to
 * dtype `want`,
 *
 *   want    a dtype, or TP_DTYPES: as stored, quantised values as f32
 *   returns the tensor, contiguous; conversions round to nearest even
 *
 *   fails   TP_EARG    no such name
 *           TP_EDTYPE  a stored type that no dtype holds (F8_E4M3, I16, ...)
 *           TP_EFORMAT the bytes are not those that the checkpoint was closed with (XXH3-64, HDF5 only)
 *           TP_EIO     the file cannot be read, or has changed since it was opened
 */
TP_API tp_tensor *tp_file_read(tp_ctx *ctx, tp_file *f, const char *key, tp_dtype want);
/* Reads every byte of every tensor and text, and compares with the hashes in the file where there are any. */
TP_API bool       tp_file_verify(tp_ctx *ctx, tp_file *f);

/*
 * tp_file_text: a text that belongs to the tensors: "config.json", "generation_config.json", "tokenizer.json",
 * "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "adapter_config.json", "chat_template" (the
 * default one, wherever it stands), and of a Tapir checkpoint every text by its path ("config/adapter.json").
 *
 *   size    set to its bytes without the NUL that follows; may be NULL
 *   returns the text, valid until the file is closed; NULL when there is none, or after a failure on the file's context
 */
TP_API const char *tp_file_text(tp_file *f, const char *name, size_t *size);

/* Key/values: of GGUF, of safetensors' __metadata__, attributes of a Tapir checkpoint ("tapir_kind", "optimizer@type").
 * Values are shown as text, long arrays as a summary. */
TP_API int64_t     tp_file_meta_count(const tp_file *f);
TP_API bool        tp_file_meta_at(const tp_file *f, int64_t i, const char **key, const char **value);
TP_API const char *tp_file_meta(const tp_file *f, const char *key);

/*
 * tp_file_identity: what the tensors are, in 32 hexadecimal digits: XXH3-128 over the lines "name TAB dtype TAB [dims]
 * TAB XXH3-64 of the stored bytes NEWLINE", sorted by name (byte order).  Reads what has not been read yet.  A file
 * converted by Tapir answers with the identity of what it was made from.  NULL after a failure.
 */
TP_API const char *tp_file_identity(tp_ctx *ctx, tp_file *f);

/* ---- writing --------------------------------------------------------------------------------------------------------- */

/*
 * tp_writer_open: begins a file of named tensors that appears at `path` only when tp_writer_close has succeeded: it is
 * written beside it under another name, flushed to the disk and renamed, so that a good file there is never lost.
 *
 *   kind    "model", "adapter", "training", "tokens", "tensors" (of one's own): a Tapir checkpoint in HDF5;
 *           "safetensors": tensors are kept until the close, texts are refused, attributes become __metadata__
 *   fails   TP_EIO when nothing can be written there
 *
 * On a failed context, or after a failure, the other functions do nothing; tp_writer_close and tp_writer_abort still
 * clean up.
 */
TP_API tp_writer *tp_writer_open(tp_ctx *ctx, const char *path, const char *kind);
/*
 * Writes x under section and name ("" for safetensors).  In HDF5 it becomes the data set /section/name with '.' for
 * '/', so names with '/', control characters, "." or ".." parts, and two names of which one is a group of the other,
 * are TP_EARG.
 */
TP_API bool tp_writer_tensor(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, tp_tensor *x);
/* A second name for a tensor that has been written: tied weights are stored once. */
TP_API bool tp_writer_tie(tp_ctx *ctx, tp_writer *w, const char *section, const char *name, const char *written);
/* n bytes under a path such as "config/model.json", "tokenizer/tokenizer.json". */
TP_API bool tp_writer_text(tp_ctx *ctx, tp_writer *w, const char *path, const char *text, size_t n);
/* Attributes of `where`: NULL for the whole file, a section ("optimizer"), or "section/name" of a tensor written
 * before. */
TP_API bool tp_writer_attr_text(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, const char *text);
TP_API bool tp_writer_attr_int(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, uint64_t value);
TP_API bool tp_writer_attr_real(tp_ctx *ctx, tp_writer *w, const char *where, const char *key, double value);
/* Completes the file, makes it durable and puts it in place.  False after a failure: then `path` is as it was. */
TP_API bool tp_writer_close(tp_ctx *ctx, tp_writer *w);
/* Drops everything that was written. */
TP_API void tp_writer_abort(tp_writer *w);

#ifdef __cplusplus
}
#endif
#endif
