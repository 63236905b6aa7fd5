/*
 * attention_cpu.c - softmax(q k^T) v by blocks of rows, without a matrix of scores.
 *
 * A task is a block of rows in all query heads that share a key head, so that keys and values are converted once for
 * all of them. Keys come in slabs; a running maximum and sum rescale what has been added before.  Scores lie
 * transposed, [keys][rows]: vectors run over rows, so that the softmax needs no sums across lanes, masks are compares,
 * and nothing but q is ever transposed.
 */
#include "ops/cpu/attend.h"
#include "ops/cpu/cpu.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/span.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { SLAB = 128, ROWS = 64 };

typedef struct {
    const tpi_attn *a;
    int64_t         group;  /* query heads of a key head */
    int64_t         rows;   /* of a block, a multiple of TPI_PANEL */
    int64_t         blocks; /* of a sequence */
    int64_t         wide;   /* dim, rounded up to panels */
    int64_t         size;   /* floats of a thread's scratch */
} plan;

/* A thread's scratch; per head of the group: q panels [rows / TPI_PANEL][dim][TPI_PANEL], o [rows][wide], top and sum
 * [rows]. */
typedef struct {
    float   *k, *v, *s, *q, *o, *top, *sum;
    tpi_seen seen;
    bool     v_finite;
} scratch;

static plan plan_new(const tpi_attn *a)
{
    plan p = { .a = a, .group = a->heads / a->kv_heads };

    p.rows = tpi_round_up(p.group <= 4 ? ROWS : tpi_ceil_div(4 * ROWS, p.group), TPI_PANEL);
    p.rows = tpi_min64(p.rows, tpi_round_up(a->sq, TPI_PANEL));
    p.blocks = tpi_ceil_div(a->sq, p.rows);
    p.wide = tpi_round_up(a->dim, TPI_PANEL);
    p.size = SLAB * (2 * p.wide + TPI_PANEL) + p.group * p.rows * (a->dim + p.wide + 2) + 2 * p.rows;
    p.size = tpi_round_up(p.size, 16);
    return p;
}

static scratch carve(const plan *p, float *ws)
{
    scratch s;
    int64_t all = p->group * p->rows;

    s.k = ws;
    s.v = s.k + SLAB * p->wide;
    s.s = s.v + SLAB * p->wide;
    s.o = s.s + SLAB * TPI_PANEL;
    s.q = s.o + all * p->wide;
    s.top = s.q + all * p->a->dim;
    s.sum = s.top + all;
    s.seen.low = (int32_t *)(void *)(s.sum + all);
    s.seen.high = s.seen.low + p->rows;
    s.v_finite = true;
    return s;
}

/* ---- one panel of rows against one slab of keys
 * ---------------------------------------------------------------------- */

/* Scores of n keys from j on become e^(score - top); top and sum go on; what was summed before is to be multiplied by
 * shrink. */
static void softmax_half(float *s, int64_t j, int64_t n, const int32_t *low, const int32_t *high, float *top,
                         float *sum, float *shrink)
{
    tpi_vi lo = tpi_viload(low) - (int32_t)j, hi = tpi_viload(high) - (int32_t)j, none;
    tpi_vf old = tpi_vload(top), m = old, shift, part[2] = { { 0 }, { 0 } };

    for (int64_t i = 0; i < n; i++) {
        tpi_vi at = (int32_t)i - (tpi_vi){ 0 };
        tpi_vf x = tpi_vsel((lo <= at) & (at < hi), tpi_vload(s + i * TPI_PANEL), tpi_vset(-INFINITY));

        tpi_vstore(s + i * TPI_PANEL, x);
        m = tpi_vmax(x, m);
    }
    none = (tpi_vi)(m == -INFINITY);
    shift = tpi_vsel(none, (tpi_vf){ 0 }, m);
    for (int64_t i = 0; i < n; i++) {
        tpi_vf e = tpi_vexpv(tpi_vload(s + i * TPI_PANEL) - shift);

        part[i & 1] += e;
        tpi_vstore(s + i * TPI_PANEL, e);
    }
    old = tpi_vexpv(old - shift);
    tpi_vstore(shrink, old);
    tpi_vstore(top, m);
    tpi_vstore(sum, tpi_vload(sum) * old + (part[0] + part[1]));
}

