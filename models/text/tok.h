/*
 * tok.h - the insides of a tokenizer, shared by the files of models/text.  Internal.
 *
 * A text goes through   added tokens cut out of the raw text (tok_added.c)
 *                    -> normalizer (tok_normalize.c) -> added tokens cut out of the normalised text
 *                    -> pre-tokenizer: pieces (tok_pretok.c, tok_split.c) -> BPE of each piece (tok_bpe.c, tok_cache.c)
 *                    -> post-processor: bos and the like (tokenizer.c).
 *
 * The tokenizer itself is constant; what changes while it works stands in a tpi_tok_work, of which every thread takes
 * one.  None of the working functions knows a context: they return codes, so that a prefetch thread may call them.
 */
#ifndef TPI_TOK_H
#define TPI_TOK_H

#include "core/json.h"
#include "core/regex.h"
#include "models/text/unicode.h"
#include "nn/files/gguf.h"

#include <pthread.h>

enum {
    TPI_VOCAB_MAX = 4 << 20, /* tokens; ids stay below it too */
    TPI_MERGES_MAX = 16 << 20,
    TPI_STEPS_MAX = 32, /* of a normalizer, pre-tokenizer or decoder */
    TPI_TOKENIZER_BYTES = 256 << 20
};

/* ---- tables: text to id, pair to merge (tok_vocab.c) ------------------------------------------------------------- */

typedef struct tpi_tok_entry {
    uint32_t at, n; /* in the pool */
    int32_t  id;
} tpi_tok_entry;

typedef struct tpi_vocab {
    tp_text        pool; /* all texts, each with a NUL */
    tpi_tok_entry *entry;
    size_t         n, cap;
    int32_t       *slot; /* open addressing: entry numbers, -1 free */
    size_t         mask;
    int32_t       *of_id; /* entry of an id, -1 none */
    int32_t        n_ids; /* one more than the largest id */
} tpi_vocab;

/* A text that is there already keeps its first id: *fresh tells. */
tp_code tpi_vocab_add(tpi_vocab *v, const char *s, size_t n, int32_t id, bool *fresh) TPI_MUST_USE;
/* Builds of_id; after the last add. */
tp_code tpi_vocab_finish(tpi_vocab *v) TPI_MUST_USE;
int32_t tpi_vocab_id(const tpi_vocab *v, const char *s, size_t n);
/* NULL for an id without a text. */
const char *tpi_vocab_text(const tpi_vocab *v, int32_t id, size_t *n);
void        tpi_vocab_free(tpi_vocab *v);

typedef struct tpi_tok_pair {
    uint64_t key; /* left id << 32 | right id */
    uint32_t rank;
    int32_t  id; /* of the result; -1: the slot is free */
} tpi_tok_pair;

typedef struct tpi_tok_pairs {
    tpi_tok_pair *slot;
    size_t        n, mask;
} tpi_tok_pairs;

tp_code tpi_tok_pairs_init(tpi_tok_pairs *t, size_t n) TPI_MUST_USE;
/* A pair that is there already gets the new rank.  There is room for the n of init. */
void                tpi_tok_pairs_put(tpi_tok_pairs *t, uint64_t key, uint32_t rank, int32_t id);
const tpi_tok_pair *tpi_tok_pairs_get(const tpi_tok_pairs *t, uint64_t key);

/* ---- the model (tok_bpe.c) --------------------------------------------------------------------------------------- */

enum { TPI_QUICK = 0x250 }; /* code points whose token is looked up by index; holds the alphabet of byte-level BPE */

typedef struct tpi_bpe {
    tpi_vocab     vocab;
    tpi_tok_pairs merges;
    tpi_tok_pairs bridge; /* pairs of first symbols between which some merge reaches; empty when it is not to be used */
    int32_t      *result; /* of each rank */
    int32_t       quick[TPI_QUICK];
    int32_t       byte_id[256]; /* tokens "<0x00>" ... of byte_fallback, -1 */
    int32_t       unk;          /* -1: unknown characters vanish */
    bool          byte_fallback, fuse_unk, ignore_merges;
    char         *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; NULL for none */
} tpi_bpe;

