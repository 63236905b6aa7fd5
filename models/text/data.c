/* data.c - text data: the file is read, checked and tokenised when it is opened; batches come through a loader. */
#include "models/text/data_internal.h"

#include <string.h>

enum { MAX_LEN_MOST = 1 << 24, BATCH_MOST = 1 << 20, KEYS_NAMED = 16, WHERE = 4200 };

/* Keys that no kind of line knows, with the number of lines that have them. */
typedef struct {
    char   *name[KEYS_NAMED];
    int64_t lines[KEYS_NAMED];
    int     n;
    bool    more;
} unused_keys;

/* ---- keys that are not used -------------------------------------------------------------------------------------- */

static bool count_key(tp_ctx *ctx, unused_keys *u, const char *key)
{
    for (int i = 0; i < u->n; i++)
        if (strcmp(u->name[i], key) == 0) {
            u->lines[i]++;
            return true;
        }
    if (u->n == KEYS_NAMED) {
        u->more = true;
        return true;
    }
    u->name[u->n] = tpi_strdup(ctx, key);
    if (u->name[u->n] == NULL)
        return false;
    u->lines[u->n++] = 1;
    return true;
}

static bool count_unused(tp_ctx *ctx, unused_keys *u, const tpi_json *line, const char *const *used)
{
    const tpi_json *value;
    const char     *key;
    void           *it = NULL;

    while (tpi_json_next(line, &it, &key, &value)) {
        const char *const *k = used;

        while (*k != NULL && strcmp(*k, key) != 0)
            k++;
        if (*k == NULL && !count_key(ctx, u, key))
            return false;
    }
    return true;
}

