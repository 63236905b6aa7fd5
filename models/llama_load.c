/* llama_load.c - building the modules, with weights from a file or random ones. */
#include "models/llama_internal.h"
#include "models/text/gguf_tokenizer.h"

#include <string.h>

/* What building needs to know everywhere. */
typedef struct {
    tp_ctx   *ctx;
    tp_llama *model;
    tp_file  *f; /* NULL: random weights */
    int64_t   used;
} builder;

/* ---- parameters -------------------------------------------------------------------------------------------------- */

/* The file's tensor "path.name", checked; *slot stays NULL when there is none and it is optional. */
static void param_from_file(builder *b, tp_module *m, tp_tensor **slot, const char *name, int ndim, const int64_t *dim)
{
    tp_ctx    *ctx = b->ctx;
    char       full[640], want[96] = "[", got[96];
    tp_tensor *x;
    size_t     n = 1;
    bool       fits;

    snprintf(full, sizeof full, "%s.%s", m->path, name);
    if (tp_file_find(b->f, full) == NULL) {
        tp_fail(ctx, TP_EFORMAT, "%s: there is no tensor %s", tp_file_path(b->f), full);
        return;
    }
    x = tp_file_read(ctx, b->f, full, b->model->dtype);
    if (x == NULL)
        return;
    fits = tp_ndim(x) == ndim;
    for (int i = 0; i < ndim; i++) {
        fits = fits && tp_dim(x, i) == dim[i];
        n += (size_t)snprintf(want + n, sizeof want - n, "%s%lld", i ? ", " : "", (long long)dim[i]);
    }
    if (!fits) {
        tp_fail(ctx, TP_ESHAPE, "%s: %s is %s, config.json says %s]", tp_file_path(b->f), full,
                tp_shape_text(x, got, sizeof got), want);
        return;
    }
    tp_set_trainable(ctx, x, true);
    tp_param_set(ctx, m, slot, name, x);
    b->used++;
}

/* spread: the standard deviation of random values; 0: the constant `value`. */
static void make_param(builder *b, tp_module *m, tp_tensor **slot, const char *name, double spread, double value,
                       int ndim, const int64_t *dim)
{
    tp_scope s;

    if (!tp_ok(b->ctx))
        return;
    s = tp_scope_begin(b->ctx);
    if (b->f != NULL) {
        param_from_file(b, m, slot, name, ndim, dim);
    } else {
        tp_tensor *x = tp_param_new(b->ctx, m, slot, name, b->model->dtype, ndim, dim);

        if (spread > 0)
            tp_init_normal(b->ctx, x, 0, spread);
        else if (value != 0)
            tp_init_constant(b->ctx, x, value);
    }
    tp_scope_end(b->ctx, s);
}

static void make_linear(builder *b, tp_linear *l, tp_module *parent, const char *name, int64_t in, int64_t out,
                        bool bias)
{
    tp_module_init(b->ctx, &l->m, parent, "Linear", name);
    make_param(b, &l->m, &l->w, "weight", b->model->config.initializer_range, 0, TP_SHAPE(out, in));
    if (bias)
        make_param(b, &l->m, &l->b, "bias", 0, 0, TP_SHAPE(out));
}

static void make_norm(builder *b, tp_rms_norm *n, tp_module *parent, const char *name)
{
    tp_module_init(b->ctx, &n->m, parent, "RMSNorm", name);
    n->eps = b->model->config.rms_norm_eps;
    make_param(b, &n->m, &n->w, "weight", 0, 1, TP_SHAPE(b->model->config.hidden_size));
}

/* ---- modules ----------------------------------------------------------------------------------------------------- */

