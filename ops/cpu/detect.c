/*
 * detect.c - CPU features.  The compiler's own check includes that the operating system saves the wide registers.
 */
#include "ops/cpu/detect.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* bit of ECX or EDX of a leaf that clang 14 has no name for */
static bool cpuid_bit(unsigned leaf, bool edx, int bit)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    return __get_cpuid_count(leaf, 0, &a, &b, &c, &d) != 0 && ((edx ? d : c) >> bit & 1u) != 0;
}

/* F16C has no state of its own: with AVX usable it is too. */
bool tpi_cpu_has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           cpuid_bit(1, false, 29);
}

bool tpi_cpu_has_avx512(void)
{
    return tpi_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* leaf 7, subleaf 1, EAX bit 5 */
static bool has_avx512_bf16(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    return tpi_cpu_has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1u) != 0;
}

void tpi_cpu_features(char *buf, size_t size)
{
    const struct { const char *name; bool has; } list[] = {
        { "avx2 fma f16c bmi2", tpi_cpu_has_avx2() },
        { "avx512f avx512bw avx512dq avx512vl", tpi_cpu_has_avx512() },
        { "avx512_bf16", has_avx512_bf16() },
        { "amx_bf16", cpuid_bit(7, true, 22) },
        { "amx_tile", cpuid_bit(7, true, 24) },
    };
    size_t used = 0;

    if (size == 0)
        return;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        size_t length = strlen(list[i].name);

        if (!list[i].has || used + length + 2 > size)
            continue;
        if (used > 0)
            buf[used++] = ' ';
        memcpy(buf + used, list[i].name, length + 1);
        used += length;
    }
}

#else

bool tpi_cpu_has_avx2(void)
{
    return false;
}

bool tpi_cpu_has_avx512(void)
{
    return false;
}

void tpi_cpu_features(char *buf, size_t size)
{
    if (size > 0)
        buf[0] = '\0';
}

#endif
