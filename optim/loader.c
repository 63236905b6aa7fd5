/*
 * loader.c - threads that make batches ahead and hand them over through a ring.  A thread claims the next batch and a
 * slot of the ring under `plan`, makes it on its own, and puts it into its slot under `lock`: so batches come in order,
 * however many threads there are.  Without a thread the consumer makes each batch when it wants it.
 */
#include "optim/optim_internal.h"
#include "optim/order.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { RING_MAX = 64, THREADS_MAX = 64, WHY = 512 };

/* What is handed over: a batch, the end of the data, or a failure. */
typedef struct {
    void           *batch;
    bool            ready; /* the slot holds something */
    tp_loader_place after; /* the place behind it */
    tp_code         code;
    char            why[WHY];
} item;

/* What one thread makes next. */
typedef struct {
    tp_loader_place after;
    int64_t         slot;
    int64_t        *index, n; /* the samples */
    size_t          cap;
} claim;

struct tp_loader {
    tp_dataset      data;
    tp_loader_opts  opts;
    tp_loader_place place; /* the consumer's: what comes next */
    double         *mass;  /* running sums of the weights */

    /* under plan */
    pthread_mutex_t plan;
    int64_t        *order, *end;
    int64_t         n; /* batches of the epoch that `order` holds, -1 when it holds none */
    tp_loader_place next;
    bool            ended; /* there is nothing more to claim */

    /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t  moved; /* something was put in or taken out, or stop was set */
    item           *ring;
    int64_t         claimed, taken, size;
    bool            stop;

    pthread_t *thread;
    int        running;
};

/* ---- the producers ----------------------------------------------------------------------------------------------- */

static bool refuse(item *it, tp_code code, const char *why, tp_loader_place p, int64_t n)
{
    it->code = code;
    (void)snprintf(it->why, sizeof it->why, "loader: epoch %lld has %lld batches, %s (wanted: number %lld)",
                   (long long)p.epoch, (long long)n, why, (long long)p.batch);
    return false;
}

/* Moves next to a batch that exists; false at the end of the data (it->code is TP_OK) and after a failure. */
static bool find_next(tp_loader *l, item *it)
{
    for (;;) {
        if (l->opts.epochs > 0 && l->next.epoch >= l->opts.epochs)
            return false;
        if (l->n < 0)
            l->n = tpi_order(&l->data, &l->opts, l->mass, l->next.epoch, l->order, l->end);
        if (l->n < 0) {
            it->code = TP_ENOMEM;
            (void)snprintf(it->why, sizeof it->why, "loader: epoch %lld could not be cut into batches",
                           (long long)l->next.epoch);
            return false;
        }
        if (l->n == 0)
            return refuse(it, TP_EARG, "expected at least one", l->next, l->n);
        if (l->next.batch > l->n)
            return refuse(it, TP_EARG, "is the place that was set one of other data or options?", l->next, l->n);
        if (l->next.batch < l->n)
            return true;
        l->next = (tp_loader_place){ l->next.epoch + 1, 0 };
        l->n = -1;
    }
}

/* The samples of the next batch, which is then past; false at the end and after a failure. */
static bool claim_next(tp_loader *l, claim *c, item *it)
{
    int64_t begin;

    memset(it, 0, sizeof *it);
    if (!find_next(l, it))
        return false;
    begin = l->next.batch > 0 ? l->end[l->next.batch - 1] : 0;
    c->n = l->end[l->next.batch] - begin;
    if (!tpi_grow(NULL, &c->index, &c->cap, (size_t)c->n, sizeof *c->index)) {
        it->code = TP_ENOMEM;
        (void)snprintf(it->why, sizeof it->why, "loader: out of memory");
        return false;
    }
    memcpy(c->index, l->order + begin, (size_t)c->n * sizeof *c->index);
    l->next.batch++;
    c->after = l->next.batch < l->n ? l->next : (tp_loader_place){ l->next.epoch + 1, 0 };
    return true;
}

static void produce(const tp_loader *l, const claim *c, item *it)
{
    it->after = c->after;
    it->code = l->data.make(l->data.user, c->index, c->n, &it->batch, it->why, sizeof it->why);
    if (it->code == TP_OK && it->batch != NULL)
        return;
    it->batch = NULL;
    it->code = it->code != TP_OK ? it->code : TP_ENOMEM;
    if (it->why[0] == '\0')
        (void)snprintf(it->why, sizeof it->why, "loader: %s",
                       it->code == TP_ENOMEM ? "out of memory" : "no batch was made");
}

