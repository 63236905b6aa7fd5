/* test_tokenizer_damage.c - damaged tokenizer files and vocabularies, and memory that runs out: an error or a
 * tokenizer, no crash. */
#include "core/json.h"
#include "core/readfile.h"
#include "models/text/gguf_tokenizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = { "llama3", "llama2", "affixes", "added", "metaspace_split" };
static const char        sample[] =
    "The tapir's night: 12345 leaves!\n\xe4\xbd\xa0\xe5\xa5\xbd <s> e\xcc\x81 tag mask [X] loss";

static char *read_kind(tp_ctx *ctx, const char *kind, size_t *n)
{
    const char *root = getenv("TAPIR_SOURCE");
    char       *path = tpi_format(ctx, "%s/tests/golden/tokenizers/%s.json", root ? root : ".", kind);
    char       *text = tpi_read_file(ctx, path, 1 << 20, n);

    assert_non_null(text);
    tpi_free(path);
    return text;
}

/* Uses a tokenizer in all ways, if there is one. */
static bool use(tp_ctx *ctx, tp_tokenizer *tok)
{
    tp_ids  ids = { 0 };
    tp_text text = { 0 };
    bool    ok = tok != NULL;

    if (ok)
        ok = tp_tokenize(ctx, tok, sample, sizeof sample - 1, TP_PARSE_SPECIAL | TP_ADD_SPECIAL, &ids) &&
             tp_detokenize(ctx, tok, ids.id, ids.n, TP_SKIP_SPECIAL, &text);
    for (int32_t i = 0; ok && i < 3; i++)
        (void)tp_tokenizer_token(tok, (int32_t)tp_tokenizer_size(tok) - 1 - i);
    tp_ids_free(&ids);
    tp_text_free(&text);
    return ok;
}

/* Loads text; what counts is that nothing crashes, leaks, or fails without a word. */
static bool try(const char *text, size_t n)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_tokenizer *tok = tpi_tokenizer_from_json(ctx, "t.json", text, n, NULL, NULL);
    bool          ok = use(ctx, tok);

    assert_true(tok != NULL || !tp_ok(ctx));
    assert_true(ok || tp_error(ctx)[0] != '\0');
    tp_tokenizer_free(tok);
    tp_ctx_free(ctx);
    return ok;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_cut(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        size_t  n;
        char   *text = read_kind(ctx, kinds[k], &n);

        for (size_t i = 0; i < 60; i++)
            assert_false(try(text, i < 20 ? i : (n - 2) * i / 60));
        tpi_free(text);
        tp_ctx_free(ctx);
    }
}

static void test_flipped_bits(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        size_t  n;
        char   *text = read_kind(ctx, kinds[k], &n);

        for (size_t i = 0; i < 250; i++) {
            size_t at = next(&seed) % (i % 2 ? n : 2000); /* the small parts stand at the beginning */
            char   was = text[at];

            text[at] = (char)(was ^ 1 << next(&seed) % 8);
            (void)try(text, n);
            text[at] = was;
        }
        tpi_free(text);
        tp_ctx_free(ctx);
    }
}

/* Puts `what` in the place of a value: of a number, or of everything between two colons and the comma behind. */
static void replace_value(const char *text, size_t n, size_t at, const char *what)
{
    const char *colon = memchr(text + at, ':', n - at), *end = colon;
    char       *out;
    size_t      m = strlen(what), front;

    if (colon == NULL)
        return;
    front = (size_t)(colon + 1 - text);
    while (end < text + n && *end != ',' && *end != '}' && *end != ']')
        end++;
    out = malloc(n + m);
    memcpy(out, text, front);
    memcpy(out + front, what, m);
    memcpy(out + front + m, end, (size_t)(text + n - end));
    (void)try(out, front + m + (size_t)(text + n - end));
    free(out);
}

static void test_lying_values(void **state)
{
    static const char *const lie[] = { "4294967295",
                                       "-1",
                                       "2147483647",
                                       "4194303",
                                       "1e300",
                                       "null",
                                       "true",
                                       "[]",
                                       "{}",
                                       "\"\"",
                                       "\"\\ud83d\\ude00\"",
                                       "\"(((\"",
                                       "[[[]]]",
                                       "99999999999999999999" };
    uint32_t                 seed = 2;

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        tp_ctx *ctx = tp_ctx_new(TP_REF, 0);
        size_t  n;
        char   *text = read_kind(ctx, kinds[k], &n);

        for (size_t i = 0; i < 210; i++)
            replace_value(text, n, next(&seed) % (i % 3 ? 3000 : n), lie[i % (sizeof lie / sizeof lie[0])]);
        tpi_free(text);
        tp_ctx_free(ctx);
    }
}

