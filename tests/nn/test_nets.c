/*
 * test_nets.c - layers and containers for networks of one's own: against PyTorch's values and gradients (nn.json), in
 * training and evaluation, their buffers, sharing, and what they say to wrong arguments.
 */
#include "tests/nn/nn_test.h"

#include "core/json.h"
#include "ops/ops.h"

#include <stdio.h>

static const double tolerance = 1e-12;

/* ---- golden values ----------------------------------------------------------------------------------------------- */

/* Tensor number p of golden_nn.py. */
static tp_tensor *numbered(tp_ctx *ctx, tp_tensor *x, int64_t p)
{
    double *v = tp_f64(ctx, x);

    for (int64_t k = 0; v != NULL && k < tp_numel(x); k++)
        v[k] = (double)((37 * k + 11 * p) % 97) / 97 - 0.5;
    return x;
}

static tp_tensor *number_shape(tp_ctx *ctx, int64_t p, int n, const int64_t *dim)
{
    return numbered(ctx, tp_empty(ctx, TP_F64, n, dim), p);
}

typedef struct {
    tp_ctx         *ctx;
    int64_t         p;
    const tpi_json *grads, *buffers;
    double          worst;
    int             seen;
} visit;

static void number_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    visit *v = user;

    (void)m;
    (void)name;
    if (!p->buffer)
        numbered(v->ctx, *p->slot, ++v->p);
}

static double far_from(tp_ctx *ctx, const tp_tensor *x, const tpi_json *list)
{
    double worst = 0, scale = 1;

    if (x == NULL || tp_numel(x) != (int64_t)tpi_json_size(list))
        return INFINITY;
    for (int64_t i = 0; i < tp_numel(x); i++) {
        double want = tpi_json_real(tpi_json_at(list, (size_t)i)), d = fabs(value_at(ctx, x, i) - want);

        scale = fmax(scale, fabs(want));
        worst = d > worst || d != d ? d : worst;
    }
    return worst / scale;
}

static void compare_param(tp_module *m, tp_param *p, const char *name, void *user)
{
    visit *v = user;
    double e = p->buffer ? 0 : far_from(v->ctx, tp_grad(*p->slot), tpi_json_get(v->grads, name));

    (void)m;
    if (!(e <= tolerance))
        print_error("gradient of %s: %g\n", name, e);
    v->worst = e > v->worst || e != e ? e : v->worst;
    v->seen += !p->buffer;
}

static void compare_buffer(tp_module *m, tp_param *p, const char *name, void *user)
{
    visit          *v = user;
    const tpi_json *want = tpi_json_get(v->buffers, name);
    double          e = p->buffer ? far_from(v->ctx, *p->slot, want) : 0;

    (void)m;
    if (!(e <= tolerance))
        print_error("buffer %s: %g\n", name, e);
    v->worst = e > v->worst || e != e ? e : v->worst;
    v->seen += p->buffer;
}

static tpi_json *golden(tp_ctx *ctx)
{
    const char *root = getenv("TAPIR_SOURCE");
    char        path[4096];

    snprintf(path, sizeof path, "%s/tests/golden/nn.json", root ? root : ".");
    return tpi_json_load(ctx, path, 1 << 20);
}

/* ---- a convolutional network ------------------------------------------------------------------------------------- */

static tp_tensor *pool(tp_ctx *ctx, tp_tensor *x)
{
    return tp_max_pool2d(ctx, x, &(tp_pool_opts){ .size = { 2 } });
}

static tp_tensor *pool_to_two(tp_ctx *ctx, tp_tensor *x)
{
    return tp_adaptive_avg_pool2d(ctx, x, 2, 2);
}

static tp_tensor *flatten(tp_ctx *ctx, tp_tensor *x)
{
    return x ? tp_reshape(ctx, x, TP_SHAPE(tp_dim(x, 0), -1)) : NULL;
}

