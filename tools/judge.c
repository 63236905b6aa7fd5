/* judge.c - see judge.h; the rules stand in the manual of eval. */
#include "tools/judge.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

judge_kind judge_of(const char *metric)
{
    return strcmp(metric, "number") == 0   ? JUDGE_NUMBER
           : strcmp(metric, "exact") == 0  ? JUDGE_EXACT
           : strcmp(metric, "choice") == 0 ? JUDGE_CHOICE
                                           : JUDGE_LOSS;
}

/* ---- number ------------------------------------------------------------------------------------------------------ */

/* The number at s, digits with commas among them and perhaps a fraction. */
static bool number_at(const char *s, double *v)
{
    char   digits[64];
    size_t n = 0;
    bool   any = false;

    if (*s == '-')
        digits[n++] = *s++;
    for (; n < sizeof digits - 1 && (isdigit((unsigned char)*s) || (*s == ',' && any && isdigit((unsigned char)s[1])));
         s++)
        if (*s != ',') {
            digits[n++] = *s;
            any = true;
        }
    if (any && *s == '.' && isdigit((unsigned char)s[1]))
        for (digits[n++] = *s++; n < sizeof digits - 1 && isdigit((unsigned char)*s); s++)
            digits[n++] = *s;
    digits[n] = '\0';
    *v = strtod(digits, NULL);
    return any;
}

/* The first number right behind a "#### ". */
static bool marked_number(const char *text, double *v)
{
    for (const char *s = text; s != NULL && (s = strstr(s, "#### ")) != NULL; s += 5)
        if (number_at(s + 5, v))
            return true;
    return false;
}

static bool judge_number(const char *text, const char *answer, const char *completion)
{
    double got, want;

    if (!marked_number(text, &got))
        return false;
    if (answer != NULL) {
        while (isspace((unsigned char)*answer))
            answer++;
        if (number_at(answer, &want))
            return fabs(got - want) < 1e-3;
    }
    return completion != NULL && marked_number(completion, &want) && fabs(got - want) < 1e-3;
}

/* ---- choice ------------------------------------------------------------------------------------------------------ */

/* Length of the choice that begins at s, 0: none. */
static size_t choice_at(const char *s)
{
    static const char *const words[] = { "answer", "solution", "ending", "option", NULL };

    if (strncmp(s, "true", 4) == 0)
        return 4;
    if (strncmp(s, "false", 5) == 0)
        return 5;
    for (int i = 0; words[i] != NULL; i++) {
        size_t n = strlen(words[i]);

        if (strncmp(s, words[i], n) == 0 && isdigit((unsigned char)s[n]))
            return n + strspn(s + n, "0123456789");
    }
    return 0;
}

static const char *first_choice(const char *text, size_t *n)
{
    for (; text != NULL && *text != '\0'; text++)
        if ((*n = choice_at(text)) > 0)
            return text;
    return NULL;
}

static bool judge_choice(const char *text, const char *answer, const char *completion)
{
    size_t      n = 0, m = 0;
    const char *got = first_choice(text, &n), *want = first_choice(answer, &m);

    if (want == NULL)
        want = first_choice(completion, &m);
    return got != NULL && want != NULL && n == m && strncmp(got, want, n) == 0;
}

/* ---- exact ------------------------------------------------------------------------------------------------------- */

static bool judge_exact(const char *a, const char *b)
{
    size_t n, m;

    if (b == NULL)
        return false;
    while (isspace((unsigned char)*a))
        a++;
    while (isspace((unsigned char)*b))
        b++;
    n = strlen(a);
    m = strlen(b);
    while (n > 0 && isspace((unsigned char)a[n - 1]))
        n--;
    while (m > 0 && isspace((unsigned char)b[m - 1]))
        m--;
    return n == m && memcmp(a, b, n) == 0;
}

bool judge(judge_kind kind, const char *text, const char *answer, const char *completion)
{
    switch (kind) {
    case JUDGE_NUMBER: return judge_number(text, answer, completion);
    case JUDGE_CHOICE: return judge_choice(text, answer, completion);
    case JUDGE_EXACT: return judge_exact(text, answer ? answer : completion);
    case JUDGE_LOSS: break;
    }
    return false;
}
