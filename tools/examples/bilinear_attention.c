/* bilinear_attention.c - attention with the scores q W k^T as an op of one's own, three inputs and their gradients, checked
 * and trained: of eight keys the one is to be found that the query is a turned copy of, and the class beside it given. */
#include <tapir.h>

#include <stdio.h>

enum { DIM = 8, KEYS = 8, CLASSES = 5, BATCH = 32, STEPS = 300, TESTED = 1000 };

/* s[b, i, j] = q[b, i] W k[b, j]^T:  q [B, n, d], w [d, e], k [B, m, e] -> [B, n, m] */
static tp_tensor *scores_forward(tp_ctx *ctx, tp_call *c)
{
    tp_tensor *q = c->in[0], *w = c->in[1], *k = c->in[2];
    char       text[3][64];

    if (tp_ndim(q) != 3 || tp_ndim(w) != 2 || tp_ndim(k) != 3)
        return tp_fail(ctx, TP_ESHAPE, "bilinear: expected q [B, n, d], w [d, e], k [B, m, e], got %s, %s and %s",
                       tp_shape_text(q, text[0], sizeof text[0]), tp_shape_text(w, text[1], sizeof text[1]),
                       tp_shape_text(k, text[2], sizeof text[2]));
    c->keep = TP_KEEP_IN(0) | TP_KEEP_IN(1) | TP_KEEP_IN(2);
    return tp_matmul(ctx, tp_matmul(ctx, q, w), tp_transpose(ctx, k, -1, -2));
}

/* dq = ds k W^T,  dW = sum over b of q^T ds k,  dk = ds^T q W */
static void scores_backward(tp_ctx *ctx, tp_call *c, tp_tensor *const *dy, tp_tensor **dx)
{
    tp_tensor *q = c->in[0], *w = c->in[1], *k = c->in[2], *ds_k = tp_matmul(ctx, dy[0], k);

    if (tp_wants(c, 0))
        dx[0] = tp_matmul_nt(ctx, ds_k, w);
    if (tp_wants(c, 1))
        dx[1] = tp_sum(ctx, tp_matmul(ctx, tp_transpose(ctx, q, -1, -2), ds_k), TP_AXES(0), false);
    if (tp_wants(c, 2))
        dx[2] = tp_matmul(ctx, tp_transpose(ctx, dy[0], -1, -2), tp_matmul(ctx, q, w));
}

/* backward is made of public ops alone, so it serves for second derivatives too. */
static const tp_op scores_op = {
    .name = "bilinear", .forward = scores_forward, .backward = scores_backward, .backward_ops = scores_backward
};

static tp_tensor *scores(tp_ctx *ctx, void *user, tp_tensor *const *in)
{
    (void)user;
    return tp_apply(ctx, &scores_op, NULL, 3, in);
}

typedef struct {
    tp_module  m;
    tp_tensor *w; /* [DIM, DIM] */
} attention;

/* Logarithms of the classes' shares, [B, 1, CLASSES]: v [B, KEYS, CLASSES] weighted by softmax(q W k^T). */
static tp_tensor *forward(tp_ctx *ctx, attention *a, tp_tensor *q, tp_tensor *k, tp_tensor *v)
{
    tp_tensor *share = tp_softmax(ctx, scores(ctx, NULL, (tp_tensor *[]){ q, a->w, k }), -1);

    return tp_log(ctx, tp_shift(ctx, tp_matmul(ctx, share, v), 1e-9));
}

typedef struct {
    tp_tensor *q, *k, *v, *answer; /* [B, 1, DIM], [B, KEYS, DIM], [B, KEYS, CLASSES], [B, 1] */
} batch;

static batch make_batch(tp_ctx *ctx, tp_tensor *turn, int64_t size)
{
    tp_tensor *class = tp_randint(ctx, TP_I64, TP_SHAPE(size, KEYS), 0, CLASSES);
    tp_tensor *which = tp_randint(ctx, TP_I64, TP_SHAPE(size, 1), 0, KEYS);
    batch      b = { .k = tp_randn(ctx, TP_F32, TP_SHAPE(size, KEYS, DIM)) };

    b.q = tp_matmul(ctx, tp_matmul(ctx, tp_one_hot(ctx, which, KEYS, TP_F32), b.k), turn);
    b.v = tp_one_hot(ctx, class, CLASSES, TP_F32);
    b.answer = tp_gather(ctx, class, 1, which);
    return b;
}

static double right(tp_ctx *ctx, attention *a, tp_tensor *turn)
{
    tp_scope   s = tp_scope_begin(ctx);
    batch      b = make_batch(ctx, turn, TESTED);
    tp_tensor *hit = tp_eq(ctx, tp_argmax(ctx, forward(ctx, a, b.q, b.k, b.v), -1, false), b.answer);
    double     n = tp_item(ctx, tp_sum(ctx, hit, TP_ALL_AXES, false));

    tp_scope_end(ctx, s);
    return 100 * n / TESTED;
}

int main(void)
{
    tp_ctx    *ctx = tp_ctx_new(TP_CPU, 0);
    tp_tensor *q = tp_randn(ctx, TP_F64, TP_SHAPE(2, 3, 4)), *w = tp_randn(ctx, TP_F64, TP_SHAPE(4, 5));
    tp_tensor *k = tp_randn(ctx, TP_F64, TP_SHAPE(2, 6, 5)), *turn = tp_empty(ctx, TP_F32, TP_SHAPE(DIM, DIM));
    attention  a;
    tp_optim  *opt;

    printf("largest error of the gradients: %.1e\n", tp_gradcheck(ctx, scores, NULL, TP_IN(q, w, k), 0));
    tp_init_orthogonal(ctx, turn, 1);
    tp_module_init(ctx, &a.m, NULL, "BilinearAttention", "");
    tp_init_xavier(ctx, tp_param_new(ctx, &a.m, &a.w, "weight", TP_F32, TP_SHAPE(DIM, DIM)), 1);
    opt = tp_adamw_new(ctx, &a.m, &(tp_adamw_opts){ .lr = 3e-2 });
    printf("before: right %.1f percent\n", right(ctx, &a, turn));
    for (int step = 0; step < STEPS && tp_ok(ctx); step++) {
        tp_scope s = tp_scope_begin(ctx);
        batch    b = make_batch(ctx, turn, BATCH);

        tp_backward(ctx, tp_nll(ctx, forward(ctx, &a, b.q, b.k, b.v), b.answer, NULL));
        tp_optim_step(ctx, opt);
        tp_scope_end(ctx, s);
    }
    printf("after:  right %.1f percent\n", right(ctx, &a, turn));
    tp_optim_free(opt);
    tp_module_free(&a.m);
    return tp_ctx_finish(ctx);
}
