/* unicode.c - UTF-8, classes of characters and normal forms, over utf8proc. */
#include "models/text/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

static bool follows(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

size_t tpi_utf8_len(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    if (p[0] < 0xe0)
        return n >= 2 && follows(p + 1, 1) ? 2 : 0;
    if (p[0] < 0xf0) { /* no overlong forms, no surrogates */
        if (n < 3 || !follows(p + 1, 2) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (n < 4 || !follows(p + 1, 3) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return 4;
}

bool tpi_utf8_open(const char *s, size_t n)
{
    char buf[4];

    if (n < 1 || n > 3)
        return false;
    for (unsigned second = 0x80; second < 0xc0; second += 0x10) { /* its range is what the first byte narrows */
        memset(buf, 0x80, sizeof buf);
        memcpy(buf, s, n);
        if (n == 1)
            buf[1] = (char)second;
        if (tpi_utf8_len(buf, sizeof buf) > n)
            return true;
    }
    return false;
}

bool tpi_utf8_valid(const char *s, size_t n, size_t *bad)
{
    size_t i = 0;

    while (i < n) {
        uint64_t word;
        size_t   len;

        if (n - i >= 8) { /* eight ASCII characters at once */
            memcpy(&word, s + i, 8);
            if ((word & 0x8080808080808080u) == 0) {
                i += 8;
                continue;
            }
        }
        len = tpi_utf8_len(s + i, n - i);
        if (len == 0) {
            if (bad != NULL)
                *bad = i;
            return false;
        }
        i += len;
    }
    return true;
}

uint32_t tpi_utf8_next(const char *s, size_t *i)
{
    const unsigned char *p = (const unsigned char *)s + *i;

    if (p[0] < 0x80) {
        *i += 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *i += 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] < 0xf0) {
        *i += 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    *i += 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

size_t tpi_utf8_before(const char *s, size_t at)
{
    do
        at--;
    while (at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80);
    return at;
}

size_t tpi_utf8_put(char *dst, uint32_t c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        dst[0] = (char)(0xc0 | c >> 6);
        dst[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        dst[0] = (char)(0xe0 | c >> 12);
        dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
        dst[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    dst[0] = (char)(0xf0 | c >> 18);
    dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
    dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
    dst[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* ---- growing arrays ---------------------------------------------------------------------------------------------- */

tp_code tpi_text_room(tp_text *t, size_t more)
{
    return tpi_grow(NULL, &t->p, &t->cap, t->n + more + 1, 1) ? TP_OK : TP_ENOMEM;
}

tp_code tpi_text_add(tp_text *t, const char *s, size_t n)
{
    if (tpi_text_room(t, n) != TP_OK)
        return TP_ENOMEM;
    if (n > 0)
        memcpy(t->p + t->n, s, n);
    t->n += n;
    t->p[t->n] = '\0';
    return TP_OK;
}

tp_code tpi_ids_room(tp_ids *ids, size_t more)
{
    size_t cap = (size_t)ids->cap;

    if (!tpi_grow(NULL, &ids->id, &cap, (size_t)ids->n + more, sizeof *ids->id))
        return TP_ENOMEM;
    ids->cap = (int64_t)cap;
    return TP_OK;
}

tp_code tpi_ids_add(tp_ids *ids, int32_t id)
{
    if (ids->n == ids->cap && tpi_ids_room(ids, 1) != TP_OK)
        return TP_ENOMEM;
    ids->id[ids->n++] = id;
    return TP_OK;
}

void tp_ids_free(tp_ids *ids)
{
    if (ids == NULL)
        return;
    tpi_free(ids->id);
    *ids = (tp_ids){ 0 };
}

void tp_text_free(tp_text *text)
{
    if (text == NULL)
        return;
    tpi_free(text->p);
    *text = (tp_text){ 0 };
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

bool tpi_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool tpi_is_digit(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80)
        return c >= '0' && c <= '9';
    k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool tpi_is_punct(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool tpi_is_mark(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x300)
        return false;
    k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool tpi_is_word(uint32_t c)
{
    utf8proc_category_t k = category(c);

    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) /* L*, M*, Nd, Nl in utf8proc's order */
        return true;
    if (k == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d)
        return true;
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189); /* alphabetic symbols */
}

int tpi_lower(uint32_t c, uint32_t out[2])
{
    if (c == 0x130) { /* the one character with two in lower case: i and a dot */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

/* ---- normal forms ------------------------------------------------------------------------------------------------ */

typedef struct points {
    utf8proc_int32_t *p;
    size_t            n, cap;
} points;

enum { LONGEST = 32, SHORT_RUN = 24 }; /* no character decomposes into more than 18 */

static tp_code decompose(points *q, tpi_form form, const char *s, size_t n)
{
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    size_t            i = 0;
    int               last = 0;

    if (form == TPI_NFKC || form == TPI_NFKD)
        options |= UTF8PROC_COMPAT;
    q->n = 0;
    while (i < n) {
        utf8proc_ssize_t got;

        if (!tpi_grow(NULL, &q->p, &q->cap, q->n + LONGEST, sizeof *q->p))
            return TP_ENOMEM;
        got = utf8proc_decompose_char((utf8proc_int32_t)tpi_utf8_next(s, &i), q->p + q->n, LONGEST, options, &last);
        if (got < 0 || got > LONGEST)
            return TP_EARG;
        q->n += (size_t)got;
    }
    return TP_OK;
}

static unsigned combining(utf8proc_int32_t c)
{
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property(c)->combining_class & 0xff;
}

static void insertion(utf8proc_int32_t *p, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        utf8proc_int32_t c = p[i];
        unsigned         k = combining(c);
        size_t           j = i;

        for (; j > 0 && combining(p[j - 1]) > k; j--)
            p[j] = p[j - 1];
        p[j] = c;
    }
}

/* By counting: hostile text has runs of a million marks, on which anything quadratic would hang. */
static tp_code counting(utf8proc_int32_t *p, size_t n)
{
    size_t            start[257] = { 0 };
    utf8proc_int32_t *old = tpi_alloc(NULL, n, sizeof *old);

    if (old == NULL)
        return TP_ENOMEM;
    memcpy(old, p, n * sizeof *old);
    for (size_t i = 0; i < n; i++)
        start[combining(old[i]) + 1]++;
    for (int k = 0; k < 256; k++)
        start[k + 1] += start[k];
    for (size_t i = 0; i < n; i++)
        p[start[combining(old[i])]++] = old[i];
    tpi_free(old);
    return TP_OK;
}

/* Canonical order: each run of marks is sorted by class, equal ones staying as they are. */
static tp_code reorder(points *q)
{
    size_t i = 0;

    while (i < q->n) {
        size_t end = i;

        while (end < q->n && combining(q->p[end]) != 0)
            end++;
        if (end - i > SHORT_RUN) {
            if (counting(q->p + i, end - i) != TP_OK)
                return TP_ENOMEM;
        } else {
            insertion(q->p + i, end - i);
        }
        i = end + 1;
    }
    return TP_OK;
}

static tp_code normalize_run(points *q, tpi_form form, const char *s, size_t n, tp_text *out)
{
    tp_code rc = decompose(q, form, s, n);

    if (rc == TP_OK)
        rc = reorder(q);
    if (rc == TP_OK && (form == TPI_NFC || form == TPI_NFKC)) {
        utf8proc_ssize_t m = utf8proc_normalize_utf32(q->p, (utf8proc_ssize_t)q->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);

        if (m < 0)
            return TP_EARG;
        q->n = (size_t)m;
    }
    if (rc == TP_OK)
        rc = tpi_text_room(out, 4 * q->n);
    for (size_t i = 0; rc == TP_OK && i < q->n; i++)
        out->n += tpi_utf8_put(out->p + out->n, (uint32_t)q->p[i]);
    return rc;
}

/* ASCII is its own normal form, but its last character may combine with what follows: so a run to normalise is one
 * ASCII character and all others up to the next ASCII one, which never combines with what stands before it. */
tp_code tpi_normal_form(tpi_form form, const char *s, size_t n, tp_text *out)
{
    points  q = { 0 };
    tp_code rc = TP_OK;
    size_t  i = 0;

    while (i < n && rc == TP_OK) {
        size_t ascii = i, end;

        while (ascii < n && (unsigned char)s[ascii] < 0x80)
            ascii++;
        end = ascii;
        while (end < n && (unsigned char)s[end] >= 0x80)
            end++;
        if (ascii > i && end > ascii)
            ascii--;
        rc = tpi_text_add(out, s + i, ascii - i);
        if (rc == TP_OK && end > ascii)
            rc = normalize_run(&q, form, s + ascii, end - ascii, out);
        i = end;
    }
    tpi_free(q.p);
    return rc == TP_OK ? tpi_text_add(out, "", 0) : rc;
}
