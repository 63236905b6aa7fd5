/* test_tokenizer.c - tokenizers against what Hugging Face's made of the same texts (tests/golden/tokenizers), and what
 * they refuse. */
#include "core/json.h"
#include "core/readfile.h"
#include "models/text/gguf_tokenizer.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = { "gpt2",      "llama3",          "qwen2",   "smollm", "llama2",
                                     "metaspace", "metaspace_split", "affixes", "added" };

static char *golden(tp_ctx *ctx, const char *file)
{
    const char *root = getenv("TAPIR_SOURCE");

    return tpi_format(ctx, "%s/tests/golden/%s", root ? root : ".", file);
}

static tp_tokenizer *open_kind(tp_ctx *ctx, const char *kind)
{
    char         *file = tpi_format(ctx, "tokenizers/%s.json", kind), *path = golden(ctx, file);
    tp_tokenizer *tok = tp_tokenizer_open(ctx, path);

    if (tok == NULL)
        fail_msg("%s", tp_error(ctx));
    tpi_free(file);
    tpi_free(path);
    return tok;
}

/* ---- golden ids ---------------------------------------------------------------------------------------------------
 */

static void same_ids(tp_ctx *ctx, const tp_tokenizer *tok, const char *what, const tpi_json *row, const tpi_json *want,
                     unsigned flags)
{
    size_t      n;
    const char *text = tpi_json_string(tpi_json_get(row, "text"), &n);
    tp_ids      ids = { 0 };

    assert_true(tp_tokenize(ctx, tok, text, n, flags, &ids));
    for (size_t i = 0; i < tpi_json_size(want) && i < (size_t)ids.n; i++)
        if (ids.id[i] != tpi_json_integer(tpi_json_at(want, i)))
            fail_msg("%s, '%s': id %zu is %d, expected %d", what, text, i, ids.id[i],
                     (int)tpi_json_integer(tpi_json_at(want, i)));
    if ((size_t)ids.n != tpi_json_size(want))
        fail_msg("%s, '%s': %d ids, expected %d", what, text, (int)ids.n, (int)tpi_json_size(want));
    tp_ids_free(&ids);
}

static void same_text(tp_ctx *ctx, const tp_tokenizer *tok, const char *what, const tp_ids *ids, unsigned flags,
                      const tpi_json *want)
{
    tp_text     text = { 0 }, piecewise = { 0 };
    tp_decoder *dec = tp_decoder_new(ctx, tok, flags);
    size_t      n;
    const char *s = tpi_json_string(want, &n), *piece;

    assert_true(tp_detokenize(ctx, tok, ids->id, ids->n, flags, &text));
    if (text.n != n || memcmp(text.p, s, n) != 0)
        fail_msg("%s: the text is '%s', expected '%s'", what, text.p, s);
    for (int64_t i = 0; i <= ids->n; i++) {
        piece = i < ids->n ? tp_decoder_add(ctx, dec, ids->id[i]) : tp_decoder_end(ctx, dec);
        assert_non_null(piece);
        assert_true(tpi_grow(ctx, &piecewise.p, &piecewise.cap, piecewise.n + strlen(piece) + 1, 1));
        memcpy(piecewise.p + piecewise.n, piece, strlen(piece) + 1);
        piecewise.n += strlen(piece);
    }
    if (strcmp(piecewise.p, s) != 0)
        fail_msg("%s: piece by piece the text is '%s', expected '%s'", what, piecewise.p, s);
    tp_decoder_free(dec);
    tp_text_free(&text);
    tp_text_free(&piecewise);
}

static const tpi_json * or (const tpi_json *row, const char *key, const tpi_json *otherwise)
{
    const tpi_json *j = tpi_json_get(row, key);

    return j ? j : otherwise;
}

