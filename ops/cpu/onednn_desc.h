/*
 * onednn_desc.h - what differs between oneDNN 2.x and 3.x for matrices and planes: descriptors are structs there, opaque
 * handles here.
 */
#ifndef TPI_ONEDNN_DESC_H
#define TPI_ONEDNN_DESC_H

#include "core/core.h"

#include <dnnl.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t       tpi_desc;
typedef const_dnnl_memory_desc_t tpi_desc_ref;
#else
typedef dnnl_memory_desc_t        tpi_desc;
typedef const dnnl_memory_desc_t *tpi_desc_ref;
#endif

static inline dnnl_data_type_t tpi_dnnl_type(tp_dtype t)
{
    return t == TP_F32 ? dnnl_f32 : t == TP_BF16 ? dnnl_bf16 : t == TP_F16 ? dnnl_f16 : dnnl_data_type_undef;
}

static inline bool tpi_desc_new(tpi_desc *d, tp_dtype t, int n, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(d, n, dims, tpi_dnnl_type(t), strides) == dnnl_success;
#else
    return dnnl_memory_desc_init_by_strides(d, n, dims, tpi_dnnl_type(t), strides) == dnnl_success;
#endif
}

/* The layout is the primitive's choice. */
static inline bool tpi_desc_any(tpi_desc *d, tp_dtype t, int n, const dnnl_dims_t dims)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(d, n, dims, tpi_dnnl_type(t), dnnl_format_tag_any) == dnnl_success;
#else
    return dnnl_memory_desc_init_by_tag(d, n, dims, tpi_dnnl_type(t), dnnl_format_tag_any) == dnnl_success;
#endif
}

static inline tpi_desc_ref tpi_desc_of(const tpi_desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
    return *d;
#else
    return d;
#endif
}

static inline void tpi_desc_free(tpi_desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_destroy(*d);
    *d = NULL;
#else
    (void)d;
#endif
}

static inline dnnl_status_t tpi_dnnl_add_sum(dnnl_post_ops_t post, float scale)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(post, scale, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(post, scale);
#endif
}

/* The scratchpad is ours: oneDNN's own answers a refused allocation by ending the process.  beta is a sum after the
 * product. */
static inline bool tpi_dnnl_attr(dnnl_primitive_attr_t *attr, double beta)
{
    dnnl_post_ops_t post = NULL;
    bool            ok;

    if (dnnl_primitive_attr_create(attr) != dnnl_success)
        return false;
    ok = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (!ok || beta == 0)
        return ok;
    ok = dnnl_post_ops_create(&post) == dnnl_success && tpi_dnnl_add_sum(post, (float)beta) == dnnl_success &&
         dnnl_primitive_attr_set_post_ops(*attr, post) == dnnl_success;
    if (post != NULL)
        dnnl_post_ops_destroy(post);
    return ok;
}

static inline bool tpi_dnnl_memory(dnnl_memory_t *m, tpi_desc_ref d, dnnl_engine_t engine, const void *data)
{
    return dnnl_memory_create(m, d, engine, (void *)(uintptr_t)data) == dnnl_success;
}

#endif