/* The n-th allocation fails: loading and using say so. */
static void test_no_memory(void **state)
{
    tp_ctx *outer = tp_ctx_new(TP_REF, 0);
    size_t  n;
    char   *text = read_kind(outer, "added", &n);
    bool    done = false;

    (void)state;
    for (long i = 0; !done; i++) {
        tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
        tp_tokenizer *tok;
        bool          ok;

        tpi_fail_alloc(i, true);
        tok = tpi_tokenizer_from_json(ctx, "t.json", text, n, "{\"bos_token\": \"<s>\", \"chat_template\": \"x\"}",
                                      NULL);
        ok = use(ctx, tok);
        done = tpi_count_alloc() < i;
        tpi_fail_alloc(-1, false);
        if (!ok)
            assert_int_equal(tp_error_code(ctx), TP_ENOMEM);
        tp_tokenizer_free(tok);
        tp_ctx_free(ctx);
    }
    tpi_free(text);
    tp_ctx_free(outer);
}

/* ---- vocabularies of GGUF files
 * ----------------------------------------------------------------------------------------- */

enum { TOKENS = 5000 };

/* The arrays of a GGUF file, made from a tokenizer.json. */
typedef struct arrays {
    tpi_gguf_vocab  v;
    tpi_gguf_string token[TOKENS], merge[TOKENS];
    int32_t         type[TOKENS];
    float           score[TOKENS];
    tpi_json       *tree;
    char           *pool[TOKENS];
} arrays;

static arrays *make_arrays(tp_ctx *ctx, const char *kind, const char *model, const char *pre)
{
    arrays         *a = calloc(1, sizeof *a);
    size_t          n;
    char           *text = read_kind(ctx, kind, &n);
    const tpi_json *vocab, *list, *value;
    const char     *key;
    void           *it = NULL;

    a->tree = tpi_json_parse(ctx, kind, text, n);
    vocab = tpi_json_get(tpi_json_get(a->tree, "model"), "vocab");
    list = tpi_json_get(tpi_json_get(a->tree, "model"), "merges");
    while (tpi_json_next(vocab, &it, &key, &value)) {
        int64_t id = tpi_json_integer(value);

        a->token[id] = (tpi_gguf_string){ key, strlen(key) };
        a->type[id] = strcmp(key, "<unk>") == 0 ? 2 : strcmp(key, "<s>") == 0 || strcmp(key, "</s>") == 0 ? 3 : 1;
        if (strncmp(key, "<0x", 3) == 0)
            a->type[id] = 6;
        a->score[id] = (float)-id;
        a->v.n = (size_t)id >= a->v.n ? (size_t)id + 1 : a->v.n;
    }
    list = strcmp(model, "gpt2") == 0 ? list : NULL;
    for (size_t i = 0; i < tpi_json_size(list); i++) {
        const tpi_json *pair = tpi_json_at(list, i);

        a->pool[i] = tpi_format(ctx, "%s %s", tpi_json_string(tpi_json_at(pair, 0), NULL),
                                tpi_json_string(tpi_json_at(pair, 1), NULL));
        a->merge[i] = (tpi_gguf_string){ a->pool[i], strlen(a->pool[i]) };
    }
    a->v = (tpi_gguf_vocab){ .model = model,
                             .pre = pre,
                             .tokens = a->token,
                             .n = a->v.n,
                             .token_type = a->type,
                             .scores = a->score,
                             .merges = a->merge,
                             .n_merges = tpi_json_size(list),
                             .bos = -1,
                             .eos = -1,
                             .pad = -1,
                             .unk = -1,
                             .add_bos = -1,
                             .add_eos = -1,
                             .add_space_prefix = -1 };
    tpi_free(text);
    return a;
}

static void free_arrays(arrays *a)
{
    for (size_t i = 0; i < TOKENS; i++)
        tpi_free(a->pool[i]);
    tpi_json_free(a->tree);
    free(a);
}

/* From the arrays the same ids as from the tokenizer.json; and again from the one that was written out. */
static void test_gguf_same_ids(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    arrays       *a = make_arrays(ctx, "smollm", "gpt2", "smollm");
    size_t        n, m;
    char         *text = read_kind(ctx, "smollm", &n);
    tp_tokenizer *tok[3] = { tpi_tokenizer_from_json(ctx, "t.json", text, n, NULL, NULL),
                             tpi_tokenizer_from_gguf_meta(ctx, "t.gguf", &a->v) };
    const char   *json = tpi_tokenizer_to_json(tok[1], &m);
    tp_ids        ids[3] = { { 0 } };

    (void)state;
    assert_non_null(tok[1]);
    tok[2] = tpi_tokenizer_from_json(ctx, "written.json", json, m, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(tp_tokenize(ctx, tok[i], sample, sizeof sample - 1, 0, &ids[i]));
        assert_int_equal(ids[i].n, ids[0].n);
        assert_memory_equal(ids[i].id, ids[0].id, (size_t)ids[i].n * sizeof *ids[i].id);
        tp_tokenizer_free(tok[i]);
    }
    for (int i = 0; i < 3; i++)
        tp_ids_free(&ids[i]);
    tpi_free(text);
    free_arrays(a);
    tp_ctx_free(ctx);
}