static void cnn_init(tp_ctx *ctx, tp_sequential *s)
{
    tp_sequential_init(ctx, s, NULL, "");
    tp_sequential_conv2d(ctx, s, 1, 4, 3, 3, true, TP_F64, &(tp_conv_opts){ .pad = { 1 } });
    tp_sequential_batch_norm(ctx, s, 4, TP_F64, NULL);
    tp_sequential_apply(ctx, s, tp_relu);
    tp_sequential_apply(ctx, s, pool);
    tp_sequential_conv2d(ctx, s, 4, 6, 3, 2, false, TP_F64, &(tp_conv_opts){ .stride = { 1, 2 }, .groups = 2 });
    tp_sequential_batch_norm(ctx, s, 6, TP_F64, &(tp_batchnorm_opts){ .momentum = 0.25, .eps = 1e-3 });
    tp_sequential_apply(ctx, s, tp_gelu);
    tp_sequential_apply(ctx, s, pool_to_two);
    tp_sequential_apply(ctx, s, flatten);
    tp_sequential_linear(ctx, s, 24, 5, true, TP_F64);
}

static void check_cnn(tp_ctx *ctx)
{
    tpi_json       *j = golden(ctx);
    const tpi_json *g = tpi_json_get(j, "cnn");
    tp_scope        s = tp_scope_begin(ctx);
    tp_sequential   net;
    visit           v = { .ctx = ctx, .grads = tpi_json_get(g, "grads"), .buffers = tpi_json_get(g, "buffers") };
    tp_tensor      *x = number_shape(ctx, 101, TP_SHAPE(3, 1, 8, 8)), *y;

    cnn_init(ctx, &net);
    tp_module_params(&net.m, false, number_param, &v);
    y = tp_sequential_forward(ctx, &net, x);
    check_ok(ctx);
    assert_true(far_from(ctx, y, tpi_json_get(g, "train")) <= tolerance);
    tp_backward_from(ctx, y, numbered(ctx, tp_like(ctx, y), 102));
    tp_module_params(&net.m, false, compare_param, &v);
    assert_true(v.worst <= tolerance && v.seen == 9);
    tp_sequential_forward(ctx, &net, tp_scale(ctx, x, 2));
    tp_module_params(&net.m, false, compare_buffer, &v);
    assert_true(v.worst <= tolerance && v.seen == 9 + 6);
    tp_module_set_training(&net.m, false);
    y = tp_sequential_forward(ctx, &net, x);
    assert_true(far_from(ctx, y, tpi_json_get(g, "eval")) <= tolerance);
    v.seen = 0;
    tp_module_params(&net.m, false, compare_buffer, &v); /* evaluation leaves them alone */
    assert_true(v.worst <= tolerance && v.seen == 6);
    tp_scope_end(ctx, s);
    tp_module_free(&net.m);
    tpi_json_free(j);
}

static void test_cnn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof test_devices / sizeof *test_devices; i++) {
        tp_ctx *ctx = device_ctx(test_devices[i]);

        if (ctx == NULL)
            continue;
        check_cnn(ctx);
        free_ctx(ctx);
    }
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static int64_t whole(const tpi_json *a, const char *key)
{
    return tpi_json_integer(tpi_json_get(a, key));
}

static tp_tensor *lengths_of(tp_ctx *ctx, const tpi_json *list)
{
    int32_t v[2];

    if (tpi_json_size(list) != 2)
        return NULL;
    for (int i = 0; i < 2; i++)
        v[i] = (int32_t)tpi_json_integer(tpi_json_at(list, (size_t)i));
    return tp_from(ctx, TP_I32, TP_SHAPE(2), v);
}

