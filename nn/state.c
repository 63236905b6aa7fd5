/* state.c - saving and loading what one function names; everything that does not fit is told at once. */
#include "core/internal.h"
#include "nn/state_internal.h"

#include <stdarg.h>
#include <string.h>

bool tpi_state_usable(tp_ctx *ctx, const tp_state *st, const char *what)
{
    if (!tp_ok(ctx))
        return false;
    return (st != NULL && st->ctx == ctx) || tp_fail(ctx, TP_EARG, "%s: no state of this context", what) != NULL;
}

bool tp_state_saving(const tp_state *st)
{
    return st != NULL && st->pass == TPI_SAVE;
}

bool tpi_state_later(tp_state *st, void (*fn)(tp_ctx *ctx, void *user), void *user)
{
    if (st->pass != TPI_LOAD)
        return true;
    if (!tpi_grow(st->ctx, &st->later, &st->later_cap, st->n_later + 1, sizeof *st->later))
        return false;
    st->later[st->n_later++] = (tpi_later){ fn, user };
    return true;
}

/* ---- what does not fit ------------------------------------------------------------------------------------------- */

bool tpi_state_misfit(tp_state *st, const char *fmt, ...)
{
    char    text[800];
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    if (st->pass == TPI_LOAD && !st->opts.fit) /* a function that names other things the second time */
        tp_fail(st->ctx, TP_EFORMAT, "%.200s: %s", tp_file_path(st->f), text);
    else if (st->pass == TPI_CHECK &&
             tpi_grow(st->ctx, &st->problem, &st->problem_cap, st->n_problem + 1, sizeof *st->problem) &&
             (st->problem[st->n_problem] = tpi_strdup(st->ctx, text)) != NULL)
        st->n_problem++;
    return false;
}

bool tpi_state_claim(tp_state *st, const char *section, const char *prefix)
{
    tpi_claim *c;

    if (st->pass != TPI_CHECK)
        return true;
    for (size_t i = 0; i < st->n_claim; i++)
        if (strcmp(st->claim[i].section, section) == 0 && strcmp(st->claim[i].prefix, prefix) == 0)
            return true;
    if (!tpi_grow(st->ctx, &st->claim, &st->claim_cap, st->n_claim + 1, sizeof *st->claim))
        return false;
    c = &st->claim[st->n_claim++];
    *c = (tpi_claim){ tpi_strdup(st->ctx, section), tpi_strdup(st->ctx, prefix) };
    return c->section != NULL && c->prefix != NULL;
}

static bool is_claimed(const tp_state *st, const tp_file_entry *e)
{
    const char *section = e->section[0] ? e->section : "model";

    for (size_t i = 0; i < st->n_claim; i++) {
        const tpi_claim *c = &st->claim[i];
        size_t           n = strlen(c->prefix);

        if (strcmp(c->section, section) == 0 &&
            (n == 0 || (strncmp(e->name, c->prefix, n) == 0 && e->name[n] == '.')))
            return true;
    }
    return false;
}

static void find_extra(tp_state *st)
{
    for (size_t i = 0; i < st->f->entries && tp_ok(st->ctx); i++)
        if (!st->wanted[i] && is_claimed(st, &st->f->entry[i].seen))
            tpi_state_misfit(st, "\"%s\" has no place here", st->f->entry[i].seen.key);
}

/* The error names as many as it has room for; messages name all where it has not. */
static bool tell(tp_state *st)
{
    tp_ctx     *ctx = st->ctx;
    const char *path = tp_file_path(st->f);
    char        list[800];
    size_t      n = 0, i = 0, room = sizeof list;

    list[0] = '\0';
    for (; i < st->n_problem && n + strlen(st->problem[i]) + 3 < room; i++)
        n += (size_t)snprintf(list + n, room - n, "%s%s", i ? "; " : "", st->problem[i]);
    for (size_t k = 0; (st->opts.fit || i < st->n_problem) && k < st->n_problem; k++)
        tp_message(ctx, TP_WARNING, "%.200s: %s", path, st->problem[k]);
    if (st->n_problem == 0 || st->opts.fit)
        return true;
    if (i < st->n_problem)
        tp_fail(ctx, TP_EFORMAT, "%.150s: %zu things do not fit, told by messages; the first: %s", path, st->n_problem,
                list);
    else
        tp_fail(ctx, TP_EFORMAT, "%.150s: %s", path, list);
    return false;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void forget_met(tp_state *st)
{
    while (st->n_met > 0) {
        tpi_free(st->met[--st->n_met].section);
        tpi_free(st->met[st->n_met].name);
    }
}

static void drop(tp_state *st)
{
    forget_met(st);
    tpi_free(st->met);
    for (size_t i = 0; i < st->n_claim; i++) {
        tpi_free(st->claim[i].section);
        tpi_free(st->claim[i].prefix);
    }
    tpi_free(st->claim);
    for (size_t i = 0; i < st->n_problem; i++)
        tpi_free(st->problem[i]);
    tpi_free(st->problem);
    tpi_free(st->later);
    tpi_free(st->wanted);
    tp_file_close(st->f);
}

bool tp_state_save(tp_ctx *ctx, const char *path, const char *kind, tp_state_fn fn, void *user)
{
    tp_state st = { .ctx = ctx, .pass = TPI_SAVE };
    bool     ok;

    if (!tp_ok(ctx) || path == NULL || kind == NULL || fn == NULL || strcmp(kind, "safetensors") == 0)
        return tp_fail(ctx, TP_EARG, "state_save: a path, a kind of Tapir checkpoint and a function are needed") != NULL;
    fn(ctx, user, &st);
    forget_met(&st);
    if (tp_ok(ctx) && tpi_save_room(ctx, path, st.bytes))
        st.w = tp_writer_open(ctx, path, kind);
    if (st.w != NULL)
        fn(ctx, user, &st);
    ok = tp_writer_close(ctx, st.w);
    drop(&st);
    return ok;
}

/* Both passes over an open file. */
static void load(tp_state *st, tp_state_fn fn, void *user)
{
    tp_ctx *ctx = st->ctx;

    st->wanted = tpi_alloc(ctx, st->f->entries, sizeof *st->wanted);
    if (st->wanted == NULL)
        return;
    st->pass = TPI_CHECK;
    fn(ctx, user, st);
    if (tp_ok(ctx))
        find_extra(st);
    if (!tp_ok(ctx) || !tell(st) || (st->opts.verify && !tp_file_verify(ctx, st->f)))
        return;
    forget_met(st);
    st->pass = TPI_LOAD;
    fn(ctx, user, st);
    for (size_t i = 0; i < st->n_later && tp_ok(ctx); i++)
        st->later[i].fn(ctx, st->later[i].user);
}

bool tp_state_load(tp_ctx *ctx, const char *path, tp_state_fn fn, void *user, const tp_load_opts *opts)
{
    tp_state st = { .ctx = ctx, .opts = opts ? *opts : (tp_load_opts){ 0 } };

    if (!tp_ok(ctx) || path == NULL || fn == NULL)
        return tp_fail(ctx, TP_EARG, "state_load: a path and a function are needed") != NULL;
    st.f = tp_file_open(ctx, path);
    if (st.f != NULL)
        load(&st, fn, user);
    drop(&st);
    return tp_ok(ctx);
}
