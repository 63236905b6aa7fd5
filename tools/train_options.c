/* train_options.c - see train_options.h. */
#include "tools/train_options.h"
#include "core/json.h"
#include "models/text/data_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Options as they were given or stand by default; what decides steps, data, threads and model is noted as found. */
static const char *const names[] = {
    "method", "blocks", "rank",   "alpha",  "targets", "dropout",         "lr",       "schedule",   "warmup",     "clip",
    "weight-decay",     "batch",  "accum",  "pack",    "group-by-length", "max-len",  "overflow",   "no-shuffle", "eval-every",
    "patience", "dtype", "device", "template", "seed",   NULL,
};

static bool is_listed(const char *name)
{
    for (const char *const *n = names; *n != NULL; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return false;
}

/* Those of other methods say nothing. */
static bool matters(const char *method, const char *name)
{
    bool diablo = strcmp(method, "diablo") == 0, lora = strcmp(method, "lora") == 0;

    if (strcmp(name, "blocks") == 0)
        return diablo;
    if (strcmp(name, "rank") == 0 || strcmp(name, "alpha") == 0)
        return lora;
    if (strcmp(name, "targets") == 0 || strcmp(name, "dropout") == 0)
        return diablo || lora;
    return is_listed(name);
}

static void set_option(tp_ctx *ctx, tpi_json *j, const cli_option *o, const char *value)
{
    switch (o->kind) {
    case CLI_FLAG: tpi_json_set_bool(ctx, j, o->name, value != NULL); return;
    case CLI_INT: tpi_json_set_int(ctx, j, o->name, value ? strtoll(value, NULL, 10) : 0); return;
    case CLI_REAL: tpi_json_set_double(ctx, j, o->name, value ? strtod(value, NULL) : 0); return;
    case CLI_TEXT:
    case CLI_MAYBE:
    case CLI_CHOICE: tpi_json_set_text(ctx, j, o->name, value ? value : ""); return;
    }
}

static void set_content(tp_ctx *ctx, tpi_json *j, const char *key, const tp_data *d)
{
    char text[48] = "none";

    if (d != NULL)
        snprintf(text, sizeof text, "%lld samples, XXH3 %016" PRIx64, (long long)tp_data_counts(d).samples,
                 tpi_data_hash(d));
    tpi_json_set_text(ctx, j, key, text);
}

static tpi_json *make(finetune *t)
{
    tp_ctx           *ctx = t->ctx;
    tpi_json         *j = tpi_json_new_object(ctx);
    const char       *method = cli_text(t->c, "method"), *value;
    const cli_option *o;

    for (size_t i = 0; cli_at(t->c, i, &o, &value); i++)
        if (matters(method, o->name))
            set_option(ctx, j, o, value);
    tpi_json_set_int(ctx, j, "steps", t->steps);
    set_content(ctx, j, "data", t->data);
    set_content(ctx, j, "valid", t->valid);
    tpi_json_set_text(ctx, j, "model", t->identity);
    tpi_json_set_int(ctx, j, "threads", tp_threads(ctx));
    tpi_json_set_text(ctx, j, "kernels", tp_backend_name(ctx));
    return j;
}

bool options_note(finetune *t)
{
    tpi_json *j = make(t);
    size_t    n;
    char     *text = tp_ok(t->ctx) ? tpi_json_dump(t->ctx, j, 2, &n) : NULL;

    t->train_json = text ? tpi_intern(t->ctx, text) : NULL;
    tpi_free(text);
    tpi_json_free(j);
    return t->train_json != NULL;
}

/* A value as the command line has it. */
static const char *shown(const tpi_json *v, char *buf, size_t size)
{
    const char *text = tpi_json_string(v, NULL);

    switch (tpi_json_is(v)) {
    case TPI_JSON_INT: snprintf(buf, size, "%lld", (long long)tpi_json_integer(v)); break;
    case TPI_JSON_REAL:
        snprintf(buf, size, "%g", tpi_json_real(v));
        if (strtod(buf, NULL) != tpi_json_real(v))
            snprintf(buf, size, "%.17g", tpi_json_real(v));
        break;
    case TPI_JSON_BOOL: snprintf(buf, size, "%s", tpi_json_true(v) ? "on" : "off"); break;
    case TPI_JSON_TEXT: snprintf(buf, size, "%s", text); break;
    case TPI_JSON_NULL:
    case TPI_JSON_ARRAY:
    case TPI_JSON_OBJECT: snprintf(buf, size, "?"); break;
    }
    return buf;
}

/* The list of what differs; "" when nothing does. */
static void compare(finetune *t, const tpi_json *saved, const tpi_json *here, char *list, size_t size)
{
    const char     *key;
    const tpi_json *v;
    void           *it = NULL;
    size_t          n = 0;

    list[0] = '\0';
    while (tpi_json_next(here, &it, &key, &v)) {
        char a[160], b[160];

        if (strcmp(shown(tpi_json_get(saved, key), a, sizeof a), shown(v, b, sizeof b)) == 0)
            continue;
        if (strcmp(key, "kernels") == 0) /* no option, and no other choice on this machine */
            tp_message(t->ctx, TP_WARNING, "%s: made with the kernels %s, here they are %s: the last bits may differ",
                       t->checkpoint, a, b);
        else if (n < size)
            n += (size_t)snprintf(list + n, size - n, "%s--%s %s, here %s", n ? "; " : "", key, a, b);
    }
}

bool options_check(finetune *t)
{
    tp_ctx     *ctx = t->ctx;
    tp_file    *f = tp_file_open(ctx, t->checkpoint);
    size_t      n = 0;
    const char *text = tp_file_text(f, "config/train.json", &n);
    tpi_json   *saved = text ? tpi_json_parse(ctx, t->checkpoint, text, n) : NULL, *here = make(t);
    char        list[800] = "";

    if (f != NULL && text == NULL)
        tp_fail(ctx, TP_EFORMAT, "%s: it is no checkpoint of finetune, there is no config/train.json in it",
                t->checkpoint);
    if (tp_ok(ctx))
        compare(t, saved, here, list, sizeof list);
    if (list[0] != '\0')
        tp_fail(ctx, TP_EARG, "--resume %s: it was made with %s", t->checkpoint, list);
    tpi_json_free(saved);
    tpi_json_free(here);
    tp_file_close(f);
    return tp_ok(ctx);
}
