/* net.h - a small network with every kind of parameter, for the tests of modules. */
#ifndef NN_NET_H
#define NN_NET_H

#include "tests/nn/nn_test.h"

typedef struct {
    tp_module    root, body, list, layer[2];
    tp_embedding embed;
    tp_linear    q[2], up[2], head;
    tp_rms_norm  norm;
    tp_tensor   *steps; /* an i64 buffer */
} net;

static inline void net_init(tp_ctx *ctx, net *n, bool tied)
{
    static const char *const numbers[] = { "0", "1" };

    tp_module_init(ctx, &n->root, NULL, "Net", "whatever");
    tp_module_init(ctx, &n->body, &n->root, "Body", "model");
    tp_embedding_init(ctx, &n->embed, &n->body, "embed", 5, 4, TP_F32);
    tp_module_init(ctx, &n->list, &n->body, "List", "layers");
    for (int i = 0; i < 2; i++) {
        tp_module_init(ctx, &n->layer[i], &n->list, "Layer", numbers[i]);
        tp_linear_init(ctx, &n->q[i], &n->layer[i], "q_proj", 4, 4, true, TP_F32);
        tp_linear_init(ctx, &n->up[i], &n->layer[i], "up_proj", 4, 6, false, TP_F32);
    }
    tp_rms_norm_init(ctx, &n->norm, &n->body, "norm", 4, 1e-6, TP_F32);
    tp_linear_init(ctx, &n->head, &n->root, "head", 4, 5, false, TP_F32);
    if (tied)
        tp_param_set(ctx, &n->head.m, &n->head.w, "weight", n->embed.w);
    tp_param_new(ctx, &n->root, &n->steps, "steps", TP_I64, TP_SHAPE(1));
    check_ok(ctx);
}

#endif
