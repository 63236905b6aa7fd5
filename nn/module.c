/* module.c - the tree of modules and their parameters. */
#include "core/internal.h"
#include "nn/module.h"

#include <string.h>

/* The part of the path that m's children get: adapters do not show. */
static const char *prefix_of(const tp_module *m)
{
    if (m == NULL)
        return "";
    return m->name[0] == '\0' && m->parent != NULL ? prefix_of(m->parent) : m->path;
}

void tp_module_init(tp_ctx *ctx, tp_module *m, tp_module *parent, const char *kind, const char *name)
{
    char        path[512];
    const char *prefix = prefix_of(parent);
    tp_module **at;

    if (m == NULL)
        return;
    memset(m, 0, sizeof *m);
    m->ctx = ctx;
    m->kind = m->name = m->path = "";
    m->training = true;
    if (!tp_ok(ctx) || kind == NULL || name == NULL)
        return;
    snprintf(path, sizeof path, "%s%s%s", parent ? prefix : "", parent && prefix[0] && name[0] ? "." : "",
             parent ? name : "");
    m->kind = tpi_intern(ctx, kind);
    m->name = tpi_intern(ctx, name);
    m->path = tpi_intern(ctx, path);
    if (!tp_ok(ctx)) {
        m->kind = m->name = m->path = "";
        return;
    }
    m->parent = parent;
    if (parent == NULL)
        return;
    for (at = &parent->child; *at != NULL; at = &(*at)->next)
        if (*at == m || parent == m) {
            tp_fail(ctx, TP_EARG, "module_init: '%s' is its own ancestor or is there already", name);
            return;
        }
    *at = m;
}

void *tp_module_new(tp_ctx *ctx, size_t size, tp_module *parent, const char *kind, const char *name)
{
    tp_module *m;

    if (!tp_ok(ctx))
        return NULL;
    if (size < sizeof *m)
        return tp_fail(ctx, TP_EARG, "module_new: %zu bytes, a module begins with a tp_module of %zu", size, sizeof *m);
    m = tpi_alloc(ctx, 1, size);
    if (m == NULL)
        return NULL;
    tp_module_init(ctx, m, parent, kind, name);
    m->owned = m;
    if (!tp_ok(ctx)) {
        tpi_free(m);
        return NULL;
    }
    return m;
}

static void free_below(tp_module *m)
{
    while (m->child != NULL) {
        tp_module *c = m->child;

        m->child = c->next;
        c->parent = NULL;
        free_below(c);
    }
    while (m->param != NULL) {
        tp_param *p = m->param;

        m->param = p->next;
        tp_release(*p->slot);
        *p->slot = NULL;
        tpi_free(p);
    }
    tpi_free(m->owned);
}

