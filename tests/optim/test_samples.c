/* test_samples.c - samples of tensors, of a function, of windows; parts; batches by one thread and by several; weights. */
#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "optim/order.h"

#include <stdatomic.h>
#include <unistd.h>

enum { N = 103 };

static void check_error(tp_ctx *ctx, tp_code code, const char *part)
{
    check_failed(ctx, code, part, NULL);
}

/* x[i] = { i, i + 0.5 }, y[i] = 1000 + i */
static tp_samples *numbers(tp_ctx *ctx)
{
    tp_tensor *x = tp_empty(ctx, TP_F32, TP_SHAPE(N, 2)), *y = tp_empty(ctx, TP_I64, TP_SHAPE(N));

    for (int i = 0; i < N; i++) {
        tp_f32(ctx, x)[2 * i] = (float)i;
        tp_f32(ctx, x)[2 * i + 1] = (float)i + 0.5f;
        tp_i64(ctx, y)[i] = 1000 + i;
    }
    return tp_samples_new(ctx, TP_IN(x, y));
}

/* Takes all batches of a loader: every sample's number in order; checks that the fields belong together. */
static int64_t take_all(tp_ctx *ctx, tp_loader *l, int64_t *seen, int64_t most)
{
    int64_t    n = 0;
    tp_tensor *b[2];
    tp_scope   s = tp_scope_begin(ctx);

    for (; tp_samples_next(ctx, l, b); tp_scope_end(ctx, s), s = tp_scope_begin(ctx))
        for (int64_t i = 0; i < tp_dim(b[1], 0); i++) {
            assert_true(n < most);
            seen[n] = tp_i64(ctx, b[1])[i] - 1000;
            assert_true(tp_f32(ctx, b[0])[2 * i] == (float)seen[n]);
            assert_true(tp_f32(ctx, b[0])[2 * i + 1] == (float)seen[n] + 0.5f);
            n++;
        }
    assert_null(b[0]);
    tp_scope_end(ctx, s);
    check_ok(ctx);
    return n;
}

static void batches(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    tp_samples    *s = numbers(ctx);
    int64_t        want[2 * N], got[2 * N];
    tp_loader_opts o = { .batch = 8, .seed = 3, .epochs = 2, .prefetch = -1 };
    tp_loader     *l = tp_samples_loader(ctx, s, &o);

    (void)state;
    assert_int_equal(tp_samples_length(s), N);
    assert_int_equal(take_all(ctx, l, want, 2 * N), 2 * N);
    tp_loader_free(l);
    for (int threads = 1; threads <= 5; threads += 2)
        for (int ahead = 1; ahead < 9; ahead += 3) { /* the order is the same for all of them */
            o.threads = threads;
            o.prefetch = ahead;
            l = tp_samples_loader(ctx, s, &o);
            assert_int_equal(take_all(ctx, l, got, 2 * N), 2 * N);
            assert_memory_equal(got, want, sizeof want);
            tp_loader_free(l);
        }
    tp_samples_free(s);
    free_ctx(ctx);
}

/* A run that goes on from a saved place gives what the first would have given, with any number of threads. */
static void places(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    tp_samples     *s = numbers(ctx);
    tp_loader_opts  o = { .batch = 10, .seed = 9, .epochs = 2, .threads = 3, .prefetch = 4 };
    tp_loader      *l = tp_samples_loader(ctx, s, &o);
    int64_t         want[2 * N], got[2 * N];
    tp_tensor      *b[2];
    tp_loader_place place;

    (void)state;
    take_all(ctx, l, want, 2 * N);
    tp_loader_rewind(l);
    for (int i = 0; i < 13; i++)
        assert_true(tp_samples_next(ctx, l, b));
    place = tp_loader_tell(l);
    assert_int_equal(place.epoch, 1);
    assert_int_equal(place.batch, 2);
    tp_loader_free(l); /* while batches lie ready */
    l = tp_samples_loader(ctx, s, &o);
    tp_loader_seek(ctx, l, place);
    assert_int_equal(take_all(ctx, l, got, 2 * N), N - 20);
    assert_memory_equal(got, want + N + 20, (N - 20) * sizeof *got);
    tp_loader_free(l);
    tp_samples_free(s);
    free_ctx(ctx);
}

