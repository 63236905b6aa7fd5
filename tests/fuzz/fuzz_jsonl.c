/* fuzz_jsonl.c - lines of training data, under the tokenizer of tests/golden/tiny-chat. */
#include "models/text/data.h"
#include "models/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static tp_tokenizer *tok;
    tp_ctx              *ctx = fuzz_ctx();
    tp_data_opts         o = { .template_name = n % 2 ? "chatml" : "none", .prefetch = -1, .pack = n % 3 == 0 };
    tp_data             *data;
    int                  i;

    if (!tok) {
        const char *source = getenv("TAPIR_SOURCE");
        char        path[4096];

        snprintf(path, sizeof path, "%.4000s/tests/golden/tiny-chat", source ? source : ".");
        tok = tp_tokenizer_open(ctx, path);
        if (!tok)
            exit(1);
    }
    data = tp_data_open(ctx, fuzz_file("x.jsonl", p, n), tok, &o);
    if (!data && tp_ok(ctx))
        __builtin_trap();
    for (i = 0; data && tp_ok(ctx) && i < 3; i++) {
        tp_scope s = tp_scope_begin(ctx);

        tp_data_next(ctx, data);
        tp_scope_end(ctx, s);
    }
    tp_data_free(data);
    fuzz_done(ctx);
    return 0;
}