/* One note for all; names from a file may be long, and hold what a terminal obeys. */
static void tell_unused(tp_ctx *ctx, unused_keys *u, const char *path)
{
    char   text[1024] = "";
    size_t at = 0;

    for (int i = 0; i < u->n && at < sizeof text - 100; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.40s (%lld lines)", i ? ", " : "", u->name[i],
                               (long long)u->lines[i]);
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    if (u->n > 0 && tp_ok(ctx)) /* bad input is told in one line */
        tp_message(ctx, TP_NOTE, "%s: keys that are not used: %s%s", path, text, u->more ? ", and more" : "");
    for (int i = 0; i < u->n; i++)
        tpi_free(u->name[i]);
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

static int32_t count_targets(const bool *trained, int64_t n)
{
    int32_t k = 0;

    for (int64_t i = 1; i < n; i++)
        k += trained[i];
    return k;
}

/* Tokens of the sample at ids[at ..) up to the last that is trained on: what stands behind it would be computed for
 * nothing. */
static int64_t useful(const tp_data *d, int64_t at)
{
    int64_t n = d->ids.n - at;

    while (n > 0 && !d->trained[at + n - 1])
        n--;
    return n <= INT32_MAX ? n : 0;
}

/* Takes the sample at ids[at ..) in, shortens it or leaves it out. */
static bool take_sample(tp_ctx *ctx, tp_data *d, int64_t line, int64_t at)
{
    int64_t n = useful(d, at), most = d->opts.max_len;
    int32_t targets = count_targets(d->trained + at, n);

    if (targets == 0)
        return tp_fail(ctx, TP_EFORMAT, "the sample has no token to be trained on") != NULL;
    d->count.longest = n > d->count.longest ? n : d->count.longest;
    if (n > most && d->opts.overflow == TP_OVERFLOW_ERROR)
        return tp_fail(ctx, TP_EARG, "the sample has %lld tokens, expected at most %lld", (long long)n,
                       (long long)most) != NULL;
    if (n > most) {
        n = d->opts.overflow == TP_OVERFLOW_CUT ? most : 0;
        targets = count_targets(d->trained + at, n);
        d->count.cut += targets > 0;
        d->count.dropped += targets == 0;
    }
    d->ids.n = d->n_trained = at + (targets > 0 ? n : 0);
    if (targets == 0)
        return true;
    if (!tpi_grow(ctx, &d->sample, &d->cap, d->n + 1, sizeof *d->sample))
        return false;
    d->sample[d->n++] = (tpi_sample){ at, line, (int32_t)n, targets };
    d->count.samples++;
    d->count.tokens += n;
    d->count.target_tokens += targets;
    return true;
}

static bool read_lines(tp_ctx *ctx, tp_data *d, tpi_jsonl *in, unused_keys *u)
{
    tpi_json *line;
    bool      ok = true;

    while (ok && (line = tpi_jsonl_next(ctx, in)) != NULL) {
        const char *const *used = NULL;
        const char        *before;
        char               where[WHERE];
        int64_t            at = d->ids.n;

        (void)snprintf(where, sizeof where, "%s:%lld:1", in->path, (long long)in->line);
        before = tpi_set_path(ctx, where); /* in front of every message, whoever fails */
        ok = tpi_encode(ctx, d, line, &used) && take_sample(ctx, d, in->line, at) && count_unused(ctx, u, line, used);
        tpi_set_path(ctx, before);
        tpi_json_free(line);
    }
    d->count.blank = in->blank;
    return tp_ok(ctx);
}

/* False, and why, when nothing is left to train on. */
static bool check_samples(tp_ctx *ctx, const tp_data *d, const char *path)
{
    if (d->n > 0)
        return true;
    if (d->count.dropped == 0)
        return tp_fail(ctx, TP_EARG, "%s: there is no line with a sample in it", path) != NULL;
    return tp_fail(ctx, TP_EARG, "%s: no sample is left: all %lld have more than %lld tokens", path,
                   (long long)d->count.dropped, (long long)d->opts.max_len) != NULL;
}

static bool read_file(tp_ctx *ctx, tp_data *d, const char *path)
{
    tpi_jsonl     in;
    unused_keys   u = { .n = 0 };
    tp_data_count c;
    bool          ok = tpi_jsonl_open(ctx, &in, path) && read_lines(ctx, d, &in, &u) && check_samples(ctx, d, path);

    tpi_jsonl_close(&in);
    tell_unused(ctx, &u, path);
    c = d->count;
    if (ok && c.dropped + c.cut > 0)
        tp_message(ctx, TP_WARNING,
                   "%s: of %lld samples %lld were left out and %lld cut: they have more than %lld tokens", path,
                   (long long)(c.samples + c.dropped), (long long)c.dropped, (long long)c.cut,
                   (long long)d->opts.max_len);
    return ok;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static tp_loader_opts loader_opts(const tp_data_opts *o)
{
    return (tp_loader_opts){
        .batch = o->batch, .seed = o->seed, .epochs = o->epochs, .prefetch = o->prefetch, .no_shuffle = o->no_shuffle
    };
}

static tp_dataset dataset(tp_data *d)
{
    tp_dataset set = { .length = (int64_t)d->n, .user = d, .make = tpi_batch_make, .drop = tpi_batch_drop };

    if (d->opts.pack)
        set.cut = tpi_cut_packed;
    else if (d->opts.share_rows)
        set.cut = tpi_cut_shared;
    else if (d->opts.group_by_length)
        set.cut = tpi_cut_grouped;
    return set;
}

/* Batches and places of the first epoch. */
static bool look_ahead(tp_ctx *ctx, tp_data *d)
{
    tp_dataset     set = dataset(d);
    tp_loader_opts o = loader_opts(&d->opts);
    int64_t       *order = tpi_alloc(ctx, 2 * d->n, sizeof *order), *end, rows, width, begin = 0;

    if (order == NULL)
        return false;
    end = order + d->n;
    d->count.batches = tpi_order(&set, &o, NULL, 0, order, end);
    for (int64_t b = 0; b < d->count.batches; b++) {
        tpi_batch_shape(d, order + begin, end[b] - begin, &rows, &width);
        d->count.places += rows * width;
        begin = end[b];
    }
    tpi_free(order);
    return d->count.batches >= 0 || tp_fail(ctx, TP_ENOMEM, "data: out of memory for the order of samples") != NULL;
}

static bool check(tp_ctx *ctx, const tp_tokenizer *tok, const tp_data_opts *o)
{
    if (tok == NULL)
        return tp_fail(ctx, TP_EARG, "data: there is no tokenizer") != NULL;
    if (o->batch < 1 || o->batch > BATCH_MOST)
        return tp_fail(ctx, TP_EARG, "data: batch is %lld, expected 1 to %d", (long long)o->batch, BATCH_MOST) != NULL;
    if (o->max_len < 2 || o->max_len > MAX_LEN_MOST)
        return tp_fail(ctx, TP_EARG, "data: max_len is %lld, expected 2 to %d", (long long)o->max_len, MAX_LEN_MOST) !=
               NULL;
    if (o->pack && o->group_by_length)
        return tp_fail(ctx, TP_EARG, "data: pack and group_by_length exclude each other") != NULL;
    return true;
}

tp_data *tp_data_open(tp_ctx *ctx, const char *path, const tp_tokenizer *tok, const tp_data_opts *opts)
{
    tp_data_opts   o = opts ? *opts : (tp_data_opts){ 0 };
    tp_loader_opts lo;
    tp_dataset     set;
    tp_data       *d;

    if (!tp_ok(ctx))
        return NULL;
    o.batch = o.batch ? o.batch : 8;
    o.max_len = o.max_len ? o.max_len : 512;
    if (!check(ctx, tok, &o))
        return NULL;
    d = tpi_alloc(ctx, 1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->tok = tok;
    d->opts = o;
    d->shared = o.pack || o.share_rows;
    lo = loader_opts(&o);
    if (tpi_encode_begin(ctx, d) && read_file(ctx, d, path) && look_ahead(ctx, d)) {
        set = dataset(d);
        d->loader = tp_loader_new(ctx, &set, &lo);
    }
    if (d->loader != NULL)
        return d;
    tp_data_free(d);
    return NULL;
}

void tp_data_free(tp_data *d)
{
    if (d == NULL)
        return;
    tp_loader_free(d->loader);
    tp_template_free(d->template);
    tp_ids_free(&d->ids);
    tpi_free(d->trained);
    tpi_free(d->sample);
    tpi_free(d);
}

/* ---- using ------------------------------------------------------------------------------------------------------- */

tp_lm_batch tp_data_next(tp_ctx *ctx, tp_data *d)
{
    tp_lm_batch out = { 0 };
    tpi_batch  *b;

    if (tp_ok(ctx) && d == NULL)
        tp_fail(ctx, TP_EARG, "data: there is none");
    b = d ? tp_loader_next(ctx, d->loader) : NULL;
    if (b == NULL)
        return out;
    out.target = tp_from(ctx, TP_I32, TP_SHAPE(b->rows, b->width), b->target);
    out.pos = b->packed ? tp_from(ctx, TP_I32, TP_SHAPE(b->rows, b->width), b->pos) : NULL;
    out.range = b->ranged ? tp_from(ctx, TP_I32, TP_SHAPE(b->rows, b->width, 2), b->range) : NULL;
    out.ids = tp_from(ctx, TP_I32, TP_SHAPE(b->rows, b->width), b->ids);
    out.tokens = b->tokens;
    out.target_tokens = b->targets;
    out.first_sample = b->first;
    out.samples = b->samples;
    out.line = b->line;
    tpi_batch_drop(b);
    return out;
}

void tp_data_rewind(tp_data *d)
{
    if (d != NULL)
        tp_loader_rewind(d->loader);
}

tp_loader_place tp_data_tell(const tp_data *d)
{
    return tp_loader_tell(d ? d->loader : NULL);
}

void tp_data_seek(tp_ctx *ctx, tp_data *d, tp_loader_place place)
{
    tp_loader_seek(ctx, d ? d->loader : NULL, place);
}

tp_data_count tp_data_counts(const tp_data *d)
{
    return d ? d->count : (tp_data_count){ 0 };
}

bool tp_data_sample(tp_ctx *ctx, const tp_data *d, int64_t i, tp_data_item *item)
{
    const tpi_sample *s;

    if (!tp_ok(ctx))
        return false;
    if (d == NULL || item == NULL || i < 0 || (uint64_t)i >= d->n)
        return tp_fail(ctx, TP_EARG, "data: there is no sample %lld", (long long)i) != NULL;
    s = &d->sample[i];
    *item = (tp_data_item){ d->ids.id + s->at, d->trained + s->at, s->n, s->line };
    return true;
}
