/*
 * stored.c - one table of all types that values have in files.
 */
#include "nn/files/stored.h"

#include "core/number.h"

static const tpi_stored types[] = {
    { "F32", 1, 4, 0, TP_F32, true, NULL },
    { "F16", 1, 2, 1, TP_F16, true, NULL },
    { "BF16", 1, 2, 30, TP_BF16, true, NULL },
    { "F64", 1, 8, -1, TP_F64, true, NULL },
    { "I64", 1, 8, -1, TP_I64, true, NULL },
    { "I32", 1, 4, -1, TP_I32, true, NULL },
    { "U8", 1, 1, -1, TP_U8, true, NULL },
    { "BOOL", 1, 1, -1, TP_BOOL, true, NULL },
    /* Known, so that the file can be listed; no tensor holds them. */
    { "I8", 1, 1, -1, TP_DTYPES, true, NULL },
    { "I16", 1, 2, -1, TP_DTYPES, true, NULL },
    { "U16", 1, 2, -1, TP_DTYPES, true, NULL },
    { "U32", 1, 4, -1, TP_DTYPES, true, NULL },
    { "U64", 1, 8, -1, TP_DTYPES, true, NULL },
    { "C64", 1, 8, -1, TP_DTYPES, true, NULL },
    { "F8_E5M2", 1, 1, -1, TP_DTYPES, true, NULL },
    { "F8_E4M3", 1, 1, -1, TP_DTYPES, true, NULL },
    { "F8_E8M0", 1, 1, -1, TP_DTYPES, true, NULL },
    { "F8_E4M3FNUZ", 1, 1, -1, TP_DTYPES, true, NULL },
    { "F8_E5M2FNUZ", 1, 1, -1, TP_DTYPES, true, NULL },
    { "F6_E2M3", 4, 3, -1, TP_DTYPES, true, NULL },
    { "F6_E3M2", 4, 3, -1, TP_DTYPES, true, NULL },
    { "F4", 2, 1, -1, TP_DTYPES, true, NULL },
    { "Q4_0", 32, 18, 2, TP_DTYPES, false, tpi_dequant_q4_0 },
    { "Q4_1", 32, 20, 3, TP_DTYPES, false, tpi_dequant_q4_1 },
    { "Q5_0", 32, 22, 6, TP_DTYPES, false, tpi_dequant_q5_0 },
    { "Q5_1", 32, 24, 7, TP_DTYPES, false, tpi_dequant_q5_1 },
    { "Q8_0", 32, 34, 8, TP_DTYPES, false, tpi_dequant_q8_0 },
    { "Q4_K", 256, 144, 12, TP_DTYPES, false, tpi_dequant_q4_k },
    { "Q5_K", 256, 176, 13, TP_DTYPES, false, tpi_dequant_q5_k },
    { "Q6_K", 256, 210, 14, TP_DTYPES, false, tpi_dequant_q6_k },
};

enum { N_TYPES = (int)(sizeof types / sizeof types[0]) };

const tpi_stored *tpi_stored_named(const char *name, size_t n)
{
    int i;

    for (i = 0; i < N_TYPES; i++)
        if (types[i].plain && strlen(types[i].name) == n && memcmp(types[i].name, name, n) == 0)
            return &types[i];
    return NULL;
}

const tpi_stored *tpi_stored_ggml(uint32_t id)
{
    int i;

    for (i = 0; i < N_TYPES; i++)
        if (types[i].ggml >= 0 && (uint32_t)types[i].ggml == id)
            return &types[i];
    return NULL;
}

const tpi_stored *tpi_stored_of(tp_dtype t)
{
    int i;

    for (i = 0; i < N_TYPES; i++)
        if (types[i].dtype == (int)t && t != TP_DTYPES)
            return &types[i];
    return NULL;
}

