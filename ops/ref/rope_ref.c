/*
 * rope_ref.c - rotary position embedding, the rotate-half kind.
 */
#include "ops/ref/ref.h"

#include <math.h>

/* (y[j], y[j + d/2]) = (x[j] c - x[j + d/2] s, x[j + d/2] c + x[j] s),  c = mult cos(angle), s = mult sin(angle) */
static void rotate(tp_dtype t, void *y, int64_t yi, const void *x, int64_t xi, int64_t d, double pos, const float *freq,
                   double mult, bool inverse)
{
    int64_t half = d / 2;

    for (int64_t j = 0; j < half; j++) {
        double angle = pos * (double)freq[j] * (inverse ? -1 : 1), c = mult * cos(angle), s = mult * sin(angle);
        double u = tpi_load(t, x, xi + j), v = tpi_load(t, x, xi + j + half);

        tpi_store(t, y, yi + j, u * c - v * s);
        tpi_store(t, y, yi + j + half, v * c + u * s);
    }
}

tp_code tpi_ref_rope(const tpi_run *r, tp_dtype t, void *y, const int64_t *ys, const void *x, const int64_t *xs,
                     const int64_t dim[4], const int32_t *pos, int64_t base, const float *freq, double mult,
                     bool inverse)
{
    (void)r;
    for (int64_t b = 0; b < dim[0]; b++) {
        for (int64_t s = 0; s < dim[1]; s++) {
            double at = pos ? pos[b * dim[1] + s] : (double)(base + s);

            for (int64_t h = 0; h < dim[2]; h++) {
                int64_t yi = b * ys[0] + s * ys[1] + h * ys[2], xi = b * xs[0] + s * xs[1] + h * xs[2];

                rotate(t, y, yi, x, xi, dim[3], at, freq, mult, inverse);
            }
        }
    }
    return TP_OK;
}
