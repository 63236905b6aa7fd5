/*
 * linalg_ref.c - factorisations by the plainest methods: Householder's reflections, Jacobi's rotations, elimination with
 * pivots, Cholesky's rows.  In double, matrices by columns.
 */
#include "ops/ref/ref.h"

#include <math.h>

enum { SWEEPS = 80 };

static void load(tp_dtype t, double *y, const void *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = tpi_load(t, x, i);
}

static void store(tp_dtype t, void *y, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        tpi_store(t, y, i, x[i]);
}

static double dot(const double *a, const double *b, int64_t n)
{
    double s = 0;

    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

/* ---- QR ---------------------------------------------------------------------------------------------------------- */

/* y -= tau (v . y) v, v[0] = 1 */
static void reflect(double *y, const double *v, double tau, int64_t n)
{
    double s = y[0];

    for (int64_t i = 1; i < n; i++)
        s += v[i] * y[i];
    y[0] -= tau * s;
    for (int64_t i = 1; i < n; i++)
        y[i] -= tau * s * v[i];
}

/* The reflection that takes a column to beta e_0: v below the first element, beta there; returns tau. */
static double householder(double *x, int64_t n)
{
    double rest = dot(x + 1, x + 1, n - 1), beta, first = x[0];

    if (rest == 0)
        return 0;
    beta = -copysign(sqrt(first * first + rest), first);
    for (int64_t i = 1; i < n; i++)
        x[i] /= first - beta;
    x[0] = beta;
    return (beta - first) / beta;
}

/* w [m, n] becomes R with the reflections below it; q [m, k] = H_0 H_1 .. of the first columns of the identity. */
static void qr(const tpi_factor *f, double *w, double *q, double *tau)
{
    int64_t m = f->m, n = f->n, k = f->k;

    for (int64_t j = 0; j < k; j++) {
        tau[j] = householder(w + j * m + j, m - j);
        for (int64_t c = j + 1; c < n; c++)
            reflect(w + c * m + j, w + j * m + j, tau[j], m - j);
    }
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = 0; i < m; i++)
            q[j * m + i] = i == j;
    for (int64_t j = k; j-- > 0;)
        for (int64_t c = j; c < k; c++)
            reflect(q + c * m + j, w + j * m + j, tau[j], m - j);
    store(f->t, f->u, q, m * k);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < k; i++)
            tpi_store(f->t, f->v, j * k + i, i <= j ? w[j * m + i] : 0);
}

/* ---- SVD --------------------------------------------------------------------------------------------------------- */

/* Makes columns p and q of w [m, .] orthogonal and turns those of v [n, .] along; false when they were. */
static bool rotate(double *w, double *v, int64_t m, int64_t n, int64_t p, int64_t q)
{
    double *a = w + p * m, *b = w + q * m, aa = dot(a, a, m), bb = dot(b, b, m), ab = dot(a, b, m), z, t, c, s;

    if (fabs(ab) <= 1e-16 * sqrt(aa * bb) || ab == 0)
        return false;
    z = (bb - aa) / (2 * ab);
    t = copysign(1, z) / (fabs(z) + sqrt(1 + z * z));
    c = 1 / sqrt(1 + t * t);
    s = c * t;
    for (int64_t i = 0; i < m + n; i++) {
        double *x = i < m ? a + i : v + p * n + (i - m), *y = i < m ? b + i : v + q * n + (i - m), x0 = *x;

        *x = c * x0 - s * *y;
        *y = s * x0 + c * *y;
    }
    return true;
}

static void swap_columns(double *x, int64_t n, int64_t p, int64_t q)
{
    for (int64_t i = 0; i < n; i++) {
        double t = x[p * n + i];

        x[p * n + i] = x[q * n + i];
        x[q * n + i] = t;
    }
}

/* Column j of u [m, .] from the unit vector that the columns before it hold least of: j of a matrix of lower rank. */
static void complete(double *u, int64_t m, int64_t j)
{
    int64_t best = 0;
    double  least = INFINITY, *y = u + j * m;

    for (int64_t i = 0; i < m; i++) {
        double held = 0;

        for (int64_t c = 0; c < j; c++)
            held += u[c * m + i] * u[c * m + i];
        best = held < least ? i : best;
        least = held < least ? held : least;
    }
    for (int64_t i = 0; i < m; i++)
        y[i] = i == best;
    for (int twice = 0; twice < 2; twice++)
        for (int64_t c = 0; c < j; c++) {
            double s = dot(u + c * m, y, m);

            for (int64_t i = 0; i < m; i++)
                y[i] -= s * u[c * m + i];
        }
    least = sqrt(dot(y, y, m));
    for (int64_t i = 0; i < m; i++)
        y[i] /= least;
}

