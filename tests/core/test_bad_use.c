/*
 * test_bad_use.c - a table of wrong uses, each of which must give one message: which op, in which module, both shapes
 * (dtypes, names), and what was expected or what to do.  The context goes on after tp_error_clear.
 */
#include "tapir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { PARTS = 5 };

/* What the uses work on: body.in is 4 -> 3, body.out 3 -> 2, words 5 x 4. */
typedef struct {
    tp_ctx       *ctx, *other;
    tp_module     root, body;
    tp_linear     in, out;
    tp_layer_norm norm;
    tp_embedding  words;
    tp_optim     *opt;
    tp_tensor    *x, *wide, *half, *id, *real; /* [2, 4] [2, 5] f32, [2, 4] f64, [2] i64, [] f32 */
    tp_tensor    *dead, *foreign;
    tp_loader    *loader;
} world;

/* Whether the use gave a result: it must not. */
typedef bool (*use)(world *w);

static tp_tensor *ones(tp_ctx *ctx, int64_t a, int64_t b)
{
    return tp_ones(ctx, TP_F32, TP_SHAPE(a, b));
}

static tp_tensor *forward(world *w, tp_tensor *x)
{
    return tp_linear_forward(w->ctx, &w->out, tp_relu(w->ctx, tp_linear_forward(w->ctx, &w->in, x)));
}

static tp_tensor *loss_of(world *w)
{
    return tp_mean(w->ctx, forward(w, w->x), TP_ALL_AXES, false);
}

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static bool layer_shape(world *w) { return forward(w, w->wide) != NULL; }
static bool norm_shape(world *w) { return tp_layer_norm_forward(w->ctx, &w->norm, w->wide) != NULL; }
static bool matmul_shape(world *w) { return tp_matmul(w->ctx, w->x, w->wide) != NULL; }
static bool add_shape(world *w) { return tp_add(w->ctx, w->x, w->wide) != NULL; }
static bool mse_shape(world *w) { return tp_mse(w->ctx, w->x, w->wide, NULL) != NULL; }
static bool where_shape(world *w) { return tp_where(w->ctx, tp_eq(w->ctx, w->x, w->x), w->x, w->wide) != NULL; }
static bool concat_shape(world *w) { return tp_concat(w->ctx, TP_IN(w->x, w->wide), 0) != NULL; }
static bool reshape_shape(world *w) { return tp_reshape(w->ctx, w->x, TP_SHAPE(3, -1)) != NULL; }
static bool copy_shape(world *w) { return tp_copy_to(w->ctx, w->x, w->wide); }
static bool item_shape(world *w) { return !(tp_item(w->ctx, w->x) != tp_item(w->ctx, w->x)); }
static bool axis_wrong(world *w) { return tp_sum(w->ctx, w->x, TP_AXES(2), false) != NULL; }
static bool samples_shape(world *w) { return tp_samples_new(w->ctx, TP_IN(w->x, ones(w->ctx, 3, 1))) != NULL; }

static bool target_shape(world *w)
{
    return tp_cross_entropy(w->ctx, w->x, tp_zeros(w->ctx, TP_I64, TP_SHAPE(3)), NULL) != NULL;
}

static bool attention_shape(world *w)
{
    tp_tensor *q = tp_ones(w->ctx, TP_F32, TP_SHAPE(1, 4, 2, 8)), *k = tp_ones(w->ctx, TP_F32, TP_SHAPE(1, 4, 2, 6));

    return tp_attention(w->ctx, q, k, k, NULL) != NULL;
}

static bool dy_shape(world *w) { return tp_backward_from(w->ctx, forward(w, w->x), w->x); }
static bool no_scalar(world *w) { return tp_backward(w->ctx, forward(w, w->x)); }

/* ---- dtypes, devices, tensors that are not there ----------------------------------------------------------------- */

static bool add_dtype(world *w) { return tp_add(w->ctx, w->x, w->half) != NULL; }
static bool layer_dtype(world *w) { return forward(w, w->half) != NULL; }
static bool target_dtype(world *w) { return tp_cross_entropy(w->ctx, w->x, tp_select(w->ctx, w->x, 1, 0), NULL) != NULL; }
static bool exp_dtype(world *w) { return tp_exp(w->ctx, w->id) != NULL; }
static bool where_dtype(world *w) { return tp_where(w->ctx, w->x, w->x, w->x) != NULL; }
static bool pointer_dtype(world *w) { return tp_f64(w->ctx, w->x) != NULL; }
static bool ids_dtype(world *w) { return tp_embedding_forward(w->ctx, &w->words, w->x) != NULL; }
static bool ids_range(world *w) { return tp_embedding_forward(w->ctx, &w->words, w->id) != NULL; }

