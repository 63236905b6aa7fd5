/*
 * onednn_conv.c - convolution by oneDNN, 2.6 or 3.x.  oneDNN chooses the layouts; operands are brought there and back.
 */
#include "ops/cpu/onednn_conv.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/onednn_desc.h"
#include "ops/cpu/scratch.h"

#include <omp.h>
#include <string.h>

/* Operands in the order that they are kept below: x or dx, w or dw, y or dy. */
enum { SRC, WEIGHTS, DST, OPERANDS };

/* One operand: as it lies in Tapir and as oneDNN wants it. */
typedef struct {
    tpi_desc              plain;
    bool                  has_plain;
    tpi_desc_ref          wanted;  /* the primitive's */
    dnnl_primitive_desc_t reorder; /* NULL: it lies as wanted */
} operand;

typedef struct {
    const tpi_window     *c;
    tpi_conv_part         part;
    tp_dtype              t[OPERANDS];
    dnnl_engine_t         engine;
    dnnl_primitive_attr_t attr, out_attr; /* out_attr: of the last reorder, which may add */
    dnnl_primitive_desc_t pd;
    operand               o[OPERANDS];
} conv;

static int out_of(const conv *p)
{
    return p->part == TPI_CONV_Y ? DST : p->part == TPI_CONV_DX ? SRC : WEIGHTS;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* Sizes of operand i; weights in groups have an axis more.  Returns the number of axes. */
static int dims_of(const tpi_window *c, int i, dnnl_dims_t d)
{
    int n = 0;

    if (i != WEIGHTS) {
        d[n++] = c->n;
        d[n++] = i == SRC ? c->cin : c->cout;
        d[n++] = i == SRC ? c->in[0] : c->out[0];
        d[n++] = i == SRC ? c->in[1] : c->out[1];
        return n;
    }
    if (c->groups > 1)
        d[n++] = c->groups;
    d[n++] = c->cout / c->groups;
    d[n++] = c->cin / c->groups;
    d[n++] = c->size[0];
    d[n++] = c->size[1];
    return n;
}

static bool plain_new(conv *p, int i)
{
    dnnl_dims_t d, s;
    int         n = dims_of(p->c, i, d);
    int64_t     step = 1;

    for (int k = n - 1; k >= 0; k--) {
        s[k] = step;
        step *= d[k];
    }
    p->o[i].has_plain = tpi_desc_new(&p->o[i].plain, p->t[i], n, d, s);
    return p->o[i].has_plain;
}

typedef struct { dnnl_dims_t stride, dilation, pad; } geometry;

#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t forward_new(const conv *p, dnnl_primitive_desc_t *pd, const tpi_desc *d, const tpi_desc *bias,
                                 const geometry *g)
{
    return dnnl_convolution_forward_primitive_desc_create(pd, p->engine, dnnl_forward_training, dnnl_convolution_direct,
                                                          d[SRC], d[WEIGHTS], bias ? *bias : NULL, d[DST], g->stride,
                                                          g->dilation, g->pad, g->pad, p->attr);
}

static dnnl_status_t backward_new(const conv *p, dnnl_primitive_desc_t *pd, const tpi_desc *d, const geometry *g,
                                  dnnl_primitive_desc_t hint)
{
    if (p->part == TPI_CONV_DX)
        return dnnl_convolution_backward_data_primitive_desc_create(pd, p->engine, dnnl_convolution_direct, d[SRC],
                                                                    d[WEIGHTS], d[DST], g->stride, g->dilation, g->pad,
                                                                    g->pad, hint, p->attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, p->engine, dnnl_convolution_direct, d[SRC],
                                                                   d[WEIGHTS], NULL, d[DST], g->stride, g->dilation,
                                                                   g->pad, g->pad, hint, p->attr);
}
#else
static dnnl_status_t forward_new(const conv *p, dnnl_primitive_desc_t *pd, const tpi_desc *d, const tpi_desc *bias,
                                 const geometry *g)
{
    dnnl_convolution_desc_t cd;
    dnnl_status_t           s;

    s = dnnl_dilated_convolution_forward_desc_init(&cd, dnnl_forward_training, dnnl_convolution_direct, &d[SRC],
                                                   &d[WEIGHTS], bias, &d[DST], g->stride, g->dilation, g->pad, g->pad);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &cd, p->attr, p->engine, NULL) : s;
}

