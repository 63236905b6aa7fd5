/* finetune_steps.c - what happens in and after each step. */
#include "core/internal.h"
#include "tools/commands.h"
#include "tools/finetune.h"
#include "tools/lines.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static tp_tensor *swap(tp_tensor **slot, tp_tensor *x)
{
    tp_retain(x);
    tp_release(*slot);
    *slot = x;
    return x;
}

static void keep_batch(finetune *t, tp_lm_batch b)
{
    swap(&t->last.ids, b.ids);
    swap(&t->last.target, b.target);
    swap(&t->last.pos, b.pos);
    swap(&t->last.range, b.range);
}

void finetune_drop_batch(finetune *t)
{
    keep_batch(t, (tp_lm_batch){ 0 });
}

tp_tensor *finetune_loss(tp_ctx *ctx, void *user, tp_batch_info *info)
{
    finetune   *t = user;
    tp_lm_batch b = tp_data_next(ctx, t->data);

    if (b.ids == NULL)
        return NULL;
    keep_batch(t, b);
    *info = (tp_batch_info){ (double)b.target_tokens, b.tokens, b.first_sample, b.line };
    return tp_llama_loss_sum(ctx, t->model, b);
}

void finetune_find_nan(finetune *t)
{
    tp_ctx    *ctx = t->ctx;
    char       what[1024];
    tp_tensor *loss;
    tp_scope   s;

    if (tp_error_code(ctx) != TP_ENUM || t->last.ids == NULL)
        return;
    snprintf(what, sizeof what, "%s", tp_error(ctx));
    tp_error_clear(ctx);
    tp_anomaly(ctx, true);
    s = tp_scope_begin(ctx);
    loss = tp_llama_loss_sum(ctx, t->model, t->last);
    if (loss != NULL)
        tp_backward(ctx, loss);
    tp_scope_end(ctx, s);
    tp_anomaly(ctx, false);
    if (!tp_ok(ctx)) {
        char where[1024];

        snprintf(where, sizeof where, "%s", tp_error(ctx));
        tp_error_clear(ctx);
        tp_fail(ctx, TP_ENUM, "%s; first in %s", what, where);
    } else {
        tp_fail(ctx, TP_ENUM, "%s", what);
    }
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

static void show_progress(const finetune *t, const tp_step_info *i)
{
    double left = i->elapsed / (double)(i->step - t->first) * (double)(i->steps - i->step);
    bool   tty = isatty(2);

    if (cli_flag(t->c, "quiet"))
        return;
    fprintf(stderr, "%sstep %lld/%lld  loss %.4f  lr %.2e  |g| %.3f  %.0f tokens/s  %.0f MiB  %d:%02d left%s",
            tty ? "\r\033[K" : "", (long long)i->step, (long long)i->steps, i->loss, i->lr, i->grad_norm,
            i->seconds > 0 ? (double)i->tokens / i->seconds : 0, t->peak_mib, (int)left / 60, (int)left % 60,
            tty && i->step < i->steps ? "" : "\n");
}

/* Text behind the prompt of the first sample of the validation set, else of the training set. */
static void sample(finetune *t, int64_t step)
{
    tp_ctx       *ctx = t->ctx;
    tp_data      *data = t->valid ? t->valid : t->data;
    tp_tokenizer *tok = tp_llama_tokenizer(t->model);
    tp_data_item  item;
    tp_ids        prompt, out = { 0 };
    tp_text       before = { 0 }, text = { 0 };
    int64_t       n = 0;

    if (!tp_data_sample(ctx, data, 0, &item))
        return;
    while (n < item.n && !item.trained[n])
        n++;
    prompt = (tp_ids){ (int32_t *)(uintptr_t)item.id, n > 0 ? n : 1, 0 };
    if (tp_generate(ctx, t->model, 1, &prompt, &out, &(tp_generate_opts){ .max_new = 64 }) &&
        tp_detokenize(ctx, tok, prompt.id, prompt.n, 0, &before) && tp_detokenize(ctx, tok, out.id, out.n, 0, &text)) {
        run_log_sample(&t->folder, step, before.p ? before.p : "", text.p ? text.p : "");
        tp_message(ctx, TP_NOTE, "sample at step %lld: %s", (long long)step, text.p ? text.p : "");
    }
    tp_ids_free(&out);
    tp_text_free(&before);
    tp_text_free(&text);
}

bool finetune_on_step(tp_ctx *ctx, void *user, const tp_step_info *info)
{
    finetune *t = user;
    int64_t   every = cli_int(t->c, "log-every"), samples = cli_int(t->c, "sample-every");

    t->peak_mib = session_peak_mib();
    run_log_step(ctx, &t->folder, info, t->peak_mib, info->step % every == 0 || info->step == info->steps);
    if (info->step % every == 0 || info->step == info->steps)
        show_progress(t, info);
    if (samples > 0 && info->step % samples == 0)
        sample(t, info->step);
    return tp_ok(ctx);
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

double finetune_validate(tp_ctx *ctx, void *user)
{
    finetune *t = user;
    double    sum = 0, count = 0;

    tp_data_rewind(t->valid);
    while (tp_ok(ctx)) {
        tp_scope    s = tp_scope_begin(ctx);
        tp_lm_batch b = tp_data_next(ctx, t->valid);
        bool        more = b.ids != NULL;

        if (more) {
            sum += tp_item(ctx, tp_llama_loss_sum(ctx, t->model, b));
            count += (double)b.target_tokens;
        }
        tp_scope_end(ctx, s);
        if (!more)
            break;
    }
    return count > 0 ? sum / count : 0;
}

void finetune_on_validation(tp_ctx *ctx, void *user, int64_t step, double loss, bool best)
{
    finetune *t = user;

    run_log_validation(ctx, &t->folder, step, loss, best);
    tp_message(ctx, TP_NOTE, "step %lld: validation loss %.4f%s", (long long)step, loss,
               best ? ", the best so far" : "");
    if (best)
        t->best_saved = finetune_save(t, false);
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

bool finetune_save(finetune *t, bool last)
{
    char        path[4096];
    const char *name = last ? "last.h5" : t->full ? "model.h5" : "adapter.h5";

    run_path(&t->folder, name, path, sizeof path);
    return t->full ? tp_llama_save(t->ctx, t->model, path) : tp_adapter_save(t->ctx, tp_llama_root(t->model), path);
}

/* ---- looking before training ------------------------------------------------------------------------------------- */

void finetune_show_samples(finetune *t, int64_t n)
{
    tp_tokenizer *tok = tp_llama_tokenizer(t->model);

    for (int64_t i = 0; i < n && i < tp_data_counts(t->data).samples && tp_ok(t->ctx); i++) {
        tp_data_item item;
        tp_text      text = { 0 };

        if (!tp_data_sample(t->ctx, t->data, i, &item) || !tp_detokenize(t->ctx, tok, item.id, item.n, 0, &text))
            return;
        printf("sample %lld (line %lld)\nids  ", (long long)i, (long long)item.line);
        for (int64_t k = 0; k < item.n; k++)
            printf(" %d", item.id[k]);
        printf("\nmask ");
        for (int64_t k = 0; k < item.n; k++)
            printf(" %d", item.trained[k]);
        printf("\ntext  ");
        print_json_text(stdout, text.p ? text.p : "", text.n);
        printf("\n\n");
        tp_text_free(&text);
    }
}

static void show_layer(tp_module *m, void *user)
{
    tp_adapter *ad = strcmp(m->kind, "Linear") == 0 ? ((tp_linear *)m)->adapters : NULL;
    int        *shown = user;

    if (ad == NULL || (*shown)++ >= 12)
        return;
    printf("  %-44s %6lld -> %-6lld %8lld trainable, %lld dead\n", m->path, (long long)tp_dim(ad->linear->w, 1),
           (long long)tp_dim(ad->linear->w, 0), (long long)tp_module_count(&ad->m).trainable,
           (long long)(ad->type->dead ? ad->type->dead(ad) : 0));
}

void finetune_show_plan(finetune *t)
{
    tp_module       *root = tp_llama_root(t->model);
    tp_count         all = tp_module_count(root);
    tp_adapter_count ad = tp_adapters_count(root);
    tp_data_count    d = tp_data_counts(t->data);
    double width = (double)tp_dtype_size(tp_llama_dtype(t->model)), base = (double)(all.all - all.trainable) * width;
    double trained = (double)all.trainable * (t->full ? width + (width < 4 ? 16 : 12) : 16);
    int    shown = 0;

    printf("method     %s, %d layers\n", cli_text(t->c, "method"), ad.layers);
    tp_module_walk(root, show_layer, &shown);
    if (ad.layers > 12)
        printf("  ... and %d more\n", ad.layers - 12);
    printf("parameters %lld, trainable %lld (%.3f %%), of these dead %lld\n", (long long)all.all,
           (long long)all.trainable, 100.0 * (double)all.trainable / (double)all.all, (long long)ad.dead);
    printf("data       %lld samples, %lld tokens, %lld of them targets; dropped %lld, cut %lld; longest %lld\n",
           (long long)d.samples, (long long)d.tokens, (long long)d.target_tokens, (long long)d.dropped,
           (long long)d.cut, (long long)d.longest);
    printf("steps      %lld, %lld batches an epoch\n", (long long)t->steps, (long long)t->batches);
    printf("memory     weights %.0f MiB, gradients and optimiser %.0f MiB; activations come on top\n",
           base / 1048576 + (t->full ? 0 : 0), trained / 1048576);
}
