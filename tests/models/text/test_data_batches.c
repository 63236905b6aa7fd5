/* test_data_batches.c - rows, targets and ranges; packing, grouping, orders and places. */
#include "tests/models/text/data_test.h"

static int32_t at3(const tp_tensor *x, int64_t i, int64_t j, int64_t k, tp_ctx *ctx)
{
    return (int32_t)tp_at(ctx, x, 3, (const int64_t[]){ i, j, k });
}

static int32_t at2(const tp_tensor *x, int64_t i, int64_t j, tp_ctx *ctx)
{
    return (int32_t)tp_at(ctx, x, 2, (const int64_t[]){ i, j });
}

static void a_batch(void **state)
{
    world       w;
    tp_data    *d;
    tp_lm_batch b;
    tp_scope    s;

    (void)state;
    begin(&w);
    d = open_text(&w,
                  "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n\n"
                  "{\"text\": \"0123456789abcdefg\"}\n"
                  "{\"text\": \"xyz\"}\n",
                  &(tp_data_opts){ .template_name = "none", .no_shuffle = true, .batch = 2, .epochs = 1 });
    s = tp_scope_begin(w.ctx);
    b = tp_data_next(w.ctx, d);
    assert_int_equal(tp_dim(b.ids, 0), 2);
    assert_int_equal(tp_dim(b.ids, 1), 32); /* 18 to 32 */
    assert_int_equal(tp_ndim(b.range), 3);
    assert_int_equal(tp_dtype_of(b.ids), TP_I32);
    assert_null(b.pos);
    assert_int_equal(b.tokens, 5 + 18);
    assert_int_equal(b.target_tokens, 3 + 17);
    assert_int_equal(b.samples, 2);
    assert_int_equal(b.first_sample, 0);
    assert_int_equal(b.line, 1);
    for (int64_t t = 0; t < 32; t++) {
        static const int32_t target[5] = { -1, 'c', 'd', EOS, -1 };

        assert_int_equal(at2(b.target, 0, t, w.ctx), t < 5 ? target[t] : -1);
        assert_int_equal(at2(b.target, 1, t, w.ctx), t < 16 ? "0123456789abcdefg"[t + 1] : t == 16 ? EOS : -1);
        assert_int_equal(at2(b.ids, 0, t, w.ctx), t < 4 ? "abcd"[t] : t == 4 ? EOS : 0);
        for (int64_t r = 0; r < 2; r++) {
            assert_int_equal(at3(b.range, r, t, 0, w.ctx), 0);
            assert_int_equal(at3(b.range, r, t, 1, w.ctx), t < (r ? 18 : 5) ? t + 1 : 0);
        }
    }
    b = tp_data_next(w.ctx, d);
    assert_int_equal(tp_dim(b.ids, 0), 1);
    assert_int_equal(b.line, 4);
    assert_int_equal(b.first_sample, 2);
    b = tp_data_next(w.ctx, d);
    assert_true(b.ids == NULL && tp_ok(w.ctx));
    tp_data_rewind(d);
    b = tp_data_next(w.ctx, d);
    assert_int_equal(b.line, 1);
    tp_scope_end(w.ctx, s);
    tp_data_free(d);
    end(&w);
}

/* No padding, no range: 16 rows of 16. */
static void full_rows(void **state)
{
    world       w;
    tp_data    *d;
    tp_lm_batch b;

    (void)state;
    begin(&w);
    d = open_text(&w, "{\"text\": \"0123456789abcde\"}\n{\"text\": \"123456789abcdef\"}\n",
                  &(tp_data_opts){ .template_name = "none", .batch = 4 });
    b = tp_data_next(w.ctx, d);
    assert_int_equal(tp_dim(b.ids, 1), 16);
    assert_true(b.ids != NULL && b.range == NULL && b.pos == NULL);
    assert_int_equal(b.tokens, 32);
    tp_data_free(d);
    end(&w);
}

