/*
 * gguf_config.c - a config.json (both dialects of transformers) in GGUF's terms.
 */
#include "core/json.h"
#include "nn/files/filetable.h"
#include "nn/files/gguf_keys.h"

#include <math.h>
#include <string.h>

static const int64_t MOST = (int64_t)1 << 31;

static int64_t get_int(tp_file *f, const tpi_json *j, const char *key, int64_t otherwise)
{
    return tpi_json_int(f->ctx, f->path, j, key, otherwise, 1, MOST);
}

double tpi_llama3_factor(const double setting[4], double f)
{
    double factor = setting[0], low = setting[1], high = setting[2], old = setting[3];
    double w = 2 * 3.14159265358979323846 / f, s;

    if (w < old / high)
        return 1;
    if (w > old / low)
        return factor;
    s = (old / w - low) / (high - low);
    return 1 / ((1 - s) / factor + s);
}

static bool llama3_factors(tp_file *f, const tpi_json *s, tpi_gguf_config *g)
{
    double setting[4] = { tpi_json_double(f->ctx, f->path, s, "factor", 1),
                          tpi_json_double(f->ctx, f->path, s, "low_freq_factor", 1),
                          tpi_json_double(f->ctx, f->path, s, "high_freq_factor", 4),
                          tpi_json_double(f->ctx, f->path, s, "original_max_position_embeddings", 8192) };
    float *v = tpi_file_own(f, tpi_alloc(f->ctx, (size_t)g->head_dim / 2 + 1, sizeof *v));

    g->n_factors = g->head_dim / 2;
    g->factors = v;
    for (int64_t i = 0; v && i < g->n_factors; i++)
        v[i] = (float)tpi_llama3_factor(setting, pow(g->theta, -2.0 * (double)i / (double)g->head_dim));
    return v && tp_ok(f->ctx);
}

static bool read_rope(tp_file *f, const tpi_json *j, tpi_gguf_config *g)
{
    const tpi_json *p = tpi_json_object(f->ctx, f->path, j, "rope_parameters", false);
    const tpi_json *s = p ? p : tpi_json_object(f->ctx, f->path, j, "rope_scaling", false);
    const char     *type;

    g->theta = tpi_json_double(f->ctx, f->path, p && tpi_json_get(p, "rope_theta") ? p : j, "rope_theta", 10000);
    type = s ? tpi_json_text(f->ctx, f->path, s, "rope_type", tpi_json_text(f->ctx, f->path, s, "type", "default")) : "default";
    if (!type || strcmp(type, "default") == 0)
        return tp_ok(f->ctx);
    if (strcmp(type, "llama3") == 0)
        return llama3_factors(f, s, g);
    if (strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0)
        return tpi_file_bad(f, "rope scaling '%.40s' has no form in GGUF, expected linear, yarn or llama3", type);
    g->scaling = type[0] == 'l' ? "linear" : "yarn";
    g->factor = tpi_json_double(f->ctx, f->path, s, "factor", 1);
    g->original = tpi_json_double(f->ctx, f->path, s, "original_max_position_embeddings", 0);
    g->attn_factor = tpi_json_double(f->ctx, f->path, s, "attention_factor", 0);
    return tp_ok(f->ctx);
}

static bool read_arch(tp_file *f, const tpi_json *j, tpi_gguf_config *g)
{
    const char *type = tpi_json_text(f->ctx, f->path, j, "model_type", "llama");
    bool        mistral = type && strcmp(type, "mistral") == 0;

    if (!type)
        return false;
    if (!mistral && strcmp(type, "llama") != 0 && strcmp(type, "qwen2") != 0)
        return tpi_file_bad(f, "model_type '%.40s' is not written as GGUF, expected llama, mistral or qwen2", type);
    g->arch = strcmp(type, "qwen2") == 0 ? "qwen2" : "llama";
    g->kv_heads = mistral ? 8 : 0; /* unless it is said */
    if (mistral && (g->window = get_int(f, j, "sliding_window", 0)) > 0)
        tp_message(f->ctx, TP_WARNING, "%s: the sliding window of %lld tokens is kept, but other readers of GGUF pass it over",
                   f->path, (long long)g->window);
    return tp_ok(f->ctx);
}

static bool read_sizes(tp_file *f, const tpi_json *j, tpi_gguf_config *g)
{
    const tpi_entry *embed = tpi_file_entry(f, "model.embed_tokens.weight");

    g->embedding = get_int(f, j, "hidden_size", 0);
    g->blocks = get_int(f, j, "num_hidden_layers", 0);
    g->feed_forward = get_int(f, j, "intermediate_size", 0);
    g->heads = get_int(f, j, "num_attention_heads", 0);
    g->kv_heads = get_int(f, j, "num_key_value_heads", g->kv_heads ? g->kv_heads : g->heads);
    g->head_dim = get_int(f, j, "head_dim", g->heads > 0 ? g->embedding / g->heads : 0);
    g->rotated = (int64_t)((double)g->head_dim * tpi_json_double(f->ctx, f->path, j, "partial_rotary_factor", 1) + 0.5);
    g->context = get_int(f, j, "max_position_embeddings", 2048);
    g->vocab = embed && embed->seen.ndim == 2 ? embed->seen.dim[0] : get_int(f, j, "vocab_size", 0);
    g->eps = tpi_json_double(f->ctx, f->path, j, "rms_norm_eps", 1e-6);
    g->tied = tpi_json_bool(f->ctx, f->path, j, "tie_word_embeddings", false);
    if (tp_ok(f->ctx) && (!g->embedding || !g->blocks || !g->feed_forward || !g->heads || !g->vocab || g->kv_heads < 1))
        return tpi_file_bad(f, "config.json lacks a size: hidden_size, num_hidden_layers, intermediate_size, "
                               "num_attention_heads, vocab_size are needed");
    return tp_ok(f->ctx);
}

bool tpi_gguf_config_read(tp_file *f, tpi_gguf_config *g)
{
    size_t      n;
    const char *text = tp_file_text(f, "config.json", &n);
    tpi_json   *j;
    bool        ok;

    if (!text)
        return tp_ok(f->ctx) && tpi_file_bad(f, "there is no config.json, which a GGUF file is made from");
    j = tpi_json_parse(f->ctx, f->path, text, n);
    ok = j && read_arch(f, j, g) && read_sizes(f, j, g) && read_rope(f, j, g);
    tpi_json_free(j);
    return ok;
}
