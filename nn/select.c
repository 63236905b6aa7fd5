/* select.c - training only what a pattern names, and the tree as text. */
#include "core/internal.h"
#include "nn/module.h"
#include "nn/pattern.h"

typedef struct {
    tp_ctx      *ctx;
    tpi_pattern *pattern;
    int          n;
} selecting;

static void select_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    selecting *s = user;
    bool       on = tpi_pattern_matches(s->ctx, s->pattern, name) && !p->buffer;

    (void)m;
    if (tp_dtype_is_float(tp_dtype_of(*p->slot)))
        tp_set_trainable(s->ctx, *p->slot, on);
    s->n += on;
}

int tp_module_train_only(tp_ctx *ctx, tp_module *m, const char *pattern)
{
    selecting s = { ctx, NULL, 0 };

    if (!tp_ok(ctx))
        return 0;
    if (m == NULL) {
        tp_fail(ctx, TP_EARG, "module_train_only: no module");
        return 0;
    }
    s.pattern = tpi_pattern_new(ctx, "module_train_only", pattern);
    if (s.pattern != NULL)
        tp_module_params(m, false, select_one, &s);
    tpi_pattern_check(ctx, s.pattern, NULL);
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
                tp_shape_text(*p->slot, shape, sizeof shape), tp_trainable(*p->slot) ? " trainable" : "");
    for (tp_module *c = m->child; c != NULL; c = c->next)
        print_tree(c, depth + 1, f);
}

void tp_module_print(tp_ctx *ctx, tp_module *m, FILE *f)
{
    tp_count c;

    if (!tp_ok(ctx) || m == NULL || f == NULL)
        return;
    print_tree(m, 0, f);
    c = tp_module_count(m);
    fprintf(f, "%lld parameters, %lld trainable\n", (long long)c.all, (long long)c.trainable);
}
