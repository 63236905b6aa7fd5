/* test_data_bad.c - data files that are wrong: one clear line each; damaged ones by the hundred; failing allocations.
 */
#include "tests/models/text/data_test.h"

#include <ctype.h>
#include <sys/resource.h>

/* Under ASan: no request may be absurd. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:max_allocation_size_mb=512:allocator_may_return_null=1";
}

static const tp_data_opts plain = { .template_name = "none", .no_shuffle = true, .prefetch = -1 };

static tp_ctx       *ctx;
static tp_tokenizer *tok;

static int setup(void **state)
{
    if (make_folder(state) != 0)
        return 1;
    ctx = tp_ctx_new(TP_REF, 0);
    tok = tp_tokenizer_open(ctx, folder);
    return tp_ok(ctx) ? 0 : 1;
}

static int teardown(void **state)
{
    tp_tokenizer_free(tok);
    tp_ctx_free(ctx);
    return remove_folder(state);
}

/* Opening the file fails with a message that has `part` in it. */
static void refused(tp_code code, const char *part)
{
    assert_null(tp_data_open(ctx, data_path, tok, &plain));
    if (strstr(tp_error(ctx), part) == NULL)
        fail_msg("\"%s\" has no \"%s\" in it", tp_error(ctx), part);
    assert_int_equal(tp_error_code(ctx), code);
    tp_error_clear(ctx);
}

static void text_refused(const char *text, const char *part)
{
    write_data(text);
    refused(TP_EFORMAT, part);
}

static void lines(void **state)
{
    static const char good[] = "{\"text\": \"a\"}\n";
    char              text[256];

    (void)state;
    text_refused("{\"text\": \"a\"}\n\n{\"text\": \"a\n", "data.jsonl:3:");
    text_refused("{\"text\": \"a\"} x\n", "data.jsonl:1:15: ");
    text_refused("{\"text\": \"a\", \"text\": \"b\"}\n", "duplicate");
    text_refused("[1, 2]\n", "data.jsonl:1:1: the line is an array, expected an object");
    text_refused("7\n", "the line is an integer");
    text_refused("{\"question\": \"a\"}\n", "data.jsonl:1:1: expected messages, prompt and completion");
    text_refused("{\"prompt\": \"a\"}\n", "data.jsonl:1:1: expected messages");
    text_refused("{\"prompt\": \"a\", \"completion\": 3}\n",
                 "data.jsonl:1:1: completion is an integer, expected a text");
    text_refused("{\"prompt\": \"a\", \"completion\": null}\n", "expected messages");
    text_refused("{\"instruction\": \"a\", \"input\": [], \"output\": \"b\"}\n", "input is an array, expected a text");
    text_refused("{\"text\": \"\"}\n", "data.jsonl:1:1: the sample has no token to be trained on");
    text_refused("{\"text\": \"\\ud800\"}\n", "data.jsonl:1:");
    text_refused("{\"text\": \"\xff\"}\n", "data.jsonl:1:");
    text_refused("{\"text\": \"a\"}\n\xef\xbb\xbf{\"text\": \"a\"}\n",
                 "data.jsonl:2:"); /* a mark that is no beginning */
    text_refused("{\"text\": \"a\"}\n\x1b[31m\x07\n", "data.jsonl:2:");
    memcpy(text, good, sizeof good - 1);
    memcpy(text + sizeof good - 1, "\0\0\n", 3);
    write_file(data_path, text, sizeof good + 2);
    refused(TP_EFORMAT, "data.jsonl:2:");
    memcpy(text + sizeof good - 1, "{\"text\": \"\0\"}\n", 14);
    write_file(data_path, text, sizeof good + 13);
    refused(TP_EFORMAT, "data.jsonl:2:");
}

