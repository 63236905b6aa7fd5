/*
 * file_convert.c - what a converted file will hold, and the values of its tensors one by one.
 */
#include "core/json.h"
#include "nn/files/file_convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 1 << 15 }; /* values whose rounding is measured at a time; a multiple of every block */

/* ---- the plan -------------------------------------------------------------------------------------------------------- */

bool tpi_item_add(tpi_conversion *c, const tpi_item *it)
{
    tpi_item *to;

    if (!tpi_grow(c->ctx, &c->item, &c->cap, c->n + 1, sizeof *c->item))
        return false;
    to = &c->item[c->n];
    *to = *it;
    if (!tpi_stored_size(it->type, it->ndim, it->dim, &to->numel, &to->bytes))
        return tp_fail(c->ctx, TP_ESHAPE, "%.200s: tensor \"%.500s\" cannot be stored as %s", c->out, it->name,
                       it->type->name) != NULL;
    c->n++;
    return true;
}

static bool is_floating(const tpi_stored *t)
{
    return t->dequant || (t->dtype != TP_DTYPES && tp_dtype_is_float((tp_dtype)t->dtype));
}

/* The type of a tensor in the target.  Blocks of 32 are for matrices whose rows they fill. */
static const tpi_stored *target_type(const tpi_conversion *c, const tpi_entry *e)
{
    const tpi_stored *want = c->opts->type, *same = e->type->dequant ? tpi_stored_of(TP_F32) : e->type;

    if (!want || !is_floating(e->type))
        return same;
    if (want->block > 1 && (e->seen.ndim < 2 || e->seen.dim[e->seen.ndim - 1] % want->block != 0))
        return same;
    return want;
}

/* Of several names of one data set the one that stays, the embedding's, comes first. */
static int by_values(const void *a, const void *b)
{
    const tpi_item  *x = *(tpi_item *const *)a, *y = *(tpi_item *const *)b;
    const tpi_bytes *p = &x->entry->bytes, *q = &y->entry->bytes;
    bool             head = strstr(x->name, "lm_head") != NULL, other = strstr(y->name, "lm_head") != NULL;

    if (p->offset != q->offset)
        return p->offset < q->offset ? -1 : 1;
    return head != other ? (head ? 1 : -1) : strcmp(x->name, y->name);
}

/* Several names that HDF5 has for one data set. */
static bool find_ties(tpi_conversion *c)
{
    tpi_item **s = tpi_alloc(c->ctx, c->n, sizeof(tpi_item *));
    size_t     n = 0, i, lead = 0;

    if (!s)
        return false;
    for (i = 0; c->f->format == TP_HDF5 && i < c->n; i++)
        if (!c->item[i].entry->bytes.value && c->item[i].bytes > 0)
            s[n++] = &c->item[i];
    if (n > 1)
        qsort(s, n, sizeof *s, by_values);
    for (i = 1; i < n; i++) {
        if (s[i]->entry->bytes.offset != s[lead]->entry->bytes.offset)
            lead = i;
        else
            s[i]->tie = s[lead]->name;
    }
    tpi_free(s);
    return true;
}