/* ---- a function -------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t     bad;
    atomic_long calls, inside, most;
} squares;

static tp_code square(void *user, int64_t i, void *const *place, char *why, size_t size)
{
    squares *q = user;
    float    x[2] = { (float)i, (float)i + 0.5f };
    int64_t  y = 1000 + i;
    long     now = atomic_fetch_add(&q->inside, 1) + 1;

    atomic_fetch_add(&q->calls, 1);
    if (now > atomic_load(&q->most))
        atomic_store(&q->most, now);
    usleep(200);
    atomic_fetch_sub(&q->inside, 1);
    if (i == q->bad) {
        (void)snprintf(why, size, "squares: number %lld is bad", (long long)i);
        return TP_EFORMAT;
    }
    memcpy(place[0], x, sizeof x);
    memcpy(place[1], &y, sizeof y);
    return TP_OK;
}

static void functions(void **state)
{
    const tp_field field[] = { { "x", TP_F32, 1, { 2 } }, { "y", TP_I64, 0, { 0 } } };
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    squares        q = { .bad = -1 };
    tp_samples    *s = tp_samples_of(ctx, N, 2, field, square, &q);
    tp_loader     *l = tp_samples_loader(ctx, s, &(tp_loader_opts){ .epochs = 1, .threads = 4, .prefetch = 8 });
    int64_t        seen[N], sum = 0;
    tp_tensor     *b[2];

    (void)state;
    assert_int_equal(take_all(ctx, l, seen, N), N);
    for (int i = 0; i < N; i++)
        sum += seen[i];
    assert_int_equal(sum, N * (N - 1) / 2);
    assert_true(q.most > 1); /* several at a time */
    assert_true(tp_samples_all(ctx, s, b));
    assert_int_equal(tp_dim(b[0], 0), N);
    q.bad = 50;
    tp_loader_rewind(l);
    while (tp_samples_next(ctx, l, b))
        ;
    check_error(ctx, TP_EFORMAT, "squares: number 50 is bad");
    assert_null(b[0]);
    assert_false(tp_samples_all(ctx, s, b));
    check_error(ctx, TP_EFORMAT, "squares: number 50 is bad");
    q.bad = -1; /* the place has stayed */
    assert_true(tp_samples_next(ctx, l, b));
    tp_loader_free(l);
    tp_samples_free(s);
    free_ctx(ctx);
}

/* ---- parts, windows, weights ------------------------------------------------------------------------------------- */