/* ---- normalizers, pre-tokenizers, decoders: lists of steps ------------------------------------------------------- */

typedef enum {
    TPI_STEP_FORM, /* normal form */
    TPI_STEP_LOWER,
    TPI_STEP_NO_MARKS,    /* StripAccents */
    TPI_STEP_STRIP,       /* normalizer: white space at left, right; decoder: `text` at most left, right times */
    TPI_STEP_PREPEND,     /* text */
    TPI_STEP_REPLACE,     /* regex by text; also a decoder */
    TPI_STEP_PREFIX,      /* a space in front unless there is one: ByteLevel's add_prefix_space */
    TPI_STEP_METASPACE,   /* spaces become text, text in front by scheme; also a decoder */
    TPI_STEP_SPLIT,       /* by regex */
    TPI_STEP_CLASS,       /* split by a class of characters */
    TPI_STEP_BYTES,       /* bytes to the characters of ByteLevel; also a decoder */
    TPI_STEP_BYTE_TOKENS, /* decoder ByteFallback */
    TPI_STEP_FUSE         /* decoder */
} tpi_tok_step_kind;

typedef enum { TPI_REMOVED, TPI_ISOLATED, TPI_WITH_PREVIOUS, TPI_WITH_NEXT, TPI_CONTIGUOUS } tpi_tok_behaviour;
typedef enum { TPI_ALWAYS, TPI_FIRST, TPI_NEVER } tpi_tok_scheme;

typedef struct tpi_tok_step {
    tpi_tok_step_kind kind;
    tpi_form          form;
    tpi_tok_behaviour behaviour;
    tpi_tok_scheme    scheme;
    tpi_char_class    is;
    bool              invert;
    uint32_t          left, right;
    tpi_regex        *regex;
    char             *text;
    size_t            n;
} tpi_tok_step;

typedef struct tpi_tok_steps {
    tpi_tok_step *step;
    size_t        n, cap;
    bool          there; /* an empty list that was given is not the same as none */
} tpi_tok_steps;

/* ---- added tokens (tok_added.c) ---------------------------------------------------------------------------------- */

typedef struct tpi_tok_added {
    char   *text;    /* as given */
    char   *pattern; /* as searched: in normal form when `normalized` */
    size_t  n, pattern_n;
    int32_t id;
    bool    single_word, lstrip, rstrip, normalized, special;
} tpi_tok_added;

/* Added tokens sorted by pattern; those that begin with byte b are order[first[b]..first[b + 1]). */
typedef struct tpi_tok_added_set {
    uint32_t *order;
    uint32_t  n, first[257];
} tpi_tok_added_set;

/* ---- post-processing --------------------------------------------------------------------------------------------- */

enum { TPI_AROUND_MAX = 16 };

/* Ids before and after the text. */
typedef struct tpi_tok_around {
    int32_t before[TPI_AROUND_MAX], after[TPI_AROUND_MAX];
    int     n_before, n_after;
} tpi_tok_around;

/* ---- a tokenizer ------------------------------------------------------------------------------------------------- */

typedef struct tpi_tok_work tpi_tok_work;

/* Workspaces that nobody uses just now, with their caches. */
typedef struct tpi_tok_idle {
    pthread_mutex_t lock;
    tpi_tok_work   *first;
} tpi_tok_idle;

struct tp_tokenizer {
    tpi_bpe           bpe;
    tpi_tok_added    *added;
    size_t            n_added, cap_added;
    tpi_tok_added_set raw, normalized;
    tpi_vocab         added_vocab; /* their texts and ids */
    int32_t          *added_of;    /* of each id: its added token, -1 none */
    tpi_tok_steps     normalizer, pretok, decoder;
    tpi_tok_around    around;
    int32_t           bos, eos, pad, unk, n_ids;
    bool              has_around; /* the tokenizer.json or its configuration says what stands around a text */
    char             *chat;       /* chat template */
    char             *source;     /* the tokenizer.json */
    size_t            source_n;
    tpi_tok_idle     *idle;
};