static dnnl_status_t backward_new(const conv *p, dnnl_primitive_desc_t *pd, const tpi_desc *d, const geometry *g,
                                  dnnl_primitive_desc_t hint)
{
    dnnl_convolution_desc_t cd;
    dnnl_status_t           s;

    if (p->part == TPI_CONV_DX)
        s = dnnl_dilated_convolution_backward_data_desc_init(&cd, dnnl_convolution_direct, &d[SRC], &d[WEIGHTS],
                                                             &d[DST], g->stride, g->dilation, g->pad, g->pad);
    else
        s = dnnl_dilated_convolution_backward_weights_desc_init(&cd, dnnl_convolution_direct, &d[SRC], &d[WEIGHTS],
                                                                NULL, &d[DST], g->stride, g->dilation, g->pad, g->pad);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &cd, p->attr, p->engine, hint) : s;
}
#endif

/* The primitive on layouts of its own choice; backward ones want a forward one beside them. */
static bool pd_new(conv *p, bool bias)
{
    const tpi_window     *c = p->c;
    geometry              g = { { c->stride[0], c->stride[1] },
                                { c->dilation[0] - 1, c->dilation[1] - 1 },
                                { c->pad[0], c->pad[1] } };
    tpi_desc              fwd[OPERANDS + 1], own;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_dims_t           d;
    int                   made = 0;
    bool                  ok = true;

    for (; ok && made < OPERANDS; made += ok)
        ok = tpi_desc_any(&fwd[made], c->t, dims_of(c, made, d), d);
    d[0] = c->cout;
    made += ok = ok && tpi_desc_any(&fwd[OPERANDS], c->t, 1, d);
    if (ok && p->part == TPI_CONV_Y) {
        ok = forward_new(p, &p->pd, fwd, bias ? &fwd[OPERANDS] : NULL, &g) == dnnl_success;
    } else if (ok) {
        ok = forward_new(p, &hint, fwd, NULL, &g) == dnnl_success &&
             tpi_desc_any(&own, p->t[WEIGHTS], dims_of(c, WEIGHTS, d), d);
        if (ok) {
            tpi_desc back[OPERANDS] = { fwd[SRC], own, fwd[DST] };

            ok = backward_new(p, &p->pd, back, &g, hint) == dnnl_success;
            tpi_desc_free(&own);
        }
    }
    if (hint != NULL)
        dnnl_primitive_desc_destroy(hint);
    for (int i = 0; i < made; i++)
        tpi_desc_free(&fwd[i]);
    return ok;
}

