/* unicode.h - UTF-8, and what the tokenizers ask of Unicode.  Internal; models/text/unicode.c is the only user of
 * utf8proc. */
#ifndef TPI_UNICODE_H
#define TPI_UNICODE_H

#include "core/internal.h"
#include "models/text/tokenizer.h"

/* Whether s[0..n) is UTF-8 (no surrogates, no overlong forms); *bad is the first wrong byte. */
bool tpi_utf8_valid(const char *s, size_t n, size_t *bad);
/* Bytes of the character at s, of which n > 0 bytes are there; 0 when it is none. */
size_t tpi_utf8_len(const char *s, size_t n);
/* Whether s[0..n) is the beginning of a character whose end is missing. */
bool tpi_utf8_open(const char *s, size_t n);
/* The code point at *i of valid UTF-8; moves *i past it. */
uint32_t tpi_utf8_next(const char *s, size_t *i);
/* Where the character before `at` begins, at > 0. */
size_t tpi_utf8_before(const char *s, size_t at);
/* Writes c, 1 to 4 bytes. */
size_t tpi_utf8_put(char *dst, uint32_t c);

typedef bool (*tpi_char_class)(uint32_t c);

bool tpi_is_space(uint32_t c); /* White_Space */
bool tpi_is_digit(uint32_t c); /* Nd, Nl, No */
bool tpi_is_punct(uint32_t c); /* P*, and the ASCII symbols */
bool tpi_is_mark(uint32_t c);  /* Mn, Mc, Me */
bool tpi_is_word(uint32_t c);  /* \w of Rust's regex: Alphabetic, M, Nd, Pc, Join_Control */
/* Up to 2 code points: what c becomes in lower case, by itself. */
int tpi_lower(uint32_t c, uint32_t out[2]);

typedef enum { TPI_NFC, TPI_NFD, TPI_NFKC, TPI_NFKD } tpi_form;

/* Appends the normal form of valid s[0..n) to *out. */
tp_code tpi_normal_form(tpi_form form, const char *s, size_t n, tp_text *out) TPI_MUST_USE;

/* Growing texts and ids without a context: TP_OK or TP_ENOMEM. */
tp_code tpi_text_room(tp_text *t, size_t more) TPI_MUST_USE;
tp_code tpi_text_add(tp_text *t, const char *s, size_t n) TPI_MUST_USE;
tp_code tpi_ids_room(tp_ids *ids, size_t more) TPI_MUST_USE;
tp_code tpi_ids_add(tp_ids *ids, int32_t id) TPI_MUST_USE;

#endif
