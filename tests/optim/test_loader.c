/* test_loader.c - orders, batches, prefetching, places, failures in the thread, shutting down at any time. */
#include "optim/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 32 };

/* A batch is the list of its samples. */
typedef struct {
    int64_t n, index[MOST];
} listed;

typedef struct {
    atomic_int  alive; /* batches that nobody has freed */
    atomic_long made;
    int64_t     length;
    int64_t     bad; /* the sample that cannot be read, or -1 */
    tp_code     code;
    bool        silent, slow;
} source;

static source *owner; /* of the batches: drop gets no user */

static tp_code make(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size)
{
    source *s = user;
    listed *b;

    atomic_fetch_add(&s->made, 1);
    if (s->slow)
        usleep(500);
    for (int64_t i = 0; i < n; i++)
        if (index[i] == s->bad) {
            if (!s->silent)
                (void)snprintf(why, size, "numbers.txt:%lld: no number", (long long)index[i] + 1);
            return s->code;
        }
    b = tpi_alloc(NULL, 1, sizeof *b);
    if (b == NULL)
        return TP_ENOMEM;
    b->n = n;
    memcpy(b->index, index, (size_t)n * sizeof *index);
    atomic_fetch_add(&s->alive, 1);
    *batch = b;
    return TP_OK;
}

static void drop(void *batch)
{
    atomic_fetch_sub(&owner->alive, 1);
    tpi_free(batch);
}

static tp_dataset numbers(source *s, int64_t n)
{
    *s = (source){ .length = n, .bad = -1, .code = TP_EFORMAT };
    owner = s;
    return (tp_dataset){ .length = n, .user = s, .make = make, .drop = drop };
}

/* The samples of the next `batches` batches, one after the other, and the sizes; returns the number of samples. */
static int64_t draw(tp_ctx *ctx, tp_loader *l, int64_t batches, int64_t *out, int64_t *sizes)
{
    int64_t n = 0;

    for (int64_t i = 0; i < batches; i++) {
        listed *b = tp_loader_next(ctx, l);

        if (sizes != NULL)
            sizes[i] = b ? b->n : 0;
        if (b == NULL)
            break;
        memcpy(out + n, b->index, (size_t)b->n * sizeof *out);
        n += b->n;
        drop(b);
    }
    return n;
}

static void is_permutation(const int64_t *x, int64_t n)
{
    char seen[4096] = { 0 };

    for (int64_t i = 0; i < n; i++) {
        assert_in_range(x[i], 0, n - 1);
        assert_int_equal(seen[x[i]]++, 0);
    }
}

static void orders(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    source         s;
    tp_dataset     d = numbers(&s, 103);
    int64_t        a[2060], b[2060], sizes[26];
    const int      ahead[] = { -1, 1, 5, 64 };
    tp_loader_opts o = { .batch = 8, .seed = 7 };

    (void)state;
    for (size_t k = 0; k < 4; k++) { /* the order does not depend on the thread */
        tp_loader *l;

        o.prefetch = ahead[k];
        l = tp_loader_new(ctx, &d, &o);
        assert_int_equal(draw(ctx, l, 26, k ? b : a, sizes), 206);
        assert_int_equal(sizes[0], 8);
        assert_int_equal(sizes[12], 7); /* 103 = 12 x 8 + 7 */
        if (k > 0)
            assert_memory_equal(a, b, 206 * sizeof *a);
        tp_loader_free(l);
    }
    is_permutation(a, 103);
    is_permutation(a + 103, 103);
    assert_memory_not_equal(a, a + 103, 103 * sizeof *a);
    for (int k = 0; k < 2; k++) { /* other seeds, the second in the upper half, give other orders */
        tp_loader *l;

        o.seed = k ? (uint64_t)7 << 32 : 8;
        l = tp_loader_new(ctx, &d, &o);
        draw(ctx, l, 13, b, NULL);
        is_permutation(b, 103);
        assert_memory_not_equal(a, b, 103 * sizeof *a);
        tp_loader_free(l);
    }
    assert_int_equal(s.alive, 0);
    assert_int_equal(tp_ctx_finish(ctx), 0);
}

/* Each of 5 numbers comes to each of 5 places about equally often. */
static void evenly(void **state)
{
    int count[5][5] = { { 0 } };

    (void)state;
    for (uint32_t k = 0; k < 5000; k++) {
        int64_t x[5] = { 0, 1, 2, 3, 4 };

        tpi_shuffle((tpi_key){ { 1, 2 }, { k, 0 } }, x, 5);
        for (int i = 0; i < 5; i++)
            count[x[i]][i]++;
    }
    for (int i = 0; i < 25; i++)
        assert_in_range(count[i / 5][i % 5], 1000 - 130, 1000 + 130);
}