void tp_module_free(tp_module *m)
{
    tp_module **at;

    if (m == NULL)
        return;
    for (at = m->parent ? &m->parent->child : NULL; at != NULL && *at != NULL; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    free_below(m);
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

tp_tensor *tp_param_set(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_tensor *x)
{
    tp_param *p, **at;

    if (!tp_ok(ctx) || m == NULL || slot == NULL || name == NULL)
        return tp_fail(ctx, TP_EARG, "param_set: a module, a slot and a name are needed");
    if (!tpi_check(ctx, "param_set", x, 0))
        return NULL;
    p = tpi_alloc(ctx, 1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->name = tpi_intern(ctx, name);
    if (p->name == NULL) {
        tpi_free(p);
        return NULL;
    }
    p->slot = slot;
    p->lr_factor = 1;
    *slot = tp_retain(x);
    for (at = &m->param; *at != NULL; at = &(*at)->next)
        ;
    *at = p;
    return x;
}

tp_tensor *tp_param_new(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_dtype t, int ndim,
                        const int64_t *dim)
{
    tp_scope   s;
    tp_tensor *x;

    if (slot != NULL)
        *slot = NULL;
    if (!tp_ok(ctx))
        return NULL;
    s = tp_scope_begin(ctx);
    x = tp_zeros(ctx, t, ndim, dim);
    if (x != NULL && tp_dtype_is_float(t))
        tp_set_trainable(ctx, x, true);
    x = tp_param_set(ctx, m, slot, name, x);
    tp_scope_end(ctx, s);
    return x;
}

tp_param *tp_param_find(tp_module *root, const char *name)
{
    const char *dot = name ? strrchr(name, '.') : NULL;
    char        path[512];
    tp_module  *m = root;

    if (root == NULL || name == NULL || (dot != NULL && (size_t)(dot - name) >= sizeof path))
        return NULL;
    if (dot != NULL) {
        memcpy(path, name, (size_t)(dot - name));
        path[dot - name] = '\0';
        m = tp_module_find(root, path);
    }
    for (; m != NULL;
         m = m->child && m->child->name[0] == '\0' ? m->child : NULL) /* an adapter's count as its layer's */
        for (tp_param *p = m->param; p != NULL; p = p->next)
            if (strcmp(p->name, dot ? dot + 1 : name) == 0)
                return p;
    return NULL;
}

tp_module *tp_module_find(tp_module *root, const char *path)
{
    size_t n;

    if (root == NULL || path == NULL || path[0] == '\0')
        return root;
    n = strcspn(path, ".");
    for (tp_module *c = root->child; c != NULL; c = c->next)
        if (strlen(c->name) == n && n > 0 && strncmp(c->name, path, n) == 0)
            return tp_module_find(c, path[n] == '.' ? path + n + 1 : "");
    return NULL;
}

/* ---- walks ------------------------------------------------------------------------------------------------------- */

void tp_module_walk(tp_module *m, void (*fn)(tp_module *m, void *user), void *user)
{
    if (m == NULL || fn == NULL)
        return;
    fn(m, user);
    for (tp_module *c = m->child, *next; c != NULL; c = next) {
        next = c->next;
        tp_module_walk(c, fn, user);
    }
}

typedef struct {
    bool unique;
    void (*fn)(tp_module *m, tp_param *p, const char *name, void *user);
    void         *user;
    tpi_storage **seen; /* an open hash of the storages met so far */
    size_t        n_seen;
} param_walk;

enum { SEEN = 1 << 16 };

static bool first_time(param_walk *w, tpi_storage *s)
{
    size_t i = ((uintptr_t)s >> 5) & (SEEN - 1);

    if (s == NULL || w->n_seen >= SEEN - 1)
        return true;
    for (; w->seen[i] != NULL; i = (i + 1) & (SEEN - 1))
        if (w->seen[i] == s)
            return false;
    w->seen[i] = s;
    w->n_seen++;
    return true;
}

static void walk_params(tp_module *m, void *user)
{
    param_walk *w = user;
    const char *prefix = prefix_of(m);
    char        name[640];

    for (tp_param *p = m->param, *next; p != NULL; p = next) {
        next = p->next;
        if (*p->slot == NULL || (w->unique && !first_time(w, (*p->slot)->store)))
            continue;
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", p->name);
        w->fn(m, p, name, w->user);
    }
}

void tp_module_params(tp_module *m, bool unique, void (*fn)(tp_module *m, tp_param *p, const char *name, void *user),
                      void *user)
{
    param_walk w = { unique, fn, user, NULL, 0 };

    if (m == NULL || fn == NULL)
        return;
    if (unique) {
        w.seen = tpi_alloc(m->ctx, SEEN, sizeof *w.seen);
        if (w.seen == NULL)
            return;
    }
    tp_module_walk(m, walk_params, &w);
    tpi_free(w.seen);
}

static void count_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    tp_count *c = user;

    (void)m;
    (void)name;
    c->all += tp_numel(*p->slot);
    c->tensors++;
    if (tp_trainable(*p->slot)) {
        c->trainable += tp_numel(*p->slot);
        c->trainable_tensors++;
    }
}

tp_count tp_module_count(tp_module *m)
{
    tp_count c = { 0, 0, 0, 0 };

    tp_module_params(m, true, count_one, &c);
    return c;
}

static void freeze_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)name;
    (void)user;
    tp_set_trainable(m->ctx, *p->slot, false);
}

static void unfreeze_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)name;
    (void)user;
    if (!p->buffer && tp_dtype_is_float(tp_dtype_of(*p->slot)))
        tp_set_trainable(m->ctx, *p->slot, true);
}

static void clear_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    (void)m;
    (void)name;
    (void)user;
    tp_grad_drop(*p->slot);
}

void tp_module_freeze(tp_ctx *ctx, tp_module *m)
{
    if (tp_ok(ctx))
        tp_module_params(m, false, freeze_one, NULL);
}

void tp_module_unfreeze(tp_ctx *ctx, tp_module *m)
{
    if (tp_ok(ctx))
        tp_module_params(m, false, unfreeze_one, NULL);
}

void tp_grad_clear(tp_ctx *ctx, tp_module *m)
{
    if (ctx != NULL)
        tp_module_params(m, false, clear_one, NULL);
}

static void set_training(tp_module *m, void *user)
{
    m->training = *(bool *)user;
}

void tp_module_set_training(tp_module *m, bool on)
{
    tp_module_walk(m, set_training, &on);
}

const char *tp_module_enter(tp_ctx *ctx, const tp_module *m)
{
    return tp_ok(ctx) && m != NULL ? tpi_set_path(ctx, m->path) : NULL;
}

void tp_module_leave(tp_ctx *ctx, const char *before)
{
    if (tp_ok(ctx))
        tpi_set_path(ctx, before);
}
