/*
 * safetensors_write.c - a safetensors file from a plan of its tensors, which are asked for one by one.
 */
#include "core/json.h"
#include "nn/files/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

/* As the format's own writer: large types first, so that all values are aligned, then by name. */
static int by_place(const void *a, const void *b)
{
    const tpi_plan *x = a, *y = b;
    int             m = x->type->bytes * y->type->block, n = y->type->bytes * x->type->block;

    return m != n ? (m > n ? -1 : 1) : strcmp(x->name, y->name);
}

static tpi_json *list_json(tp_ctx *ctx, const int64_t *v, int n)
{
    tpi_json *j = tpi_json_new_array(ctx);
    int       i;

    for (i = 0; i < n; i++)
        if (!tpi_json_add(ctx, j, tpi_json_new_int(ctx, v[i]))) {
            tpi_json_free(j);
            return NULL;
        }
    return j;
}

static bool put_entry(tp_ctx *ctx, tpi_json *header, const tpi_plan *p, int64_t *at)
{
    tpi_json *e = tpi_json_new_object(ctx);
    int64_t   span[2] = { *at, *at }, numel;

    if (!tpi_stored_size(p->type, p->ndim, p->dim, &numel, &span[1])) {
        tpi_json_free(e);
        return tp_fail(ctx, TP_ESHAPE, "safetensors: \"%.600s\" is too large", p->name) != NULL;
    }
    span[1] += *at;
    *at = span[1];
    if (tpi_json_set_text(ctx, e, "dtype", p->type->name) &&
        tpi_json_set(ctx, e, "shape", list_json(ctx, p->dim, p->ndim)) &&
        tpi_json_set(ctx, e, "data_offsets", list_json(ctx, span, 2)))
        return tpi_json_set(ctx, header, p->name, e);
    tpi_json_free(e);
    return false;
}

static bool put_metadata(tp_ctx *ctx, tpi_json *header, const tpi_pair *meta, size_t metas)
{
    tpi_json *m = metas ? tpi_json_new_object(ctx) : NULL;
    size_t    i;

    for (i = 0; i < metas; i++)
        if (!tpi_json_set_text(ctx, m, meta[i].key, meta[i].value)) {
            tpi_json_free(m);
            return false;
        }
    return metas == 0 || tpi_json_set(ctx, header, "__metadata__", m);
}

bool tpi_safetensors_header(tp_ctx *ctx, tpi_save *s, tpi_plan *plan, size_t n, const tpi_pair *meta, size_t metas)
{
    static const char spaces[] = "        ";
    tpi_json         *j = tpi_json_new_object(ctx);
    char             *text = NULL;
    size_t            size = 0, i;
    int64_t           at = 0;
    uint64_t          padded;
    bool              ok = j && put_metadata(ctx, j, meta, metas);

    if (n > 1)
        qsort(plan, n, sizeof *plan, by_place);
    for (i = 0; ok && i < n; i++)
        ok = put_entry(ctx, j, &plan[i], &at);
    if (ok)
        text = tpi_json_dump(ctx, j, 0, &size);
    tpi_json_free(j);
    padded = (size + 7) / 8 * 8;
    ok = text && tpi_save_write(ctx, s, &padded, 8) && tpi_save_write(ctx, s, text, size) &&
         tpi_save_write(ctx, s, spaces, (size_t)padded - size);
    tpi_free(text);
    return ok;
}

bool tpi_write_values(tp_ctx *ctx, tp_tensor *x, bool (*put)(void *user, const void *p, size_t n), void *user)
{
    size_t n = (size_t)tp_numel(x) * tp_dtype_size(tp_dtype_of(x));
    void  *copy = NULL;
    bool   ok;

    if (n == 0)
        return put(user, "", 0);
    if (tp_is_contiguous(x)) {
        const void *p = tp_values(ctx, x);

        return p && put(user, p, n);
    }
    copy = tpi_alloc(ctx, n, 1);
    ok = copy && tp_copy_out(ctx, x, tp_dtype_of(x), copy, n) && put(user, copy, n);
    tpi_free(copy);
    return ok;
}

typedef struct sink {
    tp_ctx   *ctx;
    tpi_save *s;
} sink;

static bool put_bytes(void *user, const void *p, size_t n)
{
    sink *k = user;

    return tpi_save_write(k->ctx, k->s, p, n);
}

bool tpi_safetensors_write(tp_ctx *ctx, tpi_save *s, tpi_plan *plan, size_t n, tpi_plan_get get, void *user,
                           const tpi_pair *meta, size_t metas)
{
    sink   k = { ctx, s };
    size_t i;
    int    d;
    bool   ok;

    ok = tpi_safetensors_header(ctx, s, plan, n, meta, metas);
    for (i = 0; ok && i < n; i++) {
        tp_scope   scope = tp_scope_begin(ctx);
        tp_tensor *x = get(ctx, user, &plan[i]);

        ok = x && tpi_stored_of(tp_dtype_of(x)) == plan[i].type && tp_ndim(x) == plan[i].ndim;
        for (d = 0; ok && d < plan[i].ndim; d++)
            ok = tp_dim(x, d) == plan[i].dim[d];
        if (x && !ok)
            tp_fail(ctx, TP_ESHAPE, "safetensors: \"%.600s\" has another dtype or shape than was planned",
                    plan[i].name);
        ok = ok && tpi_write_values(ctx, x, put_bytes, &k);
        tp_scope_end(ctx, scope);
    }
    return ok && tp_ok(ctx);
}
