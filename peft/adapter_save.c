/* adapter_save.c - adapters as a state: into a Tapir adapter file, and as a part of checkpoints. */
#include "core/internal.h"
#include "core/json.h"
#include "nn/state_internal.h"
#include "peft/peft_internal.h"

#include <string.h>

typedef struct {
    tp_ctx     *ctx;
    tp_state   *st;
    tp_adapter *first;   /* its type and options stand for all that do not differ */
    tpi_json   *layers;  /* those that do */
    char       *targets; /* patterns by which they were attached, joined by bars; NULL: none */
} saving;

double tpi_option_get(const tp_option *o, const void *opts)
{
    const char *field = (const char *)opts + o->offset;
    double      v;
    int         i;

    if (o->kind == TP_OPT_REAL) {
        memcpy(&v, field, sizeof v);
        return v;
    }
    memcpy(&i, field, sizeof i);
    return i;
}

/* ---- config/adapter.json ----------------------------------------------------------------------------------------- */

/* The options as their table lists them. */
static tpi_json *options_json(tp_ctx *ctx, const tp_adapter *ad)
{
    tpi_json *j = tpi_json_new_object(ctx);

    for (const tp_option *o = ad->type->options; o != NULL && o->name != NULL; o++) {
        double v = tpi_option_get(o, ad->opts);

        switch (o->kind) {
        case TP_OPT_REAL: tpi_json_set_double(ctx, j, o->name, v); break;
        case TP_OPT_BOOL: tpi_json_set_bool(ctx, j, o->name, v != 0); break;
        case TP_OPT_INT: tpi_json_set_int(ctx, j, o->name, (int64_t)v); break;
        }
    }
    return j;
}

static bool same_kind(const tp_adapter *a, const tp_adapter *b)
{
    if (a->type != b->type)
        return false;
    for (const tp_option *o = a->type->options; o != NULL && o->name != NULL; o++)
        if (tpi_option_get(o, a->opts) != tpi_option_get(o, b->opts))
            return false;
    return true;
}

static void put_kind(tp_ctx *ctx, tpi_json *j, const tp_adapter *ad)
{
    tpi_json_set_text(ctx, j, "method", ad->type->name);
    tpi_json_set(ctx, j, "options", options_json(ctx, ad));
}

static char *adapter_json(saving *s, const char *identity, size_t *n)
{
    tp_ctx   *ctx = s->ctx;
    tpi_json *j = tpi_json_new_object(ctx);
    char     *text;

    put_kind(ctx, j, s->first);
    if (s->targets != NULL)
        tpi_json_set_text(ctx, j, "targets", s->targets);
    tpi_json_set_text(ctx, j, "base_identity", identity);
    if (tpi_json_size(s->layers) > 0)
        tpi_json_set(ctx, j, "layers", tpi_json_copy(ctx, s->layers));
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, n) : NULL;
    tpi_json_free(j);
    return text;
}

/* ---- one adapter ------------------------------------------------------------------------------------------------- */

/* Whether one of the joined patterns is this one. */
static bool has_target(const char *joined, const char *pattern)
{
    size_t n = strlen(pattern);

    for (const char *at = joined ? strstr(joined, pattern) : NULL; at != NULL; at = strstr(at + 1, pattern))
        if ((at == joined || at[-1] == '|') && (at[n] == '|' || at[n] == '\0'))
            return true;
    return false;
}

static void note_target(saving *s, const char *pattern)
{
    char *joined;

    if (pattern == NULL || has_target(s->targets, pattern))
        return;
    joined = s->targets ? tpi_format(s->ctx, "%s|%s", s->targets, pattern) : tpi_strdup(s->ctx, pattern);
    tpi_free(s->targets);
    s->targets = joined;
}

/* Type and options, which must be those of a file that is loaded. */
static void visit_attributes(saving *s, const tp_adapter *ad)
{
    tp_ctx *ctx = s->ctx;
    char   *where = tpi_format(ctx, "adapter%s%s", ad->m.path[0] ? "/" : "", ad->m.path);

    if (where == NULL)
        return;
    tp_state_same_text(ctx, s->st, where, "method", ad->type->name);
    tp_state_same_int(ctx, s->st, where, "in_features", tp_dim(ad->linear->w, 1));
    tp_state_same_int(ctx, s->st, where, "out_features", tp_dim(ad->linear->w, 0));
    for (const tp_option *o = ad->type->options; o != NULL && o->name != NULL; o++) {
        double v = tpi_option_get(o, ad->opts);

        if (o->kind == TP_OPT_REAL)
            tp_state_same_real(ctx, s->st, where, o->name, v);
        else
            tp_state_same_int(ctx, s->st, where, o->name, (int64_t)v);
    }
    tpi_free(where);
}

static void note_layer(saving *s, const tp_adapter *ad)
{
    tpi_json *j;

    note_target(s, ad->pattern);
    if (same_kind(s->first, ad))
        return;
    j = tpi_json_new_object(s->ctx);
    put_kind(s->ctx, j, ad);
    tpi_json_set(s->ctx, s->layers, ad->m.path, j);
}

static void visit_adapter(tp_adapter *ad, void *user)
{
    saving *s = user;

    if (!tp_ok(s->ctx))
        return;
    if (ad->below != NULL || tp_module_count(&ad->m).tensors == 0) {
        tp_fail(s->ctx, TP_EARG,
                "adapter_save: %s has several adapters, or one without parameters; expected one with some", ad->m.path);
        return;
    }
    s->first = s->first ? s->first : ad;
    tp_module_state(s->ctx, &ad->m, s->st);
    visit_attributes(s, ad);
    if (tp_state_saving(s->st))
        note_layer(s, ad);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void visit_all(saving *s, tp_module *root, const char *identity)
{
    const char *text;
    char       *made;
    size_t      n = 0;

    tpi_adapters_walk(root, visit_adapter, s);
    if (s->first == NULL)
        tp_fail(s->ctx, TP_EARG, "adapter_save: the model has no adapters");
    tp_state_same_text(s->ctx, s->st, NULL, "base_identity", identity);
    if (!tp_ok(s->ctx) || !tp_state_saving(s->st))
        return;
    text = made = adapter_json(s, identity, &n);
    if (made != NULL)
        tp_state_text(s->ctx, s->st, "config", "adapter.json", &text);
    tpi_free(made);
}

bool tp_adapters_state(tp_ctx *ctx, tp_module *root, tp_state *st)
{
    saving      s = { .ctx = ctx, .st = st };
    const char *identity;

    if (!tpi_state_usable(ctx, st, "adapters_state"))
        return false;
    if (root == NULL)
        return tp_fail(ctx, TP_EARG, "adapters_state: no model") != NULL;
    identity = tp_module_identity(ctx, tpi_top(root));
    s.layers = tp_state_saving(st) ? tpi_json_new_object(ctx) : NULL;
    if (identity != NULL && tpi_state_claim(st, "adapter", ""))
        visit_all(&s, root, identity);
    tpi_free(s.targets);
    tpi_json_free(s.layers);
    return tp_ok(ctx);
}

static void adapters_alone(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_adapters_state(ctx, user, st);
}

bool tp_adapter_save(tp_ctx *ctx, tp_module *root, const char *path)
{
    if (!tp_ok(ctx) || root == NULL || path == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_save: no model or no path") != NULL;
    return tp_module_identity(ctx, tpi_top(root)) != NULL && tp_state_save(ctx, path, "adapter", adapters_alone, root);
}
