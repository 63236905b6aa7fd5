/* tape.c - applying ops and recording calls.  A call holds headers of its inputs, and values only of what its forward
 * keeps. */
#include "core/context.h"

#include <string.h>

enum { MAX_KEPT = 32, MAX_SAVED = 16, MAX_OUT = 32, LAST_WANT = 63 };

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* As malloc aligns: attributes may hold anything. */
static size_t align16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* One block of the pool: the record, three arrays of pointers, versions, attributes.  Behind outputs and saved tensors
 * there is a slot that stays NULL, to find a forward that writes more of them than its op says. */
static tpi_rec *rec_new(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in)
{
    int      n_out = op->n_out ? op->n_out : 1, n_ptr = n_in + n_out + 1 + op->n_saved + 1;
    size_t   room = 0, at = sizeof(tpi_rec) + (size_t)n_ptr * sizeof(tp_tensor *) + (size_t)n_ptr * sizeof(uint32_t);
    tpi_rec *rec = tpi_pool_get(&ctx->pool, align16(at) + op->attr_size, &room);

    if (rec == NULL)
        return tp_fail(ctx, TP_ENOMEM, "out of memory: a record of %s", op->name);
    at = align16(at);
    memset(rec, 0, attr ? at : at + op->attr_size);
    rec->room = room;
    rec->c.op = op;
    rec->c.n_in = n_in;
    rec->c.n_out = n_out;
    rec->c.n_saved = op->n_saved;
    rec->c.in = (tp_tensor **)(void *)(rec + 1);
    rec->c.out = rec->c.in + n_in;
    rec->c.saved = rec->c.out + n_out + 1;
    rec->version = (uint32_t *)(void *)(rec->c.saved + op->n_saved + 1);
    if (n_in > 0)
        memcpy(rec->c.in, in, (size_t)n_in * sizeof *in);
    if (op->attr_size > 0 && attr != NULL)
        memcpy((char *)rec + at, attr, op->attr_size);
    rec->c.attr = (char *)rec + at;
    return rec;
}

static void note(const tp_tensor *x, uint32_t *version)
{
    *version = x && x->store ? x->store->version : 0;
}

static void hold(tp_tensor *x, bool values, uint32_t *version)
{
    if (values)
        tp_retain(x);
    else
        tpi_hold(x);
    note(x, version);
}

bool tpi_keeps(const tpi_rec *rec, int i)
{
    int k = i - rec->c.n_in;

    if (k < 0)
        return rec->keeps_all || (i < MAX_KEPT && (rec->c.keep & TP_KEEP_IN(i)) != 0);
    return k < MAX_KEPT && (rec->c.keep & TP_KEEP_OUT(k)) != 0;
}

/* Takes the holds of a record that stays; those of `saved` were taken when forward ended. */
static bool rec_push(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call *c = &rec->c;

    if (!tpi_grow(ctx, &ctx->tape, &ctx->cap_tape, ctx->n_tape + 1, sizeof *ctx->tape))
        return false;
    for (int i = 0; i < c->n_in; i++)
        hold(c->in[i], tpi_keeps(rec, i), &rec->version[i]);
    for (int i = 0; i < c->n_out; i++) {
        hold(c->out[i], tpi_keeps(rec, c->n_in + i), &rec->version[c->n_in + i]);
        if (c->out[i] != NULL && tp_dtype_is_float((tp_dtype)c->out[i]->dtype)) {
            c->out[i]->needs_grad = true;
            c->out[i]->serial = ctx->serial;
        }
    }
    for (int i = 0; i < c->n_saved; i++)
        note(c->saved[i], &rec->version[c->n_in + c->n_out + i]);
    rec->path = ctx->path;
    rec->serial = ctx->serial++;
    ctx->tape[ctx->n_tape++] = rec;
    return true;
}

void tpi_rec_drop(tp_ctx *ctx, tpi_rec *rec)
{
    tp_call *c = &rec->c;

    for (int i = 0; i < c->n_in; i++)
        tpi_keeps(rec, i) ? tp_release(c->in[i]) : tpi_unhold(c->in[i]);
    for (int i = 0; i < c->n_out; i++) {
        if (c->out[i] != NULL && c->out[i]->serial >= 0)
            c->out[i]->walked = true; /* nothing leads on from it any more */
        tpi_keeps(rec, c->n_in + i) ? tp_release(c->out[i]) : tpi_unhold(c->out[i]);
    }
    for (int i = 0; i < c->n_saved; i++)
        tp_release(c->saved[i]);
    tpi_pool_put(&ctx->pool, rec, rec->room);
}

/* ---- pruning ----------------------------------------------------------------------------------------------------- */

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

    if (from < ctx->walk_top) /* a backward walks there and closes the gaps itself */
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

/* ---- applying ---------------------------------------------------------------------------------------------------- */

