/*
 * dequant.c - ggml's quantised blocks to f32, and q8_0 from it.  Loops of fixed length that a compiler turns into
 * vectors; little-endian.
 */
#include "nn/files/stored.h"

#include "core/number.h"

#include <math.h>
#include <string.h>

static float f16_at(const uint8_t *p)
{
    uint16_t h;

    memcpy(&h, p, 2);
    return tpi_from_f16(h);
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

/* ---- groups of 32: low nibbles are the first 16 values, high ones the other 16 ------------------------------------------ */

void tpi_dequant_q4_0(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            j;

    for (i = 0; i < blocks; i++, b += 18, dst += 32) {
        float d = f16_at(b);

        for (j = 0; j < 16; j++) {
            dst[j] = d * (float)((b[2 + j] & 15) - 8);
            dst[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
        }
    }
}

void tpi_dequant_q4_1(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            j;

    for (i = 0; i < blocks; i++, b += 20, dst += 32) {
        float d = f16_at(b), m = f16_at(b + 2);

        for (j = 0; j < 16; j++) {
            float low = d * (float)(b[4 + j] & 15), high = d * (float)(b[4 + j] >> 4);

            dst[j] = low + m;
            dst[j + 16] = high + m;
        }
    }
}

void tpi_dequant_q5_0(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            j;

    for (i = 0; i < blocks; i++, b += 22, dst += 32) {
        float    d = f16_at(b);
        uint32_t h = u32_at(b + 2);

        for (j = 0; j < 16; j++) {
            dst[j] = d * (float)((int)((b[6 + j] & 15u) | ((h >> j & 1u) << 4)) - 16);
            dst[j + 16] = d * (float)((int)((b[6 + j] >> 4) | ((h >> (j + 16) & 1u) << 4)) - 16);
        }
    }
}

void tpi_dequant_q5_1(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            j;

    for (i = 0; i < blocks; i++, b += 24, dst += 32) {
        float    d = f16_at(b), m = f16_at(b + 2);
        uint32_t h = u32_at(b + 4);

        for (j = 0; j < 16; j++) {
            float low = d * (float)((b[8 + j] & 15u) | ((h >> j & 1u) << 4));
            float high = d * (float)((uint32_t)(b[8 + j] >> 4) | ((h >> (j + 16) & 1u) << 4));

            dst[j] = low + m;
            dst[j + 16] = high + m;
        }
    }
}

void tpi_dequant_q8_0(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            j;

    for (i = 0; i < blocks; i++, b += 34, dst += 32) {
        float d = f16_at(b);

        for (j = 0; j < 32; j++)
            dst[j] = d * (float)(int8_t)b[2 + j];
    }
}

/* As ggml does it: the scale is divided by before it is rounded to f16. */
void tpi_quant_q8_0(const float *src, void *dst, int64_t blocks)
{
    uint8_t *b = dst;
    int64_t  i;
    int      j;

    for (i = 0; i < blocks; i++, b += 34, src += 32) {
        float    most = 0, d, r;
        uint16_t half;

        for (j = 0; j < 32; j++)
            most = fabsf(src[j]) > most ? fabsf(src[j]) : most;
        d = most / 127;
        r = d != 0 ? 1 / d : 0;
        half = tpi_to_f16(d);
        memcpy(b, &half, 2);
        for (j = 0; j < 32; j++)
            b[2 + j] = (uint8_t)(int8_t)roundf(src[j] * r);
    }
}

/* ---- super-blocks of 256 ------------------------------------------------------------------------------------------------ */

/* Eight 6-bit scales and minima in 12 bytes: four of each whole with two bits to spare, which the other four borrow. */
static void unpack_scales(const uint8_t *s, uint8_t scale[8], uint8_t min[8])
{
    int j;

    for (j = 0; j < 4; j++) {
        scale[j] = s[j] & 63;
        min[j] = s[j + 4] & 63;
        scale[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        min[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

void tpi_dequant_q4_k(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    uint8_t        scale[8], min[8];
    int64_t        i;
    int            g, j;

    for (i = 0; i < blocks; i++, b += 144) {
        float d = f16_at(b), dmin = f16_at(b + 2);

        unpack_scales(b + 4, scale, min);
        for (g = 0; g < 8; g++, dst += 32) {
            const uint8_t *q = b + 16 + 32 * (g / 2);
            float          s = d * (float)scale[g], m = dmin * (float)min[g];

            for (j = 0; j < 32; j++) {
                float v = s * (float)(g & 1 ? q[j] >> 4 : q[j] & 15);

                dst[j] = v - m;
            }
        }
    }
}

void tpi_dequant_q5_k(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    uint8_t        scale[8], min[8];
    int64_t        i;
    int            g, j;

    for (i = 0; i < blocks; i++, b += 176) {
        float          d = f16_at(b), dmin = f16_at(b + 2);
        const uint8_t *h = b + 16;

        unpack_scales(b + 4, scale, min);
        for (g = 0; g < 8; g++, dst += 32) {
            const uint8_t *q = b + 48 + 32 * (g / 2);
            float          s = d * (float)scale[g], m = dmin * (float)min[g];

            for (j = 0; j < 32; j++) {
                float v = s * (float)((g & 1 ? q[j] >> 4 : q[j] & 15) + (h[j] >> g & 1) * 16);

                dst[j] = v - m;
            }
        }
    }
}

void tpi_dequant_q6_k(const void *src, float *dst, int64_t blocks)
{
    const uint8_t *b = src;
    int64_t        i;
    int            half, g, j;

    for (i = 0; i < blocks; i++, b += 210, dst += 256) {
        float d = f16_at(b + 208);

        for (half = 0; half < 2; half++) /* each: 64 bytes of low bits, 32 of high ones, 8 scales, 128 values */
            for (g = 0; g < 4; g++)
                for (j = 0; j < 32; j++) {
                    int low = b[64 * half + 32 * (g & 1) + j] >> 4 * (g >> 1) & 15;
                    int high = b[128 + 32 * half + j] >> 2 * g & 3;
                    int8_t s = (int8_t)b[192 + 8 * half + 2 * g + j / 16];

                    dst[128 * half + 32 * g + j] = d * (float)s * (float)((low | high << 4) - 32);
                }
    }
}
