/* adapter_save.c - adapters into a Tapir adapter file. */
#include "core/internal.h"
#include "core/json.h"
#include "peft/peft_internal.h"

#include <string.h>

typedef struct {
    tp_ctx     *ctx;
    tp_writer  *w;
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

static void write_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    saving *s = user;

    (void)m;
    tp_writer_tensor(s->ctx, s->w, "adapter", name, *p->slot);
}

static void write_attributes(saving *s, const tp_adapter *ad)
{
    char *where = tpi_format(s->ctx, "adapter%s%s", ad->m.path[0] ? "/" : "", ad->m.path);

    if (where == NULL)
        return;
    tp_writer_attr_text(s->ctx, s->w, where, "method", ad->type->name);
    tp_writer_attr_int(s->ctx, s->w, where, "in_features", (uint64_t)tp_dim(ad->linear->w, 1));
    tp_writer_attr_int(s->ctx, s->w, where, "out_features", (uint64_t)tp_dim(ad->linear->w, 0));
    for (const tp_option *o = ad->type->options; o != NULL && o->name != NULL; o++) {
        double v = tpi_option_get(o, ad->opts);

        if (o->kind == TP_OPT_REAL)
            tp_writer_attr_real(s->ctx, s->w, where, o->name, v);
        else
            tp_writer_attr_int(s->ctx, s->w, where, o->name, (uint64_t)v);
    }
    tpi_free(where);
}

static void write_adapter(tp_adapter *ad, void *user)
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
    tp_module_params(&ad->m, false, write_param, s);
    write_attributes(s, ad);
    note_target(s, ad->pattern);
    if (!same_kind(s->first, ad)) {
        tpi_json *j = tpi_json_new_object(s->ctx);

        put_kind(s->ctx, j, ad);
        tpi_json_set(s->ctx, s->layers, ad->m.path, j);
    }
}

bool tp_adapter_save(tp_ctx *ctx, tp_module *root, const char *path)
{
    saving      s = { .ctx = ctx };
    const char *identity;
    char       *text = NULL;
    size_t      n = 0;
    bool        ok;

    if (!tp_ok(ctx) || root == NULL || path == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_save: no model or no path") != NULL;
    identity = tp_module_identity(ctx, tpi_top(root));
    s.layers = tpi_json_new_object(ctx);
    s.w = tp_writer_open(ctx, path, "adapter");
    tpi_adapters_walk(root, write_adapter, &s);
    if (s.first == NULL)
        tp_fail(ctx, TP_EARG, "adapter_save: the model has no adapters");
    if (tp_ok(ctx))
        text = adapter_json(&s, identity, &n);
    if (text != NULL) {
        tp_writer_text(ctx, s.w, "config/adapter.json", text, n);
        tp_writer_attr_text(ctx, s.w, NULL, "base_identity", identity);
    }
    ok = tp_writer_close(ctx, s.w);
    tpi_free(text);
    tpi_free(s.targets);
    tpi_json_free(s.layers);
    return ok;
}
