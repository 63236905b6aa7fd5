/* tok_normalize.c - the steps of a normalizer. */
#include "models/text/tok.h"

#include <string.h>

/* How much of the beginning is what was put in front, and whether the original beginning is still there. */
typedef struct front {
    size_t lead;
    bool   head;
} front;

tp_code tpi_tok_replace(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n, tp_text *out)
{
    size_t  done = 0;
    tp_code rc = tpi_tok_find_hits(s, w, text, n);

    for (size_t i = 0; i < w->n_hit && rc == TP_OK; i++) {
        const tpi_tok_hit *h = &w->hit[i];

        rc = h->match ? tpi_text_add(out, s->text, s->n) : tpi_text_add(out, text + h->begin, h->end - h->begin);
        done = h->end;
    }
    return rc == TP_OK ? tpi_text_add(out, text + done, n - done) : rc;
}

/* Each character by itself: lower case, or marks left out. */
static tp_code each(const tpi_tok_step *s, const char *text, size_t n, tp_text *out)
{
    size_t  i = 0;
    tp_code rc = tpi_text_room(out, n);

    while (i < n && rc == TP_OK) {
        uint32_t c = tpi_utf8_next(text, &i), low[2] = { c, 0 };
        int      k = s->kind == TPI_STEP_LOWER ? tpi_lower(c, low) : !tpi_is_mark(c);

        rc = tpi_text_room(out, 8);
        for (int j = 0; j < k && rc == TP_OK; j++)
            out->n += tpi_utf8_put(out->p + out->n, low[j]);
    }
    return rc;
}

static tp_code strip(const tpi_tok_step *s, const char *text, size_t n, tp_text *out, front *f)
{
    size_t begin = 0, end = n;

    while (s->left && begin < n) {
        size_t i = begin;

        if (!tpi_is_space(tpi_utf8_next(text, &i)))
            break;
        begin = i;
    }
    while (s->right && end > begin) {
        size_t at = tpi_utf8_before(text, end), i = at;

        if (!tpi_is_space(tpi_utf8_next(text, &i)))
            break;
        end = at;
    }
    if (begin > 0) {
        f->head = f->head && begin <= f->lead;
        f->lead = f->lead > begin ? f->lead - begin : 0;
    }
    return tpi_text_add(out, text + begin, end - begin);
}

/* A match at the very beginning takes the beginning away, unless it is one character that another one stands for now.
 */
static void replaced(const tpi_tok_step *s, const tpi_tok_work *w, const char *text, front *f)
{
    size_t one = 0;

    if (w->n_hit == 0 || !w->hit[0].match || w->hit[0].end == 0)
        return;
    (void)tpi_utf8_next(text, &one);
    if (s->n == 0 || w->hit[0].end > one)
        f->head = false;
}

static tp_code apply(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n, tp_text *out, front *f)
{
    tp_code rc = TP_OK;

    if (s->kind == TPI_STEP_FORM)
        return tpi_normal_form(s->form, text, n, out);
    if (s->kind == TPI_STEP_LOWER || s->kind == TPI_STEP_NO_MARKS)
        return each(s, text, n, out);
    if (s->kind == TPI_STEP_STRIP)
        return strip(s, text, n, out, f);
    if (s->kind == TPI_STEP_PREPEND) {
        if (n > 0 && !w->continued) {
            rc = tpi_text_add(out, s->text, s->n);
            f->lead += s->n;
        }
        return rc == TP_OK ? tpi_text_add(out, text, n) : rc;
    }
    rc = tpi_tok_replace(s, w, text, n, out);
    replaced(s, w, text, f);
    return rc;
}

tp_code tpi_tok_normalize(const tpi_tok_steps *steps, tpi_tok_work *w, const char *s, size_t n, const char **out,
                          size_t *out_n, size_t *lead, bool *head)
{
    front   f = { 0, *head };
    tp_code rc = TP_OK;

    for (size_t i = 0; i < steps->n && rc == TP_OK; i++) {
        tp_text *t = &w->norm[i % 2];

        t->n = 0;
        rc = tpi_text_room(t, n);
        if (rc == TP_OK)
            rc = apply(&steps->step[i], w, s, n, t, &f);
        if (rc == TP_OK) {
            s = t->p;
            n = t->n;
        }
    }
    *out = s;
    *out_n = n;
    *lead = f.lead;
    *head = f.head;
    return rc;
}
