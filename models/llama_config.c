/* llama_config.c - config.json in both dialects (transformers 4 and 5), its defaults and its checks. */
#include "core/json.h"
#include "models/llama_internal.h"

#include <math.h>
#include <string.h>

static const int64_t MOST = (int64_t)1 << 40;

static void copy_text(char *dst, size_t size, const char *src)
{
    snprintf(dst, size, "%s", src ? src : "");
}

static bool supported(const char *type)
{
    return strcmp(type, "llama") == 0 || strcmp(type, "mistral") == 0 || strcmp(type, "qwen2") == 0;
}

#define ROPE_UNKNOWN "%s: rope scaling '%s', expected default, linear or llama3"

static bool rope_supported(const char *type)
{
    return strcmp(type, "default") == 0 || strcmp(type, "linear") == 0 || strcmp(type, "llama3") == 0;
}

static void read_sizes(tp_ctx *ctx, const char *name, const tpi_json *j, tp_llama_config *c)
{
    c->vocab_size = tpi_json_int(ctx, name, j, "vocab_size", 0, 1, MOST);
    c->hidden_size = tpi_json_int(ctx, name, j, "hidden_size", 0, 1, MOST);
    c->intermediate_size = tpi_json_int(ctx, name, j, "intermediate_size", 0, 1, MOST);
    c->num_hidden_layers = tpi_json_int(ctx, name, j, "num_hidden_layers", 0, 1, 100000);
    c->num_attention_heads = tpi_json_int(ctx, name, j, "num_attention_heads", 0, 1, MOST);
    c->num_key_value_heads = tpi_json_int(ctx, name, j, "num_key_value_heads",
                                          strcmp(c->model_type, "mistral") == 0 ? 8 : 0, 1, MOST);
    c->head_dim = tpi_json_int(ctx, name, j, "head_dim", 0, 1, MOST);
    c->max_position_embeddings = tpi_json_int(ctx, name, j, "max_position_embeddings", 2048, 1, MOST);
    c->rms_norm_eps = tpi_json_double(ctx, name, j, "rms_norm_eps", 1e-6);
    c->initializer_range = tpi_json_double(ctx, name, j, "initializer_range", 0.02);
}

/* rope_theta + rope_scaling (transformers 4) or rope_parameters (5). */
static void read_rope(tp_ctx *ctx, const char *name, const tpi_json *j, tp_llama_config *c)
{
    const tpi_json *p = tpi_json_object(ctx, name, j, "rope_parameters", false);
    const tpi_json *s = p ? p : tpi_json_object(ctx, name, j, "rope_scaling", false);
    const char     *type;

    c->rope_theta = tpi_json_double(ctx, name, p && tpi_json_get(p, "rope_theta") ? p : j, "rope_theta", 10000);
    copy_text(c->rope_type, sizeof c->rope_type, "default");
    if (s == NULL)
        return;
    type = tpi_json_text(ctx, name, s, "rope_type", tpi_json_text(ctx, name, s, "type", "default"));
    if (type == NULL)
        return;
    if (!rope_supported(type)) {
        tp_fail(ctx, TP_EFORMAT, ROPE_UNKNOWN, name, type);
        return;
    }
    copy_text(c->rope_type, sizeof c->rope_type, type);
    c->rope_factor = tpi_json_double(ctx, name, s, "factor", 1);
    c->rope_low_freq_factor = tpi_json_double(ctx, name, s, "low_freq_factor", 1);
    c->rope_high_freq_factor = tpi_json_double(ctx, name, s, "high_freq_factor", 4);
    c->rope_original_max_position_embeddings = tpi_json_double(ctx, name, s, "original_max_position_embeddings", 8192);
}