const char *tpi_ggml_name(uint32_t id)
{
    static const char *const names[] = {
        [9] = "Q8_1",     [10] = "Q2_K",    [11] = "Q3_K",   [15] = "Q8_K",    [16] = "IQ2_XXS", [17] = "IQ2_XS",
        [18] = "IQ3_XXS", [19] = "IQ1_S",   [20] = "IQ4_NL", [21] = "IQ3_S",   [22] = "IQ2_S",   [23] = "IQ4_XS",
        [24] = "I8",      [25] = "I16",     [26] = "I32",    [27] = "I64",     [28] = "F64",     [29] = "IQ1_M",
        [34] = "TQ1_0",   [35] = "TQ2_0",   [39] = "MXFP4",
    };

    if (id < sizeof names / sizeof names[0] && names[id])
        return names[id];
    return "unknown to Tapir";
}

bool tpi_stored_size(const tpi_stored *t, int ndim, const int64_t *dim, int64_t *numel, int64_t *bytes)
{
    int64_t n = 1, last = ndim > 0 ? dim[ndim - 1] : 1;
    bool    empty = false, over = false;
    int     i;

    for (i = 0; i < ndim; i++) {
        empty |= dim[i] == 0;
        over |= dim[i] < 0;
        if (dim[i] > 0 && !over) /* a zero does not hide an overflow of the others */
            over |= __builtin_mul_overflow(n, dim[i], &n);
    }
    over = over || __builtin_mul_overflow(n, (int64_t)t->bytes, bytes);
    *numel = empty ? 0 : n;
    *bytes = over ? 0 : *numel / t->block * t->bytes;
    /* Quantised rows are whole blocks; sub-byte types only need whole bytes in all. */
    return !over && (t->dequant ? last : *numel) % t->block == 0;
}

/* ---- conversion ------------------------------------------------------------------------------------------------------ */

static void widen_bf16(const uint16_t *s, float *d, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++)
        d[i] = tpi_from_bf16(s[i]);
}

static void widen_f16(const uint16_t *s, float *d, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++)
        d[i] = tpi_from_f16(s[i]);
}

static void round_bf16(const float *s, uint16_t *d, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++)
        d[i] = tpi_to_bf16(s[i]);
}

static void round_f16(const float *s, uint16_t *d, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++)
        d[i] = tpi_to_f16(s[i]);
}

/* A double rounded to 16 bits by way of f32 could round twice: the f32 is made odd where it is not exact, which cannot.
 */
static float odd_float(double v)
{
    float    f = (float)v;
    uint32_t u = tpi_bits(f);

    if ((double)f == v || f != f || (u & 0x7fffffffu) >= 0x7f7fffffu)
        return f;
    if (((double)f > v) == (v > 0)) /* rounded away from zero: one step back */
        u--;
    return tpi_float(u | 1u);
}

static void convert_any(tp_dtype from, const void *src, tp_dtype to, void *dst, int64_t n)
{
    bool    ints = !tp_dtype_is_float(from) && !tp_dtype_is_float(to), half = to == TP_BF16 || to == TP_F16;
    int64_t i;

    for (i = 0; i < n; i++) {
        if (to == TP_BOOL)
            ((uint8_t *)dst)[i] = tpi_load(from, src, i) != 0;
        else if (ints)
            tpi_store_int(to, dst, i, tpi_load_int(from, src, i));
        else if (half)
            tpi_store(to, dst, i, (double)odd_float(tpi_load(from, src, i)));
        else
            tpi_store(to, dst, i, tpi_load(from, src, i));
    }
}

void tpi_convert(tp_dtype from, const void *src, tp_dtype to, void *dst, int64_t n)
{
    if (from == to)
        memcpy(dst, src, (size_t)n * tp_dtype_size(from));
    else if (from == TP_BF16 && to == TP_F32)
        widen_bf16(src, dst, n);
    else if (from == TP_F16 && to == TP_F32)
        widen_f16(src, dst, n);
    else if (from == TP_F32 && to == TP_BF16)
        round_bf16(src, dst, n);
    else if (from == TP_F32 && to == TP_F16)
        round_f16(src, dst, n);
    else
        convert_any(from, src, to, dst, n);
}