static void check_row(tp_ctx *ctx, const tp_tokenizer *tok, const char *kind, const tpi_json *row)
{
    const tpi_json *ids = tpi_json_get(row, "ids"), *decoded = or (row, "decoded", tpi_json_get(row, "text"));
    tp_ids          list = { 0 };

    same_ids(ctx, tok, kind, row, ids, TP_PARSE_SPECIAL);
    same_ids(ctx, tok, kind, row, or (row, "plain", ids), 0);
    same_ids(ctx, tok, kind, row, or (row, "added", ids), TP_PARSE_SPECIAL | TP_ADD_SPECIAL);
    for (size_t i = 0; i < tpi_json_size(ids); i++) {
        size_t cap = (size_t)list.cap;

        assert_true(tpi_grow(ctx, &list.id, &cap, i + 1, sizeof *list.id));
        list.cap = (int64_t)cap;
        list.id[list.n++] = (int32_t)tpi_json_integer(tpi_json_at(ids, i));
    }
    same_text(ctx, tok, kind, &list, 0, decoded);
    same_text(ctx, tok, kind, &list, TP_SKIP_SPECIAL, or (row, "skipped", decoded));
    tp_ids_free(&list);
}

static void test_golden(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    char         *path = golden(ctx, "tokenizers/expected.jsonl"), *line, *rest;
    size_t        n, rows = 0;
    char         *all = tpi_read_file(ctx, path, 1 << 20, &n);
    tp_tokenizer *tok = NULL;
    char          open[32] = "";

    (void)state;
    assert_non_null(all);
    for (line = strtok_r(all, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), rows++) {
        tpi_json   *row = tpi_json_parse(ctx, path, line, strlen(line));
        const char *kind = tpi_json_text(ctx, path, row, "tokenizer", "");

        if (strcmp(kind, open) != 0) {
            tp_tokenizer_free(tok);
            tok = open_kind(ctx, kind);
            (void)snprintf(open, sizeof open, "%s", kind);
        }
        check_row(ctx, tok, kind, row);
        tpi_json_free(row);
    }
    assert_true(rows > 300);
    assert_true(tp_ok(ctx));
    tp_tokenizer_free(tok);
    tpi_free(all);
    tpi_free(path);
    tp_ctx_free(ctx);
}

/* ---- what a tokenizer knows of itself -------------------------------------------------------------------------------
 */

static void test_looking(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_tokenizer *tok = open_kind(ctx, "llama3");
    int32_t       s = tp_tokenizer_id(tok, "<s>");
    size_t        n;

    (void)state;
    assert_non_null(tp_tokenizer_token(tok, (int32_t)tp_tokenizer_size(tok) - 1));
    assert_true(s >= 0);
    assert_string_equal(tp_tokenizer_token(tok, s), "<s>");
    assert_true(tp_tokenizer_is_special(tok, s));
    assert_false(tp_tokenizer_is_special(tok, 5));
    assert_int_equal(tp_tokenizer_bos(tok), s); /* from the post-processor */
    assert_true(tp_tokenizer_adds_bos(tok));
    assert_int_equal(tp_tokenizer_eos(tok), -1);
    assert_int_equal(tp_tokenizer_id(tok, "no such token"), -1);
    assert_null(tp_tokenizer_token(tok, -1));
    assert_null(tp_tokenizer_token(tok, (int32_t)tp_tokenizer_size(tok)));
    assert_null(tp_tokenizer_template(tok));
    assert_non_null(tpi_tokenizer_to_json(tok, &n));
    tp_tokenizer_free(tok);
    tp_ctx_free(ctx);
}

static void test_configuration(void **state)
{
    static const char config[] =
        "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"<|end|>\", \"add_bos_token\": false,"
        "\"model_max_length\": 1000000000000000019884624838656,"
        "\"chat_template\": [{\"name\": \"tools\", \"template\": \"no\"}, {\"name\": \"default\","
        "\"template\": \"yes\"}]}";
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    char         *path = golden(ctx, "tokenizers/llama3.json");
    size_t        n, m;
    char         *text = tpi_read_file(ctx, path, 1 << 20, &n);
    tp_tokenizer *tok = tpi_tokenizer_from_json(ctx, path, text, n, config, NULL);
    const char   *source;

    (void)state;
    assert_non_null(tok);
    assert_false(tp_tokenizer_adds_bos(tok)); /* the configuration overrules the post-processor */
    assert_int_equal(tp_tokenizer_bos(tok), tp_tokenizer_id(tok, "<s>"));
    assert_int_equal(tp_tokenizer_eos(tok), tp_tokenizer_id(tok, "<|end|>"));
    assert_string_equal(tp_tokenizer_template(tok), "yes");
    source = tpi_tokenizer_to_json(tok, &m); /* byte for byte */
    assert_int_equal(n, m);
    assert_memory_equal(source, text, n);
    tp_tokenizer_free(tok);
    tpi_free(text);
    tpi_free(path);
    tp_ctx_free(ctx);
}

