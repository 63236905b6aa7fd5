/* convert_rope.c - rope_freqs.weight back into the settings that it was made from. */
#include "models/convert_rope.h"
#include "core/json.h"
#include "models/llama.h"
#include "nn/files/gguf_keys.h"

#include <math.h>
#include <string.h>

static const char freqs[] = "rope_freqs.weight";

typedef struct {
    const float *by; /* the factors */
    int64_t      n;
    double       theta;
} factors;

static double frequency(const factors *k, int64_t i)
{
    return pow(k->theta, -(double)i / (double)k->n);
}

static bool gives(const factors *k, const double setting[4])
{
    for (int64_t i = 0; i < k->n; i++)
        if (!(fabs(tpi_llama3_factor(setting, frequency(k, i)) - (double)k->by[i]) <= 4e-6 * (double)k->by[i]))
            return false;
    return true;
}

/*
 * Between the short wavelengths, which are kept, and the long ones, which are divided by all of `factor`, lies a share
 *
 *       s = (old / w - low) / (high - low),   by = 1 / ((1 - s) / factor + s),
 *
 * linear in 1/w.  Only ratios of low, high and old matter, so low is 1; two points give the line.
 */
static bool solve(const factors *k, double setting[4])
{
    double  factor = (double)k->by[k->n - 1], x[2] = { 0, 0 }, s[2] = { 0, 0 }, a, b;
    int64_t found = 0;

    for (int64_t i = 0; i < k->n; i++) {
        double by = (double)k->by[i];

        if (!(by > 1.0001 && by < factor * 0.9999))
            continue;
        x[found > 0] = frequency(k, i) / (2 * 3.14159265358979323846);
        s[found > 0] = (1 / by - 1 / factor) / (1 - 1 / factor);
        found++;
    }
    if (found < 2 || x[0] == x[1])
        return false;
    a = (s[0] - s[1]) / (x[0] - x[1]);
    b = s[0] - a * x[0];
    setting[0] = round(factor * 1e4) / 1e4;
    setting[1] = 1;
    setting[2] = round((1 - 1 / b) * 1e3) / 1e3;
    setting[3] = round(a * (setting[2] - 1));
    return gives(k, setting);
}

/* With fewer than two points between: what Llama 3 models have, for lengths that are powers of two. */
static bool guess(const factors *k, double setting[4])
{
    setting[0] = round((double)k->by[k->n - 1] * 1e4) / 1e4;
    setting[1] = 1;
    setting[2] = 4;
    for (setting[3] = 16; setting[3] <= 1 << 24; setting[3] *= 2)
        if (gives(k, setting))
            return true;
    return false;
}

static bool put_settings(tp_ctx *ctx, tp_file *f, tpi_json *j, const double setting[4])
{
    tpi_json *s = tpi_json_new_object(ctx);
    char     *text = NULL;
    size_t    n = 0;

    tpi_json_set_text(ctx, s, "rope_type", "llama3");
    tpi_json_set_double(ctx, s, "factor", setting[0]);
    tpi_json_set_double(ctx, s, "low_freq_factor", setting[1]);
    tpi_json_set_double(ctx, s, "high_freq_factor", setting[2]);
    tpi_json_set_int(ctx, s, "original_max_position_embeddings", (int64_t)setting[3]);
    tpi_json_set(ctx, j, "rope_scaling", s);
    if (tp_ok(ctx))
        text = tpi_file_own(f, tpi_json_dump(ctx, j, 2, &n));
    return text != NULL && tpi_file_set_text(f, "config.json", text, n);
}

static bool with_factors(tp_ctx *ctx, tp_file *f, tpi_convert_opts *o, tpi_json *j, tp_tensor *x)
{
    tp_llama_config c;
    double          setting[4];
    size_t          n = 0;
    const char     *text = tp_file_text(f, "config.json", &n);
    factors         k = { .by = tp_values(ctx, x), .n = x ? tp_numel(x) : 0 };

    if (!text || !tp_llama_config_read(ctx, tp_file_path(f), text, n, &c) || k.by == NULL)
        return false;
    k.theta = c.rope_theta;
    if (2 * k.n == c.head_dim && (solve(&k, setting) || guess(&k, setting))) {
        o->skip = freqs;
        return put_settings(ctx, f, j, setting);
    }
    tp_message(ctx, TP_WARNING, "%s: %s is no scaling of Llama 3; the tensor is kept, but only Tapir reads it",
               tp_file_path(f), freqs);
    return true;
}

bool tpi_convert_rope(tp_ctx *ctx, tp_file *f, tpi_convert_opts *o)
{
    size_t      n = 0;
    const char *text = tp_file_find(f, freqs) ? tp_file_text(f, "config.json", &n) : NULL;
    tpi_json   *j;
    tp_scope    s;
    bool        ok;

    if (text == NULL)
        return tp_ok(ctx);
    j = tpi_json_parse(ctx, tp_file_path(f), text, n);
    s = tp_scope_begin(ctx);
    ok = j != NULL && with_factors(ctx, f, o, j, tp_file_read(ctx, f, freqs, TP_F32));
    tp_scope_end(ctx, s);
    tpi_json_free(j);
    return ok;
}