/* ---- what works on a text ---------------------------------------------------------------------------------------- */

typedef struct tpi_tok_piece {
    size_t at, n;
    size_t lead; /* bytes that were put in front */
    bool   head; /* begins where the whole text began (Metaspace's scheme `first`) */
} tpi_tok_piece;

/* A stretch of a piece that matched, or one between matches. */
typedef struct tpi_tok_hit {
    size_t begin, end;
    bool   match;
} tpi_tok_hit;

/* Texts that were tokenised lately, with their ids (tok_cache.c). */
typedef struct tpi_tok_cache {
    struct tpi_tok_cached *slot;
    char                  *key;
    int32_t               *id;
    size_t                 n, key_n, id_n;
} tpi_tok_cache;

struct tpi_tok_work {
    tpi_tok_work  *next;
    tpi_matcher   *matcher;
    tp_text        norm[2], text[2], affixed;
    tpi_tok_piece *piece, *made;
    size_t         n_piece, cap_piece, n_made, cap_made;
    tpi_tok_hit   *hit;
    size_t         n_hit, cap_hit;
    int32_t       *sym; /* BPE: symbols, their ranks, neighbours, and the heap */
    size_t         n_sym, cap_sym;
    uint32_t      *rank;
    size_t         cap_rank;
    int32_t       *prev, *following;
    size_t         cap_prev, cap_following;
    uint64_t      *heap;
    size_t         n_heap, cap_heap;
    tpi_tok_cache  cache;
    bool           continued;
};

/* tok_bpe.c */
tp_code tpi_bpe_finish(tpi_bpe *m, const tpi_tok_pair *merge, size_t n, bool long_words) TPI_MUST_USE;
void    tpi_bpe_free(tpi_bpe *m);
tp_code tpi_bpe_encode(const tpi_bpe *m, tpi_tok_work *w, const char *s, size_t n, tp_ids *ids) TPI_MUST_USE;
/* tok_merge.c: merges w->sym in place. */
tp_code tpi_bpe_merge(const tpi_bpe *m, tpi_tok_work *w) TPI_MUST_USE;

/* tok_cache.c */
bool tpi_tok_cache_get(const tpi_tok_cache *c, const char *s, size_t n, const int32_t **id, size_t *n_ids);
void tpi_tok_cache_put(tpi_tok_cache *c, const char *s, size_t n, const int32_t *id, size_t n_ids);
void tpi_tok_cache_free(tpi_tok_cache *c);

/* tok_normalize.c: the result is w->norm[0] or [1], or s itself; *lead as in tpi_tok_piece, *head becomes false when
 * the beginning went. */
tp_code tpi_tok_normalize(const tpi_tok_steps *steps, tpi_tok_work *w, const char *s, size_t n, const char **out,
                          size_t *out_n, size_t *lead, bool *head) TPI_MUST_USE;
/* One replacement: appends to *out. */
tp_code tpi_tok_replace(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n, tp_text *out) TPI_MUST_USE;

/* tok_split.c: the hits of a step in text[0..n), then what its behaviour makes of them. */
tp_code tpi_tok_find_hits(const tpi_tok_step *s, tpi_tok_work *w, const char *text, size_t n) TPI_MUST_USE;
void    tpi_tok_join_hits(tpi_tok_behaviour b, tpi_tok_work *w);

/* tok_pretok.c: cuts text[0..n) into w->piece, which lie in *out. */
tp_code tpi_tok_pretokenize(const tpi_tok_steps *steps, tpi_tok_work *w, const char *text, const tpi_tok_piece *whole,
                            const char **out) TPI_MUST_USE;
/* ByteLevel's alphabet and its inverse, -1 for other characters. */
uint32_t tpi_byte_char(unsigned char b);
int      tpi_char_byte(uint32_t c);

