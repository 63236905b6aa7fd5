/* template_internal.h - what a template is, between template.c, template_find.c and template_render.c.  Internal. */
#ifndef TPI_TEMPLATE_INTERNAL_H
#define TPI_TEMPLATE_INTERNAL_H

#include "core/internal.h"
#include "models/text/template.h"

typedef enum {
    TPI_TPL_NONE,
    TPI_TPL_CHATML,
    TPI_TPL_ALPACA,
    TPI_TPL_LLAMA2,
    TPI_TPL_LLAMA3,
    TPI_TPL_MISTRAL,
    TPI_TPL_ZEPHYR
} tpi_family;

/* What mistral's templates do with a system turn. */
typedef enum { TPI_SYSTEM_REFUSED, TPI_SYSTEM_IN_FIRST, TPI_SYSTEM_IN_LAST } tpi_system_place;

/* How the members of a family differ. */
typedef struct tpi_variant {
    const char      *name;
    tpi_family       family;
    const char      *system;       /* turn that is put in front when there is none; NULL: nothing is */
    const char      *date;         /* llama3.1: lines in front of the system turn */
    bool             trim;         /* white space at both ends of texts goes */
    bool             bos;          /* the template itself begins with bos */
    bool             own;          /* ours: bos if the tokenizer puts one in front of texts */
    const char      *open, *close; /* mistral: blanks behind [INST] and before [/INST] */
    const char      *lead, *tail;  /* and before and behind an answer */
    tpi_system_place place;
} tpi_variant;

struct tp_template {
    const tp_tokenizer *tok;
    tpi_variant         v;
    char               *system; /* memory of v.system when it was found in a text */
};

/* template_find.c: the variant of that name, NULL if there is none; their names, for messages. */
const tpi_variant       *tpi_template_named(const char *name);
extern const char *const tpi_template_names;
/* Recognises the text of a chat template; false when it is none of ours.  Fills t->v and t->system. */
bool tpi_template_recognise(tp_ctx *ctx, const char *text, tp_template *t);

#endif