static void make_block(builder *b, tpi_block *k, int64_t i)
{
    const tp_llama_config *c = &b->model->config;
    int64_t d = c->hidden_size, q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    bool    bias = c->attention_bias || c->qkv_bias;
    char    name[24];

    snprintf(name, sizeof name, "%lld", (long long)i);
    k->model = b->model;
    k->index = i;
    tp_module_init(b->ctx, &k->m, &b->model->list, "DecoderLayer", name);
    tp_module_init(b->ctx, &k->attn.m, &k->m, "Attention", "self_attn");
    make_linear(b, &k->attn.q, &k->attn.m, "q_proj", d, q, bias);
    make_linear(b, &k->attn.k, &k->attn.m, "k_proj", d, kv, bias);
    make_linear(b, &k->attn.v, &k->attn.m, "v_proj", d, kv, bias);
    make_linear(b, &k->attn.o, &k->attn.m, "o_proj", q, d, c->attention_bias);
    tp_module_init(b->ctx, &k->mlp.m, &k->m, "MLP", "mlp");
    make_linear(b, &k->mlp.gate, &k->mlp.m, "gate_proj", d, c->intermediate_size, c->mlp_bias);
    make_linear(b, &k->mlp.up, &k->mlp.m, "up_proj", d, c->intermediate_size, c->mlp_bias);
    make_linear(b, &k->mlp.down, &k->mlp.m, "down_proj", c->intermediate_size, d, c->mlp_bias);
    make_norm(b, &k->norm1, &k->m, "input_layernorm");
    make_norm(b, &k->norm2, &k->m, "post_attention_layernorm");
}

/* The head's weight is the embedding's when tied, unless the file brings one of its own. */
static void make_head(builder *b)
{
    tp_llama              *model = b->model;
    const tp_llama_config *c = &model->config;

    tp_module_init(b->ctx, &model->head.m, &model->root, "Linear", "lm_head");
    if (c->tie_word_embeddings && tp_ok(b->ctx)) {
        tp_param_set(b->ctx, &model->head.m, &model->head.w, "weight", model->embed.w);
        b->used += b->f != NULL && tp_file_find(b->f, "lm_head.weight") != NULL;
        return;
    }
    make_param(b, &model->head.m, &model->head.w, "weight", c->initializer_range, 0,
               TP_SHAPE(c->vocab_size, c->hidden_size));
}

/* Tensors of the file that the model has no place for: an error that names the first ones. */
static void check_extra(builder *b)
{
    char    list[400] = "";
    size_t  n = 0;
    int64_t extra = 0;
    bool    training = strcmp(tp_file_kind(b->f), "training") == 0;

    for (int64_t i = 0; tp_ok(b->ctx) && i < tp_file_count(b->f); i++) {
        const tp_file_entry *e = tp_file_at(b->f, i);
        const char          *name = e->name, *tail = strrchr(name, '.');

        if (training && strcmp(e->section, "model") != 0 && strcmp(e->section, "adapter") != 0)
            continue; /* what it is trained with */
        if (tp_param_find(&b->model->root, name) != NULL || strcmp(name, "rope_freqs.weight") == 0)
            continue;
        if (tail != NULL && strcmp(tail, ".inv_freq") == 0) /* old checkpoints carry this buffer */
            continue;
        if (extra++ < 4 && n < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, " %s", name);
    }
    if (extra > 0)
        tp_fail(b->ctx, TP_EFORMAT, "%s: %lld tensors that this model has no place for:%s%s", tp_file_path(b->f),
                (long long)extra, list, extra > 4 ? " ..." : "");
}

bool tpi_llama_build(tp_ctx *ctx, tp_llama *model, tp_file *f)
{
    const tp_llama_config *c = &model->config;
    builder                b = { ctx, model, f, 0 };
    tp_scope               s = tp_scope_begin(ctx);

    tp_module_init(ctx, &model->root, NULL, "CausalLM", "");
    tp_module_init(ctx, &model->body, &model->root, "Model", "model");
    tp_module_init(ctx, &model->embed.m, &model->body, "Embedding", "embed_tokens");
    make_param(&b, &model->embed.m, &model->embed.w, "weight", c->initializer_range, 0,
               TP_SHAPE(c->vocab_size, c->hidden_size));
    tp_module_init(ctx, &model->list, &model->body, "ModuleList", "layers");
    model->block = tpi_alloc(ctx, (size_t)c->num_hidden_layers, sizeof *model->block);
    for (int64_t i = 0; model->block != NULL && i < c->num_hidden_layers && tp_ok(ctx); i++)
        make_block(&b, &model->block[i], i);
    if (tp_ok(ctx)) {
        make_norm(&b, &model->norm, &model->body, "norm");
        make_head(&b);
    }
    if (f != NULL && tp_ok(ctx))
        check_extra(&b);
    if (f != NULL && tp_ok(ctx) && tp_file_find(f, "rope_freqs.weight") != NULL)
        model->divide = tp_retain(tp_file_read(ctx, f, "rope_freqs.weight", TP_F32));
    if (tp_ok(ctx))
        tpi_llama_freq(ctx, model, model->divide);
    tp_scope_end(ctx, s);
    return tp_ok(ctx);
}

