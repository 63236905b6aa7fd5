/* merge_file.c - an adapter in a file merged into weights one by one, without a model in memory. */
#include "core/internal.h"
#include "core/json.h"
#include "ops/ops.h"
#include "peft/adapter_load.h"

#include <string.h>

struct tp_adapter_file {
    tpi_loading          l;
    tp_adapter_load_opts opts;
    char                *path;
    char               **layer; /* paths of the layers that it has tensors for, each once */
    size_t               layers, layer_cap;
};

/* What an adapter's tensor belongs to: its name without the last word. */
static bool add_layer(tp_adapter_file *a, const char *stored)
{
    char *name = tpi_adapter_our_name(&a->l, stored), *dot = name ? strrchr(name, '.') : NULL;

    if (dot == NULL) {
        tpi_free(name);
        return tp_fail(a->l.ctx, TP_EFORMAT, "%s: the name %.200s has no layer", a->path, stored) != NULL;
    }
    *dot = '\0';
    for (size_t i = 0; i < a->layers; i++)
        if (strcmp(a->layer[i], name) == 0) {
            tpi_free(name);
            return true;
        }
    if (!tpi_grow(a->l.ctx, &a->layer, &a->layer_cap, a->layers + 1, sizeof *a->layer)) {
        tpi_free(name);
        return false;
    }
    a->layer[a->layers++] = name;
    return true;
}

static bool list_layers(tp_adapter_file *a)
{
    for (int64_t i = 0; tp_ok(a->l.ctx) && i < tp_file_count(a->l.f); i++) {
        const tp_file_entry *e = tp_file_at(a->l.f, i);

        if ((a->l.peft || strcmp(e->section, "adapter") == 0) && !add_layer(a, e->name))
            return false;
    }
    return a->layers > 0 || tp_fail(a->l.ctx, TP_EFORMAT, "%s: there is no tensor of an adapter in it", a->path) != NULL;
}