static void in_order_and_the_end(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    source     s;
    tp_dataset d = numbers(&s, 10);
    int64_t    a[64], sizes[16];
    tp_loader *l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 4, .no_shuffle = true, .epochs = 2 });

    (void)state;
    assert_int_equal(tp_loader_batches(ctx, l, 0), 3);
    assert_int_equal(draw(ctx, l, 7, a, sizes), 20);
    assert_int_equal(sizes[2], 2);
    assert_int_equal(sizes[6], 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(a[i], i % 10);
    assert_int_equal(tp_loader_tell(l).epoch, 2);
    assert_null(tp_loader_next(ctx, l)); /* and it stays the end */
    tp_loader_rewind(l);
    assert_int_equal(draw(ctx, l, 1, a, NULL), 4);
    tp_loader_free(l);

    l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 4, .no_shuffle = true, .epochs = 1, .drop_last = true });
    assert_int_equal(draw(ctx, l, 7, a, sizes), 8);
    tp_loader_free(l);
    l = tp_loader_new(ctx, &d, NULL);
    assert_int_equal(draw(ctx, l, 1, a, NULL), 8);
    tp_loader_free(l);
    assert_int_equal(s.alive, 0);
    assert_int_equal(tp_ctx_finish(ctx), 0);
}

/* A place is that of the batch that was taken, not of those made ahead; a new loader goes on from it. */
static void places(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    source         s;
    tp_dataset     d = numbers(&s, 50);
    tp_loader_opts o = { .batch = 7, .seed = 3, .prefetch = 9 };
    tp_loader     *l = tp_loader_new(ctx, &d, &o), *m;
    int64_t        all[400], some[400];

    (void)state;
    assert_int_equal(draw(ctx, l, 32, all, NULL), 200);
    for (int64_t k = 0; k < 24; k++) {
        int64_t         before = k / 8 * 50 + k % 8 * 7;
        tp_loader_place p;

        tp_loader_seek(ctx, l, (tp_loader_place){ 0, 0 });
        draw(ctx, l, k, some, NULL);
        p = tp_loader_tell(l);
        assert_int_equal(p.epoch, k / 8);
        assert_int_equal(p.batch, k % 8);
        m = tp_loader_new(ctx, &d, &o);
        tp_loader_seek(ctx, m, p);
        draw(ctx, m, 8, some, NULL);
        assert_memory_equal(some, all + before, 44 * sizeof *all);
        tp_loader_free(m);
    }
    tp_loader_seek(ctx, l, (tp_loader_place){ 1, 8 }); /* behind the last of an epoch is the first of the next */
    draw(ctx, l, 1, some, NULL);
    assert_memory_equal(some, all + 100, 7 * sizeof *all);
    assert_true(tp_ok(ctx));
    tp_loader_seek(ctx, l, (tp_loader_place){ 1, 9 });
    assert_null(tp_loader_next(ctx, l));
    assert_non_null(strstr(tp_error(ctx), "epoch 1 has 8 batches"));
    tp_error_clear(ctx);
    tp_loader_seek(ctx, l, (tp_loader_place){ -1, 0 });
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    tp_loader_free(l);
    tp_ctx_free(ctx);
    assert_int_equal(s.alive, 0);
}

/* An error of make comes with the batch in which it is, after those before it, and can be tried again. */
static void failures(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    source     s;
    tp_dataset d = numbers(&s, 40);
    int64_t    a[64];

    (void)state;
    for (int ahead = -1; ahead < 6; ahead += 3) {
        tp_loader *l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 4, .no_shuffle = true, .prefetch = ahead });

        s.bad = 17;
        assert_int_equal(draw(ctx, l, 9, a, NULL), 16);
        assert_int_equal(tp_error_code(ctx), TP_EFORMAT);
        assert_string_equal(tp_error(ctx), "numbers.txt:18: no number");
        assert_null(tp_loader_next(ctx, l)); /* the context has failed */
        tp_error_clear(ctx);
        assert_null(tp_loader_next(ctx, l));
        assert_string_equal(tp_error(ctx), "numbers.txt:18: no number");
        tp_error_clear(ctx);
        s.bad = -1;
        assert_int_equal(draw(ctx, l, 1, a, NULL), 4);
        assert_int_equal(a[0], 16);
        tp_loader_free(l);
    }
    assert_int_equal(s.alive, 0);
    s.bad = 0;
    s.silent = true;
    for (int k = 0; k < 3; k++) { /* a make that says nothing, or breaks its promise */
        tp_loader *l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .no_shuffle = true });

        s.code = k == 0 ? TP_EFORMAT : k == 1 ? TP_ENOMEM : TP_OK;
        assert_null(tp_loader_next(ctx, l));
        assert_true(tp_error_code(ctx) != TP_OK && strncmp(tp_error(ctx), "loader: ", 8) == 0);
        tp_error_clear(ctx);
        tp_loader_free(l);
    }
    tp_ctx_free(ctx);
}

