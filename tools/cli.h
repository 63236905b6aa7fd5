/* cli.h - options of the program's sub-commands: one table each drives parsing, checking, --config and --help. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLI_MAYBE is a flag that takes a text behind an equals sign; its text is "" without one. */
typedef enum { CLI_TEXT, CLI_INT, CLI_REAL, CLI_FLAG, CLI_CHOICE, CLI_MAYBE } cli_kind;

typedef struct {
    const char *name;     /* without the dashes */
    cli_kind    kind;
    const char *standard; /* default as text; NULL: none */
    double      low, high; /* of INT and REAL */
    const char *choices;  /* of CHOICE: "a|b|c", the first is not special */
    const char *help;
} cli_option;

typedef struct cli cli;

typedef struct {
    const char       *name, *summary, *manual;
    const cli_option *options; /* its own, ended by a row without a name */
    bool              model;   /* takes the common options of commands that load a model */
    const char       *operand; /* names of the operands it takes; NULL: none */
    int               operands; /* how many, 0: one; -1: one or more */
    int (*run)(cli *c);
} cli_command;

/* Runs the command that argv names; returns the exit code: 0, 1 error, 2 usage, 130 interrupted. */
int cli_main(int argc, char **argv, const cli_command *const *commands);

/* Values; the table knows the name, or it is a fault of the program. */
const char *cli_text(const cli *c, const char *name); /* NULL when there is neither value nor default */
int64_t     cli_int(const cli *c, const char *name);
double      cli_real(const cli *c, const char *name);
bool        cli_flag(const cli *c, const char *name);
bool        cli_given(const cli *c, const char *name); /* on the command line or in --config */
const char *cli_operand(const cli *c);                /* the first */
const char *cli_operand_at(const cli *c, size_t i);   /* NULL beyond the last */
/* Option i as name and value for a record of the run; false beyond the last. */
bool        cli_at(const cli *c, size_t i, const cli_option **option, const char **value);

/* One line "tapir COMMAND: ..." on standard error; returns 2, the code of usage errors. */
int         cli_usage(const cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, returning 1. */
int         cli_error(const cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
