/*
 * stored.h - the types that values have in files, and their conversion to those that tensors have.  Internal.
 */
#ifndef TPI_STORED_H
#define TPI_STORED_H

#include "core/internal.h"

/* Values come in blocks: one value, several sub-byte ones, or a quantised group with its scales. */
typedef struct tpi_stored {
    const char *name;         /* "F32", as safetensors and GGUF write it */
    int16_t     block, bytes; /* values and bytes of a block */
    int16_t     ggml;         /* number in GGUF, -1: not there */
    int16_t     dtype;        /* the tp_dtype of the same values; TP_DTYPES: none */
    bool        plain;        /* in safetensors and HDF5 */
    void (*dequant)(const void *src, float *dst, int64_t blocks);
} tpi_stored;

/* NULL: no such type, or one that Tapir does not know. */
const tpi_stored *tpi_stored_named(const char *name, size_t n);
const tpi_stored *tpi_stored_ggml(uint32_t id);
const tpi_stored *tpi_stored_of(tp_dtype t);
/* Name of a ggml type that is not read, for messages. */
const char       *tpi_ggml_name(uint32_t id);

/* Values and bytes of a shape, in checked arithmetic; false when they overflow or do not fill whole blocks (of rows).
 */
bool tpi_stored_size(const tpi_stored *t, int ndim, const int64_t *dim, int64_t *numel, int64_t *bytes);

/* n values of dtype `from` at src as `to` at dst. */
void tpi_convert(tp_dtype from, const void *src, tp_dtype to, void *dst, int64_t n);

/* ---- dequant.c: `blocks` blocks at src (any alignment) to f32 ---------------------------------------------------------- */
void tpi_dequant_q4_0(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q4_1(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q5_0(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q5_1(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q8_0(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q4_k(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q5_k(const void *src, float *dst, int64_t blocks);
void tpi_dequant_q6_k(const void *src, float *dst, int64_t blocks);
/* And back. */
void tpi_quant_q8_0(const float *src, void *dst, int64_t blocks);

#endif