static bool trainable_dtype(world *w)
{
    tp_set_trainable(w->ctx, w->id, true);
    return tp_trainable(w->id);
}

static bool foreign(world *w) { return tp_mul(w->ctx, w->x, w->foreign) != NULL; }
static bool foreign_layer(world *w) { return forward(w, w->foreign) != NULL; }
static bool foreign_optim(world *w) { return tp_optim_step(w->other, w->opt) || tp_ok(w->other); }
static bool freed(world *w) { return tp_exp(w->ctx, w->dead) != NULL; }
static bool freed_loss(world *w) { return tp_backward(w->ctx, w->dead); }
static bool nothing(world *w) { return tp_matmul(w->ctx, w->x, NULL) != NULL; }
static bool no_gradient(world *w) { return tp_neg(w->ctx, tp_grad(w->in.w)) != NULL; }

/* ---- backward ---------------------------------------------------------------------------------------------------- */

static bool twice(world *w)
{
    tp_tensor *loss = loss_of(w);

    return !tp_backward(w->ctx, loss) || tp_backward(w->ctx, loss);
}

static bool changed(world *w)
{
    tp_tensor *loss = loss_of(w);

    return !tp_copy_to(w->ctx, w->out.w, ones(w->ctx, 2, 3)) || tp_backward(w->ctx, loss);
}

static bool frozen(world *w)
{
    tp_module_freeze(w->ctx, &w->root);
    return tp_backward(w->ctx, loss_of(w));
}

static bool unrecorded(world *w)
{
    tp_tensor *loss;

    tp_record(w->ctx, false);
    loss = loss_of(w);
    tp_record(w->ctx, true);
    return tp_backward(w->ctx, loss);
}

static bool inner_leaf(world *w)
{
    tp_tensor *y = forward(w, w->x);

    tp_set_trainable(w->ctx, y, true);
    return tp_trainable(y);
}

static bool missing_gradient(world *w) { return tp_optim_step(w->ctx, w->opt); }

/* The gradients of body.out are there when the backward of body.in finds that its input is not what it was. */
static bool void_gradient(world *w)
{
    tp_tensor *loss = loss_of(w);

    if (!tp_copy_to(w->ctx, w->x, tp_full(w->ctx, TP_F32, TP_SHAPE(2, 4), 1)) || tp_backward(w->ctx, loss))
        return true;
    tp_error_clear(w->ctx);
    return tp_optim_step(w->ctx, w->opt);
}

static bool not_a_number(world *w)
{
    const char *before;
    tp_tensor  *y;

    tp_anomaly(w->ctx, true);
    before = tp_module_enter(w->ctx, &w->in.m);
    y = tp_log(w->ctx, tp_neg(w->ctx, w->x));
    tp_module_leave(w->ctx, before);
    return y != NULL;
}

static tp_tensor *forward_only(tp_ctx *ctx, tp_call *c) { return tp_neg(ctx, c->in[0]); }

static bool no_backward(world *w)
{
    static const tp_op op = { .name = "forward_only", .forward = forward_only };

    return tp_backward(w->ctx, tp_sum(w->ctx, tp_apply(w->ctx, &op, NULL, TP_IN(w->in.w)), TP_ALL_AXES, false));
}

/* The op that ends the way is named through those behind it. */
static bool of_places(world *w)
{
    tp_tensor *best = tp_argmax(w->ctx, forward(w, w->x), 1, false);

    return tp_backward(w->ctx, tp_mean(w->ctx, tp_cast(w->ctx, best, TP_F32), TP_ALL_AXES, false));
}

/* ---- modules, optimisers, data ----------------------------------------------------------------------------------- */

static bool own_parent(world *w)
{
    tp_module_init(w->ctx, &w->body, &w->body, "Body", "body");
    return w->body.parent != &w->root;
}

static bool own_ancestor(world *w)
{
    tp_module_init(w->ctx, &w->root, &w->in.m, "Root", "root");
    return w->root.parent != NULL;
}

static bool name_twice(world *w)
{
    tp_module m;

    tp_module_init(w->ctx, &m, &w->body, "Linear", "in");
    return m.parent != NULL;
}

