/* fuzz_safetensors.c - the reader of safetensors files. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    return fuzz_tensors("x.safetensors", p, n);
}
