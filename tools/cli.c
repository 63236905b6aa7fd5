/* cli.c - parsing of the command line and of --config, and --help. */
#include "tools/cli.h"
#include "core/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

struct cli {
    const cli_command *command;
    const cli_option  *option[MOST];
    char              *value[MOST]; /* owned; NULL: not given */
    bool               from_line[MOST];
    size_t             n;
    const char       **operand; /* owned, of argc */
    size_t             operands;
};

static const cli_option common[] = {
    { "model", CLI_TEXT, NULL, 0, 0, NULL, "Hugging Face directory, .gguf file or Tapir model.h5" },
    { "dtype", CLI_CHOICE, "bf16", 0, 0, "bf16|f32", "of weights and activations" },
    { "device", CLI_CHOICE, "cpu", 0, 0, "cpu|ref|cuda", "where it runs; ref: naive kernels, for comparison" },
    { "threads", CLI_INT, "0", 0, 1024, NULL, "threads, 0: as many as the machine allows" },
    { "template", CLI_CHOICE, "model", 0, 0, "model|chatml|alpaca|none",
      "how prompts are written; model: the model's own" },
    { "adapter", CLI_TEXT, NULL, 0, 0, NULL, "run folder or adapter file to load on top of the model" },
    { "any-base", CLI_FLAG, NULL, 0, 0, NULL, "load the adapter although it was trained on another model" },
    { "seed", CLI_INT, "0", 0, 9.0e15, NULL, "of everything random" },
    { "quiet", CLI_FLAG, NULL, 0, 0, NULL, "no progress and notes" },
    { NULL, CLI_FLAG, NULL, 0, 0, NULL, NULL },
};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void complain(const cli *c, const char *fmt, va_list ap)
{
    fprintf(stderr, "tapir%s%s: ", c && c->command ? " " : "", c && c->command ? c->command->name : "");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int cli_usage(const cli *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(c, fmt, ap);
    va_end(ap);
    return 2;
}

int cli_error(const cli *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(c, fmt, ap);
    va_end(ap);
    return 1;
}

/* ---- the nearest name -------------------------------------------------------------------------------------------- */

/* Levenshtein's distance of short words. */
static int distance(const char *a, const char *b)
{
    int row[80], n = (int)strlen(b);

    if (n > 79)
        return 80;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];

        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

            best = up + 1 < best ? up + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = up;
            row[j] = best;
        }
    }
    return row[n];
}

static const char *nearest_option(const cli *c, const char *name)
{
    const char *best = "help";

    for (size_t i = 0; i < c->n; i++)
        if (distance(name, c->option[i]->name) < distance(name, best))
            best = c->option[i]->name;
    return best;
}

