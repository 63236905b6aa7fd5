/* numbers.c - numbers of files into arrays: what does not fit is an error, never cut. */
#include "optim/numbers.h"
#include "core/number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

enum { LONGEST = 400 }; /* a double written out in full may have that many digits before the point */

static const char *does_not_fit(tp_dtype t)
{
    switch (t) {
    case TP_F32: return "does not fit f32";
    case TP_F64: return "does not fit f64";
    case TP_BF16: return "does not fit bf16";
    case TP_F16: return "does not fit f16";
    case TP_I64: return "does not fit i64";
    case TP_I32: return "does not fit i32";
    case TP_U8: return "does not fit u8";
    case TP_BOOL: return "does not fit bool";
    case TP_DTYPES: break;
    }
    return "has no dtype to go to";
}

const char *tpi_put_int(tp_dtype t, void *dst, int64_t i, int64_t v)
{
    if (tp_dtype_is_float(t))
        return tpi_put_real(t, dst, i, (double)v);
    if ((t == TP_I32 && (v < INT32_MIN || v > INT32_MAX)) || (t == TP_U8 && (v < 0 || v > 255)) ||
        (t == TP_BOOL && (v < 0 || v > 1)) || t >= TP_DTYPES)
        return does_not_fit(t);
    tpi_store_int(t, dst, i, v);
    return NULL;
}

const char *tpi_put_real(tp_dtype t, void *dst, int64_t i, double v)
{
    if (!tp_dtype_is_float(t)) {
        if (!(fabs(v) <= 0x1p53) || v != floor(v))
            return does_not_fit(t);
        return tpi_put_int(t, dst, i, (int64_t)v);
    }
    tpi_store(t, dst, i, v);
    return isfinite(v) && !isfinite(tpi_load(t, dst, i)) ? does_not_fit(t) : NULL;
}

/* "nan", "inf", "infinity" in any case, with a sign. */
static bool is_word(const char *s)
{
    char low[12];
    int  n = 0;

    s += *s == '+' || *s == '-';
    for (; s[n] != '\0' && n < 11; n++)
        low[n] = (char)(s[n] | 0x20);
    low[n] = '\0';
    return strcmp(low, "nan") == 0 || strcmp(low, "inf") == 0 || strcmp(low, "infinity") == 0;
}

/* strtod follows the program's locale, a file does not: the point is replaced by what strtod expects. */
static const char *real_text(tp_dtype t, void *dst, int64_t i, char *s, size_t n)
{
    char  *end, *point = memchr(s, '.', n);
    double v;

    if (s[strspn(s, "+-0123456789.eE")] != '\0' && !is_word(s))
        return "is no number";
    if (point != NULL)
        *point = localeconv()->decimal_point[0];
    errno = 0;
    v = strtod(s, &end);
    if (end != s + n)
        return "is no number";
    if (errno == ERANGE && isinf(v))
        return does_not_fit(t);
    return tpi_put_real(t, dst, i, v);
}

const char *tpi_put_text(tp_dtype t, void *dst, int64_t i, const char *s, size_t n)
{
    char      copy[LONGEST + 1], *end;
    long long v;

    if (n == 0 || n > LONGEST || memchr(s, '\0', n) != NULL)
        return "is no number";
    memcpy(copy, s, n);
    copy[n] = '\0';
    if (tp_dtype_is_float(t) || copy[strspn(copy, "+-0123456789")] != '\0')
        return real_text(t, dst, i, copy, n);
    errno = 0;
    v = strtoll(copy, &end, 10);
    if (end != copy + n)
        return "is no number";
    return errno == ERANGE ? does_not_fit(t) : tpi_put_int(t, dst, i, v);
}