static tpi_desc_ref wanted(const conv *p, int i)
{
    static const dnnl_query_t ask[3][OPERANDS] = {
        { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
        { dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md },
        { dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md },
    };

    return dnnl_primitive_desc_query_md(p->pd, ask[p->part][i], 0);
}

static bool reorder_new(conv *p, int i, double beta)
{
    operand     *o = &p->o[i];
    bool         out = i == out_of(p);
    tpi_desc_ref plain = tpi_desc_of(&o->plain);

    o->wanted = wanted(p, i);
    if (o->wanted == NULL)
        return false;
    if (dnnl_memory_desc_equal(o->wanted, plain) && !(out && beta != 0))
        return true;
    return dnnl_reorder_primitive_desc_create(&o->reorder, out ? o->wanted : plain, p->engine, out ? plain : o->wanted,
                                              p->engine, out ? p->out_attr : p->attr) == dnnl_success;
}

static void conv_free(conv *p)
{
    for (int i = 0; i < OPERANDS; i++) {
        if (p->o[i].reorder != NULL)
            dnnl_primitive_desc_destroy(p->o[i].reorder);
        if (p->o[i].has_plain)
            tpi_desc_free(&p->o[i].plain);
    }
    if (p->pd != NULL)
        dnnl_primitive_desc_destroy(p->pd);
    if (p->attr != NULL)
        dnnl_primitive_attr_destroy(p->attr);
    if (p->out_attr != NULL)
        dnnl_primitive_attr_destroy(p->out_attr);
    if (p->engine != NULL)
        dnnl_engine_destroy(p->engine);
    memset(p, 0, sizeof *p);
}

/* False, with nothing left behind, when oneDNN does not do it.  The gradient of weights is f32. */
static bool conv_new(conv *p, const tpi_window *c, tpi_conv_part part, bool bias, double beta)
{
    bool ok;

    memset(p, 0, sizeof *p);
    p->c = c;
    p->part = part;
    p->t[SRC] = p->t[DST] = c->t;
    p->t[WEIGHTS] = part == TPI_CONV_DW ? TP_F32 : c->t;
    ok = dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success && tpi_dnnl_attr(&p->attr, 0) &&
         tpi_dnnl_attr(&p->out_attr, beta) && pd_new(p, bias);
    for (int i = 0; ok && i < OPERANDS; i++)
        ok = plain_new(p, i) && reorder_new(p, i, beta);
    if (!ok)
        conv_free(p);
    return ok;
}

/* ---- scratch ----------------------------------------------------------------------------------------------------- */

static size_t scratch_size(const_dnnl_primitive_desc_t pd)
{
    tpi_desc_ref d = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);

    return d ? (dnnl_memory_desc_get_size(d) + 63) & ~(size_t)63 : 0;
}