/* ---- refusals -------------------------------------------------------------------------------------------------------
 */

static void refused(const char *text, const char *why)
{
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    assert_null(tpi_tokenizer_from_json(ctx, "t.json", text, strlen(text), NULL, NULL));
    assert_int_equal(tp_error_code(ctx), TP_EFORMAT);
    if (strstr(tp_error(ctx), why) == NULL)
        fail_msg("%s: the error is '%s', expected '%s' in it", text, tp_error(ctx), why);
    tp_ctx_free(ctx);
}

#define MODEL "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}"

static void test_refuses(void **state)
{
    (void)state;
    refused("[]", "t.json: is no object");
    refused("{\"version\": \"2.0\"}", "version 2.0");
    refused("{}", "t.json: model is missing");
    refused("{\"model\": {\"type\": \"WordPiece\"}}", "the model is WordPiece, only BPE");
    refused("{\"model\": {\"type\": \"Unigram\"}}", "the model is Unigram, only BPE");
    refused("{\"model\": {\"type\": \"BPE\", \"merges\": []}}", "vocab is missing");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}", "merges is missing");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "the id of token 'a'");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4000000000}, \"merges\": []}}", "the id of token 'a'");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"x\"}, \"merges\": []}}", "the id of token 'a'");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}}", "not in the vocabulary");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", "merge 0 is no pair");
    refused("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "merge 0 is no pair");
    refused("{\"model\": {\"type\": \"BPE\", \"dropout\": 0.1, \"vocab\": {}, \"merges\": []}}", "drops merges");
    refused("{\"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", \"vocab\": {}, \"merges\": []}}", "unk_token 'u'");
    refused("{\"normalizer\": {\"type\": \"ByteLevel\"}, " MODEL "}",
            "normalizer: the type ByteLevel is not supported");
    refused("{\"normalizer\": {\"type\": \"Precompiled\"}, " MODEL "}", "normalizer: the type Precompiled");
    refused("{\"normalizer\": {\"type\": \"Prepend\"}, " MODEL "}", "prepend is missing");
    refused("{\"normalizer\": {\"type\": \"Sequence\"}, " MODEL "}", "normalizers is missing");
    refused("{\"normalizer\": [], " MODEL "}", "expected an object with a type");
    refused("{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " MODEL "}", "the type UnicodeScripts");
    refused(
        "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}, " MODEL
        "}",
        "no valid regular expression");
    refused("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}, \"behavior\": "
            "\"Isolated\"}, " MODEL "}",
            "an intersection of classes");
    refused("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {}, \"behavior\": \"Isolated\"}, " MODEL "}",
            "neither String nor Regex");
    refused("{\"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": \"Odd\"}, " MODEL "}", "behavior Odd");
    refused("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}, " MODEL "}",
            "expected one character");
    refused("{\"decoder\": {\"type\": \"CTC\"}, " MODEL "}", "decoder: the type CTC");
    refused("{\"added_tokens\": [{\"id\": 1}], " MODEL "}", "an added token has no content");
    refused("{\"post_processor\": {\"type\": \"Odd\"}, " MODEL "}", "post_processor: the type Odd");
    refused("{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
            "\"x\"}}]}, " MODEL "}",
            "no ids for the special token 'x'");
    refused("{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}, " MODEL "}", "the text 0 times");
    refused("{\"post_processor\": {\"type\": \"RobertaProcessing\", \"cls\": [\"a\", 9], \"sep\": [\"a\", 0]}, " MODEL
            "}",
            "the id 9, which no token has");
}

