/* adapter_load.c - adapters from a Tapir adapter file, or from a PEFT folder. */
#include "core/internal.h"
#include "core/json.h"
#include "peft/adapter_load.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static const tp_adapter_type *const library[] = { &tp_diablo, &tp_lora, NULL };

typedef tpi_loading loading;

/* ---- types and options ------------------------------------------------------------------------------------------- */

static const tp_adapter_type *find_type(const tp_adapter_type *const *list, const char *name)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp((*list)->name, name) == 0)
            return *list;
    return NULL;
}

static const tp_adapter_type *type_of(loading *l, const tpi_json *j)
{
    const char            *name = tpi_json_text(l->ctx, l->path, j, "method", "");
    const tp_adapter_type *type = name ? find_type(l->opts ? l->opts->types : NULL, name) : NULL;

    if (type == NULL && name != NULL)
        type = find_type(library, name);
    if (type == NULL)
        tp_fail(l->ctx, TP_EFORMAT, "%s: an adapter of type '%.64s', which is not known here", l->path,
                name ? name : "");
    return type;
}

/* A value from a file into the struct, where 0 would mean the default: zero is stored as -1. */
static bool put_option(loading *l, const tp_option *o, void *opts, double v)
{
    char *field = (char *)opts + o->offset;
    int   i;

    if (!(v >= 0 && (o->kind == TP_OPT_REAL || (v <= INT_MAX && v == floor(v)))))
        return tp_fail(l->ctx, TP_EFORMAT, "%s: option %s is %g, expected %g to %g", l->path, o->name, v, o->low,
                       o->high) != NULL;
    v = v == 0 ? -1 : v;
    if (o->kind == TP_OPT_REAL) {
        memcpy(field, &v, sizeof v);
    } else {
        i = (int)v;
        memcpy(field, &i, sizeof i);
    }
    return true;
}

static bool read_option(loading *l, const tp_option *o, void *opts, const tpi_json *all)
{
    double v;

    if (o->kind == TP_OPT_BOOL)
        v = tpi_json_bool(l->ctx, l->path, all, o->name, false);
    else
        v = tpi_json_double(l->ctx, l->path, all, o->name, o->standard);
    return tp_ok(l->ctx) && put_option(l, o, opts, v);
}

static bool read_options(loading *l, const tp_adapter_type *type, void *opts, const tpi_json *all)
{
    const tpi_json *value;
    const char     *key;
    void           *it = NULL;

    while (tpi_json_next(all, &it, &key, &value)) {
        const tp_option *o = type->options;

        while (o != NULL && o->name != NULL && strcmp(o->name, key) != 0)
            o++;
        if (o == NULL || o->name == NULL)
            return tp_fail(l->ctx, TP_EFORMAT, "%s: the type %s has no option '%.64s'", l->path, type->name, key) !=
                   NULL;
        if (!read_option(l, o, opts, all))
            return false;
    }
    return true;
}

/* PEFT's own names for them. */
static bool peft_options(loading *l, void *opts)
{
    static const char *const names[] = { "r", "lora_alpha", "lora_dropout" }; /* rank, alpha, dropout in our table */
    static const double      standard[] = { 8, 8, 0 };

    for (int i = 0; i < 3; i++) {
        double v = tpi_json_double(l->ctx, l->path, l->json, names[i], standard[i]);

        if (!tp_ok(l->ctx) || !put_option(l, &tp_lora.options[i], opts, v))
            return false;
    }
    return true;
}

/* ---- what the file says about itself ----------------------------------------------------------------------------- */