static tp_llama *empty_model(tp_ctx *ctx, tp_dtype t)
{
    tp_llama *model;

    if (!tp_dtype_is_float(t))
        return tp_fail(ctx, TP_EDTYPE, "llama: a model of %s, expected a floating dtype", tp_dtype_name(t));
    model = tpi_alloc(ctx, 1, sizeof *model);
    if (model == NULL)
        return NULL;
    model->ctx = ctx;
    model->dtype = t;
    return model;
}

tp_llama *tp_llama_new(tp_ctx *ctx, const tp_llama_config *config, tp_dtype t)
{
    tp_llama *model;

    if (!tp_ok(ctx) || config == NULL)
        return tp_fail(ctx, TP_EARG, "llama_new: no configuration");
    model = empty_model(ctx, t);
    if (model == NULL)
        return NULL;
    model->config = *config;
    if (tpi_llama_config_complete(ctx, "llama_new", &model->config) && tpi_llama_build(ctx, model, NULL))
        return model;
    tp_llama_free(model);
    return NULL;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static bool load_tokenizer(tp_ctx *ctx, tp_llama *model, tp_file *f)
{
    model->tokenizer = tpi_tokenizer_from_file(ctx, f);
    if (model->tokenizer != NULL && tp_tokenizer_size(model->tokenizer) > model->config.vocab_size)
        tp_fail(ctx, TP_EFORMAT, "%s: the tokenizer has ids up to %lld, the model only %lld rows", tp_file_path(f),
                (long long)tp_tokenizer_size(model->tokenizer) - 1, (long long)model->config.vocab_size);
    return tp_ok(ctx);
}

static bool load_into(tp_ctx *ctx, tp_llama *model, tp_file *f)
{
    size_t      n = 0;
    const char *json = tp_file_text(f, "config.json", &n), *identity;

    if (json == NULL)
        return tp_fail(ctx, TP_EFORMAT, "%s: there is no config.json, so this is no model", tp_file_path(f)) != NULL;
    if (!tp_llama_config_read(ctx, tp_file_path(f), json, n, &model->config))
        return false;
    model->config_json = tpi_strndup(ctx, json, n);
    if (!tpi_llama_build(ctx, model, f) || !load_tokenizer(ctx, model, f))
        return false;
    identity = tp_file_identity(ctx, f);
    model->root.identity = identity ? tpi_intern(ctx, identity) : NULL;
    return tp_ok(ctx);
}

tp_llama *tp_llama_load(tp_ctx *ctx, const char *path, tp_dtype t)
{
    tp_llama *model;
    tp_file  *f;
    bool      ok;

    if (!tp_ok(ctx) || path == NULL)
        return tp_fail(ctx, TP_EARG, "llama_load: no path");
    model = empty_model(ctx, t);
    f = model ? tp_file_open(ctx, path) : NULL;
    ok = f != NULL && load_into(ctx, model, f);
    tp_file_close(f);
    if (ok)
        return model;
    tp_llama_free(model);
    return NULL;
}

void tp_llama_free(tp_llama *model)
{
    if (model == NULL)
        return;
    tp_module_free(&model->root);
    tp_release(model->freq);
    tp_release(model->divide);
    tp_tokenizer_free(model->tokenizer);
    tpi_free(model->block);
    tpi_free(model->config_json);
    tpi_free(model);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

tp_module *tp_llama_root(tp_llama *model)
{
    return model ? &model->root : NULL;
}

const tp_llama_config *tp_llama_config_of(const tp_llama *model)
{
    return model ? &model->config : NULL;
}

tp_tokenizer *tp_llama_tokenizer(const tp_llama *model)
{
    return model ? model->tokenizer : NULL;
}

tp_dtype tp_llama_dtype(const tp_llama *model)
{
    return model ? model->dtype : TP_F32;
}

void tp_llama_set_recompute(tp_llama *model, bool on)
{
    if (model != NULL)
        model->recompute = on;
}
