/* generate.c - greedy and random continuation of a batch of prompts. */
#include "models/generate.h"
#include "core/internal.h"
#include "core/philox.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PURPOSE_SAMPLE = 3 };

typedef struct {
    float   p;
    int32_t id;
} candidate;

typedef struct {
    tp_ctx                 *ctx;
    tp_llama               *model;
    const tp_generate_opts *o;
    int64_t                 n, longest, vocab, max_new;
    const tp_ids           *prompt;
    tp_ids                 *out;
    tp_kv_cache            *cache;
    float                  *logits; /* [n, vocab] */
    candidate              *cand;   /* [vocab], for sampling */
    int32_t                *last;   /* the newest token of each row */
    bool                   *done;
} generation;

/* ---- choosing a token -------------------------------------------------------------------------------------------- */

static int32_t likeliest(const float *x, int64_t n)
{
    int64_t best = 0;

    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return (int32_t)best;
}

static int by_p(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* How many of the sorted candidates take part, and their sum. */
static int64_t cut(const tp_generate_opts *o, const candidate *c, int64_t n, double *sum)
{
    int64_t keep = o->top_k > 0 && o->top_k < n ? o->top_k : n, i;
    double  all = 0, part = 0;

    for (i = 0; i < keep; i++)
        all += c[i].p;
    if (!(o->top_p > 0 && o->top_p < 1)) {
        *sum = all;
        return keep;
    }
    for (i = 0; i < keep; i++) {
        part += c[i].p;
        if (part >= o->top_p * all)
            break;
    }
    *sum = part;
    return i < keep ? i + 1 : keep;
}

static int32_t draw(generation *g, const float *x, tpi_key key, int64_t row)
{
    float    top = x[likeliest(x, g->vocab)];
    uint32_t w[4];
    double   sum, u;
    int64_t  n;

    for (int64_t i = 0; i < g->vocab; i++)
        g->cand[i] = (candidate){ (float)exp((x[i] - top) / g->o->temperature), (int32_t)i };
    qsort(g->cand, (size_t)g->vocab, sizeof *g->cand, by_p);
    n = cut(g->o, g->cand, g->vocab, &sum);
    tpi_philox(key, (uint64_t)row, w);
    u = ((double)w[0] + 0.5) * 2.3283064365386963e-10 * sum;
    for (int64_t i = 0; i < n; i++) {
        u -= g->cand[i].p;
        if (u <= 0)
            return g->cand[i].id;
    }
    return g->cand[n - 1].id;
}

/* ---- running the model ------------------------------------------------------------------------------------------- */

/* Prompts stand at the right edge, so that all rows go on at one place; the padding on the left is seen by nobody. */
static tp_tensor *prompt_ids(generation *g, tp_tensor **pos, tp_tensor **range)
{
    tp_ctx    *ctx = g->ctx;
    int64_t    s = g->longest;
    tp_tensor *ids = tp_zeros(ctx, TP_I32, TP_SHAPE(g->n, s));
    int32_t   *id, *p, *r;

    *pos = tp_zeros(ctx, TP_I32, TP_SHAPE(g->n, s));
    *range = tp_zeros(ctx, TP_I32, TP_SHAPE(g->n, s, 2));
    id = tp_i32(ctx, ids);
    p = tp_i32(ctx, *pos);
    r = tp_i32(ctx, *range);
    for (int64_t b = 0; id != NULL && p != NULL && r != NULL && b < g->n; b++) {
        int64_t pad = s - g->prompt[b].n;

        memcpy(id + b * s + pad, g->prompt[b].id, (size_t)g->prompt[b].n * sizeof *id);
        for (int64_t i = pad; i < s; i++) {
            p[b * s + i] = (int32_t)(i - pad);
            r[(b * s + i) * 2] = (int32_t)pad;
            r[(b * s + i) * 2 + 1] = (int32_t)i + 1;
        }
    }
    return ids;
}

static tp_tensor *next_ids(generation *g, int64_t at, tp_tensor **pos, tp_tensor **range)
{
    tp_ctx    *ctx = g->ctx;
    tp_tensor *ids = tp_from(ctx, TP_I32, TP_SHAPE(g->n, 1), g->last);
    int32_t   *p, *r;

    *pos = tp_empty(ctx, TP_I32, TP_SHAPE(g->n, 1));
    *range = tp_empty(ctx, TP_I32, TP_SHAPE(g->n, 1, 2));
    p = tp_i32(ctx, *pos);
    r = tp_i32(ctx, *range);
    for (int64_t b = 0; p != NULL && r != NULL && b < g->n; b++) {
        int32_t pad = (int32_t)(g->longest - g->prompt[b].n);

        p[b] = (int32_t)at - pad;
        r[2 * b] = pad;
        r[2 * b + 1] = (int32_t)at + 1;
    }
    return ids;
}

/* The logits behind the newest place of every row, on the host. */
static bool run_model(generation *g, int64_t step)
{
    tp_ctx    *ctx = g->ctx;
    tp_scope   s = tp_scope_begin(ctx);
    tp_tensor *pos, *range, *ids, *h;

    ids = step == 0 ? prompt_ids(g, &pos, &range) : next_ids(g, g->longest + step - 1, &pos, &range);
    h = tp_llama_hidden(ctx, g->model, ids, pos, range, g->cache);
    h = tp_contiguous(ctx, tp_narrow(ctx, h, 1, tp_dim(h, 1) - 1, 1));
    h = tp_llama_logits(ctx, g->model, h);
    tp_copy_out(ctx, h, TP_F32, g->logits, (size_t)(g->n * g->vocab) * sizeof *g->logits);
    tp_scope_end(ctx, s);
    return tp_ok(ctx);
}

static bool is_stop(const generation *g, int32_t id)
{
    if (g->o->stop == NULL)
        return id == tp_tokenizer_eos(tp_llama_tokenizer(g->model));
    for (int i = 0; i < g->o->n_stop; i++)
        if (g->o->stop[i] == id)
            return true;
    return false;
}

static bool append(tp_ctx *ctx, tp_ids *out, int32_t id)
{
    size_t cap = (size_t)out->cap;

    if (!tpi_grow(ctx, &out->id, &cap, (size_t)out->n + 1, sizeof *out->id))
        return false;
    out->cap = (int64_t)cap;
    out->id[out->n++] = id;
    return true;
}

/* Chooses every row's next token; false when all rows have ended. */
static bool choose(generation *g)
{
    tpi_key key = tpi_next_key(g->ctx, PURPOSE_SAMPLE);
    bool    going = false;

    for (int64_t b = 0; b < g->n && tp_ok(g->ctx); b++) {
        const float *x = g->logits + b * g->vocab;

        if (g->done[b])
            continue;
        g->last[b] = g->o->temperature > 0 ? draw(g, x, key, b) : likeliest(x, g->vocab);
        g->done[b] = is_stop(g, g->last[b]) || !append(g->ctx, &g->out[b], g->last[b]) ||
                     (g->o->on_token != NULL && !g->o->on_token(g->o->user, b, g->last[b]));
        going |= !g->done[b];
    }
    return going && tp_ok(g->ctx);
}

static bool prepare(generation *g)
{
    tp_ctx *ctx = g->ctx;
    int64_t room = g->model ? tp_llama_config_of(g->model)->max_position_embeddings : 0;

    for (int64_t b = 0; b < g->n; b++) {
        if (g->prompt[b].n < 1)
            return tp_fail(ctx, TP_EARG, "generate: prompt %lld is empty", (long long)b) != NULL;
        g->longest = g->prompt[b].n > g->longest ? g->prompt[b].n : g->longest;
    }
    if (g->longest >= room)
        return tp_fail(ctx, TP_EARG, "generate: a prompt of %lld tokens, the model has %lld positions",
                       (long long)g->longest, (long long)room) != NULL;
    g->max_new = g->o->max_new > 0 ? g->o->max_new : 128;
    g->max_new = g->max_new > room - g->longest ? room - g->longest : g->max_new;
    g->vocab = tp_llama_config_of(g->model)->vocab_size;
    g->cache = tp_kv_cache_new(ctx, g->model, g->n, g->longest + g->max_new);
    g->logits = tpi_alloc(ctx, (size_t)(g->n * g->vocab), sizeof *g->logits);
    g->cand = g->o->temperature > 0 ? tpi_alloc(ctx, (size_t)g->vocab, sizeof *g->cand) : NULL;
    g->last = tpi_alloc(ctx, (size_t)g->n, sizeof *g->last);
    g->done = tpi_alloc(ctx, (size_t)g->n, sizeof *g->done);
    return tp_ok(ctx);
}

bool tp_generate(tp_ctx *ctx, tp_llama *model, int64_t n, const tp_ids *prompt, tp_ids *out,
                 const tp_generate_opts *opts)
{
    static const tp_generate_opts standard = { 0 };
    generation g = { .ctx = ctx, .model = model, .o = opts ? opts : &standard, .n = n, .prompt = prompt, .out = out };
    bool       was;

    if (!tp_ok(ctx) || model == NULL || n < 1 || prompt == NULL || out == NULL)
        return tp_fail(ctx, TP_EARG, "generate: no model or no prompts") != NULL;
    was = tp_record(ctx, false);
    tp_module_set_training(tp_llama_root(model), false);
    if (prepare(&g))
        for (int64_t step = 0; step < g.max_new && run_model(&g, step) && choose(&g);)
            step++;
    tp_kv_cache_free(g.cache);
    tpi_free(g.logits);
    tpi_free(g.cand);
    tpi_free(g.last);
    tpi_free(g.done);
    tp_module_set_training(tp_llama_root(model), true);
    tp_record(ctx, was);
    return tp_ok(ctx);
}