static void check_attention(tp_ctx *ctx, const tpi_json *a)
{
    tp_scope                s = tp_scope_begin(ctx);
    tp_attention_layer_opts o = { .kv_dim = whole(a, "kv_dim"), .causal = tpi_json_true(tpi_json_get(a, "causal")) };
    tp_multihead_attention  m;
    visit                   v = { .ctx = ctx, .grads = tpi_json_get(a, "grads") };
    int64_t                 keys = whole(a, "keys");
    tp_tensor *x = number_shape(ctx, 103, TP_SHAPE(2, whole(a, "rows"), whole(a, "dim"))), *z = NULL, *y;

    tp_multihead_attention_init(ctx, &m, NULL, "", whole(a, "dim"), whole(a, "heads"), TP_F64, &o);
    tp_module_params(&m.m, false, number_param, &v);
    tp_set_trainable(ctx, x, true);
    if (keys > 0) {
        z = number_shape(ctx, 104, TP_SHAPE(2, keys, whole(a, "kv_dim")));
        tp_set_trainable(ctx, z, true);
    }
    y = tp_multihead_attention_forward(ctx, &m, x, z, lengths_of(ctx, tpi_json_get(a, "lengths")));
    check_ok(ctx);
    assert_true(far_from(ctx, y, tpi_json_get(a, "y")) <= tolerance);
    tp_backward_from(ctx, y, numbered(ctx, tp_like(ctx, y), 102));
    tp_module_params(&m.m, false, compare_param, &v);
    assert_true(v.worst <= tolerance && v.seen == 8);
    assert_true(far_from(ctx, tp_grad(x), tpi_json_get(v.grads, "x")) <= tolerance);
    if (z != NULL)
        assert_true(far_from(ctx, tp_grad(z), tpi_json_get(v.grads, "z")) <= tolerance);
    tp_scope_end(ctx, s);
    tp_module_free(&m.m);
}

static void test_attention(void **state)
{
    (void)state;
    for (size_t d = 0; d < sizeof test_devices / sizeof *test_devices; d++) {
        tp_ctx         *ctx = device_ctx(test_devices[d]);
        tpi_json       *j = ctx ? golden(ctx) : NULL;
        const tpi_json *list = tpi_json_get(j, "attention");

        if (ctx == NULL)
            continue;
        assert_int_equal(tpi_json_size(list), 3);
        for (size_t i = 0; i < tpi_json_size(list); i++)
            check_attention(ctx, tpi_json_at(list, i));
        tpi_json_free(j);
        free_ctx(ctx);
    }
}

static void test_attention_wrong(void **state)
{
    tp_ctx                *ctx = tp_ctx_new(TP_REF, 0);
    tp_multihead_attention m;
    tp_tensor             *x = make_some(ctx, TP_F32, TP_SHAPE(2, 3, 4), 1);

    (void)state;
    tp_multihead_attention_init(ctx, &m, NULL, "", 4, 2, TP_F32, &(tp_attention_layer_opts){ .kv_heads = 1, .no_bias = true });
    assert_true(m.k_proj.b == NULL && tp_dim(m.k_proj.w, 0) == 2);
    assert_non_null(tp_multihead_attention_forward(ctx, &m, x, NULL, tp_full(ctx, TP_I64, TP_SHAPE(2), 2)));
    assert_null(tp_multihead_attention_forward(ctx, &m, x, NULL, tp_full(ctx, TP_I64, TP_SHAPE(3), 2)));
    check_failed(ctx, TP_ESHAPE, "multihead_attention: 3 lengths of 2", NULL);
    assert_null(tp_multihead_attention_forward(ctx, &m, x, NULL, tp_full(ctx, TP_F32, TP_SHAPE(2), 2)));
    check_failed(ctx, TP_EDTYPE, "multihead_attention", NULL);
    assert_null(tp_multihead_attention_forward(ctx, &m, tp_select(ctx, x, 0, 0), NULL, NULL));
    check_failed(ctx, TP_ESHAPE, "expected [B, S, width]", NULL);
    assert_null(tp_multihead_attention_forward(ctx, &m, NULL, x, NULL));
    check_failed(ctx, TP_EARG, "NULL", NULL);
    assert_null(tp_multihead_attention_forward(ctx, NULL, x, NULL, NULL));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&m.m);
    tp_multihead_attention_init(ctx, &m, NULL, "", 5, 2, TP_F32, NULL);
    check_failed(ctx, TP_EARG, "width 5, 2 heads", NULL);
    tp_module_free(&m.m);
    free_ctx(ctx);
}

