/* adapter_save.c - adapters into a Tapir adapter file. */
#include "core/json.h"
#include "core/internal.h"
#include "peft/peft_internal.h"

#include <string.h>

typedef struct {
    tp_ctx     *ctx;
    tp_writer  *w;
    tp_adapter *first; /* the first adapter met; all must be of one kind */
    int         n;
} saving;

static void write_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    saving *s = user;

    (void)m;
    tp_writer_tensor(s->ctx, s->w, "adapter", name, *p->slot);
    (void)p;
}

static void write_adapter(tp_adapter *ad, void *user)
{
    saving     *s = user;
    const char *path = ad->linear->m.path;
    char        where[640];

    if (!tp_ok(s->ctx))
        return;
    if (ad->below != NULL || (s->first != NULL && s->first->type != ad->type)) {
        tp_fail(s->ctx, TP_EARG,
                "adapter_save: %s has several adapters, or of another type than the first; save them one by one", path);
        return;
    }
    s->first = s->first ? s->first : ad;
    s->n++;
    tp_module_params(&ad->m, false, write_param, s);
    snprintf(where, sizeof where, "adapter/%s", path);
    tp_writer_attr_text(s->ctx, s->w, where, "method", ad->type->name);
    tp_writer_attr_int(s->ctx, s->w, where, "in_features", (uint64_t)tp_dim(ad->linear->w, 1));
    tp_writer_attr_int(s->ctx, s->w, where, "out_features", (uint64_t)tp_dim(ad->linear->w, 0));
}

/* The options as their table lists them. */
static tpi_json *options_json(tp_ctx *ctx, const tp_adapter *ad)
{
    tpi_json *j = tpi_json_new_object(ctx);

    for (const tp_option *o = ad->type->options; o != NULL && o->name != NULL; o++) {
        const char *field = (const char *)ad->opts + o->offset;
        double      v;
        int         i;

        memcpy(&v, field, o->kind == TP_OPT_REAL ? sizeof v : 0);
        memcpy(&i, field, o->kind == TP_OPT_REAL ? 0 : sizeof i);
        if (o->kind == TP_OPT_REAL)
            tpi_json_set_double(ctx, j, o->name, v);
        else if (o->kind == TP_OPT_BOOL)
            tpi_json_set_bool(ctx, j, o->name, i != 0);
        else
            tpi_json_set_int(ctx, j, o->name, i);
    }
    return j;
}

static char *adapter_json(tp_ctx *ctx, tp_module *root, const tp_adapter *ad, size_t *n)
{
    tpi_json *j = tpi_json_new_object(ctx);
    char     *text;

    tpi_json_set_text(ctx, j, "method", ad->type->name);
    tpi_json_set(ctx, j, "options", options_json(ctx, ad));
    if (ad->pattern != NULL)
        tpi_json_set_text(ctx, j, "targets", ad->pattern);
    tpi_json_set_text(ctx, j, "base_identity", tp_module_identity(ctx, root));
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, n) : NULL;
    tpi_json_free(j);
    return text;
}

bool tp_adapter_save(tp_ctx *ctx, tp_module *root, const char *path)
{
    saving s = { ctx, NULL, NULL, 0 };
    char  *text = NULL;
    size_t n = 0;

    if (!tp_ok(ctx) || root == NULL || path == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_save: no model or no path") != NULL;
    s.w = tp_writer_open(ctx, path, "adapter");
    tpi_adapters_walk(root, write_adapter, &s);
    if (s.n == 0)
        tp_fail(ctx, TP_EARG, "adapter_save: the model has no adapters");
    if (tp_ok(ctx))
        text = adapter_json(ctx, root, s.first, &n);
    if (text != NULL) {
        tp_writer_text(ctx, s.w, "config/adapter.json", text, n);
        tp_writer_attr_text(ctx, s.w, NULL, "base_identity", tp_module_identity(ctx, root));
    }
    tpi_free(text);
    return tp_writer_close(ctx, s.w);
}