static const char *nearest_command(const cli_command *const *commands, const char *name)
{
    const char *best = commands[0]->name;

    for (; *commands != NULL; commands++)
        if (distance(name, (*commands)->name) < distance(name, best))
            best = (*commands)->name;
    return best;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static size_t find(const cli *c, const char *name)
{
    size_t i = 0;

    while (i < c->n && strcmp(c->option[i]->name, name) != 0)
        i++;
    return i;
}

const char *cli_text(const cli *c, const char *name)
{
    size_t i = find(c, name);

    return i == c->n ? NULL : c->value[i] ? c->value[i] : c->option[i]->standard;
}

int64_t cli_int(const cli *c, const char *name)
{
    const char *s = cli_text(c, name);

    return s ? (int64_t)strtoll(s, NULL, 10) : 0;
}

double cli_real(const cli *c, const char *name)
{
    const char *s = cli_text(c, name);

    return s ? strtod(s, NULL) : 0;
}

bool cli_flag(const cli *c, const char *name)
{
    return cli_text(c, name) != NULL;
}

bool cli_given(const cli *c, const char *name)
{
    size_t i = find(c, name);

    return i < c->n && c->value[i] != NULL;
}

const char *cli_operand(const cli *c)
{
    return cli_operand_at(c, 0);
}

const char *cli_operand_at(const cli *c, size_t i)
{
    return i < c->operands ? c->operand[i] : NULL;
}

bool cli_at(const cli *c, size_t i, const cli_option **option, const char **value)
{
    if (i >= c->n)
        return false;
    *option = c->option[i];
    *value = c->value[i] ? c->value[i] : c->option[i]->standard;
    return true;
}

static bool one_of(const char *choices, const char *s)
{
    size_t n = strlen(s);

    for (const char *p = choices; p != NULL && *p != '\0'; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && strncmp(p, s, n) == 0)
            return true;
    return false;
}

/* 0, or the code of a usage error that has been told. */
static int check(const cli *c, const cli_option *o, const char *s)
{
    char  *end;
    double v;

    if (o->kind == CLI_CHOICE && !one_of(o->choices, s))
        return cli_usage(c, "--%s: '%s', expected %s", o->name, s, o->choices);
    if (o->kind != CLI_INT && o->kind != CLI_REAL)
        return 0;
    if (o->kind == CLI_INT) {
        v = (double)strtoll(s, &end, 10);
        if (end == s || *end != '\0')
            return cli_usage(c, "--%s: '%s' is no whole number, expected %.0f to %.0f", o->name, s, o->low, o->high);
    } else {
        v = strtod(s, &end);
        if (end == s || *end != '\0' || isnan(v))
            return cli_usage(c, "--%s: '%s' is no number, expected %g to %g", o->name, s, o->low, o->high);
    }
    if (v < o->low || v > o->high)
        return cli_usage(c,
                         o->kind == CLI_INT ? "--%s: %s is out of range, expected %.0f to %.0f"
                                            : "--%s: %s is out of range, expected %g to %g",
                         o->name, s, o->low, o->high);
    return 0;
}

static int set(cli *c, size_t i, const char *s, bool from_line)
{
    int rc = check(c, c->option[i], s);

    if (rc != 0)
        return rc;
    tpi_free(c->value[i]);
    c->value[i] = tpi_strdup(NULL, s);
    c->from_line[i] = from_line;
    return c->value[i] ? 0 : cli_error(c, "out of memory");
}

/* ---- --help ------------------------------------------------------------------------------------------------------ */

static void describe(const cli_option *o)
{
    char left[64];
    int  n = snprintf(left, sizeof left, "  --%s", o->name);

    if (o->kind == CLI_CHOICE)
        snprintf(left + n, sizeof left - (size_t)n, " %s", o->choices);
    else if (o->kind == CLI_MAYBE)
        snprintf(left + n, sizeof left - (size_t)n, "[=TEXT]");
    else if (o->kind != CLI_FLAG)
        snprintf(left + n, sizeof left - (size_t)n, " %s",
                 o->kind == CLI_TEXT  ? "TEXT"
                 : o->kind == CLI_INT ? "N"
                                      : "X");
    printf("%-36s %s", left, o->help);
    if (o->standard != NULL)
        printf(" [%s]", o->standard);
    putchar('\n');
}

static int help(const cli *c)
{
    const cli_command *m = c->command;

    printf("tapir %s%s%s%s: %s\n\n%s\n", m->name, m->model ? " --model M" : "", m->operand ? " " : "",
           m->operand ? m->operand : "", m->summary, m->manual);
    if (m->options[0].name != NULL)
        printf("Options (defaults in brackets):\n");
    for (const cli_option *o = m->options; o->name != NULL; o++)
        describe(o);
    if (m->model)
        printf("\nEverywhere:\n");
    for (const cli_option *o = common; m->model && o->name != NULL; o++)
        describe(o);
    printf("\nResults go to standard output, everything else to standard error.  Exit status: 0, 1 after an error, 2 "
           "for wrong usage,\n"
           "130 when interrupted.\n");
    return 0;
}

static int overview(const cli_command *const *commands)
{
    printf("tapir: finetune transformers with few trainable parameters.\n\nSub-commands, each with --help:\n");
    for (; *commands != NULL; commands++)
        printf("  %-10s %s\n", (*commands)->name, (*commands)->summary);
    return 0;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

static void add_table(cli *c, const cli_option *o)
{
    for (; o->name != NULL && c->n < MOST; o++)
        c->option[c->n++] = o;
}

static size_t operands_most(const cli_command *m)
{
    return m->operand == NULL ? 0 : m->operands < 0 ? SIZE_MAX : m->operands == 0 ? 1 : (size_t)m->operands;
}

static int parse_line(cli *c, int argc, char **argv)
{
    for (int k = 0; k < argc; k++) {
        const char *a = argv[k], *equals = strchr(a, '='), *value;
        char        name[64];
        size_t      i, n;

        if (strncmp(a, "--", 2) != 0 || a[2] == '\0') {
            if (c->operands >= operands_most(c->command))
                return cli_usage(c, "unexpected '%s'%s", a, a[0] == '-' ? ", options begin with two dashes" : "");
            c->operand[c->operands++] = a;
            continue;
        }
        n = equals ? (size_t)(equals - a) - 2 : strlen(a + 2);
        snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), a + 2);
        i = find(c, name);
        if (i == c->n)
            return cli_usage(c, "there is no option --%s; the nearest is --%s", name, nearest_option(c, name));
        if (c->option[i]->kind == CLI_FLAG) {
            if (equals != NULL)
                return cli_usage(c, "--%s takes no value", name);
            value = "yes";
        } else if (equals != NULL) {
            value = equals + 1;
        } else if (c->option[i]->kind == CLI_MAYBE) {
            value = "";
        } else if (k + 1 < argc) {
            value = argv[++k];
        } else {
            return cli_usage(c, "--%s needs a value", name);
        }
        if (set(c, i, value, true) != 0)
            return 2;
    }
    return 0;
}