static bool read_tapir(loading *l)
{
    size_t      n = 0;
    const char *text = tp_file_text(l->f, "config/adapter.json", &n);

    if (text == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: there is no config/adapter.json, so this is no adapter", l->path) !=
               NULL;
    l->json = tpi_json_parse(l->ctx, l->path, text, n);
    l->identity = tpi_json_text(l->ctx, l->path, l->json, "base_identity", NULL);
    l->pattern = tpi_json_text(l->ctx, l->path, l->json, "targets", NULL);
    (void)tpi_json_object(l->ctx, l->path, l->json, "layers", false);
    return tp_ok(l->ctx);
}

static bool is_one_of(const char *const *list, const char *word)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static bool is_set(const tpi_json *v)
{
    const char *text = tpi_json_string(v, NULL);

    return tpi_json_true(v) || tpi_json_size(v) > 0 || (text && text[0]) ||
           (tpi_json_is(v) == TPI_JSON_INT && tpi_json_integer(v) != 0) || tpi_json_is(v) == TPI_JSON_REAL;
}

/* Settings change what is computed, or what the base is: of those that are not known here only the absence is
 * understood. */
static bool plain_lora(loading *l)
{
    static const char *const known[] = {
        "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config", "exclude_modules",
        "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
        "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules",
        "task_type", NULL
    };
    static const char *const starts[] = { "gaussian", "eva", "orthogonal", NULL }; /* pissa would change the base */
    const char              *bias = tpi_json_text(l->ctx, l->path, l->json, "bias", "none"), *key;
    const char              *start = tpi_json_string(tpi_json_get(l->json, "init_lora_weights"), NULL);
    const tpi_json          *value;
    void                    *it = NULL;

    while (tpi_json_next(l->json, &it, &key, &value))
        if (is_set(value) && !is_one_of(known, key))
            return tp_fail(l->ctx, TP_EFORMAT, "%s: %.64s is set, expected plain LoRA", l->path, key) != NULL;
    if (bias != NULL && strcmp(bias, "none") != 0)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: bias is '%.40s', expected none", l->path, bias) != NULL;
    if (start != NULL && !is_one_of(starts, start))
        return tp_fail(l->ctx, TP_EFORMAT,
                       "%s: init_lora_weights is '%.40s', expected a start that leaves the base as it is", l->path,
                       start) != NULL;
    return tp_ok(l->ctx);
}

static bool read_peft(loading *l)
{
    size_t      n = 0;
    const char *text = tp_file_text(l->f, "adapter_config.json", &n), *kind;

    if (text == NULL)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: there is no adapter_config.json, so this is no adapter", l->path) !=
               NULL;
    l->peft = true;
    l->json = tpi_json_parse(l->ctx, l->path, text, n);
    kind = tpi_json_text(l->ctx, l->path, l->json, "peft_type", "");
    if (kind != NULL && strcmp(kind, "LORA") != 0)
        tp_fail(l->ctx, TP_EFORMAT, "%s: peft_type '%.40s', expected LORA", l->path, kind);
    return tp_ok(l->ctx) && plain_lora(l);
}

/* A file that names no base, as those of others do, fits wherever its names and shapes do. */
bool tpi_adapter_same_base(loading *l, const char *here)
{
    if (here == NULL || strcmp(l->identity, here) == 0)
        return tp_ok(l->ctx);
    if (l->opts == NULL || !l->opts->any_base)
        return tp_fail(l->ctx, TP_EARG,
                       "%s: trained on the base %.40s, this model is %s (--any-base loads it all the same)", l->path,
                       l->identity, here) != NULL;
    tp_message(l->ctx, TP_WARNING, "%s: trained on the base %.40s, loaded onto %s", l->path, l->identity, here);
    return true;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* The adapter that the file says this layer has. */
static tp_adapter *attach_to(loading *l, tp_linear *linear)
{
    const tpi_json *own = tpi_json_get(tpi_json_get(l->json, "layers"), linear->m.path), *j = own ? own : l->json;
    const tp_adapter_type *type = l->peft ? &tp_lora : type_of(l, j);
    void                  *opts = type ? tpi_alloc(l->ctx, type->opts_size, 1) : NULL;
    tp_adapter            *ad = NULL;
    bool                   ok = opts != NULL && tpi_grow(l->ctx, &l->made, &l->cap, l->n + 1, sizeof *l->made);

    for (const tp_adapter *old = linear->adapters; old != NULL; old = old->below)
        if (old->type == type)
            tp_fail(l->ctx, TP_EARG, "%s: %s has an adapter of type %s already", l->path, linear->m.path, type->name);
    if (ok && (l->peft ? peft_options(l, opts)
                       : read_options(l, type, opts, tpi_json_object(l->ctx, l->path, j, "options", false))))
        ad = tp_adapter_attach(l->ctx, linear, type, opts);
    tpi_free(opts);
    if (ad == NULL)
        return NULL;
    l->made[l->n++] = ad;
    ad->pattern = l->pattern ? tpi_intern(l->ctx, l->pattern) : NULL;
    return ad;
}

static tp_adapter *adapter_of(loading *l, tp_linear *linear)
{
    for (size_t i = l->n; i-- > 0;)
        if (l->made[i]->linear == linear)
            return l->made[i];
    return attach_to(l, linear);
}

/* The layer that a name begins with, and what follows: modules of the adapter may stand before the parameter. */
static tp_linear *linear_of(loading *l, char *name, char **param)
{
    for (char *end = strrchr(name, '.'); end != NULL;) {
        tp_module *m;
        char      *before;

        *end = '\0';
        m = tp_module_find(l->root, name);
        before = strrchr(name, '.');
        *end = '.';
        *param = end + 1;
        if (m != NULL && tpi_is_linear(m))
            return (tp_linear *)m;
        end = before;
    }
    *param = name;
    return tpi_is_linear(l->root) ? (tp_linear *)l->root : NULL;
}

static const char peft_prefix[] = "base_model.model.", peft_suffix[] = ".weight";

char *tpi_adapter_our_name(loading *l, const char *name)
{
    size_t n = strlen(name), before = sizeof peft_prefix - 1, after = sizeof peft_suffix - 1;

    if (!l->peft)
        return tpi_strdup(l->ctx, name);
    if (n <= before + after || strncmp(name, peft_prefix, before) != 0 || strcmp(name + n - after, peft_suffix) != 0)
        return tp_fail(l->ctx, TP_EFORMAT, "%s: the name %.200s is not of the form %s<layer>.lora_A%s", l->path, name,
                       peft_prefix, peft_suffix);
    return tpi_strndup(l->ctx, name + before, n - before - after);
}

static void fill(loading *l, tp_tensor *w, const char *name, const char *stored)
{
    char       want[96], got[96];
    tp_scope   s = tp_scope_begin(l->ctx);
    tp_tensor *x = tp_file_read(l->ctx, l->f, stored, TP_DTYPES);

    if (x != NULL && !tp_same_shape(w, x))
        tp_fail(l->ctx, TP_ESHAPE, "%s: %s is %s, the model needs %s", l->path, name, tp_shape_text(x, got, sizeof got),
                tp_shape_text(w, want, sizeof want));
    tp_copy_to(l->ctx, w, x);
    tp_scope_end(l->ctx, s);
}

/* Whether the name goes on behind the path of the layer that is wanted. */
static bool is_wanted(const loading *l, const char *name)
{
    size_t n = l->only ? strlen(l->only) : 0;

    return l->only == NULL || (name != NULL && strncmp(name, l->only, n) == 0 && name[n] == '.');
}

static void load_tensor(loading *l, const tp_file_entry *e)
{
    char       *name = tpi_adapter_our_name(l, e->name), *param = NULL;
    bool        wanted = is_wanted(l, name);
    tp_linear  *linear = name && wanted ? linear_of(l, name, &param) : NULL;
    tp_adapter *ad = linear ? adapter_of(l, linear) : NULL;
    tp_param   *p = ad ? tp_param_find(&ad->m, param) : NULL;

    if (name != NULL && linear == NULL && wanted)
        tp_fail(l->ctx, TP_EARG, "%s: it has %.300s, for a layer that this model does not have", l->path, name);
    else if (ad != NULL && p == NULL)
        tp_fail(l->ctx, TP_EFORMAT, "%s: %s has no parameter %.200s in an adapter of type %s", l->path, linear->m.path,
                param, ad->type->name);
    if (p != NULL)
        fill(l, *p->slot, name, e->name);
    tpi_free(name);
}

static void find_missing(tp_module *m, tp_param *p, const char *name, void *user)
{
    loading *l = user;
    char    *stored;

    (void)m;
    (void)p;
    if (!tp_ok(l->ctx))
        return;
    stored = l->peft ? tpi_format(l->ctx, "%s%s%s", peft_prefix, name, peft_suffix) : tpi_strdup(l->ctx, name);
    if (stored != NULL && tp_file_find(l->f, stored) == NULL)
        tp_fail(l->ctx, TP_EFORMAT, "%s: there is no %s in it", l->path, stored);
    tpi_free(stored);
}

void tpi_adapter_load_all(loading *l)
{
    for (int64_t i = 0; i < tp_file_count(l->f) && tp_ok(l->ctx); i++) {
        const tp_file_entry *e = tp_file_at(l->f, i);

        if (l->peft || strcmp(e->section, "adapter") == 0)
            load_tensor(l, e);
    }
    if (l->n == 0 && l->only == NULL)
        tp_fail(l->ctx, TP_EFORMAT, "%s: there is no tensor of an adapter in it", l->path);
    for (size_t i = 0; i < l->n; i++)
        tp_module_params(&l->made[i]->m, false, find_missing, l);
}

bool tpi_adapter_open_file(loading *l)
{
    l->f = tp_file_open(l->ctx, l->path);
    return l->f != NULL && (tp_file_format_of(l->f) == TP_HDF5 ? read_tapir(l) : read_peft(l));
}

int tp_adapter_load(tp_ctx *ctx, tp_module *root, const char *path, const tp_adapter_load_opts *opts)
{
    loading l = { .ctx = ctx, .path = path, .opts = opts };

    if (!tp_ok(ctx))
        return 0;
    if (root == NULL || path == NULL) {
        tp_fail(ctx, TP_EARG, "adapter_load: no model or no path");
        return 0;
    }
    l.root = tpi_top(root);
    if (tpi_adapter_open_file(&l) && tpi_adapter_same_base(&l, l.identity ? tp_module_identity(ctx, l.root) : NULL))
        tpi_adapter_load_all(&l);
    if (tp_ok(ctx))
        tpi_freeze_base(ctx, l.root);
    for (size_t i = l.n; i-- > 0;) {
        if (!tp_ok(ctx))
            tp_module_free(&l.made[i]->m);
        else if (opts != NULL && opts->frozen)
            tp_module_freeze(ctx, &l.made[i]->m);
    }
    tp_file_close(l.f);
    tpi_free(l.made);
    tpi_json_free(l.json);
    return tp_ok(ctx) ? (int)l.n : 0;
}
