/*
 * attention_grad_cpu.c - the gradient of attention, with p recomputed from the kept log-sum-exp:
 *
 *     p = e^(s - lse),  ds = p (do v^T - mean),  mean = do . o;      dv = p^T do,  dk = ds^T q scale,  dq = ds k scale
 *
 * A task is a key head, with all its query heads and rows, so that dk and dv are summed by one thread in a fixed order.
 * Where there are too few of them, rows are dealt out to several parts with sums of their own, added up in order at the
 * end.  Scores lie transposed as in attention_cpu.c, so that all five products take their operands as they are.
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

enum { SLAB = 128, ROWS = 64, KEYS = 24 }; /* KEYS: of dk and dv at a time, so that rows which see none are left out */

typedef struct {
    const tpi_attn *a;
    int64_t         group, rows, blocks, wide;
    int64_t         parts;      /* of a key head */
    int64_t         size, sums; /* floats of a thread's scratch; of dk and dv together */
    int64_t         n_sums;     /* a thread's when a head is one part, else a part's */
} plan;

/* A thread's scratch.  Row vectors twice: as rows for dk and dv, as panels for the scores. */
typedef struct {
    float   *k, *v, *p, *ds, *q, *dout, *dq, *q_panel, *do_panel, *lse, *mean, *dk, *dv;
    tpi_seen seen;
    bool     k_finite, rows_finite;
} scratch;

static plan plan_new(const tpi_run *r, const tpi_attn *a)
{
    plan    p = { .a = a, .group = a->heads / a->kv_heads, .wide = tpi_round_up(a->dim, TPI_PANEL) };
    int64_t heads = a->batch * a->kv_heads;

    p.rows = tpi_min64(ROWS, tpi_round_up(a->sq > 0 ? a->sq : 1, TPI_PANEL));
    p.blocks = tpi_ceil_div(a->sq, p.rows);
    p.parts = r->threads == 1 ? 1 : tpi_min64(tpi_ceil_div(4 * r->threads, heads), p.blocks);
    p.parts = p.parts < 1 ? 1 : p.parts;
    p.size = SLAB * 2 * p.wide + 2 * SLAB * p.rows + p.rows * (3 * p.wide + 2 * a->dim + 4);
    p.size = tpi_round_up(p.size, 16);
    p.sums = 2 * a->sk * p.wide;
    p.n_sums = p.parts == 1 ? r->threads : heads * p.parts;
    return p;
}

static scratch carve(const plan *p, float *ws, float *sums)
{
    scratch s = { .k = ws };

    s.v = s.k + SLAB * p->wide;
    s.p = s.v + SLAB * p->wide;
    s.ds = s.p + SLAB * p->rows;
    s.q = s.ds + SLAB * p->rows;
    s.dout = s.q + p->rows * p->wide;
    s.dq = s.dout + p->rows * p->wide;
    s.q_panel = s.dq + p->rows * p->wide;
    s.do_panel = s.q_panel + p->rows * p->a->dim;
    s.lse = s.do_panel + p->rows * p->a->dim;
    s.mean = s.lse + p->rows;
    s.seen.low = (int32_t *)(void *)(s.mean + p->rows);
    s.seen.high = s.seen.low + p->rows;
    s.dk = sums;
    s.dv = sums + p->a->sk * p->wide;
    return s;
}

/* ---- scores
 * ---------------------------------------------------------------------------------------------------------- */

/* p and ds of n keys from j on in the lanes of one vector; p holds s, ds holds do v^T. */
static void grad_half(const plan *q, float *p, float *ds, int64_t j, int64_t n, const int32_t *low, const int32_t *high,
                      const float *lse, const float *mean)
{
    tpi_vi lo = tpi_viload(low) - (int32_t)j, hi = tpi_viload(high) - (int32_t)j;
    tpi_vf l = tpi_vload(lse), m = tpi_vload(mean), zero = { 0 };

    for (int64_t i = 0; i < n; i++) {
        tpi_vi at = (int32_t)i - (tpi_vi){ 0 }, in = (lo <= at) & (at < hi);
        tpi_vf e = tpi_vexpv(tpi_vload(p + i * q->rows) - l);

        tpi_vstore(ds + i * q->rows, tpi_vsel(in, e * (tpi_vload(ds + i * q->rows) - m), zero));
        tpi_vstore(p + i * q->rows, tpi_vsel(in, e, zero));
    }
}

