/* main.c - the tapir program: a sub-command each is one file. */
#include "tools/commands.h"
#include "tools/foreign.h"

#include <string.h>

int main(int argc, char **argv)
{
    static const cli_command *const commands[] = {
        &cmd_finetune, &cmd_generate, &cmd_eval,   &cmd_score, &cmd_tokenize, &cmd_convert, &cmd_merge,
        &cmd_inspect,  &cmd_verify,   &cmd_diff, &cmd_recover, &cmd_env,      NULL,
    };

    if (argc > 1 && strcmp(argv[1], FOREIGN_OPTION) == 0)
        return foreign_main(argc, argv);
    return cli_main(argc, argv, commands);
}
