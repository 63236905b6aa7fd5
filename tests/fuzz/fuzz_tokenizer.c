/* fuzz_tokenizer.c - tokenizer.json, and its use on a text in both directions. */
#include "models/text/gguf_tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char sample[] = "The tapir's night: 12345 leaves!\n\xe4\xbd\xa0\xe5\xa5\xbd <s> e\xcc\x81 tag [X] loss";
    tp_ctx           *ctx = fuzz_ctx();
    tp_tokenizer     *tok = tpi_tokenizer_from_json(ctx, "t.json", (const char *)p, n, NULL, NULL);
    tp_ids            ids = { 0 };
    tp_text           text = { 0 };

    if (!tok && tp_ok(ctx))
        __builtin_trap();
    if (tok && tp_tokenize(ctx, tok, sample, sizeof sample - 1, TP_PARSE_SPECIAL | TP_ADD_SPECIAL, &ids))
        tp_detokenize(ctx, tok, ids.id, ids.n, TP_SKIP_SPECIAL, &text);
    tp_ids_free(&ids);
    tp_text_free(&text);
    tp_tokenizer_free(tok);
    fuzz_done(ctx);
    return 0;
}