/* ---- running statistics ------------------------------------------------------------------------------------------ */

static void test_buffers(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    tp_batch_norm  n;
    tp_tensor     *x = make_some(ctx, TP_BF16, TP_SHAPE(4, 3), 1), *before;

    (void)state;
    tp_batch_norm_init(ctx, &n, NULL, "", 3, TP_BF16, NULL);
    assert_null(tp_buffer_new(ctx, &n.m, &n.mean, "running_mean", TP_F32, TP_SHAPE(3)));
    check_failed(ctx, TP_EARG, "running_mean already", NULL);
    assert_int_equal(tp_dtype_of(n.mean), TP_F32);
    assert_false(tp_trainable(n.mean) || tp_trainable(n.var));
    tp_module_unfreeze(ctx, &n.m);
    assert_true(tp_trainable(n.w) && tp_trainable(n.b) && !tp_trainable(n.mean) && !tp_trainable(n.var));
    assert_true(tp_param_find(&n.m, "running_var")->buffer && tp_param_find(&n.m, "num_batches_tracked")->buffer);
    assert_int_equal(tp_dtype_of(tp_batch_norm_forward(ctx, &n, x)), TP_BF16);
    assert_true(tp_item(ctx, n.count) == 1);
    before = copy_of(ctx, n.mean);
    tp_module_set_training(&n.m, false);
    tp_batch_norm_forward(ctx, &n, x);
    assert_true(same_bits(ctx, n.mean, before) && tp_item(ctx, n.count) == 1);
    tp_release(before);
    tp_module_set_training(&n.m, true);
    assert_null(tp_batch_norm_forward(ctx, &n, tp_narrow(ctx, x, 0, 0, 1)));
    check_failed(ctx, TP_ESHAPE, "more than one value a channel", NULL);
    assert_true(tp_item(ctx, n.count) == 1);
    assert_null(tp_batch_norm_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&n.m);
    free_ctx(ctx);
}

static tp_tensor *normalise(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    return tp_batch_norm_forward(ctx, user, in[0]);
}

/* A checkpoint runs the layer twice; the statistics move once. */
static void test_checkpoint(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_batch_norm a, b;
    tp_tensor    *x = make_some(ctx, TP_F64, TP_SHAPE(4, 3), 1), *dy = make_some(ctx, TP_F64, TP_SHAPE(4, 3), 2), *dx;

    (void)state;
    tp_batch_norm_init(ctx, &a, NULL, "", 3, TP_F64, NULL);
    tp_batch_norm_init(ctx, &b, NULL, "", 3, TP_F64, NULL);
    tp_set_trainable(ctx, x, true);
    tp_backward_from(ctx, tp_batch_norm_forward(ctx, &a, x), dy);
    dx = copy_of(ctx, tp_grad(x));
    tp_grad_drop(x);
    tp_backward_from(ctx, tp_checkpoint(ctx, normalise, &b, TP_IN(x)), dy);
    check_ok(ctx);
    assert_true(same_bits(ctx, a.mean, b.mean) && same_bits(ctx, a.var, b.var) && tp_item(ctx, b.count) == 1);
    assert_true(same_bits(ctx, dx, tp_grad(x)));
    tp_release(dx);
    tp_module_free(&a.m);
    tp_module_free(&b.m);
    free_ctx(ctx);
}

/* ---- groups, mlp, lists, sharing --------------------------------------------------------------------------------- */

