/* containers.c - Sequential, lists of modules, MLP. */
#include "core/internal.h"
#include "nn/nets.h"
#include "ops/ops.h"

#include <string.h>

typedef struct tp_seq_entry tp_seq_entry;

/* What stands at a place: a layer of one of the kinds below, or a function. */
struct tp_seq_entry {
    tp_module  *layer;
    tp_layer_fn run;
    tp_function fn;
};

enum { NAME = 24 };

/* ---- sequential -------------------------------------------------------------------------------------------------- */

static void sequential_freed(tp_module *m)
{
    tp_sequential *s = (tp_sequential *)m;

    tpi_free(s->entry);
    s->entry = NULL;
    s->n = s->cap = 0;
}

void tp_sequential_init(tp_ctx *ctx, tp_sequential *s, tp_module *parent, const char *name)
{
    if (s == NULL)
        return;
    memset(s, 0, sizeof *s);
    tp_module_init(ctx, &s->m, parent, "Sequential", name);
    s->m.on_free = sequential_freed;
}

/* Memory for a layer, and room for its entry; its name is its place. */
static void *begin_layer(tp_ctx *ctx, tp_sequential *s, size_t size, char name[NAME])
{
    if (!tp_ok(ctx) || s == NULL)
        return tp_fail(ctx, TP_EARG, "sequential: nothing to append to");
    if (!tpi_grow(ctx, &s->entry, &s->cap, s->n + 1, sizeof *s->entry))
        return NULL;
    snprintf(name, NAME, "%zu", s->n);
    return tpi_alloc(ctx, 1, size);
}

/* Makes m, which has been initialised, the next entry; what did not get into the tree is freed.  NULL after a failure. */
static void *end_layer(tp_ctx *ctx, tp_sequential *s, tp_module *m, tp_layer_fn run)
{
    m->owned = m;
    if (m->parent == &s->m && tp_ok(ctx)) {
        s->entry[s->n++] = (tp_seq_entry){ m, run, NULL };
        return m;
    }
    tp_module_free(m);
    return NULL;
}

static tp_tensor *run_linear(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_linear_forward(ctx, (tp_linear *)m, x);
}

static tp_tensor *run_conv2d(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_conv2d_forward(ctx, (tp_conv2d_layer *)m, x);
}

static tp_tensor *run_batch_norm(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_batch_norm_forward(ctx, (tp_batch_norm *)m, x);
}

static tp_tensor *run_layer_norm(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_layer_norm_forward(ctx, (tp_layer_norm *)m, x);
}

static tp_tensor *run_dropout(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_dropout_forward(ctx, (tp_dropout_layer *)m, x);
}

tp_linear *tp_sequential_linear(tp_ctx *ctx, tp_sequential *s, int64_t in, int64_t out, bool bias, tp_dtype t)
{
    char       name[NAME];
    tp_linear *l = begin_layer(ctx, s, sizeof *l, name);

    if (l == NULL)
        return NULL;
    tp_linear_init(ctx, l, &s->m, name, in, out, bias, t);
    return end_layer(ctx, s, &l->m, run_linear);
}

tp_conv2d_layer *tp_sequential_conv2d(tp_ctx *ctx, tp_sequential *s, int64_t in, int64_t out, int64_t kernel_h,
                                      int64_t kernel_w, bool bias, tp_dtype t, const tp_conv_opts *opts)
{
    char             name[NAME];
    tp_conv2d_layer *l = begin_layer(ctx, s, sizeof *l, name);

    if (l == NULL)
        return NULL;
    tp_conv2d_init(ctx, l, &s->m, name, in, out, kernel_h, kernel_w, bias, t, opts);
    return end_layer(ctx, s, &l->m, run_conv2d);
}

tp_batch_norm *tp_sequential_batch_norm(tp_ctx *ctx, tp_sequential *s, int64_t channels, tp_dtype t,
                                        const tp_batchnorm_opts *opts)
{
    char           name[NAME];
    tp_batch_norm *l = begin_layer(ctx, s, sizeof *l, name);

    if (l == NULL)
        return NULL;
    tp_batch_norm_init(ctx, l, &s->m, name, channels, t, opts);
    return end_layer(ctx, s, &l->m, run_batch_norm);
}

tp_layer_norm *tp_sequential_layer_norm(tp_ctx *ctx, tp_sequential *s, int64_t d, double eps, tp_dtype t)
{
    char           name[NAME];
    tp_layer_norm *l = begin_layer(ctx, s, sizeof *l, name);

    if (l == NULL)
        return NULL;
    tp_layer_norm_init(ctx, l, &s->m, name, d, eps, t);
    return end_layer(ctx, s, &l->m, run_layer_norm);
}

tp_dropout_layer *tp_sequential_dropout(tp_ctx *ctx, tp_sequential *s, double p)
{
    char              name[NAME];
    tp_dropout_layer *l = begin_layer(ctx, s, sizeof *l, name);

    if (l == NULL)
        return NULL;
    tp_dropout_init(ctx, l, &s->m, name, p);
    return end_layer(ctx, s, &l->m, run_dropout);
}

