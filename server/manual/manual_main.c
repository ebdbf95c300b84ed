/*
 * The entry of tollgate-manual, which the build runs to make the man pages and the completion:
 * `tollgate-manual program|configuration|completion` prints one of them. It learns each command's
 * options by running the command up to its cli_parse, so that there is no second list of them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

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
    *count = COMMAND_COUNT;
    return commands;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } outputs[] = {
        {"program", manual_print_program},
        {"configuration", manual_print_configuration},
        {"completion", manual_print_completion},
    };
    observe_commands();
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        if (argc != 2 || strcmp(argv[1], outputs[i].name) != 0)
            continue;
        outputs[i].print(stdout);
        /* Not exit: a sanitizer would report what a command had allocated before its cli_parse. */
        if (fflush(stdout) != 0)
            _exit(cli_fail(EX_IOERR, "tollgate-manual", "standard output: %s",
                           strerrordesc_np(errno)));
        _exit(EX_OK);
    }
    _exit(cli_fail(EX_USAGE, "tollgate-manual", "give one of program, configuration, completion"));
}
