/* identity.c - who the weights of a model are: what tp_file_identity says of the file that they would be saved to. */
#include "core/hash.h"
#include "core/internal.h"
#include "nn/files/filetable.h"
#include "nn/layers.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char            *name;
    tpi_identity_item item; /* its name and sizes are pointers into this and the tensor */
} line;

typedef struct {
    tp_ctx *ctx;
    line   *line;
    size_t  n, cap;
} lines;

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

static bool hash_values(tp_ctx *ctx, tp_tensor *x, uint64_t *hash)
{
    tp_scope    s = tp_scope_begin(ctx);
    tp_tensor  *rows = tpi_rows(ctx, x);
    const void *v = rows ? tp_values(ctx, rows) : NULL;

    if (v != NULL)
        *hash = tpi_hash64(v, (size_t)tp_numel(x) * tp_dtype_size(tp_dtype_of(x)));
    tp_scope_end(ctx, s);
    return v != NULL;
}

static void add_line(tp_module *m, tp_param *p, const char *name, void *user)
{
    lines     *l = user;
    tp_tensor *x = base_value(m, p);
    line      *k;

    if (m->adapter || !tp_ok(l->ctx) || !tpi_grow(l->ctx, &l->line, &l->cap, l->n + 1, sizeof *l->line))
        return;
    k = &l->line[l->n];
    *k = (line){ tpi_strdup(l->ctx, name), { NULL, tpi_stored_of(tp_dtype_of(x))->name, x->ndim, x->dim, 0 } };
    if (k->name == NULL)
        return;
    l->n++;
    hash_values(l->ctx, x, &k->item.hash);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const line *)a)->name, ((const line *)b)->name);
}

/* The text of the identity; false after a failure. */
static bool look(tp_ctx *ctx, tp_module *root, char text[33])
{
    lines      l = { ctx, NULL, 0, 0 };
    tpi_hasher h;

    tp_module_params(root, false, add_line, &l);
    if (l.n > 1)
        qsort(l.line, l.n, sizeof *l.line, by_name);
    tpi_hash_begin(&h);
    for (size_t i = 0; i < l.n; i++) {
        l.line[i].item.name = l.line[i].name;
        tpi_identity_add(&h, &l.line[i].item);
        tpi_free(l.line[i].name);
    }
    tpi_free(l.line);
    tpi_identity_text(tpi_hash_end128(&h), text);
    return tp_ok(ctx);
}

const char *tp_module_identity(tp_ctx *ctx, tp_module *root)
{
    char text[33];

    if (!tp_ok(ctx) || root == NULL)
        return tp_fail(ctx, TP_EARG, "module_identity: no module");
    if (root->identity == NULL)
        root->identity = look(ctx, root, text) ? tpi_intern(ctx, text) : NULL;
    return root->identity;
}
