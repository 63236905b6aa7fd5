/*
 * tokenizer.h - text to token ids and back, as Hugging Face's tokenizers do it.
 *
 * Byte-level BPE (GPT-2, Llama 3, Qwen2, SmolLM2) and SentencePiece-BPE (Llama 2, Mistral), from a tokenizer.json or
 * from the metadata of a GGUF file.  Other models (WordPiece, Unigram, WordLevel) are refused by name.  A tokenizer is
 * never changed after it has been opened, so threads may share one.
 */
#ifndef TP_TOKENIZER_H
#define TP_TOKENIZER_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tp_tokenizer tp_tokenizer;
typedef struct tp_decoder   tp_decoder;

/* Growing arrays: start with zeros, `tp_ids ids = { 0 };`.  Functions append to them; the caller frees them. */
typedef struct tp_ids {
    int32_t *id;
    int64_t  n, cap;
} tp_ids;

/* p[n] is a NUL once something has been appended. */
typedef struct tp_text {
    char  *p;
    size_t n, cap;
} tp_text;

/* Frees the array and makes it empty again; NULL is allowed. */
TP_API void tp_ids_free(tp_ids *ids);
TP_API void tp_text_free(tp_text *text);

enum {
    TP_PARSE_SPECIAL =
        1, /* special tokens written in the text ("<|im_end|>") become their ids; without it they are plain text */
    TP_ADD_SPECIAL = 2, /* what the tokenizer puts around a text is added: bos and the like */
    TP_SKIP_SPECIAL = 4 /* tp_detokenize: special tokens are left out */
};

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/*
 * tp_tokenizer_open: reads a tokenizer
 *
 *   path    a tokenizer.json; a folder that holds one, of which tokenizer_config.json, special_tokens_map.json,
 * config.json and chat_template.jinja are read too; or a .gguf file returns the caller's, for tp_tokenizer_free fails
 * TP_EIO with the path when a file cannot be read, TP_EFORMAT when its content is wrong or of a kind not supported
 */
TP_API tp_tokenizer *tp_tokenizer_open(tp_ctx *ctx, const char *path);
TP_API void          tp_tokenizer_free(tp_tokenizer *tok);

/* ---- looking ----------------------------------------------------------------------------------------------------- */

/* One more than the largest id, added tokens included: the rows that a model's embedding needs at least. */
TP_API int64_t tp_tokenizer_size(const tp_tokenizer *tok);
/* The id of the token written `text` in the vocabulary ("Ġthe", "<|im_end|>"), or -1. */
TP_API int32_t tp_tokenizer_id(const tp_tokenizer *tok, const char *text);
/* The reverse, borrowed; NULL for an id without a token. */
TP_API const char *tp_tokenizer_token(const tp_tokenizer *tok, int32_t id);
/* Whether id is a special token, one that TP_SKIP_SPECIAL leaves out. */
TP_API bool tp_tokenizer_is_special(const tp_tokenizer *tok, int32_t id);
/* Begin of text, end of text, padding, unknown; -1 where the tokenizer has none. */
TP_API int32_t tp_tokenizer_bos(const tp_tokenizer *tok);
TP_API int32_t tp_tokenizer_eos(const tp_tokenizer *tok);
TP_API int32_t tp_tokenizer_pad(const tp_tokenizer *tok);
TP_API int32_t tp_tokenizer_unk(const tp_tokenizer *tok);
/* Whether TP_ADD_SPECIAL puts bos in front of a text. */
TP_API bool tp_tokenizer_adds_bos(const tp_tokenizer *tok);
/* The text of the chat template that came with the tokenizer, borrowed, or NULL. */
TP_API const char *tp_tokenizer_template(const tp_tokenizer *tok);

/* ---- text to ids and back ---------------------------------------------------------------------------------------- */

/*
 * tp_tokenize: appends the ids of text[0..n) to *ids
 *
 *   text    UTF-8; may hold NUL characters
 *   flags   TP_PARSE_SPECIAL | TP_ADD_SPECIAL, or 0
 *   fails   TP_EARG when text is not UTF-8 (with the byte) or a pattern of the tokenizer takes too many steps on it
 */
TP_API bool tp_tokenize(tp_ctx *ctx, const tp_tokenizer *tok, const char *text, size_t n, unsigned flags, tp_ids *ids);

/*
 * tp_detokenize: appends the text of id[0..n) to *text
 *
 *   id      ids that the tokenizer does not know are passed over
 *   flags   TP_SKIP_SPECIAL, or 0
 *   returns valid UTF-8: bytes that are none become U+FFFD
 */
TP_API bool tp_detokenize(tp_ctx *ctx, const tp_tokenizer *tok, const int32_t *id, int64_t n, unsigned flags,
                          tp_text *text);

/* Text of ids that come one by one, for streaming; tok must outlive the decoder.  flags as for tp_detokenize. */
TP_API tp_decoder *tp_decoder_new(tp_ctx *ctx, const tp_tokenizer *tok, unsigned flags);
TP_API void        tp_decoder_free(tp_decoder *dec);
/* What has become complete with this id: whole characters, "" while one is still open.  Borrowed until the next call;
 * NULL after a failure. */
TP_API const char *tp_decoder_add(tp_ctx *ctx, tp_decoder *dec, int32_t id);
/* What is left at the end, bytes of an unfinished character as U+FFFD; the decoder is ready for a new text then. */
TP_API const char *tp_decoder_end(tp_ctx *ctx, tp_decoder *dec);

#ifdef __cplusplus
}
#endif
#endif
