/* identity.c - who the weights of a model are. */
#include "core/hash.h"
#include "core/internal.h"
#include "nn/layers.h"

#include <string.h>

/* The layer's own weight, also while adapters are merged into it. */
static tp_tensor *base_value(tp_module *m, tp_param *p)
{
    tp_linear *l = (tp_linear *)m;

    if (strcmp(m->kind, "Linear") == 0 && p->slot == &l->w)
        for (const tp_adapter *ad = l->adapters; ad != NULL; ad = ad->below)
            if (ad->unmerged != NULL)
                return ad->unmerged;
    return *p->slot;
}

/* A model without a file hashes its own tensors: names, dtypes, shapes, values. */
static void hash_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    tpi_hasher *h = user;
    char        shape[128];
    tp_tensor  *x = base_value(m, p), *rows;
    const char *type = tp_dtype_name(tp_dtype_of(x));
    const void *v;
    tp_scope    s;

    if (m->adapter)
        return;
    s = tp_scope_begin(m->ctx);
    rows = tpi_rows(m->ctx, x);
    v = rows ? tp_values(m->ctx, rows) : NULL;
    tpi_hash_add(h, name, strlen(name) + 1);
    tpi_hash_add(h, type, strlen(type) + 1);
    tp_shape_text(x, shape, sizeof shape);
    tpi_hash_add(h, shape, strlen(shape) + 1);
    if (v != NULL)
        tpi_hash_add(h, v, (size_t)tp_numel(x) * tp_dtype_size(tp_dtype_of(x)));
    tp_scope_end(m->ctx, s);
}

const char *tp_module_identity(tp_ctx *ctx, tp_module *root)
{
    tpi_hasher h;
    tpi_id128  id;
    char       text[40];

    if (!tp_ok(ctx) || root == NULL)
        return tp_fail(ctx, TP_EARG, "module_identity: no module");
    if (root->identity != NULL)
        return root->identity;
    tpi_hash_begin(&h);
    tp_module_params(root, false, hash_param, &h);
    id = tpi_hash_end128(&h);
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)id.high, (unsigned long long)id.low);
    root->identity = tp_ok(ctx) ? tpi_intern(ctx, text) : NULL;
    return root->identity;
}