/* tok_added.c */
tp_code tpi_tok_added_finish(tp_tokenizer *tok) TPI_MUST_USE;
/* Cuts text[0..n) at the tokens of set: calls between(user, begin, end) for what lies between them and token(user,
 * which) for each. */
typedef struct tpi_tok_cut {
    void    *user;
    unsigned flags;
    tp_code (*between)(void *user, size_t begin, size_t end);
    tp_code (*token)(void *user, const tpi_tok_added *a);
} tpi_tok_cut;
tp_code tpi_tok_added_cut(const tp_tokenizer *tok, const tpi_tok_added_set *set, const char *text, size_t n,
                          const tpi_tok_cut *cut) TPI_MUST_USE;

/* NULL for an id that no added token has. */
const tpi_tok_added *tpi_tok_added_of(const tp_tokenizer *tok, int32_t id);

/* tok_decode.c */
tp_code tpi_detokenize(const tp_tokenizer *tok, const int32_t *id, int64_t n, unsigned flags,
                       tp_text *text) TPI_MUST_USE;

/* tok_pattern.c: Oniguruma's syntax, which tokenizer.json speaks, into PCRE2's; compiles it.  `what` names it in
 * errors. */
tpi_regex *tpi_tok_pattern(tp_ctx *ctx, const char *what, const char *pattern, size_t n);
/* The same for a literal text. */
tpi_regex *tpi_tok_literal(tp_ctx *ctx, const char *what, const char *text, size_t n);
/* ByteLevel's and Whitespace's. */
extern const char *const tpi_gpt2_pattern;
extern const char *const tpi_word_pattern;

/* tok_parts.c: the parts of a tokenizer.json; name is the file's. */
bool tpi_tok_read_normalizer(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps);
bool tpi_tok_read_pretok(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps);
bool tpi_tok_read_decoder(tp_ctx *ctx, const char *name, const tpi_json *j, tpi_tok_steps *steps);
/* tok_model.c */
bool tpi_tok_read_model(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok);
bool tpi_tok_read_added(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok);
bool tpi_tok_read_post(tp_ctx *ctx, const char *name, const tpi_json *j, tp_tokenizer *tok);
/* tok_json.c: what lies beside a tokenizer.json; each may be NULL. */
typedef struct tpi_tok_beside {
    const char *config;       /* tokenizer_config.json */
    const char *special_map;  /* special_tokens_map.json */
    const char *model_config; /* config.json */
    const char *chat;         /* the chat template, which wins over the one in config */
} tpi_tok_beside;

/* Everything but the source; tree is a parsed tokenizer.json. */
tp_tokenizer *tpi_tok_build(tp_ctx *ctx, const char *name, const tpi_json *tree, const tpi_tok_beside *b);
tp_tokenizer *tpi_tok_from_text(tp_ctx *ctx, const char *name, const char *text, size_t n, const tpi_tok_beside *b);

/* tok_gguf.c: how the names of tokenizer.ggml.pre split a text, by up to four patterns, one after the other. */
typedef struct tpi_tok_pre {
    const char *name;
    bool        nfc, digits, ignore_merges, bos;
    const char *split[4];
} tpi_tok_pre;

extern const tpi_tok_pre tpi_tok_pres[];
extern const size_t      tpi_tok_n_pres;
/* tok_names.c: the name of what a tokenizer.json does, NULL for none; and whether it is a SentencePiece model: 1 with a
 * space put in front of a text, 0 without, -1 for another kind. */
const char *tpi_tok_pre_name(const tpi_json *tree);
int         tpi_tok_pieces(const tpi_json *tree);

/* tok_scores.c */
tpi_json *tpi_tok_merges_of_scores(tp_ctx *ctx, const char *name, const tpi_gguf_vocab *v);

/* tokenizer.c */
tp_tokenizer *tpi_tokenizer_alloc(tp_ctx *ctx);
void          tpi_tok_steps_free(tpi_tok_steps *s);
tpi_tok_work *tpi_tok_work_take(const tp_tokenizer *tok);
void          tpi_tok_work_give(const tp_tokenizer *tok, tpi_tok_work *w);

#endif
