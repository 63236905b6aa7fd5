/* batch.c - rows of token ids, targets, positions and key ranges, in plain memory: made by the loader's thread. */
#include "models/text/data_internal.h"

enum { WHOLE = 64 };

static int64_t up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

/* Few widths make few shapes, and rows x width in multiples of 64 suits the kernels; neither may cost more than an
 * eighth. */
static int64_t padded(int64_t rows, int64_t longest, int64_t max_len)
{
    int64_t step = TPI_WIDTH_STEP, small = up(longest, step), whole;

    while (rows * step % WHOLE != 0)
        step *= 2;
    whole = up(longest, step);
    if (whole > small + small / 8)
        whole = small;
    return whole <= max_len ? whole : small <= max_len ? small : max_len;
}

static int64_t number(int64_t entry)
{
    return entry < 0 ? ~entry : entry;
}

void tpi_batch_shape(const tp_data *d, const int64_t *index, int64_t n, int64_t *rows, int64_t *width)
{
    int64_t longest = 0, here = 0;

    *rows = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!d->shared || index[i] < 0) {
            ++*rows;
            here = 0;
        }
        here += d->sample[number(index[i])].n;
        longest = here > longest ? here : longest;
    }
    *width = padded(*rows, longest, d->opts.max_len);
}

static tpi_batch *empty_batch(int64_t rows, int64_t width)
{
    size_t     places = (size_t)(rows * width), head = (sizeof(tpi_batch) + sizeof(int32_t) - 1) / sizeof(int32_t);
    int32_t   *p = tpi_alloc(NULL, head + 5 * places, sizeof *p);
    tpi_batch *b = (tpi_batch *)(void *)p;

    if (p == NULL)
        return NULL;
    b->rows = rows;
    b->width = width;
    b->ids = p + head;
    b->target = b->ids + places;
    b->pos = b->target + places;
    b->range = b->pos + places;
    for (size_t i = 0; i < places; i++)
        b->target[i] = -1;
    return b;
}

/* Puts a sample at column `begin` of row `row`. */
static void put(tpi_batch *b, const tp_data *d, const tpi_sample *s, int64_t row, int64_t begin)
{
    const int32_t *id = d->ids.id + s->at;
    const bool    *trained = d->trained + s->at;
    int64_t        at = row * b->width + begin;

    for (int32_t t = 0; t < s->n; t++, at++) {
        b->ids[at] = id[t];
        b->pos[at] = t;
        b->range[2 * at] = (int32_t)begin;
        b->range[2 * at + 1] = (int32_t)begin + t + 1;
        if (t + 1 < s->n && trained[t + 1])
            b->target[at] = id[t + 1];
    }
    b->tokens += s->n;
    b->targets += s->targets;
    b->samples++;
}

tp_code tpi_batch_make(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size)
{
    const tp_data *d = user;
    int64_t        rows, width, row = -1, column = 0;
    tpi_batch     *b;

    tpi_batch_shape(d, index, n, &rows, &width);
    b = empty_batch(rows, width);
    if (b == NULL) {
        (void)snprintf(why, size, "data: out of memory for a batch of %lld x %lld", (long long)rows, (long long)width);
        return TP_ENOMEM;
    }
    for (int64_t i = 0; i < n; i++) {
        const tpi_sample *s = &d->sample[number(index[i])];

        if (!d->shared || index[i] < 0) {
            row++;
            column = 0;
        }
        put(b, d, s, row, column);
        column += s->n;
    }
    b->first = number(index[0]);
    b->line = d->sample[b->first].line;
    b->packed = d->shared;
    b->ranged = b->packed || b->tokens < rows * width;
    *batch = b;
    return TP_OK;
}

void tpi_batch_drop(void *batch)
{
    tpi_free(batch);
}
