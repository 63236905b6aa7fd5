/* peft_test.h - a small model with attention's names, and adapter types made here, for the tests of peft. */
#ifndef PEFT_TEST_H
#define PEFT_TEST_H

#include "tests/nn/nn_test.h"

#include "ops/ops.h"
#include "peft/peft.h"

#include <stddef.h>

enum { BLOCKS = 2, WIDE = 12 };

typedef struct {
    tp_module   root, list, block[BLOCKS];
    tp_linear   q[BLOCKS], up[BLOCKS], down[BLOCKS];
    tp_rms_norm norm;
} small;

/* Width of the model is WIDE, up is 20 wide; every weight from a fixed stream. */
static inline void small_init(tp_ctx *ctx, small *m, tp_dtype t)
{
    static const char *const numbers[] = { "0", "1" };

    tp_seed(ctx, 11);
    tp_set_step(ctx, 0);
    tp_module_init(ctx, &m->root, NULL, "Small", "");
    tp_module_init(ctx, &m->list, &m->root, "List", "layers");
    for (int i = 0; i < BLOCKS; i++) {
        tp_module_init(ctx, &m->block[i], &m->list, "Block", numbers[i]);
        tp_linear_init(ctx, &m->q[i], &m->block[i], "q_proj", WIDE, WIDE, true, t);
        tp_linear_init(ctx, &m->up[i], &m->block[i], "up_proj", WIDE, 20, false, t);
        tp_linear_init(ctx, &m->down[i], &m->block[i], "down_proj", 20, WIDE, false, t);
    }
    tp_rms_norm_init(ctx, &m->norm, &m->root, "norm", WIDE, 1e-5, t);
    check_ok(ctx);
}

static inline tp_tensor *small_forward(tp_ctx *ctx, small *m, tp_tensor *x)
{
    for (int i = 0; i < BLOCKS; i++) {
        x = tp_add(ctx, x, tp_tanh(ctx, tp_linear_forward(ctx, &m->q[i], x)));
        x = tp_add(ctx, x, tp_linear_forward(ctx, &m->down[i], tp_silu(ctx, tp_linear_forward(ctx, &m->up[i], x))));
    }
    return tp_rms_norm_forward(ctx, &m->norm, x);
}

/* The output on a fixed input, which the caller releases. */
static inline tp_tensor *output_of(tp_ctx *ctx, small *m)
{
    tp_scope   s = tp_scope_begin(ctx);
    bool       was = tp_record(ctx, false);
    tp_tensor *y = tp_retain(small_forward(ctx, m, make_some(ctx, tp_dtype_of(m->norm.w), TP_SHAPE(3, WIDE), 5)));

    check_ok(ctx);
    tp_record(ctx, was);
    tp_scope_end(ctx, s);
    return y;
}

static inline void fill_one(tp_module *m, tp_param *p, const char *name, void *user)
{
    uint64_t seed = *(uint64_t *)user;

    if (!m->adapter)
        return;
    for (const char *s = name; *s != '\0'; s++)
        seed = seed * 31 + (unsigned char)*s;
    fill_some(m->ctx, *p->slot, seed, 0.3);
}

/* Gives every adapter values that its name and the seed decide. */
static inline void fill_adapters(tp_module *root, uint64_t seed)
{
    tp_module_params(root, false, fill_one, &seed);
}

/* ---- a type of a user's: a gate on the output, made by a module of its own; it cannot be merged ------------------------------- */

typedef struct {
    int    wide;  /* 3 */
    double scale; /* 1 */
    int    sharp; /* bool, 1 */
} gate_opts;

typedef struct {
    tp_adapter base;
    tp_tensor *shift;
    tp_linear  down, up;
} gate;

static inline void gate_init(tp_ctx *ctx, tp_adapter *ad)
{
    const gate_opts *o = ad->opts;
    gate            *g = (gate *)ad;
    int64_t          in = tp_dim(ad->linear->w, 1), out = tp_dim(ad->linear->w, 0);

    tp_param_new(ctx, &ad->m, &g->shift, "shift", TP_F32, TP_SHAPE(out));
    tp_linear_init(ctx, &g->down, &ad->m, "down_proj", in, o->wide, false, TP_F32); /* a name of the base's, on purpose */
    tp_linear_init(ctx, &g->up, &ad->m, "up", o->wide, out, false, TP_F32);
    tp_init_constant(ctx, g->up.w, 0);
}

static inline tp_tensor *gate_forward(tp_ctx *ctx, tp_adapter *ad, tp_tensor *x)
{
    const gate_opts *o = ad->opts;
    gate            *g = (gate *)ad;
    tp_tensor       *h = tp_linear_forward(ctx, &g->up, tp_linear_forward(ctx, &g->down, x));

    h = o->sharp ? tp_tanh(ctx, h) : h;
    return tp_add(ctx, tp_add(ctx, tp_adapter_next(ctx, ad, x), tp_scale(ctx, h, o->scale)), g->shift);
}

static const tp_option gate_options[] = {
    { "wide", offsetof(gate_opts, wide), TP_OPT_INT, 3, 1, 100, "width of the gate" },
    { "scale", offsetof(gate_opts, scale), TP_OPT_REAL, 1, 0, 10, "of what is added" },
    { "sharp", offsetof(gate_opts, sharp), TP_OPT_BOOL, 1, 0, 1, "by tanh" },
    { NULL, 0, TP_OPT_INT, 0, 0, 0, NULL },
};

static const tp_adapter_type gate_type = {
    .name = "gate", .size = sizeof(gate), .opts_size = sizeof(gate_opts), .options = gate_options, .init = gate_init, .forward = gate_forward,
};

#endif
