/* dtype.c - sizes and names of element types, and the version. */
#include "core/internal.h"

static const struct {
    const char *name;
    size_t      size;
    bool        real;
} types[TP_DTYPES] = {
    [TP_F32] = { "f32", 4, true }, [TP_F64] = { "f64", 8, true },    [TP_BF16] = { "bf16", 2, true },
    [TP_F16] = { "f16", 2, true }, [TP_I64] = { "i64", 8, false },   [TP_I32] = { "i32", 4, false },
    [TP_U8] = { "u8", 1, false },  [TP_BOOL] = { "bool", 1, false },
};

static bool known(tp_dtype t)
{
    return (int)t >= 0 && t < TP_DTYPES;
}

size_t tp_dtype_size(tp_dtype t)
{
    return known(t) ? types[t].size : 0;
}

const char *tp_dtype_name(tp_dtype t)
{
    return known(t) ? types[t].name : "unknown";
}

bool tp_dtype_is_float(tp_dtype t)
{
    return known(t) && types[t].real;
}

const char *tp_version(void)
{
    return TP_VERSION;
}