static bool op_fits(tp_ctx *ctx, const tp_op *op, int n_in, tp_tensor *const *in)
{
    const char *name = op && op->name ? op->name : "apply";

    if (op == NULL || op->forward == NULL || op->name == NULL)
        tp_fail(ctx, TP_EARG, "%s: there is no op, or it lacks a name or a forward function", name);
    else if (n_in < 0 || (n_in > 0 && in == NULL))
        tp_fail(ctx, TP_EARG, "%s: a list of %d inputs", name, n_in);
    else if (op->n_out < 0 || op->n_out > MAX_OUT || op->n_saved < 0 || op->n_saved > MAX_SAVED)
        tp_fail(ctx, TP_EARG, "%s: %d outputs and %d saved tensors, expected at most %d and %d", name, op->n_out,
                op->n_saved, MAX_OUT, MAX_SAVED);
    return tp_ok(ctx);
}

static bool inputs_fit(tp_ctx *ctx, const char *name, int n_in, tp_tensor *const *in)
{
    for (int i = 0; i < n_in; i++)
        if (in[i] != NULL && !tpi_check(ctx, name, in[i], i))
            return false;
    return true;
}

/* Which inputs need a gradient. */
static uint64_t wants_of(int n_in, tp_tensor *const *in)
{
    uint64_t wants = 0;

    for (int i = 0; i < n_in; i++)
        if (in[i] != NULL && in[i]->needs_grad)
            wants |= (uint64_t)1 << (i < LAST_WANT ? i : LAST_WANT);
    return wants;
}

/* Whether y is this call's alone: made since `live`, held by nobody but the scope, and no output before number i. */
static bool is_own(const tp_ctx *ctx, const tp_call *c, int i, size_t live)
{
    const tp_tensor *y = c->out[i];
    bool             made = false;

    for (size_t k = ctx->n_live; k-- > live && !made;)
        made = ctx->live[k] == y;
    for (int k = 0; k < i; k++)
        made &= c->out[k] != y;
    return made && y->refs == 1 && y->serial < 0;
}

static bool counts_fit(tp_ctx *ctx, const tp_call *c)
{
    if (c->out[c->n_out] != NULL)
        tp_fail(ctx, TP_EARG, "%s: forward set c->out[%d], but the op's n_out says %d", c->op->name, c->n_out, c->n_out);
    else if (c->saved[c->n_saved] != NULL)
        tp_fail(ctx, TP_EARG, "%s: forward set c->saved[%d], but the op's n_saved says %d", c->op->name, c->n_saved,
                c->n_saved);
    return tp_ok(ctx);
}

/* Checks what forward has given; an output that is somebody else's tensor gets a header of its own. */
static bool outputs_fit(tp_ctx *ctx, tp_call *c, size_t live)
{
    for (int i = 0; i < c->n_out + c->n_saved; i++) {
        tp_tensor **slot = i < c->n_out ? &c->out[i] : &c->saved[i - c->n_out], *y = *slot;

        if (y == NULL)
            continue;
        if (!tpi_alive(y) || y->ctx != ctx || y->store == NULL) {
            tp_fail(ctx, TP_EARG, "%s: what forward gave as %s %d was released, or is of another context", c->op->name,
                    i < c->n_out ? "output" : "saved tensor", i < c->n_out ? i : i - c->n_out);
            return false;
        }
        if (i < c->n_out && !is_own(ctx, c, i, live))
            *slot = tpi_view(ctx, y, y->ndim, y->dim, y->stride, 0);
        if (*slot == NULL)
            return false;
    }
    return true;
}

/* Keeps what forward gave and saved, and releases what else it made on its way. */
static bool tidy(tp_ctx *ctx, tp_call *c, size_t live)
{
    bool ok = true;

    if (!counts_fit(ctx, c) || !outputs_fit(ctx, c, live))
        return false;
    for (int i = 0; i < c->n_saved; i++)
        tp_retain(c->saved[i]);
    if (ctx->n_live == live + 1 && c->n_out == 1)
        return true;
    for (int i = 0; i < c->n_out; i++)
        tp_retain(c->out[i]);
    while (ctx->n_live > live)
        tp_release(ctx->live[--ctx->n_live]);
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i] != NULL)
            ok &= tpi_adopt(ctx, c->out[i]);
    return ok; /* there was room for them before */
}

bool tpi_find_nonfinite(tp_ctx *ctx, tp_tensor *x)
{
    bool     found = false;
    tpi_run  r = tpi_run_of(ctx);
    tp_scope s = tp_scope_begin(ctx);

    if (x != NULL && tp_dtype_is_float((tp_dtype)x->dtype)) {
        tp_tensor *rows = tpi_rows(ctx, x);

        if (rows != NULL)
            tpi_done(ctx, "anomaly", tpi_k(ctx)->nonfinite(&r, (tp_dtype)x->dtype, rows->data, x->numel, &found));
    }
    tp_scope_end(ctx, s);
    return found;
}

