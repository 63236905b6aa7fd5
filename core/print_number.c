/* print_number.c - numbers as numpy writes them. */
#include "core/print_number.h"
#include "core/number.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 8 };

/* A finite value as 0.d0 d1 d2 ... times a power of ten. */
typedef struct {
    char digit[24];
    int  n;     /* at least one, the last not '0' but for zero itself */
    int  point; /* how many digits stand before the point; may be negative, or beyond n */
    bool minus;
} decimal;

/* Rounds to dtype t as the values of a tensor are. */
static double as(tp_dtype t, double v)
{
    return t == TP_F64 ? v : t == TP_F16 ? tpi_from_f16(tpi_to_f16((float)v)) : (double)(float)v;
}

/* v with n digits, of which zeros at the end go.  The point of the locale, whichever it is, is passed over. */
static void with_digits(double v, int n, decimal *d)
{
    char        text[TPI_NUMBER];
    const char *p = text;

    snprintf(text, sizeof text, "%.*e", n - 1, fabs(v));
    for (d->n = 0; *p != 'e'; p++)
        if (isdigit((unsigned char)*p))
            d->digit[d->n++] = *p;
    d->point = (int)strtol(p + 1, NULL, 10) + 1;
    d->minus = signbit(v) != 0;
    while (d->n > 1 && d->digit[d->n - 1] == '0')
        d->n--;
}

/* As few digits as give v again when they are read in its dtype. */
static void shortest(tp_dtype t, double v, decimal *d)
{
    char text[TPI_NUMBER];
    int  n = 1;

    for (; n < 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, v);
        if (as(t, t == TP_F64 ? strtod(text, NULL) : (double)strtof(text, NULL)) == v)
            break;
    }
    with_digits(v, n, d);
}

/* The same with at most PRECISION digits behind the point, which stands where it is or, with an exponent, behind the
 * first digit. */
static void cut(tp_dtype t, double v, bool exponent, decimal *d)
{
    int keep; /* positive: small values have an exponent */

    shortest(t, v, d);
    keep = PRECISION + (exponent ? 1 : d->point);
    if (d->n > keep)
        with_digits(v, keep, d);
}

static char digit_at(const decimal *d, int i)
{
    return i >= 0 && i < d->n ? d->digit[i] : '0';
}

/* Digits before the point, and those behind it that are not padding. */
static int before(const decimal *d)
{
    return d->minus + (d->point > 1 ? d->point : 1);
}

static int behind(const decimal *d)
{
    return d->n == 1 && d->digit[0] == '0' ? 0 : d->n > d->point ? d->n - d->point : 0;
}

/* n digits behind the point. */
static size_t put_plain(const decimal *d, int n, char *out)
{
    size_t at = 0;

    if (d->minus)
        out[at++] = '-';
    for (int i = d->point > 1 ? 0 : d->point - 1; i < d->point; i++)
        out[at++] = digit_at(d, i);
    out[at++] = '.';
    for (int i = 0; i < n; i++)
        out[at++] = digit_at(d, d->point + i);
    out[at] = '\0';
    return at;
}

static int exponent_of(const decimal *d)
{
    return d->n == 1 && d->digit[0] == '0' ? 0 : d->point - 1;
}

static void put_exponent(const decimal *d, int n, int exp_digits, bool point, char *out, size_t size)
{
    decimal one = *d;
    size_t  at;
    int     e = exponent_of(d);

    one.point = 1;
    at = put_plain(&one, n, out) - !point;
    snprintf(out + at, size - at, "e%c%0*d", e < 0 ? '-' : '+', exp_digits, abs(e));
}

/* From here on a value has an exponent. */
static double most_plain(tp_dtype t)
{
    return t == TP_F64 ? 1e8 : t == TP_F16 ? 1e3 : 1e6;
}

static const char *not_finite(double v)
{
    return isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */

void tpi_columns_range(tpi_columns *c, double v)
{
    double a = fabs(v);

    if (!isfinite(v)) {
        c->other = v < 0 && c->other < 4 ? 4 : c->other < 3 ? 3 : c->other;
        return;
    }
    if (a == 0)
        return;
    if (c->high == 0 || a < c->low)
        c->low = a;
    if (a > c->high)
        c->high = a;
}

void tpi_columns_choose(tpi_columns *c)
{
    c->exponent = c->high > 0 && (c->high >= most_plain(c->t) || c->low < as(c->t, 0.0001) || as(c->t, c->high / c->low) > 1000);
}

void tpi_columns_fit(tpi_columns *c, double v)
{
    decimal d;
    int     left, right, e;

    if (!isfinite(v))
        return;
    cut(c->t, v, c->exponent, &d);
    e = abs(exponent_of(&d)) >= 100 ? 3 : 2;
    left = c->exponent ? 1 + d.minus : before(&d);
    right = c->exponent ? d.n - 1 : behind(&d);
    if (left > c->left)
        c->left = left;
    if (right > c->right)
        c->right = right;
    if (e > c->exp_digits)
        c->exp_digits = e;
}

void tpi_columns_fit_int(tpi_columns *c, int64_t v)
{
    char text[TPI_NUMBER];
    int  n = snprintf(text, sizeof text, "%lld", (long long)v);

    if (n > c->left)
        c->left = n;
}

void tpi_columns_finish(tpi_columns *c)
{
    int need;

    c->digits = c->right;
    if (c->exponent)
        c->right += c->exp_digits + 2;
    need = c->other - (c->right + 1);
    if (need > c->left)
        c->left = need;
}

void tpi_number_text(const tpi_columns *c, double v, char out[TPI_NUMBER])
{
    decimal d;
    int     pad;
    size_t  n;

    if (!isfinite(v)) {
        snprintf(out, TPI_NUMBER, "%*s", c->left + c->right + 1, not_finite(v));
        return;
    }
    if (c->exponent)
        with_digits(v, c->digits + 1, &d); /* as many digits for all, those of the value and no zeros instead */
    else
        cut(c->t, v, false, &d);
    pad = c->left - (c->exponent ? 1 + d.minus : before(&d));
    memset(out, ' ', TPI_NUMBER);
    if (c->exponent) {
        put_exponent(&d, c->digits, c->exp_digits, true, out + pad, TPI_NUMBER - (size_t)pad);
        return;
    }
    n = put_plain(&d, behind(&d), out + pad);
    out[(size_t)pad + n] = ' '; /* columns behind the point that others need */
    out[c->left + 1 + c->right] = '\0';
}

void tpi_number_alone(tp_dtype t, double v, char out[TPI_NUMBER])
{
    double  a = fabs(v);
    decimal d;

    if (!isfinite(v)) {
        snprintf(out, TPI_NUMBER, "%s", not_finite(v));
        return;
    }
    shortest(t, v, &d);
    if (a == 0 || (a >= 1e-4 && a < (t == TP_F64 ? 1e16 : most_plain(t))))
        put_plain(&d, behind(&d) > 0 ? behind(&d) : 1, out);
    else
        put_exponent(&d, d.n - 1, abs(exponent_of(&d)) >= 100 ? 3 : 2, d.n > 1, out, TPI_NUMBER);
}
