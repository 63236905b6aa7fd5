/* fuzz_gguf.c - the reader of GGUF files. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    return fuzz_tensors("x.gguf", p, n);
}