static void shrink_rows(const plan *p, float *o, const float *shrink)
{
    for (int64_t r = 0; r < TPI_PANEL; r++)
        for (int64_t d = 0; d < p->wide && shrink[r] != 1; d += TPI_VL)
            tpi_vstore(o + r * p->wide + d, tpi_vload(o + r * p->wide + d) * shrink[r]);
}

/* Row by row, only what a row sees: where v is not finite, even 0 times v would show. */
static void add_values_exactly(const plan *p, const scratch *w, int64_t row, int64_t j, int64_t n, int64_t slab,
                               float *o)
{
    for (int64_t r = 0; r < TPI_PANEL; r++) {
        int64_t low = w->seen.low[row + r], high = tpi_min64(w->seen.high[row + r], j + n);

        low = low > j ? low : j;
        for (int64_t d = 0; low < high && d < p->wide; d += TPI_PANEL)
            CPU(panel_mul)
            (1, high - low, w->s + (low - j) * TPI_PANEL + r, 0, TPI_PANEL, w->v + (low - slab) * p->wide + d, p->wide,
             o + r * p->wide + d, p->wide, true);
    }
}

/* The panel of head h that begins at `row` of the block; the slab holds keys [slab, end). */
static void one_panel(const plan *p, const scratch *w, int64_t h, int64_t row, int64_t slab, int64_t end)
{
    int64_t at = h * p->rows + row, low, high, n;
    float  *o = w->o + at * p->wide, shrink[TPI_PANEL];

    CPU(attend_span)(&w->seen, row, TPI_PANEL, &low, &high);
    low = low > slab ? low : slab;
    n = tpi_min64(high, end) - low;
    if (n <= 0)
        return;
    CPU(panel_mul)
    (n, p->a->dim, w->k + (low - slab) * p->wide, p->wide, 1, w->q + at * p->a->dim, TPI_PANEL, w->s, TPI_PANEL, false);
    for (int64_t i = 0; i < TPI_PANEL; i += TPI_VL)
        softmax_half(w->s + i, low, n, w->seen.low + row + i, w->seen.high + row + i, w->top + at + i, w->sum + at + i,
                     shrink + i);
    shrink_rows(p, o, shrink);
    if (!w->v_finite) {
        add_values_exactly(p, w, row, low, n, slab, o);
        return;
    }
    for (int64_t d = 0; d < p->wide; d += TPI_PANEL)
        CPU(panel_mul)
        (TPI_PANEL, n, w->s, 1, TPI_PANEL, w->v + (low - slab) * p->wide + d, p->wide, o + d, p->wide, true);
}

/* ---- a task
 * ---------------------------------------------------------------------------------------------------------- */

static void load_rows(const plan *p, const scratch *w, int64_t b, int64_t g, int64_t s, int64_t n)
{
    const tpi_attn *a = p->a;
    int64_t         all = p->group * p->rows;

    for (int64_t h = 0; h < p->group; h++) {
        for (int64_t i = 0; i < p->rows; i += TPI_PANEL) {
            float  *q = w->q + (h * p->rows + i) * a->dim;
            int64_t lanes = tpi_min64(n - i, TPI_PANEL), from = lanes > 0 ? s + i : s;

            CPU(panel_in)
            (a->t, tpi_at(a->q, a->t, tpi_vec(a->qs, b, from, g * p->group + h)), a->qs[1], 1, lanes > 0 ? lanes : 0,
             a->dim, q);
            for (int64_t d = 0; d < a->dim * TPI_PANEL; d += TPI_VL)
                tpi_vstore(q + d, tpi_vload(q + d) * (float)a->scale);
        }
    }
    memset(w->o, 0, (size_t)(all * p->wide) * sizeof(float));
    memset(w->sum, 0, (size_t)all * sizeof(float));
    for (int64_t i = 0; i < all; i++)
        w->top[i] = -INFINITY;
}

