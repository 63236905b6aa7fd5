/* error.c - the sticky error of a context, and messages. */
#include "core/context.h"

#include <stdarg.h>
#include <string.h>

/* Every new error passes here: the place for a debugger's breakpoint. */
static void error_break(tp_ctx *ctx, tp_code code)
{
    ctx->code = code;
}

bool tp_ok(const tp_ctx *ctx)
{
    return ctx != NULL && ctx->code == TP_OK;
}

tp_code tp_error_code(const tp_ctx *ctx)
{
    return ctx ? ctx->code : TP_EARG;
}

const char *tp_error(const tp_ctx *ctx)
{
    return ctx ? ctx->msg : "no context";
}

void tp_error_clear(tp_ctx *ctx)
{
    if (ctx == NULL || ctx->is_static || ctx->backend == NULL) /* born failed: nothing can work */
        return;
    ctx->code = TP_OK;
    ctx->msg[0] = '\0';
    if (ctx->depth > 0) /* a hook goes on: the backward around it keeps its records and its path */
        return;
    ctx->recording = true;
    ctx->path = NULL;
    tpi_tape_cut(ctx, ctx->n_scopes ? ctx->scopes[ctx->n_scopes - 1].tape : 0);
}

/* One line, whatever a file's names hold. */
static void format(char *text, size_t size, const char *fmt, va_list ap)
{
    if (fmt == NULL || vsnprintf(text, size, fmt, ap) < 0)
        snprintf(text, size, "(a message that cannot be formatted)");
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

void *tp_fail(tp_ctx *ctx, tp_code code, const char *fmt, ...)
{
    va_list ap;
    size_t  n = 0;

    if (ctx == NULL || ctx->code != TP_OK || ctx->is_static)
        return NULL;
    if (ctx->path != NULL && ctx->path[0] != '\0')
        n = (size_t)snprintf(ctx->msg, sizeof ctx->msg, "%.*s: ", TPI_PATH, ctx->path);
    va_start(ap, fmt);
    format(ctx->msg + n, sizeof ctx->msg - n, fmt, ap);
    va_end(ap);
    error_break(ctx, code == TP_OK ? TP_EARG : code);
    return NULL;
}

void tp_on_message(tp_ctx *ctx, tp_message_fn fn, void *user)
{
    if (ctx == NULL || ctx->is_static)
        return;
    ctx->on_message = fn;
    ctx->on_message_user = user;
}

void tp_message(tp_ctx *ctx, tp_level level, const char *fmt, ...)
{
    char    text[TPI_MESSAGE];
    va_list ap;

    if (ctx == NULL || ctx->on_message == NULL)
        return;
    va_start(ap, fmt);
    format(text, sizeof text, fmt, ap);
    va_end(ap);
    ctx->on_message(ctx->on_message_user, level, text);
}