/* Where the staged operands begin, and behind them the scratchpads, which are used one after the other. */
static size_t layout(const conv *p, size_t at[OPERANDS + 1])
{
    size_t size = 0, pad = scratch_size(p->pd);

    for (int i = 0; i < OPERANDS; i++) {
        at[i] = size;
        if (p->o[i].reorder != NULL) {
            size_t own = scratch_size(p->o[i].reorder);

            size += (dnnl_memory_desc_get_size(p->o[i].wanted) + 63) & ~(size_t)63;
            pad = own > pad ? own : pad;
        }
    }
    at[OPERANDS] = size;
    return size + pad;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

typedef struct {
    int                id;
    tpi_desc_ref       desc;
    const void        *data;
} argument;

/* Runs a primitive on n < 5 arguments. */
static bool execute(const conv *p, const_dnnl_primitive_desc_t pd, int n, const argument *a)
{
    dnnl_primitive_t prim = NULL;
    dnnl_stream_t    stream = NULL;
    dnnl_memory_t    m[5] = { NULL, NULL, NULL, NULL, NULL };
    dnnl_exec_arg_t  arg[5];
    bool             ok;

    ok = dnnl_primitive_create(&prim, pd) == dnnl_success &&
         dnnl_stream_create(&stream, p->engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; ok && i < n; i++) {
        ok = tpi_dnnl_memory(&m[i], a[i].desc, p->engine, a[i].data);
        arg[i] = (dnnl_exec_arg_t){ a[i].id, m[i] };
    }
    ok = ok && dnnl_primitive_execute(prim, stream, n, arg) == dnnl_success && dnnl_stream_wait(stream) == dnnl_success;
    for (int i = 0; i < n; i++)
        if (m[i] != NULL)
            dnnl_memory_destroy(m[i]);
    if (stream != NULL)
        dnnl_stream_destroy(stream);
    if (prim != NULL)
        dnnl_primitive_destroy(prim);
    return ok;
}

static bool reorder(const conv *p, const operand *o, tpi_desc_ref from_desc, const void *from, tpi_desc_ref to_desc,
                    void *to, void *pad)
{
    argument a[] = { { DNNL_ARG_FROM, from_desc, from },
                     { DNNL_ARG_TO, to_desc, to },
                     { DNNL_ARG_SCRATCHPAD, dnnl_primitive_desc_query_md(o->reorder, dnnl_query_scratchpad_md, 0), pad } };

    return execute(p, o->reorder, 3, a);
}

static bool run(const conv *p, const tpi_conv_operands *given, char *scratch)
{
    static const int ids[3][OPERANDS] = {
        { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
        { DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST },
        { DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST },
    };
    const void *data[OPERANDS] = { given->x, given->w, given->dy };
    argument    a[OPERANDS + 2];
    size_t      at[OPERANDS + 1];
    int         n = 0, out = out_of(p);
    char       *pad;

    layout(p, at);
    pad = scratch + at[OPERANDS];
    data[out] = given->out;
    for (int i = 0; i < OPERANDS; i++) {
        const operand *o = &p->o[i];

        if (o->reorder != NULL && i != out &&
            !reorder(p, o, tpi_desc_of(&o->plain), data[i], o->wanted, scratch + at[i], pad))
            return false;
        a[n++] = (argument){ ids[p->part][i], o->wanted, o->reorder ? scratch + at[i] : data[i] };
    }
    if (given->b != NULL)
        a[n++] = (argument){ DNNL_ARG_BIAS, dnnl_primitive_desc_query_md(p->pd, dnnl_query_weights_md, 1), given->b };
    a[n++] = (argument){ DNNL_ARG_SCRATCHPAD, dnnl_primitive_desc_query_md(p->pd, dnnl_query_scratchpad_md, 0), pad };
    if (!execute(p, p->pd, n, a))
        return false;
    return p->o[out].reorder == NULL || reorder(p, &p->o[out], p->o[out].wanted, scratch + at[out],
                                                tpi_desc_of(&p->o[out].plain), given->out, pad);
}

/* ---- what others call -------------------------------------------------------------------------------------------- */

/* Measured on two cores of a Zen 3: below a million products making the primitives costs more than they save, and a dense 1 x
 * 1 is a plain product, for which nothing need be brought into another layout. */
bool tpi_dnnl_conv_takes(const tpi_window *c)
{
    double work = (double)c->n * (double)c->cout * (double)(c->out[0] * c->out[1]) *
                  (double)(c->cin / c->groups * c->size[0] * c->size[1]);
    bool   dense = c->size[0] == 1 && c->size[1] == 1 && c->stride[0] == 1 && c->stride[1] == 1;

    if (c->t != TP_F32 && (c->t == TP_F64 || !tpi_dnnl_has(c->t)))
        return false;
    return work >= 1 << 20 && !dense;
}

/* oneDNN takes the number of threads from OpenMP, which keeps it per thread. */
static int set_threads(int n)
{
    int before = omp_get_max_threads();

    if (before != n)
        omp_set_num_threads(n);
    return before;
}

size_t tpi_dnnl_conv_space(const tpi_run *r, const tpi_window *c, tpi_conv_part part)
{
    int    before = set_threads(r->threads);
    size_t at[OPERANDS + 1], size = 0;
    conv   p;

    if (conv_new(&p, c, part, true, 1)) {
        size = layout(&p, at);
        conv_free(&p);
    }
    set_threads(before);
    return size;
}

tp_code tpi_dnnl_conv(const tpi_run *r, const tpi_window *c, tpi_conv_part part, const tpi_conv_operands *o)
{
    int     before = set_threads(r->threads);
    size_t  at[OPERANDS + 1];
    tp_code code = TP_EDTYPE;
    conv    p;

    if (conv_new(&p, c, part, o->b != NULL, o->beta)) {
        void *own, *scratch = tpi_scratch(r, layout(&p, at), &own);

        code = scratch != NULL && run(&p, o, scratch) ? TP_OK : TP_ENOMEM;
        tpi_free(own);
        conv_free(&p);
    }
    set_threads(before);
    return code;
}