static void read_switches(tp_ctx *ctx, const char *name, const tpi_json *j, tp_llama_config *c)
{
    bool qwen = strcmp(c->model_type, "qwen2") == 0;

    c->tie_word_embeddings = tpi_json_bool(ctx, name, j, "tie_word_embeddings", false);
    c->attention_bias = !qwen && tpi_json_bool(ctx, name, j, "attention_bias", false);
    c->qkv_bias = qwen;
    c->mlp_bias = !qwen && tpi_json_bool(ctx, name, j, "mlp_bias", false);
    if (!qwen && strcmp(c->model_type, "mistral") == 0)
        c->sliding_window = tpi_json_int(ctx, name, j, "sliding_window", 0, 0, MOST);
    if (qwen && tpi_json_bool(ctx, name, j, "use_sliding_window", false))
        tp_fail(ctx, TP_EFORMAT, "%s: use_sliding_window is true, which is not supported for qwen2", name);
    if (tpi_json_get(j, "quantization_config") != NULL)
        tp_fail(ctx, TP_EFORMAT, "%s: quantization_config: a quantised checkpoint; expected plain weights or GGUF",
                name);
    if (strcmp(tpi_json_text(ctx, name, j, "hidden_act", "silu") ? tpi_json_text(ctx, name, j, "hidden_act", "silu")
                                                                 : "",
               "silu") != 0)
        tp_fail(ctx, TP_EFORMAT, "%s: hidden_act is '%s', expected silu", name,
                tpi_json_text(ctx, name, j, "hidden_act", "silu"));
}

bool tp_llama_config_read(tp_ctx *ctx, const char *name, const char *json, size_t n, tp_llama_config *config)
{
    tpi_json   *j;
    const char *type;

    if (!tp_ok(ctx) || config == NULL || json == NULL || name == NULL)
        return tp_fail(ctx, TP_EARG, "llama_config_read: no text, or nowhere to put it") != NULL;
    memset(config, 0, sizeof *config);
    j = tpi_json_parse(ctx, name, json, n);
    if (j == NULL)
        return false;
    type = tpi_json_text(ctx, name, j, "model_type", "llama");
    if (type != NULL && !supported(type))
        tp_fail(ctx, TP_EFORMAT, "%s: model_type '%s', expected llama, mistral or qwen2", name, type);
    copy_text(config->model_type, sizeof config->model_type, type);
    read_sizes(ctx, name, j, config);
    read_rope(ctx, name, j, config);
    read_switches(ctx, name, j, config);
    tpi_json_free(j);
    return tp_ok(ctx) && tpi_llama_config_complete(ctx, name, config);
}

/* What a model_type cannot say in its config.json would be lost in a saved model. */
static bool complete_type(tp_ctx *ctx, const char *name, tp_llama_config *c)
{
    bool qwen, mistral;

    if (c->model_type[0] == '\0')
        copy_text(c->model_type, sizeof c->model_type, "llama");
    if (!supported(c->model_type))
        return tp_fail(ctx, TP_EFORMAT, "%s: model_type '%s', expected llama, mistral or qwen2", name, c->model_type) != NULL;
    qwen = strcmp(c->model_type, "qwen2") == 0;
    mistral = strcmp(c->model_type, "mistral") == 0;
    if ((qwen && (c->attention_bias || c->mlp_bias)) || (!qwen && c->qkv_bias))
        return tp_fail(ctx, TP_EFORMAT, "%s: model_type %s has no %s", name, c->model_type,
                       qwen ? "attention_bias or mlp_bias" : "qkv_bias") != NULL;
    if (c->sliding_window < 0 || (c->sliding_window > 0 && !mistral))
        return tp_fail(ctx, TP_EFORMAT, "%s: sliding_window is %lld, expected none, or one of a mistral", name,
                       (long long)c->sliding_window) != NULL;
    c->qkv_bias = qwen;
    return true;
}

