/*
 * gguf_write.c - a conversion's tensors into a GGUF file: magic, counts, key/values, infos, values at multiples of 32.
 */
#include "nn/files/file_convert.h"
#include "nn/files/gguf_keys.h"

#include <string.h>

enum { ALIGNMENT = 32, QUANTIZATION_VERSION = 2 };

static uint64_t aligned(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- the plan in GGUF's terms ------------------------------------------------------------------------------------------ */

static bool is_extra(const tpi_item *it, bool tied)
{
    const char *tail = strrchr(it->name, '.');

    return it->tie || (tied && strcmp(it->name, "lm_head.weight") == 0) || (tail && strcmp(tail, ".inv_freq") == 0);
}

/* One-dimensional tensors are f32, as ggml's operations demand: of f16 and bf16 that loses nothing. */
static bool fit_item(tpi_conversion *c, const tpi_gguf_config *g, tpi_item *it)
{
    char name[64];
    int  permuted;

    if (!tpi_gguf_name_of(it->name, name, &permuted))
        return tp_fail(c->ctx, TP_EARG, "%.200s: tensor \"%.400s\" has no name in GGUF", c->out, it->name) != NULL;
    if (it->ndim > 4 || it->ndim == 0 || it->numel == 0)
        return tp_fail(c->ctx, TP_ESHAPE, "%.200s: tensor \"%.400s\" has %d dimensions or no values; GGUF has 1 to 4",
                       c->out, it->name, it->ndim) != NULL;
    if (it->ndim == 1 && it->type->dtype != TP_DTYPES && tp_dtype_is_float((tp_dtype)it->type->dtype))
        it->type = tpi_stored_of(TP_F32);
    if (it->type->ggml < 0)
        return tp_fail(c->ctx, TP_EDTYPE, "%.200s: tensor \"%.400s\" is %s; GGUF takes F32, F16, BF16 and Q8_0 (--dtype)",
                       c->out, it->name, it->type->name) != NULL;
    it->heads = permuted == 0 || strcmp(g->arch, "llama") != 0 ? 0 : permuted == 1 ? g->heads : g->kv_heads;
    if (it->heads > 0 && it->dim[0] % (2 * it->heads) != 0)
        return tp_fail(c->ctx, TP_ESHAPE, "%.200s: tensor \"%.400s\" has %lld rows, not a multiple of twice its %lld heads",
                       c->out, it->name, (long long)it->dim[0], (long long)it->heads) != NULL;
    it->name = tpi_file_keep(c->f, name, strlen(name));
    return it->name && tpi_stored_size(it->type, it->ndim, it->dim, &it->numel, &it->bytes);
}

static bool has_item(const tpi_conversion *c, const char *name)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        if (strcmp(c->item[i].name, name) == 0)
            return true;
    return false;
}

/* Llama 3's scaling of the rotary frequencies is a tensor in GGUF. */
static bool add_factors(tpi_conversion *c, const tpi_gguf_config *g)
{
    if (!g->factors || has_item(c, "rope_freqs.weight"))
        return true;
    return tpi_item_add(c, &(tpi_item){ .name = "rope_freqs.weight", .section = "", .type = tpi_stored_of(TP_F32),
                                        .ndim = 1, .dim = { g->n_factors }, .made = g->factors });
}

/* Says once how many matrices were to be made blocks of 32 and cannot. */
static void tell_unfit(const tpi_conversion *c)
{
    const tpi_stored *want = c->opts->type;
    int64_t           unfit = 0;
    size_t            i;

    for (i = 0; want && want->block > 1 && i < c->n; i++)
        unfit += c->item[i].ndim > 1 && c->item[i].type != want;
    if (unfit > 0)
        tp_message(c->ctx, TP_WARNING, "%s: %lld matrices stay as they are: their rows are no multiple of %d", c->out,
                   (long long)unfit, want->block);
}

static bool fit_plan(tpi_conversion *c, const tpi_gguf_config *g)
{
    size_t i, n = 0;

    for (i = 0; i < c->n; i++)
        if (!is_extra(&c->item[i], g->tied))
            c->item[n++] = c->item[i];
    c->n = n;
    if (!add_factors(c, g))
        return false;
    for (i = 0; i < c->n; i++)
        if (!fit_item(c, g, &c->item[i]))
            return false;
    tell_unfit(c);
    return true;
}

/* ---- the head -------------------------------------------------------------------------------------------------------- */