/* Waits for room in the ring; false when the loader stops. */
static bool claim_slot(tp_loader *l, claim *c)
{
    bool go;

    pthread_mutex_lock(&l->lock);
    while (l->claimed - l->taken == l->size && !l->stop)
        pthread_cond_wait(&l->moved, &l->lock);
    go = !l->stop;
    if (go)
        c->slot = l->claimed++ % l->size;
    pthread_mutex_unlock(&l->lock);
    return go;
}

static void *run(void *user)
{
    tp_loader *l = user;
    claim      c = { .index = NULL };
    item       it = { .batch = NULL };
    bool       go = true;

    while (go) {
        bool mine;

        pthread_mutex_lock(&l->plan);
        mine = !l->ended && claim_slot(l, &c);
        go = mine && claim_next(l, &c, &it);
        l->ended |= !go;
        pthread_mutex_unlock(&l->plan);
        if (go)
            produce(l, &c, &it);
        if (!mine)
            break;
        it.ready = true;
        go = it.batch != NULL;
        pthread_mutex_lock(&l->lock);
        l->ring[c.slot] = it;
        pthread_cond_broadcast(&l->moved);
        pthread_mutex_unlock(&l->lock);
    }
    tpi_free(c.index);
    return NULL;
}

/* ---- starting and stopping --------------------------------------------------------------------------------------- */

/* A machine that gives no thread gets its batches all the same, made when they are asked for. */
static void start(tp_loader *l)
{
    sigset_t all, old;

    l->stop = false;
    l->ended = false;
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    while (l->running < l->opts.threads && pthread_create(&l->thread[l->running], NULL, run, l) == 0)
        l->running++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Ends the threads and makes the producers begin again at the consumer's place. */
static void stop(tp_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->lock);
    for (; l->running > 0; l->running--)
        pthread_join(l->thread[l->running - 1], NULL);
    for (int64_t i = 0; l->ring != NULL && i < l->size; i++) {
        if (l->ring[i].batch != NULL)
            l->data.drop(l->ring[i].batch);
        l->ring[i].batch = NULL;
        l->ring[i].ready = false;
    }
    l->claimed = l->taken = 0;
    if (l->next.epoch != l->place.epoch)
        l->n = -1;
    l->next = l->place;
}

/* Running sums of the weights; NULL after a failure. */
static double *mass_of(tp_ctx *ctx, const double *weights, int64_t n)
{
    double *mass = tpi_alloc(ctx, (size_t)n, sizeof *mass), sum = 0;

    for (int64_t i = 0; mass != NULL && i < n; i++) {
        sum += weights[i];
        mass[i] = sum;
        if (!(weights[i] >= 0) || !isfinite(sum)) {
            tp_fail(ctx, TP_EARG, "loader: the weight of sample %lld is %g, expected 0 or more and a finite sum",
                    (long long)i, weights[i]);
            break;
        }
    }
    if (tp_ok(ctx) && sum == 0)
        tp_fail(ctx, TP_EARG, "loader: all %lld weights are 0", (long long)n);
    if (tp_ok(ctx))
        return mass;
    tpi_free(mass);
    return NULL;
}

static bool check(tp_ctx *ctx, const tp_dataset *data, const tp_loader_opts *o)
{
    if (data == NULL || data->make == NULL || data->drop == NULL)
        return tp_fail(ctx, TP_EARG, "loader: a data set without make or drop") != NULL;
    if (data->length < 1 || data->length > (int64_t)1 << 40)
        return tp_fail(ctx, TP_EARG, "loader: %lld samples, expected 1 to 2^40", (long long)data->length) != NULL;
    if (o->batch < 1 || o->epochs < 0 || o->prefetch > RING_MAX)
        return tp_fail(ctx, TP_EARG,
                       "loader: batch %lld, epochs %lld, prefetch %d; expected at least 1, at least 0, at most %d",
                       (long long)o->batch, (long long)o->epochs, o->prefetch, RING_MAX) != NULL;
    if (o->threads < 1 || o->threads > THREADS_MAX)
        return tp_fail(ctx, TP_EARG, "loader: %d threads, expected 1 to %d", o->threads, THREADS_MAX) != NULL;
    if (o->drop_last && data->cut == NULL && data->length < o->batch)
        return tp_fail(ctx, TP_EARG, "loader: %lld samples make no whole batch of %lld, and drop_last drops the rest",
                       (long long)data->length, (long long)o->batch) != NULL;
    return true;
}