static void test_group_norm(void **state)
{
    tp_ctx       *ctx = tp_ctx_new(TP_REF, 0);
    tp_group_norm n;
    tp_tensor    *x = make_some(ctx, TP_F64, TP_SHAPE(2, 4, 3), 1), *y, *z;

    (void)state;
    tp_group_norm_init(ctx, &n, NULL, "", 2, 4, 1e-3, TP_F64);
    y = tp_group_norm_forward(ctx, &n, x);
    z = tp_layernorm(ctx, tp_reshape(ctx, x, TP_SHAPE(4, 6)), NULL, NULL, 1e-3); /* a row per group */
    assert_true(distance(ctx, y, tp_reshape(ctx, z, TP_SHAPE(2, 4, 3))) < 1e-14);
    assert_null(tp_group_norm_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&n.m);
    tp_group_norm_init(ctx, &n, NULL, "", 3, 4, 1e-3, TP_F64);
    check_failed(ctx, TP_EARG, "4 channels in 3 groups", NULL);
    tp_module_free(&n.m);
    free_ctx(ctx);
}

static void test_mlp(void **state)
{
    tp_ctx    *ctx = tp_ctx_new(TP_REF, 0);
    tp_mlp     l;
    tp_tensor *x = make_some(ctx, TP_F64, TP_SHAPE(3, 5), 1), *h, *y;

    (void)state;
    tp_mlp_init(ctx, &l, NULL, "", 3, (const int64_t[]){ 5, 7, 2 }, TP_F64, &(tp_mlp_opts){ .act = tp_tanh });
    h = tp_tanh(ctx, tp_affine(ctx, x, l.layer[0].w, l.layer[0].b));
    y = tp_affine(ctx, h, l.layer[1].w, l.layer[1].b);
    assert_true(same_bits(ctx, tp_mlp_forward(ctx, &l, x), y));
    assert_ptr_equal(*tp_param_find(&l.m, "1.weight")->slot, l.layer[1].w);
    assert_null(tp_mlp_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&l.m);
    tp_mlp_init(ctx, &l, NULL, "", 2, (const int64_t[]){ 5, 4 }, TP_F64, &(tp_mlp_opts){ .no_bias = true, .dropout = 0.5 });
    assert_null(l.layer[0].b);
    assert_true(same_bits(ctx, tp_mlp_forward(ctx, &l, x), tp_matmul_nt(ctx, x, l.layer[0].w))); /* nothing between */
    tp_module_free(&l.m);
    tp_mlp_init(ctx, &l, NULL, "", 1, (const int64_t[]){ 5 }, TP_F64, NULL);
    check_failed(ctx, TP_EARG, "1 sizes", NULL);
    tp_module_free(&l.m);
    free_ctx(ctx);
}

typedef struct {
    tp_module  m;
    tp_tensor *w;
} scaling;

static tp_tensor *run_scaling(tp_ctx *ctx, tp_module *m, tp_tensor *x)
{
    return tp_mul(ctx, x, ((scaling *)m)->w);
}