/* general.file_type: what most values are. */
static uint32_t file_type(const tpi_conversion *c, bool *quantised)
{
    static const struct {
        const char *name;
        uint32_t    type;
    } types[] = { { "F32", 0 }, { "F16", 1 }, { "BF16", 32 }, { "Q8_0", 7 } };
    int64_t values[4] = { 0 };
    size_t  i, k, most = 0;

    for (i = 0; i < c->n; i++)
        for (k = 0; k < 4; k++)
            if (strcmp(types[k].name, c->item[i].type->name) == 0)
                values[k] += c->item[i].numel;
    for (k = 1; k < 4; k++)
        most = values[k] > values[most] ? k : most;
    *quantised = values[3] > 0;
    return types[most].type;
}

static bool put_keys(tpi_conversion *c, tpi_gguf_out *o, const tpi_gguf_config *g)
{
    const char *identity = tpi_conversion_identity(c);
    bool        quantised;
    uint32_t    type = file_type(c, &quantised);
    bool        ok;

    if (!tp_ok(c->ctx))
        return false;
    ok = c->f->gguf ? tpi_gguf_put_copied(o, c->f->gguf)
                    : tpi_gguf_put_config(o, g) && (!c->opts->vocab || tpi_gguf_put_vocab(o, c->opts->vocab));
    ok = ok && tpi_gguf_put_u32(o, "general.file_type", type);
    if (quantised)
        ok = ok && tpi_gguf_put_u32(o, "general.quantization_version", QUANTIZATION_VERSION);
    return ok && (!identity || tpi_gguf_put_text(o, TPI_GGUF_IDENTITY, identity));
}

static bool put_infos(tpi_conversion *c, tpi_gguf_out *o)
{
    uint64_t at = 0;
    size_t   i;
    int      d;

    for (i = 0; i < c->n; i++) {
        const tpi_item *it = &c->item[i];
        uint32_t        n = (uint32_t)it->ndim, type = (uint32_t)it->type->ggml;

        if (!tpi_gguf_put_string(o, it->name, strlen(it->name)) || !tpi_gguf_put_bytes(o, &n, 4))
            return false;
        for (d = it->ndim - 1; d >= 0; d--)
            if (!tpi_gguf_put_bytes(o, &it->dim[d], 8))
                return false;
        if (!tpi_gguf_put_bytes(o, &type, 4) || !tpi_gguf_put_bytes(o, &at, 8))
            return false;
        at = aligned(at + (uint64_t)it->bytes);
    }
    return true;
}

static bool put_head(tpi_conversion *c, tpi_save *s, const tpi_gguf_config *g)
{
    static const char zeros[ALIGNMENT] = { 0 };
    tpi_gguf_out      o = { .ctx = c->ctx };
    uint64_t          n = c->n, pairs;
    bool              ok;

    ok = tpi_gguf_put_bytes(&o, "GGUF\3\0\0", 8) && tpi_gguf_put_bytes(&o, &n, 8) && tpi_gguf_put_bytes(&o, &n, 8) &&
         put_keys(c, &o, g) && put_infos(c, &o) &&
         tpi_gguf_put_bytes(&o, zeros, (size_t)(aligned(o.n) - o.n));
    if (ok) {
        pairs = o.pairs;
        memcpy(o.p + 16, &pairs, 8);
        ok = tpi_save_write(c->ctx, s, o.p, o.n);
    }
    tpi_free(o.p);
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------- */

static bool put_values(tpi_conversion *c, tpi_save *s)
{
    static const char zeros[ALIGNMENT] = { 0 };
    size_t            i;
    bool              ok = true;

    for (i = 0; ok && i < c->n; i++) {
        const tpi_item *it = &c->item[i];
        tpi_values      v;

        ok = tpi_item_read(c, it, &v) && tpi_save_write(c->ctx, s, v.p, (size_t)it->bytes) &&
             tpi_save_write(c->ctx, s, zeros, (size_t)(aligned((uint64_t)it->bytes) - (uint64_t)it->bytes));
        tpi_item_done(c, &v);
    }
    return ok;
}

bool tpi_convert_to_gguf(tpi_conversion *c)
{
    tpi_gguf_config g = { 0 };
    tpi_save        s;
    bool            ok;

    if (!tpi_gguf_config_read(c->f, &g) || !fit_plan(c, &g) || !tpi_save_begin(c->ctx, &s, c->out))
        return false;
    ok = put_head(c, &s, &g) && put_values(c, &s);
    if (ok)
        return tpi_save_commit(c->ctx, &s);
    tpi_save_drop(&s);
    return false;
}