static void files(void **state)
{
    const tp_data_opts wrong[] = { { .batch = -1 },
                                   { .max_len = 1 },
                                   { .max_len = -3 },
                                   { .epochs = -1 },
                                   { .prefetch = 100 },
                                   { .pack = true, .group_by_length = true },
                                   { .template_name = "jinja" } };

    (void)state;
    (void)unlink(data_path);
    refused(TP_EIO, "data.jsonl: cannot be opened: ");
    write_data("");
    refused(TP_EARG, "data.jsonl: there is no line with a sample in it");
    write_data("\n \n\t\r\n");
    refused(TP_EARG, "data.jsonl: there is no line with a sample in it");
    assert_null(tp_data_open(ctx, folder, tok, &plain));
    assert_int_equal(tp_error_code(ctx), TP_EIO);
    tp_error_clear(ctx);
    assert_null(tp_data_open(ctx, NULL, tok, &plain));
    tp_error_clear(ctx);
    assert_null(tp_data_open(ctx, data_path, NULL, &plain));
    assert_int_equal(tp_error_code(ctx), TP_EARG);
    tp_error_clear(ctx);
    write_data("{\"text\": \"a\"}\n");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(tp_data_open(ctx, data_path, tok, &wrong[i]));
        assert_int_equal(tp_error_code(ctx), TP_EARG);
        tp_error_clear(ctx);
    }
}

/* Every function with NULL, and on a failed context. */
static void nothing(void **state)
{
    tp_data_item item;

    (void)state;
    for (int failed = 0; failed < 2; failed++) {
        if (failed)
            (void)tp_fail(ctx, TP_ENUM, "before");
        assert_null(tp_data_next(ctx, NULL).ids);
        if (!failed)
            assert_int_equal(tp_error_code(ctx), TP_EARG);
        assert_false(tp_data_sample(ctx, NULL, 0, &item));
        tp_data_seek(ctx, NULL, (tp_loader_place){ 1, 2 });
        assert_string_equal(failed ? tp_error(ctx) : "before", "before");
        assert_null(failed ? tp_data_open(ctx, data_path, tok, &plain) : NULL);
        tp_error_clear(ctx);
    }
    tp_data_rewind(NULL);
    assert_int_equal(tp_data_tell(NULL).batch, 0);
    assert_int_equal(tp_data_counts(NULL).samples, 0);
    tp_data_free(NULL);
    assert_null(tp_data_next(NULL, NULL).ids);
    assert_null(tp_data_open(NULL, data_path, tok, &plain));
}

/* ---- hostile lines ----------------------------------------------------------------------------------------------- */

static char *repeated(const char *head, const char *part, size_t n, const char *tail, size_t *size)
{
    size_t h = strlen(head), p = strlen(part), t = strlen(tail);
    char  *s = malloc(h + p * n + t);

    assert_non_null(s);
    memcpy(s, head, h);
    for (size_t i = 0; i < n; i++)
        memcpy(s + h + i * p, part, p);
    memcpy(s + h + p * n, tail, t);
    *size = h + p * n + t;
    return s;
}