static bool complete_rope(tp_ctx *ctx, const char *name, tp_llama_config *c)
{
    c->rope_theta = c->rope_theta > 0 ? c->rope_theta : 10000;
    if (c->rope_type[0] == '\0')
        copy_text(c->rope_type, sizeof c->rope_type, "default");
    if (strcmp(c->rope_type, "default") == 0)
        return true;
    if (!rope_supported(c->rope_type))
        return tp_fail(ctx, TP_EFORMAT, ROPE_UNKNOWN, name, c->rope_type) != NULL;
    c->rope_factor = c->rope_factor > 0 ? c->rope_factor : 1;
    c->rope_low_freq_factor = c->rope_low_freq_factor > 0 ? c->rope_low_freq_factor : 1;
    c->rope_high_freq_factor = c->rope_high_freq_factor > 0 ? c->rope_high_freq_factor : 4;
    if (!(c->rope_original_max_position_embeddings > 0))
        c->rope_original_max_position_embeddings = 8192;
    return true;
}

bool tpi_llama_config_complete(tp_ctx *ctx, const char *name, tp_llama_config *c)
{
    const struct {
        const char *field;
        int64_t     value;
    } needed[] = {
        { "vocab_size", c->vocab_size },
        { "hidden_size", c->hidden_size },
        { "intermediate_size", c->intermediate_size },
        { "num_hidden_layers", c->num_hidden_layers },
        { "num_attention_heads", c->num_attention_heads },
    };

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i].value < 1 || needed[i].value > MOST)
            return tp_fail(ctx, TP_EFORMAT, "%s: %s is %lld, expected at least 1", name, needed[i].field,
                           (long long)needed[i].value) != NULL;
    if (!complete_type(ctx, name, c) || !complete_rope(ctx, name, c))
        return false;
    c->num_key_value_heads = c->num_key_value_heads ? c->num_key_value_heads : c->num_attention_heads;
    c->max_position_embeddings = c->max_position_embeddings ? c->max_position_embeddings : 2048;
    c->rms_norm_eps = c->rms_norm_eps > 0 ? c->rms_norm_eps : 1e-6;
    c->initializer_range = c->initializer_range > 0 ? c->initializer_range : 0.02;
    if (c->head_dim == 0 && c->hidden_size % c->num_attention_heads != 0)
        return tp_fail(ctx, TP_EFORMAT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld", name,
                       (long long)c->hidden_size, (long long)c->num_attention_heads) != NULL;
    c->head_dim = c->head_dim ? c->head_dim : c->hidden_size / c->num_attention_heads;
    if (c->head_dim % 2 != 0 || c->num_attention_heads % c->num_key_value_heads != 0)
        return tp_fail(
                   ctx, TP_EFORMAT,
                   "%s: head_dim %lld must be even, num_attention_heads %lld a multiple of num_key_value_heads %lld",
                   name, (long long)c->head_dim, (long long)c->num_attention_heads,
                   (long long)c->num_key_value_heads) != NULL;
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void write_rope(tp_ctx *ctx, tpi_json *j, const tp_llama_config *c)
{
    tpi_json *s;

    tpi_json_set_double(ctx, j, "rope_theta", c->rope_theta);
    if (strcmp(c->rope_type, "default") == 0)
        return;
    s = tpi_json_new_object(ctx);
    tpi_json_set_text(ctx, s, "rope_type", c->rope_type);
    tpi_json_set_double(ctx, s, "factor", c->rope_factor);
    if (strcmp(c->rope_type, "llama3") == 0) {
        tpi_json_set_double(ctx, s, "low_freq_factor", c->rope_low_freq_factor);
        tpi_json_set_double(ctx, s, "high_freq_factor", c->rope_high_freq_factor);
        tpi_json_set_int(ctx, s, "original_max_position_embeddings", (int64_t)c->rope_original_max_position_embeddings);
    }
    tpi_json_set(ctx, j, "rope_scaling", s);
}