static bool parameter_twice(world *w)
{
    tp_tensor *slot = NULL;

    return tp_param_new(w->ctx, &w->in.m, &slot, "weight", TP_F32, TP_SHAPE(1)) != NULL;
}

static bool views_of_one(world *w)
{
    tp_param_set(w->ctx, &w->out.m, &w->out.w, "weight", tp_narrow(w->ctx, tp_detach(w->ctx, w->in.w), 1, 0, 3));
    tp_set_trainable(w->ctx, w->out.w, true);
    return tp_sgd_new(w->ctx, &w->root, NULL) != NULL;
}

static bool no_match(world *w) { return tp_module_train_only(w->ctx, &w->root, "in.weight|inn.bias") != 0; }

static bool no_group(world *w)
{
    const tp_group g = { .pattern = "embedding" };

    return tp_sgd_new(w->ctx, &w->body, &(tp_sgd_opts){ .groups = &g, .n_groups = 1 }) != NULL;
}

static bool nothing_to_train(world *w)
{
    tp_module_freeze(w->ctx, &w->body);
    return tp_sgd_new(w->ctx, &w->body, NULL) != NULL;
}

static bool bad_rate(world *w) { return tp_sgd_new(w->ctx, &w->root, &(tp_sgd_opts){ .momentum = 2 }) != NULL; }
static bool bad_limit(world *w) { return tp_clip_value(w->ctx, w->opt, 0); }

static bool bad_place(world *w)
{
    tp_loader_seek(w->ctx, w->loader, (tp_loader_place){ 0, 9 });
    return tp_loader_next(w->ctx, w->loader) != NULL;
}

static bool no_file(world *w) { return tp_csv_read(w->ctx, "no/such/file.csv", NULL) != NULL; }