static bool check_finite(tp_ctx *ctx, const tp_call *c)
{
    for (int i = 0; i < c->n_out && tp_ok(ctx); i++)
        if (tpi_find_nonfinite(ctx, c->out[i]))
            tp_fail(ctx, TP_ENUM, "%s: output %d has a NaN or Inf", c->op->name, i);
    return tp_ok(ctx);
}

/* Runs the op; after success the call's saved tensors are held. */
static bool forward(tp_ctx *ctx, tp_call *c)
{
    bool   was = ctx->recording;
    size_t live = ctx->n_live, floor = ctx->floor, scopes = ctx->n_scopes;

    ctx->recording = false;
    ctx->floor = scopes;
    c->out[0] = c->op->forward(ctx, c);
    ctx->floor = floor;
    ctx->recording = was;
    ctx->n_scopes = scopes; /* scopes that forward has left open */
    if (!tp_ok(ctx))
        return false;
    if (c->out[0] == NULL) {
        tp_fail(ctx, TP_EARG, "%s: forward returned no tensor", c->op->name);
        return false;
    }
    return tidy(ctx, c, live);
}

/* Which op without a backward lies between the inputs and something trainable, so that backward can name it. */
static const char *cut_by(tp_ctx *ctx, const tp_op *op, int n_in, tp_tensor *const *in)
{
    for (int i = 0; i < n_in; i++)
        if (in[i] != NULL && in[i]->cut != NULL)
            return in[i]->cut;
    return op->backward == NULL && wants_of(n_in, in) != 0 ? tpi_intern(ctx, op->name) : NULL;
}

static void note_cut(tp_ctx *ctx, const tp_call *c)
{
    const char *cut = cut_by(ctx, c->op, c->n_in, c->in);

    for (int i = 0; i < c->n_out && cut != NULL; i++)
        if (c->out[i] != NULL && c->out[i]->refs == 1 && !c->out[i]->needs_grad)
            c->out[i]->cut = cut;
}

static void forget(tp_ctx *ctx, tpi_rec *rec, bool finished)
{
    for (int i = 0; finished && i < rec->c.n_saved; i++)
        tp_release(rec->c.saved[i]);
    tpi_pool_put(&ctx->pool, rec, rec->room);
}

bool tp_apply_n(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, tp_tensor **out)
{
    int      n_out = op && op->n_out > 0 ? op->n_out : 1;
    tpi_rec *rec;
    bool     done, recorded;

    for (int i = 0; out != NULL && i < n_out; i++)
        out[i] = NULL;
    if (!tp_ok(ctx) || !op_fits(ctx, op, n_in, in) || !inputs_fit(ctx, op->name, n_in, in))
        return false;
    rec = rec_new(ctx, op, attr, n_in, in);
    if (rec == NULL)
        return false;
    if (ctx->recording && op->backward != NULL)
        rec->wants = wants_of(n_in, in);
    done = forward(ctx, &rec->c);
    if (done && rec->wants == 0 && ctx->recording)
        note_cut(ctx, &rec->c); /* for a message, should backward be asked for */
    recorded = done && (!ctx->anomaly || check_finite(ctx, &rec->c)) && rec->wants != 0 && rec_push(ctx, rec);
    for (int i = 0; out != NULL && i < n_out && tp_ok(ctx); i++)
        out[i] = rec->c.out[i];
    if (!recorded)
        forget(ctx, rec, done);
    return tp_ok(ctx);
}

tp_tensor *tp_apply(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in)
{
    tp_tensor *out[MAX_OUT];

    return tp_ok(ctx) && op_fits(ctx, op, n_in, in) && tp_apply_n(ctx, op, attr, n_in, in, out) ? out[0] : NULL;
}

bool tpi_tape_push(tp_ctx *ctx, const tp_op *op, const void *attr, int n_in, tp_tensor *const *in, tp_tensor *y)
{
    tpi_rec *rec = rec_new(ctx, op, attr, n_in, in);

    if (rec == NULL)
        return false;
    rec->c.out[0] = y;
    rec->keeps_all = true;
    rec->wants = wants_of(n_in, in);
    if (!rec_push(ctx, rec)) {
        forget(ctx, rec, false);
        return false;
    }
    return true;
}

bool tp_wants(const tp_call *c, int i)
{
    const tpi_rec *rec = (const tpi_rec *)(const void *)c; /* every call stands at the beginning of a record */

    if (c == NULL || i < 0 || i >= c->n_in || c->in[i] == NULL || !c->in[i]->needs_grad)
        return false;
    return (rec->wants >> (i < LAST_WANT ? i : LAST_WANT) & 1) != 0;
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
