/* test_data.c - what lines become: tokens and targets, batches, packing, grouping, places; and what is refused. */
#include "tests/models/text/data_test.h"
#include "models/text/tokenizer.h"

typedef struct {
    tp_ctx       *ctx;
    tp_tokenizer *tok;
    char          note[1024]; /* the last message */
    int           notes;
} world;

static void on_message(void *user, tp_level level, const char *text)
{
    world *w = user;

    (void)level;
    w->notes++;
    (void)snprintf(w->note, sizeof w->note, "%s", text);
}

static void begin(world *w)
{
    memset(w, 0, sizeof *w);
    w->ctx = tp_ctx_new(TP_REF, 0);
    w->tok = tp_tokenizer_open(w->ctx, folder);
    tp_on_message(w->ctx, on_message, w);
}

static void end(world *w)
{
    tp_tokenizer_free(w->tok);
    assert_int_equal(tp_ctx_finish(w->ctx), 0);
}

static tp_data *open_text(world *w, const char *text, const tp_data_opts *opts)
{
    write_data(text);
    return tp_data_open(w->ctx, data_path, w->tok, opts);
}

/* Sample i is `text` with `trained`, a character a token: '.' not trained on, '#' trained on; the characters $ stand
 * for eos, < for
 * <|im_start|>, > for <|im_end|>. */
static void sample_is(world *w, const tp_data *d, int64_t i, const char *text, const char *trained)
{
    tp_data_item item;

    assert_true(tp_data_sample(w->ctx, d, i, &item));
    assert_int_equal(item.n, (int64_t)strlen(text));
    for (int64_t k = 0; k < item.n; k++) {
        unsigned char c = (unsigned char)text[k];

        assert_int_equal(item.id[k], c == '$' ? EOS : c == '<' ? START : c == '>' ? END : c);
        assert_int_equal(item.trained[k], trained[k] == '#');
    }
}

static const tp_data_opts plain = { .template_name = "none", .no_shuffle = true };

static void kinds(void **state)
{
    world         w;
    tp_data      *d;
    tp_data_count c;

    (void)state;
    begin(&w);
    d = open_text(&w,
                  "\xef\xbb\xbf{\"prompt\": \"ab\", \"completion\": \"cd\", \"answer\": 1}\r\n"
                  "  \t\r\n"
                  "\n"
                  "{\"instruction\": \"do\", \"output\": \"it\", \"answer\": 2, \"id\": null}\n"
                  "{\"instruction\": \"do\", \"input\": \"x\", \"output\": \"it\"}\n"
                  "{\"instruction\": \"do\", \"input\": \"\", \"output\": \"it\"}\n"
                  "{\"text\": \"a b\"}\n"
                  "{\"prompt\": \"\", \"completion\": \"\\u00e9\"}",
                  &plain);
    assert_non_null(d);
    sample_is(&w, d, 0, "abcd$", "..###");
    sample_is(&w, d, 1, "doit$", "..###");
    sample_is(&w, d, 2, "do\n\nxit$", ".....###");
    sample_is(&w, d, 3, "doit$", "..###");
    sample_is(&w, d, 4, "a b$", "####");
    sample_is(&w, d, 5, "\xc3\xa9$", "###");
    c = tp_data_counts(d);
    assert_int_equal(c.samples, 6);
    assert_int_equal(c.tokens, 5 + 5 + 8 + 5 + 4 + 3);
    assert_int_equal(c.target_tokens, 3 + 3 + 3 + 3 + 3 + 2);
    assert_int_equal(c.blank, 2);
    assert_int_equal(c.longest, 8);
    assert_int_equal(c.batches, 1);
    assert_int_equal(c.places, 6 * 16);
    assert_int_equal(c.dropped + c.cut, 0);
    assert_int_equal(w.notes, 1);
    assert_non_null(strstr(w.note, "keys that are not used: answer (2 lines), id (1 lines)"));
    assert_false(tp_data_sample(w.ctx, d, 6, &(tp_data_item){ 0 }));
    tp_error_clear(w.ctx);
    tp_data_free(d);
    end(&w);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

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
    for (int mode = 0; mode < 3; mode++) { /* plain, packed, grouped */
        tp_loader_place p;

        o.pack = mode == 1;
        o.group_by_length = mode == 2;
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

/* ---- too long ---------------------------------------------------------------------------------------------------- */

static void overflow(void **state)
{
    static const char text[] =
        "{\"prompt\": \"0123\", \"completion\": \"abcd\"}\n{\"prompt\": \"0\", \"completion\": \"a\"}\n"
        "{\"prompt\": \"01234567\", \"completion\": \"a\"}\n";
    tp_data_opts o = { .template_name = "none", .no_shuffle = true, .max_len = 6, .batch = 2 };
    world        w;
    tp_data     *d;

    (void)state;
    begin(&w);
    d = open_text(&w, text, &o);
    assert_int_equal(tp_data_counts(d).dropped, 2);
    assert_int_equal(tp_data_counts(d).longest, 10);
    assert_int_equal(tp_data_counts(d).samples, 1);
    assert_non_null(strstr(w.note, "of 3 samples 2 were left out"));
    tp_data_free(d);
    o.overflow = TP_OVERFLOW_CUT;
    d = open_text(&w, text, &o);
    assert_int_equal(tp_data_counts(d).dropped, 1); /* nothing of its answer is left */
    assert_int_equal(tp_data_counts(d).cut, 1);
    sample_is(&w, d, 0, "0123ab", "....##");
    sample_is(&w, d, 1, "0a$", ".##");
    assert_int_equal(tp_dim(tp_data_next(w.ctx, d).ids, 1), 6); /* never wider than max_len */
    tp_data_free(d);
    o.overflow = TP_OVERFLOW_ERROR;
    assert_null(open_text(&w, text, &o));
    assert_non_null(strstr(tp_error(w.ctx), "data.jsonl:1:1: the sample has 9 tokens, expected at most 6"));
    tp_error_clear(w.ctx);
    o.overflow = TP_OVERFLOW_DROP;
    o.max_len = 2;
    assert_null(open_text(&w, text, &o));
    assert_non_null(strstr(tp_error(w.ctx), "no sample is left: all 3 have more than 2 tokens"));
    tp_error_clear(w.ctx);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),    cmocka_unit_test(a_batch), cmocka_unit_test(full_rows),
        cmocka_unit_test(packed),   cmocka_unit_test(grouped), cmocka_unit_test(order_and_place),
        cmocka_unit_test(overflow),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