/* A member of --config as the text that the command line would hold; false when it has no such form. */
static bool member_text(const tpi_json *v, const cli_option *o, char *buf, size_t size)
{
    switch (tpi_json_is(v)) {
    case TPI_JSON_BOOL: snprintf(buf, size, "%s", o->kind == CLI_FLAG ? "yes" : "");
        return o->kind == CLI_FLAG || o->kind == CLI_MAYBE;
    case TPI_JSON_INT: snprintf(buf, size, "%lld", (long long)tpi_json_integer(v)); return true;
    case TPI_JSON_REAL: snprintf(buf, size, "%.17g", tpi_json_real(v)); return true;
    case TPI_JSON_TEXT: snprintf(buf, size, "%s", tpi_json_string(v, NULL)); return o->kind != CLI_FLAG;
    case TPI_JSON_NULL:
    case TPI_JSON_ARRAY:
    case TPI_JSON_OBJECT: break;
    }
    return false;
}

static int apply_config(cli *c, const tpi_json *j, const char *path)
{
    const char     *key;
    const tpi_json *v;
    void           *it = NULL;

    if (tpi_json_is(j) != TPI_JSON_OBJECT)
        return cli_usage(c, "%s: expected one JSON object of options", path);
    while (tpi_json_next(j, &it, &key, &v)) {
        size_t i = find(c, key);
        char   text[4096];

        if (i == c->n)
            return cli_usage(c, "%s: there is no option %s; the nearest is %s", path, key, nearest_option(c, key));
        if (c->from_line[i] || tpi_json_is(v) == TPI_JSON_NULL ||
            (tpi_json_is(v) == TPI_JSON_BOOL && !tpi_json_true(v)))
            continue;
        if (!member_text(v, c->option[i], text, sizeof text))
            return cli_usage(c, "%s: %s is a JSON %s, which the option does not take", path, key,
                             tpi_json_kind_name(tpi_json_is(v)));
        if (set(c, i, text, false) != 0)
            return 2;
    }
    return 0;
}

static int read_config(cli *c)
{
    const char *path = find(c, "config") < c->n ? cli_text(c, "config") : NULL;
    tp_ctx     *ctx;
    tpi_json   *j;
    int         rc;

    if (path == NULL)
        return 0;
    ctx = tp_ctx_new(TP_CPU, 0);
    j = tpi_json_load(ctx, path, (size_t)1 << 20);
    rc = j ? apply_config(c, j, path) : 1;
    tpi_json_free(j);
    return tp_ctx_finish(ctx) != 0 ? 1 : rc;
}

static int run_command(const cli_command *m, int argc, char **argv)
{
    cli c = { .command = m };
    int rc;

    add_table(&c, m->options);
    if (m->model)
        add_table(&c, common);
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(&c);
    c.operand = tpi_alloc(NULL, (size_t)argc + 1, sizeof *c.operand);
    rc = c.operand ? parse_line(&c, argc, argv) : cli_error(&c, "out of memory");
    if (rc == 0)
        rc = read_config(&c);
    if (rc == 0 && m->model && cli_text(&c, "model") == NULL)
        rc = cli_usage(&c, "--model is needed: a Hugging Face directory, a .gguf file or a model.h5");
    if (rc == 0 && m->operand != NULL && c.operands < (m->operands > 0 ? (size_t)m->operands : 1))
        rc = cli_usage(&c, "%s is needed", m->operand);
    if (rc == 0)
        rc = m->run(&c);
    for (size_t i = 0; i < c.n; i++)
        tpi_free(c.value[i]);
    tpi_free(c.operand);
    return rc;
}

int cli_main(int argc, char **argv, const cli_command *const *commands)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return argc < 2 ? (overview(commands), 2) : overview(commands);
    if (strcmp(argv[1], "--version") == 0) {
        printf("tapir %s\n", tp_version());
        return 0;
    }
    for (size_t i = 0; commands[i] != NULL; i++)
        if (strcmp(commands[i]->name, argv[1]) == 0)
            return run_command(commands[i], argc - 2, argv + 2);
    return cli_usage(NULL, "there is no sub-command '%s'; the nearest is '%s' (tapir --help lists them)", argv[1],
                     nearest_command(commands, argv[1]));
}