static void refusals(void **state)
{
    tp_ctx              *ctx = tp_ctx_new(TP_REF, 0);
    source               s;
    tp_dataset           d = numbers(&s, 3), none = d, empty = d;
    const tp_loader_opts wrong[] = { { .batch = -1 }, { .epochs = -1 }, { .prefetch = 65 }, { .drop_last = true } };

    (void)state;
    none.make = NULL;
    empty.length = 0;
    assert_null(tp_loader_new(ctx, &none, NULL));
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    tp_error_clear(ctx);
    assert_null(tp_loader_new(ctx, &empty, NULL));
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tp_error_clear(ctx);
        assert_null(tp_loader_new(ctx, &d, &wrong[i]));
        assert_int_equal(tp_error_code(ctx), TP_EARG);
    }
    tp_error_clear(ctx);
    assert_null(tp_loader_next(ctx, NULL));
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    assert_null(tp_loader_new(ctx, &d, NULL)); /* on a failed context */
    assert_int_equal(tp_loader_batches(ctx, NULL, 0), -1);
    tp_loader_seek(ctx, NULL, (tp_loader_place){ 0, 0 });
    assert_int_equal(tp_loader_tell(NULL).epoch, 0);
    tp_loader_free(NULL);
    assert_null(tp_loader_next(NULL, NULL));
    tp_ctx_free(ctx);
}

/* Freed at any moment: before the thread runs, while the ring fills, while it is full. */
static void freed_at_any_time(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    source     s;
    tp_dataset d = numbers(&s, 100);
    int64_t    a[1024];

    (void)state;
    for (int k = 0; k < 120; k++) {
        tp_loader *l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 3, .prefetch = 1 + k % 7, .epochs = k % 3 });

        s.slow = k % 2 == 0;
        draw(ctx, l, k % 5, a, NULL);
        if (k % 4 == 0)
            usleep((useconds_t)k * 40);
        if (k % 6 == 5)
            tp_loader_seek(ctx, l, (tp_loader_place){ k % 2, k % 9 });
        tp_loader_free(l);
        assert_int_equal(s.alive, 0);
    }
    assert_int_equal(tp_ctx_finish(ctx), 0);
}

/* Every allocation fails in turn: one message, nothing lost, and the data goes on behind it. */
static void failing_allocations(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    source     s;
    tp_dataset d = numbers(&s, 20);
    int64_t    a[64];
    int        failed = 0;

    (void)state;
    for (long k = 0; k < 24; k++) {
        tp_loader *l;

        tpi_fail_alloc(k, false);
        l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 5, .no_shuffle = true, .prefetch = k % 2 ? 3 : -1 });
        draw(ctx, l, 8, a, NULL);
        (void)tp_loader_batches(ctx, l, 1);
        tpi_fail_alloc(-1, false);
        if (!tp_ok(ctx)) {
            assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
            failed++;
        }
        tp_error_clear(ctx);
        tp_loader_free(l);
        assert_int_equal(s.alive, 0);
    }
    assert_in_range(failed, 12, 24);
    tp_ctx_free(ctx);
}

/* Batches of two samples, the first of each marked by turning its bits over. */
static int64_t cut(void *user, uint64_t key, int64_t batch, int64_t *order, int64_t *end)
{
    const source *s = user;
    int64_t       n = 0;

    (void)batch;
    if (s->length == 13)
        return -1;
    tpi_shuffle((tpi_key){ { (uint32_t)key, (uint32_t)(key >> 32) }, { 0, 0 } }, order, s->length);
    for (int64_t at = 0; at < s->length; n++) {
        order[at] = ~order[at];
        at = at + 2 < s->length ? at + 2 : s->length;
        end[n] = at;
    }
    return n;
}

static void cut_by_the_data(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    source     s;
    tp_dataset d = numbers(&s, 7);
    int64_t    a[64], sizes[8];
    tp_loader *l;

    (void)state;
    d.cut = cut;
    l = tp_loader_new(ctx, &d, &(tp_loader_opts){ .batch = 8, .no_shuffle = true });
    assert_int_equal(tp_loader_batches(ctx, l, 5), 4);
    assert_int_equal(draw(ctx, l, 8, a, sizes), 14);
    for (int i = 0; i < 14; i++) { /* the key is the epoch's own, so the two orders differ */
        assert_true((a[i] < 0) == (i % 7 % 2 == 0));
        a[i] = a[i] < 0 ? ~a[i] : a[i];
    }
    is_permutation(a, 7);
    is_permutation(a + 7, 7);
    assert_memory_not_equal(a, a + 7, 7 * sizeof *a);
    assert_int_equal(sizes[3], 1);
    tp_loader_free(l);

    s.length = d.length = 13;
    l = tp_loader_new(ctx, &d, NULL);
    assert_null(tp_loader_next(ctx, l));
    assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
    tp_error_clear(ctx);
    assert_int_equal(tp_loader_batches(ctx, l, 0), -1);
    tp_loader_free(l);
    assert_int_equal(s.alive, 0);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),
        cmocka_unit_test(evenly),
        cmocka_unit_test(in_order_and_the_end),
        cmocka_unit_test(places),
        cmocka_unit_test(failures),
        cmocka_unit_test(refusals),
        cmocka_unit_test(freed_at_any_time),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(cut_by_the_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
