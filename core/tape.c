/* tape.c - applying ops and recording calls.  A call holds headers of its inputs, and values only of what its forward keeps. */
#include "core/context.h"

#include <string.h>

enum { MAX_KEPT = 32, MAX_SAVED = 16 };

/* ---- records ---------------------------------------------------------------------------------------------------------------- */

static size_t align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* One block of the pool: the record, three arrays of pointers, versions, attributes. */
static tpi_rec *rec_new(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in)
{
    int      n_out = op->n_out ? op->n_out : 1, n_ptr = n_in + n_out + op->n_saved;
    size_t   room, at = sizeof(tpi_rec) + (size_t)n_ptr * sizeof(tp_tensor *) + align8((size_t)(n_in + n_out) * sizeof(uint32_t));
    tpi_rec *rec = tpi_pool_get(&ctx->pool, at + op->attr_size, &room);

    if (rec == NULL)
        return tp_fail(ctx, TP_ENOMEM, "out of memory: a record of %s", op->name);
    memset(rec, 0, at);
    rec->room = room;
    rec->c.op = op;
    rec->c.n_in = n_in;
    rec->c.n_out = n_out;
    rec->c.n_saved = op->n_saved;
    rec->c.in = (tp_tensor **)(void *)(rec + 1);
    rec->c.out = rec->c.in + n_in;
    rec->c.saved = rec->c.out + n_out;
    rec->version = (uint32_t *)(void *)(rec->c.saved + op->n_saved);
    if (n_in > 0)
        memcpy(rec->c.in, in, (size_t)n_in * sizeof *in);
    if (op->attr_size > 0 && attr != NULL)
        memcpy((char *)rec + at, attr, op->attr_size);
    rec->c.attr = (char *)rec + at;
    return rec;
}

static void rec_free(tp_ctx *ctx, tpi_rec *rec)
{
    tpi_pool_put(&ctx->pool, rec, rec->room);
}

static void hold(tp_tensor *x, bool values, uint32_t *version)
{
    if (x == NULL)
        return;
    if (values)
        tp_retain(x);
    else
        tpi_hold(x);
    *version = x->store ? x->store->version : 0;
}

static bool keeps_in(const tp_call *c, int i)
{
    return i < MAX_KEPT && (c->keep & TP_KEEP_IN(i)) != 0;
}

static bool keeps_out(const tp_call *c, int i)
{
    return i < MAX_KEPT && (c->keep & TP_KEEP_OUT(i)) != 0;
}

/* Takes the holds of a record that stays; those of `saved` were taken when forward ended. */
static bool rec_push(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call *c = &rec->c;

    if (!tpi_grow(ctx, &ctx->tape, &ctx->cap_tape, ctx->n_tape + 1, sizeof *ctx->tape))
        return false;
    for (int i = 0; i < c->n_in; i++)
        hold(c->in[i], keeps_in(c, i), &rec->version[i]);
    for (int i = 0; i < c->n_out; i++) {
        hold(c->out[i], keeps_out(c, i), &rec->version[c->n_in + i]);
        if (c->out[i] != NULL && tp_dtype_is_float((tp_dtype)c->out[i]->dtype)) {
            c->out[i]->needs_grad = true;
            c->out[i]->serial = ctx->serial;
        }
    }
    rec->path = ctx->path;
    rec->serial = ctx->serial++;
    ctx->tape[ctx->n_tape++] = rec;
    return true;
}

void tpi_rec_drop(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call *c = &rec->c;

    for (int i = 0; i < c->n_in; i++)
        keeps_in(c, i) ? tp_release(c->in[i]) : tpi_unhold(c->in[i]);
    for (int i = 0; i < c->n_out; i++)
        keeps_out(c, i) ? tp_release(c->out[i]) : tpi_unhold(c->out[i]);
    for (int i = 0; i < c->n_saved; i++)
        tp_release(c->saved[i]);
    rec_free(ctx, rec);
}

/* ---- pruning ---------------------------------------------------------------------------------------------------------------- */

/* Whether only the call itself still holds its outputs. */
static bool forgotten(const tp_call *c)
{
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i] != NULL && c->out[i]->refs > 1)
            return false;
    return true;
}

void tpi_tape_prune(tp_ctx *ctx, size_t from)
{
    size_t n = from;

    if (ctx->depth > 0) /* a backward walks the tape: it closes the gaps itself */
        return;
    for (size_t i = ctx->n_tape; i-- > from;)
        if (forgotten(&ctx->tape[i]->c)) {
            tpi_rec_drop(ctx, ctx->tape[i]);
            ctx->tape[i] = NULL;
        }
    for (size_t i = from; i < ctx->n_tape; i++)
        if (ctx->tape[i] != NULL)
            ctx->tape[n++] = ctx->tape[i];
    ctx->n_tape = n < ctx->n_tape ? n : ctx->n_tape;
}

void tpi_tape_cut(tp_ctx *ctx, size_t from)
{
    while (ctx->n_tape > from) {
        tpi_rec *rec = ctx->tape[--ctx->n_tape];

        if (rec != NULL)
            tpi_rec_drop(ctx, rec);
    }
}

/* ---- applying --------------------------------------------------------------------------------------------------------------- */

static bool inputs_fit(tp_ctx *ctx, const tp_op *op, int n_in, tp_tensor *const *in, bool *needs)
{
    *needs = false;
    if (op->n_saved > MAX_SAVED) {
        tp_fail(ctx, TP_EARG, "%s: %d saved tensors, at most %d", op->name, op->n_saved, MAX_SAVED);
        return false;
    }
    for (int i = 0; i < n_in; i++) {
        if (in[i] == NULL)
            continue;
        if (!tpi_check(ctx, op->name, in[i], i))
            return false;
        *needs |= in[i]->needs_grad;
    }
    return true;
}

