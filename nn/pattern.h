/*
 * pattern.h - choosing modules and parameters by name.  Internal.  A pattern is a regex that must match a whole dotted
 * path, or what follows one of its dots: "(q|k)_proj" finds "model.layers.0.self_attn.q_proj".
 */
#ifndef TPI_PATTERN_H
#define TPI_PATTERN_H

#include "core/internal.h"

typedef struct tpi_pattern tpi_pattern;

/* Splits the pattern at its top-level bars; what names it in errors ("--targets").  NULL after a failure. */
tpi_pattern *tpi_pattern_new(tp_ctx *ctx, const char *what, const char *text);
void         tpi_pattern_free(tpi_pattern *p);
/* Whether the path matches; notes which alternatives have. */
bool tpi_pattern_matches(tp_ctx *ctx, tpi_pattern *p, const char *path);
/* Fails with TP_EARG unless every alternative has matched something: "...; there are: names".  names may be NULL. */
bool tpi_pattern_check(tp_ctx *ctx, const tpi_pattern *p, const char *names);

/* Names that exist, for that error: each once, as many as there is room for. */
typedef struct tpi_names {
    char text[600];
} tpi_names;

/* Adds the last `parts` parts of a dotted path. */
void tpi_names_add(tpi_names *n, const char *path, int parts);

#endif