tp_adapter_file *tp_adapter_open(tp_ctx *ctx, const char *path, const tp_adapter_load_opts *opts)
{
    tp_adapter_file *a;

    if (!tp_ok(ctx))
        return NULL;
    if (path == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_open: no path");
    a = tpi_alloc(ctx, 1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->opts = opts ? *opts : (tp_adapter_load_opts){ false, false, NULL };
    a->path = tpi_strdup(ctx, path);
    a->l = (tpi_loading){ .ctx = ctx, .path = a->path, .opts = &a->opts };
    if (a->path != NULL && tpi_adapter_open_file(&a->l) && list_layers(a))
        return a;
    tp_adapter_close(a);
    return NULL;
}

void tp_adapter_close(tp_adapter_file *a)
{
    if (a == NULL)
        return;
    tp_file_close(a->l.f);
    tpi_json_free(a->l.json);
    for (size_t i = 0; i < a->layers; i++)
        tpi_free(a->layer[i]);
    tpi_free(a->layer);
    tpi_free(a->path);
    tpi_free(a);
}

int64_t tp_adapter_layers(const tp_adapter_file *a)
{
    return a ? (int64_t)a->layers : 0;
}

/* ---- the base ---------------------------------------------------------------------------------------------------- */

/* Cuts what is no layer of base off a path: modules of the adapter that stand before its parameter. */
static bool find_layer(tp_ctx *ctx, char *path, tp_file *base)
{
    size_t n = strlen(path);

    while (n > 0) {
        char *name = tpi_format(ctx, "%.*s.weight", (int)n, path);
        bool  there = name != NULL && tp_file_find(base, name) != NULL;

        tpi_free(name);
        if (there) {
            path[n] = '\0';
            return true;
        }
        while (n > 0 && path[--n] != '.')
            ;
    }
    return false;
}

bool tp_adapter_fits(tp_ctx *ctx, tp_adapter_file *a, tp_file *base)
{
    const char *here;

    if (!tp_ok(ctx) || a == NULL || base == NULL)
        return tp_fail(ctx, TP_EARG, "adapter_fits: no adapter or no base") != NULL;
    here = a->l.identity ? tp_file_identity(ctx, base) : NULL;
    if (!tp_ok(ctx) || !tpi_adapter_same_base(&a->l, here))
        return false;
    for (size_t i = 0; i < a->layers; i++)
        if (!find_layer(ctx, a->layer[i], base))
            return tp_fail(ctx, TP_EARG, "%s: it has an adapter for %.300s, a layer that %.200s does not have", a->path,
                           a->layer[i], tp_file_path(base)) != NULL;
    return true;
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* The layer of a weight's name, one of the adapter's; NULL: none. */
static const char *layer_of(const tp_adapter_file *a, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; n > 7 && strcmp(name + n - 7, ".weight") == 0 && i < a->layers; i++)
        if (strlen(a->layer[i]) == n - 7 && memcmp(a->layer[i], name, n - 7) == 0)
            return a->layer[i];
    return NULL;
}

/* The deltas of all adapters of the layer, added to its weight in f64. */
static tp_tensor *add_deltas(tp_ctx *ctx, tp_linear *l)
{
    tp_tensor *sum = tpi_cast(ctx, l->w, TP_F64);
    char       x[96], y[96];

    for (tp_adapter *ad = l->adapters; ad != NULL && tp_ok(ctx); ad = ad->below) {
        tp_tensor *delta = ad->type->delta ? ad->type->delta(ctx, ad) : NULL;

        if (delta == NULL)
            return tp_fail(ctx, TP_EARG, "%s: an adapter of type %s cannot be merged", ad->m.path, ad->type->name);
        if (!tp_same_shape(delta, l->w))
            return tp_fail(ctx, TP_ESHAPE, "%s: merge: the delta of %s is %s, the weight %s", ad->m.path, ad->type->name,
                           tp_shape_text(delta, x, sizeof x), tp_shape_text(l->w, y, sizeof y));
        sum = tp_add(ctx, sum, tpi_cast(ctx, delta, TP_F64));
    }
    return sum;
}

/* A model of one layer, which the adapter is loaded onto. */
static tp_tensor *merge_layer(tp_ctx *ctx, tp_adapter_file *a, const char *layer, tp_tensor *w)
{
    tp_module  root;
    tp_linear  linear = { .adapters = NULL };
    tp_tensor *y = NULL;

    tp_module_init(ctx, &root, NULL, "Root", "");
    tp_module_init(ctx, &linear.m, &root, "Linear", layer);
    tp_param_set(ctx, &linear.m, &linear.w, "weight", w);
    a->l.root = &root;
    a->l.only = layer;
    if (tp_ok(ctx))
        tpi_adapter_load_all(&a->l);
    if (tp_ok(ctx))
        y = add_deltas(ctx, &linear);
    tp_module_free(&root);
    tpi_free(a->l.made);
    a->l.made = NULL;
    a->l.n = a->l.cap = 0;
    a->l.root = NULL;
    return y;
}

tp_tensor *tp_adapter_merged(tp_ctx *ctx, tp_adapter_file *a, const char *name, tp_tensor *w)
{
    const char *layer;
    tp_tensor  *y;
    tp_scope    s;
    bool        was;

    if (!tp_ok(ctx) || a == NULL || name == NULL || !tpi_check(ctx, "adapter_merged", w, 1))
        return tp_fail(ctx, TP_EARG, "adapter_merged: no adapter, no name or no weight");
    layer = layer_of(a, name);
    if (layer == NULL)
        return NULL;
    if (tp_ndim(w) != 2 || !tp_dtype_is_float(tp_dtype_of(w)))
        return tp_fail(ctx, TP_ESHAPE, "adapter_merged: %.300s is no matrix of floating numbers", name);
    s = tp_scope_begin(ctx);
    was = tp_record(ctx, false);
    y = merge_layer(ctx, a, layer, w);
    tp_record(ctx, was);
    return tp_scope_return(ctx, s, y);
}
