/* json_member.c - members of objects by name and type, with errors that say what was expected. */
#include "core/json.h"

static void wrong(tp_ctx *ctx, const char *where, const char *key, const tpi_json *v, tpi_json_kind want)
{
    (void)tp_fail(ctx, TP_EFORMAT, "%s: %s is %s, expected %s", where, key, tpi_json_kind_name(tpi_json_is(v)),
                  tpi_json_kind_name(want));
}

/* The member if it is there and of the kind wanted. */
static const tpi_json *member(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key,
                              tpi_json_kind want, bool needed)
{
    const tpi_json *v = tpi_json_get(object, key);

    if (v == NULL) {
        if (needed)
            (void)tp_fail(ctx, TP_EFORMAT, "%s: %s is missing, expected %s", where, key, tpi_json_kind_name(want));
        return NULL;
    }
    if (tpi_json_is(v) == want)
        return v;
    wrong(ctx, where, key, v, want);
    return NULL;
}

bool tpi_json_bool(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool otherwise)
{
    const tpi_json *v = member(ctx, where, object, key, TPI_JSON_BOOL, false);

    return v ? tpi_json_true(v) : otherwise;
}

int64_t tpi_json_int(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, int64_t otherwise,
                     int64_t min, int64_t max)
{
    const tpi_json *v = member(ctx, where, object, key, TPI_JSON_INT, false);
    int64_t         i = v ? tpi_json_integer(v) : otherwise;

    if (v != NULL && (i < min || i > max)) {
        (void)tp_fail(ctx, TP_EFORMAT, "%s: %s is %lld, expected %lld to %lld", where, key, (long long)i,
                      (long long)min, (long long)max);
        return otherwise;
    }
    return i;
}

double tpi_json_double(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, double otherwise)
{
    const tpi_json *v = tpi_json_get(object, key);

    if (v == NULL)
        return otherwise;
    if (tpi_json_is(v) == TPI_JSON_REAL || tpi_json_is(v) == TPI_JSON_INT)
        return tpi_json_real(v);
    wrong(ctx, where, key, v, TPI_JSON_REAL);
    return otherwise;
}

const char *tpi_json_text(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key,
                          const char *otherwise)
{
    const tpi_json *v = member(ctx, where, object, key, TPI_JSON_TEXT, false);

    return v ? tpi_json_string(v, NULL) : otherwise;
}

const tpi_json *tpi_json_array(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool needed)
{
    return member(ctx, where, object, key, TPI_JSON_ARRAY, needed);
}

const tpi_json *tpi_json_object(tp_ctx *ctx, const char *where, const tpi_json *object, const char *key, bool needed)
{
    return member(ctx, where, object, key, TPI_JSON_OBJECT, needed);
}
