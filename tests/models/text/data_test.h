/* data_test.h - a folder with a tokenizer whose ids are the bytes of the text, and data files written by the tests. */
#ifndef DATA_TEST_H
#define DATA_TEST_H

#include "core/internal.h"
#include "models/text/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { EOS = 256, START = 257, END = 258 };

static char folder[64], data_path[96];

static inline void write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void write_data(const char *text)
{
    write_file(data_path, text, strlen(text));
}

/* The vocabulary of byte-level BPE without a merge: the 188 printable bytes of Latin 1 stand for themselves, the others
 * for U+0100 and on. */
static inline void write_tokenizer(void)
{
    static const char tail[] = "},\"merges\":[]},\"added_tokens\":["
                               "{\"id\":256,\"content\":\"<|endoftext|>\",\"special\":true},"
                               "{\"id\":257,\"content\":\"<|im_start|>\",\"special\":true},"
                               "{\"id\":258,\"content\":\"<|im_end|>\",\"special\":true}]}";
    static const char config[] = "{\"eos_token\":\"<|endoftext|>\"}";
    char              text[16384], path[96];
    int               at, more = 256;

    at = snprintf(
        text, sizeof text,
        "{\"version\":\"1.0\",\"normalizer\":null,\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int b = 0; b < 256; b++) {
        bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;

        at += snprintf(text + at, sizeof text - (size_t)at, "%s\"\\u%04x\":%d", b ? "," : "", shown ? b : more, b);
        more += !shown;
    }
    (void)snprintf(text + at, sizeof text - (size_t)at, "%s", tail);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    write_file(path, text, strlen(text));
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    write_file(path, config, strlen(config));
}

static inline int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "test_data.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    (void)snprintf(data_path, sizeof data_path, "%s/data.jsonl", folder);
    write_tokenizer();
    return 0;
}

static inline int remove_folder(void **state)
{
    static const char *const name[] = { "data.jsonl", "tokenizer.json", "tokenizer_config.json" };
    char                     path[96];

    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

typedef struct {
    tp_ctx       *ctx;
    tp_tokenizer *tok;
    char          note[1024]; /* the last message */
    int           notes;
} world;

static inline void on_message(void *user, tp_level level, const char *text)
{
    world *w = user;

    (void)level;
    w->notes++;
    (void)snprintf(w->note, sizeof w->note, "%s", text);
}

static inline void begin(world *w)
{
    memset(w, 0, sizeof *w);
    w->ctx = tp_ctx_new(TP_REF, 0);
    w->tok = tp_tokenizer_open(w->ctx, folder);
    tp_on_message(w->ctx, on_message, w);
}

static inline void end(world *w)
{
    tp_tokenizer_free(w->tok);
    assert_int_equal(tp_ctx_finish(w->ctx), 0);
}

static inline tp_data *open_text(world *w, const char *text, const tp_data_opts *opts)
{
    write_data(text);
    return tp_data_open(w->ctx, data_path, w->tok, opts);
}

#endif
