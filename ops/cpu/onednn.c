/*
 * onednn.c - matrix products by oneDNN, 2.6 or 3.x.  Primitives are made and dropped per call: its own cache makes that
 * cost 2 us.
 */
#include "ops/cpu/onednn.h"
#include "ops/cpu/onednn_desc.h"

#include <stdatomic.h>
#include <string.h>

static bool desc_new(tpi_desc *d, tp_dtype t, int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    return tpi_desc_new(d, t, 2, (dnnl_dims_t){ rows, cols }, (dnnl_dims_t){ row, col });
}

/* ---- a product, from its making to its end
 * --------------------------------------------------------------------------- */

typedef struct {
    dnnl_engine_t         engine;
    tpi_desc              a, b, c;
    bool                  has_a, has_b, has_c;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
} product;

static void product_free(product *p)
{
    if (p->pd != NULL)
        dnnl_primitive_desc_destroy(p->pd);
    if (p->attr != NULL)
        dnnl_primitive_attr_destroy(p->attr);
    if (p->has_a)
        tpi_desc_free(&p->a);
    if (p->has_b)
        tpi_desc_free(&p->b);
    if (p->has_c)
        tpi_desc_free(&p->c);
    if (p->engine != NULL)
        dnnl_engine_destroy(p->engine);
    memset(p, 0, sizeof *p);
}

static bool matmul_desc_new(product *p)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(&p->pd, p->engine, p->a, p->b, NULL, p->c, p->attr) == dnnl_success;
#else
    dnnl_matmul_desc_t m;

    return dnnl_matmul_desc_init(&m, &p->a, &p->b, NULL, &p->c) == dnnl_success &&
           dnnl_primitive_desc_create(&p->pd, &m, p->attr, p->engine, NULL) == dnnl_success;
#endif
}

/* False, with nothing left behind, when oneDNN does not do it. */
static bool product_new(product *p, const tpi_gemm *g)
{
    memset(p, 0, sizeof *p);
    if (dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success) {
        p->has_a = desc_new(&p->a, g->at, g->m, g->k, g->a_row, g->a_col);
        p->has_b = desc_new(&p->b, g->bt, g->k, g->n, g->b_row, g->b_col);
        p->has_c = desc_new(&p->c, g->ct, g->m, g->n, g->c_row, 1);
        if (p->has_a && p->has_b && p->has_c && tpi_dnnl_attr(&p->attr, g->beta) && matmul_desc_new(p))
            return true;
    }
    product_free(p);
    return false;
}

static tpi_desc_ref scratch_desc(const product *p)
{
    return dnnl_primitive_desc_query_md(p->pd, dnnl_query_scratchpad_md, 0);
}

static bool execute(const product *p, const tpi_gemm *g, void *scratch)
{
    dnnl_primitive_t prim = NULL;
    dnnl_stream_t    stream = NULL;
    dnnl_memory_t    m[4] = { NULL, NULL, NULL, NULL };
    bool             ok;

    ok = dnnl_primitive_create(&prim, p->pd) == dnnl_success &&
         dnnl_stream_create(&stream, p->engine, dnnl_stream_default_flags) == dnnl_success &&
         tpi_dnnl_memory(&m[0], tpi_desc_of(&p->a), p->engine, g->a) &&
         tpi_dnnl_memory(&m[1], tpi_desc_of(&p->b), p->engine, g->b) &&
         tpi_dnnl_memory(&m[2], tpi_desc_of(&p->c), p->engine, g->c) &&
         tpi_dnnl_memory(&m[3], scratch_desc(p), p->engine, scratch);
    if (ok) {
        dnnl_exec_arg_t arg[] = {
            { DNNL_ARG_SRC, m[0] }, { DNNL_ARG_WEIGHTS, m[1] }, { DNNL_ARG_DST, m[2] }, { DNNL_ARG_SCRATCHPAD, m[3] }
        };

        ok = dnnl_primitive_execute(prim, stream, 4, arg) == dnnl_success && dnnl_stream_wait(stream) == dnnl_success;
    }
    for (int i = 0; i < 4; i++)
        if (m[i] != NULL)
            dnnl_memory_destroy(m[i]);
    if (stream != NULL)
        dnnl_stream_destroy(stream);
    if (prim != NULL)
        dnnl_primitive_destroy(prim);
    return ok;
}

