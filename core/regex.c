/* regex.c - the house wrapper of PCRE2. */
#include "core/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Steps of a search: a floor, and some for each byte, since long runs of white space legitimately backtrack over their
 * length. */
enum { STEPS = 1000000, STEPS_PER_BYTE = 16, HEAP_KIB = 64 * 1024, STACK_MIN = 32 * 1024, STACK_MAX = 1024 * 1024 };

struct tpi_regex {
    pcre2_code *code;
};

struct tpi_matcher {
    pcre2_match_data    *data;
    pcre2_match_context *context;
    pcre2_jit_stack     *stack;
};

static void *raw_malloc(size_t size, void *user)
{
    (void)user;
    return tpi_raw_malloc(size);
}

static void raw_free(void *p, void *user)
{
    (void)user;
    tpi_raw_free(p);
}

static pcre2_code *compile(tp_ctx *ctx, const char *what, const char *pattern, size_t n)
{
    pcre2_general_context *general = pcre2_general_context_create(raw_malloc, raw_free, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    pcre2_code            *code = NULL;
    int                    err = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE             at = 0;
    PCRE2_UCHAR            why[160];

    if (context != NULL) {
        (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        (void)pcre2_set_parens_nest_limit(context, 100);
        code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP, &err, &at, context);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (code != NULL)
        return code;
    if (context == NULL || err == PCRE2_ERROR_NOMEMORY ||
        err == 121) /* 121: pcre2_compile's "failed to allocate heap memory" */
        return tp_fail(ctx, TP_ENOMEM, "%s: out of memory", what);
    if (pcre2_get_error_message(err, why, sizeof why) < 0)
        why[0] = '\0';
    return tp_fail(ctx, TP_EFORMAT, "%s: is no valid regular expression: %s, at byte %zu", what, (const char *)why,
                   (size_t)at);
}

tpi_regex *tpi_regex_new(tp_ctx *ctx, const char *what, const char *pattern, size_t n)
{
    tpi_regex *re;

    if (!tp_ok(ctx))
        return NULL;
    if (pattern == NULL)
        return tp_fail(ctx, TP_EARG, "%s: the pattern is NULL", what);
    if (n > TPI_REGEX_MAX)
        return tp_fail(ctx, TP_EFORMAT, "%s: the pattern has %zu bytes, at most %d are taken", what, n, TPI_REGEX_MAX);
    re = tpi_alloc(ctx, 1, sizeof *re);
    if (re == NULL)
        return NULL;
    re->code = compile(ctx, what, pattern, n);
    if (re->code == NULL) {
        tpi_free(re);
        return NULL;
    }
    /* Without JIT (a hardened kernel forbids it) the same search is merely slower. */
    (void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE);
    return re;
}

void tpi_regex_free(tpi_regex *re)
{
    if (re == NULL)
        return;
    pcre2_code_free(re->code);
    tpi_free(re);
}

void tpi_matcher_free(tpi_matcher *m)
{
    if (m == NULL)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    tpi_free(m);
}

tpi_matcher *tpi_matcher_new(tp_ctx *ctx)
{
    tpi_matcher           *m = tpi_alloc(ctx, 1, sizeof *m);
    pcre2_general_context *general;

    if (m == NULL)
        return NULL;
    general = pcre2_general_context_create(raw_malloc, raw_free, NULL);
    if (general != NULL) {
        m->data = pcre2_match_data_create(1, general);
        m->context = pcre2_match_context_create(general);
        m->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, general); /* NULL without JIT: then nothing needs it */
    }
    pcre2_general_context_free(general);
    if (m->data == NULL || m->context == NULL) {
        tpi_matcher_free(m);
        return ctx ? tp_fail(ctx, TP_ENOMEM, "regex: out of memory") : NULL;
    }
    if (m->stack != NULL)
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    (void)pcre2_set_heap_limit(m->context, HEAP_KIB);
    return m;
}

static uint32_t step_limit(size_t n)
{
    size_t limit = n > (UINT32_MAX - STEPS) / STEPS_PER_BYTE ? UINT32_MAX : STEPS + n * STEPS_PER_BYTE;

    return (uint32_t)limit;
}

static tp_code search(const tpi_regex *re, tpi_matcher *m, const char *text, size_t n, size_t from, uint32_t options,
                      bool *found)
{
    int rc;

    (void)pcre2_set_match_limit(m->context, step_limit(n));
    rc = pcre2_match(re->code, (PCRE2_SPTR)text, n, from, options, m->data, m->context);
    *found = rc >= 0;
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
        return TP_OK;
    return rc == PCRE2_ERROR_NOMEMORY ? TP_ENOMEM : TP_EARG;
}

tp_code tpi_regex_find(const tpi_regex *re, tpi_matcher *m, const char *text, size_t n, size_t from, bool *found,
                       size_t *begin, size_t *end)
{
    tp_code     rc = search(re, m, text, n, from, PCRE2_NO_UTF_CHECK, found);
    PCRE2_SIZE *at;

    if (rc != TP_OK || !*found)
        return rc;
    at = pcre2_get_ovector_pointer(m->data);
    *begin = at[0] < from ? from : at[0]; /* \K in a look-around can move the ends, and even turn them round */
    *end = at[1] < *begin ? *begin : at[1];
    return TP_OK;
}

bool tpi_regex_whole(tp_ctx *ctx, const char *what, const tpi_regex *re, const char *text, size_t n)
{
    tpi_matcher *m = tp_ok(ctx) && re ? tpi_matcher_new(ctx) : NULL;
    bool         found = false;
    tp_code      rc;

    if (m == NULL)
        return false;
    rc = search(re, m, text, n, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &found);
    if (rc != TP_OK)
        (void)tp_fail(ctx, rc, "%s: %s", what,
                      rc == TP_ENOMEM ? "out of memory" : "the search takes too many steps, or the text is not UTF-8");
    tpi_matcher_free(m);
    return found;
}
