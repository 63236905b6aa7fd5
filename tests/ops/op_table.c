/* op_table.c - making operands from their letters and shapes, and calling a case. */
#include "op_table.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 20000 };

const op_case *const op_tables[] = { op_cases_elementwise, op_cases_shape, op_cases_nn, op_cases_index, op_cases_nets, NULL };

const char *const op_shapes_one[] = { "2x3", ".", "1", "0x4", "7x1x5", "3x11", NULL };
const char *const op_shapes_two[] = { "2x3 2x3", ". .", "5x1x3 7x3", "3x1 1x4", "0x3 3", "2x3x5 .", "13 1", NULL };
const char *const op_shapes_matrix[] = { "3x5", "1x7", "2x4x3", "0x3", NULL };

int op_operands(const op_case *c)
{
    return (int)strlen(c->operands);
}

tp_tensor *op_call(tp_ctx *ctx, const op_case *c, tp_tensor *const *in)
{
    if (c->f1 != NULL)
        return c->f1(ctx, in[0]);
    if (c->f2 != NULL)
        return c->f2(ctx, in[0], in[1]);
    if (c->f3 != NULL)
        return c->f3(ctx, in[0], in[1], in[2]);
    return c->fn(ctx, in);
}

bool op_is_open(const op_case *c, int i)
{
    return strchr("RPUDZM", c->operands[i]) != NULL;
}

/* Word i of a line of shapes. */
static int parse(const char *line, int i, int64_t *dim)
{
    int   n = 0;
    char *end;

    for (; i > 0; i--)
        line = strchr(line, ' ') + 1;
    if (*line == '.')
        return 0;
    for (;; line = end + 1) {
        dim[n++] = strtoll(line, &end, 10);
        if (*end != 'x')
            return n;
    }
}

/* A number in [0, 1) from a place. */
static double mix(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ (i >> 29)) * 0xbf58476d1ce4e5b9u;
    return (double)((i ^ (i >> 32)) >> 11) * 0x1p-53;
}

static double value(const op_case *c, int operand, int64_t i, int64_t last)
{
    double u = mix((uint64_t)i * 16 + (uint64_t)operand);

    switch (c->operands[operand]) {
    case 'P': return 0.5 + 2 * u;
    case 'U': return 0.05 + 0.9 * u;
    case 'D': return (double)((i * 37 + 11 * operand) % 101) * 0.04 - 1.987 + 0.013 * operand;
    case 'Z': return i % 5 == 1 ? 0 : (double)((i * 37 + 11 * operand) % 101) * 0.04 - 1.987 + 0.013 * operand;
    case 'b': return u < 0.5;
    case 'i':
    case 'j': return (double)(int64_t)(u * (double)c->limit);
    case 't': return i % 4 == 2 ? (double)(-1 - i % 3) : (double)(int64_t)(u * (double)c->limit);
    case 'f': return 1 / (1 + 3 * (double)i);
    case 'q': return (double)(i * 5 % 17);
    case 'g': return last == 0 ? (double)(i / 2 % 3) : (double)(i / 2 % 5); /* some ranges are empty */
    default: return 4 * u - 2;
    }
}

static tp_dtype dtype_of(char letter, tp_dtype t)
{
    switch (letter) {
    case 'b': return TP_BOOL;
    case 'i': return TP_I64;
    case 'j':
    case 't':
    case 'q':
    case 'g': return TP_I32;
    case 'f': return TP_F32;
    case 'M': return t == TP_F64 ? TP_F64 : TP_F32;
    default: return t;
    }
}

/* Every second element of twice as many along the last axis, under the last axis of which the first one lies. */
static tp_tensor *with_gaps(tp_ctx *ctx, tp_dtype t, int n, const int64_t *dim)
{
    int64_t    wide[TP_MAX_DIM];
    tp_tensor *x;

    memcpy(wide, dim, sizeof wide);
    wide[0] = dim[n - 1];
    wide[n - 1] = dim[0] * 2;
    x = tp_full(ctx, t, n, wide, 3);
    return tp_transpose(ctx, tp_slice(ctx, x, -1, 0, TP_END, 2), 0, -1);
}

tp_tensor *op_operand(tp_ctx *ctx, const op_case *c, const char *shapes, int i, tp_dtype t, bool strided)
{
    int64_t    dim[TP_MAX_DIM] = { 0 }, count = 1;
    int        n = parse(shapes, i, dim);
    double     v[MOST];
    tp_tensor *x, *y;

    for (int d = 0; d < n; d++)
        count *= dim[d];
    if (count > MOST)
        return tp_fail(ctx, TP_EARG, "op_table: a sample of %lld elements", (long long)count);
    for (int64_t k = 0; k < count; k++)
        v[k] = value(c, i, k, n > 0 ? k % dim[n - 1] : 0);
    t = dtype_of(c->operands[i], t);
    x = tp_cast(ctx, tp_from(ctx, TP_F64, n, dim, v), t);
    if (!strided || n == 0)
        return x;
    y = with_gaps(ctx, t, n, dim);
    return tp_copy_to(ctx, y, x) ? y : NULL;
}
