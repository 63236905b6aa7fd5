/*
 * regex.h - regular expressions on UTF-8, with Unicode properties.  Internal; core/regex.c is the only user of PCRE2.
 *
 * A compiled expression may be used by several threads at once; a matcher holds what one search needs, so each thread
 * has its own. Patterns come from files: they hold at most 64 KiB, and a search that takes too long is stopped.
 */
#ifndef TPI_REGEX_H
#define TPI_REGEX_H

#include "core/internal.h"

enum { TPI_REGEX_MAX = 64 * 1024 };

typedef struct tpi_regex   tpi_regex;
typedef struct tpi_matcher tpi_matcher;

/* what names the pattern in errors.  Fails with TP_EFORMAT, the reason and the offset in the pattern. */
tpi_regex *tpi_regex_new(tp_ctx *ctx, const char *what, const char *pattern, size_t n);
void       tpi_regex_free(tpi_regex *re);

/* ctx may be NULL. */
tpi_matcher *tpi_matcher_new(tp_ctx *ctx);
void         tpi_matcher_free(tpi_matcher *m);

/*
 * The first match in text[0..n), which must be valid UTF-8, that begins at `from` or later; what stands before `from`
 * is seen by look-behind.  TP_OK with *found and, if so, its ends in [*begin, *end); TP_ENOMEM; TP_EARG when it took
 * too many steps.
 */
tp_code tpi_regex_find(const tpi_regex *re, tpi_matcher *m, const char *text, size_t n, size_t from, bool *found,
                       size_t *begin, size_t *end) TPI_MUST_USE;

/* Whether the whole of text matches; fails on ctx with `what` when the search is stopped. */
bool tpi_regex_whole(tp_ctx *ctx, const char *what, const tpi_regex *re, const char *text, size_t n);

#endif
