/*
 * fileread.c - the bytes of an open file: tensors, texts, hashes and the identity that they add up to.
 */
#include "nn/files/filetable.h"
#include "nn/files/gguf.h"
#include "nn/files/h5_trusted.h"

#include <string.h>

enum {
    PIECE = 1 << 18,   /* bytes read, then hashed while they are in the cache */
    VALUES = 1 << 16,  /* values converted at a time; a multiple of every block */
    MANY_PARTS = 64    /* beyond so many shards only one stays open */
};

/* ---- bytes ----------------------------------------------------------------------------------------------------------- */

bool tpi_bytes_read(tp_file *f, const tpi_bytes *b, int64_t at, void *p, size_t n)
{
    if (f->trusted && !b->value)
        return tpi_trusted_read(f, b, at, p, n);
    if (b->value) {
        memcpy(p, (const char *)b->value + at, n);
        return true;
    }
    return tpi_disk_read(f->ctx, &f->part[b->part], b->offset + at, p, n);
}

bool tpi_bytes_hashed(tp_file *f, tpi_bytes *b, const char *name, uint64_t h)
{
    if (b->promised && b->hash != h)
        return tpi_file_bad(f, "\"%s\" is damaged: its bytes have the hash %016llx, the file was closed with %016llx",
                            name, (unsigned long long)h, (unsigned long long)b->hash);
    b->hash = h;
    b->hashed = true;
    return true;
}

/* Through piece, which has room for PIECE bytes. */
static bool hash_pieces(tp_file *f, tpi_bytes *b, const char *name, char *piece)
{
    tpi_hasher h;
    int64_t    at;

    tpi_hash_begin(&h);
    for (at = 0; at < b->size; at += PIECE) {
        size_t n = b->size - at < PIECE ? (size_t)(b->size - at) : (size_t)PIECE;

        if (!tpi_bytes_read(f, b, at, piece, n))
            return false;
        tpi_hash_add(&h, piece, n);
    }
    return tpi_bytes_hashed(f, b, name, tpi_hash_end64(&h));
}

bool tpi_bytes_hash(tp_file *f, tpi_bytes *b, const char *name)
{
    char *piece;
    bool  ok;

    if (b->hashed || b->promised)
        return true;
    piece = tpi_alloc(f->ctx, PIECE, 1);
    ok = piece && hash_pieces(f, b, name, piece);
    tpi_free(piece);
    return ok;
}

/* Keeps the number of open files small for models in very many shards. */
static void rest(tp_file *f, int part)
{
    if (f->parts > MANY_PARTS)
        tpi_disk_rest(&f->part[part]);
}

/* ---- tensors --------------------------------------------------------------------------------------------------------- */

bool tpi_entry_read(tp_file *f, tpi_entry *e, char *dst)
{
    const tpi_bytes *b = &e->bytes;
    tpi_hasher       h;

    tpi_hash_begin(&h);
    if (b->value) {
        memcpy(dst, b->value, (size_t)b->size);
        tpi_hash_add(&h, dst, (size_t)b->size);
    } else if (!tpi_disk_read_hashed(f->ctx, &f->part[b->part], b->offset, dst, (size_t)b->size, &h)) {
        return false;
    }
    return tpi_bytes_hashed(f, &e->bytes, e->seen.key, tpi_hash_end64(&h));
}

/* n values at raw to dtype `to` at dst; mid has room for them in f32. */
static void convert(const tpi_stored *t, const char *raw, float *mid, tp_dtype to, char *dst, int64_t n)
{
    if (!t->dequant)
        tpi_convert((tp_dtype)t->dtype, raw, to, dst, n);
    else if (to == TP_F32)
        t->dequant(raw, (float *)(void *)dst, n / t->block);
    else {
        t->dequant(raw, mid, n / t->block);
        tpi_convert(TP_F32, mid, to, dst, n);
    }
}