/* w [m, n], m >= n, becomes U, v [n, n] V, s the singular values, falling. */
static void jacobi(double *w, double *v, double *s, int64_t m, int64_t n)
{
    bool turned = true;

    for (int64_t i = 0; i < n * n; i++)
        v[i] = i / (n > 0 ? n : 1) == i % (n > 0 ? n : 1);
    for (int sweep = 0; sweep < SWEEPS && turned; sweep++) {
        turned = false;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++)
                turned |= rotate(w, v, m, n, p, q);
    }
    for (int64_t j = 0; j < n; j++)
        s[j] = sqrt(dot(w + j * m, w + j * m, m));
    for (int64_t j = 0; j < n; j++) {
        int64_t top = j;
        double  t = s[j];

        for (int64_t i = j + 1; i < n; i++)
            top = s[i] > s[top] ? i : top;
        s[j] = s[top];
        s[top] = t;
        swap_columns(w, m, j, top);
        swap_columns(v, n, j, top);
    }
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m && s[j] > 0; i++)
            w[j * m + i] /= s[j];
        if (s[j] <= s[0] * 1e-300)
            complete(w, m, j);
    }
}

static void transpose(double *y, const double *x, int64_t rows, int64_t columns)
{
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            y[i * columns + j] = x[j * rows + i];
}

/* A wide matrix is turned: x^T = U S V^T gives x = V S U^T. */
static void svd(const tpi_factor *f, double *x, double *w, double *v, double *s)
{
    int64_t k = f->k;

    if (f->m >= f->n) {
        jacobi(x, v, s, f->m, k);
        store(f->t, f->u, x, f->m * k);
        transpose(w, v, k, k);
        store(f->t, f->v, w, k * k);
    } else {
        transpose(w, x, f->m, f->n);
        jacobi(w, v, s, f->n, k);
        store(f->t, f->u, v, k * k);
        transpose(x, w, f->n, k);
        store(f->t, f->v, x, k * f->n);
    }
    store(f->t, f->s, s, k);
}

/* ---- Cholesky, elimination --------------------------------------------------------------------------------------- */

static tp_code cholesky(tpi_factor *f, double *x)
{
    int64_t n = f->n;

    for (int64_t j = 0; j < n; j++)
        for (int64_t i = j; i < n; i++) {
            double s = x[j * n + i];

            for (int64_t k = 0; k < j; k++)
                s -= x[k * n + i] * x[k * n + j];
            if (i == j && !(s > 0)) {
                f->at = j + 1;
                return TP_ENUM;
            }
            x[j * n + i] = i == j ? sqrt(s) : s / x[j * n + j];
        }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++)
            tpi_store(f->t, f->u, j * n + i, i >= j ? x[j * n + i] : 0);
    return TP_OK;
}

static void swap_rows(double *x, int64_t n, int64_t columns, int64_t p, int64_t q)
{
    for (int64_t j = 0; j < columns && p != q; j++) {
        double t = x[j * n + p];

        x[j * n + p] = x[j * n + q];
        x[j * n + q] = t;
    }
}

static tp_code solve(tpi_factor *f, double *x, double *b)
{
    int64_t n = f->n;

    for (int64_t p = 0; p < n; p++) {
        int64_t top = p;

        for (int64_t i = p + 1; i < n; i++)
            top = fabs(x[p * n + i]) > fabs(x[p * n + top]) ? i : top;
        if (x[p * n + top] == 0) {
            f->at = p + 1;
            return TP_ENUM;
        }
        swap_rows(x, n, n, p, top);
        swap_rows(b, n, f->k, p, top);
        for (int64_t i = p + 1; i < n; i++) {
            double l = x[p * n + i] / x[p * n + p];

            for (int64_t j = p + 1; j < n; j++)
                x[j * n + i] -= l * x[j * n + p];
            for (int64_t j = 0; j < f->k; j++)
                b[j * n + i] -= l * b[j * n + p];
        }
    }
    for (int64_t j = 0; j < f->k; j++)
        for (int64_t i = n; i-- > 0;) {
            for (int64_t c = i + 1; c < n; c++)
                b[j * n + i] -= x[c * n + i] * b[j * n + c];
            b[j * n + i] /= x[i * n + i];
        }
    store(f->t, f->u, b, n * f->k);
    return TP_OK;
}

/* ---- the slots --------------------------------------------------------------------------------------------------- */

size_t tpi_ref_factor_space(const tpi_run *r, const tpi_factor *f)
{
    int64_t rows = f->kind == TPI_QR || f->kind == TPI_SVD ? f->m : f->n, x = rows * f->n;

    (void)r;
    switch (f->kind) {
    case TPI_QR: x += f->m * f->k + f->k; break;
    case TPI_SVD: x += x + f->k * f->k + f->k; break;
    case TPI_SOLVE: x += f->n * f->k; break;
    case TPI_CHOLESKY: break;
    }
    return (size_t)x * sizeof(double);
}

tp_code tpi_ref_factor(const tpi_run *r, tpi_factor *f)
{
    int64_t rows = f->kind == TPI_QR || f->kind == TPI_SVD ? f->m : f->n;
    double *x = r->ws, *more = x + rows * f->n;

    load(f->t, x, f->x, rows * f->n);
    switch (f->kind) {
    case TPI_QR: qr(f, x, more, more + f->m * f->k); break;
    case TPI_SVD: svd(f, x, more, more + rows * f->n, more + rows * f->n + f->k * f->k); break;
    case TPI_CHOLESKY: return cholesky(f, x);
    case TPI_SOLVE: load(f->t, more, f->u, f->n * f->k); return solve(f, x, more);
    }
    return TP_OK;
}
