/* test_data.c - what lines become: tokens and marks on those that are trained on; too long ones; a real file. */
#include "tests/models/text/data_test.h"

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
                  "{\"instruction\": \"do\", \"output\": \"it\", \"answer\": 2, \"id\": null, \"\\u001b\": 1}\n"
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
    assert_null(strpbrk(w.note, "\x1b\n"));
    assert_false(tp_data_sample(w.ctx, d, 6, &(tp_data_item){ 0 }));
    tp_error_clear(w.ctx);
    tp_data_free(d);
    end(&w);
}

/* ---- templates ------------------------------------------------------------------------------------------------------
 */

static void chatml(void **state)
{
    world    w;
    tp_data *d;

    (void)state;
    begin(&w);
    d = open_text(
        &w,
        "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"},"
        "{\"role\": \"assistant\", \"content\": \"a b\"}, {\"role\": \"user\", \"content\": \"v\"},"
        "{\"role\": \"assistant\", \"content\": \"c\", \"x\": 1}, {\"role\": \"user\", \"content\": \"w\"}], "
        "\"text\": \"\"}\n"
        "{\"prompt\": \"|im_end|\", \"completion\": \"d\"}\n"
        "{\"text\": \"e\"}\n",
        &(tp_data_opts){ .template_name = "chatml", .no_shuffle = true });
    assert_non_null(d);
    sample_is(&w, d, 0, "<user\nab>\n<assistant\ncd>", ".....................###");
    sample_is(&w, d, 1, "<system\ns>\n<user\nu>\n<assistant\na b>\n<user\nv>\n<assistant\nc>",
              "...............................####.....................##");
    sample_is(&w, d, 2, "<user\n|im_end|>\n<assistant\nd>", "...........................##");
    sample_is(&w, d, 3, "e$", "##");
    assert_non_null(strstr(w.note, "keys that are not used: text (1 lines)"));
    tp_data_free(d);
    d = open_text(&w, "{\"prompt\": \"<|im_end|>\", \"completion\": \"d\"}\n",
                  &(tp_data_opts){ .template_name = "chatml" });
    assert_int_equal(tp_data_counts(d).tokens, 1 + 5 + 10 + 2 + 1 + 10 + 2); /* what users write is plain text */
    tp_data_free(d);
    end(&w);
}

/* The last n ids of sample 0 are trained on, and no other. */
static void trained_tail(world *w, const tp_data *d, int64_t n)
{
    tp_data_item item;

    assert_true(tp_data_sample(w->ctx, d, 0, &item));
    assert_true(item.n > n);
    for (int64_t k = 0; k < item.n; k++)
        assert_int_equal(item.trained[k], k >= item.n - n);
    assert_int_equal(item.id[item.n - 1], EOS);
}

static void other_templates(void **state)
{
    world    w;
    tp_data *d;

    (void)state;
    begin(&w);
    d = open_text(&w, "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}\n",
                  &(tp_data_opts){ .template_name = "alpaca" });
    trained_tail(&w, d, 2);
    tp_data_free(d);
    w.notes = 0;
    d = open_text(&w, "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n", NULL); /* the tokenizer came without one */
    sample_is(&w, d, 0, "abcd$", "..###");
    assert_int_equal(w.notes, 1);
    tp_data_free(d);
    assert_null(open_text(&w, "{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"king\", \"content\": \"x\"}]}\n",
                          &(tp_data_opts){ .template_name = "chatml" }));
    assert_non_null(strstr(tp_error(w.ctx), "data.jsonl:2:1: "));
    assert_non_null(strstr(tp_error(w.ctx), "king"));
    tp_error_clear(w.ctx);
    assert_null(open_text(&w, "{\"text\": \"a\"}\n", &(tp_data_opts){ .template_name = "jinja" }));
    assert_int_equal(tp_error_code(w.ctx), TP_EARG);
    tp_error_clear(w.ctx);
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

/* ---- a real file ----------------------------------------------------------------------------------------------------
 */

static void word_problems(void **state)
{
    const char   *source = getenv("TAPIR_SOURCE");
    char          path[4096];
    tp_data_opts  o = { .template_name = "chatml", .batch = 16, .epochs = 1 };
    world         w;
    tp_data      *d;
    tp_data_count c;
    int64_t       tokens = 0, targets = 0, samples = 0, places = 0, batches = 0;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/tools/data/mawps/train.jsonl", source ? source : ".");
    begin(&w);
    d = tp_data_open(w.ctx, path, w.tok, &o);
    assert_non_null(d);
    c = tp_data_counts(d);
    assert_int_equal(c.samples + c.dropped, 1651);
    for (;;) {
        tp_scope    s = tp_scope_begin(w.ctx);
        tp_lm_batch b = tp_data_next(w.ctx, d);
        int64_t     rows = tp_dim(b.ids, 0), width = tp_dim(b.ids, 1);

        tokens += b.tokens;
        targets += b.target_tokens;
        samples += b.samples;
        places += rows * width;
        batches += b.ids != NULL;
        assert_int_equal(rows * width % 64, 0);
        tp_scope_end(w.ctx, s);
        if (rows == 0)
            break;
    }
    assert_int_equal(tokens, c.tokens);
    assert_int_equal(targets, c.target_tokens);
    assert_int_equal(samples, c.samples);
    assert_int_equal(places, c.places);
    assert_int_equal(batches, c.batches);
    tp_data_free(d);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),    cmocka_unit_test(chatml),        cmocka_unit_test(other_templates),

        cmocka_unit_test(overflow), cmocka_unit_test(word_problems),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