void tp_sequential_apply(tp_ctx *ctx, tp_sequential *s, tp_function fn)
{
    if (!tp_ok(ctx) || s == NULL || fn == NULL)
        tp_fail(ctx, TP_EARG, "sequential_apply: nothing to append to, or no function");
    else if (tpi_grow(ctx, &s->entry, &s->cap, s->n + 1, sizeof *s->entry))
        s->entry[s->n++] = (tp_seq_entry){ NULL, NULL, fn };
}

void *tp_sequential_add(tp_ctx *ctx, tp_sequential *s, size_t size, const char *kind, tp_layer_fn forward)
{
    char       name[NAME];
    tp_module *m;

    if (!tp_ok(ctx) || kind == NULL || forward == NULL || size < sizeof *m)
        return tp_fail(ctx, TP_EARG, "sequential_add: a kind, a forward and at least %zu bytes are needed", sizeof *m);
    m = begin_layer(ctx, s, size, name);
    if (m == NULL)
        return NULL;
    tp_module_init(ctx, m, &s->m, kind, name);
    return end_layer(ctx, s, m, forward);
}

tp_tensor *tp_sequential_forward(tp_ctx *ctx, tp_sequential *s, tp_tensor *x)
{
    const char *before;

    if (!tp_ok(ctx) || s == NULL)
        return tp_fail(ctx, TP_EARG, "sequential: no layer");
    if (!tpi_check(ctx, "sequential", x, 0))
        return NULL;
    before = tp_module_enter(ctx, &s->m);
    for (size_t i = 0; i < s->n && tp_ok(ctx); i++)
        x = s->entry[i].fn ? s->entry[i].fn(ctx, x) : s->entry[i].run(ctx, s->entry[i].layer, x);
    tp_module_leave(ctx, before);
    return tp_ok(ctx) ? x : NULL;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void tp_module_list_init(tp_ctx *ctx, tp_module_list *l, tp_module *parent, const char *name)
{
    if (l == NULL)
        return;
    memset(l, 0, sizeof *l);
    tp_module_init(ctx, &l->m, parent, "ModuleList", name);
}

void *tp_module_list_add(tp_ctx *ctx, tp_module_list *l, size_t size, const char *kind)
{
    char name[NAME];

    if (!tp_ok(ctx) || l == NULL || kind == NULL)
        return tp_fail(ctx, TP_EARG, "module_list_add: a list and a kind are needed");
    snprintf(name, sizeof name, "%lld", (long long)tp_module_list_count(l));
    return tp_module_new(ctx, size, &l->m, kind, name);
}

tp_module *tp_module_list_at(const tp_module_list *l, int64_t i)
{
    tp_module *m = l && i >= 0 ? l->m.child : NULL;

    for (; m != NULL && i > 0; i--)
        m = m->next;
    return m;
}

int64_t tp_module_list_count(const tp_module_list *l)
{
    int64_t n = 0;

    for (const tp_module *m = l ? l->m.child : NULL; m != NULL; m = m->next)
        n++;
    return n;
}

/* ---- mlp --------------------------------------------------------------------------------------------------------- */

static void mlp_freed(tp_module *m)
{
    tp_mlp *l = (tp_mlp *)m;

    for (int i = 0; i < l->n; i++)
        tp_module_free(&l->layer[i].m);
    tpi_free(l->layer);
    l->layer = NULL;
    l->n = 0;
}

void tp_mlp_init(tp_ctx *ctx, tp_mlp *l, tp_module *parent, const char *name, int n_sizes, const int64_t *sizes,
                 tp_dtype t, const tp_mlp_opts *opts)
{
    char place[NAME];

    if (l == NULL)
        return;
    memset(l, 0, sizeof *l);
    if (opts != NULL)
        l->opts = *opts;
    l->opts.act = l->opts.act ? l->opts.act : tp_relu;
    tp_module_init(ctx, &l->m, parent, "MLP", name);
    if (n_sizes < 2 || sizes == NULL || !(l->opts.dropout < 1)) {
        tp_fail(ctx, TP_EARG, "mlp_init: %d sizes and dropout %g, expected at least 2 and less than 1", n_sizes,
                l->opts.dropout);
        return;
    }
    if (!tp_ok(ctx))
        return;
    l->layer = tpi_alloc(ctx, (size_t)n_sizes - 1, sizeof *l->layer);
    if (l->layer == NULL)
        return;
    l->m.on_free = mlp_freed;
    for (; l->n < n_sizes - 1; l->n++) {
        snprintf(place, sizeof place, "%d", l->n);
        tp_linear_init(ctx, &l->layer[l->n], &l->m, place, sizes[l->n], sizes[l->n + 1], !l->opts.no_bias, t);
    }
}

tp_tensor *tp_mlp_forward(tp_ctx *ctx, tp_mlp *l, tp_tensor *x)
{
    const char *before;

    if (!tp_ok(ctx) || l == NULL || l->n == 0)
        return tp_fail(ctx, TP_EARG, "mlp: no layer");
    before = tp_module_enter(ctx, &l->m);
    for (int i = 0; i < l->n; i++) {
        x = tp_linear_forward(ctx, &l->layer[i], x);
        if (i == l->n - 1)
            break;
        x = l->opts.act(ctx, x);
        if (l->opts.dropout > 0)
            x = tp_dropout(ctx, x, l->opts.dropout, l->m.training);
    }
    tp_module_leave(ctx, before);
    return x;
}