/* An output that is an input, or that another call made, gets a header of its own. */
static void own_header(tp_ctx *ctx, tp_call *c, int i)
{
    tp_tensor *y = c->out[i];
    bool       shared = y != NULL && (y->needs_grad || y->serial >= 0);

    for (int k = 0; k < c->n_in && y != NULL; k++)
        shared |= c->in[k] == y;
    if (shared)
        c->out[i] = tpi_view(ctx, y, y->ndim, y->dim, y->stride, 0);
}

/* Releases what forward made on its way, but not its outputs and what it saved. */
static bool tidy(tp_ctx *ctx, tp_call *c, size_t live)
{
    bool ok = true;

    for (int i = 0; i < c->n_out; i++)
        own_header(ctx, c, i);
    for (int i = 0; i < c->n_saved; i++)
        tp_retain(c->saved[i]);
    if (ctx->n_live == live + 1 && c->n_out == 1 && ctx->live[live] == c->out[0])
        return true;
    for (int i = 0; i < c->n_out; i++)
        tp_retain(c->out[i]);
    while (ctx->n_live > live)
        tp_release(ctx->live[--ctx->n_live]);
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i] != NULL)
            ok &= tpi_adopt(ctx, c->out[i]);
    return ok;
}

static bool find_nonfinite(tp_ctx *ctx, tp_tensor *x)
{
    bool     found = false;
    tpi_run  r = tpi_run_of(ctx);
    tp_scope s = tp_scope_begin(ctx);

    if (x != NULL && tp_dtype_is_float((tp_dtype)x->dtype)) {
        tp_tensor *rows = tpi_rows(ctx, x);

        if (rows != NULL && tpi_k(ctx)->nonfinite(&r, (tp_dtype)x->dtype, rows->data, x->numel, &found) != TP_OK)
            found = false;
    }
    tp_scope_end(ctx, s);
    return found;
}

static void check_finite(tp_ctx *ctx, const tp_call *c)
{
    for (int i = 0; i < c->n_out && tp_ok(ctx); i++)
        if (find_nonfinite(ctx, c->out[i]))
            tp_fail(ctx, TP_ENUM, "%s: output %d has a NaN or Inf", c->op->name, i);
}

static bool forward(tp_ctx *ctx, tp_call *c)
{
    bool   was = ctx->recording;
    size_t live = ctx->n_live;

    ctx->recording = false;
    c->out[0] = c->op->forward(ctx, c);
    ctx->recording = was;
    if (!tp_ok(ctx))
        return false;
    if (c->out[0] == NULL) {
        tp_fail(ctx, TP_EARG, "%s: forward returned no tensor", c->op->name);
        return false;
    }
    if (!tidy(ctx, c, live))
        return false;
    if (ctx->anomaly)
        check_finite(ctx, c);
    return tp_ok(ctx);
}

static void forget(tp_ctx *ctx, tpi_rec *rec, bool finished)
{
    for (int i = 0; finished && i < rec->c.n_saved; i++)
        tp_release(rec->c.saved[i]);
    rec_free(ctx, rec);
}

bool tp_apply_n(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, tp_tensor **out)
{
    tpi_rec *rec;
    bool     needs, done;

    if (op == NULL || !tp_ok(ctx))
        return false;
    if (!inputs_fit(ctx, op, n_in, in, &needs))
        return false;
    rec = rec_new(ctx, op, attr, n_in, in);
    if (rec == NULL)
        return false;
    done = forward(ctx, &rec->c);
    for (int i = 0; out != NULL && i < rec->c.n_out; i++)
        out[i] = done ? rec->c.out[i] : NULL;
    if (!done || !needs || !ctx->recording || op->backward == NULL || !rec_push(ctx, rec))
        forget(ctx, rec, done);
    return tp_ok(ctx);
}

tp_tensor *tp_apply(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in)
{
    tp_tensor *out[32] = { NULL };

    if (op == NULL || op->n_out > 32)
        return tp_fail(ctx, TP_EARG, "apply: no op, or one with more than 32 outputs");
    return tp_apply_n(ctx, op, attr, n_in, in, out) ? out[0] : NULL;
}

bool tpi_tape_push(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, int n_keep, tp_tensor *y)
{
    tpi_rec *rec = rec_new(ctx, op, attr, n_in, in);

    if (rec == NULL)
        return false;
    rec->c.out[0] = y;
    for (int i = 0; i < n_keep; i++)
        rec->c.keep |= TP_KEEP_IN(i);
    if (!rec_push(ctx, rec)) {
        forget(ctx, rec, false);
        return false;
    }
    return true;
}

bool tp_wants(const tp_call *c, int i)
{
    return c != NULL && i >= 0 && i < c->n_in && c->in[i] != NULL && c->in[i]->needs_grad;
}

bool tp_record(tp_ctx *ctx, bool on)
{
    bool was = ctx != NULL && ctx->recording;

    if (ctx != NULL && !ctx->is_static)
        ctx->recording = on;
    return was;
}

bool tp_recording(const tp_ctx *ctx)
{
    return ctx != NULL && ctx->recording;
}

void tp_anomaly(tp_ctx *ctx, bool on)
{
    if (ctx != NULL && !ctx->is_static)
        ctx->anomaly = on;
}