static void test_arguments(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_tokenizer *tok = open_kind(ctx, "gpt2");
    tp_ids        ids = { 0 };
    tp_text       text = { 0 };
    int32_t       unknown[] = { -5, 100000 };

    (void)state;
    assert_false(tp_tokenize(ctx, tok, "ab\xff", 3, 0, &ids));
    assert_string_equal(tp_error(ctx), "tokenize: the text is not UTF-8 at byte 2");
    tp_error_clear(ctx);
    assert_false(tp_tokenize(ctx, NULL, "a", 1, 0, &ids));
    tp_error_clear(ctx);
    assert_true(tp_tokenize(ctx, tok, NULL, 0, 0, &ids));
    assert_int_equal(ids.n, 0);
    assert_true(tp_detokenize(ctx, tok, unknown, 2, 0, &text));
    assert_int_equal(text.n, 0);
    tp_text_free(&text);
    assert_null(tp_tokenizer_open(ctx, "no/such/tokenizer.json"));
    assert_int_equal(tp_error_code(ctx), TP_EIO);
    assert_non_null(strstr(tp_error(ctx), "no/such/tokenizer.json"));
    assert_null(tp_decoder_new(ctx, tok, 0)); /* the context has failed */
    tp_tokenizer_free(tok);
    tp_tokenizer_free(NULL);
    assert_int_equal(tp_tokenizer_size(NULL), 0);
    assert_int_equal(tp_tokenizer_id(NULL, "a"), -1);
    assert_null(tp_tokenizer_token(NULL, 0));
    tp_ctx_free(ctx);
}

/* ---- threads, long texts --------------------------------------------------------------------------------------------
 */

static void *work(void *user)
{
    static const char text[] = "The tapir walks through the forest 12345 \xe4\xbd\xa0\xe5\xa5\xbd";
    tp_ids            first = { 0 }, ids = { 0 };
    bool              ok = tpi_tokenize(user, text, sizeof text - 1, 0, &first) == TP_OK;

    for (int i = 0; i < 300 && ok; i++) {
        ids.n = 0;
        ok = tpi_tokenize(user, text, sizeof text - 1, 0, &ids) == TP_OK && ids.n == first.n &&
             memcmp(ids.id, first.id, (size_t)ids.n * sizeof *ids.id) == 0;
    }
    tp_ids_free(&first);
    tp_ids_free(&ids);
    return ok ? user : NULL;
}

static void test_threads(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_tokenizer *tok = open_kind(ctx, "llama3");
    pthread_t     t[4];
    void         *result;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, work, tok), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &result), 0);
        assert_ptr_equal(result, tok);
    }
    tp_tokenizer_free(tok);
    tp_ctx_free(ctx);
}

/* What would take quadratic time in a careless implementation: each kind, and back to the same text where nothing is
 * lost. */
static void test_long_texts(void **state)
{
    static const char *const piece[] = {
        "a", " ", "\n", "ab ", "\xcc\x81\xcc\x96", "\xf0\x9f\x98\x80", "<|", "12", "'"
    };
    tp_ctx *ctx = tp_ctx_new(TP_REF, 0);

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        tp_tokenizer *tok = open_kind(ctx, kinds[k]);

        for (size_t p = 0; p < sizeof piece / sizeof piece[0]; p++) {
            size_t  n = strlen(piece[p]), times = 100000 / n;
            char   *text = malloc(n * times);
            tp_ids  ids = { 0 };
            tp_text back = { 0 };

            for (size_t i = 0; i < times; i++)
                memcpy(text + i * n, piece[p], n);
            assert_true(tp_tokenize(ctx, tok, text, n * times, TP_PARSE_SPECIAL, &ids));
            assert_true(tp_detokenize(ctx, tok, ids.id, ids.n, 0, &back));
            if (strcmp(kinds[k], "smollm") == 0 || strcmp(kinds[k], "llama3") == 0 || strcmp(kinds[k], "llama2") == 0) {
                assert_int_equal(back.n, n * times);
                assert_memory_equal(back.p, text, back.n);
            }
            tp_ids_free(&ids);
            tp_text_free(&back);
            free(text);
        }
        tp_tokenizer_free(tok);
    }
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden),        cmocka_unit_test(test_looking),
                                        cmocka_unit_test(test_configuration), cmocka_unit_test(test_refuses),
                                        cmocka_unit_test(test_arguments),     cmocka_unit_test(test_threads),
                                        cmocka_unit_test(test_long_texts) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
