/* adapter_load.c - adapters from a Tapir adapter file, or from a PEFT folder. */
#include "core/internal.h"
#include "core/json.h"
#include "peft/peft_internal.h"

#include <string.h>

static const tp_adapter_type *const library[] = { &tp_diablo, &tp_lora, NULL };

typedef struct {
    tp_ctx                *ctx;
    tp_module             *root;
    tp_file               *f;
    const char            *path;
    const tp_adapter_type *type;
    void                  *opts;     /* the type's struct */
    char                  *pattern;  /* may be NULL */
    char                  *identity; /* of the base it was trained on; may be NULL */
    int                    n;
} loading;

static const tp_adapter_type *find_type(const tp_adapter_type *const *list, const char *name)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp((*list)->name, name) == 0)
            return *list;
    return NULL;
}

static bool set_type(loading *l, const tp_adapter_load_opts *opts, const char *name)
{
    l->type = name ? find_type(opts ? opts->types : NULL, name) : NULL;
    if (l->type == NULL && name != NULL)
        l->type = find_type(library, name);
    if (l->type == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: an adapter of type '%s', which is not known here", l->path,
                       name ? name : "") != NULL;
    l->opts = tpi_alloc(l->ctx, 1, l->type->opts_size);
    return l->opts != NULL;
}

/* A value from the file into the struct; a real 0 is stored as -1, which means really zero. */
static void put_option(loading *l, const tp_option *o, double v)
{
    char *field = (char *)l->opts + o->offset;
    int   i = v == 0 ? -1 : (int)v;

    v = v == 0 ? -1 : v;
    if (o->kind == TP_OPT_REAL)
        memcpy(field, &v, sizeof v);
    else
        memcpy(field, &i, sizeof i);
}

/* ---- what the file says about itself ----------------------------------------------------------------------------- */

static void read_options(loading *l, const tpi_json *j)
{
    const tpi_json *options = tpi_json_object(l->ctx, l->path, j, "options", false);

    for (const tp_option *o = l->type->options; tp_ok(l->ctx) && o != NULL && o->name != NULL; o++) {
        const tpi_json *v = tpi_json_get(options, o->name);

        if (v == NULL)
            continue;
        if (o->kind == TP_OPT_BOOL)
            put_option(l, o, tpi_json_bool(l->ctx, l->path, options, o->name, false));
        else
            put_option(l, o, tpi_json_double(l->ctx, l->path, options, o->name, o->standard));
    }
}

