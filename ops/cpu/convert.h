/*
 * convert.h - elements of any dtype as float, double or int64_t, a chunk at a time: kernels compute in these three.
 *
 * tpi_in_X gives n elements from element `at` on, `stride` apart: the memory itself where it holds just these, else buf, filled.
 * tpi_out_X says where to put results; tpi_done_X converts and scatters them unless they lie in place already.
 */
#ifndef TPI_CONVERT_H
#define TPI_CONVERT_H

#include "core/backend.h"
#include "ops/cpu/isa.h"

/* Convert as tpi_load and tpi_store do.  load_f32 rounds f64 and i64 once; load_i64 is for integers and bool. */
void CPU(load_f32)(float *v, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n);
void CPU(load_f64)(double *v, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n);
void CPU(load_i64)(int64_t *v, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n);
void CPU(store_f32)(tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n, const float *v);
void CPU(store_f64)(tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n, const double *v);
/* Integers wrap around. */
void CPU(store_i64)(tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n, const int64_t *v);

static inline bool tpi_is_int(tp_dtype t)
{
    return t == TP_I64 || t == TP_I32 || t == TP_U8 || t == TP_BOOL;
}

/* f32 and what is computed in it */
static inline bool tpi_is_f32ish(tp_dtype t)
{
    return t == TP_F32 || t == TP_BF16 || t == TP_F16;
}

/* A copy of core's table, to be inlined. */
static inline int64_t tpi_size_of(tp_dtype t)
{
    return t == TP_F64 || t == TP_I64 ? 8 : t == TP_F32 || t == TP_I32 ? 4 : t == TP_BF16 || t == TP_F16 ? 2 : 1;
}

static inline const void *tpi_at(const void *p, tp_dtype t, int64_t i)
{
    return (const char *)p + i * tpi_size_of(t);
}

static inline void *tpi_at_out(void *p, tp_dtype t, int64_t i)
{
    return (char *)p + i * tpi_size_of(t);
}

static inline const float *tpi_in_f32(float *buf, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t == TP_F32 && stride == 1)
        return (const float *)p + at;
    CPU(load_f32)(buf, t, p, at, stride, n);
    return buf;
}

static inline const double *tpi_in_f64(double *buf, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t == TP_F64 && stride == 1)
        return (const double *)p + at;
    CPU(load_f64)(buf, t, p, at, stride, n);
    return buf;
}

static inline const int64_t *tpi_in_i64(int64_t *buf, tp_dtype t, const void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t == TP_I64 && stride == 1)
        return (const int64_t *)p + at;
    CPU(load_i64)(buf, t, p, at, stride, n);
    return buf;
}

static inline float *tpi_out_f32(float *buf, tp_dtype t, void *p, int64_t at, int64_t stride)
{
    return t == TP_F32 && stride == 1 ? (float *)p + at : buf;
}

static inline double *tpi_out_f64(double *buf, tp_dtype t, void *p, int64_t at, int64_t stride)
{
    return t == TP_F64 && stride == 1 ? (double *)p + at : buf;
}

static inline int64_t *tpi_out_i64(int64_t *buf, tp_dtype t, void *p, int64_t at, int64_t stride)
{
    return t == TP_I64 && stride == 1 ? (int64_t *)p + at : buf;
}

static inline void tpi_done_f32(const float *v, tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t != TP_F32 || stride != 1)
        CPU(store_f32)(t, p, at, stride, n, v);
}

static inline void tpi_done_f64(const double *v, tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t != TP_F64 || stride != 1)
        CPU(store_f64)(t, p, at, stride, n, v);
}

static inline void tpi_done_i64(const int64_t *v, tp_dtype t, void *p, int64_t at, int64_t stride, int64_t n)
{
    if (t != TP_I64 || stride != 1)
        CPU(store_i64)(t, p, at, stride, n, v);
}

#endif
