/* window.c - options in pairs, and how far a window slides over a plane. */
#include "ops/window.h"

void tpi_pair(int64_t to[2], const int64_t given[2], int64_t standard)
{
    to[0] = given[0] == 0 ? standard : given[0] < 0 ? 0 : given[0];
    to[1] = given[1] == 0 ? to[0] : given[1] < 0 ? 0 : given[1];
}

static bool in_range(tp_ctx *ctx, const char *op, const char *what, const int64_t v[2], int64_t low)
{
    for (int i = 0; i < 2; i++)
        if (v[i] < low || v[i] > INT32_MAX) {
            tp_fail(ctx, TP_EARG, "%s: %s %lld, expected %lld to %d", op, what, (long long)v[i], (long long)low,
                    INT32_MAX);
            return false;
        }
    return true;
}

/* Windows along an axis; 0 when not even one fits. */
static int64_t places(const tpi_window *w, int i, bool ceil)
{
    int64_t room = w->in[i] + 2 * w->pad[i] - (w->dilation[i] * (w->size[i] - 1) + 1), n;

    if (room < 0)
        return 0;
    n = (room + (ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
    return ceil && (n - 1) * w->stride[i] >= w->in[i] + w->pad[i] ? n - 1 : n;
}

bool tpi_window_slide(tp_ctx *ctx, const char *op, tpi_window *w, const int64_t stride[2], const int64_t pad[2],
                      const int64_t dilation[2], bool ceil)
{
    tpi_pair(w->stride, stride, 1);
    tpi_pair(w->pad, pad, 0);
    tpi_pair(w->dilation, dilation, 1);
    if (!in_range(ctx, op, "a stride of", w->stride, 1) || !in_range(ctx, op, "padding of", w->pad, 0) ||
        !in_range(ctx, op, "a dilation of", w->dilation, 1) || !in_range(ctx, op, "a window of", w->size, 1) ||
        !in_range(ctx, op, "a plane of", w->in, 0))
        return false;
    for (int i = 0; i < 2; i++) {
        w->out[i] = places(w, i, ceil);
        if (w->out[i] <= 0)
            return tp_fail(ctx, TP_ESHAPE,
                           "%s: a window of %lld x %lld (dilation %lld x %lld) on a plane of %lld x %lld with padding "
                           "%lld x %lld does not fit",
                           op, (long long)w->size[0], (long long)w->size[1], (long long)w->dilation[0],
                           (long long)w->dilation[1], (long long)w->in[0], (long long)w->in[1], (long long)w->pad[0],
                           (long long)w->pad[1]) != NULL;
    }
    return true;
}
