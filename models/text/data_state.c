/* data_state.c - the place in text data, and that it is the same data. */
#include "core/hash.h"
#include "models/text/data_internal.h"

#include <inttypes.h>

uint64_t tpi_data_hash(const tp_data *d)
{
    tpi_hasher h;

    tpi_hash_begin(&h);
    for (size_t i = 0; i < d->n; i++) {
        const tpi_sample *s = &d->sample[i];

        tpi_hash_add(&h, &s->n, sizeof s->n);
        tpi_hash_add(&h, d->ids.id + s->at, (size_t)s->n * sizeof *d->ids.id);
        tpi_hash_add(&h, d->trained + s->at, (size_t)s->n * sizeof *d->trained);
    }
    return tpi_hash_end64(&h);
}

bool tp_data_state(tp_ctx *ctx, tp_data *d, tp_state *st)
{
    char hash[20];

    if (!tp_ok(ctx) || d == NULL)
        return tp_fail(ctx, TP_EARG, "data_state: no data") != NULL;
    snprintf(hash, sizeof hash, "%016" PRIx64, tpi_data_hash(d));
    return tp_loader_state(ctx, d->loader, st) && tp_state_same_text(ctx, st, "data", "content_xxh3", hash) &&
           tp_state_same_int(ctx, st, "data", "max_len", d->opts.max_len) &&
           tp_state_same_int(ctx, st, "data", "pack", d->opts.pack) &&
           tp_state_same_int(ctx, st, "data", "group_by_length", d->opts.group_by_length) &&
           tp_state_same_int(ctx, st, "data", "share_rows", d->opts.share_rows);
}
