/* fuzz_config.c - config.json: whatever is accepted is usable. */
#include "models/llama.h"
#include "models/models.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tp_ctx         *ctx = fuzz_ctx();
    tp_llama_config c;

    if (tp_llama_config_read(ctx, "config.json", (const char *)p, n, &c) &&
        (c.vocab_size <= 0 || c.hidden_size <= 0 || c.num_key_value_heads <= 0 ||
         c.num_attention_heads % c.num_key_value_heads != 0 || c.head_dim % 2 != 0))
        __builtin_trap();
    fuzz_done(ctx);
    return 0;
}
