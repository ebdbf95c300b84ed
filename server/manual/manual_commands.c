/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands as the manual knows them. It learns each command's options by running the command up
 * to its cli_parse, so that there is no second list of them.
 */
#include <setjmp.h>

#include "server/base/check.h"
#include "server/command/cli.h"
#include "server/manual/manual.h"

static const struct {
    const char *words, *summary, *usage;
    int (*run)(int argc, char **argv);
} rows[] = {
#define X(words, function, summary, usage) {words, summary, usage, function},
    CLI_COMMANDS(X)
#undef X
};
#define COMMAND_COUNT (sizeof(rows) / sizeof(rows[0]))

static struct manual_command commands[COMMAND_COUNT];
static jmp_buf parsing;
static const struct argp *observed;

static _Noreturn void observe(const struct argp *argp)
{
    observed = argp;
    longjmp(parsing, 1);
}

static void observe_commands(void)
{
    char name[] = "tollgate";
    char *argv[] = {name, NULL};
    cli_argp_observer = observe;
    for (volatile size_t i = 0; i < COMMAND_COUNT; i++) {
        observed = NULL;
        if (setjmp(parsing) == 0)
            (void)rows[i].run(1, argv);
        check(observed != NULL); /* a command that does not call cli_parse has no options to show */
        commands[i] =
            (struct manual_command){rows[i].words, rows[i].summary, rows[i].usage, observed};
    }
}

const struct manual_command *manual_commands(size_t *count)
{
    if (commands[0].words == NULL)
        observe_commands();
    *count = COMMAND_COUNT;
    return commands;
}