static void parts(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_samples *s = numbers(ctx), *a, *b, *c, *d;
    char        seen[N] = { 0 };
    tp_tensor  *x[2];

    (void)state;
    assert_true(tp_samples_split(ctx, s, 0.8, 7, &a, &b));
    assert_int_equal(tp_samples_length(a), 82);
    assert_int_equal(tp_samples_length(b), 21);
    assert_true(tp_samples_split(ctx, a, 0.5, 7, &c, &d)); /* a part of a part */
    tp_samples_free(s);
    tp_samples_free(a);
    for (int k = 0; k < 3; k++) {
        assert_true(tp_samples_all(ctx, k == 0 ? b : k == 1 ? c : d, x));
        for (int64_t i = 0; i < tp_dim(x[1], 0); i++)
            assert_int_equal(seen[tp_i64(ctx, x[1])[i] - 1000]++, 0);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(tp_i64(ctx, x[1])[0], 1034); /* the same on every machine */
    for (int k = 0; k < 4; k++) {
        const double share[] = { 0, 1, 1e-9, -3 };

        assert_false(tp_samples_split(ctx, b, share[k], 0, &a, &s));
        check_error(ctx, TP_EARG, "split: a share of");
        assert_true(a == NULL && s == NULL);
    }
    tp_samples_free(b);
    tp_samples_free(c);
    tp_samples_free(d);
    free_ctx(ctx);
}

static void windows(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_tensor  *x = tp_arange(ctx, TP_I32, 0, 11, 1), *w[2];
    tp_samples *s = tp_samples_windows(ctx, x, 3, 0);

    (void)state;
    assert_int_equal(tp_samples_length(s), 3);
    assert_true(tp_samples_all(ctx, s, w));
    for (int i = 0; i < 9; i++) {
        assert_int_equal(tp_i32(ctx, w[0])[i], i);
        assert_int_equal(tp_i32(ctx, w[1])[i], i + 1);
    }
    tp_samples_free(s);
    s = tp_samples_windows(ctx, tp_slice(ctx, x, 0, 0, TP_END, 2), 4, 1); /* 0 2 4 6 8 10, strided */
    assert_int_equal(tp_samples_length(s), 2);
    assert_true(tp_samples_all(ctx, s, w));
    assert_int_equal(tp_i32(ctx, w[1])[7], 10);
    tp_samples_free(s);
    assert_null(tp_samples_windows(ctx, x, 11, 0));
    check_error(ctx, TP_ESHAPE, "windows: x is [11], expected one axis of more than 11");
    assert_null(tp_samples_windows(ctx, x, 0, 0));
    check_error(ctx, TP_EARG, "windows: length 0");
    free_ctx(ctx);
}

static void weights(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    tp_samples    *s = numbers(ctx);
    double         w[N] = { 0 };
    tp_loader_opts o = { .batch = 16, .epochs = 100, .weights = w, .seed = 5 };
    static int64_t seen[100 * N], count[N];
    tp_loader     *l;

    (void)state;
    w[3] = 1;
    w[7] = 3;
    w[N - 1] = 4;
    l = tp_samples_loader(ctx, s, &o);
    memset(w, 0, sizeof w); /* they were copied */
    assert_int_equal(take_all(ctx, l, seen, 100 * N), 100 * N);
    tp_loader_free(l);
    for (int i = 0; i < 100 * N; i++)
        count[seen[i]]++;
    assert_int_equal(count[3] + count[7] + count[N - 1], 100 * N);
    for (int k = 0; k < 3; k++) { /* within five standard deviations */
        double p = k == 0 ? 0.125 : k == 1 ? 0.375 : 0.5, n = (double)count[k == 0 ? 3 : k == 1 ? 7 : N - 1];

        assert_true(fabs(n - 100 * N * p) < 5 * sqrt(100 * N * p * (1 - p)));
    }
    assert_null(tp_samples_loader(ctx, s, &o));
    check_error(ctx, TP_EARG, "loader: all 103 weights are 0");
    w[2] = -1;
    assert_null(tp_samples_loader(ctx, s, &o));
    check_error(ctx, TP_EARG, "loader: the weight of sample 2 is -1");
    w[2] = NAN;
    assert_null(tp_samples_loader(ctx, s, &o));
    check_error(ctx, TP_EARG, "the weight of sample 2 is");
    tp_samples_free(s);
    free_ctx(ctx);
}

/* ---- wrong use --------------------------------------------------------------------------------------------------- */

static tp_code no_batch(void *user, const int64_t *index, int64_t n, void **out, char *why, size_t size)
{
    (void)user, (void)index, (void)n, (void)out, (void)why, (void)size;
    return TP_ENOMEM;
}

static void wrong(void **state)
{
    const tp_field endless = { "x", TP_F32, 7, { INT32_MAX, INT32_MAX, INT32_MAX, 1, 1, 1, 1 } };
    tp_dataset     other = { .length = 3, .make = no_batch, .drop = tpi_free };
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0), *foreign = tp_ctx_new(TP_REF, 0);
    tp_tensor     *x = tp_ones(ctx, TP_F32, TP_SHAPE(3, 2)), *y = tp_ones(ctx, TP_F32, TP_SHAPE(4)), *out[2];
    tp_samples    *s = tp_samples_new(ctx, TP_IN(x));
    tp_loader     *l = tp_loader_new(ctx, &other, NULL);

    (void)state;
    assert_null(tp_samples_new(ctx, TP_IN(x, y)));
    check_error(ctx, TP_ESHAPE, "samples: field 0 is [3, 2], field 1 is [4]; expected [length, ...], one length");
    assert_null(tp_samples_new(ctx, TP_IN(tp_ones(ctx, TP_F32, TP_SCALAR))));
    check_error(ctx, TP_ESHAPE, "samples: field 0 is []");
    assert_null(tp_samples_new(ctx, TP_IN(x, NULL)));
    check_error(ctx, TP_EARG, "samples: input 1 is NULL");
    assert_null(tp_samples_new(ctx, TP_IN(tp_ones(foreign, TP_F32, TP_SHAPE(3)))));
    check_error(ctx, TP_EARG, "another context");
    assert_null(tp_samples_new(ctx, 0, NULL));
    check_error(ctx, TP_EARG, "samples: 0 fields, expected 1 to 16");
    assert_null(tp_samples_of(ctx, 5, 1, &endless, square, NULL));
    check_error(ctx, TP_ESHAPE, "samples: the field x has no shape");
    assert_null(tp_samples_of(ctx, 5, 1, &endless, NULL, NULL));
    check_error(ctx, TP_EARG, "5 samples of no function");
    assert_false(tp_samples_next(ctx, l, out));
    check_error(ctx, TP_EARG, "samples: no loader of samples");
    assert_null(tp_samples_loader(ctx, s, &(tp_loader_opts){ .threads = 65 }));
    check_error(ctx, TP_EARG, "loader: 65 threads, expected 1 to 64");
    tp_loader_free(l);
    tp_samples_free(s);
    tp_samples_free(NULL);
    free_ctx(foreign);
    free_ctx(ctx);
}

/* Tensors stay as long as the samples need them. */
static void lifetimes(void **state)
{
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    tp_scope    scope = tp_scope_begin(ctx);
    tp_samples *s = numbers(ctx), *a, *b;
    tp_tensor  *x[2];

    (void)state;
    tp_samples_split(ctx, s, 0.5, 1, &a, &b);
    tp_samples_free(s);
    tp_scope_end(ctx, scope);
    assert_true(tp_samples_all(ctx, a, x));
    assert_true(tp_f32(ctx, x[0])[0] == (float)(tp_i64(ctx, x[1])[0] - 1000));
    tp_samples_free(a);
    tp_samples_free(b);
    check_ok(ctx);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches), cmocka_unit_test(places),  cmocka_unit_test(functions), cmocka_unit_test(parts),
        cmocka_unit_test(windows), cmocka_unit_test(weights), cmocka_unit_test(wrong),     cmocka_unit_test(lifetimes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