/* ---- the table --------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *what;
    use         fn;
    tp_code     code;
    const char *parts[PARTS];
} row;

static const row table[] = {
    { "a layer's input", layer_shape, TP_ESHAPE, { "body.in: ", "affine: ", "expected", "[2, 5]", "[3, 4]" } },
    { "a norm's input", norm_shape, TP_ESHAPE, { "norm: ", "layernorm: ", "expected", "[2, 5]", "[4]" } },
    { "matmul", matmul_shape, TP_ESHAPE, { "matmul: ", "[2, 4]", "[2, 5]" } },
    { "add", add_shape, TP_ESHAPE, { "add: ", "must broadcast", "[2, 4]", "[2, 5]" } },
    { "mse", mse_shape, TP_ESHAPE, { "mse: ", "must broadcast", "[2, 4]", "[2, 5]" } },
    { "where", where_shape, TP_ESHAPE, { "where: ", "must broadcast", "[2, 4]", "[2, 5]" } },
    { "concat", concat_shape, TP_ESHAPE, { "concat: ", "[2, 4]", "[2, 5]" } },
    { "reshape", reshape_shape, TP_ESHAPE, { "reshape: ", "[2, 4]", "[3, -1]" } },
    { "copy_to", copy_shape, TP_ESHAPE, { "copy_to: ", "[2, 5]", "[2, 4]" } },
    { "item", item_shape, TP_ESHAPE, { "item: ", "one number", "[2, 4]" } },
    { "an axis", axis_wrong, TP_EARG, { "sum: ", "axis 2", "2 dimensions" } },
    { "samples", samples_shape, TP_ESHAPE, { "samples: ", "[2, 4]", "[3, 1]", "expected" } },
    { "targets", target_shape, TP_ESHAPE, { "cross_entropy: ", "[2, 4]", "[3]", "expected" } },
    { "attention", attention_shape, TP_ESHAPE, { "attention: ", "[1, 4, 2, 8]", "[1, 4, 2, 6]", "expected" } },
    { "a given gradient", dy_shape, TP_ESHAPE, { "backward: ", "[2, 2]", "[2, 4]" } },
    { "a loss that is no number", no_scalar, TP_ESHAPE, { "backward: ", "must be one number", "[2, 2]" } },
    { "two dtypes", add_dtype, TP_EDTYPE, { "add: ", "f32", "f64" } },
    { "a layer's dtype", layer_dtype, TP_EDTYPE, { "body.in: ", "affine: ", "f64", "f32" } },
    { "targets that are no ids", target_dtype, TP_EDTYPE, { "cross_entropy: ", "f32", "i32" } },
    { "exp of ids", exp_dtype, TP_EDTYPE, { "exp: ", "i64", "expected", "f32" } },
    { "a condition that is none", where_dtype, TP_EDTYPE, { "where: ", "f32", "bool" } },
    { "a pointer of another type", pointer_dtype, TP_EDTYPE, { "f32", "f64" } },
    { "ids that are none", ids_dtype, TP_EDTYPE, { "words: ", "embed: ", "f32", "i32" } },
    { "ids out of range", ids_range, TP_EARG, { "words: ", "embed: ", "number 7 at place 0", "expected", "5" } },
    { "training ids", trainable_dtype, TP_EDTYPE, { "set_trainable: ", "i64", "expected a floating dtype" } },
    { "a foreign tensor", foreign, TP_EARG, { "mul: ", "input 1", "another context" } },
    { "a foreign tensor in a layer", foreign_layer, TP_EARG, { "body.in: ", "affine: ", "another context" } },
    { "a released tensor", freed, TP_EARG, { "exp: ", "input 0", "released" } },
    { "a released loss", freed_loss, TP_EARG, { "backward: ", "released" } },
    { "no tensor", nothing, TP_EARG, { "matmul: ", "input 1 is NULL" } },
    { "a gradient before backward", no_gradient, TP_EARG, { "neg: ", "input 0 is NULL" } },
    { "backward twice", twice, TP_EARG, { "backward: ", "walked back from already", "compute it anew" } },
    { "values changed since forward", changed, TP_EARG,
      { "body.out: ", "affine: ", "values of input 1", "changed since", "into a copy" } },
    { "nothing trainable", frozen, TP_EARG, { "backward: ", "nothing trainable" } },
    { "recording off", unrecorded, TP_EARG, { "backward: ", "recording off" } },
    { "training what was computed", inner_leaf, TP_EARG, { "set_trainable: ", "only leaves", "tp_detach" } },
    { "a missing gradient", missing_gradient, TP_EARG, { "optim_step: ", "body.in.weight", "tp_backward" } },
    { "a void gradient", void_gradient, TP_EARG, { "optim_step: ", "void", "tp_grad_clear" } },
    { "the first NaN", not_a_number, TP_ENUM, { "body.in: ", "log: ", "NaN" } },
    { "an op without gradient", no_backward, TP_EARG,
      { "backward: ", "nothing trainable is below", "by way of forward_only", "has no backward" } },
    { "a loss made of places", of_places, TP_EARG, { "backward: ", "by way of argmax", "has no backward" } },
    { "a module in itself", own_parent, TP_EARG, { "module_init: ", "'body'", "its own ancestor" } },
    { "a cycle of modules", own_ancestor, TP_EARG, { "module_init: ", "'root'", "its own ancestor" } },
    { "a name twice", name_twice, TP_EARG, { "module_init: ", "'body.in'", "already" } },
    { "a parameter twice", parameter_twice, TP_EARG, { "body.in", "weight", "already" } },
    { "two views of one storage", views_of_one, TP_EARG, { "body.in.weight", "body.out.weight", "one tensor" } },
    { "a pattern", no_match, TP_EARG, { "inn.bias", "there are", "in.bias" } },
    { "a group", no_group, TP_EARG, { "group", "embedding", "there are", "in.weight" } },
    { "nothing to train", nothing_to_train, TP_EARG, { "optimiser: ", "body", "trainable" } },
    { "a momentum", bad_rate, TP_EARG, { "optimiser: ", "momentum is 2", "expected" } },
    { "a limit", bad_limit, TP_EARG, { "clip_value: ", "expected more than 0" } },
    { "a place", bad_place, TP_EARG, { "loader: ", "epoch 0 has 2 batches", "number 9" } },
    { "a file", no_file, TP_EIO, { "no/such/file.csv: ", "cannot be opened" } },
};

/* ---- running it -------------------------------------------------------------------------------------------------- */

static tp_code make(void *user, const int64_t *index, int64_t n, void **batch, char *why, size_t size)
{
    (void)index, (void)n, (void)why, (void)size;
    *batch = user;
    return TP_OK;
}

static void drop(void *batch) { (void)batch; }

