/* select.c - which parameters are trained, their gradients, and the tree as text. */
#include "core/internal.h"
#include "nn/module.h"
#include "nn/pattern.h"

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static bool can_train(const tp_param *p)
{
    return !p->buffer && tp_dtype_is_float(tp_dtype_of(*p->slot));
}

static void set_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    bool on = *(bool *)user;

    (void)name;
    if (!on || can_train(p))
        tp_set_trainable(m->ctx, *p->slot, on);
}

static void set_all(tp_ctx *ctx, tp_module *m, bool on)
{
    if (!tp_ok(ctx))
        return;
    if (m == NULL)
        tp_fail(ctx, TP_EARG, "module_%s: no module", on ? "unfreeze" : "freeze");
    tp_module_params(m, false, set_one, &on);
}

void tp_module_freeze(tp_ctx *ctx, tp_module *m)
{
    set_all(ctx, m, false);
}

void tp_module_unfreeze(tp_ctx *ctx, tp_module *m)
{
    set_all(ctx, m, true);
}

static void clear_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)m;
    (void)name;
    (void)user;
    tp_grad_drop(*p->slot);
}

void tp_grad_clear(tp_ctx *ctx, tp_module *m)
{
    if (ctx != NULL)
        tp_module_params(m, false, clear_one, NULL);
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

typedef struct {
    tp_ctx      *ctx;
    tpi_pattern *pattern;
    tpi_names    names;
    int          n;
    bool         apply;
} selecting;

/* First all are looked at, so that a pattern that does not fit changes nothing.  A tied weight has two names: one is
 * enough. */
static void select_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    selecting *s = user;

    (void)m;
    if (!can_train(p))
        return;
    if (!s->apply)
        tpi_names_add(&s->names, name, 2);
    if (!tpi_pattern_matches(s->ctx, s->pattern, name))
        return;
    if (s->apply && !tp_trainable(*p->slot)) {
        tp_set_trainable(s->ctx, *p->slot, true);
        s->n++;
    }
}

int tp_module_train_only(tp_ctx *ctx, tp_module *m, const char *pattern)
{
    selecting s = { ctx, NULL, { "" }, 0, false };

    if (!tp_ok(ctx))
        return 0;
    if (m == NULL) {
        tp_fail(ctx, TP_EARG, "module_train_only: no module");
        return 0;
    }
    s.pattern = tpi_pattern_new(ctx, "module_train_only", pattern);
    if (s.pattern != NULL)
        tp_module_params(m, false, select_one, &s);
    if (tpi_pattern_check(ctx, s.pattern, s.names.text)) {
        set_all(ctx, m, false);
        s.apply = true;
        tp_module_params(m, false, select_one, &s);
    }
    tpi_pattern_free(s.pattern);
    return tp_ok(ctx) ? s.n : 0;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static void print_tree(tp_module *m, int depth, FILE *f)
{
    char shape[96];

    fprintf(f, "%*s%s%s%s\n", 2 * depth, "", m->name, m->name[0] ? ": " : "", m->kind);
    for (tp_param *p = m->param; p != NULL; p = p->next)
        fprintf(f, "%*s%s %s %s%s\n", 2 * depth + 2, "", p->name, tp_dtype_name(tp_dtype_of(*p->slot)),
                tp_shape_text(*p->slot, shape, sizeof shape),
                p->buffer                ? " buffer"
                : tp_trainable(*p->slot) ? " trainable"
                                         : "");
    for (tp_module *c = m->child; c != NULL; c = c->next)
        print_tree(c, depth + 1, f);
}

void tp_module_print(tp_ctx *ctx, tp_module *m, FILE *f)
{
    tp_count c;

    if (!tp_ok(ctx))
        return;
    if (m == NULL || f == NULL) {
        tp_fail(ctx, TP_EARG, "module_print: no module or no file");
        return;
    }
    print_tree(m, 0, f);
    c = tp_module_count(m);
    fprintf(f, "%lld parameters, %lld trainable", (long long)c.all, (long long)c.trainable);
    if (c.buffers > 0)
        fprintf(f, ", %lld numbers in buffers", (long long)c.buffers);
    fputc('\n', f);
}