static bool read_pieces(tp_file *f, tpi_entry *e, tp_dtype to, char *dst, char *raw, float *mid)
{
    tpi_hasher h;
    int64_t    i;

    tpi_hash_begin(&h);
    for (i = 0; i < e->numel; i += VALUES) {
        int64_t n = e->numel - i < VALUES ? e->numel - i : VALUES;
        size_t  bytes = (size_t)(n / e->type->block * e->type->bytes);

        if (!tpi_bytes_read(f, &e->bytes, i / e->type->block * e->type->bytes, raw, bytes))
            return false;
        tpi_hash_add(&h, raw, bytes);
        convert(e->type, raw, mid, to, dst + (size_t)i * tp_dtype_size(to), n);
    }
    return tpi_bytes_hashed(f, &e->bytes, e->seen.key, tpi_hash_end64(&h));
}

static bool read_converted(tp_file *f, tpi_entry *e, tp_dtype to, char *dst)
{
    char  *raw = tpi_alloc(f->ctx, VALUES, 8);
    float *mid = tpi_alloc(f->ctx, VALUES, sizeof *mid);
    bool   ok = raw && mid && read_pieces(f, e, to, dst, raw, mid);

    tpi_free(raw);
    tpi_free(mid);
    return ok;
}

/* A bool is 0 or 1: kernels count on it. */
static bool check_bools(tp_file *f, const tpi_entry *e, const uint8_t *p)
{
    int64_t i;

    for (i = 0; i < e->numel; i++)
        if (p[i] > 1)
            return tpi_file_bad(f, "tensor \"%s\": value %lld of type BOOL is %d, neither 0 nor 1", e->seen.key,
                                (long long)i, p[i]);
    return true;
}

static bool read_values(tp_file *f, tpi_entry *e, tp_dtype to, char *dst)
{
    int64_t rows = e->seen.ndim > 0 ? e->seen.dim[0] : 0;
    bool    ok = e->type->dtype == (int)to ? tpi_entry_read(f, e, dst) : read_converted(f, e, to, dst);

    if (ok && to == TP_BOOL && e->type->dtype == TP_BOOL)
        ok = check_bools(f, e, (const uint8_t *)dst);
    if (ok && e->heads > 0 && rows > 0)
        ok = tpi_gguf_unpermute(f->ctx, dst, rows, (size_t)(e->numel / rows) * tp_dtype_size(to), e->heads);
    rest(f, e->bytes.part);
    return ok;
}

/* The dtype of the result, or TP_DTYPES and an error. */
static tp_dtype result_dtype(tp_ctx *ctx, const tp_file *f, const tpi_entry *e, tp_dtype want)
{
    if (!e->type->dequant && e->type->dtype == TP_DTYPES) {
        tp_fail(ctx, TP_EDTYPE, "%.200s: tensor \"%s\" is stored as %s, which no dtype holds", f->path, e->seen.key,
                e->type->name);
        return TP_DTYPES;
    }
    if (want != TP_DTYPES)
        return want;
    return e->type->dequant ? TP_F32 : (tp_dtype)e->type->dtype;
}

tp_tensor *tp_file_read(tp_ctx *ctx, tp_file *f, const char *name, tp_dtype want)
{
    tpi_entry *e;
    tp_tensor *x;
    tp_scope   s;
    void      *dst;

    if (!tp_ok(ctx))
        return NULL;
    if (!f || !name || f->ctx != ctx || (unsigned)want > TP_DTYPES)
        return tp_fail(ctx, TP_EARG, "tp_file_read: an open file of this context, a name and a dtype are needed");
    e = tpi_file_entry(f, name);
    if (!e)
        return tp_fail(ctx, TP_EARG, "%.200s: there is no tensor \"%.500s\"", f->path, name);
    want = result_dtype(ctx, f, e, want);
    if (want == TP_DTYPES)
        return NULL;
    s = tp_scope_begin(ctx);
    x = tp_empty(ctx, want, e->seen.ndim, e->seen.dim);
    dst = e->numel > 0 ? tp_raw(ctx, x) : NULL;
    if (x && (dst || e->numel == 0) && (!f->trusted || tpi_trusted_hold(f, e)) && read_values(f, e, want, dst))
        return tp_scope_return(ctx, s, x);
    tp_scope_end(ctx, s);
    return NULL;
}

