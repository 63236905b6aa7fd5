/* module.c - the tree of modules, and what they own. */
#include "core/internal.h"
#include "nn/module.h"

#include <string.h>

enum { MAX_PATH = 512, MAX_NAME = MAX_PATH + 128 };

/* The part of the path that m's children get: nameless modules do not show. */
static const char *prefix_of(const tp_module *m)
{
    if (m == NULL)
        return "";
    return m->name[0] == '\0' && m->parent != NULL ? prefix_of(m->parent) : m->path;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* Whether m is parent, above it, or one of its children. */
static bool in_tree(const tp_module *m, const tp_module *parent)
{
    for (const tp_module *a = parent; a != NULL; a = a->parent)
        if (a == m)
            return true;
    for (const tp_module *c = parent ? parent->child : NULL; c != NULL; c = c->next)
        if (c == m)
            return true;
    return false;
}

static bool name_it(tp_ctx *ctx, tp_module *m, const tp_module *parent, const char *kind, const char *name)
{
    char        path[MAX_PATH];
    const char *prefix = prefix_of(parent);
    bool        dot = prefix[0] != '\0' && name[0] != '\0';

    if (strlen(prefix) + strlen(name) + 2 > sizeof path || strlen(kind) >= sizeof path)
        return tp_fail(ctx, TP_EARG, "module_init: the path of '%.80s' would have more than %d bytes", name,
                       MAX_PATH - 1) != NULL;
    snprintf(path, sizeof path, "%s%s%s", prefix, dot ? "." : "", parent ? name : "");
    for (const tp_module *c = parent ? parent->child : NULL; c != NULL; c = c->next)
        if (name[0] != '\0' && strcmp(c->name, name) == 0)
            return tp_fail(ctx, TP_EARG, "module_init: there is a module '%s' already", path) != NULL;
    kind = tpi_intern(ctx, kind);
    name = kind ? tpi_intern(ctx, name) : NULL;
    m->path = name ? tpi_intern(ctx, path) : NULL;
    if (m->path == NULL)
        return false;
    m->kind = kind;
    m->name = name;
    return true;
}

void tp_module_init(tp_ctx *ctx, tp_module *m, tp_module *parent, const char *kind, const char *name)
{
    tp_module **at;

    if (m == NULL)
        return;
    if (in_tree(m, parent)) {
        tp_fail(ctx, TP_EARG, "module_init: '%s' is its own ancestor or is there already", name ? name : "");
        return;
    }
    memset(m, 0, sizeof *m);
    m->ctx = ctx;
    m->kind = m->name = m->path = "";
    m->training = parent ? parent->training : true;
    m->adapter = parent ? parent->adapter : false;
    if (tp_ok(ctx) && (kind == NULL || name == NULL))
        tp_fail(ctx, TP_EARG, "module_init: a kind and a name are needed");
    if (!tp_ok(ctx) || !name_it(ctx, m, parent, kind, name)) {
        m->path = "";
        return;
    }
    m->parent = parent;
    for (at = parent ? &parent->child : NULL; at != NULL; at = &(*at)->next)
        if (*at == NULL) {
            *at = m;
            break;
        }
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

/* ---- freeing ----------------------------------------------------------------------------------------------------- */

static void free_below(tp_module *m)
{
    if (m->on_free != NULL)
        m->on_free(m);
    while (m->child != NULL) {
        tp_module *c = m->child;

        m->child = c->next;
        c->next = NULL;
        free_below(c);
    }
    while (m->param != NULL) {
        tp_param *p = m->param;

        m->param = p->next;
        tp_release(*p->slot);
        *p->slot = NULL;
        tpi_free(p);
    }
    m->parent = NULL; /* a struct of somebody else's may be freed once more */
    m->on_free = NULL;
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
    m->next = NULL;
    free_below(m);
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static tp_param *own_param(const tp_module *m, const char *name)
{
    for (tp_param *p = m->param; p != NULL; p = p->next)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static tp_param *append_param(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name)
{
    tp_param *p = tpi_alloc(ctx, 1, sizeof *p), **at;

    if (p == NULL)
        return NULL;
    p->name = tpi_intern(ctx, name);
    if (p->name == NULL) {
        tpi_free(p);
        return NULL;
    }
    p->slot = slot;
    p->lr_factor = 1;
    *slot = NULL;
    for (at = &m->param; *at != NULL; at = &(*at)->next)
        ;
    *at = p;
    return p;
}

tp_tensor *tp_param_set(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_tensor *x)
{
    tp_param *p;

    if (!tp_ok(ctx) || m == NULL || slot == NULL || name == NULL)
        return tp_fail(ctx, TP_EARG, "param_set: a module, a slot and a name are needed");
    if (!tpi_check(ctx, "param_set", x, 0))
        return NULL;
    if (strlen(name) >= MAX_NAME - MAX_PATH)
        return tp_fail(ctx, TP_EARG, "param_set: the name %.80s... has more than %d bytes", name,
                       MAX_NAME - MAX_PATH - 1);
    p = own_param(m, name);
    if (p != NULL && p->slot != slot)
        return tp_fail(ctx, TP_EARG, "param_set: '%s' has a parameter %s already", m->path, name);
    if (p == NULL)
        p = append_param(ctx, m, slot, name);
    if (p == NULL)
        return NULL;
    tp_retain(x);
    tp_release(*slot);
    *slot = x;
    return x;
}

tp_tensor *tp_param_new(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_dtype t, int ndim,
                        const int64_t *dim)
{
    tp_scope   s;
    tp_tensor *x;

    if (m != NULL && name != NULL && own_param(m, name) != NULL)
        return tp_fail(ctx, TP_EARG, "param_new: '%s' has a parameter %s already", m->path, name);
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

tp_tensor *tp_buffer_new(tp_ctx *ctx, tp_module *m, tp_tensor **slot, const char *name, tp_dtype t, int ndim,
                         const int64_t *dim)
{
    tp_tensor *x = tp_param_new(ctx, m, slot, name, t, ndim, dim);

    if (x == NULL)
        return NULL;
    own_param(m, name)->buffer = true;
    if (tp_dtype_is_float(t))
        tp_set_trainable(ctx, x, false);
    return x;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* What follows c's name in path: "" at its end, NULL when path does not begin with it; all of it for a nameless c. */
static const char *behind(const tp_module *c, const char *path)
{
    size_t n = strlen(c->name);

    if (n == 0)
        return path;
    if (strncmp(path, c->name, n) != 0 || (path[n] != '\0' && (path[n] != '.' || path[n + 1] == '\0')))
        return NULL;
    return path + n + (path[n] == '.');
}

tp_module *tp_module_find(tp_module *root, const char *path)
{
    if (root == NULL || path == NULL || path[0] == '\0')
        return path ? root : NULL;
    for (tp_module *c = root->child; c != NULL; c = c->next) {
        const char *rest = behind(c, path);
        tp_module  *m = rest ? tp_module_find(c, rest) : NULL;

        if (m != NULL)
            return m;
    }
    return NULL;
}

tp_param *tp_param_find(tp_module *root, const char *name)
{
    tp_param *p = root && name ? own_param(root, name) : NULL;

    for (tp_module *c = root && name ? root->child : NULL; c != NULL && p == NULL; c = c->next) {
        const char *rest = behind(c, name);

        p = rest && rest[0] != '\0' ? tp_param_find(c, rest) : NULL;
    }
    return p;
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
    void (*fn)(tp_module *m, tp_param *p, const char *name, void *user);
    void         *user;
    tpi_storage **seen; /* NULL: all come; else an open hash of the storages met so far */
    size_t        mask;
} param_walk;

static bool first_time(param_walk *w, tpi_storage *s)
{
    size_t i = ((uintptr_t)s >> 5) & w->mask;

    for (; w->seen[i] != NULL; i = (i + 1) & w->mask)
        if (w->seen[i] == s)
            return false;
    w->seen[i] = s;
    return true;
}

static void walk_params(tp_module *m, void *user)
{
    param_walk *w = user;
    const char *prefix = prefix_of(m);
    char        name[MAX_NAME];

    for (tp_param *p = m->param, *next; p != NULL; p = next) {
        next = p->next;
        if (*p->slot == NULL || (w->seen != NULL && !first_time(w, (*p->slot)->store)))
            continue;
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", p->name);
        w->fn(m, p, name, w->user);
    }
}

static void count_slots(tp_module *m, void *user)
{
    for (tp_param *p = m->param; p != NULL; p = p->next)
        ++*(size_t *)user;
}

void tp_module_params(tp_module *m, bool unique, void (*fn)(tp_module *m, tp_param *p, const char *name, void *user),
                      void *user)
{
    param_walk w = { fn, user, NULL, 15 };
    size_t     n = 0;

    if (m == NULL || fn == NULL)
        return;
    if (unique) {
        tp_module_walk(m, count_slots, &n);
        while (w.mask < 2 * n)
            w.mask = 2 * w.mask + 1;
        w.seen = tpi_alloc(m->ctx, w.mask + 1, sizeof *w.seen);
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
    if (p->buffer) {
        c->buffers += tp_numel(*p->slot);
        c->buffer_tensors++;
        return;
    }
    c->all += tp_numel(*p->slot);
    c->tensors++;
    if (tp_trainable(*p->slot)) {
        c->trainable += tp_numel(*p->slot);
        c->trainable_tensors++;
    }
}

tp_count tp_module_count(tp_module *m)
{
    tp_count c = { 0 };

    tp_module_params(m, true, count_one, &c);
    return c;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

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