/* n samples: "text" of a length that varies; returns the tokens. */
static int64_t many(char *text, size_t size, int n, int most)
{
    size_t  at = 0;
    int64_t tokens = 0;

    for (int i = 0; i < n; i++) {
        int k = 1 + (i * 7919 + i * i % 13) % most;

        at += (size_t)snprintf(text + at, size - at, "{\"text\": \"%.*s\"}\n", k,
                               "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
        tokens += k + 1;
    }
    return tokens;
}

/* Every segment of a packed batch is a sample: positions from 0, its range its own, targets shifted inside it. */
static int64_t check_segments(world *w, const tp_lm_batch *b, int64_t width)
{
    int64_t segments = 0;

    assert_true(tp_dim(b->ids, 1) <= width);
    for (int64_t r = 0; r < tp_dim(b->ids, 0); r++) {
        int64_t begins = 0;

        for (int64_t t = 0; t < tp_dim(b->ids, 1); t++) {
            int32_t id = at2(b->ids, r, t, w->ctx), pos = at2(b->pos, r, t, w->ctx);

            if (id == 0) { /* padding goes on to the end of the row */
                assert_int_equal(at3(b->range, r, t, 1, w->ctx), 0);
                assert_int_equal(at2(b->target, r, t, w->ctx), -1);
                begins = -1;
                continue;
            }
            assert_true(begins >= 0);
            if (id == 'a' && pos == 0) {
                begins = t;
                segments++;
            }
            assert_int_equal(pos, t - begins);
            assert_int_equal(at3(b->range, r, t, 0, w->ctx), begins);
            assert_int_equal(at3(b->range, r, t, 1, w->ctx), t + 1);
            assert_int_equal(at2(b->target, r, t, w->ctx), id == EOS ? -1 : at2(b->ids, r, t + 1, w->ctx));
        }
    }
    return segments;
}

static void packed(void **state)
{
    static char   text[40000];
    const int64_t tokens = many(text, sizeof text, 300, 60);
    world         w;
    tp_data      *d;
    tp_data_count c;
    tp_data_opts  o = { .template_name = "none", .pack = true, .batch = 4, .max_len = 64, .epochs = 2, .seed = 5 };
    int64_t       seen = 0, samples = 0, batches = 0;

    (void)state;
    begin(&w);
    d = open_text(&w, text, &o);
    c = tp_data_counts(d);
    assert_true(c.places < tokens * 110 / 100); /* first fit leaves little room */
    for (;;) {
        tp_scope    s = tp_scope_begin(w.ctx);
        tp_lm_batch b = tp_data_next(w.ctx, d);
        bool        more = b.ids != NULL;

        if (more) {
            assert_int_equal(check_segments(&w, &b, 64), b.samples);
            seen += b.tokens;
            samples += b.samples;
            batches++;
        }
        tp_scope_end(w.ctx, s);
        if (!more)
            break;
        if (batches == c.batches)
            assert_int_equal(samples, 300);
    }
    assert_int_equal(samples, 600);
    assert_int_equal(seen, 2 * tokens);
    tp_data_free(d);
    end(&w);
}

/* The batches of the same samples in fewer rows. */
static void shared(void **state)
{
    static char  text[40000];
    world        w;
    tp_data     *d, *e;
    tp_data_opts o = { .template_name = "none", .batch = 8, .max_len = 64, .epochs = 1, .seed = 5 };

    (void)state;
    many(text, sizeof text, 299, 60);
    begin(&w);
    for (int group = 0; group < 2; group++) {
        o.group_by_length = group != 0;
        o.share_rows = false;
        d = open_text(&w, text, &o);
        o.share_rows = true;
        e = open_text(&w, text, &o);
        if (!group)
            assert_true(tp_data_counts(e).places * 10 < tp_data_counts(d).places * 7);
        assert_int_equal(tp_data_counts(e).batches, 38);
        for (int i = 0; i < 39; i++) {
            tp_scope    s = tp_scope_begin(w.ctx);
            tp_lm_batch a = tp_data_next(w.ctx, d), b = tp_data_next(w.ctx, e);

            assert_true((a.ids == NULL) == (i == 38) && (b.ids == NULL) == (i == 38));
            assert_int_equal(a.tokens, b.tokens);
            assert_int_equal(a.target_tokens, b.target_tokens);
            assert_int_equal(a.samples, b.samples);
            assert_true(tp_dim(b.ids, 0) <= tp_dim(a.ids, 0) && tp_dim(b.ids, 1) <= 64);
            assert_int_equal(b.ids ? check_segments(&w, &b, 64) : 0, b.samples);
            tp_scope_end(w.ctx, s);
        }
        tp_data_free(d);
        tp_data_free(e);
    }
    end(&w);
}

static void grouped(void **state)
{
    static char   text[400000];
    world         w;
    tp_data      *d, *e;
    tp_data_opts  o = { .template_name = "none", .group_by_length = true, .batch = 8, .epochs = 1, .seed = 5 };
    const int64_t tokens = many(text, sizeof text, 1003, 70);
    int64_t       seen = 0, rising = 0, before = 0;

    (void)state;
    begin(&w);
    d = open_text(&w, text, &o);
    o.group_by_length = false;
    e = open_text(&w, text, &o);
    assert_true(tp_data_counts(d).places * 10 < tp_data_counts(e).places * 8);
    assert_int_equal(tp_data_counts(d).batches, 126);
    for (int i = 0; i < 126; i++) {
        tp_scope    s = tp_scope_begin(w.ctx);
        tp_lm_batch b = tp_data_next(w.ctx, d);

        seen += b.tokens;
        rising += tp_dim(b.ids, 1) > before;
        before = tp_dim(b.ids, 1);
        tp_scope_end(w.ctx, s);
    }
    assert_int_equal(seen, tokens);
    assert_in_range(rising, 20, 106); /* the batches of a window are shuffled */
    assert_null(tp_data_next(w.ctx, d).ids);
    tp_data_free(d);
    tp_data_free(e);
    end(&w);
}

/* The first tokens of the next n batches, and their sizes. */
static void lines_of(world *w, tp_data *d, int n, int64_t *line)
{
    for (int i = 0; i < n; i++) {
        tp_scope    s = tp_scope_begin(w->ctx);
        tp_lm_batch b = tp_data_next(w->ctx, d);

        line[i] = b.line * 1000 + b.tokens;
        tp_scope_end(w->ctx, s);
    }
}

static void order_and_place(void **state)
{
    static char  text[40000];
    world        w;
    tp_data     *d, *e;
    int64_t      a[120], b[120];
    tp_data_opts o = { .template_name = "none", .batch = 3, .seed = 1 };

    (void)state;
    many(text, sizeof text, 100, 60);
    begin(&w);
    for (int mode = 0; mode < 5; mode++) { /* plain, packed, grouped, rows shared, both */
        tp_loader_place p;

        o.pack = mode == 1;
        o.group_by_length = mode == 2 || mode == 4;
        o.share_rows = mode > 2;
        o.prefetch = 0;
        d = open_text(&w, text, &o);
        lines_of(&w, d, 120, a);
        tp_data_rewind(d);
        lines_of(&w, d, 50, b);
        assert_memory_equal(a, b, 50 * sizeof *a);
        p = tp_data_tell(d);
        o.prefetch = -1;
        e = open_text(&w, text, &o);
        tp_data_seek(w.ctx, e, p);
        lines_of(&w, e, 70, b);
        assert_memory_equal(a + 50, b, 70 * sizeof *a);
        tp_data_free(d);
        tp_data_free(e);
    }
    end(&w);
}

static void place_of(tp_ctx *ctx, void *user, tp_state *st)
{
    tp_data_state(ctx, user, st);
}

/* The place in a checkpoint; other samples, or another order, are not gone on with. */
static void in_a_checkpoint(void **state)
{
    static char  text[40000];
    world        w;
    tp_data     *d, *e;
    int64_t      a[90], b[90];
    tp_data_opts o = { .template_name = "none", .batch = 3, .seed = 1, .pack = true };
    char         path[300];

    (void)state;
    many(text, sizeof text, 100, 60);
    begin(&w);
    snprintf(path, sizeof path, "%s/place.h5", folder);
    d = open_text(&w, text, &o);
    lines_of(&w, d, 20, a);
    assert_true(tp_state_save(w.ctx, path, "training", place_of, d));
    lines_of(&w, d, 90, a);
    e = open_text(&w, text, &o);
    assert_true(tp_state_load(w.ctx, path, place_of, e, NULL));
    lines_of(&w, e, 90, b);
    assert_memory_equal(a, b, sizeof a);
    tp_data_free(e);
    o.seed = 2;
    o.pack = false;
    many(text, sizeof text, 99, 60);
    e = open_text(&w, text, &o);
    assert_false(tp_state_load(w.ctx, path, place_of, e, NULL));
    for (const char *const *part = (const char *const[]){ "data@samples is 100, expected 99", "data@seed is 1, expected 2",
                                                          "data@content_xxh3 is", "data@pack is 1, expected 0", NULL };
         *part != NULL; part++)
        assert_non_null(strstr(tp_error(w.ctx), *part));
    tp_error_clear(w.ctx);
    unlink(path);
    tp_data_free(d);
    tp_data_free(e);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch), cmocka_unit_test(full_rows), cmocka_unit_test(packed),
        cmocka_unit_test(shared),  cmocka_unit_test(grouped),   cmocka_unit_test(order_and_place),
        cmocka_unit_test(in_a_checkpoint),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