char *tpi_llama_config_json(tp_ctx *ctx, const tp_llama *model, size_t *n)
{
    const tp_llama_config *c = &model->config;
    tpi_json              *j, *list;
    char                  *text;
    const char *class = strcmp(c->model_type, "qwen2") == 0     ? "Qwen2ForCausalLM"
                        : strcmp(c->model_type, "mistral") == 0 ? "MistralForCausalLM"
                                                                : "LlamaForCausalLM";

    j = tpi_json_new_object(ctx);
    list = tpi_json_new_array(ctx);
    tpi_json_add(ctx, list, tpi_json_new_text(ctx, class, strlen(class)));
    tpi_json_set(ctx, j, "architectures", list);
    tpi_json_set_text(ctx, j, "model_type", c->model_type);
    tpi_json_set_int(ctx, j, "vocab_size", c->vocab_size);
    tpi_json_set_int(ctx, j, "hidden_size", c->hidden_size);
    tpi_json_set_int(ctx, j, "intermediate_size", c->intermediate_size);
    tpi_json_set_int(ctx, j, "num_hidden_layers", c->num_hidden_layers);
    tpi_json_set_int(ctx, j, "num_attention_heads", c->num_attention_heads);
    tpi_json_set_int(ctx, j, "num_key_value_heads", c->num_key_value_heads);
    tpi_json_set_int(ctx, j, "head_dim", c->head_dim);
    tpi_json_set_int(ctx, j, "max_position_embeddings", c->max_position_embeddings);
    tpi_json_set_double(ctx, j, "rms_norm_eps", c->rms_norm_eps);
    tpi_json_set_double(ctx, j, "initializer_range", c->initializer_range);
    write_rope(ctx, j, c);
    tpi_json_set_bool(ctx, j, "tie_word_embeddings", c->tie_word_embeddings);
    tpi_json_set_bool(ctx, j, "attention_bias", c->attention_bias);
    tpi_json_set_bool(ctx, j, "mlp_bias", c->mlp_bias);
    tpi_json_set_text(ctx, j, "hidden_act", "silu");
    if (c->sliding_window > 0)
        tpi_json_set_int(ctx, j, "sliding_window", c->sliding_window);
    text = tp_ok(ctx) ? tpi_json_dump(ctx, j, 2, n) : NULL;
    tpi_json_free(j);
    return text;
}

/* ---- rotary frequencies ------------------------------------------------------------------------------------------ */

/* "llama3": long wavelengths are slowed down by factor, short ones kept, those between blended. */
static double llama3_freq(const tp_llama_config *c, double f)
{
    double old = c->rope_original_max_position_embeddings, w = 2 * 3.14159265358979323846 / f, s;

    if (w < old / c->rope_high_freq_factor)
        return f;
    if (w > old / c->rope_low_freq_factor)
        return f / c->rope_factor;
    s = (old / w - c->rope_low_freq_factor) / (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return (1 - s) * f / c->rope_factor + s * f;
}

bool tpi_llama_freq(tp_ctx *ctx, tp_llama *model, tp_tensor *divide)
{
    const tp_llama_config *c = &model->config;
    int64_t                half = c->head_dim / 2;
    tp_scope               s = tp_scope_begin(ctx);
    tp_tensor             *x = tp_empty(ctx, TP_F32, TP_SHAPE(half));
    float                 *freq = tp_f32(ctx, x), *by = divide ? tp_f32(ctx, divide) : NULL;

    if (divide != NULL && tp_numel(divide) != half)
        tp_fail(ctx, TP_ESHAPE, "rope_freqs.weight has %lld elements, expected %lld", (long long)tp_numel(divide),
                (long long)half);
    for (int64_t i = 0; tp_ok(ctx) && freq != NULL && i < half; i++) {
        double f = pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);

        if (by != NULL)
            f /= by[i];
        else if (strcmp(c->rope_type, "llama3") == 0)
            f = llama3_freq(c, f);
        else if (strcmp(c->rope_type, "linear") == 0)
            f /= c->rope_factor;
        freq[i] = (float)f;
    }
    model->freq = tp_ok(ctx) ? tp_retain(x) : NULL;
    tp_scope_end(ctx, s);
    return model->freq != NULL;
}
