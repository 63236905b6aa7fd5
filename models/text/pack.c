/* pack.c - which samples share a row or a batch: packing by first fit, grouping by length. */
#include "models/text/data_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- first fit --------------------------------------------------------------------------------------------------- */

/* A tree over the rows, each node the most room of the rows below it: the first row with room is found in log n. */
typedef struct {
    int32_t *room;
    int64_t  leaves;
} rows_tree;

static int64_t leaves_of(int64_t rows)
{
    int64_t leaves = 1;

    while (leaves < rows)
        leaves *= 2;
    return leaves;
}

static void tree_clear(rows_tree *t, int64_t rows, int32_t room)
{
    t->leaves = leaves_of(rows);
    for (int64_t i = 1; i < 2 * t->leaves; i++)
        t->room[i] = room;
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

/* Room to arrange up to n samples in rows. */
typedef struct {
    rows_tree tree;
    int64_t  *row_of, *old;         /* of the i-th sample */
    int64_t  *count, *turn, *place; /* of a row: its samples, the rows' order, where it begins in that order */
} fitting;

static bool fitting_new(fitting *f, int64_t n)
{
    int64_t *p = tpi_alloc(NULL, 5 * (size_t)n, sizeof *p);

    *f = (fitting){ .row_of = p };
    if (p == NULL)
        return false;
    f->old = p + n;
    f->count = f->old + n;
    f->turn = f->count + n;
    f->place = f->turn + n;
    f->tree.room = tpi_alloc(NULL, 2 * (size_t)leaves_of(n), sizeof *f->tree.room);
    return f->tree.room != NULL;
}

static void fitting_free(fitting *f)
{
    tpi_free(f->row_of);
    tpi_free(f->tree.room);
}

/* Gives order[0..n) rows of `room` places, the first that fits each; returns the number of rows. */
static int64_t fit(const tp_data *d, fitting *f, const int64_t *order, int64_t n, int64_t room)
{
    int64_t rows = 0;

    tree_clear(&f->tree, n, (int32_t)room);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = tree_take(&f->tree, d->sample[order[i]].n);

        if (r == rows) { /* rows fill up from the first */
            f->turn[rows] = rows;
            f->count[rows++] = 0;
        }
        f->row_of[i] = r;
        f->count[r]++;
    }
    return rows;
}

/* Brings the samples of a row together, rows one behind the other in their turn, the first of each row marked. */
static void arrange(fitting *f, int64_t *order, int64_t n, int64_t rows)
{
    int64_t at = 0;

    for (int64_t k = 0; k < rows; k++) {
        f->place[f->turn[k]] = at;
        at += f->count[f->turn[k]];
    }
    memcpy(f->old, order, (size_t)n * sizeof *order);
    for (int64_t k = 0; k < rows; k++)
        f->count[k] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t r = f->row_of[i];

        order[f->place[r] + f->count[r]] = f->count[r] == 0 ? ~f->old[i] : f->old[i];
        f->count[r]++;
    }
}

static void shuffle(const tp_data *d, uint64_t key, int64_t *x, int64_t n)
{
    if (!d->opts.no_shuffle)
        tpi_shuffle((tpi_key){ { (uint32_t)key, (uint32_t)(key >> 32) }, { 0, 0 } }, x, n);
}

int64_t tpi_cut_packed(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end)
{
    const tp_data *d = user;
    int64_t        n = (int64_t)d->n, rows = -1, at = 0;
    fitting        f;

    if (fitting_new(&f, n)) {
        rows = fit(d, &f, order, n, d->opts.max_len);
        shuffle(d, key, f.turn, rows); /* short samples fill the first rows: the last steps would see long ones */
        arrange(&f, order, n, rows);
        for (int64_t k = 0; k < rows; k++) {
            at += f.count[f.turn[k]];
            end[k / batch] = at;
        }
    }
    fitting_free(&f);
    return rows < 0 ? -1 : (rows + batch - 1) / batch;
}

/* ---- like lengths ------------------------------------------------------------------------------------------------ */

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
        shuffle(d, key, turn, batches);
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

/* ---- rows shared within a batch -------------------------------------------------------------------------------------
 */

/* Longest first: the short ones fill what the long ones leave. */
static void sort_longest_first(const tp_data *d, entry *e, int64_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        e[i] = (entry){ -d->sample[order[i]].n, i, order[i] };
    qsort(e, (size_t)n, sizeof *e, shorter);
    for (int64_t i = 0; i < n; i++)
        order[i] = e[i].sample;
}

/* Batches of `batch` samples each. */
static int64_t cut_plain(int64_t n, int64_t batch, int64_t *end)
{
    int64_t batches = (n - 1) / batch + 1;

    for (int64_t k = 0; k < batches; k++)
        end[k] = k + 1 < batches ? (k + 1) * batch : n;
    return batches;
}

int64_t tpi_cut_shared(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end)
{
    const tp_data *d = user;
    int64_t        n = (int64_t)d->n, most = d->opts.max_len, begin = 0, batches;
    entry         *e = tpi_alloc(NULL, (size_t)n, sizeof *e);
    fitting        f;
    bool           ok = fitting_new(&f, n) && e != NULL;

    batches = !ok                       ? -1
              : d->opts.group_by_length ? tpi_cut_grouped(user, key, batch, order, end)
                                        : cut_plain(n, batch, end);
    for (int64_t k = 0; k < batches; k++) {
        int64_t count = end[k] - begin, room;

        sort_longest_first(d, e, order + begin, count);
        room = (d->sample[order[begin]].n + TPI_WIDTH_STEP - 1) / TPI_WIDTH_STEP * TPI_WIDTH_STEP;
        arrange(&f, order + begin, count, fit(d, &f, order + begin, count, room < most ? room : most));
        begin = end[k];
    }
    fitting_free(&f);
    tpi_free(e);
    return batches;
}
