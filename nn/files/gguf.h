/*
 * gguf.h - what a GGUF file says besides its tensors.  Internal.  The reader is gguf.c, names and config.json
 * gguf_hf.c, the vocabulary gguf_vocab.c.
 */
#ifndef TPI_GGUF_H
#define TPI_GGUF_H

#include "nn/files/files.h"

/* Bytes that no NUL ends. */
typedef struct tpi_gguf_string {
    const char *p;
    size_t      n;
} tpi_gguf_string;

/* The tokenizer as plain arrays.  Everything lives as long as the file; texts end in a NUL. */
typedef struct tpi_gguf_vocab {
    const char            *model;         /* "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), ... */
    const char            *pre;           /* the pre-tokenizer ("smollm", "llama-bpe", "qwen2"); "" if there is none */
    const char            *chat_template; /* NULL if there is none */
    const tpi_gguf_string *tokens;
    size_t                 n;
    const int32_t         *token_type; /* n, or NULL: 1 normal, 2 unknown, 3 control, 4 user's, 5 unused, 6 byte */
    const float           *scores;     /* n, or NULL */
    const tpi_gguf_string *merges;     /* "a b" */
    size_t                 n_merges;
    int64_t                bos, eos, pad, unk;                 /* below n; -1: the file has none */
    int                    add_bos, add_eos, add_space_prefix; /* 0, 1; -1: the file does not say */
} tpi_gguf_vocab;

/* The vocabulary of a GGUF file: NULL for another format, or with a failure for one without tokens or with wrong ones.
 */
const tpi_gguf_vocab *tpi_gguf_vocab_of(tp_ctx *ctx, tp_file *f);

/* ---- between the files of the reader ----------------------------------------------------------------------------------- */

/* The key of the identity of what a file was converted from. */
#define TPI_GGUF_IDENTITY "tapir.source_identity"

enum {
    TPI_GGUF_U8, TPI_GGUF_I8, TPI_GGUF_U16, TPI_GGUF_I16, TPI_GGUF_U32, TPI_GGUF_I32, TPI_GGUF_F32, TPI_GGUF_BOOL,
    TPI_GGUF_STRING, TPI_GGUF_ARRAY, TPI_GGUF_U64, TPI_GGUF_I64, TPI_GGUF_F64, TPI_GGUF_TYPES
};

typedef struct tpi_gguf_pair {
    const char *key;
    uint32_t    type; /* of the value, or of the elements */
    bool        array;
    uint64_t    count; /* 1 for a scalar */
    size_t      at;    /* of the first value in the blob */
} tpi_gguf_pair;

typedef struct tpi_gguf {
    char           *blob; /* the file's head, as far as it has been looked at */
    size_t          loaded, cap;
    tpi_gguf_pair  *pair;
    size_t          pairs, pair_cap;
    const char     *arch;
    int64_t         heads, kv_heads; /* of architecture llama, else 0 */
    tpi_gguf_vocab *vocab;
} tpi_gguf;

const tpi_gguf_pair *tpi_gguf_find(const tpi_gguf *g, const char *key);
/* The string of a scalar string, or of element i when a walk has come to `at`, which moves behind it. */
tpi_gguf_string      tpi_gguf_next(const tpi_gguf *g, size_t *at);
/* Scalar values, or arrays of equal ones (per-layer settings); false when there is no such key or it has another type.
 */
bool                 tpi_gguf_int(const tpi_gguf *g, const char *key, int64_t *v);
bool                 tpi_gguf_real(const tpi_gguf *g, const char *key, double *v);
/* A copy with a NUL that lives as long as f; NULL if there is none. */
const char          *tpi_gguf_text(tp_file *f, const char *key);

/* The Hugging Face name (kept in f) of a tensor, and the heads whose rows are interleaved. */
const char *tpi_gguf_hf_name(tp_file *f, const char *name, int64_t *heads);
/* The reverse for architecture llama or qwen2; permuted is 1 for q, 2 for k.  False for a name that GGUF has not. */
bool        tpi_gguf_name_of(const char *hf, char name[64], int *permuted);
/* Adds the texts "config.json" and "chat_template". */
bool        tpi_gguf_add_texts(tp_file *f);
/* Rows of q or k from GGUF's order (pairs of a rotation side by side) to Hugging Face's (in the two halves of a head),
 * in place. */
bool        tpi_gguf_unpermute(tp_ctx *ctx, void *rows, int64_t n, size_t row_bytes, int64_t heads);
/* v with as few digits as read back to the same float. */
double      tpi_gguf_short(float v);

#endif
