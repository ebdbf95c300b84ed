/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line as a whole: its help and version, a command that does not exist, and the
 * standard descriptors. Each command has a test file of its own beside this one.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/command/cli.h"
#include "server/command/server.h"
#include "tests/unit/command/fixture.h"

Test(server_cli, help_names_every_command_and_the_whole_way)
{
    static const char *const words[] = {
#define X(words, function, summary, usage) words,
        CLI_COMMANDS(X)
#undef X
    };
    cr_expect_eq(cli_run("--help", NULL), EX_OK);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        EXPECT_IN(cli_out, words[i]);
    EXPECT_IN(cli_out, "to a paid download");
    EXPECT_IN(cli_out, "Exit codes:");
    cr_expect_str_empty(cli_err);
}

Test(server_cli, version_names_the_formats_and_libraries)
{
    cr_expect_eq(cli_run("--version", NULL), EX_OK);
    EXPECT_IN(cli_out, "tollgate ");
    EXPECT_IN(cli_out, "journal format ");
    EXPECT_IN(cli_out, "function library format ");
    EXPECT_IN(cli_out, "liburing ");
    EXPECT_IN(cli_out, "OpenSSL ");
}

Test(server_cli, an_unknown_command_is_answered_with_the_nearest)
{
    cr_expect_eq(cli_run("srve", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "did you mean tollgate serve?");
    cr_expect_eq(cli_run("link", "sing", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "did you mean tollgate link sign?");
    cr_expect_eq(cli_run("link", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "tollgate link explain");
    cr_expect_eq(cli_run("xyzzyxyzzy", NULL), EX_USAGE);
    EXPECT_NOT_IN(cli_err, "did you mean");
    cr_expect_eq(cli_run(NULL), EX_USAGE);
    EXPECT_IN(cli_err, "Usage:");
}

Test(server_cli, gives_the_number_of_a_closed_standard_descriptor_to_no_other_file)
{
    char program[] = "tollgate", option[] = "--help", *words[] = {program, option, NULL};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    (void)tollgate_main(2, words);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_gt(next, STDERR_FILENO);
    cr_assert_eq(write(STDERR_FILENO, "x", 1),
                 -1); /* writing there fails, so the loss is noticed */
}
