/* test_config_damage.c - config.json cut at every length and with flipped bits: read, or refused with one line. */
#include "core/readfile.h"
#include "tapir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Whatever is accepted must be usable; whatever is not must say why, with the file's name. */
static void try(const char *text, size_t n, int *accepted)
{
    tp_ctx         *ctx = tp_ctx_new(TP_REF, 0);
    tp_llama_config c;

    if (tp_llama_config_read(ctx, "config.json", text, n, &c)) {
        (*accepted)++;
        assert_true(c.vocab_size > 0 && c.hidden_size > 0 && c.num_attention_heads > 0 && c.num_key_value_heads > 0);
        assert_int_equal(c.num_attention_heads % c.num_key_value_heads, 0);
        assert_int_equal(c.head_dim % 2, 0);
    } else {
        assert_true(tp_error_code(ctx) == TP_EFORMAT || tp_error_code(ctx) == TP_EARG || tp_error_code(ctx) == TP_ENOMEM);
        assert_non_null(strstr(tp_error(ctx), "config.json"));
    }
    tp_ctx_free(ctx);
}

static void damage(const char *folder)
{
    const char *source = getenv("TAPIR_SOURCE");
    char        path[2048], *text;
    tp_ctx     *ctx = tp_ctx_new(TP_REF, 0);
    size_t      n = 0;
    int         accepted = 0, all = 0;

    snprintf(path, sizeof path, "%s/tests/golden/%s/config.json", source ? source : ".", folder);
    text = tpi_read_file(ctx, path, 1 << 20, &n);
    assert_non_null(text);
    try(text, n, &accepted);
    assert_int_equal(accepted, 1);
    for (size_t cut = 0; cut < n; cut++, all++)
        try(text, cut, &accepted);
    assert_true(accepted <= 2); /* only white space may be missing at the end */
    for (size_t bit = 0; bit < 8 * n; bit += 7, all++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        try(text, n, &accepted);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(all >= 200);
    tpi_free(text);
    tp_ctx_free(ctx);
}

static void test_damage(void **state)
{
    (void)state;
    damage("tiny-llama");
    damage("tiny-qwen2");
    damage("tiny-rope3");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_damage) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