static void begin(world *w, tp_device device)
{
    static const int64_t far[] = { 7, 0 };
    tp_dataset           data = { .length = 2, .user = w, .make = make, .drop = drop };
    tp_ctx              *ctx = w->ctx = tp_ctx_new(device, 0);
    tp_scope             s;

    w->other = tp_ctx_new(device, 0);
    tp_module_init(ctx, &w->root, NULL, "Net", "");
    tp_module_init(ctx, &w->body, &w->root, "Body", "body");
    tp_linear_init(ctx, &w->in, &w->body, "in", 4, 3, true, TP_F32);
    tp_linear_init(ctx, &w->out, &w->body, "out", 3, 2, true, TP_F32);
    tp_layer_norm_init(ctx, &w->norm, &w->root, "norm", 4, 1e-5, TP_F32);
    tp_embedding_init(ctx, &w->words, &w->root, "words", 5, 4, TP_F32);
    w->opt = tp_adamw_new(ctx, &w->root, NULL);
    w->loader = tp_loader_new(ctx, &data, &(tp_loader_opts){ .batch = 1, .prefetch = -1 });
    s = tp_scope_begin(ctx);
    w->dead = ones(ctx, 1, 1);
    tp_scope_end(ctx, s);
    w->x = ones(ctx, 2, 4);
    w->wide = ones(ctx, 2, 5);
    w->half = tp_ones(ctx, TP_F64, TP_SHAPE(2, 4));
    w->id = tp_from(ctx, TP_I64, TP_SHAPE(2), far);
    w->foreign = ones(w->other, 2, 4);
    assert_true(tp_ok(ctx) && tp_ok(w->other));
}

static void end(world *w)
{
    tp_loader_free(w->loader);
    tp_optim_free(w->opt);
    tp_module_free(&w->root);
    tp_ctx_free(w->other);
    tp_ctx_free(w->ctx);
}

static int check(const row *r, const world *w, bool result)
{
    const char *said = tp_error(w->ctx);
    bool        good = !result && tp_error_code(w->ctx) == r->code && strchr(said, '\n') == NULL;

    for (int i = 0; i < PARTS && r->parts[i] != NULL; i++)
        good &= strstr(said, r->parts[i]) != NULL;
    if (!good)
        print_error("%s%s: code %d, '%s'\n", r->what, result ? " (succeeded)" : "", (int)tp_error_code(w->ctx), said);
    return !good;
}

/* The first message stays, whatever else is done wrongly; then the context goes on. */
static int goes_on(const row *r, world *w)
{
    char first[1024];
    bool good;

    strncpy(first, tp_error(w->ctx), sizeof first - 1);
    first[sizeof first - 1] = '\0';
    add_shape(w);
    good = strcmp(first, tp_error(w->ctx)) == 0;
    tp_error_clear(w->ctx);
    tp_anomaly(w->ctx, false);
    good &= tp_item(w->ctx, tp_sum(w->ctx, w->x, TP_ALL_AXES, false)) == 8 && tp_ok(w->ctx);
    if (!good)
        print_error("%s: the message did not stay, or the context does not go on: '%s'\n", r->what, tp_error(w->ctx));
    return !good;
}

static void run_table(tp_device device)
{
    int bad = 0;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        world w = { .ctx = NULL };

        begin(&w, device);
        bad += check(&table[i], &w, table[i].fn(&w));
        bad += goes_on(&table[i], &w);
        end(&w);
    }
    assert_int_equal(bad, 0);
}

static void on_ref(void **state)
{
    (void)state;
    run_table(TP_REF);
}

static void on_cpu(void **state)
{
    (void)state;
    run_table(TP_CPU);
}

/* An optimiser that is handed to another context says so there. */
static void contexts(void **state)
{
    world w = { .ctx = NULL };

    (void)state;
    begin(&w, TP_REF);
    assert_false(foreign_optim(&w));
    assert_non_null(strstr(tp_error(w.other), "optim_step: no optimiser of this context"));
    tp_error_clear(w.other);
    end(&w);
}

static void devices(void **state)
{
    tp_ctx *ctx = tp_ctx_new(TP_CPU, 3);

    (void)state;
    assert_int_equal(tp_error_code(ctx), TP_EDEVICE);
    tp_ctx_free(ctx);
    ctx = tp_ctx_new(TP_REF, 0);
    tp_set_backend(ctx, "abacus");
    assert_non_null(strstr(tp_error(ctx), "there is no 'abacus' here, only:"));
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_ref),
        cmocka_unit_test(on_cpu),
        cmocka_unit_test(contexts),
        cmocka_unit_test(devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
