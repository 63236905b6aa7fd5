/*
 * filetable.h - what an open file is: parts on the disk, and tables of tensors, texts and key/values that a format's
 * reader fills.  Internal.
 */
#ifndef TPI_FILETABLE_H
#define TPI_FILETABLE_H

#include "core/hash.h"
#include "nn/files/disk.h"
#include "nn/files/files.h"
#include "nn/files/stored.h"

/* Limits of what is read, whatever the file says.  A table of tensors may be long where the file is large: beyond the
 * first hundred thousand, each must be worth 256 bytes of it, so that memory stays within twice the file and 64 MiB. */
enum {
    TPI_MAX_TENSORS = 1000000,
    TPI_FREE_TENSORS = 100000,
    TPI_BYTES_A_TENSOR = 256,
    TPI_MAX_NAME = 512,
    TPI_MAX_SHARDS = 4096,
    TPI_MAX_HEADER = 100000000, /* safetensors */
    TPI_MAX_TEXT = 1 << 28      /* tokenizer.json and the like */
};

/* Bytes in a part, with the hash that the file promises for them (promised), or that was taken while reading (hashed).
 */
typedef struct tpi_bytes {
    int         part;
    int64_t     offset, size;
    const void *value; /* in memory already: small data sets, generated texts */
    uint64_t    hash;
    bool        promised, hashed;
} tpi_bytes;

typedef struct tpi_entry {
    tp_file_entry     seen; /* by the user */
    const tpi_stored *type;
    int64_t           numel;
    int64_t           heads; /* of GGUF's q and k, whose rows are interleaved; else 0 */
    tpi_bytes         bytes;
} tpi_entry;

typedef struct tpi_text {
    const char *name;
    tpi_bytes   bytes;
    const char *loaded; /* with a NUL; NULL until asked for */
} tpi_text;

typedef struct tpi_pair {
    const char *key, *value;
} tpi_pair;

typedef struct tpi_sorted {
    const char *key;
    size_t      i;
} tpi_sorted;

struct tpi_gguf;
struct tpi_trusted;

struct tp_file {
    tp_ctx         *ctx;
    char           *path;
    tp_file_format  format;
    const char     *kind;
    tpi_disk       *part;
    tpi_entry      *entry;
    tpi_sorted     *by_key; /* entries */
    tpi_text       *text;
    tpi_pair       *meta;
    void          **own; /* memory that lives as long as the file */
    int64_t         size; /* of all parts */
    size_t          parts, entries, texts, metas, owned;
    size_t          part_cap, entry_cap, text_cap, meta_cap, own_cap;
    struct tpi_gguf *gguf;
    struct tpi_trusted *trusted; /* read by libhdf5 (h5_trusted.c) */
    char            identity[33];
};

/* "PATH: ..." with TP_EFORMAT; false, so that checks can return it. */
bool  tpi_file_bad(tp_file *f, const char *fmt, ...) TP_PRINTF(2, 3);
/* Takes p over; NULL when p is, or when memory is out (p is freed then). */
void *tpi_file_own(tp_file *f, void *p) TPI_MUST_USE;
/* A copy of n bytes and a NUL that lives as long as f. */
char *tpi_file_keep(tp_file *f, const char *s, size_t n) TPI_MUST_USE;

/* Opens path as one more part; its index or -1. */
int   tpi_file_part(tp_file *f, const char *path) TPI_MUST_USE;
/* Adds a tensor and checks it: rank, dims, sizes, that its bytes lie in the part.  name and section must outlive f;
 * bytes.size < 0 stands for what the shape needs. */
bool  tpi_file_add(tp_file *f, const tpi_entry *e) TPI_MUST_USE;
bool  tpi_file_add_text(tp_file *f, const char *name, const tpi_bytes *b) TPI_MUST_USE;
/* A text in memory that outlives f. */
bool  tpi_file_add_value(tp_file *f, const char *name, const char *text, size_t n) TPI_MUST_USE;
bool  tpi_file_add_meta(tp_file *f, const char *key, const char *value) TPI_MUST_USE;
/* Replaces a text by one in memory, or adds it. */
bool  tpi_file_set_text(tp_file *f, const char *name, const char *text, size_t n) TPI_MUST_USE;
/* The identity that the file says it was converted from: 32 hexadecimal digits, or it is passed over. */
void  tpi_file_take_identity(tp_file *f, const char *text);
/* When all tensors are there: sorts, refuses names that occur twice. */
bool  tpi_file_index(tp_file *f) TPI_MUST_USE;
tpi_entry *tpi_file_entry(const tp_file *f, const char *key);
/* Sorts by key and gives the first key that occurs twice, NULL if none does. */
const char *tpi_sort_keys(tpi_sorted *s, size_t n);

/* Names: 1 to 512 bytes of UTF-8 without control characters. */
bool  tpi_name_ok(const char *s, size_t n);
bool  tpi_utf8_ok(const char *s, size_t n);

/* Bytes of b from `at` on. */
bool  tpi_bytes_read(tp_file *f, const tpi_bytes *b, int64_t at, void *p, size_t n) TPI_MUST_USE;
/* Reads all of b, unless its hash is known. */
bool  tpi_bytes_hash(tp_file *f, tpi_bytes *b, const char *name) TPI_MUST_USE;
/* Keeps h as the hash of b, or fails when another one was promised. */
bool  tpi_bytes_hashed(tp_file *f, tpi_bytes *b, const char *name, uint64_t h) TPI_MUST_USE;

/* All bytes of e as they are stored to dst, which is as large. */
bool  tpi_entry_read(tp_file *f, tpi_entry *e, char *dst) TPI_MUST_USE;

/* ---- readers: fill f from its part, or directory ----------------------------------------------------------------------- */
bool tpi_safetensors_list(tp_file *f, int part) TPI_MUST_USE;
bool tpi_folder_list(tp_file *f) TPI_MUST_USE;
bool tpi_gguf_list(tp_file *f) TPI_MUST_USE;
void tpi_gguf_drop(tp_file *f);
bool tpi_ckpt_list(tp_file *f) TPI_MUST_USE;

/* ---- identities ---------------------------------------------------------------------------------------------------------- */

typedef struct tpi_identity_item {
    const char    *name, *dtype;
    int            ndim;
    const int64_t *dim;
    uint64_t       hash; /* XXH3-64 of the bytes */
} tpi_identity_item;

/* Adds the line of one item; items must come in byte order of their names. */
void tpi_identity_add(tpi_hasher *h, const tpi_identity_item *item);
/* 32 digits and a NUL. */
void tpi_identity_text(tpi_id128 id, char text[33]);

#endif
