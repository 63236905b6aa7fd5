/*
 * convert_ckpt.c - a conversion's tensors and texts into a Tapir checkpoint (HDF5).
 */
#include "nn/files/ckpt.h"
#include "nn/files/file_convert.h"

#include <string.h>

/* Texts of a directory under the paths that checkpoints have for them; the template is kept under its own name alone. */
static const char *const places[][2] = {
    { "config.json", "config/model.json" },
    { "generation_config.json", "config/generation_config.json" },
    { "tokenizer.json", "tokenizer/tokenizer.json" },
    { "tokenizer_config.json", "tokenizer/tokenizer_config.json" },
    { "special_tokens_map.json", "tokenizer/special_tokens_map.json" },
    { "added_tokens.json", "tokenizer/added_tokens.json" },
    { "vocab.json", "tokenizer/vocab.json" },
    { "merges.txt", "tokenizer/merges.txt" },
    { "chat_template", "tokenizer/chat_template" },
};

static bool put_texts(tpi_conversion *c, tp_writer *w)
{
    size_t      i, n;
    const char *text;

    for (i = 0; i < sizeof places / sizeof places[0]; i++) {
        text = tp_file_text(c->f, places[i][0], &n);
        if (text && !tp_writer_text(c->ctx, w, places[i][1], text, n))
            return false;
    }
    return tp_ok(c->ctx);
}

static const char *section_of(const tpi_item *it)
{
    return it->section[0] ? it->section : "model";
}

static bool put_item(tpi_conversion *c, tp_writer *w, const tpi_item *it)
{
    tpi_values v;
    bool       ok;

    ok = tpi_item_read(c, it, &v) &&
         tpi_writer_set(c->ctx, w, section_of(it), it->name, &(tpi_h5_set){ NULL, it->type, it->ndim, it->dim, v.p });
    tpi_item_done(c, &v);
    return ok;
}

/* A head that the configuration ties to the embedding, and that the file does not have, is its second name. */
static bool tie_head(tpi_conversion *c, tp_writer *w)
{
    static const char head[] = "lm_head.weight", embed[] = "model.embed_tokens.weight";
    bool              there = tp_file_find(c->f, head) || !tp_file_find(c->f, embed);

    return strcmp(c->f->kind, "model") != 0 || there || !tpi_conversion_tied(c) ||
           tp_writer_tie(c->ctx, w, "model", head, embed);
}

static bool put_all(tpi_conversion *c, tp_writer *w)
{
    const char *identity;
    size_t      i;

    for (i = 0; i < c->n; i++)
        if (!c->item[i].tie && !put_item(c, w, &c->item[i]))
            return false;
    for (i = 0; i < c->n; i++)
        if (c->item[i].tie &&
            !tp_writer_tie(c->ctx, w, section_of(&c->item[i]), c->item[i].name, c->item[i].tie))
            return false;
    if (!tie_head(c, w) || !put_texts(c, w))
        return false;
    identity = tpi_conversion_identity(c); /* the values have been read and hashed by now */
    return !identity || tp_writer_attr_text(c->ctx, w, NULL, "source_identity", identity);
}

bool tpi_convert_to_ckpt(tpi_conversion *c)
{
    tp_writer *w = tp_writer_open(c->ctx, c->out, c->f->kind);

    if (w && put_all(c, w))
        return tp_writer_close(c->ctx, w);
    tp_writer_abort(w);
    return false;
}