/* Memory for the pieces is touched once, not for each tensor. */
static bool verify(tp_file *f, char *piece)
{
    size_t i;

    for (i = 0; i < f->entries; i++) {
        if (!hash_pieces(f, &f->entry[i].bytes, f->entry[i].seen.key, piece))
            return false;
        rest(f, f->entry[i].bytes.part);
    }
    for (i = 0; i < f->texts; i++)
        if (!hash_pieces(f, &f->text[i].bytes, f->text[i].name, piece))
            return false;
    return true;
}

bool tp_file_verify(tp_ctx *ctx, tp_file *f)
{
    char *piece;
    bool  ok;

    if (!tp_ok(ctx))
        return false;
    if (!f || f->ctx != ctx)
        return tp_fail(ctx, TP_EARG, "tp_file_verify: an open file of this context is needed") != NULL;
    piece = tpi_alloc(ctx, PIECE, 1);
    ok = piece && verify(f, piece);
    tpi_free(piece);
    return ok;
}

/* ---- texts ----------------------------------------------------------------------------------------------------------- */

static const char *load_text(tp_file *f, tpi_text *t)
{
    char *p = tpi_alloc(f->ctx, (size_t)t->bytes.size + 1, 1);

    if (p && tpi_bytes_read(f, &t->bytes, 0, p, (size_t)t->bytes.size) &&
        tpi_bytes_hashed(f, &t->bytes, t->name, tpi_hash64(p, (size_t)t->bytes.size)))
        return tpi_file_own(f, p);
    tpi_free(p);
    return NULL;
}

const char *tp_file_text(tp_file *f, const char *name, size_t *size)
{
    size_t i;

    if (size)
        *size = 0;
    for (i = 0; f && name && tp_ok(f->ctx) && i < f->texts; i++) {
        tpi_text *t = &f->text[i];

        if (strcmp(t->name, name) != 0)
            continue;
        if (!t->loaded)
            t->loaded = load_text(f, t);
        if (t->loaded && size)
            *size = (size_t)t->bytes.size;
        return t->loaded;
    }
    return NULL;
}

/* ---- identity -------------------------------------------------------------------------------------------------------- */

void tpi_identity_add(tpi_hasher *h, const tpi_identity_item *item)
{
    char line[32 * (TP_MAX_DIM + 2)];
    int  n = 0, i;

    tpi_hash_add(h, item->name, strlen(item->name));
    n += snprintf(line + n, sizeof line - (size_t)n, "\t%s\t[", item->dtype);
    for (i = 0; i < item->ndim; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, i ? ", %lld" : "%lld", (long long)item->dim[i]);
    n += snprintf(line + n, sizeof line - (size_t)n, "]\t%016llx\n", (unsigned long long)item->hash);
    tpi_hash_add(h, line, (size_t)n);
}

void tpi_identity_text(tpi_id128 id, char text[33])
{
    snprintf(text, 33, "%016llx%016llx", (unsigned long long)id.high, (unsigned long long)id.low);
}

const char *tp_file_identity(tp_ctx *ctx, tp_file *f)
{
    tpi_hasher h;
    size_t     i;

    if (!tp_ok(ctx))
        return NULL;
    if (!f || f->ctx != ctx)
        return tp_fail(ctx, TP_EARG, "tp_file_identity: an open file of this context is needed");
    if (f->identity[0])
        return f->identity;
    tpi_hash_begin(&h);
    for (i = 0; i < f->entries; i++) {
        tpi_entry *e = &f->entry[f->by_key[i].i];

        if (!tpi_bytes_hash(f, &e->bytes, e->seen.key))
            return NULL;
        rest(f, e->bytes.part);
        tpi_identity_add(&h,
                         &(tpi_identity_item){ e->seen.key, e->type->name, e->seen.ndim, e->seen.dim, e->bytes.hash });
    }
    tpi_identity_text(tpi_hash_end128(&h), f->identity);
    return f->identity;
}
