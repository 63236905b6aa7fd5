/* pack.c - which samples share a row or a batch: packing by first fit, grouping by length. */
#include "models/text/data_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- first fit
 * ------------------------------------------------------------------------------------------------------------ */

/* A tree over the rows, each node the most room of the rows below it: the first row with room is found in log n. */
typedef struct {
    int32_t *room;
    int64_t  leaves;
} rows_tree;

static bool tree_new(rows_tree *t, int64_t rows, int32_t room)
{
    t->leaves = 1;
    while (t->leaves < rows)
        t->leaves *= 2;
    t->room = tpi_alloc(NULL, 2 * (size_t)t->leaves, sizeof *t->room);
    for (int64_t i = 1; t->room != NULL && i < 2 * t->leaves; i++)
        t->room[i] = room;
    return t->room != NULL;
}

/* Takes n places of the first row that has them: there is always one, for each sample could have a row of its own. */
static int64_t tree_take(rows_tree *t, int32_t n)
{
    int64_t i = 1, row;

    while (i < t->leaves)
        i = 2 * i + (t->room[2 * i] < n);
    row = i - t->leaves;
    t->room[i] -= n;
    for (i /= 2; i > 0; i /= 2)
        t->room[i] = t->room[2 * i] > t->room[2 * i + 1] ? t->room[2 * i] : t->room[2 * i + 1];
    return row;
}

/* place[r] becomes where row r begins in the packed order, rows following each other as in turn[0..rows). */
static void place_rows(const int64_t *count, const int64_t *turn, int64_t rows, int64_t batch, int64_t *place,
                       int64_t *end)
{
    int64_t at = 0;

    for (int64_t k = 0; k < rows; k++) {
        place[turn[k]] = at;
        at += count[turn[k]];
        end[k / batch] = at;
    }
}

int64_t tpi_cut_packed(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end)
{
    const tp_data *d = user;
    int64_t        n = (int64_t)d->n, rows = 0;
    int64_t       *memory = tpi_alloc(NULL, 5 * (size_t)n, sizeof *memory);
    int64_t       *row_of = memory, *count = row_of + n, *turn = count + n, *place = turn + n, *old = place + n;
    rows_tree      tree = { 0 };

    if (memory == NULL || !tree_new(&tree, n, (int32_t)d->opts.max_len)) {
        tpi_free(memory);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        row_of[i] = tree_take(&tree, d->sample[order[i]].n);
        rows = row_of[i] + 1 > rows ? row_of[i] + 1 : rows;
        count[row_of[i]]++;
    }
    for (int64_t r = 0; r < rows; r++)
        turn[r] = r;
    if (!d->opts.no_shuffle) /* short samples fill the first rows: without this the last steps would see long ones */
        tpi_shuffle((tpi_key){ { (uint32_t)key, (uint32_t)(key >> 32) }, { 0, 0 } }, turn, rows);
    place_rows(count, turn, rows, batch, place, end);
    memcpy(old, order, (size_t)n * sizeof *old);
    memset(count, 0, (size_t)rows * sizeof *count);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = row_of[i];

        order[place[r] + count[r]] = count[r] == 0 ? ~old[i] : old[i];
        count[r]++;
    }
    tpi_free(tree.room);
    tpi_free(memory);
    return (rows + batch - 1) / batch;
}

/* ---- like lengths
 * ----------------------------------------------------------------------------------------------------------- */

enum { WINDOW = 50 }; /* batches whose samples are sorted together: the rest of the order stays random */

typedef struct {
    int64_t length, turn, sample;
} entry;

static int shorter(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

int64_t tpi_cut_grouped(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end)
{
    const tp_data *d = user;
    int64_t        n = (int64_t)d->n, batches = (n - 1) / batch + 1, at = 0;
    int64_t        window = batch < n / WINDOW ? batch * WINDOW : n;
    entry         *e = tpi_alloc(NULL, (size_t)n, sizeof *e);
    int64_t       *turn = tpi_alloc(NULL, (size_t)batches, sizeof *turn);

    for (int64_t i = 0; e != NULL && i < n; i++)
        e[i] = (entry){ d->sample[order[i]].n, i, order[i] };
    for (int64_t i = 0; e != NULL && i < n; i += window)
        qsort(e + i, (size_t)(n - i < window ? n - i : window), sizeof *e, shorter);
    for (int64_t k = 0; turn != NULL && k < batches; k++)
        turn[k] = k;
    if (e == NULL || turn == NULL) {
        batches = -1;
    } else {
        if (!d->opts.no_shuffle)
            tpi_shuffle((tpi_key){ { (uint32_t)key, (uint32_t)(key >> 32) }, { 0, 0 } }, turn, batches);
        for (int64_t k = 0; k < batches; k++) {
            for (int64_t i = turn[k] * batch; i < n && i < turn[k] * batch + batch; i++)
                order[at++] = e[i].sample;
            end[k] = at;
        }
    }
    tpi_free(e);
    tpi_free(turn);
    return batches;
}