static bool read_tapir(loading *l, const tp_adapter_load_opts *opts)
{
    size_t      n = 0;
    const char *text = tp_file_text(l->f, "config/adapter.json", &n), *identity, *targets;
    tpi_json   *j;

    if (text == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: there is no config/adapter.json, so this is no adapter", l->path) !=
               NULL;
    j = tpi_json_parse(l->ctx, l->path, text, n);
    if (j != NULL && set_type(l, opts, tpi_json_text(l->ctx, l->path, j, "method", NULL)))
        read_options(l, j);
    identity = tpi_json_text(l->ctx, l->path, j, "base_identity", NULL);
    targets = tpi_json_text(l->ctx, l->path, j, "targets", NULL);
    l->identity = identity ? tpi_strdup(l->ctx, identity) : NULL;
    l->pattern = targets ? tpi_strdup(l->ctx, targets) : NULL;
    tpi_json_free(j);
    return tp_ok(l->ctx);
}

static bool read_peft(loading *l, const tp_adapter_load_opts *opts)
{
    size_t      n = 0;
    const char *text = tp_file_text(l->f, "adapter_config.json", &n), *kind;
    tpi_json   *j = text ? tpi_json_parse(l->ctx, l->path, text, n) : NULL;

    if (text == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: there is no adapter_config.json, so this is no adapter", l->path) !=
               NULL;
    kind = tpi_json_text(l->ctx, l->path, j, "peft_type", "");
    if (kind != NULL && strcmp(kind, "LORA") != 0)
        tp_fail(l->ctx, TP_EFORMAT, "%s: peft_type '%s', expected LORA", l->path, kind);
    if (tpi_json_bool(l->ctx, l->path, j, "use_dora", false) || tpi_json_bool(l->ctx, l->path, j, "use_rslora", false))
        tp_fail(l->ctx, TP_EFORMAT, "%s: use_dora or use_rslora is set, expected plain LoRA", l->path);
    if (tp_ok(l->ctx) && set_type(l, opts, "lora")) {
        tp_lora_opts *o = l->opts;

        o->rank = (int)tpi_json_int(l->ctx, l->path, j, "r", 8, 1, 1 << 20);
        o->alpha = tpi_json_double(l->ctx, l->path, j, "lora_alpha", 8);
        o->dropout = tpi_json_double(l->ctx, l->path, j, "lora_dropout", 0);
    }
    tpi_json_free(j);
    return tp_ok(l->ctx);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* PEFT writes "base_model.model.<path>.lora_A.weight"; the module path and our name for the parameter. */
static bool split_name(loading *l, const char *name, char *path, size_t size, const char **param)
{
    static const char prefix[] = "base_model.model.";
    const char       *end;
    size_t            n = strlen(name);

    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        name += sizeof prefix - 1;
        n = strlen(name);
        n -= n > 7 && strcmp(name + n - 7, ".weight") == 0 ? 7 : 0;
    }
    if (n >= size)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: the name %.80s... is too long", l->path, name) != NULL;
    memcpy(path, name, n);
    path[n] = '\0';
    end = strrchr(path, '.');
    if (end == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: the name %s has no module", l->path, path) != NULL;
    path[end - path] = '\0';
    *param = end + 1;
    return true;
}

static tp_adapter *adapter_of(loading *l, const char *path)
{
    tp_module  *m = tp_module_find(l->root, path);
    tp_linear  *linear = (tp_linear *)m;
    tp_adapter *ad;

    if (m == NULL || m == l->root || !tpi_is_linear(m))
        return tp_fail(l->ctx, TP_EARG, "%s: an adapter for %s, which this model does not have", l->path, path);
    if (linear->adapters != NULL && linear->adapters->type == l->type)
        return linear->adapters;
    ad = tp_adapter_attach(l->ctx, linear, l->type, l->opts);
    if (ad != NULL && l->pattern != NULL)
        ad->pattern = tpi_intern(l->ctx, l->pattern);
    l->n += ad != NULL;
    return ad;
}

static void load_tensor(loading *l, const tp_file_entry *e)
{
    char        path[640], want[96], got[96];
    const char *param = NULL;
    tp_adapter *ad;
    tp_tensor  *x;
    tp_scope    s;

    if (!split_name(l, e->name, path, sizeof path, &param))
        return;
    ad = adapter_of(l, path);
    if (ad == NULL)
        return;
    s = tp_scope_begin(l->ctx);
    x = tp_file_read(l->ctx, l->f, e->name, TP_DTYPES);
    for (tp_param *p = ad->m.param; x != NULL; p = p->next) {
        if (p == NULL) {
            tp_fail(l->ctx, TP_EFORMAT, "%s: %s has no parameter %s in an adapter of type %s", l->path, path, param,
                    l->type->name);
            break;
        }
        if (strcmp(p->name, param) != 0)
            continue;
        if (!tp_same_shape(*p->slot, x))
            tp_fail(l->ctx, TP_ESHAPE, "%s: %s.%s is %s, the model needs %s", l->path, path, param,
                    tp_shape_text(x, got, sizeof got), tp_shape_text(*p->slot, want, sizeof want));
        tp_copy_to(l->ctx, *p->slot, x);
        break;
    }
    tp_scope_end(l->ctx, s);
}

static bool same_base(loading *l, const tp_adapter_load_opts *opts)
{
    const char *here = tp_module_identity(l->ctx, l->root);

    if (l->identity == NULL || here == NULL || strcmp(l->identity, here) == 0)
        return tp_ok(l->ctx);
    if (opts == NULL || !opts->any_base)
        return tp_fail(l->ctx, TP_EARG,
                       "%s: trained on the base %s, this model is %s (--any-base loads it all the same)", l->path,
                       l->identity, here) != NULL;
    tp_message(l->ctx, TP_WARNING, "%s: trained on the base %s, loaded onto %s", l->path, l->identity, here);
    return true;
}

int tp_adapter_load(tp_ctx *ctx, tp_module *root, const char *path, const tp_adapter_load_opts *opts)
{
    loading l = { ctx, root, NULL, path, NULL, NULL, NULL, NULL, 0 };

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL || path == NULL) {
        tp_fail(ctx, TP_EARG, "adapter_load: no model or no path");
        return 0;
    }
    l.f = tp_file_open(ctx, path);
    if (l.f != NULL && (tp_file_format_of(l.f) == TP_HDF5 ? read_tapir(&l, opts) : read_peft(&l, opts)) &&
        same_base(&l, opts)) {
        tpi_freeze_base(ctx, root);
        for (int64_t i = 0; i < tp_file_count(l.f) && tp_ok(ctx); i++)
            load_tensor(&l, tp_file_at(l.f, i));
        if (l.n == 0)
            tp_fail(ctx, TP_EFORMAT, "%s: there is no tensor of an adapter in it", path);
        if (opts != NULL && opts->frozen)
            tp_module_freeze(ctx, root);
    }
    tp_file_close(l.f);
    tpi_free(l.opts);
    tpi_free(l.pattern);
    tpi_free(l.identity);
    return tp_ok(ctx) ? l.n : 0;
}