static void store_rows(const plan *p, const scratch *w, int64_t b, int64_t g, int64_t s, int64_t n)
{
    const tpi_attn *a = p->a;

    for (int64_t h = 0; h < p->group; h++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t at = h * p->rows + i, head = g * p->group + h;
            float  *o = w->o + at * p->wide, sum = w->sum[at], inverse = sum == 0 ? 0 : 1 / sum;

            for (int64_t d = 0; d < p->wide; d += TPI_VL)
                tpi_vstore(o + d, tpi_vload(o + d) * inverse);
            CPU(store_f32)(a->t, a->o, tpi_vec(a->os, b, s + i, head), 1, a->dim, o);
            a->lse[(b * a->heads + head) * a->sq + s + i] = sum == 0 ? -INFINITY : w->top[at] + logf(sum);
        }
    }
}

static void run_task(const plan *p, int64_t task, float *ws)
{
    const tpi_attn *a = p->a;
    int64_t         pairs = a->batch * a->kv_heads, b = task % pairs / a->kv_heads, g = task % a->kv_heads, low, high;
    int64_t s = (p->blocks - 1 - task / pairs) * p->rows, n = tpi_min64(a->sq - s, p->rows); /* the longest first */
    scratch w = carve(p, ws);

    CPU(attend_seen)(a, b, s, n, p->rows, &w.seen);
    CPU(attend_span)(&w.seen, 0, p->rows, &low, &high);
    load_rows(p, &w, b, g, s, n);
    for (int64_t slab = low; slab < high; slab += SLAB) {
        int64_t keys = tpi_min64(high - slab, SLAB);

        CPU(attend_rows)(a, a->k, tpi_vec(a->ks, b, slab, g), a->ks[1], keys, p->wide, 1, w.k);
        w.v_finite = CPU(attend_rows)(a, a->v, tpi_vec(a->vs, b, slab, g), a->vs[1], keys, p->wide, 1, w.v);
        for (int64_t h = 0; h < p->group; h++)
            for (int64_t i = 0; i < p->rows; i += TPI_PANEL)
                one_panel(p, &w, h, i, slab, slab + keys);
    }
    store_rows(p, &w, b, g, s, n);
}

/* ---- the slot
 * -------------------------------------------------------------------------------------------------------- */

static bool is_empty(const tpi_attn *a)
{
    return a->batch <= 0 || a->heads <= 0 || a->sq <= 0 || a->dim <= 0;
}

size_t CPU(attention_space)(const tpi_run *r, const tpi_attn *a)
{
    if (a->t == TP_F64 || is_empty(a))
        return 0;
    if (CPU(decode_takes)(a))
        return CPU(decode_space)(r, a);
    return (size_t)(plan_new(a).size * r->threads) * sizeof(float);
}

tp_code CPU(attention)(const tpi_run *r, const tpi_attn *a)
{
    plan   p;
    void  *own;
    float *ws;

    if (is_empty(a))
        return TP_OK;
    if (a->t == TP_F64)
        return CPU(attend_f64)(r, a);
    ws = tpi_scratch(r, CPU(attention_space)(r, a), &own);
    if (ws == NULL)
        return TP_ENOMEM;
    if (CPU(decode_takes)(a)) {
        CPU(decode)(r, a, ws);
    } else {
        p = plan_new(a);
#pragma omp parallel for num_threads(r->threads) \
    schedule(dynamic) if (a->batch * a->heads * a->sq * a->sk >= TPI_PARALLEL_MIN / 8)
        for (int64_t t = 0; t < a->batch * a->kv_heads * p.blocks; t++)
            run_task(&p, t, ws + omp_get_thread_num() * p.size);
    }
    tpi_free(own);
    return TP_OK;
}