static void zero_lines(const plan *p, float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        memset(x + i * p->rows, 0, TPI_PANEL * sizeof(float));
}

/* The part [*low, *high) of the slab [slab, end) that a panel of rows sees */
static void panel_keys(const scratch *w, int64_t row, int64_t slab, int64_t end, int64_t *low, int64_t *high)
{
    CPU(attend_span)(&w->seen, row, TPI_PANEL, low, high);
    *low = *low > slab ? *low : slab;
    *high = *high < end ? *high : end;
    if (*high <= *low)
        *low = *high = slab;
}

/* p^T and ds^T of the block's rows with the keys [slab, end): zeros where a row does not see a key. */
static void scores(const plan *p, const scratch *w, int64_t slab, int64_t end)
{
    for (int64_t row = 0; row < p->rows; row += TPI_PANEL) {
        int64_t      low, high, n;
        const float *q = w->q_panel + row * p->a->dim, *dout = w->do_panel + row * p->a->dim;
        float       *s = w->p + row, *ds = w->ds + row;

        panel_keys(w, row, slab, end, &low, &high);
        n = high - low;
        zero_lines(p, s, low - slab);
        zero_lines(p, ds, low - slab);
        zero_lines(p, s + (high - slab) * p->rows, end - high);
        zero_lines(p, ds + (high - slab) * p->rows, end - high);
        s += (low - slab) * p->rows;
        ds += (low - slab) * p->rows;
        CPU(panel_mul)(n, p->a->dim, w->k + (low - slab) * p->wide, p->wide, 1, q, TPI_PANEL, s, p->rows, false);
        CPU(panel_mul)(n, p->a->dim, w->v + (low - slab) * p->wide, p->wide, 1, dout, TPI_PANEL, ds, p->rows, false);
        for (int64_t i = 0; n > 0 && i < TPI_PANEL; i += TPI_VL)
            grad_half(p, s + i, ds + i, low, n, w->seen.low + row + i, w->seen.high + row + i, w->lse + row + i,
                      w->mean + row + i);
    }
}

/* ---- the three products that add up
 * ---------------------------------------------------------------------------------- */

static void add_dq(const plan *p, const scratch *w, int64_t slab, int64_t end)
{
    int64_t step = w->k_finite ? TPI_PANEL : 1;

    for (int64_t row = 0; row < p->rows; row += step) {
        int64_t low = w->seen.low[row], high = w->seen.high[row];

        if (w->k_finite) {
            panel_keys(w, row, slab, end, &low, &high);
        } else { /* 0 times NaN would show: only what this row sees */
            low = low > slab ? low : slab;
            high = tpi_min64(high, end);
        }
        for (int64_t d = 0; low < high && d < p->wide; d += TPI_PANEL)
            CPU(panel_mul)
            (step, high - low, w->ds + (low - slab) * p->rows + row, 1, p->rows, w->k + (low - slab) * p->wide + d,
             p->wide, w->dq + row * p->wide + d, p->wide, true);
    }
}

/* dk and dv of the keys [j, j + n) from the rows [row, row + count) */
static void add_keys(const plan *p, const scratch *w, int64_t slab, int64_t j, int64_t n, int64_t row, int64_t count)
{
    int64_t at = (j - slab) * p->rows + row;

    for (int64_t d = 0; d < p->wide; d += TPI_PANEL) {
        CPU(panel_mul)
        (n, count, w->p + at, p->rows, 1, w->dout + row * p->wide + d, p->wide, w->dv + j * p->wide + d, p->wide, true);
        CPU(panel_mul)
        (n, count, w->ds + at, p->rows, 1, w->q + row * p->wide + d, p->wide, w->dk + j * p->wide + d, p->wide, true);
    }
}

/* The rows, by whole panels, that see some of the keys [j, j + n): [*first, *last) */
static void rows_seeing(const plan *p, const scratch *w, int64_t j, int64_t n, int64_t *first, int64_t *last)
{
    *first = p->rows;
    *last = 0;
    for (int64_t row = 0; row < p->rows; row += TPI_PANEL) {
        int64_t low, high;

        CPU(attend_span)(&w->seen, row, TPI_PANEL, &low, &high);
        if (low >= j + n || high <= j)
            continue;
        *first = row < *first ? row : *first;
        *last = row + TPI_PANEL;
    }
}

