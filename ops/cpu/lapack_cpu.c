/* lapack_cpu.c - factorisations through LAPACKE's work functions, which take no memory of their own for matrices that
 * are stored by columns. */
#include "ops/cpu/lapack_cpu.h"

#include <lapacke.h>
#include <omp.h>
#include <string.h>

/* Dimensions and pointers as LAPACK counts; the workspace begins with its integers, then come numbers. */
typedef struct {
    lapack_int  m, n, k, ld_x, ld_u, ld_v; /* ld: rows of a column, at least 1 */
    bool        wide;                      /* f64 */
    lapack_int *ints;
    void       *tau, *work;
    lapack_int  len; /* of work, in numbers; -1 asks for the best length, which comes in work[0] */
} call;

static lapack_int at_least_1(int64_t n)
{
    return n > 1 ? (lapack_int)n : 1;
}

static call call_of(const tpi_factor *f)
{
    call c = { (lapack_int)f->m, (lapack_int)f->n, (lapack_int)f->k, .wide = f->t == TP_F64 };

    c.ld_x = at_least_1(f->kind == TPI_QR || f->kind == TPI_SVD ? f->m : f->n);
    c.ld_u = c.ld_x;
    c.ld_v = at_least_1(f->k);
    return c;
}

/* ---- one routine each, in both widths ---------------------------------------------------------------------------- */

static lapack_int geqrf(const call *c, void *x)
{
    return c->wide ? LAPACKE_dgeqrf_work(LAPACK_COL_MAJOR, c->m, c->n, x, c->ld_x, c->tau, c->work, c->len)
                   : LAPACKE_sgeqrf_work(LAPACK_COL_MAJOR, c->m, c->n, x, c->ld_x, c->tau, c->work, c->len);
}

static lapack_int orgqr(const call *c, void *q)
{
    return c->wide ? LAPACKE_dorgqr_work(LAPACK_COL_MAJOR, c->m, c->k, c->k, q, c->ld_u, c->tau, c->work, c->len)
                   : LAPACKE_sorgqr_work(LAPACK_COL_MAJOR, c->m, c->k, c->k, q, c->ld_u, c->tau, c->work, c->len);
}

static lapack_int gesdd(const call *c, const tpi_factor *f)
{
    return c->wide ? LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'S', c->m, c->n, f->x, c->ld_x, f->s, f->u, c->ld_u, f->v,
                                         c->ld_v, c->work, c->len, c->ints)
                   : LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', c->m, c->n, f->x, c->ld_x, f->s, f->u, c->ld_u, f->v,
                                         c->ld_v, c->work, c->len, c->ints);
}

static lapack_int potrf(const call *c, void *x)
{
    return c->wide ? LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', c->n, x, c->ld_x)
                   : LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'L', c->n, x, c->ld_x);
}

static lapack_int gesv(const call *c, const tpi_factor *f)
{
    return c->wide ? LAPACKE_dgesv_work(LAPACK_COL_MAJOR, c->n, c->k, f->x, c->ld_x, c->ints, f->u, c->ld_u)
                   : LAPACKE_sgesv_work(LAPACK_COL_MAJOR, c->n, c->k, f->x, c->ld_x, c->ints, f->u, c->ld_u);
}

/* ---- workspace --------------------------------------------------------------------------------------------------- */

static size_t line_up(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static size_t ints_size(const tpi_factor *f)
{
    int64_t n = f->kind == TPI_SVD ? 8 * f->k : f->kind == TPI_SOLVE ? f->n : 0;

    return line_up((size_t)n * sizeof(lapack_int));
}

static size_t tau_size(const tpi_factor *f)
{
    return f->kind == TPI_QR ? line_up((size_t)f->k * tp_dtype_size(f->t)) : 0;
}

/* The length of work that LAPACK likes best. */
static size_t best_length(const tpi_factor *f)
{
    call       c = call_of(f);
    double     d[2] = { 1, 1 }; /* one after the other */
    float      s[2] = { 1, 1 };
    lapack_int info = 0;

    c.len = -1;
    c.work = c.wide ? (void *)&d[0] : &s[0];
    if (f->kind == TPI_QR)
        info = geqrf(&c, f->x);
    else if (f->kind == TPI_SVD)
        info = gesdd(&c, f);
    if (f->kind == TPI_QR && info == 0) {
        c.work = c.wide ? (void *)&d[1] : &s[1];
        info = orgqr(&c, f->u);
    }
    if (info != 0)
        return 0;
    for (int i = 0; i < 2 && !c.wide; i++)
        d[i] = (double)s[i] * 1.001 + 1; /* a float may have been rounded down */
    return (size_t)(d[0] > d[1] ? d[0] : d[1]);
}

static bool too_large(const tpi_factor *f)
{
    return f->m > INT32_MAX || f->n > INT32_MAX || f->k > INT32_MAX;
}

size_t tpi_lapack_space(const tpi_run *r, const tpi_factor *f)
{
    (void)r;
    if (too_large(f))
        return 0;
    return ints_size(f) + tau_size(f) + best_length(f) * tp_dtype_size(f->t);
}

/* ---- what is asked for ------------------------------------------------------------------------------------------- */

/* The upper (or lower) triangle of x [m, n] into y [rows, n], zeros beside it. */
static void take_triangle(const tpi_factor *f, char *y, int64_t m, int64_t rows, bool upper)
{
    size_t      size = tp_dtype_size(f->t);
    const char *x = f->x;

    memset(y, 0, (size_t)(rows * f->n) * size);
    for (int64_t j = 0; j < f->n; j++) {
        int64_t from = upper ? 0 : j, to = upper && j < rows ? j + 1 : rows;

        memcpy(y + (size_t)(j * rows + from) * size, x + (size_t)(j * m + from) * size, (size_t)(to - from) * size);
    }
}

static lapack_int run(const call *c, tpi_factor *f)
{
    lapack_int info;

    switch (f->kind) {
    case TPI_QR:
        info = geqrf(c, f->x);
        if (info != 0)
            return info;
        take_triangle(f, f->v, f->m, f->k, true);
        memcpy(f->u, f->x, (size_t)(f->m * f->k) * tp_dtype_size(f->t));
        return orgqr(c, f->u);
    case TPI_SVD: return gesdd(c, f);
    case TPI_CHOLESKY:
        info = potrf(c, f->x);
        if (info == 0)
            take_triangle(f, f->u, f->n, f->n, false);
        return info;
    case TPI_SOLVE: return gesv(c, f);
    }
    return 0;
}

tp_code tpi_lapack_factor(const tpi_run *r, tpi_factor *f)
{
    call       c = call_of(f);
    int        threads = omp_get_max_threads();
    char      *ws = r->ws;
    size_t     head = ints_size(f) + tau_size(f);
    lapack_int info;

    if (too_large(f) || r->ws_size < head)
        return TP_ESHAPE;
    c.ints = r->ws;
    c.tau = ws + ints_size(f);
    c.work = ws + head;
    c.len = (lapack_int)((r->ws_size - head) / tp_dtype_size(f->t));
    omp_set_num_threads(r->threads); /* for a BLAS that goes by OpenMP */
    info = run(&c, f);
    omp_set_num_threads(threads);
    f->at = info;
    return info == 0 ? TP_OK : info > 0 ? TP_ENUM : info == LAPACK_WORK_MEMORY_ERROR ? TP_ENOMEM : TP_EARG;
}
