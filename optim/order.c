/* order.c - permutations from a seed, and batches of equal numbers of samples. */
#include "optim/order.h"
#include "core/philox.h"

enum { PURPOSE_ORDER = 0x6f726472, PURPOSE_CUT = 0x63757420, PURPOSE_DRAW = 0x64726177 };

/* Fisher and Yates, from the end.  64 random bits modulo at most 2^40 samples: the bias is below 2^-24. */
void tpi_shuffle(tpi_key key, int64_t *x, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        uint32_t w[4];
        uint64_t j;
        int64_t  t;

        tpi_philox(key, (uint64_t)i, w);
        j = ((uint64_t)w[1] << 32 | w[0]) % ((uint64_t)i + 1);
        t = x[i];
        x[i] = x[j];
        x[j] = t;
    }
}

static tpi_key epoch_key(uint64_t seed, uint32_t purpose, int64_t epoch)
{
    return (tpi_key){ { (uint32_t)seed ^ (purpose * 0x9e3779b9u), (uint32_t)(seed >> 32) },
                      { (uint32_t)epoch, (uint32_t)((uint64_t)epoch >> 32) } };
}

static int64_t cut_evenly(const tp_dataset *data, const tp_loader_opts *opts, int64_t *end)
{
    int64_t n = 0, at;

    for (at = opts->batch; at <= data->length; at += opts->batch)
        end[n++] = at;
    if (at - opts->batch < data->length && !opts->drop_last)
        end[n++] = data->length;
    return n;
}

/* n draws with replacement: the first sample whose running sum lies beyond a random number. */
static void draw(tpi_key key, const double *mass, int64_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t  low = 0, high = n - 1;
        uint32_t w[4];
        double   at;

        tpi_philox(key, (uint64_t)i, w);
        at = (double)(((uint64_t)w[1] << 32 | w[0]) >> 11) * 0x1p-53 * mass[n - 1];
        while (low < high) {
            int64_t middle = low + (high - low) / 2;

            if (mass[middle] > at)
                high = middle;
            else
                low = middle + 1;
        }
        order[i] = low;
    }
}

int64_t tpi_order(const tp_dataset *data, const tp_loader_opts *opts, const double *mass, int64_t epoch, int64_t *order,
                  int64_t *end)
{
    uint32_t w[4];

    for (int64_t i = 0; i < data->length; i++)
        order[i] = i;
    if (mass != NULL)
        draw(epoch_key(opts->seed, PURPOSE_DRAW, epoch), mass, order, data->length);
    else if (!opts->no_shuffle)
        tpi_shuffle(epoch_key(opts->seed, PURPOSE_ORDER, epoch), order, data->length);
    if (data->cut == NULL)
        return cut_evenly(data, opts, end);
    tpi_philox(epoch_key(opts->seed, PURPOSE_CUT, epoch), 0, w);
    return data->cut(data->user, (uint64_t)w[1] << 32 | w[0], opts->batch, order, end);
}