/* SentencePiece by scores: bos is usual, what is unknown becomes bytes, and the text comes back. */
static void test_gguf_sentencepiece(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    arrays       *a = make_arrays(ctx, "llama2", "llama", "default");
    tp_tokenizer *tok;
    tp_ids        ids = { 0 };
    tp_text       back = { 0 };

    (void)state;
    a->v.bos = 1;
    a->v.eos = 2;
    a->v.unk = 0;
    tok = tpi_tokenizer_from_gguf_meta(ctx, "t.gguf", &a->v);
    if (tok == NULL)
        fail_msg("%s", tp_error(ctx));
    assert_true(tp_tokenizer_adds_bos(tok));
    assert_int_equal(tp_tokenizer_eos(tok), 2);
    assert_true(tp_tokenize(ctx, tok, sample, sizeof sample - 1, TP_ADD_SPECIAL, &ids));
    assert_int_equal(ids.id[0], 1);
    assert_true(ids.n < (int64_t)sizeof sample - 10); /* something was merged */
    assert_true(tp_detokenize(ctx, tok, ids.id, ids.n, TP_SKIP_SPECIAL, &back));
    assert_string_equal(back.p, sample);
    tp_ids_free(&ids);
    tp_text_free(&back);
    tp_tokenizer_free(tok);
    free_arrays(a);
    tp_ctx_free(ctx);
}

static void gguf_refused(tp_ctx *ctx, const tpi_gguf_vocab *v, const char *why)
{
    assert_null(tpi_tokenizer_from_gguf_meta(ctx, "t.gguf", v));
    if (strstr(tp_error(ctx), why) == NULL)
        fail_msg("the error is '%s', expected '%s' in it", tp_error(ctx), why);
    tp_error_clear(ctx);
}

static void test_gguf_refuses(void **state)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    arrays         *a = make_arrays(ctx, "smollm", "gpt2", "smollm");
    tpi_gguf_vocab  v = a->v;
    tpi_gguf_string was = a->merge[3];

    (void)state;
    v.model = "bert";
    gguf_refused(ctx, &v, "tokenizer.ggml.model is bert, only gpt2 and llama");
    v.model = "gpt2";
    v.pre = "tekken";
    gguf_refused(ctx, &v, "tokenizer.ggml.pre is tekken, only gpt-2, smollm");
    v = a->v;
    a->merge[3] = (tpi_gguf_string){ "ab", 2 };
    gguf_refused(ctx, &v, "merge 3 is no pair");
    a->merge[3] = (tpi_gguf_string){ "nope zzz", 8 };
    gguf_refused(ctx, &v, "not in the vocabulary");
    a->merge[3] = (tpi_gguf_string){ "\xff b", 3 };
    gguf_refused(ctx, &v, "not UTF-8");
    a->merge[3] = was;
    a->token[300] = (tpi_gguf_string){ "a\0b", 3 };
    gguf_refused(ctx, &v, "token 300 is not UTF-8, or holds a NUL");
    v.model = "llama";
    v.n_merges = 0;
    v.scores = NULL;
    gguf_refused(ctx, &v, "");
    free_arrays(a);
    tp_ctx_free(ctx);
}

/* Types, scores and texts at random: no crash. */
static void test_gguf_damaged(void **state)
{
    uint32_t seed = 3;

    (void)state;
    for (int i = 0; i < 200; i++) {
        tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
        arrays       *a = make_arrays(ctx, i % 2 ? "llama2" : "smollm", i % 2 ? "llama" : "gpt2",
                                i % 4 ? "default" : "llama-bpe");
        tp_tokenizer *tok;

        for (int k = 0; k < 20; k++) {
            size_t at = next(&seed) % a->v.n;

            a->type[at] = (int32_t)(next(&seed) % 9);
            a->score[at] = k == 3 ? (float)NAN : (float)(next(&seed) % 100);
            if (i % 3 == 0)
                a->token[next(&seed) % a->v.n] = a->token[next(&seed) % a->v.n];
            if (i % 5 == 0)
                a->token[at].n = next(&seed) % (a->token[at].n + 1);
        }
        a->v.bos = next(&seed) % a->v.n;
        a->v.eos = next(&seed) % a->v.n;
        a->v.add_eos = i % 2;
        tok = tpi_tokenizer_from_gguf_meta(ctx, "t.gguf", &a->v);
        assert_true(use(ctx, tok) || !tp_ok(ctx));
        tp_tokenizer_free(tok);
        free_arrays(a);
        tp_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cut),           cmocka_unit_test(test_flipped_bits),
                                        cmocka_unit_test(test_lying_values),  cmocka_unit_test(test_no_memory),
                                        cmocka_unit_test(test_gguf_same_ids), cmocka_unit_test(test_gguf_sentencepiece),
                                        cmocka_unit_test(test_gguf_refuses),  cmocka_unit_test(test_gguf_damaged) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