/* ---- what this machine has
 * ------------------------------------------------------------------------------------------- */

/* "brg:avx512_core_bf16" and the like are fast; "gemm:jit" is not better than sgemm, "ref:any" a hundred times slower.
 */
static bool is_fast(tp_dtype t)
{
    tpi_gemm    g = { .m = 64,
                      .n = 64,
                      .k = 64,
                      .at = t,
                      .bt = t,
                      .ct = t,
                      .a_row = 64,
                      .a_col = 1,
                      .b_row = 1,
                      .b_col = 64,
                      .c_row = 64 };
    const char *name = "";
    product     p;
    bool        fast;

    if (tpi_dnnl_type(t) == dnnl_data_type_undef || !product_new(&p, &g))
        return false;
    fast = dnnl_primitive_desc_query(p.pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success &&
           strncmp(name, "brg", 3) == 0 && strstr(name, "avx512") != NULL;
    product_free(&p);
    return fast;
}

/* A table of what the CPU has is one of the named exceptions to "no global state": 0 unknown, 1 no, 2 yes.  Two threads
 * that ask at the same time find the same. */
bool tpi_dnnl_has(tp_dtype t)
{
    static atomic_char cpu_features[TP_DTYPES];
    char               k = atomic_load_explicit(&cpu_features[t], memory_order_relaxed);

    if (k == 0) {
        k = is_fast(t) ? 2 : 1;
        atomic_store_explicit(&cpu_features[t], k, memory_order_relaxed);
    }
    return k == 2;
}

/* Strides of a row-major matrix or of the transpose of one, rows not overlapping. */
static bool is_matrix(int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    return (col == 1 && row >= cols) || (row == 1 && col >= rows);
}

/* 16 bits with an odd K: on AMX a row's end is multiplied together with what follows it in memory, and 0 times NaN is
 * NaN. */
bool tpi_dnnl_takes(const tpi_gemm *g)
{
    if (g->at != g->bt || (g->at == TP_F32 ? g->ct != TP_F32 : !tpi_dnnl_has(g->at) || g->k % 32 != 0))
        return false;
    return is_matrix(g->m, g->k, g->a_row, g->a_col) && is_matrix(g->k, g->n, g->b_row, g->b_col) && g->c_row >= g->n;
}

/* sgemm is the best for a transposed left side (95 % of peak) and bad for a transposed right side with few rows (44 %).
 */
static bool by_sgemm(const tpi_gemm *g)
{
    return g->at == TP_F32 && (g->a_col != 1 || g->b_row != 1 || !tpi_dnnl_has(TP_F32));
}

size_t tpi_dnnl_space(const tpi_gemm *g)
{
    size_t  size = 0;
    product p;

    if (by_sgemm(g) || !product_new(&p, g))
        return 0;
    size = dnnl_memory_desc_get_size(scratch_desc(&p));
    product_free(&p);
    return size;
}

static tp_code sgemm(const tpi_gemm *g)
{
    bool          at = g->a_col != 1, bt = g->b_col != 1;
    dnnl_status_t s = dnnl_sgemm(at ? 'T' : 'N', bt ? 'T' : 'N', g->m, g->n, g->k, 1.0f, g->a, at ? g->a_col : g->a_row,
                                 g->b, bt ? g->b_col : g->b_row, (float)g->beta, g->c, g->c_row);

    return s == dnnl_success ? TP_OK : s == dnnl_out_of_memory ? TP_ENOMEM : TP_EARG;
}

tp_code tpi_dnnl_gemm(const tpi_gemm *g, void *scratch)
{
    product p;
    bool    ok;

    if (by_sgemm(g))
        return sgemm(g);
    if (!product_new(&p, g))
        return TP_EDTYPE;
    ok = execute(&p, g, scratch);
    product_free(&p);
    return ok ? TP_OK : TP_ENOMEM;
}

/* Of the headers that this file was compiled with; the shared library may be a later one of the same major version. */
const char *tpi_dnnl_version(void)
{
#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
    return TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH);
#undef TEXT
#undef TEXT2
}