static void hostile(void **state)
{
    static const struct {
        const char *head, *part;
        size_t      n;
        const char *tail, *why;
    } line[] = {
        { "{\"text\": \"", "abcd", 4300000, "\"}", "the line has more than 16 MiB" },
        { "\n", "x", 17 << 20, "", "data.jsonl:2:1: the line has more than 16 MiB" },
        { "{\"text\": ", "[", 1000000, "", "nested deeper than 64" },
        { "", "{\"a\":", 1000000, "", "nested deeper than 64" },
        { "{\"text\": 1", "0", 1000000, "}", "data.jsonl:1:" },
        { "{\"text\": \"a\", \"x\": 1e", "9", 400, "}", "data.jsonl:1:" },
        { "{\"", "k", 1000000, "\": 1}", "data.jsonl:1:1: expected messages" },
        { "", "\n", 3000000, "{", "data.jsonl:3000001:" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        size_t n;
        char  *s = repeated(line[i].head, line[i].part, line[i].n, line[i].tail, &n);

        write_file(data_path, s, n);
        free(s);
        refused(TP_EFORMAT, line[i].why);
    }
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static uint64_t turn(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* One of: cut off, bits turned over, a byte replaced, a piece repeated, a piece taken out. */
static size_t damage(char *s, size_t n, size_t room, uint64_t *x)
{
    size_t at = turn(x) % n, len = turn(x) % 40;

    len = at + len > n ? n - at : len;
    switch (turn(x) % 5) {
    case 0: return at;
    case 1:
        for (int k = 0; k < 4; k++)
            s[turn(x) % n] ^= (char)(1 << turn(x) % 8);
        return n;
    case 2: s[at] = "\0\n\"\\{}[]:,\r\xff\xf4"[turn(x) % 13]; return n;
    case 3:
        if (n + len > room)
            return n;
        memmove(s + at + len, s + at, n - at);
        return n + len;
    default: memmove(s + at, s + at + len, n - at - len); return n - len;
    }
}

static void one_clear_line(int i)
{
    const char *e = tp_error(ctx);

    assert_true(strlen(e) > 10 && strstr(e, "data.jsonl") != NULL);
    for (; *e != '\0'; e++)
        if (!isprint((unsigned char)*e))
            fail_msg("damage %d: byte %d in the message", i, *e);
}

static void damaged(void **state)
{
    static const char good[] =
        "{\"prompt\": \"How many?\", \"completion\": \"7 \\u00e9\\n#### 7\", \"answer\": \"7\"}\n"
        "{\"instruction\": \"Add.\", \"input\": \"1, 2\", \"output\": \"3\", \"score\": 1.5e3}\n"
        "{\"text\": \"gr\xc3\xb6\xc3\x9f"
        "er \\ud83d\\ude00\", \"meta\": {\"a\": [1, 2, {\"b\": null}], \"c\": true}}\n";
    uint64_t x = 1;
    int      failed = 0;

    (void)state;
    for (int i = 0; i < 600; i++) {
        char         s[1024];
        size_t       n = sizeof good - 1;
        tp_data_opts o = plain;
        tp_data     *d;

        memcpy(s, good, n);
        for (int k = 0; k <= i % 3 && n > 0; k++)
            n = damage(s, n, sizeof s, &x);
        write_file(data_path, s, n);
        o.pack = i % 2;
        d = tp_data_open(ctx, data_path, tok, &o);
        if (d == NULL) {
            failed++;
            one_clear_line(i);
            tp_error_clear(ctx);
        } else {
            tp_scope at = tp_scope_begin(ctx);

            assert_non_null(tp_data_next(ctx, d).ids);
            tp_scope_end(ctx, at);
        }
        tp_data_free(d);
    }
    assert_in_range(failed, 300, 590);
}

/* Every allocation of opening and of three batches fails in turn. */
static void failing_allocations(void **state)
{
    static const char text[] =
        "{\"prompt\": \"a\", \"completion\": \"b\", \"x\": 1}\n{\"text\": \"abc\"}\n{\"text\": \"d\"}\n";
    int failed = 0, mode;

    (void)state;
    write_data(text);
    for (mode = 0; mode < 8; mode++)
        for (long k = 0; k < 400; k++) {
            tp_data_opts o = { .template_name = "none",
                               .batch = 2,
                               .pack = mode / 2 == 1,
                               .group_by_length = mode / 2 == 2,
                               .share_rows = mode / 2 == 3,
                               .prefetch = mode % 2 ? 2 : -1 };
            tp_scope     s = tp_scope_begin(ctx);
            tp_data     *d;
            bool         ok;

            tpi_fail_alloc(k, false);
            d = tp_data_open(ctx, data_path, tok, &o);
            for (int i = 0; i < 3; i++)
                (void)tp_data_next(ctx, d);
            tp_data_free(d);
            ok = tpi_count_alloc() <= k;
            tpi_fail_alloc(-1, false);
            if (!tp_ok(ctx)) {
                if (tp_error_code(ctx) != TP_ENOMEM)
                    fail_msg("%ld: %s", k, tp_error(ctx));
                failed++;
            }
            tp_error_clear(ctx);
            tp_scope_end(ctx, s);
            if (ok)
                break;
        }
    assert_true(failed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),   cmocka_unit_test(files),   cmocka_unit_test(nothing),
        cmocka_unit_test(hostile), cmocka_unit_test(damaged), cmocka_unit_test(failing_allocations),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
