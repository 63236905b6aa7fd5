/*
 * loader.c - a thread that makes batches ahead and hands them over through a ring.  What only the producer uses
 * (order, next) and what both sides use (the ring, under the lock) are kept apart; without a thread the consumer is
 * the producer.
 */
#include "optim/optim_internal.h"
#include "optim/order.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { RING_MAX = 64, WHY = 512 };

/* What the producer hands over: a batch, the end of the data, or a failure. */
typedef struct {
    void           *batch;
    tp_loader_place after; /* the place behind it */
    tp_code         code;
    char            why[WHY];
} item;

struct tp_loader {
    tp_dataset      data;
    tp_loader_opts  opts;
    tp_loader_place place; /* the consumer's: what comes next */

    /* the producer's */
    int64_t        *order, *end;
    int64_t         n; /* batches of the epoch that `order` holds, -1 when it holds none */
    tp_loader_place next;

    /* shared */
    pthread_mutex_t lock;
    pthread_cond_t  moved; /* something was put in or taken out, or stop was set */
    item           *ring;
    int             first, held, size;
    bool            stop;

    pthread_t thread;
    bool      running;
};

/* ---- the producer ------------------------------------------------------------------------------------------------ */

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
            l->n = tpi_order(&l->data, &l->opts, l->next.epoch, l->order, l->end);
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

static void produce(tp_loader *l, item *it)
{
    int64_t begin;

    memset(it, 0, sizeof *it);
    if (!find_next(l, it))
        return;
    begin = l->next.batch > 0 ? l->end[l->next.batch - 1] : 0;
    it->code = l->data.make(l->data.user, l->order + begin, l->end[l->next.batch] - begin, &it->batch, it->why,
                            sizeof it->why);
    if (it->code != TP_OK || it->batch == NULL) {
        it->batch = NULL;
        it->code = it->code != TP_OK ? it->code : TP_ENOMEM;
        if (it->why[0] == '\0')
            (void)snprintf(it->why, sizeof it->why, "loader: %s",
                           it->code == TP_ENOMEM ? "out of memory" : "no batch was made");
        return;
    }
    l->next.batch++;
    it->after = l->next.batch < l->n ? l->next : (tp_loader_place){ l->next.epoch + 1, 0 };
}

static void *run(void *user)
{
    tp_loader *l = user;
    item       it;
    bool       go = true;

    while (go) {
        produce(l, &it);
        pthread_mutex_lock(&l->lock);
        while (l->held == l->size && !l->stop)
            pthread_cond_wait(&l->moved, &l->lock);
        go = !l->stop && it.batch != NULL;
        if (!l->stop)
            l->ring[(l->first + l->held++) % l->size] = it;
        else if (it.batch != NULL)
            l->data.drop(it.batch);
        pthread_cond_broadcast(&l->moved);
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* ---- starting and stopping --------------------------------------------------------------------------------------- */

/* A machine that gives no thread gets its batches all the same, made when they are asked for. */
static void start(tp_loader *l)
{
    sigset_t all, old;

    l->stop = false;
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    l->running = pthread_create(&l->thread, NULL, run, l) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Ends the thread and makes the producer begin again at the consumer's place. */
static void stop(tp_loader *l)
{
    if (l->running) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_broadcast(&l->moved);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
        l->running = false;
    }
    for (; l->held > 0; l->held--, l->first = (l->first + 1) % l->size)
        if (l->ring[l->first].batch != NULL)
            l->data.drop(l->ring[l->first].batch);
    if (l->next.epoch != l->place.epoch)
        l->n = -1;
    l->next = l->place;
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
    if (!check(ctx, data, &o))
        return NULL;
    l = tpi_alloc(ctx, 1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->data = *data;
    l->opts = o;
    l->n = -1;
    l->size = o.prefetch > 0 ? o.prefetch : 1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->moved, NULL);
    l->ring = tpi_alloc(ctx, (size_t)l->size, sizeof *l->ring);
    l->order = tpi_alloc(ctx, (size_t)data->length, sizeof *l->order);
    l->end = tpi_alloc(ctx, (size_t)data->length, sizeof *l->end);
    if (l->ring != NULL && l->order != NULL && l->end != NULL)
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
    tpi_free(l->ring);
    tpi_free(l->order);
    tpi_free(l->end);
    tpi_free(l);
}

/* ---- the consumer ------------------------------------------------------------------------------------------------ */

static item take(tp_loader *l)
{
    item it;

    pthread_mutex_lock(&l->lock);
    while (l->held == 0)
        pthread_cond_wait(&l->moved, &l->lock);
    it = l->ring[l->first];
    l->first = (l->first + 1) % l->size;
    l->held--;
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->lock);
    return it;
}

void *tp_loader_next(tp_ctx *ctx, tp_loader *l)
{
    item it;

    if (!tp_ok(ctx))
        return NULL;
    if (l == NULL)
        return tp_fail(ctx, TP_EARG, "loader: there is none");
    if (!l->running && l->opts.prefetch > 0)
        start(l);
    if (l->running)
        it = take(l);
    else
        produce(l, &it);
    if (it.batch != NULL) {
        l->place = it.after;
        return it.batch;
    }
    stop(l); /* the thread has ended behind a failure or the end */
    return it.code == TP_OK ? NULL : tp_fail(ctx, it.code, "%s", it.why);
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
        n = tpi_order(&l->data, &l->opts, epoch, order, end);
        if (n < 0)
            tp_fail(ctx, TP_ENOMEM, "loader: epoch %lld could not be cut into batches", (long long)epoch);
    }
    tpi_free(order);
    tpi_free(end);
    return n;
}