tp_loader *tp_loader_new(tp_ctx *ctx, const tp_dataset *data, const tp_loader_opts *opts)
{
    tp_loader_opts o = opts ? *opts : (tp_loader_opts){ 0 };
    tp_loader     *l;

    if (!tp_ok(ctx))
        return NULL;
    o.batch = o.batch ? o.batch : 8;
    o.prefetch = o.prefetch ? o.prefetch : 2;
    o.threads = o.threads ? o.threads : 1;
    if (!check(ctx, data, &o))
        return NULL;
    l = tpi_alloc(ctx, 1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->data = *data;
    l->opts = o;
    l->opts.weights = NULL; /* the caller's */
    l->n = -1;
    l->size = o.prefetch > 0 ? o.prefetch : 1;
    pthread_mutex_init(&l->plan, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->moved, NULL);
    l->ring = tpi_alloc(ctx, (size_t)l->size, sizeof *l->ring);
    l->thread = tpi_alloc(ctx, (size_t)o.threads, sizeof *l->thread);
    l->order = tpi_alloc(ctx, (size_t)data->length, sizeof *l->order);
    l->end = tpi_alloc(ctx, (size_t)data->length, sizeof *l->end);
    if (o.weights != NULL)
        l->mass = mass_of(ctx, o.weights, data->length);
    if (tp_ok(ctx))
        return l;
    tp_loader_free(l);
    return NULL;
}

void tp_loader_free(tp_loader *l)
{
    if (l == NULL)
        return;
    stop(l);
    pthread_cond_destroy(&l->moved);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->plan);
    tpi_free(l->ring);
    tpi_free(l->thread);
    tpi_free(l->mass);
    tpi_free(l->order);
    tpi_free(l->end);
    tpi_free(l);
}

/* ---- the consumer ------------------------------------------------------------------------------------------------ */

static item take(tp_loader *l)
{
    item *slot, it;

    pthread_mutex_lock(&l->lock);
    slot = &l->ring[l->taken % l->size];
    while (!slot->ready)
        pthread_cond_wait(&l->moved, &l->lock);
    it = *slot;
    slot->batch = NULL;
    slot->ready = false;
    l->taken++;
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->lock);
    return it;
}

/* Without a thread. */
static item make_now(tp_loader *l)
{
    claim c = { .index = NULL };
    item  it;

    if (claim_next(l, &c, &it))
        produce(l, &c, &it);
    tpi_free(c.index);
    return it;
}

void *tp_loader_next(tp_ctx *ctx, tp_loader *l)
{
    item it;

    if (!tp_ok(ctx))
        return NULL;
    if (l == NULL)
        return tp_fail(ctx, TP_EARG, "loader: there is none");
    if (l->running == 0 && l->opts.prefetch > 0)
        start(l);
    it = l->running > 0 ? take(l) : make_now(l);
    if (it.batch != NULL) {
        l->place = it.after;
        return it.batch;
    }
    stop(l); /* the threads have ended behind a failure or the end */
    return it.code == TP_OK ? NULL : tp_fail(ctx, it.code, "%s", it.why);
}

const tp_dataset *tpi_loader_data(const tp_loader *l)
{
    return l ? &l->data : NULL;
}

tp_loader_place tp_loader_tell(const tp_loader *l)
{
    return l ? l->place : (tp_loader_place){ 0, 0 };
}

void tp_loader_seek(tp_ctx *ctx, tp_loader *l, tp_loader_place place)
{
    if (!tp_ok(ctx) || l == NULL)
        return;
    if (place.epoch < 0 || place.batch < 0) {
        tp_fail(ctx, TP_EARG, "loader: epoch %lld, batch %lld is no place", (long long)place.epoch,
                (long long)place.batch);
        return;
    }
    l->place = place;
    stop(l);
}

void tpi_loader_look(const tp_loader *l, tp_dataset *data, tp_loader_opts *opts)
{
    *data = l->data;
    *opts = l->opts;
}

void tp_loader_rewind(tp_loader *l)
{
    if (l == NULL)
        return;
    l->place = (tp_loader_place){ 0, 0 };
    stop(l);
}

int64_t tp_loader_batches(tp_ctx *ctx, const tp_loader *l, int64_t epoch)
{
    int64_t *order, *end, n = -1;

    if (!tp_ok(ctx))
        return -1;
    if (l == NULL || epoch < 0) {
        tp_fail(ctx, TP_EARG, "loader: no loader, or epoch %lld", (long long)epoch);
        return -1;
    }
    order = tpi_alloc(ctx, (size_t)l->data.length, sizeof *order);
    end = tpi_alloc(ctx, (size_t)l->data.length, sizeof *end);
    if (order != NULL && end != NULL) {
        n = tpi_order(&l->data, &l->opts, l->mass, epoch, order, end);
        if (n < 0)
            tp_fail(ctx, TP_ENOMEM, "loader: epoch %lld could not be cut into batches", (long long)epoch);
    }
    tpi_free(order);
    tpi_free(end);
    return n;
}