/* In the order of the file. */
static bool make_plan(tpi_conversion *c)
{
    size_t i;

    for (i = 0; i < c->f->entries; i++) {
        tpi_entry *e = &c->f->entry[i];
        tpi_item   it = { .name = e->seen.name, .section = e->seen.section, .entry = e, .ndim = e->seen.ndim };

        if (c->opts->skip && strcmp(c->opts->skip, e->seen.name) == 0)
            continue;
        it.type = target_type(c, e);
        memcpy(it.dim, e->seen.dim, sizeof it.dim);
        if (!tpi_item_add(c, &it))
            return false;
    }
    return find_ties(c);
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

/* n values of dtype `from` at src as type t at dst. */
static void store(const tpi_stored *t, tp_dtype from, const void *src, void *dst, int64_t n, float *mid)
{
    if (t->block == 1) {
        tpi_convert(from, src, (tp_dtype)t->dtype, dst, n);
        return;
    }
    if (from != TP_F32) {
        tpi_convert(from, src, TP_F32, mid, n);
        src = mid;
    }
    tpi_quant_q8_0(src, dst, n / t->block);
}

/* |stored - exact| over n values. */
static void measure(tpi_rounding *r, const tpi_stored *t, const void *stored, const double *exact, int64_t n, float *mid)
{
    int64_t i;

    if (t->dequant)
        t->dequant(stored, mid, n / t->block);
    for (i = 0; i < n; i++) {
        double s = t->dequant ? (double)mid[i] : 0, d, x = exact[i];

        if (!t->dequant)
            tpi_convert((tp_dtype)t->dtype, (const char *)stored + (size_t)i * (size_t)t->bytes, TP_F64, &s, 1);
        d = fabs(s - x);
        r->max = d > r->max ? d : r->max;
        r->largest = fabs(x) > r->largest ? fabs(x) : r->largest;
        r->square += d * d;
        r->whole += x * x;
    }
    r->n += n;
}

/* x as the item's type in new memory; with measuring, x is f64. */
static bool store_all(tpi_conversion *c, const tpi_item *it, tp_tensor *x, tpi_values *v, bool measured)
{
    tp_dtype    t = tp_dtype_of(x);
    const char *src = tp_values(c->ctx, x);
    float      *mid = tpi_alloc(c->ctx, PIECE, sizeof *mid);
    char       *dst = v->own = tpi_alloc(c->ctx, (size_t)it->bytes, 1);
    int64_t     i;

    for (i = 0; src && mid && dst && i < it->numel; i += PIECE) {
        int64_t     n = it->numel - i < PIECE ? it->numel - i : PIECE;
        char       *to = dst + i / it->type->block * it->type->bytes;
        const char *from = src + (size_t)i * tp_dtype_size(t);

        store(it->type, t, from, to, n, mid);
        if (measured)
            measure(&c->opts->rounding, it->type, to, (const double *)(const void *)from, n, mid);
    }
    tpi_free(mid);
    v->p = dst;
    return dst && mid && (src || it->numel == 0);
}

/* Rows of q or k from Hugging Face's order (two halves of a head) to GGUF's (pairs of a rotation side by side). */
static bool permute(tpi_conversion *c, const tpi_item *it, tpi_values *v)
{
    int64_t rows = it->dim[0], d = rows / it->heads, h, b;
    size_t  row = (size_t)(it->bytes / rows), half = (size_t)(d / 2) * row;
    char   *to = tpi_alloc(c->ctx, (size_t)it->bytes, 1), *q = to;

    for (h = 0; to && h < it->heads; h++) {
        const char *from = (const char *)v->p + (size_t)h * (size_t)d * row;

        for (b = 0; b < d / 2; b++, q += 2 * row) {
            memcpy(q, from + (size_t)b * row, row);
            memcpy(q + row, from + half + (size_t)b * row, row);
        }
    }
    tpi_free(v->own);
    v->p = v->own = to;
    return to != NULL;
}

/* A tensor in the type that it has in the target, or that comes nearest. */
static bool read_tensor(tpi_conversion *c, const tpi_item *it, tpi_values *v)
{
    tp_ctx    *ctx = c->ctx;
    tp_tensor *x, *y = NULL;
    bool       may_change = c->opts->change && is_floating(it->entry->type);
    tp_dtype   want = may_change ? TP_DTYPES : it->type->dequant ? TP_F32 : (tp_dtype)it->type->dtype;

    x = tp_file_read(ctx, c->f, it->entry->seen.key, want);
    if (x && may_change)
        y = c->opts->change(ctx, c->opts->user, it->entry->seen.name, x);
    if (!x || !tp_ok(ctx))
        return false;
    if (y && (tp_dtype_of(y) != TP_F64 || !tp_same_shape(x, y)))
        return tp_fail(ctx, TP_EARG, "%.500s: a change gave another shape, or no f64", it->name) != NULL;
    c->opts->rounding.tensors += y != NULL;
    if (y || tpi_stored_of(tp_dtype_of(x)) != it->type)
        return store_all(c, it, y ? y : x, v, y != NULL);
    v->p = it->numel ? tp_values(ctx, x) : "";
    return v->p != NULL;
}

bool tpi_item_read(tpi_conversion *c, const tpi_item *it, tpi_values *v)
{
    bool ok;

    *v = (tpi_values){ tp_scope_begin(c->ctx), NULL, it->made };
    if (it->made)
        return tp_ok(c->ctx);
    if (it->entry->type->dequant || it->entry->type->dtype != TP_DTYPES) {
        ok = read_tensor(c, it, v);
    } else { /* values that no dtype holds go as they are */
        v->p = v->own = tpi_alloc(c->ctx, (size_t)it->bytes, 1);
        ok = v->own && tpi_entry_read(c->f, it->entry, v->own);
    }
    return ok && (it->heads == 0 || it->bytes == 0 || permute(c, it, v));
}

void tpi_item_done(tpi_conversion *c, tpi_values *v)
{
    tpi_free(v->own);
    v->own = NULL;
    tp_scope_end(c->ctx, v->scope);
}

const char *tpi_conversion_identity(tpi_conversion *c)
{
    return c->opts->change ? NULL : tp_file_identity(c->ctx, c->f);
}

bool tpi_conversion_tied(tpi_conversion *c)
{
    size_t      n;
    const char *text = tp_file_text(c->f, "config.json", &n);
    tpi_json   *j = text ? tpi_json_parse(c->ctx, c->f->path, text, n) : NULL;
    bool        tied = tpi_json_true(tpi_json_get(j, "tie_word_embeddings"));

    tpi_json_free(j);
    return tied;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n > m && strcmp(s + n - m, end) == 0;
}

/* Only what is a model or bare tensors has the same meaning in all formats. */
static bool check_source(tpi_conversion *c)
{
    if (strcmp(c->f->kind, "model") != 0 && strcmp(c->f->kind, "tensors") != 0)
        return tp_fail(c->ctx, TP_EARG, "%.200s: it holds %.40s, only models and bare tensors are converted", c->f->path,
                       strcmp(c->f->kind, "adapter") == 0 ? "an adapter" : c->f->kind) != NULL;
    if (c->f->format == TP_GGUF && !tp_file_text(c->f, "config.json", NULL))
        return tp_fail(c->ctx, TP_EFORMAT, "%.200s: general.architecture is %.60s, expected llama or qwen2", c->f->path,
                       c->f->gguf->arch) != NULL;
    return true;
}

/* What is there is replaced only when that was asked for. */
static bool check_target(tpi_conversion *c)
{
    struct stat st;

    return c->opts->overwrite || lstat(c->out, &st) != 0 ||
           tp_fail(c->ctx, TP_EIO, "%.700s: it is there already (--overwrite replaces it)", c->out) != NULL;
}

static bool room_for_target(const tpi_conversion *c)
{
    int64_t bytes = 0;
    size_t  i;

    for (i = 0; i < c->n; i++)
        if (!c->item[i].tie && __builtin_add_overflow(bytes, c->item[i].bytes, &bytes))
            bytes = INT64_MAX;
    return tpi_save_room(c->ctx, c->out, bytes);
}

bool tpi_file_convert(tp_ctx *ctx, tp_file *f, const char *out, tpi_convert_opts *opts)
{
    tpi_conversion c = { .ctx = ctx, .f = f, .out = out, .opts = opts };
    bool           gguf = ends_with(out, ".gguf"), ckpt = ends_with(out, ".h5"), ok = false;

    if (ends_with(out, ".safetensors"))
        return tp_fail(ctx, TP_EARG, "%.500s: expected a name that ends in .h5 or .gguf, or that of a directory", out) !=
               NULL;
    if (!gguf && opts->type && opts->type->block > 1)
        return tp_fail(ctx, TP_EARG, "%.500s: %s is for GGUF files only", out, opts->type->name) != NULL;
    if (check_target(&c) && check_source(&c) && make_plan(&c) && room_for_target(&c))
        ok = gguf ? tpi_convert_to_gguf(&c) : ckpt ? tpi_convert_to_ckpt(&c) : tpi_convert_to_folder(&c);
    tpi_free(c.item);
    return ok && tp_ok(ctx);
}