static void add_dk_dv(const plan *p, const scratch *w, int64_t slab, int64_t end)
{
    for (int64_t j = slab; w->rows_finite && j < end; j += KEYS) {
        int64_t n = tpi_min64(end - j, KEYS), first, last;

        rows_seeing(p, w, j, n, &first, &last);
        if (first < last)
            add_keys(p, w, slab, j, n, first, last - first);
    }
    for (int64_t row = 0; !w->rows_finite && row < p->rows;
         row++) { /* only what each row sees, for 0 times NaN would show */
        int64_t low = w->seen.low[row] > slab ? w->seen.low[row] : slab, high = tpi_min64(w->seen.high[row], end);

        if (low < high)
            add_keys(p, w, slab, low, high - low, row, 1);
    }
}

/* ---- a block of rows of one query head
 * ------------------------------------------------------------------------------- */

static void load_panels(const plan *p, const void *x, const int64_t s3[3], int64_t b, int64_t s, int64_t n, int64_t h,
                        float scale, float *out)
{
    const tpi_attn *a = p->a;

    for (int64_t i = 0; i < p->rows; i += TPI_PANEL) {
        int64_t lanes = tpi_min64(n - i, TPI_PANEL);
        float  *to = out + i * a->dim;

        lanes = lanes > 0 ? lanes : 0;
        CPU(panel_in)(a->t, tpi_at(x, a->t, tpi_vec(s3, b, lanes > 0 ? s + i : s, h)), s3[1], 1, lanes, a->dim, to);
        for (int64_t d = 0; scale != 1 && d < a->dim * TPI_PANEL; d += TPI_VL)
            tpi_vstore(to + d, tpi_vload(to + d) * scale);
    }
}

static void load_rows(const plan *p, scratch *w, int64_t b, int64_t s, int64_t n, int64_t h)
{
    const tpi_attn *a = p->a;
    size_t          rest = (size_t)((p->rows - n) * p->wide) * sizeof(float);
    bool            q_finite, do_finite;

    q_finite = CPU(attend_rows)(a, a->q, tpi_vec(a->qs, b, s, h), a->qs[1], n, p->wide, (float)a->scale, w->q);
    do_finite = CPU(attend_rows)(a, a->dout, tpi_vec(a->dos, b, s, h), a->dos[1], n, p->wide, 1, w->dout);
    w->rows_finite = q_finite && do_finite;
    memset(w->q + n * p->wide, 0, rest);
    memset(w->dout + n * p->wide, 0, rest);
    load_panels(p, a->q, a->qs, b, s, n, h, (float)a->scale, w->q_panel);
    load_panels(p, a->dout, a->dos, b, s, n, h, 1, w->do_panel);
    CPU(attend_rows)(a, a->o, tpi_vec(a->os, b, s, h), a->os[1], n, p->wide, 1, w->dq); /* for the mean alone */
    for (int64_t i = 0; i < p->rows; i++) {
        tpi_vf sum = { 0 };

        for (int64_t d = 0; i < n && d < p->wide; d += TPI_VL)
            sum = tpi_vfma(tpi_vload(w->dout + i * p->wide + d), tpi_vload(w->dq + i * p->wide + d), sum);
        w->mean[i] = tpi_vsum(sum);
        w->lse[i] = i < n ? a->lse[(b * a->heads + h) * a->sq + s + i] : 0;
    }
    memset(w->dq, 0, (size_t)(p->rows * p->wide) * sizeof(float));
}

static void store_dq(const plan *p, const scratch *w, int64_t b, int64_t s, int64_t n, int64_t h)
{
    const tpi_attn *a = p->a;

    for (int64_t i = 0; i < n; i++) {
        float *dq = w->dq + i * p->wide;

        for (int64_t d = 0; d < p->wide; d += TPI_VL)
            tpi_vstore(dq + d, tpi_vload(dq + d) * (float)a->scale);
        CPU(store_f32)(a->t, a->dq, tpi_vec(a->dqs, b, s + i, h), 1, a->dim, dq);
    }
}

static void one_block(const plan *p, scratch *w, int64_t b, int64_t g, int64_t block, int64_t h)
{
    const tpi_attn *a = p->a;
    int64_t         s = block * p->rows, n = tpi_min64(a->sq - s, p->rows), low, high;

    CPU(attend_seen)(a, b, s, n, p->rows, &w->seen);
    CPU(attend_span)(&w->seen, 0, p->rows, &low, &high);
    load_rows(p, w, b, s, n, h);
    for (int64_t slab = low; slab < high; slab += SLAB) {
        int64_t end = tpi_min64(high, slab + SLAB);

        w->k_finite = CPU(attend_rows)(a, a->k, tpi_vec(a->ks, b, slab, g), a->ks[1], end - slab, p->wide, 1, w->k);
        CPU(attend_rows)(a, a->v, tpi_vec(a->vs, b, slab, g), a->vs[1], end - slab, p->wide, 1, w->v);
        scores(p, w, slab, end);
        add_dq(p, w, slab, end);
        add_dk_dv(p, w, slab, end);
    }
    store_dq(p, w, b, s, n, h);
}