static void test_lists(void **state)
{
    tp_ctx        *ctx = tp_ctx_new(TP_REF, 0);
    tp_module_list l;
    tp_sequential  s;
    scaling       *a, *b;
    tp_tensor     *x = make_some(ctx, TP_F64, TP_SHAPE(3), 1);

    (void)state;
    tp_module_list_init(ctx, &l, NULL, "");
    a = tp_module_list_add(ctx, &l, sizeof *a, "Scaling");
    b = tp_module_list_add(ctx, &l, sizeof *b, "Scaling");
    tp_param_new(ctx, &b->m, &b->w, "scale", TP_F64, TP_SCALAR);
    assert_int_equal(tp_module_list_count(&l), 2);
    assert_ptr_equal(tp_module_list_at(&l, 0), a);
    assert_ptr_equal(tp_module_list_at(&l, 1), b);
    assert_null(tp_module_list_at(&l, 2));
    assert_non_null(tp_param_find(&l.m, "1.scale"));
    assert_null(tp_module_list_add(ctx, &l, 1, "Scaling"));
    check_failed(ctx, TP_EARG, "module_new", NULL);
    tp_module_free(&l.m);

    tp_sequential_init(ctx, &s, NULL, "");
    assert_ptr_equal(tp_sequential_forward(ctx, &s, x), x);
    a = tp_sequential_add(ctx, &s, sizeof *a, "Scaling", run_scaling);
    tp_init_constant(ctx, tp_param_new(ctx, &a->m, &a->w, "scale", TP_F64, TP_SCALAR), 3);
    assert_non_null(tp_sequential_layer_norm(ctx, &s, 3, 1e-5, TP_F64));
    assert_non_null(tp_sequential_dropout(ctx, &s, 0.5));
    assert_null(tp_sequential_dropout(ctx, &s, 2));
    check_failed(ctx, TP_EARG, "p is 2", NULL);
    assert_int_equal(s.n, 3); /* the one that failed is gone */
    tp_module_set_training(&s.m, false);
    assert_true(distance(ctx, tp_sequential_forward(ctx, &s, x),
                         tp_layernorm(ctx, tp_scale(ctx, x, 3), NULL, NULL, 1e-5)) < 1e-14);
    assert_null(tp_sequential_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_sequential_apply(ctx, &s, NULL);
    check_failed(ctx, TP_EARG, "no function", NULL);
    assert_null(tp_sequential_add(ctx, &s, 1, "Scaling", run_scaling));
    check_failed(ctx, TP_EARG, "bytes are needed", NULL);
    tp_module_free(&s.m);
    free_ctx(ctx);
}

/* Two convolutions on one weight: counted once, and its gradient is the sum of both uses. */
static void test_sharing(void **state)
{
    tp_ctx          *ctx = tp_ctx_new(TP_REF, 0);
    tp_sequential    s;
    tp_conv2d_layer *a, *b, wrong;
    tp_tensor       *x = make_some(ctx, TP_F64, TP_SHAPE(1, 2, 4, 4), 1), *w, *y;

    (void)state;
    tp_sequential_init(ctx, &s, NULL, "");
    a = tp_sequential_conv2d(ctx, &s, 2, 2, 3, 3, false, TP_F64, &(tp_conv_opts){ .pad = { 1 } });
    b = tp_sequential_conv2d(ctx, &s, 2, 2, 3, 3, false, TP_F64, &(tp_conv_opts){ .pad = { 1 } });
    tp_param_set(ctx, &b->m, &b->w, "weight", a->w);
    assert_int_equal(tp_module_count(&s.m).all, 36);
    y = tp_sequential_forward(ctx, &s, x);
    tp_backward(ctx, tp_sum(ctx, y, TP_ALL_AXES, false));
    w = tp_detach(ctx, tp_scale(ctx, a->w, 1));
    tp_set_trainable(ctx, w, true);
    y = tp_conv2d(ctx, tp_conv2d(ctx, x, w, NULL, &a->opts), w, NULL, &a->opts);
    tp_backward(ctx, tp_sum(ctx, y, TP_ALL_AXES, false));
    assert_true(distance(ctx, tp_grad(a->w), tp_grad(w)) < 1e-14);
    assert_null(tp_conv2d_forward(ctx, NULL, x));
    check_failed(ctx, TP_EARG, "no layer", NULL);
    tp_module_free(&s.m);
    tp_conv2d_init(ctx, &wrong, NULL, "", 3, 4, 3, 3, false, TP_F64, &(tp_conv_opts){ .groups = 2 });
    check_failed(ctx, TP_EARG, "3 channels to 4 in 2 groups", NULL);
    tp_module_free(&wrong.m);
    free_ctx(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cnn),        cmocka_unit_test(test_attention), cmocka_unit_test(test_attention_wrong),
        cmocka_unit_test(test_buffers),    cmocka_unit_test(test_checkpoint), cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_mlp),        cmocka_unit_test(test_lists),     cmocka_unit_test(test_sharing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
