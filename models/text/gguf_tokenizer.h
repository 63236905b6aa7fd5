/* gguf_tokenizer.h - tokenizers from what other files hold, and back into them.  Internal. */
#ifndef TPI_GGUF_TOKENIZER_H
#define TPI_GGUF_TOKENIZER_H

#include "core/internal.h"
#include "models/text/tokenizer.h"
#include "nn/files/gguf.h"

/* The tokenizer that lies in f or beside it: tokenizer.json and tokenizer_config.json, or the vocabulary of a GGUF
 * file.  NULL without a failure when there is none. */
tp_tokenizer *tpi_tokenizer_from_file(tp_ctx *ctx, tp_file *f);
/* name is the file's, for messages. */
tp_tokenizer *tpi_tokenizer_from_gguf_meta(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v);
/* text[0..n) is a tokenizer.json, which is kept byte for byte; config, of a tokenizer_config.json, and chat may be
 * NULL. */
tp_tokenizer *tpi_tokenizer_from_json(tp_ctx *ctx, const char *name, const char *text, size_t n, const char *config,
                                      const char *chat);

/* The tokenizer.json that tok was read from, byte for byte, or an equivalent one; borrowed. */
const char *tpi_tokenizer_to_json(const tp_tokenizer *tok, size_t *n);
/* A small tokenizer_config.json with the names of bos, eos, pad and unk, what is added to a text, and the chat
 * template; freed with tpi_free. */
char *tpi_tokenizer_config_json(tp_ctx *ctx, const tp_tokenizer *tok, size_t *n);

/* The reverse: the vocabulary that stands in a GGUF file for f's tokenizer.json and what lies beside it; lives as long as
 * f.  NULL with a failure for one that GGUF has no name for. */
const tpi_gguf_vocab *tpi_gguf_vocab_made(tp_ctx *ctx, tp_file *f);

/* Flags for tpi_tokenize: the text is a part of a longer one, behind a token, or behind text. */
enum { TPI_TOK_INNER = 0x100, TPI_TOK_CONTINUED = 0x200 };

/* tp_tokenize without a context, for threads that have none: TP_OK, TP_ENOMEM or TP_EARG (the text is not UTF-8, or too
 * hard). */
tp_code tpi_tokenize(const tp_tokenizer *tok, const char *text, size_t n, unsigned flags, tp_ids *ids) TPI_MUST_USE;

#endif