/* ---- tasks
 * ----------------------------------------------------------------------------------------------------------- */

/* dk and dv of keys [j, end) of a head as they are wanted, from the sums of its parts in order. */
static void store_keys(const plan *p, int64_t head, int64_t j, int64_t end, float *sums, int64_t parts)
{
    const tpi_attn *a = p->a;
    int64_t         b = head / a->kv_heads, g = head % a->kv_heads, half = a->sk * p->wide;

    for (; j < end; j++) {
        float *dk = sums + j * p->wide, *dv = dk + half;

        for (int64_t i = 1; i < parts; i++) {
            for (int64_t d = 0; d < p->wide; d += TPI_VL) {
                tpi_vstore(dk + d, tpi_vload(dk + d) + tpi_vload(dk + i * p->sums + d));
                tpi_vstore(dv + d, tpi_vload(dv + d) + tpi_vload(dv + i * p->sums + d));
            }
        }
        CPU(store_f32)(a->t, a->dk, tpi_vec(a->dks, b, j, g), 1, a->dim, dk);
        CPU(store_f32)(a->t, a->dv, tpi_vec(a->dvs, b, j, g), 1, a->dim, dv);
    }
}

/* A part takes every parts-th block, so that under a causal mask all parts have the same to do. */
static void run_task(const plan *p, int64_t task, float *ws, float *sums)
{
    int64_t head = task / p->parts, b = head / p->a->kv_heads, g = head % p->a->kv_heads;
    scratch w = carve(p, ws, sums);

    memset(sums, 0, (size_t)p->sums * sizeof(float));
    for (int64_t block = p->blocks - 1 - task % p->parts; block >= 0; block -= p->parts)
        for (int64_t h = 0; h < p->group; h++)
            one_block(p, &w, b, g, block, g * p->group + h);
    if (p->parts == 1)
        store_keys(p, head, 0, p->a->sk, sums, 1);
}

static bool is_empty(const tpi_attn *a)
{
    return a->batch <= 0 || a->heads <= 0 || a->dim <= 0 || (a->sq <= 0 && a->sk <= 0);
}

size_t CPU(attention_grad_space)(const tpi_run *r, const tpi_attn *a)
{
    plan p;

    if (a->t == TP_F64 || is_empty(a))
        return 0;
    p = plan_new(r, a);
    return (size_t)(p.size * r->threads + p.sums * p.n_sums) * sizeof(float);
}

/* Several threads may add parts of different keys. */
static void join_parts(const plan *p, int threads, float *sums)
{
    int64_t heads = p->a->batch * p->a->kv_heads, per_head = tpi_ceil_div(p->a->sk, SLAB);

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < heads * per_head; i++) {
        int64_t head = i / per_head, j = i % per_head * SLAB;

        store_keys(p, head, j, tpi_min64(j + SLAB, p->a->sk), sums + head * p->parts * p->sums, p->parts);
    }
}

tp_code CPU(attention_grad)(const tpi_run *r, const tpi_attn *a)
{
    plan   p;
    void  *own;
    float *ws, *sums;

    if (is_empty(a))
        return TP_OK;
    if (a->t == TP_F64)
        return CPU(attend_grad_f64)(r, a);
    ws = tpi_scratch(r, CPU(attention_grad_space)(r, a), &own);
    if (ws == NULL)
        return TP_ENOMEM;
    p = plan_new(r, a);
    sums = ws + p.size * r->threads;
#pragma omp parallel for num_threads(r->threads) \
    schedule(dynamic) if (a->batch * a->heads * a->sq * a->sk >= TPI_PARALLEL_MIN / 8)
    for (int64_t t = 0; t < a->batch * a->kv_heads * p.parts; t++)
        run_task(&p, t, ws + omp_get_thread_num() * p.size, sums + (p.parts == 1 ? omp_get_thread_num() : t) * p.sums);
    if (p.parts > 1)
        join_parts(&p, r->threads, sums);
    tpi_free(own);
    return TP_OK;
}
