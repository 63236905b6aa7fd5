/*
 * attend_decode_cpu.c - attention of one new position over a long cache: bound by reading keys and values, so each is
 * read once for all query heads that share it, and keys are split between tasks whose parts are put together in a fixed
 * order.
 */
#include "ops/cpu/attend.h"

#include "core/number.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/product.h"
#include "ops/cpu/span.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { SLAB = 128, PART = 256 }; /* keys at a time; keys at least in a part */

typedef struct {
    const tpi_attn *a;
    int64_t         group, wide, parts;
    int64_t part_size, size; /* floats of a part's result [group][wide + 2]: o, top, sum; of a thread's scratch */
} plan;

bool CPU(decode_takes)(const tpi_attn *a)
{
    return a->sq == 1 && a->sk > 0 && a->t != TP_F64;
}

static plan plan_new(const tpi_run *r, const tpi_attn *a)
{
    plan p = { .a = a, .group = a->heads / a->kv_heads, .wide = tpi_round_up(a->dim, TPI_PANEL) };

    p.parts = tpi_ceil_div(2 * r->threads, a->batch * a->kv_heads);
    p.parts = r->threads == 1 ? 1 : tpi_min64(p.parts, tpi_ceil_div(a->sk, PART));
    p.part_size = p.group * (p.wide + 2);
    p.size = p.group * (2 * a->dim + SLAB) + SLAB * p.wide;
    return p;
}

size_t CPU(decode_space)(const tpi_run *r, const tpi_attn *a)
{
    plan p = plan_new(r, a);

    return (size_t)(a->batch * a->kv_heads * p.parts * p.part_size + r->threads * p.size) * sizeof(float);
}

/* s becomes e^(s - top), zeros behind; returns by how much what was summed before shrinks. */
static float softmax_row(float *s, int64_t n, float *top, float *sum)
{
    float  before = *top, part = 0, shrink;
    tpi_vf all = { 0 };

    for (int64_t j = 0; j < n; j++)
        *top = s[j] > *top ? s[j] : *top;
    for (int64_t j = n; j < tpi_round_up(n, TPI_VL); j++)
        s[j] = -INFINITY;
    shrink = *top == -INFINITY ? 0 : *top;
    for (int64_t j = 0; j < n; j += TPI_VL) {
        tpi_vf e = tpi_vexpv(tpi_vload(s + j) - shrink);

        all += e;
        tpi_vstore(s + j, e);
    }
    part = tpi_vsum(all);
    shrink = expf(before - shrink);
    *sum = *sum * shrink + part;
    return shrink;
}

/* Keys [j, j + n) for all heads of the group; q [group][dim] is scaled. */
static void one_slab(const plan *p, int64_t b, int64_t g, int64_t j, int64_t n, const float *q, float *scratch,
                     float *result)
{
    const tpi_attn *a = p->a;
    float          *s = scratch, *v = s + p->group * SLAB, *ws = v + SLAB * p->wide;
    tpi_gemm        scores = { .m = p->group,
                               .n = n,
                               .k = a->dim,
                               .a = q,
                               .at = TP_F32,
                               .a_row = a->dim,
                               .a_col = 1,
                               .bt = a->t,
                               .b = tpi_at(a->k, a->t, tpi_vec(a->ks, b, j, g)),
                               .b_row = 1,
                               .b_col = a->ks[1],
                               .c = s,
                               .ct = TP_F32,
                               .c_row = SLAB };

    CPU(thin_gemm)(&scores, 1, ws);
    CPU(attend_rows)(a, a->v, tpi_vec(a->vs, b, j, g), a->vs[1], n, p->wide, 1, v);
    for (int64_t h = 0; h < p->group; h++) {
        float *o = result + h * (p->wide + 2), shrink = softmax_row(s + h * SLAB, n, o + p->wide, o + p->wide + 1);

        for (int64_t d = 0; d < p->wide; d += TPI_VL)
            tpi_vstore(o + d, tpi_vload(o + d) * shrink);
    }
    for (int64_t d = 0; d < p->wide; d += TPI_PANEL)
        CPU(panel_mul)(p->group, n, s, SLAB, 1, v + d, p->wide, result + d, p->wide + 2, true);
}

static void run_part(const plan *p, int64_t task, float *scratch, float *result)
{
    const tpi_attn *a = p->a;
    int64_t  pair = task / p->parts, part = task % p->parts, b = pair / a->kv_heads, g = pair % a->kv_heads, from, to;
    int32_t  low, high;
    tpi_seen seen = { &low, &high };
    float   *q = scratch;

    CPU(attend_seen)(a, b, 0, 1, 1, &seen);
    from = low + (high - low) * part / p->parts;
    to = low + (high - low) * (part + 1) / p->parts;
    memset(result, 0, (size_t)p->part_size * sizeof(float));
    for (int64_t h = 0; h < p->group; h++) {
        CPU(load_f32)(q + h * a->dim, a->t, a->q, tpi_vec(a->qs, b, 0, g * p->group + h), 1, a->dim);
        for (int64_t d = 0; d < a->dim; d++)
            q[h * a->dim + d] *= (float)a->scale;
        result[h * (p->wide + 2) + p->wide] = -INFINITY;
    }
    for (int64_t j = from; j < to; j += SLAB)
        one_slab(p, b, g, j, tpi_min64(to - j, SLAB), q, scratch + p->group * a->dim, result);
}

/* One head: its parts, each with its own top, become one. */
static void join(const plan *p, int64_t b, int64_t head, const float *parts)
{
    const tpi_attn *a = p->a;
    float           top = -INFINITY, sum = 0, *o = (float *)(uintptr_t)parts, inverse;

    for (int64_t i = 0; i < p->parts; i++)
        top = parts[i * p->part_size + p->wide] > top ? parts[i * p->part_size + p->wide] : top;
    for (int64_t i = 0; i < p->parts; i++) {
        const float *part = parts + i * p->part_size;
        float        weight = top == -INFINITY ? (part[p->wide + 1] == 0 ? 0 : NAN) : expf(part[p->wide] - top);

        sum += part[p->wide + 1] * weight;
        for (int64_t d = 0; d < a->dim; d++)
            o[d] = (i > 0 ? o[d] : 0) + part[d] * weight;
    }
    inverse = sum == 0 ? 0 : 1 / sum;
    for (int64_t d = 0; d < a->dim; d++)
        o[d] *= inverse;
    CPU(store_f32)(a->t, a->o, tpi_vec(a->os, b, 0, head), 1, a->dim, o);
    a->lse[b * a->heads + head] = sum == 0 ? -INFINITY : top + logf(sum);
}

void CPU(decode)(const tpi_run *r, const tpi_attn *a, float *ws)
{
    plan    p = plan_new(r, a);
    int64_t tasks = a->batch * a->kv_heads * p.parts;
    float  *results = ws + r->threads * p.size;

#pragma omp parallel for num_threads(r->threads) \
    schedule(dynamic) if (a->batch * a->kv_heads * a->sk * a->dim >= TPI_PARALLEL_MIN)
    for (int64_t t = 0; t < tasks; t++)
        run_part(&p, t, ws + omp_get_thread_num() * p.size, results + t * p.part_size);
    for (int64_t i = 0; i < a->batch * a->heads; i++) {
        int64_t b = i / a->heads, head = i % a->heads, pair = b * a->kv_heads + head / p.group;

        join(&p, b, head, results + pair * p.parts * p.part_size + head % p.group * (p.wide + 2));
    }
}
